"""For data scientists: any tag over any range, its extremes and its quality, and the rows themselves."""

from typing import Final

from rootdx.grafana.model import Page, Panel, Variable
from rootdx.grafana.plant import PLACE
from rootdx.grafana.queries import FROM, LENGTH, MINUTES_MS, ON_MACHINE, QUALITY, TAG, TO, TREND, chosen

_WANTED: Final = f"tag_id = ANY (ARRAY(SELECT tag_id FROM rootdx.tags WHERE {ON_MACHINE} AND {chosen('tag', 'tag')}))"

NEWEST: Final = f"""
SELECT regexp_replace(t.asset, '^.*/', '') AS "@column.machine", t.tag AS "@column.tag", l.value AS "@column.value",
       t.unit AS "@column.unit",
       CASE WHEN l.ts IS NULL THEN 'none' WHEN l.ts < {TO} - greatest(3 * coalesce(t.every_s, 60), 180)
            * INTERVAL '1 second' THEN 'stale' ELSE l.quality END AS "@grafana.column.data_state",
       l.ts AS "@column.newest", extract(epoch FROM {TO} - l.ts)::float8 AS "@column.age_s", t.role AS "@column.role",
       t.low AS "@column.low", t.high AS "@column.high", t.text AS "@column.text"
FROM rootdx.tags t LEFT JOIN rootdx.latest l USING (tag_id)
WHERE {ON_MACHINE.replace("asset", "t.asset")} AND {chosen("t.tag", "tag")} ORDER BY t.asset, t.tag"""

STATISTICS: Final = f"""
WITH counted AS (
    SELECT tag_id, min, max, sum, count, value_count, good_count, bad_count FROM rootdx.measurement_1m
    WHERE {LENGTH} <= {MINUTES_MS} / 7 AND $__timeFilter(bucket) AND {_WANTED}
    UNION ALL
    SELECT tag_id, min, max, sum, count, value_count, good_count, bad_count FROM rootdx.measurement_1h
    WHERE {LENGTH} > {MINUTES_MS} / 7 AND $__timeFilter(bucket) AND {_WANTED}
)
SELECT regexp_replace(t.asset, '^.*/', '') AS "@column.machine", t.tag AS "@column.tag", t.unit AS "@column.unit",
       sum(c.count)::bigint AS "@column.rows", min(c.min) AS "@grafana.series.low",
       (sum(c.sum) / nullif(sum(c.value_count), 0))::float8 AS "@grafana.series.mean",
       max(c.max) AS "@grafana.series.high",
       sum(c.bad_count)::bigint AS "@grafana.column.bad",
       (sum(c.count) - sum(c.good_count) - sum(c.bad_count))::bigint AS "@grafana.column.uncertain",
       (sum(c.good_count) / nullif(sum(c.count), 0))::float8 AS "@grafana.column.good_share"
FROM counted c JOIN rootdx.tags t USING (tag_id) GROUP BY t.asset, t.tag, t.unit ORDER BY t.asset, t.tag"""

ROWS: Final = f"""
SELECT h.ts AS "@column.time", regexp_replace(t.asset, '^.*/', '') AS "@column.machine", t.tag AS "@column.tag",
       h.value AS "@column.value", t.unit AS "@column.unit", h.quality AS "@grafana.column.data_state",
       to_hex(h.code) AS "@grafana.column.code"
FROM (SELECT * FROM rootdx.tags WHERE {_WANTED}) t CROSS JOIN LATERAL (
    SELECT ts, value, quality, code FROM rootdx.history h
    WHERE h.tag_id = t.tag_id AND $__timeFilter(h.ts) ORDER BY h.ts DESC LIMIT 100
) h ORDER BY h.ts DESC LIMIT 500"""

DOUBTFUL: Final = f"""
WITH minutes AS MATERIALIZED (
    SELECT bucket, tag_id FROM rootdx.measurement_1m
    WHERE bucket BETWEEN greatest({FROM}, {TO} - INTERVAL '24 hours') - INTERVAL '1 minute' AND {TO} AND {_WANTED}
      AND good_count < count ORDER BY bucket DESC LIMIT 500
)
SELECT h.ts AS "@column.time", regexp_replace(h.asset, '^.*/', '') AS "@column.machine", h.tag AS "@column.tag",
       h.value AS "@column.value", h.quality AS "@grafana.column.data_state", to_hex(h.code) AS "@grafana.column.code"
FROM minutes m CROSS JOIN LATERAL (
    SELECT * FROM rootdx.history h
    WHERE h.tag_id = m.tag_id AND h.ts >= m.bucket AND h.ts < m.bucket + INTERVAL '1 minute' AND h.quality <> 'good'
) h ORDER BY h.ts DESC LIMIT 500"""

WAVEFORMS: Final = f"""
SELECT ts AS "@column.time", regexp_replace(asset, '^.*/', '') AS "@column.machine", name AS "@column.name",
       role AS "@column.role", seconds AS "@column.seconds", samples AS "@column.samples",
       array_to_string(channels, ', ') AS "@column.channels", quality AS "@grafana.column.data_state",
       bytes AS "@grafana.column.bytes"
FROM rootdx.waveforms WHERE {ON_MACHINE} AND $__timeFilter(ts) ORDER BY ts DESC LIMIT 200"""

EXPLORER: Final = Page(
    "explorer",
    (*PLACE, Variable("tag", TAG)),
    (
        (Panel("trend", "lines", TREND, width=24, height=12),),
        (Panel("quality", "timeline", QUALITY, width=24, height=7),),
        (Panel("newest", "table", NEWEST), Panel("statistics", "table", STATISTICS)),
        (Panel("rows", "table", ROWS, height=10), Panel("doubtful", "table", DOUBTFUL, height=10)),
        (Panel("waveforms", "table", WAVEFORMS, width=24),),
    ),
    since="now-2h",
    refresh="30s",
)
