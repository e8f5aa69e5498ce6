"""Raw numbers to engineering values with a quality: the same rules for every protocol.

* value = raw · scale + offset, in the tag's unit. With a `loop` this is a current in mA, and the value lies between the
  loop's two: below 3.6 mA or above 21 mA the sensor or its wire is broken; outside 3.8 to 20.5 mA it is at its limit
  (NAMUR NE 43).
* A value outside the tag's range is kept and marked UNCERTAIN_UNITS_EXCEEDED, unless its quality says more.
* NaN and infinity are BAD_SENSOR_FAILURE; the value of a bad row is NaN.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.model import BAD_BIT, Codes, Floats, Indices, Quality
from pipeline.plant import Tag

_BAD = int(BAD_BIT)
_BROKEN_MA = (3.6, 21.0)
_VALID_MA = (3.8, 20.5)


class Scaling:
    """Scale, offset and range of a machine's tags as columns."""

    def __init__(self, tags: Sequence[Tag]) -> None:
        self._scale = np.array([tag.scale for tag in tags], np.float64)
        self._offset = np.array([tag.offset for tag in tags], np.float64)
        self._low = np.array([-np.inf if tag.range is None else tag.range[0] for tag in tags], np.float64)
        self._high = np.array([np.inf if tag.range is None else tag.range[1] for tag in tags], np.float64)
        self._loop = np.array([tag.loop or (np.nan, np.nan) for tag in tags], np.float64).reshape(-1, 2)
        self._ranged = bool(np.isfinite(self._low).any() or np.isfinite(self._high).any())
        self._loops = not np.isnan(self._loop).all()

    def judge(self, raw: Floats, quality: Codes, tag: Indices | slice = slice(None)) -> tuple[Floats, Codes]:
        """Values and qualities of rows (n,), or (readings, n); without `tag` the rows are all tags in file order."""
        with np.errstate(all="ignore"):
            value = raw * self._scale[tag] + self._offset[tag]
            if self._loops:
                value, quality = self._of_current(value, quality, self._loop[tag])
            code = quality.copy()
            if self._ranged:
                outside = (value < self._low[tag]) | (value > self._high[tag])
                code[outside & (quality == 0)] = Quality.UNCERTAIN_UNITS_EXCEEDED
        finite = np.isfinite(value)
        if not finite.all():
            code[~finite & (code < _BAD)] = Quality.BAD_SENSOR_FAILURE
        if code.any():
            bad = code >= _BAD
            if bad.any():
                value[bad] = np.nan
        return value, code

    def _of_current(self, current: Floats, quality: Codes, loop: Floats) -> tuple[Floats, Codes]:
        """What currents in mA (n,) mean; rows without a loop, NaN in `loop` (n, 2), stay as they are."""
        is_loop = ~np.isnan(loop[:, 0])
        value = np.where(is_loop, loop[:, 0] + (current - 4.0) / 16.0 * (loop[:, 1] - loop[:, 0]), current)
        asked = is_loop & (quality == 0)
        code = quality.copy()
        code[asked & ((current < _VALID_MA[0]) | (current > _VALID_MA[1]))] = Quality.UNCERTAIN_SENSOR_NOT_ACCURATE
        code[asked & ((current < _BROKEN_MA[0]) | (current > _BROKEN_MA[1]))] = Quality.BAD_SENSOR_FAILURE
        return value, code
