import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from asyncua import ua
from asyncua.server.server import Server
from asyncua.ua.status_codes import StatusCodes

from collectors import opcua_session as opcua
from collectors.opcua_values import time_of
from collectors.source import Reading
from pipeline.errors import ConfigError, Unavailable
from pipeline.model import Batch, Event, Quality
from rootdx.embedded import free_port
from tests.collectors.devices import machine, opening

URI = "urn:test:press"
ANY_TIME_S = 1e9
START = datetime(2026, 5, 1, 8, 0, 0, 250_000, UTC)
FIRST = {
    "temp": (20.5, ua.VariantType.Double),
    "count": (7, ua.VariantType.Int64),
    "on": (True, ua.VariantType.Boolean),
    "text": ("run", ua.VariantType.String),
}
pytestmark = pytest.mark.asyncio(loop_scope="module")  # the server takes two seconds to start


class Press:
    """An asyncua server with one variable a tag."""

    def __init__(self, server: Server, nodes: dict[str, Any], port: int) -> None:
        self.server, self.nodes, self.port = server, nodes, port

    async def set(self, name: str, value: Any, status: int = 0, stamp: Any = None) -> None:
        stamp = datetime.now(UTC) if stamp is None else stamp
        said = ua.DataValue(ua.Variant(value, FIRST[name][1]), ua.StatusCode(ua.UInt32(status)), SourceTimestamp=stamp)
        await self.nodes[name].write_value(said)


@asynccontextmanager
async def press() -> AsyncIterator[Press]:
    port = free_port()
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/press")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace(URI)
    box = await server.nodes.objects.add_object(index, "press")
    nodes = {}
    for name, (value, _) in FIRST.items():
        nodes[name] = await box.add_variable(ua.NodeId(ua.String(name), ua.Int16(index)), name, value)
    async with server:
        yield Press(server, nodes, port)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> Any:
    async with press() as device:
        yield device


@pytest_asyncio.fixture(loop_scope="module")
async def device(shared: Any) -> Any:
    for name, (value, _) in FIRST.items():
        await shared.set(name, value, stamp=START)
    return shared


def press_machine(port: int, *names: str, every_s: float = 0.1, **tag: Any) -> Any:
    source = {"protocol": "opcua", "url": f"opc.tcp://127.0.0.1:{port}/press", "every_s": every_s, "timeout_s": 2.0}
    source |= {"clock_tolerance_s": ANY_TIME_S}
    return machine(source, [{"name": name, "address": f"nsu={URI};s={name}"} | tag for name in names])


