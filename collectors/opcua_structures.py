"""Structures of an OPC UA server to named fields: layouts are what the server says of its types, decoded by hand.

* No code is made from what a server says, and two servers may give one name to two things.
* Fields come in their order: numbers, texts and times as asyncua knows them, structures as `dict`, arrays as `list`.
* Optional fields begin with a mask, unions with the number of their one field; a field that is not there is no key.
* Whatever the bytes are, they become fields or a `BadData` with a sentence, never more memory than they are long.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from asyncua import ua
from asyncua.common.utils import Buffer, NotEnoughData
from asyncua.ua.ua_binary import unpack_uatype
from asyncua.ua.uaerrors import UaError

from pipeline.errors import BadData

_DEEPEST: Final = 16
_MOST: Final = 1_000_000
"""Elements of an array."""
_INT: Final = struct.Struct("<i")
_UINT: Final = struct.Struct("<I")
Kind = Literal["plain", "optional", "union"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field.

    Attributes:
        name: of the server's type.
        kind: a built-in type, or the data type of the structure that it is.
        rank: dimensions; below 1: a single value.
        is_optional: whether the mask says if it is there.
    """

    name: str
    kind: ua.VariantType | ua.NodeId
    rank: int = -1
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """A structure."""

    name: str
    fields: tuple[Field, ...]
    kind: Kind = "plain"


class Structures:
    """What is known of a server's structures: `layouts` by data type, `encodings` to data types."""

    def __init__(self) -> None:
        self.layouts: dict[ua.NodeId, Layout] = {}
        self.encodings: dict[ua.NodeId, ua.NodeId] = {}
        self.why: dict[ua.NodeId, str] = {}
        """Why a data type has no layout."""

    def fields(self, value: ua.ExtensionObject) -> dict[str, Any]:
        """The fields of a value.

        Raises:
            BadData: nobody knows its type, or it is not what the server says of it.
        """
        kind = self.encodings.get(value.TypeId)
        if kind is None or kind not in self.layouts:
            known = self.why.get(kind) if kind is not None else None
            raise BadData(
                known or f"the server does not say how a structure of encoding {shown(value.TypeId)} is laid out"
            )
        layout, data = self.layouts[kind], Buffer(value.Body or b"")
        try:
            found = self._structure(layout, data, 0)
        except (NotEnoughData, UaError, ValueError, KeyError, TypeError, OverflowError, struct.error) as error:
            raise BadData(f"structure {layout.name}: its bytes are not as the server says: {error}") from error
        if len(data):
            raise BadData(f"structure {layout.name}: {len(data)} bytes more than the server says")
        return found

    def _structure(self, layout: Layout, data: Any, depth: int) -> dict[str, Any]:
        if depth > _DEEPEST:
            raise ValueError(f"more than {_DEEPEST} structures in one another")
        if layout.kind == "union":
            (number,) = _UINT.unpack(data.read(4))
            chosen: Sequence[Field] = layout.fields[number - 1 : number] if number else ()
            if number and not chosen:
                raise ValueError(f"field {number} of a union of {len(layout.fields)}")
            return {one.name: self._field(one, data, depth) for one in chosen}
        mask = _UINT.unpack(data.read(4))[0] if layout.kind == "optional" else 0
        found: dict[str, Any] = {}
        for one in layout.fields:
            if layout.kind == "optional" and one.is_optional:
                is_there, mask = mask & 1, mask >> 1
                if not is_there:
                    continue
            found[one.name] = self._field(one, data, depth)
        return found

    def _field(self, one: Field, data: Any, depth: int) -> Any:
        if one.rank < 1:
            return self._value(one, data, depth)
        if one.rank == 1:
            return self._array(one, data, depth, _INT.unpack(data.read(4))[0])
        count = max(0, _INT.unpack(data.read(4))[0])
        if count != one.rank:
            raise ValueError(f"field {one.name}: {count} dimensions, expected {one.rank}")
        sizes = [_INT.unpack(data.read(4))[0] for _ in range(count)]
        flat = self._array(one, data, depth, int(np.prod([max(0, size) for size in sizes], dtype=object)))
        for size in reversed(sizes[1:]):
            flat = [flat[start : start + size] for start in range(0, len(flat), max(1, size))]
        return flat

    def _array(self, one: Field, data: Any, depth: int, length: int) -> list[Any]:
        if length > min(_MOST, len(data)):  # no element is shorter than a byte
            raise ValueError(f"field {one.name}: {length} elements in {len(data)} bytes")
        return [self._value(one, data, depth) for _ in range(max(0, length))]

    def _value(self, one: Field, data: Any, depth: int) -> Any:
        if isinstance(one.kind, ua.NodeId):
            return self._structure(self.layouts[one.kind], data, depth + 1)
        return unpack_uatype(one.kind, data)


def within(value: Any, name: str, structures: Structures) -> Any:
    """A field of a value, whose path has points; None where there is no such field.

    Raises:
        BadData: it is a structure that nobody can read.
    """
    for part in name.split("."):
        if isinstance(value, ua.ExtensionObject):
            value = structures.fields(value) if value.Body is not None else None
        if isinstance(value, Mapping):
            value = value.get(part)
        elif value is not None and hasattr(type(value), "__dataclass_fields__"):
            value = getattr(value, part, None)
        else:
            return None
    return value


def shown(node: ua.NodeId) -> str:
    """A node id for people."""
    return str(node.to_string())
