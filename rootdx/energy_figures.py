"""Energy of a plant: quarter-hour demand and its forecast, what is billed, base load, figures per square metre.

* Demand of several meters is their sum where all that have a row of the quarter are known. Name the site's own meter
  with --machine where there is one, else machines below it would count twice.
* The running quarter is that of the newest row of the counter, not of the wall clock: a forecast of old rows says so.
* Area is that of good, whole plating racks: `area_dm2` of their context, else of their machine file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from analytics.energy import (
    QUARTER_NS,
    Month,
    base_load,
    billing_demand,
    demand_forecast,
    electricity_emission,
    grid_factor,
)
from analytics.formulas.surface_treatment import per_area, per_charge
from analytics.machines import METER
from analytics.result import Reason
from analytics.rows import Wanted, read
from analytics.shifts import shift_runs
from analytics.time_series import counter_delta
from analytics.window import SECOND_NS, Series
from pipeline.migrate import Connection
from pipeline.plant import Plant
from rootdx.export import Cell, Missing, Table, column
from rootdx.invocation import ask, machine_paths
from rootdx.key_figures import cell
from rootdx.moments import Span
from rootdx.texts import say

POWER: Final = "energy.power"
"""Role of a power reading, kW; without one the counter of the last minutes stands in."""
SLOPE_S: Final = 180.0
YEAR: Final = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class Scope:
    """What is asked for: when, which machines (None: all), in which plant."""

    span: Span
    machines: Sequence[str] | None
    plant: Plant

    @property
    def zone(self) -> ZoneInfo:
        """Of the plant."""
        return ZoneInfo(self.plant.time_zone)

    @property
    def given(self) -> dict[str, Any]:
        """For a query."""
        machines = None if self.machines is None else list(self.machines)
        return {"machines": machines, "first": self.span.first, "last": self.span.last}


async def tables(db: Connection, span: Span, machine: str | None, plant: Plant, now: datetime) -> list[Table]:
    """Everything about energy, a table a question.

    Raises:
        BadData: nobody knows the machine.
    """
    machines = None if machine is None else await machine_paths(db, [machine])
    scope = Scope(span, machines, plant)
    return [
        await _forecast(db, scope, now),
        await _billing(db, scope),
        await _quarters(db, scope),
        await _base(db, scope),
        await _green(db, scope),
    ]


async def _quarters(db: Connection, scope: Scope) -> Table:
    rows = [
        [machine, quarter, Missing(why) if kw is None else kw, Missing(why) if kw is None else kw / 4]
        for machine, quarter, kw, why in await ask(db, _QUARTERS, scope.given)
    ]
    columns = [
        column("machine"), column("quarter", "time"), column("demand_kw", "number", "kW"),
        column("energy_kwh", "number", "kW.h"),
    ]  # fmt: skip
    return Table("demand", say("energy.demand"), columns, rows, scope.plant.time_zone, reasons=True)


async def _forecast(db: Connection, scope: Scope, now: datetime) -> Table:
    """F-ENE-03: of each meter the quarter hour of its newest row."""
    tags: dict[str, dict[str, int]] = {}
    for machine, role, tag_id in await ask(db, _METERS, {"machines": scope.given["machines"], "roles": [METER, POWER]}):
        tags.setdefault(machine, {})[role] = tag_id
    rows: list[list[Cell]] = []
    for machine, roles in tags.items():
        line = await _running(db, roles, now) if METER in roles else None
        if line is not None:
            rows.append([machine, *line])
    columns = [
        column("machine"), column("quarter", "time"), column("newest", "time"), column("age_s", "number", "s"),
        column("so_far_kwh", "number", "kW.h"), column("power_kw", "number", "kW"),
        column("forecast_kw", "number", "kW"),
    ]  # fmt: skip
    old = [str(row[0]) for row in rows if isinstance(row[3], float) and row[3] > QUARTER_NS / SECOND_NS]
    notes = [say("energy.stale", machines=", ".join(old))] if old else []
    return Table("forecast", say("energy.forecast"), columns, rows, scope.plant.time_zone, reasons=True, notes=notes)


async def _running(db: Connection, roles: Mapping[str, int], now: datetime) -> list[Cell] | None:
    """Quarter, newest row and its age, energy so far, power, forecast; None without rows."""
    newest = (await ask(db, _NEWEST, [roles[METER]]))[0][0]
    if newest is None:
        return None
    newest_ns = newest * 1000
    quarter_ns = newest_ns // QUARTER_NS * QUARTER_NS
    first_ns = quarter_ns - round(SLOPE_S * SECOND_NS)
    wanted = [Wanted(tag, first_ns, newest_ns + 1000) for tag in (roles[METER], roles.get(POWER, -1))]
    meter, power = (series.good for series in await read(db, wanted))
    so_far, kw = _counted(meter, quarter_ns), _power(meter, power, newest_ns)
    found = demand_forecast(so_far, (newest_ns - quarter_ns) / SECOND_NS, kw).one()
    ends = [_moment(ns) for ns in (quarter_ns, newest_ns)]
    none = Missing(Reason.MISSING_INPUT.name)
    return [*ends, (now - ends[1]).total_seconds(), none if so_far is None else so_far, none if kw is None else kw,
            cell(found)]  # fmt: skip


def _counted(meter: Series, since_ns: int) -> float | None:
    """KWh since a moment; None when the counter was not seen at it, or was reset."""
    if len(meter) < 2 or meter.ts_ns[0] > since_ns:
        return None
    steps = counter_delta(meter.value[:-1], meter.value[1:], meter.counter).value
    total = np.concatenate(([0.0], np.cumsum(steps)))
    value = float(total[-1] - np.interp(since_ns, meter.ts_ns, total))
    return value if np.isfinite(value) else None


def _power(meter: Series, power: Series, newest_ns: int) -> float | None:
    """KW now: the newest reading, else the slope of the counter."""
    recent = power.between(newest_ns - round(SLOPE_S * SECOND_NS), newest_ns + 1)
    if len(recent):
        return float(recent.value[-1])
    last = meter.between(newest_ns - round(SLOPE_S * SECOND_NS), newest_ns + 1)
    if len(last) < 2:
        return None
    hours = float(last.ts_ns[-1] - last.ts_ns[0]) / SECOND_NS / 3600
    counted = _counted(last, int(last.ts_ns[0]))
    return None if counted is None else counted / hours


async def _billing(db: Connection, scope: Scope) -> Table:
    """F-ENE-04: peaks of the months, and what is billed in those of the span."""
    given = scope.given | {"first": scope.span.first - YEAR, "zone": scope.plant.time_zone}
    peaks: dict[Month, tuple[float, datetime]] = {}
    for year, month, kw, at in await ask(db, _PEAKS, given):
        peaks[Month(year, month)] = (kw, at)
    known = {month: kw for month, (kw, _) in peaks.items()}
    contract = scope.plant.contract_kw
    first, last = (one.astimezone(scope.zone) for one in (scope.span.first, scope.span.last))
    rows: list[list[Cell]] = []
    for month in sorted(peaks):
        if Month(first.year, first.month) <= month <= Month(last.year, last.month):
            billed = billing_demand(month, known, np.nan if contract is None else contract)
            kw, at = peaks[month]
            rows.append([f"{month.year}-{month.month:02}", kw, at, contract, cell(billed), billed.coverage])
    columns = [
        column("month"), column("peak_kw", "number", "kW"), column("quarter", "time"),
        column("contract_kw", "number", "kW"), column("billing_kw", "number", "kW"), column("coverage", "share", "1"),
    ]  # fmt: skip
    notes = [say("energy.no_contract")] if contract is None else []
    if scope.machines is None:
        notes.append(say("energy.sum_of_meters"))
    return Table("billing", say("energy.billing"), columns, rows, scope.plant.time_zone, reasons=True, notes=notes)


async def _base(db: Connection, scope: Scope) -> Table:
    """F-ENE-01: base load of a shift and energy of an item, by least squares over the whole shifts of a machine."""
    shifts: dict[str, list[tuple[float, float, float]]] = {}
    ends = _calendar(scope)
    for machine, start, end, good, kwh in await ask(db, _SHIFTS, scope.given):
        if ends.get(start) == end:
            hours = (end - start).total_seconds() / 3600
            shifts.setdefault(machine, []).append((good, np.nan if kwh is None else kwh, hours))
    rows: list[list[Cell]] = []
    for machine, points in shifts.items():
        items, energy, hours = np.array(points).T
        found = base_load(items, energy)
        mean_h = float(np.mean(hours))
        base = found.base
        kw: Cell = cell(base) if base.value is None or mean_h <= 0 else base.value / mean_h
        rows.append([machine, cell(base), kw, cell(found.per_item), base.n_used])
    columns = [
        column("machine"), column("base_kwh", "number", "kW.h"), column("base_kw", "number", "kW"),
        column("per_item_kwh", "number", "kW.h"), column("shifts", "whole"),
    ]  # fmt: skip
    return Table("base", say("energy.base"), columns, rows, scope.plant.time_zone, reasons=True)


def _calendar(scope: Scope) -> dict[datetime, datetime]:
    """When the shifts that begin in a span would end: what ends before is still running, or ran out of rows."""
    first, last = (round(one.timestamp() * 1_000_000) * 1000 for one in (scope.span.first, scope.span.last))
    return {_moment(run.start_ns): _moment(run.end_ns) for run in shift_runs(scope.plant, first, last)}


def _moment(ns: int) -> datetime:
    return datetime.fromtimestamp(ns / SECOND_NS, UTC)


async def _green(db: Connection, scope: Scope) -> Table:
    """F-SUR-15: energy and CO2 equivalents per square metre of good racks, and per ampere hour."""
    plated = {machine: rest for machine, *rest in await ask(db, _PLATED, scope.given)}
    energy: dict[str, list[tuple[float, float]]] = {}
    for machine, day, kwh in await ask(db, _DAYS, scope.given):
        factor = grid_factor(day)
        value = np.nan if kwh is None else kwh
        emitted = electricity_emission(value / 1000, np.nan if factor is None else factor.factor_t_mwh).one().value
        energy.setdefault(machine, []).append((value, np.nan if emitted is None else 1000 * emitted))
    rows: list[list[Cell]] = []
    for machine, (racks, area_m2, charge) in plated.items():
        kwh, kg = np.sum(energy.get(machine, [(np.nan, np.nan)]), axis=0).tolist()
        by_area = [per_area(kwh, area_m2, "kW.h"), per_area(kg, area_m2, "kg")]
        by_charge = [per_charge(kwh, charge, "kW.h"), per_charge(kg, charge, "kg")]
        rows.append([machine, racks, area_m2, *(cell(one.one()) for one in (*by_area, *by_charge))])
    columns = [
        column("machine"), column("racks", "whole"), column("area_m2", "number", "m2"),
        column("kwh_m2", "number", "kW.h/m2"), column("co2e_m2", "number", "kg/m2"),
        column("kwh_ah", "number", "kW.h/A/h"), column("co2e_ah", "number", "kg/A/h"),
    ]  # fmt: skip
    return Table("green", say("energy.green"), columns, rows, scope.plant.time_zone, reasons=True)


_MACHINES: Final = "(%(machines)s::text[] IS NULL OR {} = ANY(%(machines)s))"
_QUARTERS: Final = f"""
    SELECT asset, quarter, kw, reason FROM rootdx.demands
    WHERE {_MACHINES.format("asset")} AND quarter >= %(first)s AND quarter < %(last)s
    ORDER BY quarter, asset"""  # noqa: S608  # a constant of ours
_METERS: Final = f"""
    SELECT a.path, t.role, min(t.tag_id) FROM rootdx.tag t JOIN rootdx.asset a USING (asset_id)
    WHERE {_MACHINES.format("a.path")} AND t.role = ANY(%(roles)s) GROUP BY 1, 2 ORDER BY 1, 2"""  # noqa: S608  # ours
_NEWEST: Final = """
    SELECT (SELECT rootdx.us(ts) FROM rootdx.measurement WHERE tag_id = %s AND value IS NOT NULL
            ORDER BY ts DESC LIMIT 1)"""
_PEAKS: Final = f"""
    SELECT DISTINCT ON (year, month) year, month, kw, quarter FROM (
        SELECT quarter, extract(year FROM quarter AT TIME ZONE %(zone)s)::int AS year,
               extract(month FROM quarter AT TIME ZONE %(zone)s)::int AS month, sum(kw) AS kw
        FROM rootdx.demands WHERE {_MACHINES.format("asset")} AND quarter >= %(first)s AND quarter < %(last)s
        GROUP BY quarter HAVING bool_and(kw IS NOT NULL)
    ) q ORDER BY year, month, kw DESC, quarter"""  # noqa: S608  # a constant of ours
_SHIFTS: Final = f"""
    SELECT asset, shift_start, max(shift_end), sum(good),
           CASE WHEN bool_and(energy_kwh IS NOT NULL) THEN sum(energy_kwh) END
    FROM rootdx.kpi_elements
    WHERE {_MACHINES.format("asset")} AND shift_start >= %(first)s AND shift_start < %(last)s
    GROUP BY asset, shift_start ORDER BY asset, shift_start"""  # noqa: S608  # a constant of ours
_DAYS: Final = f"""
    SELECT asset, day, CASE WHEN bool_and(energy_kwh IS NOT NULL) THEN sum(energy_kwh) END FROM rootdx.kpi_elements
    WHERE {_MACHINES.format("asset")} AND shift_start >= %(first)s AND shift_start < %(last)s
    GROUP BY asset, day"""  # noqa: S608  # a constant of ours
_PLATED: Final = f"""
    SELECT asset, count(area), coalesce(sum(area), 0) / 100, coalesce(sum(charge), 0) FROM (
        SELECT a.path AS asset,
               coalesce((substring(c.context->>'area_dm2' FROM '^[0-9]+[.]?[0-9]*$'))::float8,
                        (p.settings->>'area_dm2')::float8) AS area,
               c.value[array_position(s.names, 'charge')] AS charge
        FROM rootdx.cycle c JOIN rootdx.asset a USING (asset_id) JOIN rootdx.process_config p USING (config_id)
        LEFT JOIN rootdx.feature_set s USING (set_id)
        WHERE {_MACHINES.format("a.path")} AND c.start_ts >= %(first)s AND c.start_ts < %(last)s
          AND c.end_ts IS NOT NULL AND c.verdict IS DISTINCT FROM 'fail' AND NOT 'aborted' = ANY(c.flags)
          AND (p.settings ? 'area_dm2' OR c.context ? 'area_dm2')
    ) g GROUP BY asset HAVING count(area) > 0 ORDER BY asset"""  # noqa: S608  # a constant of ours
