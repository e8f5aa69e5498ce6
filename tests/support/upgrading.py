"""The upgrade of a database while an older writer and an older gateway work on it; shared by test and bench.

The order is the runbook's: `rootdx migrate` first, then the writer, then the gateways. Each step is done as an operator
does it, and what is looked at is the ledger: the longest time in which nothing was committed.
"""

import asyncio
import contextlib
import itertools
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import psycopg
import tomli_w

from pipeline import migrate
from pipeline.bus import connected
from pipeline.migrate import Migration
from pipeline.settings import DSN_ENV, Bus, read_settings
from pipeline.topics import record_topic
from tests.support import older
from tests.support.releases import GATEWAY, Release
from tests.support.report import ROOT
from tests.support.spine import ask

LOOK_S = 0.005
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What an upgrade was like.

    Attributes:
        names: of the files applied.
        took_s: from the first to the last of them.
        pause_s: longest time without a commit while they ran.
        handover_s: longest time without a commit while writers were changed.
        rows: that the older gateway made meanwhile.
        missing: of those, not in the table.
        doubled: of those, in it more than once.
    """

    names: Sequence[str]
    took_s: float
    pause_s: float
    handover_s: float
    rows: int
    missing: int
    doubled: int


class Program:
    """A process with its output in a file."""

    def __init__(self, name: str, folder: Path) -> None:
        self._name, self._log = name, folder / f"{name}-{time.monotonic_ns()}.log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, dsn: str, *arguments: str) -> None:
        """`python -m arguments…`."""
        await self.run(dsn, sys.executable, "-m", *arguments)

    async def run(self, dsn: str, *command: str) -> None:
        """A command line."""
        with self._log.open("wb") as file:
            self._process = await asyncio.create_subprocess_exec(
                *command, cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=file, stderr=file,
                env={**os.environ, "PYTHONPATH": str(ROOT), DSN_ENV: dsn},
            )  # fmt: skip

    async def hears(self, text: str) -> str:
        """The first line that holds `text`."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            lines = self._log.read_text(errors="replace").splitlines()
            found = next((line for line in lines if text in line), None)
            if found is not None:
                return found
            assert self.code() is None, f"{self._name} ended with {self.code()}: {self._log.read_text()[-1500:]}"
            await asyncio.sleep(0.02)
        raise AssertionError(f"{self._name} never said {text!r}: {self._log.read_text()[-1500:]}")

    def code(self) -> int | None:
        """Its exit code, None while it runs."""
        assert self._process is not None
        return self._process.returncode

    def tell(self, line: str) -> None:
        """A line on its standard input."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())

    async def ends(self) -> tuple[int, str]:
        """Its exit code and last line, when it has ended by itself."""
        assert self._process is not None
        code = await asyncio.wait_for(self._process.wait(), PATIENCE_S)
        return code, self._log.read_text(errors="replace").splitlines()[-1]

    async def stop(self) -> None:
        """As an operator would."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        await asyncio.wait_for(self._process.wait(), PATIENCE_S)


@dataclass(slots=True)
class Watch:
    """When the ledger moved."""

    moved: list[float] = field(default_factory=list)

    async def run(self, dsn: str) -> None:
        """Looks until cancelled. Its own look is a pause too where a file shuts the ledger."""
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as db:
            last = -1
            while True:
                row = await (
                    await db.execute("SELECT coalesce(sum(last_seq), 0)::bigint FROM rootdx.ledger")
                ).fetchone()
                if row is not None and row[0] != last:
                    last = row[0]
                    self.moved.append(time.monotonic())
                await asyncio.sleep(LOOK_S)

    def longest_s(self, since: float, until: float) -> float:
        """Without a commit around these two moments; the time counts that began before and ended after them."""
        last = max((one for one in self.moved if one < since), default=since)
        next_ = min((one for one in self.moved if one > until), default=until)
        marks = [last, *(one for one in self.moved if since <= one <= until), next_]
        return max(b - a for a, b in itertools.pairwise(marks))

    async def count(self, more: int) -> None:
        """Waits for so many moves from now on."""
        goal, deadline = len(self.moved) + more, time.monotonic() + PATIENCE_S
        while len(self.moved) < goal:
            assert time.monotonic() < deadline, "nothing is committed"
            await asyncio.sleep(LOOK_S)


