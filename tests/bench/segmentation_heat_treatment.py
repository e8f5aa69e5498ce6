"""How well furnace loads are found and measured: `python -m tests.bench.segmentation_heat_treatment`."""

from collections.abc import Sequence
from functools import cache
from typing import Final

from analytics.processes.batch_furnace import BatchFurnace, PitLoad, TemperLoad, VacuumLoad
from analytics.processes.heat_treatment import SealedQuench
from analytics.processes.mesh_belt import ContinuousBatch
from simulators import batch_furnace, mesh_belt
from simulators.faults import Fault
from simulators.run import Model
from simulators.signals import Cycle
from tests.support.scored import HEADER, Row, Score, Wanted, report, score
from tests.support.simulated import Simulated, simulated

LOAD_S: Final = 15_000.0
QUENCH: Final[Wanted] = {
    "soak_in_band": ("soak_in_band_s", 30.0),
    "boost_in_band": ("boost_in_band_s", 30.0),
    "diffuse_in_band": ("diffuse_in_band_s", 30.0),
    "time_to_temperature": ("time_to_temperature_s", 120.0),
    "ramp_rate": ("ramp_rate", 0.15),
    "zone_spread": ("zone_spread", 0.15),
    "boost_carbon_mean": ("boost_carbon", 0.04),
    "diffuse_carbon_mean": ("diffuse_carbon", 0.02),
    "case_depth": ("case_depth", 0.01),
    "quench_delay": ("transfer_delay_s", 10.0),
    "cooling_time": ("cooling_time_s", 5.0),
    "oil_rise": ("oil_rise", 0.6),
    "energy": ("energy", 1.0),
}
_SENSORS: Final = {"tc_drift", "probe_drift", "air_leak", "gap", "stuck", "spike", "sentinel", "agitator_fail"}


