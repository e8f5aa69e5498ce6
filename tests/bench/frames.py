"""A month of seconds of one tag as a data frame, beside a bare COPY of the same rows by psycopg."""

import statistics
import time
from collections.abc import Callable

import psycopg

import rootdx
from tests.bench.figures import Figure, show
from tests.bench.stage import Invalid, Stage, Wish, looking

DAYS, BEGIN_S = 30, 1_780_272_000
ROWS = DAYS * 86_400
TARGET = 1.5
ASSET = "acme/ansan1/casting/line1/dc1"
_FILL = """
    WITH machine AS (
        INSERT INTO rootdx.asset (path, name, process) VALUES (%(asset)s, 'dc1', 'casting') RETURNING asset_id),
    one AS (
        INSERT INTO rootdx.tag (asset_id, name, unit, role) SELECT asset_id, 'metal', 'Cel', 'metal.temp' FROM machine
        RETURNING tag_id)
    INSERT INTO rootdx.measurement (ts, tag_id, value, quality, record)
    SELECT to_timestamp(%(begin)s + n), tag_id, 660 + random(), 0, 0 FROM one, generate_series(0, %(rows)s - 1) n"""
_BARE = "COPY (SELECT ts, value, quality FROM rootdx.measurement ORDER BY ts) TO STDOUT (FORMAT BINARY)"


async def measure(stage: Stage, wish: Wish) -> list[Figure]:
    """The figure; prints it."""
    async with looking(stage) as db:
        await stage.empty(db)
        await db.execute(_FILL.encode(), {"asset": ASSET, "begin": BEGIN_S, "rows": ROWS})
        await db.execute(b"VACUUM ANALYZE rootdx.measurement")  # as the server does by itself, in time
    frames, copies = [], []
    for _ in range(wish.repeats):
        copies.append(_timed(lambda: _copied(stage.dsn)))
        frames.append(_timed(lambda: _framed(stage.dsn)))
    ratios = [frame / copy for frame, copy in zip(frames, copies, strict=True)]
    figures = [
        Figure("30 days of one tag at 1 Hz into pandas ÷ bare COPY", ratios, "1", TARGET, "low", peer="psycopg COPY"),
        Figure("30 days of one tag at 1 Hz into pandas", frames, "s", limit=round(statistics.median(copies), 3)),
    ]
    show(stage.console, f"data frames, {ROWS:,} rows", figures)
    return figures


def _timed(work: Callable[[], int]) -> float:
    began = time.perf_counter()
    rows = work()
    if rows != ROWS:
        raise Invalid(f"{rows} rows in place of {ROWS}")
    return time.perf_counter() - began


def _copied(dsn: str) -> int:
    with psycopg.connect(dsn) as db, db.cursor() as cursor, cursor.copy(_BARE.encode()) as copy:
        return sum(1 for _ in copy) - 1  # the end is a piece of its own


def _framed(dsn: str) -> int:
    with rootdx.connect(dsn) as plant:
        return len(plant.window("dc1", ["metal"], "2026-06-01T00:00+00:00", "2026-07-02T00:00+00:00"))
