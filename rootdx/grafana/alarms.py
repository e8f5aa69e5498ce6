"""Alarms: what stands, what happened, and how much they ask of people."""

from typing import Final

from rootdx.grafana.model import Page, Panel
from rootdx.grafana.plant import OPEN_ALARMS, PLACE
from rootdx.grafana.queries import FROM, LENGTH, MINUTES_MS, ON_MACHINE, ORIGIN, TO

FLOOD: Final = 10
"""Alarms told in ten minutes beyond which it is a flood (ISA-18.2)."""
_BINS: Final = f"""
bins AS (
    SELECT bin, count(e.entry_id) AS alarms
    FROM generate_series(date_bin('10 minutes', {FROM}, {ORIGIN}), {TO}, INTERVAL '10 minutes') AS g(bin)
    LEFT JOIN (SELECT entry_id, date_bin('10 minutes', ts, {ORIGIN}) AS bin FROM rootdx.alarm_entries
               WHERE told AND $__timeFilter(ts) AND {ON_MACHINE}) e USING (bin)
    GROUP BY bin
)"""

LOAD: Final = f"""
WITH {_BINS}
SELECT avg(alarms)::float8 AS "@grafana.column.rate", max(alarms) AS "@grafana.column.rate_max",
       avg((alarms > {FLOOD})::int)::float8 AS "@grafana.column.flood_share", sum(alarms) AS "@grafana.column.told"
FROM bins"""

RATE: Final = f"""
WITH {_BINS}
SELECT CASE WHEN {LENGTH} > {MINUTES_MS} THEN date_bin('6 hours', bin, {ORIGIN}) ELSE bin END AS time,
       max(alarms)::float8 AS "@grafana.column.rate_max", {FLOOD}::float8 AS "@grafana.series.flood"
FROM bins GROUP BY 1 ORDER BY 1"""

FLOODS: Final = f"""
WITH {_BINS}
SELECT bin AS "@column.start", alarms AS "@grafana.column.told" FROM bins WHERE alarms > {FLOOD}
ORDER BY bin DESC LIMIT 200"""

SOURCES: Final = f"""
SELECT regexp_replace(asset, '^.*/', '') AS "@column.machine", detector AS "@grafana.column.detector",
       subject AS "@grafana.column.subject", count(*) FILTER (WHERE kind = 'raised') AS "@grafana.column.raises",
       count(*) FILTER (WHERE told) AS "@grafana.column.told",
       (count(*) FILTER (WHERE told))::float8 / nullif(sum(count(*) FILTER (WHERE told)) OVER (), 0)::float8
           AS "@grafana.column.share",
       max(ts) AS "@grafana.column.newest"
FROM rootdx.alarm_entries WHERE {ON_MACHINE} AND $__timeFilter(ts) AND (told OR kind = 'raised')
GROUP BY asset, detector, subject ORDER BY 5 DESC, 4 DESC LIMIT 20"""

PRIORITIES: Final = f"""
SELECT priority AS "@column.priority", count(*) AS "@grafana.column.raises",
       count(*) FILTER (WHERE told) AS "@grafana.column.told"
FROM rootdx.alarm_entries WHERE {ON_MACHINE} AND $__timeFilter(ts) AND kind = 'raised'
GROUP BY priority ORDER BY array_position(ARRAY['high', 'medium', 'low'], priority)"""

JOURNAL: Final = f"""
SELECT ts AS "@column.time", regexp_replace(asset, '^.*/', '') AS "@column.machine",
       detector AS "@grafana.column.detector", subject AS "@grafana.column.subject", kind AS "@grafana.column.event",
       before AS "@grafana.column.before", after AS "@grafana.column.after", priority AS "@column.priority",
       score AS "@grafana.column.score", told AS "@grafana.column.was_told", who AS "@grafana.column.who",
       reason AS "@column.reason"
FROM rootdx.alarm_entries WHERE {ON_MACHINE} AND $__timeFilter(ts) ORDER BY ts DESC, entry_id DESC LIMIT 500"""

SCORES: Final = f"""
SELECT ts AS time, regexp_replace(asset, '^.*/', '') || ' ' || detector AS metric,
       max(score)::float8 AS "@grafana.column.score"
FROM (SELECT date_bin(greatest($__interval_ms * INTERVAL '1 millisecond', INTERVAL '1 second'), ts, {ORIGIN}) AS ts,
             asset, detector, score
      FROM rootdx.scores
      WHERE {ON_MACHINE} AND ts BETWEEN greatest({FROM}, {TO} - INTERVAL '2 days') AND {TO}) s
GROUP BY 1, 2 ORDER BY 1, 2"""

ALARMS: Final = Page(
    "alarms",
    PLACE,
    (
        (Panel("load", "stat", LOAD, width=24, height=4),),
        (Panel("open_alarms", "table", OPEN_ALARMS, width=24),),
        (Panel("rate", "bars", RATE, width=16), Panel("floods", "table", FLOODS, width=8)),
        (Panel("sources", "table", SOURCES, width=16), Panel("priorities", "table", PRIORITIES, width=8)),
        (Panel("scores", "lines", SCORES, width=24),),
        (Panel("journal", "table", JOURNAL, width=24, height=12),),
    ),
    since="now-7d",
)
