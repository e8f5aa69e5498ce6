"""An outage is filled from the server's history, against a server that shares no code with ours."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from collectors.collector import Collector
from pipeline.model import Cause, Quality
from tests.collectors.devices import ASSET, MemorySpool, machine, stopped
from tests.support.proxy import Proxy
from tests.support.services import OpcUaServer

URI = "urn:test:line"
EVERY_MS = 200
WITH_HISTORY = ("c0", "c1")
WITHOUT = "c2"


@pytest.fixture(scope="module")
def server(tmp_path_factory: Any) -> Iterator[OpcUaServer]:
    line = {"counters": 3, "everyMs": EVERY_MS, "history": 2}
    with OpcUaServer(tmp_path_factory.mktemp("history"), line=line) as one:
        yield one


@pytest.fixture(autouse=True)
def counting(server: OpcUaServer) -> Iterator[None]:
    server.tell("count", "counting")
    yield
    server.tell("halt", "halted")


def line_machine(port: int, *names: str, **source: Any) -> Any:
    url = {"protocol": "opcua", "url": f"opc.tcp://127.0.0.1:{port}/press", "every_s": 0.1, "timeout_s": 2.0}
    return machine(url | source, [{"name": name, "address": f"nsu={URI};s={name}"} for name in names])


@asynccontextmanager
async def collected(one: Any, spool: MemorySpool) -> AsyncIterator[None]:
    task = asyncio.create_task(Collector(ASSET, one, spool, "gw", time.time_ns).run())
    try:
        yield
    finally:
        await stopped(task)


def values(spool: MemorySpool, name: str) -> list[float]:
    found: list[float] = []
    for batch in spool.batches:
        found += batch.value[batch.tag == batch.tags.index(name)].tolist()
    return found


def is_newer(spool: MemorySpool, name: str, than: float) -> bool:
    return any(value > than for value in values(spool, name))


def whole(spool: MemorySpool, name: str) -> bool:
    found = sorted(values(spool, name))
    return bool(found) and found == [found[0] + i for i in range(len(found))]


async def outage(link: Proxy, spool: MemorySpool, seconds: float, names: tuple[str, ...]) -> None:
    link.refuse()
    await asyncio.sleep(seconds)  # real: the server counts by its own clock
    newest = max(max(values(spool, name)) for name in names)
    link.heal()
    await spool.until(lambda held: is_newer(held, names[0], newest + seconds * 1000 / EVERY_MS / 2), 15)


async def test_an_outage_is_filled_from_history_and_every_sample_comes_once(server: OpcUaServer) -> None:
    spool = MemorySpool()
    async with Proxy("127.0.0.1", server.port) as link:
        one = line_machine(link.port, *WITH_HISTORY, WITHOUT)
        async with collected(one, spool):
            await spool.until(lambda held: held.rows() > 15)
            for _ in range(2):
                await outage(link, spool, 3.0, WITH_HISTORY)
            await spool.until(lambda held: all(whole(held, name) for name in WITH_HISTORY))
            await spool.until(lambda held: len(held.events("opcua.history")) >= 2)
    for name in WITH_HISTORY:
        found = sorted(values(spool, name))
        assert len(found) == len(set(found))
        assert whole(spool, name)
    lost = sorted(values(spool, WITHOUT))
    assert len(lost) == len(set(lost)) < len(values(spool, "c0")) - 20
    assert spool.expected() == spool.rows() + spool.missing()
    by_tag = [int(sum(t.missing[t.tag == tag].sum() for t in spool.tallies)) for tag in range(3)]
    assert by_tag[:2] == [0, 0]
    assert by_tag[2] > 50
    assert spool.missing(Cause.UNREACHABLE) == by_tag[2]
    filled = [one for event in spool.events("opcua.history") for one in event.data["filled"]]
    assert {one["tag"] for one in filled} == set(WITH_HISTORY)
    assert all(one["from_ns"] < one["until_ns"] and one["rows"] > 10 for one in filled)
    assert all((batch.quality == Quality.GOOD).all() for batch in spool.batches)


async def test_a_gateway_that_was_down_is_filled_too_page_by_page(
    server: OpcUaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collectors.opcua_history.PAGE", 4)
    one = line_machine(server.port, *WITH_HISTORY)
    before = MemorySpool()
    async with collected(one, before):
        await before.until(lambda held: held.rows() > 8)
    await asyncio.sleep(4.0)  # real: the server counts by its own clock
    between = before.after_a_kill()
    async with collected(one, between):  # dies amid the filling
        await between.until(lambda held: len(held.batches) > len(before.batches) + 2)
    spool = between.after_a_kill()
    async with collected(one, spool):
        await spool.until(lambda held: len(values(held, "c1")) > len(values(between, "c1")) + 3)
        await spool.until(lambda held: all(whole(held, name) for name in WITH_HISTORY))
    for name in WITH_HISTORY:
        found = values(spool, name)
        assert len(found) == len(set(found))
    assert spool.expected() == spool.rows() + spool.missing()
    assert spool.missing() == 0


async def test_history_that_is_to_stay_there_stays_there(server: OpcUaServer) -> None:
    spool = MemorySpool()
    async with (
        Proxy("127.0.0.1", server.port) as link,
        collected(line_machine(link.port, "c0", history="leave"), spool),
    ):
        await spool.until(lambda held: held.rows() > 8)
        await outage(link, spool, 2.0, ("c0",))
    assert not whole(spool, "c0")
    assert not spool.events("opcua.history")
    assert spool.expected() == spool.rows() + spool.missing()
    assert spool.missing(Cause.UNREACHABLE) >= 8


async def test_of_a_long_outage_the_newest_part_is_asked_for(server: OpcUaServer) -> None:
    spool = MemorySpool()
    async with (
        Proxy("127.0.0.1", server.port) as link,
        collected(line_machine(link.port, "c0", history_s=1.1), spool),
    ):
        await spool.until(lambda held: held.rows() > 8)
        await outage(link, spool, 3.0, ("c0",))
        await spool.until(lambda held: held.events("opcua.history"))
    (event,) = spool.events("opcua.history")
    assert 4 <= event.data["filled"][0]["rows"] <= 6
    assert spool.expected() == spool.rows() + spool.missing()
    assert spool.missing(Cause.UNREACHABLE) >= 10


@pytest.mark.parametrize("slow", [None, timedelta(minutes=30)])
async def test_nothing_is_fetched_twice_after_the_servers_clock_was_behind(
    server: OpcUaServer, slow: timedelta | None
) -> None:
    """None: it has lost its battery; half an hour may at first be values that waited."""
    spool = MemorySpool()
    async with Proxy("127.0.0.1", server.port) as link:
        one = line_machine(link.port, *WITH_HISTORY)
        async with collected(one, spool):
            await spool.until(lambda held: held.rows() > 15)
            back = -slow if slow else datetime(2000, 1, 1, 0, 0, 30, tzinfo=UTC) - datetime.now(UTC)
            server.tell(f"shift {round(back / timedelta(milliseconds=1))}", "shifted")
            if not slow:
                await spool.until(lambda held: held.events("device.clock"))
            await asyncio.sleep(1.0)  # real: the server counts by its own clock
            link.refuse()
            await asyncio.sleep(1.0)
            server.tell("shift 0", "shifted")
            newest = max(values(spool, "c0"))
            link.heal()
            await spool.until(lambda held: is_newer(held, "c0", newest + 15), 15)
            await spool.until(lambda held: held.events("opcua.history"))
    for tag, name in enumerate(WITH_HISTORY):
        found = values(spool, name)
        assert len(found) == len(set(found)), f"{name} was stored twice"
        assert max(found) - newest >= 15, tag
    stamps = np.concatenate([batch.ts_ns for batch in spool.batches])
    codes = np.concatenate([batch.quality for batch in spool.batches])
    assert (abs(stamps - time.time_ns()) < (2000e9 if slow else 120e9)).all()
    assert set(codes.tolist()) == {Quality.GOOD} | (set() if slow else {Quality.UNCERTAIN})
    assert spool.expected() == spool.rows() + spool.missing()
