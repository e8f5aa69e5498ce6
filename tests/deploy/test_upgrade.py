"""From every release to today: what it left on disks and on the bus is understood, and its programs run on meanwhile.

Embedded PostgreSQL and broker; the older writer and gateway are processes of the release's own code. What the schema
takes away is looked for in the catalogue of both engines. install.sh runs as it is, on a computer whose systemctl only
writes down what holds when it is told to restart.
"""

import asyncio
import contextlib
import shutil
import sys
import time
import tomllib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from packaging.version import Version
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pipeline import migrate, wire
from pipeline.bus import connected
from pipeline.errors import EXIT_CONFIG, ConfigError, Unavailable
from pipeline.forwarder import forward
from pipeline.migrate import Migration, check_schema, migrations
from pipeline.service import wall_ns
from pipeline.settings import Bus, Forwarding
from pipeline.spool import Spool
from pipeline.topics import Committed, committed_topic, gateway_of, parse_committed, record_topic
from pipeline.writer import run as write_rows
from rootdx.embedded import Broker
from tests.support.installing import RESTART, THIS_TREE, Computer, make_bundle
from tests.support.releases import EPOCH, GATEWAY, Release, meaning, releases, said
from tests.support.report import ROOT
from tests.support.services import run
from tests.support.spine import ask, batch, one, spool_settings, writer_settings
from tests.support.upgrading import Program, knowing, settings, upgrade

RELEASES = releases()
PATIENCE_S = 30.0
each_release = pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.version)

TRIAL = Migration(
    9001,
    "9001_trial.sql",
    "CREATE TABLE trial (x integer); ALTER TABLE measurement ADD COLUMN trial smallint NOT NULL DEFAULT 0; "
    "GRANT SELECT ON trial TO rootdx_reader",
)
"""There is always something to upgrade to: what most releases do, at the table that is written most."""
BREAKING = Migration(9001, "9001_trial.sql", "-- breaks: the ledger has another name\nCREATE TABLE trial (x integer)")


def test_there_is_a_release() -> None:
    assert RELEASES


