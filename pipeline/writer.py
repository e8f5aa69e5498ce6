"""PROCESS: bus to one transaction to announcement. Operated as writer.md says.

* Many records of many gateways share a transaction, bounded in rows and milliseconds; the next group is gathered and
  unpacked while the last one is being committed.
* Commit, then announce; never the other way round. What is announced was read under a lock in that transaction.
* A record or body that can never be stored goes to the quarantine with its bytes, in the same transaction, and the
  stream goes on.
* Several writers of one database share the gateways (roster.py). Who gains one reads its ledger afresh before anything
  of it is judged or announced; who loses one stores what was gathered of it, forgets it, and only then makes room.
* No memory between sessions: whatever goes wrong, the session is thrown away, the ledger is read again, and the
  gateways send again what is not in it.
"""

import asyncio
import collections
import contextlib
import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from pipeline import losses, metrics, wire
from pipeline.bus import Delivery, Session, connected
from pipeline.errors import BadData, RootdxError, Unavailable
from pipeline.ledger import Verdict, decide
from pipeline.model import Batch, Body, Cause, waveforms_of, weight_of
from pipeline.refusal import LARGEST_COUNT, foreign, named, refusal
from pipeline.roster import BEAT_S, WAITING_S, Member, Roster, Share
from pipeline.service import keep, together, wall_ns
from pipeline.settings import Settings, WriterSettings
from pipeline.store import Accepted, Commit, Entry, Quarantined, Store, opened
from pipeline.topics import ALL_RECORDS, Committed, committed_topic, gateway_of, record_topic

log = logging.getLogger(__name__)

MAINTAIN_S: Final = 60.0
LONGEST_WAIT_S: Final = 5.0
"""Between tries to reach database or broker."""
LEAVE_S: Final = 2.0
"""For a writer that is stopped to take itself off the list."""


async def run(settings: Settings) -> None:
    """Writes until cancelled, through every absence of broker and database."""
    life = uuid.uuid4()
    member = Member(settings.writer.name, settings.writer.gateways)
    topics = [record_topic(gateway) for gateway in member.gateways] or [ALL_RECORDS]
    queue = settings.writer.group.queue_messages

    async def attempt() -> None:
        async with opened(settings.store) as store:
            metrics.store_up.set(1)
            log.info("store connected engine=%s", store.engine)
            try:
                # A broker knows no two clients of one name, and of other databases' writers nobody here knows.
                async with connected(settings.bus, f"rootdx-writer-{life.hex[:12]}", topics, queue) as session:
                    log.info("bus connected host=%s port=%d", session.node.host, session.node.port)
                    await _Session(store, session, settings.writer, store.roster(member, life)).run()
            finally:
                metrics.store_up.set(0)

    with metrics.served("writer", settings.writer.metrics_port):
        await keep("writer", attempt, longest_wait_s=LONGEST_WAIT_S)


@dataclass(slots=True)
class _Group:
    """What is being gathered for one transaction, and whom to tell of it."""

    commit: Commit = field(default_factory=Commit)
    touched: set[int] = field(default_factory=set)
    holes: set[int] = field(default_factory=set)
    rows: int = 0
    began: float = field(default_factory=time.monotonic)

    def is_empty(self) -> bool:
        return not (self.touched or self.commit.quarantined)


