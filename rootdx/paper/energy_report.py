"""The energy of a month: what each machine took, peaks against the contract, load profile, base load, per item.

* Figures are those of `rootdx kpi energy` and `rootdx kpi`; energy is summed from quarter hours, so it covers nights
  and holidays too, and its coverage says of how many quarters it is known.
* A sum of machines counts a quarter hour only where every machine that has one at all is known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

import numpy as np

from analytics.energy import electricity_emission, grid_factor
from analytics.result import Floats
from pipeline.migrate import Connection
from rootdx import energy_figures, key_figures
from rootdx.export import Cell, Missing, Table, column
from rootdx.invocation import Site, ask, machine_paths
from rootdx.moments import Span
from rootdx.paper import plots
from rootdx.paper.plots import Border, Line, Stack
from rootdx.paper.report import Report
from rootdx.paper.sheet import Block, Facts, Picture, Said, Sheet, Words, grid_of, plain
from rootdx.terminal import number
from rootdx.texts import say

PEAKS: Final = 10
QUARTERS: Final = 96
"""Of a day."""
DRAWN: Final = 8
"""So many machines have a colour of their own; the others are one."""


@dataclass(frozen=True, slots=True)
class Quarters:
    """The quarter hours of a month.

    Attributes:
        starts: (n,) aware times in the zone of the plant.
        machines: (k,) paths.
        kw: (n, k) mean power, NaN where unknown.
        due: how many quarters the month has had so far.
    """

    starts: Sequence[datetime]
    machines: Sequence[str]
    kw: Floats
    due: int

    @property
    def kwh(self) -> Floats:
        """(k,) energy of the known quarters."""
        return np.asarray(np.nansum(self.kw, axis=0) / 4, dtype=np.float64)

    @property
    def known(self) -> Floats:
        """(k,) how many quarters are known."""
        return np.asarray(np.isfinite(self.kw).sum(axis=0), dtype=np.float64)

    @property
    def total(self) -> Floats:
        """(n,) kW of all machines, NaN where one is unknown."""
        return np.asarray(self.kw.sum(axis=1), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Found:
    """What a month is told by."""

    first: date
    now: Quarters
    before: Quarters
    tables: Mapping[str, Table]
    machines: Table
    orders: Table
    figures: Table
    specific: Table


def month_of(text: str | None, today: date) -> date:
    """The first day of a month as people write it, `2026-11`; None: the last whole one.

    Raises:
        ValueError: it is none.

    >>> month_of("2026-11", date(2027, 1, 3)), month_of(None, date(2027, 1, 3))
    (datetime.date(2026, 11, 1), datetime.date(2026, 12, 1))
    """
    if text is None:
        return (today.replace(day=1) - timedelta(days=1)).replace(day=1)
    return date.fromisoformat(f"{text}-01")


async def energy_report(db: Connection, site: Site, month: date, machine: str | None = None) -> Report:
    """The energy of the month that begins on a day, of the plant or of one machine; in the language of this task.

    Raises:
        BadData: nobody knows the machine.
        Unavailable, ConfigError: what the server says.
    """
    zone = site.zone.key
    spans = [_span(site, month), _span(site, (month - timedelta(days=1)).replace(day=1))]
    asked = [await energy_figures.tables(db, span, machine, site.plant, site.clock.now) for span in spans]
    now, before = (
        _quarters(next(one for one in tables if one.name == "demand"), site, span)
        for tables, span in zip(asked, spans, strict=True)
    )
    figures = await key_figures.table(db, spans[0], "machine", machine, zone, brief=False)
    machines = None if machine is None else await machine_paths(db, [machine])
    given = {"machines": machines, "first": spans[0].first, "last": spans[0].last}
    found = Found(
        month, now, before, {one.name: one for one in asked[0]}, _machines(now, before, zone),
        await key_figures.table(db, spans[0], "order", machine, zone, brief=False), figures,
        _specific(await ask(db, _SPECIFIC, given), zone),
    )  # fmt: skip
    tables = [
        found.machines, _days(now, zone), _peaks(now, site), found.tables["billing"], found.tables["base"],
        found.tables["green"], found.specific, found.figures, found.tables["demand"],
    ]  # fmt: skip
    name = f"energy-{month:%Y-%m}" + ("" if machine is None else f"-{machine.rpartition('/')[2]}")
    return Report(name, lambda: _sheet(found, site, machine), tables)


def _span(site: Site, month: date) -> Span:
    following = (month + timedelta(days=32)).replace(day=1)
    return Span(site.clock.midnight(month), site.clock.midnight(following))


def _quarters(demand: Table, site: Site, span: Span) -> Quarters:
    """The table of demand as a matrix; quarters that nobody has a row of are not in it."""
    machines = sorted({str(row[0]) for row in demand.rows})
    times: list[Any] = sorted({row[1] for row in demand.rows})
    rows = {at: place for place, at in enumerate(times)}
    columns = {name: place for place, name in enumerate(machines)}
    kw = np.full((len(times), len(machines)), np.nan)
    for asset, at, value, *_ in demand.rows:
        if isinstance(value, float):
            kw[rows[at], columns[str(asset)]] = value
    end = min(span.last, max(site.clock.now, span.first))
    due = round((end.timestamp() - span.first.timestamp()) / 900)
    return Quarters([at.astimezone(site.zone) for at in times], machines, kw, due)


def _machines(now: Quarters, before: Quarters, zone: str) -> Table:
    """Energy and peak of each machine, and how much more or less it was than in the month before."""
    earlier = dict(zip(before.machines, before.kwh.tolist(), strict=True))
    rows: list[list[Cell]] = []
    for place, asset in enumerate(now.machines):
        kw, kwh = now.kw[:, place], float(now.kwh[place])
        seen = bool(np.isfinite(kw).any())
        peak = int(np.nanargmax(kw)) if seen else 0
        old = earlier.get(asset)
        rows.append([
            asset, kwh if seen else Missing("MISSING_INPUT"), now.known[place] / now.due if now.due else None,
            old, kwh / old - 1 if old and seen else None, float(kw[peak]) if seen else None,
            now.starts[peak] if seen else None,
        ])  # fmt: skip
    columns = [
        column("machine"), column("energy_kwh", "number", "kW.h"), column("quarters_known", "share", "1"),
        column("month_before", "number", "kW.h"), column("change", "share", "1"), column("peak_kw", "number", "kW"),
        column("quarter", "time"),
    ]  # fmt: skip
    return Table("machines", say("paper.energy.machines"), columns, rows, zone, reasons=True)


def _days(now: Quarters, zone: str) -> Table:
    """Energy of each day and machine."""
    days = sorted({at.date() for at in now.starts})
    rows: list[list[Cell]] = []
    for day in days:
        part = now.kw[[at.date() == day for at in now.starts]]
        rows += [
            [asset, day, float(np.nansum(part[:, place]) / 4), float(np.isfinite(part[:, place]).sum() / QUARTERS)]
            for place, asset in enumerate(now.machines)
        ]
    columns = [
        column("machine"), column("day", "day"), column("energy_kwh", "number", "kW.h"),
        column("quarters_known", "share", "1"),
    ]  # fmt: skip
    return Table("days", say("paper.energy.days"), columns, rows, zone)


def _peaks(now: Quarters, site: Site) -> Table:
    """The highest quarter hours, and who took most in them."""
    total = now.total
    order = [place for place in np.argsort(-np.nan_to_num(total, nan=-np.inf)).tolist() if np.isfinite(total[place])]
    contract = site.plant.contract_kw
    rows: list[list[Cell]] = []
    for place in order[:PEAKS]:
        most = np.argsort(-now.kw[place]).tolist()[:3]
        shares = ", ".join(f"{now.machines[one].rpartition('/')[2]} {now.kw[place, one]:.0f} kW" for one in most)
        rows.append(
            [
                now.starts[place],
                float(total[place]),
                None if contract is None else float(total[place]) / contract,
                shares,
            ]
        )
    columns = [
        column("quarter", "time"), column("peak_kw", "number", "kW"), column("of_contract", "share", "1"),
        column("took_most"),
    ]  # fmt: skip
    return Table("peaks", say("paper.energy.peaks"), columns, rows, site.zone.key)


def _specific(found: Sequence[tuple[Any, ...]], zone: str) -> Table:
    columns = [
        column("machine"), column("kind"), column("cycles", "whole"), column("mean", "number"),
        column("lowest", "number"), column("highest", "number"), column("unit"),
    ]  # fmt: skip
    return Table("specific", say("paper.energy.specific"), columns, found, zone)


def _sheet(found: Found, site: Site, machine: str | None) -> Sheet:
    title, subject = say("paper.energy.title"), f"{found.first:%Y-%m}"
    plant = site.plant.name or f"{site.plant.enterprise}/{site.plant.site}"
    running = f"{title} · {subject} · {plant}"
    blocks: list[Block] = [_facts(found, site, plant, machine)]
    if not found.now.starts:
        blocks.append(Words("", [Said(say("paper.energy.nothing"), "warn"), Said(say("paper.energy.nothing_why"))]))
        return Sheet(title, subject, running, blocks=blocks)
    if _span(site, found.first).last > site.clock.now:
        blocks.append(Words("", [Said(say("paper.energy.unfinished"), "warn")]))
    blocks += [
        grid_of(found.machines), _daily(found.now), _profile(found.now, site), grid_of(_peaks(found.now, site)),
        grid_of(found.tables["billing"]), grid_of(found.tables["base"]),
        grid_of(found.figures, only=("machine", "good", "energy_kwh", "energy_coverage", "kwh_per_good", "co2e_kg")),
    ]  # fmt: skip
    if any(row[1] for row in found.orders.rows):
        orders = Table(
            "orders", say("paper.energy.orders"), found.orders.columns, found.orders.rows, site.zone.key, reasons=True
        )
        blocks.append(grid_of(orders, only=("machine", "order", "good", "energy_kwh", "kwh_per_good")))
    blocks += [grid_of(one) for one in (found.specific, found.tables["green"]) if one.rows]
    return Sheet(title, subject, running, blocks=blocks)


def _facts(found: Found, site: Site, plant: str, machine: str | None) -> Facts:
    now, before = float(found.now.kwh.sum()), float(found.before.kwh.sum())
    known = float(found.now.known.mean() / max(found.now.due, 1)) if found.now.starts else 0.0
    total = found.now.total
    peak = int(np.nanargmax(total)) if np.isfinite(total).any() else None
    contract = site.plant.contract_kw
    factor = grid_factor(found.first)
    emitted = electricity_emission(now / 1000, np.nan if factor is None else factor.factor_t_mwh).one().value
    said = [
        ("plant", plant), ("machine", machine or ""),
        ("energy_kwh", say("paper.energy.total", kwh=number(now), share=f"{100 * known:.1f}")
         if found.now.starts else ""),
        ("month_before", f"{number(before)} kWh ({now / before - 1:+.1%})" if before and found.now.starts else ""),
        ("peak_kw", "" if peak is None else
         f"{number(float(total[peak]))} kW · {found.now.starts[peak]:%Y-%m-%d %H:%M}"),
        ("contract_kw", "" if contract is None else f"{number(contract)} kW"
         + ("" if peak is None else f" · {say('column.peak_kw')} {float(total[peak]) / contract:.1%}")),
        ("co2e_kg", f"{number(emitted)} t" if emitted is not None and found.now.starts else ""),
        ("time_zone", site.zone.key),
        ("printed", f"{site.clock.now.astimezone(site.zone):%Y-%m-%d %H:%M}"),
    ]  # fmt: skip
    return Facts("", [(say(f"column.{name}"), plain(value)) for name, value in said if value])


def _daily(now: Quarters) -> Picture:
    """Energy of each day, the machines on top of each other."""
    first = min(at.date() for at in now.starts).replace(day=1)
    days = [first + timedelta(days=n) for n in range(31) if (first + timedelta(days=n)).month == first.month]
    parts = [now.kw[[at.date() == day for at in now.starts]] for day in days]
    kwh = np.array([np.nansum(part, axis=0) / 4 for part in parts]).reshape(len(days), len(now.machines))
    order = np.argsort(-now.kwh).tolist()
    stacks = [Stack(now.machines[place].rpartition("/")[2], kwh[:, place]) for place in order[: DRAWN - 1]]
    if len(order) >= DRAWN:
        stacks.append(Stack(say("paper.energy.others"), kwh[:, order[DRAWN - 1 :]].sum(axis=1)))
    svg = plots.columns([f"{day.day}" for day in days], stacks, "kWh")
    return Picture(say("paper.energy.days"), svg, ", ".join(stack.name for stack in stacks))


def _profile(now: Quarters, site: Site) -> Picture:
    """What a day looks like: mean of working days and of the others, and the highest of each quarter hour."""
    total = now.total
    slots = np.array([at.hour * 4 + at.minute // 15 for at in now.starts])
    rest = np.array([at.weekday() >= 5 or at.date() in site.plant.holiday for at in now.starts])
    hours = (np.arange(QUARTERS) + 0.5) / 4
    known = np.isfinite(total)
    lines = [
        Line(say("paper.energy.working"), hours, _by_slot(slots, total, known & ~rest)),
        Line(say("paper.energy.rest"), hours, _by_slot(slots, total, known & rest)),
        Line(say("paper.energy.highest"), hours, _by_slot(slots, total, known, highest=True), dashed=True),
    ]
    contract = site.plant.contract_kw
    svg = plots.profile(lines, "kW", say("paper.axis.clock"), () if contract is None else (Border(contract),))
    notes = [] if contract is None else [say("paper.energy.contract_line")]
    return Picture(say("paper.energy.profile"), svg, ", ".join(line.name for line in lines), notes)


def _by_slot(slots: Any, total: Floats, chosen: Any, *, highest: bool = False) -> Floats:
    """(96,) mean or highest of each quarter hour of the day, NaN where none is known."""
    found = np.full(QUARTERS, np.nan)
    for slot in range(QUARTERS):
        some = total[chosen & (slots == slot)]
        if len(some):
            found[slot] = some.max() if highest else some.mean()
    return found


_SPECIFIC: Final = """
    SELECT a.path, c.kind, count(v.value), avg(v.value), min(v.value), max(v.value), v.unit
    FROM rootdx.cycle c JOIN rootdx.asset a USING (asset_id) JOIN rootdx.feature_set s USING (set_id)
    CROSS JOIN LATERAL (
        SELECT c.value[array_position(s.names, 'specific_energy')] AS value,
               s.units[array_position(s.names, 'specific_energy')] AS unit
    ) v
    WHERE 'specific_energy' = ANY(s.names) AND v.value IS NOT NULL AND c.end_ts IS NOT NULL
      AND (%(machines)s::text[] IS NULL OR a.path = ANY(%(machines)s))
      AND c.start_ts >= %(first)s AND c.start_ts < %(last)s
    GROUP BY a.path, c.kind, v.unit ORDER BY a.path, c.kind"""
