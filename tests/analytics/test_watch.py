"""Rows in a real store become cycles, whatever order they come in, and nothing but what they touch is written again."""

import contextlib
import dataclasses
import itertools
import random
import shutil
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analytics import watch as watch_module
from analytics.entries import ContextEntry, enter
from analytics.machines import METER, load_machines
from analytics.process import Limit, Measured, Process, Segment
from analytics.processes.casting import HpdcShot
from analytics.time_series import UNKNOWN_COUNTER, Counter
from analytics.watch import Watch, watching
from analytics.window import Series, Window
from pipeline.errors import ConfigError, Unavailable
from pipeline.model import Batch
from pipeline.plant import Plant
from pipeline.settings import AnalyticsSettings, Settings
from pipeline.store import opened
from tests.support.plant_rows import QUICK, STORED_CYCLES, STORED_KPIS, Feed, batches, store_settings, watched
from tests.support.simulated import Simulated, simulated
from tests.support.spine import ask

SHOT = HpdcShot(
    states=("IDLE", "DIE_CLOSE", "POUR", "SLOW_SHOT", "FAST_SHOT", "INTENSIFY", "COOL", "DIE_OPEN", "EJECT", "SPRAY")
)
PLANT = Plant(enterprise="test", site="plant")
LONG_AGO = datetime(2026, 5, 1, tzinfo=UTC)
MINUTES = 21
EMPTY = (
    "TRUNCATE rootdx.cycle, rootdx.kpi_element, rootdx.demand, rootdx.measurement, rootdx.process_config, "
    "rootdx.recompute, rootdx.arrival, "
    "rootdx.ledger, rootdx.quarantine RESTART IDENTITY CASCADE"
)
VERSIONS = "SELECT cycle_id, version FROM rootdx.cycle ORDER BY 1"
FEATURES = "SELECT cycle_id, jsonb_object_agg(feature, inputs_hash) FROM rootdx.features GROUP BY 1"
SPANS = "SELECT cycle_id, ARRAY[extract(epoch FROM start_ts), extract(epoch FROM end_ts)]::float8[] FROM rootdx.cycle"


@cache
def cell() -> Simulated:
    return simulated("casting", 60.0 * MINUTES)


@contextlib.asynccontextmanager
async def plant(dsn: str, process: Process = SHOT) -> AsyncIterator[tuple[Feed, Watch]]:
    window = cell().window
    async with opened(store_settings(dsn)) as store:
        feed = Feed(store, window.asset)
        await feed.declare(window)
        async with watching(store_settings(dsn), QUICK, PLANT, [watched(window, process)]) as watch:
            yield feed, watch


async def told(dsn: str, pieces: Sequence[Batch], every: int = 1) -> list[tuple[Any, ...]]:
    """The cycles after these pieces came in this order, looked at after every `every`th."""
    async with plant(dsn) as (feed, watch):
        for number, piece in enumerate(pieces, 1):
            await feed.take(piece)
            if number % every == 0:
                await watch.drain()
        await watch.drain()
    return ask(dsn, STORED_CYCLES)


async def test_every_shot_becomes_a_row_with_its_phases_and_features(engine_dsn: str) -> None:
    rows = await told(engine_dsn, batches(cell().window), every=7)
    closed = [row for row in rows if row[4] is not None]
    inside = [c for c in cell().truth if c.end_s < 60.0 * MINUTES - 5.0]
    assert len(closed) == len(inside)
    assert all(row[13] and len(row[13]) == len(row[16]) for row in closed)
    assert 1 <= len([row for row in rows if row[4] is None]) <= 2  # the running one, and one whose last rows are due
    features = ask(engine_dsn, "SELECT DISTINCT feature FROM rootdx.features")
    assert {"cycle_time", "v_fast"} <= {name for (name,) in features}


