"""Tables as files: CSV, an Excel workbook, JSON or Parquet, the same cells in each.

* Times are written in the plant's own time: with its offset in CSV and JSON, with its zone in Parquet, as real dates in
  Excel, whose second row of headings names units and the zone.
* A cell without a value is empty, never 0; why it is empty stands in the column `undefined` where a table has reasons.
* Text that a spreadsheet would take for a formula (`=`, `+`, `-`, `@` in front) is written so that it stays text.
"""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from pipeline.errors import ConfigError
from rootdx import workbook
from rootdx.texts import say

try:
    from rootdx import parquet
except ModuleNotFoundError:  # the extra `parquet` is not installed
    parquet = None  # type: ignore[assignment]


Form = Literal["table", "csv", "xlsx", "json", "parquet"]
Kind = Literal["text", "number", "share", "whole", "flag", "time", "day"]
SUFFIXES: Final[dict[str, Form]] = {".csv": "csv", ".xlsx": "xlsx", ".json": "json", ".parquet": "parquet"}
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_TYPES: Final = {
    "text": "string", "number": "float64", "share": "float64", "whole": "int64", "flag": "bool", "time": "timestamp",
    "day": "date32",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Missing:
    """A number that is not there, and why: the name of a reason of `analytics.result`."""

    reason: str


Cell = str | float | int | bool | datetime | date | Missing | None


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        name: for programs, in JSON and Parquet.
        heading: for people.
        kind: of its cells; a `share` is a fraction that people read in percent.
        unit: UCUM.
    """

    name: str
    heading: str
    kind: Kind = "text"
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """What a command found.

    Attributes:
        name: for programs.
        title: for people.
        columns: in order.
        rows: a cell a column.
        time_zone: of the plant.
        reasons: whether numbers may be missing for a reason that is to be told.
        notes: said below it.
    """

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    time_zone: str
    reasons: bool = False
    notes: Sequence[str] = ()


def column(name: str, kind: Kind = "text", unit: str = "") -> Column:
    """A column with its heading from the catalogue."""
    return Column(name, say(f"column.{name}"), kind, unit)


def form_of(form: Form | None, out: Path | None) -> Form:
    """What was asked for: by --format, else by the ending of --out, else a table on the screen.

    Raises:
        ConfigError: an ending nobody knows, or a workbook for the screen.
    """
    if form is None and out is not None:
        if out.suffix.lower() not in SUFFIXES:
            raise ConfigError(say("export.ending", file=out, endings=", ".join(SUFFIXES)))
        return SUFFIXES[out.suffix.lower()]
    if form in ("xlsx", "parquet") and out is None:
        raise ConfigError(say("export.needs_file", form=form))
    return form or "table"


def encoded(tables: Sequence[Table], form: Form) -> bytes:
    """The tables as a file of this form; CSV and Parquet hold one.

    Raises:
        ConfigError: more than one table for a file that holds one, too many rows for Excel, or no pyarrow.
    """
    if form in ("csv", "parquet") and len(tables) > 1:
        raise ConfigError(say("export.one_table", form=form, names=", ".join(one.name for one in tables)))
    sheets = [_sheet(one) for one in tables]
    if form == "csv":
        return _csv(sheets[0])
    if form == "xlsx":
        return workbook.encoded(sheets)
    if form == "json":
        return _json(sheets)
    if parquet is None:
        raise ConfigError(say("export.no_parquet"))
    return parquet.encoded(sheets[0])


def write(content: bytes, out: Path) -> None:
    """A file in one go.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        out.write_bytes(content)
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written: {error.strerror}") from error


def plain(cell: Cell, zone: ZoneInfo, kind: Kind) -> Any:
    """A cell without its reason, a time in the plant's zone, a number only where it is finite, a whole one whole."""
    if isinstance(cell, Missing) or (isinstance(cell, float) and not math.isfinite(cell)):
        return None
    if kind == "whole" and isinstance(cell, float):
        return round(cell)
    return cell.astimezone(zone) if isinstance(cell, datetime) else cell


def _sheet(table: Table) -> workbook.Sheet:
    zone = ZoneInfo(table.time_zone)
    columns = [*table.columns, column("undefined")] if table.reasons else list(table.columns)
    rows = []
    for row in table.rows:
        cells = [plain(cell, zone, one.kind) for cell, one in zip(row, table.columns, strict=True)]
        rows.append([*cells, _undefined(table, row)] if table.reasons else cells)
    heads = [
        workbook.Head(one.name, one.heading, _TYPES[one.kind], table.time_zone if one.kind == "time" else one.unit,
                      share=one.kind == "share")
        for one in columns
    ]  # fmt: skip
    return workbook.Sheet(table.name, table.title, heads, rows, table.time_zone)


def _undefined(table: Table, row: Sequence[Cell]) -> str:
    pairs = zip(table.columns, row, strict=True)
    return "; ".join(f"{one.name}: {cell.reason}" for one, cell in pairs if isinstance(cell, Missing))


def _csv(sheet: workbook.Sheet) -> bytes:
    out = io.StringIO()
    lines = csv.writer(out)
    lines.writerow([_harmless(f"{one.heading} [{one.unit}]" if one.unit else one.heading) for one in sheet.heads])
    lines.writerows([_written(cell) for cell in row] for row in sheet.rows)
    return out.getvalue().encode("utf-8-sig")


def _written(cell: Any) -> Any:
    if isinstance(cell, str):
        return _harmless(cell)
    if isinstance(cell, bool):
        return str(cell).lower()
    return cell.isoformat() if isinstance(cell, date) else cell


def _harmless(text: str) -> str:
    """An apostrophe before what a spreadsheet would compute."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _json(sheets: Sequence[workbook.Sheet]) -> bytes:
    said = {
        one.name: {
            "title": one.title,
            "time_zone": one.time_zone,
            "units": {head.name: head.unit for head in one.heads if head.unit},
            "rows": [dict(zip([head.name for head in one.heads], row, strict=True)) for row in one.rows],
        }
        for one in sheets
    }
    return (json.dumps(said, ensure_ascii=False, indent=1, default=_iso) + "\n").encode()


def _iso(value: Any) -> str:
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"no JSON for {type(value).__name__}")
