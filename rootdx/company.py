"""Several companies on one database server: to each a database of its own, and logins that get into that one alone.

* The group roles of the schema belong to the whole server and are nobody's login here: a company's logins are members
  of them, and only the right to CONNECT says into which database. Nobody has it by default.
* A company is what has its logins and a database of the same name; there is no list beside that which could differ.
* Every step may be done again: what was cut short goes on where it was.

What one company can still see of another: that its database is there, its name, and that somebody is connected to it
(`pg_database`, `pg_stat_activity` without the queries, `pg_stat_database`). PostgreSQL shows that to everybody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pipeline import rights
from pipeline.errors import ConfigError
from pipeline.migrate import Connection, administrator, migrate, set_password
from pipeline.settings import read_secret
from pipeline.topics import SLUG
from rootdx import passwords
from rootdx.export import Cell, Table, column
from rootdx.texts import say

PARTS: Final = ("writer", "reader", "analytics", "board")
"""A login `NAME_part` is a member of `rootdx_part`."""
CONNECTIONS: Final = 40
"""Of one company at once, so that it cannot take those of the others."""
_RESERVED: Final = frozenset({"postgres", "rootdx", "template0", "template1", "all", "replication"})
_LONGEST: Final = 48
"""A role's name may have 63 bytes."""
_COMMON: Final = ("postgres", "template1")
"""Databases of the server itself."""
DATABASE: Final = "rootdx"
"""What the first installation makes; empty where companies are."""


@dataclass(frozen=True, slots=True)
class Added:
    """What `add` has done.

    Attributes:
        applied: names of schema files.
        files: the password file of each login.
        open: databases of others that let everybody in.
    """

    applied: Sequence[str]
    files: Mapping[str, Path]
    open: Sequence[str]


def named(name: str) -> str:
    """The name itself, where a database and gateways may be called so.

    Raises:
        ConfigError: they may not.
    """
    if not SLUG.fullmatch(name) or not name[0].isalpha() or len(name) > _LONGEST or name in _RESERVED:
        raise ConfigError(say("company.name", name=name, most=_LONGEST))
    return name


def logins(name: str) -> dict[str, str]:
    """The group role of each login of a company."""
    return {f"{name}_{part}": f"rootdx_{part}" for part in PARTS}


async def add(dsn: str, name: str, folder: Path, connections: int | None = None) -> Added:
    """A company's database, its schema and its logins; does again what is already done.

    Args:
        dsn: an administrator's, of any database of the server.
        name: of the company, its database and the beginning of its logins.
        folder: where passwords are kept.
        connections: of the company at once; None: what it may already, a new one CONNECTIONS.

    Raises:
        ConfigError: the name will not do or is taken, the server has a plant of its own, or rights are missing.
        Unavailable: no database there.
    """
    place = make_conninfo(dsn, dbname=named(name))
    async with administrator(dsn) as db:
        await _check_rights(db)
        await _refuse_neighbours(db, dsn)
        await _prepare_roles(db, name)
        await _prepare_database(db, name, connections)
        left = await _close_common(db, conninfo_to_dict(dsn).get("dbname"))
    applied = await migrate(place)
    async with administrator(place) as db:
        await rights.bound(db, f"{name}_reader")
        for login in logins(name):
            await db.execute(
                sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(name), sql.Identifier(login))
            )
    files = {}
    for login in logins(name):
        files[login] = passwords.kept(folder, login)
        await set_password(place, login, read_secret(files[login]))
    return Added(applied, files, left)


async def remove(dsn: str, name: str) -> None:
    """A company's database and logins are gone for good.

    Raises:
        ConfigError: there is no such company.
        Unavailable: no database there.
    """
    async with administrator(dsn) as db:
        await _known(db, name)
        for login in await _roles(db, name):
            await db.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(login)))
        await db.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        for login in await _roles(db, name):
            await db.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(login)))


async def size_of(dsn: str, name: str) -> str:
    """How much would be gone, as people read it.

    Raises:
        ConfigError: there is no such company.
        Unavailable: no database there.
    """
    async with administrator(dsn) as db:
        await _known(db, name)
        found = await _rows(db, _SIZE, [name])
        return str(found[0][0]) if found else "0 bytes"


async def table(dsn: str, now: datetime) -> Table:
    """Every company: its size, its rows of the last day, when it last stored something, its gateways.

    Raises:
        ConfigError: rights are missing.
        Unavailable: no database there.
    """
    async with administrator(dsn) as db:
        names = await companies(db)
        sizes: dict[str, int] = dict(await _rows(db, _SIZES, [names]))
    rows = [await _row(dsn, name, sizes.get(name), now) for name in names]
    columns = [
        column("company"), column("size_mb", "number", "MB"), column("rows_day", "whole"),
        column("age_s", "number", "s"), column("gateways"),
    ]  # fmt: skip
    return Table("companies", say("company.title"), columns, rows, "UTC", notes=[] if rows else [say("company.none")])


async def companies(db: Connection) -> list[str]:
    """Their names."""
    return [name for (name,) in await _rows(db, _COMPANIES)]


async def _row(dsn: str, name: str, size: int | None, now: datetime) -> list[Cell]:
    megabytes = None if size is None else round(size / 1e6, 1)
    async with administrator(make_conninfo(dsn, dbname=name)) as db:
        try:
            (rows,) = (await _rows(db, _ROWS_DAY))[0]
            (newest, gateways) = (await _rows(db, _LEDGER))[0]
        except psycopg.errors.UndefinedTable:  # `add` was cut short
            return [name, megabytes, None, None, say("company.unfinished")]
    age_s = None if newest is None else max(0.0, (now - newest).total_seconds())
    return [name, megabytes, rows, age_s, ", ".join(gateways or [])]


