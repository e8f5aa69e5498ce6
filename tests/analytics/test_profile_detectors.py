"""Detectors of shapes: what is in the band is quiet, what is not rings, early and late included."""

from dataclasses import replace

import numpy as np
import pytest

from analytics.detectors.envelope import Envelope
from analytics.detectors.matrix_profile import MatrixProfile
from analytics.detectors.warping import Warping, align
from analytics.profile import golden_envelope, matrix_profile, profile_score, warping_distance
from analytics.result import Floats
from analytics.table import Table

POINTS = 80


def bump(at: float, height: float = 1.0) -> Floats:
    return np.asarray(height * np.exp(-0.5 * ((np.arange(POINTS) - at) / 5.0) ** 2))


def curves(rows: int = 60, jitter: float = 0.0, seed: int = 1) -> Floats:
    rng = np.random.default_rng(seed)
    return np.array([bump(at) for at in 40 + jitter * rng.normal(size=rows)]) + rng.normal(0, 0.01, (rows, POINTS))


def test_envelope_scores_as_the_formula() -> None:
    past, x = curves(), curves(5, seed=2)
    chart = Envelope(kind="envelope", floor_share=0.0)
    score = chart.examine(Table.of(x), chart.learn(Table.of(past))).score[:, 0]
    exact = profile_score(x, golden_envelope(past, k_sigma=4.0)).largest
    assert score == pytest.approx([one.value for one in exact])
    rms = Envelope(kind="envelope", floor_share=0.0, statistic="rms")
    told = rms.examine(Table.of(x), rms.learn(Table.of(past))).score[:, 0]
    assert told == pytest.approx([one.value for one in profile_score(x, golden_envelope(past, k_sigma=4.0)).rms])


def test_envelope_keeps_contexts_apart_and_positions_nobody_reaches_out() -> None:
    x = np.concatenate([curves(40), 2 * curves(40, seed=2), curves(5, seed=3)])
    x[:, -3:] = np.nan
    table = replace(Table.of(x), group=np.repeat([0, 1, 2], [40, 40, 5]), groups=("die=A", "die=B", "die=C"))
    chart = Envelope(kind="envelope")
    learned = chart.learn(table)
    assert sorted(learned) == ["die=A", "die=B"]
    found = chart.examine(table, learned)
    assert (found.score[:80, 0] < 1.2).all()
    assert np.isnan(found.score[80:]).all()
    assert found.share is not None
    assert found.share[:80].sum(axis=1) == pytest.approx(1.0)
    assert (found.share[:80, -3:] == 0).all()
    gone = x[:1].copy()
    gone[0, 10] = np.nan
    assert np.isnan(chart.examine(replace(Table.of(gone), groups=("die=A",)), learned).score).all()


def test_warping_allows_what_wanders_and_sees_shape_and_time() -> None:
    past = curves(80, jitter=1.5)
    warping, envelope = Warping(kind="warping", band=10), Envelope(kind="envelope")
    usual, low, late = bump(42.0), bump(41.0, 0.8), bump(49.0)
    table = Table.of([usual, low, late])
    warped = warping.examine(table, warping.learn(Table.of(past))).score[:, 0]
    plain = envelope.examine(table, envelope.learn(Table.of(past))).score[:, 0]
    assert (warped > 1).tolist() == [False, True, True]
    assert warped[1] > 1.5 * plain[1]


def test_alignment_is_the_cheapest_path() -> None:
    rng = np.random.default_rng(1)
    golden = rng.normal(size=12)
    for x in rng.normal(size=(20, 12)):
        values, shift = align(golden, x[None], 4)
        exact = warping_distance(golden, x, band=4).value
        assert exact is not None
        assert np.abs(values[0] - golden).sum() <= exact + 1e-9
        assert np.abs(shift).max() <= 4
    same, none = align(golden, golden[None], 4)
    assert same[0] == pytest.approx(golden)
    assert (none == 0).all()


def test_matrix_profile_finds_what_the_formula_finds_and_only_looks_back() -> None:
    rng = np.random.default_rng(1)
    wave = np.sin(np.arange(900) * 2 * np.pi / 45) + rng.normal(0, 0.05, 900)
    wave[700:720] = np.linspace(0, 2, 20)
    chart = MatrixProfile(kind="matrix_profile", window=45, history=600)
    found = chart.examine(Table.of(wave))
    exact = matrix_profile(wave, 45)
    assert abs(200 + int(np.nanargmax(found.score[200:, 0])) - 44 - int(np.nanargmax(exact))) <= 20
    limit = np.sqrt(2 * 45 * 0.5)
    assert (found.score[500:700, 0] * limit >= exact[456:656] - 1e-6).all(), "fewer windows to be near to"
    changed = wave.copy()
    changed[800:] = 5.0
    again = chart.examine(Table.of(changed)).score
    assert np.array_equal(again[:800], found.score[:800], equal_nan=True)
    part = chart.examine(Table.of(wave[900 - chart.memory - 50 :])).score
    assert part[-50:, 0] == pytest.approx(found.score[-50:, 0], rel=1e-9)


def test_flat_and_missing_windows_have_no_shape() -> None:
    wave = np.sin(np.arange(400) / 5)
    wave[200:300] = 1e6
    wave[350] = np.nan
    score = MatrixProfile(kind="matrix_profile", window=30, history=200).examine(Table.of(wave)).score[:, 0]
    assert np.isnan(score[229:300]).all()
    assert np.isnan(score[350:380]).all()
    assert np.isfinite(score[100:200]).all()
