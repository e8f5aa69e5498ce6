"""Where a level changed: Pettitt's test for one change, PELT for several (section 6.6).

* Samples are (n,) without NaN; drop them first and map the indices back.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from analytics.result import Evidence, Floats, Formula, Ints, Reason, Result, columns, judged, silent

F_PETTITT: Final = Formula("F-CP-01", "1")


@dataclass(frozen=True, slots=True)
class Change:
    """A change after the first `position` samples; K of the test and its probability."""

    position: int | None
    statistic: Result
    probability: Result


def pettitt(x: npt.ArrayLike) -> Change:
    """F-CP-01: Pettitt's test, ranks with ties averaged, K = max |U_t| and p about 2 exp(-6 K^2 / (n^3 + n^2)).

    The approximation may exceed 1 for small K; a probability is reported as at most 1. A NaN is MISSING_INPUT.
    Unit: 1. Valid: n >= 2. Source: section 6.6.

    >>> found = pettitt([1, 2, 3, 2, 1, 6, 7, 8, 7, 6])
    >>> f"{found.statistic:.0f} {found.probability:.5f}", found.position
    ('25 1 0.06614 1', 5)
    """
    (sample,) = given = columns(x)
    n = sample.size
    bad = (Reason.MISSING_INPUT, n < 2 or not np.isfinite(sample).all())
    t = np.arange(1, n + 1)
    u = np.abs(2 * np.cumsum(_ranks(sample)) - t * (n + 1)) if not bad[1] else np.zeros(1)
    k = float(np.max(u))
    with silent():
        p = np.minimum(1.0, 2 * np.exp(-6 * np.float64(k) ** 2 / (float(n) ** 3 + n**2)))
    evidence = Evidence(n)
    return Change(
        position=None if bad[1] else int(np.argmax(u)) + 1,
        statistic=judged(k, F_PETTITT, given, bad, evidence=evidence).one(),
        probability=judged(p, F_PETTITT, given, bad, evidence=evidence).one(),
    )


def _ranks(x: Floats) -> Floats:
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def noise_sigma(x: npt.ArrayLike) -> float:
    """Sigma of the noise between changes, by the median absolute difference of neighbours; 0 for fewer than two.

    >>> round(noise_sigma([0.0, 1.0, 0.0, 1.0, 0.0]), 4)
    1.0484
    """
    (sample,) = columns(x)
    steps = np.abs(np.diff(sample))
    return float(1.4826 * np.median(steps) / np.sqrt(2)) if steps.size else 0.0


def change_points(
    x: npt.ArrayLike, *, sigma: float | None = None, penalty: float | None = None, least_segment: int = 2
) -> Ints:
    """F-CP-01: change points by PELT with squared cost, penalty 2 sigma^2 ln n; indices of the first sample after each.

    `sigma` is estimated from neighbours when it is not given. Without noise every change counts.
    Unit: index. Valid: no NaN, at least two segments long (else ValueError or none). Source: section 6.6.

    >>> change_points([0.0, 0.1, -0.1, 0.0, 5.0, 5.1, 4.9, 5.0], sigma=0.1)
    array([4])
    """
    (sample,) = columns(x)
    if not np.isfinite(sample).all():
        raise ValueError("change points need samples without NaN: drop them first")
    n = sample.size
    if n < 2 * least_segment:
        return np.empty(0, dtype=np.int64)
    spread = noise_sigma(sample) if sigma is None else sigma
    price = 2 * spread**2 * np.log(n) if penalty is None else penalty
    centred = sample - np.mean(sample)
    first = np.concatenate([[0.0], np.cumsum(centred)])
    second = np.concatenate([[0.0], np.cumsum(centred**2)])
    return _cuts(_last_changes(first, second, max(price, 1e-12), least_segment))


def _last_changes(first: Floats, second: Floats, price: float, least: int) -> Ints:
    """For each end the best last change before it.

    A start that loses at `end` by the price can never win from `end + least` on, when a change at `end` is allowed.
    """
    n = first.size - 1
    best = np.full(n + 1, np.inf)
    best[0] = -price
    previous = np.zeros(n + 1, dtype=np.int64)
    starts, usable_to = np.zeros(1, dtype=np.int64), np.full(1, n + 1)
    for end in range(least, n + 1):
        length = end - starts
        cost = second[end] - second[starts] - (first[end] - first[starts]) ** 2 / length
        total = best[starts] + cost
        winner = int(np.argmin(total))
        best[end], previous[end] = total[winner] + price, starts[winner]
        usable_to = np.where(total > best[end], np.minimum(usable_to, end + least - 1), usable_to)
        kept = usable_to > end
        fresh = end - least + 1
        added = [fresh] if fresh >= least else []
        starts = np.append(starts[kept], np.array(added, dtype=np.int64))
        usable_to = np.append(usable_to[kept], np.full(len(added), n + 1))
    return previous


def _cuts(previous: Ints) -> Ints:
    found: list[int] = []
    end = previous.size - 1
    while previous[end] > 0:
        end = int(previous[end])
        found.append(end)
    return np.array(found[::-1], dtype=np.int64)
