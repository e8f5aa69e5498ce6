"""Process capability, ISO 22514-4 names (section 6.2).

* Cp and Cpk use sigma within, Pp and Ppk sigma overall: the formula is the same, the sigma differs.
* A missing specification limit is a one-sided tolerance: Cp is undefined, Cpk counts the side that exists.
* sigma = 0 is ZERO_DENOM; no index is infinite.
* Stability comes first, then numbers: see `capability_study`.
"""

import enum
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import special

from analytics.result import Column, Evidence, Floats, Formula, Reason, Result, Results, columns, judged, silent

F_SIGMA: Final = Formula("6.2-SIGMA", "1")
F_CP: Final = Formula("6.2-CP", "1")
F_CPK: Final = Formula("6.2-CPK", "1")
F_PERCENTILE: Final = Formula("6.2-CPK", "1", "1 percentile")
F_CP_INTERVAL: Final = Formula("F-CAP-01", "1")
F_CPK_INTERVAL: Final = Formula("F-CAP-02", "1")
F_NORMAL: Final = Formula("6.2-ANDERSON", "1")

D2: Final = {2: 1.128, 3: 1.693, 4: 2.059, 5: 2.326, 6: 2.534}
"""Mean range over sigma by subgroup size, rounded as published."""


def c4(n: npt.ArrayLike) -> Floats:
    """Mean sample deviation over sigma of normal samples of n; NaN below 2.

    >>> round(float(c4(5)), 6)
    0.939986
    """
    (size,) = columns(n)
    with silent():
        value = np.sqrt(2 / (size - 1)) * np.exp(special.gammaln(size / 2) - special.gammaln((size - 1) / 2))
    return np.where(size >= 2, value, np.nan)


def sigma_range(subgroups: npt.ArrayLike) -> Result:
    """Sigma within from (groups, n) by the mean range over d2, n = 2 to 6; groups with a NaN are left out.

    A larger subgroup is OUT_OF_VALID_RANGE without value: use `sigma_deviation`.

    >>> f"{sigma_range([[1.0, 3.0], [2.0, 4.0]]):.5f}"
    '1.77305 1'
    """
    (table,) = given = columns(subgroups)
    whole = table[np.isfinite(table).all(axis=1)]
    mean_range = np.mean(np.ptp(whole, axis=1)) if whole.size else np.nan
    value = mean_range / D2.get(table.shape[1], np.nan)
    none = (Reason.MISSING_INPUT, whole.size == 0)
    return judged(value, F_SIGMA, given, none, evidence=Evidence(whole.shape[0])).one()


def sigma_deviation(subgroups: npt.ArrayLike) -> Result:
    """Sigma within from (groups, n) by the mean sample deviation over c4; groups with a NaN are left out.

    >>> f"{sigma_deviation([[1.0, 3.0], [2.0, 4.0]]):.5f}"
    '1.77245 1'
    """
    (table,) = given = columns(subgroups)
    whole = table[np.isfinite(table).all(axis=1)]
    enough = whole.shape[0] > 0 and table.shape[1] > 1
    value = np.mean(np.std(whole, axis=1, ddof=1)) / c4(table.shape[1]) if enough else np.nan
    return judged(value, F_SIGMA, given, (Reason.MISSING_INPUT, not enough), evidence=Evidence(whole.shape[0])).one()


def sigma_moving_range(individuals: npt.ArrayLike) -> Result:
    """Sigma within from individuals by the mean moving range over 1.128; a NaN breaks the chain.

    >>> f"{sigma_moving_range([10.0, 12.0, 11.0]):.6f}"
    '1.329787 1'
    """
    (x,) = given = columns(individuals)
    ranges = np.abs(np.diff(x))
    ranges = ranges[np.isfinite(ranges)]
    value = np.mean(ranges) / D2[2] if ranges.size else np.nan
    return judged(value, F_SIGMA, given, (Reason.MISSING_INPUT, ranges.size == 0), evidence=Evidence(ranges.size)).one()


def sigma_overall(values: npt.ArrayLike) -> Result:
    """Sigma overall, the sample deviation (n - 1); NaN are left out.

    >>> f"{sigma_overall([1.0, 2.0, 3.0]):.3f}"
    '1.000 1'
    """
    (x,) = given = columns(values)
    good = x[np.isfinite(x)]
    value = np.std(good, ddof=1) if good.size > 1 else np.nan
    return judged(value, F_SIGMA, given, (Reason.MISSING_INPUT, good.size < 2), evidence=Evidence(good.size)).one()


