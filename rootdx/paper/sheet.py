"""What stands on paper, whatever its form: a heading, a verdict, warnings, and blocks in order.

* Everything in it is text to be shown as it is; `press.py` and `page.py` never take it for markup.
* It is in one language, which it names.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from os.path import commonpath
from typing import Any, Literal
from zoneinfo import ZoneInfo

from rootdx import terminal
from rootdx.export import Cell, Column, Table
from rootdx.texts import language, say

Tone = Literal["", "good", "warn", "bad", "code"]
"""How a text looks: a good, doubtful or bad word; or something to be typed or compared letter by letter."""
_TONES: dict[str, Tone] = {
    "pass": "good", "fresh": "good", "review": "warn", "incomplete": "warn", "unverified": "warn", "soon": "warn",
    "fail": "bad", "overdue": "bad", "worn": "bad", "failed": "bad", "high": "bad", "medium": "warn",
}  # fmt: skip
_NUMBERS = ("number", "share", "whole")


@dataclass(frozen=True, slots=True)
class Said:
    """A text and how it looks."""

    text: str
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Head:
    """A heading of a column; numbers stand to the right."""

    text: str
    number: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and what they are, a line each."""

    title: str
    pairs: Sequence[tuple[str, Said]]
    kind: Literal["facts"] = "facts"


@dataclass(frozen=True, slots=True)
class Grid:
    """A table.

    Attributes:
        title: above it.
        heads: of the columns.
        rows: a cell a column.
        notes: below it.
        small: many rows or columns; in small print.
    """

    title: str
    heads: Sequence[Head]
    rows: Sequence[Sequence[Said]]
    notes: Sequence[str] = ()
    small: bool = False
    kind: Literal["grid"] = "grid"


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart.

    Attributes:
        title: above it.
        svg: the drawing.
        alt: the same in words, for who cannot see it.
        notes: below it.
    """

    title: str
    svg: str
    alt: str
    notes: Sequence[str] = ()
    kind: Literal["picture"] = "picture"


@dataclass(frozen=True, slots=True)
class Words:
    """Sentences, one a line."""

    title: str
    lines: Sequence[Said]
    kind: Literal["words"] = "words"


Block = Facts | Grid | Picture | Words


@dataclass(frozen=True, slots=True)
class Attached:
    """A file inside the PDF.

    Attributes:
        name: of the file.
        text: its content, UTF-8.
        about: what it is.
    """

    name: str
    text: str
    about: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is printed.

    Attributes:
        title: first line.
        subject: whose, when; below the title.
        running: at the foot of every page, so that pages of two papers are told apart.
        stamp: the verdict, large; None where nothing is judged.
        alarms: what makes the paper worthless, larger than everything else, on the first page.
        blocks: in order.
        appendix: what begins on a page of its own.
        attached: a file inside the PDF.
        language: `ko` or `en`.
    """

    title: str
    subject: str
    running: str
    stamp: Said | None = None
    alarms: Sequence[str] = ()
    blocks: Sequence[Block] = ()
    appendix: Sequence[Block] = ()
    attached: Attached | None = None
    language: str = field(default_factory=language)

    def to_json(self) -> str:
        """For the template of the PDF."""
        return json.dumps(asdict(self), ensure_ascii=False)


def unit_of(ucum: str) -> str:
    """A UCUM unit as people write it; nothing for a plain number.

    >>> [unit_of(one) for one in ("Cel", "kW.h/t", "%{wt}", "[pH]", "1", "/min", "Cel/min")]
    ['°C', 'kWh/t', '%wt', 'pH', '', '1/min', '°C/min']
    """
    if ucum in ("", "1"):
        return ""
    told = ucum.replace("Cel", "°C").replace("kW.h", "kWh").replace("A.h", "Ah").replace("um", "µm")
    told = told.translate(str.maketrans("", "", "{}[]")).replace("m2", "m²").replace("m3", "m³")
    return f"1{told}" if told.startswith("/") else told


def tone_of(word: str) -> Tone:
    """How a verdict or state looks."""
    return _TONES.get(word, "")


def judged(word: str | None) -> Said:
    """A verdict or state in the language of the reader."""
    return Said(terminal.word(word or ""), tone_of(word or ""))


def grid_of(table: Table, *, only: Sequence[str] | None = None, small: bool = False) -> Grid:
    """A table as it is printed: columns without a cell are left out; with `only`, these in this order."""
    places = {one.name: place for place, one in enumerate(table.columns)}
    wanted = [places[name] for name in only if name in places] if only is not None else list(places.values())
    kept = [place for place in wanted if any(row[place] not in (None, "") for row in table.rows)]
    zone = ZoneInfo(table.time_zone)
    heads = [_head(table.columns[place]) for place in kept]
    shared = {place: _shared(table, place) for place in kept}
    rows = [[_cell(row[place], table.columns[place], zone, shared[place]) for place in kept] for row in table.rows]
    return Grid(table.title, heads, rows, table.notes, small)


def _head(one: Column) -> Head:
    unit = f" [{unit_of(one.unit)}]" if unit_of(one.unit) else ""
    return Head(one.heading + unit, one.kind in _NUMBERS)


def _shared(table: Table, place: int) -> str:
    """What the paths of several machines or lines begin with, which tells nobody anything."""
    paths = {str(row[place]) for row in table.rows if row[place]}
    if table.columns[place].name not in ("machine", "line") or len(paths) < 2:
        return ""
    first = commonpath([path.rpartition("/")[0] for path in paths])
    return f"{first}/" if first else ""


def _cell(cell: Cell, one: Column, zone: ZoneInfo, shared: str = "") -> Said:
    text = terminal.shown(cell, one, zone).plain.removeprefix(shared)
    if one.name == "priority" and text:
        text = say(f"grafana.priority.{text}")
    return Said(text, tone_of(cell) if isinstance(cell, str) else "")


def plain(value: Any) -> Said:
    """Anything as text; nothing where there is none."""
    return Said("" if value is None else str(value))
