"""Faults of signals themselves: found where they are, quiet where there is none; change points as their kernels say."""

from dataclasses import replace

import numpy as np
import pytest

from analytics.change_point import change_points, pettitt
from analytics.data_quality import spike_score, stuck
from analytics.detectors.gap import Gap
from analytics.detectors.implausible_time import ImplausibleTime
from analytics.detectors.limits import Limits
from analytics.detectors.noise_burst import NoiseBurst
from analytics.detectors.pelt import Pelt
from analytics.detectors.pettitt import Pettitt
from analytics.detectors.scale_jump import ScaleJump
from analytics.detectors.sensor_drift import SensorDrift
from analytics.detectors.short_run import ShortRun
from analytics.detectors.spike import Spike
from analytics.detectors.stuck import Stuck
from analytics.table import Table, Variable
from analytics.time_series import Samples
from analytics.window import Series


def noise(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def rings(score: np.ndarray) -> list[int]:
    return np.flatnonzero(score >= 1).tolist()


def test_a_stretch_off_is_no_gap() -> None:
    x = noise(60)
    x[20:40] = np.nan
    table = Table.of(x, every_s=1.0)
    assert rings(Gap().examine(table).score[:, 0]) == list(range(22, 40))
    off = replace(table, normal=~np.isnan(x))
    assert rings(Gap().examine(off).score[:, 0]) == []


def test_a_missing_stretch_of_rows_is_a_gap_at_the_next_missing_value() -> None:
    table = Table.of([1.0, 2.0, np.nan], every_s=1.0)
    late = replace(table, ts_ns=np.array([0, 1_000_000_000, 9_000_000_000]))
    assert Gap().examine(late).score[2, 0] == pytest.approx(8.0 / 2.5)


def test_stuck_is_what_the_kernel_says() -> None:
    x = np.round(noise(400), 2)
    x[100:130] = x[100]
    x[200:215] = x[200]
    table = Table.of(x, every_s=60.0)
    detector = Stuck(resolution=0.01)
    score = detector.examine(table).score[:, 0]
    flags = stuck(Samples.of(np.arange(400) * 60.0, x, 60.0), np.ones(400), 0.01)
    begin = int(np.argmax(flags))
    assert begin == 100
    assert flags[129]
    assert rings(score) == list(range(120, 130))


def test_a_tag_that_often_stands_still_needs_longer() -> None:
    x = np.repeat(np.arange(20.0), 40)
    table = Table.of(x, every_s=60.0)
    detector = Stuck()
    assert rings(detector.examine(table).score[:, 0])
    assert rings(detector.examine(table, detector.learn(table)).score[:, 0]) == [40 * (i + 1) - 1 for i in range(20)]


def test_spike_is_what_the_kernel_says_three_rows_earlier() -> None:
    x = noise(300)
    x[[50, 200]] += 15.0
    found = Spike().examine(Table.of(x))
    expected = spike_score(x).value / 5.0
    np.testing.assert_allclose(found.score[6:, 0], expected[3:-3])
    assert found.since is not None
    assert found.since[rings(found.score[:, 0]), 0].tolist() == (np.flatnonzero(expected[3:-3] >= 1) + 3).tolist()
    assert {50, 200} <= set(found.since[rings(found.score[:, 0]), 0].tolist())


def test_a_step_is_no_spike_unless_told_at_once() -> None:
    x = noise(100) * 0.1 + np.where(np.arange(100) >= 50, 9.0, 0.0)
    score = Spike().examine(Table.of(x)).score[:, 0]
    assert all(row < 53 or row > 56 for row in rings(score))
    assert 50 in rings(Spike(wait_rows=0).examine(Table.of(x)).score[:, 0])


def test_a_noisy_stretch_rings_and_a_step_does_not() -> None:
    x = noise(600)
    x[300:450] *= 6.0
    x[500:] += 20.0
    detector = NoiseBurst()
    score = detector.examine(Table.of(x), detector.learn(Table.of(noise(600, seed=2)))).score[:, 0]
    assert 380 <= rings(score)[0] <= 400
    assert rings(score)[-1] < 475


def test_of_three_sensors_the_one_that_drifts_is_named_and_since_when() -> None:
    common = np.cumsum(noise(800, seed=3))[:, None]
    x = 850.0 + common + 0.3 * noise(800, 3)
    x[400:, 1] += 0.01 * np.arange(400)
    detector = SensorDrift()
    found = detector.examine(Table.of(x), detector.learn(Table.of(x[:300])))
    row = rings(found.score[:, 1])[0]
    assert 400 < row < 520
    assert rings(found.score[:row].max(axis=1)) == []
    assert found.since is not None
    assert abs(int(found.since[row, 1]) - 400) < 60
    assert set(np.argmax(found.score[row + 20 :], axis=1).tolist()) == {1}


@pytest.mark.parametrize("factor", [10.0, 0.1, 100.0])
def test_a_level_times_a_power_of_ten_is_told_at_once(factor: float) -> None:
    x = (80.0 + noise(200)) * np.where(np.arange(200) >= 120, factor, 1.0)
    found = rings(ScaleJump().examine(Table.of(x)).score[:, 0])
    assert 122 <= found[0] <= 124
    assert found[-1] >= 140


def test_swapped_words_are_told_and_an_ordinary_step_is_not() -> None:
    x = 80.0 + noise(200)
    words = x.astype(np.float32).view(np.uint32)
    with np.errstate(invalid="ignore"):
        swapped = ((words << np.uint32(16)) | (words >> np.uint32(16))).view(np.float32).astype(np.float64)
    found = rings(ScaleJump().examine(Table.of(np.where(np.arange(200) >= 120, swapped, x))).score[:, 0])
    assert found
    assert 120 <= found[0] <= 130
    step = x + np.where(np.arange(200) >= 120, 160.0, 0.0)
    assert rings(ScaleJump().examine(Table.of(step)).score[:, 0]) == []


def test_time_written_twice_and_cycles_too_near_ring() -> None:
    table = Table.of(noise(120), ("t",), every_s=1.0)
    stamps = np.concatenate([np.arange(120), np.arange(60, 90) + 0.3]) * 1e9
    table = replace(table, rows={"t": Series.of(stamps, np.zeros(150), every_s=1.0)})
    found = rings(ImplausibleTime().examine(table).score[:, 0])
    assert 62 <= found[0] <= 66
    assert found[-1] < 112
    cycles = replace(Table.of(noise(3)), ts_ns=np.array([0, 60_000_000_000, 60_100_000_000]))
    assert rings(ImplausibleTime(least_s=10.0).examine(cycles).score[:, 0]) == [2]


def test_pettitt_is_what_the_kernel_says() -> None:
    x = noise(120) + np.where(np.arange(120) >= 60, 3.0, 0.0)
    found = Pettitt(rows=40).examine(Table.of(x))
    assert found.since is not None
    for row in (39, 60, 75, 85, 119):
        change = pettitt(x[row - 39 : row + 1])
        assert change.probability.value is not None
        assert change.position is not None
        assert found.score[row, 0] == pytest.approx(np.log(change.probability.value) / np.log(1e-4), abs=1e-12)
        assert found.since[row, 0] == row - 39 + change.position
    assert abs(int(found.since[85, 0]) - 60) <= 1


@pytest.mark.parametrize("penalty", [2.0, 6.0])
def test_pelt_finds_the_optimum_of_the_kernel(penalty: float) -> None:
    levels = np.where(np.arange(150) >= 70, 4.0, 0.0) + np.where(np.arange(150) >= 95, -7.0, 0.0)
    x = noise(150) + levels
    found = Pelt(rows=50, penalty=penalty, sigma=1.0).examine(Table.of(x))
    assert found.since is not None
    assert np.isnan(found.score[:49]).all()
    for row in range(49, 150):
        cuts = change_points(x[row - 49 : row + 1], sigma=1.0, penalty=penalty * np.log(50))
        assert (found.score[row, 0] >= 1) == bool(len(cuts))
        if len(cuts):
            assert found.since[row, 0] == row - 49 + cuts[-1]


def test_parts_with_few_rows_share_sigma_relative_to_their_target() -> None:
    group = np.repeat([0, 1], [200, 5])
    value = np.where(group == 0, 10.0 + 0.1 * noise(205), 40.0)
    table = replace(Table.of(value), groups=("die=A", "die=B"), group=group)
    known = ShortRun().learn(table)
    assert known["die=B"]["centre"][0] == pytest.approx(40.0)
    assert known["die=B"]["sigma"][0] == pytest.approx(0.4, rel=0.2)
    assert np.isnan(ShortRun(spread="own").learn(table)["die=B"]["sigma"][0])


def test_limits_of_the_variable_are_taken_when_none_are_given() -> None:
    table = replace(Table.of([15.0, 21.0]), variables=(Variable("t", low=10.0, high=20.0),))
    assert rings(Limits().examine(table).score[:, 0]) == [1]
