"""Figures: cycles and capability, OEE and losses, energy and the quarter-hour peak."""

from typing import Final

from rootdx.grafana.model import Page, Panel, Variable
from rootdx.grafana.plant import PLACE
from rootdx.grafana.queries import FEATURE, FROM, LOT, ON_MACHINE, TO, chosen, newest_cycles

OF_LOT: Final = " AND " + chosen("coalesce(lot, '')", "lot")
DAYS: Final = f"day BETWEEN {FROM}::date AND {TO}::date + 1"

CAPABILITY: Final = f"""
WITH spread AS (
    SELECT kind, feature, unit, count(value) AS n, avg(value) AS mean, stddev_samp(value) AS sd,
           (array_agg(low ORDER BY start_ts DESC))[1] AS low, (array_agg(high ORDER BY start_ts DESC))[1] AS high,
           count(*) FILTER (WHERE NOT within) AS outside
    FROM rootdx.features WHERE cycle_id IN {newest_cycles(OF_LOT + " AND flags = '{}'")} GROUP BY kind, feature, unit
)
SELECT kind AS "@column.kind", feature AS "@column.feature", n AS "@column.n_used", mean AS "@grafana.series.mean",
       sd AS "@grafana.column.sd", unit AS "@column.unit", low AS "@column.low", high AS "@column.high",
       outside AS "@grafana.series.outside", (high - low) / nullif(6 * sd, 0) AS "@grafana.column.pp",
       least((high - mean) / nullif(3 * sd, 0), (mean - low) / nullif(3 * sd, 0)) AS "@grafana.column.ppk"
FROM spread WHERE n > 1
ORDER BY least((high - mean) / nullif(3 * sd, 0), (mean - low) / nullif(3 * sd, 0)) NULLS LAST, kind, feature"""

RUN_CHART: Final = f"""
SELECT start_ts AS time, regexp_replace(asset, '^.*/', '') AS metric, value AS "@column.value", low AS "@column.low",
       high AS "@column.high", CASE WHEN NOT within THEN value END AS "@grafana.series.outside"
FROM rootdx.features WHERE cycle_id IN {newest_cycles(OF_LOT)} AND {chosen("feature", "feature")} ORDER BY 1, 2"""

SPREAD: Final = f"""
WITH f AS MATERIALIZED (
    SELECT value FROM rootdx.features
    WHERE cycle_id IN {newest_cycles(OF_LOT)} AND {chosen("feature", "feature")} AND value IS NOT NULL
), edge AS (SELECT min(value) AS low, greatest((max(value) - min(value)) / 20, 1e-12) AS step FROM f)
SELECT e.low + (least(floor((f.value - e.low) / e.step), 19) + 0.5) * e.step AS "@column.value",
       count(*)::float8 AS "@column.cycles"
FROM f CROSS JOIN edge e GROUP BY 1 ORDER BY 1"""

DURATIONS: Final = f"""
SELECT start_ts AS time, regexp_replace(asset, '^.*/', '') || ' ' || kind AS metric, seconds AS "@column.seconds"
FROM rootdx.cycles WHERE cycle_id IN {newest_cycles(OF_LOT)} ORDER BY 1, 2"""

CYCLE_LIST: Final = f"""
SELECT start_ts AS "@column.start", end_ts AS "@column.end", seconds AS "@column.seconds",
       regexp_replace(asset, '^.*/', '') AS "@column.machine", kind AS "@column.kind", number AS "@column.number",
       lot AS "@column.lot", part AS "@column.part", recipe AS "@column.recipe", verdict AS "@column.verdict",
       array_to_string(flags, ', ') AS "@column.flags", version AS "@column.version", cycle_id AS "@column.id"
FROM rootdx.cycles WHERE {ON_MACHINE} AND $__timeFilter(start_ts){OF_LOT} ORDER BY start_ts DESC LIMIT 500"""

OUTSIDE: Final = f"""
SELECT start_ts AS "@column.start", regexp_replace(asset, '^.*/', '') AS "@column.machine",
       feature AS "@column.feature", value AS "@column.value", unit AS "@column.unit", low AS "@column.low",
       high AS "@column.high", context ->> 'lot' AS "@column.lot"
FROM rootdx.features WHERE cycle_id IN {newest_cycles(OF_LOT)} AND NOT within ORDER BY start_ts DESC LIMIT 200"""

BY_SHIFT: Final = f"""
SELECT shift_start AS "@column.start", regexp_replace(asset, '^.*/', '') AS "@column.machine",
       shift AS "@column.shift", order_name AS "@column.order", availability AS "@column.availability",
       effectiveness AS "@column.effectiveness", quality_ratio AS "@column.quality_ratio", oee AS "@column.oee",
       produced AS "@column.produced", good AS "@column.good", scrap_ratio AS "@column.scrap_ratio",
       setup_rate AS "@column.setup_rate", kwh_per_good AS "@column.kwh_per_good"
FROM rootdx.kpis WHERE {ON_MACHINE} AND {DAYS} ORDER BY shift_start DESC, asset LIMIT 500"""

OEE_BY_DAY: Final = f"""
SELECT day::timestamptz AS time, regexp_replace(asset, '^.*/', '') AS metric, oee AS "@column.oee"
FROM rootdx.kpis_by_day WHERE {ON_MACHINE} AND {DAYS} ORDER BY 1, 2"""

