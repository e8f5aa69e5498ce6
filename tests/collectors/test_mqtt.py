import asyncio
import contextlib
import json
import re
import secrets
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiomqtt
import numpy as np
import pytest

from collectors.source import Reading
from pipeline.errors import Unavailable
from pipeline.model import Batch, Event, Quality
from rootdx.embedded import Broker
from tests.collectors.devices import machine, opening
from tests.support.services import reachable_folder, run

ACK_WAIT_S = 1.0
"""The broker sends again after this long without an acknowledgement."""


class HastyBroker(Broker):
    """The embedded broker, less patient than as shipped."""

    async def _command(self) -> list[str]:
        command = await super()._command()
        file = Path(command[-1])
        hasty = re.sub(r'ack_wait: "\d+s"', f'ack_wait: "{ACK_WAIT_S:g}s"', file.read_text())
        assert f'"{ACK_WAIT_S:g}s"' in hasty
        file.write_text(hasty)
        return command


@pytest.fixture(scope="module")
def broker() -> Any:
    with reachable_folder() as folder:
        server = HastyBroker(folder)
        run(server.start())
        yield server
        run(server.stop())


@pytest.fixture
def topic() -> str:
    return f"test/{secrets.token_hex(6)}/pv"


def device(broker: Broker, topic: str, *paths: str, **more: Any) -> Any:
    source = {
        "protocol": "mqtt",
        "host": broker.host,
        "port": broker.port,
        "time": "ts",
        "clock_tolerance_s": 1e9,
    } | more
    return machine(source, [{"name": f"t{i}", "address": f"{topic} {path}".strip()} for i, path in enumerate(paths)])


async def publish(broker: Broker, topic: str, *payloads: Any, qos: int = 1, retain: bool = False) -> None:
    async with aiomqtt.Client(broker.host, broker.port) as client:
        for payload in payloads:
            data = payload if isinstance(payload, bytes | str) else json.dumps(payload)
            await client.publish(topic, data, qos=qos, retain=retain)


def rows(*readings: Reading) -> list[tuple[str, int, float, int]]:
    found: list[tuple[str, int, float, int]] = []
    for body in (body for reading in readings for body in reading.bodies if isinstance(body, Batch)):
        names = [body.tags[i] for i in body.tag]
        found += zip(names, body.ts_ns.tolist(), body.value.tolist(), body.quality.tolist(), strict=True)
    return found


def events(*readings: Reading) -> list[Event]:
    return [body for reading in readings for body in reading.bodies if isinstance(body, Event)]


