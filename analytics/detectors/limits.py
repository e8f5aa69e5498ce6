"""Fixed limits of a variable, from its own configuration or from the table (F-DQ-06).

>>> from analytics.table import Table
>>> Limits(kind="limits", low=10.0, high=20.0).examine(Table.of([15.0, 20.0, 25.0])).score[:, 0].tolist()
[0.0, 1.0, 2.0]
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import FiniteFloat

from analytics.detector import Arrays, Detector, Scores
from analytics.result import silent
from analytics.table import Table


class Limits(Detector):
    """A variable outside its limits. 0 in the middle of them, 1 on a limit; one-sided: 1 + distance over the limit."""

    kind: Literal["limits"] = "limits"
    low: FiniteFloat | None = None
    """For every variable, in its unit; none: the limit of the variable's own configuration."""
    high: FiniteFloat | None = None
    """Likewise."""

    @property
    def memory(self) -> int:
        """None: a row is judged by itself."""
        return 0

    def examine(self, table: Table, learned: Mapping[str, Arrays] | None = None) -> Scores:
        """Scores of every variable that has a limit; NaN for one without."""
        del learned
        low = np.array([one.low if self.low is None else self.low for one in table.variables])
        high = np.array([one.high if self.high is None else self.high for one in table.variables])
        with silent():
            middle = (low + high) / 2
            two_sided = np.abs(table.value - middle) / ((high - low) / 2)
            one_sided = 1 + np.where(np.isfinite(high), table.value - high, low - table.value) / np.where(
                np.isfinite(high), np.maximum(np.abs(high), 1e-12), np.maximum(np.abs(low), 1e-12)
            )
        score = np.where(np.isfinite(middle), two_sided, one_sided)
        score[~table.normal] = np.nan
        shape = table.value.shape
        return Scores(
            table.names,
            score,
            low=np.broadcast_to(np.where(np.isfinite(low), low, np.nan), shape),
            high=np.broadcast_to(np.where(np.isfinite(high), high, np.nan), shape),
        )
