"""A database is brought to the schema once, and whoever may not touch it cannot."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from pipeline import migrate
from pipeline.errors import ConfigError, Unavailable
from pipeline.migrate import Migration, check_schema, migrations
from rootdx.embedded import Postgres
from tests.support.services import run
from tests.support.spine import ask, one

FOLDER = Path(__file__).resolve().parents[2] / "pipeline" / "schema"
PAGES = [(FOLDER / name).read_text(encoding="utf-8") for name in ("schema.md", "cycles.md", "alarms.md", "board.md")]
ENGINE_OWN = {"bucket_1m", "bucket_1h", "touched_hour"}
"""Tables of plain PostgreSQL behind the two aggregates."""


async def engine_of(dsn: str) -> str:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as db:
        return await check_schema(db)


def names(dsn: str) -> dict[str, set[str]]:
    """Columns of every table and view in our schema."""
    rows = ask(
        dsn,
        "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
        "WHERE c.relnamespace = 'rootdx'::regnamespace AND c.relkind IN ('r', 'v', 'm', 'p') "
        "AND a.attnum > 0 AND NOT a.attisdropped",
    )
    found: dict[str, set[str]] = {}
    for table, column in rows:
        found.setdefault(table, set()).add(column)
    return found


def test_files_run_once_in_order_and_a_second_run_does_nothing(engine_dsn: str) -> None:
    engine = run(engine_of(engine_dsn))
    known = migrations(engine)
    rows = ask(engine_dsn, "SELECT number, name, checksum FROM rootdx.migration ORDER BY number")
    assert rows == [(one.number, one.name, one.checksum) for one in known]
    assert [number for number, *_ in rows] == list(range(1, len(rows) + 1))
    assert run(migrate.migrate(engine_dsn)) == []


def test_first_run_names_what_it_applied(database: str) -> None:
    assert run(migrate.migrate(database)) == [one.name for one in migrations("plain")]


def test_both_engines_have_the_same_numbers() -> None:
    plain, timescale = migrations("plain"), migrations("timescale")
    assert [one.number for one in plain] == [one.number for one in timescale]
    assert {one.name for one in plain} ^ {one.name for one in timescale} == {
        "0002_engine.plain.sql", "0002_engine.timescale.sql",
    }  # fmt: skip


def test_file_that_changed_after_it_ran_stops_everything(plain_dsn: str) -> None:
    ask(plain_dsn, "UPDATE rootdx.migration SET checksum = 'x' WHERE number = 1")
    for work in (migrate.migrate(plain_dsn), engine_of(plain_dsn)):
        with pytest.raises(
            ConfigError, match=r"0001_core.sql was applied with other content; this program is a different"
        ):
            run(work)


def test_database_ahead_by_a_file_that_breaks_older_programs_stops_everything(plain_dsn: str) -> None:
    ask(plain_dsn, "INSERT INTO rootdx.migration (number, name, checksum) VALUES (9999, '9999_later.sql', 'x')")
    for work in (migrate.migrate(plain_dsn), engine_of(plain_dsn)):
        with pytest.raises(ConfigError, match=r"9999_later.sql, newer than this program; install the newer rootdx"):
            run(work)


def test_database_behind_the_program_says_what_to_run(plain_dsn: str) -> None:
    ask(plain_dsn, "DELETE FROM rootdx.migration WHERE number = 3")
    with pytest.raises(ConfigError, match=r"schema lacks 0003_views.sql; run `rootdx migrate`"):
        run(engine_of(plain_dsn))


def test_empty_database_says_what_to_run(database: str) -> None:
    with pytest.raises(ConfigError, match=r"no rootdx schema in it; run `rootdx migrate`"):
        run(engine_of(database))


def test_server_that_is_too_old_is_refused(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "OLDEST_POSTGRES", 990000)
    for work in (migrate.migrate(database), engine_of(database)):
        with pytest.raises(ConfigError, match=r"PostgreSQL \d+ is too old; rootdx needs 15 or later"):
            run(work)


def test_extension_that_is_too_old_is_refused(timescale_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "OLDEST_TIMESCALE", (99, 1))
    with pytest.raises(ConfigError, match=r"TimescaleDB 2\.\S+ is too old; rootdx needs 99\.1 or later"):
        run(migrate.migrate(timescale_dsn))


def test_failed_file_leaves_nothing_of_itself(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = migrations("plain")
    broken = Migration(9999, "9999_broken.sql", "CREATE TABLE rootdx.half (); SELECT nonsense")
    monkeypatch.setattr(migrate, "migrations", lambda _: [*known, broken])
    with pytest.raises(psycopg.errors.UndefinedColumn):
        run(migrate.migrate(database))
    assert one(database, "SELECT to_regclass('rootdx.half')") is None
    assert one(database, "SELECT count(*) FROM rootdx.migration") == len(known)
    monkeypatch.setattr(migrate, "migrations", lambda _: [*known, replace(broken, text="CREATE TABLE rootdx.half ()")])
    assert run(migrate.migrate(database)) == ["9999_broken.sql"]


@pytest.mark.parametrize(("dsn", "error"), [("nonsense", ConfigError), ("postgresql://127.0.0.1:1/x", Unavailable)])
def test_database_that_is_none_is_one_sentence(dsn: str, error: type[Exception]) -> None:
    for work in (migrate.migrate(dsn), migrate.set_password(dsn, "rootdx_reader", "x")):
        with pytest.raises(error, match="database: "):
            run(work)


def test_a_connection_string_that_is_none_is_told_without_its_password() -> None:
    with pytest.raises(ConfigError, match="not a connection string") as error:
        run(migrate.migrate("password=geheim nonsense"))
    assert "geheim" not in str(error.value)
    assert error.value.__cause__ is None


@pytest.fixture
def administrator(database: str, postgres: Postgres) -> Iterator[str]:
    """Not a superuser: a role with CREATEROLE that owns the database, on a server without our roles."""
    name = database.rpartition("/")[2]
    ours = ", ".join(migrate.ROLES)
    server = postgres.dsn(dbname="postgres")
    for (other,) in ask(server, "SELECT datname FROM pg_database WHERE datname NOT LIKE 'template%%'"):
        for role in migrate.ROLES:
            ask(
                postgres.dsn(dbname=other),
                f"DO $$ BEGIN IF to_regrole('{role}') IS NOT NULL THEN DROP OWNED BY {role} CASCADE; END IF; END $$",
            )
    ask(server, f"DROP ROLE IF EXISTS {ours}")
    ask(server, "CREATE ROLE dba LOGIN CREATEROLE PASSWORD 'dba'")
    ask(server, f"ALTER DATABASE {name} OWNER TO dba")
    yield postgres.dsn(user="dba", dbname=name).replace("dba@", "dba:dba@")
    ask(server, f"ALTER DATABASE {name} OWNER TO postgres")
    ask(database, f"DROP OWNED BY {ours}, dba CASCADE")
    ask(server, f"DROP ROLE {ours}, dba")


def test_role_that_owns_the_database_and_may_make_roles_is_enough(
    administrator: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a managed database: what it cannot take from everybody is said, each time."""
    assert run(migrate.migrate(administrator)) == [one.name for one in migrations("plain")]
    assert "everybody in this database may still use" in caplog.text
    assert "pg_advisory_lock" in caplog.text
    assert "temporary tables" not in caplog.text
    assert run(migrate.migrate(administrator)) == []


