"""A dashboard a process, all of one mould: what runs, phases, the curve against the good ones, features, records."""

from collections.abc import Mapping
from typing import Final

from rootdx.grafana.model import Page, Panel, Variable
from rootdx.grafana.queries import ON_MACHINE, TO, TREND, chosen, newest_cycles

KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "casting": ("hpdc_shot", "melt_batch"),
    "heat_treatment": ("sealed_quench", "pit_load", "temper_load", "vacuum_load", "continuous_batch"),
    "welding": ("arc_seam", "spot_weld"),
    "surface_treatment": ("plating_rack", "plating_barrel", "anodise_rack", "ecoat_rack", "oven_cure"),
    "forging": ("press_stroke",),
    "molding": ("molding_cycle",),
}
"""Cycles of each process."""
GOOD: Final = 20
"""Cycles that a curve is compared with."""
FAST_S: Final = 1800
"""A cycle longer than this is drawn from minutes, not from raw rows."""


def _page(process: str) -> Page:
    kinds = ", ".join(f"'{kind}'" for kind in KINDS[process])
    of = f" AND kind IN ({kinds})"
    machine = f"""
SELECT asset AS __value, machine || ' ' || name AS __text FROM rootdx.machines m
WHERE {chosen("line", "line")} AND (process = '{process}' OR EXISTS (
    SELECT FROM rootdx.cycles c WHERE c.asset_id = m.asset_id AND c.kind IN ({kinds}))) ORDER BY asset"""
    line = f"""
SELECT DISTINCT line FROM rootdx.machines m WHERE process = '{process}' OR EXISTS (
    SELECT FROM rootdx.cycles c WHERE c.asset_id = m.asset_id AND c.kind IN ({kinds})) ORDER BY 1"""
    feature = f"""
SELECT DISTINCT feature FROM rootdx.features WHERE cycle_id IN (
    SELECT cycle_id FROM rootdx.cycles WHERE {ON_MACHINE}{of} AND end_ts IS NOT NULL ORDER BY start_ts DESC LIMIT 20)
ORDER BY 1"""
    tag = f"SELECT tag FROM rootdx.tags WHERE {ON_MACHINE} ORDER BY 1"
    return Page(
        process,
        (Variable("line", line), Variable("machine", machine, many=False), Variable("feature", feature, many=False),
         Variable("tag", tag, many=False)),
        (
            (Panel("running", "table", _running(of), width=24, height=5),),
            (Panel("phases", "timeline", _phases(of), width=24, height=6, split="lane"),),
            (Panel("curve", "trend", _curve(of), width=12, x="grafana.series.second"),
             Panel("trend", "lines", TREND, width=12)),
            (Panel("feature", "lines", _feature(of), width=12), Panel("verdicts", "bars", _verdicts(of), width=12)),
            (Panel("last_features", "table", _last_features(of), width=12, height=10),
             Panel("last_cycles", "table", _last_cycles(of), width=12, height=10)),
            (Panel("phase_times", "table", _phase_times(of), width=12), Panel("records", "table", RECORDS, width=12)),
        ),
        since="now-12h",
    )  # fmt: skip


def _running(of: str) -> str:
    return f"""
WITH typical AS (
    SELECT kind, percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS seconds FROM (
        SELECT kind, seconds FROM rootdx.cycles
        WHERE {ON_MACHINE}{of} AND end_ts IS NOT NULL AND flags = '{{}}' AND start_ts <= {TO}
        ORDER BY start_ts DESC LIMIT 200
    ) closed GROUP BY kind
), newest AS (
    SELECT DISTINCT ON (kind, lane) * FROM (
        SELECT * FROM rootdx.cycles WHERE {ON_MACHINE}{of} AND start_ts <= {TO} ORDER BY start_ts DESC LIMIT 50
    ) recent ORDER BY kind, lane, start_ts DESC
)
SELECT n.kind AS "@column.kind", n.lane AS "@column.lane", n.number AS "@column.number",
       coalesce(n.running_phase, '–') AS "@column.phase", n.start_ts AS "@column.start", n.end_ts AS "@column.end",
       coalesce(n.seconds, extract(epoch FROM {TO} - n.start_ts))::float8 AS "@column.seconds",
       t.seconds AS "@grafana.column.typical",
       CASE WHEN n.end_ts IS NULL THEN least(extract(epoch FROM {TO} - n.start_ts)::float8 / nullif(t.seconds, 0), 1)
            END AS "@grafana.column.progress",
       n.lot AS "@column.lot", n.part AS "@column.part", n.recipe AS "@column.recipe", n.verdict AS "@column.verdict"
FROM newest n LEFT JOIN typical t USING (kind) ORDER BY n.start_ts DESC"""


def _phases(of: str) -> str:
    within = f"""(SELECT cycle_id FROM rootdx.cycles WHERE {ON_MACHINE}{of} AND $__timeFilter(start_ts)
                ORDER BY start_ts DESC LIMIT 300)"""
    return f"""
SELECT start_ts AS time, kind || ' ' || lane AS lane, phase AS "@column.phase"
FROM rootdx.phases WHERE cycle_id IN {within}
UNION ALL
SELECT end_ts, kind || ' ' || lane, NULL FROM rootdx.cycles WHERE cycle_id IN {within} AND end_ts IS NOT NULL
ORDER BY 1, 3 NULLS FIRST"""


