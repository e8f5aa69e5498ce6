"""Rows as the bytes of PostgreSQL's binary COPY, built from one NumPy structured array a block.

A COPY row is a field count and, for each field, its length and its big-endian bytes. Rows of one table have one shape,
so a block is one structured array; a NULL has no bytes, so rows with a NULL value are a block of a second shape.
"""

import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.model import BAD_BIT, CAUSES, Batch, Codes, Floats, Int64s

BEGIN: Final = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
END: Final = struct.pack(">h", -1)
_PG_EPOCH_US: Final = 946_684_800_000_000

Ids = npt.NDArray[np.int32]
Columns = dict[str, npt.NDArray[Any]]
Field = tuple[str, str, int]
"""name, big-endian dtype, length (-1: NULL, no bytes follow)."""


def microseconds(ns: Int64s) -> Int64s:
    """Nanoseconds since 1970 as PostgreSQL keeps time: microseconds since 2000, rounded down."""
    return ns // 1000 - _PG_EPOCH_US


def _shape(fields: Sequence[Field]) -> tuple[np.dtype[Any], dict[str, int]]:
    parts: list[tuple[str, str]] = [("fields", ">i2")]
    constants = {"fields": len(fields)}
    for name, dtype, length in fields:
        parts.append((f"{name}_length", ">i4"))
        constants[f"{name}_length"] = length
        if length >= 0:
            parts.append((name, dtype))
    return np.dtype(parts), constants


def _block(shape: tuple[np.dtype[Any], dict[str, int]], columns: dict[str, npt.NDArray[Any]], n: int) -> bytes:
    dtype, constants = shape
    rows = np.empty(n, dtype)
    for name, constant in constants.items():
        rows[name] = constant
    for name, column in columns.items():
        rows[name] = column
    return rows.tobytes()


_KEYS: Final[tuple[Field, ...]] = (("record", ">i8", 8), ("tag_id", ">i4", 4), ("quality", ">i4", 4))
_GOOD: Final = _shape((("ts", ">i8", 8), ("value", ">f8", 8), *_KEYS))
_BAD: Final = _shape((("ts", ">i8", 8), ("value", ">f8", -1), *_KEYS))
MEASUREMENT: Final = "COPY rootdx.measurement (ts, value, record, tag_id, quality) FROM STDIN (FORMAT binary)"


def batch_rows(part: Sequence[tuple[int, Batch]], ids: Sequence[Ids], ts_ns: Int64s) -> bytes:
    """Rows of `measurement` from batches, each with its record id, and their tags' ids; `ts_ns` joins their times."""
    tag_id = np.concatenate([own[one.tag] for own, (_, one) in zip(ids, part, strict=True)])
    record = np.repeat(np.array([key for key, _ in part], np.int64), [len(one) for _, one in part])
    value = np.concatenate([one.value for _, one in part])
    quality = np.concatenate([one.quality for _, one in part])
    return measurement_rows(ts_ns, value, record, tag_id, quality)


def measurement_rows(ts_ns: Int64s, value: Floats, record: Int64s, tag_id: Ids, quality: Codes) -> bytes:
    """Rows of `measurement`; the value of a bad row is NULL."""
    columns: Columns = {
        "ts": microseconds(ts_ns),
        "record": record,
        "tag_id": tag_id,
        "quality": quality.view(np.int32),
    }
    bad = quality >= BAD_BIT
    if not bad.any():
        return _block(_GOOD, {**columns, "value": value}, len(value))
    good = ~bad
    kept = {name: column[good] for name, column in columns.items()}
    lost = {name: column[bad] for name, column in columns.items()}
    return _block(_GOOD, {**kept, "value": value[good]}, int(good.sum())) + _block(_BAD, lost, int(bad.sum()))


_TALLY: Final = _shape(
    (
        ("minute", ">i8", 8),
        ("record", ">i8", 8),
        ("tag_id", ">i4", 4),
        ("expected", ">i4", 4),
        *((cause.value, ">i4", 4) for cause in CAUSES),
    )
)
TALLY: Final = (
    f"COPY rootdx.tally (minute, record, tag_id, expected, {', '.join(cause.value for cause in CAUSES)}) "
    "FROM STDIN (FORMAT binary)"
)


def tally_rows(minute_ns: Int64s, record: Int64s, tag_id: Ids, expected: Int64s, missing: Int64s) -> bytes:
    """Rows of `tally`; `missing` is (n, len(CAUSES))."""
    columns: Columns = {"minute": microseconds(minute_ns), "record": record, "tag_id": tag_id, "expected": expected}
    causes = {cause.value: missing[:, place] for place, cause in enumerate(CAUSES)}
    return _block(_TALLY, {**columns, **causes}, len(minute_ns))


_RECORD: Final = _shape((("id", ">i8", 8), ("gateway_ts", ">i8", 8), ("rows", ">i4", 4)))
RECORD: Final = "COPY rootdx.record (id, gateway_ts, rows) FROM STDIN (FORMAT binary)"


def record_rows(ids: Sequence[int], gateway_ns: Sequence[int], rows: Sequence[int]) -> bytes:
    """Rows of `record`."""
    stamps = microseconds(np.array(gateway_ns, np.int64))
    return _block(_RECORD, {"id": np.array(ids), "gateway_ts": stamps, "rows": np.array(rows)}, len(ids))
