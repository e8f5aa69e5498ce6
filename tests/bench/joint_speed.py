"""T2, Q and the combined score of 50 features, learned from ten thousand cycles, over two million."""

import time

import numpy as np

from analytics.detector import Detector
from analytics.detectors.combined import Combined
from analytics.detectors.hotelling import Hotelling
from analytics.detectors.residual_q import ResidualQ
from analytics.table import Table
from tests.bench.figures import Figure, show
from tests.bench.stage import Invalid, Stage, Wish

CYCLES, FEATURES, LEARNED = 2_000_000, 50, 10_000
TARGET_S = 10.0
"""For T2 and Q each: seconds, not minutes."""


async def measure(stage: Stage, wish: Wish) -> list[Figure]:
    """Wall seconds of one process."""
    rng = np.random.default_rng(1)
    mix = rng.normal(size=(FEATURES, FEATURES)) / FEATURES + np.eye(FEATURES)
    past = Table.of(rng.normal(size=(LEARNED, FEATURES)) @ mix)
    table = Table.of(rng.normal(size=(CYCLES, FEATURES)) @ mix)
    figures = [
        _timed(Hotelling(kind="hotelling"), past, table, wish.repeats, TARGET_S),
        _timed(ResidualQ(kind="residual_q"), past, table, wish.repeats, TARGET_S),
        _timed(Combined(kind="combined"), past, table, wish.repeats, None),
    ]
    show(stage.console, f"{CYCLES / 1e6:g} M cycles of {FEATURES} features", figures)
    return figures


def _timed(detector: Detector, past: Table, table: Table, repeats: int, target: float | None) -> Figure:
    learned = detector.learn(past)
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        score = detector.examine(table, learned).score
        seconds.append(time.perf_counter() - began)
    if not np.isfinite(score).all():
        raise Invalid(f"{detector.kind}: {int((~np.isfinite(score)).sum())} cycles without a score")
    return Figure(f"{detector.kind}, {FEATURES} features, {CYCLES:,} cycles", seconds, "s", target, better="low")
