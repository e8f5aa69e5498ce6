"""When a cycle has ended: a bit that rises or a counter that moves on. A pure fold.

* The first value ever seen is remembered and triggers nothing: nobody knows whether that cycle was read.
* A cycle counts as seen only when `done` says so; until then the next look finds it again. A bit that has fallen by
  then, or a counter that was reset, says that it cannot be read any more: it is lost.
* A counter that falls has rolled over when it stood in the last tenth of its range, or at 999, 9999 and so on, and
  has moved on by less than half of it. One that falls by less than a tenth was set back, and nothing has ended. Else
  it was reset: what it counts from zero on are new cycles.
"""

from dataclasses import dataclass
from typing import Final

_TENTH: Final = 0.1
_FEWEST_NINES: Final = 3


@dataclass(frozen=True, slots=True)
class Span:
    """The numbers that a trigger shows: from `low` to `high`, and then from 0, or from `low` where that is negative."""

    low: int
    high: int

    @property
    def is_bit(self) -> bool:
        """Whether it is no counter."""
        return (self.low, self.high) == (0, 1)


@dataclass(frozen=True, slots=True)
class Ended:
    """What a look at a trigger says.

    Attributes:
        cycles: that have ended since the last one that is `done`; the last of them is there to be read.
        lost: that had ended before and were never read.
        reset: the counter was reset or set back.
    """

    cycles: int = 0
    lost: int = 0
    reset: bool = False


class Trigger:
    """One trigger.

    Args:
        span: what it shows, None: any number, it never rolls over.
        last: what `last` was when it was last remembered.
    """

    def __init__(self, span: Span | None, last: int | None = None) -> None:
        self._span = span
        self._waiting = 0
        self.last = last

    def look(self, said: int) -> Ended:
        """What has happened since the last cycle that is `done`."""
        last = self.last
        if last is None or said == last:
            return self._settled(said)
        if self._span is not None and self._span.is_bit:
            return self._found(1) if said else self._settled(said)
        if said > last:
            return self._found(said - last)
        rolled = self._rolled(last, said)
        if rolled:
            return self._found(rolled)
        if said > (1 - _TENTH) * last or said <= 0:
            return self._settled(said, reset=True)
        lost, self._waiting = self._waiting, 0
        self.last = 0
        found = self._found(said)
        return Ended(found.cycles, lost, reset=True)

    def done(self, said: int) -> None:
        """The cycle that this value ended is read."""
        self.last, self._waiting = said, 0

    def _found(self, cycles: int) -> Ended:
        self._waiting = cycles
        return Ended(cycles)

    def _settled(self, said: int, *, reset: bool = False) -> Ended:
        """Nothing is there to be read; what waited for it is lost."""
        lost = self._waiting
        self.done(said)
        return Ended(0, lost, reset)

    def _rolled(self, last: int, said: int) -> int:
        """Cycles of a counter that has rolled over, 0 where it has not."""
        span = self._span
        high = 0
        if span is not None and last > span.high - _TENTH * (span.high + 1):
            high = span.high
        elif len(str(last)) >= _FEWEST_NINES and set(str(last)) == {"9"} and 0 <= said < _TENTH * last:
            high = last
        if not high:
            return 0
        low = span.low if span is not None and said < 0 else 0
        rolled = high - last + 1 + said - low
        return rolled if rolled <= (high + 1) // 2 else 0
