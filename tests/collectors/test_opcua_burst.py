"""Arrays of a server become bursts: by channel or as one, with the server's time, once."""

import asyncio
import time
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from asyncua import ua
from asyncua.server.server import Server
from asyncua.ua.status_codes import StatusCodes
from pydantic import ValidationError

from collectors.device_clock import Allowance, DeviceClock
from collectors.opcua_burst import Assembly
from collectors.source import Reading
from pipeline.model import MOST_VALUES, Event, Quality, Waveform
from rootdx.embedded import free_port
from tests.collectors.devices import ASSET, machine, opening

URI = "urn:test:press"
BEGAN = datetime(2026, 5, 28, 20, 26, 40, 123_000, UTC)
BEGAN_NS = 1_780_000_000_123_000_000
pytestmark = pytest.mark.asyncio(loop_scope="module")


class Press:
    def __init__(self, nodes: dict[str, Any], port: int) -> None:
        self.nodes, self.port = nodes, port

    async def set(self, name: str, value: Any, stamp: datetime | None = BEGAN, status: int = 0) -> None:
        shape = list(np.shape(value))
        variant = ua.Variant(np.ravel(value).tolist() if shape else float(value), ua.VariantType.Double)
        if len(shape) == 2:
            variant = ua.Variant(
                np.asarray(value).tolist(), ua.VariantType.Double, Dimensions=[ua.Int32(n) for n in shape]
            )
        said = ua.DataValue(variant, ua.StatusCode(ua.UInt32(status)), SourceTimestamp=stamp)  # type: ignore[arg-type]
        await self.nodes[name].write_value(said)


@asynccontextmanager
async def press() -> Any:
    port, server = free_port(), Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/press")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace(URI)
    box = await server.nodes.objects.add_object(index, "press")
    nodes = {}
    for name in ("v", "p", "both", "period"):
        node = ua.NodeId(ua.String(name), ua.Int16(index))
        nodes[name] = await box.add_variable(node, name, 0.0 if name == "period" else [0.0], ua.VariantType.Double)
    async with server:
        yield Press(nodes, port)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> Any:
    async with press() as device:
        yield device


@pytest_asyncio.fixture(loop_scope="module")
async def device(shared: Press) -> Press:
    await shared.set("period", 50)
    for name in ("v", "p", "both"):
        await shared.set(name, np.empty(0), BEGAN - timedelta(days=1))
    return shared


def node(name: str) -> str:
    return f"nsu={URI};s={name}"


def shots(port: int, address: str = "", channels: bool = True, **more: Any) -> Any:
    source = {"protocol": "opcua", "url": f"opc.tcp://127.0.0.1:{port}/press", "every_s": 0.1, "timeout_s": 2.0}
    channel = [{"name": name, "unit": "1"} | ({"address": node(name)} if channels else {}) for name in ("v", "p")]
    entry = {"name": "shot.curve", "address": address, "channel": channel} | more
    return machine(source, [], waveform=[entry])


