"""An 850 t cold-chamber die-casting cell that casts aluminium, behind Modbus TCP.

- Numbers from domain.md 6.9: v_slow 0.30 +- 0.008 m/s, v_fast 2.6 +- 0.04 m/s, t_fill 48 +- 1.5 ms, p_int 65 +-
  0.8 MPa, t_rise 22 +- 2 ms, biscuit 25 +- 1.8 mm, cycle 62 +- 1.2 s, metal 665 +- 1.5 Cel.
- The shot registers hold the last completed shot and change together with the shot counter, at the end of a cycle.
- A die zone is a bulk mass (lag of 8 shots) and a surface that saw-tooths around it: heated by the casting, cooled by
  the spray.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from simulators.faults import Faults
from simulators.physics import Noise, Timeline, ramp, relax
from simulators.shot_curve import shot_curve
from simulators.signals import SCAN_COUNTER, Burst, Cycle, Failure, Phase, Signal, lay_out, phase_at

STATES = (
    "IDLE", "DIE_CLOSE", "POUR", "SLOW_SHOT", "FAST_SHOT", "INTENSIFY", "COOL", "DIE_OPEN", "EJECT", "SPRAY",
)  # fmt: skip
_ZONES = {"die_temp_fix1": 212.0, "die_temp_fix2": 203.0, "die_temp_mov1": 218.0, "die_temp_mov2": 206.0}
_BULK_TAU_S = 8 * 62.0
_SLOW_STROKE_M = 0.36
_PHASE_KW = {"DIE_CLOSE": 62.0, "SLOW_SHOT": 45.0, "FAST_SHOT": 160.0, "INTENSIFY": 95.0, "DIE_OPEN": 48.0}
_REST_KW = 26.0
_FIXED_S = {"DIE_CLOSE": 3.5, "POUR": 6.0, "INTENSIFY": 3.0, "COOL": 18.0, "DIE_OPEN": 3.5, "EJECT": 4.0, "SPRAY": 14.0}

SIGNALS = (
    Signal("metal_temp", "metal.temp", "Cel", 550.0, 750.0, "holding:0:int16", 0.1),
    Signal("die_temp_fix1", "die.temp_fix1", "Cel", 20.0, 400.0, "holding:1:int16", 0.1),
    Signal("die_temp_fix2", "die.temp_fix2", "Cel", 20.0, 400.0, "holding:2:int16", 0.1),
    Signal("die_temp_mov1", "die.temp_mov1", "Cel", 20.0, 400.0, "holding:3:int16", 0.1),
    Signal("die_temp_mov2", "die.temp_mov2", "Cel", 20.0, 400.0, "holding:4:int16", 0.1),
    Signal("cool_flow1", "cool.flow1", "L/min", 0.0, 30.0, "holding:5:int16", 0.01),
    Signal("cool_flow2", "cool.flow2", "L/min", 0.0, 30.0, "holding:6:int16", 0.01),
    Signal("state", "cycle.state", "1", 0.0, 9.0, "holding:7:uint16"),
    Signal("v_slow", "cycle.v_slow", "m/s", 0.0, 1.0, "holding:8:int16", 0.001),
    Signal("v_fast", "cycle.v_fast", "m/s", 0.0, 8.0, "holding:9:int16", 0.001),
    Signal("t_fill", "cycle.t_fill", "ms", 0.0, 200.0, "holding:10:int16", 0.1),
    Signal("p_int", "cycle.p_int", "MPa", 0.0, 120.0, "holding:11:int16", 0.1),
    Signal("t_rise", "cycle.t_rise", "ms", 0.0, 200.0, "holding:12:int16", 0.1),
    Signal("biscuit", "cycle.biscuit", "mm", 0.0, 80.0, "holding:13:int16", 0.1),
    Signal("t_cycle", "cycle.t_cycle", "s", 0.0, 300.0, "holding:14:int16", 0.1),
    Signal("spray_volume", "spray.volume", "mL", 0.0, 2000.0, "holding:15:uint16"),
    Signal("vac_min", "vac.pressure", "mbar", 0.0, 1100.0, "holding:16:uint16"),
    Signal("power", "energy.power", "kW", 0.0, 400.0, "holding:17:uint16", 0.1),
    Signal("shot_counter", "shot.count", "1", 0.0, 4294967295.0, "holding:18:uint32", counter=True),
    Signal("energy", "energy.total", "kW.h", 0.0, 1e7, "holding:20:float32:CDAB", counter=True),
    Signal("metal_total", "metal.mass_total", "kg", 0.0, 1e9, "holding:22:float64", counter=True),
    Signal("shot_deviation", "cycle.t_deviation", "ms", -1e5, 1e5, "holding:26:int32"),
    Signal("tiebar1", "clamp.tiebar1", "kN", 0.0, 2500.0, "holding:28:float32"),
    Signal("tiebar2", "clamp.tiebar2", "kN", 0.0, 2500.0, "holding:30:float32"),
    Signal("tiebar3", "clamp.tiebar3", "kN", 0.0, 2500.0, "holding:32:float32"),
    Signal("tiebar4", "clamp.tiebar4", "kN", 0.0, 2500.0, "holding:34:float32"),
    Signal(SCAN_COUNTER, "device.scans", "1", 0.0, 4294967295.0, "holding:36:uint32"),
    Signal("die_closed", "die_closed", "1", 0.0, 1.0, "coil:0"),
    Signal("ladle_pour", "ladle_pour", "1", 0.0, 1.0, "coil:1"),
    Signal("shot_start", "shot_start", "1", 0.0, 1.0, "coil:2"),
    Signal("die_open", "die_open", "1", 0.0, 1.0, "coil:3"),
    Signal("eject", "eject", "1", 0.0, 1.0, "coil:4"),
    Signal("spray_on", "spray_on", "1", 0.0, 1.0, "coil:5"),
)

FAILURES = (
    Failure("plunger_wear", ("v_fast", "v_slow"), 0.10, "v_fast loses this share until end_s, v_slow scatters twice"),
    Failure("dosing", ("biscuit",), -10.0, "biscuit steps by mm"),
    Failure("accumulator_loss", ("p_int", "t_rise"), 0.01, "p_int loses this share per 100 shots, t_rise +50 %"),
    Failure("cold_start", tuple(_ZONES), 60.0, "dies colder by Cel at start_s, back over 8 shots"),
    Failure("blocked_cooling", ("cool_flow1", "cool_flow2"), 25.0, "half the flow, fixed die 1 or 2 hotter by Cel"),
    Failure("vacuum_leak", ("vac_min",), 190.0, "lowest pressure rises by mbar"),
    Failure("flash", ("tiebar1", "biscuit"), 0.05, "tie-bar peaks rise by this share, biscuit 4.5 mm thinner"),
    Failure("spray_clog", ("spray_volume",), 0.30, "spray volume falls by this share, moving die 1 hotter by 20 Cel"),
    Failure("metal_sag", ("metal_temp",), 1.0, "metal cools by this many Cel a minute since start_s"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Shot:
    """A cycle and what it inherits: counters and die masses at its start."""

    number: int
    phases: tuple[Phase, ...]
    features: dict[str, float]
    previous: dict[str, float]
    energy_kwh: float
    metal_kg: float
    bulk: dict[str, float]
    target: dict[str, float]
    surface: dict[str, float]

    @property
    def start_s(self) -> float:
        return self.phases[0].start_s

    @property
    def end_s(self) -> float:
        return self.phases[-1].end_s


class CastingCell:
    """The cell; `sample` and `cycles` as in `signals.Machine`."""

    def __init__(self, seed: int, faults: Faults) -> None:
        self._seed = seed
        self._faults = faults
        self._noise = Noise(seed)
        self._shots = Timeline(self._first, self._following)

    def sample(self, t_s: float) -> dict[str, float]:
        """Every signal at a simulated time."""
        shot = self._shots.at(t_s)
        phase = phase_at(shot.phases, t_s)
        return (
            self._temperatures(shot, t_s)
            | shot.previous
            | _bits(phase)
            | {
                "cool_flow1": self._flow("cool_flow1", t_s),
                "cool_flow2": self._flow("cool_flow2", t_s),
                "state": float(STATES.index(phase.name)),
                "power": _PHASE_KW.get(phase.name, _REST_KW) + self._noise.normal("power", t_s, 0.4),
                "shot_counter": float(shot.number - 1),
                "energy": shot.energy_kwh + _energy_kwh(shot.phases, t_s),
                "metal_total": shot.metal_kg,
            }
        )

    def cycles(self, after_s: float, until_s: float) -> Iterator[Cycle]:
        """Completed shots with the features their registers show afterwards."""
        for shot in self._shots.completed(after_s, until_s):
            yield Cycle(shot.number, shot.start_s, shot.end_s, shot.phases, shot.features)

    def bursts(self, after_s: float, until_s: float) -> Iterator[Burst]:
        """The shot curve of each completed shot."""
        for shot in self._shots.completed(after_s, until_s):
            phases = {phase.name: phase for phase in shot.phases}
            yield shot_curve(phases, shot.features, self._seed, shot.number)

    def _first(self) -> _Shot:
        bulk = dict(_ZONES)
        return self._shot(1, 0.0, self._features(0, 0.0), 18_250.0, 41_880.0, bulk)

    def _following(self, shot: _Shot) -> _Shot:
        end_s = shot.end_s
        bulk = {zone: relax(shot.bulk[zone], shot.target[zone], end_s - shot.start_s, _BULK_TAU_S) for zone in _ZONES}
        for fault in self._faults.of("cold_start"):
            if shot.start_s < fault.start_s <= end_s:
                bulk = {zone: temp - fault.magnitude for zone, temp in bulk.items()}
        energy = shot.energy_kwh + _energy_kwh(shot.phases, end_s)
        mass = shot.metal_kg + 2.35 + 0.012 * (shot.features["biscuit"] - 25.0)
        following = self._shot(shot.number + 1, end_s, shot.features, energy, mass, bulk)
        following.surface.update({zone: _surface(shot, zone, end_s) for zone in _ZONES})
        return following

    def _shot(
        self,
        number: int,
        start_s: float,
        previous: dict[str, float],
        energy: float,
        mass: float,
        bulk: dict[str, float],
    ) -> _Shot:
        features = self._features(number, start_s)
        durations = _FIXED_S | {"SLOW_SHOT": _SLOW_STROKE_M / features["v_slow"], "FAST_SHOT": features["t_fill"] / 1e3}
        durations["IDLE"] = max(0.5, features["t_cycle"] - sum(durations.values()))
        phases = lay_out(start_s, {name: durations[name] for name in (*STATES[1:], "IDLE")})
        target = {zone: temp + self._extra_heat(zone, start_s) for zone, temp in _ZONES.items()}
        surface = dict.fromkeys(_ZONES, -24.0)
        return _Shot(number, phases, features, previous, energy, mass, bulk, target, surface)

    def _features(self, number: int, t_s: float) -> dict[str, float]:
        """What the PLC will say about shot `number`, which starts at `t_s`; rounded to its registers."""
        draw = np.random.default_rng([self._seed, number]).standard_normal(13).tolist()
        faults = self._faults
        wear = faults.grown("plunger_wear", t_s)
        loss = faults.at("accumulator_loss", t_s)
        shots = (t_s - loss.start_s) / 62.0 if loss else 0.0
        flash = faults.size("flash", t_s)
        fast = (2.6 + 0.04 * draw[1]) * (1.0 - wear)
        tiebars = {f"tiebar{i + 1}": float(np.float32((1560.0 + 6.0 * draw[8 + i]) * (1.0 + flash))) for i in range(4)}
        t_cycle = round(62.0 + 1.2 * draw[6], 1)
        return tiebars | {
            "v_slow": round(max(0.15, 0.30 + 0.008 * draw[0] * (2.0 if wear else 1.0)), 3),
            "v_fast": round(fast, 3),
            "t_fill": round((48.0 + 1.5 * draw[2]) / (1.0 - wear), 1),
            "p_int": round((65.0 + 0.8 * draw[3]) * (1.0 - (loss.magnitude * shots / 100.0 if loss else 0.0)), 1),
            "t_rise": round((22.0 + 2.0 * draw[4]) * (1.0 + 0.5 * loss.progress(t_s) if loss else 1.0), 1),
            "biscuit": round(25.0 + 1.8 * draw[5] + faults.size("dosing", t_s) - (4.5 if flash else 0.0), 1),
            "t_cycle": t_cycle,
            "spray_volume": float(round((640.0 + 9.0 * draw[7]) * (1.0 - faults.size("spray_clog", t_s)))),
            "vac_min": float(round(60.0 + 4.0 * draw[12] + faults.size("vacuum_leak", t_s))),
            "shot_deviation": round((t_cycle - 62.0) * 1e3),
        }

    def _extra_heat(self, zone: str, t_s: float) -> float:
        flow = {"die_temp_fix1": "cool_flow1", "die_temp_fix2": "cool_flow2"}.get(zone, "")
        heat = self._faults.size("blocked_cooling", t_s, flow) if flow else 0.0
        return heat + (20.0 if zone == "die_temp_mov1" and self._faults.at("spray_clog", t_s) else 0.0)

    def _flow(self, tag: str, t_s: float) -> float:
        open_share = 0.5 if self._faults.at("blocked_cooling", t_s, tag) else 1.0
        return 12.0 * open_share + self._noise.normal(tag, t_s, 0.08)

    def _temperatures(self, shot: _Shot, t_s: float) -> dict[str, float]:
        temps = {}
        for zone in _ZONES:
            bulk = relax(shot.bulk[zone], shot.target[zone], t_s - shot.start_s, _BULK_TAU_S)
            temps[zone] = bulk + _surface(shot, zone, t_s) + self._noise.normal(zone, t_s, 0.3)
        return temps | {"metal_temp": self._metal(t_s)}

    def _metal(self, t_s: float) -> float:
        """Falls 0.3 Cel a minute; a charge every 8 Cel lifts it back within a few minutes."""
        since_charge_s = t_s % 1600.0
        mean = relax(661.0, 669.0, since_charge_s, 60.0) - 0.005 * since_charge_s
        sag = self._faults.at("metal_sag", t_s)
        if sag:
            mean -= sag.magnitude * (t_s - sag.start_s) / 60.0
        return mean + self._noise.normal("metal_temp", t_s, 0.6, 1.0)


def _surface(shot: _Shot, zone: str, t_s: float) -> float:
    """Surface against bulk, Cel: up while the casting solidifies, down under the spray, back to 0 otherwise."""
    above = shot.surface[zone]
    for phase in shot.phases:
        if t_s <= phase.start_s:
            break
        elapsed_s = min(t_s, phase.end_s) - phase.start_s
        target, tau_s = 0.0, 120.0
        if phase.name in ("FAST_SHOT", "INTENSIFY", "COOL"):
            target, tau_s = 75.0, 30.0
        elif phase.name == "SPRAY":
            target, tau_s = -90.0, 22.0
        above = relax(above, target, elapsed_s, tau_s)
    return above


def _energy_kwh(phases: tuple[Phase, ...], t_s: float) -> float:
    """Energy from the start of the cycle to `t_s`, kWh."""
    joules = 0.0
    for phase in phases:
        joules += (
            _PHASE_KW.get(phase.name, _REST_KW) * (phase.end_s - phase.start_s) * ramp(t_s, phase.start_s, phase.end_s)
        )
    return joules / 3600.0


def _bits(phase: Phase) -> dict[str, float]:
    order = STATES.index(phase.name)
    opened = phase.name in ("EJECT", "SPRAY", "IDLE")
    on = {
        "die_closed": 2 <= order <= 6,
        "ladle_pour": phase.name == "POUR",
        "shot_start": 3 <= order <= 5,
        "die_open": opened,
        "eject": phase.name == "EJECT",
        "spray_on": phase.name == "SPRAY",
    }
    return {name: float(bit) for name, bit in on.items()}
