"""How well moulding cycles are told and measured: `python -m tests.bench.segmentation_molding` prints the tables."""

import functools
from collections.abc import Mapping

import numpy as np

from analytics.process import Segment
from analytics.processes.molding import MoldingCycle
from simulators.faults import Fault, Faults
from simulators.molding import PERIOD_S, START_MM, SWITCH_MM, InjectionMachine, curve
from simulators.signals import Cycle
from tests.bench.segmentation_casting import Line, show
from tests.support.segmentation import boundaries, feature_errors, invented, paired
from tests.support.simulated import Simulated, simulated

SEED, CYCLES, CYCLE_S = 7, 500, 32.0
PROCESS = MoldingCycle(projected_mm2=42_000.0)
TOLERANCE: Mapping[str, float] = {
    "reported_cushion": 1e-6, "reported_fill_time": 1e-6, "reported_dosing_time": 1e-6, "reported_inj_peak": 1e-6,
    "reported_cav_peak1": 1e-6, "reported_cav_peak2": 1e-6, "mold_open": 1e-6, "fill_time": 0.005, "dosing_time": 0.02,
    "switch_position": 0.15, "inj_peak": 1.5, "cushion": 0.05, "cushion_end_of_hold": 0.05, "cushion_fraction": 0.002,
    "cav_p1_integral": 1.0, "cav_p1_peak": 0.3, "cav_p1_peak_time": 0.2, "cav_p2_integral": 1.0, "cav_p2_peak": 0.3,
    "clamp_need": 15.0, "mold_temp_mean": 0.5, "energy": 0.02,
}  # fmt: skip


def faults(until_s: float) -> tuple[Fault, ...]:
    """Failures of the process, and rows of roles that are missing, stuck, spiked or sentinels."""
    part = until_s / 10.0
    return (
        Fault("check_ring_leak", "cushion", part, 2 * part, 1.5),
        Fault("short_shot", "cav_peak2", 2 * part, 3 * part, 0.95),
        Fault("flash", "mold_open", 3 * part, 4 * part, 0.08),
        Fault("viscosity_shift", "inj_peak", 4 * part, 5 * part, 0.15),
        Fault("heater_loss", "barrel2", 5 * part, 6 * part, 25.0),
        Fault("cooling_blocked", "mold_temp", 6 * part, 7 * part, 18.0),
        Fault("spike", "state", part, 3 * part, 0.3),
        *(Fault("gap", "state", k * part + 100.0, k * part + 120.0, 1.0) for k in range(3, 9)),
        *(Fault("gap", "", k * part + 300.0, k * part + 304.0, 1.0) for k in range(3, 9)),
        Fault("stuck", "state", 7 * part + 400.0, 7 * part + 406.0, 1.0),
        Fault("sentinel", "state", 8 * part + 400.0, 8 * part + 420.0, 32767.0),
    )


@functools.cache
def scenario(cycles: int = CYCLES) -> Simulated:
    """So many cycles with all faults, with their bursts."""
    until_s = cycles * CYCLE_S
    return simulated("molding", until_s, seed=SEED, faults=faults(until_s), bursts=True)


def truth_of(cycle: Cycle, machine: InjectionMachine) -> dict[str, float]:
    """What the features of a cycle should be: its registers and its curve without noise."""
    real = dict(cycle.features)
    phases = {phase.name: phase for phase in cycle.phases}
    since_s = np.arange(0.0, phases["COOL"].end_s - phases["FILL"].start_s, PERIOD_S)
    clean = curve(since_s, cycle.phases, cycle.features)
    areas = np.sum((clean[1:] + clean[:-1]) / 2, axis=0) * PERIOD_S
    begin, end = machine.sample(cycle.start_s), machine.sample(cycle.end_s - 1e-6)
    stroke = START_MM - real["cushion"]
    reported = {f"reported_{name}": value for name, value in real.items()}
    return reported | {
        "mold_open": real["mold_open"],
        "fill_time": real["fill_time"],
        "dosing_time": real["dosing_time"],
        "switch_position": SWITCH_MM,
        "inj_peak": real["inj_peak"],
        "cushion": real["cushion"],
        "cushion_end_of_hold": real["cushion"],
        "cushion_fraction": real["cushion"] / stroke,
        "cav_p1_integral": float(areas[2]),
        "cav_p2_integral": float(areas[3]),
        "cav_p1_peak": real["cav_peak1"],
        "cav_p2_peak": real["cav_peak2"],
        "cav_p1_peak_time": real["fill_time"] + 0.4,
        "clamp_need": (real["cav_peak1"] + real["cav_peak2"]) / 2 * 42.0,
        "mold_temp_mean": (begin["mold_temp"] + end["mold_temp"]) / 2,
        "energy": end["energy"] - begin["energy"],
    }


def found(made: Simulated, process: MoldingCycle = PROCESS) -> list[tuple[Segment, Cycle]]:
    """Closed cycles with what they really were."""
    return paired([one for one in process.cycles(made.window) if one.end_ns is not None], made.truth, 15.0)


def errors(made: Simulated, cycles: int, pairs: list[tuple[Segment, Cycle]]) -> dict[str, list[float]]:
    """Feature errors of the cycles with all their rows."""
    timeline = faults(cycles * CYCLE_S)
    machine = InjectionMachine(SEED, Faults(timeline, SEED))
    holes = [fault for fault in timeline if fault.type in {"gap", "stuck", "sentinel"}]
    edges = [fault for fault in timeline if fault.type == "cooling_blocked"]
    whole = []
    for one, cycle in pairs:
        if any(hole.start_s < cycle.end_s + 6.0 and hole.end_s > cycle.start_s - 3.0 for hole in holes):
            continue
        real = truth_of(cycle, machine)
        if any(abs(edge.start_s - cycle.start_s) < 400.0 or abs(edge.end_s - cycle.end_s) < 60.0 for edge in edges):
            del real["mold_temp_mean"]  # it moves within the cycle
        whole.append((one, real))
    return feature_errors(PROCESS, made.window, whole)


def rows(cycles: int = CYCLES) -> list[Line]:
    """Boundary errors (median, p95, samples) and feature errors (median, largest, unit of the feature)."""
    made = scenario(cycles)
    pairs = found(made)
    lines = [
        Line(
            "molding_cycle",
            "cycles found / produced / invented",
            len(pairs),
            len(made.truth),
            invented(PROCESS, made, pairs),
            0.0,
        )
    ]
    lines += [Line("molding_cycle", f"begin of {b.phase}", b.n, b.median, b.p95, 1.0) for b in boundaries(pairs, 1.0)]
    for feature, values in errors(made, cycles, pairs).items():
        if feature in TOLERANCE:
            middle = float(np.median(values))
            lines.append(Line("molding_cycle", feature, len(values), middle, max(values), TOLERANCE[feature]))
    return lines


if __name__ == "__main__":
    show(rows())
