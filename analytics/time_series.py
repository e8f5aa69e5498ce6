"""Samples of one tag over time: gaps, coverage, means, integrals, level crossings, counters, current loops (0.2, 0.3).

* Time is float seconds, rising; the caller subtracts its own origin from the stored nanoseconds.
* A NaN value is no sample: it is dropped, so it lengthens the step across it and may make it a gap.
* A gap is a step longer than `gap_factor` (2.5) nominal intervals. Nothing is held, summed or interpolated across one.
* Kernels return arrays or a `Integral`; what a KPI needs is a `Result`.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from analytics.result import (
    Bools,
    Column,
    Evidence,
    Floats,
    Formula,
    Reason,
    Result,
    Results,
    columns,
    judged,
    silent,
)

GAP_FACTOR: Final = 2.5

F_COVERAGE: Final = Formula("F-DQ-01", "1")
F_MEAN: Final = Formula("0.2-MEAN", "1")
F_COUNTER: Final = Formula("0.3-COUNTER", "1")
F_LOOP: Final = Formula("0.3-LOOP", "1")


@dataclass(frozen=True, slots=True)
class Counter:
    """How far a counter counts before it begins again, in the unit of its tag.

    Attributes:
        modulus: from `zero` to where it begins again.
        zero: what it shows when nothing is counted.
        signed: its register has a sign: it begins again at `zero`, or as far below it, and then counts up from there.
    """

    modulus: float = 2.0**32
    zero: float = 0.0
    signed: bool = False


UNKNOWN_COUNTER: Final = Counter()
"""Where nobody says how far it counts: 32 bits of the unit itself."""


@dataclass(frozen=True, slots=True)
class Samples:
    """The good samples of one tag.

    Attributes:
        time_s: (n,) rising.
        value: (n,) finite.
        nominal_s: nominal interval; infinite when nothing counts as a gap.
        gap_factor: a step above `gap_factor * nominal_s` is a gap.
    """

    time_s: Floats
    value: Floats
    nominal_s: float = np.inf
    gap_factor: float = GAP_FACTOR

    @classmethod
    def of(cls, time_s: npt.ArrayLike, value: npt.ArrayLike, nominal_s: float = np.inf) -> "Samples":
        """Samples without those that are not finite.

        Raises:
            ValueError: when the columns differ in length or time falls.
        """
        when, what = columns(time_s, value)
        if when.shape != what.shape or when.ndim != 1:
            raise ValueError(f"time {when.shape} and value {what.shape}: two columns of one length are needed")
        good = np.isfinite(what) & np.isfinite(when)
        when, what = when[good], what[good]
        if np.any(np.diff(when) < 0):
            raise ValueError("time falls: sort the samples first")
        return cls(when, what, nominal_s)

    @property
    def step_s(self) -> Floats:
        """(n-1,) time from each sample to the next."""
        return np.diff(self.time_s)

    @property
    def is_gap(self) -> Bools:
        """(n-1,) which steps are gaps."""
        return gaps(self.time_s, self.nominal_s, self.gap_factor)

    @property
    def coverage(self) -> float:
        """0..1, 0 for fewer than two samples."""
        return covered(self.time_s, self.nominal_s)


@dataclass(frozen=True, slots=True)
class Integral:
    """An integral over what was seen.

    Attributes:
        partial: in value * s, over all steps that are no gaps; the whole integral only when `gaps` is 0.
        gaps: how many steps were left out.
        coverage: 0..1.
        n_used: samples.
    """

    partial: float
    gaps: int
    coverage: float
    n_used: int

    def evidence(self) -> Evidence:
        """For a formula that needs the whole: any gap is LOW_COVERAGE."""
        return Evidence(self.n_used, self.coverage, least_coverage=np.inf if self.gaps else 0.0)


def gaps(time_s: Floats, nominal_s: float, gap_factor: float = GAP_FACTOR) -> Bools:
    """(n-1,) which steps are longer than `gap_factor` nominal intervals.

    >>> gaps(np.array([0.0, 1, 2, 3, 9, 10]), 1.0)
    array([False, False, False,  True, False])
    """
    return np.diff(time_s) > gap_factor * nominal_s


def covered(time_s: Floats, nominal_s: float) -> float:
    """The covered fraction of the span, 0..1; 0 when there is no span."""
    span_s = float(time_s[-1] - time_s[0]) if time_s.size > 1 else 0.0
    if span_s <= 0:
        return 0.0
    late_s = np.diff(time_s) - nominal_s
    return 1.0 - float(np.sum(late_s[late_s > 0])) / span_s


def coverage(time_s: npt.ArrayLike, nominal_s: float) -> Result:
    """F-DQ-01: coverage of a span by samples.

    1 - sum(max(0, step - nominal)) / span. Fewer than two samples are MISSING_INPUT.
    Unit: 1. Valid: at least two samples. Source: section 0.2.

    >>> f"{coverage([0, 1, 2, 3, 9, 10], 1.0):.6f}"
    '0.500000 1'
    """
    (when,) = given = columns(time_s)
    value = covered(when, nominal_s)
    few = (Reason.MISSING_INPUT, when.size < 2)
    still = (Reason.ZERO_DENOM, when.size > 1 and when[-1] <= when[0])
    return judged(value, F_COVERAGE, given, few, still, evidence=Evidence(when.size, value)).one()


def time_weighted_mean(samples: Samples, unit: str = "1", least_coverage: float = 0.8) -> Result:
    """The mean of a slow tag: each sample holds until the next, at most 2.5 nominal intervals; the last holds nothing.

    `least_coverage` is a default of ours (the specification states no limit).

    >>> f"{time_weighted_mean(Samples.of([0, 1, 3], [10, 20, 99], 1.0), 'Cel'):.4f}"
    'none Cel (LOW_COVERAGE)'
    >>> f"{time_weighted_mean(Samples.of([0, 1, 3], [10, 20, 99], 2.0), 'Cel'):.4f}"
    '16.6667 Cel'
    """
    held_s = np.minimum(samples.step_s, samples.gap_factor * samples.nominal_s)
    total_s = float(np.sum(held_s))
    with silent():
        value = np.sum(held_s * samples.value[:-1]) / np.float64(total_s)
    evidence = Evidence(max(samples.time_s.size - 1, 0), samples.coverage, least_coverage=least_coverage)
    few = (Reason.MISSING_INPUT, samples.time_s.size < 2)
    formula = Formula(F_MEAN.id, unit)
    given = (samples.time_s, samples.value)
    return judged(value, formula, given, few, (Reason.ZERO_DENOM, total_s <= 0), evidence=evidence).one()


def integral(samples: Samples) -> Integral:
    """Trapezoids over time, never across a gap.

    >>> integral(Samples.of([0, 1, 2], [0, 2, 2])).partial
    3.0
    >>> integral(Samples.of([0, 1, 2, 9, 10], [1, 1, 1, 1, 1], 1.0))
    Integral(partial=3.0, gaps=1, coverage=0.4, n_used=5)
    """
    whole = ~samples.is_gap
    mean = (samples.value[1:] + samples.value[:-1]) / 2
    partial = float(np.sum((mean * samples.step_s)[whole]))
    return Integral(partial, int(np.sum(~whole)), samples.coverage, samples.time_s.size)


def crossings(samples: Samples, level: float, direction: Literal["up", "down"]) -> Floats:
    """(k,) times at which the line through the samples crosses `level`; none across a gap.

    Up where y_i < level <= y_i+1, down where y_i >= level > y_i+1.

    >>> crossings(Samples.of([0, 1, 2, 3], [0, 2, 2, 0]), 1.0, "up")
    array([0.5])
    >>> crossings(Samples.of([0, 1, 2, 3], [0, 2, 2, 0]), 1.0, "down")
    array([2.5])
    """
    before, after = samples.value[:-1], samples.value[1:]
    hit = (before < level) & (level <= after) if direction == "up" else (before >= level) & (level > after)
    hit &= ~samples.is_gap
    part = (level - before[hit]) / (after[hit] - before[hit])
    return samples.time_s[:-1][hit] + part * samples.step_s[hit]


def counter_delta(old: Column, new: Column, counter: Counter = UNKNOWN_COUNTER, unit: str = "1") -> Results:
    """Increase of a counter between two readings; columns.

    Falling from above 90 % of what it counts to is a rollover; any other fall is a reset, after which the increase is
    unknown: MISSING_INPUT (decided here: counting from zero would invent a number).

    >>> [f"{r:.0f}" for r in counter_delta([100, 4294967290, 5000], [130, 4, 10], unit="kW.h")]
    ['30 kW.h', '10 kW.h', 'none kW.h (MISSING_INPUT)']
    >>> [f"{r:.1f}" for r in counter_delta([6553.0, 3000.0], [0.5, 0.5], Counter(6553.6), unit="kW.h")]
    ['1.1 kW.h', 'none kW.h (MISSING_INPUT)']
    """
    before, after = given = columns(old, new)
    with silent():
        fell = after < before
        rolled = fell & (before - counter.zero > 0.9 * counter.modulus)
        turns = 1 + (counter.signed & (after < counter.zero))
        delta = np.where(rolled, after + counter.modulus * turns - before, after - before)
        return judged(delta, Formula(F_COUNTER.id, unit), given, (Reason.MISSING_INPUT, fell & ~rolled))


def current_loop(milliamp: Column, low: Column, high: Column, unit: str = "1") -> Results:
    """A 4-20 mA reading in engineering units; columns. NAMUR NE 43 [GK].

    Below 3.6 or above 21 mA the sensor has failed (BAD_QUALITY); outside 3.8 to 20.5 mA the value is kept but
    OUT_OF_VALID_RANGE.

    >>> [f"{r:.1f}" for r in current_loop([12.0, 3.5, 20.8], 0, 1000, unit="kPa")]
    ['500.0 kPa', 'none kPa (BAD_QUALITY)', '1050.0 kPa (OUT_OF_VALID_RANGE)']
    """
    loop, lo, hi = given = columns(milliamp, low, high)
    with silent():
        failed = (Reason.BAD_QUALITY, (loop < 3.6) | (loop > 21.0))
        strained = (Reason.OUT_OF_VALID_RANGE, (loop < 3.8) | (loop > 20.5))
        return judged(lo + (loop - 4) / 16 * (hi - lo), Formula(F_LOOP.id, unit), given, failed, strained)