class Listener:
    def __init__(self, readings: Any) -> None:
        self._readings = readings
        self.heard: list[Reading] = []

    async def until(self, count: int) -> list[Any]:
        async with asyncio.timeout(8):
            while len(self.bodies) < count:
                self.heard.append(await anext(self._readings))
        return self.bodies

    async def silent(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                self.heard.append(await anext(self._readings))
        except TimeoutError:
            return True
        return False

    @property
    def bodies(self) -> list[Any]:
        return [body for reading in self.heard for body in reading.bodies]


@asynccontextmanager
async def listening(one: Any, memory: str = "") -> Any:
    async with (
        one.source.open(opening(one, time.time_ns, memory)) as session,
        aclosing(session.readings()) as readings,
    ):
        yield Listener(readings)


def curve(n: int = 4, ts_ns: int = BEGAN_NS, period_ns: int = 1_000_000) -> Waveform:
    value = np.stack([np.arange(n), np.zeros(n)], 1).astype(np.float32)
    return Waveform(ASSET, "shot.curve", ts_ns, period_ns, ("v", "p"), value)


async def test_channels_with_one_source_time_are_one_burst_also_when_one_stays_the_same(device: Press) -> None:
    async with listening(shots(device.port, period_s=0.001)) as heard:
        for i in range(3):
            await device.set("v", np.arange(4), BEGAN + timedelta(seconds=i))
            await device.set("p", np.zeros(4), BEGAN + timedelta(seconds=i))
            assert await heard.until(i + 1) == [curve(ts_ns=BEGAN_NS + k * 10**9) for k in range(i + 1)]


@pytest.mark.parametrize("turned", [False, True])
async def test_one_array_of_two_dimensions_with_its_period_in_a_node(device: Press, turned: bool) -> None:
    one = shots(device.port, f"{node('both')} period_us={node('period')}", channels=False)
    value = curve().value.astype(np.float64)
    async with listening(one) as heard:
        await device.set("both", value.T if turned else value)
        assert await heard.until(1) == [curve(period_ns=50_000)]


async def test_the_burst_a_subscription_begins_with_is_stored_once(device: Press) -> None:
    one = shots(device.port, period_s=0.001)
    await device.set("v", np.arange(4))
    await device.set("p", np.zeros(4))
    async with listening(one) as heard:
        assert await heard.until(1) == [curve()]
        memory = heard.heard[-1].memory
    async with listening(one, memory) as again:
        assert await again.silent(0.6)
    async with listening(one, memory) as again:
        await device.set("v", np.arange(4), BEGAN + timedelta(seconds=1))
        await device.set("p", np.zeros(4), BEGAN + timedelta(seconds=1))
        assert await again.until(1) == [curve(ts_ns=BEGAN_NS + 10**9)]


async def test_what_cannot_be_a_burst_is_told_and_the_next_one_stored(device: Press) -> None:
    async with listening(shots(device.port, period_s=0.001)) as heard:
        await device.set("v", np.arange(4))  # its pressure never comes
        await asyncio.sleep(0.3)
        await device.set("v", np.arange(5), BEGAN + timedelta(seconds=1))
        await device.set("p", np.zeros(4), BEGAN + timedelta(seconds=1))
        bodies = await heard.until(2)
        await device.set("v", np.arange(4), BEGAN + timedelta(seconds=2), StatusCodes.BadSensorFailure)
        bodies = await heard.until(3)
        await device.set("v", np.arange(4), BEGAN + timedelta(seconds=3))
        await device.set("p", np.zeros(4), BEGAN + timedelta(seconds=3))
        *told, stored = await heard.until(4)
    assert all(isinstance(body, Event) and body.kind == "waveform.refused" for body in told), bodies
    words = ("p did not come", "equally many samples", "BadSensorFailure")
    assert all(any(word in body.text for body in told) for word in words), [body.text for body in told]
    assert stored == curve(ts_ns=BEGAN_NS + 3 * 10**9)


@pytest.mark.parametrize("said", [datetime(2000, 1, 1, 0, 0, 30, tzinfo=UTC), datetime.now(UTC) + timedelta(hours=9)])
async def test_a_burst_whose_time_is_not_believed_ended_when_it_came_and_is_stored_once(
    device: Press, said: datetime
) -> None:
    one = shots(device.port, period_s=0.001)
    async with listening(one) as heard:
        await device.set("v", np.arange(4), said)
        await device.set("p", np.zeros(4), said)
        (stored,) = await heard.until(1)
        memory = heard.heard[-1].memory
    assert isinstance(stored, Waveform)
    assert stored.quality == Quality.UNCERTAIN
    assert abs(stored.ts_ns - time.time_ns()) < 10e9
    async with listening(one, memory) as again:
        assert await again.silent(0.6)


async def test_a_burst_too_large_to_carry_is_told() -> None:
    one = shots(1, node("both"), channels=False, period_s=0.001)
    assembly = Assembly(opening(one, lambda: BEGAN_NS), DeviceClock(ASSET, Allowance(1e9)))
    n = MOST_VALUES // 2 + 1
    flat = ua.Variant([0.0] * (2 * n), ua.VariantType.Double, Dimensions=[ua.Int32(n), ua.Int32(2)])
    (told,) = assembly.hear(0, ua.DataValue(flat), BEGAN_NS)
    assert isinstance(told, Event)
    assert "are carried" in told.text


def heard(one: Any, *values: Any, step_ns: int = 0) -> list[str]:
    assembly = Assembly(opening(one, lambda: BEGAN_NS), DeviceClock(ASSET, Allowance(1e9)))
    kinds = [ua.VariantType.String if value == ["a", "b"] else ua.VariantType.Double for value in values]
    said = [
        ua.DataValue() if value is None else ua.DataValue(ua.Variant(value, kind))
        for value, kind in zip(values, kinds, strict=True)
    ]
    found = [assembly.hear(0, value, BEGAN_NS + i * step_ns) for i, value in enumerate(said)]
    return [body.text for bodies in found for body in bodies if isinstance(body, Event)]


async def test_arrays_that_are_none_say_why() -> None:
    both, single = shots(1, node("both"), channels=False, period_s=0.001), shots(1, period_s=0.001)
    assert heard(both, None, []) == []
    assert "an array of 3, expected samples x 2 channels" in heard(both, [1.0, 2.0, 3.0])[0]
    assert "expected an array of numbers" in heard(both, ["a", "b"])[0]
    assert "one dimension" in heard(single, [[1.0, 2.0]])[0]
    waiting = heard(single, *[[1.0]] * 7, step_ns=1)
    assert waiting == ["waveform shot.curve: p did not come with the same source time"] * 3
    period = shots(1, f"{node('both')} period_s={node('period')}", channels=False)
    assembly = Assembly(opening(period, lambda: BEGAN_NS), DeviceClock(ASSET, Allowance(1e9)))
    assert list(assembly.hear(0, ua.DataValue(ua.Variant(float("nan"))), 0)) == []
    (told,) = assembly.hear(1, ua.DataValue(ua.Variant([[1.0, 2.0]])), BEGAN_NS)
    assert isinstance(told, Event)
    assert "nan s between samples" in told.text


async def test_a_node_that_is_missing_is_told(device: Press) -> None:
    one = shots(device.port, node("nowhere"), channels=False, period_s=0.001)
    async with listening(one) as heard:
        (told,) = await heard.until(1)
    assert (told.kind, told.key) == ("tag.refused", "shot.curve")


@pytest.mark.parametrize(
    ("address", "channels", "more", "words"),
    [
        ("", False, {"period_s": 1}, "expected the node"),
        (node("both"), True, {"period_s": 1}, "and not both"),
        (node("both"), False, {}, "nobody says how far apart"),
        ("nonsense", False, {"period_s": 1}, "is no node id"),
        (f"{node('both')} period_s=nonsense", False, {}, "is no node id"),
    ],
)
async def test_a_wrong_address_is_refused(address: str, channels: bool, more: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        shots(1, address, channels, **more)
