"""The doors for MQTT devices and Sparkplug nodes at a Mosquitto, over its restarts; other tests run on nats-server.

Runs on Mosquitto where it is installed, skipped where it is not; the node is the npm package sparkplug-client.
"""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from collectors.gateway import collect
from collectors.source import Reading
from pipeline.model import Phase, Quality
from pipeline.plant import Machine
from rootdx.embedded import free_port
from tests.collectors.devices import ASSET, MemorySpool, machine, stopped
from tests.collectors.test_mqtt import rows
from tests.collectors.test_sparkplug import number_metric
from tests.deploy.test_brokers import MOSQUITTO, PASSWD, running
from tests.support.edge_node import EDGE, EdgeNode

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "mosquitto"
SECRET = "only-here"
pytestmark = pytest.mark.skipif(MOSQUITTO is None or PASSWD is None, reason="no Mosquitto on this machine")


class Mosquitto:
    """With deploy/mosquitto/devices.conf in a folder of its own; `started` as often as a test wants."""

    def __init__(self, folder: Path, *, everybody: bool = False) -> None:
        self.port, self._folder = free_port(), folder
        text = (DEPLOY / "devices.conf").read_text(encoding="utf-8")
        text = text.replace("listener 1883", f"listener {self.port} 127.0.0.1")
        text = text.replace("/etc/mosquitto/rootdx", str(folder)).replace("/var/lib/mosquitto-devices/", f"{folder}/")
        if everybody:  # the node of sparkplug-client comes without a name
            lines = [line for line in text.splitlines() if not line.startswith(("password_file", "acl_file"))]
            text = "\n".join(lines).replace("allow_anonymous false", "allow_anonymous true")
        if os.geteuid() == 0:
            text += "\nuser root\n"  # it would leave for an account that cannot enter the folder
        (folder / "mosquitto.conf").write_text(text, encoding="utf-8")
        shutil.copy(DEPLOY / "devices.acl", folder)
        (folder / "secret").write_text(SECRET, encoding="utf-8")
        for user, first in (("gateway", True), ("f03", False)):
            command = [str(PASSWD), *(["-c"] if first else []), "-b", str(folder / "devices.passwd"), user, SECRET]
            subprocess.run(command, check=True)

    @contextlib.contextmanager
    def started(self) -> Iterator[None]:
        with running([str(MOSQUITTO), "-c", str(self._folder / "mosquitto.conf")], self.port):
            yield

    async def publish(self, *payloads: Any) -> None:
        async with aiomqtt.Client("127.0.0.1", self.port, username="f03", password=SECRET) as device:
            for payload in payloads:
                await device.publish("f03/pv", json.dumps(payload), qos=1)


def furnace(broker: Mosquitto, folder: Path) -> Machine[Any]:
    source = {
        "protocol": "mqtt", "host": "127.0.0.1", "port": broker.port, "user": "gateway", "time": "ts",
        "password_file": str(folder / "secret"), "clock_tolerance_s": 1e9,
    }  # fmt: skip
    return machine(source, [{"address": "f03/pv temp"}, {"address": "f03/pv on"}])


def said(number: int) -> dict[str, Any]:
    return {"ts": 1_780_000_000_000 + number, "temp": 850.0 + number, "on": number % 2 == 0}


def heard(spool: MemorySpool) -> list[tuple[str, int, float, int]]:
    return sorted(rows(Reading(tuple(spool.batches))), key=lambda row: (row[1], row[0]))


def expected(numbers: range) -> list[tuple[str, int, float, int]]:
    stamp = 1_780_000_000_000
    return [
        row
        for n in numbers
        for row in (
            ("t0", (stamp + n) * 10**6, 850.0 + n, int(Quality.GOOD)),
            ("t1", (stamp + n) * 10**6, float(n % 2 == 0), int(Quality.GOOD)),
        )
    ]


