"""How well press strokes are told and measured: `python -m tests.bench.segmentation_forging` prints the tables."""

import functools
from collections.abc import Mapping

import numpy as np

from analytics.process import Segment
from analytics.processes.forging import PressStroke
from simulators.faults import Fault
from simulators.forging import PERIOD_S
from simulators.signals import Cycle
from tests.bench.segmentation_casting import Line, show
from tests.support.segmentation import boundaries, feature_errors, invented, paired
from tests.support.simulated import Simulated, simulated

SEED, STROKES, STROKE_S = 7, 500, 2.0
PROCESS = PressStroke()
TOLERANCE: Mapping[str, float] = {
    "peak": 25.0, "peak_angle": 1.5, "imbalance": 0.4, "work": 400.0, "contact_angle": 0.4, "reverse_tonnage": 25.0,
    "tonnage_area": 300.0, "bdc_position": 0.03, "ton1_peak": 12.0, "ton2_peak": 12.0, "ton3_peak": 12.0,
    "ton4_peak": 12.0, "eject_force": 0.1, "reported_peak": 0.51, "reported_peak_angle": 0.051, "energy": 0.001,
}  # fmt: skip


def faults(until_s: float) -> tuple[Fault, ...]:
    """Failures of the process, and rows of roles that are missing, stuck, spiked or sentinels."""
    part = until_s / 10.0
    names = ("missing_part", "double_hit", "punch_wear", "broken_punch", "cold_billet", "slide_drift")
    sizes = (0.35, 0.2, 0.06, 0.25, 60.0, 0.4)
    failing = [
        Fault(name, "peak", (k + 1) * part, (k + 2) * part - 4.0, size)
        for k, (name, size) in enumerate(zip(names, sizes, strict=True))
    ]
    return (
        *failing,
        Fault("corner_overload", "ton2_peak", 7 * part, 7.5 * part, 0.2),
        Fault("gap", "", 8 * part + 5.0, 8 * part + 11.0, 1.0),
        Fault("gap", "stroke_counter", 8 * part + 30.0, 8 * part + 36.0, 1.0),
        Fault("spike", "stroke_counter", 8 * part + 40.0, 9 * part, 0.3),
        Fault("sentinel", "billet_temp", 9 * part, 9 * part + 8.0, 32767.0),
        Fault("stuck", "stroke_counter", 9 * part + 20.0, 9 * part + 26.0, 1.0),
    )


@functools.cache
def scenario(strokes: int = STROKES) -> Simulated:
    """So many strokes with all faults, with their bursts."""
    until_s = strokes * STROKE_S + 1.0
    return simulated("forging", until_s, seed=SEED, faults=faults(until_s), bursts=True)


def found(made: Simulated, process: PressStroke = PROCESS) -> list[tuple[Segment, Cycle]]:
    """Closed strokes with what they really were."""
    closed = [one for one in process.cycles(made.window) if one.end_ns is not None]
    return paired(closed, made.truth, 1.01)


def errors(made: Simulated, strokes: int = STROKES) -> dict[str, list[float]]:
    """Feature errors of the strokes with all their rows."""
    holes = [fault for fault in faults(strokes * STROKE_S + 1.0) if fault.type in {"gap", "stuck", "spike"}]
    whole = []
    for one, cycle in found(made):
        if any(hole.start_s < cycle.end_s + 3.0 and hole.end_s > cycle.start_s - 3.0 for hole in holes):
            continue
        real = dict(cycle.features)
        if real["ton2_peak"] > 849.0:  # a corner that saturates has no single peak
            del real["peak_angle"], real["imbalance"]
        real |= {"reported_peak": real["peak"], "reported_peak_angle": cycle.features["peak_angle"], "energy": 0.030}
        whole.append((one, real))
    return feature_errors(PROCESS, made.window, whole)


def rows(strokes: int = STROKES) -> list[Line]:
    """Boundary errors (median, p95, samples of the burst) and feature errors (median, largest, unit of the feature)."""
    made = scenario(strokes)
    pairs = found(made)
    lines = [
        Line(
            "press_stroke",
            "cycles found / produced / invented",
            len(pairs),
            len(made.truth),
            invented(PROCESS, made, pairs),
            0.0,
        )
    ]
    lines += [
        Line("press_stroke", f"begin of {b.phase}", b.n, b.median, b.p95, 1.0) for b in boundaries(pairs, PERIOD_S)
    ]
    for feature, values in errors(made, strokes).items():
        if feature in TOLERANCE:
            middle = float(np.median(values))
            lines.append(Line("press_stroke", feature, len(values), middle, max(values), TOLERANCE[feature]))
    return lines


if __name__ == "__main__":
    show(rows())
