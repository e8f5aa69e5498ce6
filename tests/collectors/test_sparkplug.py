"""A host application for Sparkplug B: against an edge node that is not ours, and against frames written by hand."""

import asyncio
import json
import math
import secrets
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiomqtt
import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from collectors import sparkplug_session
from collectors.gateway import collect
from collectors.source import Reading
from collectors.sparkplug_node import Node
from collectors.sparkplug_payload import payload_of, rebirth
from collectors.sparkplug_session import HISTORICAL
from pipeline import metrics
from pipeline.errors import BadData
from pipeline.model import Phase, Quality
from rootdx.embedded import Broker
from tests.collectors.devices import ASSET, MemorySpool, machine, opening, stopped
from tests.collectors.test_mqtt import events, rows
from tests.support.edge_node import EDGE, EdgeNode
from tests.support.services import reachable_folder, run

NOW_MS = int(time.time() * 1000)
LAST, NEVER = Quality.UNCERTAIN_NO_COMMUNICATION_LAST_USABLE, Quality.BAD_NO_COMMUNICATION


# Protobuf by hand, after the specification's schema; nothing of ours in it


def varint(said: int) -> bytes:
    said &= 2**64 - 1
    out = b""
    while said > 127:
        out, said = out + bytes([said % 128 + 128]), said // 128
    return out + bytes([said])


def number(place: int, said: int) -> bytes:
    return varint(place << 3) + varint(said)


def part(place: int, said: bytes | str) -> bytes:
    data = said.encode() if isinstance(said, str) else said
    return varint(place << 3 | 2) + varint(len(data)) + data


def metric(name: str = "", alias: int | None = None, kind: int = 10, value: Any = None, **more: Any) -> bytes:
    """With `ts`, `old`, `null` and the bytes of `properties`."""
    ts = more.get("ts", NOW_MS)
    out = part(1, name) if name else b""
    out += b"" if alias is None else number(2, alias)
    out += b"" if ts is None else number(3, ts)
    out += number(4, kind) if kind else b""
    out += (number(5, 1) if more.get("old") else b"") + (number(7, 1) if more.get("null") else b"")
    properties: bytes = more.get("properties", b"")
    return out + properties + (b"" if value is None else said(kind, value))


def said(kind: int, value: Any) -> bytes:
    if isinstance(value, bytes):
        return part({16: 17, 19: 18}.get(kind, 16), value)
    if isinstance(value, str):
        return part(15, value)
    if isinstance(value, bool):
        return number(14, value)
    if isinstance(value, float):
        return (
            varint(12 << 3 | 5) + struct.pack("<f", value)
            if kind == 9
            else varint(13 << 3 | 1) + struct.pack("<d", value)
        )
    return number(11, value) if kind in {4, 8, 13} else number(10, value & 0xFFFF_FFFF)


def frame(seq: int | None, *some: bytes, ts: int | None = NOW_MS) -> bytes:
    out = b"" if ts is None else number(1, ts)
    return out + b"".join(part(2, one) for one in some) + (b"" if seq is None else number(3, seq))


BDSEQ = metric("bdSeq", kind=4, value=7)


@pytest.fixture(scope="module")
def broker() -> Any:
    with reachable_folder() as folder:
        server = Broker(folder)
        run(server.start())
        yield server
        run(server.stop())


@pytest.fixture
def group() -> str:
    return f"g{secrets.token_hex(4)}"


def host(broker: Broker, group: str, tags: Any = (), **more: Any) -> Any:
    source = {"protocol": "sparkplug", "host": broker.host, "port": broker.port, "group": group, "edge": EDGE}
    return machine(source | more, tags)


class Ears:
    """A session in a test's hands."""

    def __init__(self, session: Any, memory: str) -> None:
        self.session, self.memory = session, memory
        self._readings = session.readings()

    async def hear(self, count: int) -> list[Reading]:
        found: list[Reading] = []
        async with asyncio.timeout(8):
            while len(rows(*found)) + len(events(*found)) < count:
                found.append(await anext(self._readings))
                self.memory = self.memory if found[-1].memory is None else found[-1].memory
        return found

    async def close(self) -> None:
        await self._readings.aclose()


