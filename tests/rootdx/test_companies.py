"""Companies on one server: whatever the login of one tries, it reaches nothing of the other and no more than its part.

Runs on a PostgreSQL server of its own, since roles belong to the whole server, with two companies made by the command.
"""

import contextlib
import json
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from typer.testing import CliRunner, Result

from pipeline import migrate, rights
from pipeline.database import connect
from pipeline.errors import ConfigError
from pipeline.settings import StoreSettings
from rootdx import company
from rootdx.cli import app
from rootdx.embedded import Postgres
from rootdx.invocation import database as database_of
from tests.pipeline.test_store import feeding
from tests.support.services import reachable_folder, run
from tests.support.spine import ask, batch, event, one

A, B = "hansung", "daehan-steel"
GROUPS = tuple(f"rootdx_{part}" for part in company.PARTS)
SECRET_QUERY = "SELECT 'the recipe of daehan', pg_sleep(60)"


@dataclass(frozen=True)
class Centre:
    """A server with two companies, and the folder of their passwords."""

    server: Postgres
    passwords: Path

    @property
    def admin(self) -> str:
        return self.server.dsn(dbname="postgres")

    def login(self, name: str, part: str, dbname: str | None = None) -> str:
        """As a login of a company, to its own database or another."""
        secret = (self.passwords / f"{name}_{part}.password").read_text(encoding="utf-8").strip()
        return make_conninfo(self.admin, user=f"{name}_{part}", password=secret, dbname=dbname or name)


def say(*words: str, admin: str, passwords: Path | None = None, language: str = "en") -> Result:
    more = [] if passwords is None else ["--passwords", str(passwords)]
    return CliRunner().invoke(app, ["company", *words, "--dsn", admin, *more], env={"ROOTDX_LANG": language})


@pytest.fixture(scope="module")
def centre() -> Iterator[Centre]:
    with reachable_folder() as folder:
        server = Postgres(folder / "database")
        run(server.start())
        made = Centre(server, folder / "passwords")
        for name, first in ((A, 0), (B, 1000)):
            done = say("add", name, admin=made.admin, passwords=made.passwords)
            assert done.exit_code == 0, done.output
            run(_fill(made.login(name, "writer"), f"{name}-gw-1", first))
        yield made
        run(server.stop())


async def _fill(dsn: str, gateway: str, first: int) -> None:
    async with feeding(dsn, gateway=gateway) as feed:
        await feed.take(batch(first=first, n=30), event())


def test_a_company_keeps_how_many_connections_it_may_have(centre: Centre) -> None:
    """As an upgrade does it: once more, without saying how many."""

    def most() -> int:
        return int(one(centre.admin, "SELECT datconnlimit FROM pg_database WHERE datname = %s", A))

    assert most() == company.CONNECTIONS
    for words in (["--connections", "55"], []):
        done = say("add", A, *words, admin=centre.admin, passwords=centre.passwords)
        assert done.exit_code == 0, done.output
        assert most() == 55


# ---- the attempts ----

