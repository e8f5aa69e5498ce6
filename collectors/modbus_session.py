"""A live session on the Modbus devices of one machine; `readings` merges what the scanning task put into the buffer.

* The scanning runs in a task of its own, so that a slow disk delays no scan: what it read waits in a bounded buffer,
  and the gateway takes it as one batch.
* The session ends when the line is gone or all its units are silent; one silent unit of several costs its own tags.
* The end-of-cycle tags are read once a cycle; what the trigger last said becomes durable with their rows.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from collectors.buffer import Buffer
from collectors.end_of_cycle import Trigger
from collectors.modbus_readout import Readout, Said
from collectors.scaling import Scaling
from collectors.schedule import SECOND_NS, period_ns, ticks
from collectors.silence import KIND as SILENT
from collectors.source import Missed, Opening, Reading
from collectors.texts import Texts, clean
from pipeline import metrics
from pipeline.errors import Unavailable
from pipeline.model import (
    EARLIEST_NS,
    LATEST_NS,
    Batch,
    Cause,
    Codes,
    Event,
    Floats,
    Indices,
    Phase,
    Quality,
    Severity,
)

log = logging.getLogger(__name__)
_T = TypeVar("_T", bound=np.generic)

_BUFFER_ROWS: Final = 50_000
_BUFFER_SCANS: Final = 1_024
_TRIES_AT_OPENING: Final = 4
_PROBE_EVERY_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Pace:
    """When a machine is scanned, and what its rows are stamped with.

    Attributes:
        every_s: of the grid.
        full: back to back instead.
        time: index of the tag that holds the device's own time, None: the tick.
    """

    every_s: float
    full: bool = False
    time: int | None = None


@dataclass(frozen=True, slots=True)
class CycleTags:
    """Tags that are read when a trigger says that a cycle has ended."""

    name: str
    at: int
    """Index of the trigger's tag."""
    trigger: Trigger
    readout: Readout


@dataclass(frozen=True, slots=True)
class _Scan:
    """Everything read at one tick: (n,) columns."""

    tick_ns: int
    ts_ns: int
    tag: Indices
    value: Floats
    quality: Codes
    late: int
    events: tuple[Event, ...] = ()
    memory: str | None = None


def remembered(memory: str, what: str) -> list[tuple[Any, int]]:
    """What the last session wrote down: units `away` with their onset, or the `cycle` values of triggers."""
    try:
        said = json.loads(memory or "{}")
        pairs = said.get(what, {}).items()
        return [(int(key) if what == "away" else key, int(value)) for key, value in pairs]
    except (ValueError, TypeError, AttributeError):  # another protocol's: this machine was read by it before
        return []


