"""Bursts of a machine as a shot monitor or a DAQ gives them away: a CSV file each in a folder.

- A file is written under a temporary name and renamed when it is whole: nobody sees half of one.
- Its name ends in the UTC time of the first sample; its columns are `time_s` from there and the channels.
- The truth tells each burst, whoever carries it.
"""

import asyncio
import hashlib
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from simulators.clock import SimClock
from simulators.errors import InputError
from simulators.signals import Burst, BurstingMachine, Machine
from simulators.truth import Truth

_EVERY_S = 0.5
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def has_bursts(machine: Machine) -> bool:
    """Whether the machine records anything fast."""
    return hasattr(machine, "bursts")


def stamp(wall_ns: int) -> datetime:
    """A wall instant to the microsecond."""
    return _EPOCH + timedelta(microseconds=wall_ns // 1000)


def period_ns(burst: Burst, clock: SimClock) -> int:
    """Wall time between two samples: a fast clock makes them lie closer together."""
    return max(1, round(burst.period_s * 1e9 / clock.speed))


def file_name(burst: Burst, clock: SimClock) -> str:
    """`<name>_<UTC yyyymmddTHHMMSS.ffffff>Z.csv`."""
    return f"{burst.name}_{stamp(clock.wall_ns(burst.start_s)):%Y%m%dT%H%M%S.%f}Z.csv"


def as_csv(burst: Burst, clock: SimClock) -> bytes:
    """The file: a line of headings, then a line a sample."""
    time_s = np.arange(len(burst.value), dtype=np.float64) * period_ns(burst, clock) / 1e9
    text = io.StringIO()
    np.savetxt(
        text,
        np.column_stack([time_s, burst.value]),
        fmt=["%.9g", *["%.7g"] * len(burst.channels)],
        delimiter=",",
        header=",".join(("time_s", *burst.channels)),
        comments="",
    )
    return text.getvalue().encode()


def digest(value: npt.NDArray[np.float32]) -> str:
    """Of the samples as little-endian float32, row by row."""
    return hashlib.blake2b(np.ascontiguousarray(value, dtype="<f4").tobytes(), digest_size=16).hexdigest()


def check_folder(folder: Path) -> None:
    """The folder must be there.

    Raises:
        InputError: it is not.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; make it, or leave drop out")


async def tell_bursts(machine: Machine, clock: SimClock, truth: Truth, drop: Path | None) -> None:
    """Write bursts into the folder and the truth soon after their cycles end, until cancelled."""
    if not has_bursts(machine) or not (drop or truth.wanted):
        return
    told_s = clock.start_s
    while True:
        await asyncio.sleep(_EVERY_S)
        now_s = clock.now_s()
        for burst in cast("BurstingMachine", machine).bursts(told_s, now_s):
            if burst.start_s >= clock.start_s:
                truth.burst(
                    burst, clock.wall_ns(burst.start_s) // 1000 * 1000, period_ns(burst, clock), digest(burst.value)
                )
                if drop:
                    await asyncio.to_thread(_write, drop / file_name(burst, clock), as_csv(burst, clock))
            await asyncio.sleep(0)
        told_s = max(told_s, now_s)


def _write(path: Path, content: bytes) -> None:
    growing = path.with_name(f".{path.name}.part")
    try:
        growing.write_bytes(content)
        growing.rename(path)
    except OSError as exc:
        raise InputError(f"{path}: cannot write the burst ({exc.strerror}); is the folder still there?") from exc