@asynccontextmanager
async def listening(one: Any, memory: str = "") -> AsyncIterator[Ears]:
    opened = opening(one, time.time_ns, memory, f"host-{secrets.token_hex(4)}")
    async with one.source.open(opened) as session:
        ears = Ears(session, memory)
        yield ears
        await ears.close()


async def send(broker: Broker, group: str, kind: str, payload: bytes, device: str = "") -> None:
    async with aiomqtt.Client(broker.host, broker.port) as client:
        await client.publish(f"spBv1.0/{group}/{kind}/{EDGE}" + (f"/{device}" if device else ""), payload)


def counted(cause: str) -> float:
    return float(metrics.bad_data.labels(ASSET, cause)._value.get())


# Against sparkplug-client


def number_metric(name: str, kind: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "value": value, "timestamp": NOW_MS} | more


async def test_births_data_and_deaths_of_a_foreign_node_become_rows(broker: Broker, group: str) -> None:
    tags = [
        {"address": "Outputs/Total"},
        {"address": "press1::Force", "unit": "kN", "range": [0, 100]},
        {"address": "press1::Lot", "context": "lot"},
    ]
    spool, one = MemorySpool(), host(broker, group, tags)
    task = asyncio.create_task(collect({ASSET: one}, spool, f"gw-{secrets.token_hex(3)}", time.time_ns))
    await spool.until(lambda s: s.events("machine.declared"))
    await asyncio.sleep(0.5)
    async with EdgeNode(broker.port, group) as edge:
        born = {"timestamp": NOW_MS, "metrics": [number_metric("Outputs/Total", "Int8", -7)]}
        await edge.do("publishNodeBirth", born)
        device = [number_metric("Force", "Double", 12.5), number_metric("Lot", "String", "L-7")]
        await edge.do("publishDeviceBirth", "press1", {"timestamp": NOW_MS, "metrics": device})
        await spool.until(lambda s: s.rows() == 2)
        data = [number_metric("Force", "Double", 120.5), number_metric("Lot", "String", "L-8")]
        await edge.do("publishDeviceData", "press1", {"timestamp": NOW_MS, "metrics": data})
        await spool.until(lambda s: s.rows() == 3)
        await edge.do("publishDeviceDeath", "press1", {"timestamp": NOW_MS})
        await spool.until(lambda s: s.rows() == 4)
        edge.kill()
        await spool.until(lambda s: s.rows() == 5)
    await stopped(task)
    got = [(name, value, quality) for name, _, value, quality in rows(Reading(tuple(spool.batches)))]
    assert got == [
        ("t0", -7.0, Quality.GOOD),
        ("t1", 12.5, Quality.GOOD),
        ("t1", 120.5, Quality.UNCERTAIN_UNITS_EXCEEDED),
        ("t1", 120.5, LAST),
        ("t0", -7.0, LAST),
    ]
    assert [e.data["value"] for e in spool.events("context.lot")] == ["L-7", "L-8"]
    assert [(e.key, e.phase) for e in spool.events("device.silent")] == [("press1", Phase.RAISED), ("", Phase.RAISED)]
    assert spool.expected() == spool.rows() + spool.missing()


async def test_a_foreign_node_is_born_again_when_asked_and_all_metrics_become_tags(broker: Broker, group: str) -> None:
    spool, one = MemorySpool(), host(broker, group, metrics="all", ask_rebirth=True)
    async with EdgeNode(broker.port, group) as edge:  # born before anybody listened
        properties = {
            "engUnit": {"type": "String", "value": "Cel"},
            "engLow": {"type": "Float", "value": 0},
            "engHigh": {"type": "Float", "value": 400},
        }
        born = [number_metric("Zone 1/Temp", "Float", 20.5, properties=properties), number_metric("Mode", "Text", "A")]
        await edge.do("publishNodeBirth", {"timestamp": NOW_MS, "metrics": born})
        task = asyncio.create_task(collect({ASSET: one}, spool, f"gw-{secrets.token_hex(3)}", time.time_ns))
        (command,) = await edge.heard("ncmd")  # read by sparkplug-client; what to do is its application's part
        assert [(m["name"], m["type"], m["value"]) for m in command["metrics"]] == [
            ("Node Control/Rebirth", "Boolean", True)
        ]
        await edge.do("publishNodeBirth", {"timestamp": NOW_MS, "metrics": born})
        await spool.until(lambda s: s.rows() == 1)
    await stopped(task)
    (tag,) = spool.events("machine.declared")[-1].data["tags"]
    assert (tag["name"], tag["unit"], tag["low"], tag["high"]) == ("zone-1.temp", "Cel", 0, 400)
    assert [e.data["value"] for e in spool.events("device.text")] == ["A"]
    assert spool.batches[0].value.tolist() == [20.5]


