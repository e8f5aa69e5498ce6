"""A table as Parquet, for data scientists: typed columns, units in the metadata of each. Needs the extra `parquet`."""

import io
from typing import Any, Final

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from rootdx.workbook import Sheet

_TYPES: Final[dict[str, Any]] = {
    "string": pa.string(), "float64": pa.float64(), "int64": pa.int64(), "bool": pa.bool_(), "date32": pa.date32(),
}  # fmt: skip


def encoded(sheet: Sheet) -> bytes:
    """The file."""
    kinds = _TYPES | {"timestamp": pa.timestamp("us", tz=sheet.time_zone)}
    fields = [
        pa.field(head.name, kinds[head.type], metadata={"unit": head.unit, "heading": head.heading})
        for head in sheet.heads
    ]
    columns = [pa.array([row[place] for row in sheet.rows], type=one.type) for place, one in enumerate(fields)]
    out = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(columns, schema=pa.schema(fields)), out, compression="zstd")
    return out.getvalue()