def test_role_without_rights_is_told_which(postgres: Postgres, plain_dsn: str) -> None:
    run(migrate.set_password(plain_dsn, "rootdx_reader", "secret"))
    reader = postgres.dsn("rootdx_reader", plain_dsn.rpartition("/")[2]).replace("reader@", "reader:secret@")
    with pytest.raises(ConfigError, match="connect as a superuser or as a role with CREATEROLE that owns the database"):
        run(migrate.migrate(reader))


# Roles


def refused_as(dsn: str, role: str, query: str) -> bool:
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute(f"SET ROLE {role}".encode())
        try:
            db.execute(query.encode())
        except psycopg.errors.InsufficientPrivilege:
            return True
        finally:
            db.execute("RESET ROLE")
        return False


NEVER_BY_THE_WRITER = (
    "DELETE FROM rootdx.measurement", "UPDATE rootdx.measurement SET value = 0", "TRUNCATE rootdx.measurement",
    "DROP TABLE rootdx.measurement", "ALTER TABLE rootdx.measurement ADD x int", "DELETE FROM rootdx.ledger",
    "UPDATE rootdx.ledger SET gateway = 'x'", "DELETE FROM rootdx.event", "UPDATE rootdx.event SET text = 'x'",
    "UPDATE rootdx.tally SET expected = 0", "DELETE FROM rootdx.quarantine", "UPDATE rootdx.quarantine SET bytes = ''",
    "UPDATE rootdx.record SET ingest_ts = now()", "UPDATE rootdx.waveform SET samples = 0",
    "DELETE FROM rootdx.waveform", "CREATE TABLE rootdx.x ()", "DELETE FROM rootdx.migration",
)  # fmt: skip
NEVER_BY_THE_READER = (
    *NEVER_BY_THE_WRITER, "SELECT * FROM rootdx.quarantine",
    "INSERT INTO rootdx.measurement VALUES (now(), 1, 1, 1, 0)", "SELECT rootdx.maintain()",
    "SELECT rootdx.touched(now())", "UPDATE rootdx.tag SET unit = 'x'", "UPDATE rootdx.ledger SET last_seq = 0",
)  # fmt: skip


def test_writer_adds_and_never_changes_history(engine_dsn: str) -> None:
    allowed = [query for query in NEVER_BY_THE_WRITER if not refused_as(engine_dsn, "rootdx_writer", query)]
    assert allowed == []


