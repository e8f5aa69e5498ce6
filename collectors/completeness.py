"""How many rows were due of each tag in each minute, and why some are missing. A pure fold: no network, no clock.

* Σ expected = Σ rows + Σ missing, whatever happens in whatever order: every row counts as one that was due, and every
  missing one is booked as due in the same stroke.
* What is counted but not yet told lies in `state()`, which the gateway stores in the same append as the rows. After a
  SIGKILL the counts are therefore exactly those of what became durable.
* Bounded: an outage is booked by the minute while that takes at most `_PIECES` rows, else by the hour, the day, or in
  one; at most `_CHUNK` rows at a time. Minutes that cannot be told (full spool) are merged when they become too many.
"""

import base64
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from collectors.outages import Stretch, joined
from collectors.schedule import period_ns
from collectors.source import Arrival, Mended, Reading
from pipeline.model import CAUSES, MINUTE_NS, Batch, Body, Cause, Int64s, Tally

_HOUR: Final = 60 * MINUTE_NS
_DAY: Final = 24 * _HOUR
_PIECES: Final = 300_000
"""Rows of tally that one outage may take."""
_CHUNK: Final = 4_096
"""Rows of tally booked before they are told."""
_OPEN_MINUTES: Final = 300
"""Minutes held at most, for a spool that refuses them or a device whose stamps are all over the place."""
_json: Final = json.JSONEncoder(separators=(",", ":")).encode
_COLUMN: Final = {cause: i for i, cause in enumerate(CAUSES)}


@dataclass(slots=True)
class _Minute:
    """Counts of one minute: (tags,) and (tags, causes)."""

    expected: Int64s
    missing: Int64s