def _curve(of: str) -> str:
    return f"""
WITH chosen AS MATERIALIZED (
    SELECT start_ts, coalesce(end_ts, {TO}) AS end_ts, coalesce(verdict, 'pass') AS verdict, flags,
           extract(epoch FROM coalesce(end_ts, {TO}) - start_ts)::float8 AS seconds,
           row_number() OVER (ORDER BY start_ts DESC) AS place
    FROM rootdx.cycles WHERE {ON_MACHINE}{of} AND $__timeFilter(start_ts) AND start_ts < {TO}
    ORDER BY start_ts DESC LIMIT {GOOD + 1}
), step AS MATERIALIZED (
    SELECT greatest(percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) / 200, 0.2) AS seconds FROM chosen
), wanted AS MATERIALIZED (
    SELECT tag_id FROM rootdx.tags WHERE {ON_MACHINE} AND {chosen("tag", "tag")}
), points AS (
    SELECT c.place, c.verdict, c.flags, r.value,
           floor(extract(epoch FROM r.ts - c.start_ts)::float8 / s.seconds) * s.seconds AS second
    FROM chosen c CROSS JOIN step s CROSS JOIN wanted w CROSS JOIN LATERAL (
        SELECT h.ts, h.value FROM rootdx.history h
        WHERE c.seconds <= {FAST_S} AND h.tag_id = w.tag_id AND h.ts >= c.start_ts AND h.ts < c.end_ts
        UNION ALL
        SELECT m.bucket, m.sum / nullif(m.value_count, 0) FROM rootdx.measurement_1m m
        WHERE c.seconds > {FAST_S} AND m.tag_id = w.tag_id AND m.bucket >= c.start_ts AND m.bucket < c.end_ts
    ) r
)
SELECT second AS "@grafana.series.second", avg(value) FILTER (WHERE place = 1) AS "@grafana.series.this",
       min(value) FILTER (WHERE place > 1 AND verdict = 'pass' AND flags = '{{}}') AS "@grafana.series.good_low",
       avg(value) FILTER (WHERE place > 1 AND verdict = 'pass' AND flags = '{{}}') AS "@grafana.series.good",
       max(value) FILTER (WHERE place > 1 AND verdict = 'pass' AND flags = '{{}}') AS "@grafana.series.good_high"
FROM points GROUP BY 1 ORDER BY 1"""


def _feature(of: str) -> str:
    return f"""
SELECT start_ts AS time, value AS "@column.value", low AS "@column.low", high AS "@column.high",
       CASE WHEN NOT within THEN value END AS "@grafana.series.outside"
FROM rootdx.features WHERE cycle_id IN {newest_cycles(of)} AND {chosen("feature", "feature")} ORDER BY 1"""


def _verdicts(of: str) -> str:
    names = ("pass", "review", "fail", "incomplete", "unverified")
    counts = ", ".join(f"count(*) FILTER (WHERE verdict = '{one}') AS \"@verdict.{one}\"" for one in names)
    return f"""
SELECT $__timeGroup(start_ts, '1h') AS time, {counts}, count(*) FILTER (WHERE verdict IS NULL) AS "@verdict.none"
FROM rootdx.cycles WHERE {ON_MACHINE}{of} AND $__timeFilter(start_ts) AND end_ts IS NOT NULL GROUP BY 1 ORDER BY 1"""


def _last_features(of: str) -> str:
    return f"""
SELECT feature AS "@column.feature", value AS "@column.value", unit AS "@column.unit", low AS "@column.low",
       high AS "@column.high", within AS "@grafana.column.within", nullif(reason, 'OK') AS "@column.undefined",
       coverage AS "@column.coverage", n_used AS "@column.n_used", formula AS "@column.formula"
FROM rootdx.features WHERE cycle_id IN {newest_cycles(of, 1)} ORDER BY within NULLS LAST, feature"""


def _last_cycles(of: str) -> str:
    return f"""
SELECT start_ts AS "@column.start", kind AS "@column.kind", lane AS "@column.lane", number AS "@column.number",
       seconds AS "@column.seconds", verdict AS "@column.verdict", lot AS "@column.lot", part AS "@column.part",
       recipe AS "@column.recipe", array_to_string(flags, ', ') AS "@column.flags", version AS "@column.version"
FROM rootdx.cycles WHERE {ON_MACHINE}{of} AND $__timeFilter(start_ts) ORDER BY start_ts DESC LIMIT 100"""


def _phase_times(of: str) -> str:
    return f"""
SELECT kind AS "@column.kind", phase AS "@column.phase", count(*) AS "@column.cycles",
       min(seconds) AS "@grafana.series.low",
       percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS "@grafana.column.typical",
       max(seconds) AS "@grafana.series.high"
FROM rootdx.phases WHERE cycle_id IN {newest_cycles(of)} AND seconds IS NOT NULL
GROUP BY kind, phase ORDER BY kind, min(place)"""


RECORDS: Final = f"""
WITH named AS MATERIALIZED (
    SELECT DISTINCT e.key, e.value FROM (
        SELECT DISTINCT context FROM rootdx.cycles WHERE {ON_MACHINE} AND $__timeFilter(start_ts)
    ) c CROSS JOIN LATERAL jsonb_each_text(c.context) e
)
SELECT r.number AS "@column.record", r.made AS "@column.made", r.subject_kind AS "@column.subject_kind",
       r.subject AS "@column.subject", r.version AS "@column.version", r.verdict AS "@column.verdict",
       r.profile AS "@column.profile", r.author AS "@column.author", left(r.hash, 12) AS "@column.hash"
FROM rootdx.records r JOIN named n ON n.key = r.subject_kind AND n.value = r.subject
ORDER BY r.number DESC LIMIT 100"""

PROCESSES: Final = tuple(_page(process) for process in KINDS)
