"""What a tag may say of its sampling, and values that are no plain numbers."""

import asyncio
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from asyncua import ua
from asyncua.server.server import Server
from asyncua.ua.status_codes import StatusCodes
from pydantic import ValidationError

from collectors import opcua_session
from collectors.deadband import band_of
from collectors.opcua_items import Part, part_of
from collectors.opcua_structures import Structures
from pipeline.errors import Unavailable
from pipeline.model import Event, Quality
from rootdx.embedded import free_port
from tests.collectors.devices import machine, opening
from tests.collectors.test_opcua import Listener, press_machine

URI = "urn:test:press"
START = datetime(2026, 5, 1, 8, tzinfo=UTC)
pytestmark = pytest.mark.asyncio(loop_scope="module")  # the server takes two seconds to start
FIRST: dict[str, Any] = {
    "temp": 20.0,
    "lot": "L-1",
    "recipe": ua.LocalizedText("가열"),
    "mode": ua.Variant(1, ua.VariantType.Int32),
    "step": ua.Variant(0, ua.VariantType.UInt32),
    "zones": [1.0, 2.0, 3.0],
    "blob": b"\x00",
}


class Press:
    def __init__(self, server: Server, nodes: dict[str, Any], port: int) -> None:
        self.server, self.nodes, self.port, self.stamp = server, nodes, port, START

    async def set(self, name: str, value: Any, status: int = 0) -> None:
        self.stamp += timedelta(seconds=1)
        variant = value if isinstance(value, ua.Variant) else ua.Variant(value)
        said = ua.DataValue(variant, ua.StatusCode(ua.UInt32(status)), SourceTimestamp=self.stamp)  # type: ignore[arg-type]
        await self.nodes[name].write_value(said)

    async def forget_the_items(self) -> None:
        """What some servers do when their application is loaded anew: the subscription stays, deaf."""
        for subscription in self.server.iserver.subscription_service.subscriptions.values():
            items: Any = subscription.monitored_item_srv
            items.delete_monitored_items(list(items._monitored_items))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> Any:
    async with press() as device:
        yield device


@asynccontextmanager
async def press() -> Any:
    port, server = free_port(), Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/press")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace(URI)
    box = await server.nodes.objects.add_object(index, "press")
    kind = await server.nodes.enum_data_type.add_data_type(index, "Mode")
    strings = [ua.LocalizedText(text) for text in ("정지", "자동", "수동")]
    await kind.add_property(0, "EnumStrings", strings)
    nodes = {}
    for name, value in FIRST.items():
        how: dict[str, Any] = {"datatype": kind.nodeid} if name == "mode" else {}
        nodes[name] = await box.add_variable(ua.NodeId(ua.String(name), ua.Int16(index)), name, value, **how)
    values = [ua.EnumValueType(Value=ua.Int64(10 * i), DisplayName=ua.LocalizedText(f"S{i}")) for i in range(3)]
    await nodes["step"].add_property(0, "EnumValues", values)
    async with server:
        yield Press(server, nodes, port)


@pytest_asyncio.fixture(loop_scope="module")
async def device(shared: Press) -> Press:
    for name, value in FIRST.items():
        await shared.set(name, value)
    return shared


async def until(heard: Listener, done: Callable[[], bool]) -> None:
    async with asyncio.timeout(8):
        while not done():
            heard.readings.append(await anext(heard._readings))


def contexts(events: list[Event]) -> list[tuple[str, str, Any]]:
    return [(event.kind, event.key, event.data["value"]) for event in events]


async def test_a_deadband_is_asked_of_the_server(device: Press) -> None:
    one = press_machine(device.port, "temp", every_s=0.1, scale=2.0, deadband=2.0)
    async with one.source.open(opening(one, time.time_ns)) as session:
        heard = await Listener(session).until(1)
        for value in (20.5, 21.25, 25.0):  # the server compares with what it sampled last
            await device.set("temp", value)
            await asyncio.sleep(0.15)
        await heard.until(2)
    assert [value for _, _, value, _ in heard.rows] == [40.0, 50.0]


async def test_a_share_of_the_range_is_a_deadband_too() -> None:
    source = {"protocol": "opcua", "url": "opc.tcp://h:4840"}
    tag = {"address": "ns=2;i=1", "range": [100, 300], "deadband": "0.5 %"}
    assert band_of(machine(source, [tag]).tag[0]) == 1.0
    for wrong, said in (
        ({"deadband": "1 %", "range": None}, "is a share of the range"),
        ({"deadband": 0}, "expected a positive number in the tag's unit"),
        ({"deadband": "much"}, "as '1 %'"),
        ({"deadband": 1, "context": "lot"}, "a text has no deadband"),
    ):
        with pytest.raises(ValidationError, match=said):
            machine(source, [tag | wrong])


async def test_each_tag_is_sampled_as_often_as_it_asks(device: Press) -> None:
    one = press_machine(device.port, "temp", "lot", every_s=5.0)
    tags = [one.tag[0].model_copy(update={"every_s": 0.2}), one.tag[1]]
    one = one.model_copy(update={"tag": tuple(tags)})
    async with one.source.open(opening(one, time.time_ns)) as session:
        asked = [session._request(i, ua.NodeId()).RequestedParameters for i in (0, 1)]
    assert [item.SamplingInterval for item in asked] == [100, 2500]
    assert [item.QueueSize for item in asked] == [60, 12]
    assert session._publishing_s == 0.2


