"""T2 and Q as the textbook writes them, and what a user would build in an afternoon: plain NumPy, none of our code."""

from collections.abc import Callable

import numpy as np
from scipy import stats

from analytics.result import Floats

Judge = Callable[[Floats], Floats]
"""(n,) statistic over its limit, of (n, p) rows."""


def exact_t2(past: Floats, alpha: float) -> Judge:
    """Hotelling T2 with the sample covariance, phase II limit of the F distribution."""
    m, p = past.shape
    varies = past.std(axis=0) > 0
    mean, inverse = past[:, varies].mean(axis=0), np.linalg.pinv(np.cov(past[:, varies].T))
    p = int(varies.sum())
    limit = p * (m + 1) * (m - 1) / (m * (m - p)) * stats.f.ppf(1 - alpha, p, m - p)
    return lambda x: np.einsum("ij,jk,ik->i", x[:, varies] - mean, inverse, x[:, varies] - mean) / limit


def exact_q(past: Floats, alpha: float, explained: float = 0.9) -> Judge:
    """Squared distance from the components that explain a share of the variance, Jackson and Mudholkar's limit."""
    mean, scale = past.mean(axis=0), np.where(past.std(axis=0) > 0, past.std(axis=0, ddof=1), 1.0)
    _, singular, right = np.linalg.svd((past - mean) / scale, full_matrices=False)
    values = singular**2 / (len(past) - 1)
    kept = min(int(np.searchsorted(np.cumsum(values) / values.sum(), explained)) + 1, len(values) - 1)
    one, two, three = (float(np.sum(values[kept:] ** power)) for power in (1, 2, 3))
    h0 = 1 - 2 * one * three / (3 * two**2)
    z = stats.norm.ppf(1 - alpha)
    limit = one * (z * np.sqrt(2 * two * h0**2) / one + 1 + two * h0 * (h0 - 1) / one**2) ** (1 / h0)
    left = np.eye(past.shape[1]) - right[:kept].T @ right[:kept]
    return lambda x: np.sum(((x - mean) / scale @ left) ** 2, axis=1) / limit


def sigmas(past: Floats, width: float = 3.0) -> Judge:
    """The largest distance of a variable from its mean, in `width` standard deviations."""
    mean, deviation = past.mean(axis=0), np.where(past.std(axis=0) > 0, past.std(axis=0, ddof=1), np.inf)
    return lambda x: np.max(np.abs(x - mean) / deviation, axis=1) / width


def fixed_limits(past: Floats) -> Judge:
    """The smallest and the largest value seen so far of each variable: 1 is on one of them."""
    middle, half = (past.max(axis=0) + past.min(axis=0)) / 2, np.ptp(past, axis=0) / 2
    half = np.where(half > 0, half, np.inf)
    return lambda x: np.max(np.abs(x - middle) / half, axis=1)


def random_scores(rows: int, share: float, seed: int = 1) -> Floats:
    """(rows,) scores above 1 in a share of the rows, by chance."""
    return np.random.default_rng(seed).random(rows) / (1 - share)


def rolling_top3(x: Floats, window: int = 200) -> Floats:
    """(n,) mean of the three largest |z| of a row against the rows before it, over 3."""
    filled = np.where(np.isfinite(x), x, np.nanmedian(x[: 10 * window], axis=0))
    total = np.cumsum(np.vstack([np.zeros(x.shape[1]), filled]), axis=0)
    squares = np.cumsum(np.vstack([np.zeros(x.shape[1]), filled**2]), axis=0)
    row = np.arange(len(x))
    first = np.maximum(row - window, 0)
    count = np.maximum(row - first, 1)[:, None]
    mean = (total[row] - total[first]) / count
    deviation = np.sqrt(np.maximum((squares[row] - squares[first]) / count - mean**2, 0.0))
    far = np.abs(filled - mean) / np.maximum(deviation, 1e-3 * np.maximum(np.abs(mean), 1e-9))
    return np.asarray(np.sort(far, axis=1)[:, -3:].mean(axis=1) / 3)
