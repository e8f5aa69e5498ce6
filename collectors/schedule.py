"""Wall-clock aligned ticks: when a polled device is read.

* A tick is a multiple of the period since the epoch, so every gateway and every restart samples the same grid.
* A tick that falls due while the consumer still works is skipped and counted, never queued.
* A wall clock that is stepped (it parts from the monotonic one by more than a period, at least a second) re-aligns
  the grid; the ticks jumped over are not late, and ticks of a time relived are given again.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from collectors.source import Clock

SECOND_NS: Final = 1_000_000_000
_LONGEST_SLEEP_NS: Final = SECOND_NS
"""A stepped clock is noticed within this time, however rare the ticks are."""


@dataclass(frozen=True, slots=True)
class Tick:
    """One due reading.

    Attributes:
        ns: the grid time, to stamp the rows with.
        late: ticks directly before this one that were skipped.
    """

    ns: int
    late: int


@dataclass(slots=True)
class _Wall:
    """The wall clock, watched against the monotonic one."""

    clock: Clock
    monotonic: Clock
    limit_ns: int
    apart_ns: int

    def read(self) -> tuple[int, bool]:
        """The time, and whether it was stepped since the last look."""
        now = self.clock()
        apart = now - self.monotonic()
        stepped = abs(apart - self.apart_ns) > self.limit_ns
        self.apart_ns = apart
        return now, stepped


async def ticks(
    every_s: float,
    clock: Clock,
    monotonic: Clock = time.monotonic_ns,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[Tick]:
    """Ticks for ever, the first one strictly after now. Cancelling is safe."""
    every = period_ns(every_s)
    wall = _Wall(clock, monotonic, max(every, SECOND_NS), clock() - monotonic())
    due, late, back_from_work = _after(clock(), every), 0, False
    while True:
        now, stepped = wall.read()
        if stepped:
            due = _after(now, every)
        elif now >= due and back_from_work:
            skipped = (now - due) // every + 1
            late, due = late + skipped, due + skipped * every
        elif now >= due:
            overslept = (now - due) // every
            yield Tick(due + overslept * every, late + overslept)
            due, late, back_from_work = due + (overslept + 1) * every, 0, True
            continue
        back_from_work = False
        await sleep(min(due - now, _LONGEST_SLEEP_NS) / SECOND_NS)


def period_ns(every_s: float) -> int:
    """A period in nanoseconds, at least one microsecond."""
    return max(round(every_s * SECOND_NS), 1_000)


def _after(now: int, every: int) -> int:
    return (now // every + 1) * every
