"""The unattended detector: finds what is new in any signal, once, and stays quiet otherwise."""

import numpy as np
import pytest

from analytics.detectors.general import General
from analytics.table import Table

ROWS = 5000
AT = 4000
T = np.arange(ROWS)


def signal(kind: str, seed: int = 5) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=ROWS)
    shapes = {
        "flat": 20.0 + 0.3 * noise,
        "daily": 50.0 + 10.0 * np.sin(2 * np.pi * T / 288) + noise,
        "saw": (T % 60) / 6.0 + 0.2 * noise,
        "heavy": np.random.default_rng(seed).standard_t(2.5, ROWS),
        "scaled": 1e-6 * (3.0 + 0.1 * noise),
    }
    return shapes[kind]


@pytest.mark.parametrize("kind", ["flat", "daily", "saw", "heavy", "scaled"])
def test_it_is_quiet_on_signals_without_faults(kind: str) -> None:
    score = General().examine(Table.of(signal(kind), every_s=300.0)).score[:, 0]
    assert np.sum(score[600:] >= 1) <= 6  # 15 days of 5 min


@pytest.mark.parametrize("kind", ["flat", "daily", "saw", "scaled"])
@pytest.mark.parametrize("fault", ["step", "noise", "dead", "spike"])
def test_it_finds_faults_of_any_shape(kind: str, fault: str) -> None:
    x = signal(kind)
    size = np.ptp(x[:AT])
    late = slice(AT, AT + 150)
    if fault == "step":
        x[late] += size
    elif fault == "noise":
        x[late] += 0.5 * size * np.random.default_rng(6).normal(size=150)
    elif fault == "dead":
        x[late] = x[AT]
    else:
        x[AT] += 3 * size
    score = General().examine(Table.of(x, every_s=300.0)).score[:, 0]
    assert np.any(score[late] >= 1)


def test_units_change_nothing() -> None:
    x = signal("daily")
    score = General().examine(Table.of(x, every_s=300.0)).score
    np.testing.assert_allclose(General().examine(Table.of(x * 64.0, every_s=300.0)).score, score, rtol=1e-4, atol=1e-6)


def test_an_episode_rings_once() -> None:
    x = signal("flat")
    x[AT:] += 30.0 * np.arange(ROWS - AT)  # always newer
    table = Table.of(x, every_s=300.0)
    rings = np.flatnonzero(General().examine(table).score[AT:, 0] >= 1)
    assert len(rings) > 0
    assert np.all(np.diff(rings) > 60)
    assert len(np.flatnonzero(General(episode_rows=0).examine(table).score[AT:, 0] >= 1)) >= len(rings)


def test_of_a_group_the_variable_to_blame_is_named() -> None:
    x = np.random.default_rng(7).normal(size=(ROWS, 4))
    x[AT : AT + 100, 2] += 12.0
    found = General(subject="all").examine(Table.of(x, every_s=1.0))
    row = AT + int(np.argmax(found.score[AT : AT + 20, 0]))
    assert found.score[row, 0] >= 1
    assert found.share is not None
    assert int(np.argmax(found.share[row])) == 2
