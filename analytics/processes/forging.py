"""Forging and stamping presses: strokes, their phases by crank angle, tonnage and work (section 5.1 of domain.md).

* A stroke that was recorded is its burst: it begins with the first sample and ends with the last.
* Where there are no bursts a stroke lasts from one rise of the stroke counter to the next.
* Crank angle 0 is top, 180 bottom dead centre. Forces are kN, positive when the frame is stretched.
"""

from typing import ClassVar, Final, Literal

import numpy as np
from pydantic import Field, PositiveFloat, model_validator

from analytics.formulas import forging as formulas
from analytics.process import Flag, Measured, Phase, Process, Roles, Segment, plain, signal
from analytics.readings import gained
from analytics.result import Evidence, Floats, Formula, Result
from analytics.states import counted
from analytics.time_series import GAP_FACTOR
from analytics.window import SECOND_NS, Series, Window
from pipeline.model import Waveform

PHASES: Final = ("UPSTROKE", "APPROACH", "CONTACT", "FORM", "BDC", "RETURN")
COUNTER, CURVE = "stroke.count", "press.tonnage"
REGISTERS: Final = {
    "stroke.peak": ("reported_peak", "kN"),
    "stroke.peak_angle": ("reported_peak_angle", "deg"),
    "stroke.ton1": ("reported_ton1", "kN"),
    "stroke.ton2": ("reported_ton2", "kN"),
    "stroke.ton3": ("reported_ton3", "kN"),
    "stroke.ton4": ("reported_ton4", "kN"),
    "stroke.eject_force": ("eject_force", "kN"),
}
AT_START: Final = {
    "billet.temp": ("billet_temp", "Cel"),
    "die.temp1": ("die_temp1", "Cel"),
    "die.temp2": ("die_temp2", "Cel"),
    "press.spm": ("spm", "/min"),
    "press.counterbalance": ("counterbalance", "MPa"),
    "heater.kw": ("heater_power", "kW"),
}
F_CONTACT: Final = Formula("F-FRG-01", "deg", "contact")
F_REVERSE: Final = Formula("F-FRG-01", "kN", "reverse")
F_CORNER: Final = Formula("F-FRG-01", "kN", "corner")
F_AREA: Final = Formula("F-FRG-04", "kN.deg", "area")
F_BDC: Final = Formula("F-FRG-04", "mm", "bdc")
CURVE_UNITS: Final = {
    "peak": "kN", "peak_angle": "deg", "imbalance": "%", "work": "J", "contact_angle": "deg", "reverse_tonnage": "kN",
    "tonnage_area": "kN.deg", "bdc_position": "mm", "ton1_peak": "kN", "ton2_peak": "kN", "ton3_peak": "kN",
    "ton4_peak": "kN",
}  # fmt: skip
_MOST_STEP: Final = 1000