# Against frames by hand


async def test_aliases_histories_nulls_and_qualities(broker: Broker, group: str) -> None:
    stale = part(9, part(1, "Quality") + part(2, number(1, 3) + number(3, 500)))
    one = host(broker, group, [{"address": "a"}, {"address": "b"}])
    async with listening(one) as ears:
        await send(broker, group, "NBIRTH", frame(0, BDSEQ, metric("a", 1, 9, 1.5), metric("b", 2, 3, -1)))
        data = [
            metric(alias=1, kind=0, value=None, null=True),
            metric(alias=2, kind=3, value=-70_000, ts=NOW_MS - 3_600_000, old=True),
            metric(alias=1, kind=9, value=2.5, properties=stale),
            metric(alias=2, kind=3, value=5, ts=None),
            metric(alias=2, kind=3, value=6, ts=12),
        ]
        await send(broker, group, "NDATA", frame(1, *data))
        got = rows(*await ears.hear(7))
    assert [(name, value, quality) for name, _, value, quality in got if not math.isnan(value)] == [
        ("t0", 1.5, 0),
        ("t1", -1.0, 0),
        ("t1", -70_000.0, HISTORICAL),
        ("t0", 2.5, Quality.UNCERTAIN_LAST_USABLE),
        ("t1", 5.0, 0),
        ("t1", 6.0, Quality.UNCERTAIN),
    ]
    assert got[2][3] == Quality.BAD_NO_DATA
    assert (got[3][1], got[5][1]) == ((NOW_MS - 3_600_000) * 1_000_000, NOW_MS * 1_000_000)


async def test_nothing_is_taken_before_a_birth_and_nobody_is_asked_unless_wanted(broker: Broker, group: str) -> None:
    one, before = host(broker, group, [{"address": "a"}]), counted("birth_missing")
    async with aiomqtt.Client(broker.host, broker.port) as ear, listening(one) as ears:
        await ear.subscribe([(f"spBv1.0/{group}/NCMD/#", 0), ("spBv1.0/STATE/#", 0)])
        await send(broker, group, "NDATA", frame(4, metric("a", kind=10, value=1.0)))
        await send(broker, group, "NBIRTH", frame(0, BDSEQ, metric("a", 1, 10, 2.0)))
        assert [value for _, _, value, _ in rows(*await ears.hear(1))] == [2.0]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await anext(ear.messages)
    assert counted("birth_missing") == before + 1


async def test_the_host_says_its_state_and_asks_when_both_are_wanted(broker: Broker, group: str) -> None:
    one = host(broker, group, [{"address": "a"}], host_id=f"dx-{group}", ask_rebirth=True)
    async with aiomqtt.Client(broker.host, broker.port) as ear:
        await ear.subscribe([(f"spBv1.0/{group}/NCMD/#", 0), (f"spBv1.0/STATE/dx-{group}", 1)])
        async with listening(one):
            said = {str(m.topic): m.payload async for m, _ in zip_async(ear.messages, 2)}
        gone = await anext(ear.messages)
    state = json.loads(said[f"spBv1.0/STATE/dx-{group}"])
    assert state["online"] is True
    assert json.loads(gone.payload) == {"online": False, "timestamp": state["timestamp"]}
    asked = payload_of(said[f"spBv1.0/{group}/NCMD/{EDGE}"]).metrics
    assert [(m.name, m.datatype, m.value) for m in asked] == [("Node Control/Rebirth", 11, True)]


async def zip_async(messages: Any, count: int) -> AsyncIterator[tuple[Any, int]]:
    async with asyncio.timeout(8):
        for i in range(count):
            yield await anext(messages), i


