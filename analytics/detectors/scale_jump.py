"""A level that jumps by a power of ten or to what swapped registers decode to, after a device swap (section 6.9).

>>> import numpy as np
>>> from analytics.table import Table
>>> x = np.where(np.arange(60) < 40, 21.7, 217.0) + np.tile([0.0, 0.1, 0.2], 20)
>>> found = ScaleJump(kind="scale_jump").examine(Table.of(x)).score[:, 0]
>>> bool(found[39] < 0.5), bool(found[50] > 1.5), bool(found[59] > 1.5)
(True, True, True)
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field, PositiveFloat

from analytics.detector import Arrays, Detector, Scores
from analytics.result import Floats, Ints, silent
from analytics.rolling import medians, scored, shifted
from analytics.table import Table


class ScaleJump(Detector):
    """The recent level is the earlier one times a power of ten, or becomes the earlier one with its words swapped.

    The score is 2 where that fits exactly, 1 where it is off by `tolerance`, and falls further out. It holds while the
    earlier rows are in memory; then the new level is the level.
    """

    kind: Literal["scale_jump"] = "scale_jump"
    recent: int = Field(default=7, ge=3, le=101)
    """Rows of the recent level."""
    earlier: int = Field(default=15, ge=5, le=501)
    """Rows of the earlier level."""
    apart: int = Field(default=20, ge=0, le=5000)
    """Rows between the two: how long the jump is told."""
    tolerance: PositiveFloat = 0.08
    """How near the ratio of the levels is to a power of ten, in decades; 0.08 is a fifth."""

    @property
    def memory(self) -> int:
        """Both levels and what lies between."""
        return self.recent + self.apart + self.earlier

    def examine(self, table: Table, learned: Mapping[str, Arrays] | None = None) -> Scores:
        """Scores of every variable; NaN while there are not enough rows for the levels, and at a level of 0."""
        del learned

        def of_group(_: str, rows: Ints, value: Floats) -> Floats:
            del rows
            old = medians(value, self.earlier, (self.earlier + 1) // 2)
            jump = np.fmax(self._fit(value, old, least_decades=1), self._fit(_swapped(value), old, least_decades=0))
            return np.where(np.isfinite(value), jump, np.nan)

        return Scores(table.names, scored(table, of_group))

    def _fit(self, now: Floats, old: Floats, *, least_decades: int) -> Floats:
        """(m, k) how well the recent level of `now` over the earlier one is a power of ten that counts."""
        recent = medians(now, self.recent, (self.recent + 1) // 2)
        best = np.full(now.shape, np.nan)
        for back in {self.recent, self.recent + self.apart // 2, self.recent + self.apart}:
            with silent():
                decades = np.log10(recent / shifted(old, back))
                size = np.abs(decades)
                whole = np.maximum(np.round(size), 1.0) if least_decades else 0.0
                off = np.abs(size - whole) / self.tolerance
                best = np.fmax(best, np.where(off <= 1, 2 - off, 1 / off))
        return best


def _swapped(value: Floats) -> Floats:
    """What a float32 would be with its two words exchanged; NaN where that is no number near what a sensor gives."""
    with silent():
        words = value.astype(np.float32).view(np.uint32)
        turned = ((words << 16) | (words >> 16)).view(np.float32).astype(np.float64)
    return np.where(np.isfinite(turned) & (np.abs(turned) > 1e-6) & (np.abs(turned) < 1e9), turned, np.nan)
