"""A mesh-belt furnace with five zones, behind OPC UA: trays go in at a steady pace and ride the belt through.

- Numbers from domain.md 6.9: zones 840-870 Cel +- 1.0, belt 120 +- 0.5 mm/min, a zone pulls its neighbours by 5-10 %.
- A tray's way is the integral of the belt's speed; the noise of the reading moves nothing.
"""

import math
from collections.abc import Iterator

import numpy as np

from simulators.faults import Faults
from simulators.physics import Noise
from simulators.signals import Cycle, Failure, Kind, Phase, Signal

NAMESPACE = "urn:rootdx:sim:mesh_belt"
ZONES_C = (840.0, 850.0, 860.0, 870.0, 870.0)
ZONE_M = 1.2
_BELT_MM_MIN = 120.0
_TRAY_S = 900.0
_COUPLING = 0.08


def _signal(name: str, unit: str, low: float, high: float, digits: int = 1, kind: Kind = "double") -> Signal:
    return Signal(name, name, unit, low, high, f"nsu={NAMESPACE};s={name}", digits=digits, kind=kind)


SIGNALS = (
    *(_signal(f"zone{n}.pv", "Cel", 0.0, 1200.0) for n in range(1, 6)),
    *(_signal(f"zone{n}.sp", "Cel", 0.0, 1200.0) for n in range(1, 6)),
    _signal("belt.speed", "mm/min", 0.0, 500.0),
    _signal("push.count", "1", 0.0, 4294967295.0, 0, "uint32"),
)
FAILURES = (
    Failure("belt_stop", ("belt.speed",), 1.0, "the belt stands"),
    Failure("belt_slow", ("belt.speed",), 0.3, "the belt loses this share of its speed"),
    Failure("zone_cold", tuple(f"zone{n}.pv" for n in range(1, 6)), 30.0, "a zone is colder by Cel"),
)


class MeshBelt:
    """The furnace; `sample` and `cycles` as in `signals.Machine`."""

    def __init__(self, seed: int, faults: Faults) -> None:
        self._faults = faults
        self._noise = Noise(seed)

    def speed(self, t_s: float) -> float:
        """Belt speed, mm/min."""
        if self._faults.at("belt_stop", t_s):
            return 0.0
        return _BELT_MM_MIN * (1.0 - self._faults.size("belt_slow", t_s))

    def sample(self, t_s: float) -> dict[str, float]:
        """Every signal at a simulated time."""
        speed = self.speed(t_s)
        values = {
            "belt.speed": max(0.0, speed + (self._noise.normal("belt.speed", t_s, 0.5, 1.0) if speed else 0.0)),
            "push.count": float(math.floor(t_s / _TRAY_S)),
        }
        for n in range(1, 6):
            values[f"zone{n}.sp"] = ZONES_C[n - 1]
            values[f"zone{n}.pv"] = self.zone(n, t_s) + self._noise.normal(f"zone{n}.pv", t_s, 1.0, 1.0)
        return values

    def zone(self, n: int, t_s: float) -> float:
        """True temperature of a zone, Cel."""
        cold = self._faults.at("zone_cold", t_s)
        if cold is None:
            return ZONES_C[n - 1]
        away = abs(n - int(cold.tag[4]))
        return ZONES_C[n - 1] - cold.magnitude * (1.0 if away == 0 else _COUPLING if away == 1 else 0.0)

    def cycles(self, after_s: float, until_s: float) -> Iterator[Cycle]:
        """Trays that leave in the span; features in min, s and Cel."""
        number = max(1, math.floor((after_s - 4.0 * 3600.0) / _TRAY_S))
        while number * _TRAY_S < until_s:
            cycle = self._tray(number)
            if after_s < cycle.end_s <= until_s:
                yield cycle
            number += 1

    def _tray(self, number: int) -> Cycle:
        start_s, far_mm, t_s = number * _TRAY_S, 0.0, number * _TRAY_S
        bounds, phases, features = start_s, [], {"stopped_s": 0.0}
        for n in range(1, 6):
            temps = []
            while far_mm < n * ZONE_M * 1000.0 - 1e-9:
                step = self.speed(t_s + 0.5) / 60.0
                part = min(1.0, (n * ZONE_M * 1000.0 - far_mm) / step) if step else 1.0
                far_mm, t_s = far_mm + step * part, t_s + part
                features["stopped_s"] += 0.0 if step else part
                temps.append(self.zone(n, t_s))
            phases.append(Phase(f"ZONE_{n}", bounds, t_s))
            features[f"dwell{n}"] = (t_s - bounds) / 60.0
            features[f"in_band{n}"] = float(np.mean(np.abs(np.array(temps) - ZONES_C[n - 1]) <= 10.0)) * (t_s - bounds)
            features[f"mean{n}"] = float(np.mean(temps))
            bounds = t_s
        return Cycle(number, start_s, t_s, tuple(phases), features)