def faults(loads: int) -> tuple[Fault, ...]:
    """One fault every third load, each kind of the menu in turn, and noise of the network on the roles."""
    kinds = (
        ("tc_drift", "zone1.pv", 8.0), ("element_loss", "zone2.out", 0.33), ("late_transfer", "elevator_down", 15.0),
        ("gap", "program.state", 1.0), ("overload", "load_tc.1", 0.25), ("probe_drift", "probe.mv", 10.0),
        ("spike", "program.state", 0.3), ("air_leak", "probe.mv", 40.0), ("sentinel", "zone2.pv", 32767.0),
        ("agitator_fail", "agit.amp", 0.4), ("gap", "zone1.pv", 1.0), ("stuck", "zone3.pv", 1.0),
        ("ssr_stuck", "zone1.pv", 0.6), ("sentinel", "program.state", 32767.0), ("spike", "load_tc.1", 0.2),
    )  # fmt: skip
    short = {"gap": 100.0, "sentinel": 100.0, "stuck": 600.0}
    found = []
    for place in range(loads // 3):
        kind, tag, size = kinds[place % len(kinds)]
        start_s = (3 * place + 2) * LOAD_S - 6000.0 + 977.0 * place % 4000.0
        found.append(Fault(kind, tag, start_s, start_s + short.get(kind, LOAD_S), size))
    return tuple(found)


def untouched(entries: Sequence[Fault], cycle: Cycle) -> bool:
    """Whether no sensor lied during a cycle."""
    return not any(f.type in _SENSORS and f.start_s < cycle.end_s and f.end_s > cycle.start_s for f in entries)


@cache
def loads(count: int, every_s: float) -> tuple[Simulated, tuple[Fault, ...]]:
    """A furnace over so many loads."""
    entries = faults(count)
    return simulated("heat_treatment", count * LOAD_S, every_s=every_s, faults=entries), entries


def sealed_quench(process: SealedQuench, count: int, every_s: float) -> Score:
    """Cycles of a sealed quench by its state number or by rules."""
    made, entries = loads(count, every_s)
    return score(process, made, every_s, QUENCH, measured=lambda cycle: untouched(entries, cycle))


PIT: Final = Model("opcua", batch_furnace.pit, batch_furnace.SIGNALS, batch_furnace.FAILURES, 0)
TEMPERING: Final = Model("opcua", batch_furnace.tempering, batch_furnace.SIGNALS, batch_furnace.FAILURES, 0)
VACUUM: Final = Model("opcua", batch_furnace.vacuum, batch_furnace.VACUUM_SIGNALS, batch_furnace.VACUUM_FAILURES, 0)
MESH_BELT: Final = Model("opcua", mesh_belt.MeshBelt, mesh_belt.SIGNALS, mesh_belt.FAILURES, 0)
_SOAKED: Final[Wanted] = {
    "soak_in_band": ("soak_s", 30.0),
    "time_to_temperature": ("time_to_temperature_s", 30.0),
    "energy": ("energy", 1.0),
    "soak_temp_mean": ("soak_temp", 0.2),
}
TEMPERED: Final[Wanted] = _SOAKED | {"tempering_parameter": ("tempering", 0.02)}
EVACUATED: Final[Wanted] = _SOAKED | {"leak_up_rate": ("leak_um_h", 1.0)}
BATCH: Final[dict[str, tuple[Model, BatchFurnace, float, Wanted]]] = {
    "pit_load": (PIT, PitLoad(), 16_000.0, _SOAKED),
    "temper_load": (TEMPERING, TemperLoad(), 10_500.0, TEMPERED),
    "vacuum_load": (VACUUM, VacuumLoad(), 14_000.0, EVACUATED),
}
BELT: Final[Wanted] = {
    f"zone{n}_{feature}": (f"{truth}{n}", limit)
    for n in range(1, 6)
    for feature, truth, limit in (("dwell", "dwell", 0.3), ("in_band", "in_band", 30.0), ("temp_mean", "mean", 1.0))
} | {"belt_stopped": ("stopped_s", 20.0)}


def batch_faults(model: Model, count: int, load_s: float) -> tuple[Fault, ...]:
    """One fault every fourth load: of the process, then of the network."""
    kinds = [(f.name, f.tags[0], f.magnitude) for f in model.failures]
    kinds += [("gap", "program.state", 1.0), ("spike", "program.state", 0.3), ("sentinel", "zone1.pv", 32767.0)]
    found = []
    for place in range(count // 4):
        kind, tag, size = kinds[place % len(kinds)]
        start_s = (4 * place + 2) * load_s + 1234.0 * place % 3000.0
        found.append(Fault(kind, tag, start_s, start_s + (100.0 if kind in _SENSORS - {"tc_drift"} else load_s), size))
    return tuple(found)


@cache
def batches(kind: str, count: int, every_s: float) -> tuple[Simulated, tuple[Fault, ...]]:
    """A batch furnace over so many loads."""
    model, _, load_s, _ = BATCH[kind]
    entries = batch_faults(model, count, load_s)
    return simulated(model, count * load_s, every_s=every_s, faults=entries), entries


def batch(kind: str, process: BatchFurnace, count: int, every_s: float) -> Score:
    """Cycles of a batch furnace."""
    made, entries = batches(kind, count, every_s)
    return score(process, made, every_s, BATCH[kind][3], measured=lambda cycle: untouched(entries, cycle))


@cache
def belt(count: int, every_s: float) -> Simulated:
    """A mesh belt over so many trays, with stops, slow spells and a cold zone."""
    entries = []
    for place in range(count // 12):
        start_s = 9123.0 + 12 * 900.0 * place
        kind, tag, size = [
            ("belt_stop", "belt.speed", 1.0),
            ("belt_slow", "belt.speed", 0.3),
            ("zone_cold", "zone3.pv", 30.0),
        ][place % 3]
        entries.append(Fault(kind, tag, start_s, start_s + 700.0, size))
    return simulated(MESH_BELT, count * 900.0, every_s=every_s, faults=entries)


def trays(count: int, every_s: float) -> Score:
    """Trays of the mesh belt."""
    process = ContinuousBatch(zone_lengths_m=(mesh_belt.ZONE_M,) * 5, begin_by="tray")
    return score(process, belt(count, every_s), every_s, BELT, lane=lambda cycle: str(cycle.number % process.lanes))


def rows(count: int = 500, every_s: float = 10.0) -> list[Row]:
    """All lines of the report."""
    found = report("sealed_quench", sealed_quench(SealedQuench(), count, every_s), QUENCH)
    for kind, (_, process, _, wanted) in BATCH.items():
        found += report(kind, batch(kind, process, count, every_s), wanted)
    return found + report("continuous_batch", trays(count, every_s), BELT)


if __name__ == "__main__":
    print(HEADER)
    for row in rows():
        print(row)
