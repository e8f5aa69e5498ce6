"""A single value far from its neighbours, by the Hampel filter (F-DQ-03).

>>> from analytics.table import Table
>>> found = Spike(kind="spike").examine(Table.of([10, 10.1, 9.9, 10, 14, 10.1, 9.9, 10.0]))
>>> round(5 * float(found.score[7, 0]), 2), int(found.since[7, 0])
(26.98, 4)
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field, PositiveFloat

from analytics.data_quality import MAD_TO_SIGMA
from analytics.detector import Arrays, Detector, Scores
from analytics.result import Floats, Ints, silent
from analytics.rolling import middle, scored, shifted, windows
from analytics.table import Table


class Spike(Detector):
    """One value that its neighbours on both sides do not share: the row in the middle of a window, told at its end.

    So a step is no spike. With a window half of which is alike, the resolution or 0.1 % of the span stands in for the
    spread; with neither there is no opinion.
    """

    kind: Literal["spike"] = "spike"
    window: int = Field(default=7, ge=3, le=101)
    """Rows; odd ones have a middle."""
    limit: PositiveFloat = 5.0
    """In robust sigma (1.4826 median absolute deviations) from the median of the window."""
    wait_rows: int = Field(default=3, ge=0)
    """Rows after the one that is judged: 3 of 7 is the middle; 0 tells at once and takes a step for a spike."""

    @property
    def memory(self) -> int:
        """The window."""
        return self.window - 1

    def examine(self, table: Table, learned: Mapping[str, Arrays] | None = None) -> Scores:
        """Scores of every variable; `since` is the row that is meant, `wait_rows` earlier."""
        del learned
        wait = min(self.wait_rows, self.window - 1)
        step = np.array([max(one.resolution, 1e-3 * one.span) for one in table.variables])
        since = np.tile(np.arange(len(table), dtype=np.int64)[:, None], (1, len(table.variables)))

        def of_group(_: str, rows: Ints, value: Floats) -> Floats:
            window = windows(value, self.window)
            median = middle(window)
            mad = middle(np.abs(window - median[..., None]))
            since[rows] = rows[np.maximum(np.arange(len(rows)) - wait, 0)][:, None]
            with silent():
                spread = MAD_TO_SIGMA * np.where(mad > 0, mad, step)
                far = np.abs(shifted(value, wait) - median) / spread
            far[: self.window - 1] = np.nan
            return np.where(spread > 0, far / self.limit, np.nan)

        return Scores(table.names, scored(table, of_group), since=since)