async def test_what_a_device_says_arrives_once_also_what_it_said_while_the_gateway_was_away(tmp_path: Path) -> None:
    broker, spool, name = Mosquitto(tmp_path), MemorySpool(), f"gw-{secrets.token_hex(3)}"
    one = furnace(broker, tmp_path)
    with broker.started():
        task = asyncio.create_task(collect({ASSET: one}, spool, name, time.time_ns))
        await spool.until(lambda s: s.events("machine.declared"))
        await asyncio.sleep(0.5)
        await broker.publish(*map(said, range(5)))
        await spool.until(lambda s: s.rows() >= 10)
        await stopped(task)
        await broker.publish(*map(said, range(5, 9)))
        later = spool.after_a_kill()
        task = asyncio.create_task(collect({ASSET: one}, later, name, time.time_ns))
        await later.until(lambda s: s.rows() >= 18)
        await stopped(task)
    assert heard(later) == expected(range(9))


async def test_a_broker_that_restarts_is_found_again_and_what_it_kept_comes(tmp_path: Path) -> None:
    """Its messages for a reader that is away outlive the restart: `persistence` in devices.conf."""
    broker, spool, name = Mosquitto(tmp_path), MemorySpool(), f"gw-{secrets.token_hex(3)}"
    one = furnace(broker, tmp_path)
    with broker.started():
        task = asyncio.create_task(collect({ASSET: one}, spool, name, time.time_ns))
        await spool.until(lambda s: s.events("machine.declared"))
        await asyncio.sleep(0.5)
        await broker.publish(said(0))
        await spool.until(lambda s: s.rows() >= 2)
        await stopped(task)
        await broker.publish(said(1))
    later = spool.after_a_kill()
    with broker.started():
        task = asyncio.create_task(collect({ASSET: one}, later, name, time.time_ns))
        await later.until(lambda s: s.rows() >= 4)
    await later.until(lambda s: any(e.phase is Phase.RAISED for e in s.events("device.unreachable")), 20)
    with broker.started():
        await later.until(lambda s: any(e.phase is Phase.CLEARED for e in s.events("device.unreachable")), 20)
        await broker.publish(said(2))
        await later.until(lambda s: s.rows() >= 6)
        await stopped(task)
    assert heard(later) == expected(range(3))


async def test_a_sparkplug_node_and_its_host_find_each_other_again_after_a_restart(tmp_path: Path) -> None:
    broker, spool, group = Mosquitto(tmp_path, everybody=True), MemorySpool(), f"g{secrets.token_hex(4)}"
    source = {"protocol": "sparkplug", "host": "127.0.0.1", "port": broker.port, "group": group, "edge": EDGE}
    one = machine(source, [{"address": "Force", "unit": "kN"}])
    now_ms = int(time.time() * 1000)

    def born(value: float, ms: int) -> dict[str, Any]:
        return {"timestamp": now_ms + ms, "metrics": [number_metric("Force", "Double", value, timestamp=now_ms + ms)]}

    with contextlib.ExitStack() as first:
        first.enter_context(broker.started())
        task = asyncio.create_task(collect({ASSET: one}, spool, f"gw-{secrets.token_hex(3)}", time.time_ns))
        await spool.until(lambda s: s.events("machine.declared"))
        await asyncio.sleep(0.5)
        async with EdgeNode(broker.port, group) as edge:
            await edge.do("publishNodeBirth", born(12.5, 0))
            await edge.do("publishNodeData", born(13.5, 1))
            await spool.until(lambda s: s.rows() >= 2)
            first.close()
            await spool.until(lambda s: any(e.phase is Phase.RAISED for e in s.events("device.unreachable")), 20)
            with broker.started():
                await edge.heard("birth")  # it is connected again, and is to be born anew
                await spool.until(lambda s: any(e.phase is Phase.CLEARED for e in s.events("device.unreachable")), 20)
                await edge.do("publishNodeBirth", born(14.5, 2))
                await edge.do("publishNodeData", born(15.5, 3))
                await spool.until(lambda s: 15.5 in good(s))
                await stopped(task)
    assert good(spool) == [12.5, 13.5, 14.5, 15.5]


def good(spool: MemorySpool) -> list[float]:
    return [value for _, _, value, quality in heard(spool) if quality == Quality.GOOD]
