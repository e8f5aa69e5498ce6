"""A CSV file as a table for detectors: rows of a machine, or a cycle a row, as people export them.

* Comma, semicolon or tab; UTF-8 with or without mark, or CP949 as Korean Excel writes it.
* The time is ISO, `2026-11-22 06:00:00`, or a number of seconds since 1970; without a zone it is the plant's. Rows are
  put in order of time.
* A cell that is no number is no value, and counted; a time that cannot be read is an error with its row.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from analytics.backtest import Label
from analytics.result import Floats
from analytics.table import Table, Variable
from pipeline.errors import BadData
from rootdx.texts import say

TIMES: Final = ("datetime", "timestamp", "ts", "time", "registration_time", "date")
"""Names of a column of time, where nobody says which it is; the first that is there."""
TRUE: Final = frozenset({"1", "1.0", "true", "y", "yes", "fail", "d", "ng"})
"""What a label column says of a row that was wrong."""


@dataclass(frozen=True, slots=True)
class CsvWish:
    """Which columns of a file mean what.

    Attributes:
        file: to read.
        time: column of time; None: one of TIMES.
        of: variables; none: every column that holds numbers and is nothing else.
        by: columns that make a group.
        label: column that says which rows were wrong.
        leave_out: column that says which rows are not normal.
    """

    file: Path
    time: str | None = None
    of: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    label: str | None = None
    leave_out: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class CsvTable:
    """What was read.

    Attributes:
        table: in order of time.
        labels: ranges of rows that were wrong; None without a label column.
        unreadable: cells of variables that were neither empty nor a number.
    """

    table: Table
    labels: tuple[Label, ...] | None
    unreadable: int


def read_csv(wish: CsvWish, zone: ZoneInfo) -> CsvTable:
    """Reads a file.

    Raises:
        BadData: it cannot be read, a column is missing, a time cannot be read; names file, row and column.
    """
    head, lines = _cells(wish.file)
    place = {name: index for index, name in enumerate(head)}
    low = {name.lower(): name for name in head}
    time = wish.time or next((low[name] for name in TIMES if name in low), None)
    if time is None:
        raise BadData(say("csv.no_time", file=wish.file, columns=", ".join(head)))
    for name in (time, *wish.of, *wish.by, *(one for one in (wish.label, wish.leave_out) if one)):
        if name not in place:
            raise BadData(say("csv.no_column", file=wish.file, column=name, columns=", ".join(head)))
    ts_ns = np.array([_moment(line[place[time]], zone, wish.file, number) for number, line in enumerate(lines, 2)])
    taken = {time, wish.label, wish.leave_out, *wish.by}
    columns = {name: _numbers([line[place[name]] for line in lines]) for name in head if name not in taken}
    names = wish.of or tuple(name for name, (value, _) in columns.items() if np.isfinite(value).any())
    if not names:
        raise BadData(say("csv.no_numbers", file=wish.file))
    groups = [" | ".join(f"{kind}={line[place[kind]]}" for kind in wish.by) for line in lines]
    order = np.argsort(ts_ns, kind="stable")
    table = _table(wish, ts_ns, names, np.stack([columns[name][0] for name in names], axis=1), groups, order)
    if wish.leave_out:
        out = np.array([line[place[wish.leave_out]].strip().lower() in TRUE for line in lines])
        table.normal[:] = ~out[order]
    labels = None
    if wish.label:
        wrong = np.array([line[place[wish.label]].strip().lower() in TRUE for line in lines])[order]
        labels = tuple(ranges(table, wrong))
    return CsvTable(table, labels, sum(columns[name][1] for name in names))


def ranges(table: Table, wrong: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[Label]:
    """Runs of rows that were wrong, as labels.

    >>> found = ranges(Table.of([1.0, 2.0, 3.0, 4.0]), np.array([False, True, True, False]))
    >>> [(one.start_ns, one.end_ns) for one in found]
    [(1000000000, 2000000000)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], wrong, [False]]).astype(np.int8)))
    return [Label(int(table.ts_ns[a]), int(table.ts_ns[b - 1])) for a, b in edges.reshape(-1, 2).tolist()]


def read_labels(file: Path, zone: ZoneInfo) -> tuple[Label, ...]:
    """Labelled ranges from a file with the columns `from`, `to` and perhaps `name`.

    Raises:
        BadData: as `read_csv`.
    """
    head, lines = _cells(file)
    for name in ("from", "to"):
        if name not in head:
            raise BadData(say("csv.no_column", file=file, column=name, columns=", ".join(head)))
    a, b = head.index("from"), head.index("to")
    named = head.index("name") if "name" in head else None
    return tuple(
        Label(
            _moment(line[a], zone, file, n), _moment(line[b], zone, file, n), line[named] if named is not None else ""
        )
        for n, line in enumerate(lines, 2)
    )


def _cells(file: Path) -> tuple[list[str], list[list[str]]]:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise BadData(say("csv.unreadable", file=file, why=error.strerror or str(error))) from error
    for encoding in ("utf-8-sig", "cp949"):
        try:
            text = content.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        raise BadData(say("csv.unreadable", file=file, why="UTF-8, CP949"))
    first = text.split("\n", 1)[0]
    mark = max(",;\t", key=first.count)
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=mark) if any(cell.strip() for cell in row)]
    if len(rows) < 2:
        raise BadData(say("csv.empty", file=file))
    head = [cell.strip() for cell in rows[0]]
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(head):
            raise BadData(say("csv.width", file=file, row=number, cells=len(row), columns=len(head)))
    return head, rows[1:]


def _moment(text: str, zone: ZoneInfo, file: Path, row: int) -> int:
    cell = text.strip()
    try:
        if cell.replace(".", "", 1).isdigit():
            return round(float(cell) * 1e9)
        moment = datetime.fromisoformat(cell)
    except ValueError as error:
        raise BadData(say("csv.time", file=file, row=row, text=cell)) from error
    aware = moment if moment.tzinfo else moment.replace(tzinfo=zone)
    return round(aware.timestamp() * 1e6) * 1000


def _numbers(cells: Sequence[str]) -> tuple[Floats, int]:
    """(n,) numbers, and how many cells were neither empty nor one."""
    value = np.full(len(cells), np.nan)
    unreadable = 0
    for place, cell in enumerate(cells):
        text = cell.strip()
        try:
            value[place] = float(text) if text else np.nan
        except ValueError:
            unreadable += 1
    value[~np.isfinite(value)] = np.nan
    return value, unreadable


def _table(
    wish: CsvWish, ts_ns: np.ndarray[tuple[int], np.dtype[np.int64]], names: Sequence[str], value: Floats,
    groups: Sequence[str], order: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> Table:  # fmt: skip
    every = tuple(sorted(set(groups))) if wish.by else ("",)
    number = {name: index for index, name in enumerate(every)}
    return Table(
        ts_ns=ts_ns[order],
        variables=tuple(Variable(name) for name in names),
        value=value[order],
        group=np.array([number[name] for name in groups], dtype=np.int64)[order],
        groups=every,
        normal=np.ones(len(order), dtype=np.bool_),
    )
