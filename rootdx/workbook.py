"""An Excel workbook: a sheet a table, two rows of headings that stay in sight, real numbers and dates.

* Excel knows no time zones: times are written in the plant's own, which the unit row names.
* Text is text: what begins with `=` is never a formula.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter
from openpyxl.worksheet._write_only import WriteOnlyWorksheet

from pipeline.errors import ConfigError
from rootdx.texts import say

MOST_ROWS: Final = 1_048_574
"""Rows of a sheet of Excel, less the two of headings."""
_WIDEST: Final = 44
_BOLD: Final = Font(bold=True)
_FAINT: Final = Font(italic=True, color="808080")
_FORMATS: Final = {"timestamp": "yyyy-mm-dd hh:mm:ss", "date32": "yyyy-mm-dd"}


@dataclass(frozen=True, slots=True)
class Head:
    """A column as files have it: its name, what people read, its type as Arrow calls it, its unit."""

    name: str
    heading: str
    type: str
    unit: str
    share: bool = False


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table with plain cells: text, numbers, flags, dates, aware times, None."""

    name: str
    title: str
    heads: Sequence[Head]
    rows: Sequence[Sequence[Any]]
    time_zone: str


def encoded(sheets: Sequence[Sheet]) -> bytes:
    """The workbook.

    Raises:
        ConfigError: a table has more rows than a sheet of Excel.
    """
    book = Workbook(write_only=True)
    for one in sheets:
        if len(one.rows) > MOST_ROWS:
            raise ConfigError(say("export.too_long", rows=len(one.rows), most=MOST_ROWS))
        page = book.create_sheet(one.name[:31])
        page.freeze_panes = "A3"
        for place, head in enumerate(one.heads, 1):
            page.column_dimensions[get_column_letter(place)].width = _width(one, place - 1, head)
        page.append([_cell(page, head.heading, font=_BOLD) for head in one.heads])
        page.append([_cell(page, head.unit, font=_FAINT) for head in one.heads])
        for row in one.rows:
            page.append([_shown(page, head, value) for head, value in zip(one.heads, row, strict=True)])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _shown(page: WriteOnlyWorksheet, head: Head, value: Any) -> Any:
    if isinstance(value, str):
        return _cell(page, value)
    if isinstance(value, datetime):
        return _cell(page, value.replace(tzinfo=None), pattern=_FORMATS["timestamp"])
    if isinstance(value, date):
        return _cell(page, value, pattern=_FORMATS["date32"])
    if head.share and value is not None:
        return _cell(page, value, pattern="0.0%")
    return value


def _cell(page: WriteOnlyWorksheet, value: Any, *, pattern: str | None = None, font: Font | None = None) -> Any:
    cell = WriteOnlyCell(page, ILLEGAL_CHARACTERS_RE.sub("", value) if isinstance(value, str) else value)
    if isinstance(value, str):
        cell.data_type = "s"
    if pattern is not None:
        cell.number_format = pattern
    if font is not None:
        cell.font = font
    return cell


def _width(sheet: Sheet, place: int, head: Head) -> float:
    """By the longest of the first cells; Hangul is twice as wide."""
    shown = [head.heading, head.unit, *(str(row[place]) for row in sheet.rows[:50] if isinstance(row[place], str))]
    longest = max(sum(2 if ord(letter) > 0x1100 else 1 for letter in text) for text in shown)
    return min(max(longest + 2, 20 if head.type == "timestamp" else 9), _WIDEST)
