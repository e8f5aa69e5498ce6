"""What is usual here and now: robust distance of each variable from the last rows of the same context.

>>> from analytics.table import Table
>>> rng = np.random.default_rng(1)
>>> shots = rng.normal([650.0, 2.5, 48.0], [2.0, 0.05, 1.0], (300, 3))
>>> shots[200:] += [30.0, 0.0, 0.0]
>>> shots[290] += [0.0, -1.0, 15.0]
>>> found = Adaptive(kind="adaptive").examine(Table.of(shots))
>>> [round(float(found.score[row, 0]), 1) for row in (199, 200, 280, 290)]
[0.1, 0.6, 0.1, 1.4]
>>> found.share[290].round(1).tolist()
[0.0, 0.6, 0.4]
"""

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from analytics.data_quality import MAD_TO_SIGMA
from analytics.detector import Arrays, Detector, Scores, by_group
from analytics.result import Floats, silent
from analytics.rolling import middle, shifted, sums, windows
from analytics.table import Table

CHUNK: Final = 4_000_000
"""Numbers in the windows that are sorted at once."""


class Adaptive(Detector):
    """A row unlike the last rows of its context, without any setup; a new level is usual after half a window.

    A variable's distance is from its rolling median, in units of the larger of the rolling 1.4826 MAD and the mean
    distance over a longer past: so a variable that is mostly still, and jumps now and then, does not ring at each jump.
    """

    kind: Literal["adaptive"] = "adaptive"
    window: int = Field(default=100, ge=10, le=5000)
    """Rows before a row that say what is usual."""
    spread_rows: int = Field(default=500, ge=10, le=20_000)
    """Rows before a row over which the mean distance is taken."""
    top: PositiveInt = 5
    """So many of the largest distances are averaged; with fewer variables all of them."""
    limit: PositiveFloat = 8.0
    """Mean distance that is a score of 1, in units of the spread."""
    cap: PositiveFloat = 50.0
    """Largest distance of one variable, likewise."""
    least_rows: PositiveInt = 20
    """Numbers of a variable in the window, and distances of it before a row, below which it has no say."""

    @property
    def memory(self) -> int:
        """Both reaches: the distances of the longer past are from medians of their own."""
        return self.window + self.spread_rows

    def examine(self, table: Table, learned: Mapping[str, Arrays] | None = None) -> Scores:
        """Scores of the rows of all variables together, with the share of each."""
        del learned
        score = np.full((len(table), 1), np.nan)
        share = np.full(table.value.shape, np.nan)
        step = np.array([one.resolution for one in table.variables])
        for _, rows in by_group(table):
            x = np.where(table.normal[rows][:, None], table.value[rows], np.nan)
            each = largest(self.distances(x, step), self.top)
            total = np.sum(each, axis=1)
            score[rows, 0] = total / self.limit
            with silent():
                share[rows] = np.where(total[:, None] > 0, each / total[:, None], 1 / each.shape[1])
        share[np.isnan(score[:, 0])] = np.nan
        return Scores(("",), score, share)

    def distances(self, x: Floats, step: Floats) -> Floats:
        """(m, k) capped distances of rows of one group, in order; NaN without a number or a usual.

        A spread is at least the resolution `step` (k) of the variable.
        """
        median, mad = self._usual(x)
        away = np.abs(x - median)
        good = np.isfinite(away)
        count = shifted(sums(good.astype(np.float64), self.spread_rows), 1)
        total = shifted(sums(np.where(good, away, 0.0), self.spread_rows), 1)
        with silent():
            spread = np.fmax(np.fmax(MAD_TO_SIGMA * mad, total / count), step)
            far = np.where(away == 0, 0.0, away / spread)
        return np.where(count >= self.least_rows, np.minimum(far, self.cap), np.nan)

    def _usual(self, x: Floats) -> tuple[Floats, Floats]:
        """Median and MAD of the `window` rows before each."""
        past = shifted(x, 1)
        median, mad = np.full(x.shape, np.nan), np.full(x.shape, np.nan)
        step = max(CHUNK // (self.window * x.shape[1]), 1)
        for first in range(0, len(x), step):
            lead = min(first, self.window - 1)
            seen = windows(past[first - lead : first + step], self.window)[lead:]
            here = slice(first, first + len(seen))
            median[here] = middle(seen, self.least_rows)
            mad[here] = middle(np.abs(seen - median[here][..., None]), self.least_rows)
        return median, mad


def largest(distance: Floats, top: int) -> Floats:
    """(m, k) parts of the mean of the `top` largest of each row; 0 for the others, NaN for a row without a number.

    >>> largest(np.array([[4.0, 2.0, 1.0], [np.nan, 2.0, 4.0]]), 2).tolist()
    [[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]]
    """
    kept = min(top, distance.shape[1])
    filled = np.where(np.isfinite(distance), distance, -1.0)
    order = np.argsort(-filled, axis=1, kind="stable")[:, :kept]
    parts = np.zeros_like(distance)
    np.put_along_axis(parts, order, np.maximum(np.take_along_axis(filled, order, axis=1), 0.0) / kept, axis=1)
    parts[~np.isfinite(distance).any(axis=1)] = np.nan
    return parts
