"""The report of one shift: effectiveness and its losses, quantities, verdicts, stops, alarms, completeness, energy.

* Figures are those of `rootdx kpi`, alarms those of `rootdx alarms`; only what no command lists is asked for here.
* A shift without anything in the store says so; it is never a page of zeros.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np

from analytics.shifts import ShiftRun, shift_runs
from analytics.window import SECOND_NS
from pipeline.errors import BadData
from pipeline.migrate import Connection
from rootdx import alarm_list, cycle_list, key_figures
from rootdx.cycle_list import Wish
from rootdx.export import Cell, Missing, Table, column
from rootdx.invocation import Site, ask, machine_paths
from rootdx.key_figures import By
from rootdx.moments import Span
from rootdx.paper import plots
from rootdx.paper.plots import Stack
from rootdx.paper.report import Report
from rootdx.paper.sheet import Block, Facts, Picture, Said, Sheet, Words, grid_of, plain
from rootdx.texts import say

FIGURES: Final = (
    "machine", "line", "order", "oee", "availability", "effectiveness", "quality_ratio", "produced", "good", "scrap",
    "rework", "cycles", "energy_kwh", "kwh_per_good",
)  # fmt: skip
LOSSES: Final = (
    "machine", "planned_busy_s", "production_s", "setup_s", "delay_s", "down_s", "technical_s", "organisational_s",
    "blind_s", "failures", "mtbf_s", "mttr_s",
)  # fmt: skip
_TIMES: Final = ("production_s", "setup_s", "delay_s", "down_s", "blind_s")
TOP: Final = 10
_BEFORE: Final = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Found:
    """Tables of a shift, in the order of the paper."""

    machines: Table
    lines: Table
    orders: Table
    cycles: Table
    stops: Table
    quantities: Table
    sources: Table
    alarms: Table
    completeness: Table


def shift_at(site: Site, at: datetime, name: str | None = None) -> ShiftRun:
    """The shift of that name on the day of a moment; without a name the one that runs then, or the last before it.

    Raises:
        BadData: there is none; says which there are.
    """
    moment_ns = round(at.timestamp() * 1e6) * 1000
    day = at.astimezone(site.zone).date()
    before_ns, after_ns = (round(one.total_seconds() * SECOND_NS) for one in (_BEFORE, timedelta(days=2)))
    runs = shift_runs(site.plant, moment_ns - before_ns, moment_ns + after_ns)
    if name is None:
        fitting = [run for run in runs if run.start_ns <= moment_ns]
    else:
        fitting = [run for run in runs if run.day == day and run.name == name]
    if not fitting:
        known = ", ".join(run.name for run in runs if run.day == day) or "–"
        raise BadData(say("paper.shift.unknown", day=day.isoformat(), name=name or "–", known=known))
    return fitting[-1]


def last_shift(site: Site) -> ShiftRun:
    """The shift that ended last.

    Raises:
        BadData: none did within two weeks.
    """
    now_ns = round(site.clock.now.timestamp() * 1e6) * 1000
    runs = shift_runs(site.plant, now_ns - round(_BEFORE.total_seconds() * SECOND_NS), now_ns)
    ended = [run for run in runs if run.end_ns <= now_ns]
    if not ended:
        raise BadData(say("paper.shift.none_ended"))
    return max(ended, key=lambda run: run.end_ns)


async def shift_report(db: Connection, site: Site, run: ShiftRun, machine: str | None = None) -> Report:
    """What a shift of the plant, or of one machine, has made and lost; in the language of this task.

    Raises:
        BadData: nobody knows the machine.
        Unavailable, ConfigError: what the server says.
    """
    span = span_of(run)
    zone = site.zone.key
    begin = Span(span.first, span.first + timedelta(microseconds=1))

    async def figures(by: By) -> Table:
        return await key_figures.table(db, begin, by, machine, zone, brief=False)

    machines = None if machine is None else await machine_paths(db, [machine])
    given = {"machines": machines, "first": span.first, "last": span.last}
    rates = {one.name: one for one in await alarm_list.rates(db, site, machine, span)}
    found = Found(
        machines=await figures("machine"), lines=_named(await figures("line"), "line"),
        orders=_named(await figures("order"), "order"),
        cycles=_verdicts(await cycle_list.listed(db, Wish(span, machine), zone)),
        stops=_table("stops", await ask(db, _STOPS, given), _STOP_COLUMNS, zone),
        quantities=_table("quantities", await ask(db, _QUANTITIES, given), _QUANTITY_COLUMNS, zone),
        sources=rates["sources"], alarms=await alarm_list.journal(db, site, machine, span),
        completeness=_completeness(await ask(db, _COMPLETENESS, given), zone),
    )  # fmt: skip
    shown = [found.machines, found.lines, found.orders, found.cycles, found.stops, found.quantities, found.sources,
             found.alarms, found.completeness]  # fmt: skip
    name = f"shift-{run.day.isoformat()}-{run.name}" + ("" if machine is None else f"-{machine.rpartition('/')[2]}")
    return Report(name, lambda: _sheet(found, site, run, machine), shown)


def span_of(run: ShiftRun) -> Span:
    """When a shift is."""
    first, last = (datetime.fromtimestamp(ns // SECOND_NS, UTC) for ns in (run.start_ns, run.end_ns))
    return Span(first, last)


def _named(table: Table, by: str) -> Table:
    """With a name of its own, as a workbook needs."""
    title = say(f"paper.shift.by.{by}")
    return Table(f"{table.name}_{by}", title, table.columns, table.rows, table.time_zone, table.reasons, table.notes)


def _sheet(found: Found, site: Site, run: ShiftRun, machine: str | None) -> Sheet:
    span = span_of(run)
    ends = [one.astimezone(site.zone) for one in (span.first, span.last)]
    subject = say(
        "paper.shift.subject",
        day=run.day.isoformat(),
        shift=run.name,
        first=f"{ends[0]:%H:%M}",
        last=f"{ends[1]:%H:%M}",
    )
    plant = site.plant.name or f"{site.plant.enterprise}/{site.plant.site}"
    facts = [("plant", plant), ("machine", machine or ""), ("time_zone", site.zone.key),
             ("printed", f"{site.clock.now.astimezone(site.zone):%Y-%m-%d %H:%M}")]  # fmt: skip
    blocks: list[Block] = [Facts("", [(say(f"column.{name}"), plain(value)) for name, value in facts if value])]
    if span.last > site.clock.now:
        blocks.append(Words("", [Said(say("paper.shift.running"), "warn")]))
    title = say("paper.shift.title")
    running = f"{title} · {subject} · {plant}"
    if not any(len(one.rows) for one in (found.machines, found.cycles, found.alarms, found.completeness, found.stops)):
        blocks.append(Words("", [Said(say("paper.shift.nothing"), "warn"), Said(say("paper.shift.nothing_why"))]))
        return Sheet(title, subject, running, blocks=blocks)
    return Sheet(title, subject, running, blocks=[*blocks, *_blocks(found)])


def _blocks(found: Found) -> list[Block]:
    blocks: list[Block] = [grid_of(found.machines, only=FIGURES)]
    if len(found.machines.rows) > len(found.lines.rows) > 0:
        blocks.append(grid_of(found.lines, only=FIGURES))
    if {row[0] for row in found.orders.rows} and any(row[1] for row in found.orders.rows):
        blocks.append(grid_of(found.orders, only=FIGURES))
    blocks += _losses(found.machines)
    told = [row for row in found.alarms.rows if row[_place(found.alarms, "told")] or row[_place(found.alarms, "who")]]
    alarms = Table(
        found.alarms.name, say("paper.shift.alarms"), found.alarms.columns, told[-2 * TOP :], found.alarms.time_zone
    )
    sources = Table(
        found.sources.name,
        say("paper.shift.sources"),
        found.sources.columns,
        found.sources.rows[:TOP],
        found.sources.time_zone,
    )
    return [
        *blocks, grid_of(found.cycles), grid_of(found.stops), grid_of(found.quantities), grid_of(sources),
        grid_of(alarms, only=("time", "machine", "detector", "subject", "event", "priority", "who", "reason")),
        grid_of(found.completeness),
    ]  # fmt: skip


def _place(table: Table, name: str) -> int:
    return next(place for place, one in enumerate(table.columns) if one.name == name)


def _losses(machines: Table) -> list[Block]:
    """Where the planned time went, as a chart and a table."""
    if not machines.rows:
        return []
    names = [str(row[0]).rpartition("/")[2] for row in machines.rows]
    stacks = [
        Stack(say(f"column.{name}"), np.array([_number(row[_place(machines, name)]) for row in machines.rows]) / 3600)
        for name in _TIMES
    ]
    svg = plots.bars(names, stacks, say("paper.axis.hours"))
    return [Picture(say("paper.shift.times"), svg, ", ".join(names)), grid_of(_in_hours(machines), only=LOSSES)]


def _in_hours(machines: Table) -> Table:
    """The same with hours in place of seconds."""
    columns = [replace(one, unit="h") if one.unit == "s" else one for one in machines.columns]
    rows = [
        [
            round(cell / 3600, 2) if one.unit == "s" and isinstance(cell, float) else cell
            for cell, one in zip(row, machines.columns, strict=True)
        ]
        for row in machines.rows
    ]
    return Table("losses", say("paper.shift.losses"), columns, rows, machines.time_zone, reasons=True)


def _number(cell: Cell) -> float:
    return float(cell) if isinstance(cell, (int, float)) and not isinstance(cell, Missing) else float("nan")


def _verdicts(cycles: Table) -> Table:
    """How many cycles of each machine and kind had which verdict; those that still run apart."""
    machine, kind, end, verdict = (_place(cycles, name) for name in ("machine", "kind", "end", "verdict"))
    counts: dict[tuple[str, str], Counter[str]] = {}
    for row in cycles.rows:
        word = "running" if row[end] is None else str(row[verdict] or "none")
        counts.setdefault((str(row[machine]), str(row[kind])), Counter())[word] += 1
    words = ("pass", "review", "fail", "incomplete", "unverified", "none", "running")
    rows: list[list[Cell]] = [
        [*key, sum(some.values()), *(some[word] or None for word in words)] for key, some in sorted(counts.items())
    ]
    columns = [
        column("machine"), column("kind"), column("cycles", "whole"),
        *(column(f"count_{word}", "whole") for word in words),
    ]  # fmt: skip
    return Table("verdicts", say("paper.shift.verdicts"), columns, rows, cycles.time_zone)


def _table(name: str, rows: Sequence[tuple[Any, ...]], columns: Sequence[tuple[Any, ...]], zone: str) -> Table:
    return Table(name, say(f"paper.shift.{name}"), [column(*one) for one in columns], rows, zone)


def _completeness(found: Sequence[tuple[Any, ...]], zone: str) -> Table:
    causes = ("unreachable", "late", "gateway_down", "spool_full", "quarantined", "machine_off")
    columns = [
        column("machine"), column("due_rows", "whole"), column("stored_rows", "whole"),
        column("coverage", "share", "1"),
        *(column(f"gap_{name}", "whole") for name in causes),
    ]  # fmt: skip
    rows: list[list[Cell]] = [
        [asset, due, stored, min(1.0, stored / due) if due else None, *(one or None for one in rest)]
        for asset, due, stored, *rest in found
    ]
    return Table("completeness", say("paper.shift.completeness"), columns, rows, zone)


_STOP_COLUMNS: Final[tuple[tuple[Any, ...], ...]] = (
    ("machine",), ("kind",), ("start", "time"), ("end", "time"), ("seconds", "number", "s"), ("reason",), ("author",),
)  # fmt: skip
_QUANTITY_COLUMNS: Final[tuple[tuple[Any, ...], ...]] = (
    ("machine",), ("time", "time"), ("scrap", "number", "1"), ("rework", "number", "1"), ("reason",), ("author",),
)  # fmt: skip
_ONLY: Final = "(%(machines)s::text[] IS NULL OR a.path = ANY(%(machines)s))"
_STOPS: Final = f"""
    SELECT a.path, s.kind, s.from_ts, s.to_ts, extract(epoch FROM s.to_ts - s.from_ts)::float8, s.reason, s.author
    FROM rootdx.stop_entry s JOIN rootdx.asset a USING (asset_id)
    WHERE {_ONLY} AND s.from_ts < %(last)s AND s.to_ts > %(first)s AND s.to_ts > s.from_ts
      AND NOT EXISTS (SELECT FROM rootdx.stop_entry r WHERE r.replaces = s.id)
    ORDER BY s.from_ts, a.path"""  # noqa: S608  # a constant of ours
_QUANTITIES: Final = f"""
    SELECT a.path, q.ts, q.scrap, q.rework, q.reason, q.author
    FROM rootdx.quantity_entry q JOIN rootdx.asset a USING (asset_id)
    WHERE {_ONLY} AND q.ts >= %(first)s AND q.ts < %(last)s ORDER BY q.ts, q.id"""  # noqa: S608  # a constant of ours
_COMPLETENESS: Final = f"""
    SELECT a.asset, sum(a.expected)::bigint, sum(a.stored)::bigint, sum(a.unreachable)::bigint, sum(a.late)::bigint,
           sum(a.gateway_down)::bigint, sum(a.spool_full)::bigint, sum(a.quarantined)::bigint,
           sum(a.machine_off)::bigint
    FROM rootdx.completeness_by_asset a
    WHERE {_ONLY.replace("a.path", "a.asset")} AND a.minute >= %(first)s AND a.minute < %(last)s
      AND a.asset NOT LIKE 'gateway/%%' GROUP BY a.asset ORDER BY a.asset"""  # noqa: S608  # a constant of ours
