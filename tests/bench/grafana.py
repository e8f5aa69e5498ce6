"""Every query of every dashboard and alert rule on 30 days of one plant, as a person without patience: which takes over
200 ms.

* Four die-casting cells, 60 tags at 1 Hz: raw rows of the last day (older ones no panel reads), minutes, hours and
  counts of all 30 days, a shot a minute with eight features and five phases, alarms, scores, key figures, demand.
* Filled in by SQL, on plain PostgreSQL alone: TimescaleDB keeps its summaries by itself. One whole hour is not summed
  up yet, the most there is in steady work, so the figures do not depend on the minute at which they are taken.
* Each query is asked three times over the range in which its dashboard opens, and over all 30 days; the median counts.
* A rule looks at the last minutes, whatever the range of anybody's dashboard; Grafana asks each once a minute.
"""

import statistics
import time
from collections.abc import Iterator
from typing import Any, Final, LiteralString

import psycopg
from psycopg.rows import dict_row
from rich.table import Table

from rootdx.grafana.dashboards import PAGES
from rootdx.grafana.model import Page, worded
from rootdx.grafana.rules import RULES
from tests.bench.figures import Figure, show
from tests.bench.stage import Invalid, Stage, Wish
from tests.support.grafana_macros import View, expanded

TARGET_MS: Final = 200.0
REPEATS: Final = 3
DAY_MS: Final = 86_400_000
OPENS: Final = {"now-2h": DAY_MS // 12, "now-12h": DAY_MS // 2, "now-24h": DAY_MS, "now-7d": 7 * DAY_MS}
STATEMENTS: Final[tuple[LiteralString, ...]] = (
    """INSERT INTO asset (path, name, process)
       SELECT 'acme/ansan1/casting/line1/dc' || n, 'cell ' || n, 'casting' FROM generate_series(1, 4) n""",
    """INSERT INTO tag (asset_id, name, unit, every_s)
       SELECT asset_id, 't' || n, '1', 1 FROM asset CROSS JOIN generate_series(1, 15) n""",
    """INSERT INTO measurement (ts, value, record, tag_id, quality)
       SELECT s, random(), 1, tag_id, 0
       FROM generate_series(now() - INTERVAL '1 day', now(), '1 second') s CROSS JOIN tag""",
    """INSERT INTO bucket_1m
       SELECT m, tag_id, 0, 1, 30, 0.5, 0.5, 60, 60, 60, 0
       FROM tag CROSS JOIN generate_series(date_trunc('minute', now()) - INTERVAL '30 days', now(), '1 minute') m""",
    """INSERT INTO bucket_1h
       SELECT h, tag_id, 0, 1, 1800, 0.5, 0.5, 3600, 3600, 3600, 0
       FROM tag CROSS JOIN generate_series(date_trunc('hour', now()) - INTERVAL '30 days', now(), '1 hour') h""",
    """INSERT INTO tally
       SELECT m, 1, tag_id, 60, (random() < 0.01)::int, 0, 0, 0, 0, 0
       FROM generate_series(date_trunc('minute', now()) - INTERVAL '30 days', now(), '1 minute') m CROSS JOIN tag""",
    """INSERT INTO touched_hour (hour) VALUES (date_trunc('hour', now()) - INTERVAL '1 hour')""",
    """INSERT INTO feature_set (digest, names, units, formulas, versions, lows, highs)
       SELECT '\\x01', ARRAY['a','b','c','d','e','f','g','h'], array_fill('1'::text, ARRAY[8]),
              array_fill('F'::text, ARRAY[8]), array_fill('1'::text, ARRAY[8]), array_fill(0.02::float8, ARRAY[8]),
              array_fill(0.98::float8, ARRAY[8])""",
    """INSERT INTO process_config (asset_id, kind, valid_from, settings)
       SELECT asset_id, 'hpdc_shot', '-infinity', '{}' FROM asset""",
    """INSERT INTO cycle (asset_id, kind, start_ts, end_ts, number, phase_names, phase_starts, phase_ends, verdict,
                          context, set_id, value, reason, n_used, coverage, quality, inputs_hash, config_id,
                          process, digest)
       SELECT asset_id, 'hpdc_shot', s, s + INTERVAL '55 seconds', 1, ARRAY['close','pour','fill','cool','open'],
              ARRAY[s, s + '10 s'::interval, s + '15 s'::interval, s + '16 s'::interval, s + '45 s'::interval],
              ARRAY[s + '10 s'::interval, s + '15 s'::interval, s + '16 s'::interval, s + '45 s'::interval,
                    s + '55 s'::interval],
              CASE WHEN random() < 0.05 THEN 'fail' ELSE 'pass' END,
              jsonb_build_object('lot', 'L-' || to_char(s, 'MMDD')), set_id,
              ARRAY[random(), random(), random(), random(), random(), random(), random(), random()],
              array_fill(0::smallint, ARRAY[8]), array_fill(55::bigint, ARRAY[8]), array_fill(1::real, ARRAY[8]),
              array_fill(0::bigint, ARRAY[8]), array_fill(repeat('0', 64), ARRAY[8]), config_id, '1', '\\x00'
       FROM generate_series(now() - INTERVAL '30 days', now() - INTERVAL '1 minute', '1 minute') s
       CROSS JOIN process_config CROSS JOIN feature_set""",
    """INSERT INTO kpi_element
       SELECT asset_id, s, '', s + INTERVAL '12 hours', 'day', s::date, 40000, 30000, 1000, 2000, 7000, 3000, 2000, 0,
              NULL, 28000, 27000, 700, 690, 10, 0, 100, 0, 2, 700, 900
       FROM asset CROSS JOIN generate_series(now() - INTERVAL '30 days', now(), '12 hours') s""",
    """INSERT INTO demand
       SELECT asset_id, q, 100 + random(), 0
       FROM asset CROSS JOIN generate_series(date_trunc('hour', now()) - INTERVAL '30 days', now(), '15 minutes') q""",
    """INSERT INTO detector (asset_id, name, kind, version, settings)
       SELECT asset_id, 'd' || n, 'limits', '1', '{}' FROM asset CROSS JOIN generate_series(1, 5) n""",
    """INSERT INTO score
       SELECT detector_id, s, '', random(), NULL
       FROM detector CROSS JOIN generate_series(now() - INTERVAL '30 days', now(), '1 minute') s""",
    """INSERT INTO alarm (detector_id, subject, state, active, priority, memory)
       SELECT detector_id, 't1', 'normal', false, 'medium', '{}' FROM detector""",
    """INSERT INTO alarm_journal (alarm_id, ts, kind, before, after, priority, told, replayed)
       SELECT alarm_id, s, 'raised', 'normal', 'unacknowledged', 'medium', true, false
       FROM alarm CROSS JOIN generate_series(now() - INTERVAL '30 days', now(), '4 hours') s""",
    """INSERT INTO event
       SELECT gen_random_uuid(), 'note', asset_id, 'device.note', '', s, 400, '', '{}', 1
       FROM asset CROSS JOIN generate_series(now() - INTERVAL '30 days', now(), '10 minutes') s""",
    """INSERT INTO compliance_record
       SELECT n, now(), 'p', 'lot', 'L-' || n, 1, 'pass', 'kim', '', '{}', '', n::text
       FROM generate_series(1, 200) n""",
    "VACUUM ANALYZE",
)


async def measure(stage: Stage, _: Wish) -> list[Figure]:
    """The figures; prints each query's time.

    Raises:
        Invalid: TimescaleDB, or a query fails.
    """
    if stage.engine != "plain":
        raise Invalid("30 days of a plant are filled in on plain PostgreSQL alone")
    began = time.perf_counter()
    with psycopg.connect(stage.dsn, autocommit=True, options="-c search_path=rootdx,public") as db:
        for statement in STATEMENTS:
            db.execute(statement)
    stage.console.print(f"30 days of a plant filled in {time.perf_counter() - began:.0f} s")
    with psycopg.connect(stage.dsn, autocommit=True, row_factory=dict_row) as db:
        opened = dict(_times(db, None))
        month = dict(_times(db, 30 * DAY_MS))
        rules = {f"rule {rule.name}": _timed(db, rule.sql) for rule in RULES if rule.sql}
    _shown(stage, opened, month, rules)
    figures = [
        Figure(f"median of {len(opened)} queries as the dashboards open", [statistics.median(opened.values())], "ms"),
        Figure("slowest of them", [max(opened.values())], "ms", TARGET_MS, "low"),
        Figure("median over 30 days", [statistics.median(month.values())], "ms"),
        Figure("slowest over 30 days", [max(month.values())], "ms", TARGET_MS, "low"),
        Figure("queries over 200 ms, 30 days", [float(sum(ms > TARGET_MS for ms in month.values()))], "1", 0.0, "low"),
        Figure(f"slowest of {len(rules)} alert rules", [max(rules.values())], "ms", TARGET_MS, "low"),
    ]
    show(stage.console, "dashboards on 30 days of one plant, 60 tags at 1 Hz", figures)
    return figures


def _times(db: psycopg.Connection[dict[str, Any]], range_ms: int | None) -> Iterator[tuple[str, float]]:
    now = round(time.time() * 1000)
    for page in PAGES:
        view = View(now - (range_ms or OPENS.get(page.since, 30 * DAY_MS)), now, {})
        chosen: dict[str, list[str]] = {}
        for one in page.variables:
            view = View(view.from_ms, view.to_ms, chosen)
            yield f"{page.name} ${one.name}", _timed(db, expanded(one.sql, view))
            values = _values(db, expanded(one.sql, view))
            chosen[one.name] = (values if one.many else values[:1])[: 15 if one.name == "tag" else None]
        if chosen["machine"]:
            yield from _panels(db, page, View(view.from_ms, view.to_ms, chosen))


def _panels(db: psycopg.Connection[dict[str, Any]], page: Page, view: View) -> Iterator[tuple[str, float]]:
    for panel in page.panels:
        if panel.sql:
            yield f"{page.name}/{panel.name}", _timed(db, expanded(worded(panel.sql, "en"), view))


def _values(db: psycopg.Connection[dict[str, Any]], sql: str) -> list[str]:
    rows = db.execute(sql.encode()).fetchall()
    return [str(row.get("__value", next(iter(row.values())))) for row in rows]


def _timed(db: psycopg.Connection[dict[str, Any]], sql: str) -> float:
    found = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        try:
            db.execute(sql.encode()).fetchall()
        except psycopg.Error as error:
            raise Invalid(f"{error}: {sql}") from error
        found.append((time.perf_counter() - began) * 1e3)
    return statistics.median(found)


def _shown(stage: Stage, opened: dict[str, float], month: dict[str, float], rules: dict[str, float]) -> None:
    table = Table(title="milliseconds, slowest first", title_justify="left")
    for column in ("query", "as it opens", "30 days"):
        table.add_column(column, justify="left" if column == "query" else "right")
    for name in sorted(opened, key=lambda one: -max(opened[one], month[one])):
        style = "red" if max(opened[name], month[name]) > TARGET_MS else ""
        table.add_row(name, f"{opened[name]:.0f}", f"{month[name]:.0f}", style=style)
    for name, ms in rules.items():
        table.add_row(name, f"{ms:.1f}", "", style="red" if ms > TARGET_MS else "")
    stage.console.print(table)
