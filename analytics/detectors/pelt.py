"""Several changes of level in the last rows, by least squared cost with a penalty (F-CP-01, PELT's optimum).

>>> from analytics.table import Table
>>> found = Pelt(kind="pelt", rows=8, sigma=0.1).examine(Table.of([0.0, 0.1, -0.1, 0.0, 5.0, 5.1, 4.9, 5.0]))
>>> bool(found.score[-1, 0] > 1), int(found.since[-1, 0])
(True, 4)
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from analytics.detector import Arrays, Detector, Scores
from analytics.result import Floats, Ints, silent
from analytics.rolling import middle, scored, windows
from analytics.table import Table


class Pelt(Detector):
    """Level changes in a window, as many as pay for themselves: what the best cuts save over what they cost.

    The score is the root of that; below 1 nothing pays. `since` is the last cut.
    """

    kind: Literal["pelt"] = "pelt"
    rows: int = Field(default=60, ge=8, le=200)
    """Of the window that is searched; the work grows with its square."""
    penalty: PositiveFloat = 6.0
    """Price of a cut, in sigma^2 ln rows. PELT's usual 2 suits one look at one window, not a look at every row."""
    sigma: PositiveFloat | None = None
    """Of the noise, in the variable's unit; none: from the neighbours in the window."""
    least_segment: PositiveInt = 2
    """Rows between cuts."""

    @property
    def memory(self) -> int:
        """The window."""
        return self.rows - 1

    def examine(self, table: Table, learned: Mapping[str, Arrays] | None = None) -> Scores:
        """Scores of every variable; a window with a NaN or without noise gets none."""
        del learned
        since = np.tile(np.arange(len(table), dtype=np.int64)[:, None], (1, len(table.variables)))

        def of_group(_: str, rows: Ints, value: Floats) -> Floats:
            score = np.full(value.shape, np.nan)
            for column in range(value.shape[1]):
                window = windows(value[:, column, None], self.rows)[:, 0]
                whole = np.flatnonzero(np.isfinite(window).all(axis=1))
                score[whole, column], last = self._cut(window[whole])
                since[rows[whole], column] = rows[whole - self.rows + 1 + last]
            return score

        return Scores(table.names, scored(table, of_group), since=since)

    def _cut(self, window: Floats) -> tuple[Floats, Ints]:
        """(m,) score of each of the windows (m, rows), and where its last segment begins; all windows step together."""
        m, n = window.shape
        steps = np.abs(np.diff(window, axis=1))
        sigma = np.full(m, self.sigma) if self.sigma else 1.4826 * middle(steps) / np.sqrt(2)
        price = self.penalty * sigma**2 * np.log(n)
        centred = window - window.mean(axis=1, keepdims=True)
        first = np.concatenate([np.zeros((m, 1)), np.cumsum(centred, axis=1)], axis=1)
        second = np.concatenate([np.zeros((m, 1)), np.cumsum(centred**2, axis=1)], axis=1)
        best, cuts = np.full((m, n + 1), np.inf), np.zeros((m, n + 1))
        best[:, 0] = -price
        cuts[:, 0] = -1
        last = np.zeros(m, dtype=np.int64)
        every = np.arange(m)
        for end in range(self.least_segment, n + 1):
            starts = np.arange(end - self.least_segment + 1)
            spent = second[:, end, None] - second[:, starts]
            spent -= (first[:, end, None] - first[:, starts]) ** 2 / (end - starts)
            total = best[:, starts] + spent
            last = np.argmin(total, axis=1)
            best[:, end] = total[every, last] + price
            cuts[:, end] = cuts[every, last] + 1
        with silent():
            saved = second[:, n] - (best[:, n] - cuts[:, n] * price)
            ratio = np.where(cuts[:, n] > 0, saved / (cuts[:, n] * price), self._single(first, price))
        return np.sqrt(np.where(price > 0, ratio, np.nan)), last

    def _single(self, first: Floats, price: Floats) -> Floats:
        """(m,) what the best single cut saves, over its price: how near a window without cuts is to one."""
        n = first.shape[1] - 1
        at = np.arange(self.least_segment, n - self.least_segment + 1)
        saved = first[:, at] ** 2 / at + (first[:, n, None] - first[:, at]) ** 2 / (n - at) - first[:, n, None] ** 2 / n
        with silent():
            return np.asarray(np.minimum(np.max(saved, axis=1) / price, 1.0 - 1e-12))
