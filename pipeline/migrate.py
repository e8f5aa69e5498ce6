"""Brings a database to the schema of this program: numbered SQL files, forward only, each in one transaction.

`NNNN_name.sql` runs everywhere, `NNNN_name.timescale.sql` or `NNNN_name.plain.sql` by engine. What ran is kept with
its checksum in `rootdx.migration`; a file that changed after it ran stops everything. The connection needs CREATEROLE
(and, for the extension, superuser) once; no process needs it afterwards.

* A file only adds: programs of the release before run on while it runs and afterwards. One that takes or changes what
  they use begins with a line `-- breaks: what`; then they stop with a sentence.
* What everybody may do in a database by default is taken away at each run (rights.py), whatever was applied.
* It never waits long for a lock, because whoever comes after it waits with it: LOCK_S, then everything is undone, the
  others have PAUSE_S, and it tries again until `patience_s` is over.
"""

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

import psycopg
from psycopg import sql

from pipeline import rights
from pipeline.errors import ConfigError, Unavailable
from pipeline.secrecy import without_password

OLDEST_POSTGRES: Final = 150000
OLDEST_TIMESCALE: Final = (2, 20)
ROLES: Final = (
    "rootdx_owner", "rootdx_writer", "rootdx_reader", "rootdx_analytics", "rootdx_board", "rootdx_notify",
    "rootdx_report",
)  # fmt: skip
_READ_TOO: Final = ("rootdx_notify", "rootdx_report")
"""Members of rootdx_reader."""
BREAKS: Final = "-- breaks:"
"""How a file begins that programs of the release before cannot live with."""
LOCK_S: Final = 2.0
"""Longest that writers stand still because a file waits for a lock."""
PAUSE_S: Final = 4.0
"""For the others between two tries; twice LOCK_S, so that they have two thirds of the time."""
PATIENCE_S: Final = 600.0
_LOCK: Final = 7_266_883_170_118  # any fixed number of our own

log = logging.getLogger(__name__)

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def additive(self) -> bool:
        """Whether programs that do not know this file may run on."""
        return not self.text.startswith(BREAKS)


@dataclass(frozen=True, slots=True)
class Applied:
    """A file that ran, as the database remembers it."""

    name: str
    checksum: str
    additive: bool


def migrations(engine: str) -> list[Migration]:
    """The files for an engine (`timescale` or `plain`), in order."""
    return sorted(_found(engine), key=lambda one: one.number)


def _found(engine: str) -> Iterator[Migration]:
    for file in resources.files("pipeline.schema").iterdir():
        number, _, rest = file.name.partition("_")
        kind = rest.removesuffix(".sql").rpartition(".")[2] if rest.count(".") > 1 else engine
        if number.isdigit() and rest.endswith(".sql") and kind == engine:
            yield Migration(int(number), file.name, file.read_text(encoding="utf-8"))


async def migrate(dsn: str, patience_s: float = PATIENCE_S) -> list[str]:
    """Applies what is missing, while everybody else works; returns the names of the files applied.

    Raises:
        ConfigError: database too old, ahead of this program, changed files, or missing rights.
        Unavailable: no database there, or somebody held a lock for `patience_s`; each file ran wholly or not at all.
    """
    done: list[str] = []
    deadline = time.monotonic() + patience_s
    async with administrator(dsn) as db:
        await db.execute(f"SET lock_timeout = {round(LOCK_S * 1000)}".encode())
        while True:
            try:
                await _migrate(db, done)
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
                holder = await _oldest_transaction(db)
                if time.monotonic() >= deadline:
                    raise Unavailable(
                        f"database: the schema waits for {holder}; end that one or try again when it has ended. "
                        f"Applied so far: {', '.join(done) or 'nothing'}"
                    ) from error
                log.warning("waiting for a lock holder=%s again_in=%.0fs", holder, PAUSE_S)
                await asyncio.sleep(PAUSE_S)
            else:
                return done


