"""Numbers of one role over a phase, as results: mean, extremes, spread, rise, increase of a counter.

* A phase that is missing or open, and a phase without rows, give MISSING_INPUT.
* Bad rows do not count; what they leave uncovered does (coverage, gaps).
"""

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np

from analytics.process import Phase, plain
from analytics.result import Evidence, Floats, Formula, Ints, Reason, Result
from analytics.time_series import Samples, counter_delta, time_weighted_mean
from analytics.window import SECOND_NS, Series

F_DURATION: Final = Formula("DURATION", "s")


def during(series: Series, phase: Phase | None) -> Series:
    """The rows of a closed phase, none when it is missing or open."""
    if phase is None or phase.end_ns is None:
        return series.between(0, 0)
    return series.between(phase.start_ns, phase.end_ns)


def joined(phases: Sequence[Phase | None]) -> Phase | None:
    """One phase from the start of the first to the end of the last that there is."""
    there = [phase for phase in phases if phase is not None]
    return Phase(there[0].name, there[0].start_ns, there[-1].end_ns) if there else None


def mean_of(series: Series, unit: str, least_coverage: float = 0.8) -> Result:
    """Time-weighted mean (0.2-MEAN)."""
    good = series.good
    found = time_weighted_mean(good.samples(_origin(series)), unit, least_coverage)
    return found if len(good) != 1 else plain(float(good.value[0]), Formula("0.2-MEAN", unit), Evidence(1))


def extreme_of(series: Series, unit: str, which: Literal["min", "max"]) -> Result:
    """The smallest or largest number (0.2-MIN, 0.2-MAX)."""
    good = series.good
    found = None if not len(good) else float(good.value.min() if which == "min" else good.value.max())
    return plain(found, Formula(f"0.2-{which.upper()}", unit), Evidence(len(good), 1.0, series.worst))


def rise_of(series: Series, phase: Phase | None, unit: str, before_s: float) -> Result:
    """The largest number of a phase less the mean of the `before_s` before it (0.2-RISE)."""
    formula = Formula("0.2-RISE", unit)
    rows = during(series, phase).good
    start_ns = phase.start_ns if phase else 0
    before = series.between(start_ns - round(before_s * SECOND_NS), start_ns).good
    if not len(rows) or not len(before):
        return plain(None, formula)
    rise = float(rows.value.max() - before.value.mean())
    return plain(rise, formula, Evidence(len(rows), 1.0, max(rows.worst, before.worst)))


def gained(series: Series, start_ns: int, end_ns: int | None, unit: str) -> Result:
    """Increase of a counter over [start, end] (0.3-COUNTER), linear between rows; a reset inside is MISSING_INPUT."""
    good = series.good
    formula = Formula("0.3-COUNTER", unit)
    if end_ns is None or len(good) < 2:
        return plain(None, formula)
    first = max(int(np.searchsorted(good.ts_ns, start_ns, side="right")) - 1, 0)
    last = min(int(np.searchsorted(good.ts_ns, end_ns)), len(good) - 1)
    near_s = 2.5 * series.every_s
    late = (good.ts_ns[first] - start_ns, end_ns - good.ts_ns[last])
    if last <= first or any(lag > near_s * SECOND_NS for lag in late):
        return plain(None, formula)
    rows = good.value[first : last + 1]
    steps = counter_delta(rows[:-1], rows[1:], series.counter, unit)
    if np.any(steps.reason == Reason.MISSING_INPUT):
        return plain(None, formula)
    total = np.concatenate([[0.0], np.cumsum(steps.value)])
    ends = np.interp([start_ns, end_ns], good.ts_ns[first : last + 1], total)
    return plain(float(ends[1] - ends[0]), formula, Evidence(len(rows), 1.0, series.worst))


def on(series: Series, ts_ns: Ints) -> Floats:
    """(n,) a role at other times: linear between its rows, NaN across a gap and outside."""
    good = series.good
    if not len(good) or not len(ts_ns):
        return np.full(len(ts_ns), np.nan)
    if len(good) == len(ts_ns) and np.array_equal(good.ts_ns, ts_ns):
        return good.value
    origin = int(ts_ns[0])
    found = np.interp(ts_ns - origin, good.ts_ns - origin, good.value, left=np.nan, right=np.nan)
    after = np.clip(np.searchsorted(good.ts_ns, ts_ns), 1, max(len(good) - 1, 1))
    if len(good) > 1:
        wide = np.diff(good.ts_ns)[after - 1] > 2.5 * series.every_s * SECOND_NS
        found[wide & ~np.isin(ts_ns, good.ts_ns)] = np.nan
    return found


def held(series: Series, ts_ns: Ints) -> Floats:
    """(n,) the last number of a role at or before each time, NaN before the first."""
    good = series.good
    place = np.searchsorted(good.ts_ns, ts_ns, side="right") - 1
    return np.where(place >= 0, good.value[np.maximum(place, 0)], np.nan) if len(good) else np.full(len(ts_ns), np.nan)


def as_sent(series: Series) -> Series:
    """A marker of whole numbers without an interval when its rows come on change, whatever its tag says.

    A polled marker repeats itself within 2.5 intervals; one that never does is sent on change, and a silence of it is
    no gap.
    """
    good = series.good
    if not np.isfinite(series.every_s) or len(good) < 2:
        return series
    near = np.diff(good.ts_ns) <= 2.5 * series.every_s * SECOND_NS
    if (near & (np.diff(good.value) == 0)).any():
        return series
    return Series(series.ts_ns, series.value, series.quality)


def edge(series: Series, direction: Literal["up", "down"]) -> Ints:
    """(k,) times of the first rows that show a bit on (up) or off (down) after the opposite.

    What comes on change has changed with its first row, too.
    """
    good = series.good
    on = good.is_on() == (direction == "up")
    before = np.append(np.isfinite(as_sent(series).every_s), on[:-1])[: len(on)]
    found: Ints = good.ts_ns[on & ~before]
    return found


def samples_of(series: Series) -> Samples:
    """The rows with time from the first of them."""
    return series.samples(_origin(series))


def _origin(series: Series) -> int:
    return int(series.ts_ns[0]) if len(series) else 0
