"""A year of one plant: from two million stored cycles to key figures of every shift and capability of every feature.

* 20 machines, 100,000 cycles each of about five minutes with stops between, eight features a cycle, two shifts a day.
* What is timed: elements of 14,600 shifts (read, computed, written), key figures of every day and line out of the view,
  and 160 capability studies with confidence intervals, normality and stability.
"""

import time
from collections.abc import Awaitable, Callable
from datetime import time as clock

from analytics.accounting import Accounted, Accounts
from analytics.capability import capability_study
from analytics.columns import take_arrays
from analytics.cycle_store import CycleStore
from analytics.window import SECOND_NS
from pipeline.plant import DAYS, Plant, Shift
from tests.bench.figures import Figure, show
from tests.bench.stage import Db, Invalid, Stage, Wish, looking

MACHINES, CYCLES, FEATURES = 20, 100_000, 8
BEGIN_S, YEAR_S = 1_750_000_000, 365 * 86_400
TARGET_S = 60.0
PLANT = Plant(
    enterprise="acme",
    site="ansan1",
    shift=(
        Shift(name="day", start=clock(8), end=clock(20), breaks=((clock(12), clock(13)),), days=DAYS),
        Shift(name="night", start=clock(20), end=clock(8), days=DAYS),
    ),
)
_FILL = """
    INSERT INTO rootdx.cycle (asset_id, kind, start_ts, end_ts, phase_names, phase_starts, phase_ends, verdict, set_id,
                              value, reason, config_id, process, digest)
    SELECT %(asset)s, 'hpdc_shot', t.at, t.at + t.lasts * INTERVAL '1 second', '{}', '{}', '{}',
           CASE WHEN random() < 0.02 THEN 'fail' ELSE 'pass' END, %(set)s,
           ARRAY[10 + random(), 10 + random(), 10 + random(), 10 + random(), 10 + random(), 10 + random(),
                 10 + random(), 10 + random()], array_fill(0::smallint, ARRAY[8]), %(config)s, '1', '\\x00'
    FROM (SELECT to_timestamp(%(begin)s + n * %(step)s::float8) AS at, 200 + 100 * random() AS lasts
          FROM generate_series(0, %(cycles)s - 1) n) t"""
_VALUES = f"""
    SELECT {", ".join(f"coalesce(array_agg(value[{place}]), '{{}}')" for place in range(1, FEATURES + 1))}
    FROM (
        SELECT value FROM rootdx.cycle
        WHERE asset_id = %s AND end_ts IS NOT NULL AND NOT flags && ARRAY['warm_up', 'aborted', 'gap']
        ORDER BY start_ts
    ) c"""


async def measure(stage: Stage, _: Wish) -> list[Figure]:
    """The figures; prints them."""
    async with looking(stage) as db:
        await stage.empty(db)
        assets = await _fill(db)
        elements_s = await _timed(lambda: _elements(db, assets))
        view_s = await _timed(lambda: _view(db))
        capability_s = await _timed(lambda: _capability(db, assets))
        (rows,) = await (await db.execute("SELECT count(*), sum(cycles) FROM rootdx.kpi_element")).fetchall()
        if rows[0] < MACHINES * 700 or rows[1] < MACHINES * CYCLES * 0.95:
            raise Invalid(f"{rows[0]} shifts with {rows[1]} cycles are too few")
    figures = [
        Figure("year of a plant, all", [elements_s + view_s + capability_s], "s", TARGET_S, "low"),
        Figure(f"elements of {rows[0]} shifts", [elements_s], "s"),
        Figure("key figures by day and line", [view_s], "s"),
        Figure(f"{MACHINES * FEATURES} capability studies of {CYCLES} cycles", [capability_s], "s"),
    ]
    show(stage.console, f"a year, {MACHINES} machines, {MACHINES * CYCLES / 1e6:g} M cycles", figures)
    return figures


async def _timed(work: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def _fill(db: Db) -> list[int]:
    (one,) = await (await db.execute(
        "INSERT INTO rootdx.feature_set (digest, names, units, formulas, versions, lows, highs) VALUES ('\\x01', "
        "ARRAY['a','b','c','d','e','f','g','h'], array_fill('1'::text, ARRAY[8]), array_fill('F'::text, ARRAY[8]), "
        "array_fill('1'::text, ARRAY[8]), array_fill(9.5::float8, ARRAY[8]), array_fill(11.5::float8, ARRAY[8])) "
        "RETURNING set_id"
    )).fetchall()  # fmt: skip
    assets = []
    for number in range(MACHINES):
        path = f"acme/ansan1/casting/line{number % 4}/dc{number}"
        (asset,) = await (
            await db.execute("INSERT INTO rootdx.asset (path) VALUES (%s) RETURNING asset_id", [path])
        ).fetchall()
        (config,) = await (await db.execute(
            "INSERT INTO rootdx.process_config (asset_id, kind, valid_from, settings) VALUES (%s, 'hpdc_shot', "
            "'-infinity', '{\"ideal_cycle_s\": 250, \"parts_per_cycle\": 2}') RETURNING config_id", [asset[0]]
        )).fetchall()  # fmt: skip
        given = {"asset": asset[0], "set": one[0], "config": config[0], "begin": BEGIN_S, "cycles": CYCLES}
        await db.execute(_FILL.encode(), given | {"step": YEAR_S / CYCLES})
        assets.append(asset[0])
    await db.execute("ANALYZE rootdx.cycle")
    return assets


async def _elements(db: Db, assets: list[int]) -> None:
    accounts = Accounts(PLANT, CycleStore(db))
    first, last = BEGIN_S * SECOND_NS, (BEGIN_S + YEAR_S) * SECOND_NS
    for asset_id in assets:
        await accounts.account(Accounted(asset_id, "hpdc_shot", {}, first, last), first, last)


async def _view(db: Db) -> None:
    for view in ("kpis_by_day", "kpis_by_line"):
        await (await db.execute(f"SELECT * FROM rootdx.{view}".encode())).fetchall()


async def _capability(db: Db, assets: list[int]) -> None:
    async with db.cursor(binary=True) as cursor:
        take_arrays(cursor)
        for asset_id in assets:
            await cursor.execute(_VALUES.encode(), [asset_id])
            (features,) = await cursor.fetchall()
            for values in features:
                study = capability_study(values, 9.5, 11.5)
                if study.ppk.n_used < CYCLES * 0.9:
                    raise Invalid("a feature without values")
