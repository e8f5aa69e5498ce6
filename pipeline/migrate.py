"""Brings a database to the schema of this program: numbered SQL files, forward only, each in one transaction.

`NNNN_name.sql` runs everywhere, `NNNN_name.timescale.sql` or `NNNN_name.plain.sql` by engine. What ran is kept with
its checksum in `rootdx.migration`; a file that changed after it ran, or a database that is ahead of the program, stops
everything. The connection needs CREATEROLE (and, for the extension, superuser) once; no process needs it afterwards.
"""

import contextlib
import hashlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

import psycopg
from psycopg import sql

from pipeline.errors import ConfigError, Unavailable

OLDEST_POSTGRES: Final = 150000
OLDEST_TIMESCALE: Final = (2, 20)
ROLES: Final = ("rootdx_owner", "rootdx_writer", "rootdx_reader", "rootdx_analytics", "rootdx_board")
_LOCK: Final = 7_266_883_170_118  # any fixed number of our own

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


def migrations(engine: str) -> list[Migration]:
    """The files for an engine (`timescale` or `plain`), in order."""
    return sorted(_found(engine), key=lambda one: one.number)


def _found(engine: str) -> Iterator[Migration]:
    for file in resources.files("pipeline.schema").iterdir():
        number, _, rest = file.name.partition("_")
        kind = rest.removesuffix(".sql").rpartition(".")[2] if rest.count(".") > 1 else engine
        if number.isdigit() and rest.endswith(".sql") and kind == engine:
            yield Migration(int(number), file.name, file.read_text(encoding="utf-8"))


async def migrate(dsn: str) -> list[str]:
    """Applies what is missing; returns the names of the files applied.

    Raises:
        ConfigError: database too old, ahead of this program, changed files, or missing rights.
        Unavailable: no database there.
    """
    async with _administrator(dsn) as db:
        return await _migrate(db)


@contextlib.asynccontextmanager
async def _administrator(dsn: str) -> AsyncIterator[Connection]:
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
        raise ConfigError(f"database: not a connection string: {str(error).strip()}") from error


async def _migrate(db: Connection) -> list[str]:
    await check_server(db)
    await db.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
    try:
        engine = await _prepare(db)
        known = migrations(engine)
        applied = await _applied(db)
        check_applied(known, applied)
        done = []
        for one in known:
            if one.number not in applied:
                await _apply(db, one)
                done.append(one.name)
        return done
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


async def _applied(db: Connection) -> dict[int, tuple[str, str]]:
    rows = await (await db.execute("SELECT number, name, checksum FROM rootdx.migration")).fetchall()
    return {number: (name, checksum) for number, name, checksum in rows}


def check_applied(known: Sequence[Migration], applied: dict[int, tuple[str, str]]) -> None:
    """Refuses a database that this program does not understand.

    Raises:
        ConfigError: it is ahead, or a file changed after it ran.
    """
    numbers = {one.number: one for one in known}
    for number, (name, checksum) in sorted(applied.items()):
        if number not in numbers:
            raise ConfigError(f"database: schema has {name}, newer than this program; install the newer rootdx")
        if numbers[number].checksum != checksum:
            raise ConfigError(f"database: {name} was applied with other content; this program is a different build")


async def _apply(db: Connection, one: Migration) -> None:
    async with db.transaction():
        await db.execute("SET LOCAL ROLE rootdx_owner")
        await db.execute("SET LOCAL search_path = rootdx, public")
        await db.execute(one.text.encode())
        await db.execute(
            "INSERT INTO rootdx.migration (number, name, checksum) VALUES (%s, %s, %s)",
            [one.number, one.name, one.checksum],
        )


async def check_schema(db: Connection) -> str:
    """The engine of a database that is exactly as this program wants it.

    Raises:
        ConfigError: not migrated, behind or ahead; says what to run.
    """
    await check_server(db)
    if not await _has_table(db):
        raise ConfigError("database: no rootdx schema in it; run `rootdx migrate`")
    try:
        applied = await _applied(db)
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigError(f"database: {str(error).strip()}; connect as rootdx_writer or rootdx_reader") from error
    names = [name for name, _ in applied.values()]
    engine = "plain" if any(".plain." in name for name in names) else "timescale"
    known = migrations(engine)
    check_applied(known, applied)
    behind = [one.name for one in known if one.number not in applied]
    if behind:
        raise ConfigError(f"database: schema lacks {', '.join(behind)}; run `rootdx migrate`")
    return engine


async def set_password(dsn: str, role: str, secret: str) -> None:
    """Lets one of our roles log in with a password.

    Raises:
        ConfigError, Unavailable: as `migrate`.
    """
    async with _administrator(dsn) as db:
        await db.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(secret)))


async def _one(db: Connection, query: str, args: Sequence[object] | None = None) -> Any:
    row = await (await db.execute(query, args)).fetchone()
    return None if row is None else row[0]
