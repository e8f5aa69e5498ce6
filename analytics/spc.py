"""Control charts: Shewhart limits and run rules, EWMA, tabular CUSUM (sections 6.3 and 6.4).

* Charts are for cycle and batch features; raw one-second data are autocorrelated and their limits invalid.
* z = (x - centre) / sigma. "Beyond" is strict. A point on the centre line breaks same-side runs; ties break trends.
* A NaN sample never signals; it breaks runs and trends, and EWMA and CUSUM step over it without advancing.
"""

import itertools
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import special

from analytics.result import Bools, Column, Floats, Formula, Ints, Reason, Results, columns, judged, silent

F_LIMIT: Final = Formula("6.3-LIMIT", "1")
F_RUN_LENGTH: Final = Formula("6.3-ARL", "1")

WESTERN_ELECTRIC: Final = ("WE1", "WE2", "WE3", "WE4")
NELSON: Final = ("N1", "N2", "N3", "N4", "N5", "N6", "N7", "N8")
A2: Final = {2: 1.880, 3: 1.023, 4: 0.729, 5: 0.577, 6: 0.483}
D4: Final = {2: 3.267, 3: 2.574, 4: 2.282, 5: 2.114, 6: 2.004}


def standard_scores(x: Column, centre: Column, sigma: Column) -> Floats:
    """(x - centre) / sigma; NaN where sigma is not positive.

    >>> standard_scores([851.5, 850.0], 850.0, 1.5)
    array([1., 0.])
    """
    value, middle, spread = columns(x, centre, sigma)
    with silent():
        return np.where(spread > 0, (value - middle) / spread, np.nan)


@dataclass(frozen=True, slots=True)
class ControlLimits:
    """Centre line and limits of a Shewhart chart."""

    lower: Results
    centre: Results
    upper: Results


def shewhart_limits(centre: Column, sigma: Column, *, width: Column = 3.0) -> ControlLimits:
    """Limits at `width` sigma around the centre; sigma <= 0 is ZERO_DENOM.

    >>> limits = shewhart_limits(850.0, 1.5)
    >>> f"{limits.lower.one():.1f} {limits.upper.one():.1f}"
    '845.5 1 854.5 1'
    """
    middle, spread, k = given = columns(centre, sigma, width)
    with silent():
        flat = (Reason.ZERO_DENOM, spread <= 0)
        ends = (middle - k * spread, middle + 0 * spread, middle + k * spread)
        return ControlLimits(*(judged(end, F_LIMIT, given, flat) for end in ends))


@dataclass(frozen=True, slots=True)
class RangeChart:
    """Limits of an average and range chart of subgroups."""

    averages: ControlLimits
    mean_range: float
    upper_range: Results


def range_chart(subgroups: npt.ArrayLike) -> RangeChart:
    """Average and range chart of (groups, n) by A2 and D4, n = 2 to 6; groups with a NaN are left out.

    A larger subgroup has no limits (OUT_OF_VALID_RANGE).

    >>> chart = range_chart([[1.0, 3.0], [2.0, 4.0]])
    >>> f"{chart.averages.upper.one():.2f} {chart.upper_range.one():.3f}"
    '6.26 1 6.534 1'
    """
    (table,) = columns(subgroups)
    whole = table[np.isfinite(table).all(axis=1)]
    n = table.shape[1]
    middle, mean_range = (np.mean(whole), np.mean(np.ptp(whole, axis=1))) if whole.size else (np.nan, np.nan)
    given = (np.asarray(middle), np.asarray(mean_range))
    reach = A2.get(n, np.nan) * mean_range
    low, centre, high = (judged(end, F_LIMIT, given) for end in (middle - reach, middle, middle + reach))
    upper = judged(D4.get(n, np.nan) * mean_range, F_LIMIT, given)
    return RangeChart(ControlLimits(low, centre, high), float(mean_range), upper)