class PressStroke(Process):
    """A stroke of a mechanical press."""

    kind: Literal["press_stroke"] = "press_stroke"
    marker: Literal["burst", "counter"] = "burst"
    """What tells strokes: the burst `press.tonnage`, or the rises of `stroke.count`."""
    rated_kn: PositiveFloat = 4000.0
    """Rated force of the press, kN."""
    contact_share: float = Field(default=0.02, gt=0.0, lt=1.0)
    """Contact begins above this share of the rated force."""
    form_share: float = Field(default=0.10, gt=0.0, lt=1.0)
    """Forming begins above this share of the rated force."""
    bdc_half_deg: PositiveFloat = Field(default=3.0, lt=90.0)
    """Half the width of the bottom dead centre, degrees."""
    longest_s: PositiveFloat = Field(default=30.0, le=55.0)
    """A longer time between two rises of the counter is a stop, s."""
    corner_channels: tuple[str, str, str, str] = ("ton1", "ton2", "ton3", "ton4")
    """Channels of the burst with the corner forces, kN."""
    left: tuple[int, ...] = (0, 2)
    """Which of them are on the left."""
    slide_channel: str = "slide"
    """Channel with the height of the slide, mm, falling towards the bottom."""
    angle_channel: str = "angle"
    """Channel with the crank angle, degrees."""
    flow_stress_mpa: PositiveFloat | None = None
    """Flow stress of the hot billet, MPa; with the three below the upsetting force is stated."""
    area_mm2: PositiveFloat | None = None
    """Area of the forging in the die plane, mm2."""
    diameter_mm: PositiveFloat | None = None
    """Its diameter, mm."""
    height_mm: PositiveFloat | None = None
    """Its height, mm."""
    friction: float = Field(default=0.1, ge=0.0, le=0.6)
    """Friction of the die [GK]."""

    lead_s: ClassVar[float] = 60.0
    settle_s: ClassVar[float] = 2.0

    @model_validator(mode="after")
    def _check(self) -> "PressStroke":
        if self.contact_share >= self.form_share:
            raise ValueError(f"contact_share = {self.contact_share} is not below form_share = {self.form_share}")
        if not self.left or not set(self.left) < {0, 1, 2, 3}:
            raise ValueError(f"left = {list(self.left)}: expected one to three of 0, 1, 2, 3")
        return self

    def roles(self) -> Roles:
        """The counter, also where bursts tell the strokes: it numbers them."""
        return Roles(
            markers=(COUNTER,),
            optional=(*REGISTERS, *AT_START, "energy.total"),
            bursts=(CURVE,),
        )

    def cycles(self, window: Window) -> tuple[Segment, ...]:
        """Strokes in order of time."""
        if self.marker == "counter":
            return self._by_counter(window)
        waves = [wave for wave in window.bursts.get(CURVE, ()) if window.start_ns <= wave.ts_ns < window.end_ns]
        counter = counted(window[COUNTER])
        return tuple(self._recorded(wave, counter, window.end_ns) for wave in waves)

    def features(self, segment: Segment, window: Window) -> Measured:
        """The burst's curve, the monitor's registers, temperatures and energy."""
        found: dict[str, Result] = {}
        end_ns = segment.end_ns or window.end_ns
        if CURVE in window:
            wave = window.cut(segment.start_ns, end_ns).burst(CURVE)
            found |= self._curve(wave)
        after = window.cut(end_ns, end_ns + round(self.settle_s * SECOND_NS))
        written = self._written(segment, after)
        for role, (name, unit) in REGISTERS.items():
            if role in window:
                found[name] = signal(written[role], unit)
        for role, (name, unit) in AT_START.items():
            if role in window:
                rows = window[role]
                value = rows.at(segment.start_ns, GAP_FACTOR * rows.every_s)
                found[name] = plain(value, Formula("0.2-AT", unit))
        if "energy.total" in window:
            found["energy"] = gained(counted(window["energy.total"]), segment.start_ns, segment.end_ns, "kW.h")
        if self.flow_stress_mpa and self.area_mm2 and self.diameter_mm and self.height_mm:
            force = formulas.upsetting_force(
                self.flow_stress_mpa, self.area_mm2, self.diameter_mm, self.height_mm, friction=self.friction
            )
            found["upsetting_force"] = force.one()
        return Measured(found)

    def _written(self, segment: Segment, after: Window) -> Window:
        """The rows that show this stroke: those at which the counter stands at its number."""
        if segment.number is None:
            return after
        count = counted(after[COUNTER])
        own = count.ts_ns[count.value == segment.number]
        if not len(own):
            return after.cut(after.start_ns, after.start_ns) if len(count) else after
        return after.cut(int(own[0]), int(own[-1]) + 1)

    def _recorded(self, wave: Waveform, counter: Series, window_end_ns: int) -> Segment:
        """A stroke from its burst; the counter counts at its end."""
        end_ns = wave.ts_ns + len(wave.value) * wave.period_ns
        rows = counter.between(wave.ts_ns, end_ns)
        number = int(np.sort(rows.value)[len(rows) // 2]) + 1 if len(rows) else None
        phases, flags = self._phases(wave, end_ns), frozenset[Flag]()
        if phases is None:
            phases, flags = (Phase("UPSTROKE", wave.ts_ns, end_ns),), frozenset({Flag.GAP})
        elif all(phase.name != "CONTACT" for phase in phases):
            flags = frozenset({Flag.ABORTED})
        if end_ns <= window_end_ns:
            return Segment(wave.ts_ns, end_ns, phases, number=number, flags=flags)
        begun = tuple(phase for phase in phases if phase.start_ns < window_end_ns)
        running = Phase(begun[-1].name, begun[-1].start_ns, None)
        return Segment(wave.ts_ns, None, (*begun[:-1], running), number=number, flags=flags)

    def _phases(self, wave: Waveform, end_ns: int) -> tuple[Phase, ...] | None:
        """Phases by crank angle and force; None when the burst has no angle or no corner forces."""
        angle, force = _channel(wave, self.angle_channel), self._total(wave)
        if angle is None or force is None or not np.isfinite(angle).all():
            return None
        turned = np.unwrap(np.radians(angle))
        turned = np.degrees(turned - 2 * np.pi * np.floor(turned[0] / (2 * np.pi)))
        top = 0.0 if turned[0] < 180.0 else 360.0
        marks = {"UPSTROKE": 0.0, "APPROACH": float(np.searchsorted(turned, top))}
        bdc, back = (int(np.searchsorted(turned, top + 180.0 + s * self.bdc_half_deg)) for s in (-1, 1))
        for name, share in (("CONTACT", self.contact_share), ("FORM", self.form_share)):
            row = _passed(force[:back], share * self.rated_kn, int(marks["APPROACH"]))
            if row is not None:
                marks[name] = row
        marks |= {"BDC": float(bdc), "RETURN": float(back)}
        begins = [(name, wave.ts_ns + round(row * wave.period_ns)) for name, row in marks.items() if row < len(turned)]
        ends = [*(begin for _, begin in begins[1:]), end_ns]
        return tuple(Phase(name, begin, end) for (name, begin), end in zip(begins, ends, strict=True) if end > begin)

    def _by_counter(self, window: Window) -> tuple[Segment, ...]:
        """A stroke ends where the counter rises by one; a larger rise hides where the strokes before the last ended."""
        rows = counted(window[COUNTER])
        step = np.diff(rows.value)
        at = np.flatnonzero((step > 0) & (step <= _MOST_STEP)) + 1
        rises = rows.ts_ns[at]
        gap = np.diff(rows.ts_ns) > GAP_FACTOR * rows.every_s * SECOND_NS
        found = []
        for i in range(1, len(at)):
            start_ns, end_ns = int(rises[i - 1]), int(rises[i])
            if end_ns - start_ns > self.longest_s * SECOND_NS:
                start_ns = end_ns - round(60.0 / self._rate(window, end_ns) * SECOND_NS)
            lost = step[at[i] - 1] > 1 or bool(gap[at[i - 1] : at[i]].any())
            flags = frozenset({Flag.GAP} if lost else set[Flag]())
            found.append(Segment(start_ns, end_ns, (), number=int(rows.value[at[i]]), flags=flags))
        if len(at) and window.end_ns - int(rises[-1]) <= self.longest_s * SECOND_NS:
            found.append(Segment(int(rises[-1]), None, (), number=int(rows.value[at[-1]]) + 1))
        return tuple(found)

    def _rate(self, window: Window, ts_ns: int) -> float:
        """Strokes a minute, what the press says or what the longest stroke would give."""
        rate = window["press.spm"].at(ts_ns, self.longest_s)
        return rate if np.isfinite(rate) and rate > 60.0 / self.longest_s else 60.0 / self.longest_s

    def _total(self, wave: Waveform) -> Floats | None:
        corners = [_channel(wave, name) for name in self.corner_channels]
        there = [corner for corner in corners if corner is not None]
        return np.asarray(formulas.total_tonnage(np.column_stack(there)).value) if len(there) == 4 else None

    def _curve(self, wave: Waveform | None) -> dict[str, Result]:
        """F-FRG-01, -02 and the parts of -04; every feature is there, with a reason when the burst is missing."""
        force = None if wave is None else self._total(wave)
        angle = None if wave is None else _channel(wave, self.angle_channel)
        if wave is None or force is None or angle is None or not np.isfinite(force).any():
            return {name: plain(None, Formula("F-FRG-BURST", unit)) for name, unit in CURVE_UNITS.items()}
        corners = np.column_stack(
            [column for name in self.corner_channels if (column := _channel(wave, name)) is not None]
        )
        peak = formulas.peak_tonnage(force, angle)
        at = int(np.nanargmax(force))
        rows = Evidence(len(force))
        found = {"peak": peak.force, "peak_angle": peak.angle}
        found["imbalance"] = formulas.imbalance(np.mean(corners[max(0, at - 2) : at + 3], axis=0), left=self.left).one()
        contact = np.flatnonzero(force[: at + 1] <= self.contact_share * self.rated_kn)
        first = int(contact[-1]) + 1 if len(contact) else 0
        touched = force[at] > self.contact_share * self.rated_kn
        found["contact_angle"] = plain(float(angle[first]) if touched else None, F_CONTACT, rows)
        slide = _channel(wave, self.slide_channel)
        if slide is not None:
            found["work"] = formulas.forming_work(*self._closing(force, slide, angle))
            found["bdc_position"] = plain(_lowest(slide), F_BDC, rows)
        found["reverse_tonnage"] = plain(-float(np.nanmin(force[at:])), F_REVERSE, rows)
        turned = np.degrees(np.unwrap(np.radians(angle)))
        mean = np.maximum((force[1:] + force[:-1]) / 2, 0.0)
        loaded = mean > 0.005 * self.rated_kn  # what the gauges drift by is no work
        found["tonnage_area"] = plain(float(np.nansum((mean * np.diff(turned))[loaded])), F_AREA, rows)
        for i in range(4):
            found[f"ton{i + 1}_peak"] = plain(float(np.nanmax(corners[:, i])), F_CORNER, rows)
        return found

    def _closing(self, force: Floats, slide: Floats, angle: Floats) -> tuple[Floats, Floats]:
        """Force and travel of the slide from contact to the bottom dead centre."""
        at = int(np.nanargmax(force))
        before = np.flatnonzero(force[: at + 1] <= 0.005 * self.rated_kn)
        first = int(before[-1]) if len(before) else 0
        last = first + int(np.argmax(angle[first:] >= 180.0)) if (angle[first:] >= 180.0).any() else len(force) - 1
        return force[first : last + 1], -slide[first : last + 1]


def _passed(force: Floats, level: float, first: int) -> float | None:
    """The row, with its fraction, at which the force first passes a level from `first` on."""
    above = np.flatnonzero(force[first:] > level)
    if not len(above):
        return None
    i = first + int(above[0])
    if i == 0 or force[i - 1] > level:
        return float(i)
    return i - 1 + float((level - force[i - 1]) / (force[i] - force[i - 1]))


def _lowest(slide: Floats) -> float:
    """The lowest height, by a parabola through the samples nearest to it: one noisy sample does not matter."""
    at = int(np.nanargmin(slide))
    near = slide[max(0, at - 10) : at + 11]
    x = np.arange(len(near), dtype=np.float64) - len(near) / 2
    if len(near) < 5 or not np.isfinite(near).all():
        return float(slide[at])
    a, b, c = np.polyfit(x, near, 2)
    return float(c - b * b / (4 * a)) if a > 0 else float(np.median(near))


def _channel(wave: Waveform, name: str) -> Floats | None:
    return wave.value[:, wave.channels.index(name)].astype(np.float64) if name in wave.channels else None
