"""Rows come back equal, once, with where they came from; the summaries are what a slow look at the rows gives."""

import contextlib
import datetime as dt
import math
import random
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.errors import BadData, ConfigError, Unavailable
from pipeline.model import HOUR_NS, MINUTE_NS, Batch, Body, Phase, Quality, rows_of
from pipeline.settings import StoreSettings
from pipeline.store import Accepted, Commit, Entry, Quarantined, Store, opened
from tests.support.naive import buckets
from tests.support.spine import ASSET, T0_NS, ask, batch, event, one, tally

GATEWAY_NS = T0_NS + 1_500_000_999
DAY_NS = 24 * HOUR_NS


def settings(dsn: str, direct_rows: int = 5_000) -> StoreSettings:
    return StoreSettings(dsn=dsn, direct_columnstore_rows=direct_rows)


class Feed:
    """One gateway's records into a store, numbered as they come."""

    def __init__(self, store: Store, entry: Entry) -> None:
        self.store, self.entry = store, entry

    async def take(self, *bodies: Body, quarantined: Sequence[Quarantined] = ()) -> int:
        key, last = self.entry.source_id, self.entry.last
        record = Accepted(key, last + 1, GATEWAY_NS, rows_of(bodies), bodies)
        await self.store.commit(Commit([record], list(quarantined), {key: last}, {key: last + 1}))
        self.entry = replace(self.entry, last=last + 1)
        return last + 1


@contextlib.asynccontextmanager
async def feeding(dsn: str, direct_rows: int = 5_000, gateway: str = "gw-1") -> Any:
    async with opened(settings(dsn, direct_rows)) as store:
        yield Feed(store, await store.enter(gateway, uuid.UUID(int=7)))


STORED = (
    "SELECT a.path, t.name, (extract(epoch FROM m.ts) * 1000000)::bigint, m.value, m.quality FROM rootdx.measurement m "
    "JOIN rootdx.tag t USING (tag_id) JOIN rootdx.asset a USING (asset_id) ORDER BY 1, 3, 2"
)
CODES = [
    Quality.GOOD,
    Quality.GOOD_LOCAL_OVERRIDE,
    Quality.UNCERTAIN_SIMULATED,
    Quality.BAD,
    Quality.BAD_NO_DATA,
    0xFFFF_FFFF,
]


async def test_rows_come_back_equal(engine_dsn: str) -> None:
    steps = np.arange(6)
    values = np.array([1.5, -0.0, 5e-324, 7.0, 8.0, 9.0])
    ts = T0_NS + steps * 1_000_000 + 999  # below a microsecond is cut off
    sent = Batch.of(ASSET, ("a", "온도"), ts, steps % 2, values, np.array(CODES, np.uint32))
    old = Batch.of(ASSET, ("a",), 946_684_800_000_000_000, 0, [math.pi])
    async with feeding(engine_dsn) as feed:
        await feed.take(sent)
        await feed.take(batch(n=0), old)
    (ancient, *rows) = ask(engine_dsn, STORED)
    assert ancient == (ASSET, "a", 946_684_800_000_000, math.pi, 0)
    assert rows == [
        (
            ASSET,
            ("a", "온도")[i % 2],
            T0_NS // 1000 + i * 1000,
            values[i] if i < 3 else None,
            int(np.uint32(code).view(np.int32)),
        )
        for i, code in enumerate(CODES)
    ]
    classes = ask(engine_dsn, "SELECT quality, count(*) FROM rootdx.history GROUP BY 1 ORDER BY 1")
    assert classes == [("bad", 3), ("good", 3), ("uncertain", 1)]


async def test_empty_batch_alone_in_a_transaction_is_no_fault(engine_dsn: str) -> None:
    async with feeding(engine_dsn) as feed:
        assert await feed.take(batch(n=0), replace_tally_rows()) == 1
        assert await feed.take() == 2
    assert one(engine_dsn, "SELECT last_seq FROM rootdx.ledger") == 2