async def test_a_subscription_that_the_server_drops_in_silence_is_made_anew(
    device: Press, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opcua_session, "_HEARTBEAT_S", 1.5)
    one = press_machine(device.port, "temp", every_s=0.2)
    one = one.model_copy(update={"tag": (one.tag[0].model_copy(update={"every_s": 0.2}),)})
    async with one.source.open(opening(one, time.time_ns)) as session:
        heard = await Listener(session).until(1)
        assert await heard.silent(2.5)  # a value that does not change is no reason, the clock goes on
        await device.forget_the_items()
        with pytest.raises(Unavailable, match="neither a tag nor the server's clock moved"):
            async with asyncio.timeout(5):
                await Listener(session).until(1)


async def test_texts_are_events_on_change_and_no_rows(device: Press) -> None:
    one = press_machine(device.port, "lot", "recipe", "temp")
    one = one.model_copy(update={"tag": (one.tag[0].model_copy(update={"context": "lot"}), *one.tag[1:])})
    assert one.source.on_demand(one.tag) == {"lot"}
    async with one.source.open(opening(one, time.time_ns)) as session:
        heard = Listener(session)
        await until(heard, lambda: len(heard.events) == 2 and len(heard.rows) == 1)
        await device.set("lot", "L-1")
        await device.set("lot", "", status=StatusCodes.BadNoCommunication)
        await device.set("lot", "L-2\n")
        await until(heard, lambda: len(heard.events) == 3)
    said = [("context.lot", "lot", "L-1"), ("device.text", "recipe", "가열"), ("context.lot", "lot", "L-2")]
    assert contexts(heard.events) == said
    assert heard.events[2].ts_ns == int(device.stamp.timestamp()) * 10**9
    assert [row[0] for row in heard.rows] == ["temp"]
    async with one.source.open(opening(one, time.time_ns, heard.memory)) as session:
        again = Listener(session)
        assert await again.silent(0.5) or not again.events


async def test_numbers_have_the_meanings_that_the_server_knows_unless_the_file_does(device: Press) -> None:
    one = press_machine(device.port, "mode", "step")
    async with one.source.open(opening(one, time.time_ns)) as session:
        heard = Listener(session)
        await until(heard, lambda: len(heard.events) == 2)
        await device.set("mode", ua.Variant(2, ua.VariantType.Int32))
        await device.set("step", ua.Variant(20, ua.VariantType.UInt32))
        await until(heard, lambda: len(heard.events) == 4)
    assert sorted(contexts(heard.events)[:2]) == [("device.text", "mode", "자동"), ("device.text", "step", "S0")]
    assert sorted(contexts(heard.events)[2:]) == [("device.text", "mode", "수동"), ("device.text", "step", "S2")]
    assert [value for name, _, value, _ in heard.rows if name == "mode"] == [1.0, 2.0]
    named = press_machine(device.port, "mode", values={"2": "manual"}, context="mode")
    async with named.source.open(opening(named, time.time_ns)) as session:
        heard = Listener(session)
        await until(heard, lambda: len(heard.events) == 1)
    assert contexts(heard.events) == [("context.mode", "mode", "manual")]


async def test_a_tag_may_be_an_element_of_an_array(device: Press) -> None:
    names = [("second", "zones element=1"), ("ninth", "zones element=8"), ("all", "zones"), ("blob", "blob")]
    one = press_machine(device.port, "temp")
    tags = [{"name": name, "address": f"nsu={URI};s={at}"} for name, at in names]
    one = machine(one.source.model_dump(), tags)
    async with one.source.open(opening(one, time.time_ns)) as session:
        heard = await Listener(session).until(4)
    said = {name: (value, quality) for name, _, value, quality in heard.rows}
    assert said["second"] == (2.0, Quality.GOOD)
    for name in ("ninth", "all", "blob"):
        assert said[name][1] == Quality.BAD_TYPE_MISMATCH
        assert np.isnan(said[name][0])


@pytest.mark.parametrize(
    ("address", "value", "dimensions", "found"),
    [
        ("ns=2;s=A element=1,2", [1, 2, 3, 4, 5, 6], [2, 3], 6),
        ("ns=2;s=A element=1,2", [[1, 2, 3], [4, 5, 6]], [2, 3], 6),
        ("ns=2;s=A element=0,3", [1, 2, 3, 4, 5, 6], [2, 3], None),
        ('ns=3;s="DB"."arr"[3] element=0', [7], [], 7),
        ("ns=2;s=A element=0", 7, [], None),
    ],
)
async def test_an_element_has_an_index_for_each_dimension(
    address: str, value: Any, dimensions: list[int], found: Any
) -> None:
    assert part_of(address).of(value, dimensions, Structures()) == found


async def test_brackets_belong_to_the_node() -> None:
    assert part_of('ns=3;s="DB"."arr"[3]') == Part('ns=3;s="DB"."arr"[3]')
