"""A live tag that does not change any more (F-DQ-02).

>>> import numpy as np
>>> from analytics.table import Table
>>> minutes = np.minimum(np.arange(40.0), 15.0)
>>> found = Stuck(kind="stuck").examine(Table.of(minutes, every_s=60.0))
>>> found.score[[15, 25, 35, 39], 0].tolist(), int(found.since[39, 0])
([0.0, 0.5, 1.0, 1.2], 15)
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from analytics.data_quality import unchanged_runs
from analytics.detector import Arrays, Detector, Scores, by_group
from analytics.result import Floats, Ints, silent
from analytics.rolling import last_row, scored
from analytics.table import Table
from analytics.time_series import Samples


class Stuck(Detector):
    """A value unchanged within half of its resolution: how long, over the time that counts as stuck.

    A row that is not normal, a NaN and a gap end a run. A baseline, when there is one, says how long the tag usually
    stands still; without it that is not asked.
    """

    learns: ClassVar[bool] = True

    kind: Literal["stuck"] = "stuck"
    least_s: PositiveFloat = 600.0
    """Shortest time that counts as stuck."""
    least_rows: PositiveInt = 20
    """Least rows likewise."""
    resolution: NonNegativeFloat | None = None
    """In the variable's unit; none: of the variable's own configuration."""
    longest_rows: PositiveInt = 900
    """How far back is looked: on a grid so fine that these rows are shorter than `least_s`, they are the limit."""

    @property
    def needs_baseline(self) -> bool:
        """No: it may have one."""
        return False

    @property
    def memory(self) -> int:
        """The longest run that is told."""
        return self.longest_rows

    def learn(self, table: Table) -> dict[str, Arrays]:
        """`usual_s` (k): the 99.9 % longest time each variable stood still; 0 where it never did."""
        steps = self._resolutions(table)
        found: dict[str, Arrays] = {}
        for name, rows in by_group(table):
            usual = np.zeros(len(table.variables))
            for column, step in enumerate(steps):
                x = np.where(table.normal[rows], table.value[rows, column], np.nan)
                runs = unchanged_runs(Samples.of(table.ts_ns[rows] / 1e9, x, table.every_s), float(step))
                usual[column] = np.quantile(runs, 0.999) if runs.size else 0.0
            found[name] = {"usual_s": usual}
        return found

    def examine(self, table: Table, learned: Mapping[str, Arrays] | None = None) -> Scores:
        """Scores of every variable; without an interval (cycles) only rows count."""
        since = np.tile(np.arange(len(table), dtype=np.int64)[:, None], (1, len(table.variables)))
        timed = np.isfinite(table.every_s)
        reach_s = self.longest_rows * table.every_s
        half = self._resolutions(table) / 2

        def of_group(name: str, rows: Ints, value: Floats) -> Floats:
            with silent():
                same = np.abs(np.diff(value, axis=0, prepend=np.nan)) <= half
            same[1:] &= ~(np.diff(table.ts_ns[rows]) > 2.5e9 * table.every_s)[:, None] if timed else True
            first = last_row(~same, self.memory)
            count = np.arange(len(rows))[:, None] - first
            score = count / min(self.least_rows, self.longest_rows)
            still, column = np.nonzero(count)  # of a live tag few rows
            begin = first[still, column]
            since[rows[still], column] = rows[begin]
            if timed:
                usual_s = (learned or {}).get(name, {}).get("usual_s", np.zeros(value.shape[1]))
                limit_s = np.minimum(np.maximum(self.least_s, usual_s), reach_s)
                still_s = (table.ts_ns[rows[still]] - table.ts_ns[rows[begin]]) / 1e9
                score[still, column] = np.minimum(score[still, column], still_s / limit_s[column])
            score[np.isnan(value)] = np.nan
            return score

        return Scores(table.names, scored(table, of_group), since=since)

    def _resolutions(self, table: Table) -> Floats:
        return np.array([one.resolution if self.resolution is None else self.resolution for one in table.variables])
