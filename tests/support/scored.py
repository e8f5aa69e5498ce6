"""What a process found against what a simulator did: cycles, both ends of every phase, features; and under any cut."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analytics.process import Phase, Process, Segment
from analytics.window import SECOND_NS, Window
from simulators.signals import Cycle, Phase as TruePhase
from tests.support.simulated import Simulated, to_ns

Wanted = dict[str, tuple[str, float]]
"""Feature: which truth it should be, and within how much of it."""


@dataclass(frozen=True, slots=True)
class Score:
    """How well a process did.

    Attributes:
        produced: cycles that the machine made.
        missed: numbers of those that were not found.
        invented: closed cycles that were found and not made.
        boundary: by phase, |error| of its two ends in samples; infinite when a phase of two samples was not found.
        error: by feature, |error| in its unit; infinite when it has no value.
    """

    produced: int
    missed: tuple[int, ...]
    invented: tuple[Segment, ...]
    boundary: dict[str, npt.NDArray[np.float64]]
    error: dict[str, npt.NDArray[np.float64]]

    def p95(self, *but: str) -> float:
        """95th percentile of all boundary errors but those of some phases, samples."""
        return float(np.percentile(np.concatenate([e for name, e in self.boundary.items() if name not in but]), 95))

    def outside(self, wanted: Wanted) -> dict[str, float]:
        """Features whose largest error is above the tolerance, or that were never measured."""
        worst = {name: float(self.error[name].max()) if name in self.error else np.inf for name in wanted}
        return {name: value for name, value in worst.items() if value > wanted[name][1]}


def around(process: Process, segment: Segment, window: Window) -> Window:
    """The window that the engine passes to `features`."""
    end_ns = window.end_ns if segment.end_ns is None else segment.end_ns
    lead_ns, settle_ns = (round(s * SECOND_NS) for s in (process.lead_s, process.settle_s))
    return window.cut(segment.start_ns - lead_ns, end_ns + settle_ns)


def score(
    process: Process,
    made: Simulated,
    every_s: float,
    wanted: Wanted,
    *,
    lane: Callable[[Cycle], str] = lambda _: "",
    measured: Callable[[Cycle], bool] = lambda _: True,
) -> Score:
    """Cycles of a window against the truth; boundaries and features of those that `measured` allows."""
    found = list(process.cycles(made.window))
    starts = np.array([segment.start_ns for segment in found], dtype=np.int64)
    taken: set[int] = set()
    missed: list[int] = []
    boundary: dict[str, list[float]] = {}
    error: dict[str, list[float]] = {}
    for cycle in made.truth:
        span_ns = round((cycle.end_s - cycle.start_s) / 2 * SECOND_NS)
        low, high = np.searchsorted(starts, [to_ns(cycle.start_s) - span_ns, to_ns(cycle.start_s) + span_ns])
        near = [p for p in range(int(low), int(high)) if found[p].lane == lane(cycle) and p not in taken]
        if not near:
            missed.append(cycle.number)
            continue
        place = min(near, key=lambda p: abs(found[p].start_ns - to_ns(cycle.start_s)))
        taken.add(place)
        if measured(cycle):
            _boundaries(cycle, found[place], every_s, boundary)
            _features(cycle, process, around(process, found[place], made.window), found[place], wanted, error)
    first, last = (to_ns(f(c.start_s for c in made.truth)) if made.truth else 0 for f in (min, max))
    invented = [
        s for p, s in enumerate(found) if p not in taken and s.end_ns is not None and first <= s.start_ns <= last
    ]
    columns = ({name: np.array(values) for name, values in table.items()} for table in (boundary, error))
    return Score(len(made.truth), tuple(missed), tuple(invented), *columns)


def _features(  # what is compared with what
    cycle: Cycle,
    process: Process,
    window: Window,
    segment: Segment,
    wanted: Wanted,
    error: dict[str, list[float]],
) -> None:
    features = process.features(segment, window).features
    for name, (truth, _) in wanted.items():
        if name in features and truth in cycle.features:
            value = features[name].value
            error.setdefault(name, []).append(np.inf if value is None else abs(value - cycle.features[truth]))


def _boundaries(cycle: Cycle, segment: Segment, every_s: float, boundary: dict[str, list[float]]) -> None:
    for phase in cycle.phases:
        ends = [
            (p.start_ns, p.end_ns)
            for p in segment.phases
            if p.end_ns is not None and p.name == phase.name and _meet(p, phase)
        ]
        errors = boundary.setdefault(phase.name, [])
        if ends:
            apart = (ends[0][0] - to_ns(phase.start_s), ends[-1][1] - to_ns(phase.end_s))
            errors += [abs(ns) / SECOND_NS / every_s for ns in apart]
        elif phase.name != "IDLE" and phase.end_s - phase.start_s >= 2 * every_s:
            errors.append(np.inf)


def _meet(mine: Phase, true: TruePhase) -> bool:
    return mine.end_ns is not None and mine.end_ns > to_ns(true.start_s) and mine.start_ns < to_ns(true.end_s)


def assert_local(process: Process, window: Window, cuts: int = 40, seed: int = 1) -> int:
    """Random cuts give the same cycles inside the margins; returns how many cycles were compared."""
    draw = np.random.default_rng(seed)
    lead_ns, settle_ns = (round(s * SECOND_NS) for s in (process.lead_s, process.settle_s))
    whole = process.cycles(window)
    compared = 0
    for _ in range(cuts):
        first, last = (int(ns) for ns in np.sort(draw.integers(window.start_ns, window.end_ns, 2)))
        low, high = first + lead_ns, last - settle_ns

        def inside(segment: Segment, low: int = low, high: int = high) -> bool:
            return segment.start_ns >= low and segment.end_ns is not None and segment.end_ns <= high

        part = process.cycles(window.cut(first, last))
        assert [s for s in part if inside(s)] == [s for s in whole if inside(s)], (first, last)
        compared += sum(map(inside, whole))
    return compared


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the report: a phase's boundary errors in samples, or a feature's errors in its unit."""

    process: str
    what: str
    n: int
    median: float
    p95: float
    largest: float
    limit: float

    def __str__(self) -> str:
        figures = "  ".join(f"{value:10.4g}" for value in (self.median, self.p95, self.largest, self.limit))
        return f"{self.process:26} {self.what:34} {self.n:6}  {figures}"


HEADER = f"{'process':26} {'phase [samples] or feature [unit]':34} {'n':>6}  " + "  ".join(
    f"{name:>10}" for name in ("median", "p95", "largest", "limit")
)


def report(name: str, found: Score, wanted: Wanted) -> list[Row]:
    """A score as lines; the first is how many cycles were missed or invented."""
    wrong = float(len(found.missed) + len(found.invented))
    lines = [Row(name, "cycles missed or invented", found.produced, wrong, wrong, wrong, 0.0)]
    limits = dict.fromkeys(found.boundary, 1.0) | {feature: wanted[feature][1] for feature in found.error}
    for what, errors in (found.boundary | found.error).items():
        if len(errors):
            figures = float(np.median(errors)), float(np.percentile(errors, 95)), float(errors.max())
            lines.append(Row(name, what, len(errors), *figures, limits[what]))
    return lines
