"""Average run lengths of every chart against the tables of sections 6.3 and 6.4, within three standard errors."""

import numpy as np
import pytest

from analytics.detector import Detector
from analytics.detectors.cusum import Cusum
from analytics.detectors.ewma import Ewma
from analytics.detectors.shewhart import Shewhart
from analytics.detectors.short_run import ShortRun
from analytics.run_rules import Rule
from analytics.spc import cusum, ewma, nelson, western_electric
from analytics.table import Table

AT_ONCE = 1_000_000
LONGEST = 14.0
"""Rows of a run, in run lengths: one run in a million is longer."""


def run_lengths(chart: Detector, expected: float, shift: float, runs: int, seed: int) -> np.ndarray:
    """Rows until each of some independent normal processes rings, the shift from the first row on."""
    generator = np.random.default_rng(seed)
    rows = int(LONGEST * expected) + 20
    found: list[np.ndarray] = []
    while sum(map(len, found)) < runs:
        columns = min(runs, max(1, AT_ONCE // rows))
        score = chart.examine(Table.of(generator.normal(shift, 1.0, size=(rows, columns)))).score
        rings = score >= 1
        assert rings.any(axis=0).all()
        found.append(np.argmax(rings, axis=0) + 1)
    return np.concatenate(found)


def assert_average(
    chart: Detector, expected: float, shift: float = 0.0, *, runs: int = 3000, rounding: float = 0.0
) -> None:
    lengths = run_lengths(chart, expected, shift, runs, seed=round(1000 * expected))
    error = np.std(lengths, ddof=1) / np.sqrt(len(lengths))
    assert abs(np.mean(lengths) - expected) <= 3 * error + rounding


@pytest.mark.parametrize(("shift", "expected"), [(0.0, 370.398), (1.0, 43.89)])
def test_shewhart_limits(shift: float, expected: float) -> None:
    assert_average(Shewhart(rules=(), centre=0.0, sigma=1.0), expected, shift)


@pytest.mark.parametrize(("shift", "expected"), [(0.0, 91.7508), (1.0, 9.22)])
def test_western_electric_rules(shift: float, expected: float) -> None:
    assert_average(Shewhart(centre=0.0, sigma=1.0), expected, shift, runs=6000)


ALL: tuple[Rule, ...] = ("N1", "N2", "N3", "N4", "N5", "N6", "N7", "N8")


@pytest.mark.parametrize(
    ("rules", "expected", "rounding"),
    [(("N1", "N2"), 216.70, 0.005), (("N1", "N2", "N5", "N6"), 109.05, 0.005), (ALL, 73.0, 0.4)],
)
def test_nelson_rules_together(rules: tuple[Rule, ...], expected: float, rounding: float) -> None:
    assert_average(Shewhart(rules=rules, centre=0.0, sigma=1.0), expected, rounding=rounding, runs=2500)


@pytest.mark.parametrize(
    ("rule", "expected", "rounding"),
    [
        ("N2", 511.0, 0.5),
        ("N3", 420.0, 5.0),
        ("N4", 599.0, 5.0),
        ("N5", 510.0, 5.0),
        ("N6", 290.0, 5.0),
        ("N7", 963.3, 0),
    ],
)
def test_each_nelson_rule_alone(rule: Rule, expected: float, rounding: float) -> None:
    assert_average(Shewhart(rules=(rule,), width=100.0, centre=0.0, sigma=1.0), expected, rounding=rounding, runs=700)


EWMA = {
    (0.4, 3.054): (500.0, 71.2, 14.3, 3.5),
    (0.25, 2.998): (499.8, 48.3, 11.1, 3.6),
    (0.2, 2.962): (499.7, 41.8, 10.5, 3.7),
    (0.1, 2.814): (499.6, 31.3, 10.3, 4.4),
    (0.05, 2.615): (499.9, 28.8, 11.4, 5.2),
}


@pytest.mark.parametrize(("weight", "width"), list(EWMA))
def test_ewma(weight: float, width: float) -> None:
    chart = Ewma(weight=weight, width=width, centre=0.0, sigma=1.0)
    for shift, expected in zip((0.0, 0.5, 1.0, 2.0), EWMA[weight, width], strict=True):
        assert_average(chart, expected, shift, runs=1500, rounding=0.05)


@pytest.mark.parametrize(
    ("limit", "expected"), [(4.0, (167.7, 74.2, 26.6, 8.38, 3.34)), (5.0, (465.4, 139.5, 38.0, 10.38, 4.01))]
)
def test_cusum(limit: float, expected: tuple[float, ...]) -> None:
    chart = Cusum(limit=limit, centre=0.0, sigma=1.0)
    for shift, length in zip((0.0, 0.25, 0.5, 1.0, 2.0), expected, strict=True):
        assert_average(chart, length, shift, runs=1000, rounding=0.05)


def test_short_run_has_the_run_lengths_of_shewhart() -> None:
    assert_average(ShortRun(target={"": 0.0}, sigma=1.0), 91.7508, runs=3000)


def test_detectors_and_kernels_say_the_same() -> None:
    generator = np.random.default_rng(12)
    x = generator.normal(size=3000)
    x[generator.random(3000) < 0.05] = np.nan
    at = Table.of(x)
    rules = Shewhart(centre=0.0, sigma=1.0).examine(at).score[:, 0] >= 1
    np.testing.assert_array_equal(rules, western_electric(x).any(axis=0))
    every = Shewhart(rules=ALL, centre=0.0, sigma=1.0).examine(at).score[:, 0] >= 1
    np.testing.assert_array_equal(every, nelson(x).any(axis=0))
    smooth = Ewma(centre=0.0, sigma=1.0, start="widening").examine(at).score[:, 0]
    chart = ewma(x, 0.0, 1.0)
    np.testing.assert_allclose(smooth, np.abs(chart.value) / chart.upper, atol=1e-5)
    sums = cusum(x, 0.0, 1.0)
    found = Cusum(centre=0.0, sigma=1.0).examine(at)
    known = np.isfinite(x)
    np.testing.assert_allclose(5 * found.score[known, 0], np.maximum(sums.upper, sums.lower)[known], atol=1e-9)
    assert found.since is not None
    for row in np.flatnonzero(found.score[:, 0] >= 1):
        assert found.since[row, 0] == sums.shift(int(row)).start + 1
