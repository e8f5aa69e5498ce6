"""A server that ceases to report a tag is noticed within two of its intervals; one whose value stands still is not.

Pure with a clock of our own, and against asyncua's server, whose items are taken away behind its back.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from asyncua import ua
from asyncua.server.server import Server

from collectors.collector import Collector
from collectors.opcua_items import asked_of, filter_of, sampling_of
from collectors.opcua_watch import Watch, differs
from pipeline.plant import Tag
from rootdx.embedded import free_port
from tests.collectors.devices import ASSET, MemorySpool, machine, stopped

URI = "urn:test:line"
START = datetime(2026, 5, 1, 8, tzinfo=UTC)


def value(said: Any, status: int = 0, source_s: float | None = None, server_s: float = 0.0) -> ua.DataValue:
    stamps = {} if source_s is None else {
        "SourceTimestamp": START + timedelta(seconds=source_s), "ServerTimestamp": START + timedelta(seconds=server_s),
    }  # fmt: skip
    return ua.DataValue(ua.Variant(said), ua.StatusCode(ua.UInt32(status)), **stamps)  # type: ignore[arg-type]


def noticed_s(every_s: float, *, publishing_s: float = 0.5, changes_every_s: float | None = None) -> float | None:
    """When a tag whose item was dropped after its report at 0 s is found out, if it is; its value goes on changing."""
    watch = Watch([every_s], [sampling_of(every_s)], publishing_s, [0.0])
    watch.heard(0, value(0), 0.0)
    for look in range(1, round(20 * every_s / 0.25) + 100):
        now_s = 0.25 * look
        changed = int(now_s / changes_every_s) if changes_every_s else 0
        for tag in watch.due(now_s):
            since_s = changed * (changes_every_s or 0.0)
            watch.found(tag, value(changed, source_s=since_s, server_s=now_s), now_s)
        if watch.lost(now_s):
            return now_s
    return None


@pytest.mark.parametrize("every_s", [0.1, 0.5, 1.0, 1.5, 2.0, 5.0, 60.0])
def test_a_dropped_tag_is_noticed_within_two_intervals_or_three_seconds_and_a_half(every_s: float) -> None:
    found_s = noticed_s(every_s, publishing_s=min(every_s, 0.5), changes_every_s=every_s)
    assert found_s is not None
    assert found_s <= max(2 * every_s, 3.5)


@pytest.mark.parametrize("every_s", [0.1, 1.0, 5.0])
def test_a_value_that_stands_still_is_no_fault(every_s: float) -> None:
    assert noticed_s(every_s) is None


def test_a_value_that_stands_still_is_asked_for_ever_more_seldom() -> None:
    watch, asked = Watch([0.1], [0.05], 0.1, [0.0]), 0
    watch.heard(0, value(1), 0.0)
    for look in range(4 * 600):
        for tag in watch.due(look / 4):
            asked += 1
            watch.found(tag, value(1), look / 4)
    assert 10 < asked < 20


@pytest.mark.parametrize("every_s", [0.1, 1.0, 5.0])
def test_a_tag_that_is_reported_late_but_always_is_none_that_was_dropped(every_s: float) -> None:
    """Each change comes as late as sampling and publishing allow, and a little more often than not it is asked for."""
    watch, publishing_s = Watch([every_s], [sampling_of(every_s)], min(every_s, 0.5), [0.0]), min(every_s, 0.5)
    late_s, heard, period_s = sampling_of(every_s) + publishing_s, -1, 1.7 * every_s
    for look in range(4 * 200):
        now_s = look / 4
        reported = int((now_s - late_s) / period_s) if now_s >= late_s else -1
        if reported > heard:
            heard = reported
            watch.heard(0, value(heard), now_s)
        changed = int(now_s / period_s)
        for tag in watch.due(now_s):
            watch.found(tag, value(changed, source_s=changed * period_s, server_s=now_s), now_s)
        assert watch.lost(now_s) == []


def test_what_our_own_disk_held_up_is_not_the_servers_fault() -> None:
    watch = Watch([1.0], [0.5], 0.5, [0.0])
    watch.heard(0, value(0), 0.0)
    watch.found(0, value(1), 2.0)
    watch.held_up(10.0)
    assert watch.lost(10.0) == []
    assert watch.due(10.0) == []
    assert watch.due(11.5) == [0]


def test_a_server_that_reports_other_than_it_gives_is_left_alone_after_a_while() -> None:
    watch, anew = Watch([1.0], [0.5], 0.5, [0.0]), 0
    watch.heard(0, value(1.0), 0.0)
    for look in range(1, 4 * 600):
        for tag in watch.due(look / 4):
            watch.found(tag, value(1.5), look / 4)
        for tag in watch.lost(look / 4):
            anew += 1
            watch.heard(tag, value(1.0), look / 4)
    assert anew == 3


@pytest.mark.parametrize(
    ("last", "now", "band", "said"),
    [
        (1.0, 1.0, 0.0, False),
        (1.0, 1.1, 0.0, True),
        (1.0, 1.1, 0.2, False),
        (1.0, 1.3, 0.2, True),
        (np.nan, np.nan, 0.0, False),
        (np.nan, 1.0, 5.0, True),
        ([1.0, np.nan], [1.0, np.nan], 0.0, False),
        ([1.0, 2.0], [1.0, 2.5], 0.0, True),
        ("run", "run", 0.0, False),
        ("run", "stop", 0.0, True),
        (True, False, 0.0, True),
    ],
)
def test_what_a_server_would_have_reported(last: Any, now: Any, band: float, said: bool) -> None:
    assert differs(value(last), value(now), band) is said
    assert differs(value(last), value(last, status=0x8005_0000), band)


def test_a_dead_band_is_asked_for_in_the_numbers_of_the_server() -> None:
    def asked(**tag: Any) -> float:
        one = Tag.model_validate({"name": "t", "address": "ns=2;i=1", "unit": "bar"} | tag)
        found = filter_of(one)
        assert found is None or found.DeadbandValue == asked_of(one, ())
        return asked_of(one, ())

    assert asked(deadband=5, loop=[0, 250]) == pytest.approx(0.32)
    assert asked(deadband=5, loop=[250, 0], scale=-0.001) == pytest.approx(320)
    assert asked(deadband="2 %", range=[0, 250], loop=[0, 250]) == pytest.approx(0.32)
    assert asked(deadband=5, scale=-0.1) == pytest.approx(50)
    assert asked() == 0.0


# ---- against a server ----


class Line:
    """Two counters, and one value that stands still."""

    def __init__(self, server: Server, port: int, index: int) -> None:
        self.server, self.port, self.index, self.number = server, port, index, 0
        self.nodes: list[Any] = []

    async def count(self) -> None:
        while True:
            self.number += 1
            for node in self.nodes[:2]:
                await node.write_value(float(self.number))
            await asyncio.sleep(0.25)

    def drop(self, handle: int) -> int:
        """What a server does that forgets one item and says nothing."""
        dropped = 0
        for subscription in self.server.iserver.subscription_service.subscriptions.values():
            items: Any = subscription.monitored_item_srv
            for number, item in list(items._monitored_items.items()):
                if item.client_handle == handle:
                    items.delete_monitored_items([number])
                    dropped += 1
        return dropped


@contextlib.asynccontextmanager
async def a_line(*more: str) -> AsyncIterator[Line]:
    """With further values that nobody changes."""
    port, server = free_port(), Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/line")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace(URI)
    line = Line(server, port, index)
    for name in ("a", "b", "still", *more):
        node = ua.NodeId(ua.String(name), ua.Int16(index))
        line.nodes.append(await server.nodes.objects.add_variable(node, name, 0.0))
    async with server:
        counting = asyncio.create_task(line.count())
        try:
            yield line
        finally:
            await stopped(counting)


def rows(spool: MemorySpool, tag: int) -> list[tuple[int, float]]:
    found: list[tuple[int, float]] = []
    for batch in spool.batches:
        mine = batch.tag == tag
        found += zip(batch.ts_ns[mine].tolist(), batch.value[mine].tolist(), strict=True)
    return found


async def test_one_item_of_several_that_the_server_drops_is_asked_for_anew_and_the_others_go_on() -> None:
    """No tag names an interval: the source's is everybody's."""
    spool = MemorySpool()
    async with a_line() as line:
        source = {"protocol": "opcua", "url": f"opc.tcp://127.0.0.1:{line.port}/line", "every_s": 0.25}
        one = machine(source, [{"name": name, "address": f"nsu={URI};s={name}"} for name in ("a", "b", "still")])
        task = asyncio.create_task(Collector(ASSET, one, spool, "gw", time.time_ns).run())
        await spool.until(lambda held: len(rows(held, 1)) > 3)
        assert line.drop(1) == 1
        began, before = time.monotonic(), len(rows(spool, 1))
        await spool.until(lambda held: held.events("tag.deaf"))
        assert time.monotonic() - began < 4.0
        await spool.until(lambda held: len(rows(held, 1)) > before + 4)
        await asyncio.sleep(4.0)  # real: the third tag is looked at meanwhile, and stands still
        await stopped(task)
    (event,) = spool.events("tag.deaf")
    assert (event.key, event.data["tag"]) == ("b", "b")
    assert spool.events("device.unreachable") == []
    assert len(rows(spool, 2)) == 1
    numbers = [int(number) for _, number in rows(spool, 0)]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert len(rows(spool, 1)) == len(set(rows(spool, 1)))
