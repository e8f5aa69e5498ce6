"""What nobody may do in a database of ours beyond what the tables say, and how much a reader may take.

PostgreSQL lets everybody who gets in make temporary tables and large objects, which fill the disk, and hold any
advisory lock, of which ours are among the numbers: a login that may only read could stop all analytics.

* Whatever is taken from everybody is given to those roles of ours that need it, so older programs go on.
* It is done at each `rootdx migrate` where it is not so yet: after a restore, in a new database, with a new role.
* Functions of the server itself belong to its superuser. Where that is somebody else, as in a managed database, the
  rest is done, and what stays open is said.

Not held off: NOTIFY, which wakes whoever listens; LOCK TABLE in the mode of a SELECT, which a schema change waits for;
and a reader may set its own `statement_timeout` back. How many it may be at once, and how much a query may put on the
disk, it cannot change.
"""

import contextlib
import logging
from typing import Any, Final

import psycopg
from psycopg import sql

READERS_AT_ONCE: Final = 20
"""Of a server's 60 connections; Grafana takes 10."""
_PATIENCE: Final = {"statement_timeout": "15min", "idle_in_transaction_session_timeout": "15min"}
_ON_DISK: Final = {"temp_file_limit": "4GB"}
"""Of one session's sorts and joins; only a superuser may set it, nobody else change it."""

log = logging.getLogger(__name__)

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


async def close(db: Connection) -> list[str]:
    """Takes from everybody what is for some; returns what stays open, for want of rights.

    Args:
        db: of an administrator, with autocommit, in the database itself.
    """
    name = sql.Identifier((await _rows(db, "SELECT current_database()"))[0][0])
    is_open = bool(await _rows(db, _OPEN_DATABASE))
    if is_open or await _rows(
        db, "SELECT WHERE NOT has_database_privilege('rootdx_owner', current_database(), 'TEMP')"
    ):
        with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
            # Jobs of TimescaleDB run as the owner, also where a company's database lets nobody else in.
            await db.execute(sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO rootdx_owner").format(name))
            await db.execute(sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC").format(name))
    left = await _close_functions(db)
    if await _rows(db, _OPEN_DATABASE):
        left.append("temporary tables")
    if left:
        log.warning(
            "everybody in this database may still use %s; only a superuser, or the owner of the database, can take "
            "that away: run `rootdx migrate` as one where there is one, and let nobody in who should not be",
            ", ".join(left),
        )
    return left


async def _close_functions(db: Connection) -> list[str]:
    """Names of those that stay open."""
    for name, locks, _ in await _rows(db, _FUNCTIONS, [list(_LOCK_ROLES)]):
        one, roles = sql.SQL(name), _LOCK_ROLES if locks else ("rootdx_owner",)
        to = sql.SQL(", ").join(map(sql.Identifier, roles))
        with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
            await db.execute(sql.SQL("GRANT EXECUTE ON FUNCTION {} TO {}").format(one, to))
            await db.execute(sql.SQL("REVOKE EXECUTE ON FUNCTION {} FROM PUBLIC").format(one))
    still = await _rows(db, _FUNCTIONS, [list(_LOCK_ROLES)])
    return sorted({str(name).partition("(")[0] for name, _, is_open in still if is_open})


async def bound(db: Connection, login: str) -> None:
    """Says how much a login that reads may take, where nobody has said so yet: `ALTER ROLE` changes it for good."""
    role = sql.Identifier(login)
    limited, superuser, known = (await _rows(db, _BOUNDS, [login]))[0]
    wanted = _PATIENCE | (_ON_DISK if superuser else {})
    try:
        if not limited:
            await db.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT {}").format(role, sql.Literal(READERS_AT_ONCE)))
        for key, value in wanted.items():
            if key not in known:
                await db.execute(
                    sql.SQL("ALTER ROLE {} SET {} = {}").format(role, sql.Identifier(key), sql.Literal(value))
                )
    except psycopg.errors.InsufficientPrivilege as error:
        log.warning("%s is not bounded: %s; a superuser can: ALTER ROLE", login, str(error).strip())


async def _rows(db: Connection, query: str, args: list[object] | None = None) -> list[tuple[Any, ...]]:
    return await (await db.execute(query.encode(), args)).fetchall()


_LOCK_ROLES: Final = ("rootdx_owner", "rootdx_analytics", "rootdx_board", "rootdx_report")
_FUNCTIONS: Final = """
    SELECT f.oid::regprocedure::text, f.locks, f.is_open FROM (
        SELECT p.oid, p.proname ~ '^pg_(try_)?advisory_' AS locks, EXISTS (
            SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0) AS is_open
        FROM pg_proc p
        LEFT JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
        LEFT JOIN pg_extension e ON e.oid = d.refobjid
        WHERE p.pronamespace = 'pg_catalog'::regnamespace AND (p.proname ~ '^pg_(try_)?advisory_' OR p.proname IN (
                'lo_creat', 'lo_create', 'lo_from_bytea', 'lo_open', 'lo_put', 'lo_unlink', 'lo_truncate',
                'lo_truncate64', 'lowrite'))
            OR e.extname = 'timescaledb' AND p.proname = 'add_job') f
    WHERE f.is_open OR NOT has_function_privilege('rootdx_owner', f.oid, 'EXECUTE') OR f.locks AND EXISTS (
        SELECT FROM unnest(%s::text[]) r WHERE NOT has_function_privilege(r, f.oid, 'EXECUTE'))
    ORDER BY 1"""
"""Those that are for everybody, and those that one of ours lacks."""
_OPEN_DATABASE: Final = """
    SELECT FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
    WHERE d.datname = current_database() AND NOT d.datistemplate AND a.grantee = 0
      AND a.privilege_type = 'TEMPORARY'"""
_BOUNDS: Final = """
    SELECT r.rolconnlimit >= 0, (SELECT u.rolsuper FROM pg_roles u WHERE u.rolname = current_user),
        ARRAY(SELECT split_part(c, '=', 1) FROM pg_db_role_setting s, unnest(s.setconfig) c WHERE s.setrole = r.oid)
    FROM pg_roles r WHERE r.rolname = %s"""
