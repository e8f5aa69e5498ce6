"""SQL that several dashboards share: filters, resolutions, the state of a machine, the newest cycles.

* Raw rows up to an hour, minutes up to a fortnight, then hours: by the length of the range, in the query itself. The
  branches not taken cost nothing, since their condition is a constant.
* Whatever the resolution, a point has mean, lowest and highest of its stretch, so a spike is seen from any distance.
* "Now" is the end of the chosen range, so a day of last month looks as it did then.
"""

from typing import Final

FROM: Final = "$__timeFrom()::timestamptz"
TO: Final = "$__timeTo()::timestamptz"
ORIGIN: Final = "TIMESTAMPTZ '2000-01-01 00:00+00'"
STEP: Final = "$__interval_ms * INTERVAL '1 millisecond'"
LENGTH: Final = "$__to - $__from"
"""Of the range, ms."""
RAW_MS: Final = 3_600_000
MINUTES_MS: Final = 14 * 86_400_000
NEWEST: Final = 500
"""Cycles that a panel about features looks at, at most."""


def chosen(column: str, variable: str) -> str:
    """The condition that a column has one of the chosen values."""
    return f"{column} = ANY (ARRAY[${{{variable}:sqlstring}}]::text[])"


ON_MACHINE: Final = chosen("asset", "machine")
SITE: Final = "SELECT DISTINCT site FROM rootdx.machines ORDER BY 1"
LINE: Final = f"SELECT DISTINCT line FROM rootdx.machines WHERE {chosen('site', 'site')} ORDER BY 1"
MACHINE: Final = f"""
SELECT asset AS __value, machine || ' ' || name AS __text FROM rootdx.machines
WHERE {chosen("line", "line")} ORDER BY asset"""
TAG: Final = f"SELECT DISTINCT tag FROM rootdx.tags WHERE {ON_MACHINE} ORDER BY 1"
LOT: Final = f"""
SELECT DISTINCT coalesce(lot, '') AS __value, coalesce(nullif(lot, ''), '–') AS __text
FROM rootdx.cycles WHERE {ON_MACHINE} AND $__timeFilter(start_ts) ORDER BY 1"""
FEATURE: Final = f"""
SELECT DISTINCT feature FROM rootdx.features WHERE cycle_id IN (
    SELECT cycle_id FROM rootdx.cycles WHERE {ON_MACHINE} AND end_ts IS NOT NULL ORDER BY start_ts DESC LIMIT 20)
ORDER BY 1"""

TREND: Final = f"""
WITH wanted AS MATERIALIZED (
    SELECT tag_id, asset, tag FROM rootdx.tags WHERE {ON_MACHINE} AND {chosen("tag", "tag")}
), points AS (
    SELECT date_bin({STEP}, h.ts, {ORIGIN}) AS time, h.tag_id, min(h.value) AS low, avg(h.value) AS mean,
           max(h.value) AS high, avg(h.value) FILTER (WHERE h.quality <> 'good') AS doubtful
    FROM rootdx.history h
    WHERE {LENGTH} <= {RAW_MS} AND h.tag_id = ANY (ARRAY(SELECT tag_id FROM wanted)) AND $__timeFilter(h.ts)
    GROUP BY 1, 2
    UNION ALL
    SELECT date_bin({STEP}, m.bucket, {ORIGIN}), m.tag_id, min(m.min), sum(m.sum) / nullif(sum(m.value_count), 0),
           max(m.max),
           CASE WHEN sum(m.good_count) < sum(m.value_count) THEN sum(m.sum) / nullif(sum(m.value_count), 0) END
    FROM rootdx.measurement_1m m
    WHERE {LENGTH} > {RAW_MS} AND {LENGTH} <= {MINUTES_MS}
      AND m.tag_id = ANY (ARRAY(SELECT tag_id FROM wanted)) AND $__timeFilter(m.bucket)
    GROUP BY 1, 2
    UNION ALL
    SELECT date_bin({STEP}, m.bucket, {ORIGIN}), m.tag_id, min(m.min), sum(m.sum) / nullif(sum(m.value_count), 0),
           max(m.max),
           CASE WHEN sum(m.good_count) < sum(m.value_count) THEN sum(m.sum) / nullif(sum(m.value_count), 0) END
    FROM rootdx.measurement_1h m
    WHERE {LENGTH} > {MINUTES_MS} AND m.tag_id = ANY (ARRAY(SELECT tag_id FROM wanted)) AND $__timeFilter(m.bucket)
    GROUP BY 1, 2
)
SELECT p.time, regexp_replace(w.asset, '^.*/', '') || ' ' || w.tag AS metric, p.low AS "@grafana.series.low",
       p.mean AS "@grafana.series.mean", p.high AS "@grafana.series.high", p.doubtful AS "@grafana.series.doubtful"
FROM points p JOIN wanted w USING (tag_id) ORDER BY 1, 2"""

