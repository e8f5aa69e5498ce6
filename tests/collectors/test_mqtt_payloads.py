"""Payloads of every form: what they say is rows or texts, and nothing they say becomes a number it was not."""

import json
import math
import struct
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from collectors.device_clock import Allowance, DeviceClock
from collectors.mqtt_address import address_of
from collectors.mqtt_decode import Decoder, Said, Unreadable
from collectors.mqtt_routes import Routes
from collectors.payload import Stamps
from pipeline.model import Phase, Quality
from pipeline.plant import Tag

NOW = 1_780_000_500_000_000_000
TS_MS = 1_780_000_000_123
TS = TS_MS * 1_000_000
GOOD, UNCERTAIN = int(Quality.GOOD), int(Quality.UNCERTAIN)
MISMATCH = int(Quality.BAD_TYPE_MISMATCH)


def decode(payload: Any, *addresses: str, stamps: Stamps | None = None, device: DeviceClock | None = None) -> Said:
    tags = [Tag(name=f"t{i}", address=f"t {address}", unit="1") for i, address in enumerate(addresses)]
    routes = Routes(tags, (), (), 10)
    clock = device or DeviceClock("a", Allowance(1e9, 1e9))
    decoder = Decoder("a", lambda: NOW, stamps or Stamps("ts", "ms"), clock)
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    route = routes.route("a", "t")
    assert route is not None
    decoder.read(route, data)
    return decoder.taken()


def rows(said: Said) -> list[tuple[int, int, Any, int]]:
    raw = [None if math.isnan(one) else one for one in said.raw]
    return list(zip(said.tag, said.ts_ns, raw, map(int, said.quality), strict=True))


def test_nested_paths_and_arrays_of_objects_each_with_its_time() -> None:
    said = {"ts": TS_MS, "a": {"b": [{"c": 1}, {"c": 2.5}]}, "log": [{"ts": TS_MS + 1, "v": 3}, {"v": 4}]}
    assert rows(decode(said, "a.b.1.c", "v each=log")) == [
        (0, TS, 2.5, GOOD),
        (1, TS + 1_000_000, 3.0, GOOD),
        (1, TS, 4.0, GOOD),
    ]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("v period_ms=100", {"ts": TS_MS, "v": [1, 2, 3]}),
        ("v period_s=p.0", {"ts": TS_MS, "v": [1, 2, 3], "p": [0.1]}),
        ("v times=at", {"v": [1, 2, 3], "at": [TS_MS, TS_MS + 100, TS_MS + 200]}),
        ("v each=e", {"e": [{"ts": TS_MS + 100 * i, "v": i + 1} for i in range(3)]}),
    ],
)
def test_arrays_of_samples(address: str, said: Any) -> None:
    assert rows(decode(said, address)) == [(0, TS + i * 100_000_000, i + 1.0, GOOD) for i in range(3)]


def test_an_array_without_time_ended_when_it_arrived() -> None:
    assert [ts for _, ts, _, _ in rows(decode({"v": [1, 2, 3]}, "v period_ms=100"))] == [
        NOW - 200_000_000,
        NOW - 100_000_000,
        NOW,
    ]


@pytest.mark.parametrize(
    ("said", "address", "cause"),
    [
        ({"v": [1, 2], "at": [TS_MS]}, "v times=at", "times_differ"),
        ({"v": [1, 2]}, "v times=at", "times_differ"),
        ({"v": [1, 2]}, "v period_s=p", "no_period"),
        ({"v": [1, 2], "p": -1}, "v period_s=p", "no_period"),
        ({"v": [0] * 100_001}, "v period_s=1", "too_long"),
        ([{"v": 0}] * 100_001, "v", "too_long"),
        (b"{", "v", "not_json"),
        (b"[" * 100_000, "v", "not_json"),
        (b"", "v", "not_json"),
        (b"\xff\xfe", "format=text", "not_text"),
        (b"\x01", "type=int16be", "too_short"),
        (b"\x01\x02\x03\x04", "type=int16be at=3", "too_short"),
        (b"\x01\x02\x03\x04", "type=int16be ts=0:uint64le", "too_short"),
    ],
)
def test_what_cannot_be_read_has_a_cause_and_leaves_nothing(said: Any, address: str, cause: str) -> None:
    with pytest.raises(Unreadable) as caught:
        decode(said, address)
    assert caught.value.cause == cause


