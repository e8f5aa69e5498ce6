"""Every SQL statement of the running processes, but for names (`naming`), bursts (`bursts`) and writers (`roster`).

* A `Commit` is applied in one transaction or not at all: rows, tallies, events, quarantine, ledger.
* The ledger is read under a row lock before anything is written and must be what the caller believed; so a second
  writer, or a database that went back in time, is noticed before a row is stored twice.
* Whatever the server says about the connection is `Unavailable`, about rights or schema `ConfigError`, about the data
  `BadData`. After any of them the `Store` is thrown away.
"""

import contextlib
import hashlib
import json
import logging
import math
import time
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import psycopg
from psycopg.copy import AsyncLibpqWriter

from pipeline import bursts, copying, losses
from pipeline.arrivals import Arrivals
from pipeline.database import connect, translated
from pipeline.errors import BadData, Unavailable
from pipeline.ledger import record_id
from pipeline.migrate import Connection, check_schema
from pipeline.model import HOUR_NS, Batch, Body, Cause, Event, Tally, Waveform
from pipeline.naming import DECLARED, Names
from pipeline.roster import Member, Roster
from pipeline.settings import StoreSettings, store_dsn

log = logging.getLogger(__name__)

SLICE: Final = 600
"""Batches packed at once: the server works on one slice while the next is packed."""
NOTE_S: Final = 30.0
"""A touched hour is noted again after this long, see 0002_engine.plain.sql."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Something that could not be stored.

    Attributes:
        cause: short and bounded, for the counter.
        reason: for people.
        content: the bytes, as `wire` reads them.
        source_id: spool, None where the bytes are no record.
        seq: record, None likewise.
        body: position in the record, None for the whole of it.
        rows: measurement rows in it, as far as known.
    """

    cause: str
    reason: str
    content: bytes
    source_id: int | None = None
    seq: int | None = None
    body: int | None = None
    rows: int = 0


@dataclass(slots=True)
class Accepted:
    """One record to commit, its bodies already judged."""

    source_id: int
    seq: int
    gateway_ns: int
    rows: int
    bodies: Sequence[Body]


@dataclass(slots=True)
class Commit:
    """One transaction.

    Attributes:
        expected: last seq by source_id, as the caller believes the ledger to be.
        last: last seq by source_id afterwards.
    """

    records: list[Accepted] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    expected: dict[int, int] = field(default_factory=dict)
    last: dict[int, int] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Measurement rows."""
        return sum(record.rows for record in self.records)


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the ledger."""

    source_id: int
    gateway: str
    epoch: uuid.UUID
    last: int