QUALITY: Final = f"""
WITH wanted AS MATERIALIZED (
    SELECT tag_id, asset, tag FROM rootdx.tags WHERE {ON_MACHINE} AND {chosen("tag", "tag")}
), counted AS (
    SELECT date_bin(greatest({STEP}, INTERVAL '1 minute'), m.bucket, {ORIGIN}) AS time, m.tag_id, m.count,
           m.good_count, m.bad_count
    FROM rootdx.measurement_1m m
    WHERE {LENGTH} <= {MINUTES_MS} AND m.tag_id = ANY (ARRAY(SELECT tag_id FROM wanted)) AND $__timeFilter(m.bucket)
    UNION ALL
    SELECT date_bin(greatest({STEP}, INTERVAL '1 hour'), m.bucket, {ORIGIN}), m.tag_id, m.count, m.good_count,
           m.bad_count
    FROM rootdx.measurement_1h m
    WHERE {LENGTH} > {MINUTES_MS} AND m.tag_id = ANY (ARRAY(SELECT tag_id FROM wanted)) AND $__timeFilter(m.bucket)
)
SELECT c.time, regexp_replace(w.asset, '^.*/', '') || ' ' || w.tag AS metric,
       CASE WHEN sum(c.bad_count) > 0 THEN 2 WHEN sum(c.good_count) < sum(c.count) THEN 1 ELSE 0 END::float8
           AS "@column.quality"
FROM counted c JOIN wanted w USING (tag_id) GROUP BY 1, 2 ORDER BY 1, 2"""


def machine_states(until: str) -> str:
    """Common table expressions ending in `machine_state`: one row a machine, always, with `state`.

    Of the ten minutes before `until`: `off` where the machine's silence is normal, `link_down` where nothing good came
    and nothing at all, or the gateway says it has lost it, `sensor_bad` where rows come and a tag had none that is
    good, else `ok`.
    """
    return f"""
tag_state AS (
    SELECT t.asset, t.tag_id, coalesce(sum(c.good), 0) AS good,
           coalesce(sum(c.good + c.uncertain + c.bad), 0) AS stored,
           coalesce(sum(c.expected), 0) AS expected, coalesce(sum(c.machine_off), 0) AS machine_off
    FROM rootdx.tags t LEFT JOIN rootdx.completeness c
      ON c.tag_id = t.tag_id AND c.minute > {until} - INTERVAL '10 minutes' AND c.minute <= {until}
    GROUP BY t.asset, t.tag_id
), gone AS (
    SELECT DISTINCT e.asset FROM rootdx.events e
    WHERE e.kind IN ('device.unreachable', 'device.silent') AND e.phase = 'raised' AND e.ts <= {until}
      AND e.ts > {until} - INTERVAL '30 days'
      AND NOT EXISTS (SELECT FROM rootdx.events c WHERE c.id = e.id AND c.phase = 'cleared' AND c.ts <= {until})
), counted AS (
    SELECT m.asset, m.line, m.machine, m.name, m.process, m.asset_id, coalesce(sum(s.good), 0) AS good,
           coalesce(sum(s.stored), 0) AS stored, coalesce(sum(s.expected), 0) AS expected,
           coalesce(sum(s.machine_off), 0) AS machine_off,
           count(*) FILTER (WHERE s.stored > 0 AND s.good = 0) AS bad_tags,
           EXISTS (SELECT FROM gone g WHERE g.asset = m.asset) AS gone
    FROM rootdx.machines m LEFT JOIN tag_state s USING (asset)
    GROUP BY m.asset, m.line, m.machine, m.name, m.process, m.asset_id
), machine_state AS (
    SELECT *, CASE WHEN good = 0 AND machine_off > 0 THEN 'off' WHEN stored = 0 OR gone AND good = 0 THEN 'link_down'
                   WHEN bad_tags > 0 THEN 'sensor_bad' ELSE 'ok' END AS state
    FROM counted
)"""


def newest_cycles(condition: str, count: int = NEWEST) -> str:
    """A subquery: the ids of the newest closed cycles of the chosen machines in the range."""
    return f"""(
    SELECT cycle_id FROM rootdx.cycles
    WHERE {ON_MACHINE} AND $__timeFilter(start_ts) AND end_ts IS NOT NULL{condition}
    ORDER BY start_ts DESC LIMIT {count})"""
