"""Tags found by their topics, texts as events, a device that has gone: on a real broker, through the gateway."""

import asyncio
import re
import secrets
import time
from typing import Any

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from collectors.gateway import collect
from collectors.mqtt_routes import fitting
from pipeline import metrics
from pipeline.model import Phase, Quality
from rootdx.embedded import Broker
from tests.collectors.devices import ASSET, MemorySpool, machine, stopped
from tests.collectors.test_mqtt import ACK_WAIT_S, HastyBroker, Session, events, publish, rows
from tests.support.proxy import Proxy
from tests.support.services import reachable_folder, run

TS_MS = 1_780_000_000_000
LAST, NEVER = Quality.UNCERTAIN_NO_COMMUNICATION_LAST_USABLE, Quality.BAD_NO_COMMUNICATION


@pytest.fixture(scope="module")
def broker() -> Any:
    with reachable_folder() as folder:
        server = HastyBroker(folder)
        run(server.start())
        yield server
        run(server.stop())


@pytest.fixture
def base() -> str:
    return f"test/{secrets.token_hex(6)}"


def source(broker: Broker | Proxy, **more: Any) -> dict[str, Any]:
    return {"protocol": "mqtt", "host": broker.host, "port": broker.port, "time": "ts", "clock_tolerance_s": 1e9} | more


def counted(cause: str) -> float:
    return float(metrics.bad_data.labels(ASSET, cause)._value.get())


def patterned(broker: Broker, base: str, **more: Any) -> Any:
    pattern = [{"name": "{1}.{2}", "address": f"{base}/+/+ v", "unit": "Cel", "role": "zone.{1}"}]
    return machine(source(broker, pattern=pattern, **more), [])


async def gateway_known(one: Any) -> str:
    """The name of a gateway that the broker keeps messages for."""
    name = f"gw-{secrets.token_hex(3)}"
    async with Session(one, f"rootdx-{name}-casting-line1-dc1"):
        return name


async def test_found_tags_are_declared_counted_and_there_after_a_restart(broker: Broker, base: str) -> None:
    one, spool = patterned(broker, base), MemorySpool()
    name = await gateway_known(one)
    task = asyncio.create_task(collect({ASSET: one}, spool, name, time.time_ns))
    await publish(broker, f"{base}/zone1/temp", {"ts": TS_MS, "v": 1})
    await spool.until(lambda s: s.rows() == 1)
    await publish(broker, f"{base}/ZONE_2/temp", {"ts": TS_MS, "v": 2}, {"ts": TS_MS + 1, "v": 3})
    await spool.until(lambda s: s.rows() == 3)
    await stopped(task)
    declared = [[(t["name"], t["unit"], t["role"]) for t in e.data["tags"]] for e in spool.events("machine.declared")]
    first, second = ("zone1.temp", "Cel", "zone.zone1"), ("zone_2.temp", "Cel", "zone.zone_2")
    assert declared == [[], [first], [first, second]]
    again = spool.after_a_kill()
    task = asyncio.create_task(collect({ASSET: one}, again, name, time.time_ns))
    await publish(broker, f"{base}/ZONE_2/temp", {"ts": TS_MS + 2, "v": 4})
    await again.until(lambda s: s.rows() == 4)
    await stopped(task)
    assert len(again.events("machine.declared")) == 3
    last = again.batches[-1]
    assert (last.tags, last.tag.tolist(), last.value.tolist()) == (("zone1.temp", "zone_2.temp"), [1], [4.0])
    assert again.expected() == again.rows() + again.missing() == 4


async def test_a_pattern_that_is_gone_takes_its_tags_with_it(broker: Broker, base: str) -> None:
    one, spool = patterned(broker, base), MemorySpool()
    name = await gateway_known(one)
    task = asyncio.create_task(collect({ASSET: one}, spool, name, time.time_ns))
    await publish(broker, f"{base}/zone1/temp", {"ts": TS_MS, "v": 1})
    await spool.until(lambda s: s.rows() == 1)
    await stopped(task)
    other, again = machine(source(broker), [{"address": f"{base}/x v"}]), spool.after_a_kill()
    task = asyncio.create_task(collect({ASSET: other}, again, name, time.time_ns))
    before = counted("unknown_topic")
    await again.until(lambda s: len(s.events("machine.declared")) == 3)
    await publish(broker, f"{base}/zone1/temp", {"ts": TS_MS + 1, "v": 1})  # the broker still sends it
    await publish(broker, f"{base}/x", {"ts": TS_MS + 1, "v": 1})
    await again.until(lambda s: s.rows() == 2)
    await stopped(task)
    assert [t["name"] for t in again.events("machine.declared")[-1].data["tags"]] == ["t0"]
    assert counted("unknown_topic") > before
    assert again.expected() == again.rows() + again.missing()