ELSEWHERE = {
    "connects to the other company's database": B,
    "connects to the server's own database": "postgres",
    "connects to the template": "template1",
    "connects to the database that was there before": "rootdx",
}
REFUSED = {
    "dblink": "CREATE EXTENSION dblink",
    "foreign data wrapper": "CREATE EXTENSION postgres_fdw",
    "files as tables": "CREATE EXTENSION file_fdw",
    "trusted extension": "CREATE EXTENSION pg_trgm",
    "program reads": "COPY rootdx.asset (path) FROM PROGRAM 'id'",
    "program is run": "COPY (SELECT 1) TO PROGRAM 'id'",
    "file is read": "COPY rootdx.asset (path) FROM '/etc/passwd'",
    "file is written": "COPY (SELECT 1) TO '/tmp/rootdx-hostile'",
    "program from a block": "DO $$ BEGIN EXECUTE 'COPY (SELECT 1) TO PROGRAM ''id'''; END $$",
    "pg_read_file": "SELECT pg_read_file('/etc/passwd')",
    "pg_read_binary_file": "SELECT pg_read_binary_file('PG_VERSION')",
    "pg_ls_dir": "SELECT pg_ls_dir('.')",
    "pg_stat_file": "SELECT pg_stat_file('PG_VERSION')",
    "lo_import": "SELECT lo_import('/etc/passwd')",
    "lo_export": "SELECT lo_export(1, '/tmp/rootdx-hostile')",
    "large object made": "SELECT lo_from_bytea(0, 'x')",
    "large object created": "SELECT lo_create(0)",
    "large objects read": "SELECT * FROM pg_largeobject",
    "library loaded": "LOAD '/tmp/hostile.so'",
    "SET ROLE superuser": "SET ROLE postgres",
    "SET ROLE owner": "SET ROLE rootdx_owner",
    "SET ROLE its own group": "SET ROLE {group}",
    "SET ROLE the other company": f'SET ROLE "{B}_reader"',
    "SET SESSION AUTHORIZATION": f'SET SESSION AUTHORIZATION "{B}_writer"',
    "SET SESSION AUTHORIZATION superuser": "SET SESSION AUTHORIZATION postgres",
    "makes itself superuser": "ALTER ROLE {login} SUPERUSER",
    "may make roles": "ALTER ROLE {login} CREATEROLE",
    "changes the other's password": f"ALTER ROLE \"{B}_reader\" PASSWORD 'x'",
    "lets a group log in": "ALTER ROLE rootdx_reader LOGIN PASSWORD 'x'",
    "makes a role": "CREATE ROLE hostile",
    "drops a role": f'DROP ROLE "{B}_reader"',
    "grants itself the owner": "GRANT rootdx_owner TO {login}",
    "grants itself the other's login": f'GRANT "{B}_reader" TO {{login}}',
    "grants itself the way in": f'GRANT CONNECT ON DATABASE "{B}" TO {{login}}',
    "grants itself a table": "GRANT ALL ON rootdx.account TO {login}; DELETE FROM rootdx.account",
    "default privileges of the owner": "ALTER DEFAULT PRIVILEGES FOR ROLE rootdx_owner GRANT ALL ON TABLES TO {login}",
    "makes a schema": "CREATE SCHEMA hostile",
    "makes a table in public": "CREATE TABLE public.measurement (x int)",
    "makes a table in ours": "CREATE TABLE rootdx.hostile (x int)",
    "makes a temporary table": "CREATE TEMP TABLE measurement (x int)",
    "makes a temporary view": "CREATE TEMP VIEW latest AS SELECT 1",
    "makes a function": "CREATE FUNCTION public.now() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "replaces a function": "CREATE OR REPLACE FUNCTION rootdx.raw_kept() RETURNS interval LANGUAGE sql AS ''",
    "alters a function": "ALTER FUNCTION rootdx.touched SECURITY INVOKER",
    "replaces a view": "CREATE OR REPLACE VIEW rootdx.machines AS SELECT 1",
    "keeps rows for a day": "SELECT rootdx.keep_raw('1 day')",
    "calls a trigger's function": "SELECT rootdx.tally_emptied()",
    "drops the schema": "DROP SCHEMA rootdx CASCADE",
    "drops a table": "DROP TABLE rootdx.measurement",
    "disables a trigger": "ALTER TABLE rootdx.board_journal DISABLE TRIGGER ALL",
    "skips triggers": "SET session_replication_role = replica",
    "drops the other database": f'DROP DATABASE "{B}"',
    "renames the other database": f'ALTER DATABASE "{B}" RENAME TO mine',
    "takes more connections": f"ALTER DATABASE {A} CONNECTION LIMIT -1",
    "makes a database": "CREATE DATABASE hostile",
    "size of the other database": f"SELECT pg_database_size('{B}')",
    "changes the server": "ALTER SYSTEM SET ssl = off",
    "reloads the server": "SELECT pg_reload_conf()",
    "tablespace": "CREATE TABLESPACE hostile LOCATION '/tmp'",
    "subscription": "CREATE SUBSCRIPTION s CONNECTION 'dbname=x' PUBLICATION p",
    "publication": "CREATE PUBLICATION p FOR ALL TABLES",
    "replication slot": "SELECT pg_create_physical_replication_slot('hostile')",
    "event trigger": "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION rootdx.touched()",
    "password hashes": "SELECT * FROM pg_authid",
    "password hashes by the view": "SELECT * FROM pg_shadow",
    "who may connect": "SELECT * FROM pg_hba_file_rules",
    "the server's files": "SELECT * FROM pg_file_settings",
    "statistics of planner's samples": "SELECT * FROM pg_statistic",
    "ends sessions of the other": f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{B}'",
    "cancels queries of the other": f"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE datname = '{B}'",
}
PEOPLE = ("account", "board_session", "board_journal")
HIDDEN = {
    "reader": ("quarantine", *PEOPLE), "analytics": ("quarantine", *PEOPLE), "board": ("quarantine",),
    "writer": PEOPLE,
}  # fmt: skip
HISTORY = {
    "writer": ("measurement", "record", "tally", "tally_1h", "event", "cycle", "compliance_record", "alarm_journal"),
    "analytics": (
        "measurement", "record", "tally", "tally_1h", "event", "ledger", "compliance_record", "alarm_journal",
        "context_change", "lab_result", "stop_entry", "quantity_entry", "process_config",
    ),
    "board": (
        "measurement", "record", "tally", "tally_1h", "event", "ledger", "cycle", "compliance_record", "alarm_journal",
        "board_journal", "context_change", "lab_result", "stop_entry", "quantity_entry",
    ),
}  # fmt: skip
"""What a part of the program may at most add to."""