async def test_late_doubled_and_reordered_rows_end_in_the_same_cycles(engine_dsn: str) -> None:
    pieces = batches(cell().window)
    clean = await told(engine_dsn, pieces, every=1000)
    figures = ask(engine_dsn, STORED_KPIS)
    mixed = random.Random(5)
    jumbled = [*pieces, *mixed.sample(pieces, len(pieces) // 3)]
    late = [piece for piece in jumbled if mixed.random() < 0.1]
    order = sorted(enumerate(jumbled), key=lambda one: one[0] + mixed.uniform(0, 12))
    ask(engine_dsn, EMPTY)
    rows = await told(engine_dsn, [*(one for _, one in order if one not in late), *late], every=9)
    assert rows == clean
    assert ask(engine_dsn, STORED_KPIS) == figures
    assert figures[0][9] > 10


@pytest.mark.parametrize(("counter", "known"), [(Counter(6_553.6), 3), (UNKNOWN_COUNTER, 2)])
async def test_a_meter_whose_register_was_full_counts_on_where_its_end_is_known(
    plain_dsn: str, counter: Counter, known: int
) -> None:
    """Three quarter hours at 12 kW; in the second one a register of 16 bits, times 0.1, begins again."""
    ask(plain_dsn, EMPTY)
    start = int(LONG_AGO.timestamp()) * 10**9
    minutes = np.arange(46, dtype=np.int64)
    meter = Series.of(start + minutes * 60 * 10**9, np.round(6_549.0 + 0.2 * minutes, 1) % 6_553.6, every_s=60.0)
    window = Window("test/plant/meter", start, start + 46 * 60 * 10**9, {METER: meter}, {})
    machine = dataclasses.replace(watched(window), counters={METER: counter})
    async with opened(store_settings(plain_dsn)) as store:
        feed = Feed(store, window.asset)
        await feed.declare(window)
        async with watching(store_settings(plain_dsn), QUICK, PLANT, [machine]) as watch:
            for piece in batches(window, 3600.0):
                await feed.take(piece)
            await watch.drain()
    found = [kw for (kw,) in ask(plain_dsn, "SELECT kw FROM rootdx.demands ORDER BY quarter") if kw is not None]
    assert found == pytest.approx([12.0] * known, rel=1e-6)


async def test_late_rows_change_only_the_cycles_they_touch(plain_dsn: str) -> None:
    pieces = batches(cell().window)
    missing = pieces[40:43]
    async with plant(plain_dsn) as (feed, watch):
        for piece in [*pieces[:40], *pieces[43:]]:
            await feed.take(piece)
        await watch.drain()
        before, said = dict(ask(plain_dsn, VERSIONS)), dict(ask(plain_dsn, FEATURES))
        for piece in missing:
            await feed.take(piece)
        await watch.drain()
    after, now = ask(plain_dsn, VERSIONS), dict(ask(plain_dsn, FEATURES))
    first, last = missing[0].ts_ns.min() / 1e9, missing[-1].ts_ns.max() / 1e9
    changed = [key for key, version in after if version != before.get(key)]
    assert changed
    spans = dict(ask(plain_dsn, SPANS))
    for key, version in after:
        start, end = spans[key]
        touched = start - 30 <= last and (end is None or end + 30 >= first)
        if not touched and version != before[key]:
            assert start > last, "nothing before late rows is written again"
            assert {name for name, value in now[key].items() if said[key][name] != value} == {"cycle_time"}
    assert len(changed) <= 4  # what they touch, and the cycle time after it


async def test_open_cycles_survive_a_restart(plain_dsn: str) -> None:
    pieces = batches(cell().window)
    clean = await told(plain_dsn, pieces, every=1000)
    ask(plain_dsn, EMPTY)
    for first in range(0, len(pieces), 11):  # a new process each time, killed between its two transactions at times
        async with plant(plain_dsn) as (feed, watch):
            for piece in pieces[first : first + 11]:
                await feed.take(piece)
            if first % 2:
                asked = ask(plain_dsn, "SELECT asset_id FROM rootdx.asset")
                await watch._store.take([key for (key,) in asked])
            else:
                await watch.drain()
    async with plant(plain_dsn) as (_, watch):
        await watch.drain()
    assert ask(plain_dsn, STORED_CYCLES) == clean


async def test_a_cycle_is_judged_with_the_limits_that_were_in_force(plain_dsn: str) -> None:
    pieces = batches(cell().window)
    half = len(pieces) // 2
    strict = SHOT.model_copy(update={"limit": {"v_fast": Limit(low=9.0)}})
    async with plant(plain_dsn, strict) as (feed, watch):
        for piece in pieces[:half]:
            await feed.take(piece)
        await watch.drain()
    turn = pieces[half].ts_ns.min()
    ask(plain_dsn, "INSERT INTO rootdx.process_config (asset_id, kind, valid_from, settings) SELECT asset_id, kind, "
        "rootdx.at_us(%s), settings - 'limit' FROM rootdx.process_config", int(turn) // 1000)  # fmt: skip
    async with plant(plain_dsn, SHOT) as (feed, watch):
        for piece in pieces[half:]:
            await feed.take(piece)
        await watch.drain()
        await watch._store.ask(watch.tracks[0].asset_id, cell().window.start_ns, cell().window.end_ns, "test")
        await watch.drain()
    rows = ask(plain_dsn, "SELECT start_ts < rootdx.at_us(%s), verdict FROM rootdx.cycle WHERE end_ts IS NOT NULL",
               int(turn) // 1000)  # fmt: skip
    assert {verdict for early, verdict in rows if early} == {"fail"}
    assert {verdict for early, verdict in rows if not early} == {None}


async def test_tasks_of_a_split_history_write_what_one_pass_writes(plain_dsn: str) -> None:
    pieces = batches(cell().window)
    clean = await told(plain_dsn, pieces, every=1000)
    ask(plain_dsn, "TRUNCATE rootdx.cycle")
    window = cell().window
    cuts = [window.start_ns + part * (window.end_ns - window.start_ns) // 5 for part in range(6)]
    async with plant(plain_dsn) as (_, watch):
        for first, last in random.Random(3).sample(list(itertools.pairwise(cuts)), 5):
            await watch.own(window.asset, first, last)
        for first in cuts[1:-1]:
            await watch.order(window.asset, first)
        await watch.drain()
    assert ask(plain_dsn, STORED_CYCLES) == clean


async def test_a_bug_in_one_process_stops_neither_the_others_nor_what_was_asked(
    plain_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = cell().window
    other = dataclasses.replace(window, asset="test/plant/line/other")
    whole = HpdcShot.features

    def broken(process: HpdcShot, segment: Segment, part: Window) -> Measured:
        if part.asset == window.asset:
            raise ZeroDivisionError
        return whole(process, segment, part)

    machines = [watched(window, SHOT), watched(other, SHOT)]
    async with opened(store_settings(plain_dsn)) as store:
        for one in (window, other):
            feed = Feed(store, one.asset)
            await feed.declare(one)
            await feed.take(*batches(one, 60.0))
    monkeypatch.setattr(HpdcShot, "features", broken)
    async with watching(store_settings(plain_dsn), QUICK, PLANT, machines) as watch:
        await watch.drain()
    counts = dict(ask(plain_dsn, "SELECT asset, count(*) FROM rootdx.cycles GROUP BY 1"))
    assert window.asset not in counts
    assert counts[other.asset] > 15
    monkeypatch.setattr(HpdcShot, "features", whole)
    async with watching(store_settings(plain_dsn), QUICK, PLANT, machines) as watch:
        await watch.drain()
    counts = dict(ask(plain_dsn, "SELECT asset, count(*) FROM rootdx.cycles GROUP BY 1"))
    assert counts[window.asset] == counts[other.asset]


async def test_a_machine_is_one_process_s_alone(plain_dsn: str) -> None:
    pieces = batches(cell().window, 60.0)
    async with plant(plain_dsn) as (feed, watch):
        await feed.take(*pieces)
        await watch.drain()
        machines = [watched(cell().window, SHOT)]
        async with watching(store_settings(plain_dsn), QUICK, PLANT, machines) as second:
            assert await second.round() == 0
            assert second.tracks == []
        async with watching(store_settings(plain_dsn), QUICK, PLANT, machines, shared=True) as task:
            with pytest.raises(Unavailable, match="an analytics process has it"):
                await task.own(cell().window.asset, 0, 1)
    async with watching(store_settings(plain_dsn), QUICK, PLANT, machines) as after:
        await after.drain()
        assert len(after.tracks) == 1


async def test_one_that_stands_by_takes_over_what_a_killed_one_had(
    plain_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analytics.watch.LOOK_FOR_MACHINES_S", 0.0)
    pieces = batches(cell().window)
    clean = await told(plain_dsn, pieces, every=1000)
    ask(plain_dsn, EMPTY)
    machines = [watched(cell().window, SHOT)]
    async with plant(plain_dsn) as (feed, watch):
        for piece in pieces[:30]:
            await feed.take(piece)
        await watch.drain()
        async with watching(store_settings(plain_dsn), QUICK, PLANT, machines) as second:
            await second.drain()
            assert second.tracks == []
            backend = watch._store.db.info.backend_pid
            ask(plain_dsn, f"SELECT pg_terminate_backend({backend}, 5000)")
            for piece in pieces[30:]:
                await feed.take(piece)
            await second.drain()
            assert len(second.tracks) == 1
    assert ask(plain_dsn, STORED_CYCLES) == clean


async def test_a_machine_named_for_a_process_that_is_not_there_is_refused(tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).resolve().parents[2] / "deploy" / "plant", tmp_path / "plant")
    ours = AnalyticsSettings(plant=tmp_path / "plant", machines=("casting/line1/dc9",))
    with pytest.raises(ConfigError, match=r"dc9.*there are: casting/line1/dc1, "):
        await watch_module.run(Settings(analytics=ours))


async def test_context_entered_for_a_machine_that_stands_does_not_make_it_run(plain_dsn: str) -> None:
    async with plant(plain_dsn) as (feed, watch):
        await feed.take(*batches(cell().window, 60.0))
        await watch.drain()
        before = ask(plain_dsn, STORED_KPIS)
        said = ContextEntry(author="kim", asset=feed.asset, kind="lot", value="L-1", valid_from=LONG_AGO)
        await enter(watch._store.db, [said])
        await watch.drain()
        assert {lot for (lot,) in ask(plain_dsn, "SELECT DISTINCT lot FROM rootdx.cycles")} == {"L-1"}
    assert ask(plain_dsn, STORED_KPIS) == before


async def test_a_machine_tells_its_context_in_tags(plain_dsn: str) -> None:
    window = cell().window
    turn = window.start_ns + 10 * 60_000_000_000
    at = np.array([window.start_ns + 1, turn])
    lots = Series.of(at, [7.0, 8.0])
    told_window = dataclasses.replace(window, series={**window.series, "context.lot": lots})
    async with opened(store_settings(plain_dsn)) as store:
        feed = Feed(store, window.asset)
        await feed.declare(told_window)
        await feed.take(*batches(told_window, 60.0))
        async with watching(store_settings(plain_dsn), QUICK, PLANT, [watched(told_window, SHOT)]) as watch:
            await watch.drain()
    rows = ask(plain_dsn, "SELECT lot, rootdx.us(start_ts) * 1000 FROM rootdx.cycles WHERE end_ts IS NOT NULL")
    assert {lot for lot, _ in rows} == {"7", "8"}
    assert all((lot == "8") == (start >= turn) for lot, start in rows)


async def test_a_machine_without_a_mandatory_role_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "plant.toml").write_text('enterprise = "acme"\nsite = "ansan1"\n')
    (tmp_path / "dc9.toml").write_text(
        'path = "casting/line1/dc9"\nname = "x"\nprocess = "casting"\n[source]\nprotocol = "modbus"\nhost = "h"\n'
        '[[tag]]\nname = "a"\nunit = "1"\naddress = "holding:0:uint16"\n[[cycle]]\nkind = "hpdc_shot"\n'
    )
    with pytest.raises(ConfigError, match=r"dc9.*hpdc_shot.*needs tags with role = 'cycle.state'"):
        load_machines(tmp_path)
    text = (tmp_path / "dc9.toml").read_text()
    (tmp_path / "dc9.toml").write_text(text.replace("hpdc_shot", "hpdc_shoot"))
    with pytest.raises(ConfigError, match="hpdc_shoot"):
        load_machines(tmp_path)
