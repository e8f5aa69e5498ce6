"""No good value for too long (F-DQ-01, section 0.2).

>>> from analytics.table import Table
>>> rows = Table.of([1.0, float("nan"), float("nan"), float("nan"), 1.0], every_s=1.0)
>>> Gap(kind="gap").examine(rows).score[:, 0].tolist()
[0.0, 0.4, 0.8, 1.2, 0.0]
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import PositiveFloat, PositiveInt

from analytics.detector import Arrays, Detector, Scores
from analytics.result import Floats, Ints
from analytics.rolling import last_row, scored
from analytics.table import Table


class Gap(Detector):
    """A tag without good values: time since the last one, over the time that counts as a gap.

    This is the one detector with an opinion on a row without a value. Rows that are not normal do not count as missing.
    """

    kind: Literal["gap"] = "gap"
    factor: PositiveFloat = 2.5
    """Intervals of the grid that count as a gap."""
    limit_s: PositiveFloat | None = None
    """Instead of `factor`."""
    longest_rows: PositiveInt = 60
    """The score stops rising there."""

    @property
    def memory(self) -> int:
        """How far back the last good value is looked for."""
        return self.longest_rows

    def examine(self, table: Table, learned: Mapping[str, Arrays] | None = None) -> Scores:
        """Scores of every variable; NaN for cycles, which have no interval, unless `limit_s` is given."""
        del learned
        limit_s = self.limit_s or self.factor * table.every_s

        def of_group(_: str, rows: Ints, value: Floats) -> Floats:
            seen = np.isfinite(value) | ~table.normal[rows, None]
            when = table.ts_ns[rows]
            missing_s = (when[:, None] - when[last_row(seen, self.memory)]) / 1e9
            return missing_s / limit_s if np.isfinite(limit_s) else np.full(value.shape, np.nan)

        return Scores(table.names, scored(table, of_group))