async def _oldest_transaction(db: Connection) -> str:
    """Whoever most likely holds what we wait for, in words."""
    row = await (await db.execute(_OLDEST)).fetchone()
    return "a transaction that has just ended" if row is None else "process {} of {} ({} s): {}".format(*row)


_OLDEST: Final = """
    SELECT pid, usename, round(extract(epoch FROM clock_timestamp() - xact_start)), left(query, 80)
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
    ORDER BY xact_start LIMIT 1"""


@contextlib.asynccontextmanager
async def administrator(dsn: str) -> AsyncIterator[Connection]:
    """A connection with autocommit for what only an administrator may do.

    Raises:
        ConfigError: missing rights, or no connection string.
        Unavailable: no database there.
    """
    try:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as db:
            yield db
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigError(
            f"rootdx migrate: {str(error).strip()}; connect as a superuser or as a role with CREATEROLE that owns the "
            "database (only `migrate` needs it)"
        ) from error
    except psycopg.OperationalError as error:
        raise Unavailable(f"database: {str(error).strip()}") from error
    except psycopg.ProgrammingError as error:
        if error.sqlstate is not None:
            raise
        said = without_password(str(error).strip(), dsn)
        raise ConfigError(f"database: not a connection string: {said}") from None  # its cause quotes the password


async def _migrate(db: Connection, done: list[str]) -> None:
    await check_server(db)
    await db.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
    try:
        engine = await _prepare(db)
        known = migrations(engine)
        applied = await _applied(db)
        _check_same(known, applied)
        _refuse(_newer(known, applied))
        for one in known:
            if one.number not in applied:
                await _apply(db, one)
                done.append(one.name)
        await rights.close(db)
        await rights.bound(db, "rootdx_reader")
    finally:
        await db.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])


async def check_server(db: Connection) -> None:
    """Refuses a server that is too old.

    Raises:
        ConfigError: says which version is needed.
    """
    if db.info.server_version < OLDEST_POSTGRES:
        raise ConfigError(
            f"database: PostgreSQL {db.info.server_version // 10000} is too old; rootdx needs 15 or later (18 is best)"
        )


async def _prepare(db: Connection) -> str:
    for role in ROLES:
        if not await _one(db, "SELECT 1 FROM pg_roles WHERE rolname = %s", [role]):
            await db.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
    for role in _READ_TOO:
        if not await _one(db, "SELECT pg_has_role(%s, 'rootdx_reader', 'USAGE')", [role]):
            await db.execute(sql.SQL("GRANT rootdx_reader TO {}").format(sql.Identifier(role)))
    user = await _one(db, "SELECT current_user")
    await db.execute(sql.SQL("GRANT rootdx_owner TO {}").format(sql.Identifier(user)))
    await db.execute("CREATE SCHEMA IF NOT EXISTS rootdx AUTHORIZATION rootdx_owner")
    engine = await _engine(db)
    if (
        engine == "timescale"
    ):  # its background jobs run as the owner, who has no password and so cannot come from outside
        await db.execute("ALTER ROLE rootdx_owner LOGIN PASSWORD NULL")
    await db.execute(
        "CREATE TABLE IF NOT EXISTS rootdx.migration (number integer PRIMARY KEY, name text NOT NULL, "
        "checksum text NOT NULL, applied timestamptz NOT NULL DEFAULT now())"
    )
    await db.execute("ALTER TABLE rootdx.migration ADD COLUMN IF NOT EXISTS additive boolean NOT NULL DEFAULT false")
    await db.execute("ALTER TABLE rootdx.migration OWNER TO rootdx_owner")
    await db.execute("GRANT USAGE ON SCHEMA rootdx TO rootdx_writer, rootdx_reader, rootdx_analytics, rootdx_board")
    await db.execute("GRANT SELECT ON rootdx.migration TO rootdx_writer, rootdx_reader, rootdx_analytics, rootdx_board")
    return engine


