"""Charts, profiles and change points against slow obvious twins, and against exact run lengths."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import special

from analytics import change_point, multivariate, profile, spc
from analytics.data_quality import drift, noise_burst, out_of_range, stuck
from analytics.formulas.heat_treatment import Band, soak_time
from analytics.result import Bools, Floats, Ints
from analytics.time_series import Samples
from tests.support import naive_statistics as naive

EDGES = st.sampled_from([0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 3.5, -3.5])
SCORES = st.lists(st.one_of(EDGES, st.floats(-4, 4), st.just(float("nan"))), min_size=1, max_size=60)
SMALL = st.lists(st.floats(-10, 10), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(SCORES)
def test_run_rules_equal_the_slow_twin(z: list[float]) -> None:
    assert spc.western_electric(z).tolist() == naive.western_electric(z)
    assert spc.nelson(z).tolist() == naive.nelson(z)


def test_run_rules_meet_the_letter_of_each_rule() -> None:
    fires = {
        1: [3.1],
        2: [0.1] * 9,
        3: [0.6, 0.5, 0.4, 0.3, 0.2, 0.1],
        4: [0.1, -0.1] * 7,
        5: [2.1, 0.0, 2.1],
        6: [1.1, 1.1, 0.0, 1.1, 1.1],
        7: [0.9, -0.9, 1.0] * 5,
        8: [1.1, -1.1] * 4,
    }
    for rule, z in fires.items():
        assert spc.nelson(z)[rule - 1].nonzero()[0].tolist() == [len(z) - 1]
        assert not spc.nelson(z[1:])[rule - 1].any()
    assert not spc.nelson([0.1] * 8 + [0.0, 0.1])[1].any()  # a point on the centre line breaks the run
    assert not spc.nelson([1, 2, 3, 3, 4, 5, 6])[2].any()  # a tie breaks the trend
    assert not spc.western_electric([2.1, 2.1, 1.9])[1][2]  # the rule fires only at a point that is beyond
    assert not spc.western_electric([3.0])[0].any()  # beyond is strict


def test_run_rules_of_many_charts_at_once_are_those_of_each() -> None:
    z = np.random.default_rng(1).normal(0, 1.5, (5, 40))
    together = spc.nelson(z)
    for i, chart in enumerate(z):
        assert np.array_equal(together[:, i], spc.nelson(chart))


def _run_length(letters: Floats, chance: Floats, memory: int, fine: int, signals: Callable[[Floats], Bools]) -> float:
    """Exact run length of a rule over independent letters.

    A state is the last `memory` letters, of which those older than `fine` keep their sign only; states that lead to
    the same future are merged. Letter 0.0 has no chance, it stands for "before the first sample".
    """
    k = len(letters)
    sizes = [3] * (memory - fine) + [k] * fine
    digits = np.indices(sizes).reshape(memory, -1).T
    sign = (np.sign(letters) + 1).astype(np.int64)
    old = digits[:, : memory - fine] - 1.0
    window = np.column_stack([old / 2, letters[digits[:, memory - fine :]]])
    out, nexts = [], []
    for a in range(k):
        out.append(signals(np.column_stack([window, np.full(len(window), letters[a])])))
        moved = np.column_stack([digits[:, 1:], np.full(len(window), a)])
        if 0 < fine < memory:
            moved[:, memory - fine - 1] = sign[digits[:, memory - fine]]
        nexts.append(np.ravel_multi_index(tuple(moved.T), sizes))
    label = _merged(np.stack(out), np.stack(nexts))
    _, first = np.unique(label, return_index=True)
    matrix = np.eye(len(first))
    for a in range(k):
        go = ~out[a][first]
        np.subtract.at(matrix, (np.flatnonzero(go), label[nexts[a][first[go]]]), chance[a])
    start = int(np.flatnonzero((window == 0).all(axis=1))[0])
    return float(np.linalg.solve(matrix, np.ones(len(first)))[label[start]])


def _merged(out: Bools, nexts: Ints) -> Ints:
    """Labels of states: equal when every letter signals alike and leads to equal labels."""
    label = np.zeros(nexts.shape[1], dtype=np.int64)
    while True:
        code = np.zeros_like(label)
        for row in np.where(out, 0, label[nexts] + 1):
            code = np.unique(code * (label.max() + 2) + row, return_inverse=True)[1]
        if code.max() == label.max():
            return label
        label = code


def _zones(edges: list[float], shift: float = 0.0) -> tuple[Floats, Floats]:
    """Letters in the middle of each zone, the outermost beyond 3 sigma, and their chances; zero for the start."""
    cuts = np.array([-np.inf, *edges, np.inf])
    letters = np.array([edges[0] - 0.5, *((a + b) / 2 for a, b in itertools.pairwise(edges)), edges[-1] + 0.5])
    return np.append(letters, 0.0), np.append(np.diff(special.ndtr(cuts - shift)), 0.0)


@pytest.mark.parametrize(("shift", "wanted", "tolerance"), [(0.0, 91.7508, 5e-4), (1.0, 9.22, 5e-3)])
def test_western_electric_run_length_is_the_exact_one(shift: float, wanted: float, tolerance: float) -> None:
    letters, chance = _zones([-3, -2, -1, 0, 1, 2, 3], shift)
    inside, p = letters[1:], chance[1:]
    inside = np.delete(inside, 6)  # a point beyond 3 sigma signals at once: its chance is lost mass
    p = np.delete(p, 6)
    found = _run_length(inside, p, 7, 4, lambda z: np.logical_or.reduce(spc.western_electric(z)[:, :, -1]))
    assert found == pytest.approx(wanted, abs=tolerance)


@pytest.mark.parametrize(
    ("rule", "edges", "memory", "wanted"),
    [(2, [0.0], 8, 511.0), (7, [-1.0, 1.0], 0, 963.3), (8, [-1.0, 1.0], 7, 14_251.0)],
)
def test_single_rules_have_their_exact_run_length(rule: int, edges: list[float], memory: int, wanted: float) -> None:
    if memory:
        letters, chance = _zones(edges)
        found = _run_length(letters, chance, memory, memory, lambda z: spc.nelson(z)[rule - 1][:, -1])
    else:  # fifteen in a row of one chance p
        p = special.ndtr(1) - special.ndtr(-1)
        assert spc.nelson([[0.5] * 15, [1.5] + [0.5] * 14])[rule - 1][:, -1].tolist() == [True, False]
        found = (1 - p**15) / ((1 - p) * p**15)
    assert found == pytest.approx(wanted, rel=5e-5)


@given(st.lists(st.one_of(st.floats(-3, 3), st.just(float("nan"))), min_size=1, max_size=40))
def test_cusum_and_ewma_equal_their_twins_and_step_over_nan(x: list[float]) -> None:
    chart, smooth = spc.cusum(x, 0, 1), spc.ewma(x, 0, 1)
    assert chart.upper.tolist() == pytest.approx(naive.cusum(x, 0.5))
    assert chart.lower.tolist() == pytest.approx(naive.cusum([-v for v in x], 0.5))
    assert smooth.value[np.isfinite(smooth.value)].tolist() == pytest.approx(naive.ewma(x, 0, 0.2))
    assert not (chart.signal | smooth.signal)[np.isnan(x)].any()


def test_cusum_tells_when_and_where_to_a_shift_went() -> None:
    x = [0.0, 0.1, -0.2, 0.0, *[2.0] * 6]
    chart = spc.cusum(x, 0, 1)
    at = int(np.argmax(chart.signal))
    assert chart.shift(at).start == 3
    assert chart.shift(at).mean == pytest.approx(2.0)
    assert spc.cusum([-v for v in x], 0, 1).shift(at).mean == pytest.approx(-2.0)


@settings(deadline=None)
@given(SMALL, SMALL, st.integers(0, 12))
def test_warping_equals_its_recursion(a: list[float], b: list[float], radius: int) -> None:
    wanted = naive.warping(a, b, radius)
    found = profile.warping_distance(a, b, band=radius).value
    assert found == (None if np.isinf(wanted) else pytest.approx(wanted, abs=1e-9))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, 8.0]), min_size=4, max_size=14))
def test_change_points_reach_the_least_cost(x: list[float]) -> None:
    cuts = change_point.change_points(x, sigma=1.0).tolist()
    bounds = [0, *cuts, len(x)]
    price = 2 * np.log(len(x))
    total = sum(naive.cost(x[a:b]) for a, b in itertools.pairwise(bounds)) + price * len(cuts)
    assert total == pytest.approx(naive.segmentation_cost(x, 1.0, 2), abs=1e-9)


@given(st.lists(st.integers(0, 5), min_size=2, max_size=20))
def test_pettitt_equals_its_pairwise_definition(x: list[float]) -> None:
    found = change_point.pettitt(x)
    assert (found.statistic.value, found.position) == naive.pettitt(x)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(830, 870), min_size=2, max_size=8))
def test_soak_equals_counting_small_parts(temps: list[float]) -> None:
    times = [float(60 * i) for i in range(len(temps))]
    found = soak_time(times, temps, Band(850, 10, 10)).total.value
    assert found == pytest.approx(naive.time_in_band(times, temps, 840, 860), abs=0.1 * len(temps))


def test_soak_needs_all_sensors_at_once() -> None:
    two = np.column_stack([[800, 860, 860], [900, 860, 840]])
    found = soak_time([0, 60, 120], two, Band(855, 10, 10))
    assert found.spans_s.tolist() == [[pytest.approx(52.5), pytest.approx(105)]]


def test_hotelling_and_residual_contributions_sum_to_their_statistic() -> None:
    rng = np.random.default_rng(5)
    table = rng.normal(0, 1, (60, 4)) @ rng.normal(0, 1, (4, 4))
    reference, components = multivariate.Reference.of(table), multivariate.Components.of(table, 2)
    parts = multivariate.t_squared_contributions(table, reference)
    assert parts.sum(axis=1) == pytest.approx(multivariate.t_squared(table, reference).value)
    rest = multivariate.residual_contributions(table, components)
    assert rest.sum(axis=1) == pytest.approx(multivariate.residual(table, components).value)
    assert np.mean(rest.sum(axis=1)) == pytest.approx(components.residual.sum() * 59 / 60)


def test_a_singular_reference_has_no_value_and_a_thin_one_keeps_it() -> None:
    flat = multivariate.Reference(np.zeros(2), np.ones((2, 2)), 100)
    thin = multivariate.Reference(np.zeros(2), np.eye(2), 10)
    assert f"{multivariate.t_squared([1.0, 1.0], flat).one()}" == "none 1 (OUT_OF_VALID_RANGE)"
    assert f"{multivariate.t_squared([1.0, 1.0], thin).one():.0f}" == "2 1 (OUT_OF_VALID_RANGE)"


def test_box_limit_stands_in_when_h0_is_not_positive() -> None:
    found = multivariate.residual_limit([10.0, *[0.5] * 60], alpha=0.01)
    assert found.formula_version == "1 Box"
    assert found.value is not None
    assert found.value > 0
    assert multivariate.residual_limit([0.0, 0.0]).value is None


def test_mewma_from_the_start_equals_hotelling_at_the_first_sample() -> None:
    grown = multivariate.mewma([[1.0, 2.0]], [0, 0], np.eye(2), steady=False)
    assert grown.statistic[0].value == pytest.approx(5.0)
    skipped = multivariate.mewma([[np.nan, 1.0], [1.0, 2.0]], [0, 0], np.eye(2), steady=False)
    assert skipped.statistic[1].value == pytest.approx(5.0)


def test_matrix_profile_finds_the_odd_one_out_and_leaves_flat_windows_out() -> None:
    wave = np.concatenate([np.sin(np.arange(120) / 5), np.zeros(20)])
    wave[60:66] += 2
    found = profile.matrix_profile(wave, 16)
    assert 44 < int(np.nanargmax(found)) < 66
    assert np.isnan(found[-1])


def test_golden_profile_needs_cycles_and_scores_the_edge_as_one() -> None:
    with pytest.raises(ValueError, match="30 accepted cycles"):
        profile.golden_envelope(np.ones((5, 10)))
    band = profile.golden_envelope(np.tile(np.arange(4.0), (30, 1)), floor=2.0)
    assert profile.profile_score(np.arange(4.0) + 2, band).rms.one().value == pytest.approx(1.0)
    assert profile.profile_score([0, 1, np.nan, 3], band).rms.one().value is None
    never_seen = profile.golden_envelope(np.tile([1.0, np.nan], (30, 1)), floor=1.0)
    assert np.isnan(never_seen.half_width).tolist() == [False, True]
    assert profile.profile_score([1.0, 1.0], never_seen).rms.one().value is None


def test_sensor_faults_are_found_and_quiet_signals_are_not() -> None:
    rng = np.random.default_rng(2)
    time, noise = np.arange(200) * 10.0, rng.normal(0, 1, 200)
    assert drift(Samples.of(time, noise + time / 100)).drifting
    assert not drift(Samples.of(time, noise)).drifting
    assert drift(Samples.of(time, np.ones(200))).probability.value == 1.0
    assert not noise_burst(noise, 2.0).any()
    assert not noise_burst(noise, 0.0).any()
    idle = stuck(Samples.of(time, np.ones(200)), np.zeros(200), 0.1)
    assert not idle.any()
    assert stuck(Samples.of(time, np.ones(200)), np.ones(200), 0.1).all()
    assert not stuck(Samples.of(time, np.ones(200)), np.ones(200), 0.1, usual_run_s=5000).any()
    assert not out_of_range(Samples.of([0, 100], [0, 900], 1.0), 0, 1000, fastest_per_s=1).any()
