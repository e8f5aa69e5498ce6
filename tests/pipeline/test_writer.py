"""From the bus into the tables, exactly once, whatever arrives and whoever dies; what cannot be stored is set aside."""

import asyncio
import contextlib
import json
import math
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

from pipeline import wire, writer
from pipeline.bus import Session, connected
from pipeline.forwarder import forward
from pipeline.model import Batch, Body, Event, Tally
from pipeline.refusal import named
from pipeline.settings import Bus, Forwarding, Settings, StoreSettings
from pipeline.spool import Spool
from pipeline.topics import Committed, committed_topic, parse_committed, record_topic
from rootdx import quarantine
from rootdx.embedded import Broker, Postgres
from tests.support.proxy import Proxy
from tests.support.services import reachable_folder, run
from tests.support.spine import ASSET, T0_NS, ask, batch, event, frame, one, spool_settings, tally, writer_settings

AWAY = 25 * 60_000_000_000


@contextlib.asynccontextmanager
async def writing(settings: Settings) -> AsyncIterator["asyncio.Task[None]"]:
    work = asyncio.create_task(writer.run(settings))
    try:
        yield work
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work


async def until(true: Callable[[], bool], patience_s: float = 15.0, work: "asyncio.Task[None] | None" = None) -> None:
    deadline = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < deadline, "it never came about"
        if work is not None and work.done():
            work.result()
        await asyncio.sleep(0.02)


class Gateway:
    """A gateway that sends what the test says and hears what is announced."""

    def __init__(self, session: Session, name: str) -> None:
        self.session, self.name = session, name
        self.epoch = uuid.uuid4()
        self.last = 0
        self.said: list[Committed] = []
        self.seq = 0

    async def listen(self) -> None:
        async for deliveries in self.session.deliveries():
            for delivery in deliveries:
                said = parse_committed(delivery.payload)
                self.said.append(said)
                if said.epoch == self.epoch:
                    self.last = said.last

    def frame(self, *bodies: Body, seq: int | None = None, previous: int | None = None) -> bytes:
        if seq is None:
            self.seq += 1
            seq = self.seq
        return wire.frame(frame(bodies, seq, previous, self.name, self.epoch))

    async def send(self, *messages: bytes) -> None:
        await self.session.publish(record_topic(self.name), b"".join(messages))

    async def committed(self, seq: int) -> None:
        await until(lambda: self.last >= seq)


@contextlib.asynccontextmanager
async def gateway(broker: Broker, name: str = "") -> AsyncIterator[Gateway]:
    name = name or f"gw-{secrets.token_hex(3)}"
    async with connected(Bus(port=broker.port), f"test-{name}", [committed_topic(name)]) as session:
        mine = Gateway(session, name)
        work = asyncio.create_task(mine.listen())
        try:
            yield mine
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "LONGEST_WAIT_S", 0.3)


@pytest.fixture
async def gw(broker: Broker) -> AsyncIterator[Gateway]:
    async with gateway(broker) as mine:
        yield mine


@pytest.fixture
async def running(plain_dsn: str, broker: Broker, gw: Gateway) -> AsyncIterator["asyncio.Task[None]"]:
    async with writing(writer_settings(plain_dsn, broker.port)) as work:
        await until(
            lambda: (
                one(
                    plain_dsn,
                    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rootdx' AND datname = "
                    "current_database()",
                )
                == 1
            )
        )
        await asyncio.sleep(0.1)  # and it has subscribed
        yield work


def stored(dsn: str) -> list[float]:
    return [value for (value,) in ask(dsn, "SELECT value FROM rootdx.measurement ORDER BY record, ts, value")]


def aside(dsn: str) -> list[tuple[Any, ...]]:
    return ask(dsn, "SELECT cause, reason, seq, body, rows FROM rootdx.quarantine ORDER BY id")


# The stream


async def test_records_of_two_gateways_do_not_mix(
    plain_dsn: str, running: "asyncio.Task[None]", gw: Gateway, broker: Broker
) -> None:
    async with gateway(broker) as other:
        for i in range(20):
            await gw.send(gw.frame(batch(10 * i)))
            await other.send(other.frame(batch(1000 + 10 * i, asset="acme/ansan1/casting/line1/dc2")))
        await gw.committed(20)
        await other.committed(20)
    rows = ask(
        plain_dsn, "SELECT gateway, count(*), min(value), max(value) FROM rootdx.provenance GROUP BY 1 ORDER BY 3"
    )
    assert rows == [(gw.name, 60, 0.0, 192.0), (other.name, 60, 1000.0, 1192.0)]