def replace_tally_rows() -> Body:
    full = tally(1)
    empty = np.zeros(0, np.int64)
    return type(full)(full.asset, full.tags, empty, empty.astype(np.uint16), empty, full.missing[:0])


async def test_every_row_tells_three_times_and_its_record(engine_dsn: str) -> None:
    async with feeding(engine_dsn) as feed:
        await feed.take(event())
        seq = await feed.take(batch(n=1))
    ((source, gateway_ts, ingest, gateway, epoch, number),) = ask(
        engine_dsn, "SELECT source_ts, gateway_ts, ingest_ts, gateway, epoch, seq FROM rootdx.provenance"
    )
    assert source.timestamp() == T0_NS / 1e9
    assert round(gateway_ts.timestamp() * 1e6) == GATEWAY_NS // 1000
    assert abs((ingest - dt.datetime.now(dt.UTC)).total_seconds()) < 60
    assert (gateway, epoch, number) == ("gw-1", uuid.UUID(int=7), seq)


async def test_declaration_fills_names_units_and_roles_and_the_last_one_counts(engine_dsn: str) -> None:
    tags: list[dict[str, Any]] = [
        {"name": "a", "role": "metal.temp", "unit": "Cel", "low": 0.0, "high": 800.0, "every_s": 0.5, "text": "용탕"},
        {"name": "b"},
    ]
    first = event(kind="machine.declared", data={"name": "dc1", "process": "casting", "tags": tags})
    again = event(
        kind="machine.declared",
        ts_ns=T0_NS + 1,
        data={"name": "1호기", "process": "casting", "tags": [{**tags[0], "unit": "K"}]},
    )
    async with feeding(engine_dsn) as feed:
        await feed.take(batch(n=1), first)
        await feed.take(again)
    assert ask(engine_dsn, "SELECT path, name, process FROM rootdx.asset") == [(ASSET, "1호기", "casting")]
    rows = ask(engine_dsn, "SELECT name, role, unit, low, high, every_s, text FROM rootdx.tag ORDER BY name")
    assert rows == [("a", "metal.temp", "K", 0.0, 800.0, 0.5, "용탕"), ("b", "", "", None, None, None, "")]


async def test_known_names_use_up_no_ids(plain_dsn: str) -> None:
    async with feeding(plain_dsn) as feed:
        for i in range(20):
            await feed.take(batch(i, 1, tags=("a",) if i % 2 else ("a", "b")), event(ts_ns=T0_NS + i))
        await feed.take(batch(asset="acme/ansan1/casting/line1/dc2"))
    assert one(plain_dsn, "SELECT max(asset_id) FROM rootdx.asset") == 2
    assert one(plain_dsn, "SELECT max(tag_id) FROM rootdx.tag") == 4


