"""Words, currents and cycles: what numbers in registers mean."""

import asyncio
import itertools
import json
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from collectors.collector import Collector
from collectors.end_of_cycle import Ended, Span, Trigger
from collectors.scaling import Scaling
from pipeline.model import Batch, Cause, Event, Quality, Severity
from pipeline.plant import Tag
from tests.collectors.devices import ASSET, MemorySpool, RawModbus, first_readings, machine, opening, serving, stopped

SOURCE = {"protocol": "modbus", "host": "127.0.0.1", "every_s": 0.05, "timeout_s": 0.3}
WORD = Span(0, 65_535)


def put(device: RawModbus, start: int, text: bytes, room: int) -> None:
    padded = text.ljust(2 * room, b"\0")
    for i in range(room):
        device.words["holding", start + i] = int.from_bytes(padded[2 * i : 2 * i + 2], "big")


def events_of(readings: list[Any], kind: str = "") -> list[Event]:
    found = [body for reading in readings for body in reading.bodies if isinstance(body, Event)]
    return [event for event in found if event.kind.startswith(kind)]


async def until(readings: Any, count: int) -> list[Any]:
    return [await anext(readings) for _ in range(count)]


async def test_a_string_is_an_event_on_change_and_told_once_a_session() -> None:
    device = RawModbus({("holding", 0): 5})
    put(device, 10, b"L-1001", 8)
    put(device, 20, "용해로".encode("euc-kr"), 8)
    tags: list[dict[str, Any]] = [
        {"address": "holding:0"},
        {"name": "lot", "address": "holding:10:string16", "context": "lot"},
        {"name": "place", "address": "holding:20:string16:ABCD:euc-kr"},
    ]
    async with serving(device) as port:
        one = machine(SOURCE | {"port": port}, tags)
        assert one.source.on_demand(one.tag) == {"lot", "place"}
        async with asyncio.timeout(5), one.source.open(opening(one, time.time_ns)) as session:
            readings = session.readings()
            first = await until(readings, 3)
            put(device, 10, b"L-1002", 8)
            second = await until(readings, 3)
            device.words["holding", 10] = 0xFFFE  # no UTF-8
            third = await until(readings, 2)
            await readings.aclose()
        put(device, 10, b"L-1002", 8)
        again = await first_readings(one.source, opening(one, time.time_ns), 2)
    assert [(e.kind, e.text, e.data) for e in events_of(first)] == [
        ("context.lot", "L-1001", {"value": "L-1001"}),
        ("device.text", "용해로", {"value": "용해로"}),
    ]
    assert [(e.kind, e.text) for e in events_of(second)] == [("context.lot", "L-1002")]
    assert not events_of(third)
    assert len(events_of(again)) == 2
    assert {int(tag) for reading in first for tag in reading.bodies[0].tag} == {0}


async def test_a_number_that_means_something_is_stored_and_told_on_change() -> None:
    device = RawModbus({("holding", 0): 0x0010})
    tags: list[dict[str, Any]] = [
        {"name": "state", "address": "holding:0:bits4-7", "values": {"0": "정지 / stop", "1": "운전 / run"}},
        {"name": "bit", "address": "holding:0:bit4"},
    ]
    async with serving(device) as port:
        one = machine(SOURCE | {"port": port}, tags)
        async with asyncio.timeout(5), one.source.open(opening(one, time.time_ns)) as session:
            readings = session.readings()
            first = await until(readings, 2)
            device.words["holding", 0] = 0
            second = await until(readings, 3)
            device.words["holding", 0] = 0x0070
            third = await until(readings, 3)
            await readings.aclose()
    assert [e.text for e in events_of(first)] == ["운전 / run"]
    assert [e.text for e in events_of(second)] == ["정지 / stop"]
    assert [e.text for e in events_of(third)] == ["7"]
    assert first[0].bodies[0].value.tolist()[:2] == [1, 1]
    assert third[-1].bodies[0].value.tolist()[-2:] == [7, 1]


