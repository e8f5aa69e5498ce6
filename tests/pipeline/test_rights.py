"""A plant of its own: whatever a role tries beyond its tables is refused, by its own login on a server of its own.

Plain PostgreSQL for what is tried, since the TimescaleDB of the tests has one session; its catalogue is looked at too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pipeline import migrate, rights
from rootdx import passwords
from rootdx.embedded import Postgres
from tests.support.services import reachable_folder, run
from tests.support.spine import ask, one

LOCKERS = ("rootdx_analytics", "rootdx_board", "rootdx_report")
"""Whose work begins with an advisory lock."""
NEVER = {
    "temporary table": "CREATE TEMP TABLE measurement AS SELECT repeat('x', 1000) FROM generate_series(1, 1000)",
    "temporary view": "CREATE TEMP VIEW latest AS SELECT 1",
    "temporary function": "CREATE FUNCTION pg_temp.leak() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "large object": "SELECT lo_from_bytea(0, sha512('x'))",
    "large object created": "SELECT lo_create(0)",
    "large object made": "SELECT lo_creat(-1)",
    "large object from a file": "SELECT lo_import('/etc/passwd')",
    "large object to a file": "SELECT lo_export(1, '/tmp/rootdx-hostile')",
    "table in public": "CREATE TABLE public.x (i int)",
    "table in ours": "CREATE TABLE rootdx.x (i int)",
    "every table locked": "LOCK TABLE rootdx.measurement IN ACCESS EXCLUSIVE MODE",
    "quarantine emptied": "DELETE FROM rootdx.quarantine",
    "history changed": "UPDATE rootdx.measurement SET value = 0",
    "journal changed": "UPDATE rootdx.alarm_journal SET who = 'x'",
    "passwords": "SELECT rolpassword FROM pg_authid",
    "statistics of passwords": "SELECT * FROM pg_statistic",
    "owner": "SET ROLE rootdx_owner",
    "administrator": "SET ROLE postgres",
    "program": "COPY (SELECT 1) TO PROGRAM 'id'",
    "extension": "CREATE EXTENSION dblink",
    "triggers off": "SET session_replication_role = replica",
    "room on the disk": "SET temp_file_limit = -1",
    "more connections": "ALTER ROLE CURRENT_USER CONNECTION LIMIT -1",
    "sessions of others ended": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
}
LOCKS = {
    "lock": "SELECT pg_advisory_lock(7)",
    "lock, tried": "SELECT pg_try_advisory_lock(7)",
    "lock of a machine": "SELECT pg_try_advisory_lock(7, g) FROM generate_series(1, 100) g",
    "lock, shared": "SELECT pg_advisory_lock_shared(7)",
    "lock of a transaction": "SELECT pg_advisory_xact_lock(7)",
    "lock of a transaction, tried": "SELECT pg_try_advisory_xact_lock_shared(7, 7)",
}
ONLY_NOTED = {
    "rootdx_notify": ("INSERT INTO rootdx.report_delivery (report, channel, period, place) VALUES ('a', 'b', '', 0)",
                      "DELETE FROM rootdx.notice"),
    "rootdx_report": ("INSERT INTO rootdx.notice (entry_id, step, channel, due) VALUES (1, 0, 'a', now())",
                      "DELETE FROM rootdx.report_delivery"),
}  # fmt: skip
NOT_THEIRS = (
    "INSERT INTO rootdx.measurement VALUES (now(), 1, 1, 1, 0)", "UPDATE rootdx.alarm SET state = 'x'",
    "INSERT INTO rootdx.alarm_journal (alarm_id) VALUES (1)", "UPDATE rootdx.cycle SET verdict = 'pass'",
    "SELECT * FROM rootdx.quarantine", "SELECT * FROM rootdx.account", "SELECT * FROM rootdx.board_session",
    "SELECT rootdx.maintain()", "INSERT INTO rootdx.compliance_record DEFAULT VALUES",
)  # fmt: skip


@dataclass(frozen=True)
class Single:
    """A server with one plant, and the passwords of its roles."""

    admin: str
    passwords: Path

    def login(self, role: str) -> str:
        """As its process."""
        secret = (self.passwords / f"{role}.password").read_text(encoding="utf-8").strip()
        return make_conninfo(self.admin, user=role, password=secret)


@pytest.fixture(scope="module")
def single() -> Iterator[Single]:
    with reachable_folder() as folder:
        server = Postgres(folder / "database")
        run(server.start())
        made = Single(server.dsn(), folder / "passwords")
        run(migrate.migrate(made.admin))
        run(passwords.make(made.admin, made.passwords))
        yield made
        run(server.stop())


def got_through(dsn: str, attempts: dict[str, str]) -> list[str]:
    """What the server did not refuse."""
    found = []
    with psycopg.connect(dsn, connect_timeout=10) as db:
        for attempt, query in attempts.items():
            try:
                db.execute(query.encode())
            except psycopg.errors.InsufficientPrivilege:
                continue
            finally:
                db.rollback()
            found.append(attempt)
    return found


@pytest.mark.plain
@pytest.mark.parametrize("role", passwords.ROLES)
def test_whatever_a_role_tries_is_refused(single: Single, role: str) -> None:
    assert got_through(single.login(role), NEVER) == []


@pytest.mark.plain
@pytest.mark.parametrize("role", passwords.ROLES)
def test_only_who_needs_locks_can_hold_them(single: Single, role: str) -> None:
    assert got_through(single.login(role), LOCKS) == (list(LOCKS) if role in LOCKERS else [])


@pytest.mark.plain
@pytest.mark.parametrize("role", ONLY_NOTED)
def test_notifier_and_reports_read_and_note_what_they_sent_and_no_more(single: Single, role: str) -> None:
    assert got_through(single.login(role), {query: query for query in (*NOT_THEIRS, *ONLY_NOTED[role])}) == []
    done = {
        "rootdx_notify": "UPDATE rootdx.notice SET tries = tries + 1",
        "rootdx_report": "INSERT INTO rootdx.report_delivery (report, channel, period, place) VALUES ('a', 'b', '', 0)",
    }
    allowed = {done[role]: done[role], "read": "SELECT * FROM rootdx.alarms, rootdx.records"}
    assert got_through(single.login(role), allowed) == list(allowed)


@pytest.mark.plain
def test_a_reader_takes_its_share_of_connections_and_time(single: Single) -> None:
    with psycopg.connect(single.login("rootdx_reader")) as db:
        for key, value in {"statement_timeout": "15min", "temp_file_limit": "4GB"}.items():
            assert db.execute(f"SHOW {key}".encode()).fetchall() == [(value,)]
    held = [psycopg.connect(single.login("rootdx_reader")) for _ in range(rights.READERS_AT_ONCE)]
    with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
        psycopg.connect(single.login("rootdx_reader"))
    with psycopg.connect(single.login("rootdx_writer")):
        pass
    for db in held:
        db.close()


@pytest.mark.plain
def test_the_owner_may_do_what_jobs_need(single: Single) -> None:
    for right in ("TEMP", "CONNECT"):
        assert one(single.admin, "SELECT has_database_privilege('rootdx_owner', current_database(), %s)", right)


@pytest.mark.plain
def test_migrating_again_closes_what_was_opened_and_leaves_what_was_said(single: Single) -> None:
    ask(single.admin, "GRANT TEMPORARY ON DATABASE rootdx TO PUBLIC")
    ask(single.admin, "GRANT EXECUTE ON FUNCTION lo_create(oid), pg_advisory_lock(bigint) TO PUBLIC")
    ask(single.admin, "REVOKE EXECUTE ON FUNCTION pg_try_advisory_lock(bigint) FROM rootdx_analytics")
    ask(single.admin, "ALTER ROLE rootdx_reader SET statement_timeout = '2h'")
    assert len(got_through(single.login("rootdx_reader"), NEVER | LOCKS)) == 5
    assert run(migrate.migrate(single.admin)) == []
    assert got_through(single.login("rootdx_reader"), NEVER | LOCKS) == []
    assert got_through(single.login("rootdx_analytics"), LOCKS) == list(LOCKS)
    with psycopg.connect(single.login("rootdx_reader")) as db:
        assert db.execute("SHOW statement_timeout").fetchall() == [("2h",)]


def test_nothing_of_the_kind_is_for_everybody_on_either_engine(engine_dsn: str) -> None:
    """The owner keeps it. The TimescaleDB of the tests is a template, whose own rights nobody can change."""
    asked = """
        SELECT DISTINCT p.proname FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
        WHERE (p.proname ~ '^pg_(try_)?advisory_|^lo_(creat|from|put|open|unlink|trunc)' OR p.proname = 'add_job')
          AND a.grantee = 0"""
    assert ask(engine_dsn, asked) == []
    kept = (
        "SELECT bool_and(has_function_privilege('rootdx_owner', oid, 'EXECUTE')) FROM pg_proc WHERE proname = ANY(%s)"
    )
    assert one(engine_dsn, kept, ["add_job", "lo_create", "pg_advisory_lock"])
