"""Where figures are taken: a real database, a real broker, and the processes under test as children of this one.

* Every server and every process under test is a process of its own; this one looks on and asks the database.
* A process that ends before it was told to makes the measurement `Invalid`.
* The database is in the production schema and empty of rows when a measurement begins.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg
import tomli_w
from psycopg.conninfo import make_conninfo
from rich.console import Console

from pipeline import migrate
from pipeline.settings import DSN_ENV
from rootdx.embedded import Broker, Postgres
from rootdx.program import PARENT
from tests.support.report import ROOT

READY_S = 60.0
STOP_S = 30.0
Db = psycopg.AsyncConnection[tuple[Any, ...]]


class Invalid(Exception):
    """The measurement says nothing: rows missing or doubled, a process died, too few samples."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asked for.

    Attributes:
        repeats: of every figure.
        rows: in the spool of spool_to_store, in the table of upgrade and restore; None for their own.
        seconds: one window of latency and gateway_cpu.
        hours: outage of outage.
        minutes: of memory and gateway_hour; None for their own.
        warm_s: before a window of a running gateway.
        explained: whether a missed target is followed by a profile.
        spool: where the spool of gateway_hour lies; None for the folder of the stage.
        flash: capacity in GB, P/E cycles, lowest and highest write amplification: assumptions of gateway_hour.
    """

    repeats: int = 5
    rows: int | None = None
    seconds: float = 20.0
    hours: float = 8.0
    minutes: float | None = None
    warm_s: float = 5.0
    explained: bool = True
    spool: Path | None = None
    flash: tuple[float, float, float, float] = (16.0, 3000.0, 2.0, 8.0)


@dataclass(slots=True)
class Child:
    """A process under test."""

    name: str
    process: asyncio.subprocess.Process
    log: Path
    usage: psutil.Process

    def cpu_s(self) -> float:
        """User and system seconds so far."""
        self.check()
        times = self.usage.cpu_times()
        return float(times.user + times.system)

    def rss_mb(self) -> float:
        """Resident memory."""
        self.check()
        return float(self.usage.memory_info().rss) / 1e6

    def check(self) -> None:
        """Still there.

        Raises:
            Invalid: it is not.
        """
        if self.process.returncode is not None:
            words = self.log.read_text(errors="replace")[-1500:]
            raise Invalid(f"{self.name} ended with {self.process.returncode}; its last words:\n{words}")

    async def hears(self, text: str) -> str:
        """The first line of its log that holds `text`.

        Raises:
            Invalid: no such line within READY_S, or the process ended.
        """
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            for line in self.log.read_text(errors="replace").splitlines():
                if text in line:
                    return line
            self.check()
            await asyncio.sleep(0.02)
        raise Invalid(f"{self.name} never said {text!r} within {READY_S:.0f} s; see {self.log.name}")

    def tell(self, line: str) -> None:
        """A line on its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())

    async def stop(self) -> None:
        """As an operator would; waits until it is gone."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.process.wait(), STOP_S)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


@dataclass(slots=True)
class Stage:
    """What runs."""

    console: Console
    folder: Path
    dsn: str
    broker: Broker
    engine: str = ""
    server: str = ""
    embedded: bool = True
    children: list[Child] = field(default_factory=list)
    count: int = 0

    def place(self, name: str) -> Path:
        """A new folder of that name."""
        self.count += 1
        place = self.folder / f"{self.count:03d}-{name}"
        place.mkdir()
        return place

    def settings(self, place: Path, **gateway: Any) -> Path:
        """A settings file for gateway, feeder and writer alike."""
        file = place / "rootdx.toml"
        metrics = {"metrics_port": gateway.pop("writer_metrics_port", 0)}
        data = {
            "bus": {"port": self.broker.port},
            "writer": metrics,
            "gateway": {"spool": {"folder": "spool"}, **gateway},
        }
        file.write_text(tomli_w.dumps(data))
        return file

    async def start(self, name: str, *arguments: str) -> Child:
        """A Python process `-m arguments…`, its output in a log."""
        self.count += 1
        log = self.folder / f"{self.count:03d}-{name}.log"
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", *arguments, cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=file, stderr=file,
                env={**os.environ, "PYTHONPATH": str(ROOT), DSN_ENV: self.dsn, PARENT: str(os.getpid())},
            )  # fmt: skip
        child = Child(name, process, log, psutil.Process(process.pid))
        self.children.append(child)
        return child

    async def writer(self, settings: Path, profile: Path | None = None) -> Child:
        """A writer that is connected; under the profiler if `profile` names where its profile goes."""
        how = ["rootdx"] if profile is None else ["tests.bench.profiled", str(profile)]
        child = await self.start("writer", *how, "writer", "--config", str(settings))
        await child.hears("bus connected")
        return child

    async def gateway(self, settings: Path, profile: Path | None = None) -> Child:
        """A gateway that is connected to the bus."""
        how = ["rootdx"] if profile is None else ["tests.bench.profiled", str(profile)]
        child = await self.start("gateway", *how, "gateway", "--config", str(settings))
        await child.hears("bus connected")
        return child

    async def stop(self) -> None:
        """Ends every process under test, first started last."""
        for child in reversed(self.children):
            await child.stop()
        self.children.clear()

    def check(self) -> None:
        """All processes under test are there.

        Raises:
            Invalid: one is not.
        """
        for child in self.children:
            child.check()
        if self.broker.pid is None:
            raise Invalid("the broker died")

    def broker_cpu_s(self) -> float:
        """User and system seconds of the broker so far."""
        if self.broker.pid is None:
            raise Invalid("the broker died")
        times = psutil.Process(self.broker.pid).cpu_times()
        return float(times.user + times.system)

    async def empty(self, db: Db) -> None:
        """No rows, nothing to be written back."""
        await db.execute("TRUNCATE rootdx.measurement, rootdx.record, rootdx.tally, rootdx.event, rootdx.quarantine")
        if self.engine == "plain":
            await db.execute("TRUNCATE rootdx.touched_hour, rootdx.bucket_1m, rootdx.bucket_1h")
        await db.execute("CHECKPOINT")


@contextlib.asynccontextmanager
async def staged(console: Console, dsn: str | None) -> AsyncIterator[Stage]:
    """A stage on an embedded plain PostgreSQL, or on a database of its own at the server of an administrator's DSN."""
    base = "/var/tmp" if os.access("/var/tmp", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="rootdx-bench-", dir=base))
    folder.chmod(0o711)
    try:
        async with contextlib.AsyncExitStack() as stack:
            broker = await stack.enter_async_context(Broker(folder / "broker"))
            if dsn is None:
                postgres = await stack.enter_async_context(Postgres(folder / "database"))
                where = postgres.dsn()
            else:
                where = await stack.enter_async_context(database_at(dsn))
            await migrate.migrate(where)
            stage = Stage(console, folder, where, broker, embedded=dsn is None)
            stage.engine, stage.server = await _server(where)
            stack.push_async_callback(stage.stop)
            yield stage
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.asynccontextmanager
async def database_at(dsn: str, template: str = "template1") -> AsyncIterator[str]:
    """A fresh database, or a copy of one; dropped afterwards. The roles that `migrate` makes stay."""
    name = f"rootdx_bench_{secrets.token_hex(4)}"
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as db:
        await db.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
    try:
        yield make_conninfo(dsn, dbname=name)
    finally:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as db:
            await db.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


