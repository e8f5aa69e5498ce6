"""The tags of a machine as a table: a row a tag, a column a key; and the table as tags, its faults by row and column.

* Cells that are empty are keys that are left out; a machine file's defaults then hold.
* `range` and `loop` are two columns each; `values` are `0=off; 1=on`, `sentinels` are `32767; -32768`.
* A fault never hides another one: all cells are looked at.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from openpyxl.utils import get_column_letter

from pipeline.units import is_unit
from rootdx.tag_file import Cell, Column, Grid
from rootdx.texts import LANGUAGES, catalogue, say

Kind = Literal["text", "number", "band", "list", "map"]

COLUMNS: Final[Mapping[str, Kind]] = {
    "name": "text", "address": "text", "unit": "text", "role": "text", "low": "number", "high": "number",
    "scale": "number", "offset": "number", "every_s": "number", "deadband": "band", "heartbeat_s": "number",
    "loop_4ma": "number", "loop_20ma": "number", "sentinels": "list", "values": "map", "context": "text",
    "text": "text",
}  # fmt: skip
NONE: Final = "-"
"""A list that is given and empty, which is not the same as one that is not given."""
PAIRS: Final = {"range": ("low", "high"), "loop": ("loop_4ma", "loop_20ma")}
"""Keys of a tag that are two columns."""
_NEEDED: Final = ("name", "address")
_HEAD_WITHIN: Final = 20
"""Rows in which the headings are looked for; above them may be titles."""
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
_THOUSANDS: Final = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")
_SHARE: Final = re.compile(r"\d{1,2}(\.\d+)? ?%")
_NOT_ITSELF: Final = ("<super>", "<sub>", "<fraction>", "<circle>")
"""Letters whose compatible form is another number: 10² is no 102."""
_WHOLE: Final = re.compile(r"[+-]?\d{1,20}")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a cell, or with a row (no column).

    Attributes:
        row: as the spreadsheet counts.
        column: its letter and heading, "" for the whole row.
        key: of its text.
        values: of its text.
    """

    row: int
    column: str
    key: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        place = say("tags.place.cell" if self.column else "tags.place.row", row=self.row, column=self.column)
        return f"{place}: {say(f'tags.fault.{self.key}', **self.values)}"


@dataclass(frozen=True, slots=True)
class Table:
    """What a table says.

    Attributes:
        tags: keys and values as in a machine file, in the order of the rows.
        rows: the row of each tag.
        faults: of all cells.
        unknown: headings that mean nothing here.
        places: letter and heading of each column there is.
    """

    tags: list[dict[str, Any]]
    rows: list[int]
    faults: list[Fault]
    unknown: list[str]
    places: Mapping[str, str]


def columns() -> list[Column]:
    """What to write above the columns."""
    return [Column(name, say(f"tags.column.{name}"), kind != "number") for name, kind in COLUMNS.items()]


