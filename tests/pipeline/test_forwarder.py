"""Everything the spool holds is sent until it is announced as committed; nothing is released before."""

import asyncio
import contextlib
import logging
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from pipeline import metrics, wire
from pipeline.bus import Session, connected
from pipeline.forwarder import forward
from pipeline.ledger import Verdict, decide
from pipeline.model import Event
from pipeline.settings import Bus, Forwarding
from pipeline.spool import Spool
from pipeline.spool_file import LEAP
from pipeline.topics import Committed, committed_topic, record_topic
from rootdx.embedded import Broker
from tests.support.proxy import Proxy
from tests.support.spine import T0_NS, batch, spool_settings, values_of


class FakeWriter:
    """A writer that does what the test says: keeps a ledger, and announces when told to."""

    def __init__(self, session: Session, gateway: str, spool: Spool) -> None:
        self.session, self.gateway, self.spool = session, gateway, spool
        self.arrived: list[wire.Frame] = []
        self.committed: list[wire.Frame] = []
        self.last = 0
        self.loses: Callable[[wire.Frame], bool] = lambda _: False
        self.announces = True

    async def work(self) -> None:
        async for deliveries in self.session.deliveries():
            hole = False
            for frame in (one for delivery in deliveries for one in wire.frames(delivery.payload)):
                if self.loses(frame):
                    continue
                self.arrived.append(frame)
                verdict = decide(self.last, frame.previous, frame.seq)
                hole = verdict is Verdict.HOLE
                if verdict is Verdict.COMMIT:
                    self.committed.append(frame)
                    self.last = frame.seq
            if self.announces:
                await self.announce(self.last)
                if hole:
                    await self.announce(self.last, hole=True)

    async def announce(self, last: int, *, hole: bool = False, retain: bool = False) -> None:
        await self.say(Committed(self.spool.epoch, last, hole).payload(), retain=retain)

    async def say(self, payload: bytes, *, retain: bool = False) -> None:
        await self.session.publish(committed_topic(self.gateway), payload, retain=retain)


async def until(true: Callable[[], bool], patience_s: float = 10.0) -> None:
    deadline = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < deadline, "it never came about"
        await asyncio.sleep(0.005)


@pytest.fixture
async def link(broker: Broker) -> AsyncIterator[Proxy]:
    async with Proxy("127.0.0.1", broker.port) as proxy:
        yield proxy


@pytest.fixture
async def spool(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Spool]:
    settings = spool_settings(tmp_path / "spool", keep_mb=getattr(request, "param", 1.0))
    async with Spool(settings, f"gw-{secrets.token_hex(3)}", lambda: T0_NS) as one:
        yield one


@pytest.fixture
async def writer(broker: Broker, spool: Spool) -> AsyncIterator[FakeWriter]:
    bus = Bus(port=broker.port)
    async with connected(bus, f"writer-{spool.source}", [record_topic(spool.source)]) as session:
        fake = FakeWriter(session, spool.source, spool)
        work = asyncio.create_task(fake.work())
        yield fake
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


@contextlib.asynccontextmanager
async def forwarding(spool: Spool, link: Proxy, **settings: float) -> AsyncIterator[None]:
    bus = Bus(port=link.port, timeout_s=2.0, keepalive_s=2)
    given = Forwarding.model_validate({"patience_s": 0.3, **settings})
    work = asyncio.create_task(forward(spool, bus, given))
    try:
        yield
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work


async def filled(spool: Spool, records: int, first: int = 0) -> None:
    for i in range(first, first + records):
        await spool.append([batch(i, 1)])


def rewinds(cause: str) -> float:
    return float(metrics.rewinds.labels(cause)._value.get())


async def test_everything_arrives_in_order_and_is_released_when_announced(
    spool: Spool, link: Proxy, writer: FakeWriter
) -> None:
    await filled(spool, 50)
    async with forwarding(spool, link):
        await until(lambda: spool.pending() == 0)
        await filled(spool, 5, 50)
        await until(lambda: spool.pending() == 0)
    assert values_of([wire.record(one) for one in writer.committed]) == [float(i) for i in range(55)]
    assert spool.released == 55