async def test_duplicates_are_dropped_and_announced_again(
    plain_dsn: str, running: "asyncio.Task[None]", gw: Gateway
) -> None:
    first, second = gw.frame(batch(0)), gw.frame(batch(10))
    await gw.send(first, first, second)
    await gw.committed(2)
    count = len(gw.said)
    await gw.send(second, first)
    await until(lambda: len(gw.said) > count)
    assert stored(plain_dsn) == [0, 1, 2, 10, 11, 12]
    assert gw.last == 2


async def test_hole_is_told_and_nothing_behind_it_is_stored(
    plain_dsn: str, running: "asyncio.Task[None]", gw: Gateway
) -> None:
    one_, two, three = gw.frame(batch(0)), gw.frame(batch(10)), gw.frame(batch(20))
    await gw.send(one_)
    await gw.send(three)
    await until(lambda: Committed(gw.epoch, 1, hole=True) in gw.said)
    assert stored(plain_dsn) == [0, 1, 2]
    await gw.send(two, three)
    await gw.committed(3)
    assert stored(plain_dsn) == [0, 1, 2, 10, 11, 12, 20, 21, 22]


async def test_numbers_that_were_skipped_are_no_hole(
    plain_dsn: str, running: "asyncio.Task[None]", gw: Gateway
) -> None:
    await gw.send(gw.frame(batch(0), seq=5, previous=0), gw.frame(batch(10), seq=1 << 30, previous=5))
    await gw.committed(1 << 30)
    assert len(stored(plain_dsn)) == 6


async def test_many_records_share_a_transaction(plain_dsn: str, running: "asyncio.Task[None]", gw: Gateway) -> None:
    await gw.send(*(gw.frame(batch(i, 1)) for i in range(300)))
    await gw.committed(300)
    assert one(plain_dsn, "SELECT count(DISTINCT ingest_ts) FROM rootdx.record") < 10
    assert one(plain_dsn, "SELECT count(*) FROM rootdx.record") == 300


async def test_new_spool_of_a_gateway_begins_anew(plain_dsn: str, running: "asyncio.Task[None]", gw: Gateway) -> None:
    await gw.send(gw.frame(batch(0)))
    await gw.committed(1)
    gw.epoch, gw.seq, gw.last = uuid.uuid4(), 0, 0
    await gw.send(gw.frame(batch(10)))
    await gw.committed(1)
    assert ask(plain_dsn, "SELECT last_seq FROM rootdx.ledger") == [(1,), (1,)]
    assert len(stored(plain_dsn)) == 6


# What cannot be stored


def sealed(*parts: tuple[int, bytes]) -> bytes:
    import struct

    plain = b"".join(struct.pack("<BxHI", kind, 0, len(content)) + content for kind, content in parts)
    return zstandard.ZstdCompressor().compress(plain)


def raw_batch(**columns: Any) -> Batch:
    n = 2
    given = {
        "asset": ASSET,
        "tags": ("a",),
        "ts_ns": np.full(n, T0_NS),
        "tag": np.zeros(n, np.uint16),
        "value": np.ones(n),
        "quality": np.zeros(n, np.uint32),
    }
    return Batch(**{**given, **columns})


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else 1