def potential(sigma: Column, lower: Column, upper: Column) -> Results:
    """Cp or Pp by the sigma given, (USL - LSL) / 6 sigma; a missing limit is MISSING_INPUT.

    >>> f"{potential(0.5, 7, 13).one():.1f} {potential(0.5, None, 13).one():.1f}"
    '2.0 1 none 1 (MISSING_INPUT)'
    """
    s, low, high = given = columns(sigma, lower, upper)
    with silent():
        odd = (Reason.OUT_OF_VALID_RANGE, high <= low)
        return judged((high - low) / (6 * s), F_CP, given, (Reason.ZERO_DENOM, s <= 0), odd)


def performance(mean: Column, sigma: Column, lower: Column, upper: Column) -> Results:
    """Cpk or Ppk by the sigma given, distance to the nearer limit over 3 sigma; one limit may be missing.

    >>> f"{performance(11, 0.5, 7, 13).one():.4f} {performance(11, 0.5, 7, None).one():.4f}"
    '1.3333 1 2.6667 1'
    """
    centre, s, low, high = columns(mean, sigma, lower, upper)
    with silent():
        value = np.fmin((high - centre) / (3 * s), (centre - low) / (3 * s))
        none = (Reason.MISSING_INPUT, ~(np.isfinite(low) | np.isfinite(high)))
        return judged(value, F_CPK, (centre, s), none, (Reason.ZERO_DENOM, s <= 0), optional=(low, high))


def percentile_performance(quantiles: npt.ArrayLike, lower: Column, upper: Column) -> Results:
    """Ppk of a non-normal process from its 0.135, 50 and 99.865 % points, on the last axis; one limit may be missing.

    >>> f"{percentile_performance([-3.0, 0.0, 3.0], -4, 6).one():.4f}"
    '1.3333 1'
    """
    points, low, high = columns(quantiles, lower, upper)
    below, middle, above = points[..., 0], points[..., 1], points[..., 2]
    with silent():
        value = np.fmin((high - middle) / (above - middle), (middle - low) / (middle - below))
        none = (Reason.MISSING_INPUT, ~(np.isfinite(low) | np.isfinite(high)))
        flat = (Reason.ZERO_DENOM, (above <= middle) | (middle <= below))
        return judged(value, F_PERCENTILE, (below, middle, above), none, flat, optional=(low, high))


@dataclass(frozen=True, slots=True)
class Interval:
    """A two-sided confidence interval."""

    low: Results
    high: Results


def potential_interval(cp: Column, samples: Column, *, alpha: float = 0.05) -> Interval:
    """F-CAP-01: confidence interval of Cp or Pp by the chi-square.

    Unit: 1. Valid: n >= 2, Cp > 0. Source: section 6.2.

    >>> found = potential_interval(1.356078, 20)
    >>> f"{found.low.one():.4f} {found.high.one():.4f}"
    '0.9285 1 1.7832 1'
    """
    index, n = given = columns(cp, samples)
    few = (Reason.MISSING_INPUT, n < 2)
    with silent():
        low, high = (index * np.sqrt(special.chdtri(n - 1, tail) / (n - 1)) for tail in (1 - alpha / 2, alpha / 2))
        evidence = Evidence(np.where(np.isfinite(n), n, 0))
        return Interval(*(judged(end, F_CP_INTERVAL, given, few, evidence=evidence) for end in (low, high)))


def performance_interval(cpk: Column, samples: Column, *, freedom: Column = None, alpha: float = 0.05) -> Interval:
    """F-CAP-02: confidence interval of Cpk or Ppk by Bissell's normal approximation, z at 1 - alpha / 2.

    `freedom` is n - 1 for Ppk (the default), for Cpk the degrees of freedom of sigma within.
    Unit: 1. Valid: n >= 2. Source: section 6.2, against [S54].

    >>> found = performance_interval(1.301835, 20)
    >>> f"{found.low.one():.5f} {found.high.one():.5f}"
    '0.86290 1 1.74077 1'
    """
    index, n = columns(cpk, samples)
    nu = n - 1 if freedom is None else np.asarray(freedom, dtype=np.float64)
    given = (index, n, np.asarray(nu))
    few = (Reason.MISSING_INPUT, (n < 2) | (nu < 1))
    with silent():
        half = special.ndtri(1 - alpha / 2) * np.sqrt(1 / (9 * n) + index**2 / (2 * nu))
        evidence = Evidence(np.where(np.isfinite(n), n, 0))
        ends = (index - half, index + half)
        return Interval(*(judged(end, F_CPK_INTERVAL, given, few, evidence=evidence) for end in ends))


