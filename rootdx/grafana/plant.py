"""The plant overview, and whether the data are whole."""

from typing import Final

from rootdx.grafana.model import Page, Panel, Variable
from rootdx.grafana.queries import (
    FROM,
    LENGTH,
    LINE,
    MACHINE,
    MINUTES_MS,
    ON_MACHINE,
    ORIGIN,
    SITE,
    STEP,
    TO,
    machine_states,
)

PLACE: Final = (Variable("site", SITE), Variable("line", LINE), Variable("machine", MACHINE))

TILES: Final = f"""
WITH {machine_states(TO)}
SELECT s.machine AS "@column.machine", s.name AS "@column.name", s.state AS "@grafana.column.state",
       CASE WHEN c.end_ts IS NULL THEN c.kind END AS "@grafana.column.running", c.running_phase AS "@column.phase",
       CASE WHEN c.end_ts IS NULL THEN extract(epoch FROM {TO} - c.start_ts)::float8 END AS "@grafana.column.elapsed",
       d.verdict AS "@grafana.column.last_verdict", k.oee AS "@column.oee", k.day AS "@column.day",
       coalesce(a.open, 0) AS "@grafana.column.open_alarms",
       CASE WHEN s.expected > 0 THEN least(s.good / s.expected, 1)::float8 END AS "@grafana.column.health",
       extract(epoch FROM {TO} - l.ts)::float8 AS "@column.age_s", s.line AS "@column.line",
       s.asset AS "@grafana.column.asset"
FROM machine_state s
LEFT JOIN LATERAL (
    SELECT start_ts, end_ts, kind, running_phase FROM rootdx.cycles c
    WHERE c.asset_id = s.asset_id AND c.start_ts > {TO} - INTERVAL '7 days' AND c.start_ts <= {TO}
    ORDER BY start_ts DESC LIMIT 1
) c ON true
LEFT JOIN LATERAL (
    SELECT verdict FROM rootdx.cycles c
    WHERE c.asset_id = s.asset_id AND c.start_ts > {TO} - INTERVAL '7 days' AND c.start_ts <= {TO}
      AND c.end_ts IS NOT NULL
    ORDER BY start_ts DESC LIMIT 1
) d ON true
LEFT JOIN LATERAL (
    SELECT oee, day FROM rootdx.kpis_by_day k
    WHERE k.asset = s.asset AND k.day BETWEEN {TO}::date - 7 AND {TO}::date + 1 ORDER BY k.day DESC LIMIT 1
) k ON true
LEFT JOIN (
    SELECT asset, count(*) AS open FROM rootdx.alarms
    WHERE active AND state NOT IN ('shelved', 'suppressed', 'out_of_service') GROUP BY asset
) a ON a.asset = s.asset
LEFT JOIN (SELECT asset, max(ts) AS ts FROM rootdx.latest GROUP BY asset) l ON l.asset = s.asset
WHERE s.asset = ANY (ARRAY[${{machine:sqlstring}}]::text[])
ORDER BY s.asset"""

COUNTS: Final = f"""
WITH {machine_states(TO)}
SELECT count(*) FILTER (WHERE state = 'ok') AS "@grafana.state.ok",
       count(*) FILTER (WHERE state = 'off') AS "@grafana.state.off",
       count(*) FILTER (WHERE state = 'link_down') AS "@grafana.state.link_down",
       count(*) FILTER (WHERE state = 'sensor_bad') AS "@grafana.state.sensor_bad",
       (SELECT count(*) FROM rootdx.alarms WHERE active AND state NOT IN ('shelved', 'suppressed', 'out_of_service')
        AND {ON_MACHINE}) AS "@grafana.column.open_alarms"
FROM machine_state WHERE {ON_MACHINE}"""

OEE_TODAY: Final = f"""
SELECT DISTINCT ON (asset) regexp_replace(asset, '^.*/', '') AS "@column.machine", oee AS "@column.oee"
FROM rootdx.kpis_by_day WHERE {ON_MACHINE} AND day BETWEEN {FROM}::date AND {TO}::date + 1
ORDER BY asset, day DESC"""

