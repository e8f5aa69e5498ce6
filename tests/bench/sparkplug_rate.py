"""Sparkplug B: CPU of decoding a metric, beside the protobuf runtime on the same bytes where it is installed.

* A message of 1,000 metrics by alias, as NDATA is, and one by name; Double, Float, Int32 and Boolean in turn.
* Ours reads bytes to metrics (`sparkplug_payload`); the runtime (upb, C) parses and hands over alias, time and value.
"""

import struct
import time
from collections.abc import Callable
from typing import Any

from collectors.sparkplug_payload import payload_of
from tests.bench.figures import Figure, show
from tests.bench.stage import Invalid, Stage, Wish

try:
    from google.protobuf import (  # type: ignore[import-untyped, unused-ignore]
        descriptor_pb2,
        descriptor_pool,
        message_factory,
    )
except ModuleNotFoundError:  # it is no dependency of ours
    descriptor_pb2 = None

HAS_RUNTIME = descriptor_pb2 is not None
METRICS = 1_000
_ROUNDS = 20
_NOW_MS = 1_780_272_000_000


async def measure(stage: Stage, wish: Wish) -> list[Figure]:
    """The figures; prints them."""
    figures: list[Figure] = []
    for name, by_name in (("by alias", False), ("by name", True)):
        data = message(by_name=by_name)
        limit = _figure_of(_plain(data)) if HAS_RUNTIME else "protobuf is not installed"
        samples = [_figure_of(lambda data=data: len(payload_of(data).metrics)) for _ in range(wish.repeats)]  # type: ignore[misc]
        figures.append(Figure(f"Sparkplug metric {name}: CPU to decode", samples, "us", limit=limit))
    show(stage.console, f"Sparkplug B, {METRICS:,} metrics a message", figures)
    return figures


def _figure_of(work: Callable[[], int]) -> float:
    """Microseconds of CPU a metric."""
    began = time.process_time()
    for _ in range(_ROUNDS):
        if work() != METRICS:
            raise Invalid("metrics are missing")
    return (time.process_time() - began) / _ROUNDS / METRICS * 1e6


def message(*, by_name: bool) -> bytes:
    """The bytes, packed by hand after the specification's schema."""
    kinds = (
        (10, b"\x69" + struct.pack("<d", 20.5)),
        (9, b"\x65" + struct.pack("<f", 1.5)),
        (3, b"\x50\x07"),
        (11, b"\x70\x01"),
    )
    out = b"\x08" + _varint(_NOW_MS)
    for i in range(METRICS):
        kind, value = kinds[i % len(kinds)]
        name = f"Zone {i % 20}/Sensor {i}".encode()
        one = b"\x0a" + _varint(len(name)) + name if by_name else b"\x10" + _varint(i)
        one += b"\x18" + _varint(_NOW_MS + i) + b"\x20" + _varint(kind) + value
        out += b"\x12" + _varint(len(one)) + one
    return out + b"\x18\x05"


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out, number = out + bytes([number % 128 + 128]), number // 128
    return out + bytes([number])


def _plain(data: bytes) -> Callable[[], int]:
    """The protobuf runtime: parse, and take alias, time, type and value of each metric."""
    kind = _payload_class()

    def work() -> int:
        parsed = kind.FromString(data)
        return len(
            [(m.name or m.alias, m.timestamp, m.datatype, getattr(m, m.WhichOneof("value"))) for m in parsed.metrics]
        )

    return work


def _payload_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="bench.proto", package="bench", syntax="proto2")
    metric, payload = file.message_type.add(name="Metric"), file.message_type.add(name="Payload")
    metric.oneof_decl.add(name="value")
    integers, floats = (("int_value", 10, 13), ("long_value", 11, 4)), (("float_value", 12, 2), ("double_value", 13, 1))
    for name, number, kind in (("name", 1, 9), ("alias", 2, 4), ("timestamp", 3, 4), ("datatype", 4, 13)):
        metric.field.add(name=name, number=number, type=kind, label=1)
    for name, number, kind in (*integers, *floats, ("boolean_value", 14, 8), ("string_value", 15, 9)):
        metric.field.add(name=name, number=number, type=kind, label=1, oneof_index=0)
    payload.field.add(name="timestamp", number=1, type=4, label=1)
    payload.field.add(name="metrics", number=2, type=11, label=3, type_name=".bench.Metric")
    payload.field.add(name="seq", number=3, type=4, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("bench.Payload"))
