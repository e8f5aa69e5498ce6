"""One machine: a session on its device, what it says made durable, and its books.

* What a session hands over, the counts that go with it and what the session wants to remember are one append: after a
  crash either all of it happened or nothing.
* Cancelling is stopping: what was read is stored, and the open minutes are told.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NoReturn, Protocol

from collectors.completeness import Accounts
from collectors.deadband import DeadBand, filtered, ticks_a_row
from collectors.declaration import declaration
from collectors.schedule import SECOND_NS
from collectors.source import Clock, Opening, Reading, Refused, Session, Source
from collectors.stopping import heed
from pipeline import metrics, service
from pipeline.errors import ConfigError, Unavailable
from pipeline.model import (
    BAD_BIT,
    UNCERTAIN_BIT,
    Batch,
    Body,
    Cause,
    Event,
    Phase,
    Severity,
    Waveform,
    rows_of,
    waveforms_of,
)
from pipeline.plant import Machine, Tag

log = logging.getLogger(__name__)

LONGEST_WAIT_S: Final = 3.0
"""Between two tries to reach a device."""
CONFIG_WAIT_S: Final = 60.0
"""Between two tries on a device that contradicts its file: a person has to change the file."""
BOUNDARY_S: Final = 2.0
"""What a machine may take to store what it has read when it ends."""
_GRACE_NS: Final = 5 * SECOND_NS
"""Rows of a minute may still be on their way for this long after it has ended."""
_NO_MORE_S: Final = 0.15
"""A session that has nothing within this time holds nothing that was read already."""


class Durable(Protocol):
    """What a machine's task needs of the spool."""

    @property
    def notes(self) -> Mapping[str, str]:
        """What was last made durable beside the records."""
        ...

    async def append(self, bodies: Sequence[Body], notes: Mapping[str, str]) -> int:
        """Makes bodies and notes durable, all or nothing."""
        ...