OPEN_ALARMS: Final = f"""
SELECT raised AS "@grafana.column.raised", regexp_replace(asset, '^.*/', '') AS "@column.machine",
       priority AS "@column.priority", state AS "@column.state", detector AS "@grafana.column.detector",
       subject AS "@grafana.column.subject", facts ->> 'value' AS "@column.value", facts ->> 'low' AS "@column.low",
       facts ->> 'high' AS "@column.high", acknowledged_by AS "@grafana.column.acknowledged_by",
       done AS "@grafana.column.done"
FROM rootdx.alarms WHERE {ON_MACHINE} AND (active OR state <> 'normal')
ORDER BY array_position(ARRAY['high', 'medium', 'low'], priority), raised DESC LIMIT 200"""

_CAUSES: Final = "unreachable late gateway_down spool_full quarantined machine_off on_the_way".split()
MINUTELY_MS: Final = 6 * 3_600_000
"""Completeness of a range up to this long is counted by minutes, of a longer one by hours."""
_STEP: Final = (
    f"greatest({STEP}, CASE WHEN {LENGTH} > {MINUTELY_MS} THEN INTERVAL '1 hour' ELSE INTERVAL '1 minute' END)"
)
_COUNTED: Final = f"""
WITH counted AS (
    SELECT minute, asset, expected, stored, {", ".join(_CAUSES)} FROM rootdx.completeness_by_asset
    WHERE {LENGTH} <= {MINUTELY_MS} AND $__timeFilter(minute) AND {ON_MACHINE}
    UNION ALL
    SELECT hour, asset, expected, stored, {", ".join(_CAUSES)} FROM rootdx.completeness_hours({FROM}, {TO})
    WHERE {LENGTH} > {MINUTELY_MS} AND {ON_MACHINE}
)"""

HEALTH: Final = f"""{_COUNTED}
SELECT date_bin({_STEP}, minute, {ORIGIN}) AS time,
       regexp_replace(asset, '^.*/', '') AS metric,
       (least(sum(stored + machine_off)::float8 / nullif(sum(expected), 0), 1)) AS "@grafana.column.health"
FROM counted GROUP BY 1, 2 ORDER BY 1, 2"""

BY_CAUSE: Final = f"""{_COUNTED}
SELECT date_bin({_STEP}, minute, {ORIGIN}) AS time,
       {", ".join(f'sum({one})::float8 AS "@grafana.cause.{one}"' for one in _CAUSES)}
FROM counted GROUP BY 1 ORDER BY 1"""

BY_MACHINE: Final = f"""{_COUNTED}
SELECT regexp_replace(asset, '^.*/', '') AS "@column.machine", sum(expected) AS "@column.due_rows",
       sum(stored) AS "@grafana.column.stored",
       least(sum(stored)::float8 / nullif(sum(expected), 0), 1) AS "@grafana.column.health",
       {", ".join(f'sum({one}) AS "@grafana.cause.{one}"' for one in _CAUSES)}
FROM counted GROUP BY asset ORDER BY asset"""

BY_TAG: Final = f"""
WITH counted AS (
    SELECT tag_id, sum(count) AS rows, sum(good_count) AS good, sum(bad_count) AS bad
    FROM rootdx.measurement_1m WHERE {LENGTH} <= {MINUTES_MS} / 7 AND $__timeFilter(bucket)
      AND tag_id = ANY (ARRAY(SELECT tag_id FROM rootdx.tags WHERE {ON_MACHINE})) GROUP BY tag_id
    UNION ALL
    SELECT tag_id, sum(count), sum(good_count), sum(bad_count)
    FROM rootdx.measurement_1h WHERE {LENGTH} > {MINUTES_MS} / 7 AND $__timeFilter(bucket)
      AND tag_id = ANY (ARRAY(SELECT tag_id FROM rootdx.tags WHERE {ON_MACHINE})) GROUP BY tag_id
)
SELECT regexp_replace(t.asset, '^.*/', '') AS "@column.machine", t.tag AS "@column.tag", c.rows AS "@column.rows",
       c.bad AS "@grafana.column.bad", c.rows - c.good - c.bad AS "@grafana.column.uncertain",
       (c.good / nullif(c.rows, 0))::float8 AS "@grafana.column.good_share"
FROM counted c JOIN rootdx.tags t USING (tag_id) ORDER BY c.good / nullif(c.rows, 0), t.asset, t.tag LIMIT 200"""