async def test_a_lost_connection_and_a_new_birth_are_told_once(broker: Broker, group: str) -> None:
    one = host(broker, group, [{"address": "a"}, {"address": "d::b"}])
    async with listening(one) as ears:
        await send(broker, group, "NBIRTH", frame(0, BDSEQ, metric("a", 1, 10, 2.0)))
        await send(broker, group, "DBIRTH", frame(1, metric("b", 2, 11, True)), "d")
        await ears.hear(2)
        await send(broker, group, "NDEATH", frame(None, metric("bdSeq", kind=4, value=6)))  # of the one before
        await send(broker, group, "NDEATH", frame(None, BDSEQ))
        heard = await ears.hear(4)
        assert [quality for _, _, _, quality in rows(*heard)] == [LAST, LAST]
    async with listening(one, ears.memory) as again:
        await send(broker, group, "NDEATH", frame(None, BDSEQ))  # known already
        await send(broker, group, "NBIRTH", frame(0, BDSEQ, metric("a", 1, 10, 2.0)))
        back = await again.hear(2)
    assert [(e.key, e.phase) for e in events(*heard, *back)] == [
        ("", Phase.RAISED),
        ("d", Phase.RAISED),
        ("", Phase.CLEARED),
    ]


async def test_a_birth_that_contradicts_the_file_is_told(broker: Broker, group: str) -> None:
    unit = part(9, part(1, "engUnit") + part(2, number(1, 12) + part(8, "Cel")))
    one = host(broker, group, [{"address": "a", "unit": "K"}, {"address": "c"}])
    async with listening(one) as ears:
        await send(broker, group, "NBIRTH", frame(0, BDSEQ, metric("a", 1, 10, 2.0, properties=unit)))
        heard = await ears.hear(3)
    assert [(e.kind, e.key) for e in events(*heard)] == [("tag.refused", "t0"), ("tag.refused", "t1")]
    assert "no such metric in the birth; there are: bdSeq, a" in events(*heard)[1].text


# The node by itself


def heard(node: Node, kind: str, payload: bytes, device: str = "") -> Any:
    return node.hear(kind, device, payload_of(payload))


def test_every_data_type_is_a_number_a_text_or_counted() -> None:
    node = Node()
    said = {1: -7, 2: -300, 3: -70_000, 4: -(2**40), 5: 250, 6: 65_000, 7: 4_000_000_000, 8: 2**60, 9: 1.5, 10: -2.25,
            11: True, 12: "s", 13: NOW_MS, 14: "t", 15: "u"}  # fmt: skip
    birth = frame(0, BDSEQ, *[metric(f"m{kind}", kind, kind, value) for kind, value in said.items()])
    assert {told.metric.datatype: told.value for told in heard(node, "NBIRTH", birth).values} == said
    others = [metric(f"o{kind}", kind=kind, value=b"x") for kind in (16, 17, 18, 19, 22, 34, 0, 99)]
    got = heard(node, "NBIRTH", frame(0, *others))
    assert got.values == []
    assert got.refused == ["dataset", "bytes", "bytes", "template", "array", "array", *["unknown_datatype"] * 2]


def test_what_is_not_of_its_type_is_no_number() -> None:
    node = Node()
    heard(node, "NBIRTH", frame(0, BDSEQ, metric("a", 1, 3, 5), metric("s", 2, 12, "x")))
    wrong = [metric("a", kind=10, value=1.0), metric(alias=1, kind=0, value=1.5), metric("s", kind=3, value=5),
             metric(alias=9, kind=3, value=1), metric("a", kind=3)]  # fmt: skip
    got = heard(node, "NDATA", frame(1, *wrong))
    assert got.values == []
    assert got.refused == ["type_mismatch", "type_mismatch", "type_mismatch", "unknown_metric", "type_mismatch"]


@pytest.mark.parametrize(
    ("kind", "sent", "value"),
    [
        (1, 300, None), (1, 0xFB, -5), (1, 0xFFFF_FFFB, -5), (1, 127, 127), (1, 0xFFFF_FF00, None),
        (2, 40_000, -25_536), (2, 70_000, None), (3, 0xFFFF_FFFF, -1), (5, 255, 255), (5, 256, None),
        (6, 65_535, 65_535), (6, 65_536, None), (7, 0xFFFF_FFFF, 0xFFFF_FFFF),
    ],
)  # fmt: skip
def test_an_integer_beyond_its_type_is_no_number(kind: int, sent: int, value: int | None) -> None:
    node = Node()
    got = heard(node, "NBIRTH", frame(0, BDSEQ, part(1, "a") + number(4, kind) + number(10, sent)))
    assert [told.value for told in got.values] == ([] if value is None else [value])
    assert got.refused == (["type_mismatch"] if value is None else [])