@each_release
def test_tree_comes_after_every_release_by_its_number(release: Release) -> None:
    """Installed over a release it must be something else, and newer."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert Version(told) > Version(release.version)
    assert f"\n## {Version(told).base_version} (unreleased)\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


# What a release left behind


@each_release
def test_message_of_a_release_says_what_it_said(release: Release) -> None:
    expected = release.json("messages/expected.json")
    assert {name: said(message) for name, message in release.messages().items()} == expected


@each_release
async def test_spool_of_a_release_is_read_and_written_on(release: Release, tmp_path: Path) -> None:
    place = tmp_path / "spool"
    shutil.copytree(release.folder / "spool", place)
    expected = [one["bodies"] for told in release.json("messages/expected.json").values() for one in told]
    async with Spool(spool_settings(place), source=GATEWAY, clock=wall_ns) as spool:
        held = await spool.read(0, 1 << 20)
        assert str(spool.epoch) == (release.folder / "spool" / "epoch").read_text().strip()
        assert [said(wire.frame(each))[0]["bodies"] for each in held] == expected
        assert await spool.append([batch()]) == held[-1].seq + 1
        await spool.release(held[-1].seq)
        assert [each.seq for each in await spool.read(0, 1 << 20)] == [held[-1].seq + 1]


@each_release
def test_settings_and_machine_files_of_a_release_mean_what_they_meant(release: Release) -> None:
    assert lacking(release.json("expected.json"), meaning(release.folder)) == []


def lacking(expected: Any, found: Any, where: str = "") -> list[str]:
    """Where `found` does not say what `expected` does; it may say more."""
    if isinstance(expected, dict) and isinstance(found, dict):
        gone = [f"{where}.{key}" for key in expected.keys() - found.keys()]
        return gone + [
            bad
            for key in expected.keys() & found.keys()
            for bad in lacking(expected[key], found[key], f"{where}.{key}")
        ]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return [
            bad
            for place, pair in enumerate(zip(expected, found, strict=True))
            for bad in lacking(*pair, f"{where}[{place}]")
        ]
    return [] if expected == found else [f"{where}: {expected!r} is now {found!r}"]


@each_release
def test_topics_and_announcements_of_a_release_are_understood(release: Release) -> None:
    told = release.json("announced.json")
    assert gateway_of(told["record"]) == GATEWAY
    assert (record_topic(GATEWAY), committed_topic(GATEWAY)) == (told["record"], told["committed"])
    found = [parse_committed(payload.encode()) for payload in told["payloads"]]
    assert found == [Committed(EPOCH, 5), Committed(EPOCH, 5, hole=True)]


@pytest.mark.parametrize("engine", ["plain", "timescale"])
@each_release
def test_schema_file_of_a_release_never_changes(release: Release, engine: str) -> None:
    released = [tuple(each) for each in release.json("migrations.json")[engine]]
    had, newer = release.schema(engine)
    assert [(each.name, each.checksum) for each in had] == released
    assert all(each.number > len(released) for each in newer)


# The schema only adds


def shape(dsn: str) -> dict[str, set[tuple[str, ...]]]:
    """What programs lean on: columns with type, functions with arguments and result, rights of our roles."""
    columns = """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'rootdx'::regnamespace AND c.relkind IN ('r', 'v', 'm', 'p')
          AND a.attnum > 0 AND NOT a.attisdropped"""
    functions = """
        SELECT proname, pg_get_function_identity_arguments(oid), pg_get_function_result(oid) FROM pg_proc
        WHERE pronamespace = 'rootdx'::regnamespace AND prorettype <> 'trigger'::regtype"""
    rights = """
        SELECT r.rolname, c.relname, p.privilege_type FROM pg_class c, aclexplode(c.relacl) p
        JOIN pg_roles r ON r.oid = p.grantee
        WHERE c.relnamespace = 'rootdx'::regnamespace AND r.rolname LIKE 'rootdx%%'"""
    calls = """
        SELECT r.rolname, f.proname, p.privilege_type FROM pg_proc f, aclexplode(f.proacl) p
        JOIN pg_roles r ON r.oid = p.grantee
        WHERE f.pronamespace = 'rootdx'::regnamespace AND r.rolname LIKE 'rootdx%%'"""
    asked = {"columns": columns, "functions": functions, "rights": rights, "calls": calls}
    return {name: set(ask(dsn, query)) for name, query in asked.items()}


def demands(dsn: str) -> set[tuple[str, ...]]:
    """What an INSERT of an older program might not bring: columns without which there is no row."""
    query = """
        SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'rootdx'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0
          AND NOT a.attisdropped AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''"""
    return set(ask(dsn, query))


@pytest.mark.parametrize("engine", ["plain", "timescale"])
@each_release
def test_schema_since_a_release_takes_nothing_away_unless_it_says_so(
    release: Release, engine: str, request: pytest.FixtureRequest
) -> None:
    dsn: str = request.getfixturevalue("database" if engine == "plain" else "timescale_dsn")
    had, newer = release.schema(engine)
    with knowing(had):
        run(migrate.migrate(dsn))
    before, demanded = shape(dsn), demands(dsn)
    with knowing([*had, *newer]):
        assert run(migrate.migrate(dsn)) == [each.name for each in newer]
    if all(each.additive for each in newer):
        after, tables = shape(dsn), {table for table, *_ in before["columns"]}
        assert {name: before[name] - after[name] for name in before} == {name: set() for name in before}
        assert {need for need in demands(dsn) - demanded if need[0] in tables} == set()


# While it happens


def at(dsn: str, release: Release) -> str:
    """A database as the release left it; its own writer fills it."""
    had, _ = release.schema("plain")
    with knowing(had):
        run(migrate.migrate(dsn))
    return dsn


@each_release
def test_upgrade_under_older_programs_loses_nothing_and_doubles_nothing(
    release: Release, database: str, broker: Broker, tmp_path: Path
) -> None:
    newer = [*release.schema("plain")[1], TRIAL]
    found = run(upgrade(at(database, release), broker.port, tmp_path, release, newer))
    print(f"{len(found.names)} files in {found.took_s:.2f} s, longest without a commit {found.pause_s:.2f} s")
    assert found.names == [each.name for each in newer]
    assert (found.missing, found.doubled) == (0, 0)
    assert found.rows > 100
    bodies = [
        body for told in release.json("messages/expected.json").values() for one in told for body in one["bodies"]
    ]
    for table, kind in {"waveform": "Waveform", "event": "Event", "tally": "Tally"}.items():
        assert one(database, f"SELECT count(*) FROM rootdx.{table}") >= count_of(bodies, kind), table


@each_release
async def test_installer_brings_tables_to_its_schema_under_the_older_writer_before_it_restarts(
    release: Release, database: str, broker: Broker, tmp_path: Path
) -> None:
    with knowing(release.schema("plain")[0]):
        await migrate.migrate(database)
    file = settings(tmp_path, broker.port)
    computer = server_of(release, database, tmp_path)
    older, today = Program("older-writer", tmp_path), Program("writer", tmp_path)
    try:
        await older.start(database, "tests.support.older", str(release.program), "writer", str(file))
        await older.hears("bus connected")
        bundle = make_bundle(tmp_path / "bundle")
        done = await asyncio.to_thread(computer.install, bundle)
        assert done.returncode == 0, done.stderr
        assert older.code() is None
        assert computer.said()[-1] == RESTART
        assert (computer.place / "restarted").read_text().split() == [one.name for one in migrations("plain")]
        assert computer.program.parent.name != release.version
        await older.stop()
        await today.run(database, str(computer.program / "rootdx"), "writer", "--config", str(file))
        await today.hears("bus connected")
    finally:
        await older.stop()
        await today.stop()


def server_of(release: Release, dsn: str, place: Path) -> Computer:
    """Where the release is installed, beside its database; a restart writes down which schema files are applied."""
    computer = Computer.switched_on(place, THIS_TREE)
    computer.had(release.version)
    computer.has("postgres.password")
    told = {key: str(one) for key, one in conninfo_to_dict(dsn).items()}
    (computer.etc / "secrets" / "postgres.password").write_text(told.pop("password"))
    administrator = make_conninfo(**told | {"sslmode": "disable"})  # the wheel's PostgreSQL has no TLS
    (computer.etc / "migrate.toml").write_text(
        f'[store]\ndsn = "{administrator}"\npassword_file = "%d/postgres.password"\n', encoding="utf-8"
    )
    look = (
        "import psycopg, sys; names = psycopg.connect(sys.argv[1]).execute("
        "'SELECT name FROM rootdx.migration ORDER BY number'); print(*(name for (name,) in names))"
    )
    (place / "at-restart").write_text(f"{sys.executable} -c \"{look}\" '{dsn}' > '{place}/restarted'\n")
    return computer


@each_release
async def test_older_writer_says_that_a_breaking_schema_is_not_for_it(
    release: Release, database: str, broker: Broker, tmp_path: Path
) -> None:
    with knowing([*release.schema("plain")[0], BREAKING]):
        await migrate.migrate(database)
    writer = Program("older-writer", tmp_path)
    file = settings(tmp_path, broker.port)
    await writer.start(database, "tests.support.older", str(release.program), "writer", str(file))
    code, words = await writer.ends()
    assert code == EXIT_CONFIG
    assert words.endswith("9001_trial.sql, newer than this program; install the newer rootdx")


async def test_file_that_waits_for_a_lock_lets_writers_go_on(plain_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "LOCK_S", 0.3)
    monkeypatch.setattr(migrate, "PAUSE_S", 0.4)
    async with await psycopg.AsyncConnection.connect(plain_dsn) as report, writing(plain_dsn) as waits:
        await report.execute("SELECT count(*) FROM rootdx.measurement")  # a long report, which holds the table open
        with knowing([*migrations("plain"), TRIAL]):
            work = asyncio.create_task(migrate.migrate(plain_dsn))
            await asyncio.sleep(3.0)
            assert not work.done()
            await report.rollback()
            assert await asyncio.wait_for(work, PATIENCE_S) == [TRIAL.name]
    assert len(waits) > 20
    assert 0.1 < max(waits) < 1.5  # it did wait behind the file, for LOCK_S and not for the report


async def test_lock_that_is_never_given_up_is_told_with_whom_to_end(
    plain_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "LOCK_S", 0.2)
    monkeypatch.setattr(migrate, "PAUSE_S", 0.1)
    async with await psycopg.AsyncConnection.connect(plain_dsn) as report:
        await report.execute("SELECT count(*) FROM rootdx.measurement")
        words = (
            rf"waits for process {report.info.backend_pid} of postgres \(\d+ s\): SELECT count.*Applied so far: nothing"
        )
        with knowing([*migrations("plain"), TRIAL]), pytest.raises(Unavailable, match=words):
            await migrate.migrate(plain_dsn, patience_s=0.5)
    assert one(plain_dsn, "SELECT to_regclass('rootdx.trial')") is None


@contextlib.asynccontextmanager
async def writing(dsn: str) -> AsyncIterator[list[float]]:
    """Somebody who inserts a row every 10 ms; how long each took."""
    waits: list[float] = []

    async def insert() -> None:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as db:
            while True:
                began = time.monotonic()
                await db.execute("INSERT INTO rootdx.measurement VALUES (now(), 1, 1, 1, 0)")
                waits.append(time.monotonic() - began)
                await asyncio.sleep(0.01)

    work = asyncio.create_task(insert())
    try:
        yield waits
        assert not work.done(), work.exception()
    finally:
        work.cancel()
        await asyncio.wait([work])


def test_program_runs_on_a_newer_schema_that_only_adds(plain_dsn: str) -> None:
    with knowing([*migrations("plain"), TRIAL]):
        run(migrate.migrate(plain_dsn))
    assert run(engine_of(plain_dsn)) == "plain"
    with pytest.raises(ConfigError, match=r"9001_trial.sql, newer than this program; install the newer rootdx"):
        run(migrate.migrate(plain_dsn))


async def engine_of(dsn: str) -> str:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as db:
        return await check_schema(db)


# On the bus


@each_release
async def test_messages_of_an_older_gateway_land(release: Release, plain_dsn: str, broker: Broker) -> None:
    bus = Bus(port=broker.port, timeout_s=3.0)
    async with work_of(write_rows(writer_settings(plain_dsn, broker.port))), connected(bus, "older", []) as session:
        last, deadline = 0, time.monotonic() + PATIENCE_S
        while last < len(release.messages()):
            assert time.monotonic() < deadline
            for name in release.json("messages/expected.json"):  # in their order; what is there already is dropped
                await session.publish(record_topic(GATEWAY), release.messages()[name])
            await asyncio.sleep(0.2)
            last = one(plain_dsn, "SELECT coalesce(max(last_seq), 0) FROM rootdx.ledger WHERE gateway = %s", GATEWAY)
    told = release.json("messages/expected.json")
    bodies = [body for name in told for frame in told[name] for body in frame["bodies"]]
    expected = [value for body in bodies if body["is"] == "Batch" for value in body["value"]]
    found = [value for (value,) in ask(plain_dsn, "SELECT value FROM rootdx.measurement")]
    assert sorted(map(str, found)) == sorted(map(str, expected))
    assert one(plain_dsn, "SELECT count(*) FROM rootdx.waveform") == count_of(bodies, "Waveform")
    kinds = {body["kind"] for body in bodies if body["is"] == "Event"}
    assert {kind for (kind,) in ask(plain_dsn, "SELECT kind FROM rootdx.events")} >= kinds
    assert ask(plain_dsn, "SELECT * FROM rootdx.quarantine") == []


def count_of(bodies: Sequence[dict[str, Any]], kind: str) -> int:
    return sum(body["is"] == kind for body in bodies)


async def test_newer_gateway_waits_for_the_writer_and_nothing_is_lost(
    plain_dsn: str, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, bus = writer_settings(plain_dsn, broker.port), Bus(port=broker.port, timeout_s=3.0)
    async with Spool(spool_settings(tmp_path), source="gw-newer", clock=wall_ns) as spool:
        with monkeypatch.context() as older:
            newer_frame = wire.frame

            def framed(held: wire.Frame) -> bytes:
                """As a later version will: the same places up to the version byte, which says 2."""
                return newer_frame(held)[:3] + b"\x02" + newer_frame(held)[4:]

            older.setattr(wire, "frame", framed)
            async with work_of(write_rows(store)), work_of(forward(spool, bus, Forwarding(patience_s=0.3))):
                last = await spool.append([batch(0, 50)])
                await until(lambda: ask(plain_dsn, "SELECT 1 FROM rootdx.quarantine WHERE arrivals > 1"))
        ((cause, reason, kept),) = ask(plain_dsn, "SELECT cause, reason, bytes FROM rootdx.quarantine")
        assert (cause, bytes(kept)[:4]) == ("frame", b"RDX\x02")
        assert "version 2, this program reads version 1; upgrade it" in reason
        assert spool.released == 0
        async with work_of(write_rows(store)), work_of(forward(spool, bus, Forwarding(patience_s=0.3))):
            await until(lambda: spool.released == last)  # writer and gateway speak the same version now
    assert [value for (value,) in ask(plain_dsn, "SELECT value FROM rootdx.measurement ORDER BY 1")] == list(range(50))


@contextlib.asynccontextmanager
async def work_of(work: Any) -> AsyncIterator[None]:
    """Runs beside."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(holds: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
