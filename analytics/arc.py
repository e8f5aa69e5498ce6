"""States of a seam from current, gas and travel: when the arc burns, what comes before and after (section 3.1).

* A row is the mean over an interval; its time here is the interval's begin.
* The arc is on above one level for long enough and off below a lower one for long enough; in between nothing changes.
* Gas that flows without an arc is no seam.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from analytics.furnace_program import runs
from analytics.readings import held
from analytics.result import Bools, Floats, Ints
from analytics.window import EMPTY, SECOND_NS, Series

STATES: Final = ("IDLE", "PREFLOW", "ARC_START", "WELD", "CRATER", "POSTFLOW")
_IDLE, _PREFLOW, _START, _WELD, _CRATER, _POSTFLOW = range(6)


@dataclass(frozen=True, slots=True)
class ArcLevels:
    """When the arc is on; A and s."""

    on_a: float
    on_s: float
    off_a: float
    off_s: float
    bundle_s: float


@dataclass(frozen=True, slots=True)
class Helpers:
    """What else tells a phase; an empty series is not there."""

    gas: Series = EMPTY
    gas_on: float = 2.0
    travel: Series = EMPTY
    travel_on: float = 0.5
    start_s: float = 0.3


def burning(ts_ns: Ints, amperes: Floats, levels: ArcLevels) -> Bools:
    """(n,) whether a row belongs to an arc; drop-outs shorter than `off_s` belong to it."""
    mark = np.where(amperes > levels.on_a, 1, np.where(amperes < levels.off_a, 0, -1))
    known = np.maximum.accumulate(np.where(mark >= 0, np.arange(len(mark)), -1))
    on = (np.where(known >= 0, mark[np.maximum(known, 0)], 0) == 1) if len(mark) else np.zeros(0, dtype=np.bool_)
    on = ~_without_short(ts_ns, ~on, levels.off_s, levels.bundle_s, silence=True)
    return _without_short(ts_ns, on, levels.on_s, levels.bundle_s, silence=False)


def _without_short(ts_ns: Ints, on: Bools, least_s: float, bundle_s: float, *, silence: bool) -> Bools:
    """Without the runs that last less than `least_s` (with the silence after them, or not); those at the ends stay."""
    found = on.copy()
    spans = runs(on.astype(np.int64))
    for first, stop in spans[1:-1] if len(spans) > 2 else ():
        lasts_s = (ts_ns[stop - 1] - ts_ns[first]) / SECOND_NS + bundle_s
        silent_s = (ts_ns[stop] - ts_ns[stop - 1]) / SECOND_NS - bundle_s
        if on[first] and lasts_s + (max(silent_s, 0.0) if silence else 0.0) < least_s - 1e-6:
            found[first:stop] = False
    return found


def arc_states(current: Series, levels: ArcLevels, helpers: Helpers) -> Series:
    """Numbers of `STATES` on the rows of the current."""
    rows = current.good
    on = burning(rows.ts_ns, rows.value, levels)
    state = np.full(len(rows), _IDLE, dtype=np.int64)
    gas = held(helpers.gas, rows.ts_ns) > helpers.gas_on
    arcs = [(int(first), int(stop)) for first, stop in runs(on.astype(np.int64)) if on[first]]
    for first, stop in runs((gas | on).astype(np.int64)):
        inside = [arc for arc in arcs if first <= arc[0] < stop] if gas[first] or on[first] else []
        if not inside:
            continue
        state[first : inside[0][0]] = _PREFLOW
        for place, (begin, end) in enumerate(inside):
            following = inside[place + 1][0] if place + 1 < len(inside) else stop
            state[begin:end] = _arc(rows.ts_ns[begin:end], helpers)
            state[end:following] = _POSTFLOW
    return Series(rows.ts_ns, state.astype(np.float64), rows.quality, rows.every_s)


def _arc(ts_ns: Ints, helpers: Helpers) -> Ints:
    """ARC_START, WELD and CRATER of one arc: by travel, else by time and without CRATER."""
    state = np.full(len(ts_ns), _WELD, dtype=np.int64)
    moving = held(helpers.travel, ts_ns) > helpers.travel_on
    if moving.any():
        first, last = int(np.argmax(moving)), len(moving) - 1 - int(np.argmax(moving[::-1]))
        state[:first] = _START
        state[last + 1 :] = _CRATER
    else:
        state[ts_ns < ts_ns[0] + round(helpers.start_s * SECOND_NS)] = _START
    return state
