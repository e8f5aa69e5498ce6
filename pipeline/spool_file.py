"""The file of a spool: SQLite, one record a row, used by one thread. What it promises stands in spool.py.

* Every change is one transaction, and every transaction is on disk when it returns (`spool_database`).
* A number is never used twice: after an unclean stop numbering skips `LEAP` ahead, whatever the disk forgot.
* What is dropped becomes a stub that carries the loss, row for row. Records that may already have been sent are never
  dropped, because the store may hold them.
* What is committed is kept for a while, for a store that is restored from a backup, and is the first to go.
* A damaged file is set aside and salvaged; it is never a reason not to start.
"""

import contextlib
import logging
import math
import os
import sqlite3
import time
import uuid
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, TypeVar

from pipeline import losses, metrics, wire
from pipeline.errors import BadData, ConfigError, SpoolFull
from pipeline.model import Body, rows_of
from pipeline.reserve import Reserve, is_full
from pipeline.salvage import EPOCH, identity, missing, salvage
from pipeline.settings import SpoolSettings
from pipeline.spool_database import DAMAGED, NO_ACCESS, code_of, connected, locked, transaction

log = logging.getLogger(__name__)

FILE: Final = "spool.sqlite"
LEAP: Final = 1 << 20
"""Numbers skipped after an unclean stop: more records than a disk cache can forget."""
SENT_AHEAD: Final = 64
"""Records by which the durable mark of what may have been sent runs ahead, to spare an fsync a message."""
DROP_SHARE: Final = 16
"""A full spool drops at least 1/DROP_SHARE of its cap at once."""
KEEP_SHARE: Final = 64
"""Of what is kept though it is committed, 1/KEEP_SHARE is forgotten at once when it is too much."""
STUB_SPAN_NS: Final = 3_600_000_000_000
"""A stub swallows the next dropped records while it covers less than this."""
RATED_S: Final = 30.0
"""Between two notes in the file of how fast it fills, for whoever looks at it from outside."""

R = TypeVar("R")


@dataclass(slots=True)
class State:
    """What the file holds, known without asking it."""

    epoch: uuid.UUID = field(default_factory=uuid.uuid4)
    head: int = 0  # highest number ever given away
    released: int = 0  # highest number known to be committed
    forgotten: int = 0  # highest number that is no longer held because it was committed
    may_be_sent: int = 0  # highest number that may have left
    records: int = 0  # not known to be committed
    size: int = 0  # bytes of these
    kept: int = 0  # bytes of records that are committed and still held