@pytest.mark.parametrize(
    ("current", "value", "quality"),
    [
        (12.0, 500.0, Quality.GOOD),
        (4.0, 0.0, Quality.GOOD),
        (3.7, -18.75, Quality.UNCERTAIN_SENSOR_NOT_ACCURATE),
        (20.8, 1050.0, Quality.UNCERTAIN_SENSOR_NOT_ACCURATE),
        (3.5, float("nan"), Quality.BAD_SENSOR_FAILURE),
        (21.1, float("nan"), Quality.BAD_SENSOR_FAILURE),
    ],
)
def test_a_current_loop_is_judged_by_ne43(current: Any, value: Any, quality: Any) -> None:
    tags = [
        Tag(name="p", address="x", unit="bar", loop=(0.0, 1000.0), scale=0.001),
        Tag(name="q", address="x", unit="1"),
    ]
    values, codes = Scaling(tags).judge(np.array([current * 1000, 7.0]), np.zeros(2, np.uint32))
    np.testing.assert_allclose(values, [value, 7.0])
    assert codes.tolist() == [quality, 0]


def test_bad_stays_bad_in_a_current_loop() -> None:
    tags = [Tag(name="p", address="x", unit="bar", loop=(0.0, 10.0))]
    _, codes = Scaling(tags).judge(np.array([0.0]), np.array([Quality.BAD_NO_COMMUNICATION], np.uint32))
    assert codes.tolist() == [Quality.BAD_NO_COMMUNICATION]


# ---- end of cycle ----

BLOCK = {"block": [{"trigger": "count", "tags": ["peak", "serial"]}]}
TAGS: list[dict[str, Any]] = [
    {"name": "count", "address": "holding:0:uint16"},
    {"name": "peak", "address": "holding:10:float32"},
    {"name": "serial", "address": "holding:20:string8", "context": "serial"},
]


def cycle(device: RawModbus, number: int) -> None:
    words = np.array([number * 1.5], ">f4").view(">u2").tolist()
    device.words |= {("holding", 10): words[0], ("holding", 11): words[1], ("holding", 0): number % 65536}
    put(device, 20, f"S{number}".encode(), 4)


def peaks(readings: list[Any]) -> list[tuple[int, float]]:
    rows = []
    for reading in readings:
        for batch in (body for body in reading.bodies if isinstance(body, Batch)):
            at = batch.tag == 1
            rows += list(zip(batch.ts_ns[at].tolist(), batch.value[at].tolist(), strict=True))
    return rows


async def test_a_block_is_read_once_a_cycle_and_stamped_with_its_trigger() -> None:
    device = RawModbus()
    cycle(device, 7)
    async with serving(device) as port:
        one = machine(SOURCE | {"port": port} | BLOCK, TAGS)
        async with asyncio.timeout(5), one.source.open(opening(one, time.time_ns)) as session:
            readings = session.readings()
            got = await until(readings, 3)
            assert not peaks(got)
            for number in (8, 9):
                cycle(device, number)
                got += await until(readings, 3)
            cycle(device, 13)
            got += await until(readings, 3)
            await readings.aclose()
    assert [value for _, value in peaks(got)] == [12.0, 13.5, 19.5]
    seen: dict[float, int] = {}
    for reading in got:
        for ts, tag, value in zip(*(getattr(reading.bodies[0], c) for c in ("ts_ns", "tag", "value")), strict=True):
            if tag == 0:
                seen.setdefault(value, ts)
    assert [ts for ts, _ in peaks(got)] == [seen[8], seen[9], seen[13]]
    (missed,) = events_of(got, "cycle.missed")
    assert (missed.severity, missed.data["missed"], missed.data["from"], missed.data["to"]) == (
        Severity.WARNING,
        3,
        9,
        13,
    )
    assert [event.text for event in events_of(got, "context.serial")] == ["S8", "S9", "S13"]


