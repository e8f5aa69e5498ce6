"""A sealed-quench carburising furnace with three zones, behind OPC UA.

- Numbers from domain.md 6.9: SP 925 Cel, PV +- 0.6, carbon 1.05 then 0.80 +- 0.01, oil 80 Cel and +15 a quench,
  `dT/dt = (K u - (T - T_a)) / tau` with tau 90 min empty and 150 min loaded, PID each second, carbon lag 12 min,
  probe burn-off every 12 h.
- A load is simulated second by second when its time is first asked for (`furnace_load`); noise is added when sampled.
- Carbon potential is what the controller computes from the probe (domain.md F-HT-07), so mV and %C agree.
"""

import math
from collections.abc import Iterator

from simulators.faults import Faults
from simulators.furnace_load import STEPS, Load, first_load, following_load
from simulators.physics import Noise, Timeline, relax
from simulators.signals import Cycle, Failure, Kind, Signal, phase_at

NAMESPACE = "urn:rootdx:sim:furnace"
_BURN_OFF_EVERY_S = 12 * 3600.0
_BURN_OFF_S = 90.0
_PROCESS_FACTOR = 150.0


def _signal(name: str, unit: str, low: float, high: float, digits: int = 1, kind: Kind = "double") -> Signal:
    address = f"nsu={NAMESPACE};s={name}"
    return Signal(name, name, unit, low, high, address, digits=digits, kind=kind)


SIGNALS = (
    *(_signal(f"zone{n}.pv", "Cel", 0.0, 1200.0) for n in (1, 2, 3)),
    *(_signal(f"zone{n}.sp", "Cel", 0.0, 1200.0) for n in (1, 2, 3)),
    *(_signal(f"zone{n}.out", "%", 0.0, 100.0) for n in (1, 2, 3)),
    _signal("overtemp.pv", "Cel", 0.0, 1200.0),
    *(_signal(f"load_tc.{n}", "Cel", 0.0, 1200.0) for n in (1, 2, 3)),
    _signal("probe.mv", "mV", 0.0, 1300.0),
    _signal("probe.temp", "Cel", 0.0, 1200.0),
    _signal("probe.impedance", "kOhm", 0.0, 100.0, 2),
    _signal("atm.cp", "%{wt}", 0.0, 2.0, 3),
    _signal("atm.cp_sp", "%{wt}", 0.0, 2.0, 2),
    _signal("atm.co", "%", 0.0, 40.0, 2),
    _signal("atm.dp", "Cel", -40.0, 40.0),
    _signal("gas.endo", "m3/h", 0.0, 40.0, 2),
    _signal("gas.enrich", "L/min", 0.0, 60.0, 2),
    _signal("quench.temp", "Cel", 0.0, 200.0),
    _signal("agit.rpm", "/min", 0.0, 1500.0, 0),
    _signal("agit.amp", "A", 0.0, 60.0, 2),
    _signal("power", "kW", 0.0, 300.0),
    _signal("energy", "kW.h", 0.0, 1e7, 3),
    _signal("door1", "1", 0.0, 1.0, 0, "bool"),
    _signal("door2", "1", 0.0, 1.0, 0, "bool"),
    _signal("elevator_down", "1", 0.0, 1.0, 0, "bool"),
    _signal("burner", "1", 0.0, 1.0, 0, "bool"),
    _signal("fan", "1", 0.0, 1.0, 0, "bool"),
    _signal("burn_off", "1", 0.0, 1.0, 0, "bool"),
    _signal("program.step", "1", 0.0, 20.0, 0, "int32"),
    _signal("program.state", "1", 0.0, 20.0, 0, "int32"),
    _signal("batch", "1", 0.0, 4294967295.0, 0, "uint32"),
)

FAILURES = (
    Failure("tc_drift", ("zone1.pv", "zone2.pv", "zone3.pv"), 8.0, "control TC reads low by Cel, growing until end_s"),
    Failure("element_loss", ("zone1.out", "zone2.out", "zone3.out"), 0.33, "a zone loses this share of its power"),
    Failure("ssr_stuck", ("zone1.pv", "zone2.pv", "zone3.pv"), 0.9, "a zone heats with this share whatever its output"),
    Failure("air_leak", ("probe.mv",), 40.0, "probe falls by mV, more enrichment, higher dew point"),
    Failure("probe_drift", ("probe.mv", "probe.impedance"), 10.0, "probe reads high by mV, growing; impedance rises"),
    Failure("agitator_fail", ("agit.amp",), 0.40, "agitator current falls by this share, the quench is 20 % slower"),
    Failure("late_transfer", ("elevator_down",), 15.0, "transfer to the oil takes this many s longer"),
    Failure("overload", ("load_tc.1",), 0.25, "time to temperature grows by this share"),
)  # fmt: skip


