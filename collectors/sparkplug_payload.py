"""Sparkplug B payloads: bytes to metrics, as much of the protobuf schema of specification 3.0 as a host reads.

* Whatever bytes arrive, they are a payload or `BadData`; unknown fields are skipped, as protobuf wants it.
* Signed integers come as two's complement in unsigned fields and are read by their data type.
* Data sets, templates, files, bytes and arrays are told by their type and not read.

    Payload = 1 timestamp · 2 metrics · 3 seq · 5 body      (by field number; times in ms since 1970)
    Metric  = 1 name · 2 alias · 3 timestamp · 4 datatype · 5 is_historical · 7 is_null · 9 properties
              10 int · 11 long · 12 float · 13 double · 14 boolean · 15 string · 16.. not read
    PropertySet = 1 keys · 2 values        PropertyValue = 2 is_null · 3 int · 4 long · 5 float · 6 double
                                                           7 boolean · 8 string
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from pipeline.errors import BadData

MOST_METRICS: Final = 100_000
BOOLEAN, STRING, DATETIME, TEXT, UUID = 11, 12, 13, 14, 15
_SIGNED: Final = {1: 8, 2: 16, 3: 32, 4: 64}
_UNSIGNED: Final = {5: 8, 6: 16, 7: 32, 8: 64, 13: 64}
_REAL: Final = frozenset({9, 10})
TEXTS: Final = frozenset({STRING, TEXT, UUID})
NUMBERS: Final = frozenset({*_SIGNED, *_UNSIGNED, *_REAL, BOOLEAN, DATETIME})
_OTHERS: Final = {16: "dataset", 17: "bytes", 18: "bytes", 19: "template"}
_FLOAT: Final = struct.Struct("<f")
_DOUBLE: Final = struct.Struct("<d")
_WHOLE: Final = {2: "alias", 3: "timestamp", 4: "datatype"}
_FLAGS: Final = {5: "is_historical", 7: "is_null"}
Value = bool | int | float | str | None


@dataclass(slots=True)
class Metric:
    """One metric of a message; `value` None where it is null or of a type that is not read."""

    name: str = ""
    alias: int | None = None
    timestamp: int | None = None
    datatype: int = 0
    is_historical: bool = False
    is_null: bool = False
    value: Value = None
    is_other: bool = False
    properties: Mapping[str, Value] = field(default_factory=dict)


@dataclass(slots=True)
class Payload:
    """A message."""

    timestamp: int | None = None
    seq: int | None = None
    metrics: list[Metric] = field(default_factory=list)


def payload_of(data: bytes) -> Payload:
    """A message read.

    Raises:
        BadData: it is no Sparkplug B payload.
    """
    found = Payload()
    try:
        for number, said in _fields(data):
            if number == 1:
                found.timestamp = _whole(said)
            elif number == 2:
                found.metrics.append(_metric(_part(said)))
                if len(found.metrics) > MOST_METRICS:
                    raise BadData(f"more than {MOST_METRICS} metrics in one message")
            elif number == 3:
                found.seq = _whole(said)
            elif number == 5:
                raise BadData("a compressed payload, which the specification does not know; let the node send it plain")
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise BadData(f"not a Sparkplug B payload: {error}") from error
    return found


def number_of(value: Value, datatype: int) -> Value:
    """A value as its data type means it: a signed integer comes as two's complement of 64, 32 or its own bits."""
    bits = _SIGNED.get(datatype)
    if bits is None or isinstance(value, bool) or not isinstance(value, int):
        return value
    for width in (64, 32, bits):
        if width >= bits and value >> (width - 1) == 1:
            return value - (1 << width)
    return value


def fits(value: Value, datatype: int) -> bool:
    """Whether a value may be one of this type."""
    if datatype in TEXTS:
        return isinstance(value, str)
    if datatype == BOOLEAN:
        return isinstance(value, bool)
    if datatype in _REAL:
        return isinstance(value, float)
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    if datatype in _UNSIGNED:
        return 0 <= value < 1 << _UNSIGNED[datatype]
    return -(1 << _SIGNED[datatype] - 1) <= value < 1 << _SIGNED[datatype] - 1


def other_name(datatype: int) -> str:
    """What a metric that is not read is counted as."""
    return _OTHERS.get(datatype, "array" if 22 <= datatype <= 34 else "unknown_datatype")


def _metric(data: bytes) -> Metric:
    one = Metric()
    for number, said in _fields(data):
        if number in _WHOLE:
            setattr(one, _WHOLE[number], _whole(said))
        elif number in _FLAGS:
            setattr(one, _FLAGS[number], bool(_whole(said)))
        elif number == 1:
            one.name = _part(said).decode()
        elif number == 9:
            one.properties = _properties(_part(said))
        elif 10 <= number <= 15:
            one.value = _value(number - 10, said)
        elif number >= 16:
            one.is_other = True
    return one


def _properties(data: bytes) -> dict[str, Value]:
    keys: list[str] = []
    values: list[Value] = []
    for number, said in _fields(data):
        if number == 1:
            keys.append(_part(said).decode())
        elif number == 2:
            value: Value = None
            for inner, what in _fields(_part(said)):
                if 3 <= inner <= 8:
                    value = _value(inner - 3, what)
            values.append(value)
    return dict(zip(keys, values, strict=False))


def _value(kind: int, said: int | bytes) -> Value:
    """int, long, float, double, boolean, string."""
    if kind <= 1:
        return _whole(said)
    if kind == 2:
        return float(_FLOAT.unpack(_part(said))[0])
    if kind == 3:
        return float(_DOUBLE.unpack(_part(said))[0])
    return bool(_whole(said)) if kind == 4 else _part(said).decode()


def _whole(said: int | bytes) -> int:
    if isinstance(said, bytes):
        raise BadData("not a Sparkplug B payload: bytes where a number was expected")
    return said


def _part(said: int | bytes) -> bytes:
    if isinstance(said, int):
        raise BadData("not a Sparkplug B payload: a number where bytes were expected")
    return said


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and what they hold: a number, or bytes (those of four and eight are such, too)."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            said, at = _varint(data, at)
            yield number, said
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in {1, 5}:
            size = 8 if wire == 1 else 4
        else:
            raise BadData(f"not a Sparkplug B payload: wire type {wire}")
        if number == 0 or size > end - at:
            raise BadData("not a Sparkplug B payload: a field longer than its message")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    said = shift = 0
    while True:
        byte = data[at]
        at += 1
        said |= (byte & 0x7F) << shift
        if byte < 0x80:
            return said & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
        if shift > 63:
            raise BadData("not a Sparkplug B payload: a number of more than ten bytes")


def rebirth(now_ms: int) -> bytes:
    """The payload that asks an edge node to say again what it has."""
    name = b"Node Control/Rebirth"
    metric = b"\x0a" + bytes([len(name)]) + name + b"\x18" + _as_varint(now_ms) + b"\x20\x0b\x70\x01"
    return b"\x08" + _as_varint(now_ms) + b"\x12" + _as_varint(len(metric)) + metric


def _as_varint(said: int) -> bytes:
    out = bytearray()
    while said > 0x7F:
        out.append(said & 0x7F | 0x80)
        said >>= 7
    out.append(said)
    return bytes(out)
