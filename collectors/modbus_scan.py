"""What one scan of a machine brought, and how many of them are handed over at once."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from collectors.buffer import Buffer
from collectors.modbus_readout import Said
from collectors.registers import Decoder
from collectors.source import Reading
from pipeline.model import EARLIEST_NS, LATEST_NS, Codes, Event, Floats, Indices

_T = TypeVar("_T", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Columns:
    """Rows (n,)."""

    tag: Indices
    value: Floats
    quality: Codes


@dataclass(slots=True)
class Scan:
    """Everything read at one tick.

    Attributes:
        tick_ns: of the grid.
        ts_ns: of its rows.
        late: ticks directly before that were skipped.
        said: as it came.
        columns: its rows; None: not looked into yet.
        events: what it told beside them.
        memory: what the next session has to know, None: the same as before.
        stamps: of several scans that were read as one, None: `ts_ns`, of one.
    """

    tick_ns: int
    ts_ns: int
    late: int
    said: Said
    columns: Columns | None = None
    events: tuple[Event, ...] = ()
    memory: str | None = None
    stamps: Sequence[int] | None = None


class Reel:
    """Scans back to back that bring numbers alone; it grows until it is taken.

    Attributes:
        stamps: of its scans, as in `Scan.ts_ns`.
        data: of each.
        taken: whoever hands over has it; the next scan begins another.
    """

    __slots__ = ("_decoder", "_units", "data", "stamps", "taken")

    def __init__(self, decoder: Decoder, units: frozenset[int]) -> None:
        self._decoder, self._units = decoder, units
        self.stamps: list[int] = []
        self.data: list[bytes] = []
        self.taken = False

    def scan(self) -> Scan:
        """All of them as one, taken."""
        self.taken = True
        said = Said(b"".join(self.data), self._decoder, self._units, readings=len(self.data))
        return Scan(self.stamps[0], self.stamps[0], 0, said, stamps=self.stamps)


class Readings:
    """What is handed over: everything there is, at most every `gather_s`. Cancelling loses nothing."""

    def __init__(self, buffer: Buffer[Scan | Reel], merge: Callable[[list[Scan]], Reading], gather_s: float) -> None:
        self._buffer, self._merge, self._gather_s = buffer, merge, gather_s
        self._next_s = 0.0

    def __aiter__(self) -> "Readings":
        return self

    async def aclose(self) -> None:
        """As of a generator; what is in the buffer is the session's."""

    async def __anext__(self) -> Reading:
        if self._gather_s:
            now = asyncio.get_running_loop().time
            await self._buffer.filled(self._next_s - now())
            self._next_s = now() + self._gather_s
        return self._merge([one.scan() if isinstance(one, Reel) else one for one in await self._buffer.take()])


def alike(one: Columns | None, other: Columns | None) -> bool:
    """Whether two scans of the same tags say the same."""
    if one is None or other is None:
        return False
    same = np.array_equal(one.value, other.value, equal_nan=True)
    return same and np.array_equal(one.quality, other.quality)


def joined(columns: list[npt.NDArray[_T]]) -> npt.NDArray[_T]:
    """One behind the other."""
    return columns[0] if len(columns) == 1 else np.concatenate(columns)


def device_time(milliseconds: float) -> int | None:
    """A device's own time in nanoseconds; None where it cannot be one, as where it is not set or could not be read."""
    if not EARLIEST_NS / 1e6 <= milliseconds <= LATEST_NS / 1e6:
        return None
    whole = int(milliseconds)
    return whole * 1_000_000 + round((milliseconds - whole) * 1e6)
