"""A 350 t injection moulding machine with two cavity pressure sensors, behind Modbus TCP.

- Numbers from domain.md 6.9: cushion 4.0 +- 0.08 mm, cavity peak 45 +- 0.6 MPa, fill 1.20 +- 0.01 s, viscosity that
  drifts with the lot by +- 5 %.
- The cycle registers hold the last completed cycle and change together with the shot counter, at the end of a cycle.
- Each cycle records a burst at 500 Hz from the fill to the end of cooling that agrees with them.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulators.faults import Faults
from simulators.physics import Noise, Timeline, ramp, relax
from simulators.signals import Burst, Cycle, Failure, Phase, Signal, lay_out, phase_at

STATES = ("IDLE", "CLOSE", "FILL", "PACK", "COOL", "OPEN", "EJECT")
NAME, PERIOD_S, CHANNELS = "cavity_curve", 0.002, ("screw", "inj", "cav_p1", "cav_p2")
START_MM, SWITCH_MM = 64.0, 14.0
_PACK_TAU_S, _BEFORE_S, _DOSE_DELAY_S = 1.0, 0.1, 0.5
_PACK_MPA = 52.0
_LOT_CYCLES = 200
_PHASE_KW = {"CLOSE": 28.0, "FILL": 75.0, "PACK": 40.0, "COOL": 34.0, "OPEN": 22.0, "EJECT": 12.0, "IDLE": 9.0}
_ZONES = (215.0, 225.0, 230.0, 235.0)

Floats = npt.NDArray[np.float64]

SIGNALS = (
    Signal("barrel1", "barrel.zone1", "Cel", 0.0, 400.0, "holding:0:int16", 0.1),
    Signal("barrel2", "barrel.zone2", "Cel", 0.0, 400.0, "holding:1:int16", 0.1),
    Signal("barrel3", "barrel.zone3", "Cel", 0.0, 400.0, "holding:2:int16", 0.1),
    Signal("barrel4", "barrel.zone4", "Cel", 0.0, 400.0, "holding:3:int16", 0.1),
    Signal("mold_temp", "mold.temp", "Cel", 0.0, 200.0, "holding:4:int16", 0.1),
    Signal("cushion", "cycle.cushion", "mm", 0.0, 50.0, "holding:5:int16", 0.01),
    Signal("fill_time", "cycle.fill", "s", 0.0, 20.0, "holding:6:int16", 0.001),
    Signal("dosing_time", "cycle.dosing", "s", 0.0, 60.0, "holding:7:int16", 0.01),
    Signal("inj_peak", "cycle.inj_peak", "MPa", 0.0, 250.0, "holding:8:int16", 0.1),
    Signal("cav_peak1", "cycle.cav_peak1", "MPa", 0.0, 200.0, "holding:9:int16", 0.1),
    Signal("cav_peak2", "cycle.cav_peak2", "MPa", 0.0, 200.0, "holding:10:int16", 0.1),
    Signal("clamp_force", "clamp.force", "kN", 0.0, 5000.0, "holding:11:uint16"),
    Signal("mold_open", "mold.open", "mm", 0.0, 2.0, "holding:12:uint16", 0.001),
    Signal("state", "cycle.state", "1", 0.0, 6.0, "holding:13:uint16"),
    Signal("power", "energy.power", "kW", 0.0, 200.0, "holding:14:uint16", 0.1),
    Signal("shot_counter", "shot.count", "1", 0.0, 4294967295.0, "holding:15:uint32", counter=True),
    Signal("energy", "energy.total", "kW.h", 0.0, 1e9, "holding:17:float64", counter=True),
    Signal("mold_closed", "mold_closed", "1", 0.0, 1.0, "coil:0"),
    Signal("inject", "inject", "1", 0.0, 1.0, "coil:1"),
    Signal("hold", "hold", "1", 0.0, 1.0, "coil:2"),
    Signal("mold_opened", "mold_opened", "1", 0.0, 1.0, "coil:3"),
    Signal("eject", "eject", "1", 0.0, 1.0, "coil:4"),
)

FAILURES = (
    Failure("check_ring_leak", ("cushion", "cav_peak1"), 1.5, "cushion less by mm and scattered, cavity 10 % lower"),
    Failure("short_shot", ("cav_peak2",), 0.95, "the far sensor loses this share of its pressure"),
    Failure("flash", ("mold_open", "cav_peak1"), 0.08, "the mould opens by mm, cavity peak 12 % lower"),
    Failure("viscosity_shift", ("inj_peak",), 0.15, "this share more pressure to fill"),
    Failure("heater_loss", ("barrel2", "dosing_time"), 25.0, "zone 2 colder by Cel, dosing 1 % longer for each"),
    Failure("cooling_blocked", ("mold_temp",), 18.0, "mould warmer by Cel, lag of ten minutes"),
)


@dataclass(frozen=True, slots=True)
class _Shot:
    """A cycle and what it inherits."""

    number: int
    phases: tuple[Phase, ...]
    features: Mapping[str, float]
    previous: Mapping[str, float]
    energy_kwh: float

    @property
    def start_s(self) -> float:
        return self.phases[0].start_s

    @property
    def end_s(self) -> float:
        return self.phases[-1].end_s


class InjectionMachine:
    """The machine; `sample`, `cycles` and `bursts` as in `signals.BurstingMachine`."""

    def __init__(self, seed: int, faults: Faults) -> None:
        self._seed = seed
        self._faults = faults
        self._noise = Noise(seed)
        self._shots = Timeline(lambda: self._shot(1, 0.0, None), self._following)

    def sample(self, t_s: float) -> dict[str, float]:
        """Every signal at a simulated time."""
        shot = self._shots.at(t_s)
        phase = phase_at(shot.phases, t_s)
        cold = self._faults.size("heater_loss", t_s)
        blocked = self._faults.at("cooling_blocked", t_s)
        warm = relax(0.0, blocked.magnitude, t_s - blocked.start_s, 600.0) if blocked else 0.0
        barrel = {
            f"barrel{i + 1}": zone - (cold if i == 1 else 0.0) + self._noise.normal(f"barrel{i + 1}", t_s, 0.3)
            for i, zone in enumerate(_ZONES)
        }
        order = STATES.index(phase.name)
        return (
            barrel
            | dict(shot.previous)
            | {
                "mold_temp": 45.0 + warm + self._noise.normal("mold_temp", t_s, 0.2),
                "clamp_force": 3150.0 + self._noise.normal("clamp_force", t_s, 8.0) if 2 <= order <= 4 else 0.0,
                "state": float(order),
                "power": _PHASE_KW[phase.name] + self._noise.normal("power", t_s, 0.3),
                "shot_counter": float(shot.number - 1),
                "energy": shot.energy_kwh + _energy_kwh(shot.phases, t_s),
                "mold_closed": float(2 <= order <= 4),
                "inject": float(phase.name == "FILL"),
                "hold": float(phase.name == "PACK"),
                "mold_opened": float(phase.name in {"EJECT", "IDLE"}),
                "eject": float(phase.name == "EJECT"),
            }
        )

    def cycles(self, after_s: float, until_s: float) -> Iterator[Cycle]:
        """Completed cycles with the features their registers show afterwards."""
        for shot in self._shots.completed(after_s, until_s):
            yield Cycle(shot.number, shot.start_s, shot.end_s, shot.phases, shot.features)

    def bursts(self, after_s: float, until_s: float) -> Iterator[Burst]:
        """The screw and cavity curve of each completed cycle."""
        for shot in self._shots.completed(after_s, until_s):
            phases = {phase.name: phase for phase in shot.phases}
            start_s = phases["FILL"].start_s - _BEFORE_S
            count = math.ceil((phases["COOL"].end_s - start_s) / PERIOD_S)
            since_s = PERIOD_S * np.arange(count, dtype=np.float64) - _BEFORE_S
            clean = curve(since_s, shot.phases, shot.features)
            draw = np.random.default_rng([self._seed, shot.number, 33]).standard_normal(clean.shape)
            value = clean + draw * (0.004, 0.1, 0.05, 0.05)
            yield Burst(NAME, start_s, PERIOD_S, CHANNELS, value.astype(np.float32))

    def _following(self, shot: _Shot) -> _Shot:
        return self._shot(shot.number + 1, shot.end_s, shot)

    def _shot(self, number: int, start_s: float, before: _Shot | None) -> _Shot:
        features = self._features(number, start_s)
        draw = np.random.default_rng([self._seed, number, 2]).standard_normal(3).tolist()
        durations = {
            "CLOSE": 3.0, "FILL": features["fill_time"], "PACK": 6.0, "COOL": 14.0, "OPEN": 2.5 + 0.05 * draw[0],
            "EJECT": 2.5, "IDLE": 2.8 + 0.3 * min(2.0, max(-2.0, draw[1])),
        }  # fmt: skip
        phases = lay_out(start_s, durations)
        nothing = dict.fromkeys(features, 0.0)
        energy = before.energy_kwh + _energy_kwh(before.phases, before.end_s) if before else 4_200.0
        return _Shot(number, phases, features, before.features if before else nothing, energy)

    def _features(self, number: int, t_s: float) -> dict[str, float]:
        """What the controller will say about cycle `number`; rounded to its registers."""
        draw = np.random.default_rng([self._seed, number]).standard_normal(8).tolist()
        lot = float(np.random.default_rng([self._seed, 1 + number // _LOT_CYCLES, 9]).uniform(-0.05, 0.05))
        faults = self._faults
        leak, flash = faults.size("check_ring_leak", t_s), faults.size("flash", t_s)
        viscous = (1.0 + lot) * (1.0 + faults.size("viscosity_shift", t_s))
        cavity = (45.0 + 0.6 * draw[1]) * (0.9 if leak else 1.0) * (0.88 if flash else 1.0)
        far = 0.85 * cavity * (1.0 - faults.size("short_shot", t_s))
        return {
            "cushion": round(4.0 - leak + 0.08 * draw[0] * (4.0 if leak else 1.0), 2),
            "fill_time": round(1.20 + 0.01 * draw[2], 3),
            "dosing_time": round((7.0 + 0.08 * draw[3]) * (1.0 + 0.01 * faults.size("heater_loss", t_s)), 2),
            "inj_peak": round((85.0 + 0.5 * draw[4]) * viscous, 1),
            "cav_peak1": round(cavity, 1),
            "cav_peak2": round(far + 0.3 * draw[5] * (far > 5.0), 1),
            "mold_open": round(0.010 + flash, 3),
        }


def curve(since_s: Floats, phases: tuple[Phase, ...], named: Mapping[str, float]) -> Floats:
    """(n, 4) screw, injection pressure and two cavity pressures over the time since the fill began, without noise."""
    ends = {phase.name: phase.end_s for phase in phases}
    fill_s, packed_s = (ends[name] - ends["CLOSE"] for name in ("FILL", "PACK"))
    t = np.maximum(since_s, 0.0)
    closing = (SWITCH_MM - named["cushion"]) / (1.0 - math.exp(-(packed_s - fill_s) / _PACK_TAU_S))
    filling = START_MM + (SWITCH_MM - START_MM) * np.minimum(t / fill_s, 1.0)
    packing = closing * (1.0 - np.exp(-np.clip(t - fill_s, 0.0, packed_s - fill_s) / _PACK_TAU_S))
    begin = packed_s + _DOSE_DELAY_S
    dosing = (START_MM - named["cushion"]) * np.clip((t - begin) / named["dosing_time"], 0.0, 1.0)
    rising = named["inj_peak"] * np.minimum(t / fill_s, 1.0) ** 0.7
    settled = _PACK_MPA + (named["inj_peak"] - _PACK_MPA) * np.exp(-np.maximum(t - fill_s, 0.0) / 0.15)
    # Half of the pack pressure is passed where packing ends.
    held = np.interp(t, [packed_s - 0.03, packed_s + 0.03], [1.0, 0.0])
    inj = np.where(t < fill_s, rising, settled) * held
    near = named["cav_peak1"] * _cavity(t, 0.70 * fill_s, fill_s + 0.4)
    far = named["cav_peak2"] * _cavity(t, 0.90 * fill_s, fill_s + 0.5)
    return np.column_stack([filling - packing + dosing, inj, near, far])


def _cavity(t: Floats, begin_s: float, peak_s: float) -> Floats:
    """Share of the peak: a smooth rise, then a decay as the part freezes."""
    up = np.sin(np.pi / 2 * np.clip((t - begin_s) / (peak_s - begin_s), 0.0, 1.0)) ** 2
    return np.asarray(up * np.exp(-np.maximum(0.0, t - peak_s) / 6.0), dtype=np.float64)


def _energy_kwh(phases: tuple[Phase, ...], t_s: float) -> float:
    """Energy from the start of the cycle to `t_s`, kWh."""
    joules = 0.0
    for phase in phases:
        joules += _PHASE_KW[phase.name] * (phase.end_s - phase.start_s) * ramp(t_s, phase.start_s, phase.end_s)
    return joules / 3600.0
