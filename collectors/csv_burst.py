"""A CSV file of a machine as columns of numbers. Pure: bytes in, columns out.

* Encoding, delimiter and decimal sign are found out where nobody says them: UTF-8, UTF-16 with its mark, or CP949;
  tab, semicolon, bar or comma; a decimal comma where the delimiter is not the comma.
* A column is asked for by its heading, or by its place as `#2`. Rows without numbers right below the headings (units)
  are passed over.
* A cell that is no number is NaN; a column without any number, or a row that ends too early, refuses the file.
"""

import csv
import itertools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.errors import BadData
from pipeline.model import Floats

_DELIMITERS: Final = ("\t", ";", "|", ",")
_ENCODINGS: Final = ("utf-8-sig", "cp949")
_PLACE: Final = re.compile(r"#([1-9]\d*)")
_DECIMAL_COMMA: Final = re.compile(r"\s*[-+]?\d*,\d+([eE][-+]?\d+)?\s*")
_UNIT_ROWS: Final = 3
"""Rows below the headings that may hold no number."""
_LOOKED_AT: Final = 20
"""Rows by which the decimal sign is found out."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How the file is written; None: find out.

    Attributes:
        header_row: line of the headings, from 1; 0: there are none.
    """

    encoding: str | None = None
    delimiter: str | None = None
    decimal: str | None = None
    header_row: int = 1


class Table:
    """The cells of a file.

    Raises:
        BadData: it is no text of the encoding, or holds no row.
    """

    def __init__(self, content: bytes, layout: Layout) -> None:
        lines = [line for line in _text(content, layout.encoding).splitlines() if line.strip()]
        below = lines[max(0, layout.header_row - 1) :]
        if len(below) <= (layout.header_row > 0):
            raise BadData(f"{len(lines)} lines that are not empty, and no row below line {layout.header_row}")
        delimiter = layout.delimiter or _delimiter(below[0])
        try:
            cells = list(csv.reader(below, delimiter=delimiter))
        except csv.Error as error:
            raise BadData(f"not a table: {error}") from error
        self.headings = tuple(map(_plain, cells[0])) if layout.header_row else ()
        rows = cells[1:] if layout.header_row else cells
        self._decimal = layout.decimal or _decimal(rows, delimiter)
        self._rows = list(itertools.islice(rows, self._units(rows), None))
        if not self._rows:
            raise BadData("no row holds a number; check delimiter, decimal and header_row")

    def __len__(self) -> int:
        return len(self._rows)

    def has(self, address: str) -> bool:
        """Whether there is such a column."""
        return self._place(address) is not None

    def texts(self, address: str) -> list[str]:
        """The cells of a column.

        Raises:
            BadData: there is no such column, or a row has no such cell.
        """
        place = self._place(address)
        if place is None:
            there = ", ".join(self.headings) if self.headings else f"#1 to #{len(self._rows[0])}"
            raise BadData(f"no column {address!r}; there are: {there}")
        try:
            return [row[place] for row in self._rows]
        except IndexError:
            short = next(number for number, row in enumerate(self._rows, 1) if len(row) <= place)
            raise BadData(f"row {short} ends before column {address!r}; was it still being written?") from None

    def numbers(self, address: str) -> Floats:
        """(n,) values of a column.

        Raises:
            BadData: as `texts`; or no cell holds a number.
        """
        cells = self.texts(address)
        if self._decimal == ",":
            cells = [cell.replace(",", ".") for cell in cells]
        try:
            found = np.array(cells, np.float64)
        except ValueError:
            found = np.array([_number(cell) for cell in cells], np.float64)
        if np.isnan(found).all():
            raise BadData(
                f"column {address!r} holds no number, its first cell is {cells[0]!r}; check decimal and delimiter"
            )
        return found

    def _place(self, address: str) -> int | None:
        by_place = _PLACE.fullmatch(address)
        if by_place:
            place = int(by_place[1]) - 1
            return place if place < max(map(len, self._rows)) else None
        wanted = _plain(address)
        if wanted in self.headings:
            return self.headings.index(wanted)
        folded = [heading.casefold() for heading in self.headings]
        return folded.index(wanted.casefold()) if wanted.casefold() in folded else None

    def _units(self, rows: Sequence[Sequence[str]]) -> int:
        for number, row in enumerate(rows[: _UNIT_ROWS + 1]):
            if any(not np.isnan(_number(cell.replace(",", ".") if self._decimal == "," else cell)) for cell in row):
                return number
        return len(rows)


def _text(content: bytes, encoding: str | None) -> str:
    found = ("utf-16",) if content[:2] in {b"\xff\xfe", b"\xfe\xff"} else _ENCODINGS
    for one in (encoding,) if encoding else found:
        try:
            return content.decode(one)
        except UnicodeError:
            continue
    raise BadData(f"not text of {encoding or ' or '.join(found)}; say its encoding")


def _delimiter(line: str) -> str:
    counts = [line.count(one) for one in _DELIMITERS]
    return next((one for one, count in zip(_DELIMITERS, counts, strict=True) if count), ",")


def _decimal(rows: Sequence[Sequence[str]], delimiter: str) -> str:
    if delimiter == ",":
        return "."
    return "," if any(_DECIMAL_COMMA.fullmatch(cell) for row in rows[:_LOOKED_AT] for cell in row) else "."


def _plain(heading: str) -> str:
    """Korean from a Mac comes in pieces."""
    return unicodedata.normalize("NFC", heading).strip()


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return np.nan
