"""What a damaged spool file still gives.

* The damaged file is never changed; it is read where it was set aside.
* A record counts only with a right checksum. Its neighbours, before and behind a damaged page, are looked for.
* Page 1 holds nothing that a new file of the same schema does not hold, so a destroyed one is replaced, in a copy.
"""

import contextlib
import shutil
import sqlite3
import uuid
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS note (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS record (
    seq INTEGER PRIMARY KEY, gateway_ns INTEGER NOT NULL, rows INTEGER NOT NULL, crc INTEGER NOT NULL,
    stub INTEGER NOT NULL DEFAULT 0, size INTEGER NOT NULL, payload BLOB NOT NULL);
"""
"""Tables of a spool file."""

EPOCH: Final = "epoch"
"""A file beside the spool that repeats its identity, so that it outlives the page it stands on."""
PAGE_BYTES: Final = 4096
MOST_ASKED: Final = 1 << 20
"""Numbers between two readable records that are asked for one by one."""

Row = tuple[int, int, int, int, int, int, bytes]
"""seq, gateway_ns, rows, crc, stub, size, payload."""


@dataclass(frozen=True, slots=True)
class Salvage:
    """What was found: `meta` and `note` as far as they can be read, every whole record in order."""

    meta: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)


def salvage(file: Path) -> Salvage:
    """Everything that a damaged spool file, or a copy of it with a new first page, still gives."""
    found = _read(file)
    if not (found.meta or found.notes or found.rows) and file.exists():
        with contextlib.suppress(OSError, sqlite3.Error):
            found = _read(_with_new_first_page(file))
    return found


def missing(rows: Sequence[Row], leap: int) -> int:
    """Records that are certainly lost between the kept ones.

    A stub stands for all numbers before it, and `leap` numbers at a time were skipped, never given away.
    """
    pairs = pairwise(rows)
    return sum((later[0] - sooner[0] - 1) % leap for sooner, later in pairs if not later[4])


def _read(file: Path) -> Salvage:
    found = Salvage()
    try:
        db = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)
    except sqlite3.Error:
        return found
    with contextlib.closing(db):
        found.meta.update(_readable(db, "SELECT key, value FROM meta"))
        found.notes.update(_readable(db, "SELECT key, value FROM note"))
        whole = {row[0]: row for row in _records(db) if _is_whole(row)}
        found.rows.extend(whole[seq] for seq in sorted(whole))
    return found


def _is_whole(row: Sequence[Any]) -> bool:
    numbers = all(isinstance(one, int) for one in row[:6])
    return numbers and isinstance(row[6], bytes) and zlib.crc32(row[6]) == row[3] and row[0] > 0


def _readable(db: sqlite3.Connection, query: str) -> Iterable[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    with contextlib.suppress(sqlite3.Error):
        found.extend(db.execute(query))
    return found


def _records(db: sqlite3.Connection) -> Iterator[Row]:
    """Every record that can be reached: from the front, from the back, and by asking for each number in between."""
    first, last = 0, -1
    try:
        for row in db.execute("SELECT * FROM record ORDER BY seq"):
            yield row
            first = row[0]
    except sqlite3.Error:
        with contextlib.suppress(sqlite3.Error):
            for row in db.execute("SELECT * FROM record WHERE seq > ? ORDER BY seq DESC", (first,)):
                yield row
                last = row[0]
        for seq in range(first + 1, min(last, first + MOST_ASKED)):
            with contextlib.suppress(sqlite3.Error):
                yield from db.execute("SELECT * FROM record WHERE seq = ?", (seq,))


def _with_new_first_page(file: Path) -> Path:
    """A copy (and of its log, which lies under the copy's name) whose first page is that of a new file."""
    copy, fresh = file.with_name("repaired.sqlite"), file.with_name("new.sqlite")
    shutil.copyfile(file, copy)
    with contextlib.suppress(FileNotFoundError):
        shutil.copyfile(f"{file}-wal", f"{copy}-wal")
    with contextlib.closing(sqlite3.connect(fresh)) as db:
        db.executescript(SCHEMA)
    page = bytearray(fresh.read_bytes()[:PAGE_BYTES])
    page[28:32] = (copy.stat().st_size // PAGE_BYTES).to_bytes(4, "big")  # size in pages
    with copy.open("r+b") as out:
        out.write(page)
    fresh.unlink()
    return copy


def identity(found: Salvage, aside: Path) -> dict[str, object]:
    """The old identity as long as the numbers given under it are known; else a new spool begins."""
    meta = {key: found.meta[key] for key in ("released", "forgotten", "may_be_sent", "head") if key in found.meta}
    with contextlib.suppress(KeyError, ValueError, TypeError):
        return {**{key: int(value) for key, value in meta.items()}, "epoch": str(uuid.UUID(found.meta["epoch"]))}
    if found.rows:  # any of them may have been sent
        with contextlib.suppress(OSError, ValueError):
            epoch = uuid.UUID((aside / EPOCH).read_text(encoding="ascii").strip())
            return {"epoch": str(epoch), "may_be_sent": found.rows[-1][0]}
    return {}
