"""Report by exception: which rows of a tag with a dead band are worth a row in the table. See deadband.md.

A row is kept when it differs from the last one kept by more than the band, when its quality differs, when it lies on
another side of one of the tag's limits, when the next one might come too late for the heartbeat, or when time went
back. So, as long as the rows of a tag come in the order of their time and at least every `every_s`:

* held from row to row, what is stored is never further from what was read than the band;
* every crossing of a limit and every change of quality is there, at its own time: the two ends of its range, and the
  fixed thresholds of the detectors that look at it;
* between two rows lies never more than the heartbeat.

A pure fold without a clock: it lives in the time of the rows.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

import numpy as np

from collectors.schedule import period_ns
from collectors.source import Source
from pipeline.model import BAD_BIT, Batch, Body
from pipeline.plant import Tag

HEARTBEAT_S: Final = 60.0
"""Of a tag that names none."""
_BAD: Final = int(BAD_BIT)
_NEVER: Final = -(1 << 63)
_TAGS: Final = "tags"
"""What a detector looks at unless it says otherwise; else it is features of cycles."""
_THRESHOLDS: Final = ("low", "high")
_SIGMAS: Final = 3.0


@dataclass(slots=True)
class _Held:
    """The last row kept of a tag.

    Attributes:
        band: widest change that is no news, in the tag's unit.
        beat_ns: a row this much later is kept whatever it says.
        limits: in rising order; to lie on one is a side of its own.
        until_ns: from here on the next row is kept.
        seen_ns: time of the last row, kept or not.
        side: on which side of the limits it lay.
    """

    band: float
    beat_ns: int
    limits: tuple[float, ...]
    value: float = 0.0
    quality: int = 0
    until_ns: int = _NEVER
    seen_ns: int = _NEVER
    side: int = 0

    def is_news(self, ts_ns: int, value: float, quality: int) -> bool:
        """Whether a row must be kept; it is the last one kept then."""
        side = bisect_left(self.limits, value) + bisect_right(self.limits, value)
        back = ts_ns < self.seen_ns
        self.seen_ns = ts_ns
        if (
            ts_ns < self.until_ns
            and not back
            and quality == self.quality
            and side == self.side
            and (quality >= _BAD or abs(value - self.value) <= self.band)
        ):
            return False
        self.value, self.quality, self.side = value, quality, side
        self.until_ns = _NEVER if back else ts_ns + self.beat_ns  # what follows a step back is not to be guessed
        return True


class DeadBand:
    """The dead bands of a machine's tags; free where there are none.

    Args:
        tags: of the machine, in the order in which its batches number them.
        source: of the machine.
        detectors: its tables of detectors.
    """

    def __init__(self, tags: Sequence[Tag], source: Source, detectors: Sequence[Mapping[str, Any]] = ()) -> None:
        self._tags, self._every = tuple(tags), period_ns(source.every_s)
        self._limits = limits_of(tags, detectors)
        names = {tag.name for tag in filtered(source, tags, detectors)}
        self._banded = np.array([tag.name in names for tag in tags], np.bool_)
        self._asked = bool(self._banded.any())
        self._held: dict[int, _Held] = {}

    def forget(self) -> None:
        """The next row of every tag is kept: nobody knows what happened before, or what was kept has got lost."""
        self._held.clear()

    def news(self, bodies: tuple[Body, ...]) -> tuple[tuple[Body, ...], int]:
        """The bodies without the rows that say nothing new, and how many those were."""
        if not self._asked:
            return bodies, 0
        kept: list[Body] = []
        dropped = 0
        for body in bodies:
            if not isinstance(body, Batch):
                kept.append(body)
                continue
            rest = self._of(body)
            dropped += len(body) - len(rest)
            if len(rest):
                kept.append(rest)
        return tuple(kept), dropped

    def _of(self, batch: Batch) -> Batch:
        keep = ~self._banded[batch.tag]
        asked = np.flatnonzero(~keep)
        columns = (batch.tag, batch.ts_ns, batch.value, batch.quality)
        for place, tag, ts_ns, value, quality in zip(
            asked.tolist(), *(column[asked].tolist() for column in columns), strict=True
        ):
            held = self._held.get(tag)
            if held is None:
                held = self._held[tag] = self._new(self._tags[tag])
            if held.is_news(ts_ns, value, quality):
                keep[place] = True
        if keep.all():
            return batch
        return Batch(
            batch.asset, batch.tags, batch.ts_ns[keep], batch.tag[keep], batch.value[keep], batch.quality[keep]
        )

    def _new(self, tag: Tag) -> _Held:
        return _Held(band_of(tag), period_ns(heartbeat_s(tag)) - self._every, self._limits[tag.name])


def band_of(tag: Tag) -> float:
    """The dead band in the tag's unit; 0 where there is none."""
    if isinstance(tag.deadband, str):
        low, high = tag.range or (0.0, 0.0)
        return float(tag.deadband.rstrip("% ")) / 100 * (high - low)
    return tag.deadband or 0.0


def heartbeat_s(tag: Tag) -> float:
    """Longest time between two rows of a tag with a dead band."""
    return HEARTBEAT_S if tag.heartbeat_s is None else tag.heartbeat_s


def limits_of(tags: Sequence[Tag], detectors: Sequence[Mapping[str, Any]]) -> Mapping[str, tuple[float, ...]]:
    """What each tag with a dead band must not cross unseen, by name, in rising order: its range, and thresholds.

    Args:
        tags: of the machine.
        detectors: its tables `[[detector]]`; here they are not judged, only looked at for what they say.
    """
    limits = {tag.name: set(tag.range or ()) for tag in tags if tag.deadband is not None}
    for one in detectors:
        named = one.get("of") or ()
        if one.get("on", _TAGS) != _TAGS or not isinstance(named, list | tuple):
            continue
        for tag in tags:
            if tag.name in limits and (not named or tag.name in named or (tag.role and tag.role in named)):
                limits[tag.name].update(_thresholds(one))
    return {name: tuple(sorted(found)) for name, found in limits.items()}


def _thresholds(detector: Mapping[str, Any]) -> tuple[float, ...]:
    """The fixed numbers at which it rings."""
    said = [float(detector[key]) for key in _THRESHOLDS if _is_number(detector.get(key))]
    centre, sigma = detector.get("centre"), detector.get("sigma")
    if _is_number(centre) and _is_number(sigma):  # of a chart; those of its runs and sums are no single value's
        said += [float(centre) - _SIGMAS * float(sigma), float(centre) + _SIGMAS * float(sigma)]
    return tuple(said)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def filtered(source: Source, tags: Sequence[Tag], detectors: Sequence[Mapping[str, Any]] = ()) -> tuple[Tag, ...]:
    """The tags whose rows are filtered here; of a device that does so itself those with limits: it knows none."""
    limits = limits_of(tags, detectors)
    return tuple(tag for tag in tags if tag.name in limits and (limits[tag.name] or not source.keeps_back))


def interval_of(source: Source, tag: Tag) -> float | None:
    """Longest time between two rows of a tag while all is well, s; None where only changes are sent."""
    if source.interval_s is None or not filtered(source, (tag,)):
        return source.interval_s
    return max(heartbeat_s(tag), source.interval_s)


def ticks_a_row(source: Source, tags: Sequence[Tag], detectors: Sequence[Mapping[str, Any]] = ()) -> Mapping[str, int]:
    """How many ticks of the source a tag with a dead band owes one row for."""
    asked = filtered(source, tags, detectors)
    return {tag.name: max(1, int(heartbeat_s(tag) / source.every_s)) for tag in asked}
