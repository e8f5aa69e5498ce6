"""A GMAW robot cell, behind MQTT: bundles of 100 ms means while welding, one a second when idle.

- Numbers from domain.md 6.9: U 24.5 +- 0.35 V, I 230 +- 9 A (100 ms means), wire 8.5 +- 0.05 m/min, gas
  18 +- 0.3 L/min, 6.5 mm/s, arc start overshoot for 0.2 s.
- A cycle is a seam, from its PREFLOW to the next; three seams make a part. Phases lie on the 100 ms grid.
- `bundle` is the mean over the 100 ms before a time; it exists for every grid point, sent or not.
- One second of WELD is recorded fast as well (`arc_burst`), two seconds after it begins.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from simulators.arc_burst import LENGTH_S, arc_burst, short_rate
from simulators.faults import Faults
from simulators.physics import Noise, Timeline
from simulators.signals import Burst, Cycle, Failure, Phase, Signal, lay_out, phase_at

BUNDLE_S = 0.1
STATES = ("IDLE", "PREFLOW", "ARC_START", "WELD", "CRATER", "POSTFLOW")
ARC_TOPIC = "device/weld1/arc"
CELL_TOPIC = "device/weld1/cell"
_BURST_AFTER_S = 2.0
_SEAM_MM = (62.0, 81.0, 100.0)
_SEAMS_A_PART = len(_SEAM_MM)
_MOVE_S, _RELOAD_S = 4.0, 21.0
_GAS_PHASES = ("PREFLOW", "ARC_START", "WELD", "CRATER", "POSTFLOW")
_ARC_PHASES = ("ARC_START", "WELD", "CRATER")

SIGNALS = (
    Signal("u", "arc.u", "V", 0.0, 60.0, f"{ARC_TOPIC} u", digits=2),
    Signal("i", "arc.i", "A", 0.0, 600.0, f"{ARC_TOPIC} i", digits=1),
    Signal("wfs", "wfs", "m/min", 0.0, 25.0, f"{ARC_TOPIC} wfs", digits=2),
    Signal("gas", "gas.flow", "L/min", 0.0, 30.0, f"{ARC_TOPIC} gas", digits=2),
    Signal("travel", "travel", "mm/s", 0.0, 50.0, f"{ARC_TOPIC} travel", digits=2),
    Signal("arc_on", "arc_on", "1", 0.0, 1.0, f"{ARC_TOPIC} arc_on", digits=0),
    Signal("seam", "seam_id", "1", 0.0, 1e9, f"{ARC_TOPIC} seam", digits=0),
    Signal("state", "cycle.state", "1", 0.0, 5.0, f"{CELL_TOPIC} state", digits=0),
    Signal("part", "part.count", "1", 0.0, 1e9, f"{CELL_TOPIC} part", counter=True, digits=0),
    Signal("job", "job_no", "1", 0.0, 99.0, f"{CELL_TOPIC} job", digits=0),
    Signal("interpass", "interpass.temp", "Cel", 0.0, 300.0, f"{CELL_TOPIC} interpass", digits=1),
    Signal("motor", "feeder.motor", "A", 0.0, 10.0, f"{CELL_TOPIC} motor", digits=2),
    Signal("wire", "wire.total", "kg", 0.0, 1e9, f"{CELL_TOPIC} wire", counter=True, digits=4),
)

FAILURES = (
    Failure("gas_loss", ("gas",), 0.5, "gas flow falls by this share, voltage scatters twice"),
    Failure("wire_slip", ("i", "motor"), 0.10, "current falls by this share with spikes, feeder motor current doubles"),
    Failure("tip_wear", ("i",), 0.06, "current falls by this share until end_s and scatters up to twice"),
    Failure("ctwd", ("i",), 0.10, "longer stick-out: current falls by this share, voltage stays"),
    Failure("burn_through", ("u", "i"), 0.6, "for 0.3 s every 2 s current loses this share, voltage rises 6 V"),
    Failure("arc_dropout", ("i", "u"), 1.0, "for 0.1 s every 3 s the arc is out"),
    Failure("wrong_job", ("job", "u", "i", "wfs"), 1.0, "job 2: 3 V, 40 A, 1.5 m/min above job 1"),
)


@dataclass(frozen=True, slots=True)
class _Seam:
    number: int
    phases: tuple[Phase, ...]
    wire_kg: float

    @property
    def start_s(self) -> float:
        return self.phases[0].start_s

    @property
    def end_s(self) -> float:
        return self.phases[-1].end_s

    @property
    def part(self) -> int:
        """Parts finished before this seam."""
        return (self.number - 1) // _SEAMS_A_PART


class WeldingCell:
    """The cell; `sample` and `cycles` as in `signals.Machine`."""

    def __init__(self, seed: int, faults: Faults) -> None:
        self._seed = seed
        self._faults = faults
        self._noise = Noise(seed)
        self._seams = Timeline(lambda: self._seam(1, 2.0, 4.2), self._following)

    def sample(self, t_s: float) -> dict[str, float]:
        """Means over the 100 ms grid cell that ends at (or last before) `t_s`, and the cell's state."""
        middle_s = (math.floor(t_s / BUNDLE_S + 1e-6) - 0.5) * BUNDLE_S
        seam = self._seams.at(middle_s)
        phase = self._phase(seam, middle_s)
        wrong = self._faults.at("wrong_job", seam.start_s)
        gas = 18.0 * (1.0 - self._faults.size("gas_loss", middle_s)) + self._noise.normal("gas", middle_s, 0.3)
        burning = phase.name in _ARC_PHASES
        slip = 2.0 if self._faults.at("wire_slip", middle_s) else 1.0
        return self._arc(seam, phase, middle_s) | {
            "gas": max(0.0, gas) if phase.name in _GAS_PHASES else 0.0,
            "seam": float(seam.number),
            "state": float(STATES.index(phase.name)),
            "part": float(seam.part),
            "job": 2.0 if wrong else 1.0,
            "interpass": self._interpass(seam, middle_s),
            "motor": (2.1 * slip + self._noise.normal("motor", middle_s, 0.04)) if burning else 0.05,
            "wire": seam.wire_kg + _wire_kg(seam.phases, middle_s),
        }

    def welding(self, t_s: float) -> bool:
        """Whether a bundle is sent for every 100 ms."""
        middle_s = t_s - BUNDLE_S / 2
        return self._phase(self._seams.at(middle_s), middle_s).name != "IDLE"

    def cycles(self, after_s: float, until_s: float) -> Iterator[Cycle]:
        """Completed seams; features are means over WELD without its first 0.5 s."""
        for seam in self._seams.completed(after_s, until_s):
            yield Cycle(seam.number, seam.start_s, seam.end_s, seam.phases, self._features(seam))

    def bursts(self, after_s: float, until_s: float) -> Iterator[Burst]:
        """One second of each completed seam, whose means are those of its bundles."""
        for seam in self._seams.completed(after_s, until_s):
            weld = next(phase for phase in seam.phases if phase.name == "WELD")
            start_s = weld.start_s + _BURST_AFTER_S
            volts, amperes = self._over_burst(start_s)
            yield arc_burst(start_s, volts, amperes, self._seed, seam.number)

    def _over_burst(self, start_s: float) -> tuple[float, float]:
        """Mean voltage and current of the bundles over a burst."""
        bundles = [self.sample(start_s + BUNDLE_S * (n + 1)) for n in range(round(LENGTH_S / BUNDLE_S))]
        volts, amperes = (float(np.mean([bundle[tag] for bundle in bundles])) for tag in ("u", "i"))
        return volts, amperes

    def _features(self, seam: _Seam) -> dict[str, float]:
        weld = next(phase for phase in seam.phases if phase.name == "WELD")
        count = round((weld.end_s - weld.start_s - 0.5) / BUNDLE_S)
        bundles = [self.sample(weld.start_s + 0.5 + BUNDLE_S * (n + 1)) for n in range(count)]
        means = {f"{tag}_mean": float(np.mean([b[tag] for b in bundles])) for tag in ("u", "i", "wfs", "gas", "travel")}
        energy = 60.0 * means["u_mean"] * means["i_mean"] / (1000.0 * means["travel_mean"] * 60.0)
        named = {phase.name: phase for phase in seam.phases}
        burst = arc_burst(0.0, *self._over_burst(weld.start_s + _BURST_AFTER_S), self._seed, seam.number).value
        travel = means["travel_mean"]
        return means | {
            "arc_energy": energy,
            "weld_s": weld.end_s - weld.start_s,
            "arc_s": named["CRATER"].end_s - named["ARC_START"].start_s,
            "interpass_start": self.sample(named["ARC_START"].start_s + BUNDLE_S)["interpass"],
            "power": float(np.mean(np.prod(burst.astype(np.float64), axis=1))),
            "short_rate": short_rate(self._seed, seam.number),
            "arc_energy_power": float(np.mean(np.prod(burst.astype(np.float64), axis=1))) / travel / 1000.0,
            "wire_kg": _wire_kg(seam.phases, seam.end_s),
        }

    def _following(self, seam: _Seam) -> _Seam:
        return self._seam(seam.number + 1, seam.end_s, seam.wire_kg + _wire_kg(seam.phases, seam.end_s))

    def _seam(self, number: int, start_s: float, wire_kg: float) -> _Seam:
        draw = np.random.default_rng([self._seed, number]).standard_normal(2).tolist()
        length_mm = _SEAM_MM[(number - 1) % _SEAMS_A_PART]
        rest_s = _RELOAD_S if number % _SEAMS_A_PART == 0 else _MOVE_S
        durations = {
            "PREFLOW": 0.4,
            "ARC_START": 0.3,
            "WELD": round(length_mm / 6.5 + 0.1 * draw[0], 1),
            "CRATER": 0.6,
            "POSTFLOW": 1.0,
            "IDLE": round(max(2.0, rest_s + 0.4 * draw[1]), 1),
        }
        return _Seam(number, lay_out(round(start_s, 1), durations), wire_kg)

    @staticmethod
    def _phase(seam: _Seam, t_s: float) -> Phase:
        if t_s < seam.start_s:
            return Phase("IDLE", 0.0, seam.start_s)
        return phase_at(seam.phases, t_s)

    def _arc(self, seam: _Seam, phase: Phase, t_s: float) -> dict[str, float]:
        if phase.name not in _ARC_PHASES:
            return {"u": 0.0, "i": 0.0, "wfs": 0.0, "travel": 0.0, "arc_on": 0.0}
        u_v, i_a, wfs, travel = self._levels(seam, phase, t_s)
        u_sigma, i_sigma = self._scatter(t_s)
        lost = self._lost_current(t_s)
        out = self._faults.at("arc_dropout", t_s)
        if out and phase.name == "WELD" and (t_s - phase.start_s) % 3.0 > 2.9:
            return {"u": 1.0, "i": 0.0, "wfs": wfs, "travel": travel, "arc_on": 0.0}
        burst = self._faults.at("burn_through", t_s)
        if burst and (t_s - burst.start_s) % 2.0 < 0.3:
            lost, u_v = burst.magnitude, u_v + 6.0
        return {
            "u": u_v + self._noise.normal("u", t_s, u_sigma),
            "i": i_a * (1.0 - lost) + self._noise.normal("i", t_s, i_sigma),
            "wfs": wfs + self._noise.normal("wfs", t_s, 0.05),
            "travel": max(0.0, travel + self._noise.normal("travel", t_s, 0.02)) if travel else 0.0,
            "arc_on": 1.0,
        }

    def _levels(self, seam: _Seam, phase: Phase, t_s: float) -> tuple[float, float, float, float]:
        """Volt, ampere, m/min and mm/s without noise."""
        wrong = self._faults.at("wrong_job", seam.start_s)
        up = wrong.magnitude if wrong else 0.0
        u_v, i_a, wfs = 24.5 + 3.0 * up, 230.0 + 40.0 * up, 8.5 + 1.5 * up
        if phase.name == "ARC_START":
            hot = 1.0 if t_s - phase.start_s < 0.2 else 0.3
            return u_v + 3.0 * hot, i_a + 60.0 * hot, wfs, 0.0
        if phase.name == "CRATER":
            return u_v - 3.5, i_a * 0.65, wfs * 0.65, 0.0
        return u_v, i_a, wfs, 6.5

    def _scatter(self, t_s: float) -> tuple[float, float]:
        worn = self._faults.at("tip_wear", t_s)
        slip = self._faults.at("wire_slip", t_s)
        u_sigma = 0.35 * (2.0 if self._faults.at("gas_loss", t_s) else 1.0)
        return u_sigma, 9.0 * (1.0 + worn.progress(t_s) if worn else 1.0) * (2.5 if slip else 1.0)

    def _lost_current(self, t_s: float) -> float:
        faults = self._faults
        return faults.size("wire_slip", t_s) + faults.grown("tip_wear", t_s) + faults.size("ctwd", t_s)

    def _interpass(self, seam: _Seam, t_s: float) -> float:
        """Part temperature, Cel: each seam of a part adds 45, cooling between is slow; a new part is cold."""
        seam_of_part = (seam.number - 1) % _SEAMS_A_PART
        idle = seam.phases[-1]
        if t_s > idle.start_s and seam_of_part == _SEAMS_A_PART - 1 and t_s > idle.end_s - 8.0:
            return 24.0 + self._noise.normal("interpass", t_s, 0.3, 1.0)
        done = min(1.0, max(0.0, (t_s - seam.start_s) / (idle.start_s - seam.start_s)))
        return 24.0 + 45.0 * (seam_of_part + done) + self._noise.normal("interpass", t_s, 0.3, 1.0)


def _wire_kg(phases: tuple[Phase, ...], t_s: float) -> float:
    """Wire fed since the seam began, kg: 8.5 m/min of 1.2 mm steel."""
    arc_s = sum(max(0.0, min(t_s, p.end_s) - p.start_s) for p in phases if p.name in _ARC_PHASES)
    return arc_s / 60.0 * 8.5 * 0.00888
