"""A connection to the database, and what its errors mean for us.

What the server says about the connection is `Unavailable`, about rights or schema `ConfigError`, about the data
`BadData`. A certificate that is not believed is `Unavailable` too: once it is renewed nobody has to start us again.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from pipeline.errors import BadData, ConfigError, Unavailable
from pipeline.migrate import Connection
from pipeline.secrecy import without_password


async def connect(dsn: str, timeout_s: int) -> Connection:
    """A connection with autocommit.

    Raises:
        Unavailable: no database there (yet).
        ConfigError: it refuses us, or the DSN cannot be read.
    """
    try:
        return await psycopg.AsyncConnection.connect(
            dsn, autocommit=True, connect_timeout=timeout_s, application_name="rootdx", keepalives_idle=15
        )
    except psycopg.OperationalError as error:
        said = without_password(str(error).strip(), dsn)
        if "no encryption" in said:
            raise ConfigError(f"store.dsn: {said}; the server wants TLS: {_TLS}") from error
        about = _about_certificate(said, dsn)
        if about is not None:
            raise about from error
        refused = ("password authentication failed", "no password supplied", "role ", "no pg_hba.conf entry")
        if any(word in said for word in refused) or 'database "' in said:
            raise ConfigError(f"store.dsn: {said}; check user, password and database name") from error
        raise Unavailable(f"database: {said}") from error
    except psycopg.ProgrammingError as error:
        said = without_password(str(error).strip(), dsn)
        raise ConfigError(f"store.dsn: not a connection string: {said}") from None  # its cause quotes the password


def _about_certificate(said: str, dsn: str) -> ConfigError | Unavailable | None:
    """What is wrong with the database's certificate or our authority, and what to do; None: it is something else."""
    given = conninfo_to_dict(dsn)
    file = given.get("sslrootcert") or os.environ.get("PGSSLROOTCERT") or "~/.postgresql/root.crt"
    if "root certificate file" in said or "could not read root certificate" in said:
        return ConfigError(f"store.dsn: {said}; authority {file}: {_TLS}")
    if "does not match host name" in said:
        host = given.get("host") or "NAME"
        return Unavailable(
            f"database: {said}; name it in store.dsn as its certificate does, or make one that has this name: "
            f"`rootdx certs server database --host {host}`"
        )
    if "certificate verify failed" in said or "certificate revoked" in said or "certificate has expired" in said:
        return Unavailable(
            f"database: {said}; the database's certificate is not believed by {file}: is that the ca.pem which signed "
            "it, is it at its end or revoked (`rootdx certs list`, then copy and restart the database)?"
        )
    return None


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Errors of psycopg as errors of ours."""
    try:
        yield
    except psycopg.Error as error:
        said, state = f"database: {str(error).strip()}", error.sqlstate or ""
        if state.startswith(_TOO_MUCH):
            raise BadData(said) from error
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) or state.startswith(_READ_ONLY):
            raise Unavailable(said) from error
        if state in _SCHEMA_WRONG:
            raise ConfigError(f"{said}; run `rootdx migrate` and use its roles") from error
        raise BadData(said) from error


_TLS: Final = "ca_file in [store], or PGSSLMODE=verify-full and PGSSLROOTCERT=ca.pem in the environment"
_TOO_MUCH: Final = "54"  # a document nested too deep and the like: PostgreSQL's limits, met by one item
_READ_ONLY: Final = "25"  # read-only after a failover, and the like
_SCHEMA_WRONG: Final = {"42501", "42P01", "42703", "42883", "3F000"}
"""No right to, no such table, column, function, schema."""
