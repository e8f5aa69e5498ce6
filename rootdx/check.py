"""Is everything the machines produced in the table, exactly once? Asked of the devices' own truth, not of our counts.

* A polled machine: the values it answered with, in order, are the good values of the tag, in order. The scans by which
  a session finds out what the device lets it read come before the first row and are not stored.
* A machine that sends (OPC UA, MQTT): each (time, value) it sent between the first and the last stored one of the tag
  is stored once, nothing is stored twice or that was not sent, and the stored ones reach to the end. What was on its
  way when the machine was stopped, unacknowledged, may be there or not.
* A replayed recording: each numeric cell is stored once, beside the number of its row.
* And the gateway's accounts: Σ expected = Σ stored + Σ missing by cause.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psycopg
from rich.console import Console
from rich.table import Table

from rootdx.recordings import Recorded, cells
from rootdx.texts import say

TAIL_NS: Final = 5_000_000_000
"""A machine that sends may have stopped this long before its last message reached us."""
SETTLING: Final = 4
"""Scans before the first row."""
Sent = tuple[int, float]
Pair = tuple[float, float]


@dataclass(slots=True)
class Line:
    """The outcome for one machine."""

    machine: str
    produced: int = 0
    stored: int = 0
    missing: int = 0
    duplicate: int = 0
    different: int = 0
    example: str = ""
    """A row that is there and was never sent."""

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong, and something was there to look at."""
        return self.produced > 0 and self.missing == self.duplicate == self.different == 0


@dataclass(slots=True)
class Report:
    """The outcome of a whole check."""

    lines: list[Line] = field(default_factory=list)
    expected: int = 0
    stored: int = 0
    missing: int = 0
    quarantined: int = 0

    @property
    def passed(self) -> bool:
        """Whether every machine and the accounts are right."""
        balanced = self.expected == self.stored + self.missing
        return bool(self.lines) and all(line.passed for line in self.lines) and balanced and not self.quarantined


def examine(dsn: str, folder: Path, machines: Mapping[str, str], recorded: Sequence[Recorded]) -> Report:
    """Compares the truth files, or the recordings, with the table."""
    report = Report()
    with psycopg.connect(dsn) as db:
        for asset, name in machines.items():
            stored = _stored(db, asset)
            mine = [one for one in recorded if asset.endswith(one.path)]
            if mine:
                report.lines.append(_recording(mine[0], name, stored))
            else:
                truth = folder / f"truth-{name}.jsonl"
                report.lines.append(_machine(name, truth, stored, _is_polled(folder, name)))
        sums = db.execute(
            "SELECT coalesce(sum(expected), 0), coalesce(sum(good + uncertain + bad), 0), coalesce(sum(unreachable + "
            "late + gateway_down + spool_full + quarantined + machine_off), 0) FROM rootdx.completeness"
        ).fetchone() or (0, 0, 0)
        report.expected, report.stored, report.missing = (int(one) for one in sums)
        waiting = db.execute("SELECT count(*) FROM rootdx.quarantine WHERE resolved IS NULL").fetchone()
        report.quarantined = int(waiting[0]) if waiting else 0
    return report


def _is_polled(folder: Path, name: str) -> bool:
    return 'protocol = "modbus"' in (folder / "plant" / f"{name}.toml").read_text(encoding="utf-8")


def _stored(db: psycopg.Connection[Any], asset: str) -> dict[str, list[tuple[int, float, int]]]:
    """(ts_ns, value, record) of every good value by tag, in the order of time."""
    found: dict[str, list[tuple[int, float, int]]] = {}
    rows = db.execute(
        "SELECT t.name, (extract(epoch FROM m.ts) * 1000000)::bigint * 1000, m.value, m.record "
        "FROM rootdx.measurement m JOIN rootdx.tag t USING (tag_id) JOIN rootdx.asset a USING (asset_id) "
        "WHERE a.path = %s AND m.value IS NOT NULL ORDER BY m.ts, m.record",
        [asset],
        binary=True,
    )
    for tag, ts_ns, value, record in rows:
        found.setdefault(tag, []).append((ts_ns, value, record))
    return found


def _told(file: Path, kind: str) -> dict[str, list[Sent]]:
    """What the machine says it sent, by tag; `kind` is `served` or `unanswered`."""
    sent: dict[str, list[Sent]] = {}
    with file.open(encoding="utf-8") as lines:
        for text in lines:
            line = json.loads(text)
            if line["kind"] != kind:
                continue
            for tag, value in line["values"].items():
                if value is not None:
                    sent.setdefault(tag, []).append((line["t_ns"], value))
    return sent


def _machine(name: str, truth: Path, stored: dict[str, list[tuple[int, float, int]]], polled: bool) -> Line:  # noqa: FBT001
    line = Line(name)
    sent = _told(truth, "served")
    there = {tag: {_key(t_ns, value) for t_ns, value, _ in rows} for tag, rows in stored.items()}
    for tag, unsure in _told(truth, "unanswered").items():
        known = {_key(*one) for one in sent.get(tag, [])}
        arrived = {_key(*one): one for one in unsure if _key(*one) in there.get(tag, set()) - known}
        sent.setdefault(tag, []).extend(arrived.values())
    newest = max((rows[-1][0] for rows in stored.values() if rows), default=0)
    for tag in sent.keys() | stored.keys():
        _compare(line, tag, sent.get(tag, []), stored.get(tag, []), newest, polled=polled)
    return line