@pytest.mark.parametrize(
    ("payload", "address", "value"),
    [
        (b"25.4", "format=text", 25.4),
        (b" -1e3\r\n", "format=text", -1000.0),
        (b"25,4", "format=text decimal=comma", 25.4),
        (b"25,4", "format=text", None),
        (b"1.234,5", "format=text decimal=comma", None),
        (b"1,234.5", "format=text", None),
        (b"ON", "format=text map=ON:1,OFF:0", 1.0),
        (b"OFF", "format=text map=ON:1,OFF:0", 0.0),
        (b"on", "format=text map=ON:1,OFF:0", None),
        (b"nan", "format=text", None),
        (b"0x10", "format=text", None),
        (b"1_000", "format=text", None),
        ("25.4 °C".encode(), "format=text", None),
        ("٣".encode(), "format=text", None),
        (b"", "format=text", None),
        (b'{"v": "7,5"}', "v decimal=comma", 7.5),
        (b'{"v": "7.5"}', "v", None),
        (b'{"v": "RUN"}', "v map=RUN:3", 3.0),
    ],
)
def test_texts_that_are_numbers_and_those_that_are_not(payload: bytes, address: str, value: float | None) -> None:
    ((_, _, got, quality),) = rows(decode(payload, address))
    assert (got, quality) == (value, GOOD if value is not None else MISMATCH)


@pytest.mark.parametrize(
    ("code", "name", "value"),
    [
        ("b", "int8", -5),
        ("B", "uint8", 250),
        (">h", "int16be", -300),
        ("<H", "uint16le", 65_000),
        ("<i", "int32le", -70_000),
        (">I", "uint32be", 4_000_000_000),
        ("<q", "int64le", -(2**40)),
        (">Q", "uint64be", 2**60),
        (">f", "float32be", 1.5),
        ("<d", "float64le", -2.25),
    ],
)
def test_bytes_of_every_kind_at_their_place(code: str, name: str, value: float) -> None:
    payload = b"xyz" + struct.pack(code, value) + b"!"
    assert rows(decode(payload, f"type={name} at=3")) == [(0, NOW, float(value), GOOD)]


def test_bytes_with_a_time_of_their_own() -> None:
    payload = struct.pack(">Qhh", TS_MS, 250, -3)
    got = rows(decode(payload, "type=int16be at=8 ts=0:uint64be", "type=int16be at=10 ts=0:uint64be"))
    assert got == [(0, TS, 250.0, GOOD), (1, TS, -3.0, GOOD)]


@pytest.mark.parametrize(
    ("said", "unit", "zone", "local"),
    [
        ("2026-05-01T08:00:00+09:00", "ms", "UTC", "2026-05-01T08:00:00+09:00"),
        ("2026-05-01T08:00:00", "iso", "Asia/Seoul", "2026-05-01T08:00:00+09:00"),
        ("2026-05-01 08:00:00.5", "iso", "UTC", "2026-05-01T08:00:00.5+00:00"),
        ("1777590000", "s", "UTC", "2026-05-01T08:00:00+09:00"),
        (1_777_590_000_000_000, "us", "UTC", "2026-05-01T08:00:00+09:00"),
    ],
)
def test_times_in_every_dress(said: Any, unit: Any, zone: str, local: str) -> None:
    got = decode({"ts": said, "v": 1}, "v", stamps=Stamps("ts", unit, ZoneInfo(zone)))
    assert got.ts_ns == [int(datetime.fromisoformat(local).timestamp() * 1e6) * 1000]


