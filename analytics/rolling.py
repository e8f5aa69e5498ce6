"""Columns of a table through windows that end at each row: what every detector without state is built of.

* Arrays are (n, k), rows by variables. A NaN is stepped over, never filled.
* The value at a row depends on that row and on a stated number of rows before it, so a part of a table gives what the
  whole gives.
"""

from collections.abc import Callable

import numpy as np
from scipy import ndimage, signal

from analytics.detector import by_group
from analytics.result import Bools, Floats, Ints, silent
from analytics.table import Table

Kernel = Callable[[str, Ints, Floats], Floats]
"""Scores (m, k) of the rows of one group from its name, its row indices (m,) and its values (m, k), NaN not normal."""


def scored(table: Table, kernel: Kernel) -> Floats:
    """(n, k) scores of a table, each group by itself; a row that is not normal is NaN for the kernel and gets NaN.

    >>> scored(Table.of([1.0, 3.0]), lambda name, rows, value: value - value[0])[:, 0].tolist()
    [0.0, 2.0]
    """
    every = table.normal.all()
    value = table.value if every else np.where(table.normal[:, None], table.value, np.nan)
    groups = by_group(table)
    if every and len(groups) == 1:
        return kernel(*groups[0], value)
    score = np.full(table.value.shape, np.nan)
    for name, rows in groups:
        score[rows] = kernel(name, rows, value[rows])
    score[~table.normal] = np.nan
    return score


def windows(x: Floats, length: int) -> Floats:
    """(n, k, length) the rows that end at each row, NaN before the first; a view of one padded copy.

    >>> windows(np.array([[1.0], [2.0]]), 2)[:, 0].tolist()
    [[nan, 1.0], [1.0, 2.0]]
    """
    padded = np.concatenate([np.full((length - 1, x.shape[1]), np.nan), x])
    return np.lib.stride_tricks.sliding_window_view(padded, length, axis=0)


def shifted(x: Floats, rows: int) -> Floats:
    """(n, k) each row as it was `rows` rows before; NaN before the first.

    >>> shifted(np.array([[1.0], [2.0]]), 1)[:, 0].tolist()
    [nan, 1.0]
    """
    moved = np.full(x.shape, np.nan)
    moved[rows:] = x[: max(len(x) - rows, 0)]
    return moved


def sums(x: Floats, length: int) -> Floats:
    """(n, k) sum of the last `length` rows, each added anew, so that nothing large of long ago is left in it.

    >>> sums(np.array([[1.0], [2.0], [4.0]]), 2)[:, 0].tolist()
    [1.0, 3.0, 6.0]
    """
    added: Floats = ndimage.correlate1d(x, np.ones(length), axis=0, mode="constant", origin=(length - 1) // 2)
    return added


def lowest(x: Floats, length: int) -> Floats:
    """(n, k) the smallest of the last `length` rows, fewer at the start.

    >>> lowest(np.array([[1.0], [2.0], [4.0]]), 2)[:, 0].tolist()
    [1.0, 1.0, 2.0]
    """
    found: Floats = ndimage.minimum_filter1d(x, length, axis=0, mode="nearest", origin=(length - 1) // 2)
    return found


def medians(x: Floats, length: int, least: int = 1) -> Floats:
    """(n, k) median of the numbers in the last `length` rows; NaN with fewer than `least` of them.

    >>> medians(np.array([[1.0], [np.nan], [4.0]]), 3)[:, 0].tolist()
    [1.0, 1.0, 2.5]
    """
    return middle(windows(x, length), least)


def middle(x: Floats, least: int = 1) -> Floats:
    """Median along the last axis of the numbers in it; NaN with fewer than `least` of them.

    >>> middle(np.array([[3.0, np.nan, 1.0], [np.nan, np.nan, 1.0]]), 2).tolist()
    [2.0, nan]
    """
    ordered = np.sort(x, axis=-1)
    seen = np.sum(np.isfinite(x), axis=-1)
    if np.all(seen == x.shape[-1]):
        return (ordered[..., (x.shape[-1] - 1) // 2] + ordered[..., x.shape[-1] // 2]) / 2
    low = np.take_along_axis(ordered, np.maximum((seen - 1) // 2, 0)[..., None], axis=-1)[..., 0]
    high = np.take_along_axis(ordered, np.minimum(seen // 2, x.shape[-1] - 1)[..., None], axis=-1)[..., 0]
    return np.where(seen >= max(least, 1), (low + high) / 2, np.nan)


def counted(good: Bools) -> Ints:
    """(n, k) how many flags are set up to each row."""
    return np.cumsum(good, axis=0, dtype=np.int64)


def smoothed(z: Floats, weight: float, memory: int) -> tuple[Floats, Ints]:
    """EWMA of (n, k) from 0 over the numbers of a row and the `memory` rows before it, and how many those are.

    Recursive and exact: what lies further back is taken off again with the weight it still has.

    >>> smoothed(np.array([[1.0], [np.nan], [1.0]]), 0.5, 1)[0][:, 0].tolist()
    [0.5, 0.5, 0.5]
    """
    good = np.isfinite(z)
    count = counted(good)
    order = None if good.all() else np.argsort(~good, axis=0, kind="stable")
    dense = z if order is None else np.nan_to_num(np.take_along_axis(z, order, axis=0))
    levels = signal.lfilter([weight], [1.0, weight - 1.0], dense, axis=0)
    level = np.where(count > 0, np.take_along_axis(levels, np.maximum(count - 1, 0), axis=0), 0.0)
    old_level, old_count = np.zeros_like(level), np.zeros_like(count)
    old_level[memory + 1 :] = level[: max(len(z) - memory - 1, 0)]
    old_count[memory + 1 :] = count[: max(len(z) - memory - 1, 0)]
    seen = count - old_count
    return level - (1.0 - weight) ** seen * old_level, seen


def last_row(flags: Bools, memory: int) -> Ints:
    """(n, k) last row up to each where a flag is set; at most `memory` rows back, and not before the first.

    >>> last_row(np.array([[True], [False], [False], [False]]), 2)[:, 0].tolist()
    [0, 0, 0, 1]
    """
    index = np.arange(len(flags), dtype=np.int64)[:, None]
    found = np.maximum.accumulate(np.where(flags, index, -1), axis=0)
    return np.maximum(found, np.maximum(index - memory, 0))


def deviation(total: Floats, squares: Floats, count: Floats) -> Floats:
    """Sample standard deviation from sums; NaN with fewer than two."""
    with silent():
        variance = (squares - total**2 / count) / (count - 1)
    return np.sqrt(np.where(count > 1, np.maximum(variance, 0.0), np.nan))
