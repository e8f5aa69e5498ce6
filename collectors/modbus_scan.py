"""What one scan of a machine brought, and how many of them are handed over at once."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from collectors.buffer import Buffer
from collectors.modbus_readout import Said
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
    """

    tick_ns: int
    ts_ns: int
    late: int
    said: Said
    columns: Columns | None = None
    events: tuple[Event, ...] = ()
    memory: str | None = None


class Readings:
    """What is handed over: everything there is, at most every `gather_s`. Cancelling loses nothing."""

    def __init__(self, buffer: Buffer[Scan], merge: Callable[[list[Scan]], Reading], gather_s: float) -> None:
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
        return self._merge(await self._buffer.take())


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
    """A device's own time in nanoseconds; None where it cannot be one."""
    if not EARLIEST_NS / 1e6 <= milliseconds <= LATEST_NS / 1e6:
        return None
    whole = int(milliseconds)
    return whole * 1_000_000 + round((milliseconds - whole) * 1e6)