OUT_OF_TIME = [0, 946_684_799_999_999_999, 4_102_444_800_000_000_000, -(2**63), 2**63 - 1]
REFUSED: list[tuple[Body, str]] = [
    *(
        (raw_batch(ts_ns=np.array([T0_NS, ts])), "expected a time from 2000 to 2099; check the device's clock")
        for ts in OUT_OF_TIME
    ),
    (raw_batch(value=np.array([1.0, math.nan])), "no number and claims to be good"),
    (raw_batch(value=np.array([1.0, math.inf])), "no number and claims to be good"),
    (raw_batch(value=np.array([1.0, -math.inf]), quality=np.array([0, 0x40000000], np.uint32)), "no number"),
    (raw_batch(asset="x" * 201), "expected 1 to 200 printable characters"),
    (raw_batch(asset="a\0b"), "printable"),
    (raw_batch(tags=("t" * 201,)), "expected 1 to 200 printable characters"),
    (raw_batch(tags=("a", "a")), "a tag is named twice"),
    (tally(-(1 << 31)), "counts from -2147483648 to 0"),
    (tally(1, late=1 << 31), "counts from 0 to 2147483648"),
    (tally(1, minute_ns=0), "expected minutes from 2000 to 2099"),
    (event(ts_ns=0), "expected a time from 2000 to 2099"),
    (event(ts_ns=10**30), "expected a time from 2000 to 2099"),
    (event("a\0b"), "NUL"),
    (event(data={"a": ["x\0"]}), "NUL"),
    (event(data={"a\0": 1}), "NUL"),
    (event("\ud800"), "half a surrogate"),
    (event(data={"a": {"b": "\udfff"}}), "half a surrogate"),
    (event(key="\udcff"), "half a surrogate"),
    (event(data={"a": math.nan}), "NaN, an infinite number"),
    (event(data={"a": [math.inf]}), "NaN, an infinite number"),
    (event(data={"a": nested(100)}), "more than 32 levels"),
    (event(data={"a": nested(700)}), "more than 32 levels"),
    (event(kind="machine.declared", data={"tags": 5}), "expected name, process and a list of tags"),
    (event(kind="machine.declared", data={"tags": None}), "expected name, process and a list of tags"),
    (event(kind="machine.declared", data={"tags": ["a"]}), "expected name, process and a list of tags"),
    (event(kind="machine.declared", data={"tags": [{"role": "x"}]}), "expected name, process and a list of tags"),
    (event(kind="machine.declared", data={"name": {"x": 1}}), "expected name, process and a list of tags"),
    (event(kind="machine.declared", data={"tags": [{"name": "x" * 5000}]}), "expected 1 to 200 printable"),
]


async def test_body_that_can_never_be_stored_is_set_aside_and_the_stream_goes_on(
    plain_dsn: str, running: "asyncio.Task[None]", gw: Gateway
) -> None:
    for i, (body, _) in enumerate(REFUSED):
        await gw.send(gw.frame(batch(10 * i, 1), body, tally(1, tags=("a",))))
    last = await settled(plain_dsn, gw, running)
    assert last == len(REFUSED)
    assert stored(plain_dsn) == [10.0 * i for i in range(len(REFUSED))]
    entries = aside(plain_dsn)
    assert [(cause, seq, place) for cause, _, seq, place, _ in entries] == [
        ("body", i + 1, 1) for i in range(len(REFUSED))
    ]
    for (_, reason, _, _, rows), (body, words) in zip(entries, REFUSED, strict=True):
        assert words in reason, (reason, words)
        assert rows == (2 if isinstance(body, Batch) else 0)
    for (content,), (body, _) in zip(
        ask(plain_dsn, "SELECT bytes FROM rootdx.quarantine ORDER BY id"), REFUSED, strict=True
    ):
        (kept,) = wire.unpack(content)
        assert kept == body or isinstance(body, Event)
    counted = one(plain_dsn, "SELECT sum(quarantined) FROM rootdx.tally")
    whose = [body for body, _ in REFUSED if isinstance(body, Batch) and named(body) is None]
    assert counted == 2 * len(whose)
    assert one(plain_dsn, "SELECT count(*) FROM rootdx.tally WHERE minute < now() - INTERVAL '9 years'") == 0


async def settled(dsn: str, gw: Gateway, work: "asyncio.Task[None]") -> int:
    await until(lambda: gw.last >= gw.seq, work=work)
    return gw.last


GARBAGE = [b"", b"x", b"\xff" * 200, b"RDX\x02" + bytes(60), b"RDX\x01" + bytes(60)]


