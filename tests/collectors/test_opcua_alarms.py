"""Alarms and events of a server."""

import time
from typing import Any

import pytest
from asyncua import ua
from asyncua.server.server import Server

from collectors.device_clock import Allowance, DeviceClock
from collectors.opcua_alarms import Alarms
from pipeline.model import Event, Phase, Severity
from rootdx.embedded import free_port
from tests.collectors.devices import ASSET, machine, opening
from tests.collectors.test_opcua import Listener

NOW = 1_780_000_000_000_000_000


def fields(active: bool | None, message: str = "과열", severity: int = 700, number: bytes = b"\x01") -> list[Any]:
    name = None if active is None else "OverTemp"
    said = [ua.NodeId(), number, "Zone1", None, ua.LocalizedText(message), severity, name, active]
    return [ua.Variant(one) for one in said]


def test_a_condition_is_raised_and_cleared_once_with_one_onset() -> None:
    alarms = Alarms(ASSET, {}, DeviceClock(ASSET, Allowance()))
    raised = alarms.said(fields(True), NOW)
    assert alarms.said(fields(True, "acknowledged"), NOW + 5) is None
    later = Alarms(ASSET, dict(alarms.active), DeviceClock(ASSET, Allowance()))  # after a restart
    cleared = later.said(fields(False), NOW + 9)
    assert later.said(fields(False), NOW + 10) is None
    assert raised is not None
    assert cleared is not None
    assert (raised.phase, cleared.phase, raised.id == cleared.id) == (Phase.RAISED, Phase.CLEARED, True)
    assert (raised.kind, raised.key, raised.severity, raised.text) == (
        "device.alarm", "Zone1/OverTemp", Severity.ERROR, "과열",
    )  # fmt: skip
    assert later.active == {}


async def test_events_of_the_server_arrive_and_a_node_without_any_is_refused() -> None:
    port, server = free_port(), Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/press")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace("urn:test:press")
    await server.nodes.objects.add_variable(ua.NodeId(ua.String("temp"), ua.Int16(index)), "temp", 20.5)
    generator = await server.get_event_generator()
    source = {"protocol": "opcua", "url": f"opc.tcp://127.0.0.1:{port}/press", "every_s": 0.1, "alarms": "i=2253"}
    tags = [{"address": "nsu=urn:test:press;s=temp"}]
    async with server:
        one = machine(source, tags)
        async with one.source.open(opening(one, time.time_ns)) as session:
            heard = await Listener(session).until(1)
            generator.event.Severity = 850
            await generator.trigger(message="금형 교체")
            while not heard.events:
                heard.readings.append(await anext(heard._readings))
        none = machine(source | {"alarms": "nsu=urn:test:press;s=nobody"}, tags)
        async with none.source.open(opening(none, time.time_ns)) as session:
            refused = await Listener(session).until(1)
    (event,) = heard.events
    assert isinstance(event, Event)
    assert (event.kind, event.text, event.severity, event.phase) == (
        "device.event", "금형 교체", Severity.CRITICAL, Phase.NOTE,
    )  # fmt: skip
    assert event.data["severity"] == 850
    assert abs(event.ts_ns - time.time_ns()) < 60e9
    assert [(one.kind, one.key) for one in refused.events] == [("tag.refused", "alarms")]


async def test_a_notifier_is_a_node_id() -> None:
    with pytest.raises(ValueError, match="alarms: address 'all' is no node id"):
        machine({"protocol": "opcua", "url": "opc.tcp://h:4840", "alarms": "all"}, [{"address": "ns=2;i=1"}])
