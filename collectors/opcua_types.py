"""How the structures of some variables are laid out, asked of an OPC UA server.

* The variable says its data type, the data type its definition; an abstract one leaves the word to the value.
* A server that cannot be asked, or answers nothing of use, leaves a sentence in `Structures.why`; that stops nobody.
"""

import logging
from collections.abc import Sequence
from typing import Any, Final

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.uaerrors import UaError

from collectors.opcua_structures import Field, Kind, Layout, Structures, shown

log = logging.getLogger(__name__)

_BUILT_IN: Final = 25
_ENUMERATION: Final = 29
_NUMBERS: Final = frozenset({24, 26, 27, 28})
"""BaseDataType, Number, Integer, UInteger: any of them in a Variant."""
_MOST_TYPES: Final = 500
_LONGEST_LINE: Final = 20
_KINDS: Final[dict[int, Kind]] = {0: "plain", 1: "optional", 2: "union"}


class Types:
    """One inquiry.

    Args:
        session: of the client.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self._found = Structures()

    async def of(self, nodes: Sequence[ua.NodeId]) -> Structures:
        """Whatever it takes to read these variables."""
        try:
            for node in dict.fromkeys(nodes):
                await self._variable(node)
        except UaError as error:
            log.info("no layouts of structures error=%s", error)
        return self._found

    async def _variable(self, node: ua.NodeId) -> None:
        kind = await self._read(node, AttributeIds.DataType)
        if isinstance(kind, ua.NodeId):
            await self._structure(kind)
        value = await self._read(node, AttributeIds.Value)
        for one in (value if isinstance(value, list) else [value])[:1]:
            if isinstance(one, ua.ExtensionObject) and one.TypeId not in self._found.encodings:
                actual = await self._followed(one.TypeId, ObjectIds.HasEncoding)
                if actual is not None:
                    await self._structure(actual)
                    self._found.encodings[one.TypeId] = actual

    async def _structure(self, kind: ua.NodeId) -> None:
        found = self._found
        if kind in found.layouts or kind in found.why or len(found.layouts) >= _MOST_TYPES:
            return
        definition = await self._read(kind, AttributeIds.DataTypeDefinition)
        if not isinstance(definition, ua.StructureDefinition):
            found.why[kind] = f"the server does not define data type {shown(kind)} (it gives no DataTypeDefinition)"
            return
        name = await self._read(kind, AttributeIds.BrowseName)
        said = str(getattr(name, "Name", None) or shown(kind))
        how = _KINDS.get(int(definition.StructureType))
        found.encodings[definition.DefaultEncodingId] = kind
        if how is None:
            found.why[kind] = (
                f"structure {said} may hold others in its fields (StructureType {definition.StructureType})"
            )
            return
        found.layouts[kind] = Layout(said, (), how)  # a structure may lead to itself
        fields = [await self._field(one) for one in definition.Fields or ()]
        missing = [str(one.Name) for one, field in zip(definition.Fields or (), fields, strict=True) if field is None]
        if missing:
            del found.layouts[kind]
            found.why[kind] = f"structure {said}: the server does not define the type of {', '.join(missing)}"
            return
        found.layouts[kind] = Layout(said, tuple(one for one in fields if one is not None), how)

    async def _field(self, said: ua.StructureField) -> Field | None:
        kind = await self._kind(said.DataType)
        if kind is None:
            return None
        return Field(str(said.Name), kind, int(said.ValueRank), bool(said.IsOptional))

    async def _kind(self, data_type: ua.NodeId) -> ua.VariantType | ua.NodeId | None:
        """A built-in type, or the structure's own data type; None where it cannot be told."""
        at: ua.NodeId | None = data_type
        for _ in range(_LONGEST_LINE):
            if at is None:
                return None
            if not at.NamespaceIndex and at.Identifier == ObjectIds.Structure and at != data_type:
                await self._structure(data_type)
                return data_type if data_type in self._found.layouts else None
            if (built_in := _built_in(at)) is not None:
                return built_in
            at = await self._followed(at, ObjectIds.HasSubtype)
        return None

    async def _read(self, node: ua.NodeId, attribute: AttributeIds) -> Any:
        asked = [ua.ReadValueId(NodeId=node, AttributeId=attribute)]
        (said,) = await self._session.read(ua.ReadParameters(NodesToRead=asked))
        return said.Value.Value if said.Value is not None else None

    async def _followed(self, node: ua.NodeId, reference: int) -> ua.NodeId | None:
        """Where a reference of this kind comes from."""
        asked = ua.BrowseDescription(
            NodeId=node,
            BrowseDirection=ua.BrowseDirection.Inverse,
            ReferenceTypeId=ua.NodeId(ua.Int32(reference)),
            IncludeSubtypes=False,
        )
        params = ua.BrowseParameters(NodesToBrowse=[asked])
        (result,) = await self._session.browse(params)
        if not result.StatusCode.is_good() or not result.References:
            return None
        there: Any = result.References[0].NodeId
        return ua.NodeId(there.Identifier, there.NamespaceIndex, there.NodeIdType)


def _built_in(node: ua.NodeId) -> ua.VariantType | None:
    """How a value of a data type of namespace 0 crosses the wire; None where its supertype says."""
    number = node.Identifier
    if node.NamespaceIndex or not isinstance(number, int):
        return None
    if number in _NUMBERS:
        return ua.VariantType.Variant
    if number == _ENUMERATION:
        return ua.VariantType.Int32
    return ua.VariantType(number) if 0 < number <= _BUILT_IN else None
