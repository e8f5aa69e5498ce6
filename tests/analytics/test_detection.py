"""Detectors on a real store: what rings, when, once; live, restarted, replayed and backtested alike."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest

from analytics.alarm import Act, Kind
from analytics.alarm_store import AlarmStore
from analytics.backtest import backtest
from analytics.feature_table import Grid, Wish, of_cycles, of_tags, phases, tagged
from analytics.processes.casting import HpdcShot
from analytics.watch import Watch, watching
from analytics.watching import unattended, watchings
from pipeline.database import connect
from pipeline.errors import ConfigError
from pipeline.model import Batch
from pipeline.plant import Plant
from pipeline.settings import AnalyticsSettings
from pipeline.store import opened
from simulators.faults import Fault
from tests.support.plant_rows import QUICK, Feed, batches, store_settings, watched
from tests.support.simulated import Simulated, simulated
from tests.support.spine import ask

SHOT = HpdcShot(
    states=("IDLE", "DIE_CLOSE", "POUR", "SLOW_SHOT", "FAST_SHOT", "INTENSIFY", "COOL", "DIE_OPEN", "EJECT", "SPRAY"),
    warm_up_shots=3,
)
PLANT = Plant(enterprise="test", site="plant")
MINUTES = 24
BISCUIT: dict[str, Any] = {
    "kind": "limits",
    "name": "biscuit",
    "on": "hpdc_shot",
    "of": ["biscuit"],
    "low": 18.0,
    "high": 32.0,
}
METAL: dict[str, Any] = {"kind": "limits", "name": "metal", "of": ["metal.temp"], "low": 500.0, "high": 700.0}
LIVE = QUICK.model_copy(update={"live_s": 1e9})
JOURNAL = """
    SELECT asset, detector, subject, kind, before, after, ts, onset, told, replayed, score, facts - 'cycle_id'
    FROM rootdx.alarm_entries ORDER BY ts, entry_id"""
FOUND = "SELECT kind, told, replayed FROM rootdx.alarm_entries ORDER BY entry_id"
EMPTY = (  # a database of its own for the second run, as far as a test can have one
    "ALTER TABLE rootdx.alarm_journal DISABLE TRIGGER USER; "
    "TRUNCATE rootdx.cycle, rootdx.kpi_element, rootdx.demand, rootdx.measurement, rootdx.process_config, "
    "rootdx.recompute, rootdx.arrival, rootdx.ledger, rootdx.quarantine, rootdx.detector CASCADE; "
    "ALTER TABLE rootdx.alarm_journal ENABLE TRIGGER USER"
)


@cache
def cell() -> Simulated:
    """A cell whose dosing is 10 mm short for four minutes, and whose metal thermometer breaks for two."""
    broken = Fault("sentinel", "metal_temp", 200.0, 320.0, 32767.0)
    return simulated("casting", 60.0 * MINUTES, faults=[Fault("dosing", "biscuit", 600.0, 840.0, -10.0), broken])


@contextlib.asynccontextmanager
async def plant(
    dsn: str, *detectors: dict[str, Any], settings: AnalyticsSettings = LIVE
) -> AsyncIterator[tuple[Feed, Watch]]:
    window = cell().window
    async with opened(store_settings(dsn)) as store:
        feed = Feed(store, window.asset)
        await feed.declare(window)
        machine = watched(window, SHOT, detectors=detectors)
        async with watching(store_settings(dsn), settings, PLANT, [machine]) as watch:
            yield feed, watch


async def told(
    dsn: str, pieces: Sequence[Batch], *detectors: dict[str, Any], settings: AnalyticsSettings = LIVE
) -> list[tuple[Any, ...]]:
    async with plant(dsn, *detectors, settings=settings) as (feed, watch):
        for piece in pieces:
            await feed.take(piece)
            await watch.drain()
    return ask(dsn, JOURNAL)


async def test_a_fault_rings_once_says_why_and_clears(engine_dsn: str) -> None:
    rows = await told(engine_dsn, batches(cell().window, 30.0), BISCUIT)
    assert [(row[3], row[8]) for row in rows] == [("raised", True), ("cleared", False)]
    facts = rows[0][11]
    assert facts["subject"] == "biscuit"
    assert facts["value"] < 18.0 == facts["low"]
    assert {one["name"]: one["sigma"] for one in facts["moves"]}["biscuit"] < -3
    standing = ask(engine_dsn, "SELECT state, active FROM rootdx.alarms")
    assert standing == [("returned", False)]
    judged = (
        "SELECT count(*) FROM rootdx.cycle c LEFT JOIN rootdx.scores s USING (cycle_id) WHERE c.end_ts IS NOT NULL "
    )
    flagged = "AND (s.score IS NULL) <> ('warm_up' = ANY(flags) OR 'gap' = ANY(flags))"
    assert ask(engine_dsn, judged)[0][0] > 15
    assert ask(engine_dsn, judged + flagged) == [(0,)], "every shot has a score, but for those that are not normal"


async def test_a_restart_anywhere_leaves_the_same_journal(plain_dsn: str) -> None:
    pieces = batches(cell().window, 30.0)
    clean = await told(plain_dsn, pieces, BISCUIT, METAL)
    assert len(clean) >= 2
    ask(plain_dsn, EMPTY)
    for first in range(0, len(pieces), 7):
        async with plant(plain_dsn, BISCUIT, METAL) as (feed, watch):
            for piece in pieces[first : first + 7]:
                await feed.take(piece)
                await watch.drain()
    assert ask(plain_dsn, JOURNAL) == clean


EWMA: dict[str, Any] = {"kind": "ewma", "on": "hpdc_shot", "of": ["biscuit"], "centre": 25.0, "sigma": 1.8}
ADAPTIVE: dict[str, Any] = {
    "kind": "adaptive", "on": "hpdc_shot", "of": ["biscuit", "v_fast", "t_fill"], "window": 10, "spread_rows": 10,
    "least_rows": 5, "limit": 2.0, "top": 1,
}  # fmt: skip
TEMPERATURE: dict[str, Any] = {**METAL, "low": 664.0, "high": 666.0, "during": ["POUR", "COOL"]}
GAP: dict[str, Any] = {"kind": "gap", "of": ["metal.temp"], "alarm": {"on_delay_s": 10.0}}


async def backtested(dsn: str, table: dict[str, Any], settings: AnalyticsSettings) -> list[tuple[int, int]]:
    """When a backtest says that it is raised, and since when, µs."""
    one = watchings([table], [SHOT.kind], "test")[0]
    asset_id = ask(dsn, "SELECT asset_id FROM rootdx.asset")[0][0]
    rows = one.detector.memory
    db = await connect(dsn, 5)
    try:
        if one.is_of_cycles:
            shown = (await of_cycles(db, Wish(asset_id, SHOT.kind, one.view.of, (), rows), 0, 2**62)).table
        else:
            step_ns, first, last = 10**9, cell().window.start_ns, cell().window.end_ns
            last = (last - round(settings.settle_s * 1e9)) // step_ns * step_ns + 1
            spans = await phases(db, Wish(asset_id, SHOT.kind), one.view.during, 0, last) if one.view.during else None
            shown = await of_tags(db, await tagged(db, asset_id, one.view.of), Grid(1.0, rows, spans), first, last)
    finally:
        await db.close()
    found = backtest(shown, one.detector, one.view.alarm, from_ns=cell().window.start_ns).episodes
    return [(e.raised_ns // 1000, e.onset_ns // 1000) for e in found]


@pytest.mark.parametrize("table", [BISCUIT, EWMA, ADAPTIVE, TEMPERATURE, GAP], ids=lambda one: str(one["kind"]))
async def test_live_replay_and_backtest_find_the_same(plain_dsn: str, table: dict[str, Any]) -> None:
    pieces = batches(cell().window, 30.0)
    live = await told(plain_dsn, pieces, table)
    tested = await backtested(plain_dsn, table, LIVE)
    ask(plain_dsn, EMPTY)
    replayed = await told(plain_dsn, pieces, table, settings=QUICK)
    moments = [
        [(row[3], row[6], row[7]) for row in rows if row[3] in {"raised", "cleared"}] for rows in (live, replayed)
    ]
    assert moments[0] == moments[1]
    rung = [(round(row[6].timestamp() * 1e6), round(row[7].timestamp() * 1e6)) for row in live if row[3] == "raised"]
    assert rung == tested
    assert rung
    assert not any(row[8] for row in replayed), "old rows ring nobody"
    assert all(row[9] for row in replayed)


async def test_rows_that_come_late_are_noted_and_ring_nobody(plain_dsn: str) -> None:
    pieces = batches(cell().window, 30.0)
    first, last = (cell().window.start_ns + round(s * 1e9) for s in (570.0, 900.0))
    late = [piece for piece in pieces if first <= piece.ts_ns.min() < last]
    async with plant(plain_dsn, BISCUIT) as (feed, watch):
        for piece in pieces:
            if piece not in late:
                await feed.take(piece)
        await watch.drain()
        assert ask(plain_dsn, FOUND) == []
        await feed.take(*late)
        await watch.drain()
        await feed.take(*late)
        await watch.drain()
    assert ask(plain_dsn, FOUND) == [("noted", False, True)]


async def test_a_broken_sensor_neither_raises_nor_clears(plain_dsn: str) -> None:
    rows = await told(
        plain_dsn, batches(cell().window, 30.0), {**METAL, "low": 664.0, "high": 666.0, "alarm": {"on_delay_s": 5.0}}
    )
    broken = [cell().window.start_ns + round(s * 1e9) for s in (203.0, 320.0)]
    at = [row[6].timestamp() * 1e9 for row in rows]
    assert len(at) > 1
    assert not [ts for ts in at if broken[0] < ts < broken[1]]


async def test_alarms_of_one_cause_ring_once(plain_dsn: str) -> None:
    wide = {**BISCUIT, "name": "second", "high": 31.0}
    rows = await told(plain_dsn, batches(cell().window, 30.0), BISCUIT, wide)
    raised = [row for row in rows if row[3] == "raised"]
    assert [row[8] for row in raised] == [True, False]
    causes = ask(plain_dsn, "SELECT entry_id, cause FROM rootdx.alarm_journal WHERE kind = 'raised' ORDER BY entry_id")
    assert causes[1][1] == causes[0][0]


async def test_what_people_do_is_kept_and_told_the_next_time(plain_dsn: str) -> None:
    pieces = batches(cell().window, 30.0)
    half = next(i for i, piece in enumerate(pieces) if piece.ts_ns.min() > cell().window.start_ns + 780e9)
    async with plant(plain_dsn, BISCUIT) as (feed, watch):
        for piece in pieces[:half]:
            await feed.take(piece)
            await watch.drain()
        db = await connect(plain_dsn, 5)
        try:
            store = AlarmStore(db)
            alarm_id = ask(plain_dsn, "SELECT alarm_id FROM rootdx.alarm")[0][0]
            state = await store.act(alarm_id, Act(Kind.ACKNOWLEDGED, 10**18, "kim", "라들 교체"))
            assert state == "acknowledged"
            assert (await store.last_done(1, "biscuit") or ())[1:] == ("kim", "라들 교체")
        finally:
            await db.close()
        for piece in pieces[half:]:
            await feed.take(piece)
            await watch.drain()
    assert ask(plain_dsn, "SELECT state, acknowledged_by, done FROM rootdx.alarms") == [("normal", "kim", "라들 교체")]


def test_the_journal_is_never_changed(engine_dsn: str) -> None:
    with pytest.raises(Exception, match="never changed"):
        ask(engine_dsn, "DELETE FROM rootdx.alarm_journal")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"kind": "limits", "on": "hpdc"}, "expected one of 'tags', 'hpdc_shot'"),
        ({"kind": "limits", "by": ["mold"]}, "is for features of cycles"),
        ({"kind": "limits", "on": "hpdc_shot", "during": ["POUR"]}, "during and every_s are for"),
        ({"kind": "limits", "alarm": {"deadband": 1.0}}, "less than 1"),
        ({"kind": "limit"}, "kind"),
        ({"kind": "limits", "lo": 3}, "lo"),
    ],
)
def test_a_wrong_table_names_what_is_wrong(table: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=r"dc1.toml: \[\[detector\]\]") as caught:
        watchings([table], ["hpdc_shot"], "dc1.toml")
    assert said in str(caught.value)


def test_names_are_unique() -> None:
    with pytest.raises(ConfigError, match="appears twice"):
        watchings([BISCUIT, BISCUIT], ["hpdc_shot"], "dc1.toml")


async def test_scores_of_tags_are_kept_by_the_minute(plain_dsn: str) -> None:
    await told(plain_dsn, batches(cell().window, 30.0), METAL)
    scores = ask(plain_dsn, "SELECT extract(epoch FROM ts)::int % 60, score FROM rootdx.scores ORDER BY ts")
    assert {second for second, _ in scores} == {0}
    assert len(scores) > MINUTES - 6
    assert np.isfinite([score for _, score in scores]).all()


async def test_a_machine_nobody_configured_is_watched_from_the_first_day(plain_dsn: str) -> None:
    watch = LIVE.model_copy(update={"unattended": "watch"})
    rows = await told(plain_dsn, batches(cell().window, 60.0), settings=watch)
    seats = ask(plain_dsn, "SELECT name, kind FROM rootdx.detector ORDER BY 1")
    assert seats == [("hpdc_shot", "adaptive"), ("line", "gap")]
    assert {row[2] for row in rows} == {"metal.temp"}, "the thermometer that broke, and no other tag"
    assert not [one for one in unattended(["hpdc_shot"], {"cycle.state": "1"}) if one.name == "anything"]
