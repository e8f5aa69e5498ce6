"""What the client library does when it is used as its documentation shows, beside what our collector does.

Both listen to the same asyncua server at the same time. The naive one must fail here, or a precaution is needless.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from asyncua import ua
from asyncua.client.client import Client
from asyncua.client.ua_client import UaClientState
from asyncua.common.subscription import DataChangeEvent

from collectors.collector import Collector
from tests.collectors.devices import ASSET, MemorySpool, machine, stopped
from tests.collectors.test_opcua_watch import URI, Line, a_line, rows

CHANGES = 90


class Naive:
    """A subscription's iterator with its default queue."""

    def __init__(self) -> None:
        self.client = Client("")
        self.values: list[float] = []

    async def listen(self, line: Line, *names: str) -> None:
        self.client = Client(f"opc.tcp://127.0.0.1:{line.port}/line", auto_reconnect=True)
        async with self.client as client:
            subscription = await client.create_subscription(100)
            index = await client.get_namespace_index(URI)
            nodes = [client.get_node(ua.NodeId(ua.String(name), ua.Int16(index))) for name in names]
            await subscription.subscribe_data_change(nodes, queuesize=2 * CHANGES)
            while True:
                event = await subscription.next_event()
                assert isinstance(event, DataChangeEvent)
                self.values.append(event.value)


@contextlib.asynccontextmanager
async def both(line: Line, *names: str) -> AsyncIterator[tuple[Naive, MemorySpool]]:
    naive, spool = Naive(), MemorySpool()
    source = {"protocol": "opcua", "url": f"opc.tcp://127.0.0.1:{line.port}/line", "every_s": 0.1}
    one = machine(source, [{"name": name, "address": f"nsu={URI};s={name}"} for name in names])
    tasks = [
        asyncio.create_task(naive.listen(line, *names)),
        asyncio.create_task(Collector(ASSET, one, spool, "gw", time.time_ns).run()),
    ]
    try:
        await spool.until(lambda held: all(rows(held, tag) for tag in range(len(names))))
        async with asyncio.timeout(8):
            while len(naive.values) < len(names):
                await asyncio.sleep(0.05)
        yield naive, spool
    finally:
        for task in tasks:
            await stopped(task)


async def test_many_changes_in_one_publish_overflow_the_librarys_queue_and_not_ours() -> None:
    names = [f"many{i}" for i in range(20)]
    async with a_line(*names) as line, both(line, *names) as (naive, spool):
        already = len(naive.values)
        nodes = [line.server.get_node(ua.NodeId(ua.String(name), ua.Int16(line.index))) for name in names]
        for change in range(CHANGES):
            for node in nodes:
                await node.write_value(float(change + 1))
        sent = CHANGES * len(names)
        await spool.until(lambda held: held.rows() >= sent + len(names), 20)
        await asyncio.sleep(0.5)
        assert all(
            [value for _, value in rows(spool, tag)] == [float(change) for change in range(CHANGES + 1)]
            for tag in range(len(names))
        )
        assert len(naive.values) - already < sent, "the library keeps everything now"


async def test_a_subscription_that_is_gone_leaves_the_library_connected_and_deaf_and_is_made_anew_by_us() -> None:
    async with a_line() as line, both(line, "a", "b") as (naive, spool):
        service = line.server.iserver.subscription_service
        await service.delete_subscriptions(list(service.subscriptions))
        began, heard, newest = time.monotonic(), len(naive.values), line.number
        await spool.until(lambda held: any(value > newest + 2 for _, value in rows(held, 0)), 15)
        assert time.monotonic() - began < 10.0
        assert spool.events("device.unreachable")
        await asyncio.sleep(1.0)
        assert naive.client.state is UaClientState.CONNECTED
        assert len(naive.values) - heard <= 2, "the library has noticed it"
