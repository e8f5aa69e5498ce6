"""A 2 t aluminium melting and holding furnace, electric, behind Modbus TCP.

- A batch is CHARGE, MELT, SUPERHEAT, TREAT, TAP, CLEAN and HOLD until the next charge (domain.md 1.5): some three and a
  half hours. MELT ends when the bath passes 610 Cel, ten above the liquidus.
- Holding takes 45 kW (domain.md 6.9); heating takes 95 % of the nominal 350 kW. Sensor noise 0.2 Cel.
- Loads are weighed: `charge_total` steps with each; `tap_total` and the bath follow the tap evenly.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from simulators.faults import Faults
from simulators.physics import Noise, Timeline, ramp
from simulators.signals import Cycle, Failure, Phase, Signal, lay_out, phase_at

STATES = ("HOLD", "CHARGE", "MELT", "SUPERHEAT", "TREAT", "TAP", "CLEAN")
NOMINAL_KW, HOLD_KW, LIQUIDUS_C = 350.0, 45.0, 600.0
LOADS, DOOR_S = 5, 15.0
_LOAD_EVERY_S = 180.0
_SHARE = {"CHARGE": 0.45, "MELT": 0.95, "SUPERHEAT": 0.95, "TREAT": 0.2, "TAP": 0.1, "CLEAN": 0.1}
_HOLD_C = 725.0

SIGNALS = (
    Signal("bath_temp", "bath.temp", "Cel", 0.0, 1000.0, "holding:0:int16", 0.1),
    Signal("power", "furnace.kw", "kW", 0.0, 500.0, "holding:1:uint16", 0.1),
    Signal("energy", "energy.total", "kW.h", 0.0, 429_496_729.5, "holding:2:uint32", 0.1, counter=True),
    Signal("charge_total", "charge.mass", "kg", 0.0, 4294967295.0, "holding:4:uint32", counter=True),
    Signal("tap_total", "tap.mass", "kg", 0.0, 4294967295.0, "holding:6:uint32", counter=True),
    Signal("bath_mass", "bath.mass", "kg", 0.0, 4000.0, "holding:8:uint16"),
    Signal("lining_leak", "lining.leak", "mA", 0.0, 100.0, "holding:9:float32"),
    Signal("batch_counter", "batch.count", "1", 0.0, 4294967295.0, "holding:11:uint32", counter=True),
    Signal("state", "cycle.state", "1", 0.0, 6.0, "holding:13:uint16"),
    Signal("treat_on", "treat_on", "1", 0.0, 1.0, "coil:0"),
    Signal("clean_on", "clean_on", "1", 0.0, 1.0, "coil:1"),
)

FAILURES = (
    Failure("dross", ("tap_total",), 0.04, "this share more of the charge is lost"),
    Failure("lining_wear", ("lining_leak", "power"), 0.05, "this share more power, leak current grows tenfold"),
    Failure("late_tap", ("state",), 900.0, "the bath waits this many s more between treatment and tap"),
    Failure("overheating", ("bath_temp",), 30.0, "superheated by Cel more"),
)


@dataclass(frozen=True, slots=True)
class _Batch:
    """A batch and what it inherits: counters and the heel at its start."""

    number: int
    phases: tuple[Phase, ...]
    features: dict[str, float]
    load_kg: tuple[float, ...]
    top_c: float
    more_kw: float
    energy_kwh: float
    charged_kg: float
    tapped_kg: float
    heel_kg: float
    begin_c: float

    @property
    def start_s(self) -> float:
        return self.phases[0].start_s

    @property
    def end_s(self) -> float:
        return self.phases[-1].end_s


class MeltingFurnace:
    """The furnace; `sample` and `cycles` as in `signals.Machine`."""

    def __init__(self, seed: int, faults: Faults) -> None:
        self._seed = seed
        self._faults = faults
        self._noise = Noise(seed)
        self._batches = Timeline(lambda: self._batch(1, 0.0, (1_624.0, 3_410.0, 2_712.0), 600.0),
                                 self._following)  # fmt: skip

    def sample(self, t_s: float) -> dict[str, float]:
        """Every signal at a simulated time."""
        batch = self._batches.at(t_s)
        phase = phase_at(batch.phases, t_s)
        charged, tapped = _loaded(batch, t_s), _tapped(batch, t_s)
        wear = self._faults.grown("lining_wear", t_s)
        leak = 2.0 * math.exp(2.3 * wear / 0.05) if wear else 2.0
        return {
            "bath_temp": _bath_c(batch, t_s) + self._noise.normal("bath_temp", t_s, 0.2),
            "power": _power(batch, phase.name) + self._noise.normal("power", t_s, 0.8),
            "energy": batch.energy_kwh + _energy_kwh(batch, t_s),
            "charge_total": batch.charged_kg + charged,
            "tap_total": batch.tapped_kg + tapped,
            "bath_mass": batch.heel_kg + charged - tapped - _lost(batch, t_s),
            "lining_leak": leak + self._noise.normal("lining_leak", t_s, 0.02),
            "batch_counter": float(batch.number - 1),
            "state": float(STATES.index(phase.name)),
            "treat_on": float(phase.name == "TREAT"),
            "clean_on": float(phase.name == "CLEAN"),
        }

    def cycles(self, after_s: float, until_s: float) -> Iterator[Cycle]:
        """Completed batches."""
        for batch in self._batches.completed(after_s, until_s):
            yield Cycle(batch.number, batch.start_s, batch.end_s, batch.phases, batch.features)

    def _following(self, batch: _Batch) -> _Batch:
        counters = (
            batch.energy_kwh + _energy_kwh(batch, batch.end_s),
            batch.charged_kg + sum(batch.load_kg),
            batch.tapped_kg + batch.features["tapped"],
        )
        return self._batch(batch.number + 1, batch.end_s, counters, batch.features["heel_end"])

    def _batch(self, number: int, start_s: float, counters: tuple[float, float, float], heel_kg: float) -> _Batch:
        draw = np.random.default_rng([self._seed, number]).standard_normal(LOADS + 8).tolist()
        loads = tuple(float(round(300.0 + 12.0 * draw[8 + i])) for i in range(LOADS))
        faults = self._faults
        charged = sum(loads)
        loss = max(0.005, 0.0275 + 0.003 * draw[0]) + faults.size("dross", start_s)
        heel_end = float(round(600.0 + 15.0 * draw[1]))
        tapped = float(round(charged * (1.0 - loss) + heel_kg - heel_end))
        wear = faults.grown("lining_wear", start_s)
        late_s = faults.size("late_tap", start_s)
        melt_s = 4200.0 * charged / 1500.0 * (1.0 + 0.03 * draw[2])
        durations = {
            "CHARGE": (LOADS - 1) * _LOAD_EVERY_S + DOOR_S,
            "MELT": melt_s,
            "SUPERHEAT": 2300.0 + 60.0 * draw[3],
            "TREAT": 720.0 + 20.0 * draw[4] + late_s,
            "TAP": 600.0 + 25.0 * draw[5],
            "CLEAN": 480.0 + 30.0 * draw[6],
            "HOLD": 2400.0 + 500.0 * min(2.0, max(-2.0, draw[7])),
        }
        # The bath waits after its treatment: the gas is off, the spout still shut.
        phases = _split_wait(lay_out(start_s, durations), late_s)
        top = 740.0 + faults.size("overheating", start_s)
        features = {
            "charged": charged, "tapped": tapped, "heel_start": heel_kg, "heel_end": heel_end,
            "melt_loss": (charged + heel_kg - tapped - heel_end) / charged,
        }  # fmt: skip
        return _Batch(
            number, phases, features, loads, top, NOMINAL_KW * wear, *counters, heel_kg, _HOLD_C,
        )  # fmt: skip


def _split_wait(phases: tuple[Phase, ...], late_s: float) -> tuple[Phase, ...]:
    """TREAT without the wait after it, which is HOLD."""
    if late_s <= 0.0:
        return phases
    parts: list[Phase] = []
    for phase in phases:
        if phase.name == "TREAT":
            split = phase.end_s - late_s
            parts += [Phase("TREAT", phase.start_s, split), Phase("HOLD", split, phase.end_s)]
        else:
            parts.append(phase)
    return tuple(parts)


def _named(batch: _Batch, name: str) -> Phase:
    return next(phase for phase in batch.phases if phase.name == name)


def _loaded(batch: _Batch, t_s: float) -> float:
    """What was charged until then, kg: a load at the start and one every three minutes."""
    count = min(LOADS, 1 + math.floor((t_s - batch.start_s) / _LOAD_EVERY_S))
    return float(sum(batch.load_kg[:count]))


def _tapped(batch: _Batch, t_s: float) -> float:
    tap = _named(batch, "TAP")
    return batch.features["tapped"] * ramp(t_s, tap.start_s, tap.end_s)


def _lost(batch: _Batch, t_s: float) -> float:
    """Burnt and drossed until then, kg: while it melts and is cleaned."""
    melt, clean = _named(batch, "MELT"), _named(batch, "CLEAN")
    share = 0.6 * ramp(t_s, melt.start_s, melt.end_s) + 0.4 * ramp(t_s, clean.start_s, clean.end_s)
    return batch.features["melt_loss"] * batch.features["charged"] * share


def _bath_c(batch: _Batch, t_s: float) -> float:
    """Bath temperature, Cel: cold metal, the melting plateau, superheat, and back to holding."""
    phases = {phase.name: phase for phase in batch.phases}
    charge, melt, heat = phases["CHARGE"], phases["MELT"], phases["SUPERHEAT"]
    treat, tap, clean, hold = (phases[name] for name in ("TREAT", "TAP", "CLEAN", "HOLD"))
    # All is liquid now, so the bath warms as fast as it will while it is superheated.
    liquid = melt.end_s - 10.0 * (heat.end_s - heat.start_s) / (batch.top_c - LIQUIDUS_C - 10.0)
    corners = [
        (charge.start_s, batch.begin_c), (charge.start_s + 60.0, batch.begin_c - 30.0), (charge.end_s, 575.0),
        (liquid, LIQUIDUS_C), (melt.end_s, LIQUIDUS_C + 10.0), (heat.end_s, batch.top_c),
        (treat.end_s, batch.top_c - 6.0),
        (tap.start_s, batch.top_c - 7.0), (tap.end_s, batch.top_c - 11.0), (clean.end_s, _HOLD_C + 1.0),
        (hold.end_s, _HOLD_C),
    ]  # fmt: skip
    times, temps = zip(*sorted(corners), strict=True)
    return float(np.interp(t_s, times, temps))


def _power(batch: _Batch, name: str) -> float:
    return HOLD_KW if name == "HOLD" else NOMINAL_KW * _SHARE[name] + batch.more_kw


def _energy_kwh(batch: _Batch, t_s: float) -> float:
    """Energy from the start of the batch to `t_s`, kWh."""
    joules = 0.0
    for phase in batch.phases:
        joules += _power(batch, phase.name) * (phase.end_s - phase.start_s) * ramp(t_s, phase.start_s, phase.end_s)
    return joules / 3600.0