async def _server(dsn: str) -> tuple[str, str]:
    """Engine of the schema, and the server in words."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as db:
        engine = await migrate.check_schema(db)
        version = db.info.parameter_status("server_version") or "?"
        extension = await migrate.timescale_version(db)
    if engine == "plain":
        return engine, f"plain PostgreSQL {version.split()[0]} (no TimescaleDB)"
    return engine, f"PostgreSQL {version.split()[0]} with TimescaleDB {extension}"


@contextlib.asynccontextmanager
async def looking(stage: Stage) -> AsyncIterator[Db]:
    """A connection of the onlooker's own."""
    async with await psycopg.AsyncConnection.connect(stage.dsn, autocommit=True) as db:
        await db.execute("SET work_mem = '256MB'")
        yield db


async def server_process(db: Db) -> psutil.Process | None:
    """The server's first process, None where it runs on another machine."""
    (pid,) = await one(db, "SELECT pg_backend_pid()")
    with contextlib.suppress(psutil.Error):
        backend = psutil.Process(pid)
        if "postgres" in backend.name():
            return backend.parent()
    return None


def server_cpu_s(server: psutil.Process | None) -> float:
    """User and system seconds of a PostgreSQL server, all its processes, those that have ended included."""
    if server is None:
        return float("nan")
    times = server.cpu_times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in server.children():
        with contextlib.suppress(psutil.Error):
            own = child.cpu_times()
            total += own.user + own.system
    return float(total)


async def one(db: Db, query: str, args: Sequence[object] | None = None) -> tuple[Any, ...]:
    """The first row.

    Raises:
        Invalid: there is none.
    """
    row = await (await db.execute(query.encode(), args)).fetchone()
    if row is None:
        raise Invalid(f"no row for: {query}")
    return row


@dataclass(frozen=True, slots=True)
class Content:
    """What is in the table; equal contents are equal rows, whatever their order."""

    rows: int
    distinct: int
    digest: int


async def content(db: Db) -> Content:
    """Rows, distinct (tag_id, ts), and a sum over a hash of each tag, time and value."""
    rows, distinct, digest = await one(db, _CONTENT)
    return Content(int(rows), int(distinct), int(digest))


_CONTENT = """
SELECT coalesce(sum(n), 0), count(*), coalesce(sum(digest), 0) FROM (
    SELECT count(*) AS n,
           sum(hashfloat8extended(value, hashint8extended(tag_id * 4294967296 + extract(epoch FROM ts)::bigint, 0)))
               AS digest
    FROM rootdx.measurement GROUP BY tag_id, ts) AS each_row"""
