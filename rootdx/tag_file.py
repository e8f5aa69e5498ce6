"""A table that people edit in a spreadsheet, as a file: XLSX or CSV, bytes to cells and back.

* A cell is what the person sees: `0012` under the number format 0000, `1 %` under 0%, nothing under blanks.
* What a spreadsheet has made of an entry without being asked (a date, an exponent, an error, a formula that was never
  computed) is no value: the cell carries the name of the fault.
* Whatever the bytes are, there are cells or a `BadData` that says what to do; never a crash.
"""

import csv
import io
import re
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Final

from openpyxl import Workbook, load_workbook
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.comments import Comment
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter

from pipeline.errors import BadData
from rootdx.texts import say

LARGEST: Final = 16 << 20
"""Bytes of a file."""
_LARGEST_UNPACKED: Final = 64 << 20
MOST_ROWS: Final = 70_000
MOST_COLUMNS: Final = 200
_ENCODINGS: Final = ("utf-8", "cp949")
"""Of a CSV file without a mark: what programs write, and what Korean Excel does."""
BLANKS: Final = " \t\r\n\u00a0\u3000\ufeff\u200b"
_COMPUTED: Final = ("=", "+", "-", "@")
_QUOTED: Final = re.compile(r'="(?P<text>[^"]*)"')
_PADDED: Final = re.compile(r"0{2,}")
_WIDEST: Final = 40
_TEXT: Final = "@"


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell.

    Attributes:
        text: as it is shown, without blanks around; "" for an empty one.
        number: what it holds where that is a number.
        fault: why it holds no value, "" where it does: `date`, `error` or `formula`.
        exponent: it is a number shown as 4E+05, which was perhaps a name.
    """

    text: str = ""
    number: float | None = None
    fault: str = ""
    exponent: bool = False

    @property
    def empty(self) -> bool:
        """Whether nothing was said."""
        return not (self.text or self.fault)


@dataclass(frozen=True, slots=True)
class Column:
    """A column to write: its heading, what it means, and whether its cells are texts."""

    heading: str
    note: str
    is_text: bool


Grid = list[list[Cell]]


def read(content: bytes, suffix: str, wanted: Callable[[Grid], bool]) -> Grid:
    """The cells of a file, row by row: of the first sheet that is wanted, else of the first that has any.

    Raises:
        BadData: it is no such file, or larger than a table of tags can be; says what to do.
    """
    if len(content) > LARGEST:
        raise BadData(say("tags.file.too_large", megabytes=LARGEST >> 20))
    grid = _workbook(content, wanted) if suffix == ".xlsx" else _csv(content)
    if len(grid) > MOST_ROWS or any(len(row) > MOST_COLUMNS for row in grid):
        raise BadData(say("tags.file.too_many", rows=MOST_ROWS, columns=MOST_COLUMNS))
    return grid


# ---- CSV ----


def _csv(content: bytes) -> Grid:
    text = _decoded(content)
    head = next((line for line in text.splitlines() if line.strip(BLANKS + ",;")), "")
    delimiter = max(",;\t", key=head.count)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise BadData(say("tags.file.no_csv", why=error)) from error
    return [[_written(text) for text in row] for row in rows]


def _decoded(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings: Sequence[str] = ("utf-16",)
    else:
        encodings = _ENCODINGS
        content = content.removeprefix(b"\xef\xbb\xbf")
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise BadData(say("tags.file.no_text"))


def _written(text: str) -> Cell:
    said = text.strip(BLANKS)
    quoted = _QUOTED.fullmatch(said)
    if quoted is not None:
        said = quoted["text"]
    elif said[:1] == "'" and said.lstrip("'").startswith(_COMPUTED):
        said = said[1:]
    return Cell(fault="error") if _is_error(said) else Cell(said)


def _is_error(text: str) -> bool:
    return re.fullmatch(r"#(N/A|NAME\?|REF!|VALUE!|DIV/0!|NUM!|NULL!)", text) is not None


# ---- XLSX ----


def _workbook(content: bytes, wanted: Callable[[Grid], bool]) -> Grid:
    first: Grid = []
    try:
        _check_size(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it leaves out: colours, validations, pictures
            shown, behind = (load_workbook(io.BytesIO(content), data_only=one) for one in (True, False))
            for sheet in shown.worksheets:
                grid = _sheet(sheet, behind[sheet.title])
                if wanted(grid):
                    return grid
                if not first and any(not cell.empty for row in grid for cell in row):
                    first = grid
    except BadData:
        raise
    except Exception as error:  # a broken file gives every kind of error in the library that reads it
        raise BadData(say("tags.file.no_workbook", why=type(error).__name__)) from error
    return first


def _check_size(content: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as parts:
        if sum(part.file_size for part in parts.infolist()) > _LARGEST_UNPACKED:
            raise BadData(say("tags.file.too_large", megabytes=_LARGEST_UNPACKED >> 20))


def _sheet(sheet: Any, behind: Any) -> Grid:
    if sheet.max_row > MOST_ROWS or sheet.max_column > MOST_COLUMNS:
        raise BadData(say("tags.file.too_many", rows=MOST_ROWS, columns=MOST_COLUMNS))
    grid = [
        [_cell(one, other.data_type) for one, other in zip(row, others, strict=True)]
        for row, others in zip(sheet.iter_rows(), behind.iter_rows(), strict=True)
    ]
    for merged in sheet.merged_cells.ranges:  # down one column it means "the same"; across columns it is a title
        if merged.min_col == merged.max_col:
            for row in range(merged.min_row, merged.max_row):
                grid[row][merged.min_col - 1] = grid[merged.min_row - 1][merged.min_col - 1]
    return grid


def _cell(one: Any, kind: str) -> Cell:
    value, pattern = one.value, one.number_format or ""
    if value is None:
        return Cell(fault="formula") if kind == "f" else Cell()
    if isinstance(value, datetime | date | time | timedelta):
        return Cell(fault="date")
    if isinstance(value, bool):
        return Cell(str(value).upper())
    if isinstance(value, int | float):
        return _number(value, pattern)
    said = str(value).strip(BLANKS)
    return Cell(fault="error") if one.data_type == "e" or _is_error(said) else Cell(said)


def _number(value: float, pattern: str) -> Cell:
    whole = isinstance(value, int) or (value.is_integer() and abs(value) < 1 << 53)
    text = str(int(value)) if whole else repr(value)
    if whole and _PADDED.fullmatch(pattern):
        text = text.zfill(len(pattern))
    if "%" in pattern:
        text = f"{value * 100:.12g} %"
    return Cell(text, int(value) if whole else value, exponent="E+" in pattern)


# ---- writing ----


def write(columns: Sequence[Column], rows: Sequence[Sequence[Any]], suffix: str) -> bytes:
    """A file of these columns; cells are texts, numbers or None."""
    return _as_workbook(columns, rows) if suffix == ".xlsx" else _as_csv(columns, rows)


def _as_csv(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> bytes:
    out = io.StringIO(newline="")
    lines = csv.writer(out)
    lines.writerow([column.heading for column in columns])
    for row in rows:
        lines.writerow([_harmless(value) for value in row])
    return out.getvalue().encode("utf-8-sig")


def _harmless(value: Any) -> Any:
    """An apostrophe before a text that a spreadsheet would compute, or that begins with one for that reason."""
    return f"'{value}" if isinstance(value, str) and value.lstrip("'").startswith(_COMPUTED) else value


def _as_workbook(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> bytes:
    book = Workbook()
    page: Any = book.active
    page.title = "tags"
    page.freeze_panes = "B2"
    page.auto_filter.ref = f"A1:{get_column_letter(len(columns))}{len(rows) + 1}"
    for place, column in enumerate(columns, 1):
        head = page.cell(1, place, column.heading)
        head.font, head.comment = Font(bold=True), Comment(column.note, "rootdx", width=320, height=120)
        shape = page.column_dimensions[get_column_letter(place)]
        shape.width = _width([column.heading, *(row[place - 1] for row in rows)])
        if column.is_text:
            shape.number_format = _TEXT  # what is typed below stays as it is typed
    for number, row in enumerate(rows, 2):
        for place, value in enumerate(row, 1):
            cell = page.cell(number, place)
            if isinstance(value, str):
                cell.value, cell.data_type = ILLEGAL_CHARACTERS_RE.sub("", value), "s"
            else:
                cell.value = value
            if columns[place - 1].is_text:
                cell.number_format = _TEXT
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _width(values: Sequence[Any]) -> float:
    """By the longest; Hangul is twice as wide."""
    longest = max(sum(2 if ord(letter) > 0x1100 else 1 for letter in str(value)) for value in values)
    return min(longest + 2, _WIDEST)