class CarburisingFurnace:
    """The furnace; `sample` and `cycles` as in `signals.Machine`."""

    def __init__(self, seed: int, faults: Faults) -> None:
        self._faults = faults
        self._noise = Noise(seed)
        # A load is four hours of seconds; two are enough to look back over the last one.
        self._loads = Timeline(lambda: first_load(seed, faults), lambda load: following_load(load, seed, faults), 2)

    def sample(self, t_s: float) -> dict[str, float]:
        """Every signal at a simulated time."""
        load = self._loads.at(t_s)
        phase = phase_at(load.phases, t_s)
        step = STEPS.index(phase.name)
        row = load.row(t_s)
        values = self._zones(load, row, t_s) | self._atmosphere(row, t_s) | self._oil(row, t_s)
        return values | {
            "energy": row["energy"],
            "door1": float(phase.name in ("LOAD", "UNLOAD")),
            "door2": float(phase.name == "TRANSFER" or (phase.name == "LOAD" and t_s > phase.start_s + 90.0)),
            "elevator_down": float(phase.name in ("QUENCH", "DRAIN") and t_s < load.drained_s),
            "burner": float(phase.name not in ("LOAD", "UNLOAD")),
            "fan": float(phase.name not in ("LOAD", "TRANSFER")),
            "program.step": float(step + 1),
            "program.state": float(step),
            "batch": float(load.number),
        }

    def cycles(self, after_s: float, until_s: float) -> Iterator[Cycle]:
        """Completed loads."""
        for load in self._loads.completed(after_s, until_s):
            yield Cycle(load.number, load.start_s, load.end_s, load.phases, load.features())

    def _zones(self, load: Load, row: dict[str, float], t_s: float) -> dict[str, float]:
        normal, values = self._noise.normal, {}
        drift = self._faults.at("tc_drift", t_s)
        for n in (1, 2, 3):
            reads_low = drift.magnitude * drift.progress(t_s) if drift and drift.tag == f"zone{n}.pv" else 0.0
            values[f"zone{n}.pv"] = row[f"zone{n}"] - reads_low + normal(f"zone{n}.pv", t_s, 0.6, 1.0)
            values[f"zone{n}.sp"] = load.setpoint(t_s)
            values[f"zone{n}.out"] = 100.0 * row[f"out{n}"]
            values[f"load_tc.{n}"] = row["load"] + row["spread"] * (n - 2) + normal(f"load_tc.{n}", t_s, 0.4, 1.0)
        values["overtemp.pv"] = row["zone1"] + 2.0 + normal("overtemp.pv", t_s, 0.6, 1.0)
        values["power"] = row["power"] + normal("power", t_s, 0.5, 1.0)
        return values

    def _atmosphere(self, row: dict[str, float], t_s: float) -> dict[str, float]:
        normal = self._noise.normal
        leak = self._faults.size("air_leak", t_s)
        drift = self._faults.grown("probe_drift", t_s)
        probe_c = row["zone2"] + normal("probe.temp", t_s, 0.4, 1.0)
        mv = probe_mv(row["cp"], probe_c) - leak + drift
        into_burn_off_s = (t_s + _BURN_OFF_EVERY_S / 2) % _BURN_OFF_EVERY_S
        burning = into_burn_off_s < _BURN_OFF_S
        if burning:
            mv = 180.0
        elif into_burn_off_s < _BURN_OFF_S + 600.0:
            mv = relax(180.0, mv, into_burn_off_s - _BURN_OFF_S, 90.0)
        mv += normal("probe.mv", t_s, 0.8, 1.0)
        return {
            "probe.mv": mv,
            "probe.temp": probe_c,
            "probe.impedance": 4.5 + 1.2 * drift + abs(normal("probe.impedance", t_s, 0.1, 1.0)),
            "atm.cp": carbon(mv, probe_c),
            "atm.cp_sp": row["cp_sp"],
            "atm.co": 20.0 + normal("atm.co", t_s, 0.08, 1.0),
            "atm.dp": min(40.0, dew_point_c(mv - drift, probe_c) + normal("atm.dp", t_s, 0.15, 1.0)),
            "gas.endo": 12.0 + normal("gas.endo", t_s, 0.05, 1.0),
            "gas.enrich": max(0.0, row["enrich"] + 0.15 * leak + normal("gas.enrich", t_s, 0.1, 1.0)),
            "burn_off": float(burning),
        }

    def _oil(self, row: dict[str, float], t_s: float) -> dict[str, float]:
        lost = self._faults.size("agitator_fail", t_s)
        running = 1.0 if row["agitator"] > 0.5 else 0.35
        return {
            "quench.temp": row["oil"] + self._noise.normal("quench.temp", t_s, 0.1, 1.0),
            "agit.rpm": 1180.0 * running * (1.0 - 0.5 * lost) + self._noise.normal("agit.rpm", t_s, 3.0, 1.0),
            "agit.amp": 28.0 * running * (1.0 - lost) + self._noise.normal("agit.amp", t_s, 0.15, 1.0),
        }


def probe_mv(carbon_wt: float, temp_c: float) -> float:
    """Zirconia probe, mV, in gas of that carbon potential (%C): the inverse of F-HT-07."""
    ratio = max(carbon_wt, 0.01) * (29.0 * _PROCESS_FACTOR + 400.0) / (5.102 - carbon_wt)
    return 786.0 + 0.043102 * (temp_c + 273.15) * math.log(ratio)


def carbon(mv: float, temp_c: float) -> float:
    """Carbon potential, %C, a controller computes from its probe (F-HT-07)."""
    a = math.exp(min(20.0, (mv - 786.0) / (0.043102 * (temp_c + 273.15))))
    return 5.102 * a / (29.0 * _PROCESS_FACTOR + 400.0 + a)


def dew_point_c(mv: float, temp_c: float) -> float:
    """Dew point, Cel, from the probe (F-HT-08); held at the instrument's -40 and 40."""
    rankine = 1.8 * (temp_c + 273.15)
    low = 6.281216 + math.log10(29.0 * _PROCESS_FACTOR + 400.0) + (mv - 1267.8) / (0.05512 * rankine)
    fahrenheit = 4238.7 / low - 459.69 if low > 0.0 else 1000.0
    return min(40.0, max(-40.0, (fahrenheit - 32.0) / 1.8))
