"""A read replica for dashboards: every query of Grafana, and the client, as the reader on a hot standby.

The shop's database on the embedded PostgreSQL; the replica is another embedded server, made by pg_basebackup -R as the
runbook does. TimescaleDB is not tested here: its test server has one backend and no replication.
"""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

import rootdx
from pipeline.errors import Unavailable
from pipeline.settings import StoreSettings
from pipeline.store import opened
from rootdx.embedded import Postgres
from rootdx.grafana import rules
from tests.rootdx.test_grafana import RANGES_H, add_what_the_shop_lacks, faults
from tests.support import front_door
from tests.support.front_door import DC1
from tests.support.restoring import hand_over, program
from tests.support.services import reachable_folder, run
from tests.support.spine import ask, one

PATIENCE_S = 20.0
pytestmark = pytest.mark.plain


@dataclass(frozen=True)
class Pair:
    """The same database on both; `reader` is the DSN of a dashboard on the replica."""

    primary: str
    replica: str
    reader: str


@pytest.fixture(scope="module")
def pair(built: Any, postgres: Postgres) -> Iterator[Pair]:
    name = f"{built.name}_replica"
    with psycopg.connect(postgres.dsn(), autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name} TEMPLATE {built.name}".encode())
    primary = postgres.dsn(dbname=name)
    add_what_the_shop_lacks(primary)
    front_door.let_in(primary)
    with reachable_folder() as folder, standby(postgres, folder) as server:
        replica = server.dsn(dbname=name)
        yield Pair(primary, replica, make_conninfo(replica, user="rootdx_reader", password=front_door.SECRET))
    with psycopg.connect(postgres.dsn(), autocommit=True) as db:
        db.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@contextlib.contextmanager
def standby(primary: Postgres, folder: Path) -> Iterator[Postgres]:
    """A hot standby of the whole server."""
    command = [
        program("pg_basebackup"),
        "--dbname",
        primary.dsn(dbname="postgres"),
        "--pgdata",
        str(folder / "postgres"),
    ]
    subprocess.run([*command, "--write-recovery-conf", "--checkpoint", "fast"], check=True, capture_output=True)
    shutil.copy(primary.password_file, folder / "postgres.password")
    hand_over(folder / "postgres")
    shutil.chown(folder / "postgres.password", *owner_of(folder / "postgres"))
    server = Postgres(folder, settings={"max_connections": "60", "hot_standby_feedback": "on"})
    run(server.start())
    try:
        yield server
    finally:
        run(server.stop())


def owner_of(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_uid, found.st_gid


def test_it_is_a_replica_and_follows(pair: Pair) -> None:
    assert one(pair.replica, "SELECT pg_is_in_recovery()") is True
    began = time.monotonic()
    ask(pair.primary, "CREATE TABLE public.mark (x integer)")
    ask(pair.primary, "INSERT INTO public.mark VALUES (1)")
    while one(pair.replica, "SELECT to_regclass('public.mark') IS NULL OR pg_last_wal_replay_lsn() IS NULL"):
        assert time.monotonic() < began + PATIENCE_S
        time.sleep(0.01)
    took_s = time.monotonic() - began
    behind = one(pair.replica, "SELECT extract(epoch FROM now() - pg_last_xact_replay_timestamp())::float8")
    ((state, lag),) = ask(
        pair.primary, "SELECT state, coalesce(extract(epoch FROM replay_lag), 0)::float8 FROM pg_stat_replication"
    )
    print(f"seen after {took_s * 1000:.0f} ms; replay lag {lag * 1000:.1f} ms, last commit {behind:.2f} s ago")
    assert state == "streaming"
    assert 0 <= lag < PATIENCE_S
    assert behind < PATIENCE_S


@pytest.mark.parametrize("resolution", RANGES_H)
def test_every_dashboard_query_runs_and_says_something(pair: Pair, resolution: str) -> None:
    assert faults(pair.reader, timescale=False, hours=RANGES_H[resolution]) == []


def test_every_alert_rule_answers(pair: Pair) -> None:
    with psycopg.connect(pair.reader, autocommit=True) as db:
        for rule in rules.RULES:
            assert not rule.sql or db.execute(rule.sql.encode()).fetchall(), rule.name


def test_client_reads_windows_and_cycles(pair: Pair) -> None:
    begin, end = front_door.at(10), front_door.at(20)
    with rootdx.connect(pair.primary) as here, rootdx.connect(pair.reader) as there:
        assert there.tags(DC1).equals(here.tags(DC1))
        tags = list(there.tags(DC1)["tag"])[:2]
        window = there.window(DC1, tags, begin, end)
        assert len(window) > 100
        assert window.equals(here.window(DC1, tags, begin, end))
        assert len(there.cycles(DC1, since=begin)) > 0


def test_nothing_can_be_written_there(pair: Pair) -> None:
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        ask(pair.replica, "INSERT INTO rootdx.quarantine DEFAULT VALUES")

    async def maintained() -> None:
        async with opened(StoreSettings(dsn=pair.replica)) as store:
            await store.maintain()

    with pytest.raises(Unavailable, match="read-only"):  # a writer waits for its primary, and ends nothing
        run(maintained())


def test_it_goes_on_after_the_primary_was_away(pair: Pair, postgres: Postgres) -> None:
    before = one(pair.reader, "SELECT count(*) FROM rootdx.measurement")
    run(postgres.stop())
    assert one(pair.reader, "SELECT count(*) FROM rootdx.measurement") == before
    run(postgres.start())
    ask(pair.primary, "CREATE TABLE public.again (x integer)")
    deadline = time.monotonic() + PATIENCE_S
    while one(pair.replica, "SELECT to_regclass('public.again') IS NULL"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert int(conninfo_to_dict(pair.primary)["port"] or 0) == postgres.port
