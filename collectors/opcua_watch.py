"""Whether the server still reports every tag: a watch on each one's expected interval. Pure; see opcua.md.

* A tag of which nothing was heard for nearly two of its intervals may stand still, or the server may have dropped it
  without a word. The value that the server gives when it is asked decides: what differs from the last report, and is
  not reported within the time that sampling and publishing take, never will be.
* A value that stands still is no fault. It is asked for again at growing distances, up to `_LONGEST_PAUSE_S`.
* A change within the dead band that the server was asked for is no difference.

Times are monotonic seconds, passed in.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from asyncua import ua

LEAST_S: Final = 3.0
"""Shorter intervals are watched as if half of this were theirs: a server's own clock may tick once a second."""
NEARLY_TWICE: Final = 1.9
"""Intervals of silence: so that it is noticed within two."""
_MARGIN_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 60.0
_MOST_UNLIKE: Final = 3
"""Then a tag is not watched any more."""


@dataclass(slots=True)
class _Item:
    """One tag.

    Attributes:
        patience_s: silence after which it is judged.
        report_s: what a change takes at most to be reported.
        wait_s: silence after which it is asked for.
        band: changes up to this, in the server's numbers, are kept back.
        said: the last report; None: none yet.
        look_s: when it is asked for next.
        judged_s: when what was found to differ must have been reported; None: nothing was.
        looks: in vain since the last report.
        given_up: the last report before the server was asked to report it anew; None: it was not.
        unlike: how often in a row that brought the same again, so that what the server gives and what it reports are
            two things.
    """

    patience_s: float
    report_s: float
    wait_s: float
    band: float
    said: ua.DataValue | None = None
    look_s: float = math.inf
    judged_s: float | None = None
    looks: int = 0
    given_up: ua.DataValue | None = None
    unlike: int = 0


class Watch:
    """The tags of one subscription.

    Args:
        every_s: expected interval of each.
        sampling_s: how often the server looks at each.
        publishing_s: how often it publishes.
        bands: dead band asked of the server for each, 0 where there is none.
    """

    def __init__(
        self, every_s: Sequence[float], sampling_s: Sequence[float], publishing_s: float, bands: Sequence[float]
    ) -> None:
        self._items = [
            _Item(patience_s, report_s, max(patience_s - report_s, patience_s / 2), band)
            for every, look, band in zip(every_s, sampling_s, bands, strict=True)
            for patience_s, report_s in [(max(NEARLY_TWICE * every, LEAST_S), look + publishing_s + _MARGIN_S)]
        ]

    def heard(self, tag: int, said: ua.DataValue, now_s: float) -> None:
        """A report."""
        item = self._items[tag]
        if item.given_up is not None:
            item.unlike = 0 if differs(item.given_up, said, item.band) else item.unlike + 1
            item.given_up = None
        item.said, item.judged_s, item.looks = said, None, 0
        item.look_s = now_s + item.wait_s if item.unlike < _MOST_UNLIKE else math.inf

    def held_up(self, now_s: float) -> None:
        """Reports could not come until now, for a reason of our own."""
        for item in self._items:
            if item.said is not None:
                item.judged_s, item.look_s = None, max(item.look_s, now_s + item.report_s)

    def due(self, now_s: float) -> list[int]:
        """Tags to be asked for now."""
        return [tag for tag, item in enumerate(self._items) if item.look_s <= now_s and item.judged_s is None]

    def found(self, tag: int, said: ua.DataValue, now_s: float) -> None:
        """What the server gave when it was asked."""
        item = self._items[tag]
        if item.said is None or not differs(item.said, said, item.band):
            pause_s = min(item.patience_s * 2.0**item.looks, _LONGEST_PAUSE_S)
            item.look_s, item.looks = now_s + max(pause_s, item.patience_s), min(item.looks + 1, 30)
            return
        item.judged_s = now_s + max(item.report_s - _age_s(said), _MARGIN_S)

    def lost(self, now_s: float) -> list[int]:
        """Tags that the server does not report any more; each is named once until it is heard again."""
        found = [tag for tag, item in enumerate(self._items) if item.judged_s is not None and item.judged_s <= now_s]
        for tag in found:
            item = self._items[tag]
            item.given_up, item.judged_s, item.look_s = item.said, None, now_s + item.patience_s
        return found


def _age_s(said: ua.DataValue) -> float:
    """For how long the server has had a value, by its own clock; 0 where it does not say."""
    source: Any = said.SourceTimestamp
    server: Any = said.ServerTimestamp
    return 0.0 if source is None or server is None else max(0.0, (server - source).total_seconds())


def differs(last: ua.DataValue, now: ua.DataValue, band: float) -> bool:
    """Whether a server with this dead band would have reported `now` after `last`."""
    if _status(last) >> 30 != _status(now) >> 30:
        return True
    was, is_now = _value(last), _value(now)
    if _is_number(was) and _is_number(is_now):
        if math.isnan(was) or math.isnan(is_now):
            return math.isnan(was) != math.isnan(is_now)
        return bool(abs(is_now - was) > band * (1 + 1e-9))
    return repr(was) != repr(is_now)  # arrays and structures hold NaN, which equals nothing


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _status(said: ua.DataValue) -> int:
    return 0 if said.StatusCode is None else said.StatusCode.value


def _value(said: ua.DataValue) -> Any:
    return None if said.Value is None else said.Value.Value
