"""One machine under a fault, again and again: how soon there is data, what is leaked, whether the books are right."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from collectors.collector import Collector
from pipeline.model import BAD_BIT, CAUSES, UNCERTAIN_BIT, Batch
from tests.collectors.devices import ASSET, MemorySpool, stopped

NINE_HOURS_MS = 9 * 3_600_000
"""By which a Korean clock is ahead of what its device calls UTC."""
NEAR_S = 600.0
"""A trial takes less; no good row may lie further off."""
RECOVER_S = 5.0
"""Wanted: data again within this time of the device being back."""
_PATIENCE_S = 120.0
_LEAVING_S = 3.0
Inject = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Outcome:
    """What a fault did.

    Attributes:
        recovered_s: from the device being back to the first good row in the spool, one an injection.
        noticed_s: what the fault is about, where it is not that: seconds, against `noticed_most_s`.
        difference: rows expected - stored - missing.
        leaked: names of tasks that outlived the collector.
        misplaced: good rows whose time is further off than `near_s`; where that is 0, nobody looks.
    """

    protocol: str
    fault: str
    recovered_s: list[float] = field(default_factory=list)
    noticed_s: list[float] = field(default_factory=list)
    noticed_most_s: float = 0.0
    rows: int = 0
    expected: int = 0
    missing: dict[str, int] = field(default_factory=dict)
    leaked: list[str] = field(default_factory=list)
    remark: str = ""
    near_s: float = 0.0
    misplaced: int = 0

    @property
    def difference(self) -> int:
        return self.expected - self.rows - sum(self.missing.values())


class Clock:
    """The wall clock, off by `offset_s`."""

    def __init__(self) -> None:
        self.offset_s = 0.0

    def __call__(self) -> int:
        return time.time_ns() + round(self.offset_s * 1e9)


def has_good(spool: MemorySpool, mark: int) -> bool:
    """Whether a row with a value was appended after so many bodies."""
    later = [body for body in spool.bodies[mark:] if isinstance(body, Batch)]
    return any((batch.quality < BAD_BIT).any() for batch in later)


def misplaced(spool: MemorySpool, near_s: float) -> int:
    """Rows that are called good and whose time is further from now than that; those that are not carry a flag."""
    now, most = time.time_ns(), round(near_s * 1e9)
    return sum(
        int(((batch.quality < UNCERTAIN_BIT) & (abs(batch.ts_ns - now) > most)).sum()) for batch in spool.batches
    )


@contextlib.asynccontextmanager
async def watched(outcome: Outcome, one: Any, clock: Callable[[], int] = time.time_ns) -> AsyncIterator[MemorySpool]:
    """A collector on the machine; at the end its books and what it left behind go into `outcome`."""
    before, spool = asyncio.all_tasks(), MemorySpool()
    task = asyncio.create_task(Collector(ASSET, one, spool, "gw", clock).run())
    try:
        await spool.until(lambda held: has_good(held, 0), _PATIENCE_S)
        yield spool
    finally:
        await stopped(task)
    if outcome.near_s:
        outcome.misplaced += misplaced(spool, outcome.near_s)
    outcome.rows += spool.rows()
    outcome.expected += spool.expected()
    for cause in CAUSES:
        if count := spool.missing(cause):
            outcome.missing[cause.value] = outcome.missing.get(cause.value, 0) + count
    outcome.leaked += await _left_over(before)


async def recovered(spool: MemorySpool, outcome: Outcome) -> None:
    """The device is back now; waits for the first good row and notes how long that took."""
    began, mark = time.monotonic(), len(spool.bodies)
    await spool.until(lambda held: has_good(held, mark), _PATIENCE_S)
    outcome.recovered_s.append(time.monotonic() - began)


async def repeated(
    outcome: Outcome,
    one: Any,
    inject: Inject,
    times: int,
    clock: Callable[[], int] = time.time_ns,
    *,
    settle_s: float = 0.0,
) -> Outcome:
    """`inject` returns when the device is back; `settle_s` for what is filled afterwards."""
    async with watched(outcome, one, clock) as spool:
        for _ in range(times):
            await inject()
            await recovered(spool, outcome)
            await asyncio.sleep(settle_s)
    return outcome


async def _left_over(before: set["asyncio.Task[Any]"]) -> list[str]:
    until = time.monotonic() + _LEAVING_S
    while True:
        left = [task for task in asyncio.all_tasks() - before if not _is_of_a_device(task)]
        if not left or time.monotonic() > until:
            return [str(task.get_coro()) for task in left]
        await asyncio.sleep(0.05)


def _is_of_a_device(task: "asyncio.Task[Any]") -> bool:
    """Ours to have: what stands for machine, line and broker."""
    said = f"{task.get_name()} {task.get_coro()}"
    return any(
        word in said
        for word in ("proxy", "Proxy.", "RawModbus.", "tests.", "_publish_for_ever", "Client._misc_loop", "InternalS")
    )