class Listener:
    """Collects what a session says until a test is content."""

    def __init__(self, session: Any) -> None:
        self._readings = session.readings()
        self.readings: list[Reading] = []

    async def until(self, count: int) -> "Listener":
        async with asyncio.timeout(8):
            while len(self.rows) < count:
                self.readings.append(await anext(self._readings))
        return self

    async def silent(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                self.readings.append(await anext(self._readings))
                return False
        return True

    @property
    def rows(self) -> list[tuple[str, int, float, int]]:
        found: list[tuple[str, int, float, int]] = []
        for body in (body for reading in self.readings for body in reading.bodies if isinstance(body, Batch)):
            names = [body.tags[i] for i in body.tag]
            found += zip(names, body.ts_ns.tolist(), body.value.tolist(), body.quality.tolist(), strict=True)
        return found

    @property
    def events(self) -> list[Event]:
        return [body for reading in self.readings for body in reading.bodies if isinstance(body, Event)]

    @property
    def memory(self) -> str:
        return next((r.memory for r in reversed(self.readings) if r.memory is not None), "")


async def test_values_arrive_with_source_time_type_and_status(device: Press) -> None:
    one = press_machine(device.port, "temp", "count", "on")
    async with one.source.open(opening(one, time.time_ns)) as session:
        heard = await Listener(session).until(3)
        await device.set("temp", 0.0, status=StatusCodes.BadSensorFailure)
        await heard.until(4)
        await device.set("temp", 21.0, status=StatusCodes.UncertainLastUsableValue)
        await heard.until(5)
        await device.set("temp", 22.0, stamp=datetime(1999, 1, 1, tzinfo=UTC))
        await heard.until(6)
        await device.set("temp", 23.0, stamp=datetime.now(UTC) + timedelta(days=2))
        await heard.until(7)
    start = int(START.timestamp() * 1e6) * 1000
    by_name = {name: (ts, value, quality) for name, ts, value, quality in heard.rows[:3]}
    assert by_name["temp"] == (start, 20.5, Quality.GOOD)
    assert by_name["count"] == (start, 7.0, Quality.GOOD)
    assert by_name["on"] == (start, 1.0, Quality.GOOD)
    broken, uncertain, early, ahead = heard.rows[3:]
    assert broken[3] == Quality.BAD_SENSOR_FAILURE
    assert np.isnan(broken[2])
    assert uncertain[2:] == (21.0, Quality.UNCERTAIN_LAST_USABLE)
    for row in (early, ahead):
        assert row[3] == Quality.UNCERTAIN
        assert abs(row[1] - time.time_ns()) < 10e9


async def test_a_missing_source_time_is_the_servers_then_the_gateways() -> None:
    now = 1_790_000_000_000_000_000
    server = datetime(2026, 5, 1, tzinfo=UTC)
    assert time_of(ua.DataValue(ServerTimestamp=ua.DateTime.fromisoformat(server.isoformat())), now) == (
        int(server.timestamp()) * 10**9,
        True,
    )
    assert time_of(ua.DataValue(), now) == (now, True)
    assert time_of(ua.DataValue(SourceTimestamp=ua.DateTime(1601, 1, 1, tzinfo=UTC)), now) == (now, True)


async def test_values_are_scaled_and_judged(device: Press) -> None:
    one = press_machine(device.port, "temp", scale=2.0, offset=1.0, range=[0, 30])
    async with one.source.open(opening(one, time.time_ns)) as session:
        heard = await Listener(session).until(1)
    assert heard.rows[0][2:] == (42.0, Quality.UNCERTAIN_UNITS_EXCEEDED)


async def test_a_wrong_clock_is_not_believed_and_what_a_subscription_begins_with_may_be_old(device: Press) -> None:
    one = press_machine(device.port, "temp")
    one = one.model_copy(update={"source": one.source.model_copy(update={"clock_tolerance_s": 300.0})})
    wrong = (
        datetime.now(UTC) + timedelta(hours=9),
        datetime(2000, 1, 1, tzinfo=UTC),
        datetime.now(UTC) - timedelta(hours=9),
    )
    async with one.source.open(opening(one, time.time_ns)) as session:
        heard = await Listener(session).until(1)
        for count, stamp in enumerate(wrong):
            await device.set("temp", float(count), stamp=stamp)
            await heard.until(count + 2)
        await device.set("temp", 50.0)
        await heard.until(5)
    first, *doubtful, last = heard.rows
    assert first[1] == round(START.timestamp() * 1e6) * 1000
    assert [quality for _, _, _, quality in heard.rows] == [Quality.GOOD, *[Quality.UNCERTAIN] * 3, Quality.GOOD]
    assert all(abs(ts_ns - time.time_ns()) < 30e9 for _, ts_ns, _, _ in (*doubtful, last))
    (raised,) = [event for event in heard.events if event.kind == "device.clock"]
    assert abs(raised.data["offset_s"] - 9 * 3600) < 30


async def test_a_refused_node_is_an_event_and_a_bad_row_and_the_others_run(device: Press) -> None:
    one = press_machine(device.port, "temp", "nowhere")
    async with one.source.open(opening(one, time.time_ns)) as session:
        heard = await Listener(session).until(2)
        await device.set("temp", 99.0)
        await heard.until(3)
    async with one.source.open(opening(one, time.time_ns, heard.memory)) as session:
        again = Listener(session)
        assert await again.silent(0.4)
    (event,) = heard.events
    assert (event.kind, event.key) == ("tag.refused", "nowhere")
    assert "BadNodeIdUnknown" in event.text
    assert [quality for name, _, _, quality in heard.rows if name == "nowhere"] == [StatusCodes.BadNodeIdUnknown]
    assert heard.rows[-1][2] == 99.0


async def test_reopening_writes_nothing_twice_and_nothing_is_lost(device: Press) -> None:
    one = press_machine(device.port, "temp", "count")
    async with one.source.open(opening(one, time.time_ns)) as session:
        heard = await Listener(session).until(2)
        await device.set("temp", 30.0)
        await heard.until(3)
    async with one.source.open(opening(one, time.time_ns, heard.memory)) as session:
        again = Listener(session)
        assert await again.silent(0.4)
    await device.set("temp", 31.0)  # while nobody listens
    async with one.source.open(opening(one, time.time_ns, heard.memory)) as session:
        third = await Listener(session).until(1)
        await device.set("count", 8)
        await third.until(2)
    assert again.rows == []
    assert [(name, value) for name, _, value, _ in third.rows] == [("temp", 31.0), ("count", 8.0)]


async def test_a_server_that_goes_away_is_unavailable() -> None:
    async with press() as device:
        one = press_machine(device.port, "temp")
        async with one.source.open(opening(one, time.time_ns)) as session:
            heard = await Listener(session).until(1)
            listener: Any = device.server.bserver
            listener._server.close()
            for client in list(listener.clients):
                client.transport.abort()
            with pytest.raises(Unavailable):
                await heard.until(2)
    with pytest.raises(Unavailable):
        async with one.source.open(opening(one, time.time_ns)):
            pytest.fail("nobody is there")


async def test_a_server_that_says_nothing_at_all_is_unavailable(device: Press, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opcua, "_SILENCE_S", 0.3)
    monkeypatch.setattr(opcua, "_KEEPALIVE_S", 0.1)
    one = press_machine(device.port, "temp")
    async with one.source.open(opening(one, time.time_ns)) as session:
        heard = await Listener(session).until(1)
        assert await heard.silent(1.0)  # keepalives are signs of life
        session._client.uaclient.session._publish_task.cancel()
        with pytest.raises(Unavailable, match="neither data nor keepalive"):
            await Listener(session).until(1)


async def test_an_unknown_namespace_contradicts_the_file(device: Press) -> None:
    source = {"protocol": "opcua", "url": f"opc.tcp://127.0.0.1:{device.port}/press", "every_s": 0.1}
    one = machine(source, [{"address": "nsu=urn:other;s=temp"}])
    with pytest.raises(ConfigError, match="knows no namespace 'urn:other'"):
        async with one.source.open(opening(one, time.time_ns)):
            pytest.fail("it is not there")


async def test_a_full_buffer_makes_the_server_wait_and_loses_nothing(
    device: Press, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opcua, "_BUFFER_ROWS", 3)
    one = press_machine(device.port, "temp", every_s=0.05)
    async with one.source.open(opening(one, time.time_ns)) as session:
        heard = await Listener(session).until(1)
        for value in range(8):
            await device.set("temp", float(value))
            await asyncio.sleep(0.06)
        await heard.until(9)
    assert [value for _, _, value, _ in heard.rows] == [20.5, *map(float, range(8))]


@pytest.mark.parametrize("address", ["temp", "nsu=urn:x;temp", "ns=a;s=temp", "ns=2;i=abc"])
async def test_an_address_that_is_no_node_id_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="is no node id"):
        machine({"protocol": "opcua", "url": "opc.tcp://h:4840"}, [{"address": address}])


async def test_sessions_leave_no_task_behind(device: Press) -> None:
    before = asyncio.all_tasks()
    one = press_machine(device.port, "temp")
    async with one.source.open(opening(one, time.time_ns)) as session:
        await Listener(session).until(1)
    await asyncio.sleep(0.05)
    mine = {task for task in asyncio.all_tasks() - before if "server" not in str(task.get_coro())}
    assert not mine
