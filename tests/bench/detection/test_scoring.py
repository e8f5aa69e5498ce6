"""The scoring of the benchmarks: against brute force, and where the answer is known."""

from pathlib import Path

import numpy as np
import pytest

from tests.bench.detection import kamp_rheocasting, skab, tep
from tests.bench.detection.exact import exact_q, exact_t2
from tests.bench.detection.ranking import auc, average_precision, ranked

STEP_NS = 1_000_000_000


def experiment(rows: int = 900, changes: tuple[int, ...] = (600, 700)) -> skab.Experiment:
    anomaly, change = np.zeros((2, rows), dtype=np.bool_)
    anomaly[changes[0] : changes[1]] = True
    change[list(changes)] = True
    value = np.random.default_rng(1).normal(size=(rows, 3))
    value[anomaly] += 8.0
    return skab.Experiment("valve1/0.csv", np.arange(rows, dtype=np.int64) * STEP_NS, value, anomaly, change)


@pytest.mark.parametrize("seed", range(5))
def test_ranking_is_that_of_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    label, score = rng.random(60) < 0.3, rng.integers(0, 12, 60).astype(np.float64)
    pairs = [(b > g) + 0.5 * (b == g) for b in score[label] for g in score[~label]]
    assert auc(label, score) == pytest.approx(np.mean(pairs))
    levels = sorted(set(score), reverse=True)
    recall = [np.mean(score[label] >= level) for level in levels]
    precision = [np.mean(label[score >= level]) for level in levels]
    assert average_precision(label, score) == pytest.approx(np.sum(np.diff([0.0, *recall]) * precision))
    told = ranked(label, np.where(score > 10, np.nan, score))
    assert told["false_alarms"] == np.mean((score > 1)[~label] & (score <= 10)[~label])


def test_change_points_are_worth_what_the_benchmark_says() -> None:
    one = experiment()
    told = {
        "perfect": np.isin(np.arange(900), np.arange(570, 670)),  # each change at the left edge of its window
        "at the change": one.anomaly,
        "null": np.zeros(900, dtype=np.bool_),
        "late": np.isin(np.arange(900), np.arange(660, 760)),
    }
    scores = {name: skab._nab([one], [rung], "standard", centred=True) for name, rung in told.items()}
    assert scores["perfect"] == pytest.approx(100)
    assert scores["at the change"] == pytest.approx(100 * (1 + 0.445) / 2)
    assert scores["null"] == 0
    assert scores["late"] == pytest.approx(100 * (2 * -0.11 + 2 * -1 + 2) / 4)
    assert skab._nab([one], [one.anomaly], "standard", centred=False) == pytest.approx(100)


def test_textbook_limits_ring_as_often_as_they_promise() -> None:
    rng = np.random.default_rng(1)
    mix = rng.normal(size=(6, 6))
    past, x = rng.normal(size=(5000, 6)) @ mix, rng.normal(size=(20_000, 6)) @ mix
    for build in (exact_t2, exact_q):
        assert np.mean(build(past, 0.01)(x) > 1) == pytest.approx(0.01, abs=0.004)


def test_any_folder_of_the_layout_is_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    (tmp_path / "tep").mkdir()
    mix = np.eye(52) + 0.1 * rng.normal(size=(52, 52))
    np.savetxt(tmp_path / "tep" / "d00.dat", (rng.normal(size=(500, 52)) @ mix).T)
    for name, shift in (("d00_te", 0.0), ("d17_te", 4.0)):
        x = rng.normal(size=(960, 52)) @ mix
        x[160:, 3] += shift
        np.savetxt(tmp_path / "tep" / f"{name}.dat", x)
    over, by_fault = tep.measure(tmp_path)
    assert set(by_fault.rows[0].figures) == {"17"}
    assert over.rows[0].figures["equal"] < 0.2
    (tmp_path / "kamp_rheocasting").mkdir()
    head = (
        "id,date,time,molten_volume,low_section_speed,cast_pressure,heating_furnace,tryshot_signal,mold_code,passorfail"
    )
    lines = [f"{n},d,t,-1,{110 + rng.normal()},{330 + rng.normal() - 200 * (n % 97 == 0)},A,{'D' if n < 9 else ''},1,"
             f"{int(n % 97 == 0)}" for n in range(2500)]  # fmt: skip
    (tmp_path / "kamp_rheocasting" / "train_group_9999.csv").write_text("\n".join([head, *lines]), encoding="utf-8")
    found = kamp_rheocasting.measure(tmp_path)
    assert [one.rows[0].figures["auc"] > 0.99 for one in found] == [True, True]
    assert {"null", "random", "always"} <= {row.method for row in found[0].rows}
    assert tep.measure(tmp_path / "nowhere") == skab.measure(tmp_path / "nowhere") == []
