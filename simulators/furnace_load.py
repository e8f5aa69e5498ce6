"""One load of the carburising furnace, second by second: zones, charge, carbon, oil.

- State passes from load to load: a furnace is hot when the next load comes, the oil still warm.
- The program waits for temperature: RAMP ends when the coldest zone is within 5 Cel, everything else by time.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulators.faults import Fault, Faults
from simulators.signals import Phase

STEPS = (
    "LOAD", "PURGE", "RAMP", "SOAK", "BOOST", "DIFFUSE", "DROP_TO_QUENCH_T", "TRANSFER", "QUENCH", "DRAIN", "UNLOAD",
)  # fmt: skip
_DURATION_S = {
    "LOAD": 180, "PURGE": 300, "RAMP": 10_800, "SOAK": 1200, "BOOST": 5400, "DIFFUSE": 3600, "DROP_TO_QUENCH_T": 1800,
    "TRANSFER": 20, "QUENCH": 600, "DRAIN": 300, "UNLOAD": 180,
}  # fmt: skip
_SETPOINT_C = {"DROP_TO_QUENCH_T": 850.0, "TRANSFER": 850.0, "QUENCH": 850.0, "DRAIN": 850.0, "UNLOAD": 850.0}
_CARBURISE_C = 925.0
_CARBON_SP = {"BOOST": 1.05, "DIFFUSE": 0.80, "DROP_TO_QUENCH_T": 0.80, "SOAK": 0.60, "RAMP": 0.40}
_AMBIENT_C = 25.0
_GAIN_C = 1300.0
_TAU_EMPTY_S, _TAU_LOADED_S = 5400.0, 9000.0
_ZONE_KW = 55.0
_CHANNELS = (
    "zone1", "zone2", "zone3", "out1", "out2", "out3", "load", "spread", "cp", "cp_sp", "enrich", "oil", "agitator",
    "power", "energy",
)  # fmt: skip
_ZONE_BIAS = (0.0, 0.03, -0.02)


class _Memory(NamedTuple):
    """What the next load finds: Cel, %C, kWh, and the controllers' integrals and outputs as shares of full power."""

    zones: tuple[float, float, float]
    integrals: tuple[float, float, float]
    outs: tuple[float, float, float]
    charge: float
    carbon: float
    oil: float
    energy: float