def test_a_gap_is_told_and_255_is_followed_by_0() -> None:
    node = Node()
    heard(node, "NBIRTH", frame(254, BDSEQ, metric("a", 1, 10, 1.0)))
    for seq in (255, 0, 1):
        assert heard(node, "NDATA", frame(seq, metric(alias=1, kind=0, value=1.0))).gap is None
    got = heard(node, "NDATA", frame(4, metric(alias=1, kind=0, value=1.0)))
    assert (got.gap, got.lost, len(got.values)) == ((2, 4), True, 1)
    assert heard(node, "NDATA", frame(300, metric("a", value=1.0))).refused == ["no_sequence"]


def test_after_a_gap_an_alias_is_unsure_until_the_next_birth() -> None:
    node = Node()
    heard(node, "NBIRTH", frame(0, BDSEQ))
    heard(node, "DBIRTH", frame(1, metric("temp", 1, 9, 700.0), metric("press", 2, 9, 5.0)), "d")
    by_alias = (metric(alias=1, kind=0, value=b""), metric("press", kind=9, value=5.5))
    assert [told.is_sure for told in heard(node, "DDATA", frame(2, by_alias[1]), "d").values] == [True]
    # Number 3 was a birth that swapped the aliases.
    got = heard(node, "DDATA", frame(4, metric(alias=1, kind=9, value=5.5), metric("press", kind=9, value=6.0)), "d")
    assert [(told.metric.name, told.is_sure) for told in got.values] == [("temp", False), ("press", True)]
    assert got.refused == ["sequence_gap", "alias_unsure"]
    heard(node, "DBIRTH", frame(5, metric("press", 1, 9, 5.0), metric("temp", 2, 9, 700.0)), "d")
    got = heard(node, "DDATA", frame(6, metric(alias=1, kind=9, value=5.5)), "d")
    assert [(told.metric.name, told.is_sure) for told in got.values] == [("press", True)]


async def test_what_only_an_unsure_alias_names_is_uncertain_and_no_text(broker: Broker, group: str) -> None:
    tags = [{"address": "d::temp"}, {"address": "d::lot", "context": "lot", "unit": "1"}]
    async with listening(host(broker, group, tags)) as ears:
        await send(broker, group, "NBIRTH", frame(0, BDSEQ))
        await send(broker, group, "DBIRTH", frame(1, metric("temp", 1, 9, 7.0), metric("lot", 2, 12, "A")), "d")
        await ears.hear(2)
        await send(
            broker,
            group,
            "DDATA",
            frame(3, metric(alias=1, kind=9, value=5.5), metric(alias=2, kind=12, value="B")),
            "d",
        )
        await send(
            broker, group, "DDATA", frame(4, metric("temp", kind=9, value=6.5), metric("lot", kind=12, value="C")), "d"
        )
        got = await ears.hear(4)
    assert [(value, quality) for _, _, value, quality in rows(*got)] == [(5.5, Quality.UNCERTAIN), (6.5, Quality.GOOD)]
    assert [(e.kind, e.text) for e in events(*got) if e.kind != "sequence.gap"] == [("context.lot", "C")]


async def test_a_death_of_the_node_fells_devices_whose_birth_was_missed(broker: Broker, group: str) -> None:
    async with listening(host(broker, group, [{"address": "a"}, {"address": "d::b"}])) as ears:
        await send(broker, group, "NDEATH", frame(None, BDSEQ))
        got = await ears.hear(4)
    assert [quality for _, _, _, quality in rows(*got)] == [NEVER, NEVER]
    assert {e.key for e in events(*got)} == {"", "d"}


