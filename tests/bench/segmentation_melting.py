"""How well melt batches are told, by the rules and by the state number.

`python -m tests.bench.segmentation_melting` prints the tables.
"""

import functools
from collections.abc import Mapping

import numpy as np

from analytics.process import Flag, Segment
from analytics.processes.melting import MeltBatch
from simulators.faults import Fault, Faults
from simulators.melting import HOLD_KW, MeltingFurnace
from simulators.signals import Cycle
from tests.bench.segmentation_casting import Line, show
from tests.support.segmentation import boundaries, feature_errors, invented, paired
from tests.support.simulated import Simulated, simulated

SEED, BATCHES, BATCH_S, EVERY_S = 7, 500, 12_200.0, 10.0
RULES, BY_STATE = MeltBatch(), MeltBatch(marker="state")
TOLERANCE: Mapping[str, float] = {
    "charged": 1.0, "tapped": 1.5, "heel_start": 2.0, "heel_end": 2.0, "melt_loss": 0.003, "energy": 3.0,
    "specific_energy": 3.0, "holding_loss": 1.0, "melting_power": 4.0, "bath_temp_max": 1.5, "bath_temp_at_tap": 1.5,
    "treatment_to_pour": 0.35, "time_melt": 30.0, "time_hold": 25.0,
}  # fmt: skip


def faults(until_s: float) -> tuple[Fault, ...]:
    """Failures of the process, and rows of roles that are missing, stuck, spiked or sentinels."""
    part = until_s / 10.0
    return (
        Fault("dross", "tap_total", part, 2 * part, 0.04),
        Fault("lining_wear", "lining_leak", 2 * part, 4 * part, 0.05),
        Fault("late_tap", "state", 4 * part, 5 * part, 900.0),
        Fault("overheating", "bath_temp", 5 * part, 6 * part, 30.0),
        Fault("spike", "power", 6 * part, 7 * part, 0.3),
        Fault("spike", "bath_temp", 6 * part, 7 * part, 0.3),
        Fault("spike", "charge_total", 7 * part, 8 * part, 0.3),
        Fault("spike", "state", 6 * part, 8 * part, 0.3),
        Fault("sentinel", "bath_temp", 8 * part, 8 * part + 300.0, 32767.0),
        *(Fault("gap", "", k * part + 3000.0, k * part + 3120.0, 1.0) for k in (3, 5, 8)),
        Fault("gap", "power", 9 * part + 3000.0, 9 * part + 3100.0, 1.0),
        Fault("stuck", "power", 9 * part + 30_000.0, 9 * part + 30_060.0, 1.0),
    )


@functools.cache
def scenario(batches: int) -> Simulated:
    """So many batches with all faults."""
    until_s = batches * BATCH_S
    return simulated("melting", until_s, every_s=EVERY_S, seed=SEED, faults=faults(until_s))


def truth_of(cycle: Cycle, machine: MeltingFurnace) -> dict[str, float]:
    """What the features of a batch should be."""
    phases = {phase.name: phase for phase in cycle.phases}
    real = dict(cycle.features)
    begin, end = machine.sample(cycle.start_s), machine.sample(cycle.end_s - 1e-6)
    energy = end["energy"] - begin["energy"]
    wear = machine.sample((phases["MELT"].start_s + phases["MELT"].end_s) / 2)["power"]
    hold = sum(phase.end_s - phase.start_s for phase in cycle.phases if phase.name == "HOLD")
    return real | {
        "energy": energy,
        "specific_energy": energy / (real["tapped"] / 1e3),
        "holding_loss": HOLD_KW / (real["heel_end"] / 1e3),
        "melting_power": wear,
        "bath_temp_max": machine.sample(phases["SUPERHEAT"].end_s)["bath_temp"],
        "bath_temp_at_tap": machine.sample(phases["TAP"].start_s)["bath_temp"],
        "treatment_to_pour": (phases["TAP"].end_s - phases["TREAT"].end_s) / 60.0,
        "time_melt": phases["MELT"].end_s - phases["MELT"].start_s,
        "time_hold": hold,
    }


def found(made: Simulated, process: MeltBatch) -> list[tuple[Segment, Cycle]]:
    """Closed batches with what they really were."""
    return paired([one for one in process.cycles(made.window) if one.end_ns is not None], made.truth, 400.0)


def errors(made: Simulated, process: MeltBatch, batches: int) -> dict[str, list[float]]:
    """Feature errors of the batches with all their rows."""
    timeline = faults(batches * BATCH_S)
    machine = MeltingFurnace(SEED, Faults(timeline, SEED))
    holes = [fault for fault in timeline if fault.type in {"gap", "stuck", "sentinel", "spike"}]
    holes = [hole for hole in holes if hole.tag != "state"]
    whole = [
        (one, truth_of(cycle, machine))
        for one, cycle in found(made, process)
        if Flag.GAP not in one.flags
        and not any(hole.start_s < cycle.end_s + 60.0 and hole.end_s > cycle.start_s - 60.0 for hole in holes)
    ]
    return feature_errors(process, made.window, whole)


def rows(batches: int = BATCHES) -> list[Line]:
    """Boundary errors (median, p95, samples) and feature errors (median, largest, unit of the feature)."""
    made = scenario(batches)
    lines = []
    for process in (RULES, BY_STATE):
        name = f"melt {process.marker}"
        pairs = found(made, process)
        lines.append(
            Line(
                name,
                "cycles found / produced / invented",
                len(pairs),
                len(made.truth),
                invented(process, made, pairs),
                0.0,
            )
        )
        lines += [Line(name, f"begin of {b.phase}", b.n, b.median, b.p95, 1.0) for b in boundaries(pairs, EVERY_S)]
        for feature, values in errors(made, process, batches).items():
            if feature in TOLERANCE:
                middle = float(np.median(values))
                lines.append(Line(name, feature, len(values), middle, max(values), TOLERANCE[feature]))
    return lines


if __name__ == "__main__":
    show(rows())
