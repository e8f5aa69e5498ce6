"""Structures by their fields, against a server that shares no code with ours."""

import contextlib
import struct
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from hypothesis import given, settings, strategies as st

from collectors.opcua_items import Part, part_of
from collectors.opcua_structures import Field, Layout, Structures
from collectors.opcua_types import Types
from collectors.opcua_values import UNDECODED
from pipeline.errors import BadData
from pipeline.model import Quality
from tests.collectors.devices import machine, opening
from tests.collectors.test_opcua import Listener
from tests.support.services import OpcUaServer

URI = "urn:test:weld"


@pytest.fixture(scope="module")
def server(tmp_path_factory: Any) -> Iterator[OpcUaServer]:
    with OpcUaServer(tmp_path_factory.mktemp("structures")) as one:
        yield one


def welder(server: OpcUaServer, **addresses: str) -> Any:
    source = {"protocol": "opcua", "url": f"opc.tcp://127.0.0.1:{server.port}/press", "every_s": 0.1, "timeout_s": 4.0}
    return machine(source, [{"name": name, "address": f"nsu={URI};s={at}"} for name, at in addresses.items()])


NUMBERS = {
    "current": ("Weld1 field=Current", 9.5),
    "count": ("Weld1 field=Count", -3.0),
    "ok": ("Weld1 field=Ok", 1.0),
    "force": ("Weld1 field=Spot.Force", 2.5),
    "second": ("Weld1 field=Path element=1 field=Force", 20.0),
    "third": ("Weld1 field=Currents element=2", 3.5),
    "there": ("Sparse1 field=C", 3.0),
    "point": ("Points element=1 field=X", 6.0),
}
TEXTS = {
    "program": ("Weld1 field=Program", "P-7"),
    "lot": ("Weld1 field=Lot", "L-1"),
    "began": ("Weld1 field=Began", "2026-05-01T08:00:00+00:00"),
}
NOWHERE = {"absent": "Sparse1 field=B", "beyond": "Weld1 field=Path element=2 field=X", "whole": "Weld1"}


async def test_fields_of_a_structure_are_tags(server: OpcUaServer) -> None:
    places = {name: at for name, (at, _) in (NUMBERS | TEXTS).items()} | NOWHERE
    one = welder(server, **places)
    async with one.source.open(opening(one, time.time_ns)) as session:
        heard = Listener(session)
        await heard.until(len(NUMBERS) + len(NOWHERE))
        server.tell('weld {"current": 11.25, "spot": {"x": 0, "force": 7}}', "welded")
        await heard.until(2 * (len(NUMBERS) + len(NOWHERE)) - 3)
    first = {name: (value, quality) for name, _, value, quality in reversed(heard.rows)}
    assert {name: first[name] for name in NUMBERS} == {
        name: (value, Quality.GOOD) for name, (_, value) in NUMBERS.items()
    }
    assert all(first[name][1] == Quality.BAD_TYPE_MISMATCH and np.isnan(first[name][0]) for name in NOWHERE)
    assert {event.key: event.data["value"] for event in heard.events} == {
        name: text for name, (_, text) in TEXTS.items()
    }
    last = {name: value for name, _, value, _ in heard.rows}
    assert (last["current"], last["force"], last["second"]) == (11.25, 7.0, 20.0)