@dataclass(frozen=True, slots=True)
class Load:
    """One load: its phases and one row of `_CHANNELS` for each second, shape (n + 1, channels)."""

    number: int
    phases: tuple[Phase, ...]
    rows: NDArray[np.float64]
    left: _Memory

    @property
    def start_s(self) -> float:
        """Begin of LOAD."""
        return self.phases[0].start_s

    @property
    def end_s(self) -> float:
        """End of UNLOAD."""
        return self.phases[-1].end_s

    @property
    def drained_s(self) -> float:
        """When the elevator comes up: a minute into DRAIN."""
        return self.phases[STEPS.index("DRAIN")].start_s + 60.0

    def row(self, t_s: float) -> dict[str, float]:
        """All channels at a simulated time, linear between the seconds."""
        place = min(max(t_s - self.start_s, 0.0), len(self.rows) - 1.0)
        low = min(int(place), len(self.rows) - 2)
        between = self.rows[low] + (self.rows[low + 1] - self.rows[low]) * (place - low)
        return dict(zip(_CHANNELS, between.tolist(), strict=True))

    def setpoint(self, t_s: float) -> float:
        """Zone setpoint, Cel."""
        name = next((phase.name for phase in self.phases if t_s < phase.end_s), STEPS[-1])
        return _SETPOINT_C.get(name, _CARBURISE_C)

    def features(self) -> dict[str, float]:
        """Durations in s, carbon in %C, temperatures in Cel."""
        named = {phase.name: phase for phase in self.phases}
        diffuse_end = round(named["DIFFUSE"].end_s - self.start_s)
        quench = round(named["QUENCH"].start_s - self.start_s)
        charge, oil = _CHANNELS.index("load"), _CHANNELS.index("oil")
        return {
            "ramp_s": named["RAMP"].end_s - named["RAMP"].start_s,
            "transfer_s": named["TRANSFER"].end_s - named["TRANSFER"].start_s,
            "carbon_end": float(self.rows[diffuse_end, _CHANNELS.index("cp")]),
            "charge_before_quench": float(self.rows[quench, charge]),
            "oil_rise": float(self.rows[quench:, oil].max() - self.rows[quench, oil]),
            "energy": float(self.rows[-1, -1] - self.rows[0, -1]),
            "transfer_delay_s": named["QUENCH"].start_s - named["TRANSFER"].start_s,
            **self._heated(named),
            **self._cooled(named),
        }

    def _of(self, phase: Phase, *channels: str) -> NDArray[np.float64]:
        """The seconds of a phase, shape (n, channels)."""
        first, last = round(phase.start_s - self.start_s), round(phase.end_s - self.start_s)
        return self.rows[first : last + 1][:, [_CHANNELS.index(channel) for channel in channels]]

    def _heated(self, named: dict[str, Phase]) -> dict[str, float]:
        """Seconds within 10 Cel of the setpoint, to temperature, Cel a minute, spread in K, %C, case in mm."""
        zones = ("zone1", "zone2", "zone3")
        soaked = {name: self._of(named[name], *zones) for name in ("SOAK", "BOOST", "DIFFUSE")}
        held = np.concatenate(list(soaked.values()))
        ramp = self._of(named["RAMP"], *zones)
        near = np.concatenate([ramp, *soaked.values()]).min(axis=1) > _CARBURISE_C - 10.0
        mean = ramp.mean(axis=1)
        carburised = np.concatenate([soaked["BOOST"], soaked["DIFFUSE"]]).mean(axis=1)
        seconds_mm = 660.0 * np.exp(-8287.0 / (carburised + 273.15))
        found = {
            f"{name.lower()}_in_band_s": float(np.sum(np.abs(rows - _CARBURISE_C).max(axis=1)[1:] <= 10.0))
            for name, rows in soaked.items()
        }
        reached = {"time_to_temperature_s": float(np.argmax(near))} if near.any() else {}
        return (
            found
            | reached
            | {
                "ramp_rate": float(np.polyfit(np.arange(len(mean)), mean, 1)[0] * 60.0) if len(mean) > 1 else 0.0,
                "zone_spread": float(np.ptp(held.mean(axis=0))),
                "boost_carbon": float(self._of(named["BOOST"], "cp").mean()),
                "diffuse_carbon": float(self._of(named["DIFFUSE"], "cp").mean()),
                "case_depth": float(np.sqrt(np.sum(seconds_mm**2) / 3600.0)),
            }
        )

    def _cooled(self, named: dict[str, Phase]) -> dict[str, float]:
        """Seconds from 800 to 500 Cel of the middle of the charge."""
        charge = self._of(named["QUENCH"], "load")[:, 0]
        above, below = (float(np.interp(-level, -charge, np.arange(len(charge)))) for level in (800.0, 500.0))
        return {"cooling_time_s": below - above}


def first_load(seed: int, faults: Faults) -> Load:
    """The load a simulation begins with: a furnace in production at quenching temperature."""
    return _run(
        1,
        0.0,
        _Memory((850.0, 850.0, 850.0), (0.6, 0.6, 0.6), (0.6, 0.6, 0.6), _AMBIENT_C, 0.4, 80.0, 96_400.0),
        seed,
        faults,
    )


def following_load(load: Load, seed: int, faults: Faults) -> Load:
    """The load after that one."""
    return _run(load.number + 1, load.end_s, load.left, seed, faults)


def _run(number: int, start_s: float, memory: _Memory, seed: int, faults: Faults) -> Load:
    mass = float(np.random.default_rng([seed, number]).normal(1.0, 0.02))
    # A day holds any load; asking every second of it for a month of faults would take most of the time.
    faults = Faults(tuple(f for f in faults.entries if f.end_s > start_s and f.start_s < start_s + 86_400.0))
    furnace = _Furnace(memory, mass, faults)
    rows, phases = [furnace.row("LOAD")], []
    t_s = start_s
    for name in STEPS:
        begun_s, last_s = t_s, t_s + _DURATION_S[name]
        if name == "TRANSFER":
            last_s += round(faults.size("late_transfer", t_s))
        while t_s < last_s and not (name == "RAMP" and furnace.at_temperature()):
            furnace.second(name, t_s)
            t_s += 1.0
            rows.append(furnace.row(name))
        phases.append(Phase(name, begun_s, t_s))
    return Load(number, tuple(phases), np.array(rows), furnace.memory())