def test_a_clock_ahead_is_not_believed_and_said_once() -> None:
    device = DeviceClock("a", Allowance(5.0))
    assert rows(decode({"ts": (NOW + 6 * 10**9) // 10**6, "v": 1}, "v", device=device)) == [(0, NOW, 1.0, UNCERTAIN)]
    (raised,) = device.events(NOW)
    assert (raised.kind, raised.phase, raised.data) == ("device.clock", Phase.RAISED, {"offset_s": 6.0})
    decode({"ts": (NOW + 6 * 10**9) // 10**6, "v": 1}, "v", device=device)
    assert device.events(NOW) == []
    assert rows(decode({"ts": NOW // 10**6, "v": 1}, "v", device=device)) == [(0, NOW, 1.0, GOOD)]
    assert device.events(NOW) == []  # for a minute it may come again
    assert device.believed(NOW + 61 * 10**9, NOW + 61 * 10**9)
    (cleared,) = device.events(NOW)
    assert (cleared.phase, cleared.id) == (Phase.CLEARED, raised.id)


def test_a_clock_behind_is_told_from_messages_that_waited() -> None:
    device, late = DeviceClock("a", Allowance(5.0)), NOW - 3600 * 10**9
    assert device.believed(late, NOW)  # it may have waited for an hour
    assert device.believed(late + 30 * 10**9, NOW + 30 * 10**9)
    assert not device.believed(late + 61 * 10**9, NOW + 61 * 10**9)  # for a minute nothing came in time
    assert [event.phase for event in device.events(NOW)] == [Phase.RAISED]
    waited = DeviceClock("a", Allowance(5.0))
    for second in range(0, 3600, 100):  # an hour of messages within a second
        assert waited.believed(late + second * 10**9, NOW + second * 10**5)
    assert waited.believed(NOW + 10**9, NOW + 10**9)
    assert waited.events(NOW) == []


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("v what=1", "unknown what="),
        ("v format=xml", "expected json or text"),
        ("v format=text", "need JSON"),
        ("v type=int16be", "need JSON"),
        ("type=int16", "is no place in bytes"),
        ("type=float8", "is no place in bytes"),
        ("v at=3", "belong to bytes"),
        ("v decimal=dot", "expected point or comma"),
        ("v map=ON", "expected words and numbers"),
        ("v period_ms=0", "expected more than 0"),
        ("v period_ms=1 period_s=2", "one period"),
        ("v times=a period_s=2", "not both"),
        ("v as=json", "only as=text"),
    ],
)
def test_a_wrong_address_says_what_was_expected(address: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        address_of(f"t {address}")


def test_texts_are_clean() -> None:
    said = decode(b'{"ts":1780000000123,"lot":"A\\u0000\\ud800 7\\n","n":12,"b":true,"o":{},"z":null}',
                  "lot as=text", "n as=text", "b as=text", "o as=text", "z as=text")  # fmt: skip
    assert said.texts == [(0, TS, "A? 7"), (1, TS, "12"), (2, TS, "true")]
    assert said.raw == []


ADDRESSES = ["v", "v.0", "v each=e", "v times=at", "v period_ms=p", "v period_ms=5", "v as=text",
             "v decimal=comma map=x:1", "format=text", "type=float64be at=1", "type=uint16le ts=0:int64le"]  # fmt: skip
LEAF = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
INNER = st.recursive(LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("vep"), inner))
OBJECT = st.fixed_dictionaries({}, optional={"ts": INNER, "v": INNER, "e": INNER, "at": INNER, "p": INNER})
PAYLOADS = st.binary(max_size=40) | st.one_of(OBJECT, st.lists(OBJECT, max_size=3), INNER).map(
    lambda said: json.dumps(said).encode()
)


@given(PAYLOADS, st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=4), st.sampled_from(["ms", "iso", "ns"]))
def test_whatever_a_payload_says_it_is_rows_or_unreadable(payload: bytes, addresses: Any, unit: Any) -> None:
    try:
        said = decode(payload, *addresses, stamps=Stamps("ts", unit), device=DeviceClock("a", Allowance(10.0)))
    except Unreadable:
        return
    assert len(said.ts_ns) == len(said.tag) == len(said.raw) == len(said.quality)
    assert all(abs(ts) < 2**63 for ts in said.ts_ns)
    assert all(isinstance(one, float) for one in said.raw)
    assert all(text.isprintable() and text.encode() for _, _, text in said.texts)
