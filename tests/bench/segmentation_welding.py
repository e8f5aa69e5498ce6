"""How well seams and spots are found and measured: `python -m tests.bench.segmentation_welding`."""

from functools import cache
from typing import Final

from analytics.processes.spot_welding import SpotWeld
from analytics.processes.welding import ArcSeam
from simulators import spot_welding
from simulators.faults import Fault
from simulators.run import Model
from simulators.signals import Cycle
from tests.support.scored import HEADER, Row, Score, Wanted, report, score
from tests.support.simulated import Simulated, simulated

SEAM_S: Final = 25.0
SEAM: Final[Wanted] = {
    "voltage_mean": ("u_mean", 0.02),
    "current_mean": ("i_mean", 0.5),
    "wire_feed_mean": ("wfs_mean", 0.01),
    "gas_flow_mean": ("gas_mean", 0.02),
    "travel_mean": ("travel_mean", 0.01),
    "arc_energy": ("arc_energy", 0.005),
    "arc_time": ("arc_s", 0.1),
    "interpass": ("interpass_start", 0.5),
    "arc_power": ("power", 1.0),
    "arc_energy_instant": ("arc_energy_power", 0.002),
    "short_circuit_rate": ("short_rate", 1.0),
    "wire_used": ("wire_kg", 0.003),
}
_NETWORK: Final = {"gap", "spike", "sentinel", "stuck"}


def faults(seams: int) -> tuple[Fault, ...]:
    """A fault every fifth seam, each kind in turn."""
    kinds = (
        ("gas_loss", "gas", 0.5), ("wire_slip", "i", 0.1), ("gap", "u", 1.0), ("burn_through", "u", 0.6),
        ("wrong_job", "job", 1.0), ("arc_dropout", "i", 1.0), ("stuck", "gas", 1.0), ("ctwd", "i", 0.1),
        ("spike", "u", 0.2), ("tip_wear", "i", 0.06), ("gap", "i", 1.0), ("sentinel", "travel", 0.0),
    )  # fmt: skip
    found = []
    for place in range(seams // 5):
        kind, tag, size = kinds[place % len(kinds)]
        start_s = 5 * SEAM_S * place + 50.0
        lasts_s = 5.0 if kind in _NETWORK else 30.0
        found.append(Fault(kind, tag, start_s, start_s + lasts_s, size))
    return tuple(found)


@cache
def seams(count: int) -> tuple[Simulated, tuple[Fault, ...]]:
    """A cell over so many seams, read every 100 ms."""
    entries = faults(count)
    return simulated("welding", count * SEAM_S, every_s=0.1, faults=entries, bursts=True), entries


def arc_seam(process: ArcSeam, count: int) -> Score:
    """Seams by current or by state number."""
    made, entries = seams(count)

    def clean(cycle: Cycle) -> bool:
        return not any(
            f.type in _NETWORK and f.start_s < cycle.end_s and f.end_s > cycle.start_s - 1.0 for f in entries
        )

    return score(process, made, 0.1, SEAM, measured=clean)


GUN: Final = Model("opcua", spot_welding.SpotGun, spot_welding.SIGNALS, spot_welding.FAILURES, 0)
SPOT: Final[Wanted] = {
    "current_rms": ("current_rms", 20.0),
    "weld_energy": ("energy", 15.0),
    "resistance_start": ("r_start", 5.0),
    "resistance_beta": ("r_beta", 2.0),
    "beta_time": ("beta_s", 0.012),
    "resistance_end": ("r_end", 3.0),
    "force_mean": ("force", 0.08),
    "expelled": ("expelled", 0.0),
    "weld_time": ("weld_s", 0.001),
    "tip_welds": ("tip_welds", 0.0),
}


@cache
def spots(count: int) -> Simulated:
    """A gun over so many welds, each failure of it for a minute every five."""
    entries = [
        Fault(failure.name, "weld.count", 300.0 * place + 200.0, 300.0 * place + 260.0, failure.magnitude)
        for place, failure in enumerate(spot_welding.FAILURES * (count // 300 + 1))
    ]
    return simulated(GUN, 4.0 * count + 10.0, every_s=1.0, faults=entries, bursts=True)


def spot_weld(process: SpotWeld, count: int) -> Score:
    """Welds by their curves, read every second, sampled every millisecond."""
    return score(process, spots(count), spot_welding.PERIOD_S, SPOT)


def rows(count: int = 500) -> list[Row]:
    """All lines of the report."""
    found = [
        line
        for by in ("current", "state")
        for line in report(f"arc_seam by {by}", arc_seam(ArcSeam.model_validate({"segment_by": by}), count), SEAM)
    ]
    return found + report("spot_weld", spot_weld(SpotWeld(), count), SPOT)


if __name__ == "__main__":
    print(HEADER)
    for row in rows():
        print(row)
