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

_WANTED: Final = f"""
WITH wanted AS MATERIALIZED (
    SELECT tag_id, regexp_replace(asset, '^.*/', '') || ' ' || tag AS metric
    FROM rootdx.tags WHERE {ON_MACHINE} AND {chosen("tag", "tag")}
)"""


def _of_wanted(view: str, time: str, condition: str) -> str:
    """Rows of the wanted tags of a view, joined before they are summed up, where the planner knows their number.

    The list beside the join is what reaches the index.
    """
    return f"""rootdx.{view} m JOIN wanted w USING (tag_id)
    WHERE {condition} AND m.tag_id = ANY (ARRAY(SELECT tag_id FROM wanted)) AND $__timeFilter(m.{time})
    GROUP BY 1, 2"""


def _extremes(view: str, condition: str) -> str:
    return f"""
    SELECT date_bin({STEP}, m.bucket, {ORIGIN}), w.metric, min(m.min), sum(m.sum) / nullif(sum(m.value_count), 0),
           max(m.max),
           CASE WHEN sum(m.good_count) < sum(m.value_count) THEN sum(m.sum) / nullif(sum(m.value_count), 0) END
    FROM {_of_wanted(view, "bucket", condition)}"""


def _worst(view: str, step: str, condition: str) -> str:
    return f"""
SELECT date_bin(greatest({STEP}, INTERVAL '{step}'), m.bucket, {ORIGIN}) AS time, w.metric,
       CASE WHEN sum(m.bad_count) > 0 THEN 2 WHEN sum(m.good_count) < sum(m.count) THEN 1 ELSE 0 END::float8
           AS "@column.quality"
FROM {_of_wanted(view, "bucket", condition)}"""


TREND: Final = f"""{_WANTED}
SELECT time, metric, low AS "@grafana.series.low", mean AS "@grafana.series.mean", high AS "@grafana.series.high",
       doubtful AS "@grafana.series.doubtful"
FROM (
    SELECT date_bin({STEP}, m.ts, {ORIGIN}) AS time, w.metric, min(m.value) AS low, avg(m.value) AS mean,
           max(m.value) AS high, avg(m.value) FILTER (WHERE m.quality <> 'good') AS doubtful
    FROM {_of_wanted("history", "ts", f"{LENGTH} <= {RAW_MS}")}
    UNION ALL {_extremes("measurement_1m", f"{LENGTH} > {RAW_MS} AND {LENGTH} <= {MINUTES_MS}")}
    UNION ALL {_extremes("measurement_1h", f"{LENGTH} > {MINUTES_MS}")}
) points ORDER BY 1"""

QUALITY: Final = f"""{_WANTED}
{_worst("measurement_1m", "1 minute", f"{LENGTH} <= {MINUTES_MS}")}
UNION ALL {_worst("measurement_1h", "1 hour", f"{LENGTH} > {MINUTES_MS}")}
ORDER BY 1"""


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