def _compare(
    line: Line, tag: str, sent: list[Sent], there: list[tuple[int, float, int]], newest_ns: int, *, polled: bool
) -> None:
    """One tag; `newest_ns` is the newest row of its machine: what changes after it changed when nobody listened."""
    line.stored += len(there)
    if polled:
        got, told = [value for _, value, _ in there], [value for _, value in sent]
        told = told[min(max(0, len(told) - len(got)), SETTLING) :]
        line.produced += len(told)
        line.missing += max(0, len(told) - len(got))
        line.duplicate += max(0, len(got) - len(told))
        line.different += sum(not _same(a, b) for a, b in zip(got, told, strict=False))
        return
    if not there:
        line.produced += len(sent)
        line.missing += len(sent)
        return
    first, last = there[0][0], max(there[-1][0], newest_ns - TAIL_NS)
    due = Counter((_key(t_ns, value)) for t_ns, value in sent if first <= t_ns <= last)
    had = Counter((_key(t_ns, value)) for t_ns, value, _ in there)
    line.produced += due.total()
    line.missing += (due - had).total()
    line.duplicate += sum(count - 1 for count in had.values() if count > 1)
    invented = sorted(had.keys() - due.keys())
    line.different += len(invented)
    if invented:
        at_us, value = invented[0]
        line.example = f"{tag} {datetime.fromtimestamp(at_us / 1e6, UTC).isoformat()} {value:g}"
    line.missing += sum(t_ns > newest_ns + TAIL_NS for t_ns, _ in sent)


def _key(t_ns: int, value: float) -> tuple[int, float]:
    return t_ns // 1000, round(value, 9)


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-9 * max(1.0, abs(one), abs(other))


def _recording(one: Recorded, name: str, stored: dict[str, list[tuple[int, float, int]]]) -> Line:
    """Every cell beside its row number: the row tag of the same scan says which row a value belongs to."""
    line = Line(name)
    place: dict[tuple[int, int], list[float]] = {(record, ts_ns): [] for ts_ns, _, record in stored.get("row", [])}
    for ts_ns, value, record in stored.get("row", []):
        place[record, ts_ns].append(value)
    for tag, truth in cells(one).items():
        there = stored.get(tag, [])
        line.produced += len(truth)
        line.stored += len(there)
        due = Counter((row, value) for row, value in truth.tolist())
        had = Counter((value, value) for _, value, _ in there) if tag == "row" else _found(there, place)
        line.missing += (due - had).total()
        line.duplicate += (had - due).total()
    return line


def _found(there: list[tuple[int, float, int]], place: dict[tuple[int, int], list[float]]) -> Counter[Pair]:
    """Row number and value; where several rows share one time in one record, they are taken in their order."""
    taken: Counter[tuple[int, int]] = Counter()
    found: Counter[Pair] = Counter()
    for ts_ns, value, record in there:
        rows = place.get((record, ts_ns), [])
        number = taken[record, ts_ns]
        taken[record, ts_ns] += 1
        found[rows[number] if number < len(rows) else -1.0, value] += 1
    return found


def played(dsn: str, recorded: Sequence[Recorded]) -> bool:
    """Whether the last row of every recording is in the table."""
    with psycopg.connect(dsn) as db:
        rows = db.execute(
            "SELECT a.path, max(m.value) FROM rootdx.measurement m JOIN rootdx.tag t USING (tag_id) "
            "JOIN rootdx.asset a USING (asset_id) WHERE t.name = 'row' GROUP BY a.path"
        )
        last: dict[str, float] = dict(rows.fetchall())
    reached = {one.name: row for one in recorded for asset, row in last.items() if asset.endswith(one.path)}
    return all(reached.get(one.name, -1.0) >= one.rows - 1 for one in recorded)


def taken(dsn: str) -> tuple[float, int]:
    """Seconds from the first to the last commit, and the rows in between."""
    with psycopg.connect(dsn) as db:
        row = db.execute(
            "SELECT extract(epoch FROM max(ingest_ts) - min(gateway_ts)), sum(rows) FROM rootdx.record WHERE rows > 0"
        ).fetchone()
    return (float(row[0] or 0), int(row[1] or 0)) if row else (0.0, 0)


def show(report: Report, console: Console) -> None:
    """Prints the outcome."""
    table = Table(title=say("check.title"))
    keys = ("machine", "produced", "stored", "missing", "duplicate", "different")
    for key in keys:
        table.add_column(say(f"check.{key}"), justify="left" if key == "machine" else "right")
    for line in report.lines:
        numbers = (line.produced, line.stored, line.missing, line.duplicate, line.different)
        table.add_row(line.machine, *(f"{number:,}" for number in numbers), style="" if line.passed else "red")
    console.print(table)
    for line in report.lines:
        if line.example:
            console.print(say("check.invented", machine=line.machine, row=line.example))
    difference = report.expected - report.stored - report.missing
    values = {"expected": report.expected, "stored": report.stored, "missing": report.missing, "difference": difference}
    console.print(say("check.accounts", **values))
    if report.quarantined:
        console.print(f"{say('live.quarantine')}: {report.quarantined}")
    style, key = ("green", "check.passed") if report.passed else ("bold red", "check.failed")
    console.print(f"[{style}]{say(key)}[/]")
