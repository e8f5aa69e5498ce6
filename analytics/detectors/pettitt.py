"""One change of level in the last rows, by Pettitt's rank test (F-CP-01).

>>> from analytics.table import Table
>>> found = Pettitt(kind="pettitt", rows=10, probability=0.05).examine(Table.of([1, 2, 3, 2, 1, 6, 7, 8, 7, 6]))
>>> round(float(found.score[-1, 0]), 4), int(found.since[-1, 0])
(0.9066, 5)
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from analytics.detector import Arrays, Detector, Scores
from analytics.result import Floats, Ints, silent
from analytics.rolling import scored, windows
from analytics.table import Table


class Pettitt(Detector):
    """A change of level, whatever the distribution: ln p over ln of the `probability` at which it rings."""

    kind: Literal["pettitt"] = "pettitt"
    rows: int = Field(default=50, ge=8, le=500)
    """Of the window that is searched."""
    probability: float = Field(default=1e-4, gt=0, lt=1)
    """p of a window without a change that rings. Neighbouring windows are nearly one: it is not a rate a row."""

    @property
    def memory(self) -> int:
        """The window."""
        return self.rows - 1

    def examine(self, table: Table, learned: Mapping[str, Arrays] | None = None) -> Scores:
        """Scores of every variable; NaN are left out of a window, half of it must be numbers."""
        del learned
        since = np.tile(np.arange(len(table), dtype=np.int64)[:, None], (1, len(table.variables)))

        def of_group(_: str, rows: Ints, value: Floats) -> Floats:
            score = np.full(value.shape, np.nan)
            for column in range(value.shape[1]):
                probability, back = self._tested(value[:, column])
                score[:, column] = np.maximum(np.log(probability) / np.log(self.probability), 0.0)
                since[rows, column] = rows[np.maximum(np.arange(len(rows)) - back, 0)]
            return np.where(np.isfinite(value), score, np.nan)

        return Scores(table.names, scored(table, of_group), since=since)

    def _tested(self, x: Floats) -> tuple[Floats, Ints]:
        """(m,) p of the window at each row, and how many rows before the row the new level begins."""
        window = windows(x[:, None], self.rows)[:, 0]
        n = np.sum(np.isfinite(window), axis=1)
        above = np.zeros(window.shape)
        for other in range(self.rows):
            with silent():
                above += np.nan_to_num(np.sign(window - window[:, other, None]))
        climb = np.abs(np.cumsum(above, axis=1))
        k = np.max(climb, axis=1)
        with silent():
            p = np.minimum(1.0, 2 * np.exp(-6 * k**2 / (n.astype(np.float64) ** 3 + n**2)))
        enough = n >= max(8, self.rows // 2)
        return np.where(enough, np.maximum(p, 1e-300), np.nan), self.rows - 2 - np.argmax(climb, axis=1)