async def test_garbage_on_the_topic_is_set_aside_as_it_is(
    plain_dsn: str, running: "asyncio.Task[None]", gw: Gateway
) -> None:
    for payload in GARBAGE:
        await gw.send(payload)
        await gw.send(gw.frame(batch(gw.seq, 1)))
    await gw.send(gw.frame(batch(99, 1)) + b"rest")
    await gw.committed(len(GARBAGE) + 1)
    assert len(stored(plain_dsn)) == len(GARBAGE) + 1
    await until(lambda: len(aside(plain_dsn)) == len(GARBAGE))  # an empty message is no frame at all
    rows = ask(plain_dsn, "SELECT cause, seq, bytes FROM rootdx.quarantine ORDER BY id")
    assert [(cause, seq) for cause, seq, _ in rows] == [("frame", None)] * len(GARBAGE)
    assert [content for *_, content in rows][:-1] == GARBAGE[1:]


async def test_same_garbage_again_and_again_is_one_entry(
    plain_dsn: str, running: "asyncio.Task[None]", gw: Gateway
) -> None:
    for _ in range(30):
        await gw.send(b"noise")
    await until(lambda: ask(plain_dsn, "SELECT arrivals FROM rootdx.quarantine") == [(30,)])


async def test_record_on_the_topic_of_another_gateway_is_set_aside(
    plain_dsn: str, running: "asyncio.Task[None]", gw: Gateway
) -> None:
    await gw.send(wire.frame(frame([batch()], 1, source="gw-other", epoch=gw.epoch)))
    await gw.send(gw.frame(batch()))
    await gw.committed(1)
    ((cause, reason, *_),) = aside(plain_dsn)
    assert (cause, reason) == ("frame", f"frame of gateway 'gw-other' on the topic of {gw.name!r}")
    assert len(stored(plain_dsn)) == 3


async def test_payload_that_cannot_be_read_is_set_aside_and_its_number_taken(
    plain_dsn: str, running: "asyncio.Task[None]", gw: Gateway
) -> None:
    unknown = wire.Frame(gw.name, gw.epoch, 1, 0, T0_NS, 4_000_000_000, sealed((9, bytes(8))))
    damaged = wire.Frame(gw.name, gw.epoch, 2, 1, -(2**63), 7, b"no zstd")
    gw.seq = 2
    await gw.send(wire.frame(unknown), wire.frame(damaged), gw.frame(batch()))
    assert await settled(plain_dsn, gw, running) == 3
    (first, second) = aside(plain_dsn)
    assert (first[0], first[2:]) == ("payload", (1, None, 2_147_483_647))
    assert "kind 9, this program knows 1 to 4; upgrade it" in first[1]
    assert (second[0], second[2:]) == ("payload", (2, None, 7))
    assert len(stored(plain_dsn)) == 3


@pytest.mark.parametrize("tally_body", [False, True])
async def test_what_the_server_alone_refuses_is_found_and_set_aside(
    plain_dsn: str, running: "asyncio.Task[None]", gw: Gateway, tally_body: bool
) -> None:
    table, column = ("tally", "expected") if tally_body else ("measurement", "value")
    ask(
        plain_dsn,
        f"CREATE FUNCTION rootdx.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.{column} = 666 THEN "
        "RAISE 'not that number'; END IF; RETURN NEW; END $$",
    )
    ask(
        plain_dsn,
        f"CREATE TRIGGER refuse BEFORE INSERT ON rootdx.{table} FOR EACH ROW EXECUTE FUNCTION rootdx.refuse()",
    )
    poison = tally(666, tags=("a",)) if tally_body else batch(666, 2, tags=("a",))
    messages = [gw.frame(batch(i, 1, tags=("a",)), tally(1), event(ts_ns=T0_NS + i)) for i in range(5)]
    messages.insert(
        2,
        gw.frame(batch(50, 1, tags=("a",)), poison, tally(3), event("beside it", ts_ns=T0_NS + 99), seq=3, previous=2),
    )
    gw.seq, fixed = 0, []
    for i in range(6):
        bodies = wire.record(next(wire.frames(messages[i]))).bodies
        fixed.append(gw.frame(*bodies))
    await gw.send(*fixed)
    assert await settled(plain_dsn, gw, running) == 6
    ((cause, reason, seq, place, rows),) = aside(plain_dsn)
    assert (cause, seq, place, rows) == ("refused", 3, 1, 0 if tally_body else 2)
    assert "not that number" in reason
    assert sorted(stored(plain_dsn)) == [0, 1, 2, 3, 4, 50]
    assert one(plain_dsn, "SELECT count(*) FROM rootdx.event") == 6
    sums = ask(plain_dsn, "SELECT sum(expected), sum(good), sum(quarantined) FROM rootdx.completeness")
    assert sums == [(8, 6, 0)] if tally_body else [(8, 6, 2)]
    # and once the server would take it
    ask(plain_dsn, f"DROP TRIGGER refuse ON rootdx.{table}")
    (outcome,) = await quarantine.retry(StoreSettings(dsn=plain_dsn), [])
    assert outcome.refused is None
    sums = ask(plain_dsn, "SELECT sum(expected), sum(good), sum(quarantined) FROM rootdx.completeness")
    assert sums == [(674, 6, 0)] if tally_body else [(8, 8, 0)]


