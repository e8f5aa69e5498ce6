"""One-sided sums of a CUSUM that reach back a bounded number of rows (F-SPC-02), and where the change began.

* The sum at a row is the largest that begins at that row or at one of the `memory` rows before it; with rows enough it
  is the sum of `spc.cusum`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from analytics.result import Floats, Ints
from analytics.rolling import lowest

_COLUMNS: Final = 256
"""Columns summed together: they stay in the cache."""
_AT_ONCE: Final = 2000
"""Rows looked at together: bounds what `onset` takes of memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """One side: (n, k) the sum at each row, and (n + 1, k) the path whose rise above its lowest point that is."""

    total: Floats
    path: Floats


def summed(z: Floats, side: float, slack: float, memory: int) -> Sums:
    """Sums of z - slack (`side` 1) or of -z - slack (-1), never below 0; (n, k), a NaN is stepped over.

    >>> summed(np.array([[2.5], [-9.0], [1.5], [np.nan], [1.5]]), 1.0, 0.5, 10).total[:, 0].tolist()
    [2.0, 0.0, 1.0, 1.0, 2.0]
    """
    path, total = np.zeros((len(z) + 1, z.shape[1])), np.empty(z.shape)
    for first in range(0, z.shape[1], _COLUMNS):
        some = slice(first, first + _COLUMNS)
        steps = side * z[:, some] - slack
        steps[np.isnan(steps)] = 0.0
        np.cumsum(steps, axis=0, out=path[1:, some])
        total[:, some] = path[1:, some] - lowest(path[:, some], memory + 2)[1:]
    return Sums(total, path)


def onset(score: Floats, sides: Sequence[Sums], memory: int) -> Ints:
    """(n, k) row at which the sum of each row that rings began; the row itself where the score is below 1."""
    since = np.tile(np.arange(len(score), dtype=np.int64)[:, None], (1, score.shape[1]))
    row, column = np.nonzero(score >= 1)
    largest = np.argmax(np.stack([side.total[row, column] for side in sides]), axis=0)
    for number, side in enumerate(sides):
        mine = largest == number
        since[row[mine], column[mine]] = _began(side, row[mine], column[mine], memory)
    return since


def _began(side: Sums, row: Ints, column: Ints, memory: int) -> Ints:
    """(m,) first row of the sums at some rows: the one after the last sum of 0, unless that is no longer in memory."""
    index = np.arange(len(side.total), dtype=np.int64)[:, None]
    zero = np.maximum.accumulate(np.where(side.total == 0, index, -1), axis=0)
    begin = zero[row, column] + 1
    same = side.path[row + 1, column] - side.path[begin, column] == side.total[row, column]
    lost = np.flatnonzero(~same | (begin < row - memory))
    for first in range(0, len(lost), _AT_ONCE):
        some = lost[first : first + _AT_ONCE]
        each = row[some, None] + 1 - np.arange(memory + 2)
        paths = np.where(each >= 0, side.path[np.maximum(each, 0), column[some, None]], np.inf)
        begin[some] = row[some] + 1 - np.argmin(paths, axis=1)
    return np.asarray(np.minimum(begin, row), dtype=np.int64)
