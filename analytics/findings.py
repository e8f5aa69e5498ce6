"""Scores of a table to entries of the journal: what live, replay and backtest share, so that they agree.

* Only rows that can change something are looked at one by one: a quiet subject costs nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from analytics.alarm import Alarm, AlarmSettings, Entry, Kind, Row, on_row
from analytics.detector import Scores
from analytics.result import Bools, Floats
from analytics.table import Table


@dataclass(frozen=True, slots=True)
class Finding:
    """An entry about a subject, and the row of the table that led to it."""

    subject: str
    row: int
    entry: Entry


@dataclass(frozen=True, slots=True)
class Rung:
    """What rows led to.

    Attributes:
        alarms: by subject, those that changed.
        findings: in order of time.
    """

    alarms: Mapping[str, Alarm]
    findings: tuple[Finding, ...]


def rung(
    table: Table,
    scores: Scores,
    settings: AlarmSettings,
    alarms: Mapping[str, Alarm],
    *,
    from_row: int = 0,
    live_from_ns: int = -(2**62),
) -> Rung:
    """Entries and alarms after the rows from `from_row` on; rows before it are memory alone.

    Args:
        table: the rows.
        scores: of all of them.
        settings: of the detector.
        alarms: by subject, as they stood before; a subject that is missing is normal.
        from_row: first row that is new.
        live_from_ns: rows before this moment do not ring.
    """
    changed: dict[str, Alarm] = {}
    findings: list[Finding] = []
    loud: Bools = np.any(np.greater(scores.score[from_row:], 1), axis=0)
    for index, subject in enumerate(scores.subjects):
        alarm = alarms.get(subject, Alarm())
        if not loud[index] and alarm.is_idle:
            continue
        rows = _Rows(table, scores.score[:, index], from_row, live_from_ns, 1 - settings.deadband)
        changed[subject], found = _walked(subject, settings, alarm, rows)
        findings += found
    return Rung(changed, tuple(sorted(findings, key=lambda one: (one.row, one.subject))))


class _Rows:
    """The new rows of one subject."""

    def __init__(self, table: Table, column: Floats, from_row: int, live_from_ns: int, clears_at: float) -> None:
        self._table, self._column, self._live_from_ns = table, column, live_from_ns
        self.first, self.end = from_row, len(column)
        self._loud = np.flatnonzero(np.greater(column, 1) & table.normal)
        self._other = np.flatnonzero(~np.greater(column, clears_at) | ~table.normal)
        self._live = int(np.searchsorted(table.ts_ns, live_from_ns))

    def next_loud(self, row: int) -> int:
        """The first row from here on that can raise, `end` when there is none."""
        place = int(np.searchsorted(self._loud, row))
        return int(self._loud[place]) if place < len(self._loud) else self.end

    def still_loud(self, row: int, alarm: Alarm) -> int:
        """The first row from here on that may change more of an active alarm than its peak."""
        place = int(np.searchsorted(self._other, row))
        other = int(self._other[place]) if place < len(self._other) else self.end
        is_settled = alarm.told or alarm.acked or alarm.is_aside
        return other if is_settled or other <= self._live else max(row, self._live)

    def passed(self, alarm: Alarm, row: int, until: int) -> Alarm:
        """An active alarm after rows that change nothing but its peak."""
        peak = max(alarm.peak, float(self._column[row:until].max()))
        return replace(alarm, peak=peak, held_ns=0, last_ns=int(self._table.ts_ns[until - 1]))

    def __getitem__(self, row: int) -> Row:
        ts_ns = int(self._table.ts_ns[row])
        suppressed = not bool(self._table.normal[row])
        return Row(ts_ns, float(self._column[row]), live=ts_ns >= self._live_from_ns, suppressed=suppressed)


def _walked(subject: str, settings: AlarmSettings, alarm: Alarm, rows: _Rows) -> tuple[Alarm, list[Finding]]:
    """Every row that can change the alarm: of one that is quiet the loud ones, of one that rings the others."""
    findings: list[Finding] = []
    row = rows.first
    while True:
        if not alarm.active and not alarm.run:
            row = rows.next_loud(row)
        elif alarm.active and not alarm.run and not alarm.suppressed:
            until = rows.still_loud(row, alarm)
            if until > row:
                alarm, row = rows.passed(alarm, row, until), until
        if row >= rows.end:
            return alarm, findings
        alarm, entries = on_row(alarm, settings, rows[row])
        findings += [Finding(subject, row, entry) for entry in entries]
        row += 1


@dataclass(frozen=True, slots=True)
class Episode:
    """An alarm from raise to clear.

    Attributes:
        subject: what it was of.
        onset_ns: first row above the limit.
        raised_ns: when it was raised.
        cleared_ns: when it cleared; None when it still stands at the end.
        peak: highest score.
        row: row of the table at which it was raised.
    """

    subject: str
    onset_ns: int
    raised_ns: int
    cleared_ns: int | None
    peak: float
    row: int


def episodes(table: Table, scores: Scores, settings: AlarmSettings, from_row: int = 0) -> tuple[Episode, ...]:
    """Every episode of the rows from `from_row` on, when nobody acknowledges or shelves; in order of their raising.

    >>> table = Table.of([0.0, 2.0, 0.0])
    >>> [(e.onset_ns, e.cleared_ns) for e in episodes(table, Scores(("x1",), table.value), AlarmSettings())]
    [(1000000000, 2000000000)]
    """
    found: list[Episode] = []
    standing: dict[str, int] = {}
    for one in rung(table, scores, settings, {}, from_row=from_row).findings:
        entry = one.entry
        if entry.kind is Kind.RAISED:
            standing[one.subject] = len(found)
            found.append(Episode(one.subject, entry.episode_ns, entry.ts_ns, None, entry.score, one.row))
        elif entry.kind is Kind.CLEARED and one.subject in standing:
            place = standing.pop(one.subject)
            found[place] = _ended(found[place], table, scores, one)
    return tuple(found)


def _ended(episode: Episode, table: Table, scores: Scores, end: Finding) -> Episode:
    column = scores.score[episode.row : end.row + 1, scores.subjects.index(end.subject)]
    peak = float(np.nanmax(column)) if np.isfinite(column).any() else episode.peak
    return Episode(episode.subject, episode.onset_ns, episode.raised_ns, int(table.ts_ns[end.row]), peak, episode.row)
