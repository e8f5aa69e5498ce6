"""How new a number is beside its own past: tails of what it was, votes of several statistics, and the last surprise.

* One column (n,) at a time; NaN is stepped over. The value at a row depends on a stated number of rows before it.
* No distribution is assumed: a tail is continued from the outer tenth of the past by the mean of its excesses.
* A vote is bounded, so no statistic, however heavy its tail, outvotes the others.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

from analytics.result import Floats, Ints, silent
from analytics.rolling import lowest, middle, sums

OUTER: Final = 0.1
"""Part of the past on either side that a tail is continued from."""
FAINT: Final = 1e-3
"""Of the range of the past: a smaller excess is none."""
ROWS_AT_ONCE: Final = 4096


def past(x: Floats, gap: int, reach: int, every: int, first: int = 0) -> Iterator[tuple[slice, Floats]]:
    """Rows from `first` on, some at a time, and (m, reach // every) numbers `gap` to `gap + reach` rows before each.

    NaN before the first row.

    >>> [(rows.start, before[2].tolist()) for rows, before in past(np.arange(3.0), 1, 2, 1)]
    [(0, [0.0, 1.0])]
    """
    count = reach // every
    padded = np.concatenate([np.full(gap + every * (count - 1), np.nan), x])
    whole = np.lib.stride_tricks.sliding_window_view(padded, every * (count - 1) + 1)[: len(x), ::every]
    for begin in range(first, len(x), ROWS_AT_ONCE):
        rows = slice(begin, min(begin + ROWS_AT_ONCE, len(x)))
        yield rows, whole[rows]


def rarity(x: Floats, gap: int, *, reach: int, every: int, least: int, upper: bool = False, first: int = 0) -> Floats:
    """(n,) about -ln of the probability that the past goes that far out; 0 inside it or with too little past.

    Args:
        x: (n,) a statistic.
        gap: rows that the statistic itself spans, left out of its past.
        reach: rows of the past.
        every: only each so-many-th of them is looked at.
        least: numbers in the past below which nothing is said.
        upper: whether only large values count.
        first: row before which nothing is computed, and 0 returned.

    >>> float(rarity(np.append(np.tile([0.0, 1.0, 2.0], 40), 9.0), 1, reach=120, every=1, least=20)[-1]) > 10
    True
    """
    found = np.zeros(x.shape)
    for rows, before in past(x, gap, reach, every, first):
        seen = np.sum(np.isfinite(before), axis=1)
        usable = np.flatnonzero((seen >= least) & np.isfinite(x[rows]))
        if usable.size:
            found[rows.start + usable] = _beyond(x[rows][usable], before[usable], seen[usable], upper=upper)
    return found


def _beyond(x: Floats, before: Floats, seen: Ints, *, upper: bool) -> Floats:
    """Rarity of x (m,) beside `before` (m, j), of which `seen` (m,) are numbers."""
    outer = np.maximum((seen * OUTER).astype(np.int64), 2)
    if np.all(seen == before.shape[1]):
        m = int(outer[0])
        ordered = np.partition(before, (m - 1, before.shape[1] - m), axis=1)
        low_edge, high_edge = ordered[:, m - 1], ordered[:, -m]
        low, high = np.mean(ordered[:, :m], axis=1), np.mean(ordered[:, -m:], axis=1)
        span = np.max(ordered[:, -m:], axis=1) - np.min(ordered[:, :m], axis=1)
    else:
        ordered = np.sort(before, axis=1)
        total = np.cumsum(np.nan_to_num(ordered), axis=1)
        total = np.concatenate([np.zeros((len(x), 1)), total], axis=1)
        each = np.arange(len(x))
        low_edge, high_edge = ordered[each, outer - 1], ordered[each, seen - outer]
        low, high = total[each, outer] / outer, (total[each, seen] - total[each, seen - outer]) / outer
        span = ordered[each, seen - 1] - ordered[:, 0]
    faint = FAINT * span + 1e-9 * np.abs(high_edge) + 1e-12
    out = (x - high_edge) / (high - high_edge + faint)
    if not upper:
        out = np.maximum(out, (low_edge - x) / (low_edge - low + faint))
    return np.asarray(np.maximum(out - np.log(OUTER), 0.0))


def vote(rare: Floats, *, from_nats: float = 3.0, half_nats: float = 3.0) -> Floats:
    """0..1 how much a rarity says: nothing up to `from_nats` (one in twenty), one half `half_nats` further out.

    >>> vote(np.array([2.0, 6.0, 1e9])).round(3).tolist()
    [0.0, 0.5, 1.0]
    """
    over = np.maximum(rare - from_nats, 0.0)
    return over / (over + half_nats)


def mean_of(x: Floats, rows: int) -> Floats:
    """(n,) mean of the numbers in the last `rows` rows; NaN with less than half of them."""
    good = np.isfinite(x)
    count = sums(good[:, None].astype(np.float64), rows)[:, 0]
    with silent():
        return np.where(2 * count >= rows, sums(np.where(good, x, 0.0)[:, None], rows)[:, 0] / count, np.nan)


def spread_of(x: Floats, rows: int) -> Floats:
    """(n,) logarithm of the standard deviation of the last `rows` rows; NaN with less than half of them."""
    mean = mean_of(x, rows)
    padded = np.concatenate([np.full(rows - 1, np.nan), x])
    window = np.lib.stride_tricks.sliding_window_view(padded, rows)
    squares, count = np.zeros(x.shape), np.zeros(x.shape)
    for column in range(rows):
        apart = window[:, column] - mean
        known = np.isfinite(apart)
        squares += np.where(known, apart, 0.0) ** 2
        count += known
    with silent():
        return np.log(np.sqrt(squares / count) + 1e-9 * np.abs(mean) + 1e-12)


def season_less(x: Floats, lag: int, times: int) -> Floats:
    """(n,) less the median of the rows one to `times` lags before; NaN without any."""
    padded = np.concatenate([np.full(lag * times, np.nan), x])
    same = np.stack([padded[lag * j : lag * j + len(x)] for j in range(times)], axis=1)
    return x - middle(same)


def highest_before(x: Floats, rows: int) -> Floats:
    """(n,) the largest of the `rows` rows before each, not the row itself; 0 before the first.

    >>> highest_before(np.array([3.0, 1.0, 2.0, 0.0]), 2).tolist()
    [0.0, 3.0, 3.0, 2.0]
    """
    before = np.concatenate([np.zeros(1), x])[: len(x), None]
    return -lowest(-before, rows)[:, 0]
