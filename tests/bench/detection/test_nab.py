"""The scoring of the benchmark against the slow obvious way, row by row as its paper has it."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from analytics.table import Table
from tests.bench.detection import nab
from tests.bench.detection.nab import Judged, Profile, Recording, best_of, curve, judged, score_at

STANDARD = Profile("standard", 1.0, 0.11, 1.0)
LOW_MISS = Profile("reward_low_FN_rate", 1.0, 0.11, 2.0)


def files(seed: int) -> tuple[list[Recording], dict[str, np.ndarray]]:
    generator = np.random.default_rng(seed)
    found, scores = [], {}
    for name, windows in {"a/1": [(100, 149), (300, 340)], "a/2": [(20, 80)], "b/1": [], "b/2": [(390, 399)]}.items():
        found.append(Recording(name, Table.of(np.zeros(400)), windows))
        scores[name] = np.round(generator.random(400), 2)
    return found, scores


def sigmoid(y: float) -> float:
    return -1.0 if y >= 3.0 else 2 / (1 + math.exp(5 * y)) - 1


def slow_score(recordings: Sequence[Recording], scores: dict[str, np.ndarray], profile: Profile, at: float) -> float:
    """Alarms at rows whose score is at least `at`."""
    total, windows = 0.0, 0
    for one in recordings:
        caught = dict.fromkeys(range(len(one.windows)), -profile.miss)
        for row in range(one.probation, len(one.table)):
            if scores[one.name][row] < at:
                continue
            inside = [k for k, (first, last) in enumerate(one.windows) if first <= row <= last]
            before = [(first, last) for first, last in one.windows if last < row]
            if inside:
                first, last = one.windows[inside[0]]
                worth = sigmoid(-(last - row + 1) / (last - first + 1)) / sigmoid(-1.0)
                caught[inside[0]] = max(caught[inside[0]], worth * profile.hit)
            elif before:
                first, last = before[-1]
                total += profile.false * sigmoid((row - last) / (last - first))
            else:
                total -= profile.false
        total += sum(caught.values())
        windows += len(one.windows)
    null, perfect = -profile.miss * windows, profile.hit * windows
    return 100 * (total - null) / (perfect - null)


@pytest.mark.parametrize("profile", [STANDARD, LOW_MISS])
@pytest.mark.parametrize("seed", [1, 2])
def test_every_threshold_scores_as_the_slow_way(profile: Profile, seed: int) -> None:
    recordings, scores = files(seed)
    thresholds, found = curve(judged(recordings, scores), profile)
    for threshold, score in list(zip(thresholds, found, strict=True))[::9]:
        assert score == pytest.approx(slow_score(recordings, scores, profile, float(threshold)), abs=1e-9)
    best, at = best_of(judged(recordings, scores), profile)
    assert best == pytest.approx(max(slow_score(recordings, scores, profile, t) for t in (*thresholds[1:], 2.0)))
    assert score_at(judged(recordings, scores), profile, at) == best


def test_null_is_0_and_perfect_is_100() -> None:
    recordings, scores = files(1)
    assert best_of(judged(recordings, {name: np.zeros(400) for name in scores}), STANDARD)[0] == 0.0
    hits = {name: np.zeros(400) for name in scores}
    for one in recordings:
        for first, _ in one.windows:
            hits[one.name][max(first, one.probation)] = 1.0
    perfect, threshold = best_of(judged(recordings, hits), STANDARD)
    assert 95.0 < perfect <= 100.0  # one window begins within the probation
    assert threshold == 1.0


def test_rows_without_an_opinion_never_ring() -> None:
    rows = Judged(np.array([-np.inf, 1.0]), np.array([-1.0, 1.0]), np.array([-1, 0]), 1)
    assert curve(rows, STANDARD)[0].tolist() == [np.inf, 1.0]


def test_any_subset_of_the_layout_is_read(tmp_path: Path) -> None:
    for folder in ("data/real", "labels", "config"):
        (tmp_path / folder).mkdir(parents=True)
    lines = [f"2026-01-01 00:{minute:02d}:00,{minute}" for minute in range(60)]
    (tmp_path / "data/real/x.csv").write_text("\n".join(["timestamp,value", *lines]))
    limits = '["2026-01-01 00:20:00.000000", "2026-01-01 00:29:00.000000"]'
    (tmp_path / "labels/combined_windows.json").write_text(f'{{"real/x.csv": [{limits}], "real/absent.csv": []}}')
    (one,) = nab.read(tmp_path)
    assert list(one.windows) == [(20, 29)]
    assert one.table.every_s == 60.0
    assert one.probation == 9