async def test_gateway_speaks_of_its_own_machines_alone(
    plain_dsn: str, broker: Broker, gw: Gateway, tmp_path: Path
) -> None:
    other = "acme/ansan1/heat/line1/iq1"
    ours = {gw.name: ("acme/ansan1/casting/*",), "gw-heat": (other,)}
    settings = writer_settings(plain_dsn, broker.port)
    settings = settings.model_copy(update={"writer": settings.writer.model_copy(update={"machines": ours})})
    foreign: list[Body] = [
        batch(900, asset=other), tally(3, asset=other), event(asset=other), event(asset="gateway/gw-heat"),
        batch(950, asset="acme/ansan1/casting2/line1/dc1"),
    ]  # fmt: skip
    async with gateway(broker, "gw-new") as stranger, writing(settings) as work:
        await until(lambda: one(plain_dsn, "SELECT count(*) FROM rootdx.writer") == 1, work=work)
        await gw.send(gw.frame(batch(0), *foreign, tally(3), event(asset=f"gateway/{gw.name}")))
        await gw.committed(1)
        await stranger.send(stranger.frame(batch(990), event(asset="gateway/gw-new")))
        await stranger.committed(1)
    assert stored(plain_dsn) == [0, 1, 2]
    paths = {path for (path,) in ask(plain_dsn, "SELECT path FROM rootdx.asset")}
    assert paths == {ASSET, "gateway/gw-new", f"gateway/{gw.name}"}
    entries = aside(plain_dsn)
    assert [(cause, place, rows) for cause, _, _, place, rows in entries] == [
        ("machine", 1, 3), ("machine", 2, 0), ("machine", 3, 0), ("machine", 4, 0), ("machine", 5, 3),
        ("machine", 0, 3),
    ]  # fmt: skip
    assert f"gateway {gw.name} may not send it" in entries[0][1]
    assert ask(plain_dsn, "SELECT sum(expected), sum(quarantined) FROM rootdx.completeness") == [(3, 0)]
    store = StoreSettings(dsn=plain_dsn)
    assert all("give its number" in str(one.refused) for one in await quarantine.retry(store, []))
    assert stored(plain_dsn) == [0, 1, 2]
    outcomes = await quarantine.retry(store, [1, 2])  # a person looked: the machine was moved
    assert [one.refused for one in outcomes] == [None, None]
    assert sorted(stored(plain_dsn)) == [0, 1, 2, 900, 901, 902]
    assert ask(plain_dsn, "SELECT sum(expected), sum(good), sum(quarantined) FROM rootdx.completeness") == [(6, 6, 0)]