def western_electric(z: npt.ArrayLike) -> Bools:
    """(4, ..., n) where the rules WE1 to WE4 fire, along the last axis.

    1 beyond 3; 2 of 3 beyond 2; 4 of 5 beyond 1; 8 on one side. WE2 and WE3 fire only at a point that is itself beyond.

    >>> western_electric([2.1, 0.0, 2.5])[1]
    array([False, False,  True])
    """
    (x,) = columns(z)
    return np.stack([np.abs(x) > 3, _zone(x, 2, 2, 3), _zone(x, 1, 4, 5), _side(x, 8)])


def nelson(z: npt.ArrayLike) -> Bools:
    """(8, ..., n) where the rules N1 to N8 fire, along the last axis.

    1 beyond 3; 9 on one side; 6 steadily up or down; 14 alternating; 2 of 3 beyond 2; 4 of 5 beyond 1; 15 within 1;
    8 beyond 1 on either side [S55].

    >>> nelson([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])[2]
    array([False, False, False, False, False,  True])
    """
    (x,) = columns(z)
    step = np.diff(x, axis=-1, prepend=np.nan)
    turn = np.concatenate([np.zeros_like(x[..., :1]), np.sign(step[..., 1:]) * np.sign(step[..., :-1])], axis=-1)
    trend = _run(step > 0, 5) | _run(step < 0, 5)
    return np.stack(
        [
            np.abs(x) > 3,
            _side(x, 9),
            trend,
            _run(turn < 0, 12),
            _zone(x, 2, 2, 3),
            _zone(x, 1, 4, 5),
            _run(np.abs(x) <= 1, 15),
            _run(np.abs(x) > 1, 8),
        ]
    )


def _count(flags: Bools, width: int) -> Ints:
    """How many of the last `width` flags are set, fewer at the start."""
    total = np.cumsum(flags, axis=-1, dtype=np.int64)
    before = np.concatenate([np.zeros_like(total[..., :width]), total[..., :-width]], axis=-1)
    return np.asarray(total - before[..., : total.shape[-1]], dtype=np.int64)


def _run(flags: Bools, length: int) -> Bools:
    return np.equal(_count(flags, length), length)


def _zone(x: Floats, limit: float, least: int, width: int) -> Bools:
    fired = [(_count(side > limit, width) >= least) & (side > limit) for side in (x, -x)]
    return fired[0] | fired[1]


def _side(x: Floats, length: int) -> Bools:
    return _run(x > 0, length) | _run(x < 0, length)


def shewhart_run_length(shift: Column = 0.0, *, width: Column = 3.0) -> Results:
    """Average run length of a Shewhart chart at a shift in sigma; independent normal points.

    >>> f"{shewhart_run_length().one():.3f} {shewhart_run_length(1.0).one():.2f}"
    '370.398 1 43.89 1'
    """
    moved, k = given = columns(shift, width)
    with silent():
        signal = special.ndtr(-k - moved) + special.ndtr(-k + moved)
        return judged(1 / signal, F_RUN_LENGTH, given, (Reason.ZERO_DENOM, signal <= 0))


@dataclass(frozen=True, slots=True)
class EwmaChart:
    """(n,) statistic, its limits and where it signals; at a NaN sample statistic and limits are NaN."""

    value: Floats
    lower: Floats
    upper: Floats
    signal: Bools


