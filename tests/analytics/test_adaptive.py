"""The adaptive baseline: still variables, faults in the window, new levels, contexts, rows that are not normal."""

from dataclasses import replace

import numpy as np
import pytest

from analytics.detectors.adaptive import Adaptive
from analytics.result import Floats
from analytics.table import Table, Variable

SHOTS = Adaptive(kind="adaptive")


def shots(rows: int = 800, seed: int = 1) -> Floats:
    rng = np.random.default_rng(seed)
    still = 110 + (rng.random(rows) < 0.1)
    return np.column_stack([rng.normal([650, 2.5, 48, 190], [2, 0.05, 1, 5], (rows, 4)), still])


def scores(x: Floats, detector: Adaptive = SHOTS) -> Floats:
    return np.asarray(detector.examine(Table.of(x)).score[:, 0])


def test_a_still_variable_that_moves_now_and_then_does_not_ring() -> None:
    told = scores(shots())
    assert np.isnan(told[:40]).all()
    assert np.isfinite(told[41:]).all()
    assert np.nanmax(told[200:]) < 1


def test_a_bad_shot_rings_and_names_its_variables() -> None:
    x = shots()
    x[500, [1, 3]] += [-1.0, 100.0]
    found = SHOTS.examine(Table.of(x))
    assert found.share is not None
    assert found.score[500, 0] > 0.7
    assert found.score[500, 0] > 1.5 * np.nanmax(np.delete(found.score[200:, 0], 300))
    assert set(np.argsort(found.share[500])[-2:].tolist()) == {1, 3}
    assert np.nansum(found.share[500]) == pytest.approx(1.0)


def test_faults_in_the_window_do_not_hide_the_next() -> None:
    x = shots()
    bad = np.arange(400, 500, 4)
    x[bad, :4] += [60.0, -1.5, 30.0, 150.0]
    told = scores(x)
    assert (told[bad] > 1).all()


def test_a_new_level_is_usual_after_half_a_window() -> None:
    x = shots()
    x[400:, :4] += [60.0, -1.5, 30.0, 150.0]
    told = scores(x)
    assert (told[400:415] > 1).all()
    assert (told[470:] < 1).all()


def test_contexts_are_apart_and_rows_that_are_not_normal_count_for_nothing() -> None:
    x = shots()
    group = np.repeat([0, 1], 400)
    x[400:] += 1000.0
    table = replace(Table.of(x), group=group, groups=("mold=A", "mold=B"))
    apart = SHOTS.examine(table).score[:, 0]
    assert np.nanmax(apart.reshape(2, 400)[:, 100:]) < 1
    assert apart[:400] == pytest.approx(scores(x[:400]), nan_ok=True)
    trial = np.zeros(800, dtype=np.bool_)
    trial[100:180] = True
    x = shots()
    x[trial] += 500.0
    told = SHOTS.examine(replace(Table.of(x), normal=~trial)).score[:, 0]
    assert np.isnan(told[trial]).all()
    assert np.nanmax(told[180:]) < 1


def test_a_part_with_its_memory_scores_as_the_whole() -> None:
    x = shots(1500)
    x[::13, 2] = np.nan
    detector = Adaptive(kind="adaptive", window=50, spread_rows=200)
    whole = scores(x, detector)
    part = scores(x[1000 - detector.memory : 1200], detector)
    assert part[detector.memory :] == pytest.approx(whole[1000:1200], rel=1e-9)


def test_the_resolution_is_the_least_spread() -> None:
    x = np.full((300, 1), 5.0)
    x[250] = 6.0
    table = replace(Table.of(x), variables=(Variable("count", resolution=1.0),))
    assert SHOTS.examine(table).score[250, 0] == pytest.approx(1 / 8)
    assert scores(x)[250] == pytest.approx(50 / 8)
    assert (scores(x)[41:250] == 0).all()
