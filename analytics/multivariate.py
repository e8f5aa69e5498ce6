"""Multivariate charts: Hotelling T2, residual Q (SPE), MEWMA, and who contributed (section 6.5).

* A sample is (..., p); a NaN in it is MISSING_INPUT for the whole sample.
* An alarm is published with contributions: the share of each variable.
* A covariance whose condition number exceeds 1e8 has no inverse worth the name: use principal components.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import special

from analytics.result import Column, Evidence, Floats, Formula, Reason, Result, Results, columns, judged, silent

F_T2: Final = Formula("F-MSPC-01", "1")
F_SPE: Final = Formula("F-MSPC-02", "1")
F_SPE_BOX: Final = Formula("F-MSPC-02", "1", "1 Box")
F_MEWMA: Final = Formula("F-MSPC-03", "1")

WORST_CONDITION: Final = 1e8


@dataclass(frozen=True, slots=True)
class Reference:
    """Mean (p,) and covariance (p, p) of m good samples."""

    mean: Floats
    covariance: Floats
    samples: int

    @classmethod
    def of(cls, samples: npt.ArrayLike) -> "Reference":
        """From (m, p) samples of a process in control; rows with a NaN are left out.

        >>> Reference.of([[1.0, 2.0], [3.0, 4.0], [2.0, 6.0]]).mean
        array([2., 4.])
        """
        (table,) = columns(samples)
        whole = table[np.isfinite(table).all(axis=1)]
        if len(whole) < 2:
            raise ValueError(f"a reference needs two whole samples, got {len(whole)} of {len(table)}")
        return cls(np.mean(whole, axis=0), np.atleast_2d(np.cov(whole, rowvar=False)), len(whole))

    @property
    def usable(self) -> bool:
        """Whether the covariance can be inverted."""
        finite = bool(np.isfinite(self.covariance).all())
        return finite and bool(np.linalg.cond(self.covariance) <= WORST_CONDITION)


def t_squared(samples: npt.ArrayLike, reference: Reference) -> Results:
    """F-MSPC-01: Hotelling T2 of samples (..., p) against a reference.

    A reference of at most 5 p samples, or one that cannot be inverted (no value then), is OUT_OF_VALID_RANGE.
    Unit: 1. Valid: m > 5 p, condition number of S up to 1e8. Source: [S57] [S58].

    >>> unit = Reference(np.zeros(2), np.eye(2), 50)
    >>> f"{t_squared([1.0, 2.0], unit).one():.4f}"
    '5.0000 1'
    """
    (x,) = given = columns(samples)
    value = np.sum(t_squared_contributions(x, reference), axis=-1)
    missing = (Reason.MISSING_INPUT, ~np.isfinite(x).all(axis=-1))
    thin = (Reason.OUT_OF_VALID_RANGE, reference.samples <= 5 * x.shape[-1] or not reference.usable)
    return judged(value, F_T2, given, missing, thin, evidence=Evidence(reference.samples))


def t_squared_contributions(samples: npt.ArrayLike, reference: Reference) -> Floats:
    """F-MSPC-01: contributions to T2, (..., p), which sum to it; NaN when the covariance cannot be inverted.

    Unit: 1. Valid: as T2. Source: decomposition of [S57].

    >>> t_squared_contributions([1.0, 2.0], Reference(np.zeros(2), np.eye(2), 50))
    array([1., 4.])
    """
    (x,) = columns(samples)
    away = x - reference.mean
    if not reference.usable:
        return np.full(away.shape, np.nan)
    return away * np.linalg.solve(reference.covariance, away[..., None])[..., 0]


def t_squared_limit_learning(variables: Column, samples: Column, *, alpha: Column = 0.01) -> Results:
    """F-MSPC-01: phase I limit of T2, for the samples the reference was learnt from (beta distribution).

    Unit: 1. Valid: m > p + 1. Source: [S57] [S58].

    >>> f"{t_squared_limit_learning(3, 50).one():.4f}"
    '10.3989 1'
    """
    p, m, a = given = columns(variables, samples, alpha)
    with silent():
        value = (m - 1) ** 2 / m * special.betaincinv(p / 2, (m - p - 1) / 2, 1 - a)
        return judged(value, F_T2, given, (Reason.MISSING_INPUT, m <= p + 1))


def t_squared_limit(variables: Column, samples: Column, *, alpha: Column = 0.01) -> Results:
    """F-MSPC-01: phase II limit of T2, for new samples (F distribution).

    Unit: 1. Valid: m > p. Source: [S57] [S58].

    >>> f"{t_squared_limit(3, 50).one():.4f}"
    '13.4879 1'
    """
    p, m, a = given = columns(variables, samples, alpha)
    with silent():
        value = p * (m + 1) * (m - 1) / (m * m - m * p) * special.fdtri(p, m - p, 1 - a)
        return judged(value, F_T2, given, (Reason.MISSING_INPUT, m <= p))


@dataclass(frozen=True, slots=True)
class Components:
    """Principal components of scaled samples: mean and scale (p,), loadings (p, k) and all eigenvalues (p,)."""

    mean: Floats
    scale: Floats
    loadings: Floats
    eigenvalues: Floats
    samples: int

    @classmethod
    def of(cls, samples: npt.ArrayLike, kept: int) -> "Components":
        """From (m, p) samples of a process in control, `kept` components; rows with a NaN are left out.

        A variable that never varies keeps its own scale, so it contributes when it begins to.
        """
        (table,) = columns(samples)
        whole = table[np.isfinite(table).all(axis=1)]
        if not 0 < kept < table.shape[1] or len(whole) < 2:
            raise ValueError(f"{kept} components of {table.shape[1]} variables and {len(whole)} samples")
        deviation = np.std(whole, axis=0, ddof=1)
        scale = np.where(deviation > 0, deviation, 1.0)
        values, vectors = np.linalg.eigh(np.cov((whole - np.mean(whole, axis=0)) / scale, rowvar=False))
        order = np.argsort(values)[::-1]
        kept_vectors = vectors[:, order[:kept]]
        return cls(np.mean(whole, axis=0), scale, kept_vectors, np.maximum(values[order], 0.0), len(whole))

    @property
    def residual(self) -> Floats:
        """(p - k,) eigenvalues that were not kept."""
        return self.eigenvalues[self.loadings.shape[1] :]


def residual_contributions(samples: npt.ArrayLike, components: Components) -> Floats:
    """F-MSPC-02: contributions to Q, (..., p), the squared residuals.

    Unit: 1. Valid: as Q. Source: [S59].

    >>> flat = Components(np.zeros(2), np.ones(2), np.array([[1.0], [0.0]]), np.array([1.0, 0.1]), 50)
    >>> residual_contributions([3.0, 2.0], flat)
    array([0., 4.])
    """
    (x,) = columns(samples)
    scaled = (x - components.mean) / components.scale
    residual = scaled - scaled @ components.loadings @ components.loadings.T
    return np.square(residual)


def residual(samples: npt.ArrayLike, components: Components) -> Results:
    """F-MSPC-02: Q (SPE) of samples (..., p), the squared distance from the plane of the components.

    Unit: 1. Valid: scaled variables. Source: [S59].

    >>> flat = Components(np.zeros(2), np.ones(2), np.array([[1.0], [0.0]]), np.array([1.0, 0.1]), 50)
    >>> f"{residual([3.0, 2.0], flat).one():.1f}"
    '4.0 1'
    """
    (x,) = given = columns(samples)
    value = np.sum(residual_contributions(x, components), axis=-1)
    missing = (Reason.MISSING_INPUT, ~np.isfinite(x).all(axis=-1))
    return judged(value, F_SPE, given, missing, evidence=Evidence(components.samples))


def residual_limit(eigenvalues: npt.ArrayLike, *, alpha: float = 0.01) -> Result:
    """F-MSPC-02: limit of Q by Jackson and Mudholkar, from the eigenvalues that were not kept; one-sided.

    With h0 <= 0 Box's g chi2_h is the limit, and the version says so. The formula is 2 to 4 % above simulation.
    Unit: 1. Valid: some eigenvalue > 0. Source: [S59].

    >>> f"{residual_limit([0.8, 0.5, 0.3, 0.1], alpha=0.05):.5f} {residual_limit([0.8, 0.5, 0.3, 0.1]):.5f}"
    '4.52326 1 6.93994 1'
    """
    (values,) = columns(eigenvalues)
    given = (values, np.array([alpha]))
    one, two, three = (np.sum(values**power) for power in (1, 2, 3))
    with silent():
        h0 = 1 - 2 * one * three / (3 * two**2)
        z = special.ndtri(1 - alpha)
        power = z * np.sqrt(2 * two * h0**2) / one + 1 + two * h0 * (h0 - 1) / one**2
        jackson, box = one * power ** (1 / h0), two / one * special.chdtri(np.atleast_1d(one**2 / two), alpha)[0]
    bad = (Reason.MISSING_INPUT, not np.isfinite(values).all() or values.size == 0)
    none = (Reason.ZERO_DENOM, two <= 0)
    usual = bool(h0 > 0)
    value, formula = (jackson, F_SPE) if usual else (box, F_SPE_BOX)
    return judged(value, formula, given, bad, none, evidence=Evidence(values.size)).one()


@dataclass(frozen=True, slots=True)
class Mewma:
    """Statistic of each sample and the smoothed vectors (n, p) it is of."""

    statistic: Results
    smoothed: Floats


def mewma(
    samples: npt.ArrayLike,
    centre: npt.ArrayLike,
    covariance: npt.ArrayLike,
    *,
    weight: float = 0.1,
    steady: bool = True,
) -> Mewma:
    """F-MSPC-03: MEWMA of (n, p) samples, with the steady-state covariance or the one that grows from the start.

    For p = 2, weight 0.1 and ARL 200 the limit is 8.64 (steady), p = 3 10.79, p = 4 12.73. A sample with a NaN is
    stepped over and MISSING_INPUT; i does not advance.
    Unit: 1. Valid: 0 < weight <= 1, condition number up to 1e8. Source: section 6.5.

    >>> chart = mewma([[1, 0.5], [1.2, 0.8], [0.9, 1.1]], [0, 0], [[1, 0.6], [0.6, 1]])
    >>> [f"{r:.5f}" for r in chart.statistic]
    ['0.19297 1', '0.83793 1', '1.56911 1']
    """
    if not 0 < weight <= 1:
        raise ValueError(f"MEWMA with weight {weight}: 0 < weight <= 1 is needed")
    x, middle, sigma = columns(samples, centre, covariance)
    good = np.isfinite(x).all(axis=1)
    smoothed, q = np.full(x.shape, np.nan), np.zeros(x.shape[1])
    for i in np.flatnonzero(good):
        q = weight * (x[i] - middle) + (1 - weight) * q
        smoothed[i] = q
    reference = Reference(np.zeros(x.shape[1]), weight / (2 - weight) * sigma, len(x))
    grown = 1.0 if steady else 1 - (1 - weight) ** (2.0 * np.maximum(np.cumsum(good), 1))
    value = np.sum(t_squared_contributions(smoothed, reference), axis=-1) / grown
    singular = (Reason.OUT_OF_VALID_RANGE, not reference.usable)
    statistic = judged(
        value, F_MEWMA, (x,), (Reason.MISSING_INPUT, ~good), singular, evidence=Evidence(np.cumsum(good))
    )
    return Mewma(statistic, smoothed)
