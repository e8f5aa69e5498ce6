"""What `rootdx backtest` does: rows from the store or a file, one or two settings, figures and a plot."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from analytics.alarm import AlarmSettings
from analytics.backtest import DAY_NS, Label, Outcome, backtest
from analytics.feature_table import Grid, Wish, grid_s, of_cycles, of_tags, phases, tagged
from analytics.findings import episodes
from analytics.machines import Watched, load_machines
from analytics.profile_table import of_profiles
from analytics.result import Result
from analytics.table import Table
from analytics.watching import Watching, watchings
from pipeline.errors import BadData, ConfigError
from pipeline.migrate import Connection
from pipeline.plant import Frozen, load
from rootdx.csv_table import CsvWish, read_csv
from rootdx.export import Cell, Missing, Table as Sheet, column
from rootdx.invocation import Site, ask, one_of
from rootdx.moments import Span
from rootdx.texts import say

STEPS: Final = 24
"""Halvings of the search for the limit that meets a budget."""


class SettingsFile(Frozen):
    """A file of `[[detector]]` tables that are not, or not yet, in a machine file."""

    detector: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Given:
    """The rows that were asked for: those of a machine in a span, or those of a file."""

    machine: Watched | None
    span: Span
    csv: CsvWish | None


@dataclass(frozen=True, slots=True)
class Trial:
    """One setting on one table.

    Attributes:
        watching: the setting.
        table: what it was shown.
        outcome: what it did.
    """

    watching: Watching
    table: Table
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Against:
    """What a backtest is judged by.

    Attributes:
        labels: what was wrong; None: nobody knows.
        tolerance_s: how far outside of a range a raise still counts for it.
        budget: alarms a day that people can take; None: not asked.
    """

    labels: Sequence[Label] | None
    tolerance_s: float = 0.0
    budget: float | None = None


def chosen(names: Sequence[str], machine: Watched | None, file: Path | None) -> list[Watching]:
    """The settings of these names, from the file first, then from the machine; no name: all of the file.

    Raises:
        ConfigError: one is not there, or the file is wrong; says which there are.
    """
    told: list[Watching] = []
    if file is not None:
        kinds = [one.kind for one in machine.processes] if machine else []
        tables = load(file, SettingsFile).detector
        kinds += [str(table["on"]) for table in tables if "on" in table and machine is None]
        told += watchings(tables, kinds, str(file), file.parent)
    told += [one for one in (machine.detectors if machine else ()) if one.name not in {t.name for t in told}]
    known = {one.name: one for one in told}
    missing = [name for name in names if name not in known]
    if missing or not known:
        raise ConfigError(say("backtest.unknown", names=", ".join(missing) or "–", known=", ".join(known) or "–"))
    return [known[name] for name in names] if names else told


def machine_of(site: Site, name: str) -> Watched:
    """A machine of the plant folder.

    Raises:
        ConfigError: a machine file is wrong.
        BadData: there is none of that name.
    """
    _, machines = load_machines(site.settings.analytics.plant)
    path = one_of([machine.asset for machine in machines], name)
    return next(machine for machine in machines if machine.asset == path)


async def stored(db: Connection, machine: Watched, watching: Watching, span: Span) -> tuple[Table, int]:
    """The rows of a span for a detector, its memory before it; and when the span begins, ns.

    Raises:
        BadData: the machine has sent nothing.
    """
    rows = await ask(db, "SELECT asset_id FROM rootdx.asset WHERE path = %s", [machine.asset])
    if not rows:
        raise BadData(say("backtest.nothing", machine=machine.asset))
    asset_id, view = rows[0][0], watching.view
    first, last = (round(one.timestamp() * 1e6) * 1000 for one in (span.first, span.last))
    if watching.is_of_cycles:
        wish = Wish(asset_id, view.on, view.of, view.by, watching.detector.memory)
        if view.profile is not None:
            return (await of_profiles(db, machine.asset, wish, view.profile, first, last)).table, first
        return (await of_cycles(db, wish, first, last)).table, first
    tags = await tagged(db, asset_id, view.of)
    every_s = view.every_s or grid_s(tags)
    covered = await ask(db, _COVERED, {"tags": [one.tag_id for one in tags], "first": span.first, "last": span.last})
    if covered[0][0] is None:
        raise BadData(say("backtest.nothing", machine=machine.asset))
    first, last = max(first, covered[0][0] * 1000), min(last, covered[0][1] * 1000 + 1)
    spans = None
    if view.during and machine.processes:
        begin = first - round(watching.detector.memory * every_s * 1e9)
        spans = await phases(db, Wish(asset_id, machine.processes[0].kind), view.during, begin, last)
    return await of_tags(db, tags, Grid(every_s, watching.detector.memory, spans), first, last), first


def from_file(wish: CsvWish, watching: Watching, zone: ZoneInfo) -> tuple[Table, tuple[Label, ...] | None, int]:
    """The rows of a file for a detector, its labels, and how many cells could not be read.

    Raises:
        BadData: as `read_csv`.
    """
    named = replace(wish, of=wish.of or watching.view.of, by=wish.by or watching.view.by)
    found = read_csv(named, zone)
    return found.table, found.labels, found.unreadable


def tried(watching: Watching, table: Table, against: Against, from_ns: int | None) -> Trial:
    """Runs a setting over a table.

    Raises:
        ConfigError: its baseline cannot be read, or is of something else.
    """
    baseline = watching.baseline()
    table = table if baseline is None else baseline.arranged(table, str(watching.view.baseline))
    outcome = backtest(
        table,
        watching.detector,
        watching.view.alarm,
        learned=None if baseline is None else baseline.groups,
        labels=against.labels,
        tolerance_ns=round(against.tolerance_s * 1e9),
        from_ns=from_ns,
    )
    return Trial(watching, table, outcome)


def factor(trial: Trial, budget: float) -> float | None:
    """By how much the limit must be raised to ring at most `budget` times a day; 1 when it need not.

    None when there is no day to count by.
    """
    table, outcome, settings = trial.table, trial.outcome, trial.watching.view.alarm
    if outcome.days <= 0:
        return None
    most = budget * outcome.days
    if len(outcome.episodes) <= most:
        return 1.0
    low, high = 1.0, float(np.nanmax(outcome.scores.score)) * 1.001
    for _ in range(STEPS):
        middle = (low * high) ** 0.5
        if _rings(table, outcome, settings, middle) <= most:
            high = middle
        else:
            low = middle
    return high


def _rings(table: Table, outcome: Outcome, settings: AlarmSettings, by: float) -> int:
    scores = replace(outcome.scores, score=outcome.scores.score / by)
    return len(episodes(table, scores, settings, outcome.first))


def sheets(trials: Sequence[Trial], against: Against, zone: ZoneInfo) -> list[Sheet]:
    """The figures: a column a setting; then days, contexts, subjects, episodes and what was missed."""
    names = _names(trials)
    heads = [column("figure"), *(replace(column("value", "number"), name=name, heading=name) for name in names)]
    figures = [_figures(one, against) for one in trials]
    rows: list[list[Cell]] = [[say(f"backtest.figure.{key}"), *(one[key] for one in figures)] for key in figures[0]]
    found = [Sheet("summary", say("backtest.title"), heads, rows, zone.key, reasons=True)]
    found += [
        _by(trials, names, zone, "days"),
        _by(trials, names, zone, "contexts"),
        _by(trials, names, zone, "subjects"),
    ]
    return [*found, _episodes(trials, names, zone), _missed(trials, names, zone)]


def _names(trials: Sequence[Trial]) -> list[str]:
    names = [one.watching.name for one in trials]
    return [name if names.count(name) == 1 else f"{name} ({place})" for place, name in enumerate(names, 1)]


def _figures(trial: Trial, against: Against) -> dict[str, Cell]:
    outcome = trial.outcome
    told: dict[str, Cell] = {
        "rows": len(trial.table), "days": outcome.days, "episodes": len(outcome.episodes),
        "per_day": _cell(outcome.per_day),
    }  # fmt: skip
    if against.budget is not None:
        told |= {"budget": against.budget, "factor": factor(trial, against.budget)}
    found = outcome.judgement
    if found is not None:
        told |= {
            "labels": found.labels, "found": found.found, "recall": _cell(found.recall),
            "precision": _cell(found.precision), "false": found.false, "false_per_day": _cell(found.false_per_day),
            "delay": _cell(found.delay),
        }  # fmt: skip
    return told


def _cell(result: Result) -> Cell:
    return Missing(result.reason.name) if result.value is None else result.value


def _by(trials: Sequence[Trial], names: Sequence[str], zone: ZoneInfo, what: str) -> Sheet:
    """Episodes by day, context or variable."""
    counted: list[dict[Any, Any]] = [
        dict(one.outcome.by_day) if what == "days"
        else {name or "–": hits for name, (hits, _) in one.outcome.by_group.items()} if what == "contexts"
        else {name or "–": hits for name, hits in one.outcome.by_subject.items()}
        for one in trials
    ]  # fmt: skip
    keys = sorted({key for counts in counted for key in counts})
    first = column("day", "day") if what == "days" else column("subject" if what == "subjects" else "context")
    heads = [first, *(replace(column("value", "whole"), name=name, heading=name) for name in names)]
    rows: list[list[Cell]] = [
        [date.fromtimestamp(key * DAY_NS / 1e9) if what == "days" else key, *(counts.get(key, 0) for counts in counted)]  # noqa: DTZ012  # days since 1970 are of UTC
        for key in keys
    ]
    return Sheet(what, say(f"backtest.{what}"), heads, rows, zone.key)


def _episodes(trials: Sequence[Trial], names: Sequence[str], zone: ZoneInfo) -> Sheet:
    heads = [
        column("detector"), column("subject"), column("start", "time"), column("raised", "time"), column("end", "time"),
        column("score", "number", "1"), column("context"),
    ]  # fmt: skip
    rows: list[list[Cell]] = [
        [name, one.subject, _time(one.onset_ns), _time(one.raised_ns), _time(one.cleared_ns), one.peak,
         trial.table.groups[int(trial.table.group[one.row])]]
        for name, trial in zip(names, trials, strict=True)
        for one in trial.outcome.episodes
    ]  # fmt: skip
    return Sheet("episodes", say("backtest.episodes"), heads, rows, zone.key)


def _missed(trials: Sequence[Trial], names: Sequence[str], zone: ZoneInfo) -> Sheet:
    heads = [column("detector"), column("start", "time"), column("end", "time"), column("name")]
    rows: list[list[Cell]] = [
        [name, _time(label.start_ns), _time(label.end_ns), label.name]
        for name, trial in zip(names, trials, strict=True)
        if trial.outcome.judgement is not None
        for label in trial.outcome.judgement.missed
    ]
    return Sheet("missed", say("backtest.missed"), heads, rows, zone.key)


def _time(ts_ns: int | None) -> datetime | None:
    return None if ts_ns is None else datetime.fromtimestamp(ts_ns / 1e9, UTC)


_COVERED: Final = """
    SELECT rootdx.us(min(ts)), rootdx.us(max(ts)) FROM rootdx.measurement
    WHERE tag_id = ANY(%(tags)s) AND ts >= %(first)s AND ts < %(last)s"""