async def test_quarantine_is_listed_exported_and_retried(
    plain_dsn: str, running: "asyncio.Task[None]", gw: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gw.send(gw.frame(raw_batch(ts_ns=np.array([T0_NS, 0])), tally(2)))
    await gw.send(b"noise")
    await gw.committed(1)
    await until(lambda: len(aside(plain_dsn)) == 2)
    store = StoreSettings(dsn=plain_dsn)
    body, noise = await quarantine.entries(store, everything=False)
    assert (body.gateway, body.seq, body.body, body.cause, body.rows) == (gw.name, 1, 0, "body", 2)
    assert (noise.gateway, noise.seq, noise.cause, noise.content) == (None, None, "frame", b"noise")
    outcomes = {one.id: one for one in await quarantine.retry(store, [])}
    assert "check the device's clock" in str(outcomes[body.id].refused)
    assert "never were a record" in str(outcomes[noise.id].refused)
    quarantine.export([body, noise], tmp_path / "aside.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "aside.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [body.id, noise.id]
    assert quarantine.as_text([body, noise], "csv").count("\n") == 3
    monkeypatch.setattr(quarantine, "refusal", lambda _: None)  # a later program that takes it
    retried = await quarantine.retry(store, [body.id, 999])
    assert sorted((one.id, one.rows, one.refused) for one in retried) == [
        (body.id, 2, None), (999, 0, "no such entry, or it is resolved already"),
    ]  # fmt: skip
    assert [one.id for one in await quarantine.entries(store, everything=False)] == [noise.id]
    assert ask(plain_dsn, "SELECT sum(expected), sum(good), sum(quarantined) FROM rootdx.completeness") == [(2, 2, 0)]


async def test_entry_for_a_file_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    from pipeline.errors import ConfigError

    with pytest.raises(ConfigError, match="cannot be written"):
        quarantine.export([], tmp_path / "no" / "aside.jsonl")


# Who dies


@contextlib.asynccontextmanager
async def spooling(folder: Path, port: int, name: str, **settings: float) -> AsyncIterator[Spool]:
    """A real spool with a real forwarder."""
    async with Spool(spool_settings(folder, **settings), name, lambda: T0_NS) as spool:
        forwarding = Forwarding(patience_s=0.3, message_kb=1)
        work = asyncio.create_task(forward(spool, Bus(port=port, timeout_s=2.0, keepalive_s=2), forwarding))
        try:
            yield spool
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work


async def fed(spool: Spool, records: int, first: int = 0) -> None:
    for i in range(first, first + records):
        await spool.append([batch(i, 1, tags=("a",)), tally(1)])


def assert_once(dsn: str, count: int) -> None:
    assert stored(dsn) == [float(i) for i in range(count)]
    assert ask(dsn, "SELECT sum(expected), sum(good) FROM rootdx.completeness") == [(count, count)]


async def test_cut_links_cost_nothing_and_double_nothing(
    plain_dsn: str, broker: Broker, postgres: Postgres, tmp_path: Path
) -> None:
    async with Proxy("127.0.0.1", broker.port) as to_broker, Proxy("127.0.0.1", postgres.port) as to_database:
        dsn = plain_dsn.replace(f":{postgres.port}/", f":{to_database.port}/")
        async with (
            writing(writer_settings(dsn, to_broker.port)) as work,
            spooling(tmp_path / "spool", to_broker.port, f"gw-{secrets.token_hex(3)}") as spool,
        ):
            for turn in range(4):
                await fed(spool, 25, 25 * turn)
                (to_broker, to_database)[turn % 2].cut()
            await until(lambda: spool.pending() == 0, work=work)
    assert_once(plain_dsn, 100)


async def test_two_writers_at_once_store_everything_once(plain_dsn: str, broker: Broker, tmp_path: Path) -> None:
    settings = writer_settings(plain_dsn, broker.port)
    async with (
        writing(settings),
        writing(settings),
        spooling(tmp_path / "spool", broker.port, f"gw-{secrets.token_hex(3)}") as spool,
    ):
        for turn in range(5):
            await fed(spool, 20, 20 * turn)
            await asyncio.sleep(0.1)  # time for them to get in each other's way
        await until(lambda: spool.pending() == 0, 30)
    assert_once(plain_dsn, 100)


@pytest.fixture
def own_broker() -> Iterator[Broker]:
    with reachable_folder() as folder:
        server = Broker(folder)
        run(server.start())
        yield server
        run(server.stop())


async def test_any_order_of_starting_is_right(
    plain_dsn: str, own_broker: Broker, postgres: Postgres, tmp_path: Path
) -> None:
    name = f"gw-{secrets.token_hex(3)}"
    own_broker.kill()  # the broker comes last
    async with Proxy("127.0.0.1", postgres.port) as to_database:
        await asyncio.sleep(0)
        to_database.refuse()  # the database after the writer
        dsn = plain_dsn.replace(f":{postgres.port}/", f":{to_database.port}/")
        async with (
            writing(writer_settings(dsn, own_broker.port)) as work,
            spooling(tmp_path / "spool", own_broker.port, name) as spool,
        ):
            await fed(spool, 10)
            to_database.heal()
            await asyncio.sleep(0.2)
            assert spool.pending() == 10
            await own_broker.start()
            await until(lambda: spool.pending() == 0, work=work)
    assert_once(plain_dsn, 10)


async def test_killed_database_comes_back_under_the_writer(broker: Broker, tmp_path: Path) -> None:
    from pipeline import migrate

    with reachable_folder() as folder:
        server = Postgres(folder)
        await server.start()
        try:
            await migrate.migrate(server.dsn())
            async with (
                writing(writer_settings(server.dsn(), broker.port)) as work,
                spooling(tmp_path / "spool", broker.port, f"gw-{secrets.token_hex(3)}") as spool,
            ):
                await fed(spool, 20)
                server.kill()
                await fed(spool, 20, 20)
                await server.start()
                await fed(spool, 20, 40)
                await until(lambda: spool.pending() == 0, 30, work)
            assert_once(server.dsn(), 60)
        finally:
            await server.stop()


async def test_store_that_went_back_in_time_gets_again_what_was_kept(
    plain_dsn: str, broker: Broker, tmp_path: Path
) -> None:
    name = f"gw-{secrets.token_hex(3)}"
    settings = writer_settings(plain_dsn, broker.port)
    async with spooling(tmp_path / "spool", broker.port, name) as spool:
        async with writing(settings):
            await fed(spool, 10)
            await until(lambda: spool.pending() == 0)
        ask(plain_dsn, "UPDATE rootdx.ledger SET last_seq = 4 WHERE gateway = %s", name)
        ask(plain_dsn, "DELETE FROM rootdx.measurement WHERE value >= 4")
        async with writing(settings):
            await until(lambda: len(stored(plain_dsn)) == 10)
            await fed(spool, 3, 10)
            await until(lambda: spool.pending() == 0)
    assert sorted(stored(plain_dsn)) == list(range(13))
    assert one(plain_dsn, "SELECT count(*) FROM rootdx.event WHERE kind = 'loss'") == 0


async def test_store_that_went_back_in_time_gets_what_is_still_held_and_is_told_the_rest(
    plain_dsn: str, broker: Broker, tmp_path: Path
) -> None:
    name = f"gw-{secrets.token_hex(3)}"
    settings = writer_settings(plain_dsn, broker.port)
    async with spooling(tmp_path / "spool", broker.port, name, keep_mb=0) as spool:
        async with writing(settings):
            await fed(spool, 10)
            await until(lambda: spool.pending() == 0)
        ask(plain_dsn, "UPDATE rootdx.ledger SET last_seq = 4 WHERE gateway = %s", name)
        ask(plain_dsn, "DELETE FROM rootdx.measurement WHERE value >= 4")
        async with writing(settings):
            await until(lambda: one(plain_dsn, "SELECT count(*) FROM rootdx.event WHERE kind = 'loss'") == 1)
            await fed(spool, 3, 10)
            await until(lambda: spool.pending() == 0)
    assert sorted(stored(plain_dsn)) == [0, 1, 2, 3, 10, 11, 12]
    ((data,),) = ask(plain_dsn, "SELECT data FROM rootdx.event WHERE kind = 'loss'")
    assert (data["from_seq"], data["to_seq"]) == (5, 10)


def bodies_of(frames: Sequence[wire.Frame]) -> list[Body]:
    return [body for one in frames for body in wire.record(one).bodies]


@pytest.mark.timescale
async def test_stream_on_timescale(timescale_store: str, broker: Broker, gw: Gateway) -> None:
    async with writing(writer_settings(timescale_store, broker.port)) as work:
        await asyncio.sleep(1.0)  # one backend: no looking whether it is connected while it connects
        await gw.send(*(gw.frame(batch(10 * i), tally(3), event(ts_ns=T0_NS + i)) for i in range(50)))
        await settled(timescale_store, gw, work)
    assert len(stored(timescale_store)) == 150
    assert one(timescale_store, "SELECT count(*) FROM rootdx.event") == 50
    assert isinstance(tally(1), Tally)