class _Furnace:
    """The state that is stepped; `second` advances it by 1 s."""

    def __init__(self, memory: _Memory, mass: float, faults: Faults) -> None:
        self._zones, self._integrals = list(memory.zones), list(memory.integrals)
        self._outs = list(memory.outs)
        self._charge, self._carbon, self._oil, self._energy = _AMBIENT_C, memory.carbon, memory.oil, memory.energy
        self._mass, self._faults = mass, faults
        self._spread = 0.0

    def at_temperature(self) -> bool:
        """Whether every zone is within 5 Cel of the setpoint."""
        return min(self._zones) > _CARBURISE_C - 5.0

    def memory(self) -> _Memory:
        """What the next load finds."""
        (a, b, c), (i, j, k), (x, y, z) = self._zones, self._integrals, self._outs
        return _Memory((a, b, c), (i, j, k), (x, y, z), self._charge, self._carbon, self._oil, self._energy)

    def row(self, name: str) -> tuple[float, ...]:
        """The channels now."""
        target = _CARBON_SP.get(name, 0.0)
        enrich = max(0.0, 6.0 + 60.0 * (target - self._carbon)) if target else 0.0
        return (
            *self._zones, *self._outs, self._charge, self._spread, self._carbon, target, enrich, self._oil,
            float(name in ("TRANSFER", "QUENCH")), self._power(), self._energy,
        )  # fmt: skip

    def second(self, name: str, t_s: float) -> None:
        """One second of a program step that began before `t_s`."""
        inside = name not in ("QUENCH", "DRAIN", "UNLOAD")
        overload = self._faults.size("overload", t_s)
        tau_s = (_TAU_LOADED_S * self._mass * (1.0 + overload)) if inside else _TAU_EMPTY_S
        setpoint = _SETPOINT_C.get(name, _CARBURISE_C)
        middle = sum(self._zones) / 3.0
        for n in range(3):
            share = self._heating(n, setpoint, t_s)
            rise = (_GAIN_C * (share + _ZONE_BIAS[n]) - (self._zones[n] - _AMBIENT_C)) / tau_s
            # The fan mixes: neighbours pull each other together.
            self._zones[n] += rise + (middle - self._zones[n]) / 900.0 - (0.12 if name == "LOAD" else 0.0)
        self._energy += self._power() / 3600.0
        self._charge_second(name, middle, t_s)
        target = _CARBON_SP.get(name, 0.25)
        self._carbon += (target - self._carbon) / 720.0

    def _power(self) -> float:
        """Electric power, kW: fans and pumps, and three zones."""
        return 4.0 + _ZONE_KW * sum(self._outs)

    def _heating(self, n: int, setpoint: float, t_s: float) -> float:
        """PI with anti-windup; returns the power share the elements really give."""
        drift, loss, stuck = (
            self._of_zone(self._faults, kind, n, t_s) for kind in ("tc_drift", "element_loss", "ssr_stuck")
        )
        error = setpoint - (self._zones[n] - (drift.magnitude * drift.progress(t_s) if drift else 0.0))
        wanted = 0.05 * error + self._integrals[n]
        self._outs[n] = min(1.0, max(0.0, wanted))
        if self._outs[n] == wanted:
            self._integrals[n] += 0.05 * error / 900.0
        if stuck:
            return stuck.magnitude
        return self._outs[n] * (1.0 - loss.magnitude if loss else 1.0)

    @staticmethod
    def _of_zone(faults: Faults, kind: str, n: int, t_s: float) -> Fault | None:
        fault = faults.at(kind, t_s) if faults.entries else None
        return fault if fault and fault.tag.startswith(f"zone{n + 1}.") else None

    def _charge_second(self, name: str, middle: float, t_s: float) -> None:
        slower = 1.0 + self._faults.size("overload", t_s)
        if name in ("QUENCH", "DRAIN", "UNLOAD"):
            quench_tau_s = 40.0 * (1.2 if self._faults.at("agitator_fail", t_s) else 1.0)
            given = (self._charge - self._oil) / quench_tau_s
            self._charge -= given
            # A whole quench from 850 Cel lifts the oil by 15 Cel (a little is lost meanwhile).
            self._oil += given * 16.0 / 770.0 * self._mass
        else:
            self._charge += (middle - self._charge) / (700.0 * self._mass * slower)
        self._spread = 0.03 * (middle - self._charge) if name not in ("QUENCH", "DRAIN") else 2.0
        self._oil += (80.0 - self._oil) / 2400.0
