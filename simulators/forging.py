"""A 400 t mechanical forging press at 30 strokes a minute, behind Modbus TCP.

- Numbers from domain.md 6.9: peak 3300 +- 25 kN at 172 +- 0.4 degrees of crank angle, punch wear 0.3 % per 10,000
  strokes. Crank angle 0 is top, 180 bottom dead centre; a stroke begins at 270, when the slide is on its way up.
- The tonnage monitor's registers hold the last completed stroke and change together with the stroke counter.
- Each stroke records a burst at 1 kHz that agrees with them: four corner forces, slide position, crank angle.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from simulators.faults import Faults
from simulators.physics import Noise, Timeline
from simulators.signals import Burst, Cycle, Failure, Phase, Signal

RATED_KN, STROKE_MM = 4000.0, 160.0
BEGIN_DEG, BDC_HALF_DEG = 270.0, 3.0
CONTACT_SHARE, FORM_SHARE = 0.02, 0.10
NAME, PERIOD_S = "press_tonnage", 0.001
CHANNELS = ("ton1", "ton2", "ton3", "ton4", "slide", "angle")
_STROKE_S = 2.0
_DEG_S = 360.0 / _STROKE_S
_LEFT = np.array([1.0, -1.0, 1.0, -1.0])
_SATURATED_KN = 850.0
_DENSE_DEG = np.linspace(0.0, 360.0, 3_601)

Floats = npt.NDArray[np.float64]

SIGNALS = (
    Signal("billet_temp", "billet.temp", "Cel", 0.0, 1400.0, "holding:0:int16", 0.1),
    Signal("die_temp1", "die.temp1", "Cel", 0.0, 600.0, "holding:1:int16", 0.1),
    Signal("die_temp2", "die.temp2", "Cel", 0.0, 600.0, "holding:2:int16", 0.1),
    Signal("spm", "press.spm", "/min", 0.0, 120.0, "holding:3:uint16", 0.1),
    Signal("peak", "stroke.peak", "kN", 0.0, 6000.0, "holding:4:uint16"),
    Signal("peak_angle", "stroke.peak_angle", "deg", 0.0, 360.0, "holding:5:uint16", 0.1),
    Signal("ton1_peak", "stroke.ton1", "kN", 0.0, 1500.0, "holding:6:uint16"),
    Signal("ton2_peak", "stroke.ton2", "kN", 0.0, 1500.0, "holding:7:uint16"),
    Signal("ton3_peak", "stroke.ton3", "kN", 0.0, 1500.0, "holding:8:uint16"),
    Signal("ton4_peak", "stroke.ton4", "kN", 0.0, 1500.0, "holding:9:uint16"),
    Signal("eject_force", "stroke.eject_force", "kN", 0.0, 200.0, "holding:10:uint16", 0.1),
    Signal("counterbalance", "press.counterbalance", "MPa", 0.0, 2.0, "holding:11:uint16", 0.001),
    Signal("heater", "heater.kw", "kW", 0.0, 1000.0, "holding:12:uint16", 0.1),
    Signal("stroke_counter", "stroke.count", "1", 0.0, 4294967295.0, "holding:13:uint32", counter=True),
    Signal("energy", "energy.total", "kW.h", 0.0, 1e9, "holding:15:float64", counter=True),
    Signal("lube_count", "lube.count", "1", 0.0, 4294967295.0, "holding:19:uint32", counter=True),
)

FAILURES = (
    Failure("missing_part", ("peak",), 0.35, "peak lower by this share: nothing or half a part in the die"),
    Failure("double_hit", ("peak",), 0.20, "peak higher by this share, contact four degrees earlier"),
    Failure("punch_wear", ("peak",), 0.06, "peak and work grow by this share until end_s, break-through later"),
    Failure("broken_punch", ("ton3_peak",), 0.25, "this corner loses the share of its force"),
    Failure("cold_billet", ("billet_temp", "peak"), 60.0, "billets colder by Cel, peak 0.15 % higher for each"),
    Failure("slide_drift", ("peak",), 0.4, "shut height falls by mm until end_s, peak 2 % higher for each 0.1 mm"),
    Failure("lube_loss", ("eject_force", "lube_count"), 0.40, "ejection force higher by this share, no lube shots"),
    Failure("corner_overload", ("ton2_peak",), 0.20, "peak higher by this share, corner 2 saturates at 850 kN"),
)


@dataclass(frozen=True, slots=True)
class _Stroke:
    """A stroke and what it inherits; the one before it is held without its own."""

    number: int
    start_s: float
    peak_kn: float
    peak_deg: float
    rise_deg: float
    tilt: float
    corners: tuple[float, float, float, float]
    limit_kn: float
    shut_mm: float
    eject_kn: float
    before: "_Stroke | None"
    energy_kwh: float
    lube: int

    @property
    def end_s(self) -> float:
        return self.start_s + _STROKE_S

    def force(self, angle_deg: Floats) -> Floats:
        """(n, 4) corner forces over crank angle, kN: a rise to the peak, a fall, and the rebound of the frame."""
        total = self.peak_kn * _shape(angle_deg, self.peak_deg, self.rise_deg)
        share = 0.25 * (1.0 + _LEFT * self.tilt) * np.array(self.corners)
        return np.asarray(np.minimum(total[:, None] * share, self.limit_kn), dtype=np.float64)

    def slide(self, angle_deg: Floats) -> Floats:
        """Height above the bottom dead centre of the drawing, mm."""
        return STROKE_MM / 2 * (1.0 + np.cos(np.radians(angle_deg))) + self.shut_mm

    def when(self, angle_deg: float) -> float:
        """Simulated time of a crank angle of this stroke."""
        return self.start_s + (angle_deg - BEGIN_DEG) % 360.0 / _DEG_S


class ForgingPress:
    """The press; `sample`, `cycles` and `bursts` as in `signals.BurstingMachine`."""

    def __init__(self, seed: int, faults: Faults) -> None:
        self._seed = seed
        self._faults = faults
        self._noise = Noise(seed)
        self._strokes = Timeline(lambda: self._stroke(1, 0.0, None), self._following)

    def sample(self, t_s: float) -> dict[str, float]:
        """Every signal at a simulated time."""
        stroke = self._strokes.at(t_s)
        billet = 1150.0 - self._faults.size("cold_billet", t_s)
        shown = _registers(stroke.before) if stroke.before else dict.fromkeys(_REGISTERS, 0.0)
        return shown | {
            "billet_temp": billet + self._noise.normal("billet_temp", t_s, 4.0, _STROKE_S),
            "die_temp1": 210.0 + self._noise.normal("die_temp1", t_s, 0.5),
            "die_temp2": 205.0 + self._noise.normal("die_temp2", t_s, 0.5),
            "spm": 60.0 / _STROKE_S,
            "counterbalance": 0.45 + self._noise.normal("counterbalance", t_s, 0.002),
            "heater": 620.0 + self._noise.normal("heater", t_s, 3.0),
            "stroke_counter": float(stroke.number - 1),
            "energy": stroke.energy_kwh + 0.030 * (t_s - stroke.start_s) / _STROKE_S,
            "lube_count": float(stroke.lube),
        }

    def cycles(self, after_s: float, until_s: float) -> Iterator[Cycle]:
        """Completed strokes; features beyond the registers are those of the curve without noise."""
        for stroke in self._strokes.completed(after_s, until_s):
            yield Cycle(
                stroke.number,
                stroke.start_s,
                stroke.end_s,
                _phases(stroke),
                dict(measures(replace(stroke, before=None))),
            )

    def bursts(self, after_s: float, until_s: float) -> Iterator[Burst]:
        """The tonnage curve of each completed stroke, from its begin to its end."""
        for stroke in self._strokes.completed(after_s, until_s):
            angle = (BEGIN_DEG + _DEG_S * PERIOD_S * np.arange(round(_STROKE_S / PERIOD_S), dtype=np.float64)) % 360.0
            clean = np.column_stack([stroke.force(angle), stroke.slide(angle), angle])
            draw = np.random.default_rng([self._seed, stroke.number, 55]).standard_normal(clean.shape)
            noisy = clean + draw * (2.0, 2.0, 2.0, 2.0, 0.01, 0.0)
            yield Burst(NAME, stroke.start_s, PERIOD_S, CHANNELS, noisy.astype(np.float32))

    def _following(self, stroke: _Stroke) -> _Stroke:
        return self._stroke(stroke.number + 1, stroke.end_s, stroke)

    def _stroke(self, number: int, start_s: float, before: _Stroke | None) -> _Stroke:
        draw = np.random.default_rng([self._seed, number]).standard_normal(6).tolist()
        faults = self._faults
        wear, drift = faults.grown("punch_wear", start_s), faults.grown("slide_drift", start_s)
        double, over = faults.size("double_hit", start_s), faults.size("corner_overload", start_s)
        peak = (3300.0 + 25.0 * draw[0]) * (1.0 + 0.003 * number / 10_000.0) * (1.0 + wear) * (1.0 + 0.2 * drift)
        peak *= (1.0 - faults.size("missing_part", start_s)) * (1.0 + double) * (1.0 + over)
        peak *= 1.0 + 0.0015 * faults.size("cold_billet", start_s)
        lubed = faults.at("lube_loss", start_s) is None
        return _Stroke(
            number=number,
            start_s=start_s,
            peak_kn=peak,
            peak_deg=172.0 + 0.4 * draw[1] + 10.0 * wear,
            rise_deg=17.0 + 0.3 * draw[2] + (4.0 if double else 0.0),
            tilt=0.010 + 0.004 * draw[3],
            corners=(1.0, 1.0, 1.0 - faults.size("broken_punch", start_s), 1.0),
            limit_kn=_SATURATED_KN if over else math.inf,
            shut_mm=0.02 * draw[4] - drift,
            eject_kn=round((42.0 + 1.5 * draw[5]) * (1.0 + faults.size("lube_loss", start_s)), 1),
            before=replace(before, before=None) if before else None,
            energy_kwh=before.energy_kwh + 0.030 if before else 92_500.0,
            lube=(before.lube if before else 0) + lubed,
        )


_REGISTERS = ("peak", "peak_angle", "ton1_peak", "ton2_peak", "ton3_peak", "ton4_peak", "eject_force")


def _shape(angle_deg: Floats, peak_deg: float, rise_deg: float) -> Floats:
    """Force over crank angle as a share of the peak."""
    rise = np.clip((angle_deg - (peak_deg - rise_deg)) / rise_deg, 0.0, 1.0)
    fall = np.clip((angle_deg - peak_deg) / 12.0, 0.0, 1.0)
    rebound = np.clip((angle_deg - peak_deg - 12.0) / 8.0, 0.0, 1.0)
    up_down = np.sin(np.pi / 2 * rise) ** 1.5 * np.cos(np.pi / 2 * fall)
    return np.asarray(up_down - 0.06 * np.sin(np.pi * rebound), dtype=np.float64)


def _crossing(stroke: _Stroke, level_kn: float) -> float:
    """The first crank angle at which the total force is above a level, 180 when it never is."""
    total = stroke.force(_DENSE_DEG).sum(axis=1)
    above = np.flatnonzero(total > level_kn)
    if not len(above):
        return 180.0
    i = int(above[0])
    return float(np.interp(level_kn, total[i - 1 : i + 1], _DENSE_DEG[i - 1 : i + 1]))


def _phases(stroke: _Stroke) -> tuple[Phase, ...]:
    contact, form = (_crossing(stroke, share * RATED_KN) for share in (CONTACT_SHARE, FORM_SHARE))
    corners = {
        "UPSTROKE": stroke.start_s, "APPROACH": stroke.when(0.0), "CONTACT": stroke.when(contact),
        "FORM": stroke.when(form), "BDC": stroke.when(180.0 - BDC_HALF_DEG),
        "RETURN": stroke.when(180.0 + BDC_HALF_DEG),
    }  # fmt: skip
    ends = [*list(corners.values())[1:], stroke.end_s]
    return tuple(Phase(name, begin, end) for (name, begin), end in zip(corners.items(), ends, strict=True))


@lru_cache(maxsize=8)
def measures(stroke: _Stroke) -> dict[str, float]:
    """What the curve of a stroke says without noise."""
    corners = stroke.force(_DENSE_DEG)
    total = corners.sum(axis=1)
    at = int(np.argmax(total))
    travel = -stroke.slide(_DENSE_DEG)
    down = _DENSE_DEG <= 180.0
    mean = (total[1:] + total[:-1]) / 2
    left = float(total[at] and (corners[at] @ _LEFT) / total[at] * 100.0)
    return {
        "peak": float(total[at]),
        "peak_angle": float(_DENSE_DEG[at]),
        "imbalance": left,
        "work": float(np.sum((mean * np.diff(travel))[down[1:]])),
        "contact_angle": _crossing(stroke, CONTACT_SHARE * RATED_KN),
        "reverse_tonnage": -float(total[at:].min()),
        "tonnage_area": float(np.sum(np.maximum(mean, 0.0) * np.diff(_DENSE_DEG))),
        "bdc_position": stroke.shut_mm,
        "eject_force": stroke.eject_kn,
    } | {f"ton{i + 1}_peak": float(corners[:, i].max()) for i in range(4)}


def _registers(stroke: _Stroke) -> dict[str, float]:
    found = measures(stroke)
    return {name: found[name] for name in _REGISTERS}
