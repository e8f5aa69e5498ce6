"""A live session on the Modbus devices of one machine; `readings` merges what the scanning task put into the buffer.

* The scanning runs in a task of its own, so that a slow disk delays no scan: what it read waits in a bounded buffer,
  and the gateway takes it as one batch.
* The session ends when the line is gone or all its units are silent; one silent unit of several costs its own tags.
* The end-of-cycle tags are read once a cycle; what the trigger last said becomes durable with their rows.
"""

import asyncio
import itertools
import json
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from collectors.buffer import Buffer
from collectors.device_clock import Allowance, DeviceClock
from collectors.end_of_cycle import Trigger
from collectors.modbus_readout import Readout, Said
from collectors.modbus_scan import Columns, Readings, Reel, Scan, alike, device_time, joined
from collectors.scaling import Scaling
from collectors.schedule import SECOND_NS, period_ns, ticks
from collectors.silence import KIND as SILENT
from collectors.source import Missed, Opening, Reading
from collectors.texts import Texts, clean
from pipeline import metrics
from pipeline.errors import Unavailable
from pipeline.model import (
    LATEST_NS,
    UNCERTAIN_BIT,
    Batch,
    Cause,
    Event,
    Phase,
    Quality,
    Severity,
)

log = logging.getLogger(__name__)

_BUFFER_ROWS: Final = 50_000
_BUFFER_SCANS: Final = 4_096
_GATHER_S: Final = 0.1
"""At full pace scans are handed over this often: a batch of many costs little more than one of one."""
_TRIES_AT_OPENING: Final = 4
_PROBE_EVERY_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Pace:
    """When a machine is scanned, and what its rows are stamped with.

    Attributes:
        every_s: of the grid.
        full: back to back instead.
        time: index of the tag that holds the device's own time, None: the tick.
        allowance: what that time may be off; None: anything.
    """

    every_s: float
    full: bool = False
    time: int | None = None
    allowance: Allowance | None = None


@dataclass(frozen=True, slots=True)
class CycleTags:
    """Tags that are read when a trigger says that a cycle has ended."""

    name: str
    at: int
    """Index of the trigger's tag."""
    trigger: Trigger
    readout: Readout


