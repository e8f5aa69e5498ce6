"""How well carriers and cures are found and measured: `python -m tests.bench.segmentation_surface_treatment`."""

from dataclasses import replace
from functools import cache
from typing import Final

from analytics.process import Process
from analytics.processes.oven_cure import OvenCure
from analytics.processes.surface_treatment import AnodiseRack, EcoatRack, PlatingRack
from simulators import coating
from simulators.faults import Fault
from simulators.run import Model
from simulators.signals import Cycle
from tests.support.scored import HEADER, Row, Score, Wanted, report, score
from tests.support.simulated import Simulated, simulated

TAKT_S: Final = 900.0
RACK: Final[Wanted] = {
    "charge": ("charge", 0.5),
    "thickness": ("thickness", 0.1),
    "current_mean": ("mean_amp", 4.0),
    "volt_mean": ("volt", 0.05),
    "plating_time": ("plate_s", 8.0),
    "rinse_rise": ("dip", 6.0),
}
_LYING: Final = {"gap", "spike", "sentinel", "stuck", "bad_contact", "wrong_area", "rinse_off", "phase_loss"}
ANODISING: Final[Wanted] = {
    "charge": ("charge", 1.0), "thickness": ("thickness", 0.1), "plating_time": ("plating_s", 8.0),
}  # fmt: skip
ECOATING: Final[Wanted] = {
    "charge": ("charge", 0.1), "thickness": ("thickness", 1.0), "charge_per_area": ("charge_per_area", 80.0),
}  # fmt: skip
CURING: Final[Wanted] = {"cure_time": ("cure_s", 40.0), "part_temp_max": ("peak", 1.0)}
COATED: Final[dict[str, tuple[Model, Process, float, float, Wanted]]] = {
    "anodise_rack": (
        Model("opcua", coating.anodise, coating.SIGNALS, coating.FAILURES, 0),
        AnodiseRack(area_dm2=200.0), 3600.0, 2.0, ANODISING,
    ),
    "ecoat_rack": (
        Model("opcua", coating.ecoat, coating.SIGNALS, coating.FAILURES, 0),
        EcoatRack(area_dm2=400.0), 1000.0, 1.0, ECOATING,
    ),
    "oven_cure": (
        Model("opcua", coating.CureOven, coating.OVEN_SIGNALS, coating.OVEN_FAILURES, 0),
        OvenCure(), 3300.0, 5.0, CURING,
    ),
}  # fmt: skip


def faults(carriers: int) -> tuple[Fault, ...]:
    """A fault every tenth carrier, each kind in turn; networks fail for 80 s."""
    kinds = (
        ("bad_contact", "rect1_volt", 0.2), ("gap", "hoist_tank", 1.0), ("wrong_area", "rect2_amp", 0.5),
        ("spike", "hoist_tank", 0.4), ("phase_loss", "rect1_ripple", 15.0), ("gap", "", 1.0),
        ("rinse_off", "rinse_flow", 1.0), ("sentinel", "rect1_volt", 32767.0), ("stuck", "rect2_amp", 1.0),
        ("spike", "carrier_id", 0.3), ("heater_loss", "bath_temp", 6.0), ("spike", "rect1_amp", 0.2),
    )  # fmt: skip
    found = []
    for place in range(carriers // 10):
        kind, tag, size = kinds[place % len(kinds)]
        start_s = 10 * TAKT_S * place + 2000.0 + 137.0 * place % 700.0
        lasts_s = 80.0 if kind in {"gap", "sentinel", "stuck"} else 1500.0
        found.append(Fault(kind, tag, start_s, start_s + lasts_s, size))
    return tuple(found)


def by_hoist(cycle: Cycle) -> Cycle:
    """A carrier as the hoist sees it: from its lift out of LOAD to its arrival in UNLOAD."""
    inner = tuple(phase for phase in cycle.phases if phase.name not in {"LOAD", "UNLOAD"})
    ends = [phase.start_s for phase in cycle.phases if phase.name == "UNLOAD"]
    return replace(cycle, start_s=cycle.phases[0].end_s, end_s=(ends or [cycle.end_s])[0], phases=inner)


@cache
def line(count: int, every_s: float) -> tuple[Simulated, tuple[Fault, ...]]:
    """The plating line over so many carriers; those already on it at second 0 do not count."""
    entries = faults(count)
    made = simulated("surface_treatment", count * TAKT_S, every_s=every_s, faults=entries)
    seen = (by_hoist(cycle) for cycle in made.truth)
    return Simulated(made.window, tuple(cycle for cycle in seen if cycle.start_s > 2 * every_s)), entries


def plating_rack(process: PlatingRack, count: int, every_s: float) -> Score:
    """Carriers of the plating line."""
    made, entries = line(count, every_s)

    def clean(cycle: Cycle) -> bool:
        return not any(f.type in _LYING and f.start_s < cycle.end_s and f.end_s > cycle.start_s - 900 for f in entries)

    return score(process, made, every_s, RACK, lane=lambda cycle: str(cycle.number), measured=clean)


@cache
def coated(kind: str, count: int) -> Simulated:
    """An anodising or electrocoating line, or an oven."""
    model, _, takt_s, every_s, _ = COATED[kind]
    made = simulated(model, count * takt_s, every_s=every_s)
    if kind == "oven_cure":
        return made
    return Simulated(made.window, tuple(by_hoist(cycle) for cycle in made.truth))


def coating_score(kind: str, count: int) -> Score:
    """Cycles of one of them."""
    _, process, _, every_s, wanted = COATED[kind]
    lane = (lambda _: "") if kind == "oven_cure" else (lambda cycle: str(cycle.number))
    return score(process, coated(kind, count), every_s, wanted, lane=lane)


def rows(count: int = 500) -> list[Row]:
    """All lines of the report; racks of the other lines and cures, most of an hour each, are a fifth as many."""
    found = report("plating_rack", plating_rack(PlatingRack(rectifiers=2, area_dm2=120.0), count, 2.0), RACK)
    for kind, (*_, wanted) in COATED.items():
        found += report(kind, coating_score(kind, count // 5), wanted)
    return found


if __name__ == "__main__":
    print(HEADER)
    for row in rows():
        print(row)