async def test_a_birth_that_was_asked_for_too_early_is_asked_for_again(
    broker: Broker, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparkplug_session, "_ASK_EVERY_S", 0.6)
    async with aiomqtt.Client(broker.host, broker.port) as ear:
        await ear.subscribe(f"spBv1.0/{group}/NCMD/#")
        async with listening(host(broker, group, [{"address": "a"}], ask_rebirth=True)) as ears:
            await send(broker, group, "NBIRTH", frame(0, BDSEQ, metric("a", 1, 10, 1.0)))
            await send(
                broker, group, "NDATA", frame(2, metric(alias=1, kind=10, value=2.0))
            )  # 1 is lost; asked just now
            await ears.hear(3)
            await asyncio.sleep(0.7)
            await send(broker, group, "NDATA", frame(3, metric(alias=1, kind=10, value=3.0)))
            await ears.hear(1)
            await send(broker, group, "NBIRTH", frame(0, BDSEQ, metric("a", 1, 10, 1.0)))
            await asyncio.sleep(0.7)
            await send(
                broker, group, "NDATA", frame(1, metric(alias=1, kind=10, value=4.0))
            )  # nothing is owed any more
            await ears.hear(2)
        async with asyncio.timeout(8):
            asked = [await anext(ear.messages), await anext(ear.messages)]
        assert len(asked) == 2
        assert not len(ear.messages)


async def test_a_host_that_is_said_to_be_gone_says_that_it_is_there(broker: Broker, group: str) -> None:
    topic = f"spBv1.0/STATE/dx-{group}"
    async with aiomqtt.Client(broker.host, broker.port) as ear:
        await ear.subscribe(topic, qos=1)
        async with listening(host(broker, group, [{"address": "a"}], host_id=f"dx-{group}")) as ears:
            work = asyncio.create_task(ears.hear(1))
            async with asyncio.timeout(8):
                born = await anext(ear.messages)
                async with aiomqtt.Client(broker.host, broker.port) as late:
                    await late.publish(topic, b'{"online":false,"timestamp":1}', qos=1, retain=True)
                said = [json.loads((await anext(ear.messages)).payload) for _ in range(2)]
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
    assert said == [{"online": False, "timestamp": 1}, json.loads(born.payload)]
    assert said[1]["online"] is True


def test_a_death_ends_the_meaning_of_an_alias() -> None:
    node = Node()
    heard(node, "NBIRTH", frame(0, BDSEQ, metric("a", 1, 10, 1.0)))
    heard(node, "DBIRTH", frame(1, metric("b", 2, 10, 1.0)), "d")
    assert heard(node, "DDEATH", frame(2), "d").dead == ("d",)
    assert heard(node, "DDATA", frame(3, metric(alias=2, value=1.0)), "d").refused == ["birth_missing"]
    assert heard(node, "NDEATH", frame(None, BDSEQ)).dead == ("",)
    assert heard(node, "NDATA", frame(4, metric(alias=1, value=1.0))).refused == ["birth_missing"]


@given(st.binary(max_size=200))
def test_whatever_bytes_arrive_are_a_payload_or_bad_data(data: bytes) -> None:
    node = Node()
    for kind in ("NBIRTH", "NDATA", "NDEATH"):
        try:
            got = node.hear(kind, "", payload_of(data))
        except BadData:
            continue
        assert all(isinstance(told.value, bool | int | float | str | None) for told in got.values)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2**64) | st.binary(max_size=12)), max_size=12), st.data())
def test_fields_of_any_kind_in_any_order_are_read_or_bad_data(some: Any, data: Any) -> None:
    inner = b"".join(number(n, v) if isinstance(v, int) else part(n, v) for n, v in some)
    whole = frame(data.draw(st.integers(0, 300)), inner, metric("a", 1, data.draw(st.sampled_from([16, 19, 20])), b"x"))
    try:
        read = payload_of(whole[: data.draw(st.integers(0, len(whole)))])
    except BadData:
        return
    assert all(isinstance(told.value, bool | int | float | str | None) for told in read.metrics)


def test_a_rebirth_request_reads_back() -> None:
    (asked,) = payload_of(rebirth(NOW_MS)).metrics
    assert (asked.name, asked.value, asked.timestamp) == ("Node Control/Rebirth", True, NOW_MS)


@pytest.mark.parametrize(
    ("tags", "more", "words"),
    [
        ([{"address": ""}], {}, "is not '<metric>'"),
        ([{"address": "a/b::c"}], {}, "is not '<metric>'"),
        ([{"address": "a"}, {"address": "a"}], {}, "already"),
        ([{"address": "a"}], {"group": "g/h"}, "group"),
        ([], {}, "at least one"),
    ],
)
def test_a_wrong_file_is_refused(tags: Any, more: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        machine({"protocol": "sparkplug", "host": "h", "group": "g", "edge": "e"} | more, tags)