OEE_BY_LINE: Final = f"""
SELECT day AS "@column.day", line AS "@column.line", availability AS "@column.availability",
       effectiveness AS "@column.effectiveness", quality_ratio AS "@column.quality_ratio", oee AS "@column.oee",
       produced AS "@column.produced", good AS "@column.good", kwh_per_good AS "@column.kwh_per_good"
FROM rootdx.kpis_by_line WHERE {chosen("line", "line")} AND {DAYS} ORDER BY day DESC, line LIMIT 500"""

_TIMES: Final = "production_s setup_s delay_s down_s technical_s organisational_s blind_s".split()

LOSSES: Final = f"""
SELECT day::timestamptz AS time,
       sum(production_s) AS "@column.production_s", sum(setup_s) AS "@column.setup_s",
       sum(delay_s) AS "@column.delay_s", sum(technical_s) AS "@column.technical_s",
       sum(organisational_s) AS "@column.organisational_s",
       sum(down_s - technical_s - organisational_s) AS "@column.down_s", sum(blind_s) AS "@column.blind_s"
FROM rootdx.kpi_elements WHERE {ON_MACHINE} AND {DAYS} GROUP BY day ORDER BY 1"""

LOSS_TABLE: Final = f"""
SELECT regexp_replace(asset, '^.*/', '') AS "@column.machine", sum(planned_busy_s) AS "@column.planned_busy_s",
       {", ".join(f'sum({one}) AS "@column.{one}"' for one in _TIMES)}, sum(failures) AS "@column.failures",
       sum(scrap) AS "@column.scrap", sum(rework) AS "@column.rework"
FROM rootdx.kpi_elements WHERE {ON_MACHINE} AND {DAYS} GROUP BY asset ORDER BY asset"""

PIECES: Final = f"""
SELECT day::timestamptz AS time, sum(good) AS "@column.good", sum(scrap) AS "@column.scrap",
       sum(rework) AS "@column.rework"
FROM rootdx.kpi_elements WHERE {ON_MACHINE} AND {DAYS} GROUP BY day ORDER BY 1"""

PEAK: Final = f"""
SELECT max(kw) AS "@column.peak_kw", sum(kwh) AS "@column.energy_kwh",
       count(*) FILTER (WHERE kw IS NULL) AS "@grafana.column.quarters_missing"
FROM rootdx.demands WHERE {ON_MACHINE} AND $__timeFilter(quarter)"""

DEMAND: Final = f"""
SELECT quarter AS time, regexp_replace(asset, '^.*/', '') AS metric, kw AS "@column.demand_kw"
FROM rootdx.demands WHERE {ON_MACHINE} AND $__timeFilter(quarter) ORDER BY 1, 2"""

PEAKS: Final = f"""
SELECT quarter AS "@column.quarter", regexp_replace(asset, '^.*/', '') AS "@column.machine", kw AS "@column.demand_kw",
       kwh AS "@column.energy_kwh"
FROM rootdx.demands WHERE {ON_MACHINE} AND $__timeFilter(quarter) AND kw IS NOT NULL ORDER BY kw DESC LIMIT 20"""

ENERGY_BY_DAY: Final = f"""
SELECT $__timeGroup(quarter, '1d') AS time, regexp_replace(asset, '^.*/', '') AS metric,
       sum(kwh) AS "@column.energy_kwh"
FROM rootdx.demands WHERE {ON_MACHINE} AND $__timeFilter(quarter) GROUP BY 1, 2 ORDER BY 1, 2"""

PER_GOOD: Final = f"""
SELECT day AS "@column.day", regexp_replace(asset, '^.*/', '') AS "@column.machine",
       energy_kwh AS "@column.energy_kwh", good AS "@column.good", kwh_per_good AS "@column.kwh_per_good"
FROM rootdx.kpis_by_day WHERE {ON_MACHINE} AND {DAYS} ORDER BY day DESC, asset LIMIT 500"""

CYCLES: Final = Page(
    "cycles",
    (*PLACE, Variable("lot", LOT, by_range=True), Variable("feature", FEATURE, many=False)),
    (
        (Panel("capability", "table", CAPABILITY, width=24, height=10),),
        (Panel("run_chart", "lines", RUN_CHART, width=16), Panel("spread", "trend", SPREAD, width=8, x="column.value")),
        (Panel("durations", "lines", DURATIONS, unit="s"), Panel("outside", "table", OUTSIDE)),
        (Panel("cycle_list", "table", CYCLE_LIST, width=24, height=12),),
    ),
    since="now-7d",
    refresh="5m",
)

OEE: Final = Page(
    "oee",
    PLACE,
    (
        (Panel("oee_by_day", "lines", OEE_BY_DAY, unit="percentunit"), Panel("losses", "bars", LOSSES, unit="s")),
        (Panel("loss_table", "table", LOSS_TABLE, width=24),),
        (Panel("by_shift", "table", BY_SHIFT, width=24, height=10),),
        (Panel("oee_by_line", "table", OEE_BY_LINE), Panel("pieces", "bars", PIECES)),
    ),
    since="now-30d",
    refresh="5m",
)

ENERGY: Final = Page(
    "energy",
    PLACE,
    (
        (Panel("peak", "stat", PEAK, width=24, height=4),),
        (Panel("demand", "lines", DEMAND, width=24, unit="kwatt"),),
        (Panel("peaks", "table", PEAKS), Panel("energy_by_day", "bars", ENERGY_BY_DAY, unit="kwatth")),
        (Panel("per_good", "table", PER_GOOD, width=24),),
    ),
    since="now-30d",
    refresh="5m",
)
