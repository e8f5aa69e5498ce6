"""Times and quantities of a machine by shift and order: the elements of ISO 22400-2 (section 6.1).

The state of a machine at a moment is one of these, and its times add up to the shift:

    not planned  outside shifts, in breaks, and in stops entered as planned: neither counts against the machine
    producing    a cycle runs (APT); of a belt, it moves with load
    setup        entered as setup (AUST)
    delay        between two cycles, not longer than `delay_s` (ADET)
    down         every other stop in planned time; technical or organisational once somebody has said so

* Intervals are cut at shift, order and day boundaries: what stands through midnight is counted on both sides.
* A stop that was entered goes before what the cycles say only where no cycle runs: a running cycle is never downtime.
* Parts belong to the shift and order in which their cycle ends. A cycle with verdict `fail` makes scrap, an aborted one
  makes nothing; entered scrap and rework come on top.
"""

import enum
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from analytics.intervals import NOTHING, Intervals
from analytics.oee import Elements
from analytics.result import Bools, Floats, Ints
from analytics.shifts import ShiftRun, busy_times
from analytics.window import SECOND_NS

DELAY_S: Final = 300.0


class Stop(enum.StrEnum):
    """What somebody said a stop was."""

    PLANNED = "planned"
    SETUP = "setup"
    TECHNICAL = "technical"
    ORGANISATIONAL = "organisational"
    PREVENTIVE = "preventive"  # maintenance that was planned: planned downtime, PMT
    CORRECTIVE = "corrective"  # repair: technical downtime, CMT


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """Closed cycles of a machine as columns, in order of their starts.

    Attributes:
        start_ns: (n,).
        end_ns: (n,).
        parts: (n,) items that each makes, 0 for an aborted one.
        good: (n,) of those good.
        ideal_s: (n,) PRI, planned run time of one item, NaN where none is set.
    """

    start_ns: Ints
    end_ns: Ints
    parts: Floats
    good: Floats
    ideal_s: Floats


@dataclass(frozen=True, slots=True)
class Entered:
    """Scrap and rework that somebody counted at a moment."""

    ts_ns: int
    scrap: float
    rework: float


@dataclass(frozen=True, slots=True)
class Said:
    """What is known of a machine beyond its cycles.

    Attributes:
        stops: when which kind of stop was, as entered.
        quantities: entered scrap and rework.
        running: from the start of a cycle that is not over to the newest row.
        orders: from when on which order ran, in order of time; "" is none.
        blind: when no data came; such time is neither production nor downtime.
    """

    stops: Mapping[Stop, Intervals] = field(default_factory=dict)
    quantities: Sequence[Entered] = ()
    running: Intervals = NOTHING
    orders: Sequence[tuple[int, str]] = ()
    blind: Intervals = NOTHING


@dataclass(frozen=True, slots=True)
class Row:
    """The elements of a machine in one shift and order; times in s.

    `spans` is when the order ran in the shift. `elements` are single numbers. `down_s`, `technical_s`,
    `organisational_s` and `blind_s` are of the planned time.
    """

    run: ShiftRun
    order: str
    spans: Intervals
    elements: Elements
    down_s: float
    technical_s: float
    organisational_s: float
    blind_s: float
    failures: int
    cycles: int


@dataclass(frozen=True, slots=True)
class _Pieces:
    """Planned and other times cut into pieces that lie in one shift and one order each."""

    start_ns: Ints
    end_ns: Ints
    row: Ints
    keys: list[tuple[int, str]]


def elements(made: Made, runs: Sequence[ShiftRun], said: Said, *, delay_s: float = DELAY_S) -> list[Row]:
    """The elements of every shift, one row for each order that ran in it.

    Args:
        made: cycles that overlap the shifts, and the one before and after them.
        runs: shifts in order.
        said: what was entered.
        delay_s: a pause between cycles up to this is a delay, a longer one is downtime.
    """
    if not runs:
        return []
    pieces = _pieces(runs, said.orders)
    times = _times(made, runs, said, delay_s)
    spent = {name: _spent(one, pieces) for name, one in times.items()}
    ends = _Counted(pieces, made.end_ns)
    good_parts, parts = made.good, made.parts
    scrap = _Counted(pieces, np.array([one.ts_ns for one in said.quantities], dtype=np.int64))
    extra_scrap = scrap.sum(np.array([one.scrap for one in said.quantities]))
    rework = scrap.sum(np.array([one.rework for one in said.quantities]))
    produced = ends.sum(parts)
    good = np.maximum(ends.sum(good_parts) - extra_scrap, 0.0)
    planned_run = ends.sum(parts * made.ideal_s)
    per_part = np.divide(planned_run, produced, out=np.zeros(len(produced)), where=produced > 0)
    planned_good = ends.sum(good_parts * made.ideal_s) - per_part * extra_scrap
    failures = _Counted(pieces, times["technical"].start_ns).count()
    closed = ends.count()
    spans = _spans(pieces)
    order_s = _order_time(pieces)
    rows = []
    for index, (run, order) in enumerate(pieces.keys):
        taken = {name: float(column[index]) for name, column in spent.items()}
        rows.append(
            Row(
                run=runs[run],
                order=order,
                spans=spans[index],
                elements=Elements(
                    planned_busy_s=taken["busy"],
                    production_s=taken["producing"],
                    setup_s=taken["setup"],
                    delay_s=taken["delay"],
                    busy_s=taken["producing"] + taken["setup"] + taken["delay"],
                    order_s=float(order_s[index]),
                    planned_run_s=float(planned_run[index]),
                    planned_good_s=float(planned_good[index]),
                    produced=float(produced[index]),
                    good=float(good[index]),
                    scrap=float(produced[index] - good[index]),
                    rework=float(rework[index]),
                    corrective_s=taken["corrective"],
                    preventive_s=taken["preventive"],
                ),
                down_s=taken["down"],
                technical_s=taken["technical"],
                organisational_s=taken["organisational"],
                blind_s=taken["blind"],
                failures=int(failures[index]),
                cycles=int(closed[index]),
            )
        )
    return rows


