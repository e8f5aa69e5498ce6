"""What the numbers of an OPC UA server mean, where it says so itself.

* Enumerations say it at their type, multi-state variables at themselves: as EnumStrings or EnumValues.
* A server that cannot be asked says nothing; that stops nobody.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.uaerrors import UaError

from collectors.texts import clean

log = logging.getLogger(__name__)

_UNSIGNED: Final = frozenset({3, 5, 7, 9, 28})
"""Built-in types of a multi-state variable."""
_BUILT_IN: Final = 28
"""The last type of namespace 0 that is no enumeration."""
_AT_ONCE: Final = 100
"""Small servers take no more in one request."""
_MOST: Final = 1_000
"""Meanings of one variable."""
_PROPERTIES: Final = ("EnumStrings", "EnumValues")


async def meanings(session: Any, nodes: Sequence[ua.NodeId]) -> dict[int, dict[int, str]]:
    """Texts by number, for those of the nodes whose numbers have any; by their index."""
    try:
        return await _meanings(session, nodes)
    except UaError as error:
        log.info("no meanings of numbers error=%s", error)
        return {}


async def _meanings(session: Any, nodes: Sequence[ua.NodeId]) -> dict[int, dict[int, str]]:
    types = [said.Value.Value if said.Value else None for said in await _read(session, nodes, AttributeIds.DataType)]
    where: dict[int, ua.NodeId] = {}
    for i, kind in enumerate(types):
        if not isinstance(kind, ua.NodeId):
            continue
        if kind.NamespaceIndex or not isinstance(kind.Identifier, int) or kind.Identifier > _BUILT_IN:
            where[i] = kind
        elif kind.Identifier in _UNSIGNED:
            where[i] = nodes[i]
    asked = list(dict.fromkeys(where.values()))
    found = dict(zip(asked, await _texts(session, asked), strict=True))
    return {i: found[node] for i, node in where.items() if found[node]}


async def _read(session: Any, nodes: Sequence[ua.NodeId], attribute: AttributeIds) -> list[ua.DataValue]:
    said: list[ua.DataValue] = []
    for start in range(0, len(nodes), _AT_ONCE):
        params = ua.ReadParameters()
        params.NodesToRead = [
            ua.ReadValueId(NodeId=node, AttributeId=attribute) for node in nodes[start : start + _AT_ONCE]
        ]
        said += await session.read(params)
    return said


async def _texts(session: Any, nodes: Sequence[ua.NodeId]) -> list[dict[int, str]]:
    """What the properties of each node say."""
    paths = [_path(node, name) for node in nodes for name in _PROPERTIES]
    targets: list[Any] = []
    for start in range(0, len(paths), _AT_ONCE):
        targets += await session.translate_browsepaths_to_nodeids(paths[start : start + _AT_ONCE])
    there = {
        i: target.Targets[0].TargetId
        for i, target in enumerate(targets)
        if target.StatusCode.is_good() and target.Targets
    }
    said = dict(zip(there, await _read(session, list(there.values()), AttributeIds.Value), strict=True))
    return [_said([said[i] for i in (2 * place, 2 * place + 1) if i in said]) for place in range(len(nodes))]


def _path(node: ua.NodeId, name: str) -> ua.BrowsePath:
    element: Any = ua.RelativePathElement(TargetName=ua.QualifiedName(name, ua.UInt16(0)))
    element.ReferenceTypeId = ua.NodeId(ua.Int32(ObjectIds.HasProperty))
    element.IsInverse, element.IncludeSubtypes = False, True
    return ua.BrowsePath(StartingNode=node, RelativePath=ua.RelativePath(Elements=[element]))


def _said(properties: Sequence[ua.DataValue]) -> dict[int, str]:
    texts: dict[int, str] = {}
    for said in properties:
        value: Any = said.Value.Value if said.Value else None
        for number, one in enumerate(value[:_MOST] if isinstance(value, list) else ()):
            texts |= _one(number, one)
    return texts


def _one(number: int, said: Any) -> Mapping[int, str]:
    if isinstance(said, ua.EnumValueType):
        number, said = int(said.Value), said.DisplayName
    return {number: clean(said.Text)} if isinstance(said, ua.LocalizedText) and said.Text else {}
