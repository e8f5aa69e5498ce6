"""A recorded CSV in memory: numeric columns, time if there is one, and what had to be left out.

- Encodings UTF-8 (with or without a mark) and CP949 are recognised, separators comma, semicolon and tab.
- An empty cell is NaN. A column with any other text in any file is left out.
- Several files follow one another; they must have the same headings.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from simulators.errors import InputError

_ENCODINGS = ("utf-8-sig", "cp949")
_TIME_NAMES = (
    "datetime", "timestamp", "time", "date_time", "date", "ts", "일시", "시간", "시각", "날짜", "측정시간", "수집시간",
)  # fmt: skip
_TIME_FORMATS = ("%Y/%m/%d %H:%M:%S", "%Y.%m.%d %H:%M:%S", "%Y%m%d%H%M%S", "%Y/%m/%d %H:%M", "%m/%d/%Y %H:%M:%S")
_GAP_S = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """`values` has shape (rows, columns), NaN where a cell was empty; `time_ms` is epoch ms, shape (rows,)."""

    columns: tuple[str, ...]
    values: NDArray[np.float64]
    time_ms: NDArray[np.float64] | None
    left_out: tuple[str, ...]

    def elapsed_s(self) -> list[float]:
        """Seconds since the first row; where time goes back, as to another file, it goes on by the usual step."""
        if self.time_ms is None or len(self.time_ms) < 2:
            return [row * _GAP_S for row in range(len(self.values))]
        steps = np.diff(self.time_ms) / 1e3
        usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else _GAP_S
        steps[steps < 0] = usual
        return [0.0, *np.cumsum(steps).tolist()]


def read_recording(files: Sequence[Path], time_column: str | None = None, zone: str = "Asia/Seoul") -> Recording:
    """Files in the order given, as one recording.

    Args:
        files: CSV files with one heading line.
        time_column: heading of the time; found by its name when not given.
        zone: of times that name none.

    Raises:
        InputError: naming file, line and column and what was expected.
    """
    if not files:
        raise InputError("replay needs at least one CSV file")
    sheets = [_read(path) for path in files]
    headings = sheets[0][0]
    for path, (own, _) in zip(files, sheets, strict=True):
        if own != headings:
            raise InputError(f"{path}: headings {own} differ from {headings} of {files[0]}")
    rows = [row for _, sheet in sheets for row in sheet]
    cells = list(zip(*rows, strict=True))
    chosen, time_ms = _time(files[0], headings, cells, time_column, _zone(zone))
    columns, numbers, left_out = [], [], []
    for number, heading in enumerate(headings):
        if number == chosen:
            continue
        column = _numbers(cells[number])
        if column is None:
            left_out.append(heading)
        else:
            columns.append(heading)
            numbers.append(column)
    if not numbers:
        raise InputError(f"{files[0]}: no numeric column among {', '.join(headings)}")
    return Recording(tuple(columns), np.column_stack(numbers), time_ms, tuple(left_out))


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    lines = [line for line in _text(path).splitlines() if line.strip()]
    if len(lines) < 2:
        raise InputError(f"{path}: a heading line and at least one row are needed, found {len(lines)} lines")
    separator = max(",;\t", key=lines[0].count)
    rows = list(csv.reader(lines, delimiter=separator))
    headings = [heading.strip() for heading in rows[0]]
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(headings):
            raise InputError(f"{path}: line {number} has {len(row)} cells, the heading has {len(headings)}")
    return headings, rows[1:]


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise InputError(f"{path}: cannot read the recording ({exc.strerror}); give the path of a CSV file") from exc
    for encoding in _ENCODINGS:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InputError(f"{path}: neither UTF-8 nor CP949; save it as CSV UTF-8")


def _numbers(cells: Sequence[str]) -> NDArray[np.float64] | None:
    """The column as numbers, NaN where empty; None when it has other text or nothing at all."""
    try:
        column = np.array([float(cell) if cell.strip() else math.nan for cell in cells])
    except ValueError:
        return None
    return None if np.isnan(column).all() else column


def _time(
    path: Path, headings: list[str], cells: list[tuple[str, ...]], wanted: str | None, zone: ZoneInfo
) -> tuple[int | None, NDArray[np.float64] | None]:
    """Which column is the time and its epoch ms."""
    if wanted is not None and wanted not in headings:
        raise InputError(f"{path}: time column {wanted!r} is not there; the headings are {', '.join(headings)}")
    names = (wanted,) if wanted else _TIME_NAMES
    for name in names:
        for number, heading in enumerate(headings):
            if heading == wanted or heading.lower() == name:
                times = [_epoch_ms(cell, zone) for cell in cells[number]]
                if None not in times:
                    return number, np.array(times, dtype=np.float64)
                if wanted:
                    line = times.index(None) + 2
                    cell = cells[number][line - 2]
                    raise InputError(
                        f"{path}: line {line}, {wanted} = {cell!r} is no date and time, such as 2026-01-31 08:00:00"
                    )
    return None, None


def _epoch_ms(cell: str, zone: ZoneInfo) -> float | None:
    cell = cell.strip()
    try:
        number = float(cell)
    except ValueError:
        return _calendar_ms(cell, zone)
    # 14 digits are a date written without separators; below 1e11 they are seconds, else milliseconds.
    if len(cell) == 14 and cell.isdigit():
        return _calendar_ms(cell, zone)
    if not math.isfinite(number) or number < 1e8:
        return None
    return float(round(number * 1e3 if number < 1e11 else number))


def _calendar_ms(cell: str, zone: ZoneInfo) -> float | None:
    moment: datetime | None = None
    try:
        moment = datetime.fromisoformat(cell)
    except ValueError:
        for form in _TIME_FORMATS:
            try:
                moment = datetime.strptime(cell, form)  # noqa: DTZ007 - the zone follows
                break
            except ValueError:
                continue
    if moment is None:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    return float(round(moment.timestamp() * 1e3))


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as exc:
        raise InputError(f"time zone {name!r} is unknown; give one such as Asia/Seoul or UTC") from exc
