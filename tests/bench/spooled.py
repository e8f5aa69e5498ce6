"""A full spool, filled once and copied for every repeat; and the race of its records to the database."""

import asyncio
import shutil
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipeline.spool_file import FILE
from tests.bench import rows
from tests.bench.stage import Child, Db, Invalid, Stage, server_cpu_s, server_process

GATEWAY = "bench"
LOOK_S = 0.01
STUCK_S = 60.0


@dataclass(frozen=True, slots=True)
class Filled:
    """A spool that can be copied.

    Attributes:
        seconds: of plant time, a record each.
        start_ns: of the first.
        size_mb: on disk.
        fill_s: how long it took to make.
    """

    file: Path
    seconds: int
    start_ns: int
    size_mb: float
    fill_s: float

    @property
    def rows(self) -> int:
        """Measurement rows inside."""
        return self.seconds * rows.RATE_HZ


@dataclass(slots=True)
class Copied:
    """A spool of its own: same records, another epoch."""

    settings: Path
    epoch: str


@dataclass(slots=True)
class Cost:
    """CPU seconds by process."""

    forwarder: float
    broker: float
    writer: float
    database: float


async def fill(stage: Stage, seconds: int) -> Filled:
    """Fills a spool with plant time that ends now; in a process of its own."""
    place = stage.place("fill")
    settings = stage.settings(place, name=GATEWAY)
    start_ns = (int(time.time()) - seconds) * rows.SECOND_NS
    began = time.monotonic()
    arguments = ("fill", str(settings), "--seconds", str(seconds), "--start", str(start_ns))
    child = await stage.start("fill", "tests.bench.feeder", *arguments)
    if await child.process.wait() != 0:
        raise Invalid(f"the spool could not be filled:\n{child.log.read_text()[-1500:]}")
    stage.children.remove(child)
    file = place / "spool" / FILE
    return Filled(file, seconds, start_ns, file.stat().st_size / 1e6, time.monotonic() - began)


def copy(stage: Stage, filled: Filled) -> Copied:
    """The same records under an epoch of their own, so that neither ledger nor broker knows them."""
    place = stage.place("spool")
    (place / "spool").mkdir()
    file = place / "spool" / FILE
    shutil.copy(filled.file, file)
    epoch = rows.new_epoch()
    db = sqlite3.connect(file)
    with db:
        db.execute("UPDATE meta SET value = ? WHERE key = 'epoch'", (epoch,))
    db.close()
    return Copied(stage.settings(place, name=GATEWAY), epoch)


async def committed(db: Db, epoch: str) -> int:
    """The last record of a spool in the ledger; 0 where it is not known yet."""
    row = await (await db.execute("SELECT last_seq FROM rootdx.ledger WHERE epoch = %s", [epoch])).fetchone()
    return 0 if row is None else int(row[0])


async def until_committed(stage: Stage, db: Db, epoch: str, goal: "Goal") -> float:
    """Seconds until everything of `goal` is committed.

    Raises:
        Invalid: a process died, or nothing moved for STUCK_S.
    """
    began = moved = time.monotonic()
    last = 0
    while True:
        now = await committed(db, epoch)
        at = time.monotonic()
        if now >= goal():
            return at - began
        if now > last:
            last, moved = now, at
        elif at - moved > STUCK_S:
            raise Invalid(f"stuck at record {last} of {goal()} for {STUCK_S:.0f} s")
        stage.check()
        await asyncio.sleep(LOOK_S)


class Goal:
    """The record that must be committed."""

    def __init__(self, seq: int, live: Path | None = None) -> None:
        self._seq, self._live = seq, live

    def __call__(self) -> int:
        """With a live feed: the newest record made durable so far."""
        if self._live is not None:
            for line in reversed(self._live.read_text(errors="replace").splitlines()):
                if line.startswith("live ") and line.count(" ") == 2:
                    return max(self._seq, int(line.split()[1]))
        return self._seq


@dataclass(slots=True)
class Meter:
    """Reads the CPU of all that take part."""

    stage: Stage
    forwarder: Child
    writer: Child
    server: psutil.Process | None

    @classmethod
    async def of(cls, stage: Stage, db: Db, forwarder: Child, writer: Child) -> "Meter":
        """With the server that `db` is connected to."""
        return cls(stage, forwarder, writer, await server_process(db))

    def read(self) -> Cost:
        """Since each began."""
        return Cost(self.forwarder.cpu_s(), self.stage.broker_cpu_s(), self.writer.cpu_s(), server_cpu_s(self.server))


def between(before: Cost, after: Cost) -> Cost:
    """What was used meanwhile."""
    return Cost(
        after.forwarder - before.forwarder,
        after.broker - before.broker,
        after.writer - before.writer,
        after.database - before.database,
    )
