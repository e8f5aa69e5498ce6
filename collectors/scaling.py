"""Raw numbers to engineering values with a quality: the same rules for every protocol.

* value = raw · scale + offset, in the tag's unit. With a `loop` this is a current in mA, and the value lies between the
  loop's two: below 3.6 mA or above 21 mA the sensor or its wire is broken; outside 3.8 to 20.5 mA it is at its limit
  (NAMUR NE 43).
* A broken sensor is BAD_SENSOR_FAILURE whatever else is said of the value, unless it is bad already: a current that
  says so, or a raw number among the tag's `sentinels`.
* A value outside the tag's range, or at the limit of its loop, is kept. It is marked UNCERTAIN_UNITS_EXCEEDED or
  UNCERTAIN_SENSOR_NOT_ACCURATE where its quality is good, of whatever kind; uncertain ones say more already.
* The info bits of a code (its lower half: overflow, limits, history) stay as they were.
* NaN and infinity are BAD_SENSOR_FAILURE; the value of a bad row is NaN.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from pipeline.model import BAD_BIT, UNCERTAIN_BIT, Codes, Floats, Indices, Quality
from pipeline.plant import Tag

_BAD: Final = int(BAD_BIT)
_UNCERTAIN: Final = int(UNCERTAIN_BIT)
_INFO: Final = np.uint32(0xFFFF)
_BROKEN_MA: Final = (3.6, 21.0)
_VALID_MA: Final = (3.8, 20.5)


def marked(code: Codes, quality: Quality) -> Codes:
    """Codes (n,) that say `quality` and keep their info bits."""
    return (code & _INFO) | np.uint32(quality)


class Scaling:
    """Scale, offset, range and what means a broken sensor, of a machine's tags as columns."""

    def __init__(self, tags: Sequence[Tag]) -> None:
        self._scale = np.array([tag.scale for tag in tags], np.float64)
        self._offset = np.array([tag.offset for tag in tags], np.float64)
        self._low = np.array([-np.inf if tag.range is None else tag.range[0] for tag in tags], np.float64)
        self._high = np.array([np.inf if tag.range is None else tag.range[1] for tag in tags], np.float64)
        self._loop = np.array([tag.loop or (np.nan, np.nan) for tag in tags], np.float64).reshape(-1, 2)
        self._ranged = bool(np.isfinite(self._low).any() or np.isfinite(self._high).any())
        self._loops = not np.isnan(self._loop).all()
        most = max((len(tag.sentinels or ()) for tag in tags), default=0)
        self._sentinel = np.full((len(tags), most), np.nan)
        for place, tag in enumerate(tags):
            self._sentinel[place, : len(tag.sentinels or ())] = tag.sentinels or ()

    def judge(self, raw: Floats, quality: Codes, tag: Indices | slice = slice(None)) -> tuple[Floats, Codes]:
        """Values and qualities of rows (n,), or (readings, n); without `tag` the rows are all tags in file order."""
        with np.errstate(all="ignore"):
            value = raw * self._scale[tag] + self._offset[tag]
            code = quality.copy()
            if self._sentinel.size:
                broken = (raw[..., np.newaxis] == self._sentinel[tag]).any(axis=-1)
                code = np.where(broken & (code < _BAD), marked(code, Quality.BAD_SENSOR_FAILURE), code)
            if self._loops:
                value, code = self._of_current(value, code, self._loop[tag])
            if self._ranged:
                outside = ((value < self._low[tag]) | (value > self._high[tag])) & (code < _UNCERTAIN)
                code[outside] = marked(code[outside], Quality.UNCERTAIN_UNITS_EXCEEDED)
        finite = np.isfinite(value)
        if not finite.all():
            nothing = ~finite & (code < _BAD)
            code[nothing] = marked(code[nothing], Quality.BAD_SENSOR_FAILURE)
        if code.any():
            bad = code >= _BAD
            if bad.any():
                value[bad] = np.nan
        return value, code

    def _of_current(self, current: Floats, code: Codes, loop: Floats) -> tuple[Floats, Codes]:
        """What currents in mA (n,) mean; rows without a loop, NaN in `loop` (n, 2), stay as they are."""
        is_loop = ~np.isnan(loop[:, 0])
        value = np.where(is_loop, loop[:, 0] + (current - 4.0) / 16.0 * (loop[:, 1] - loop[:, 0]), current)
        at_limit = is_loop & (code < _UNCERTAIN) & ((current < _VALID_MA[0]) | (current > _VALID_MA[1]))
        broken = is_loop & (code < _BAD) & ((current < _BROKEN_MA[0]) | (current > _BROKEN_MA[1]))
        code = np.where(at_limit, marked(code, Quality.UNCERTAIN_SENSOR_NOT_ACCURATE), code)
        return value, np.where(broken, marked(code, Quality.BAD_SENSOR_FAILURE), code)