async def test_no_more_tags_than_allowed_and_no_name_twice(broker: Broker, base: str) -> None:
    one = patterned(broker, base, max_tags=2)
    before = {cause: counted(cause) for cause in ("too_many_tags", "name_taken", "no_name")}
    async with Session(one, secrets.token_hex(6)) as session:
        for level in ("a", "A", "가", "b", "c"):
            await publish(broker, f"{base}/{level}/{level}", {"ts": TS_MS, "v": 1})
        heard = await session.hear(2)
        assert await session.silent(0.3)
    assert [name for name, *_ in rows(*heard)] == ["a.a", "b.b"]
    assert {cause: counted(cause) - count for cause, count in before.items()} == dict.fromkeys(before, 1.0)


async def test_a_hash_takes_in_every_level_below(broker: Broker, base: str) -> None:
    pattern = [{"name": "{1}.{2}", "address": f"{base}/+/# v", "text": "{2}"}]
    one = machine(source(broker, pattern=pattern), [])
    async with Session(one, secrets.token_hex(6)) as session:
        for below in ("oven/zone1/temp", "oven/zone1/temp", "oven/door", "oven", "press/a/b/c/d"):
            await publish(broker, f"{base}/{below}", {"ts": TS_MS + len(below), "v": len(below)})
        heard = await session.hear(4)
    assert [name for name, *_ in rows(*heard)] == ["oven.zone1.temp", "oven.door", "oven", "press.a.b.c.d"]
    assert [tag.text for reading in heard for tag in reading.found] == ["zone1.temp", "door", "", "a.b.c.d"]
    assert one.source.still([tag for reading in heard for tag in reading.found]) == tuple(
        tag for reading in heard for tag in reading.found
    )


def takes_in(levels: list[str], topic: list[str]) -> bool:
    """The rules of MQTT 3.1.1, 4.7, one level after the other."""
    if not levels or levels[0] == "#":
        return bool(levels) or not topic
    return bool(topic) and levels[0] in ("+", topic[0]) and takes_in(levels[1:], topic[1:])


level = st.sampled_from(["a", "b", "$SYS", "", "a.b"])


@given(st.lists(level | st.just("+"), min_size=1, max_size=4), st.booleans(), st.lists(level, min_size=1, max_size=5))
def test_filters_mean_what_the_standard_says(levels: list[str], wild: bool, topic: list[str]) -> None:
    levels = [*levels, "#"] if wild else levels
    expected = takes_in(levels, topic) and not (levels[0] in ("+", "#") and topic[0].startswith("$"))
    found = fitting("/".join(levels)).fullmatch("/".join(topic))
    assert (found is not None) == expected
    assert fitting("#").fullmatch("/".join(topic)) is None or not topic[0].startswith("$")
    if found is not None:
        assert len(found.groups()) == levels.count("+") + levels.count("#")


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ({"name": "{1}", "address": "a/b v"}, "expected a '+' or '#' in the topic"),
        ({"name": "x", "address": "a/+ v"}, "expected {1} in the name"),
        ({"name": "{1}", "address": "a/+/+ v"}, "expected {1} and {2}"),
        ({"name": "{1}", "address": "a/x+ v"}, "a whole level"),
        ({"name": "x", "address": "a/# v"}, "expected {1} in the name"),
        ({"name": "{1}", "address": "a/#/b v"}, "json path"),
        ({"name": "{1}", "address": "a# v"}, "json path"),
        ({"name": "{1}", "address": "d/# v"}, "takes in the topic of tag 't0'"),
        ({"name": "{1}", "address": "# v"}, "takes in the topic of tag 't0'"),
        ({"name": "{1}", "address": "d/+ v"}, "takes in the topic of tag 't0'"),
    ],
)
def test_a_wrong_pattern_is_refused(pattern: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(words)):
        machine({"protocol": "mqtt", "host": "h", "pattern": [pattern]}, [{"address": "d/x v"}])


def worded(broker: Broker, base: str) -> Any:
    tags: list[dict[str, Any]] = [
        {"address": f"{base}/pv lot", "context": "lot"},
        {"address": f"{base}/pv note as=text"},
        {"address": f"{base}/pv mode", "context": "mode", "values": {"1": "AUTO", "2": "MAN"}},
        {"address": f"{base}/pv v"},
    ]
    return machine(source(broker), tags)