class Session:
    """A session in a test's hands: `hear` acknowledges what came before."""

    def __init__(self, one: Any, client_id: str, memory: str = "") -> None:
        self._stack = contextlib.AsyncExitStack()
        self._opening = opening(one, time.time_ns, memory, client_id)
        self._source = one.source
        self.memory = memory

    async def __aenter__(self) -> Any:
        for pause_s in (0.5, 1.5, None):  # the broker hangs up on a client that comes back at once; a gateway waits too
            try:
                session = await self._stack.enter_async_context(self._source.open(self._opening))
                break
            except Unavailable:
                if pause_s is None:
                    raise
                await asyncio.sleep(pause_s)
        self._readings = session.readings()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._readings.aclose()
        await self._stack.aclose()

    async def hear(self, count: int = 1, patience_s: float = 8.0) -> list[Reading]:
        found: list[Reading] = []
        async with asyncio.timeout(patience_s):
            while len(rows(*found)) + len(events(*found)) < count:
                found.append(await anext(self._readings))
                self.memory = self.memory if found[-1].memory is None else found[-1].memory
        return found

    async def silent(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await self.hear(1, seconds)
            return False
        return True


async def test_payloads_become_rows_by_topic_path_and_own_time(broker: Broker, topic: str) -> None:
    one = device(broker, topic, "zone.1.temp", "on", "missing", "name", "none")
    async with Session(one, secrets.token_hex(6)) as session:
        await publish(
            broker,
            topic,
            {"ts": 1_780_000_000_123, "zone": [{}, {"temp": 850.5}], "on": True, "name": "F03", "none": None},
        )
        heard = await session.hear(4)
    ts = 1_780_000_000_123_000_000
    got = rows(*heard)
    assert got[:2] == [("t0", ts, 850.5, Quality.GOOD), ("t1", ts, 1.0, Quality.GOOD)]
    assert [(name, quality) for name, _, _, quality in got[2:]] == [
        ("t3", Quality.BAD_TYPE_MISMATCH),
        ("t4", Quality.BAD_NO_DATA),
    ]


async def test_an_array_holds_several_moments(broker: Broker, topic: str) -> None:
    one = device(broker, topic, "v")
    async with Session(one, secrets.token_hex(6)) as session:
        await publish(broker, topic, [{"ts": 1_780_000_000_000 + i, "v": i} for i in range(5)])
        heard = await session.hear(5)
    assert [(ts // 1_000_000 % 1000, value) for _, ts, value, _ in rows(*heard)] == [(i, float(i)) for i in range(5)]


async def test_nan_infinity_and_giants_are_bad_and_nonsense_is_an_event(broker: Broker, topic: str) -> None:
    one = device(broker, topic, "v")
    async with Session(one, secrets.token_hex(6)) as session:
        await publish(
            broker,
            topic,
            b'{"v": NaN, "ts": 1780000000000}',
            b"\xff{",
            b"{broken",
            b'{"v": -Infinity, "ts": 1780000000001}',
        )
        await publish(
            broker, topic, b'{"v": 1' + b"0" * 400 + b', "ts": 1780000000002}', {"v": 5, "ts": 1_780_000_000_003}
        )
        heard = await session.hear(5)
        assert await session.silent(0.2)
    assert [quality for _, _, _, quality in rows(*heard)] == [Quality.BAD_SENSOR_FAILURE] * 3 + [Quality.GOOD]
    (event,) = events(*heard)
    assert event.kind == "message.refused"
    assert topic in event.text


@pytest.mark.parametrize(
    ("unit", "said", "ns"),
    [
        ("s", 1_780_000_000, 1_780_000_000_000_000_000),
        ("s", 1_780_000_000.25, 1_780_000_000_250_000_000),
        ("us", 1_780_000_000_000_001, 1_780_000_000_000_001_000),
        ("ns", 1_780_000_000_000_000_001, 1_780_000_000_000_000_001),
        (
            "iso",
            "2026-05-01T08:00:00.5+09:00",
            int(datetime(2026, 4, 30, 23, 0, 0, 500_000, UTC).timestamp() * 10) * 10**8,
        ),
        ("iso", "2026-05-01T08:00:00Z", int(datetime(2026, 5, 1, 8, tzinfo=UTC).timestamp()) * 10**9),
    ],
)
async def test_own_time_in_every_unit(broker: Broker, topic: str, unit: Any, said: Any, ns: Any) -> None:
    one = device(broker, topic, "v", time_unit=unit)
    async with Session(one, secrets.token_hex(6)) as session:
        await publish(broker, topic, {"ts": said, "v": 1})
        heard = await session.hear()
    assert rows(*heard) == [("t0", ns, 1.0, Quality.GOOD)]


@pytest.mark.parametrize("said", [12, "yesterday", True, 1e300, 4_000_000_000_000])
async def test_an_implausible_time_is_the_gateways_and_uncertain(broker: Broker, topic: str, said: Any) -> None:
    one = device(broker, topic, "v")
    async with Session(one, secrets.token_hex(6)) as session:
        await publish(broker, topic, {"ts": said, "v": 1})
        ((_, ts, _, quality),) = rows(*await session.hear())
    assert quality == Quality.UNCERTAIN
    assert abs(ts - time.time_ns()) < 5e9


async def test_a_bare_number_is_a_payload_too(broker: Broker, topic: str) -> None:
    one = device(broker, topic, "", time=None)
    async with Session(one, secrets.token_hex(6)) as session:
        await publish(broker, topic, b"23.5")
        ((_, _, value, quality),) = rows(*await session.hear())
    assert (value, quality) == (23.5, Quality.GOOD)


async def test_what_was_published_while_away_is_read_later(broker: Broker, topic: str) -> None:
    one, client_id = device(broker, topic, "v"), secrets.token_hex(6)
    assert one.source.arrival == "kept"
    async with Session(one, client_id) as session:
        await publish(broker, topic, {"ts": 1_780_000_000_000, "v": 0})
        await session.hear()
        assert await session.silent(0.1)
    await publish(broker, topic, *[{"ts": 1_780_000_000_000 + i, "v": i} for i in range(1, 31)])
    async with Session(one, client_id, session.memory) as session:
        heard = await session.hear(30)
    assert [value for _, _, value, _ in rows(*heard)] == [float(i) for i in range(1, 31)]


async def test_what_was_not_acknowledged_comes_again_and_is_stored_once(broker: Broker, topic: str) -> None:
    one, client_id = device(broker, topic, "v"), secrets.token_hex(6)
    async with Session(one, client_id) as session:
        await publish(broker, topic, *[{"ts": 1_780_000_000_000 + i, "v": i} for i in range(3)])
        first = await session.hear(3)
        durable = session.memory  # the spool has it; then the process dies, and nothing was acknowledged
    assert len(rows(*first)) == 3
    async with Session(one, client_id, durable) as session:
        await publish(broker, topic, {"ts": 1_780_000_000_003, "v": 3})
        again = await session.hear(1, ACK_WAIT_S + 3)
        began = time.monotonic()
        while time.monotonic() - began < ACK_WAIT_S + 0.5:
            assert await session.silent(ACK_WAIT_S + 0.5)
    assert [value for _, _, value, _ in rows(*again)] == [3.0]


async def test_what_was_not_durable_comes_again_and_is_stored_then(broker: Broker, topic: str) -> None:
    one, client_id = device(broker, topic, "v"), secrets.token_hex(6)
    async with Session(one, client_id) as session:
        await publish(broker, topic, {"ts": 1_780_000_000_000, "v": 7})
        await session.hear()
    async with Session(one, client_id, "") as session:
        heard = await session.hear(1, ACK_WAIT_S + 3)
    assert [value for _, _, value, _ in rows(*heard)] == [7.0]


async def test_equal_payloads_without_own_time_are_all_stored(broker: Broker, topic: str) -> None:
    one = device(broker, topic, "v", time=None)
    async with Session(one, secrets.token_hex(6)) as session:
        await publish(broker, topic, *[{"v": 1}] * 4)
        assert len(rows(*await session.hear(4))) == 4


async def test_a_retained_message_is_stored_once_if_it_says_when_and_never_if_not(broker: Broker, topic: str) -> None:
    one, client_id = device(broker, topic, "v"), secrets.token_hex(6)
    await publish(broker, topic, {"ts": 1_780_000_000_000, "v": 1}, retain=True)
    async with Session(one, client_id) as session:
        assert len(rows(*await session.hear())) == 1
        assert await session.silent(0.1)
    async with Session(one, client_id, session.memory) as session:
        assert await session.silent(0.3)
    async with Session(device(broker, topic, "v", time=None), secrets.token_hex(6)) as session:
        assert await session.silent(0.3)
    await publish(broker, topic, b"", retain=True)


async def test_messages_beyond_the_buffer_wait_at_the_broker(broker: Broker, topic: str) -> None:
    one = device(broker, topic, "v", max_buffer=5)
    async with Session(one, secrets.token_hex(6)) as session:
        await publish(broker, topic, *[{"ts": 1_780_000_000_000 + i, "v": i} for i in range(400)])
        await asyncio.sleep(0.3)
        heard: list[Reading] = []
        while len(rows(*heard)) < 400:
            heard += await session.hear()
            assert len(rows(*heard[-1:])) <= 5
    assert [value for _, _, value, _ in rows(*heard)] == [float(i) for i in range(400)]


async def test_no_broker_is_unavailable(unused_tcp_port: int) -> None:
    source = {"protocol": "mqtt", "host": "127.0.0.1", "port": unused_tcp_port}
    one = machine(source, [{"address": "a/b v"}])
    with pytest.raises(Unavailable):
        async with Session(one, "nobody"):
            pytest.fail("nobody is there")


async def test_a_broker_that_goes_away_is_unavailable(broker: Broker, topic: str) -> None:
    one = device(broker, topic, "v")
    name = "twin-" + topic[5:11]
    async with (
        Session(one, name) as session,
        aiomqtt.Client(broker.host, broker.port, identifier=name),
    ):  # throws us out
        with pytest.raises(Unavailable):
            await session.hear()


@pytest.mark.parametrize("address", ["", "plant/+/pv v", "plant/# v", "a b c"])
def test_a_wrong_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="json path"):
        machine({"protocol": "mqtt", "host": "h"}, [{"address": address}])


async def test_values_are_scaled_and_judged(broker: Broker, topic: str) -> None:
    source = {"protocol": "mqtt", "host": broker.host, "port": broker.port, "time": "ts", "clock_tolerance_s": 1e9}
    one = machine(source, [{"address": f"{topic} v", "scale": 0.1, "range": [0, 10]}])
    async with Session(one, secrets.token_hex(6)) as session:
        await publish(broker, topic, {"ts": 1_780_000_000_000, "v": 50}, {"ts": 1_780_000_000_001, "v": 500})
        got = rows(*await session.hear(2))
    assert np.allclose([value for _, _, value, _ in got], [5.0, 50.0])
    assert [quality for _, _, _, quality in got] == [Quality.GOOD, Quality.UNCERTAIN_UNITS_EXCEEDED]


async def test_sessions_leave_no_task_behind(broker: Broker, topic: str) -> None:
    before = asyncio.all_tasks()
    async with Session(device(broker, topic, "v"), secrets.token_hex(6)) as session:
        await publish(broker, topic, {"ts": 1_780_000_000_000, "v": 50})
        await session.hear()
    await asyncio.sleep(0.05)
    assert asyncio.all_tasks() == before
