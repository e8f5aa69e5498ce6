"""Bursts in messages: JSON or binary, acknowledged when durable, stored once; what cannot be read is told."""

import asyncio
import json
import secrets
import struct
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from pydantic import ValidationError

from collectors.device_clock import Allowance, DeviceClock
from collectors.gateway import collect
from collectors.mqtt_burst import Bursts
from collectors.source import Reading
from pipeline.errors import BadData
from pipeline.model import MOST_VALUES, Batch, Event, Quality, Waveform
from rootdx.embedded import Broker
from tests.collectors.devices import ASSET, MemorySpool, machine, opening, stopped
from tests.collectors.test_mqtt import ACK_WAIT_S, HastyBroker, publish
from tests.support.services import reachable_folder, run

TS_MS = 1_780_000_000_123
NOW_NS = 1_780_000_500_000_000_000
BURST: dict[str, Any] = {
    "ts": TS_MS,
    "period_us": 50,
    "channels": {"current": [1, 2.5, None], "voltage": [10, "x", 30]},
}
CHANNELS: list[dict[str, Any]] = [
    {"name": "current", "unit": "A"},
    {"name": "voltage", "unit": "V", "scale": 2, "offset": 1},
]


@pytest.fixture(scope="module")
def broker() -> Any:
    with reachable_folder() as folder:
        server = HastyBroker(folder)
        run(server.start())
        yield server
        run(server.stop())


@pytest.fixture
def topic() -> str:
    return f"test/{secrets.token_hex(6)}/waveform/weld"


def welder(address: str, host: str = "127.0.0.1", port: int = 1883, tags: Any = (), **more: Any) -> Any:
    source = {"protocol": "mqtt", "host": host, "port": port, "time": "ts", "clock_tolerance_s": 1e9}
    entry = {"name": "weld", "address": address, "channel": CHANNELS} | more
    return machine(source, tags, waveform=[entry])


def read(one: Any, payload: Any) -> list[Waveform]:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    device = DeviceClock(ASSET, Allowance(60.0))
    return Bursts(opening(one, lambda: NOW_NS), one.source.time_unit, device).read("t", data)[0]


def expected(period_ns: int = 50_000, ts_ns: int = TS_MS * 1_000_000, **more: Any) -> Waveform:
    value = np.array([[1, 21], [2.5, np.nan], [np.nan, 61]], np.float32)
    return Waveform(ASSET, "weld", ts_ns, period_ns, ("current", "voltage"), value, **more)


@pytest.mark.parametrize(
    ("address", "said", "more"),
    [
        ("t", BURST, {}),
        ("t", {k: v for k, v in BURST.items() if k != "period_us"} | {"period_s": 0.00005}, {}),
        ("t", {k: v for k, v in BURST.items() if k != "period_us"}, {"period_s": 0.00005}),
        ("t", BURST | {"channels": list(BURST["channels"].values())}, {}),
        ("t", BURST | {"ts": "2026-05-28T20:26:40.123Z"}, {}),
        ("t channels=d.0.c ts=d.1 period_ms=d.2", {"d": [{"c": BURST["channels"]}, TS_MS, 0.05]}, {}),
    ],
)
def test_layouts_of_json(address: str, said: Any, more: Any) -> None:
    assert read(welder(address, **more), said) == [expected()]


def test_channels_at_paths_of_their_own() -> None:
    channels = [CHANNELS[0] | {"address": "a.0"}, CHANNELS[1] | {"address": "b"}]
    said = BURST | {"channels": {"a": [BURST["channels"]["current"]], "b": BURST["channels"]["voltage"]}}
    assert read(welder("t", channel=channels), said) == [expected()]


def test_several_bursts_in_one_message() -> None:
    assert read(welder("t"), [BURST, BURST | {"ts": TS_MS + 1}]) == [
        expected(),
        expected(ts_ns=(TS_MS + 1) * 1_000_000),
    ]


