"""An MFDC spot-welding gun: one burst a weld (current, voltage, force at 1 kHz), counters beside it.

- Numbers from domain.md 6.9: 9.5 kA +- 0.08, 220 ms, r0 210 +- 25, beta 160 +- 5 at 55 ms, end 115 +- 3 uOhm,
  3.2 +- 0.05 kN; beta falls as the tips wear and comes back with each dress, every 200 welds.
- A short preheat goes before the main pulse. Every edge lies on the 1 ms grid.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from simulators.faults import Faults
from simulators.signals import Burst, Cycle, Failure, Phase, Signal, lay_out

NAMESPACE = "urn:rootdx:sim:spot"
NAME = "spot_curve"
CHANNELS = ("i", "u", "force")
PERIOD_S = 0.001
_DURATION_S = {"SQUEEZE": 0.300, "PULSE_1": 0.040, "COOL_1": 0.030, "PULSE_2": 0.220, "HOLD": 0.200, "OFF": 0.060}
_TAKT_S = 4.0
_DRESS_EVERY = 200
_WEAR = 0.00015
_PREHEAT_KA = 6.0
_VALLEY_S, _BETA_S = 0.015, 0.055
_VALLEY_UOHM = 138.0

SIGNALS = (
    Signal("weld.count", "weld.count", "1", 0.0, 4294967295.0, f"nsu={NAMESPACE};s=weld.count", counter=True, digits=0),
    Signal("tip.dress_count", "tip.dress_count", "1", 0.0, 10_000.0, f"nsu={NAMESPACE};s=tip.dress_count", digits=0),
    Signal("program", "job_no", "1", 0.0, 255.0, f"nsu={NAMESPACE};s=program", digits=0),
)
FAILURES = (
    Failure("expulsion", ("weld.count",), 12.0, "at 150 ms of the pulse resistance falls by uOhm, force by 5 %"),
    Failure("low_force", ("weld.count",), 0.25, "force falls by this share, resistance rises by a quarter of it"),
    Failure("shunting", ("weld.count",), 0.35, "the starting resistance falls by this share"),
    Failure("mushroomed", ("weld.count",), 0.08, "the beta peak falls by this share and comes 8 ms later"),
)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Weld:
    number: int
    phases: tuple[Phase, ...]
    current_ka: float
    force_kn: float
    start_uohm: float
    beta_uohm: float
    beta_s: float
    end_uohm: float
    drop_uohm: float


class SpotGun:
    """The gun; `sample`, `cycles` and `bursts` as in `signals.BurstingMachine`."""

    def __init__(self, seed: int, faults: Faults) -> None:
        self._seed, self._faults = seed, faults
        self._weld = lru_cache(512)(self._make_weld)

    def sample(self, t_s: float) -> dict[str, float]:
        """The counters; a weld counts when its burst ends."""
        done = sum(self._weld(n).phases[-1].end_s <= t_s for n in self._near(t_s))
        done += max(0, self._near(t_s).start - 1)
        return {"weld.count": float(done), "tip.dress_count": float(done % _DRESS_EVERY), "program": 1.0}

    @staticmethod
    def _near(t_s: float) -> range:
        middle = math.floor(t_s / _TAKT_S)
        return range(max(1, middle - 2), middle + 3)

    def cycles(self, after_s: float, until_s: float) -> Iterator[Cycle]:
        """Welds that end in the span."""
        for weld in self._between(after_s, until_s):
            yield Cycle(weld.number, weld.phases[0].start_s, weld.phases[-1].end_s, weld.phases, self._features(weld))

    def bursts(self, after_s: float, until_s: float) -> Iterator[Burst]:
        """The curves of the welds that end in the span."""
        for weld in self._between(after_s, until_s):
            noise = np.random.default_rng([self._seed, weld.number, 9]).standard_normal((len(self._grid()), 3))
            value = np.column_stack(self._clean(weld)) + noise * (0.005, 0.004, 0.01)
            yield Burst(NAME, weld.phases[0].start_s, PERIOD_S, CHANNELS, value.astype(np.float32))

    def _between(self, after_s: float, until_s: float) -> Iterator[_Weld]:
        number = max(1, math.floor(after_s / _TAKT_S) - 2)
        while self._weld(number).phases[-1].end_s <= until_s:
            if self._weld(number).phases[-1].end_s > after_s:
                yield self._weld(number)
            number += 1

    def _make_weld(self, number: int) -> _Weld:
        draw = np.random.default_rng([self._seed, number]).standard_normal(6).tolist()
        start_s = round(number * _TAKT_S + 0.3 * math.tanh(draw[0]), 3)
        worn = 1.0 - _WEAR * ((number - 1) % _DRESS_EVERY)
        size = {name: self._faults.size(name, start_s) for name in ("low_force", "shunting", "mushroomed", "expulsion")}
        rough = 1.0 + size["low_force"] / 4.0
        return _Weld(
            number=number,
            phases=lay_out(start_s, _DURATION_S),
            current_ka=9.5 + 0.08 * draw[1],
            force_kn=(3.2 + 0.05 * draw[2]) * (1.0 - size["low_force"]),
            start_uohm=max(150.0, 210.0 + 25.0 * draw[3]) * rough * (1.0 - size["shunting"]),
            beta_uohm=max(146.0, (160.0 + 5.0 * draw[4]) * worn * rough * (1.0 - size["mushroomed"])),
            beta_s=_BETA_S + (0.008 if size["mushroomed"] else 0.0),
            end_uohm=(115.0 + 3.0 * draw[5]) * rough,
            drop_uohm=size["expulsion"],
        )

    @staticmethod
    def _grid() -> Floats:
        """Times of the samples since the weld began, in the middle of their milliseconds."""
        count = round(sum(_DURATION_S.values()) / PERIOD_S)
        return np.linspace(0.5, count - 0.5, count) * PERIOD_S

    def _clean(self, weld: _Weld) -> tuple[Floats, Floats, Floats]:
        """Current in kA, voltage in V, force in kN without noise."""
        t = self._grid()
        bounds = {p.name: (p.start_s - weld.phases[0].start_s, p.end_s - weld.phases[0].start_s) for p in weld.phases}

        def during(name: str) -> npt.NDArray[np.bool_]:
            return (t >= bounds[name][0]) & (t < bounds[name][1])

        current = np.where(during("PULSE_2"), weld.current_ka, np.where(during("PULSE_1"), _PREHEAT_KA, 0.0))
        resistance = np.where(during("PULSE_2"), self._resistance(weld, t - bounds["PULSE_2"][0]), weld.start_uohm)
        force = np.where(during("OFF"), 0.0, weld.force_kn * np.minimum(1.0, t / 0.100))
        expelled = (weld.drop_uohm > 0) & (t >= bounds["PULSE_2"][0] + 0.150)
        voltage: Floats = current * resistance / 1e3
        return current, voltage, np.where(expelled, 0.95, 1.0) * force

    @staticmethod
    def _resistance(weld: _Weld, s: Floats) -> Floats:
        """Dynamic resistance of the main pulse, uOhm: contact, beta peak, fall while the nugget grows."""
        contact = (weld.start_uohm - _VALLEY_UOHM) * np.exp(-np.maximum(s - 0.003, 0.0) / 0.003)
        part = np.clip((s - _VALLEY_S) / (weld.beta_s - _VALLEY_S), 0.0, 1.0)
        rise = _VALLEY_UOHM + (weld.beta_uohm - _VALLEY_UOHM) * (1.0 - np.cos(np.pi * part)) / 2.0
        fall = (weld.end_uohm - weld.beta_uohm) * np.clip((s - weld.beta_s) / (0.220 - weld.beta_s), 0.0, 1.0)
        found: Floats = contact + rise + fall - np.where(s >= 0.150, weld.drop_uohm, 0.0)
        return found

    def _features(self, weld: _Weld) -> dict[str, float]:
        """A, J, uOhm, s and kN as they really were."""
        current, voltage, _ = self._clean(weld)
        return {
            "current_rms": weld.current_ka * 1e3,
            "energy": float(np.sum(current * voltage)) * 1e3 * PERIOD_S,
            "r_start": weld.start_uohm,
            "r_beta": weld.beta_uohm,
            "beta_s": weld.beta_s,
            "r_end": weld.end_uohm - weld.drop_uohm,
            "force": weld.force_kn,
            "expelled": float(weld.drop_uohm > 0),
            "weld_s": _DURATION_S["PULSE_2"],
            "tip_welds": float((weld.number - 1) % _DRESS_EVERY),
        }
