"""Cycles and phases from the state number of a machine, whoever numbers: its PLC, or a rule over other signals.

* States stand in the order in which a cycle passes them; the number of a state is its place in the list. "" is unused.
* IDLE is between cycles, FAULT is inside one and says nothing about the order.
* A state begins with the first row that shows it: at most one row late, never early.
* Across a step without rows the old state lasts one interval more; what came then is unknown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from analytics.process import Flag, Phase, Segment
from analytics.readings import as_sent
from analytics.result import Bools, Ints
from analytics.time_series import GAP_FACTOR
from analytics.window import EMPTY, SECOND_NS, Series

IDLE: Final = "IDLE"
FAULT: Final = "FAULT"
_GLITCH_ROWS: Final = 2


@dataclass(frozen=True, slots=True)
class Steps:
    """The rows of a marker that show a state of the list.

    Attributes:
        ts_ns: (n,) rising.
        state: (n,) index into `names`.
        names: of the states, in order.
        every_s: nominal interval, infinite when rows come on change.
        start_ns: first moment of the window that they were read from.
    """

    ts_ns: Ints
    state: Ints
    names: tuple[str, ...]
    every_s: float
    start_ns: int

    @classmethod
    def of(cls, series: Series, names: Sequence[str], start_ns: int) -> "Steps":
        """States from numbers; others are dropped, and so are a few rows that interrupt a state.

        >>> Steps.of(Series.of([0, 1, 2, 3, 4], [0, 0, 7, 0, 1], every_s=1e-9), ("A", "B"), 0).state.tolist()
        [0, 0, 0, 1]
        >>> rows = [1, 1, 1, 3, 2, 1, 1, 1, 2, 3, 3, 3]
        >>> Steps.of(Series.of(range(12), rows, every_s=1e-9), ("IDLE", "A", "B", "C"), 0).state.tolist()
        [1, 1, 1, 1, 1, 1, 2, 3, 3, 3]
        """
        series = as_sent(series)
        good = series.good
        number = np.rint(good.value).astype(np.int64)
        used = np.array([bool(name) for name in names], dtype=np.bool_)
        inside = (number >= 0) & (number < len(names))
        inside[inside] = used[number[inside]]
        when, state = good.ts_ns[inside], number[inside]
        if np.isfinite(series.every_s):
            kept = _without_glitches(state, names.index(IDLE) if IDLE in names else -1)
            when, state = when[kept], state[kept]
        return cls(when, state, tuple(names), series.every_s, start_ns)

    @property
    def is_gap(self) -> Bools:
        """(n-1,) which steps hold no rows for longer than 2.5 intervals."""
        return np.asarray(np.diff(self.ts_ns) > GAP_FACTOR * self.every_s * SECOND_NS, dtype=np.bool_)

    def number_of(self, name: str) -> int:
        """The number of a state, -1 when the list lacks it."""
        return self.names.index(name) if name in self.names else -1

    def known_until(self, row: int, next_ns: int) -> int:
        """How long the state of a row is known to last when the next row shows another at `next_ns`."""
        if not self.is_gap[row]:
            return next_ns
        return int(self.ts_ns[row]) + round(self.every_s * SECOND_NS)


def _without_glitches(state: Ints, idle: int) -> Bools:
    """(n,) rows to keep: not those of short runs that cannot stand where they are.

    A run of one or two rows between two runs of one state is none; nor is one of up to four rows of short runs between
    two longer runs, when its state does not lie between theirs in the order. Between two rests it may be a short cycle.
    """
    heads = np.flatnonzero(np.append(True, np.diff(state) != 0)[: len(state)])
    lengths = np.diff(np.append(heads, len(state)))
    code, short = state[heads], lengths <= _GLITCH_ROWS
    wrong = np.zeros(len(heads), dtype=np.bool_)
    wrong[1:-1] = (code[:-2] == code[2:]) & short[1:-1] if len(heads) > 2 else False
    edges = np.flatnonzero(np.diff(np.concatenate(([False], short, [False])).astype(np.int8)))
    for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if first == 0 or last == len(heads) or lengths[first:last].sum() > 2 * _GLITCH_ROWS:
            continue
        before, after = code[first - 1], code[last]
        if before <= after and not before == after == idle:
            wrong[first:last] |= (code[first:last] <= before) | (code[first:last] >= after)
    return np.repeat(~wrong, lengths)


def cycles_of(
    steps: Steps,
    lead_s: float,
    *,
    counter: Series = EMPTY,
    lane: str = "",
    last: Sequence[str] = (),
    rests_silently: bool = False,
) -> tuple[Segment, ...]:
    """The cycles: each begins where IDLE ends, where the first state is entered, or where the order falls far back.

    After a silence of `lead_s` or more the first state always begins a cycle, so a cut that far off changes nothing.
    A machine that `rests_silently` sends rows while a cycle runs only: a silence at its ends is no gap.
    A closed cycle that did not end in a state of `last` (default: the last of the list) is ABORTED.
    """
    begins = np.flatnonzero(_begins(steps, lead_s))
    idle = np.flatnonzero(steps.state == steps.number_of(IDLE))
    finals = {steps.number_of(name) for name in last or (_working(steps.names)[-1],)}
    found = []
    for place, first in enumerate(begins):
        following = int(begins[place + 1]) if place + 1 < len(begins) else len(steps.ts_ns)
        resting = int(np.searchsorted(idle, first))
        stop = min(following, int(idle[resting])) if resting < len(idle) else following
        found.append(_segment(steps, range(int(first), stop), finals, counter, lane, rests_silently=rests_silently))
    return tuple(found)


def _working(names: Sequence[str]) -> list[str]:
    return [name for name in names if name not in {"", IDLE, FAULT}]


def _begins(steps: Steps, lead_s: float) -> Bools:
    """(n,) rows that begin a cycle."""
    begins = np.zeros(len(steps.ts_ns), dtype=np.bool_)
    ordered = np.flatnonzero(steps.state != steps.number_of(FAULT))
    if not len(ordered):
        return begins
    state, when = steps.state[ordered], steps.ts_ns[ordered]
    working = _working(steps.names)
    first, idle = steps.number_of(working[0]), steps.number_of(IDLE)
    before = np.append(state[0], state[:-1])
    silent = np.diff(when, prepend=steps.start_ns) >= lead_s * SECOND_NS
    entered = (state == first) & ((before != first) | silent)
    fell_back = (before != idle) & (before - state > len(working) / 2)
    begins[ordered] = (state != idle) & ((before == idle) | entered | fell_back)
    begins[ordered[0]] = bool(state[0] == first and silent[0])
    return begins


def _segment(
    steps: Steps, rows: range, finals: set[int], counter: Series, lane: str, *, rests_silently: bool
) -> Segment:
    """The cycle of some rows; open when the window ends with it."""
    first, stop = rows.start, rows.stop
    is_open = stop >= len(steps.ts_ns)
    state = steps.state[first:stop]
    heads = first + np.flatnonzero(np.append(True, np.diff(state) != 0))
    start_ns = int(steps.ts_ns[first])
    end_ns = None if is_open else steps.known_until(stop - 1, int(steps.ts_ns[stop]))
    ends = [steps.known_until(int(head) - 1, int(steps.ts_ns[head])) for head in heads[1:]]
    phases = tuple(
        Phase(steps.names[steps.state[head]], int(steps.ts_ns[head]), until)
        for head, until in zip(heads, [*ends, end_ns], strict=True)
    )
    flags = set()
    inner = steps.is_gap[first : stop - 1] if rests_silently else steps.is_gap[max(first - 1, 0) : stop]
    if inner.any():
        flags.add(Flag.GAP)
    if not is_open and int(state[-1]) not in finals and (rests_silently or not steps.is_gap[stop - 1]):
        flags.add(Flag.ABORTED)
    until_ns = end_ns if end_ns is not None else int(steps.ts_ns[-1]) + 1
    return Segment(start_ns, end_ns, phases, lane, number_in(counter, start_ns, until_ns), frozenset(flags))


def number_in(counter: Series, start_ns: int, end_ns: int) -> int | None:
    """The machine's own count over a span, its median, so a spike does not matter; None when there is none.

    A count that comes on change may come a little before the cycle that it counts: what held in the middle counts.
    """
    if not np.isfinite(as_sent(counter).every_s):
        middle = counter.at((start_ns + end_ns) // 2)
        return int(middle) if np.isfinite(middle) else None
    good = counter.between(start_ns, end_ns).good
    return int(np.sort(good.value)[len(good) // 2]) if len(good) else None