NEVER_BY_THE_ANALYTICS = (
    *NEVER_BY_THE_WRITER, "SELECT * FROM rootdx.quarantine", "DELETE FROM rootdx.compliance_record",
    "INSERT INTO rootdx.measurement VALUES (now(), 1, 1, 1, 0)", "UPDATE rootdx.compliance_record SET author = 'x'",
    "UPDATE rootdx.context_change SET value = 'x'", "DELETE FROM rootdx.lab_result",
    "UPDATE rootdx.stop_entry SET kind = 'x'",
    "DELETE FROM rootdx.alarm_journal", "UPDATE rootdx.alarm_journal SET who = 'x'", "DELETE FROM rootdx.alarm",
    "UPDATE rootdx.detector_change SET settings = '{}'",
    "DELETE FROM rootdx.check_entry", "UPDATE rootdx.process_config SET settings = '{}'", "SELECT rootdx.maintain()",
)  # fmt: skip


def test_analytics_write_cycles_and_change_neither_rows_nor_what_was_entered(engine_dsn: str) -> None:
    allowed = [query for query in NEVER_BY_THE_ANALYTICS if not refused_as(engine_dsn, "rootdx_analytics", query)]
    assert allowed == []


NEVER_BY_THE_BOARD = (
    *NEVER_BY_THE_WRITER, "SELECT * FROM rootdx.quarantine", "SELECT rootdx.maintain()",
    "INSERT INTO rootdx.measurement VALUES (now(), 1, 1, 1, 0)", "UPDATE rootdx.compliance_record SET author = 'x'",
    "DELETE FROM rootdx.compliance_record", "UPDATE rootdx.cycle SET verdict = 'pass'", "DELETE FROM rootdx.cycle",
    "UPDATE rootdx.alarm_journal SET who = 'x'", "DELETE FROM rootdx.alarm",
    "UPDATE rootdx.detector SET settings = '{}'", "DELETE FROM rootdx.account",
    "UPDATE rootdx.board_journal SET who = 'x'", "DELETE FROM rootdx.board_journal",
    "UPDATE rootdx.lab_result SET value = 0", "DELETE FROM rootdx.stop_entry", "UPDATE rootdx.tag SET unit = 'x'",
)  # fmt: skip
PEOPLES = {"account", "board_session", "board_journal"}


def test_board_enters_what_people_say_and_changes_nothing_that_was_measured(engine_dsn: str) -> None:
    allowed = [query for query in NEVER_BY_THE_BOARD if not refused_as(engine_dsn, "rootdx_board", query)]
    assert allowed == []
    for name in sorted(names(engine_dsn).keys() - {"quarantine"}):
        assert not refused_as(engine_dsn, "rootdx_board", f"SELECT * FROM rootdx.{name} LIMIT 1"), name


def test_reader_reads_all_but_quarantine_and_people(engine_dsn: str) -> None:
    allowed = [query for query in NEVER_BY_THE_READER if not refused_as(engine_dsn, "rootdx_reader", query)]
    assert allowed == []
    for name in PEOPLES:
        for role in ("rootdx_reader", "rootdx_writer", "rootdx_analytics"):
            assert refused_as(engine_dsn, role, f"SELECT * FROM rootdx.{name}"), name
    for name in sorted(names(engine_dsn).keys() - {"quarantine"} - PEOPLES):
        assert not refused_as(engine_dsn, "rootdx_reader", f"SELECT * FROM rootdx.{name} LIMIT 1"), name


def test_nobody_else_can_read(engine_dsn: str) -> None:
    ask(engine_dsn, "CREATE ROLE stranger")
    try:
        for name in sorted(names(engine_dsn)):
            assert refused_as(engine_dsn, "stranger", f"SELECT * FROM rootdx.{name} LIMIT 1"), name
        assert refused_as(engine_dsn, "stranger", "SELECT rootdx.maintain()")
    finally:
        ask(engine_dsn, "DROP ROLE stranger")


# The page


def written() -> dict[str, set[str]]:
    """Columns of every table and view as schema.md tells them: a heading `### name`, then rows `| column | … |`."""
    found: dict[str, set[str]] = {}
    for part in [part for page in PAGES for part in re.split(r"^### ", page, flags=re.MULTILINE)[1:]]:
        titles = re.findall(r"`(\w+)`", part.splitlines()[0])
        columns = {
            name for row in re.findall(r"^\| (`.*?) \|", part, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
        }
        for title in titles:
            found[title] = columns
    return found


def test_page_and_database_agree(engine_dsn: str) -> None:
    there = names(engine_dsn)
    told = {name: columns for name, columns in written().items() if name in there or name not in ENGINE_OWN}
    assert told == there


def test_example_queries_of_the_page_run(engine_dsn: str) -> None:
    queries = [query for page in PAGES for query in re.findall(r"^```sql\n(.*?)^```", page, re.MULTILINE | re.DOTALL)]
    assert len(queries) >= 8
    for query in queries:
        assert not refused_as(engine_dsn, "rootdx_reader", query), query