def normality(values: npt.ArrayLike) -> Result:
    """Anderson-Darling probability of a normal distribution with estimated mean and sigma (D'Agostino's approximation).

    Fewer than 8 samples are MISSING_INPUT, a constant is ZERO_DENOM; NaN are left out.

    >>> f"{normality(special.ndtri((np.arange(40) + 0.5) / 40)):.2f}"[:3]
    '1.0'
    """
    (x,) = given = columns(values)
    good = np.sort(x[np.isfinite(x)])
    n = good.size
    spread = np.std(good, ddof=1) if n > 1 else 0.0
    with silent():
        value = _normal_probability((good - np.mean(good)) / spread) if n >= 8 else np.nan
    few, flat = (Reason.MISSING_INPUT, n < 8), (Reason.ZERO_DENOM, spread <= 0)
    return judged(value, F_NORMAL, given, few, flat, evidence=Evidence(n)).one()


def _normal_probability(z: Floats) -> float:
    n = z.size
    weight = 2 * np.arange(1, n + 1) - 1
    statistic = -n - np.sum(weight * (special.log_ndtr(z) + special.log_ndtr(-z[::-1]))) / n
    a = float(statistic * (1 + 0.75 / n + 2.25 / n**2))
    if a >= 0.6:
        return float(np.exp(1.2937 - 5.709 * a + 0.0186 * a * a))
    if a >= 0.34:
        return float(np.exp(0.9177 - 4.279 * a - 1.38 * a * a))
    if a >= 0.2:
        return float(1 - np.exp(-8.318 + 42.796 * a - 59.938 * a * a))
    return float(1 - np.exp(-13.436 + 101.14 * a - 223.73 * a * a))


class Gate(enum.StrEnum):
    """What a capability study may be used for."""

    TOO_FEW = "too_few"
    UNSTABLE = "unstable"
    DISPLAY = "display"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Study:
    """A capability study of individuals: indices, interval of Ppk, normality, and what it may be used for."""

    cp: Result
    cpk: Result
    pp: Result
    ppk: Result
    interval: Interval
    normality: Result
    percentile_ppk: Result | None
    gate: Gate


def capability_study(  # gates are configuration
    values: npt.ArrayLike,
    lower: float | None,
    upper: float | None,
    *,
    least_display: int = 30,
    least_release: int = 100,
    least_normality: float = 0.005,
) -> Study:
    """All indices of individuals in time order, with the gates: stable (no point beyond 3 sigma), then enough samples.

    When normality is below 0.005 the percentile Ppk stands beside. NaN are left out.

    >>> x = [10.02, 9.98, 10.05, 10.01, 9.97, 10.03, 10.00, 9.99, 10.04, 10.01,
    ...      9.96, 10.02, 10.00, 10.03, 9.98, 10.01, 9.99, 10.02, 10.00, 9.97]
    >>> s = capability_study(x, 9.90, 10.10)
    >>> f"{s.pp:.6f} {s.ppk:.6f} {s.cp:.6f} {s.cpk:.6f} {s.gate}"
    '1.356078 1 1.301835 1 1.006197 1 0.965949 1 too_few'
    """
    (raw,) = columns(values)
    x = raw[np.isfinite(raw)]
    mean = np.mean(x) if x.size else np.nan
    within, overall = sigma_moving_range(x).value, sigma_overall(x).value
    evidence = Evidence(x.size)
    ppk = performance(mean, overall, lower, upper).graded(evidence).one()
    normal = normality(x)
    skewed = normal.value is not None and normal.value < least_normality
    points = np.quantile(x, [0.00135, 0.5, 0.99865]) if x.size else np.full(3, np.nan)
    stable = within is not None and bool(np.all(np.abs(x - mean) <= 3 * within))
    few = Gate.TOO_FEW if x.size < least_display else Gate.DISPLAY if x.size < least_release else Gate.RELEASE
    return Study(
        cp=potential(within, lower, upper).graded(evidence).one(),
        cpk=performance(mean, within, lower, upper).graded(evidence).one(),
        pp=potential(overall, lower, upper).graded(evidence).one(),
        ppk=ppk,
        interval=performance_interval(ppk.value, x.size),
        normality=normal,
        percentile_ppk=percentile_performance(points, lower, upper).graded(evidence).one() if skewed else None,
        gate=few if few is Gate.TOO_FEW or stable else Gate.UNSTABLE,
    )