def _times(made: Made, runs: Sequence[ShiftRun], said: Said, delay_s: float) -> dict[str, Intervals]:
    """The states as disjoint sets; those of planned time add up to it."""
    stops = {kind: said.stops.get(kind, NOTHING) for kind in Stop}
    running = Intervals.of(made.start_ns, made.end_ns).plus(said.running)
    off = stops[Stop.PLANNED].plus(stops[Stop.PREVENTIVE]).minus(running)
    calendar = busy_times(list(runs))
    blind = said.blind.minus(running).both(calendar).minus(off)
    busy = calendar.minus(off).minus(blind)
    producing = running.both(busy)
    standing = busy.minus(producing)
    setup = stops[Stop.SETUP].both(standing)
    technical = stops[Stop.TECHNICAL].plus(stops[Stop.CORRECTIVE]).both(standing).minus(setup)
    organisational = stops[Stop.ORGANISATIONAL].both(standing).minus(setup).minus(technical)
    unsaid = standing.minus(setup).minus(technical).minus(organisational)
    delay = _pauses(running, delay_s).both(unsaid)
    return {
        "busy": busy,
        "producing": producing,
        "setup": setup,
        "delay": delay,
        "down": standing.minus(setup).minus(delay),
        "technical": technical,
        "organisational": organisational,
        "corrective": stops[Stop.CORRECTIVE].both(technical),
        "preventive": stops[Stop.PREVENTIVE].minus(running),
        "blind": blind,
    }


def _pauses(running: Intervals, longest_s: float) -> Intervals:
    """The times between cycles that are short."""
    start, end = running.end_ns[:-1], running.start_ns[1:]
    short = end - start <= longest_s * SECOND_NS
    return Intervals.of(start[short], end[short])


def _pieces(runs: Sequence[ShiftRun], orders: Sequence[tuple[int, str]]) -> _Pieces:
    starts, ends, rows = [], [], []
    keys: dict[tuple[int, str], int] = {}
    changes = [(-(2**62), ""), *orders]
    after = [at for at, _ in changes[1:]] + [2**62]
    for number, run in enumerate(runs):
        for (since, order), until in zip(changes, after, strict=True):
            first, last = max(run.start_ns, since), min(run.end_ns, until)
            if first < last:
                starts.append(first)
                ends.append(last)
                rows.append(keys.setdefault((number, order), len(keys)))
    columns = [np.array(column, dtype=np.int64) for column in (starts, ends, rows)]
    order_of = np.argsort(columns[0], kind="stable")
    return _Pieces(columns[0][order_of], columns[1][order_of], columns[2][order_of], list(keys))


def _spans(pieces: _Pieces) -> list[Intervals]:
    """When each row is."""
    order = np.argsort(pieces.row, kind="stable")
    cuts = np.searchsorted(pieces.row[order], np.arange(len(pieces.keys) + 1)).tolist()
    parts = [order[first:last] for first, last in itertools.pairwise(cuts)]
    return [Intervals.of(pieces.start_ns[part], pieces.end_ns[part]) for part in parts]


def _spent(times: Intervals, pieces: _Pieces) -> Floats:
    """(rows,) seconds of a set in each row."""
    within = times.within(pieces.start_ns, pieces.end_ns) / SECOND_NS
    return _sums(pieces.row, within, len(pieces.keys))


def _sums(row: Ints, weight: Floats, rows: int) -> Floats:
    return np.bincount(row, weights=weight, minlength=rows).astype(np.float64)


def _order_time(pieces: _Pieces) -> Floats:
    """(rows,) seconds that each order was on the machine; NaN without an order."""
    lasted = np.bincount(pieces.row, weights=(pieces.end_ns - pieces.start_ns) / SECOND_NS, minlength=len(pieces.keys))
    unknown: Bools = np.array([not order for _, order in pieces.keys], dtype=np.bool_)
    return np.where(unknown, np.nan, lasted)


class _Counted:
    """Moments by row; those outside every shift belong nowhere."""

    def __init__(self, pieces: _Pieces, at_ns: Ints) -> None:
        self._rows = len(pieces.keys)
        place = np.searchsorted(pieces.start_ns, at_ns, side="right") - 1
        inside = (place >= 0) & (at_ns <= pieces.end_ns[np.maximum(place, 0)])
        self._inside, self._row = inside, pieces.row[np.maximum(place, 0)][inside]

    def sum(self, weight: Floats) -> Floats:
        """(rows,) sums of what each moment carries."""
        return _sums(self._row, np.asarray(weight, dtype=np.float64)[self._inside], self._rows)

    def count(self) -> Ints:
        """(rows,) how many."""
        return np.bincount(self._row, minlength=self._rows).astype(np.int64)