async def test_a_reconnect_neither_repeats_nor_skips_a_cycle() -> None:
    device = RawModbus()
    cycle(device, 7)
    spool = MemorySpool()
    async with serving(device) as port:
        one = machine(SOURCE | {"port": port} | BLOCK, TAGS)
        for _ in range(2):
            task = asyncio.create_task(Collector(ASSET, one, spool, "g", time.time_ns).run())
            await asyncio.sleep(0.15)
            cycle(device, 8)
            await asyncio.sleep(0.15)
            device.cut()
            await asyncio.sleep(0.05)
            cycle(device, 9)
            await asyncio.sleep(0.5)
            await stopped(task)
            spool = spool.after_a_kill()
    values = [float(v) for batch in spool.batches for v in batch.value[batch.tag == 1]]
    assert values == [
        12.0,
        13.5,
        12.0,
        13.5,
    ]  # the counter fell from 9 to 8: it was set back, eight new cycles, one read
    assert json.loads(spool.notes[f"memory:{ASSET}"])["cycle"] == {"count": 9}
    tags = spool.tallies[0].tags
    assert tags == ("count", "peak", "serial")
    expected = np.zeros(3, np.int64)
    missing = np.zeros(3, np.int64)
    for tally in spool.tallies:
        np.add.at(expected, tally.tag, tally.expected)
        np.add.at(missing, tally.tag, tally.missing.sum(axis=1))
    assert expected[1] == len(values)
    assert (missing[1], missing[2], expected[2]) == (0, 0, 0)
    assert missing[0] > 0
    assert spool.expected() == spool.rows() + spool.missing()
    assert spool.missing(Cause.UNREACHABLE, Cause.GATEWAY_DOWN) > 0


@pytest.mark.parametrize(
    "memory", ["no json", "[1, 2]", '{"cycle": 5, "away": {"x": 1}}', '{"cycle": {"count": null}}']
)
async def test_what_another_protocol_remembered_is_nothing_to_us(memory: Any) -> None:
    device = RawModbus()
    cycle(device, 7)
    async with serving(device) as port:
        one = machine(SOURCE | {"port": port} | BLOCK, TAGS)
        readings = await first_readings(one.source, opening(one, time.time_ns, memory), 2)
    assert not peaks(readings)


async def test_a_block_that_cannot_be_read_is_tried_again() -> None:
    device = RawModbus()
    cycle(device, 7)
    async with serving(device) as port:
        one = machine(SOURCE | {"port": port} | BLOCK, TAGS)
        async with asyncio.timeout(5), one.source.open(opening(one, time.time_ns)) as session:
            readings = session.readings()
            got = await until(readings, 2)
            device.refuse = lambda table, start, count: 6 if start >= 10 else 0
            cycle(device, 8)
            got += await until(readings, 3)
            assert not peaks(got)
            device.refuse = lambda table, start, count: 0
            got += await until(readings, 3)
            await readings.aclose()
    assert [value for _, value in peaks(got)] == [12.0]


@given(st.integers(0, 65_535), st.lists(st.integers(0, 3_000), max_size=30))
def test_no_cycle_of_a_counter_is_counted_twice_or_lost_over_rollovers(start: int, steps: list[int]) -> None:
    for span in (WORD, Span(0, 99_999), Span(-32_768, 32_767)):
        trigger, total, told = Trigger(span), start, 0
        numbers = span.high - span.low + 1
        for shown in itertools.accumulate([0, *steps]):
            value = span.low + (start + shown - span.low) % numbers
            total = start + shown
            found = trigger.look(value)
            told += found.cycles
            assert (found.lost, found.reset) == (0, False)
            trigger.done(value)
        assert told == total - start


