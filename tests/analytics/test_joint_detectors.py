"""Detectors of all variables together: contributions, limits against the worked numbers, run lengths by Monte Carlo."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from analytics.detector import Detector
from analytics.detectors.combined import Combined
from analytics.detectors.hotelling import Hotelling
from analytics.detectors.mewma import Mewma
from analytics.detectors.residual_q import ResidualQ
from analytics.joint import inverse, residual_limit_of, residual_map
from analytics.mewma_limit import mewma_limit, run_length
from analytics.multivariate import Components, Reference, mewma, residual, t_squared
from analytics.result import Floats
from analytics.table import Table

ALL: list[Detector] = [Hotelling(kind="hotelling"), ResidualQ(kind="residual_q", explained=0.6), Mewma(kind="mewma"),
                       Combined(kind="combined")]  # fmt: skip
MIX = np.array([[1.0, 0.8, 0.3, 0.0], [0.0, 0.6, -0.4, 0.2], [0.0, 0.0, 0.5, 0.9], [0.0, 0.0, 0.0, 0.3]])


def normal(rows: int, seed: int = 1) -> Floats:
    return np.asarray(np.random.default_rng(seed).normal(size=(rows, 4)) @ MIX + [10.0, 650.0, 0.0, 1e4])


@pytest.mark.parametrize("detector", ALL, ids=lambda one: one.kind)
def test_contributions_sum_to_one_and_name_the_variable(detector: Detector) -> None:
    learned = detector.learn(Table.of(normal(600)))
    x = normal(300, seed=2)
    x[100:, 2] += 4.0
    x[50, 1] = np.nan
    found = detector.examine(Table.of(x), learned)
    assert found.share is not None
    told = np.isfinite(found.score[:, 0])
    assert not told[50]
    assert told.sum() == 299
    assert np.isnan(found.share[50]).all()
    assert found.share[told].sum(axis=1) == pytest.approx(1.0)
    assert (found.share[told] >= 0).all()
    assert np.mean(found.score[150:, 0] > 1) > 0.9
    assert np.median(np.argmax(found.share[150:], axis=1)) == 2


@pytest.mark.parametrize("detector", ALL, ids=lambda one: one.kind)
def test_rows_that_are_not_normal_and_groups_that_are_not_known_get_no_opinion(detector: Detector) -> None:
    learned = detector.learn(Table.of(normal(600)))
    table = replace(Table.of(normal(300, seed=2)), group=(np.arange(300) % 2), groups=("", "other"))
    table.normal[::10] = False
    score = detector.examine(table, learned).score[:, 0]
    assert np.isnan(score[1::2]).all()
    assert np.isnan(score[::10]).all()
    assert np.isfinite(np.delete(score[::2], np.s_[::5])).all()
    assert np.isnan(detector.examine(table, None).score).all()


@pytest.mark.parametrize("detector", ALL, ids=lambda one: one.kind)
def test_a_part_with_its_memory_scores_as_the_whole(detector: Detector) -> None:
    learned = detector.learn(Table.of(normal(600)))
    table = Table.of(normal(900, seed=2))
    table.value[::37, 1] = np.nan
    table.normal[200:240] = False
    whole = detector.examine(table, learned)
    part = detector.examine(table.take(slice(500 - detector.memory, 700)), learned)
    assert part.score[detector.memory :, 0] == pytest.approx(whole.score[500:700, 0], rel=1e-9, nan_ok=True)


def test_a_variable_that_is_mostly_missing_takes_no_part() -> None:
    x = normal(600)
    x[::2, 3] = np.nan
    detector = Hotelling(kind="hotelling")
    learned = detector.learn(Table.of(x))
    assert learned[""]["used"].tolist() == [1, 1, 1, 0]
    found = detector.examine(Table.of(x), learned)
    assert np.isfinite(found.score).all()
    assert found.share is not None
    assert (found.share[:, 3] == 0).all()


def test_statistics_are_those_of_the_formulas() -> None:
    past, x = normal(600), normal(50, seed=3)
    detector = Hotelling(kind="hotelling", limit="theory")
    learned = detector.learn(Table.of(past))
    score = detector.examine(Table.of(x), learned).score[:, 0]
    exact = np.array([one.value for one in t_squared(x, Reference.of(past))])
    assert score * learned[""]["limit_theory"][0] == pytest.approx(exact)
    plane = ResidualQ(kind="residual_q", limit="theory", explained=0.8)
    taught = plane.learn(Table.of(past))
    kept = 4 - round(float(np.trace(taught[""]["forms"][0])))
    exact_q = np.array([one.value for one in residual(x, Components.of(past, kept))])
    assert plane.examine(Table.of(x), taught).score[:, 0] * taught[""]["limit_theory"][0] == pytest.approx(exact_q)
    chart = Mewma(kind="mewma", limit="theory")
    told = chart.learn(Table.of(past))
    reference = Reference.of(past)
    wanted = [one.value for one in mewma(x, reference.mean, reference.covariance).statistic]
    got = chart.examine(Table.of(x), told).score[:, 0] * told[""]["limit_theory"][0]
    assert got == pytest.approx(np.array(wanted), rel=1e-9)


def test_theory_limits_are_the_worked_numbers() -> None:
    x = np.random.default_rng(1).normal(size=(50, 3))
    (limit,) = Hotelling(kind="hotelling").charts(x).limit
    assert limit == pytest.approx(13.4879, abs=1e-4)
    left = np.diag([3.0, 2.0, 0.8, 0.5, 0.3, 0.1])
    plane = np.diag([0.0, 0.0, 1.0, 1.0, 1.0, 1.0])
    assert residual_limit_of(left, plane, 0.05) == pytest.approx(4.52326, abs=1e-5)
    assert residual_limit_of(left, plane, 0.01) == pytest.approx(6.93994, abs=1e-5)
    assert residual_map(left, 0.7) == pytest.approx(plane)
    assert [run_length(p, 0.1, h) for p, h in ((2, 8.64), (3, 10.79), (4, 12.73))] == pytest.approx(
        [200.5, 200.5, 200.5], abs=0.1
    )
    assert run_length(3, 1.0, float(np.float64(11.344866730144373))) == pytest.approx(100.0)  # chi-squared, 1 %
    assert run_length(2, 0.1, mewma_limit(2, 0.1, 500.0)) == pytest.approx(500.0, rel=3e-3)


def test_directions_without_variance_are_left_out() -> None:
    same = np.array([[1.0, 1.0], [1.0, 1.0]])
    form, kept = inverse(same, 1e8)
    assert kept == 1
    assert form == pytest.approx(same / 4)


def run_lengths(detector: Detector, learned: Any, runs: int, rows: int, seed: int) -> tuple[float, float]:
    """Mean and its standard error of the first row above the limit, of independent runs; one table, a group a run."""
    p = len(learned[""]["centre"])
    rng = np.random.default_rng(seed)
    groups = tuple(str(n) for n in range(runs))
    x = rng.normal(size=(runs * rows, p))
    table = replace(Table.of(x), group=np.repeat(np.arange(runs), rows), groups=groups)
    score = detector.examine(table, dict.fromkeys(groups, learned[""])).score[:, 0].reshape(runs, rows)
    rung = score > 1
    assert rung.any(axis=1).all(), "rows are too few to see every run end"
    first = np.argmax(rung, axis=1) + 1.0
    return float(first.mean()), float(first.std(ddof=1) / np.sqrt(runs))


def exact_model(detector: Mewma | Hotelling, p: int, limit: float) -> dict[str, dict[str, Floats]]:
    """As if learned from a whole population: mean 0, covariance 1."""
    weight = detector.weight if isinstance(detector, Mewma) else 1.0
    form = np.eye(p) * (2 - weight) / weight
    return {"": {
        "used": np.ones(p), "centre": np.zeros(p), "scale": np.ones(p), "forms": form[None],
        "weight": np.array([weight]), "limit_theory": np.array([limit]), "limit_held_out": np.array([limit]),
        "joint": np.ones(2),
    }}  # fmt: skip


@pytest.mark.parametrize(("p", "limit"), [(2, 8.64), (3, 10.79), (4, 12.73)])
def test_run_length_of_mewma_is_the_table(p: int, limit: float) -> None:
    detector = Mewma(kind="mewma", limit="theory")
    mean, error = run_lengths(detector, exact_model(detector, p, limit), 800, 2400, seed=p)
    assert abs(mean - 200.5) < 3 * error


@pytest.mark.parametrize("p", [2, 5])
def test_run_length_of_t2_is_one_over_alpha(p: int) -> None:
    from scipy.stats import chi2

    detector = Hotelling(kind="hotelling", limit="theory")
    mean, error = run_lengths(detector, exact_model(detector, p, float(chi2.ppf(0.99, p))), 1000, 1500, seed=p)
    assert abs(mean - 100) < 3 * error


@pytest.mark.parametrize("detector", ALL, ids=lambda one: one.kind)
def test_held_out_limits_keep_the_promise_on_new_rows(detector: Detector) -> None:
    detector = detector.model_copy(update={"alpha": 0.01})
    learned = detector.learn(Table.of(normal(20_000)))
    told = detector.examine(Table.of(normal(20_000, seed=9)), learned).score[:, 0]
    assert np.mean(told > 1) == pytest.approx(0.01, abs=0.005)
