"""A signal that becomes noisy and stays so (F-DQ-04).

>>> import numpy as np
>>> from analytics.table import Table
>>> x = np.tile([0.0, 1.0], 100) * np.where(np.arange(200) < 100, 1.0, 9.0)
>>> burst = NoiseBurst(kind="noise_burst")
>>> learned = burst.learn(Table.of(x[:100]))
>>> found = burst.examine(Table.of(x), learned).score[:, 0]
>>> round(float(found[99]), 2), round(float(found[199]), 2)
(0.33, 2.92)
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from analytics.detector import Arrays, Detector, Scores, by_group
from analytics.result import Floats, Ints, silent
from analytics.rolling import deviation, middle, scored, shifted, sums
from analytics.table import Table


class NoiseBurst(Detector):
    """Standard deviation of the first differences over the usual one, the lowest of the last windows.

    Windows follow each other without overlap and end at the row that is judged.
    """

    kind: Literal["noise_burst"] = "noise_burst"
    learns: ClassVar[bool] = True
    window: int = Field(default=20, ge=4, le=1000)
    """Rows of a window."""
    factor: PositiveFloat = 3.0
    """Times the usual that counts as noisy."""
    least_windows: PositiveInt = 5
    """Noisy windows in a row that ring."""

    @property
    def memory(self) -> int:
        """All windows."""
        return self.window * self.least_windows

    def learn(self, table: Table) -> dict[str, Arrays]:
        """`usual` (k): median over the normal rows of the deviation in a window; NaN with less than one window."""
        found: dict[str, Arrays] = {}
        for name, rows in by_group(table):
            value = np.where(table.normal[rows, None], table.value[rows], np.nan)
            usual = middle(self._noise(value).T)
            if np.isfinite(usual).any():
                found[name] = {"usual": usual}
        return found

    def examine(self, table: Table, learned: Mapping[str, Arrays] | None = None) -> Scores:
        """Scores of every variable; a window with less than half of its differences gives none."""

        def of_group(name: str, _: Ints, value: Floats) -> Floats:
            usual = (learned or {}).get(name, {}).get("usual", np.full(value.shape[1], np.nan))
            noise = self._noise(value)
            quietest = noise
            for back in range(1, self.least_windows):
                quietest = np.minimum(quietest, shifted(noise, back * self.window))
            with silent():
                score = quietest / (self.factor * np.where(usual > 0, usual, np.nan))
            return np.where(np.isfinite(value), score, np.nan)

        return Scores(table.names, scored(table, of_group))

    def _noise(self, value: Floats) -> Floats:
        """(m, k) deviation of the differences of the window that ends at each row."""
        steps = np.diff(value, axis=0, prepend=np.nan)
        good = np.isfinite(steps)
        step = np.where(good, steps, 0.0)
        count = sums(good.astype(np.float64), self.window)
        noise = deviation(sums(step, self.window), sums(step**2, self.window), count)
        return np.where(count >= self.window / 2, noise, np.nan)
