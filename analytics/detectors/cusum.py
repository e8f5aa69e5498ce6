"""Tabular CUSUM, two-sided (F-SPC-02).

>>> from analytics.table import Table
>>> chart = Cusum(kind="cusum", centre=850.0, sigma=1.5)
>>> found = chart.examine(Table.of([850.6, 851.2, 850.9, 852.0, 852.4, 851.8]))
>>> [round(5 * float(score), 4) for score in found.score[:, 0]]
[0.0, 0.3, 0.4, 1.2333, 2.3333, 3.0333]
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from analytics.cumulated import onset, summed
from analytics.detector import Arrays, Scores
from analytics.norm import Charted
from analytics.result import Floats, Ints
from analytics.rolling import scored
from analytics.table import Table


class Cusum(Charted):
    """A small shift that stays, and since when: the larger of both one-sided sums over the limit."""

    kind: Literal["cusum"] = "cusum"
    slack: NonNegativeFloat = 0.5
    """k, half of the shift to be found, in sigma."""
    limit: PositiveFloat = 5.0
    """h, in sigma."""
    longest_rows: PositiveInt = 500
    """How far back a change may lie: no sum begins before that."""

    @property
    def memory(self) -> int:
        """The longest sum."""
        return self.longest_rows

    def examine(self, table: Table, learned: Mapping[str, Arrays] | None = None) -> Scores:
        """Scores of every variable; at a NaN the sums stand still. `since` is exact where the score is 1 or more."""
        since = np.tile(np.arange(len(table), dtype=np.int64)[:, None], (1, len(table.variables)))

        def of_group(name: str, rows: Ints, value: Floats) -> Floats:
            z = self.standardised(name, value, learned)
            sums = [summed(z, side, self.slack, self.memory) for side in (1.0, -1.0)]
            score = np.maximum(sums[0].total, sums[1].total)
            score /= self.limit
            score[np.isnan(z)] = np.nan
            since[rows] = rows[onset(score, sums, self.memory)]
            return score

        score = scored(table, of_group)
        return Scores(table.names, score, centre=self.centres(table, learned)[0], since=since)