def test_a_bit_triggers_when_it_rises_and_a_reset_counter_begins_anew() -> None:
    bit = Trigger(Span(0, 1))
    said = []
    for value in (1, 1, 0, 1, 1, 0, 0, 1):
        said.append(bit.look(value))
        bit.done(value)
    assert [one.cycles for one in said] == [0, 0, 0, 1, 0, 0, 0, 1]
    counter = Trigger(WORD, last=500)
    assert (counter.look(0), counter.last) == (Ended(reset=True), 0)
    assert Trigger(WORD, last=500).look(2) == Ended(2, reset=True)
    assert Trigger(None, last=7).look(8) == Ended(1)


def test_what_ended_and_could_not_be_read_in_time_is_lost_and_told() -> None:
    bit = Trigger(Span(0, 1), last=0)
    assert bit.look(1) == Ended(1)  # and the block cannot be read
    assert bit.look(1) == Ended(1)
    assert bit.look(0) == Ended(0, lost=1)
    assert bit.look(0) == Ended()
    assert bit.look(1) == Ended(1)
    counter = Trigger(WORD, last=500)
    assert counter.look(502) == Ended(2)
    assert counter.look(1) == Ended(1, lost=2, reset=True)
    assert counter.look(1) == Ended(1)


@pytest.mark.parametrize(
    ("span", "last", "said", "ended"),
    [
        (WORD, 9999, 0, Ended(1)),
        (WORD, 9999, 2, Ended(3)),
        (WORD, 999, 1, Ended(2)),
        (WORD, 9998, 0, Ended(reset=True)),
        (Span(0, 9999), 9998, 0, Ended(2)),
        (Span(0, 4999), 4999, 0, Ended(1)),
        (WORD, 65_535, 0, Ended(1)),
        (Span(-32_768, 32_767), 32_767, -32_768, Ended(1)),
        (Span(-32_768, 32_767), 32_767, 0, Ended(1)),
        (Span(-32_768, 32_767), -1, 0, Ended(1)),
        (WORD, 500, 499, Ended(reset=True)),
        (WORD, 65_000, 64_999, Ended(reset=True)),
        (WORD, 500, 40, Ended(40, reset=True)),
    ],
)
def test_a_counter_that_falls_has_rolled_over_or_was_set_back_or_reset(
    span: Span, last: int, said: int, ended: Ended
) -> None:
    assert Trigger(span, last).look(said) == ended


async def test_a_cycle_whose_bit_falls_before_its_block_could_be_read_is_told_as_missed() -> None:
    device = RawModbus()
    tags = [{"name": "done", "address": "coil:0"}, {"name": "peak", "address": "holding:10"}]
    block = {"block": [{"trigger": "done", "tags": ["peak"]}]}
    async with serving(device) as port:
        one = machine(SOURCE | {"port": port} | block, tags)
        async with asyncio.timeout(5), one.source.open(opening(one, time.time_ns)) as session:
            readings = session.readings()
            got = await until(readings, 2)
            device.refuse = lambda table, start, count: 6 if table == "holding" else 0
            device.words["coil", 0] = 1
            got += await until(readings, 3)
            device.words["coil", 0] = 0
            got += await until(readings, 3)
            device.refuse = lambda table, start, count: 0
            device.words["coil", 0] = 1
            got += await until(readings, 3)
            await readings.aclose()
    (missed,) = events_of(got, "cycle.missed")
    assert (missed.severity, missed.data["missed"], missed.key) == (Severity.WARNING, 1, "done")
    assert len(peaks(got)) == 1


async def test_a_counter_that_rolls_over_where_the_file_says_misses_nothing() -> None:
    device = RawModbus()
    cycle(device, 499)
    block = {"block": [BLOCK["block"][0] | {"rolls_at": 499}]}
    async with serving(device) as port:
        one = machine(SOURCE | {"port": port} | block, TAGS)
        async with asyncio.timeout(5), one.source.open(opening(one, time.time_ns)) as session:
            readings = session.readings()
            got = await until(readings, 3)
            cycle(device, 0)
            got += await until(readings, 3)
            await readings.aclose()
    assert len(peaks(got)) == 1
    assert not events_of(got, "cycle.")