class Store:
    """An open connection to a migrated database; made by `opened`."""

    def __init__(self, db: Connection, engine: str, direct_rows: int | None) -> None:
        self.engine = engine
        self._db, self._direct_rows = db, direct_rows
        self._names = Names(db)
        self._noted: dict[int, float] = {}

    async def ledger(self) -> list[Entry]:
        """Every spool ever seen, the newest of each gateway last."""
        with translated():
            rows = await self._all("SELECT source_id, gateway, epoch, last_seq FROM rootdx.ledger ORDER BY source_id")
        return [Entry(*row) for row in rows]

    def roster(self, member: Member, life: uuid.UUID) -> Roster:
        """The list of writers, for one that stores here; asked in turn with everything else of this store."""
        return Roster(self._db, member, life)

    async def enter(self, gateway: str, epoch: uuid.UUID) -> Entry:
        """The ledger row of a spool, made if it is new."""
        with translated():
            await self._db.execute(_ENTER, [gateway, epoch])
            rows = await self._all(_ENTRY, [gateway, epoch])
        return Entry(*rows[0])

    async def commit(self, commit: Commit) -> None:
        """Applies it.

        Raises:
            Unavailable: no connection, or the ledger is not what the caller believed; nothing was written.
            BadData: the server refuses a value; nothing was written.
            ConfigError: rights or schema are wrong; nothing was written.
        """
        async with self._transaction():
            await self._fence(commit.expected)
            await self._write(commit)

    async def commit_bodies(self, record: Accepted, before: int, aside: Callable[[int, BadData], Quarantined]) -> None:
        """One record whose whole the server refused: every body that it takes, the others into the quarantine.

        Args:
            record: next in its spool.
            before: last seq of that spool.
            aside: makes the quarantine entry of a body from its position and what the server said.

        Raises:
            Unavailable, ConfigError, BadData: as `commit`; nothing was written.
        """
        async with self._transaction():
            await self._fence({record.source_id: before})
            for place, body in enumerate(record.bodies):
                try:
                    await self._try(record, [body])
                except BadData as error:
                    await self._quarantine([aside(place, error)])
                    if isinstance(body, Batch):
                        record.rows -= len(body)
                        with contextlib.suppress(BadData):
                            await self._try(record, [losses.tally_of(body, Cause.QUARANTINED)])
            await self._write(
                Commit([replace(record, bodies=())], [], {record.source_id: before}, {record.source_id: record.seq})
            )

    async def _try(self, record: Accepted, bodies: Sequence[Body]) -> None:
        """Bodies alone, in a savepoint."""
        key = record_id(record.source_id, record.seq)
        async with self._transaction():
            await self._copy_bodies([(key, body) for body in bodies])

    @contextlib.asynccontextmanager
    async def _transaction(self) -> AsyncIterator[None]:
        """What is rolled back in the database is forgotten here too: ids of new tags, hours noted."""
        try:
            with translated():
                async with self._db.transaction():
                    yield
        except BaseException:
            self._names.forget()
            self._noted.clear()
            raise

    async def _fence(self, expected: Mapping[int, int]) -> None:
        if not expected:
            return
        found = dict(await self._all(_LOCK_LEDGER, [sorted(expected)]))
        if found != dict(expected):
            raise Unavailable(f"ledger is {found}, this writer believed {dict(expected)}: another writer is at work")

    async def _write(self, commit: Commit) -> None:
        await self._quarantine(commit.quarantined)
        if commit.records:
            await self._copy_records(commit.records)
        changed = [(last, key) for key, last in commit.last.items() if last != commit.expected.get(key)]
        async with self._db.cursor() as cursor:
            await cursor.executemany(_ADVANCE, changed)

    async def _copy_records(self, records: Sequence[Accepted]) -> None:
        ids = [record_id(record.source_id, record.seq) for record in records]
        await self._copy_bodies([(key, body) for key, one in zip(ids, records, strict=True) for body in one.bodies])
        gateway_ns, rows = [one.gateway_ns for one in records], [one.rows for one in records]
        await self._copy(copying.RECORD, copying.record_rows(ids, gateway_ns, rows))

    async def _copy_bodies(self, bodies: Sequence[tuple[int, Body]]) -> None:
        events = [(key, body) for key, body in bodies if isinstance(body, Event)]
        for _, event in events:
            if event.kind == DECLARED:
                await self._names.declare(event)
        await self._copy_batches([(key, body) for key, body in bodies if isinstance(body, Batch) and len(body)])
        await self._copy_tallies([(key, body) for key, body in bodies if isinstance(body, Tally) and len(body)])
        await self._insert_waveforms([(key, body) for key, body in bodies if isinstance(body, Waveform)])
        await self._insert_events(events)

    async def _copy_batches(self, batches: Sequence[tuple[int, Batch]]) -> None:
        if not batches:
            return
        ids = [await self._names.tags(one.asset, one.tags) for _, one in batches]  # nothing can be asked inside a COPY
        if self._direct_rows is not None and sum(len(one) for _, one in batches) >= self._direct_rows:
            await self._db.execute(f"SET LOCAL {_DIRECT} = on".encode())
        known = {asset: await self._names.asset(asset) for asset in sorted({one.asset for _, one in batches})}
        assets = [known[one.asset] for _, one in batches]
        hours: set[int] = set()
        arrivals = Arrivals()
        async with (
            self._db.cursor() as cursor,
            cursor.copy(copying.MEASUREMENT.encode(), writer=_eager(cursor)) as copy,
        ):
            await copy.write(copying.BEGIN)
            for at in range(0, len(batches), SLICE):
                part = batches[at : at + SLICE]
                ts_ns = np.concatenate([one.ts_ns for _, one in part])
                hours.update(np.unique(ts_ns // HOUR_NS).tolist())
                arrivals.add(assets[at : at + SLICE], [len(one) for _, one in part], ts_ns)
                await copy.write(copying.batch_rows(part, ids[at : at + SLICE], ts_ns))
            await copy.write(copying.END)
        await self._note(hours)
        await self._arrived(arrivals)

    async def _arrived(self, arrivals: Arrivals) -> None:
        """Tells the analytics where new rows lie. No NOTIFY: it would make several writers commit one by one."""
        spans = arrivals.spans()
        await self._db.execute(_ARRIVED, [spans.asset_id, spans.hour_ns, spans.from_ns, spans.to_ns])

    async def _copy_tallies(self, tallies: Sequence[tuple[int, Tally]]) -> None:
        if not tallies:
            return
        tag_id = np.concatenate([(await self._names.tags(one.asset, one.tags))[one.tag] for _, one in tallies])
        record = np.repeat(np.array([key for key, _ in tallies], np.int64), [len(one) for _, one in tallies])
        minute = np.concatenate([one.minute_ns for _, one in tallies])
        expected = np.concatenate([one.expected for _, one in tallies])
        missing = np.concatenate([one.missing for _, one in tallies])
        await self._copy(copying.TALLY, copying.tally_rows(minute, record, tag_id, expected, missing))

    async def _copy(self, statement: str, rows: bytes) -> None:
        async with self._db.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            await copy.write(copying.BEGIN + rows + copying.END)

    async def _note(self, hours: Collection[int]) -> None:
        """Tells plain PostgreSQL which hours have new rows; at most once in NOTE_S for the same hours."""
        if self.engine == "timescale":
            return
        now = time.monotonic()
        if all(now - self._noted.get(hour, -math.inf) < NOTE_S for hour in hours):
            return
        await self._db.execute(_TOUCHED, [[hour * 3600 for hour in sorted(hours)]])
        self._noted = {hour: at for hour, at in self._noted.items() if now - at < NOTE_S} | dict.fromkeys(hours, now)

    async def _insert_waveforms(self, waveforms: Sequence[tuple[int, Waveform]]) -> None:
        if not waveforms:
            return
        rows = [(key, await self._names.asset(one.asset), one) for key, one in waveforms]
        await bursts.insert(self._db, rows)
        arrivals = Arrivals()
        arrivals.add([asset_id for _, asset_id, _ in rows], [2] * len(rows), bursts.ends([one for _, one in waveforms]))
        await self._arrived(arrivals)

    async def _insert_events(self, events: Sequence[tuple[int, Event]]) -> None:
        rows = []
        for key, one in events:
            said = (one.kind, one.key, one.ts_ns // 1000, int(one.severity), one.text, json.dumps(dict(one.data)), key)
            rows.append((one.id, one.phase.value, await self._names.asset(one.asset), *said))
        if rows:
            async with self._db.cursor() as cursor:
                await cursor.executemany(_EVENT, rows)

    async def _quarantine(self, items: Sequence[Quarantined]) -> None:
        if items:
            async with self._db.cursor() as cursor:
                await cursor.executemany(_QUARANTINE, [_quarantine_row(one) for one in items])

    async def maintain(self) -> bool:
        """What a plain server must be told to do now and then; true where there is more to do."""
        with translated():
            return bool((await self._all("SELECT rootdx.maintain()"))[0][0])

    async def quarantine(self, *, resolved: bool = False) -> list[tuple[Any, ...]]:
        """What lies there: id, gateway, seq, body, cause, reason, rows, arrivals, arrived, resolved, bytes."""
        with translated():
            return await self._all(_QUARANTINE_LIST, [resolved])

    async def retry(self, quarantine_id: int, bodies: Sequence[tuple[int, int, Body]], *, counted: bool) -> None:
        """Stores bodies (source_id, seq, body) that lay in quarantine and marks the entry resolved, all or nothing.

        Args:
            quarantine_id: the entry.
            bodies: what it holds.
            counted: whether its rows were counted as quarantined, tag by tag, which is taken back.

        Raises:
            BadData: the entry is resolved already, or the server still refuses; nothing was written.
        """
        async with self._transaction():
            cursor = await self._db.execute(_RESOLVE, [quarantine_id])
            if cursor.rowcount != 1:
                raise BadData(f"quarantine {quarantine_id}: no such entry, or it is resolved already")
            keyed = [(record_id(source_id, seq), body) for source_id, seq, body in bodies]
            batches = [(key, body) for key, body in keyed if counted and isinstance(body, Batch)]
            undo = [(key, losses.taken_back(losses.tally_of(body, Cause.QUARANTINED))) for key, body in batches]
            await self._copy_bodies([*keyed, *undo])
        log.info("quarantine resolved id=%d bodies=%d", quarantine_id, len(bodies))

    async def dismiss(self, quarantine_id: int) -> bool:
        """Marks an entry as looked at and not to be stored; false where there is no such entry any more."""
        with translated():
            return (await self._db.execute(_DISMISS, [quarantine_id])).rowcount == 1

    async def _all(self, query: str, args: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
        return await (await self._db.execute(query.encode(), args)).fetchall()


def _eager(cursor: psycopg.AsyncCursor[tuple[Any, ...]]) -> AsyncLibpqWriter:
    """Sends in pieces small enough that the server works while we pack the next."""
    return AsyncLibpqWriter(cursor, flush_threshold=256 << 10)


def _quarantine_row(one: Quarantined) -> tuple[Any, ...]:
    digest = hashlib.sha256(one.content).digest()
    reason = one.reason.replace("\0", "\\0")[:2000]
    return (one.source_id, one.seq, one.body, one.cause, reason, one.rows, one.content, digest)


_ENTER: Final = "INSERT INTO rootdx.ledger (gateway, epoch) VALUES (%s, %s) ON CONFLICT DO NOTHING"
_ENTRY: Final = "SELECT source_id, gateway, epoch, last_seq FROM rootdx.ledger WHERE gateway = %s AND epoch = %s"
_LOCK_LEDGER: Final = (
    "SELECT source_id, last_seq FROM rootdx.ledger WHERE source_id = ANY(%s) ORDER BY source_id FOR UPDATE"
)
_ADVANCE: Final = "UPDATE rootdx.ledger SET last_seq = %s, last_commit = now() WHERE source_id = %s"
_DIRECT: Final = "timescaledb.enable_direct_compress_copy"  # servers before 2.21 do not know it
_NOTICED: Final = """
    SELECT set_config('tcp_keepalives_idle', '5', false), set_config('tcp_keepalives_interval', '2', false),
           set_config('tcp_keepalives_count', '3', false), set_config('tcp_user_timeout', '11000', false),
           set_config('idle_in_transaction_session_timeout', '30s', false)"""
"""So that the rows which a writer locked are free soon after its computer is gone; as shipped it takes two hours."""
_TOUCHED: Final = "SELECT rootdx.touched(to_timestamp(hour)) FROM unnest(%s::bigint[]) hour"
_ARRIVED: Final = """
    INSERT INTO rootdx.arrival AS known (asset_id, hour, from_ts, to_ts)
    SELECT asset_id, to_timestamp(0) + hour / 1000 * INTERVAL '1 microsecond',
           to_timestamp(0) + first / 1000 * INTERVAL '1 microsecond',
           to_timestamp(0) + last / 1000 * INTERVAL '1 microsecond'
    FROM unnest(%s::int[], %s::bigint[], %s::bigint[], %s::bigint[]) AS new(asset_id, hour, first, last)
    ON CONFLICT (asset_id, hour) DO UPDATE
        SET from_ts = least(known.from_ts, EXCLUDED.from_ts), to_ts = greatest(known.to_ts, EXCLUDED.to_ts)"""
_EVENT: Final = """
    INSERT INTO rootdx.event (id, phase, asset_id, kind, key, ts, severity, text, data, record)
    VALUES (%s, %s, %s, %s, %s, to_timestamp(0) + %s * INTERVAL '1 microsecond', %s, %s, %s, %s)
    ON CONFLICT DO NOTHING"""
_QUARANTINE: Final = """
    INSERT INTO rootdx.quarantine (source_id, seq, body, cause, reason, rows, bytes, digest)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (digest, source_id, seq, body) DO UPDATE
        SET arrivals = rootdx.quarantine.arrivals + 1, arrived = now()"""
_QUARANTINE_LIST: Final = """
    SELECT q.id, l.gateway, q.seq, q.body, q.cause, q.reason, q.rows, q.arrivals, q.arrived, q.resolved, q.bytes,
           q.source_id
    FROM rootdx.quarantine q LEFT JOIN rootdx.ledger l USING (source_id)
    WHERE %s OR q.resolved IS NULL ORDER BY q.id"""
_DISMISS: Final = (
    "UPDATE rootdx.quarantine SET resolved = now(), reason = 'dismissed: ' || reason WHERE id = %s AND resolved IS NULL"
)
_RESOLVE: Final = "UPDATE rootdx.quarantine SET resolved = now() WHERE id = %s AND resolved IS NULL"


@contextlib.asynccontextmanager
async def opened(settings: StoreSettings) -> AsyncIterator[Store]:
    """A store on a migrated database.

    Raises:
        Unavailable: no database there.
        ConfigError: wrong password, too old, not migrated, ahead of this program.
    """
    db = await connect(store_dsn(settings), settings.connect_timeout_s)
    try:
        with translated():
            engine = await check_schema(db)
            await db.execute(_NOTICED)
            known = await (await db.execute("SELECT current_setting(%s, true)", [_DIRECT])).fetchone()
        yield Store(db, engine, settings.direct_columnstore_rows if known and known[0] else None)
    finally:
        with contextlib.suppress(psycopg.Error):
            await db.close()