async def _check_rights(db: Connection) -> None:
    ((superuser, roles, databases),) = await _rows(db, _RIGHTS)
    if not superuser and not (roles and databases):
        raise ConfigError(say("company.rights"))


async def _refuse_neighbours(db: Connection, dsn: str) -> None:
    """A database of our schema that lets everybody or a group in would let in the logins of every company."""
    for (name,) in await _rows(db, _OPEN, [await companies(db), list(_COMMON)]):
        async with administrator(make_conninfo(dsn, dbname=name)) as other:
            ((ours,),) = await _rows(other, "SELECT to_regclass('rootdx.migration') IS NOT NULL")
        if ours:
            raise ConfigError(say("company.neighbour", database=name))


async def _prepare_roles(db: Connection, name: str) -> None:
    known = await _roles(db, name)
    if not known and await _rows(db, "SELECT FROM pg_database WHERE datname = %s", [name]):
        raise ConfigError(say("company.taken", name=name))
    # From PostgreSQL 16 on a member need not be able to become the group.
    with_options = " WITH INHERIT TRUE, SET FALSE" if db.info.server_version >= 160000 else ""
    for login, group in logins(name).items():
        for role, more in ((group, " NOLOGIN"), (login, " NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE INHERIT")):
            if not await _rows(db, "SELECT FROM pg_roles WHERE rolname = %s", [role]):
                await db.execute(sql.SQL("CREATE ROLE {}" + more).format(sql.Identifier(role)))
        grant = sql.SQL("GRANT {} TO {}" + with_options)
        await db.execute(grant.format(sql.Identifier(group), sql.Identifier(login)))


async def _prepare_database(db: Connection, name: str, connections: int | None) -> None:
    """Nobody gets in between its making and its closing."""
    one = sql.Identifier(name)
    if not await _rows(db, "SELECT FROM pg_database WHERE datname = %s", [name]):
        await db.execute(sql.SQL("CREATE DATABASE {} ALLOW_CONNECTIONS false").format(one))
    groups = sql.SQL(", ").join(map(sql.Identifier, logins(name).values()))
    await db.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC, {}").format(one, groups))
    ((had,),) = await _rows(db, "SELECT datconnlimit FROM pg_database WHERE datname = %s", [name])
    most = connections or (CONNECTIONS if had < 0 else had)
    limited = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true CONNECTION LIMIT {}")
    await db.execute(limited.format(one, sql.Literal(most)))


async def _close_common(db: Connection, ours: object) -> list[str]:
    """Takes from everybody the databases of the server itself and the administrator's; returns others that are open."""
    for (name,) in await _rows(db, _OURS_TO_CLOSE, [[*_COMMON, DATABASE, str(ours or "postgres")]]):
        await db.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
    return [name for (name,) in await _rows(db, _OPEN, [await companies(db), []])]


async def _known(db: Connection, name: str) -> None:
    if not SLUG.fullmatch(name) or name in _RESERVED or not await _roles(db, name):
        known = ", ".join(await companies(db)) or "–"
        raise ConfigError(say("company.unknown", name=name, known=known))


async def _roles(db: Connection, name: str) -> list[str]:
    return [role for (role,) in await _rows(db, _ROLES, [list(logins(name))])]


async def _rows(db: Connection, query: str, args: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
    return await (await db.execute(query.encode(), args)).fetchall()


_RIGHTS: Final = "SELECT rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = current_user"
_ROLES: Final = "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s) ORDER BY rolname"
_SIZE: Final = "SELECT pg_size_pretty(pg_database_size(oid)) FROM pg_database WHERE datname = %s"
_SIZES: Final = "SELECT datname, pg_database_size(oid) FROM pg_database WHERE datname = ANY(%s)"
_COMPANIES: Final = """
    SELECT d.datname FROM pg_database d JOIN pg_roles r ON r.rolname = d.datname || '_writer'
    JOIN pg_auth_members m ON m.member = r.oid JOIN pg_roles g ON g.oid = m.roleid AND g.rolname = 'rootdx_writer'
    WHERE d.datallowconn GROUP BY 1 ORDER BY 1"""
_OPEN: Final = """
    SELECT d.datname FROM pg_database d
    WHERE d.datallowconn AND NOT d.datname = ANY(%s) AND NOT d.datname = ANY(%s) AND EXISTS (
        SELECT FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
        LEFT JOIN pg_roles r ON r.oid = a.grantee
        WHERE a.privilege_type = 'CONNECT' AND (a.grantee = 0 OR r.rolname IN
            ('rootdx_writer', 'rootdx_reader', 'rootdx_analytics', 'rootdx_board', 'rootdx_notify', 'rootdx_report')))
    ORDER BY 1"""
"""Into which everybody gets, or a group."""
_OURS_TO_CLOSE: Final = """
    SELECT datname FROM pg_database WHERE datname = ANY(%s) AND pg_has_role(current_user, datdba, 'USAGE')"""
_ROWS_DAY: Final = """
    SELECT coalesce(sum(rows), 0)::bigint FROM rootdx.record WHERE ingest_ts > now() - INTERVAL '1 day'"""
_LEDGER: Final = "SELECT max(last_commit), array_agg(DISTINCT gateway ORDER BY gateway) FROM rootdx.ledger"
