"""Slow, obvious twins of the statistics: one loop over points, one rule a line."""

from collections.abc import Sequence
from math import inf, isnan, log


def western_electric(z: Sequence[float]) -> list[list[bool]]:
    """Four lists of flags."""
    return [
        [abs(z[i]) > 3 for i in range(len(z))],
        [_zone(z, i, 2, 2, 3) for i in range(len(z))],
        [_zone(z, i, 1, 4, 5) for i in range(len(z))],
        [_side(z, i, 8) for i in range(len(z))],
    ]


def nelson(z: Sequence[float]) -> list[list[bool]]:
    """Eight lists of flags."""
    n = range(len(z))
    return [
        [abs(z[i]) > 3 for i in n],
        [_side(z, i, 9) for i in n],
        [_trend(z, i) for i in n],
        [_alternating(z, i) for i in n],
        [_zone(z, i, 2, 2, 3) for i in n],
        [_zone(z, i, 1, 4, 5) for i in n],
        [i >= 14 and all(abs(v) <= 1 for v in z[i - 14 : i + 1]) for i in n],
        [i >= 7 and all(abs(v) > 1 for v in z[i - 7 : i + 1]) for i in n],
    ]


def _zone(z: Sequence[float], i: int, limit: float, least: int, width: int) -> bool:
    last = z[max(0, i - width + 1) : i + 1]
    up = z[i] > limit and sum(v > limit for v in last) >= least
    down = z[i] < -limit and sum(v < -limit for v in last) >= least
    return up or down


def _side(z: Sequence[float], i: int, length: int) -> bool:
    last = z[i - length + 1 : i + 1] if i >= length - 1 else []
    return bool(last) and (all(v > 0 for v in last) or all(v < 0 for v in last))


def _trend(z: Sequence[float], i: int) -> bool:
    if i < 5:
        return False
    pairs = list(zip(z[i - 5 : i], z[i - 4 : i + 1], strict=True))
    return all(a < b for a, b in pairs) or all(a > b for a, b in pairs)


def _alternating(z: Sequence[float], i: int) -> bool:
    if i < 13:
        return False
    up = [z[k + 1] > z[k] for k in range(i - 13, i)]
    down = [z[k + 1] < z[k] for k in range(i - 13, i)]
    strict = all(u or d for u, d in zip(up, down, strict=True))
    return strict and all(up[k] != up[k + 1] for k in range(12))


def cusum(z: Sequence[float], slack: float) -> list[float]:
    """The upper sum; a NaN leaves it as it is."""
    sums, total = [], 0.0
    for v in z:
        if not isnan(v):
            total = max(0.0, total + v - slack)
        sums.append(total)
    return sums


def ewma(x: Sequence[float], centre: float, weight: float) -> list[float]:
    """The statistic at each sample that is not NaN."""
    values, z = [], centre
    for v in x:
        if not isnan(v):
            z = weight * v + (1 - weight) * z
            values.append(z)
    return values


def warping(a: Sequence[float], b: Sequence[float], radius: int) -> float:
    """Dynamic time warping by the recursion."""
    table = [[inf] * (len(b) + 1) for _ in range(len(a) + 1)]
    table[0][0] = 0.0
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            if abs(i - j) <= radius:
                best = min(table[i - 1][j], table[i][j - 1], table[i - 1][j - 1])
                table[i][j] = abs(a[i - 1] - b[j - 1]) + best
    return table[-1][-1]


def segmentation_cost(x: Sequence[float], sigma: float, least: int) -> float:
    """The least squared cost of any segmentation, each change paid with 2 sigma^2 ln n."""
    n, price = len(x), 2 * sigma**2 * log(len(x))
    best = [-price, *[inf] * n]
    for end in range(least, n + 1):
        for start in range(end - least + 1):
            best[end] = min(best[end], best[start] + cost(x[start:end]) + price)
    return best[n]


def cost(x: Sequence[float]) -> float:
    """Squared distance from the mean."""
    mean = sum(x) / len(x)
    return sum((v - mean) ** 2 for v in x)


def time_in_band(time_s: Sequence[float], value: Sequence[float], low: float, high: float, parts: int = 2000) -> float:
    """Time of the line through the samples in [low, high], by counting small parts."""
    total = 0.0
    for i in range(len(time_s) - 1):
        step = (time_s[i + 1] - time_s[i]) / parts
        rise = (value[i + 1] - value[i]) / parts
        total += step * sum(low <= value[i] + (k + 0.5) * rise <= high for k in range(parts))
    return total


def pettitt(x: Sequence[float]) -> tuple[float, int]:
    """K and where: |sum over pairs of sign(x_i - x_j)| on both sides of t."""
    sums = [abs(sum((a > b) - (a < b) for a in x[:t] for b in x[t:])) for t in range(1, len(x))]
    return max(sums), sums.index(max(sums)) + 1
