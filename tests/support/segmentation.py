"""What a process found against what a simulator did: boundary errors in samples, feature errors, cuts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analytics.process import Measured, Process, Segment
from analytics.window import SECOND_NS, Window
from simulators.signals import Cycle
from tests.support.simulated import Simulated, to_ns


@dataclass(frozen=True, slots=True)
class Boundary:
    """Errors of the beginnings of one phase, in samples."""

    phase: str
    n: int
    median: float
    p95: float


def whole(process: Process, window: Window) -> list[Segment]:
    """The closed cycles that lie inside a window by the margins of locality."""
    lead_ns, settle_ns = round(process.lead_s * SECOND_NS), round(process.settle_s * SECOND_NS)
    return [
        one
        for one in process.cycles(window)
        if one.end_ns is not None
        and one.start_ns >= window.start_ns + lead_ns
        and one.end_ns <= window.end_ns - settle_ns
    ]


def paired(found: Sequence[Segment], truth: Sequence[Cycle], near_s: float) -> list[tuple[Segment, Cycle]]:
    """Each found cycle with the true one that begins nearest, at most `near_s` away; a true one counts once."""
    starts = np.array([to_ns(cycle.start_s) for cycle in truth])
    pairs, taken = [], set()
    for one in found:
        i = int(np.argmin(np.abs(starts - one.start_ns)))
        if abs(int(starts[i]) - one.start_ns) <= near_s * SECOND_NS and i not in taken:
            taken.add(i)
            pairs.append((one, truth[i]))
    return pairs


def invented(process: Process, made: Simulated, pairs: Sequence[tuple[Segment, Cycle]]) -> int:
    """Closed cycles that no true one stands for, from the first true one on."""
    first_ns = to_ns(made.truth[0].start_s) - SECOND_NS
    closed = [one for one in process.cycles(made.window) if one.end_ns is not None and one.start_ns >= first_ns]
    return len(closed) - len(pairs)


def boundaries(pairs: Sequence[tuple[Segment, Cycle]], every_s: float) -> list[Boundary]:
    """Errors of the beginnings of all phases that both have; a phase that comes twice counts in order."""
    errors: dict[str, list[float]] = {}
    for one, cycle in pairs:
        for name in {phase.name for phase in cycle.phases}:
            told = [phase.start_ns for phase in one.phases if phase.name == name]
            real = [to_ns(phase.start_s) for phase in cycle.phases if phase.name == name]
            if len(told) == len(real):
                errors.setdefault(name, []).extend(
                    abs(a - b) / SECOND_NS / every_s for a, b in zip(told, real, strict=True)
                )
    return [
        Boundary(name, len(found), float(np.median(found)), float(np.percentile(found, 95)))
        for name, found in errors.items()
    ]


def measured(process: Process, segment: Segment, window: Window) -> Measured:
    """Features as the engine asks for them: from the cycle with its margins."""
    assert segment.end_ns is not None
    start_ns = segment.start_ns - round(process.lead_s * SECOND_NS)
    return process.features(segment, window.cut(start_ns, segment.end_ns + round(process.settle_s * SECOND_NS)))


def feature_errors(
    process: Process,
    window: Window,
    pairs: Sequence[tuple[Segment, Mapping[str, float]]],
) -> dict[str, list[float]]:
    """|found - true| of every feature that the truth knows; a feature without value is infinitely wrong."""
    errors: dict[str, list[float]] = {}
    for segment, real in pairs:
        features = measured(process, segment, window).features
        for name, value in real.items():
            if name in features:
                told = features[name].value
                errors.setdefault(name, []).append(math.inf if told is None else abs(told - value))
    return errors


def assert_local(process: Process, made: Simulated, cuts: int, shortest_s: float, seed: int = 3) -> None:
    """Any cut gives the same cycles inside its margins."""
    random = np.random.default_rng(seed)
    window = made.window
    lead_ns, settle_ns = round(process.lead_s * SECOND_NS), round(process.settle_s * SECOND_NS)
    everything = [one for one in process.cycles(window) if one.end_ns is not None]
    for _ in range(cuts):
        span = sorted(random.integers(window.start_ns, window.end_ns, 2).tolist())
        if span[1] - span[0] < shortest_s * SECOND_NS:
            continue
        first, last = span[0] + lead_ns, span[1] - settle_ns
        expected = [one for one in everything if one.start_ns >= first and (one.end_ns or 0) <= last]
        assert whole(process, window.cut(*span)) == expected