def ewma(x: npt.ArrayLike, centre: float, sigma: float, *, weight: float = 0.2, width: float = 2.962) -> EwmaChart:
    """F-SPC-01: EWMA chart of (n,) samples, with limits that widen from the start.

    A NaN sample is stepped over: the statistic keeps its value and i does not advance.
    Unit: that of x. Valid: 0 < weight <= 1, sigma > 0 (else ValueError). Source: section 6.4.

    >>> chart = ewma([850.6, 851.2, 850.9, 852.0, 852.4, 851.8], 850.0, 1.5)
    >>> [round(float(v), 7) for v in chart.value[-3:]], round(float(chart.upper[-1]), 4), bool(chart.signal.any())
    ([850.75904, 851.087232, 851.2297856], 851.4292, False)
    """
    if not (0 < weight <= 1 and sigma > 0):
        raise ValueError(f"EWMA with weight {weight} and sigma {sigma}: 0 < weight <= 1 and sigma > 0 are needed")
    (sample,) = columns(x)
    good = np.isfinite(sample)
    steps = itertools.accumulate(sample[good], lambda z, v: weight * v + (1 - weight) * z, initial=centre)
    value, half = np.full(sample.shape, np.nan), np.full(sample.shape, np.nan)
    value[good] = np.fromiter(steps, dtype=np.float64)[1:]
    i = np.arange(1, int(np.sum(good)) + 1)
    half[good] = width * sigma * np.sqrt(weight / (2 - weight) * (1 - (1 - weight) ** (2 * i)))
    return EwmaChart(value, centre - half, centre + half, np.abs(value - centre) > half)


@dataclass(frozen=True, slots=True)
class Shift:
    """The change that a CUSUM signal tells of: index of the last sample before it, and the mean since."""

    start: int
    mean: float


@dataclass(frozen=True, slots=True)
class CusumChart:
    """Both one-sided sums, samples since each was last 0, and where they signal; all (n,).

    At a NaN sample the sums stand still and there is no signal.
    """

    upper: Floats
    lower: Floats
    upper_count: Ints
    lower_count: Ints
    signal: Bools
    centre: float
    sigma: float
    slack: float

    def shift(self, index: int) -> Shift:
        """What the signal at `index` says: the change began after sample i - N, the mean is mu0 +- sigma (k + C/N)."""
        up = self.upper[index] >= self.lower[index]
        total, count = (self.upper, self.upper_count) if up else (self.lower, self.lower_count)
        n = max(int(count[index]), 1)
        size = self.sigma * (self.slack + float(total[index]) / n)
        return Shift(index - int(count[index]), self.centre + (size if up else -size))


def cusum(  # the chart's design
    x: npt.ArrayLike,
    centre: float,
    sigma: float,
    *,
    slack: float = 0.5,
    limit: float = 5.0,
    head_start: float = 0.0,
) -> CusumChart:
    """F-SPC-02: tabular CUSUM of (n,) samples, two-sided; `head_start` h / 2 for a fast initial response.

    Counts include stepped-over NaN samples, so that a start is an index into x.
    Unit: sigma. Valid: sigma > 0, slack >= 0, limit > 0 (else ValueError). Source: section 6.4.

    >>> chart = cusum([850.6, 851.2, 850.9, 852.0, 852.4, 851.8], 850.0, 1.5)
    >>> [round(float(v), 4) for v in chart.upper], bool(chart.signal.any())
    ([0.0, 0.3, 0.4, 1.2333, 2.3333, 3.0333], False)
    >>> chart.shift(5).start, round(chart.shift(5).mean, 4)
    (0, 851.66)
    """
    if not (sigma > 0 and slack >= 0 and limit > 0):
        raise ValueError(f"CUSUM with sigma {sigma}, slack {slack}, limit {limit}: all are positive")
    z = standard_scores(x, centre, sigma)
    up, up_count = _one_sided(z, slack, head_start)
    down, down_count = _one_sided(-z, slack, head_start)
    signal = ((up > limit) | (down > limit)) & np.isfinite(z)
    return CusumChart(up, down, up_count, down_count, signal, centre, sigma, slack)


def _one_sided(z: Floats, slack: float, head_start: float) -> tuple[Floats, Ints]:
    step = np.where(np.isfinite(z), z - slack, 0.0)
    total = np.fromiter(itertools.accumulate(step, lambda c, d: max(0.0, c + d), initial=head_start), dtype=np.float64)[
        1:
    ]
    index = np.arange(z.size)
    last_zero = np.maximum.accumulate(np.where(total == 0, index, -1)) if z.size else index
    return total, index - last_zero