def remembered(memory: str, what: str) -> list[tuple[Any, int]]:
    """What the last session wrote down: units `away` and the `clock` with their onset, `cycle` values of triggers."""
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
        onset_ns = dict(remembered(opening.memory, "clock")).get("wrong", 0)
        self._device = DeviceClock(opening.asset, pace.allowance or Allowance(), onset_ns)
        self._before: Scan | None = None
        self._numbers_only = not (cycles or self.several or polled.has_words)
        self._later = self._numbers_only and pace.time is None
        """Whether a scan can wait until it is handed over for being looked into."""
        self._memory = self._remember()
        self._most = max(2, min(_BUFFER_SCANS, _BUFFER_ROWS // len(self._names)))
        self._buffer: Buffer[Scan | Reel] = Buffer(self._most)
        self._reel, self._began_ns = Reel(polled.decoder, polled.units), 0
        self._reel.taken = True

    def _remember(self) -> str:
        """What the next session has to know, as compact JSON text."""
        clock = {"wrong": self._device.onset_ns} if self._device.onset_ns else {}
        kept = (("away", self._away), ("cycle", self._last()), ("clock", clock))
        said: dict[str, Any] = {name: last for name, last in kept if last}
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
            if self._pace.full:  # a replay may have stepped on because it was read
                self._put_if_new(self._scan_of(self._opening.clock(), 0, said))
            if self._polled.blocks is blocks:
                break
        last = [said]
        for cycle in self._cycles:
            for _ in range(_TRIES_AT_OPENING):
                blocks = cycle.readout.blocks
                said = await cycle.readout.read()
                if cycle.readout.blocks is blocks:
                    break
            last.append(said)
        self._lane.tell()
        wrong = [one.spoilt == Quality.BAD_CONFIGURATION_ERROR for one in last if one.spoilt is not None]
        if np.any(wrong):
            names = ",".join(self._names[i] for i in np.flatnonzero(np.any(wrong, axis=0))[:20])
            log.warning("address refused asset=%s tags=%s", self._opening.asset, names)

    def _raise_if_gone(self, said: Said) -> None:
        if said.lost is not None:
            raise said.lost
        if said.silent and said.silent >= self._polled.units and self._polled.last_silence is not None:
            raise self._polled.last_silence

    # ---- one scan ----

    async def _scan(self, tick_ns: int, late: int) -> Scan:
        said = await self._polled.read()
        if self._later:
            return Scan(tick_ns, tick_ns, late, said)
        scan = self._scan_of(tick_ns, late, said)
        if not self._numbers_only:
            await self._look_into(scan)
        return scan

    def _scan_of(self, tick_ns: int, late: int, said: Said) -> Scan:
        scan = Scan(tick_ns, tick_ns, late, said)
        if self._later:
            return scan
        scan.columns = rows = self._rows_of(self._polled, said)
        if self._pace.time is not None:
            ts_ns = self._own_time(float(rows.value[np.searchsorted(self._polled.numbers, self._pace.time)]))
            if ts_ns is None:  # the device's clock is not to be believed
                rows.quality[rows.quality < UNCERTAIN_BIT] = Quality.UNCERTAIN
            scan.ts_ns = tick_ns if ts_ns is None else ts_ns
            self._tell_of(scan, self._device.events(self._opening.clock()))
        return scan

    def _own_time(self, milliseconds: float) -> int | None:
        """The device's own time; None where it is none, or a wrong one."""
        ts_ns = device_time(milliseconds)
        if self._pace.allowance is None or not np.isfinite(milliseconds):
            return ts_ns
        said_ns = ts_ns if ts_ns is not None else round(min(max(milliseconds * 1e6, 0.0), LATEST_NS))
        return ts_ns if self._device.believed(said_ns, self._opening.clock()) else None

    def _tell_of(self, scan: Scan, events: Sequence[Event]) -> None:
        memory = self._remember()
        scan.events += tuple(events)
        scan.memory = memory if memory != self._memory else scan.memory
        self._memory = memory

    def _rows_of(self, readout: Readout, said: Said) -> Columns:
        """The rows (n,) of one reading."""
        raw, quality = readout.numbers_in(said)
        which = readout.which
        place = which if isinstance(which, slice) else readout.tag
        return Columns(readout.tag, *self._scaling.judge(raw[which], quality[which], place))

    def _rows(self, said: Sequence[Said]) -> Columns:
        """The rows (readings · n,) of readings of all tags with one decoder, one after the other."""
        raw, quality = self._polled.numbers_of(said)
        value, quality = self._scaling.judge(raw, quality)
        tag = self._polled.tag if len(raw) == 1 else np.tile(self._polled.tag, len(raw))
        return Columns(tag, value.reshape(-1), quality.reshape(-1))

    async def _look_into(self, scan: Scan) -> None:
        """What a scan means beside its numbers: words, silences, ends of cycles."""
        said, columns = scan.said, [scan.columns] if scan.columns else []
        raw, quality = self._polled.numbers_in(said)
        events = [*self._texts_of(self._polled, said, scan.ts_ns), *self._silences(said, scan.ts_ns)]
        if said.lost is None:
            for cycle in self._cycles:
                if quality[cycle.at] >= UNCERTAIN_BIT or not np.isfinite(raw[cycle.at]):
                    continue
                more, rows = await self._end_of_cycle(cycle, int(raw[cycle.at]), scan.ts_ns)
                events += more
                columns += rows
        if len(columns) > 1:
            parts = [(one.tag, one.value, one.quality) for one in columns]
            scan.columns = Columns(*(np.concatenate(part) for part in zip(*parts, strict=True)))
        self._tell_of(scan, events)

    async def _end_of_cycle(self, cycle: CycleTags, now: int, ts_ns: int) -> tuple[list[Event], list[Columns]]:
        before = cycle.trigger.last
        ended = cycle.trigger.look(now)
        events = []
        if ended.reset:
            events.append(self._of_trigger(cycle, "cycle.reset", ts_ns, {"from": before, "to": now}))
        read = await cycle.readout.read() if ended.cycles else None
        is_read = read is not None and read.whole  # else the next scan tries again
        missed = ended.lost + max(0, ended.cycles - 1 if is_read else 0)
        if missed:
            data = {"from": before, "to": now, "missed": missed}
            events.append(self._of_trigger(cycle, "cycle.missed", ts_ns, data, Severity.WARNING))
        if read is None or not is_read:
            return events, []
        cycle.trigger.done(now)
        return [*self._texts_of(cycle.readout, read, ts_ns), *events], [self._rows_of(cycle.readout, read)]

    def _of_trigger(
        self, cycle: CycleTags, kind: str, ts_ns: int, said: dict[str, Any], severity: Severity = Severity.INFO
    ) -> Event:
        text, data = f"{cycle.name}: {said['from']} → {said['to']}", {"trigger": cycle.name} | said
        return Event(self._opening.asset, kind, ts_ns, text, severity=severity, key=cycle.name, data=data)

    def _texts_of(self, readout: Readout, said: Said, ts_ns: int) -> list[Event]:
        """What is told in words: strings, and the meaning of numbers."""
        told: list[Event | None] = []
        if readout.has_texts:
            texts = readout.texts_of(said)
            told += [self._texts.said(self._tags[tag], clean(text), ts_ns) for tag, text in texts]
        raw, quality = readout.numbers_in(said)
        for index, values in readout.meanings:
            if quality[index] < UNCERTAIN_BIT and np.isfinite(raw[index]):
                number = int(raw[index])
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
            scan = await self._scan(tick.ns, late)
            self._buffer.put(scan)
            late = 0
            self._raise_if_gone(scan.said)
            seat.busy, seat.due_s = False, now() + (self._every - clock() % self._every) / SECOND_NS

    async def _scan_at_full_pace(self) -> None:
        while self._later:  # as below, in as few steps as can be: this is what replays of months wait for
            await self._buffer.room()
            self._began_ns = self._opening.clock()
            said = await self._polled.read_on(self._reeled)
            if said is not None:
                self._reel.taken = True
                self._buffer.put(Scan(self._began_ns, self._began_ns, 0, said))
                self._raise_if_gone(said)
            elif len(self._reel.data) >= self._most:
                self._buffer.grow(self._most)
        while True:
            await self._buffer.room()
            scan = await self._scan(self._opening.clock(), 0)
            self._put_if_new(scan)
            self._raise_if_gone(scan.said)

    def _reeled(self, data: bytes) -> bool:
        """Keeps a whole reading; whether there is room for another."""
        reel = self._reel
        if reel.taken:
            reel = self._reel = Reel(self._polled.decoder, self._polled.units)
            self._buffer.put(reel)
        reel.stamps.append(self._began_ns)
        reel.data.append(data)
        self._lane.answered += self._polled.requests
        self._began_ns = self._opening.clock()
        return len(reel.data) < self._most

    def _put_if_new(self, scan: Scan) -> None:
        """A device that keeps its own time and says all the same again has not stepped on."""
        before, self._before = self._before, scan
        if (
            self._pace.time is None
            or before is None
            or scan.events
            or scan.memory is not None
            or scan.ts_ns != before.ts_ns
            or not alike(scan.columns, before.columns)
        ):
            self._buffer.put(scan)

    def readings(self) -> AsyncIterator[Reading]:
        """Every scan since the last reading, merged into one batch."""
        return Readings(self._buffer, self._merge, _GATHER_S if self._pace.full else 0.0)

    def _columns_of(self, scans: Sequence[Scan]) -> list[Columns]:
        if not self._later:
            return [scan.columns for scan in scans if scan.columns is not None]
        together = itertools.groupby((scan.said for scan in scans), key=lambda said: id(said.decoder))
        return [self._rows(list(group)) for _, group in together]

    def _merge(self, scans: list[Scan]) -> Reading:
        self._lane.tell()
        parts = self._columns_of(scans)
        stamps = np.array([ns for scan in scans for ns in scan.stamps or (scan.ts_ns,)], np.int64)
        lengths = len(self._names) if self._later else [len(part.tag) for part in parts]
        batch = Batch(
            self._opening.asset,
            self._names,
            stamps.repeat(lengths),
            joined([part.tag for part in parts]),
            joined([part.value for part in parts]),
            joined([part.quality for part in parts]),
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