async def test_nothing_is_released_that_was_not_announced(spool: Spool, link: Proxy, writer: FakeWriter) -> None:
    writer.announces = False
    await filled(spool, 5)
    async with forwarding(spool, link):
        await until(lambda: len(writer.committed) == 5)
        await asyncio.sleep(0.1)
        assert (spool.pending(), spool.released) == (5, 0)
        await writer.announce(3)
        await until(lambda: spool.released == 3)
        assert spool.pending() == 2


async def test_no_more_than_the_window_is_on_its_way(spool: Spool, link: Proxy, writer: FakeWriter) -> None:
    writer.announces = False
    await filled(spool, 100)
    async with forwarding(spool, link, window=4, message_kb=1, patience_s=60):
        await until(lambda: len(writer.arrived) > 0)
        await asyncio.sleep(0.2)
        first = writer.arrived[-1].seq
        assert first < 100
        await filled(spool, 3, 100)  # what is new does not open the window
        await asyncio.sleep(0.1)
        assert writer.arrived[-1].seq == first
        await writer.announce(first // 2)
        await until(lambda: writer.arrived[-1].seq > first)


async def test_waiting_for_the_window_costs_no_time(spool: Spool, link: Proxy, writer: FakeWriter) -> None:
    writer.announces = False
    await filled(spool, 30)
    async with forwarding(spool, link, window=2, message_kb=1, patience_s=60):
        await until(lambda: len(writer.arrived) > 0)
        await filled(spool, 3, 30)
        await asyncio.sleep(0.1)
        began = time.process_time()
        await asyncio.sleep(0.5)
        assert time.process_time() - began < 0.15


async def test_hole_rewinds_to_what_is_committed(spool: Spool, link: Proxy, writer: FakeWriter) -> None:
    lost: list[int] = []

    def loses(frame: wire.Frame) -> bool:
        first_time = frame.seq == 7 and not lost
        lost.extend([7] if first_time else [])
        return first_time

    writer.loses = loses
    before = rewinds("hole")
    await filled(spool, 20)
    async with forwarding(spool, link, message_kb=1, patience_s=60):
        await asyncio.sleep(0.3)
        await filled(spool, 5, 20)
        await until(lambda: spool.pending() == 0)
    assert rewinds("hole") > before
    assert [one.seq for one in writer.committed] == list(range(1, 26))


async def test_silence_rewinds_after_the_patience(spool: Spool, link: Proxy, writer: FakeWriter) -> None:
    deaf = True
    writer.loses = lambda _: deaf
    before = rewinds("no progress")
    await filled(spool, 5)
    async with forwarding(spool, link, patience_s=0.2):
        await until(lambda: rewinds("no progress") > before)
        deaf = False
        await until(lambda: spool.pending() == 0)
    assert [one.seq for one in writer.committed] == [1, 2, 3, 4, 5]


async def test_cut_link_costs_nothing(spool: Spool, link: Proxy, writer: FakeWriter) -> None:
    async with forwarding(spool, link):
        for i in range(4):
            await filled(spool, 20, 20 * i)
            link.cut()
        await until(lambda: spool.pending() == 0)
    assert [one.seq for one in writer.committed] == list(range(1, 81))


async def test_old_retained_announcement_is_passed_over(spool: Spool, link: Proxy, writer: FakeWriter) -> None:
    await filled(spool, 5)
    await spool.release(4)
    writer.last = 4
    await writer.announce(2, retain=True)
    async with forwarding(spool, link):
        await until(lambda: spool.pending() == 0)
    assert [one.seq for one in writer.committed] == [5]
    assert spool.head == 5  # no loss was told


async def test_announcement_that_comes_late_is_no_loss(spool: Spool, link: Proxy, writer: FakeWriter) -> None:
    await filled(spool, 5)
    async with forwarding(spool, link):
        await until(lambda: spool.pending() == 0)
        await writer.announce(2)
        await asyncio.sleep(0.2)
        assert (spool.head, spool.released) == (5, 5)


async def test_retained_announcement_releases_what_was_committed_before_the_restart(
    spool: Spool, link: Proxy, writer: FakeWriter
) -> None:
    await filled(spool, 5)
    writer.last = 3
    await writer.announce(3, retain=True)
    async with forwarding(spool, link):
        await until(lambda: spool.pending() == 0)
    assert {one.seq for one in writer.committed} == {4, 5}


async def test_announcement_beyond_anything_given_away_is_refused(
    spool: Spool, link: Proxy, writer: FakeWriter, caplog: pytest.LogCaptureFixture
) -> None:
    writer.announces = False
    await filled(spool, 3)
    async with forwarding(spool, link):
        await until(lambda: len(writer.committed) == 3)
        await writer.announce(4)
        await until(lambda: "committed 4 was never given away; the highest is 3" in caplog.text)
    assert spool.pending() == 3


async def test_announcement_of_another_spool_is_passed_over(spool: Spool, link: Proxy, writer: FakeWriter) -> None:
    writer.announces = False
    await filled(spool, 3)
    async with forwarding(spool, link):
        await until(lambda: len(writer.committed) == 3)
        await writer.say(f"{'0' * 8}-0000-0000-0000-{'0' * 12} 3".encode())
        await asyncio.sleep(0.1)
        assert spool.pending() == 3
        await writer.announce(3)
        await until(lambda: spool.pending() == 0)


async def test_garbage_announcements_are_counted_and_change_nothing(
    spool: Spool, link: Proxy, writer: FakeWriter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "pipeline.forwarder")
    counter = metrics.bad_data.labels("forwarder", "announcement")._value
    before = counter.get()
    garbage = [
        b"",
        b"x",
        b"\xff" * 50,
        f"{spool.epoch}".encode(),
        f"{spool.epoch} -1".encode(),
        f"{spool.epoch} 1 x".encode(),
    ]
    async with forwarding(spool, link):
        await filled(spool, 1)
        await until(lambda: spool.pending() == 0)
        for payload in garbage:
            await writer.say(payload)
        await until(lambda: counter.get() - before == len(garbage))
        await filled(spool, 1, 1)
        await until(lambda: spool.pending() == 0)
    assert [frame.seq for frame in writer.committed] == [1, 2]


async def gone_back(spool: Spool, writer: FakeWriter) -> None:
    """Ten records are committed; then the store is restored from yesterday and has four of them."""
    await filled(spool, 10)
    await until(lambda: spool.pending() == 0)
    writer.committed.clear()
    writer.last = 4
    await writer.announce(4, hole=True)


async def test_ledger_that_went_back_gets_again_what_was_kept(spool: Spool, link: Proxy, writer: FakeWriter) -> None:
    async with forwarding(spool, link):
        await gone_back(spool, writer)
        await until(lambda: len(writer.committed) == 6 and spool.pending() == 0)
    assert [(one.previous, one.seq) for one in writer.committed] == [(seq - 1, seq) for seq in range(5, 11)]
    assert spool.head == 10  # and nothing was said to be lost


@pytest.mark.parametrize("spool", [0.0], indirect=True)
async def test_ledger_that_went_back_is_believed_and_told(spool: Spool, link: Proxy, writer: FakeWriter) -> None:
    async with forwarding(spool, link):
        await gone_back(spool, writer)
        await until(lambda: bool(writer.committed) and spool.pending() == 0)
    (record,) = [wire.record(one) for one in writer.committed]
    (told,) = record.bodies
    assert isinstance(told, Event)
    assert (told.kind, told.data["from_seq"], told.data["to_seq"]) == ("loss", 5, 10)
    assert (record.previous, record.seq) == (4, 11)


async def test_numbers_skipped_after_an_unclean_stop_are_no_hole(tmp_path: Path, link: Proxy, broker: Broker) -> None:
    source = f"gw-{secrets.token_hex(3)}"
    settings = spool_settings(tmp_path / "spool")
    async with Spool(settings, source, lambda: T0_NS) as one:
        await filled(one, 3)
        shutil.copytree(tmp_path / "spool", tmp_path / "crashed")  # as the disk is when the process dies
    async with Spool(spool_settings(tmp_path / "crashed"), source, lambda: T0_NS) as one:
        await filled(one, 3, 3)
        async with connected(Bus(port=broker.port), f"writer-{source}", [record_topic(source)]) as session:
            fake = FakeWriter(session, source, one)
            work = asyncio.create_task(fake.work())
            async with forwarding(one, link):
                await until(lambda: one.pending() == 0)
            work.cancel()
    assert [frame.seq for frame in fake.committed] == [1, 2, 3, LEAP + 4, LEAP + 5, LEAP + 6]