@contextlib.contextmanager
def knowing(files: Sequence[Migration]) -> Iterator[None]:
    """`rootdx migrate` of a program that has these files."""
    with mock.patch.object(migrate, "migrations", return_value=list(files)):
        yield


def settings(folder: Path, port: int) -> Path:
    """For writer and gateway."""
    file = folder / "upgrade.toml"
    spool = {"folder": "spool", "group_s": 0.002}
    data = {"bus": {"port": port, "timeout_s": 3.0}, "gateway": {"name": "gw-older", "spool": spool}}
    file.write_text(tomli_w.dumps(data))
    return file


async def upgrade(dsn: str, port: int, folder: Path, release: Release, newer: Sequence[Migration]) -> Upgraded:
    """The whole drill on a database that is as `release` left it: its files, then `newer` ones."""
    file = settings(folder, port)
    had, _ = release.schema("plain")
    async with _older(release, file, dsn, folder) as (writer, gateway, watch):
        await watch.count(10)
        began = time.monotonic()
        with knowing([*had, *newer]):
            names = await migrate.migrate(dsn)
        ended = time.monotonic()
        changing = ended
        if all(one.additive for one in newer):  # older writers run on, and can be started again
            await watch.count(10)
            changing = time.monotonic()
            await writer.stop()
            await _start(writer, release, file, dsn)
            await watch.count(10)
        await writer.stop()
        today = Program("writer", folder)
        try:
            await today.start(dsn, "rootdx", "writer", "--config", str(file))
            await today.hears("bus connected")
            await watch.count(10)
            handed_over = time.monotonic()
            gateway.tell("stop")
            made = int((await gateway.hears("drained ")).split()[1]) * older.ROWS
        finally:
            await today.stop()
    missing, doubled = await asyncio.to_thread(_compared, dsn, made)
    pauses = watch.longest_s(began, ended), watch.longest_s(changing, handed_over)
    return Upgraded(names, ended - began, *pauses, made, missing, doubled)


@contextlib.asynccontextmanager
async def _older(release: Release, file: Path, dsn: str, folder: Path) -> AsyncIterator[tuple[Program, Program, Watch]]:
    writer, gateway, watch = Program("older-writer", folder), Program("older-gateway", folder), Watch()
    watching = asyncio.create_task(watch.run(dsn))
    try:
        await _start(writer, release, file, dsn)
        await _send(release, read_settings(file).bus)
        await gateway.start(dsn, "tests.support.older", str(release.program), "gateway", str(file))
        await gateway.hears("bus connected")
        yield writer, gateway, watch
    finally:
        watching.cancel()
        await asyncio.wait([watching])
        await gateway.stop()
        await writer.stop()


async def _send(release: Release, bus: Bus) -> None:
    """Rows, events, tallies and a waveform, so that every table of the wire has something in it."""
    async with connected(bus, "released", []) as session:
        for name in release.json("messages/expected.json"):
            await session.publish(record_topic(GATEWAY), release.messages()[name])


async def _start(writer: Program, release: Release, file: Path, dsn: str) -> None:
    await writer.start(dsn, "tests.support.older", str(release.program), "writer", str(file))
    await writer.hears("bus connected")


def _compared(dsn: str, made: int) -> tuple[int, int]:
    """Missing and doubled of the values 0 to made - 1."""
    query = """
        SELECT count(*) FILTER (WHERE n = 0), count(*) FILTER (WHERE n > 1) FROM (
            SELECT count(m.value) AS n FROM generate_series(0, %s) v LEFT JOIN (
                SELECT value FROM rootdx.measurement JOIN rootdx.tag USING (tag_id) JOIN rootdx.asset USING (asset_id)
                WHERE path = %s) m ON m.value = v GROUP BY v) each_value"""
    ((missing, doubled),) = ask(dsn, query, made - 1, older.ASSET)
    return int(missing), int(doubled)