EVENTS: Final = """
SELECT ts AS "@column.time", asset AS "@grafana.column.asset", kind AS "@column.kind", phase AS "@grafana.column.event",
       severity AS "@column.severity", text AS "@column.text", key AS "@grafana.column.key"
FROM rootdx.events WHERE $__timeFilter(ts) AND (severity >= 400 OR kind LIKE 'device.%' OR kind = 'loss')
ORDER BY ts DESC LIMIT 300"""

BACKLOG: Final = f"""
SELECT regexp_replace(asset, '^.*/', '') AS "@column.machine", requests AS "@grafana.column.requests",
       asked AS "@grafana.column.asked", since AS "@grafana.column.since"
FROM rootdx.backlog WHERE {ON_MACHINE} ORDER BY asset"""

OVERVIEW: Final = Page(
    "overview",
    PLACE,
    (
        (Panel("counts", "stat", COUNTS, width=24, height=4),),
        (Panel("tiles", "table", TILES, width=24, height=9),),
        (Panel("oee_today", "gauges", OEE_TODAY, width=8, unit="percentunit"),
         Panel("open_alarms", "table", OPEN_ALARMS, width=16)),
        (Panel("health", "lines", HEALTH, width=24, unit="percentunit"),),
    ),
    since="now-24h",
)  # fmt: skip

COMPLETENESS: Final = Page(
    "completeness",
    PLACE,
    (
        (Panel("outage_left", "stat", metrics=(
            ("min(rootdx_spool_outage_hours_left) or vector(0)", "@grafana.legend.hours_left"),),
               width=6, height=5, unit="h"),
         Panel("flowing", "stat", metrics=(("rootdx_data_flowing", "{{process}}"),), width=9, height=5,
               unit="bool_yes_no"),
         Panel("dropped", "stat", metrics=(
             ("sum(increase(rootdx_spool_dropped_rows_total[$__range])) or vector(0)", "@grafana.legend.dropped"),
             ("sum(increase(rootdx_quarantined_total[$__range])) or vector(0)", "@grafana.legend.quarantined")),
               width=9, height=5)),
        (Panel("by_machine", "table", BY_MACHINE, width=24),),
        (Panel("by_cause", "bars", BY_CAUSE, width=24),),
        (Panel("by_tag", "table", BY_TAG), Panel("backlog", "table", BACKLOG)),
        (Panel("spool", "lines", metrics=(("rootdx_spool_outage_hours_left", "@grafana.legend.hours_left"),),
               width=8, unit="h"),
         Panel("spool_bytes", "lines", metrics=(("rootdx_spool_bytes", "{{instance}}"),), width=8, unit="bytes"),
         Panel("lag", "lines", metrics=(("rootdx_lag_seconds", "{{gateway}}"),), width=8, unit="s")),
        (Panel("rows_rate", "lines", metrics=(
            ("sum by (gateway) (rate(rootdx_committed_rows_total[$__rate_interval]))", "{{gateway}}"),), unit="rowsps"),
         Panel("requests", "lines", metrics=(
             ("sum by (asset, outcome) (rate(rootdx_requests_total[$__rate_interval]))", "{{asset}} {{outcome}}"),),
               unit="reqps")),
        (Panel("events", "table", EVENTS, width=24),),
    ),
)  # fmt: skip
