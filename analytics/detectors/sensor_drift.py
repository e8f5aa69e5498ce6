"""A sensor that leaves those which measure the same (F-DQ-05).

>>> import numpy as np
>>> from analytics.table import Table
>>> t = np.arange(200.0)
>>> pair = np.stack([850 + np.sin(t), 850 + np.sin(t) + 0.02 * np.maximum(t - 100, 0)], axis=1)
>>> found = SensorDrift(kind="sensor_drift", sigma=0.2).examine(Table.of(pair, ("a", "b")))
>>> int(np.argmax(found.score[:, 1] >= 1)), int(found.since[140, 1])
(132, 110)
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from analytics.cumulated import onset, summed
from analytics.detector import Arrays, Detector, Scores, by_group
from analytics.norm import moments
from analytics.result import Floats, Ints, silent
from analytics.rolling import middle, scored
from analytics.table import Table


class SensorDrift(Detector):
    """Redundant sensors, all variables of the table: CUSUM on each less the median of all; a pair drifts alike."""

    kind: Literal["sensor_drift"] = "sensor_drift"
    learns: ClassVar[bool] = True
    sigma: PositiveFloat | None = None
    """Usual deviation of a sensor from the median, in the unit, about 0; none: learned, about the learned offset."""
    slack: NonNegativeFloat = 0.5
    """Half of the drift to be found, in sigma."""
    limit: PositiveFloat = 12.0
    """In sigma: more than the 5 of a chart, as sigma is of few rows and neighbouring rows resemble each other."""
    longest_rows: PositiveInt = 1000
    """How far back a drift may have begun."""
    least_rows: PositiveInt = 20
    """Rows below which nothing is learned."""

    @property
    def needs_baseline(self) -> bool:
        """Not when sigma is given."""
        return self.sigma is None

    @property
    def memory(self) -> int:
        """The longest sum."""
        return self.longest_rows

    def learn(self, table: Table) -> dict[str, Arrays]:
        """`offset` and `sigma` of each sensor's distance from the median."""
        found: dict[str, Arrays] = {}
        for name, rows in by_group(table):
            offset, sigma = moments(_apart(table.value[rows])[table.normal[rows]], self.least_rows)
            if np.isfinite(sigma).any():
                found[name] = {"offset": offset, "sigma": sigma}
        return found

    def examine(self, table: Table, learned: Mapping[str, Arrays] | None = None) -> Scores:
        """Scores of each sensor; NaN while it, or every other, has no value. `since` holds where the score rings."""
        since = np.tile(np.arange(len(table), dtype=np.int64)[:, None], (1, len(table.variables)))

        def of_group(name: str, rows: Ints, value: Floats) -> Floats:
            nothing = np.full(value.shape[1], np.nan)
            known = (learned or {}).get(name, {})
            offset = known.get("offset", nothing) if self.sigma is None else np.zeros(value.shape[1])
            sigma = known.get("sigma", nothing) if self.sigma is None else np.full(value.shape[1], self.sigma)
            with silent():
                z = (_apart(value) - offset) / np.where(sigma > 0, sigma, np.nan)
            sides = [summed(z, side, self.slack, self.memory) for side in (1.0, -1.0)]
            score = np.where(np.isfinite(z), np.maximum(sides[0].total, sides[1].total) / self.limit, np.nan)
            since[rows] = rows[onset(score, sides, self.memory)]
            return score

        return Scores(table.names, scored(table, of_group), since=since)


def _apart(value: Floats) -> Floats:
    """(n, k) each column less the median of the row; NaN where fewer than two have a value."""
    return value - middle(value, 2)[:, None]
