"""Profiles of stored cycles: what the burst or the tag shows at each position, and a band that a changed one leaves."""

import dataclasses
from functools import cache
from typing import Any

import numpy as np
import pytest

from analytics.detectors.envelope import Envelope
from analytics.feature_table import Wish
from analytics.processes.casting import HpdcShot
from analytics.profile_table import Profile, of_profiles
from analytics.watch import watching
from analytics.watching import watchings
from pipeline.database import connect
from pipeline.errors import ConfigError
from pipeline.plant import Plant
from pipeline.store import opened
from simulators.faults import Fault
from tests.support.plant_rows import QUICK, Feed, batches, store_settings, watched, waves
from tests.support.simulated import ORIGIN_NS, Simulated, simulated
from tests.support.spine import ask

SHOT = HpdcShot(
    states=("IDLE", "DIE_CLOSE", "POUR", "SLOW_SHOT", "FAST_SHOT", "INTENSIFY", "COOL", "DIE_OPEN", "EJECT", "SPRAY"),
    warm_up_shots=0,
)
HEAD = Profile(signal="shot_curve/p_head", along="position", span=(50.0, 500.0), points=60)
CHANGED_S = 40 * 62.0


@cache
def cell() -> Simulated:
    """Forty good shots and ten with a third less intensification."""
    weak = Fault("accumulator_loss", "p_int", CHANGED_S, 3600.0, 3.0)
    return simulated("casting", 50 * 62.0, faults=[weak], bursts=True)


@pytest.fixture
async def filled(plain_dsn: str) -> tuple[str, int]:
    window = cell().window
    async with opened(store_settings(plain_dsn)) as store:
        feed = Feed(store, window.asset)
        await feed.declare(window)
        for piece in batches(window, 300.0):
            await feed.take(piece)
        await feed.take(*(dataclasses.replace(one, asset=window.asset) for one in waves(window)))
        plant = Plant(enterprise="test", site="plant")
        async with watching(store_settings(plain_dsn), QUICK, plant, [watched(window, SHOT)]) as watch:
            await watch.drain()
    return plain_dsn, ask(plain_dsn, "SELECT asset_id FROM rootdx.asset")[0][0]


async def read(filled: tuple[str, int], profile: Profile) -> Any:
    dsn, asset_id = filled
    db = await connect(dsn, 5)
    try:
        return await of_profiles(db, cell().window.asset, Wish(asset_id, SHOT.kind), profile, 0, 2**62)
    finally:
        await db.close()


async def test_a_burst_is_read_along_another_channel(filled: tuple[str, int]) -> None:
    found = await read(filled, HEAD)
    assert found.table.names[0] == "shot_curve/p_head @ 50"
    assert len(found.table) >= 48
    spans = dict(ask(filled[0], "SELECT cycle_id, rootdx.us(start_ts) FROM rootdx.cycle"))
    row = 20
    start_ns = spans[int(found.cycle_id[row])] * 1000
    wave = next(one for one in waves(cell().window) if start_ns <= one.ts_ns < found.table.ts_ns[row])
    place, pressure = wave.value[:, 0].astype(float), wave.value[:, list(wave.channels).index("p_head")].astype(float)
    assert wave.channels[0] == "position"
    first = [int(np.argmax(place > position)) for position in HEAD.positions()]
    near = np.array([pressure[max(0, k - 3) : k + 3].mean() for k in first])
    assert np.nanmax(np.abs(found.table.value[row] - near)) < 0.05 * np.ptp(near)


async def test_a_tag_is_cut_to_its_phase(filled: tuple[str, int]) -> None:
    found = await read(filled, Profile(signal="die.temp_fix1", phase="COOL", points=20))
    whole = np.isfinite(found.table.value).all(axis=1)
    assert whole.sum() > 40
    lowest, highest = ask(filled[0], "SELECT min(value), max(value) FROM rootdx.history WHERE role = 'die.temp_fix1'")[
        0
    ]
    assert lowest <= found.table.value[whole].min() < found.table.value[whole].max() <= highest
    none = await read(filled, Profile(signal="die.temp_fix1", phase="NO_SUCH", points=20))
    assert np.isnan(none.table.value).all()


async def test_a_changed_profile_leaves_the_band(filled: tuple[str, int]) -> None:
    seconds = Profile(signal="shot_curve/p_head", span=(0.0, 3.0), points=80)
    table = (await read(filled, seconds)).table
    changed = table.ts_ns > ORIGIN_NS + round((CHANGED_S + 70) * 1e9)
    detector = Envelope(kind="envelope", least_cycles=20, k_sigma=5.0)
    learned = detector.learn(table.take(table.ts_ns < ORIGIN_NS + round(CHANGED_S * 1e9)))
    score = detector.examine(table, learned).score[:, 0]
    assert np.median(score[changed]) > 1
    assert np.mean(score[~changed] > 1) < 0.1


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ({"signal": "arc.i", "along": "position"}, "needs signal = 'burst/channel' and span"),
        ({"signal": "b/c", "span": [2.0, 1.0]}, "the first position must be below"),
        ({"signal": "b/c", "points": 1}, "greater than or equal to 2"),
    ],
)
def test_a_wrong_profile_is_refused(profile: dict[str, Any], said: str) -> None:
    table = {"kind": "envelope", "on": "hpdc_shot", "baseline": "x.json", "profile": profile}
    with pytest.raises(ConfigError, match=r"dc1: \[\[detector\]\] 1") as caught:
        watchings([table], ["hpdc_shot"], "dc1")
    assert said in str(caught.value)
