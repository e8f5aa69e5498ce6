"""Room kept for the day the disk is full, so that a spool can still drop, release and go on.

SQLite needs room to make room: a transaction goes into the write-ahead log first, and what was added to the file must
find its place there before the log starts over. So a file as large as both can need lies beside the spool. When the
disk is full it is given up, the log is emptied into the spool, and the spool may not grow any further: from then on it
lives on the pages that dropped and released records leave. When there is room on the disk again, all that is undone.
"""

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Final

FILE: Final = "reserve.bin"
LOG_PAGES: Final = 500
"""The write-ahead log starts over after this many pages (2 MB)."""
BYTES: Final = 5 << 20
"""The log twice, and a transaction."""
_UNLIMITED: Final = 4_294_967_294


class Reserve:
    """The reserve of one spool folder. `spent` while the disk is full."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self.spent = False

    def spend(self, db: sqlite3.Connection | None = None) -> None:
        """Gives the room to the spool, which from now on keeps its size."""
        self.spent = True
        self._file.unlink(missing_ok=True)
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                db.execute("PRAGMA wal_checkpoint(PASSIVE)")
            pages = db.execute("PRAGMA page_count").fetchone()[0]
            db.execute(f"PRAGMA max_page_count={int(pages)}")

    def restore(self, db: sqlite3.Connection) -> None:
        """Makes the reserve, if there is none and the disk has room for it twice over."""
        if self._file.exists():
            return
        with contextlib.suppress(OSError):
            disk = os.statvfs(self._file.parent)
            if disk.f_bavail * disk.f_frsize < 2 * BYTES:
                return
            with self._file.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, BYTES)
            db.execute(f"PRAGMA max_page_count={_UNLIMITED}")
            self.spent = False


def is_full(error: sqlite3.Error) -> bool:
    """Whether an error means that there is no room (or that the disk fails, which is treated alike)."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and (code & 0xFF) in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
