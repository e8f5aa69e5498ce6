"""The SQLite file of a spool as a file: who holds it, how it is opened, one transaction, what an error means.

* Every transaction is on disk when it returns (WAL, synchronous=FULL).
* One gateway a folder: a lock that ends with the process that holds it.
"""

import contextlib
import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pipeline.reserve import LOG_PAGES
from pipeline.salvage import SCHEMA

BUSY_S: Final = 5.0
"""Longest wait for somebody who looks into the file with another program."""
NO_ACCESS: Final = frozenset(
    {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY}
)
PENDING: Final = "FROM record WHERE seq > coalesce((SELECT value FROM meta WHERE key = 'released'), 0)"
"""Records that are not known to be committed, for who looks from outside; the others are kept for a while."""
DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def connected(file: Path) -> sqlite3.Connection:
    """The file, opened or made."""
    db = sqlite3.connect(file, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute(f"PRAGMA wal_autocheckpoint={LOG_PAGES}")
    db.execute("PRAGMA journal_size_limit=4000000")
    db.executescript(SCHEMA)
    return db


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise


def code_of(error: Exception) -> int:
    """SQLite's primary result code; 0 where there is none."""
    return int(getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def locked(folder: Path) -> int:
    """An exclusive lock on the folder for as long as the returned descriptor is open.

    Raises:
        OSError: somebody else has it.
    """
    handle = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise OSError(errno.EBUSY, "another gateway has it open") from error
    return handle
