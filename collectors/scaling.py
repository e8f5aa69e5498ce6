"""Raw numbers to engineering values with a quality: the same rules for every protocol.

* value = raw · scale + offset, in the tag's unit.
* A value outside the tag's range is kept and marked UNCERTAIN_UNITS_EXCEEDED, unless its quality says more.
* NaN and infinity are BAD_SENSOR_FAILURE; the value of a bad row is NaN.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.model import BAD_BIT, Codes, Floats, Indices, Quality
from pipeline.plant import Tag

_BAD = int(BAD_BIT)


class Scaling:
    """Scale, offset and range of a machine's tags as columns."""

    def __init__(self, tags: Sequence[Tag]) -> None:
        self._scale = np.array([tag.scale for tag in tags], np.float64)
        self._offset = np.array([tag.offset for tag in tags], np.float64)
        self._low = np.array([-np.inf if tag.range is None else tag.range[0] for tag in tags], np.float64)
        self._high = np.array([np.inf if tag.range is None else tag.range[1] for tag in tags], np.float64)

    def judge(self, raw: Floats, quality: Codes, tag: Indices | slice = slice(None)) -> tuple[Floats, Codes]:
        """Values and qualities of rows (n,); without `tag` the rows are all tags in file order."""
        with np.errstate(all="ignore"):
            value = raw * self._scale[tag] + self._offset[tag]
            outside = (value < self._low[tag]) | (value > self._high[tag])
        finite = np.isfinite(value)
        code = np.where(outside & (quality == 0), np.uint32(Quality.UNCERTAIN_UNITS_EXCEEDED), quality)
        if not finite.all():
            code[~finite & (code < _BAD)] = Quality.BAD_SENSOR_FAILURE
        bad = code >= _BAD
        if bad.any():
            value[bad] = np.nan
        return value, code
