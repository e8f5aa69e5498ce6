"""Stretches of an outage as they were booked, so that what comes afterwards can be taken back exactly."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pipeline.model import MINUTE_NS

_MOST: Final = 32
"""Stretches remembered; what is older stays as it was booked."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Ticks that were booked as missing.

    Attributes:
        first_ns: the first one.
        ticks: how many.
        step_ns: how finely they were booked: those within one step stand in the minute of the first of them.
        column: of the cause.
    """

    first_ns: int
    ticks: int
    step_ns: int
    column: int

    def pieces(self, every_ns: int, from_ns: int, until_ns: int) -> Iterator[tuple[int, int, int]]:
        """The ticks later than `from_ns` and up to `until_ns`: minute that counts them, first tick, how many."""
        low = max(0, (from_ns - self.first_ns) // every_ns + 1)
        high = min(self.ticks, (until_ns - self.first_ns) // every_ns + 1)
        while low < high:
            at = self.first_ns + low * every_ns
            begin = at // self.step_ns * self.step_ns
            end = min(high, -(-(begin + self.step_ns - self.first_ns) // every_ns))
            opened = max(0, -(-(begin - self.first_ns) // every_ns))
            minute = (self.first_ns + opened * every_ns) // MINUTE_NS * MINUTE_NS
            yield minute, at, end - low
            low = end


def joined(stretches: Sequence[Stretch], more: Stretch, every_ns: int) -> list[Stretch]:
    """With one more, which continues the last where it can."""
    last = stretches[-1] if stretches else None
    follows = last is not None and more.first_ns == last.first_ns + last.ticks * every_ns
    if last is not None and follows and (last.step_ns, last.column) == (more.step_ns, more.column):
        return [*stretches[:-1], replace(last, ticks=last.ticks + more.ticks)]
    return [*stretches, more][-_MOST:]
