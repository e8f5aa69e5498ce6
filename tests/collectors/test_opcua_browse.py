"""A first machine file from what a server says of itself."""

from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.server.server import Server

from collectors.opcua import OpcUa, connected
from collectors.opcua_browse import Variable, browse, names
from rootdx.embedded import free_port

URI = "urn:maker:furnace"


@asynccontextmanager
async def furnace() -> Any:
    port, server = free_port(), Server()
    await server.init()
    url = f"opc.tcp://127.0.0.1:{port}/f"
    server.set_endpoint(url)
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace(URI)
    box = await server.nodes.objects.add_object(index, "Furnace3")
    for zone in (1, 2):
        part = await box.add_object(index, f"Zone{zone}")
        pv = await part.add_variable(ua.NodeId(ua.String(f"Zone{zone}.PV;x"), ua.Int16(index)), "OilTemp", 850.0)
        unit = ua.EUInformation(UnitId=ua.Int32(4408652), DisplayName=ua.LocalizedText("°C"))
        await pv.add_property(0, "EngineeringUnits", unit)
        await pv.add_property(0, "EURange", ua.Range(Low=ua.Double(0), High=ua.Double(1200)))
    await box.add_variable(index, "로트", "L-1")
    await box.add_variable(index, "curve", [1.0, 2.0])
    deep = await box.add_object(index, "Deep")
    await deep.add_variable(ua.NodeId(ua.Int32(77), ua.Int16(index)), "RPM", ua.Variant(3, ua.VariantType.UInt16))
    async with server:
        yield url


async def found_at(url: str, depth: int = 8, most: int = 1000) -> Any:
    async with connected(OpcUa(url=url), "test", "test", 1_790_000_000_000_000_000) as client:
        return await browse(client, depth, most)


async def test_variables_become_tags_with_unit_and_range(tmp_path: Path) -> None:
    async with furnace() as url:
        found = await found_at(url)
        cut = await found_at(url, most=2)
        shallow = await found_at(url, depth=2)
    by_name = dict(zip(names(found.variables), found.variables, strict=True))
    assert set(by_name) == {"zone1.oil_temp", "zone2.oil_temp", "tag1", "deep.rpm"}
    pv = by_name["zone1.oil_temp"]
    assert (pv.address, pv.unit, pv.range, pv.value) == (f"nsu={URI};s=Zone1.PV;x", "Cel", (0.0, 1200.0), 850.0)
    assert by_name["deep.rpm"].address == f"nsu={URI};i=77"
    assert [one.value for one in found.variables if one.text == "로트"] == ["L-1"]
    assert (found.others, found.cut, len(found.variables)) == (1, False, 4)
    assert (cut.cut, len(cut.variables) + cut.others) == (True, 2)
    assert shallow.cut
    assert len(shallow.variables) == 1


@pytest.mark.parametrize(
    ("paths", "wanted"),
    [
        ([("Press", "A"), ("Press", "A")], ["a", "a-2"]),
        ([("압력",), ("온도",)], ["tag1", "tag2"]),
        ([("A" * 80,)], ["a" * 60]),
        ([("DB1", "OilTemp_C"), ("DB2", "x")], ["db1.oil_temp_c", "db2.x"]),
    ],
)
async def test_names_are_unique_and_allowed(paths: list[tuple[str, ...]], wanted: list[str]) -> None:
    assert names([Variable(path, "ns=2;i=1") for path in paths]) == wanted
