"""What people see in a terminal: tables in their language, and progress of what takes longer than two seconds."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table as Grid
from rich.text import Text

from analytics.verdict import Verdict
from rootdx.export import Cell, Column, Missing, Table
from rootdx.texts import catalogue, say

PATIENCE_S: Final = 2.0
"""Longer than this nobody waits without seeing that something happens."""
_LINE_S: Final = 10.0
_PIPE: Final = 10_000
_WIDEST: Final = 40
_UPRIGHT: Final = 8
_VERDICTS: Final = frozenset(one.value for one in Verdict)
_COLOURS: Final = {
    "pass": "green", "fail": "bold red", "review": "yellow", "incomplete": "yellow", "unverified": "magenta",
    "fresh": "green", "soon": "yellow", "worn": "bold red", "overdue": "bold red",
}  # fmt: skip


class Advance(Protocol):
    """Tells how far something is."""

    def __call__(self, done: float, total: float | None = None, text: str | None = None) -> None:
        """`done` of `total`; without one something is going on, nobody knows how long."""


def print_tables(tables: Sequence[Table]) -> None:
    """Tables on the screen, each with its notes.

    Columns without a cell are left out, and those that a terminal has no room for, which is said; a pipe has room.
    """
    console = Console(width=None if sys.stdout.isatty() else _PIPE)
    for number, one in enumerate(tables):
        if number:
            console.print()
        console.print(Text(one.title, style="bold"))
        if not one.rows:
            console.print(f"  {say('table.empty')}")
        elif len(one.rows) == 1 and len(one.columns) > _UPRIGHT:
            console.print(_upright(one))
        else:
            grid, left_out = _grid(one, console.width)
            console.print(grid)
            if left_out:
                console.print(Text(say("table.wide", columns=left_out), style="dim"))
        for note in one.notes:
            console.print(Text(note, style="dim"))


def _grid(table: Table, width: int) -> tuple[Grid, int]:
    """The table as wide as there is room, and how many columns are left out."""
    grid = Grid()
    columns = [(one, cells) for one, cells in _cells(table) if any(cells)]
    room, kept = width - 1, list[list[Text]]()
    for one, cells in columns:
        heading = one.heading + (f" {one.unit}" if one.unit not in ("", "1") else "")
        room -= min(max(len(word) for word in (*heading.split(), *(cell.plain for cell in cells))), _WIDEST) + 3
        if room < 0 and kept:
            break
        number = one.kind in ("number", "share", "whole")
        grid.add_column(escape(heading), justify="right" if number else "left", overflow="fold")
        kept.append(cells)
    for row in zip(*kept, strict=True):
        grid.add_row(*row)
    return grid, len(columns) - len(kept)


def _upright(table: Table) -> Grid:
    """One row, its columns below each other."""
    grid = Grid(show_header=False)
    for one, (cell,) in _cells(table):
        if cell:
            grid.add_row(escape(one.heading), cell, escape(one.unit if one.unit != "1" else ""))
    return grid


def _cells(table: Table) -> list[tuple[Column, list[Text]]]:
    """The columns as people read them; of machines what tells them apart."""
    zone = ZoneInfo(table.time_zone)
    found = []
    for place, one in enumerate(table.columns):
        cells = [row[place] for row in table.rows]
        if one.name in ("machine", "line") and len(table.rows) > 1:
            cells = _apart(cells)
        found.append((one, [shown(cell, one, zone) for cell in cells]))
    return found


def _apart(cells: Sequence[Cell]) -> list[Cell]:
    """Paths without the levels that all of them share."""
    paths = {cell: cell.split("/") for cell in cells if isinstance(cell, str)}
    shared = 0
    while len({tuple(path[: shared + 1]) for path in paths.values()}) == 1 and all(
        len(path) > shared + 1 for path in paths.values()
    ):
        shared += 1
    return ["/".join(paths[cell][shared:]) if isinstance(cell, str) else cell for cell in cells]


def shown(cell: Cell, column: Column, zone: ZoneInfo) -> Text:
    """A cell as people read it; a missing number says why."""
    if isinstance(cell, Missing):
        return Text(f"– {reason(cell.reason)}", style="dim")
    if isinstance(cell, str):
        return Text(word(cell), style=_COLOURS.get(cell, ""))
    if isinstance(cell, date):
        return Text(f"{cell.astimezone(zone):%Y-%m-%d %H:%M:%S}" if isinstance(cell, datetime) else cell.isoformat())
    return Text("" if cell is None else _figure(cell, column))


def _figure(value: float, column: Column) -> str:
    if isinstance(value, bool):
        return say("probe.yes" if value else "probe.no")
    if isinstance(value, int) or column.kind == "whole":
        return str(int(value))
    return f"{100 * value:.1f} %" if column.kind == "share" else number(value)


def number(value: float) -> str:
    """Five significant digits, thousands parted.

    >>> [number(value) for value in (0.0, 0.0301234, 12.34567, 1234.567, 1234567.0)]
    ['0', '0.030123', '12.346', '1,234.6', '1,234,567']
    """
    return f"{value:,.0f}" if abs(value) >= 10_000 or value == 0 else f"{value:,.5g}"


def word(name: str) -> str:
    """A verdict or state in the language of this process, with a sign; any other text as it is."""
    if name in _VERDICTS:
        return say(f"verdict.{name}")
    return say(f"word.{name}") if f"word.{name}" in catalogue() else name


def reason(name: str) -> str:
    """Why a number is not there, in a few words."""
    return say(f"reason.{name}") if f"reason.{name}" in catalogue() else name


@contextlib.contextmanager
def progress(text: str) -> Iterator[Advance]:
    """Shows on standard error how far something is, once it takes longer than two seconds.

    Where standard error is no terminal, a line every ten seconds.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(text)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task(escape(text), total=None)
    timer = threading.Timer(PATIENCE_S, bar.start)
    timer.daemon = True
    timer.start()

    def advance(done: float, total: float | None = None, text: str | None = None) -> None:
        bar.update(task, completed=done, total=total, description=None if text is None else escape(text))

    try:
        yield advance
    finally:
        timer.cancel()
        timer.join()
        if bar.live.is_started:
            bar.stop()


class _Lines:
    """Progress for a log or a pipe."""

    def __init__(self, text: str) -> None:
        self._text, self._next = text, time.monotonic() + PATIENCE_S

    def __call__(self, done: float, total: float | None = None, text: str | None = None) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _LINE_S
        share = f" {100 * done / total:.0f} %" if total else ""
        sys.stderr.write(f"{text or self._text}{share}\n")
        sys.stderr.flush()
