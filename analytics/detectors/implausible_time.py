"""Rows whose time stamps cannot be right (sections 0.2 and 6.9).

>>> from dataclasses import replace
>>> import numpy as np
>>> from analytics.table import Table
>>> from analytics.window import Series
>>> table = Table.of(np.zeros(40), ("t",), every_s=1.0)
>>> stamps_s = np.concatenate([np.arange(40.0), np.arange(20, 30) + 0.4])
>>> table = replace(table, rows={"t": Series.of(stamps_s * 1e9, np.zeros(50), every_s=1.0)})
>>> ImplausibleTime(kind="implausible_time").examine(table).score[[20, 24, 35], 0].tolist()
[0.0, 1.0, 2.5]
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from analytics.detector import Arrays, Detector, Scores
from analytics.result import Floats, Ints
from analytics.rolling import scored
from analytics.table import Table


class ImplausibleTime(Detector):
    """More raw rows than a tag's interval allows, or cycles nearer than a machine can make them.

    A clock that jumps back writes a stretch of time twice, a late burst lands between other rows, a repeated row has a
    stamp of its own: sorted by time, all are rows too many. For cycles, the score is `least_s` over the time since the
    one before.
    """

    reads_rows: ClassVar[bool] = True

    kind: Literal["implausible_time"] = "implausible_time"
    window: int = Field(default=20, ge=2, le=1000)
    """Grid rows over which raw rows are counted."""
    extra_rows: PositiveInt = 4
    """Raw rows above those expected that ring."""
    least_s: PositiveFloat = 1.0
    """Shortest time between cycles."""

    @property
    def memory(self) -> int:
        """The window."""
        return self.window

    def examine(self, table: Table, learned: Mapping[str, Arrays] | None = None) -> Scores:
        """Scores of every variable whose raw rows and interval are known."""
        del learned

        def of_group(_: str, rows: Ints, value: Floats) -> Floats:
            when = table.ts_ns[rows]
            if not np.isfinite(table.every_s):
                return np.tile(self._of_cycles(when)[:, None], (1, value.shape[1]))
            return np.stack([self._of_rows(table, name, when) for name in table.names], axis=1)

        return Scores(table.names, scored(table, of_group))

    def _of_cycles(self, when: Ints) -> Floats:
        score = np.full(len(when), np.nan)
        score[1:] = self.least_s * 1e9 / np.maximum(np.diff(when), 1)
        return score

    def _of_rows(self, table: Table, name: str, when: Ints) -> Floats:
        score = np.full(len(when), np.nan)
        series = table.rows.get(name)
        if series is None or not np.isfinite(series.every_s) or len(when) <= self.window:
            return score
        upto = np.searchsorted(series.ts_ns, when, side="right")
        count = upto[self.window :] - upto[: -self.window]
        expected = (when[self.window :] - when[: -self.window]) / 1e9 / series.every_s
        score[self.window :] = np.maximum(count - expected, 0.0) / self.extra_rows
        return score