async def _engine(db: Connection) -> str:
    """`timescale` where the extension is there or can be had, unless the schema was made without it."""
    begun = (
        await _one(db, "SELECT name FROM rootdx.migration WHERE name LIKE '0002%%'") if await _has_table(db) else None
    )
    if begun is not None:
        return "plain" if ".plain." in begun else "timescale"
    if not await _one(db, "SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'"):
        return "plain"
    await db.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    version = await timescale_version(db)
    if version is None or tuple(int(part) for part in version.split("-")[0].split(".")[:2]) < OLDEST_TIMESCALE:
        raise ConfigError(
            f"database: TimescaleDB {version} is too old; rootdx needs {'.'.join(map(str, OLDEST_TIMESCALE))} or later"
        )
    return "timescale"


async def _has_table(db: Connection) -> bool:
    return bool(await _one(db, "SELECT to_regclass('rootdx.migration') IS NOT NULL"))


async def timescale_version(db: Connection) -> str | None:
    """Version of the extension, None without it."""
    found = await _one(db, "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")
    return None if found is None else str(found)


async def _applied(db: Connection) -> dict[int, Applied]:
    rows = await (await db.execute(_APPLIED)).fetchall()
    return {number: Applied(*rest) for number, *rest in rows}


_APPLIED: Final = """
    SELECT number, name, checksum, coalesce((to_jsonb(m) ->> 'additive')::boolean, false) FROM rootdx.migration m"""


def _check_same(known: Sequence[Migration], applied: Mapping[int, Applied]) -> None:
    """Refuses a database that another build made.

    Raises:
        ConfigError: a file changed after it ran.
    """
    for one in known:
        if one.number in applied and applied[one.number].checksum != one.checksum:
            name = applied[one.number].name
            raise ConfigError(f"database: {name} was applied with other content; this program is a different build")


def _newer(known: Sequence[Migration], applied: Mapping[int, Applied]) -> list[Applied]:
    numbers = {one.number for one in known}
    return [one for number, one in sorted(applied.items()) if number not in numbers]


def _refuse(newer: Sequence[Applied]) -> None:
    if newer:
        raise ConfigError(f"database: schema has {newer[0].name}, newer than this program; install the newer rootdx")


async def _apply(db: Connection, one: Migration) -> None:
    async with db.transaction():
        await db.execute("SET LOCAL ROLE rootdx_owner")
        await db.execute("SET LOCAL search_path = rootdx, public")
        await db.execute(one.text.encode())
        await db.execute(
            "INSERT INTO rootdx.migration (number, name, checksum, additive) VALUES (%s, %s, %s, %s)",
            [one.number, one.name, one.checksum, one.additive],
        )


async def check_schema(db: Connection) -> str:
    """The engine of a database that has all that this program wants.

    Raises:
        ConfigError: not migrated, behind, or ahead by a file that breaks older programs; says what to run.
    """
    await check_server(db)
    if not await _has_table(db):
        raise ConfigError("database: no rootdx schema in it; run `rootdx migrate`")
    try:
        applied = await _applied(db)
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigError(f"database: {str(error).strip()}; connect as rootdx_writer or rootdx_reader") from error
    engine = "plain" if any(".plain." in one.name for one in applied.values()) else "timescale"
    known = migrations(engine)
    _check_same(known, applied)
    _refuse([one for one in _newer(known, applied) if not one.additive])
    behind = [one.name for one in known if one.number not in applied]
    if behind:
        raise ConfigError(f"database: schema lacks {', '.join(behind)}; run `rootdx migrate`")
    return engine


async def set_password(dsn: str, role: str, secret: str) -> None:
    """Lets one of our roles log in with a password; the server gets its SCRAM verifier, as its log may keep queries.

    Raises:
        ConfigError, Unavailable: as `migrate`.
    """
    async with administrator(dsn) as db:
        verifier = db.pgconn.encrypt_password(secret.encode(), role.encode(), b"scram-sha-256").decode()
        await db.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier)))


async def _one(db: Connection, query: str, args: Sequence[object] | None = None) -> Any:
    row = await (await db.execute(query, args)).fetchone()
    return None if row is None else row[0]