def test_a_time_that_cannot_be_is_when_the_burst_must_have_begun_and_uncertain() -> None:
    for ts in (0, TS_MS * 1000, NOW_NS // 10**6 + 9 * 3_600_000, "yesterday", None, 1e308, 10**400, True):
        (got,) = read(welder("t"), BURST | {"ts": ts})
        assert got == expected(ts_ns=NOW_NS - 150_000, quality=Quality.UNCERTAIN)
    (got,) = read(welder("t"), {k: v for k, v in BURST.items() if k != "ts"})
    assert got == expected(ts_ns=NOW_NS - 150_000)


def test_binary_columns_with_and_without_time() -> None:
    floats = np.array([[1, 2.5, np.inf], [10, np.nan, 30]], "<f4")
    (got,) = read(welder("t format=float32 ts=head", period_s=5e-5), struct.pack("<q", TS_MS) + floats.tobytes())
    assert got == expected()
    shorts = np.array([[1, 2, -3], [10, 20, 30]], "<i2")
    (got,) = read(welder("t format=int16", period_s=5e-5), shorts.tobytes())
    assert got.value.tolist() == [[1, 21], [2, 41], [-3, 61]]
    assert got.ts_ns == NOW_NS - 150_000
    for wrong in (b"", b"x" * 5, b"x" * 8):
        with pytest.raises(BadData, match="are not 2 columns"):
            read(welder("t format=float32 ts=head", period_s=5e-5), wrong)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"{", "not JSON"),
        ({}, "no channels at 'channels'"),
        (BURST | {"channels": {"current": [1]}}, "channel 'voltage' is not at 'channels'; there is: current"),
        (BURST | {"channels": {"current": [1], "voltage": 2}}, "expected an array of numbers, got int"),
        (BURST | {"channels": {"current": [1], "voltage": [[1]]}}, "array of arrays"),
        (BURST | {"channels": {"current": [1], "voltage": [{}]}}, "array of arrays"),
        (BURST | {"channels": {"current": [1], "voltage": [1, 2]}}, "equally many samples"),
        (BURST | {"channels": {"current": [], "voltage": []}}, "at least 1"),
        (BURST | {"period_us": 0}, "0 s between samples"),
        (BURST | {"period_us": float("inf")}, "inf s between samples"),
        (BURST | {"period_us": 10**400}, "nan s between samples"),
        ({"ts": 1, "channels": BURST["channels"]}, "give period_s in the machine file"),
        (BURST | {"channels": [[0] * (MOST_VALUES // 2 + 1)] * 2}, f"at most {MOST_VALUES} values"),
        ([BURST | {"channels": [[0] * (MOST_VALUES // 3)] * 2}] * 2, "send them one by one"),
    ],
)
def test_what_cannot_be_read_says_why(said: Any, words: str) -> None:
    with pytest.raises(BadData, match=words):
        read(welder("t"), said)


@pytest.mark.parametrize(
    ("address", "more", "words"),
    [
        ("", {}, "is not '<topic>'"),
        ("t/+/x", {}, "is not '<topic>'"),
        ("t nonsense", {}, "is not '<topic>'"),
        ("t where=x", {}, "is not '<topic>'"),
        ("t format=float64", {}, "is not '<topic>'"),
        ("t format=int16", {}, "give period_s"),
    ],
)
def test_a_wrong_address_is_refused(address: str, more: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        welder(address, **more)


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
JSON = st.recursive(VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner))


@settings(suppress_health_check=[HealthCheck.too_slow])  # other work on the machine is no fault of the strategy
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "ts": JSON,
            "period_us": JSON,
            "period_s": JSON,
            "channels": JSON | st.fixed_dictionaries({"current": st.lists(JSON), "voltage": st.lists(JSON)}),
        },
    )
)
def test_whatever_a_message_says_it_is_a_burst_or_bad_data(said: Any) -> None:
    try:
        (got,) = read(welder("t"), said)
    except BadData:
        return
    assert not np.isinf(got.value).any()


# On a real broker


async def taken(readings: AsyncIterator[Reading], count: int) -> list[Any]:
    found: list[Any] = []
    async with asyncio.timeout(8):
        while len(found) < count:
            found.extend((await anext(readings)).bodies)
    return found


async def test_bursts_and_rows_come_beside_each_other_and_nonsense_is_told(broker: Broker, topic: str) -> None:
    tag = {"address": f"{topic}/pv v"}
    one = welder(topic, broker.host, broker.port, [tag])
    async with one.source.open(opening(one, time.time_ns, client_id=secrets.token_hex(6))) as session:
        readings = session.readings()
        await publish(broker, topic, "nonsense", BURST, "more nonsense")
        await publish(broker, f"{topic}/pv", {"ts": TS_MS, "v": 7})
        bodies = await taken(readings, 3)
        await readings.aclose()
    assert [body for body in bodies if isinstance(body, Waveform)] == [expected()]
    assert [body.kind for body in bodies if isinstance(body, Event)] == ["waveform.refused"]
    assert [body.value.tolist() for body in bodies if isinstance(body, Batch)] == [[7.0]]


async def test_a_burst_is_acknowledged_when_durable_and_stored_once(broker: Broker, topic: str) -> None:
    one, client_id = welder(topic, broker.host, broker.port), secrets.token_hex(6)
    async with one.source.open(opening(one, time.time_ns, client_id=client_id)):
        pass  # the broker knows us from now on
    await publish(broker, topic, BURST)
    async with one.source.open(opening(one, time.time_ns, client_id=client_id)) as session:
        readings = session.readings()
        async with asyncio.timeout(8):
            first = await anext(readings)
        await readings.aclose()  # killed before it was acknowledged
    assert first.bodies == (expected(),)
    async with one.source.open(opening(one, time.time_ns, client_id=client_id)) as session:
        readings = session.readings()
        async with asyncio.timeout(8 + ACK_WAIT_S):
            again = await anext(readings)  # it had not become durable either: it comes again
        await readings.aclose()
    assert again.bodies == (expected(),)
    async with one.source.open(opening(one, time.time_ns, again.memory or "", client_id)) as session:
        readings = session.readings()
        await publish(broker, topic, BURST | {"ts": TS_MS + 1})
        async with asyncio.timeout(8 + ACK_WAIT_S):
            (last,) = (await anext(readings)).bodies  # it was durable: only the new one
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2 * ACK_WAIT_S):
                await anext(readings)
        await readings.aclose()
    assert last == expected(ts_ns=(TS_MS + 1) * 1_000_000)


async def test_many_large_bursts_come_in_readings_that_a_record_can_carry(broker: Broker, topic: str) -> None:
    one, client_id = welder(topic, broker.host, broker.port), secrets.token_hex(6)
    curve = list(range(MOST_VALUES // 5))
    async with one.source.open(opening(one, time.time_ns, client_id=client_id)):
        pass
    await publish(broker, topic, *(BURST | {"ts": TS_MS + i, "channels": [curve, curve]} for i in range(5)))
    seen: list[int] = []
    async with one.source.open(opening(one, time.time_ns, client_id=client_id)) as session:
        readings = session.readings()
        async with asyncio.timeout(20):
            while len(seen) < 5:
                bodies = [body for body in (await anext(readings)).bodies if isinstance(body, Waveform)]
                assert sum(body.value.size for body in bodies) <= MOST_VALUES
                seen += [body.ts_ns for body in bodies]
        await readings.aclose()
    assert len(set(seen)) == 5


async def test_a_full_spool_leaves_the_burst_with_the_broker(broker: Broker, topic: str) -> None:
    one, gateway = welder(topic, broker.host, broker.port), f"gw-{secrets.token_hex(3)}"
    async with one.source.open(opening(one, time.time_ns, client_id=f"rootdx-{gateway}-casting-line1-dc1")):
        pass  # the broker knows the gateway from now on
    spool = MemorySpool()
    task = asyncio.create_task(collect({ASSET: one}, spool, gateway, time.time_ns))
    await publish(broker, topic, BURST)
    await spool.until(lambda s: s.waveforms)
    spool.full = True
    await publish(broker, topic, BURST | {"ts": TS_MS + 1})
    await asyncio.sleep(0.5)
    spool.full = False
    await spool.until(lambda s: len(s.waveforms) == 2, 8 + ACK_WAIT_S)
    await asyncio.sleep(2 * ACK_WAIT_S)
    await stopped(task)
    assert [one.ts_ns for one in spool.waveforms] == [TS_MS * 1_000_000, (TS_MS + 1) * 1_000_000]