async def test_a_structure_that_nobody_can_read_makes_exactly_its_tags_bad(
    server: OpcUaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Types._read

    async def mute(self: Any, node: ua.NodeId, attribute: Any) -> Any:
        """A server of 2015: it defines its types in no way that can be asked for."""
        return None if attribute == AttributeIds.DataTypeDefinition else await real(self, node, attribute)

    monkeypatch.setattr(Types, "_read", mute)
    one = welder(server, current="Weld1 field=Current", count="Weld1 field=Count")
    good = {"name": "temp", "unit": "1", "address": "ns=1;s=temp"}
    one = machine(one.source.model_dump(), [{"name": t.name, "address": t.address} for t in one.tag] + [good])
    async with one.source.open(opening(one, time.time_ns)) as session:
        heard = await Listener(session).until(3)
    said = {name: (value, quality) for name, _, value, quality in heard.rows}
    assert said["temp"] == (20.5, Quality.GOOD)
    assert {said[name][1] for name in ("current", "count")} == {UNDECODED}
    assert {(event.kind, event.key) for event in heard.events} == {("tag.refused", "current"), ("tag.refused", "count")}
    assert all("does not define data type" in event.text for event in heard.events)
    async with one.source.open(opening(one, time.time_ns, heard.memory)) as session:
        again = Listener(session)
        await again.silent(0.6)
    assert not again.events


INNER, OUTER, UNION, OPTIONAL = (ua.NodeId(ua.Int32(n), ua.Int16(2)) for n in (1, 2, 3, 4))
DOUBLE, INT32, STRING = ua.VariantType.Double, ua.VariantType.Int32, ua.VariantType.String
KNOWN = Structures()
KNOWN.layouts = {
    INNER: Layout("Inner", (Field("x", DOUBLE), Field("name", STRING))),
    OUTER: Layout(
        "Outer", (Field("one", INNER), Field("many", INNER, 1), Field("grid", INT32, 2), Field("self", OUTER, 1))
    ),
    UNION: Layout("Union", (Field("a", INT32), Field("b", DOUBLE)), "union"),
    OPTIONAL: Layout(
        "Optional", (Field("a", INT32, -1, True), Field("b", INT32), Field("c", INT32, -1, True)), "optional"
    ),
}
KNOWN.encodings = {node: node for node in KNOWN.layouts}


def fields(kind: ua.NodeId, body: bytes) -> Any:
    return KNOWN.fields(ua.ExtensionObject(kind, ua.ByteString(body)))


def test_unions_masks_and_tables_are_read() -> None:
    assert fields(UNION, struct.pack("<Id", 2, 2.5)) == {"b": 2.5}
    assert fields(UNION, struct.pack("<I", 0)) == {}
    assert fields(OPTIONAL, struct.pack("<Iii", 0b10, 5, 7)) == {"b": 5, "c": 7}
    inner = struct.pack("<di", 1.5, 2) + b"ab"
    table = struct.pack("<iii6i", 2, 2, 3, *range(6))
    body = inner + struct.pack("<i", 1) + inner + table + struct.pack("<i", -1)
    found = fields(OUTER, body)
    assert found == {
        "one": {"x": 1.5, "name": "ab"},
        "many": [{"x": 1.5, "name": "ab"}],
        "grid": [[0, 1, 2], [3, 4, 5]],
        "self": [],
    }
    assert Part("s", ("grid", (1, 2))).of(ua.ExtensionObject(OUTER, ua.ByteString(body)), (), KNOWN) == 5


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(list(KNOWN.layouts)), st.binary(max_size=200))
def test_any_bytes_are_fields_or_bad_data(kind: ua.NodeId, body: bytes) -> None:
    with contextlib.suppress(BadData):
        assert isinstance(fields(kind, body), dict)


@settings(max_examples=100, deadline=None)
@given(st.integers(-(2**31), 2**31 - 1), st.binary(max_size=60))
def test_an_array_that_claims_to_be_long_costs_nothing(length: int, rest: bytes) -> None:
    inner = struct.pack("<di", 1.5, -1)
    with contextlib.suppress(BadData):
        assert len(fields(OUTER, inner + struct.pack("<i", length) + rest)["many"]) <= len(rest)


@pytest.mark.parametrize(
    ("address", "steps"),
    [
        ("ns=2;s=Weld 1 field=Current", ("Current",)),
        ("ns=2;s=A element=1,2", ((1, 2),)),
        ("ns=2;s=A field=Path element=3 field=X.Y", ("Path", (3,), "X.Y")),
        ('ns=3;s="DB"."arr"[3]', ()),
    ],
)
def test_the_way_into_a_value_stands_behind_its_node(address: str, steps: Any) -> None:
    assert part_of(address).steps == steps
    assert " field" not in part_of(address).node
