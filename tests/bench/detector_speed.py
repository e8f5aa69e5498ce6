"""How much computing detectors take: data quality and control charts of 10,000 tags, and every detector a point.

* 10,000 tags at 1 Hz, a minute at a time: a block of 60 rows with the detector's memory in front, as it is live.
* A point: one variable, 5,000 rows at once; CPU time of this process. Peers, where `rootdx[bench]` is installed, see
  the same rows, one at a time, as they are made for; what they compile is compiled before the clock starts.
"""

import importlib
import importlib.util
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import numpy as np

from analytics.detector import Arrays, Detector
from analytics.known_detectors import AnyDetector
from analytics.result import Floats
from analytics.table import Table, Variable
from analytics.window import Series
from tests.bench.figures import Figure, show
from tests.bench.stage import Stage, Wish

TAGS, BLOCK_ROWS = 10_000, 60
ROWS = 5_000
TARGET_PERCENT = 5.0
LIVE = ("gap", "stuck", "spike", "noise_burst", "implausible_time", "scale_jump", "shewhart", "ewma", "cusum")
EVERY = {kind.model_fields["kind"].default: kind for kind in get_args(get_args(AnyDetector)[0])}
SETTINGS: dict[str, dict[str, Any]] = {
    "limits": {"low": -4.0, "high": 4.0},
    "shewhart": {"centre": 0.0, "sigma": 1.0},
    "ewma": {"centre": 0.0, "sigma": 1.0},
    "cusum": {"centre": 0.0, "sigma": 1.0},
    "short_run": {"centre": 0.0, "sigma": 1.0},
}
FEATURES = {"hotelling": 5, "residual_q": 5, "mewma": 5, "combined": 5, "sensor_drift": 3, "adaptive": 5}
"""Variables of the table, where one is no case; a point is a row of them."""
PROFILES = {"envelope": 200, "warping": 200}
"""Points of a profile; a row is a whole one."""


async def measure(stage: Stage, wish: Wish) -> list[Figure]:
    """The figures; prints them."""
    blocks = [block(name, wish.repeats) for name in LIVE]
    total = [sum(one.samples[i] for one in blocks) for i in range(wish.repeats)]
    live = [Figure("10,000 tags at 1 Hz: all of these", total, "% of one core", TARGET_PERCENT, "low"), *blocks]
    points = [point(name, wish.repeats) for name in EVERY]
    peers = [
        Figure(name, [one() for _ in range(wish.repeats)], "us/point", peer="peer") for name, one in others().items()
    ]
    show(stage.console, f"{TAGS:,} tags at 1 Hz, {BLOCK_ROWS} s at a time", live)
    show(stage.console, f"every detector, {ROWS:,} rows at once", points)
    show(stage.console, "peers, the same rows", peers)
    return [*live, *points, *peers]


def made(name: str) -> Detector:
    kind: type[Detector] = EVERY[name]
    return kind.model_validate({"kind": name, **SETTINGS.get(name, {})})


def rows_of(rows: int, columns: int) -> Table:
    generator = np.random.default_rng(1)
    value = np.round(generator.normal(size=(rows, columns)), 3)
    value[generator.random(value.shape) < 0.001] = np.nan
    table = Table.of(value, every_s=1.0)
    return replace(table, variables=tuple(Variable(name, span=10.0, resolution=0.001) for name in table.names))


def spent_s(work: Callable[[], object]) -> float:
    """CPU seconds."""
    began = time.process_time()
    work()
    return time.process_time() - began


def block(name: str, repeats: int) -> Figure:
    """Share of one core that a detector takes of all tags."""
    detector = made(name)
    table = rows_of(detector.memory + BLOCK_ROWS, TAGS)
    raw = Series.of(table.ts_ns, np.zeros(len(table)), every_s=1.0)
    table = replace(table, rows=dict.fromkeys(table.names, raw))
    known: dict[str, Arrays] = {"": {"usual": np.ones(TAGS)}}
    detector.examine(table, known)
    samples = [100 * spent_s(lambda: detector.examine(table, known)) / BLOCK_ROWS for _ in range(repeats)]
    return Figure(f"{name}, {detector.memory} rows of memory", samples, "% of one core", better="low")


def point(name: str, repeats: int) -> Figure:
    """CPU time of a row."""
    detector = made(name)
    columns = PROFILES.get(name, FEATURES.get(name, 1))
    rows = ROWS // 10 if name in PROFILES else ROWS
    table = rows_of(rows, columns)
    whole = replace(table, value=np.nan_to_num(table.value))
    known = detector.learn(whole) if type(detector).learn is not Detector.learn else {}
    detector.examine(table, known)
    samples = [1e6 * spent_s(lambda: detector.examine(table, known)) / rows for _ in range(repeats)]
    return Figure(f"{name}, {columns} variable{'s' * (columns > 1)}", samples, "us/point", better="low")


def others() -> dict[str, Callable[[], float]]:
    """CPU microseconds a point of river's and stumpy's nearest equivalents; none where they are not installed."""
    x = np.nan_to_num(rows_of(ROWS, 1).value[:, 0])
    found: dict[str, Callable[[], float]] = {}
    if importlib.util.find_spec("river"):
        found |= {f"river {name}": one for name, one in _river(x).items()}
    if importlib.util.find_spec("stumpy"):
        found["stumpy stumpi, window 64 of 2,000 rows, beside matrix_profile"] = _stumpy(x)
    return found


def _river(x: Floats) -> dict[str, Callable[[], float]]:
    """Installed by an extra, so imported by name."""
    drift, anomaly = importlib.import_module("river.drift"), importlib.import_module("river.anomaly")

    def updated(make: Callable[[], Any]) -> Callable[[], float]:
        def run() -> float:
            one = make()
            return 1e6 * spent_s(lambda: [one.update(value) for value in x.tolist()]) / len(x)

        return run

    def scored() -> float:
        trees = anomaly.HalfSpaceTrees(seed=1)

        def run() -> None:
            for value in x.tolist():
                trees.score_one({"x": value})
                trees.learn_one({"x": value})

        return 1e6 * spent_s(run) / len(x)

    def filtered() -> float:
        gauss = anomaly.GaussianScorer(window_size=600)

        def run() -> None:
            for value in x.tolist():
                gauss.score_one(None, value)
                gauss.learn_one(None, value)

        return 1e6 * spent_s(run) / len(x)

    return {
        "PageHinkley, beside cusum": updated(drift.PageHinkley),
        "ADWIN, beside pettitt and pelt": updated(drift.ADWIN),
        "KSWIN, beside pettitt": updated(lambda: drift.KSWIN(seed=1)),
        "GaussianScorer, beside shewhart and adaptive": filtered,
        "HalfSpaceTrees, beside general": scored,
    }


def _stumpy(x: Floats) -> Callable[[], float]:
    stumpy = importlib.import_module("stumpy")
    stumpy.stumpi(x[:300], 64, egress=True).update(0.0)

    def run() -> float:
        stream = stumpy.stumpi(x[:2000], 64, egress=True)
        rest = x[2000:].tolist()
        return 1e6 * spent_s(lambda: [stream.update(value) for value in rest]) / len(rest)

    return run
