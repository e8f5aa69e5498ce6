"""Anodising and electrocoating with one hoist and one rectifier, and an oven with a part temperature logger.

- Racks follow one another without overlap; the hoist tells tank and carrier, tank 0 in the air.
- Anodising is constant current with a soft start; electrocoating is constant voltage, I = I0 exp(-t / tau) + I_inf.
- In the oven the part lags behind the air.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from simulators.faults import Faults
from simulators.physics import Noise, relax
from simulators.signals import Cycle, Failure, Phase, Signal

NAMESPACE = "urn:rootdx:sim:coating"
_MOVE_S = 12.0
_PLACE_S = 60.0


def _signal(name: str, unit: str, low: float, high: float, digits: int) -> Signal:
    return Signal(name, name, unit, low, high, f"nsu={NAMESPACE};s={name}", digits=digits)


@dataclass(frozen=True, slots=True)
class Coat:
    """A line: tanks with their dwell, and what its rectifier does.

    Attributes:
        tanks: (name, s) in order; the first and the last are by hand.
        main: where it is coated.
        area_dm2: of a rack.
        volt: at the rectifier.
        current: A, since the current was switched on, of a rack whose scatter is 1.
        thickness: um for A.h.
    """

    tanks: tuple[tuple[str, float], ...]
    main: str
    area_dm2: float
    volt: float
    current: Callable[[float], float]
    thickness: Callable[[float], float]


ANODISE = Coat(
    (
        ("LOAD", 60), ("DEGREASE", 300), ("RINSE_1", 60), ("ETCH", 120), ("RINSE_2", 60), ("ANODISE", 1800),
        ("RINSE_3", 60), ("SEAL", 900), ("UNLOAD", 60),
    ),
    "ANODISE", 200.0, 16.0, lambda s: 300.0 * min(1.0, s / 60.0), lambda ah: 0.327741 * ah * 60.0 / 200.0,
)  # fmt: skip
ECOAT = Coat(
    (
        ("LOAD", 60), ("DEGREASE", 180), ("RINSE_1", 60), ("PHOSPHATE", 180), ("RINSE_2", 60), ("ECOAT", 180),
        ("RINSE_3", 60), ("UNLOAD", 60),
    ),
    "ECOAT", 400.0, 250.0, lambda s: 150.0 * math.exp(-s / 25.0) + 5.0, lambda ah: 0.03 * ah * 36e6 / 1.35 / 40_000.0,
)  # fmt: skip
SIGNALS = (
    _signal("hoist.tank_id", "1", 0.0, 20.0, 0),
    _signal("hoist.carrier_id", "1", 0.0, 1e9, 0),
    _signal("rect1.amp", "A", 0.0, 1000.0, 1),
    _signal("rect1.volt", "V", 0.0, 400.0, 1),
    _signal("bath1.temp", "Cel", 0.0, 100.0, 1),
)
FAILURES = (Failure("bare_contact", ("rect1.amp",), 25.0, "the current does not decay below A"),)


class CoatLine:
    """The line; `sample` and `cycles` as in `signals.Machine`. A cycle begins with the lift from LOAD."""

    def __init__(self, coat: Coat, seed: int, faults: Faults) -> None:
        self._coat, self._seed, self._faults = coat, seed, faults
        self._noise = Noise(seed)
        self._takt_s = sum(s + _MOVE_S for _, s in coat.tanks) + _PLACE_S
        self._rack = lru_cache(64)(self._make_rack)

    def _make_rack(self, number: int) -> tuple[tuple[Phase, ...], float]:
        """Phases of a rack, LOAD and UNLOAD included, and its scatter."""
        draw = np.random.default_rng([self._seed, number])
        at_s, phases = 30.0 + (number - 1) * self._takt_s, []
        for name, dwell_s in self._coat.tanks:
            lasts_s = dwell_s + float(draw.uniform(0.0, 2.0))
            phases.append(Phase(name, at_s, at_s + lasts_s))
            at_s += lasts_s + _MOVE_S - 2.0
        return tuple(phases), 1.0 + 0.01 * float(draw.standard_normal())

    def _current(self, number: int, t_s: float) -> float:
        phases, scatter = self._rack(number)
        stay = next(phase for phase in phases if phase.name == self._coat.main)
        if not stay.start_s + 5.0 <= t_s < stay.end_s - 3.0:
            return 0.0
        return max(self._coat.current(t_s - stay.start_s - 5.0) * scatter, self._faults.size("bare_contact", t_s))

    def sample(self, t_s: float) -> dict[str, float]:
        """Every signal at a simulated time."""
        number = max(1, math.floor((t_s - 30.0) / self._takt_s) + 1)
        phases, _ = self._rack(number)
        inside = next((n for n, phase in enumerate(phases, 1) if phase.start_s <= t_s < phase.end_s), 0)
        over = t_s >= phases[-1].start_s
        current = self._current(number, t_s)
        scatter = self._noise.normal("rect1.amp", t_s, 0.2, 0.5) if current else 0.0
        return {
            "hoist.tank_id": float(len(phases) if over else inside),
            "hoist.carrier_id": float(number),
            "rect1.amp": max(0.0, current + scatter),
            "rect1.volt": self._coat.volt if current else 0.0,
            "bath1.temp": 20.0 + self._noise.normal("bath1.temp", t_s, 0.2, 0.5),
        }

    def cycles(self, after_s: float, until_s: float) -> Iterator[Cycle]:
        """Racks that are set down in UNLOAD in the span."""
        number = max(1, math.floor((after_s - 30.0) / self._takt_s))
        while 30.0 + (number - 1) * self._takt_s < until_s:
            phases, _ = self._rack(number)
            end_s = phases[-1].start_s
            if after_s < end_s <= until_s:
                yield Cycle(number, phases[0].start_s, end_s, phases[:-1], self._features(number, phases))
            number += 1

    def _features(self, number: int, phases: tuple[Phase, ...]) -> dict[str, float]:
        stay = next(phase for phase in phases if phase.name == self._coat.main)
        seconds = np.arange(stay.start_s, stay.end_s, 0.1) + 0.05
        current = np.array([self._current(number, float(t)) for t in seconds])
        charge = float(current.sum()) * 0.1 / 3600.0
        return {
            "charge": charge,
            "thickness": self._coat.thickness(charge),
            "plating_s": float((current > 0).sum()) * 0.1,
            "charge_per_area": charge * 3600.0 / (self._coat.area_dm2 / 100.0),
        }


OVEN_SIGNALS = (
    _signal("oven.zone.temp", "Cel", 0.0, 300.0, 1),
    _signal("pmt", "Cel", 0.0, 300.0, 1),
    _signal("line.speed", "m/min", 0.0, 20.0, 2),
)
OVEN_FAILURES = (Failure("oven_cold", ("oven.zone.temp", "pmt"), 25.0, "the air is colder by Cel"),)
_OVEN_C, _ROOM_C, _CURE_C = 190.0, 25.0, 180.0
_IN_S, _OUT_S, _REST_S = 1800.0, 1200.0, 300.0
_HEAT_TAU_S, _COOL_TAU_S = 200.0, 150.0


class CureOven:
    """A logger travels through the oven again and again; a cycle is one travel."""

    def __init__(self, seed: int, faults: Faults) -> None:
        self._seed, self._faults = seed, faults
        self._noise = Noise(seed)
        self._lag_s = lru_cache(64)(self._make_lag_s)

    def _make_lag_s(self, number: int) -> float:
        return _HEAT_TAU_S * (1.0 + 0.05 * float(np.random.default_rng([self._seed, number]).standard_normal()))

    def part(self, number: int, since_s: float) -> float:
        """Part metal temperature, Cel, since it entered the oven."""
        start_s = 60.0 + (number - 1) * (_IN_S + _OUT_S + _REST_S)
        air = _OVEN_C - self._faults.size("oven_cold", start_s)
        if since_s < _IN_S:
            return relax(_ROOM_C, air, max(0.0, since_s), self._lag_s(number))
        return relax(relax(_ROOM_C, air, _IN_S, self._lag_s(number)), _ROOM_C, since_s - _IN_S, _COOL_TAU_S)

    def sample(self, t_s: float) -> dict[str, float]:
        """Every signal at a simulated time."""
        takt_s = _IN_S + _OUT_S + _REST_S
        number = max(1, math.floor((t_s - 60.0) / takt_s) + 1)
        since_s = t_s - 60.0 - (number - 1) * takt_s
        air = _OVEN_C - self._faults.size("oven_cold", t_s)
        return {
            "oven.zone.temp": air + self._noise.normal("oven.zone.temp", t_s, 0.5, 1.0),
            "pmt": (self.part(number, since_s) if since_s >= 0 else _ROOM_C) + self._noise.normal("pmt", t_s, 0.2, 1.0),
            "line.speed": 2.0 + self._noise.normal("line.speed", t_s, 0.01, 1.0),
        }

    def cycles(self, after_s: float, until_s: float) -> Iterator[Cycle]:
        """Travels; a part is in when it is above 60 Cel."""
        takt_s, number = _IN_S + _OUT_S + _REST_S, 1
        while 60.0 + (number - 1) * takt_s < until_s:
            start_s = 60.0 + (number - 1) * takt_s
            seconds = np.arange(0.0, takt_s, 0.5)
            part = np.array([self.part(number, float(s)) for s in seconds])
            hot = np.flatnonzero(part > 60.0)
            end_s = start_s + float(seconds[hot[-1]])
            if after_s < end_s <= until_s:
                features = {"cure_s": float((part >= _CURE_C).sum()) * 0.5, "peak": float(part.max())}
                phases = (Phase("CURE", start_s + float(seconds[hot[0]]), end_s),)
                yield Cycle(number, phases[0].start_s, end_s, phases, features)
            number += 1


def anodise(seed: int, faults: Faults) -> CoatLine:
    """An anodising line."""
    return CoatLine(ANODISE, seed, faults)


def ecoat(seed: int, faults: Faults) -> CoatLine:
    """An electrocoating line."""
    return CoatLine(ECOAT, seed, faults)