class ModbusSession:
    """See the module; made by `Modbus.open`."""

    def __init__(self, opening: Opening, pace: Pace, polled: Readout, cycles: Sequence[CycleTags]) -> None:
        self._opening, self._pace, self._polled, self._cycles = opening, pace, polled, tuple(cycles)
        self._lane = polled.lane
        self._tags = opening.tags
        self._names = tuple(tag.name for tag in opening.tags)
        self._scaling = Scaling(opening.tags)
        self._texts = Texts(opening.asset, {})
        self._every = period_ns(pace.every_s)
        self._units = polled.units.union(*(cycle.readout.units for cycle in cycles))
        self._away = {unit: onset for unit, onset in remembered(opening.memory, "away") if unit in self._units}
        self._before: _Scan | None = None
        self._numbers_only = not (cycles or self.several or polled.has_words)
        self._memory = self._remember()
        self._buffer: Buffer[_Scan] = Buffer(max(2, min(_BUFFER_SCANS, _BUFFER_ROWS // len(self._names))))

    def _remember(self) -> str:
        """What the next session has to know, as compact JSON text."""
        said: dict[str, Any] = {name: last for name, last in (("away", self._away), ("cycle", self._last())) if last}
        return json.dumps(said, separators=(",", ":")) if said else ""

    def _last(self) -> dict[str, int]:
        return {cycle.name: cycle.trigger.last for cycle in self._cycles if cycle.trigger.last is not None}

    @property
    def several(self) -> bool:
        """Whether it reads more than one unit."""
        return len(self._units) > 1

    # ---- opening ----

    async def settle(self) -> None:
        """Reads everything until the plan asks for nothing in vain; the proof that a device answers.

        Raises:
            Unavailable: none does.
        """
        for unit in self._units:
            if self._lane.bus.is_silent(unit):
                await self._probe(unit)
        self._lane.seat.busy = True
        for _ in range(_TRIES_AT_OPENING):
            blocks = self._polled.blocks
            said = await self._polled.read()
            self._raise_if_gone(said)
            scan = self._scan_of(self._opening.clock(), 0, said)
            if self._pace.full:  # a replay may have stepped on because it was read
                self._put_if_new(scan)
            if self._polled.blocks is blocks:
                break
        wrong = said.quality == Quality.BAD_CONFIGURATION_ERROR
        for cycle in self._cycles:
            for _ in range(_TRIES_AT_OPENING):
                blocks = cycle.readout.blocks
                said = await cycle.readout.read()
                if cycle.readout.blocks is blocks:
                    break
            wrong |= said.quality == Quality.BAD_CONFIGURATION_ERROR
        if wrong.any():
            names = ",".join(self._names[i] for i in np.flatnonzero(wrong)[:20])
            log.warning("address refused asset=%s tags=%s", self._opening.asset, names)

    def _raise_if_gone(self, said: Said) -> None:
        if said.lost is not None:
            raise said.lost
        if said.silent >= self._polled.units and self._polled.last_silence is not None:
            raise self._polled.last_silence

    # ---- one scan ----

    async def _scan(self, tick_ns: int, late: int) -> tuple[_Scan, Said]:
        said = await self._polled.read()
        scan = self._scan_of(tick_ns, late, said)
        if self._numbers_only:
            return scan, said
        events = [*self._texts_of(self._polled, said, scan.ts_ns), *self._silences(said, scan.ts_ns)]
        columns = [(scan.tag, scan.value, scan.quality)]
        if said.lost is None:
            for cycle in self._cycles:
                more, rows = await self._end_of_cycle(cycle, said, scan.ts_ns)
                events += more
                columns += rows
        memory = self._remember()
        if memory == self._memory and not events and len(columns) == 1:
            return scan, said
        tag, value, quality = (np.concatenate(parts) for parts in zip(*columns, strict=True))
        changed = memory if memory != self._memory else None
        self._memory = memory
        return _Scan(tick_ns, scan.ts_ns, tag, value, quality, late, tuple(events), changed), said

    def _scan_of(self, tick_ns: int, late: int, said: Said) -> _Scan:
        tag, value, quality = self._rows(self._polled, said)
        ts_ns: int | None = tick_ns
        if self._pace.time is not None:
            ts_ns = _device_time(float(value[np.searchsorted(self._polled.numbers, self._pace.time)]))
        if ts_ns is None:  # the device's clock is not to be believed
            quality[quality == 0] = Quality.UNCERTAIN
            ts_ns = tick_ns
        return _Scan(tick_ns, ts_ns, tag, value, quality, late)

    def _rows(self, readout: Readout, said: Said) -> tuple[Indices, Floats, Codes]:
        raw, quality = said.raw[readout.which], said.quality[readout.which]
        place = readout.which if isinstance(readout.which, slice) else readout.tag
        return readout.tag, *self._scaling.judge(raw, quality, place)

    async def _end_of_cycle(
        self, cycle: CycleTags, said: Said, ts_ns: int
    ) -> tuple[list[Event], list[tuple[Indices, Floats, Codes]]]:
        if said.quality[cycle.at] or not np.isfinite(said.raw[cycle.at]):
            return [], []
        now, before = int(said.raw[cycle.at]), cycle.trigger.last
        cycles = cycle.trigger.cycles(now)
        if not cycles:
            return [], []
        read = await cycle.readout.read()
        if not read.whole:  # the next scan tries again
            return [], []
        cycle.trigger.done(now)
        events = self._texts_of(cycle.readout, read, ts_ns)
        if cycles > 1:
            data = {"trigger": cycle.name, "from": before, "to": now, "missed": cycles - 1}
            text = f"{cycle.name}: {before} → {now}"
            asset, kind = self._opening.asset, "cycle.missed"
            events.append(Event(asset, kind, ts_ns, text, severity=Severity.WARNING, key=cycle.name, data=data))
        return events, [self._rows(cycle.readout, read)]

    def _texts_of(self, readout: Readout, said: Said, ts_ns: int) -> list[Event]:
        """What is told in words: strings, and the meaning of numbers."""
        told = [self._texts.said(self._tags[tag], clean(text), ts_ns) for tag, text in said.texts]
        for index, values in readout.meanings:
            if said.quality[index] == Quality.GOOD and np.isfinite(said.raw[index]):
                number = int(said.raw[index])
                told.append(self._texts.said(self._tags[index], values.get(number, str(number)), ts_ns))
        return [event for event in told if event is not None]

    def _silences(self, said: Said, ts_ns: int) -> list[Event]:
        """Units of several that are left alone from now on, or answer again."""
        if not self.several:
            return []
        events: list[Event] = []
        for unit in said.silent:
            if unit not in self._away and self._lane.bus.is_silent(unit):
                self._away[unit] = ts_ns
                events.append(self._silence(unit, ts_ns, Phase.RAISED, ts_ns))
        back = [unit for unit in self._away if unit in said.answered]
        return events + [self._silence(unit, ts_ns, Phase.CLEARED, self._away.pop(unit)) for unit in back]

    def _silence(self, unit: int, ts_ns: int, phase: Phase, onset_ns: int) -> Event:
        severity = Severity.WARNING if phase is Phase.RAISED else Severity.INFO
        away_s = max(0, ts_ns - onset_ns) / SECOND_NS
        data = {"unit": unit} | ({"away_s": round(away_s, 3)} if phase is Phase.CLEARED else {})
        name = f"unit {unit}"
        return Event(self._opening.asset, SILENT, ts_ns, name, phase, severity, name, onset_ns, data)

    # ---- for ever ----

    async def scan_for_ever(self) -> None:
        """Fills the buffer until the devices are gone; owned by the context manager of the session."""
        try:
            if self._pace.full:
                await self._scan_at_full_pace()
            else:
                await self._scan_on_the_grid()
        except Unavailable as error:
            self._buffer.end(error)
        except Exception as error:  # noqa: BLE001  # a bug: it surfaces where the readings are taken
            self._buffer.end(error)

    async def probe_for_ever(self) -> None:
        """Asks silent units now and then whether they are back; owned like the scanning."""
        try:
            while True:
                await asyncio.sleep(_PROBE_EVERY_S)
                for unit in self._units:
                    if self._lane.bus.is_silent(unit):
                        await self._probe(unit)
        except Unavailable:
            return  # the scanning finds it out too
        except Exception as error:  # noqa: BLE001  # a bug: it surfaces where the readings are taken
            self._buffer.end(error)

    async def _probe(self, unit: int) -> None:
        readouts = (self._polled, *(cycle.readout for cycle in self._cycles))
        readout = next(readout for readout in readouts if unit in readout.units)
        await self._lane.bus.probe(self._lane.seat, readout.first_of(unit))

    async def _scan_on_the_grid(self) -> None:
        late, counted, seat = 0, metrics.ticks_late.labels(self._opening.asset), self._lane.seat
        clock, now = self._opening.clock, asyncio.get_running_loop().time
        seat.busy, seat.due_s = False, now() + (self._every - clock() % self._every) / SECOND_NS
        async for tick in ticks(self._pace.every_s, clock):
            late += tick.late + self._buffer.full
            counted.inc(tick.late + self._buffer.full)
            if self._buffer.full:
                continue
            seat.busy = True
            scan, said = await self._scan(tick.ns, late)
            self._buffer.put(scan)
            late = 0
            self._raise_if_gone(said)
            seat.busy, seat.due_s = False, now() + (self._every - clock() % self._every) / SECOND_NS

    async def _scan_at_full_pace(self) -> None:
        while True:
            await self._buffer.room()
            scan, said = await self._scan(self._opening.clock(), 0)
            self._put_if_new(scan)
            self._raise_if_gone(said)

    def _put_if_new(self, scan: _Scan) -> None:
        """A device that keeps its own time and says all the same again has not stepped on."""
        before, self._before = self._before, scan
        if (
            self._pace.time is None
            or before is None
            or scan.events
            or scan.memory is not None
            or scan.ts_ns != before.ts_ns
            or not np.array_equal(scan.value, before.value, equal_nan=True)
            or not np.array_equal(scan.quality, before.quality)
        ):
            self._buffer.put(scan)

    async def readings(self) -> AsyncIterator[Reading]:
        """Every scan since the last reading, merged into one batch."""
        while True:
            yield self._merge(await self._buffer.take())

    def _merge(self, scans: list[_Scan]) -> Reading:
        lengths = [len(scan.tag) for scan in scans]
        stamps = np.array([scan.ts_ns for scan in scans], np.int64)
        batch = Batch(
            self._opening.asset,
            self._names,
            stamps.repeat(lengths[0] if len(scans) == 1 else lengths),
            _joined([scan.tag for scan in scans]),
            _joined([scan.value for scan in scans]),
            _joined([scan.quality for scan in scans]),
        )
        bodies = (*((batch,) if len(batch) else ()), *(event for scan in scans for event in scan.events))
        memory = next((scan.memory for scan in reversed(scans) if scan.memory is not None), None)
        if self._pace.full:
            return Reading(bodies, memory=memory)
        missed = tuple(
            Missed(scan.tick_ns - scan.late * self._every, scan.late, Cause.LATE) for scan in scans if scan.late
        )
        first = scans[0].tick_ns - scans[0].late * self._every
        return Reading(bodies, missed, memory, ticks=(first, scans[-1].tick_ns))


def _joined(columns: list[npt.NDArray[_T]]) -> npt.NDArray[_T]:
    return columns[0] if len(columns) == 1 else np.concatenate(columns)


def _device_time(milliseconds: float) -> int | None:
    """A device's own time in nanoseconds; None where it cannot be one."""
    if not EARLIEST_NS / 1e6 <= milliseconds <= LATEST_NS / 1e6:
        return None
    whole = int(milliseconds)
    return whole * 1_000_000 + round((milliseconds - whole) * 1e6)