class Accounts:
    """The books of one machine.

    Args:
        asset: ISA-95 path.
        tags: names of the tags.
        every_s: seconds between rows that are due.
        arrival: how rows come to be due.
        state: what `state()` said when the last append became durable, "" at a first start.
        on_demand: tags of which no row is due at any time; those that come count all the same.
        ticks_a_row: for how many ticks a tag owes one row, where that is not each: with a dead band it is known of an
            outage that the rows of the heartbeat are missing, and no more.
    """

    def __init__(
        self,
        asset: str,
        tags: Sequence[str],
        every_s: float,
        arrival: Arrival,
        state: str = "",
        on_demand: Collection[str] = (),
        *,
        ticks_a_row: Mapping[str, int] | None = None,
    ) -> None:
        self._asset, self._tags = asset, tuple(tags)
        self._due = np.array([name not in on_demand for name in self._tags], np.int64)
        self._stride = np.array([(ticks_a_row or {}).get(name, 1) for name in self._tags], np.int64)
        self._every, self._arrival = period_ns(every_s), arrival
        self._minutes: dict[int, _Minute] = {}
        self._newest = self._told = 0
        self._away: list[Stretch] = []
        self.last_ns: int | None = None
        """Up to here everything that was due is booked; None before the first reading ever."""
        if state:
            self._restore(json.loads(state))

    # ---- what happened ----

    def add(self, reading: Reading, now_ns: int) -> None:
        """Books what a session handed over at `now_ns`."""
        for batch in _batches(reading.bodies):
            self._count(batch, None)
        for missed in reading.missed:
            self._miss(missed.ts_ns, missed.count, missed.cause)
        for mended in reading.mended:
            self._mend(mended)
        self.last_ns = now_ns if reading.ticks is None else reading.ticks[1]

    def alive(self, now_ns: int) -> None:
        """The session listens, though the device said nothing: up to now nothing is missing."""
        if self._arrival != "polled":
            self.last_ns = now_ns

    def cover(self, until_ns: int, cause: Cause) -> bool:
        """Books a bounded part of what was due and not read, up to and including `until_ns`.

        Returns:
            Whether all of it is booked now; if not, store what `ripe` gives and call again.
        """
        if self.last_ns is None or not self._tags:
            return True
        if self._arrival == "kept":
            self.last_ns = until_ns
            return True
        last = self.last_ns // self._every * self._every if self._arrival == "polled" else self.last_ns
        due = max(0, (until_ns - last) // self._every)
        first = last + self._every
        step = self._step(until_ns - last)
        booked, begin = 0, first
        while due and booked < _CHUNK:
            piece = first // step * step
            count = min(due, (piece + step - first + self._every - 1) // self._every)
            self._book(first, count, cause)
            first, due, booked = first + count * self._every, due - count, booked + len(self._tags)
        self.last_ns = max(first - self._every, self.last_ns)
        if self._arrival == "mended" and first > begin:
            self._away = joined(
                self._away, Stretch(begin, (first - begin) // self._every, step, _COLUMN[cause]), self._every
            )
        return due == 0

    def refuse(self, bodies: Iterable[Body]) -> None:
        """Takes back what `add` and `ripe` took for granted: these bodies did not become durable."""
        for body in bodies:
            if isinstance(body, Batch):
                self._count(body, Cause.SPOOL_FULL)
            elif isinstance(body, Tally):
                self._take_back(body)

    # ---- what to tell ----

    def ripe(self) -> tuple[Tally, ...]:
        """Minutes that a later one has followed, the oldest first and not too many; cheap when there is none."""
        if self._newest <= self._told:
            return ()
        ripe = [minute for minute in self._minutes if minute < self._newest]
        if len(ripe) * len(self._tags) <= _CHUNK:
            self._told = self._newest
        return self._tell(ripe)

    def over(self, now_ns: int) -> tuple[Tally, ...]:
        """Minutes that have ended by the clock, likewise; for machines that fall silent."""
        return self._tell(minute for minute in self._minutes if minute + MINUTE_NS <= now_ns)

    def close(self) -> tuple[Tally, ...]:
        """Everything, the open minute included."""
        told: list[Tally] = []
        while self._minutes:
            told.extend(self._tell(self._minutes))
        return tuple(told)

    def state(self) -> str:
        """What is not told yet, as compact JSON text."""
        minutes = [
            [minute, _pack(counts.expected), _columns(counts.missing)] for minute, counts in self._minutes.items()
        ]
        away = [[one.first_ns, one.ticks, one.step_ns, one.column] for one in self._away]
        return _json([self.last_ns, minutes, away] if away else [self.last_ns, minutes])

    # ---- the fold ----

    def _restore(self, state: Any) -> None:
        self.last_ns, minutes, *more = state
        self._away = [Stretch(*one) for one in more[0]] if more and self._arrival == "mended" else []
        for minute, expected, missing in minutes:
            counts = self._minute(minute)
            counts.expected += _unpack(expected)
            for column, packed in missing:
                counts.missing[:, column] += _unpack(packed)

    def _minute(self, minute: int) -> _Minute:
        counts = self._minutes.get(minute)
        if counts is None:
            if len(self._minutes) >= _OPEN_MINUTES:
                self._merge()
            tags = len(self._tags)
            counts = _Minute(np.zeros(tags, np.int64), np.zeros((tags, len(CAUSES)), np.int64))
            counts = self._minutes.setdefault(minute, counts)
            self._newest = max(self._newest, minute)
        return counts

    def _merge(self) -> None:
        """Open minutes become open hours, days, or one minute: fewer entries, the same sums."""
        newest = max(self._minutes)
        for step in (_HOUR, _DAY, 0):
            merged: dict[int, _Minute] = {}
            for minute, counts in self._minutes.items():
                into = merged.setdefault(minute // step * step if step else newest, counts)
                if into is not counts:
                    into.expected += counts.expected
                    into.missing += counts.missing
            self._minutes = merged
            if len(merged) < _OPEN_MINUTES // 2:
                return

    def _count(self, batch: Batch, missing: Cause | None) -> None:
        """Books the rows of a batch as due, or (with a cause) those booked before as missing after all."""
        if not len(batch):
            return
        first, last = int(batch.ts_ns.min()) // MINUTE_NS, int(batch.ts_ns.max()) // MINUTE_NS
        if first == last:
            self._add_rows(first * MINUTE_NS, batch.tag, missing)
            return
        minutes = batch.ts_ns // MINUTE_NS
        for minute in np.unique(minutes):
            self._add_rows(int(minute) * MINUTE_NS, batch.tag[minutes == minute], missing)

    def _add_rows(self, minute: int, tag: npt.NDArray[np.uint16], missing: Cause | None) -> None:
        rows = np.bincount(tag, minlength=len(self._tags))
        counts = self._minute(minute)
        if missing is None:
            counts.expected += rows
        else:
            counts.missing[:, _COLUMN[missing]] += rows

    def _miss(self, first_ns: int, count: int, cause: Cause) -> None:
        """Books `count` ticks from `first_ns` on, in the minutes they belong to."""
        step = self._step(count * self._every)
        while count > 0:
            end = first_ns // step * step + step
            here = min(count, (end - first_ns + self._every - 1) // self._every)
            self._book(first_ns, here, cause)
            first_ns, count = first_ns + here * self._every, count - here

    def _book(self, first_ns: int, count: int, cause: Cause) -> None:
        """Books `count` ticks from `first_ns` on as missing, in the minute of the first."""
        counts = self._minute(first_ns // MINUTE_NS * MINUTE_NS)
        before = (first_ns + self._every - 1) // self._every
        due = ((before + count - 1) // self._stride - (before - 1) // self._stride) * self._due
        counts.expected += due
        counts.missing[:, _COLUMN[cause]] += due

    def _mend(self, mended: Mended) -> None:
        """Takes back what was booked as missing of one tag."""
        if not self._due[mended.tag]:
            return
        stride = int(self._stride[mended.tag])
        for one in self._away:
            for minute, first_ns, ticks in one.pieces(self._every, mended.from_ns, mended.until_ns):
                before = (first_ns + self._every - 1) // self._every
                due = (before + ticks - 1) // stride - (before - 1) // stride
                counts = self._minute(minute)
                counts.expected[mended.tag] -= due
                counts.missing[mended.tag, one.column] -= due

    def _step(self, span_ns: int) -> int:
        """How finely so long an outage is booked."""
        for step in (MINUTE_NS, _HOUR, _DAY):
            if (span_ns // step + 1) * len(self._tags) <= _PIECES:
                return step
        return max(span_ns, _DAY) * 2

    def _tell(self, minutes: Iterable[int]) -> tuple[Tally, ...]:
        chosen = sorted(minutes)[: _CHUNK // max(1, len(self._tags)) + 1]
        if not chosen:
            return ()
        counts = [self._minutes.pop(minute) for minute in chosen]
        expected = np.array([c.expected for c in counts])
        missing = np.array([c.missing for c in counts])
        place, tag = np.nonzero(expected | missing.any(axis=2))
        if not len(place):
            return ()
        minute = np.array(chosen, np.int64)[place]
        return (
            Tally(self._asset, self._tags, minute, tag.astype(np.uint16), expected[place, tag], missing[place, tag]),
        )

    def _take_back(self, tally: Tally) -> None:
        minutes, starts = np.unique(tally.minute_ns, return_index=True)
        ends = [*starts[1:], len(tally)]
        for minute, start, end in zip(minutes.tolist(), starts, ends, strict=True):  # ours: sorted, each tag once
            counts, tag = self._minute(minute), tally.tag[start:end]
            counts.expected[tag] += tally.expected[start:end]
            counts.missing[tag] += tally.missing[start:end]


def _batches(bodies: Iterable[Body]) -> list[Batch]:
    return [body for body in bodies if isinstance(body, Batch)]


def _pack(counts: Int64s) -> int | str:
    """Equal counts as one number, others as base64 of the smallest integers that hold them, with a sign if need be."""
    low, high = int(counts.min()), int(counts.max())
    if low == high:
        return low
    kind, most = ("u", high) if low >= 0 else ("i", max(high, -low - 1) * 2 + 1)
    width = next(w for w in (1, 2, 4, 8) if most < 1 << (8 * w))
    return (
        f"{kind if kind == 'i' else ''}{width}{base64.b64encode(counts.astype(f'<{kind}{width}').tobytes()).decode()}"
    )


def _columns(missing: Int64s) -> list[Any]:
    """The causes (tags, causes) that have any, each with its number."""
    if not missing.any():  # almost always
        return []
    return [[i, _pack(column)] for i, column in enumerate(missing.T) if column.any()]


def _unpack(packed: int | str) -> Int64s | int:
    if isinstance(packed, int):
        return packed
    kind, packed = ("i", packed[1:]) if packed[0] == "i" else ("u", packed)
    return np.frombuffer(base64.b64decode(packed[1:]), f"<{kind}{packed[0]}").astype(np.int64)
