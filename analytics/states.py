"""Cycles from a machine's state: rows of state numbers to runs, runs to segments.

* A state is a number, the index of its name. The states of a cycle come in one order, some may be missing; a cycle
  begins where the order falls back.
* A boundary lies at the first row of the new state, so it is late by at most one sample.
* Nothing is interpolated across a gap: the phase before it ends with its last row.
* A run of few rows that cannot stand between its neighbours in the order is a glitch and is left out.
* Every decision looks at a few runs around it, so a cut far enough away changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analytics.process import Flag, Phase, Segment
from analytics.result import Bools, Ints
from analytics.time_series import GAP_FACTOR
from analytics.window import SECOND_NS, Series

_GLITCH_ROWS = 2
_GLITCH_PASSES = 3
_COUNTER_JUMP = 1000.0


@dataclass(frozen=True, slots=True, eq=False)
class StateRows:
    """What was read of the state.

    Attributes:
        ts_ns: (n,) strictly rising.
        code: (n,) index of the state's name.
        every_s: nominal interval; infinite when it is sent on change.
    """

    ts_ns: Ints
    code: Ints
    every_s: float

    @classmethod
    def of(cls, series: Series, count: int) -> "StateRows":
        """The rows of a state role that name one of `count` states."""
        rows = series.good
        code = np.rint(rows.value)
        known = (code >= 0) & (code < count) & (np.abs(rows.value - code) < 0.25)
        return cls(rows.ts_ns[known], code[known].astype(np.int64), rows.every_s)

    @property
    def gap_after(self) -> Bools:
        """(n-1,) whether too long passed until the next row."""
        return np.asarray(np.diff(self.ts_ns) > GAP_FACTOR * self.every_s * SECOND_NS, dtype=np.bool_)

    def filled(self, other: "StateRows") -> "StateRows":
        """These rows, and in their gaps those of another witness of the state."""
        if not len(self.ts_ns):
            return other
        at = np.searchsorted(self.ts_ns, other.ts_ns)
        inside = np.append(np.append(True, self.gap_after), True)[at]  # before the first, in a gap, after the last
        inside &= ~np.isin(other.ts_ns, self.ts_ns)
        when = np.concatenate([self.ts_ns, other.ts_ns[inside]])
        order = np.argsort(when, kind="stable")
        code = np.concatenate([self.code, other.code[inside]])
        return StateRows(when[order], code[order], max(self.every_s, other.every_s))


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """Stretches of one state: (k,) columns.

    Attributes:
        code: the state.
        start_ns: first row.
        last_ns: last row.
        rows: how many.
        torn: whether a gap lies inside.
        gap_before: whether a gap lies between the run before and this one.
        parted: whether another witness says that a cycle began between the run before and this one.
    """

    code: Ints
    start_ns: Ints
    last_ns: Ints
    rows: Ints
    torn: Bools
    gap_before: Bools
    parted: Bools

    def __len__(self) -> int:
        return len(self.code)

    @classmethod
    def of(cls, rows: StateRows, breaks: Bools | None = None) -> "Runs":
        """Runs of equal state; `breaks` (n-1,) are where another witness says that a cycle began."""
        if not len(rows.ts_ns):
            none, never = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.bool_)
            return cls(none, none, none, none, never, never, never)
        broken = np.zeros(len(rows.ts_ns) - 1, dtype=np.bool_) if breaks is None else breaks
        cut = (np.diff(rows.code) != 0) | broken
        first = np.append(0, np.flatnonzero(cut) + 1)
        last = np.append(first[1:] - 1, len(rows.ts_ns) - 1)
        gap = np.append(rows.gap_after, False)
        inner = np.add.reduceat(np.where(np.append(cut, True), 0, gap), first) > 0
        before = np.append(False, gap[first[1:] - 1])
        parted = np.append(False, broken[first[1:] - 1])
        return cls(rows.code[first], rows.ts_ns[first], rows.ts_ns[last], last - first + 1, inner, before, parted)

    def kept(self, keep: Bools) -> "Runs":
        """Without some runs; equal neighbours that meet become one."""
        index = np.flatnonzero(keep)
        if len(index) == len(self):
            return self
        if not len(index):
            return Runs.of(StateRows(index, index, np.inf))
        code = self.code[index]
        # What lies between a kept run and the one kept before it.
        since = np.append(0, index[:-1] + 1)
        gap = np.logical_or.reduceat(self.gap_before, since)
        parted = np.logical_or.reduceat(self.parted, since)
        meet = np.append(False, np.diff(code) == 0) & ~parted
        first = np.flatnonzero(~meet)
        last = np.append(first[1:] - 1, len(index) - 1)
        return Runs(
            code[first],
            self.start_ns[index][first],
            self.last_ns[index][last],
            np.add.reduceat(self.rows[index], first),
            np.logical_or.reduceat(self.torn[index] | (meet & gap), first),
            gap[first],
            parted[first],
        )


@dataclass(frozen=True, slots=True)
class Order:
    """The order of the states of a cycle.

    Attributes:
        names: by state number.
        first: the state that begins a cycle.
        rest: the state in which a machine waits; a cycle does not last longer than `longest_s` because of it.
        outside: states with no place in the order, which may come at any time (FAULT).
        longest_s: see `rest`.
        after: the states after which the first one begins a cycle; empty: wherever the order falls back.
    """

    names: Sequence[str]
    first: str
    rest: str = ""
    outside: tuple[str, ...] = ("FAULT",)
    longest_s: float = np.inf
    after: tuple[str, ...] = ()

    @property
    def place(self) -> Ints:
        """(states,) place in the cycle by state number, -1 outside."""
        return self._places(self.outside)

    @property
    def ring(self) -> Ints:
        """(states,) place by state number where all but FAULT have one."""
        return self._places(("FAULT",))

    def _places(self, without: tuple[str, ...]) -> Ints:
        inside = [code for code, name in enumerate(self.names) if name not in without]
        begin = inside.index(self.names.index(self.first))
        place = np.full(len(self.names), -1, dtype=np.int64)
        place[inside] = (np.arange(len(inside)) - begin) % len(inside)
        return place


def without_glitches(runs: Runs, order: Order) -> Runs:
    """The runs that can follow each other in the order."""
    place = order.ring
    size = int(place.max()) + 1
    fault = order.names.index("FAULT") if "FAULT" in order.names else -1
    for _ in range(_GLITCH_PASSES):
        if len(runs) < 3:
            return runs
        at = place[runs.code]
        before, here, after = at[:-2], at[1:-1], at[2:]
        round_trip = (here - before) % size + (after - here) % size != (after - before) % size
        ordered = (before >= 0) & (here >= 0) & (after >= 0)
        short = runs.rows[1:-1] <= _GLITCH_ROWS
        within = (runs.code[:-2] == runs.code[2:]) & (runs.code[1:-1] != fault)
        wrong = (round_trip & ordered) | within
        wrong &= short & ~runs.gap_before[1:-1]
        # Of two wrong neighbours the shorter one is the likelier glitch; the other is asked again.
        length = np.concatenate(
            [[_GLITCH_ROWS + 1], np.where(wrong, runs.rows[1:-1], _GLITCH_ROWS + 1), [_GLITCH_ROWS + 1]]
        )
        wrong &= length[1:-1] <= np.minimum(length[:-2], length[2:])
        # Two wrong rows one after the other may look like the states of a cycle between two of the same state.
        two = (runs.code[:-3] == runs.code[3:]) & short[:-1] & short[1:] & ~runs.gap_before[1:-2]
        two &= (runs.code[1:-2] != fault) & (runs.code[2:-1] != fault)
        two &= (runs.rows[:-3] > _GLITCH_ROWS) & (runs.rows[3:] > _GLITCH_ROWS)
        drop = np.concatenate([[False], wrong, [False]])
        drop[1:-2] |= two
        drop[2:-1] |= two
        runs = runs.kept(~drop)
    return runs


def starts(runs: Runs, order: Order) -> Ints:
    """(c,) indices of the runs that begin a cycle."""
    at = order.place[runs.code]
    if len(at) < 2:
        return np.zeros(0, dtype=np.int64)
    before, here = at[:-1], at[1:]
    if order.after:
        lasts = [order.names.index(name) for name in order.after if name in order.names]
        return np.flatnonzero((here == 0) & np.isin(runs.code[:-1], lasts) | runs.parted[1:]) + 1
    back = (here >= 0) & (before >= 0) & (here < before)
    return np.flatnonzero(back | ((here == 0) & (before < 0)) | runs.parted[1:]) + 1


def counted(series: Series) -> Series:
    """The rows of a counter without those that stand alone, far from both neighbours."""
    rows = series.good
    if len(rows) < 3:
        return rows
    near = np.abs(np.diff(rows.value)) <= _COUNTER_JUMP
    keep = np.append(True, near) & np.append(near, True)
    keep |= np.append(False, near) | np.append(near, False)
    return Series(rows.ts_ns[keep], rows.value[keep], rows.quality[keep], rows.every_s, rows.counter)


def counter_breaks(rows: StateRows, counter: Series, order: Order, counts_at: str) -> Bools:
    """(n-1,) gaps of the state over which the counter says that a new cycle began though the order does not."""
    gap = rows.gap_after
    breaks = np.zeros(len(gap), dtype=np.bool_)
    place = order.place
    known = counted(counter)
    for i in np.flatnonzero(gap):
        before, after = place[rows.code[i]], place[rows.code[i + 1]]
        rose = known.at(int(rows.ts_ns[i + 1])) - known.at(int(rows.ts_ns[i]))
        passed = before < place[order.names.index(counts_at)] <= after
        breaks[i] = before <= after and 0 < rose - passed <= _COUNTER_JUMP
    return breaks


def segments(runs: Runs, order: Order) -> list[Segment]:
    """The cycles of the runs, each with its phases; the last one open unless it rests for too long."""
    begin = starts(runs, order)
    ends = np.append(begin[1:], len(runs))[: len(begin)]
    return [_segment(runs, order, int(i), int(j)) for i, j in zip(begin, ends, strict=True)]


def _segment(runs: Runs, order: Order, first: int, after: int) -> Segment:
    start_ns = int(runs.start_ns[first])
    end_ns = int(runs.start_ns[after]) if after < len(runs) else None
    phases = []
    for i in range(first, after):
        follows = i + 1 < len(runs)
        torn_off = follows and bool(runs.gap_before[i + 1])
        stop_ns = int(runs.last_ns[i] if torn_off else runs.start_ns[i + 1]) if follows else None
        phases.append(Phase(order.names[runs.code[i]], int(runs.start_ns[i]), stop_ns))
    known_ns = int(runs.last_ns[after - 1])
    gap = bool(runs.torn[first:after].any() or runs.gap_before[first : after + 1].any())
    flags = frozenset({Flag.GAP}) if gap else frozenset()
    longest_ns = None if np.isinf(order.longest_s) else start_ns + round(order.longest_s * SECOND_NS)
    last = phases[-1]
    if longest_ns is not None and last.name == order.rest and (end_ns or known_ns) > longest_ns:
        end_ns = max(last.start_ns, longest_ns)
        phases[-1:] = [Phase(last.name, last.start_ns, end_ns)] if end_ns > last.start_ns else []
    return Segment(start_ns, end_ns, tuple(phase for phase in phases if phase.end_ns != phase.start_ns), flags=flags)


def since(span: Bools, bit: Bools) -> Bools:
    """(n,) whether a bit has been on since `span` last came on.

    >>> since(np.array([0, 1, 1, 0, 1], bool), np.array([0, 0, 1, 0, 0], bool)).tolist()
    [False, False, True, False, False]
    """
    return np.asarray(_last_true(bit) > _last_true(~span), dtype=np.bool_)


def was(first: Bools, second: Bools) -> Bools:
    """(n,) whether `first` was on more recently than `second`.

    >>> was(np.array([1, 0, 0], bool), np.array([0, 0, 1], bool)).tolist()
    [True, True, False]
    """
    return np.asarray(_last_true(first) > _last_true(second), dtype=np.bool_)


def _last_true(bit: Bools) -> Ints:
    """(n,) the last row at or before each at which the bit was on, -1 when it never was."""
    return np.maximum.accumulate(np.where(bit, np.arange(len(bit)), -1))
