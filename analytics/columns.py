"""Arrays of the server as NumPy arrays: a column of a million values is one value of one row.

* For one-dimensional arrays without NULLs of int4, int8, float8 and timestamptz, in binary.
* An empty array has no dimension; it comes back as an array of no elements.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.postgres import types
from psycopg.pq import Format

EPOCH_US: Final = 946_684_800_000_000
"""PostgreSQL counts microseconds from 2000-01-01 UTC."""
_HEADER: Final = 20


class _Array(Loader):
    """Elements of a binary array: 20 bytes of header, then each with its length before it."""

    format = Format.BINARY
    kind: np.dtype[Any]

    def load(self, data: Buffer) -> npt.NDArray[Any]:
        raw = bytes(data)
        if len(raw) <= _HEADER:
            return np.empty(0, self.kind.newbyteorder("="))
        whole = np.frombuffer(raw, np.dtype([("size", ">i4"), ("value", self.kind)]), offset=_HEADER)
        return whole["value"].astype(self.kind.newbyteorder("="))


class _Int4(_Array):
    kind = np.dtype(">i4")


class _Int8(_Array):
    kind = np.dtype(">i8")


class _Float8(_Array):
    kind = np.dtype(">f8")


class _Times(_Array):
    """Times as int64 ns UTC."""

    kind = np.dtype(">i8")

    def load(self, data: Buffer) -> npt.NDArray[Any]:
        return np.asarray((super().load(data) + EPOCH_US) * 1000)


def take_arrays(cursor: psycopg.AsyncCursor[tuple[Any, ...]] | psycopg.Cursor[tuple[Any, ...]]) -> None:
    """Makes a binary cursor return arrays as NumPy arrays."""
    for name, loader in (("int4", _Int4), ("int8", _Int8), ("float8", _Float8), ("timestamptz", _Times)):
        cursor.adapters.register_loader(types[name].array_oid, loader)
