"""OPC UA values of a subscription: CPU of the gateway's process a value, and values lost.

    python -m tests.bench.opcua_rate URL ITEMS EVERY_S SECONDS

* The server is node-opcua in its own process; every item is a counter, so a value that is not there shows as a hole.
* The client is a process of its own with a collector into a spool that only counts: subscription, decoding, quality,
  scaling, accounts and memory are in; disk and bus are not (`gateway_cpu` has them).
* Sampling interval and queue are those that the gateway asks for by itself.
"""

import asyncio
import json
import logging
import sys
import time
from typing import Any

import numpy as np
import uvloop

from collectors.collector import Collector
from pipeline import metrics
from pipeline.model import Batch
from rootdx.program import follow_parent
from tests.bench.figures import Figure, show
from tests.bench.stage import Stage, Wish
from tests.collectors.devices import ASSET, machine, stopped
from tests.support.services import OpcUaServer

URI = "urn:test:line"
LOADS = ((5_000, 1.0), (1_000, 0.1))
_PEER = "asyncua: iterator 13, handler 20 us, into nothing"


async def measure(stage: Stage, wish: Wish) -> list[Figure]:
    """The figures; prints them."""
    figures: list[Figure] = []
    for items, every_s in LOADS:
        found = [await _run(stage, items, every_s, min(wish.seconds, 20.0)) for _ in range(min(wish.repeats, 3))]
        name = f"{items:,} items at {1 / every_s:g} Hz"
        produced = items / every_s
        figures += [
            Figure(f"{name}: CPU a value", [one["us"] for one in found], "us", peer=_PEER),
            Figure(f"{name}: values/s", [one["hz"] for one in found], "1/s", limit=produced),
            Figure(f"{name}: values lost", [one["lost"] for one in found], "1", 0, "low"),
            Figure(f"{name}: marked as overflowed by the server", [one["overflow"] for one in found], "1", 0, "low"),
            Figure(f"{name}: client's share of a core", [one["core"] for one in found], "1"),
        ]
    show(stage.console, "OPC UA subscription", figures)
    return figures


async def _run(stage: Stage, items: int, every_s: float, seconds: float) -> dict[str, float]:
    line = {"counters": items, "everyMs": round(every_s * 1000), "history": 0}
    server = OpcUaServer(stage.place("opcua"), line=line)
    await asyncio.to_thread(server.__enter__)
    try:
        await asyncio.to_thread(server.tell, "count", "counting")
        url = f"opc.tcp://127.0.0.1:{server.port}/press"
        child = await stage.start("opcua", "tests.bench.opcua_rate", url, str(items), str(every_s), str(seconds))
        said: dict[str, float] = json.loads(await child.hears("{"))
        await child.process.wait()
        stage.children.remove(child)
    finally:
        server.__exit__()
    return said


class Counting:
    """A spool that keeps nothing but the first, the last and the number of values of each tag."""

    def __init__(self, items: int) -> None:
        self.notes: dict[str, str] = {}
        self.first, self.last = np.full(items, np.inf), np.full(items, -np.inf)
        self.count = np.zeros(items, np.int64)

    async def append(self, bodies: Any, notes: Any) -> int:
        """As the spool."""
        self.notes.update(notes)
        for body in bodies:
            if isinstance(body, Batch):
                np.minimum.at(self.first, body.tag, body.value)
                np.maximum.at(self.last, body.tag, body.value)
                np.add.at(self.count, body.tag, 1)
        return 0

    def reset(self) -> None:
        """From here on."""
        self.first[:], self.last[:], self.count[:] = np.inf, -np.inf, 0


async def client(url: str, items: int, every_s: float, seconds: float) -> dict[str, float]:
    """CPU and holes of a window."""
    source = {"protocol": "opcua", "url": url, "every_s": every_s, "timeout_s": 20.0}
    one = machine(source, [{"name": f"c{i}", "address": f"nsu={URI};s=c{i}"} for i in range(items)])
    spool = Counting(items)
    return await _window(one, spool, every_s, seconds)


async def _window(one: Any, spool: Counting, every_s: float, seconds: float) -> dict[str, float]:
    task = asyncio.create_task(Collector(ASSET, one, spool, "gw", time.time_ns).run())
    while spool.count.min() < 2:
        await asyncio.sleep(0.1)
    await asyncio.sleep(2 * every_s)
    spool.reset()
    began, cpu = time.monotonic(), time.process_time()
    await asyncio.sleep(seconds)
    took_s, cpu_s, count = time.monotonic() - began, time.process_time() - cpu, int(spool.count.sum())
    lost = int((spool.last - spool.first + 1 - spool.count).sum())
    await stopped(task)
    overflow = metrics.bad_data.labels(ASSET, "server_queue_overflow")._value.get()
    hz = count / took_s
    return {"us": cpu_s / count * 1e6, "hz": hz, "lost": lost, "overflow": overflow, "core": cpu_s / took_s}


def main() -> None:
    follow_parent()
    logging.getLogger("asyncua").setLevel(logging.ERROR)
    url, items, every_s, seconds = sys.argv[1:]
    print(json.dumps(uvloop.run(client(url, int(items), float(every_s), float(seconds)))), flush=True)


if __name__ == "__main__":
    main()