def rows_of(tags: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """The cells of tags as they stand in a machine file."""
    return [[_shown(name, tag) for name in COLUMNS] for tag in tags]


def _shown(name: str, tag: Mapping[str, Any]) -> Any:
    for key, pair in PAIRS.items():
        if name in pair:
            return tag[key][pair.index(name)] if key in tag else None
    value = tag.get(name)
    if value == []:
        return NONE
    if isinstance(value, list):
        return "; ".join(map(str, value))
    if isinstance(value, dict):
        parts = [f"{number}={text}" for number, text in value.items()]
        return ("\n" if any(";" in part for part in parts) else "; ").join(parts)
    return value


def has_head(grid: Grid) -> bool:
    """Whether a grid has the headings of a table of tags."""
    return any(_is_head(row) for row in grid[:_HEAD_WITHIN])


def table_of(grid: Grid) -> Table:
    """The tags of a grid."""
    start = next((i for i, row in enumerate(grid[:_HEAD_WITHIN]) if _is_head(row)), None)
    if start is None:
        return Table([], [], [Fault(1, "", "no_head", {"needed": ", ".join(_NEEDED)})], [], {})
    heads = [_key(cell.text) for cell in grid[start]]
    places = {key: f"{get_column_letter(i + 1)} ({grid[start][i].text})" for i, key in enumerate(heads) if key}
    unknown = [cell.text for cell, key in zip(grid[start], heads, strict=True) if not key and cell.text]
    table = Table([], [], [], unknown, places)
    twice = {key for key in heads if key and heads.count(key) > 1}
    table.faults.extend(Fault(start + 1, places[key], "twice_head") for key in sorted(twice))
    for number, row in enumerate(grid[start + 1 :], start + 2):
        cells = {key: cell for key, cell in zip(heads, row, strict=False) if key}
        if any(not cell.empty for cell in cells.values()):
            table.tags.append(_tag(number, cells, table))
            table.rows.append(number)
    _check_names(table)
    return table


def _is_head(row: Sequence[Cell]) -> bool:
    return set(_NEEDED) <= {_key(cell.text) for cell in row}


def _key(heading: str) -> str:
    """The column that a heading means: its key, or its title in any language."""
    said = unicodedata.normalize("NFKC", heading).strip().casefold()
    for name in COLUMNS:
        titles = (catalogue()[f"tags.title.{name}"][language] for language in LANGUAGES)
        if said in (name, *(title.casefold() for title in titles)):
            return name
    return ""


def _tag(row: int, cells: Mapping[str, Cell], table: Table) -> dict[str, Any]:
    tag: dict[str, Any] = {}
    for name, cell in cells.items():
        if cell.empty:
            continue
        value = _READ[COLUMNS[name]](cell) if not cell.fault else Wrong(cell.fault)
        if isinstance(value, Wrong):
            table.faults.append(Fault(row, table.places[name], value.key, {"said": cell.text[:60]}))
        else:
            tag[name] = value
    for key, pair in PAIRS.items():
        _join(row, tag, key, [name for name in pair if not cells.get(name, Cell()).empty], table)
    for name in _NEEDED:
        if cells.get(name, Cell()).empty:
            table.faults.append(Fault(row, table.places[name], "missing"))
    if "unit" in tag and not is_unit(tag["unit"]):
        table.faults.append(Fault(row, table.places["unit"], "unit", {"said": tag["unit"]}))
    return tag


def _join(row: int, tag: dict[str, Any], key: str, given: Sequence[str], table: Table) -> None:
    """Makes one key of two columns; `given` are those of which the row says something."""
    pair = [tag.pop(name, None) for name in PAIRS[key]]
    if len(given) == 1:
        missing = next(name for name in PAIRS[key] if name not in given)
        table.faults.append(Fault(row, table.places.get(missing, missing), "half", {"other": missing}))
    elif None not in pair:
        tag[key] = pair
        if key == "range" and pair[0] >= pair[1]:
            table.faults.append(Fault(row, table.places["high"], "order"))


def _check_names(table: Table) -> None:
    first: dict[str, int] = {}
    for tag, row in zip(table.tags, table.rows, strict=True):
        name = tag.get("name")
        if name is None:
            continue
        if not _NAME.fullmatch(name):
            table.faults.append(Fault(row, table.places["name"], "name", {"said": name[:80]}))
        elif name in first:
            table.faults.append(Fault(row, table.places["name"], "twice", {"said": name, "other": first[name]}))
        first.setdefault(name, row)
    table.faults.sort(key=lambda fault: fault.row)


# ---- cells ----


@dataclass(frozen=True, slots=True)
class Wrong:
    """No value; the key of the reason."""

    key: str


def number_of(text: str) -> float | None:
    """A number as people write it; None where it is none, or may be another one.

    >>> [number_of(text) for text in ("1,234", "1,234.5", " 7 ", "-3", "1e3", "12,5", "1.234,5", "10²", "")]
    [1234, 1234.5, 7, -3, 1000.0, None, None, None, None]
    """
    if any(unicodedata.decomposition(letter).startswith(_NOT_ITSELF) for letter in text):
        return None
    said = unicodedata.normalize("NFKC", text).replace("\u2212", "-").strip()
    if _THOUSANDS.fullmatch(said):
        said = said.replace(",", "")
    try:
        value = int(said) if _WHOLE.fullmatch(said) else float(said)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in said else None


def _number(cell: Cell) -> Any:
    value = cell.number if cell.number is not None else number_of(cell.text)
    return Wrong("number") if value is None or not math.isfinite(value) else value


def _text(cell: Cell) -> Any:
    return Wrong("exponent") if cell.exponent else cell.text


def _band(cell: Cell) -> Any:
    said = unicodedata.normalize("NFKC", cell.text)
    if said.endswith("%"):
        return said if _SHARE.fullmatch(said) else Wrong("share")
    return _number(cell)


def _list(cell: Cell) -> Any:
    if cell.text in (NONE, "[]"):
        return []
    numbers = [number_of(part) for part in re.split(r"[;\s]+", cell.text) if part]
    return numbers if all(isinstance(one, int) for one in numbers) else Wrong("list")


def _map(cell: Cell) -> Any:
    found: dict[str, str] = {}
    for part in cell.text.splitlines() if "\n" in cell.text else cell.text.split(";"):
        number, sign, text = (piece.strip() for piece in part.partition("="))
        if not part.strip():
            continue
        if not (sign and text and _WHOLE.fullmatch(number)) or str(int(number)) in found:
            return Wrong("map")
        found[str(int(number))] = text
    return found


_READ: Final[Mapping[Kind, Callable[[Cell], Any]]] = {
    "text": _text, "number": _number, "band": _band, "list": _list, "map": _map,
}  # fmt: skip