def refused(dsn: str, query: str) -> str | None:
    """The server's words when it refuses, None when it does not."""
    with psycopg.connect(dsn, connect_timeout=10, autocommit=True) as db:
        try:
            db.execute(query.encode())
        except psycopg.errors.InsufficientPrivilege as error:
            return str(error)
    return None


@pytest.mark.parametrize("part", company.PARTS)
def test_a_login_gets_into_its_own_database_alone(centre: Centre, part: str) -> None:
    with psycopg.connect(centre.login(A, part)):
        pass
    for attempt, place in ELSEWHERE.items():
        with pytest.raises(psycopg.OperationalError, match='permission denied for database "'):
            psycopg.connect(centre.login(A, part, place), connect_timeout=10).close()
        assert attempt


@contextlib.contextmanager
def someone_busy(centre: Centre) -> Iterator[None]:
    """A session of the other company in the middle of a query."""
    db = psycopg.connect(centre.login(B, "analytics"), autocommit=True)
    try:
        db.pgconn.send_query(SECRET_QUERY.encode())
        for _ in range(200):
            if one(centre.admin, "SELECT count(*) FROM pg_stat_activity WHERE query = %s", SECRET_QUERY) == 1:
                break
            time.sleep(0.02)
        yield
    finally:
        ask(centre.admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = %s", SECRET_QUERY)
        db.close()


@pytest.mark.parametrize("part", company.PARTS)
def test_whatever_a_login_tries_is_refused(centre: Centre, part: str) -> None:
    login = f"{A}_{part}"
    with someone_busy(centre):
        got_through = [
            attempt
            for attempt, query in REFUSED.items()
            if refused(centre.login(A, part), query.format(login=login, group=f"rootdx_{part}")) is None
        ]
    assert got_through == []


@pytest.mark.parametrize("part", company.PARTS)
def test_nobody_reads_the_queries_of_another_company(centre: Centre, part: str) -> None:
    asked = "SELECT usename, query FROM pg_stat_activity WHERE datname = %s"
    with someone_busy(centre):
        seen = ask(centre.login(A, part), asked, B)
        known = ask(centre.admin, asked, B)
    assert (f"{B}_analytics", SECRET_QUERY) in known
    assert {query for _, query in seen} == {"<insufficient privilege>"}


def tables(centre: Centre) -> list[str]:
    found = ask(
        make_conninfo(centre.admin, dbname=A),
        "SELECT relname FROM pg_class WHERE relnamespace = 'rootdx'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')",
    )
    return [name for (name,) in found]


def changes(centre: Centre, table: str) -> dict[str, str]:
    column = one(
        make_conninfo(centre.admin, dbname=A),
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped "
        "AND attidentity = '' AND attgenerated = '' LIMIT 1",
        f"rootdx.{table}",
    )
    name = f"rootdx.{table}"
    return {
        "insert": f"INSERT INTO {name} DEFAULT VALUES", "update": f"UPDATE {name} SET {column} = {column}",
        "delete": f"DELETE FROM {name}", "truncate": f"TRUNCATE {name}",
    }  # fmt: skip


def test_a_reader_changes_nothing_at_all(centre: Centre) -> None:
    dsn, known = centre.login(A, "reader"), tables(centre)
    assert len(known) > 50
    attempts = {f"{verb} {table}": query for table in known for verb, query in changes(centre, table).items()}
    got_through = []
    with psycopg.connect(dsn, autocommit=True) as db:
        for attempt, query in attempts.items():
            try:
                db.execute(query.encode())
            except psycopg.errors.InsufficientPrivilege:
                continue
            except (psycopg.errors.ObjectNotInPrerequisiteState, psycopg.errors.WrongObjectType):
                continue  # a view that nobody can write to
            got_through.append(attempt)
    assert got_through == []


@pytest.mark.parametrize("part", HISTORY)
def test_history_is_added_to_and_never_changed(centre: Centre, part: str) -> None:
    got_through = [
        f"{verb} {table}"
        for table in HISTORY[part]
        for verb, query in changes(centre, table).items()
        if verb != "insert" and refused(centre.login(A, part), query) is None
    ]
    assert got_through == []


@pytest.mark.parametrize("part", HIDDEN)
def test_what_is_not_a_parts_business_is_hidden_from_it(centre: Centre, part: str) -> None:
    for table in HIDDEN[part]:
        assert refused(centre.login(A, part), f"SELECT * FROM rootdx.{table}") is not None, table


def test_what_runs_with_the_owners_rights_says_where_it_looks(engine_dsn: str) -> None:
    found = ask(
        engine_dsn,
        "SELECT proname, proconfig FROM pg_proc WHERE pronamespace = 'rootdx'::regnamespace AND prosecdef",
    )
    assert {name for name, _ in found} >= {"touched", "maintain", "context_changed", "context_told", "tally_came"}
    assert [name for name, config in found if config != ["search_path=rootdx, pg_temp"]] == []


def test_no_function_of_ours_is_for_everybody(engine_dsn: str) -> None:
    open_ones = ask(
        engine_dsn,
        "SELECT p.oid::regprocedure::text FROM pg_proc p, "
        "aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a "
        "WHERE p.pronamespace = 'rootdx'::regnamespace AND a.grantee = 0",
    )
    assert open_ones == []


# ---- and what is theirs works ----


async def test_the_programs_parts_run_with_a_companys_logins(centre: Centre) -> None:
    for name, first in ((A, 0.0), (B, 1000.0)):
        async with database_of(StoreSettings(dsn=centre.login(name, "reader"))) as db:
            values = await (await db.execute("SELECT min(value), count(*) FROM rootdx.measurement")).fetchone()
            assert values == (first, 30)
        async with database_of(StoreSettings(dsn=centre.login(name, "board"))) as db:
            await db.execute("DELETE FROM rootdx.board_session WHERE false")
        async with database_of(StoreSettings(dsn=centre.login(name, "analytics"))) as db:
            await db.execute("DELETE FROM rootdx.arrival WHERE false")


def test_a_reader_is_bounded_and_a_bound_that_somebody_set_stays(centre: Centre) -> None:
    asked = "SELECT rolconnlimit, rolconfig FROM pg_roles WHERE rolname = %s"
    ((most, settings),) = ask(centre.admin, asked, f"{A}_reader")
    assert most == rights.READERS_AT_ONCE
    assert settings is not None
    assert "statement_timeout=15min" in settings
    ask(centre.admin, f"ALTER ROLE {A}_reader CONNECTION LIMIT 3")
    assert say("add", A, admin=centre.admin, passwords=centre.passwords).exit_code == 0
    assert ask(centre.admin, asked, f"{A}_reader") == [(3, settings)]


async def test_a_refusal_says_what_to_check(centre: Centre) -> None:
    with pytest.raises(
        ConfigError, match=r"(?s)permission denied for database.*check user, password and database name"
    ):
        await connect(centre.login(A, "writer", B), 10)


def test_the_list_says_how_each_company_does(centre: Centre) -> None:
    done = say("list", "--format", "json", admin=centre.admin)
    rows = json.loads(done.stdout)["companies"]["rows"]
    assert [row["company"] for row in rows] == [B, A]
    assert [row["gateways"] for row in rows] == [f"{B}-gw-1", f"{A}-gw-1"]
    assert [row["rows_day"] for row in rows] == [30, 30]
    assert all(row["size_mb"] > 5 and 0 <= row["age_s"] < 300 for row in rows)


def test_passwords_are_random_and_nobody_elses(centre: Centre) -> None:
    files = sorted(centre.passwords.iterdir())
    assert [file.name for file in files] == sorted(f"{n}_{part}.password" for n in (A, B) for part in company.PARTS)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert len({file.read_text() for file in files}) == 8
    assert ask(centre.admin, "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s) AND rolcanlogin", list(GROUPS)) == []


def test_adding_again_changes_nothing(centre: Centre) -> None:
    before = {file.name: file.read_text() for file in centre.passwords.iterdir()}
    done = say("add", A, admin=centre.admin, passwords=centre.passwords, language="ko")
    assert done.exit_code == 0, done.output
    assert "준비 완료" in done.output
    assert {file.name: file.read_text() for file in centre.passwords.iterdir()} == before
    assert one(centre.login(A, "reader"), "SELECT count(*) FROM rootdx.measurement") == 30


def test_adding_goes_on_where_it_was_cut_short(centre: Centre, tmp_path: Path) -> None:
    ask(centre.admin, 'CREATE ROLE "cut_writer" NOLOGIN')
    ask(centre.admin, 'GRANT rootdx_writer TO "cut_writer"')
    ask(centre.admin, "CREATE DATABASE cut ALLOW_CONNECTIONS true")
    rows = json.loads(say("list", "--format", "json", admin=centre.admin).stdout)["companies"]["rows"]
    assert next(row["gateways"] for row in rows if row["company"] == "cut").startswith("not finished")
    assert say("add", "cut", admin=centre.admin, passwords=tmp_path).exit_code == 0
    without = say("remove", "cut", admin=centre.admin)
    assert isinstance(without.exception, ConfigError)
    assert "pg_dump --format custom" in str(without.exception)
    assert one(centre.admin, "SELECT count(*) FROM pg_database WHERE datname = 'cut'") == 1
    assert say("remove", "cut", "--yes-delete", admin=centre.admin).exit_code == 0
    assert one(centre.admin, "SELECT count(*) FROM pg_database WHERE datname = 'cut'") == 0
    assert one(centre.admin, "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'cut%'") == 0
    gone = say("remove", "cut", "--yes-delete", admin=centre.admin)
    assert "no such company" in str(gone.exception)


@pytest.mark.parametrize("name", ["rootdx", "postgres", "Hansung", "1st", "a_b", "x" * 49, "../x", "a;b"])
def test_a_name_that_will_not_do_is_refused(centre: Centre, tmp_path: Path, name: str) -> None:
    done = say("add", name, admin=centre.admin, passwords=tmp_path)
    assert isinstance(done.exception, ConfigError), done.output
    assert not list(tmp_path.iterdir())


def test_a_database_that_is_no_companys_is_left_alone(centre: Centre, tmp_path: Path) -> None:
    ask(centre.admin, "CREATE DATABASE payroll")
    done = say("add", "payroll", admin=centre.admin, passwords=tmp_path)
    assert "is no company's" in str(done.exception)
    other = say("add", A, admin=centre.admin, passwords=centre.passwords)
    assert 'REVOKE CONNECT ON DATABASE "payroll" FROM PUBLIC' in other.output
    ask(centre.admin, "DROP DATABASE payroll")


def test_a_plant_of_its_own_on_the_server_is_told_of(centre: Centre, tmp_path: Path) -> None:
    """Its groups are logins: a company's would get in by them."""
    ask(centre.admin, "CREATE DATABASE single")
    run(migrate.migrate(make_conninfo(centre.admin, dbname="single")))
    done = say("add", A, admin=centre.admin, passwords=tmp_path)
    assert "the database single holds a plant" in str(done.exception)
    ask(centre.admin, "DROP DATABASE single")


def test_who_may_not_make_roles_is_told_so(centre: Centre, tmp_path: Path) -> None:
    ask(centre.admin, "CREATE ROLE weak LOGIN PASSWORD 'x'")
    ask(centre.admin, "GRANT CONNECT ON DATABASE postgres TO weak")
    weak = make_conninfo(centre.admin, user="weak", password="x")
    assert "may not make roles" in str(say("add", "third", admin=weak, passwords=tmp_path).exception)