class _Session:
    """One life of a store and a bus connection."""

    def __init__(self, store: Store, bus: Session, settings: WriterSettings, roster: Roster) -> None:
        self._store, self._bus, self._limits, self._roster = store, bus, settings.group, roster
        self._machines = settings.machines
        self._entries: dict[tuple[str, bytes], Entry] = {}
        self._by_id: dict[int, Entry] = {}
        self._last: dict[int, int] = {}  # as it will be once every group gathered so far is committed
        self._ready: asyncio.Queue[_Group] = asyncio.Queue(1)
        self._under_way: collections.deque[_Group] = collections.deque()  # until committed and announced
        self._announced = asyncio.Event()
        self._store_busy = asyncio.Lock()
        self._newest: Share | None = None
        self._shares: tuple[
            Share, ...
        ] = ()  # what was taken up, then what has become of it since: served is what is in all

    async def run(self) -> None:
        async with self._store_busy:
            await self._roster.join()
        try:
            settled = await self._arrange()
            await together(
                gather=self._gather(), commit=self._commit(), maintain=self._maintain(), share=self._share(settled)
            )
        except RootdxError:
            raise
        except BaseException:
            with contextlib.suppress(RootdxError, TimeoutError):
                async with asyncio.timeout(LEAVE_S):
                    await self._roster.leave()
            raise

    # Which gateways

    def _serves(self, gateway: str) -> bool:
        return bool(self._shares) and all(share.owns(gateway) for share in self._shares)

    async def _share(self, settled: bool) -> None:  # noqa: FBT001
        while True:
            await asyncio.sleep(BEAT_S if settled else WAITING_S)
            settled = await self._arrange()

    async def _arrange(self) -> bool:
        """Says that this writer is there, lets go of what others are to serve, takes up what falls to it.

        Returns:
            Whether it has all that falls to it.
        """
        async with self._store_busy:
            seen = await self._roster.beat()
        if seen.share != self._newest:
            log.info("writers at work names=%s", ",".join(one.name for one in seen.share.members))
            self._newest = seen.share
            self._shares = (*self._shares, seen.share) if self._shares else ()
            await self._let_go()
            async with self._store_busy:
                await self._roster.welcome(seen.share)
        if seen.welcome and self._shares != (seen.share,):
            await self._take_up(seen.share)
        if len(seen.share.members) > 1 and not self._by_id:
            metrics.moved("writer")  # nothing falls to it, so it is well without rows
        return self._shares == (seen.share,)

    async def _let_go(self) -> None:
        """Until nothing that was gathered of others' gateways is on its way; then they are forgotten."""
        while any(self._is_lost(key) for group in self._under_way for key in group.touched):
            self._announced.clear()
            await self._announced.wait()
        lost = [entry for entry in self._by_id.values() if not self._serves(entry.gateway)]
        for entry in lost:
            del self._by_id[entry.source_id], self._last[entry.source_id]
            del self._entries[entry.gateway, entry.epoch.bytes]
        for gateway in sorted({entry.gateway for entry in lost}):
            log.info("gateway left to another writer name=%s", gateway)
            metrics.lag_seconds.remove(gateway)
            metrics.last_commit.remove(gateway)
        self._tell_count()

    def _is_lost(self, key: int) -> bool:
        return not self._serves(self._by_id[key].gateway)

    async def _take_up(self, share: Share) -> None:
        """What the ledger says now of what is new to us, announced so that gateways send again what is not in it."""
        async with self._store_busy:
            there = await self._store.ledger()
        gained = [entry for entry in there if share.owns(entry.gateway) and not self._serves(entry.gateway)]
        for entry in gained:
            self._know(entry)
        self._shares = (share,)
        self._tell_count()
        newest = {entry.gateway: entry for entry in gained}
        for entry in newest.values():
            await self._announce(entry, hole=True)

    def _tell_count(self) -> None:
        metrics.writer_gateways.set(len({entry.gateway for entry in self._by_id.values()}))
        metrics.writers.set(0 if self._newest is None else len(self._newest.members))

    def _know(self, entry: Entry) -> None:
        self._entries[entry.gateway, entry.epoch.bytes] = entry
        self._by_id[entry.source_id] = entry
        self._last[entry.source_id] = entry.last

    # The stream

    async def _gather(self) -> None:
        group = self._begun()
        deliveries = self._bus.deliveries()
        waiting: asyncio.Task[Sequence[Delivery]] = asyncio.ensure_future(anext(deliveries))
        try:
            while True:
                patience = None if group.is_empty() else self._patience(group)
                await asyncio.wait([waiting], timeout=patience)
                if waiting.done():
                    try:
                        arrived = waiting.result()
                    except StopAsyncIteration as error:
                        raise Unavailable("bus: the broker closed the session") from error
                    waiting = asyncio.ensure_future(anext(deliveries))
                    for delivery in arrived:
                        group = await self._take(group, delivery)
                if not group.is_empty() and self._patience(group) <= 0:
                    group = await self._hand_over(group)
        finally:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            await deliveries.aclose()  # type: ignore[attr-defined]

    def _patience(self, group: _Group) -> float:
        return max(0.0, group.began + self._limits.wait_ms / 1000 - time.monotonic())

    async def _hand_over(self, group: _Group) -> _Group:
        await self._ready.put(group)
        return self._begun()

    def _begun(self) -> _Group:
        self._under_way.append(_Group())
        return self._under_way[-1]

    async def _take(self, group: _Group, delivery: Delivery) -> _Group:
        if group.is_empty():
            group.began = time.monotonic()
        try:
            gateway = gateway_of(delivery.topic)
            if not self._serves(gateway):
                metrics.left_to_others.inc()
                return group
            for frame in wire.frames(delivery.payload):
                if not self._serves(gateway):
                    break
                _check_source(frame, gateway)
                await self._judge(group, frame)
                await asyncio.sleep(0)  # the rows of the group before are on their way to the server meanwhile
                if group.rows >= self._limits.rows:
                    group = await self._hand_over(group)
        except BadData as error:
            metrics.quarantined.labels("frame").inc()
            group.commit.quarantined.append(Quarantined("frame", str(error), delivery.payload))
        return group

    async def _judge(self, group: _Group, frame: wire.Frame) -> None:
        entry = self._entries.get((frame.source, frame.epoch.bytes))
        if entry is None:
            async with self._store_busy:
                entry = await self._store.enter(frame.source, frame.epoch)
            if not self._serves(frame.source):
                return
            self._know(entry)
            self._tell_count()
        key = entry.source_id
        group.touched.add(key)
        group.commit.expected.setdefault(key, self._last[key])
        match decide(self._last[key], frame.previous, frame.seq):
            case Verdict.DUPLICATE:
                metrics.duplicates_dropped.labels(frame.source).inc()
            case Verdict.HOLE:
                metrics.holes.labels(frame.source).inc()
                group.holes.add(key)
            case Verdict.COMMIT:
                self._accept(group, entry, frame)
                self._last[key] = group.commit.last[key] = frame.seq
                group.holes.discard(key)

    def _accept(self, group: _Group, entry: Entry, frame: wire.Frame) -> None:
        key, bodies = entry.source_id, list[Body]()
        try:
            told = wire.record(frame).bodies
        except BadData as error:
            rows = min(frame.rows, LARGEST_COUNT)  # whatever the header says, the quarantine has a column for it
            self._set_aside(group, Quarantined("payload", str(error), wire.frame(frame), key, frame.seq, None, rows))
            told = ()
        rows = 0
        for place, body in enumerate(told):
            size = len(body) if isinstance(body, Batch) else 0
            cause, reason = "body", refusal(body)
            if named(body) is None and (wrong := foreign(entry.gateway, body, self._machines)) is not None:
                cause, reason = "machine", wrong
            if reason is None:
                bodies.append(body)
                rows += size
                continue
            self._set_aside(group, Quarantined(cause, reason, wire.pack([body]), key, frame.seq, place, size))
            if cause == "body" and isinstance(body, Batch) and named(body) is None:
                bodies.append(losses.tally_of(body, Cause.QUARANTINED, frame.gateway_ns))
        group.commit.records.append(Accepted(key, frame.seq, frame.gateway_ns, rows, bodies))
        group.rows += weight_of(bodies)

    @staticmethod
    def _set_aside(group: _Group, one: Quarantined) -> None:
        metrics.quarantined.labels(one.cause).inc()
        log.warning("quarantined cause=%s seq=%s reason=%s", one.cause, one.seq, one.reason)
        group.commit.quarantined.append(one)

    async def _commit(self) -> None:
        while True:
            group = await self._ready.get()
            started = time.monotonic()
            async with self._store_busy:
                try:
                    await self._store.commit(group.commit)
                except BadData as error:
                    log.warning("transaction refused, going record by record cause=%s", error)
                    await self._one_by_one(group)
            metrics.commit_seconds.observe(time.monotonic() - started)
            self._count(group.commit)
            for key in group.touched:
                entry = self._by_id[key]
                last = group.commit.last.get(key, group.commit.expected[key])
                self._by_id[key] = entry = Entry(key, entry.gateway, entry.epoch, last)
                await self._announce(entry, hole=key in group.holes)
            self._under_way.popleft()
            self._announced.set()

    async def _one_by_one(self, group: _Group) -> None:
        """The server refuses something that our own checks let pass: find it, set it aside, keep the rest."""
        believed = dict(group.commit.expected)
        if group.commit.quarantined:
            await self._store.commit(Commit(quarantined=group.commit.quarantined))
        for record in group.commit.records:
            key = record.source_id
            before, after = {key: believed[key]}, {key: record.seq}
            try:
                await self._store.commit(Commit([record], [], before, after))
            except BadData:
                await self._store.commit_bodies(record, believed[key], partial(_refused, record))
            believed[key] = record.seq

    async def _announce(self, entry: Entry, *, hole: bool) -> None:
        topic, said = committed_topic(entry.gateway), Committed(entry.epoch, entry.last)
        await self._bus.publish(topic, said.payload(), retain=True)
        if hole:
            await self._bus.publish(topic, Committed(entry.epoch, entry.last, hole=True).payload())

    def _count(self, commit: Commit) -> None:
        for record in commit.records:
            gateway = self._by_id[record.source_id].gateway
            metrics.committed_records.labels(gateway).inc()
            metrics.committed_rows.labels(gateway).inc(record.rows)
            metrics.committed_waveforms.labels(gateway).inc(waveforms_of(record.bodies))
            if record.rows:
                metrics.last_commit.labels(gateway).set(time.time())
                metrics.moved("writer")
        if commit.records:
            newest = commit.records[-1]
            age_s = (wall_ns() - newest.gateway_ns) / 1e9
            metrics.lag_seconds.labels(self._by_id[newest.source_id].gateway).set(age_s)

    async def _maintain(self) -> None:
        while True:
            more = self._newest is not None and self._newest.leads
            while more:
                async with self._store_busy:
                    more = await self._store.maintain()
            await asyncio.sleep(MAINTAIN_S)


def _refused(record: Accepted, place: int, error: BadData) -> Quarantined:
    body = record.bodies[place]
    rows = len(body) if isinstance(body, Batch) else 0
    metrics.quarantined.labels("refused").inc()
    log.warning("quarantined cause=refused seq=%d body=%d reason=%s", record.seq, place, error)
    return Quarantined("refused", str(error), wire.pack([body]), record.source_id, record.seq, place, rows)


def _check_source(frame: wire.Frame, gateway: str) -> None:
    if frame.source != gateway:
        raise BadData(f"frame of gateway {frame.source!r} on the topic of {gateway!r}")
