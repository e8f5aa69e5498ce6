"""Batch furnaces with one program each, behind OPC UA: pit, vacuum with gas quench, tempering.

- One class, three programs: a list of steps with what sets their length, and the temperatures of the charge and zone.
- Zone and charge are stepped every 5 s when a load is first asked for; pressure and vacuum leak are closed forms.
- A load starts in a furnace that has cooled to its resting temperature, so loads do not depend on each other.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simulators.faults import Faults
from simulators.physics import Noise, Timeline
from simulators.signals import Cycle, Failure, Kind, Phase, Signal, phase_at

NAMESPACE = "urn:rootdx:sim:batch_furnace"
ATMOSPHERE_MBAR = 1013.0
_STEP_S = 5.0
_AMBIENT_C = 25.0


@dataclass(frozen=True, slots=True)
class Program:
    """What a furnace does with every load.

    Attributes:
        steps: (name, s) in order; RAMP and HEAT last until the zone is within 5 Cel, whatever s says.
        setpoint_c: while heating and soaking.
        rest_c: setpoint and zone temperature when a load comes.
        rate_c_min: how fast the zone rises.
        tau_s: lag of the charge behind the zone.
        door: steps with the door open.
    """

    steps: tuple[tuple[str, float], ...]
    setpoint_c: float
    rest_c: float
    rate_c_min: float
    tau_s: float
    door: tuple[str, ...] = ("LOAD", "UNLOAD")

    @property
    def states(self) -> tuple[str, ...]:
        """Numbers of the states: IDLE is 0."""
        return ("IDLE", *(name for name, _ in self.steps if name != "IDLE"))


PIT = Program(
    (("LOAD", 300), ("RAMP", 0), ("SOAK", 5400), ("COOL", 3600), ("UNLOAD", 240), ("IDLE", 900)), 860.0, 150.0, 9.0, 900
)
TEMPERING = Program((("LOAD", 240), ("RAMP", 0), ("SOAK", 5400), ("UNLOAD", 240), ("IDLE", 600)), 560.0, 60.0, 8.0, 600)
VACUUM = Program(
    (
        ("LOAD", 300), ("PUMP_DOWN", 1200), ("LEAK_CHECK", 2100), ("HEAT", 0), ("SOAK", 3000), ("QUENCH", 900),
        ("BACKFILL", 240), ("UNLOAD", 240), ("IDLE", 600),
    ),
    1040.0, 40.0, 12.0, 700,
)  # fmt: skip
_HEATING = ("RAMP", "HEAT")
_HOT = ("RAMP", "HEAT", "SOAK")


def _signal(name: str, unit: str, low: float, high: float, digits: int = 1, kind: Kind = "double") -> Signal:
    return Signal(name, name, unit, low, high, f"nsu={NAMESPACE};s={name}", digits=digits, kind=kind)


SIGNALS = (
    _signal("zone1.pv", "Cel", 0.0, 1300.0),
    _signal("zone1.sp", "Cel", 0.0, 1300.0),
    _signal("load_tc.1", "Cel", 0.0, 1300.0),
    _signal("door1", "1", 0.0, 1.0, 0, "bool"),
    _signal("power", "kW", 0.0, 300.0),
    _signal("energy", "kW.h", 0.0, 1e7, 3),
    _signal("program.state", "1", 0.0, 20.0, 0, "int32"),
    _signal("batch", "1", 0.0, 4294967295.0, 0, "uint32"),
)
VACUUM_SIGNALS = (*SIGNALS, _signal("vac.pressure", "mbar", 0.0, 1100.0, 9))
FAILURES = (
    Failure("element_loss", ("zone1.pv",), 0.3, "the ramp is slower by this share"),
    Failure("overload", ("load_tc.1",), 0.5, "the charge lags longer by this share"),
    Failure("tc_drift", ("zone1.pv",), 6.0, "control TC reads low by Cel, growing until end_s"),
)
VACUUM_FAILURES = (*FAILURES, Failure("vacuum_leak", ("vac.pressure",), 40.0, "leak-up rate becomes um Hg an hour"))
_UM_HG_PER_MBAR = 750.062


@dataclass(frozen=True, slots=True)
class _Load:
    number: int
    phases: tuple[Phase, ...]
    zone: NDArray[np.float64]
    charge: NDArray[np.float64]
    leak_um_h: float
    features: dict[str, float] = field(default_factory=dict)

    @property
    def start_s(self) -> float:
        return self.phases[0].start_s

    @property
    def end_s(self) -> float:
        return self.phases[-1].end_s

    def phase(self, name: str) -> Phase:
        return next(phase for phase in self.phases if phase.name == name)

    def at(self, column: NDArray[np.float64], t_s: float) -> float:
        return float(np.interp((t_s - self.start_s) / _STEP_S, np.arange(len(column)), column))


class BatchFurnace:
    """The furnace; `sample` and `cycles` as in `signals.Machine`. Cycles end where IDLE begins."""

    def __init__(self, program: Program, seed: int, faults: Faults) -> None:
        self._program, self._seed, self._faults = program, seed, faults
        self._noise = Noise(seed)
        self._loads = Timeline(lambda: self._load(1, 600.0), lambda last: self._load(last.number + 1, last.end_s))

    def sample(self, t_s: float) -> dict[str, float]:
        """Every signal at a simulated time."""
        load, normal = self._loads.at(t_s), self._noise.normal
        phase = phase_at(load.phases, t_s) if t_s >= load.start_s else Phase("IDLE", 0.0, load.start_s)
        drift = self._faults.grown("tc_drift", t_s)
        heating = phase.name in _HOT
        values = {
            "zone1.pv": load.at(load.zone, t_s) - drift + normal("zone1.pv", t_s, 0.5, 1.0),
            "zone1.sp": self._program.setpoint_c if heating else self._program.rest_c,
            "load_tc.1": load.at(load.charge, t_s) + normal("load_tc.1", t_s, 0.4, 1.0),
            "door1": float(phase.name in self._program.door),
            "power": (80.0 if phase.name in _HEATING else 25.0 if heating else 3.0) + normal("power", t_s, 0.3, 1.0),
            "energy": 500.0 + 200.0 * load.number + self._energy(load, t_s),
            "program.state": float(self._program.states.index(phase.name)),
            "batch": float(load.number),
        }
        if self._program is VACUUM:
            values["vac.pressure"] = self._pressure(load, phase, t_s)
        return values

    def cycles(self, after_s: float, until_s: float) -> Iterator[Cycle]:
        """Completed loads."""
        for load in self._loads.completed(after_s - 3600.0, until_s + 3600.0):
            end_s = load.phase("IDLE").start_s
            if after_s < end_s <= until_s:
                phases = tuple(phase for phase in load.phases if phase.name != "IDLE")
                yield Cycle(load.number, load.start_s, end_s, phases, load.features)

    def _energy(self, load: _Load, t_s: float) -> float:
        rate = {name: 80.0 if name in _HEATING else 25.0 if name in _HOT else 3.0 for name, _ in self._program.steps}
        return sum(rate[p.name] * max(0.0, min(t_s, p.end_s) - p.start_s) for p in load.phases) / 3600.0

    def _pressure(self, load: _Load, phase: Phase, t_s: float) -> float:
        """Absolute pressure, mbar."""
        since_s = t_s - phase.start_s
        pumped = ATMOSPHERE_MBAR * math.exp(
            -load.phase("PUMP_DOWN").end_s / 90.0 + load.phase("PUMP_DOWN").start_s / 90.0
        )
        leaked = load.leak_um_h / _UM_HG_PER_MBAR / 3600.0
        match phase.name:
            case "PUMP_DOWN":
                level = ATMOSPHERE_MBAR * math.exp(-since_s / 90.0)
            case "LEAK_CHECK":
                level = pumped + leaked * since_s
            case "HEAT" | "SOAK":
                level = 1e-3
            case "QUENCH":
                level = 800.0
            case "BACKFILL":
                level = 800.0 + (ATMOSPHERE_MBAR - 800.0) * min(1.0, since_s / 200.0)
            case _:
                level = ATMOSPHERE_MBAR
        return level * (1.0 + self._noise.normal("vac.pressure", t_s, 0.002, 1.0))

    def _load(self, number: int, start_s: float) -> _Load:
        program = self._program
        draw = np.random.default_rng([self._seed, number]).standard_normal(4).tolist()
        slow = 1.0 - self._faults.size("element_loss", start_s)
        rate = program.rate_c_min / 60.0 * (1.0 + 0.03 * draw[0]) * slow
        lengths = {name: float(round(s * (1.0 + 0.01 * draw[1]))) for name, s in program.steps}
        heating = next(name for name in lengths if name in _HEATING)
        lengths[heating] = float(round((program.setpoint_c - 5.0 - program.rest_c) / rate))
        phases = []
        t_s = start_s
        for name, length_s in lengths.items():
            phases.append(Phase(name, t_s, t_s + length_s))
            t_s += length_s
        tau_s = program.tau_s * (1.0 + 0.02 * draw[2] + self._faults.size("overload", start_s))
        zone, charge = self._heat(tuple(phases), rate, tau_s)
        leak = self._faults.at("vacuum_leak", start_s)
        load = _Load(number, tuple(phases), zone, charge, leak.magnitude if leak else 4.0 + 0.5 * draw[3])
        load.features.update(self._features(load, heating))
        return load

    def _heat(self, phases: tuple[Phase, ...], rate: float, tau_s: float) -> tuple[NDArray[np.float64], ...]:
        """Zone and charge every 5 s."""
        program, start_s = self._program, phases[0].start_s
        zone, charge = [program.rest_c], [_AMBIENT_C]
        for n in range(math.ceil((phases[-1].end_s - start_s) / _STEP_S)):
            phase = phase_at(phases, start_s + n * _STEP_S)
            if phase.name in _HEATING:
                zone.append(min(zone[-1] + rate * _STEP_S, program.setpoint_c - 5.0))
            else:
                goal = program.setpoint_c if phase.name == "SOAK" else program.rest_c
                lag_s = 200.0 if phase.name == "SOAK" else 120.0 if phase.name == "QUENCH" else 900.0
                zone.append(zone[-1] + (goal - zone[-1]) * _STEP_S / lag_s)
            outside = phase.name in ("LOAD", "UNLOAD", "IDLE")
            goal, lag_s = (_AMBIENT_C, tau_s) if outside else (zone[-1], 90.0 if phase.name == "QUENCH" else tau_s)
            charge.append(charge[-1] + (goal - charge[-1]) * _STEP_S / lag_s)
        return np.array(zone), np.array(charge)

    def _features(self, load: _Load, heating: str) -> dict[str, float]:
        """Seconds, Cel, kWh, um Hg an hour and tempering parameter as they really were."""
        soak, ramp = load.phase("SOAK"), load.phase(heating)
        seconds = np.arange(ramp.start_s, soak.end_s, _STEP_S) + _STEP_S / 2
        charge = np.array([load.at(load.charge, float(t)) for t in seconds])
        zone = np.array([load.at(load.zone, float(t)) for t in seconds])
        near = np.abs(zone - self._program.setpoint_c) <= 10.0
        soaking = seconds >= soak.start_s
        kelvin, highest = charge + 273.15, float(charge.max()) + 273.15
        hours = np.sum(10.0 ** (kelvin * (20.0 + math.log10(_STEP_S / 3600.0)) / highest - 20.0))
        return {
            "soak_s": float(np.sum(near & soaking) * _STEP_S),
            "time_to_temperature_s": float(seconds[np.argmax(near)] - ramp.start_s - _STEP_S / 2),
            "tempering": highest * (20.0 + math.log10(hours)) / 1000.0,
            "energy": self._energy(load, load.phase("IDLE").start_s),
            "leak_um_h": load.leak_um_h,
            "soak_temp": float(zone[soaking].mean()),
        }


def _maker(program: Program) -> Callable[[int, Faults], BatchFurnace]:
    return lambda seed, faults: BatchFurnace(program, seed, faults)


pit, tempering, vacuum = _maker(PIT), _maker(TEMPERING), _maker(VACUUM)
