"""The real gateway on a device that cannot be fooled: every row carries a number of its own.

    COUNTED_WITNESS=file COUNTED_INCARNATION=1 COUNTED_CLOCK_OFFSET=file python -m tests.chaos.counted_gateway FILE.toml

* The device hands over rows whose values count up; the numbers of another incarnation never come again.
* It is resumed only when what it handed over is durable. It then writes the range into the witness file: from that
  moment on each of these numbers must end up in the table once, or in an announced loss.
* The wall clock is the real one plus the seconds in a file, read anew each time.
"""

import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import ClassVar, Final, Literal

import numpy as np

from collectors import gateway
from collectors.schedule import period_ns, ticks
from collectors.source import Missed, Opening, Reading, Session, Source
from pipeline import service
from pipeline.model import Batch, Cause
from pipeline.plant import Machine, Tag
from pipeline.settings import read_settings

PER_INCARNATION: Final = 4_000_000_000
PER_MACHINE: Final = 1_000_000_000
WITNESS: Final = "COUNTED_WITNESS"
INCARNATION: Final = "COUNTED_INCARNATION"
CLOCK_OFFSET: Final = "COUNTED_CLOCK_OFFSET"


class Counted(Source):
    """A device whose every value is the next whole number; tags that do not begin with n are noise, to fill a disk."""

    protocol: Literal["counted"] = "counted"
    arrival: ClassVar[Literal["polled", "pushed", "kept"]] = "polled"

    def check(self, tags: Sequence[Tag]) -> None:
        """Any address will do."""

    def open(self, opening: Opening) -> contextlib.AbstractAsyncContextManager[Session]:
        return contextlib.nullcontext(CountedSession(self, opening))


class CountedSession:
    """Hands over `tags` numbers a tick."""

    def __init__(self, source: Counted, opening: Opening) -> None:
        self._every_s, self._opening = source.every_s, opening
        self._names = tuple(tag.name for tag in opening.tags)

    async def readings(self) -> AsyncIterator[Reading]:
        n, every_ns = sum(name.startswith("n") for name in self._names), period_ns(self._every_s)
        noise = np.random.default_rng(1)
        next_number = int(os.environ[INCARNATION]) * PER_INCARNATION + hash_of(self._opening.asset) % 4 * PER_MACHINE
        with Path(os.environ[WITNESS]).open("a", encoding="ascii", buffering=1) as witness:
            async for tick in ticks(self._every_s, self._opening.clock):
                numbers = np.arange(next_number, next_number + n, dtype=np.float64)
                values = np.concatenate([numbers, noise.random(len(self._names) - n)])
                batch = Batch.of(self._opening.asset, self._names, tick.ns, np.arange(len(values)), values)
                first = tick.ns - tick.late * every_ns
                late = (Missed(first, tick.late, Cause.LATE),) if tick.late else ()
                yield Reading((batch,), late, ticks=(first, tick.ns))
                witness.write(f"{self._opening.asset} {next_number} {n} {time.time():.3f}\n")
                next_number += n


class CountedMachine(Machine[Counted]):
    """A machine file of a counted device."""


def hash_of(text: str) -> int:
    """A small number that two runs agree on."""
    return sum(text.encode())


def stepped(offset: Path) -> Callable[[], int]:
    """The wall clock, off by the seconds in a file."""

    def clock() -> int:
        with contextlib.suppress(OSError, ValueError):
            return time.time_ns() + int(float(offset.read_text()) * 1e9)
        return time.time_ns()

    return clock


def main() -> int:
    settings = read_settings(Path(sys.argv[1]))
    service.configure_logging()
    clock = stepped(Path(os.environ[CLOCK_OFFSET]))
    return service.run(lambda: gateway.run(settings, clock, CountedMachine))


if __name__ == "__main__":
    raise SystemExit(main())