async def test_event_is_stored_once_however_often_it_is_said(engine_dsn: str) -> None:
    data = {"로트": ["A-1", {"n": 1.5}], "x": None}
    raised = event("과열", kind="alarm.high", ts_ns=T0_NS + 123_456_789, phase=Phase.RAISED, key="zone1", data=data)
    cleared = replace(raised, phase=Phase.CLEARED, ts_ns=T0_NS + HOUR_NS, onset_ns=raised.ts_ns)
    async with feeding(engine_dsn) as feed:
        await feed.take(raised, raised)
        await feed.take(raised, cleared)
    rows = ask(
        engine_dsn,
        "SELECT phase, text, key, data, (extract(epoch FROM ts) * 1000000)::bigint, asset, severity, id FROM "
        "rootdx.events ORDER BY ts",
    )
    assert rows == [
        ("raised", "과열", "zone1", data, (T0_NS + 123_456_789) // 1000, ASSET, 100, raised.id),
        ("cleared", "과열", "zone1", data, (T0_NS + HOUR_NS) // 1000, ASSET, 100, raised.id),
    ]


async def test_what_is_expected_stored_and_missing_adds_up(engine_dsn: str) -> None:
    async with feeding(engine_dsn) as feed:
        await feed.take(batch(n=10, tags=("a",)), tally(20, late=3, unreachable=2))
        await feed.take(tally(5, quarantined=4, machine_off=1, spool_full=1, gateway_down=1))
    rows = ask(
        engine_dsn,
        "SELECT expected, good, uncertain, bad, unreachable, late, gateway_down, spool_full, quarantined, machine_off, "
        "on_the_way FROM rootdx.completeness",
    )
    assert rows == [(25, 10, 0, 0, 2, 3, 1, 1, 4, 1, 3)]
    by_asset = ask(engine_dsn, "SELECT asset, expected, stored, on_the_way FROM rootdx.completeness_by_asset")
    assert by_asset == [(ASSET, 25, 10, 3)]


async def test_latest_is_the_newest_row_of_every_tag(engine_dsn: str) -> None:
    now = dt.datetime.now(dt.UTC).timestamp()
    async with feeding(engine_dsn) as feed:
        await feed.take(batch(0, 4, ts_ns=int((now - 60) * 1e9)))
        await feed.take(batch(100, 2, ts_ns=int((now - 90) * 1e9)))
    assert ask(engine_dsn, "SELECT tag, value FROM rootdx.latest ORDER BY tag") == [("a", 2.0), ("b", 3.0)]


async def test_same_bytes_in_quarantine_are_one_entry_that_counts(engine_dsn: str) -> None:
    same = Quarantined("frame", "no frame\0", b"\x00\xff")
    other = Quarantined("body", "clock", b"\x00\xff", 1, 1, 0, 7)
    async with feeding(engine_dsn) as feed:
        await feed.take(quarantined=[same, other])
        await feed.take(quarantined=[same])
    rows = ask(
        engine_dsn,
        "SELECT cause, reason, bytes, source_id, seq, body, rows, arrivals FROM rootdx.quarantine ORDER BY id",
    )
    assert rows == [
        ("frame", "no frame\\0", b"\x00\xff", None, None, None, 0, 2),
        ("body", "clock", b"\x00\xff", 1, 1, 0, 7, 1),
    ]


# Exactly once


async def test_ledger_that_is_not_what_was_believed_refuses_everything(engine_dsn: str) -> None:
    async with feeding(engine_dsn) as first:
        second = Feed(first.store, first.entry)
        await first.take(batch(n=1))
        with pytest.raises(Unavailable, match="another writer is at work"):
            await second.take(batch(n=1), quarantined=[Quarantined("frame", "x", b"x")])
    assert one(engine_dsn, "SELECT count(*) FROM rootdx.measurement") == 1
    assert one(engine_dsn, "SELECT count(*) FROM rootdx.quarantine") == 0


async def test_failed_transaction_leaves_nothing_in_the_database_and_nothing_in_memory(engine_dsn: str) -> None:
    async with feeding(engine_dsn) as feed:
        poison = event(data={"x": float("nan")})
        with pytest.raises(BadData):
            await feed.take(batch(n=2, asset="acme/ansan1/a/b/new"), poison)
        assert one(engine_dsn, "SELECT count(*) FROM rootdx.tag") == 0
        await feed.take(batch(n=2, asset="acme/ansan1/a/b/new"))
    assert one(engine_dsn, "SELECT count(*) FROM rootdx.history") == 2  # the rows' tags exist
    if one(engine_dsn, "SELECT to_regclass('rootdx.touched_hour') IS NOT NULL"):
        assert one(engine_dsn, "SELECT count(*) FROM rootdx.touched_hour") == 1
    assert one(engine_dsn, "SELECT sum(count) FROM rootdx.measurement_1m") == 2


async def test_refused_record_keeps_every_body_that_the_server_takes(engine_dsn: str) -> None:
    bodies = (batch(n=3), event(data={"x": float("nan")}), tally(3), event("fine"))
    async with feeding(engine_dsn) as feed:
        record = Accepted(feed.entry.source_id, 1, GATEWAY_NS, 3, bodies)
        asked: list[int] = []

        def aside(place: int, error: BadData) -> Quarantined:
            asked.append(place)
            return Quarantined("refused", str(error), b"x", feed.entry.source_id, 1, place)

        await feed.store.commit_bodies(record, 0, aside)
    assert asked == [1]
    assert [
        one(engine_dsn, f"SELECT count(*) FROM rootdx.{name}")
        for name in ("measurement", "tally", "event", "quarantine")
    ] == [3, 1, 1, 1]
    assert ask(engine_dsn, "SELECT last_seq, (SELECT rows FROM rootdx.record) FROM rootdx.ledger") == [(1, 3)]


async def test_retry_stores_once_and_takes_the_loss_back(engine_dsn: str) -> None:
    body = batch(n=3, tags=("a",))
    async with feeding(engine_dsn) as feed:
        await feed.take(
            tally(3, quarantined=3), quarantined=[Quarantined("body", "x", b"x", feed.entry.source_id, 1, 0, 3)]
        )
        ((key, *_),) = await feed.store.quarantine()
        await feed.store.retry(key, [(feed.entry.source_id, 1, body)], counted=True)
        with pytest.raises(BadData, match="resolved already"):
            await feed.store.retry(key, [(feed.entry.source_id, 1, body)], counted=True)
        assert await feed.store.quarantine() == []
        assert len(await feed.store.quarantine(resolved=True)) == 1
    assert ask(engine_dsn, "SELECT expected, good, quarantined, on_the_way FROM rootdx.completeness") == [(3, 3, 0, 0)]


@pytest.mark.plain
async def test_each_kind_of_trouble_has_its_own_fate(plain_dsn: str) -> None:
    async with feeding(plain_dsn) as feed:
        ask(plain_dsn, "ALTER TABLE rootdx.measurement RENAME TO gone")
        with pytest.raises(ConfigError, match="run `rootdx migrate`"):
            await feed.take(batch())
        ask(plain_dsn, "ALTER TABLE rootdx.gone RENAME TO measurement")
        await feed.store._db.execute("SET default_transaction_read_only = on")
        with pytest.raises(Unavailable, match="read-only"):
            await feed.take(batch())
        await feed.store._db.execute("SET default_transaction_read_only = off")
        await feed.take(batch())
        ask(plain_dsn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'rootdx'")
        with pytest.raises(Unavailable):
            await feed.take(batch())


@pytest.mark.plain
async def test_document_beyond_the_servers_limits_is_bad_data_and_not_an_absence(plain_dsn: str) -> None:
    async with feeding(plain_dsn) as feed:
        with pytest.raises(BadData, match="stack depth limit exceeded"):
            async with feed.store._transaction():
                await feed.store._all("SELECT %s::jsonb", ["[" * 100_000 + "]" * 100_000])


@pytest.mark.parametrize(
    ("dsn", "error", "words"),
    [
        ("postgresql://127.0.0.1:1/x", Unavailable, "database: "),
        ("nonsense", ConfigError, "not a connection string"),
    ],
)
async def test_store_that_is_not_there(dsn: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        await opened(settings(dsn)).__aenter__()


async def test_wrong_password_and_missing_database_are_config_errors(plain_dsn: str) -> None:
    secret = plain_dsn.partition("@")[0].rpartition(":")[2]
    for dsn in (plain_dsn.replace(secret, "wrong"), plain_dsn.rpartition("/")[0] + "/nowhere"):
        with pytest.raises(ConfigError, match=r"store.dsn: .*; check user, password and database name"):
            await opened(settings(dsn)).__aenter__()


# Summaries


def some_rows(rng: random.Random, start_ns: int, n: int = 400) -> list[tuple[str, int, float | None, int]]:
    """Rows (tag, ts_ns, value, quality) at different times over three hours."""
    steps = rng.sample(range(3 * 3600 * 10), n)
    codes = [Quality.GOOD, Quality.GOOD, Quality.UNCERTAIN, Quality.BAD_NO_DATA]
    rows = []
    for step in steps:
        quality = rng.choice(codes)
        value = None if quality >= Quality.BAD else rng.uniform(-5, 5)
        rows.append((rng.choice("ab"), start_ns + step * 100_000_000, value, int(quality)))
    return rows


def as_batch(rows: Sequence[tuple[str, int, float | None, int]]) -> Batch:
    values = [math.nan if value is None else value for _, _, value, _ in rows]
    tag = ["ab".index(name) for name, *_ in rows]
    return Batch.of(
        ASSET, ("a", "b"), [row[1] for row in rows], tag, values, np.array([row[3] for row in rows], np.uint32)
    )


def assert_summaries(dsn: str, rows: Sequence[tuple[str, int, float | None, int]]) -> None:
    for view, span in (("measurement_1m", MINUTE_NS), ("measurement_1h", HOUR_NS)):
        found = ask(
            dsn,
            "SELECT t.name, extract(epoch FROM bucket)::bigint, min, max, sum, first, last, count, value_count, "
            "good_count, "
            f"bad_count FROM rootdx.{view} JOIN rootdx.tag t USING (tag_id)",
        )
        told = {(name, int(start) * 1_000_000_000): figures for name, start, *figures in found}
        wanted = {key: list(bucket.figures()) for key, bucket in buckets(rows, span).items()}
        assert told.keys() == wanted.keys(), view
        for key, figures in wanted.items():
            numbers = [None if figure is None else float(figure) for figure in told[key]]
            assert numbers == [None if figure is None else pytest.approx(figure, abs=1e-9) for figure in figures], (
                view,
                key,
            )


def summed_up(dsn: str) -> None:
    """Everything the background would do in time, done now."""
    if one(dsn, "SELECT to_regclass('rootdx.touched_hour') IS NOT NULL"):
        ask(dsn, "UPDATE rootdx.touched_hour SET at = at - INTERVAL '6 minutes'")
        for _ in range(200):
            if not one(dsn, "SELECT rootdx.maintain()"):
                return
        raise AssertionError("maintain never ends")
    jobs = ask(
        dsn,
        "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'policy_refresh_continuous_aggregate' "
        "ORDER BY hypertable_name DESC",
    )
    assert len(jobs) == 2
    for (job,) in jobs:  # minutes before hours
        ask(dsn, f"CALL public.run_job({job})")


async def test_summaries_are_right_at_once_and_after_being_summed_up(engine_dsn: str) -> None:
    start = (T0_NS - 5 * DAY_NS) // HOUR_NS * HOUR_NS
    rows = some_rows(random.Random(1), start)
    async with feeding(engine_dsn) as feed:
        await feed.take(as_batch(rows))
        assert_summaries(engine_dsn, rows)
        summed_up(engine_dsn)
        assert_summaries(engine_dsn, rows)


@pytest.mark.parametrize("age_days", [300])
async def test_late_rows_are_summed_up_too(engine_dsn: str, age_days: int) -> None:
    now_ns = int(dt.datetime.now(dt.UTC).timestamp()) * 1_000_000_000
    start = (now_ns - age_days * DAY_NS) // HOUR_NS * HOUR_NS
    rows = some_rows(random.Random(age_days), start, 200)
    late = [
        (tag, ts + 50_000_000, value, quality) for tag, ts, value, quality in some_rows(random.Random(9), start, 100)
    ]
    async with feeding(engine_dsn) as feed:
        await feed.take(as_batch(rows), batch(0, 1, asset="x/y/z/1/2", ts_ns=now_ns - HOUR_NS))
        summed_up(engine_dsn)
    async with feeding(engine_dsn) as feed:
        await feed.take(as_batch(late))
    ask(
        engine_dsn,
        "DELETE FROM rootdx.measurement m USING rootdx.tag t, rootdx.asset a WHERE t.tag_id = m.tag_id AND "
        "a.asset_id = t.asset_id AND a.path LIKE 'x%%'",
    )
    summed_up(engine_dsn)
    found = one(
        engine_dsn,
        "SELECT sum(count) FROM rootdx.measurement_1h JOIN rootdx.tag USING (tag_id) JOIN rootdx.asset USING "
        "(asset_id) WHERE path = %s",
        ASSET,
    )
    assert found == 300


@pytest.mark.plain
async def test_row_a_moment_before_the_hour_is_summed_up_in_its_own(plain_dsn: str) -> None:
    hour = T0_NS // HOUR_NS * HOUR_NS
    async with feeding(plain_dsn) as feed:
        await feed.take(batch(n=1, ts_ns=hour - 1))
        await feed.take(batch(n=1, ts_ns=hour + 1))
        summed_up(plain_dsn)
    assert [
        count for _, count in ask(plain_dsn, "SELECT bucket, sum(count) FROM rootdx.measurement_1h GROUP BY 1")
    ] == [1, 1]


@pytest.mark.plain
async def test_raw_rows_are_kept_as_long_as_the_owner_says(plain_dsn: str) -> None:
    old = (int(dt.datetime.now(dt.UTC).timestamp()) - 500 * 86_400) * 1_000_000_000
    async with feeding(plain_dsn) as feed:
        ask(plain_dsn, "SELECT rootdx.keep_raw('100 years')")
        await feed.take(batch(n=1, ts_ns=old))
        summed_up(plain_dsn)
        assert ask(plain_dsn, "SELECT count(*) FROM rootdx.measurement") == [(1,)]
        ask(plain_dsn, "SELECT rootdx.keep_raw('400 days')")
        await feed.store.maintain()
        assert ask(plain_dsn, "SELECT count(*) FROM rootdx.measurement") == [(0,)]


async def test_summary_of_rows_past_retention_stays_when_a_late_one_comes(plain_dsn: str) -> None:
    old = (int(dt.datetime.now(dt.UTC).timestamp()) * 1_000_000_000 - 500 * DAY_NS) // HOUR_NS * HOUR_NS
    async with feeding(plain_dsn) as feed:
        await feed.take(batch(n=1))
        for table in ("bucket_1m", "bucket_1h"):
            ask(
                plain_dsn,
                f"INSERT INTO rootdx.{table} SELECT to_timestamp(%s), tag_id, 1, 1, 60, 1, 1, 60, 60, 60, 0 FROM "
                "rootdx.tag WHERE name = 'a'",
                old / 1e9,
            )
        await feed.take(batch(n=1, ts_ns=old))
        summed_up(plain_dsn)
    assert ask(plain_dsn, "SELECT count FROM rootdx.measurement_1h WHERE bucket = to_timestamp(%s)", old / 1e9) == [
        (60,)
    ]


@pytest.mark.plain
async def test_hour_is_not_summed_up_while_rows_may_still_come(plain_dsn: str) -> None:
    async with feeding(plain_dsn) as feed:
        await feed.take(batch(n=3))
        assert await feed.store.maintain() is False
        assert one(plain_dsn, "SELECT count(*) FROM rootdx.touched_hour") == 1
        assert one(plain_dsn, "SELECT count(*) FROM rootdx.bucket_1h") == 0


async def test_old_rows_are_removed_and_newer_ones_stay(plain_dsn: str) -> None:
    now_ns = int(dt.datetime.now(dt.UTC).timestamp()) * 1_000_000_000
    async with feeding(plain_dsn) as feed:
        await feed.take(batch(n=1, ts_ns=now_ns - 401 * DAY_NS), batch(n=1, ts_ns=now_ns - 399 * DAY_NS))
        await feed.store.maintain()
    assert one(plain_dsn, "SELECT count(*) FROM rootdx.measurement") == 1


# TimescaleDB


def chunks(dsn: str) -> list[tuple[bool]]:
    return ask(
        dsn,
        "SELECT is_compressed FROM timescaledb_information.chunks WHERE hypertable_name = 'measurement' "
        "ORDER BY range_start",
    )


@pytest.fixture
def without_aggregates(timescale_store: str) -> str:
    """The server of the tests (2.23) takes the direct path only into tables without continuous aggregates."""
    ask(timescale_store, "DROP MATERIALIZED VIEW rootdx.measurement_1m CASCADE")
    return timescale_store


async def test_large_transaction_goes_straight_into_the_columnstore(without_aggregates: str) -> None:
    timescale_store = without_aggregates
    async with feeding(timescale_store, direct_rows=1_000) as feed:
        await feed.take(batch(0, 1_000))
        assert chunks(timescale_store) == [(True,)]
        await feed.take(batch(0, 999, ts_ns=T0_NS + 2 * DAY_NS))
        assert chunks(timescale_store) == [(True,), (False,)]
    assert one(timescale_store, "SELECT count(*) FROM ONLY rootdx.measurement") == 0
    values = ask(
        timescale_store,
        "SELECT value FROM rootdx.measurement WHERE ts < to_timestamp(%s) ORDER BY ts",
        (T0_NS + DAY_NS) / 1e9,
    )
    assert [value for (value,) in values] == [float(i) for i in range(1_000)]


async def test_large_transaction_beside_aggregates_stores_every_row_and_is_summed_up(timescale_store: str) -> None:
    """Whether the server takes the direct path there or not (2.23 does not) is its own business."""
    async with feeding(timescale_store, direct_rows=1_000) as feed:
        await feed.take(batch(0, 1_000))
        await feed.take(batch(1_000, 1_500, ts_ns=T0_NS + DAY_NS))
    assert one(timescale_store, "SELECT count(*) FROM rootdx.measurement") == 2_500
    assert one(timescale_store, "SELECT sum(count) FROM rootdx.measurement_1h") == 2_500


async def test_writers_role_may_take_the_direct_path(without_aggregates: str) -> None:
    timescale_store = without_aggregates
    async with feeding(timescale_store, direct_rows=100) as feed:
        await feed.store._db.execute("SET ROLE rootdx_writer")
        await feed.take(batch(0, 200), event(), tally(200))
        await feed.take(batch(200, 10))
        await feed.store._db.execute("RESET ROLE")
    assert chunks(timescale_store) == [(True,)]
    assert one(timescale_store, "SELECT count(*) FROM rootdx.measurement") == 210


async def test_late_rows_find_their_way_into_a_compressed_chunk(timescale_store: str) -> None:
    start = (T0_NS - 40 * DAY_NS) // HOUR_NS * HOUR_NS
    rows, late = some_rows(random.Random(3), start, 300), some_rows(random.Random(4), start, 50)
    late = [(tag, ts + 7_000_000, value, quality) for tag, ts, value, quality in late]
    async with feeding(timescale_store) as feed:
        await feed.take(as_batch(rows))
        summed_up(timescale_store)
        ask(timescale_store, "SELECT public.compress_chunk(c) FROM public.show_chunks('rootdx.measurement') c")
        await feed.take(as_batch(late))
    assert one(timescale_store, "SELECT count(*) FROM rootdx.measurement") == 350
    summed_up(timescale_store)
    assert_summaries(timescale_store, [*rows, *late])


def test_policies_exist_with_their_intervals(timescale_store: str) -> None:
    rows = ask(
        timescale_store,
        "SELECT coalesce(c.view_name, j.hypertable_name), proc_name, coalesce(config ->> 'drop_after', "
        "config ->> 'compress_after', "
        "config ->> 'start_offset'), config ->> 'end_offset' FROM timescaledb_information.jobs j "
        "LEFT JOIN timescaledb_information.continuous_aggregates c ON c.materialization_hypertable_name = "
        "j.hypertable_name "
        "WHERE j.job_id >= 1000 ORDER BY 2, 1",
    )
    assert [(name, proc.removeprefix("policy_"), after, end) for name, proc, after, end in rows] == [
        ("measurement", "compression", "15 days", None),
        ("record", "compression", "15 days", None),
        ("tally", "compression", "15 days", None),
        ("measurement_1h", "refresh_continuous_aggregate", "398 days", "02:00:00"),
        ("measurement_1m", "refresh_continuous_aggregate", "398 days", "00:02:00"),
        ("measurement", "retention", "400 days", None),
        ("measurement_1m", "retention", "10 years", None),
        ("record", "retention", "400 days", None),
        ("tally", "retention", "10 years", None),
        ("waveform", "retention", "400 days", None),
    ]
