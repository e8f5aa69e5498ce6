"""How well shots are told: boundary errors by phase, feature errors, over simulated shots with faults.

`python -m tests.bench.segmentation_casting` prints the tables.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analytics.process import Segment
from analytics.processes.casting import HpdcShot
from simulators.casting import CastingCell
from simulators.faults import Fault, Faults
from simulators.shot_curve import BORE_MM, FACE_MM, GATE_MM, PLUNGER_MM, ROD_MM
from simulators.signals import Cycle
from tests.support.segmentation import boundaries, feature_errors, invented, paired
from tests.support.simulated import Simulated, simulated

SEED = 7
SHOTS = 500
PROCESS = HpdcShot(
    plunger_mm=PLUNGER_MM, gate_mm2=260.0, gate_mm=GATE_MM, cavity_cm3=550.0, sleeve_mm=FACE_MM, bore_mm=BORE_MM,
    rod_mm=ROD_MM, face_mm=FACE_MM, projected_mm2=90_000.0, clamp_t=850.0, biscuit_mm=25.0,
)  # fmt: skip
TOLERANCE: Mapping[str, float] = {
    "v_slow": 1e-6, "v_fast": 1e-6, "t_fill": 1e-6, "p_int": 1e-6, "t_rise": 1e-6, "biscuit": 1e-6, "t_cycle": 1e-6,
    "spray_volume": 1e-6, "vac_min": 1e-6, "tiebar1": 1e-3, "tiebar2": 1e-3, "tiebar3": 1e-3, "tiebar4": 1e-3,
    "curve_v_slow": 0.005, "curve_v_fast": 0.02, "fill_time": 0.5, "switch_position": 0.5, "rise_time": 1.5,
    "biscuit_thickness": 0.2, "metal_pressure": 0.5, "gate_velocity": 0.4, "fill_time_theoretical": 0.5,
    "fill_time_ratio": 0.02, "metal_mass": 1e-3, "sleeve_filling": 1e-3, "critical_slow_velocity": 1e-3,
    "opening_force": 50.0, "clamp_utilisation": 0.006, "dosing_deviation": 3.0, "die_temp_fix1_at_pour": 2.0,
    "die_temp_mov1_at_pour": 2.0, "metal_temp_at_pour": 3.0, "cool_flow1_mean": 0.1, "energy": 0.02,
}  # fmt: skip
"""By feature, in its unit; the page states the same."""


def faults(until_s: float) -> tuple[Fault, ...]:
    """Failures of the process, and rows of roles that are missing, stuck, spiked or sentinels."""
    part = until_s / 10.0
    return (
        Fault("plunger_wear", "v_fast", part, 2 * part, 0.1),
        Fault("dosing", "biscuit", 2 * part, 3 * part, -10.0),
        Fault("accumulator_loss", "p_int", 3 * part, 4 * part, 0.01),
        Fault("flash", "tiebar1", 4 * part, 5 * part, 0.05),
        Fault("blocked_cooling", "cool_flow1", 5 * part, 6 * part, 25.0),
        Fault("spike", "state", part, 3 * part, 0.3),
        *(Fault("gap", "state", k * part + 100.0, k * part + 150.0, 1.0) for k in range(3, 9)),
        *(Fault("gap", "", k * part + 400.0, k * part + 404.0, 1.0) for k in range(3, 9)),
        Fault("stuck", "state", 6 * part + 600.0, 6 * part + 612.0, 1.0),
        Fault("sentinel", "state", 7 * part + 600.0, 7 * part + 630.0, 32767.0),
    )


@functools.cache
def scenario(shots: int = SHOTS) -> Simulated:
    """So many shots with all faults, with their bursts."""
    return simulated("casting", shots * 62.0, seed=SEED, faults=faults(shots * 62.0), bursts=True)


def truth_of(cycle: Cycle, machine: CastingCell) -> dict[str, float]:
    """What the features of a shot should be: its registers, and what follows from them by the formulas."""
    real = dict(cycle.features)
    area = np.pi / 4 * PLUNGER_MM**2
    begin, end = machine.sample(cycle.start_s), machine.sample(cycle.end_s + 1e-6)
    poured = machine.sample(next(phase.start_s for phase in cycle.phases if phase.name == "POUR"))
    fill_ms = 550e3 / (area * real["v_fast"])
    mass_kg = end["metal_total"] - begin["metal_total"]
    filling = mass_kg / 2.5e-6 / (area * FACE_MM)
    if abs(begin["cool_flow1"] - end["cool_flow1"]) < 1.0:  # not while the failure begins
        real["cool_flow1_mean"] = 6.0 if begin["cool_flow1"] < 9.0 else 12.0
    return real | {
        "curve_v_slow": real["v_slow"],
        "curve_v_fast": real["v_fast"],
        "fill_time": real["t_fill"],
        "switch_position": GATE_MM,
        "rise_time": real["t_rise"],
        "biscuit_thickness": real["biscuit"],
        "metal_pressure": real["p_int"],
        "gate_velocity": real["v_fast"] * area / 260.0,
        "fill_time_theoretical": fill_ms,
        "fill_time_ratio": real["t_fill"] / fill_ms,
        "metal_mass": mass_kg,
        "sleeve_filling": filling,
        "critical_slow_velocity": 0.579 * (1 - filling) * float(np.sqrt(PLUNGER_MM / 25.4)),
        "opening_force": real["p_int"] * 90.0,
        "clamp_utilisation": real["p_int"] * 90.0 / (850.0 * 9.80665),
        "dosing_deviation": 2.5e-3 * area * (real["biscuit"] - 25.0),
        "die_temp_fix1_at_pour": poured["die_temp_fix1"],
        "die_temp_mov1_at_pour": poured["die_temp_mov1"],
        "metal_temp_at_pour": poured["metal_temp"],
        "energy": end["energy"] - begin["energy"],
    }


def found(made: Simulated, process: HpdcShot = PROCESS) -> list[tuple[Segment, Cycle]]:
    """Closed shots with what they really were."""
    closed = [one for one in process.cycles(made.window) if one.end_ns is not None]
    return paired(closed, made.truth, 31.0)


def errors(made: Simulated, shots: int = SHOTS, pairs: Sequence[tuple[Segment, Cycle]] = ()) -> dict[str, list[float]]:
    """Feature errors of the shots with all their rows."""
    timeline = faults(shots * 62.0)
    machine = CastingCell(SEED, Faults(timeline, SEED))
    holes = [fault for fault in timeline if fault.type in {"gap", "stuck", "sentinel"}]
    whole = [
        (one, truth_of(cycle, machine))
        for one, cycle in pairs or found(made)
        if not any(hole.start_s < cycle.end_s + 6.0 and hole.end_s > cycle.start_s - 3.0 for hole in holes)
    ]
    return feature_errors(PROCESS, made.window, whole)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the report; a tolerance of 1 sample is the acceptance of a boundary."""

    process: str
    what: str
    n: int
    median: float
    worst: float
    tolerance: float


def rows(shots: int = SHOTS) -> list[Line]:
    """Boundary errors (median, p95, samples) and feature errors (median, largest, unit of the feature)."""
    made = scenario(shots)
    pairs = found(made)
    lines = [
        Line(
            "hpdc_shot",
            "cycles found / produced / invented",
            len(pairs),
            len(made.truth),
            invented(PROCESS, made, pairs),
            0.0,
        )
    ]
    lines += [Line("hpdc_shot", f"begin of {b.phase}", b.n, b.median, b.p95, 1.0) for b in boundaries(pairs, 1.0)]
    for name, values in errors(made, shots, pairs).items():
        if name in TOLERANCE:
            lines.append(Line("hpdc_shot", name, len(values), float(np.median(values)), max(values), TOLERANCE[name]))
    return lines


def show(lines: Sequence[Line]) -> None:
    """Print as a table."""
    for line in lines:
        print(
            f"{line.process:14} {line.what:36} {line.n:6d} {line.median:12.5g} {line.worst:12.5g} {line.tolerance:8g}"
        )


if __name__ == "__main__":
    show(rows())
