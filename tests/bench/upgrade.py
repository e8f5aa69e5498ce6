"""An upgrade of a full database under an older writer and gateway: how long, and how long nothing is committed.

* The database is as the last release left it, with `--rows` measurements of 500 tags at 1 Hz in it and their tallies.
* Applied are all files newer than the release, and a trial one that does what most do: a column at the measurements.
* `heaviest` shows what no file should do, and what it costs: it builds an index and shuts the measurements meanwhile.
"""

from collections.abc import Sequence

from psycopg.conninfo import conninfo_to_dict

from pipeline import migrate
from pipeline.migrate import Migration
from tests.bench import rows
from tests.bench.figures import Figure, show
from tests.bench.stage import Db, Invalid, Stage, Wish, database_at, one
from tests.support.releases import Release, releases
from tests.support.upgrading import Upgraded, knowing, upgrade

ROWS = 10_000_000
TARGET_S = 10.0
"""Longest without a commit: what a spool does not even notice."""
TRIAL = Migration(9001, "9001_trial.sql", "ALTER TABLE measurement ADD COLUMN trial smallint NOT NULL DEFAULT 0")
HEAVIEST = Migration(9002, "9002_heaviest.sql", "CREATE INDEX trial ON measurement (record)")


async def measure(stage: Stage, wish: Wish) -> list[Figure]:
    """The figures; prints them."""
    count = wish.rows or ROWS
    release = releases()[-1]
    _, newer = release.schema(stage.engine)
    had, _ = release.schema(stage.engine)
    async with database_at(stage.dsn) as dsn:
        with knowing(had):
            await migrate.migrate(dsn)
        async with migrate.administrator(dsn) as db:
            await fill(db, count)
        template = str(conninfo_to_dict(dsn)["dbname"])
        plain = await _upgraded(stage, template, release, [*newer, TRIAL])
        heavy = await _upgraded(stage, template, release, [*newer, HEAVIEST])
    figures = [
        *_figures("upgrade", plain),
        *_figures("upgrade with an index built on the measurements", heavy),
    ]
    title = f"upgrade from {release.version} with {count:,} rows: {', '.join(plain.names)}; then {HEAVIEST.name}"
    show(stage.console, title, figures)
    return figures


async def _upgraded(stage: Stage, template: str, release: Release, newer: Sequence[Migration]) -> Upgraded:
    async with database_at(stage.dsn, template) as dsn:
        found = await upgrade(dsn, stage.broker.port, stage.place("upgrade"), release, newer)
    if found.missing or found.doubled:
        raise Invalid(f"{found.missing} rows are missing, {found.doubled} are there more than once")
    return found


async def fill(db: Db, count: int) -> None:
    """Rows that end an hour ago, and a tally line a minute and tag."""
    seconds = count // rows.RATE_HZ
    await db.execute("INSERT INTO rootdx.asset (path) VALUES ('bench/plant/a/l/m00')")
    await db.execute(_TAGS, [rows.RATE_HZ])
    await db.execute(_ROWS, [seconds, seconds])
    await db.execute(_TALLIES, [max(1, seconds // 60)])
    await db.execute("VACUUM ANALYZE rootdx.measurement")
    found = (await one(db, "SELECT count(*) FROM rootdx.measurement"))[0]
    if found != count:
        raise Invalid(f"{found} rows were filled in, {count} were wanted; ask for a multiple of {rows.RATE_HZ}")


_TAGS = "INSERT INTO rootdx.tag (asset_id, name) SELECT asset_id, 't' || i FROM rootdx.asset, generate_series(1, %s) i"
_ROWS = """
    INSERT INTO rootdx.measurement (ts, value, record, tag_id, quality)
    SELECT now() - make_interval(secs => 3600 + %s - s), random(), s, tag_id, 0
    FROM generate_series(1, %s) s, rootdx.tag"""
_TALLIES = """
    INSERT INTO rootdx.tally (minute, record, tag_id, expected, unreachable, late, gateway_down, spool_full,
                              quarantined, machine_off)
    SELECT date_trunc('minute', now()) - make_interval(mins => 60 + m), m, tag_id, 60, 0, 0, 0, 0, 0, 0
    FROM generate_series(1, %s) m, rootdx.tag"""


def _figures(name: str, found: Upgraded) -> list[Figure]:
    return [
        Figure(f"{name}: time", [found.took_s], "s"),
        Figure(f"{name}: longest without a commit", [found.pause_s], "s", TARGET_S, "low"),
        Figure(f"{name}: longest without a commit while writers are changed", [found.handover_s], "s"),
        Figure(f"{name}: rows missing", [found.missing], "rows", 0, "low", 0.0),
        Figure(f"{name}: rows doubled", [found.doubled], "rows", 0, "low", 0.0),
    ]
