"""What an OPC UA server has: its variables, proposed as tags. For commissioning; see opcua.md.

* Bounded in depth, nodes and variables; what was left out is counted.
* The server's own diagnostics are passed by; a property describes its variable and is no tag.
* A tag proposed is one that would be read: a number or a text, with unit and range where the server states them.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds

from collectors.opcua_items import Part
from collectors.opcua_values import value_of
from collectors.texts import clean
from pipeline.units import is_unit

_MOST_NODES: Final = 50_000
_AT_ONCE: Final = 100
"""Nodes asked about in one request; small servers take no more."""
_HIERARCHICAL: Final = ua.NodeId(ua.Int32(ObjectIds.HierarchicalReferences))
_PROPERTY: Final = ua.NodeId(ua.Int32(ObjectIds.HasProperty))
_OBJECTS: Final = ua.NodeId(ua.Int32(ObjectIds.ObjectsFolder))
_UCUM: Final = {
    "CEL": "Cel", "FAH": "[degF]", "KEL": "K", "BAR": "bar", "MBR": "mbar", "PAL": "Pa", "KPA": "kPa", "MPA": "MPa",
    "MMT": "mm", "CMT": "cm", "MTR": "m", "4H": "um", "SEC": "s", "C26": "ms", "MIN": "min", "HUR": "h", "KGM": "kg",
    "GRM": "g", "TNE": "t", "NEW": "N", "B47": "kN", "NU": "N.m", "AMP": "A", "4K": "mA", "VLT": "V", "KVT": "kV",
    "WTT": "W", "KWT": "kW", "KWH": "kW.h", "WHR": "W.h", "HTZ": "Hz", "KHZ": "kHz", "P1": "%", "LTR": "L",
    "MTQ": "m3", "MTS": "m/s", "C16": "mm/s", "2X": "m/min", "L2": "L/min", "MQH": "m3/h", "RPM": "/min", "DD": "deg",
    "C62": "1", "OHM": "Ohm", "KVA": "kV.A", "D10": "S/m", "GL": "g/L", "E32": "L/h", "MSK": "m/s2",
}  # fmt: skip
"""UCUM by UNECE code, which is what EUInformation carries."""
_WRITTEN: Final = {"°C": "Cel", "degC": "Cel", "°F": "[degF]", "rpm": "/min", "1/min": "/min", "l/min": "L/min",
                   "kWh": "kW.h", "Wh": "W.h", "Nm": "N.m", "µm": "um", "m³": "m3", "m³/h": "m3/h", "°": "deg",
                   "sec": "s", "µS/cm": "uS/cm"}  # fmt: skip


@dataclass(slots=True)
class Variable:
    """One variable of the server.

    Attributes:
        path: names from below Objects down to it.
        address: node id with the URI of its namespace.
        unit: UCUM, "1" where there is none or it is unknown.
        said_unit: what the server calls it.
        range: of its EURange.
        text: display name.
        value: a sample, for people.
    """

    path: tuple[str, ...]
    address: str
    unit: str = "1"
    said_unit: str = ""
    range: tuple[float, float] | None = None
    text: str = ""
    value: float | str = ""


@dataclass(slots=True)
class Found:
    """What browsing gave.

    Attributes:
        variables: that would be read.
        others: variables that would not: arrays, structures, without a value.
        cut: whether a bound was reached, so that there is more.
    """

    variables: list[Variable] = field(default_factory=list)
    others: int = 0
    cut: bool = False


@dataclass(slots=True)
class _Node:
    id: ua.NodeId
    path: tuple[str, ...]
    text: str
    properties: dict[str, ua.NodeId] = field(default_factory=dict)


async def browse(client: Client, depth: int, most: int) -> Found:
    """Variables below Objects, at most `depth` levels down and `most` of them."""
    session, uris = client.uaclient.session, await client.get_namespace_array()
    found, variables, seen = Found(), list[_Node](), {_OBJECTS}
    level = [_Node(_OBJECTS, (), "")]
    for _ in range(depth):
        below: list[_Node] = []
        for start in range(0, len(level), _AT_ONCE):
            chosen = level[start : start + _AT_ONCE]
            for parent, references in zip(chosen, await _children(session, [one.id for one in chosen]), strict=True):
                for node, is_variable in _sorted_out(parent, references, seen):
                    below.append(node)
                    variables += [node] if is_variable else []
            if len(seen) > _MOST_NODES or len(variables) > most:
                found.cut = True
                break
        level = [] if found.cut else below
    found.cut = found.cut or bool(level)
    await _describe(session, uris, variables[:most], found)
    return found


def _sorted_out(parent: _Node, references: Sequence[Any], seen: set[ua.NodeId]) -> Iterator[tuple[_Node, bool]]:
    """What is to be looked at further, and whether it is a variable; properties go to their parent."""
    for one in references:
        node = ua.NodeId(one.NodeId.Identifier, one.NodeId.NamespaceIndex, one.NodeId.NodeIdType)
        name = str(one.BrowseName.Name)
        if one.ReferenceTypeId == _PROPERTY:
            parent.properties[name] = node
        elif node not in seen and node.NamespaceIndex:  # namespace 0 is the server itself
            seen.add(node)
            text = clean(one.DisplayName.Text or name)
            yield _Node(node, (*parent.path, name), text), one.NodeClass == ua.NodeClass.Variable


async def _children(session: Any, nodes: Sequence[ua.NodeId]) -> list[list[Any]]:
    params = ua.BrowseParameters()
    params.View.Timestamp = ua.get_win_epoch()
    params.RequestedMaxReferencesPerNode = ua.Counter(0)
    params.NodesToBrowse = [
        ua.BrowseDescription(
            NodeId=node,
            BrowseDirection=ua.BrowseDirection.Forward,
            ReferenceTypeId=_HIERARCHICAL,
            NodeClassMask=ua.UInt32(ua.NodeClass.Object | ua.NodeClass.Variable),
            ResultMask=ua.UInt32(ua.BrowseResultMask.All),
        )
        for node in nodes
    ]
    results = await session.browse(params)
    children = [list(result.References or ()) for result in results]
    open_ = {i: result.ContinuationPoint for i, result in enumerate(results) if result.ContinuationPoint}
    while open_ and sum(map(len, children)) < _MOST_NODES:
        more = await session.browse_next(ua.BrowseNextParameters(ContinuationPoints=list(open_.values())))
        for i, result in zip(list(open_), more, strict=True):
            children[i] += result.References or ()
            open_[i] = result.ContinuationPoint
        open_ = {i: point for i, point in open_.items() if point}
    return children


async def _describe(session: Any, uris: Sequence[str], nodes: Sequence[_Node], found: Found) -> None:
    values = await _values(session, [node.id for node in nodes])
    asked = [(i, name) for i, node in enumerate(nodes) for name in ("EngineeringUnits", "EURange")]
    asked = [(i, name) for i, name in asked if name in nodes[i].properties]
    said = dict(zip(asked, await _values(session, [nodes[i].properties[name] for i, name in asked]), strict=True))
    for i, node in enumerate(nodes):
        sample = value_of(values[i], Part(""))
        if not isinstance(sample, str) and not isinstance(_plain(values[i]), int | float):
            found.others += 1
            continue
        unit, said_unit = _unit(_plain(said.get((i, "EngineeringUnits"))))
        value = sample if isinstance(sample, str) else sample[0]
        limits = _range(_plain(said.get((i, "EURange"))))
        found.variables.append(Variable(node.path, _address(node.id, uris), unit, said_unit, limits, node.text, value))


def _plain(said: ua.DataValue | None) -> Any:
    return None if said is None or said.Value is None else said.Value.Value


async def _values(session: Any, nodes: Sequence[ua.NodeId]) -> list[ua.DataValue]:
    said: list[ua.DataValue] = []
    for start in range(0, len(nodes), _AT_ONCE):
        params = ua.ReadParameters()
        params.NodesToRead = [
            ua.ReadValueId(NodeId=node, AttributeId=AttributeIds.Value) for node in nodes[start : start + _AT_ONCE]
        ]
        said += await session.read(params)
    return said


def _address(node: ua.NodeId, uris: Sequence[str]) -> str:
    """With the URI of its namespace, which survives a rearranged server."""
    rest = re.sub(r"^ns=\d+;", "", node.to_string())
    uri = uris[node.NamespaceIndex] if node.NamespaceIndex < len(uris) else ""
    return f"nsu={uri};{rest}" if uri and ";" not in uri else f"ns={node.NamespaceIndex};{rest}"


def _unit(said: Any) -> tuple[str, str]:
    """UCUM and the server's own word."""
    if not isinstance(said, ua.EUInformation):
        return "1", ""
    word = clean(said.DisplayName.Text or "") if said.DisplayName else ""
    code = (int(said.UnitId) & 0xFFFFFFFF).to_bytes(4, "big").strip(b"\0").decode("ascii", "replace")
    known = _UCUM.get(code) or _WRITTEN.get(word) or (word if is_unit(word) else "1")
    return known, word


def _range(said: Any) -> tuple[float, float] | None:
    if isinstance(said, ua.Range) and said.Low < said.High:
        return float(said.Low), float(said.High)
    return None


def names(variables: Sequence[Variable]) -> list[str]:
    """A name for each as tag: unique, short, of what the server calls it and where it lies."""
    paths = [
        [*filter(None, map(_slug, one.path[:-1])), _slug(one.path[-1]) or f"tag{number}"]
        for number, one in enumerate(variables, 1)
    ]
    while paths and all(len(path) > 1 and path[0] == paths[0][0] for path in paths):
        paths = [path[1:] for path in paths]
    taken: set[str] = set()
    for number, path in enumerate(paths):
        name = wanted = ".".join(path)[-60:].lstrip("._-")
        place = 2
        while name in taken:
            name, place = f"{wanted[:57]}-{place}", place + 1
        taken.add(name)
        paths[number] = [name]
    return [path[0] for path in paths]


def _slug(said: str) -> str:
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", said)
    return re.sub(r"[^a-z0-9]+", "_", parted.lower()).strip("_")
