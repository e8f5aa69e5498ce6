"""The MQTT machine on the real broker."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from rootdx.embedded import Broker
from simulators.run import MODELS, Options, running
from tests.simulators.devices import truth_lines, until
from tests.support.proxy import Proxy

Received = list[tuple[str, dict[str, float]]]


@asynccontextmanager
async def listening(broker: Broker) -> AsyncIterator[Received]:
    received: Received = []
    async with aiomqtt.Client(broker.host, broker.port) as client, asyncio.TaskGroup() as tasks:
        await client.subscribe("device/weld1/#", qos=1)

        async def collect() -> None:
            async for message in client.messages:
                received.append((str(message.topic), json.loads(bytes(message.payload))))

        task = tasks.create_task(collect())
        yield received
        task.cancel()


def options(broker: Broker, **more: Any) -> Options:
    return Options(broker_host=broker.host, broker_port=broker.port, speed=20.0, **more)


def told(path: Path, kind: str = "served") -> list[tuple[int, dict[str, float]]]:
    """Stamps in ms and values the truth says were acknowledged, or not."""
    return [(line["t_ns"] // 1_000_000, line["values"]) for line in truth_lines(path, kind)]


async def test_messages_are_what_the_truth_says(broker: Broker, tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    async with listening(broker) as received, running("welding", options(broker, truth=path)) as endpoint:
        await until(lambda: len(received) > 150)
        assert endpoint.detail == "device/weld1/arc device/weld1/cell"
    acknowledged, unanswered = (
        {(ts, tuple(sorted(values.items()))) for ts, values in told(path, kind)} for kind in ("served", "unanswered")
    )
    said = [(topic, p) for topic, p in received if "/waveform/" not in topic]
    heard = {(p["ts"], tuple(sorted((k, float(v)) for k, v in p.items() if k != "ts"))) for _, p in said}
    assert len(acknowledged) > 140
    assert acknowledged <= heard <= acknowledged | unanswered
    assert len(unanswered) <= 1  # what was on its way when the device was stopped
    arc = [p for topic, p in received if topic == "device/weld1/arc"]
    assert list(arc[0]) == ["ts", "u", "i", "wfs", "gas", "travel", "arc_on", "seam"]
    stamps = [p["ts"] for p in arc]
    assert all(later > earlier for earlier, later in pairwise(stamps))
    assert {p["arc_on"] for p in arc} == {0, 1}


async def test_what_arrived_but_was_not_acknowledged_before_the_end_is_told(broker: Broker, tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    async with listening(broker) as received, Proxy(broker.host, broker.port) as proxy:
        proxy.delay(0.3)
        far = Options(broker_host=proxy.host, broker_port=proxy.port, speed=20.0, truth=path)
        async with running("welding", far):
            await until(lambda: len(received) > 0)  # the acknowledgement is 0.3 s away
    (_, first), acknowledged, unanswered = received[0], told(path), told(path, "unanswered")
    assert not [ts for ts, _ in acknowledged if ts == first["ts"]]
    assert [ts for ts, _ in unanswered] == [first["ts"]]


async def test_nothing_is_lost_while_the_link_is_down(broker: Broker, tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    async with listening(broker) as received, Proxy(broker.host, broker.port) as proxy:
        await asyncio.sleep(0)  # let the proxy begin to listen
        proxy.refuse()
        hidden = Options(broker_host=proxy.host, broker_port=proxy.port, speed=20.0, truth=path)
        async with running("welding", hidden):
            await asyncio.sleep(0.3)  # real messages pile up before there is a broker
            assert received == []
            proxy.heal()
            await until(lambda: len(received) > 40)
            proxy.cut()
            seen = len(received)
            await until(lambda: len(received) > seen + 60, 8.0)
    steps = sorted({p["ts"] for topic, p in received if topic == "device/weld1/arc"})
    acknowledged = [ts for ts, values in told(path) if "u" in values]
    assert set(acknowledged) <= set(steps)
    assert len(acknowledged) == len(set(acknowledged))
    # The device says something every simulated second at least, which are 50 ms here.
    assert max(later - earlier for earlier, later in pairwise(steps)) <= 51


@pytest.mark.parametrize("kind", ["duplicate", "out_of_order"])
async def test_network_faults_reach_the_broker(broker: Broker, tmp_path: Path, kind: str) -> None:
    faults = tmp_path / "faults.toml"
    faults.write_text(f'[[fault]]\ntype = "{kind}"\nstart_s = 0\nend_s = 9999\n')
    async with listening(broker) as received, running("welding", options(broker, faults=faults)):
        await until(lambda: len(received) > 160)
    stamps = [p["ts"] for topic, p in received if topic == "device/weld1/arc"]
    assert stamps != sorted(set(stamps))


def test_topics_have_no_spaces_and_no_dots() -> None:
    for signal in MODELS["welding"].signals:
        topic, _, key = signal.address.partition(" ")
        assert topic.startswith("device/weld1/")
        assert "." not in topic
        assert key.isidentifier()
