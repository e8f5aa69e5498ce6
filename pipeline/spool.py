"""What a gateway has read and the store has not yet committed, on disk. Operated as spool.md says.

* `append` returns only when the bodies are on disk (SQLite, WAL, synchronous=FULL): a power cut takes nothing back.
* Everything appended within `group_s` is one record, one transaction, one fsync. `seq` is born here.
* A number is never used twice: after an unclean stop numbering skips `LEAP` ahead, whatever the disk forgot.
* Nothing leaves but after `release` (the store has it) or because cap or disk are full. What was released is kept for a
  while, in case the store is restored from a backup, and makes room for anything else. What is dropped becomes a stub
  that carries the loss, row for row, through the same ledger as everything else. Records that may already have
  been sent are never dropped, because the store may hold them.
* A damaged file is set aside and salvaged; it is never a reason not to start.

One thread owns the file (spool_file.py); the event loop never waits for the disk.
"""

import asyncio
import sqlite3
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Final, Self, TypeVar

from pipeline import metrics, wire
from pipeline.model import Body, weight_of
from pipeline.settings import SpoolSettings
from pipeline.spool_file import SpoolFile

GROUP_ROWS: Final = 100_000
"""Rows of one record (five values of a waveform count as one), unless one append alone has more.

So a record stays below what a broker takes."""

R = TypeVar("R")


@dataclass(slots=True)
class _Waiting:
    """One append that is not yet on disk."""

    bodies: Sequence[Body]
    notes: Mapping[str, str]
    done: "asyncio.Future[int]"


class Spool:
    """The spool of one gateway; an async context manager. Not for several processes at once.

    Args:
        settings: folder and caps.
        source: the gateway's name.
        clock: wall clock, int ns UTC.

    Raises (on entering):
        ConfigError: the folder cannot be written, or another gateway has it open.
    """

    def __init__(self, settings: SpoolSettings, source: str, clock: Callable[[], int]) -> None:
        self.source = source
        self.appended = asyncio.Event()
        self._group_s = settings.group_s
        self._file = SpoolFile(settings, source, clock)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._waiting: list[_Waiting] = []
        self._wanted = asyncio.Event()
        self._committer: asyncio.Task[None] | None = None
        self._busy = False

    async def __aenter__(self) -> Self:
        try:
            await self._call(self._file.open)
        except BaseException:
            self._thread.shutdown()
            raise
        metrics.spool_hours_left.set(self.outage_hours_left())
        self._committer = asyncio.create_task(self._commit_groups(), name="spool")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._waiting or self._busy:
            self._wanted.set()
            await asyncio.sleep(0.005)
        if self._committer is not None:
            self._committer.cancel()
            await asyncio.gather(self._committer, return_exceptions=True)
        await self._call(self._file.close)
        self._thread.shutdown()

    @property
    def notes(self) -> Mapping[str, str]:
        """What was last made durable beside the records."""
        return self._file.notes

    @property
    def epoch(self) -> uuid.UUID:
        """Identity of the folder: the ledger counts per gateway and epoch."""
        return self._file.state.epoch

    @property
    def head(self) -> int:
        """The highest number given away."""
        return self._file.state.head

    @property
    def released(self) -> int:
        """The highest number known to be committed."""
        return self._file.state.released

    def pending(self) -> int:
        """Records that are not known to be committed."""
        return self._file.state.records

    def size(self) -> int:
        """Bytes of these records."""
        return self._file.state.size

    def outage_hours_left(self) -> float:
        """Hours until the cap is reached, at the rate since the start."""
        rate = self._file.rate()
        return (self._file.cap - self._file.state.size) / rate / 3600 if rate else float("inf")

    async def append(self, bodies: Sequence[Body], notes: Mapping[str, str] | None = None) -> int:
        """Makes bodies and notes durable, all or nothing, and returns the seq of the record that holds them.

        Cancelling leaves open whether they became durable. Bodies appended together stay together.

        Raises:
            SpoolFull: neither cap nor disk has room and nothing may be dropped; nothing was kept.
        """
        waiting = _Waiting(bodies, notes or {}, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._wanted.set()
        return await waiting.done

    async def read(self, after: int, most_bytes: int) -> list[wire.Frame]:
        """The next records after a number, at least one if there is any; marks them as possibly sent, durably.

        `previous` of the first is `after` itself where nothing between them is held.
        """
        return await self._call(partial(self._file.read, after, most_bytes))

    async def release(self, last: int) -> None:
        """The store has everything up to `last`; it is kept for as long as settings say."""
        if last > self._file.state.released:
            await self._call(partial(self._file.release, last))

    async def take_back(self, last: int) -> int:
        """The store has only what is up to `last`, though it once had more: the rest is to be read again.

        Returns:
            The highest number after `last` that is no longer held, `last` where all of it is.
        """
        if last >= self._file.state.released:
            return last
        return await self._call(partial(self._file.take_back, last))

    async def _call(self, work: Callable[[], R]) -> R:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except sqlite3.DatabaseError as error:
            self._file.mark_damaged(error)
            raise

    async def _commit_groups(self) -> None:
        while True:
            await self._wanted.wait()
            await asyncio.sleep(self._group_s)
            self._wanted.clear()
            group = self._take_group()
            if not group:
                continue
            self._busy = True
            bodies = [body for waiting in group for body in waiting.bodies]
            notes = {key: text for waiting in group for key, text in waiting.notes.items()}
            commit = partial(self._file.commit, bodies, notes)
            (outcome,) = await asyncio.gather(self._call(commit), return_exceptions=True)
            for waiting in group:
                if waiting.done.cancelled():
                    continue
                if isinstance(outcome, BaseException):
                    waiting.done.set_exception(outcome)  # each appender raises it; full is counted, a bug ends it all
                else:
                    waiting.done.set_result(outcome)
            self._busy = False
            self.appended.set()
            metrics.spool_hours_left.set(self.outage_hours_left())

    def _take_group(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        rows = 0
        while self._waiting and (not group or rows + weight_of(self._waiting[0].bodies) <= GROUP_ROWS):
            group.append(self._waiting.pop(0))
            rows += weight_of(group[-1].bodies)
        if self._waiting:
            self._wanted.set()
        return group