async def test_texts_are_events_when_they_change_over_a_restart_too(broker: Broker, base: str) -> None:
    one, client_id = worded(broker, base), secrets.token_hex(6)
    said = {"ts": TS_MS, "lot": "L-7", "note": "door open", "mode": 1, "v": 5}
    async with Session(one, client_id) as session:
        await publish(broker, f"{base}/pv", said, said | {"ts": TS_MS + 1}, said | {"ts": TS_MS + 2, "lot": "L-8"})
        heard = await session.hear(10)
        assert await session.silent(0.1)
    ms = 1_000_000
    assert sorted((e.ts_ns // ms - TS_MS, e.kind, e.key, e.data["value"]) for e in events(*heard)) == [
        (0, "context.lot", "t0", "L-7"),
        (0, "context.mode", "t2", "AUTO"),
        (0, "device.text", "t1", "door open"),
        (2, "context.lot", "t0", "L-8"),
    ]
    assert sorted(value for _, _, value, _ in rows(*heard)) == [1.0] * 3 + [5.0] * 3
    async with Session(one, client_id, session.memory) as session:
        await publish(broker, f"{base}/pv", said | {"ts": TS_MS + 3, "lot": "L-8", "mode": 2})
        again = await session.hear(3)
        await publish(broker, f"{base}/pv", {"ts": TS_MS + 4, "mode": 7}, {"ts": TS_MS + 5, "mode": 1.5})
        unknown = await session.hear(4)
    assert [e.data["value"] for e in events(*again)] == ["MAN"]
    assert [e.data["value"] for e in events(*unknown)] == ["7", "1.5"]  # not the word of another number
    assert one.source.on_demand(one.tag) == {"t0", "t1"}


async def test_a_text_is_acknowledged_when_durable_and_told_once(broker: Broker, base: str) -> None:
    one, client_id = worded(broker, base), secrets.token_hex(6)
    async with Session(one, client_id) as session:
        await publish(broker, f"{base}/pv", {"ts": TS_MS, "lot": "L-7"})
        (first,) = events(*await session.hear())  # killed before it became durable
    async with Session(one, client_id) as session:
        (again,) = events(*await session.hear(1, ACK_WAIT_S + 3))
    assert first == again
    async with Session(one, client_id, session.memory) as session:
        assert await session.silent(ACK_WAIT_S + 0.5)  # it was durable: the broker's repetition is none


def watched(broker: Broker | Proxy, base: str, **more: Any) -> Any:
    will = {"topic": f"{base}/state", "online": "up", "offline": "down"}
    tags = [{"address": f"{base}/pv v"}, {"address": f"{base}/pv w"}, {"address": f"{base}/pv lot", "context": "lot"}]
    return machine(source(broker, time=None, will=will) | more, tags)


async def test_a_last_will_leaves_one_row_a_tag_until_the_device_is_back(broker: Broker, base: str) -> None:
    one, client_id = watched(broker, base), secrets.token_hex(6)
    async with Session(one, client_id) as session:
        await publish(broker, f"{base}/pv", {"v": 5})
        await session.hear()
        await publish(broker, f"{base}/state", "down", "down", retain=True)
        heard = await session.hear(3)
        assert [(name, quality) for name, _, _, quality in rows(*heard)] == [("t0", LAST), ("t1", NEVER)]
        assert rows(*heard)[0][2] == 5.0
        assert await session.silent(0.2)
    async with Session(one, client_id, session.memory) as session:  # the broker says it again, it is no news
        assert await session.silent(0.3)
    async with Session(one, client_id, session.memory) as session:
        await publish(broker, f"{base}/state", "up", retain=True)
        back = await session.hear()
    (raised,), (cleared,) = events(*heard), events(*back)
    assert (raised.kind, raised.phase, cleared.phase) == ("device.silent", Phase.RAISED, Phase.CLEARED)
    assert raised.id == cleared.id
    await publish(broker, f"{base}/state", b"", retain=True)


async def test_silence_leaves_one_row_a_tag_and_its_end_is_told(broker: Broker, base: str) -> None:
    one, client_id = watched(broker, base, will=None, silence_s=0.4), secrets.token_hex(6)
    async with Session(one, client_id) as session:
        await publish(broker, f"{base}/pv", {"v": 5, "w": 6})
        await session.hear(2)
        heard = await session.hear(3)
        assert [(name, value, quality) for name, _, value, quality in rows(*heard)] == [
            ("t0", 5.0, LAST),
            ("t1", 6.0, LAST),
        ]
        assert await session.silent(0.6)
    async with Session(one, client_id, session.memory) as session:
        await publish(broker, f"{base}/pv", {"v": 7})
        back = await session.hear(2)
    assert [e.phase for e in events(*heard, *back)] == [Phase.RAISED, Phase.CLEARED]


async def test_a_device_whose_clock_is_slow_ends_its_silence_too_and_a_retained_message_does_not(
    broker: Broker, base: str
) -> None:
    one, client_id = watched(broker, base, will=None, silence_s=0.4, time="ts"), secrets.token_hex(6)
    hour_ago_ms = time.time_ns() // 1_000_000 - 3_600_000
    async with Session(one, client_id) as session:
        await publish(broker, f"{base}/pv", {"v": 5, "w": 6, "ts": hour_ago_ms})
        await session.hear(2)
        heard = await session.hear(3)
        await publish(broker, f"{base}/pv", {"v": 6, "ts": hour_ago_ms + 1000})
        back = await session.hear(2)
        again = await session.hear(3)
    assert [e.phase for e in events(*heard, *back, *again)] == [Phase.RAISED, Phase.CLEARED, Phase.RAISED]
    await publish(broker, f"{base}/pv", {"v": 9, "ts": hour_ago_ms + 2000}, retain=True)
    async with Session(one, secrets.token_hex(6), session.memory) as late:
        old = await late.hear()
        assert await late.silent(0.3)
    assert [value for _, _, value, _ in rows(*old)] == [9.0]
    assert events(*old) == []
    await publish(broker, f"{base}/pv", b"", retain=True)


async def test_messages_without_anything_that_is_listed_are_counted_told_and_no_sign_of_life(
    broker: Broker, base: str
) -> None:
    one = watched(broker, base, will=None, silence_s=0.6)
    before = counted("nothing_found")
    async with Session(one, secrets.token_hex(6)) as session:
        await publish(broker, f"{base}/pv", {"v": 5, "w": 6})
        await session.hear(2)
        for message in ({"v2": 5}, [], {}, [1, 2], "7"):  # a key was renamed, say
            await publish(broker, f"{base}/pv", message)
            await asyncio.sleep(0.1)
        heard = await session.hear(3)
    assert counted("nothing_found") == before + 5
    assert [e.kind for e in events(*heard)] == ["device.silent"]  # the topic gave something a moment ago
    async with Session(one, secrets.token_hex(6)) as fresh:
        await publish(broker, f"{base}/pv", {"v2": 5})
        (told,) = events(*await fresh.hear(1))
    assert told.kind == "message.refused"
    assert "nothing in it that a tag names (lot, v, w)" in told.text


async def test_a_lost_connection_leaves_one_row_a_tag_once_and_the_books_balance(broker: Broker, base: str) -> None:
    async with Proxy(broker.host, broker.port) as proxy:
        one, spool = watched(proxy, base, session="clean", every_s=0.2), MemorySpool()
        task = asyncio.create_task(collect({ASSET: one}, spool, f"gw-{secrets.token_hex(3)}", time.time_ns))
        await asyncio.sleep(0.5)
        await publish(broker, f"{base}/pv", {"v": 5, "w": 6})
        await spool.until(lambda s: s.rows() == 2)
        proxy.refuse()
        await spool.until(lambda s: s.rows() == 4)
        await asyncio.sleep(1.0)
        proxy.heal()
        await spool.until(lambda s: [e.phase for e in s.events("device.unreachable")][-1:] == [Phase.CLEARED])
        await asyncio.sleep(0.2)
        await publish(broker, f"{base}/pv", {"v": 7, "w": 8})
        await spool.until(lambda s: s.rows() == 6)
        await stopped(task)
    codes = [code for batch in spool.batches for code in batch.quality.tolist()]
    assert codes == [0, 0, LAST, LAST, 0, 0]
    assert [e.phase for e in spool.events("device.silent")] == [Phase.RAISED, Phase.CLEARED]
    assert spool.expected() == spool.rows() + spool.missing() > 6


async def test_a_topic_that_only_a_refused_will_names_is_counted(broker: Broker, base: str) -> None:
    before = counted("unknown_will")
    async with Session(watched(broker, base), secrets.token_hex(6)) as session:
        await publish(broker, f"{base}/state", "perhaps")
        await publish(broker, f"{base}/pv", {"v": 1})
        await session.hear()
    assert counted("unknown_will") == before + 1