class SpoolFile:
    """One spool folder. `state` and `notes` may be read from any thread, everything else is for the spool's own."""

    def __init__(self, settings: SpoolSettings, source: str, clock: Callable[[], int]) -> None:
        self.source = source
        self.state = State()
        self.notes: dict[str, str] = {}
        self.cap = int(settings.cap_mb * 1e6)
        self._keep, self._keep_ns = int(settings.keep_mb * 1e6), settings.keep_hours * 3.6e12
        self._settings, self._clock = settings, clock
        self._reserve = Reserve(settings.folder)
        self._began = time.monotonic()
        self._rated = self._began
        self._written = 0
        self._sound = True

    def rate(self) -> float:
        """Bytes a second since the start."""
        return self._written / max(time.monotonic() - self._began, 1.0)

    def mark_damaged(self, error: sqlite3.DatabaseError) -> None:
        """After an error that means damage the file is not closed as clean, so that the next start looks into it."""
        self._sound = self._sound and code_of(error) not in DAMAGED

    def open(self) -> None:
        """Takes the folder and brings its file into order.

        Raises:
            ConfigError: the folder cannot be written, or somebody else has it.
        """
        folder = self._settings.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = locked(folder)
        except OSError as error:
            raise ConfigError(
                f"gateway.spool.folder = {str(folder)!r}: cannot be used: {error.strerror or error}; "
                "name a folder that this user may write and no other gateway uses"
            ) from error
        try:
            self._open_file()
        except BaseException:
            os.close(self._lock)
            raise
        self._reserve.restore(self._db)

    def _open_file(self) -> None:
        try:
            self._db = self._connect()
            self._load()
        except (sqlite3.DatabaseError, ValueError) as error:
            if isinstance(error, sqlite3.Error) and is_full(error):
                self._reserve.spend()
                self._db = self._connect()
                self._load()
            elif code_of(error) in NO_ACCESS:
                raise ConfigError(
                    f"gateway.spool.folder = {str(self._settings.folder)!r}: {error}; name a folder on a local disk "
                    f"that this user may write, and let no other program hold {FILE}"
                ) from error
            else:
                self._salvage(error)

    def _connect(self) -> sqlite3.Connection:
        return connected(self._settings.folder / FILE)

    def _load(self) -> None:
        meta = dict(self._db.execute("SELECT key, value FROM meta"))
        if not meta and (self._settings.folder / EPOCH).exists():
            raise sqlite3.DatabaseError("what it held is gone")
        clean = meta.get("clean") == 1
        if meta and not clean:
            found = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise sqlite3.DatabaseError(found)
        state = State(epoch=uuid.UUID(meta["epoch"]) if "epoch" in meta else uuid.uuid4())
        state.released = int(meta.get("released", 0))
        state.forgotten = int(meta.get("forgotten", state.released))  # until 0.1 nothing was kept
        state.may_be_sent = int(meta.get("may_be_sent", 0))
        top, state.records, state.size, state.kept = self._db.execute(
            "SELECT coalesce(max(seq), 0), count(*) FILTER (WHERE seq > ?1), "
            "coalesce(sum(size) FILTER (WHERE seq > ?1), 0), coalesce(sum(size) FILTER (WHERE seq <= ?1), 0) "
            "FROM record", (state.released,),
        ).fetchone()  # fmt: skip
        state.head = max(top, state.released, int(meta.get("head", 0)))
        if meta and not clean:
            state.head += LEAP
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._put(epoch=str(state.epoch), clean=0, head=state.head, forgotten=state.forgotten)
        (self._settings.folder / EPOCH).write_text(f"{state.epoch}\n", encoding="ascii")
        self.state = state
        self.notes = dict(self._db.execute("SELECT key, value FROM note"))
        self._report()

    def close(self) -> None:
        """Gives the folder back, marked as clean."""
        with contextlib.suppress(sqlite3.Error), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._put(clean=int(self._sound), head=self.state.head)
        self._db.close()
        os.close(self._lock)

    def _put(self, **values: object) -> None:
        self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(values.items()))

    def commit(self, bodies: Sequence[Body], notes: Mapping[str, str]) -> int:
        """One record; returns its number.

        Raises:
            SpoolFull: no room and nothing that may be dropped; nothing was kept.
        """
        started = time.monotonic()
        payload = wire.pack(bodies)
        self._make_room(len(payload))
        insert = partial(self._insert, payload, rows_of(bodies), notes)
        try:
            seq = insert()
        except sqlite3.Error as error:
            if not is_full(error):
                raise
            seq = self._insert_although_full(insert, len(payload))
        metrics.spool_commit_seconds.observe(time.monotonic() - started)
        if rows := rows_of(bodies):
            metrics.spool_rows.inc(rows)
            metrics.moved("gateway")
        return seq

    def _insert(self, payload: bytes, rows: int, notes: Mapping[str, str]) -> int:
        seq = self.state.head + 1
        with transaction(self._db):
            self._write(seq, self._clock(), rows, payload, stub=0)
            self._db.executemany("INSERT OR REPLACE INTO note VALUES (?, ?)", list(notes.items()))
            if time.monotonic() - self._rated > RATED_S:
                self._rated = time.monotonic()
                self._put(bytes_per_s=self.rate())
        self.notes.update(notes)
        self.state.head = seq
        self.state.records += 1
        self.state.size += len(payload)
        self._written += len(payload)
        self._report()
        return seq

    def _write(self, seq: int, gateway_ns: int, rows: int, payload: bytes, stub: int) -> None:
        self._db.execute(
            "INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?)",
            (seq, gateway_ns, rows, zlib.crc32(payload), stub, len(payload), payload),
        )

    def read(self, after: int, most_bytes: int) -> list[wire.Frame]:
        """The next records after a number, at least one if there is any; marks them as possibly sent."""
        found: list[wire.Frame] = []
        size, previous = 0, after
        cursor = self._db.execute(
            "SELECT seq, gateway_ns, rows, crc, payload FROM record WHERE seq > ? ORDER BY seq", (after,)
        )
        with contextlib.closing(cursor):
            for seq, gateway_ns, rows, crc, payload in cursor:
                if found and size + len(payload) > most_bytes:
                    break
                if zlib.crc32(payload) != crc:
                    rows, payload = 0, wire.pack(losses.damaged(self.source, self._clock(), seq, rows))  # noqa: PLW2901
                    metrics.spool_damaged.inc()
                found.append(wire.Frame(self.source, self.state.epoch, seq, previous, gateway_ns, rows, payload))
                size, previous = size + len(payload), seq
        if found and found[-1].seq > self.state.may_be_sent:
            mark = found[-1].seq + SENT_AHEAD
            self._although_full(partial(self._mark_sent, mark))
            self.state.may_be_sent = mark
        return found

    def _insert_although_full(self, insert: Callable[[], int], size: int) -> int:
        if self._reserve.spent:
            self._reserve.restore(self._db)  # somebody may have made room
        else:
            log.warning("spool disk full folder=%s", self._settings.folder)
            self._reserve.spend(self._db)
        if not self._reserve.spent:
            return insert()
        for last_try in (False, True):
            self._make_pages(max(2 * size, self.state.size // DROP_SHARE))
            try:
                return insert()
            except sqlite3.Error as error:
                if not is_full(error):
                    raise
                if last_try:
                    raise SpoolFull(f"{self._settings.folder}: disk full; make room on it") from error
        raise AssertionError

    def _make_pages(self, wanted: int) -> None:
        """Frees room within the file."""
        freed = self.state.kept
        self._forget(wanted)
        freed -= self.state.kept
        if freed < wanted:
            self._drop(wanted - freed)

    def _mark_sent(self, mark: int) -> None:
        with transaction(self._db):
            self._put(may_be_sent=mark)

    def release(self, last: int) -> None:
        """Everything up to `last` is committed: forgets what need not be kept for longer."""
        self.state = self._although_full(partial(self._released, last))
        self._report()
        if self._reserve.spent:
            self._reserve.restore(self._db)

    def _released(self, last: int) -> State:
        with transaction(self._db):
            records, size = self._db.execute(
                "SELECT count(*), coalesce(sum(size), 0) FROM record WHERE seq > ? AND seq <= ?",
                (self.state.released, last),
            ).fetchone()
            now = replace(
                self.state, released=last, records=self.state.records - records, size=self.state.size - size,
                kept=self.state.kept + size,
            )  # fmt: skip
            self._put(released=last)
            oldest = self._db.execute("SELECT gateway_ns FROM record WHERE seq <= ? ORDER BY seq LIMIT 1", (last,))
            eldest_ns = next((one for (one,) in oldest), None)
            since_ns = self._clock() - self._keep_ns
            if now.kept > self._keep or (eldest_ns is not None and eldest_ns < since_ns):
                now = self._without(now, now.kept - self._keep * (KEEP_SHARE - 1) // KEEP_SHARE, since_ns)
        return now

    def _without(self, state: State, wanted: int, since_ns: float = -math.inf) -> State:
        """Forgets the eldest committed records: `wanted` bytes of them, and those from before a time."""
        last, freed = state.forgotten, 0
        cursor = self._db.execute(
            "SELECT seq, gateway_ns, size FROM record WHERE seq <= ? ORDER BY seq", (state.released,)
        )
        with contextlib.closing(cursor):
            for seq, gateway_ns, size in cursor:
                if freed >= wanted and gateway_ns >= since_ns:
                    break
                last, freed = seq, freed + size
        self._db.execute("DELETE FROM record WHERE seq <= ?", (last,))
        self._put(forgotten=last)
        return replace(state, forgotten=last, kept=state.kept - freed)

    def _forget(self, wanted: int) -> None:
        """So many bytes of what is kept though it is committed, or all of it."""
        if self.state.kept:
            self.state = self._although_full(partial(self._forgotten, wanted))

    def _forgotten(self, wanted: int) -> State:
        with transaction(self._db):
            return self._without(self.state, wanted)

    def take_back(self, last: int) -> int:
        """Only what is up to `last` is committed after all; what is still held of the rest will be read again.

        Returns:
            The highest number after `last` that is no longer held, `last` where all of it is.
        """
        self.state = self._although_full(partial(self._taken_back, last))
        self._report()
        return max(last, self.state.forgotten)

    def _taken_back(self, last: int) -> State:
        with transaction(self._db):
            records, size = self._db.execute(
                "SELECT count(*), coalesce(sum(size), 0) FROM record WHERE seq > ? AND seq <= ?",
                (last, self.state.released),
            ).fetchone()
            self._put(released=last)
        return replace(
            self.state, released=last, records=self.state.records + records, size=self.state.size + size,
            kept=self.state.kept - size,
        )  # fmt: skip

    def _although_full(self, work: Callable[[], R]) -> R:
        """Does it, giving up the reserve when the disk is full.

        Raises:
            SpoolFull: not even then.
        """
        for last_try in (False, True):
            try:
                return work()
            except sqlite3.Error as error:
                if not is_full(error):
                    raise
                if last_try:
                    raise SpoolFull(f"{self._settings.folder}: disk full; make room on it") from error
                self._reserve.spend(self._db)
        raise AssertionError

    def _make_room(self, coming: int) -> None:
        if self.state.kept and self.state.size + self.state.kept + coming > self.cap:
            self._forget(max(coming, self.cap // DROP_SHARE))
        if self.state.size + coming > self.cap:
            self._drop(max(coming, self.cap // DROP_SHARE))
        oldest = self._db.execute(
            "SELECT gateway_ns FROM record WHERE seq > ? AND stub = 0 ORDER BY seq LIMIT 1", (self.state.may_be_sent,)
        ).fetchone()
        cap_ns = self._settings.cap_hours * 3.6e12
        if oldest and cap_ns < self._clock() - oldest[0] < 2 * cap_ns:  # beyond that it is a clock that jumped ahead
            self._drop(1)

    def _drop(self, wanted: int) -> None:
        """Turns the oldest records that were never sent into a stub that says what they held.

        Raises:
            SpoolFull: there is none.
        """
        victims: list[tuple[int, int, bytes, int]] = []
        size = 0
        cursor = self._db.execute(
            "SELECT seq, gateway_ns, payload, stub FROM record WHERE seq > ? ORDER BY seq", (self.state.may_be_sent,)
        )
        with contextlib.closing(cursor):
            for seq, gateway_ns, payload, stub in cursor:
                if victims and victims[-1][3] and gateway_ns - victims[-1][1] > STUB_SPAN_NS:
                    victims, size = [], 0
                victims.append((seq, gateway_ns, payload, stub))
                size += 0 if stub else len(payload)
                if size >= wanted:
                    break
        if not any(not stub for *_, stub in victims):
            raise SpoolFull(
                f"{self._settings.folder}: full, and everything in it may have been sent already; "
                "make room on the disk or raise gateway.spool.cap_mb"
            )
        stub = wire.pack(losses.stub(self.source, self._clock(), [(seq, self._bodies(p)) for seq, _, p, _ in victims]))
        first, last = victims[0], victims[-1]
        held = sum(len(payload) for _, _, payload, _ in victims)
        self._although_full(partial(self._replace, first[0], last[0], first[1], stub))
        self.state.records -= len(victims) - 1
        self.state.size += len(stub) - held
        self._report()
        log.warning("spool full dropped_from=%d dropped_to=%d", first[0], last[0])

    def _replace(self, first: int, last: int, gateway_ns: int, stub: bytes) -> None:
        with transaction(self._db):
            self._db.execute("DELETE FROM record WHERE seq BETWEEN ? AND ?", (first, last))
            self._write(last, gateway_ns, 0, stub, stub=1)

    def _bodies(self, payload: bytes) -> Sequence[Body]:
        try:
            return wire.unpack(payload)
        except BadData:
            metrics.spool_damaged.inc()
            return ()

    def _report(self) -> None:
        metrics.spool_records.set(self.state.records)
        metrics.spool_bytes.set(self.state.size)
        metrics.spool_kept_bytes.set(self.state.kept)

    def _salvage(self, cause: Exception) -> None:
        """Sets the damaged file aside and keeps every record that can still be read from it."""
        folder = self._settings.folder
        aside = folder / f"damaged-{self._clock()}"
        aside.mkdir()
        with contextlib.suppress(AttributeError, sqlite3.Error):
            self._db.close()
        for name in (FILE, FILE + "-wal", FILE + "-shm", EPOCH):
            with contextlib.suppress(FileNotFoundError):
                (folder / name).rename(aside / name)
        found = salvage(aside / FILE)
        self._db = self._connect()
        with transaction(self._db):
            self._put(**identity(found, aside), clean=0)
            self._db.executemany("INSERT OR REPLACE INTO note VALUES (?, ?)", list(found.notes.items()))
            self._db.executemany("INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?, ?, ?, ?)", found.rows)
        self._load()
        kept, lost = len(found.rows), missing(found.rows, LEAP)
        metrics.spool_damaged.inc(lost)
        log.error("spool damaged cause=%s kept=%d lost=%d aside=%s", cause, kept, lost, aside)
        told = losses.salvaged(self.source, self._clock(), str(cause), aside.name, kept, lost)
        self._insert(wire.pack([told]), 0, {})
