"""The OPC UA server over its real protocol, read by the addresses of the machine file."""

import asyncio
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.client.client import Client
from asyncua.common.node import Node
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes

from simulators.faults import Faults
from simulators.run import MODELS, Options, running
from simulators.serve_opcua import OpcuaDevice
from simulators.truth import Truth
from tests.simulators.conftest import Now
from tests.simulators.devices import truth_lines

SIGNALS = MODELS["heat_treatment"].signals
FILE = Path(__file__).parents[2] / "deploy" / "plant" / "iq2.toml"
TYPES = {
    "double": ua.VariantType.Double,
    "int32": ua.VariantType.Int32,
    "uint32": ua.VariantType.UInt32,
    "bool": ua.VariantType.Boolean,
}


async def resolve(client: Client, address: str) -> Node:
    uri, _, name = address.removeprefix("nsu=").partition(";s=")
    return client.get_node(f"ns={await client.get_namespace_index(uri)};s={name}")


async def test_a_client_sees_what_the_truth_says_and_can_write_nothing(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    options = Options(port=0, truth=path, start_s=4000.0, every_s=0.05, speed=30.0)
    async with running("heat_treatment", options) as endpoint, Client(endpoint.url) as client:
        tags = tomllib.loads(FILE.read_text(encoding="utf-8"))["tag"]
        nodes = {tag["name"]: await resolve(client, tag["address"]) for tag in tags}
        await asyncio.sleep(0.3)  # a few real writings
        read: dict[str, Any] = {name: await node.read_data_value() for name, node in nodes.items()}
        folder = await client.nodes.objects.get_child(f"{await client.get_namespace_index(endpoint.detail)}:machine")
        assert len(await folder.get_children()) == len(SIGNALS)
        for attribute in (AttributeIds.Value, AttributeIds.AccessLevel):
            with pytest.raises(ua.uaerrors.BadUserAccessDenied):
                await nodes["zone1.sp"].write_attribute(attribute, ua.DataValue(ua.Variant(1.0, ua.VariantType.Double)))
        assert await nodes["zone1.sp"].read_value() == 925.0
    told = {(line["t_ns"], tag): value for line in truth_lines(path, "served") for tag, value in line["values"].items()}
    for signal in SIGNALS:
        value = read[signal.name]
        assert value.Value.VariantType == TYPES[signal.kind]
        assert value.StatusCode.is_good()
        stamp_ns = round(value.SourceTimestamp.timestamp() * 1e6) * 1000
        assert told[stamp_ns, signal.name] == float(value.Value.Value)
    assert read["zone1.pv"].Value.Value == pytest.approx(925.0, abs=5.0)
    assert read["program.state"].Value.Value == 4
    assert len({stamp for stamp, tag in told if tag == "zone1.pv"}) > 1


async def test_bad_status_reaches_the_client(tmp_path: Path) -> None:
    faults = tmp_path / "faults.toml"
    faults.write_text('[[fault]]\ntype = "bad_status"\ntag = "zone2.pv"\nstart_s = 0\nend_s = 9999\n')
    async with running("heat_treatment", Options(port=0, faults=faults)) as endpoint, Client(endpoint.url) as client:
        node = await resolve(client, f"nsu={endpoint.detail};s=zone2.pv")
        value: Any = await node.read_data_value(raise_on_bad_status=False)
        assert value.StatusCode.value == StatusCodes.BadSensorFailure


def test_unchanged_values_are_not_written_again(clock_at: Callable[[float], Now]) -> None:
    model = MODELS["heat_treatment"]
    now = clock_at(100.0)
    device = OpcuaDevice(model.make(1, Faults()), SIGNALS, Faults(), now.clock, Truth("x"))
    assert {item.signal.name for item in device.changes()[1]} == {signal.name for signal in SIGNALS}
    assert device.changes()[1] == []
    now.set_s(101.0)
    names = {item.signal.name for item in device.changes()[1]}
    assert "zone1.pv" in names
    assert not names & {"batch", "fan", "zone1.sp"}