class Collector:
    """One machine: keeps a session on its device, makes durable what it says, and keeps its accounts.

    Args:
        asset: ISA-95 path.
        machine: its file.
        spool: where everything becomes durable.
        gateway: name of this process.
        clock: wall clock.
        part: which of its sources, "" the first one; that one declares the machine.
    """

    def __init__(
        self, asset: str, machine: Machine[Any], spool: Durable, gateway: str, clock: Clock, part: str = ""
    ) -> None:
        self.asset, self._part = asset, part
        self.label = f"{asset}#{part}" if part else asset
        self._machine, self._spool, self._clock = machine, spool, clock
        self._source: Source = machine.source
        self._waveforms = machine.waveform if machine.waveform_source is None else ()
        self._client_id = f"rootdx-{gateway}-{machine.path.replace('/', '-')}" + (f"-{part}" if part else "")
        self._memory = self._note("memory")
        found = [Tag.model_validate(one) for one in json.loads(self._note("found") or "[]")]
        self._found = tuple(t for t in self._source.still(found) if t.name not in {tag.name for tag in machine.tag})
        self._undeclared = False
        self._accounts = self._books_of()
        self._deadband = self._deadband_of()
        self._books = asyncio.Lock()  # accounts and append are one step
        self._down, self._gap = True, False
        self._cause = Cause.GATEWAY_DOWN
        self._onset = int(self._note("down") or 0)
        self._wrong: set[str] = set()
        self._full = False
        self._rows = {name: metrics.rows_read.labels(asset, name) for name in ("good", "uncertain", "bad")}
        metrics.device_up.labels(self.label).set(0)

    @property
    def _tags(self) -> tuple[str, ...]:
        return tuple(tag.name for tag in (*self._machine.tag, *self._found))

    def _books_of(self, state: str = "") -> Accounts:
        source, tags = self._source, (*self._machine.tag, *self._found)
        on_demand, strides = source.on_demand(tags), ticks_a_row(source, tags, self._machine.detector)
        return Accounts(self.asset, self._tags, source.every_s, source.arrival, state, on_demand, ticks_a_row=strides)

    def _deadband_of(self) -> DeadBand:
        tags = (*self._machine.tag, *self._found)
        return DeadBand(tags, self._source, self._machine.detector)

    # ---- one machine's life ----

    async def run(self) -> NoReturn:
        """Until cancelled; then what was read is stored and the books are closed."""
        try:
            await self._begin()
            while True:
                try:
                    await service.keep(self.label, self._attempt, longest_wait_s=LONGEST_WAIT_S)
                except ConfigError as error:
                    await self._contradicted(error, CONFIG_WAIT_S)
                    await asyncio.sleep(CONFIG_WAIT_S)
        finally:
            metrics.device_up.labels(self.label).set(0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BOUNDARY_S), self._books:
                    await self._append(self._accounts.close())

    async def minute(self, now_ns: int) -> None:
        """Tells the minutes that are over, those of an outage included; called about once a minute."""
        await _whole(self._minute(now_ns))

    async def _attempt(self) -> None:
        heed()
        tags, waveforms = self._machine.tag, self._waveforms
        here = frozenset(tag.name for tag in filtered(self._source, tags, self._machine.detector))
        opening = Opening(self.asset, tags, self._clock, self._client_id, self._memory, waveforms, self._found, here)
        try:
            async with self._source.open(opening) as session:
                heed()
                await _whole(self._up())
                await self._pull(session)
        except Unavailable as error:
            await _whole(self._lost(str(error)))
            raise
        except Refused as error:
            await self._contradicted(error, LONGEST_WAIT_S)
            raise Unavailable(str(error)) from error

    async def _pull(self, session: Session) -> None:
        readings = session.readings()
        try:
            async for reading in readings:
                await _whole(self._store(reading))
        except asyncio.CancelledError:
            await self._take_the_rest(readings)
            raise
        except Unavailable:
            if isinstance(readings, AsyncGenerator):
                await readings.aclose()
            raise

    async def _take_the_rest(self, readings: AsyncIterator[Reading]) -> None:
        """Stores what the device has said already; the session may acknowledge it.

        A device that says more than once in a commit always has something more, so this ends by the clock too.
        """
        now = asyncio.get_running_loop().time
        until_s = now() + BOUNDARY_S
        with contextlib.suppress(TimeoutError, StopAsyncIteration, Unavailable):
            while now() < until_s:
                async with asyncio.timeout(_NO_MORE_S):
                    reading = await anext(readings)
                async with asyncio.timeout(BOUNDARY_S):
                    await self._store(reading)

    # ---- what happens to it; each is one append, never interrupted ----

    async def _begin(self) -> None:
        """Takes up the books of the process before, and says what the machine is when that has changed."""
        declared = json.dumps(declaration(self._machine, self._found), ensure_ascii=False)
        before, state = self._note("declared"), self._note("accounts")
        bodies: list[Body] = []
        if before and state and tuple(tag["name"] for tag in json.loads(before)["tags"]) != self._tags:
            names = [tag["name"] for tag in json.loads(before)["tags"]]
            old = Accounts(self.asset, names, self._source.every_s, self._source.arrival, state)
            bodies += old.close()
            self._accounts.last_ns = old.last_ns
        elif state:
            self._accounts = self._books_of(state)
        notes = {}
        if declared != before and not self._part:
            data = json.loads(declared)
            bodies.append(Event(self.asset, "machine.declared", self._clock(), self._machine.name, data=data))
            notes["declared"] = declared
        async with self._books:
            await self._append(bodies, **notes)

    async def _up(self) -> None:
        """A session is open."""
        self._deadband.forget()
        self._down, self._gap = False, True
        self._wrong.clear()
        metrics.device_up.labels(self.label).set(1)
        async with self._books:
            now = self._clock()
            if self._source.arrival != "polled":  # a polled device says itself from which tick on it was read
                await self._cover(now)
                self._accounts.alive(now)
            if self._onset:
                away_s = max(0, now - self._onset) / SECOND_NS
                log.info("recovered what=%s after_s=%.1f", self.label, away_s)
                data = {"away_s": round(away_s, 3)}
                await self._append([self._outage(Phase.CLEARED, now, f"{away_s:.1f} s", data)], down="")
                self._onset = 0

    async def _lost(self, cause: str) -> None:
        """A session ended, or could not be opened."""
        was_up, self._down, self._gap = not self._down, True, False
        metrics.device_up.labels(self.label).set(0)
        async with self._books:
            now = self._clock()
            if was_up:
                self._accounts.alive(now)
            else:
                await self._cover(now)
            self._cause = Cause.UNREACHABLE
            if not self._onset:
                self._onset = now
                await self._append([self._outage(Phase.RAISED, now, cause, {"cause": cause})], down=str(now))

    async def _contradicted(self, error: ConfigError, wait_s: float) -> None:
        """The device answers, and what the file says of it cannot be right; told once until it is up again."""
        await _whole(self._lost(str(error)))
        if str(error) not in self._wrong:
            self._wrong.add(str(error))
            log.error("machine file contradicts device asset=%s error=%s retry_s=%.0f", self.label, error, wait_s)
            event = Event(
                self.asset, "machine.misconfigured", self._clock(), str(error), severity=Severity.ERROR, key="file"
            )
            async with self._books:
                await self._append([event])

    async def _store(self, reading: Reading) -> None:
        """Makes a reading durable.

        Raises:
            Unavailable: it holds waveforms and there is no room; whoever sent them keeps them and sends them again.
        """
        async with self._books:
            now = self._clock()
            if self._gap and reading.ticks is not None:
                await self._cover(reading.ticks[0] - 1)
            self._gap = False
            notes = {} if reading.memory is None else {"memory": reading.memory}
            declared = self._take_up(reading.found, now, notes)
            bodies, no_news = self._deadband.news(reading.bodies)
            self._accounts.add(replace(reading, bodies=bodies) if no_news else reading, now)
            stored = await self._append((*declared, *bodies), **notes)
            if not stored:
                self._deadband.forget()
            self._undeclared = self._undeclared and not stored
            if stored and reading.memory is not None:
                self._memory = reading.memory
        if not stored and waveforms_of(reading.bodies):
            raise Unavailable(f"{self.label}: no room for a waveform; it stays where it comes from")
        self._count(bodies, no_news)

    def _take_up(self, found: Sequence[Tag], now_ns: int, notes: dict[str, str]) -> list[Body]:
        """Goes on with tags that were found: the books of those before are closed, and the machine is declared anew."""
        bodies: list[Body] = []
        if found:
            bodies.extend(self._accounts.close())
            last_ns, self._found, self._undeclared = self._accounts.last_ns, (*self._found, *found), True
            self._accounts, self._deadband = self._books_of(), self._deadband_of()
            self._accounts.last_ns = last_ns
        if self._undeclared and not self._part:
            data = declaration(self._machine, self._found)
            bodies.append(Event(self.asset, "machine.declared", now_ns, self._machine.name, data=data))
            notes["found"] = json.dumps([tag.model_dump(mode="json", exclude_defaults=True) for tag in self._found])
            notes["declared"] = json.dumps(data, ensure_ascii=False)
        return bodies

    async def _minute(self, now_ns: int) -> None:
        async with self._books:
            if self._down:
                await self._cover(now_ns)
            else:
                self._accounts.alive(now_ns)
            await self._append(self._accounts.over(now_ns - _GRACE_NS))

    async def _cover(self, until_ns: int) -> None:
        """Books what nobody read, and tells it in portions."""
        while not self._accounts.cover(until_ns, self._cause):
            await self._append(())

    async def _append(self, bodies: Sequence[Body], **notes: str) -> bool:
        """Makes bodies, ripe minutes, notes and the state of the accounts durable; False when that was not possible."""
        everything = (*bodies, *self._accounts.ripe())
        if not everything and not notes:
            return True
        texts = {f"{key}:{self.label}": text for key, text in notes.items()}
        try:
            await self._spool.append(everything, texts | {f"accounts:{self.label}": self._accounts.state()})
        except Unavailable as error:
            self._accounts.refuse(everything)
            metrics.spool_dropped_rows.inc(rows_of(everything))
            if not self._full:
                log.error("nothing can be stored asset=%s cause=%s", self.asset, error)  # noqa: TRY400  # it is no bug
            self._full = True
            return False
        self._full = False
        return True

    # ---- words and numbers ----

    def _note(self, key: str) -> str:
        return self._spool.notes.get(f"{key}:{self.label}", "")

    def _outage(self, phase: Phase, now: int, text: str, data: Mapping[str, Any]) -> Event:
        severity = Severity.WARNING if phase is Phase.RAISED else Severity.INFO
        key, onset = self._part, self._onset
        return Event(self.asset, "device.unreachable", now, text, phase, severity, key, onset, data=data)

    def _count(self, bodies: Sequence[Body], no_news: int) -> None:
        if no_news:
            metrics.rows_no_news.labels(self.asset).inc(no_news)
        for body in bodies:
            if isinstance(body, Batch) and not body.quality.any():
                self._rows["good"].inc(len(body))
            elif isinstance(body, Batch):
                bad = int((body.quality >= BAD_BIT).sum())
                uncertain = int((body.quality >= UNCERTAIN_BIT).sum()) - bad
                self._rows["bad"].inc(bad)
                self._rows["uncertain"].inc(uncertain)
                self._rows["good"].inc(len(body) - bad - uncertain)
            elif isinstance(body, Waveform):
                metrics.waveforms_read.labels(self.asset).inc()


async def _whole(work: Coroutine[Any, Any, None]) -> None:
    """Runs `work` to its end although the task is cancelled meanwhile, for at most BOUNDARY_S; then it is cancelled."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=BOUNDARY_S)
        if not task.done():
            task.cancel()
        raise
