"""What goes wrong with devices that speak MQTT themselves: JSON, and a Sparkplug B edge node from npm."""

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiomqtt

from rootdx.embedded import Broker
from tests.chaos.watched import NEAR_S, NINE_HOURS_MS, Clock, Outcome, recovered, repeated, watched
from tests.collectors.devices import machine
from tests.support.edge_node import EDGE, EdgeNode
from tests.support.proxy import Proxy

EVERY_S = 0.1
_WEEKEND_S = 60 * 3600.0
_PARAMETERS = {"name": "Zone/Temperature", "alias": 1, "type": "Double"}


class Publisher:
    """A device that publishes a number every EVERY_S, by its own clock, whatever becomes of the broker."""

    def __init__(self, port: int) -> None:
        self._port, self.topic = port, f"test/{secrets.token_hex(4)}"
        self.now_ms: Callable[[], int] = _now_ms

    async def _publish_for_ever(self) -> None:
        number = 0
        while True:
            with contextlib.suppress(aiomqtt.MqttError, OSError):
                async with aiomqtt.Client("127.0.0.1", self._port, timeout=2) as client:
                    while True:
                        number += 1
                        await client.publish(self.topic, json.dumps({"ts": self.now_ms(), "v": number}), qos=1)
                        await asyncio.sleep(EVERY_S)
            await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def a_device(folder: Path) -> AsyncIterator[tuple[Broker, Publisher, Proxy]]:
    async with Broker(folder) as broker, Proxy("127.0.0.1", broker.port) as link:
        publisher = Publisher(broker.port)
        task = asyncio.create_task(publisher._publish_for_ever())
        try:
            yield broker, publisher, link
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def reader(port: int, publisher: Publisher, **source: Any) -> Any:
    settings = {"protocol": "mqtt", "host": "127.0.0.1", "port": port, "time": "ts", "timeout_s": 3.0}
    return machine(settings | source, [{"address": f"{publisher.topic} v"}])


async def restarted(times: int, folder: Path) -> Outcome:
    async with a_device(folder) as (broker, publisher, link):

        async def restart() -> None:
            broker.kill()
            await asyncio.sleep(0.2)
            await broker.start()

        outcome = Outcome("MQTT", f"broker restarted {times} times")
        return await repeated(outcome, reader(link.port, publisher), restart, times)


async def half_open(times: int, folder: Path) -> Outcome:
    async with a_device(folder) as (_, publisher, link):

        async def swallow() -> None:
            link.stall()
            await asyncio.sleep(5.0)
            link.cut()
            link.heal()

        return await repeated(
            Outcome("MQTT", "half-open connection"), reader(link.port, publisher), swallow, min(times, 3)
        )


async def clock_lost(times: int, folder: Path) -> Outcome:
    return await _clock("device clock 2000-01-01", lambda: 946_684_800_000, times, folder)


async def clock_local(times: int, folder: Path) -> Outcome:
    return await _clock("device clock nine hours ahead", lambda: _now_ms() + NINE_HOURS_MS, times, folder)


async def _clock(name: str, wrong_ms: Callable[[], int], times: int, folder: Path) -> Outcome:
    async with a_device(folder) as (_, publisher, link):

        async def lose() -> None:
            real, publisher.now_ms = publisher.now_ms, wrong_ms
            await asyncio.sleep(1.0)
            publisher.now_ms = real

        outcome = Outcome("MQTT", name, near_s=NEAR_S)
        return await repeated(outcome, reader(link.port, publisher), lose, min(times, 5))


async def weekend(times: int, folder: Path) -> Outcome:
    outcome, clock = Outcome("MQTT", "away for a weekend (simulated)"), Clock()
    async with a_device(folder) as (_, publisher, link):

        async def leave() -> None:
            link.refuse()
            await asyncio.sleep(0.5)
            clock.offset_s += _WEEKEND_S
            link.heal()

        return await repeated(outcome, reader(link.port, publisher), leave, min(times, 3), clock)


@contextlib.asynccontextmanager
async def an_edge(port: int, group: str) -> AsyncIterator[EdgeNode]:
    """An edge node that is born whenever it is told to be, and says a number every EVERY_S."""
    async with EdgeNode(port, group) as edge:
        pipe, lines = edge._process.stdin, edge._process.stdout
        assert pipe is not None
        assert lines is not None

        def call(method: str, number: float) -> None:
            metrics = [{**_PARAMETERS, "value": number, "timestamp": _now_ms()}]
            pipe.write(json.dumps([method, {"timestamp": _now_ms(), "metrics": metrics}]).encode() + b"\n")

        async def say() -> None:
            call("publishNodeBirth", 0.0)
            number = 0.0
            while True:
                number += 1
                call("publishNodeData", number)
                await asyncio.sleep(EVERY_S)

        async def be_born() -> None:
            while line := await lines.readline():
                if json.loads(line)[0] in ("birth", "ncmd"):
                    call("publishNodeBirth", 0.0)

        tasks = [asyncio.create_task(say(), name="tests.say"), asyncio.create_task(be_born(), name="tests.birth")]
        try:
            yield edge
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def host(port: int, group: str) -> Any:
    source = {
        "protocol": "sparkplug",
        "host": "127.0.0.1",
        "port": port,
        "group": group,
        "edge": EDGE,
        "ask_rebirth": True,
    }
    return machine(source, [{"name": "temp", "address": "Zone/Temperature", "unit": "Cel"}])


async def birth_lost(times: int, folder: Path) -> Outcome:
    """The gateway comes when the node has long been born: it has to ask for another birth."""
    outcome = Outcome("Sparkplug", "birth lost")
    async with Broker(folder) as broker, an_edge(broker.port, "plant"):
        for _ in range(min(times, 5)):
            began = time.monotonic()
            async with watched(outcome, host(broker.port, "plant")):
                outcome.recovered_s.append(time.monotonic() - began)
    return outcome


async def edge_restarted(times: int, folder: Path) -> Outcome:
    """The edge node's process dies; its broker says so, and another one is born."""
    outcome = Outcome("Sparkplug", "edge node killed and restarted")
    async with Broker(folder) as broker, contextlib.AsyncExitStack() as stack:
        edge = await stack.enter_async_context(an_edge(broker.port, "plant"))
        async with watched(outcome, host(broker.port, "plant")) as spool:
            for _ in range(min(times, 10)):
                edge.kill()
                await stack.aclose()
                edge = await stack.enter_async_context(an_edge(broker.port, "plant"))
                await recovered(spool, outcome)
    return outcome


ALL = (restarted, half_open, clock_lost, clock_local, weekend, birth_lost, edge_restarted)
