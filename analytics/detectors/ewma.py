"""EWMA control chart (F-SPC-01).

>>> from analytics.table import Table
>>> chart = Ewma(kind="ewma", centre=850.0, sigma=1.5, start="widening")
>>> found = chart.examine(Table.of([850.6, 851.2, 850.9, 852.0, 852.4, 851.8]))
>>> round(float(found.score[-1, 0]), 4), round(1.2297856 / 1.4292, 4)
(0.8605, 0.8605)
"""

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field, PositiveFloat

from analytics.detector import Arrays, Scores
from analytics.norm import Charted
from analytics.result import Floats, Ints
from analytics.rolling import scored, smoothed
from analytics.table import Table


class Ewma(Charted):
    """A small shift of the level: distance of the weighted mean of the last rows from the centre, over the limit."""

    kind: Literal["ewma"] = "ewma"
    weight: float = Field(default=0.2, gt=0, le=1)
    """Lambda, of the newest row."""
    width: PositiveFloat = 2.962
    """L, of the limits, in sigma of the statistic; 2.962 with weight 0.2 rings once in 500 rows in control."""
    start: Literal["steady", "widening"] = "steady"
    """Limits for few rows: those of many, or narrower ones that widen with every row."""

    @property
    def memory(self) -> int:
        """Rows whose weight together is all but a millionth."""
        return math.ceil(math.log(1e-6) / math.log1p(-self.weight)) if self.weight < 1 else 0

    def examine(self, table: Table, learned: Mapping[str, Arrays] | None = None) -> Scores:
        """Scores of every variable; a NaN is stepped over."""

        def of_group(name: str, _: Ints, value: Floats) -> Floats:
            z = self.standardised(name, value, learned)
            level, seen = smoothed(z, self.weight, self.memory)
            kept = (1 - self.weight) ** (2 * np.maximum(seen, 1)) if self.start == "widening" else 0.0
            half = self.width * np.sqrt(self.weight / (2 - self.weight) * (1 - kept))
            return np.where(np.isfinite(z), np.abs(level) / half, np.nan)

        return Scores(table.names, scored(table, of_group), centre=self.centres(table, learned)[0])
