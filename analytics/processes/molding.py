"""Injection moulding: cycles from mould close to mould close, cushion, cavity pressure, dosing (section 5.2).

* A cycle runs from CLOSE to the next CLOSE; a wait belongs to the cycle before it, for at most `longest_s`.
* The state number tells the phases, or the bits where there is none; the burst knows fill and packing better.
* Registers are read in the `settle_s` after a cycle, and only if the shot counter has moved.
"""

from dataclasses import replace
from typing import ClassVar, Final, Literal

import numpy as np
from pydantic import Field, PositiveFloat, model_validator

from analytics.formulas import molding as formulas
from analytics.injection_curve import InjectionCurve, Rules, calm, channel, read_injection
from analytics.process import Flag, Measured, Phase, Process, Roles, Segment, lasting, plain, signal
from analytics.readings import F_DURATION, during, extreme_of, gained, held, mean_of
from analytics.result import Bools, Formula, Ints, Result
from analytics.states import (
    Order,
    Runs,
    StateRows,
    counted,
    counter_breaks,
    segments,
    since,
    was,
    without_glitches,
)
from analytics.window import SECOND_NS, Series, Window
from pipeline.model import Waveform

STATES: Final = ("IDLE", "CLOSE", "FILL", "PACK", "COOL", "OPEN", "EJECT")
BITS: Final = ("mold_closed", "inject", "hold", "mold_opened", "eject")
COUNTER, CURVE = "shot.count", "cavity.curve"
REGISTERS: Final = {
    "cycle.cushion": ("reported_cushion", "mm"),
    "cycle.fill": ("reported_fill_time", "s"),
    "cycle.dosing": ("reported_dosing_time", "s"),
    "cycle.inj_peak": ("reported_inj_peak", "MPa"),
    "cycle.cav_peak1": ("reported_cav_peak1", "MPa"),
    "cycle.cav_peak2": ("reported_cav_peak2", "MPa"),
    "mold.open": ("mold_open", "mm"),
}
F_SWITCH_MM: Final = Formula("F-INJ-01", "mm", "1 switch")
F_SWITCH_MPA: Final = Formula("F-INJ-02", "MPa", "1 switch")
F_PRESSURE: Final = Formula("F-INJ-02", "MPa", "1 injection")
_CURVE_UNITS: Final = {
    "fill_time": "s", "dosing_time": "s", "switch_position": "mm", "switch_pressure": "MPa", "inj_peak": "MPa",
    "cushion": "mm", "cushion_end_of_hold": "mm", "cushion_fraction": "1",
}  # fmt: skip
Features = dict[str, Result]


class MoldingCycle(Process):
    """A cycle of an injection moulding machine."""

    kind: Literal["molding_cycle"] = "molding_cycle"
    marker: Literal["state", "bits"] = "state"
    """What tells the phases: the role `cycle.state`, or the bits from `mold_closed` on."""
    states: tuple[str, ...] = STATES
    """Names of the state numbers from 0."""
    longest_s: PositiveFloat = 120.0
    """A machine that idles this long after a cycle began stands; the cycle ends there, s. About three cycles."""
    barrel: tuple[str, ...] = ("barrel.zone1", "barrel.zone2", "barrel.zone3", "barrel.zone4")
    """Roles of the barrel temperatures, Cel."""
    projected_mm2: PositiveFloat | None = None
    """Projected area of part and runner, mm2; with it the clamping force needed is stated."""
    screw_channel: str = "screw"
    """Channel of the burst with the screw position, mm."""
    pressure_channel: str = "inj"
    """Channel with the injection pressure, MPa."""
    cavity_channels: tuple[str, ...] = ("cav_p1", "cav_p2")
    """Channels with the cavity pressures, MPa, the nearest to the gate first."""
    begin_share: float = Field(default=0.5, gt=0.0, lt=1.0)
    """The fill begins above this share of the highest screw speed."""
    switch_share: float = Field(default=0.5, gt=0.0, lt=1.0)
    """The V/P switch is where the screw falls below this share of its filling speed."""

    lead_s: ClassVar[float] = 20.0
    settle_s: ClassVar[float] = 4.0

    @model_validator(mode="after")
    def _check(self) -> "MoldingCycle":
        unknown = [name for name in self.states if name not in {*STATES, "FAULT"}]
        if unknown or len(set(self.states)) != len(self.states) or "CLOSE" not in self.states:
            raise ValueError(f"states = {list(self.states)}: CLOSE and others of {', '.join(STATES)}, FAULT, each once")
        return self

    def roles(self) -> Roles:
        """The state number or the bits; all else is optional."""
        by_state = self.marker == "state"
        return Roles(
            markers=("cycle.state",) if by_state else ("mold_closed",),
            optional_markers=(*(BITS if by_state else BITS[1:]), COUNTER),
            optional=(*REGISTERS, *self.barrel, "mold.temp", "clamp.force", "energy.total"),
            bursts=(CURVE,),
        )

    def cycles(self, window: Window) -> tuple[Segment, ...]:
        """Cycles from close to close."""
        by_state = self.marker == "state"
        order = Order(self.states if by_state else STATES, "CLOSE", "IDLE", longest_s=self.longest_s)
        rows = self._bits(window, order.names)
        if by_state:
            rows = StateRows.of(window["cycle.state"], len(self.states)).filled(rows)
        breaks = counter_breaks(rows, window[COUNTER], order, "CLOSE")
        found = segments(without_glitches(Runs.of(rows, breaks), order), order)
        counter = counted(window[COUNTER])
        return tuple(self._told(segment, counter, window) for segment in found)

    def features(self, segment: Segment, window: Window) -> Measured:
        """Registers, the burst's stages and cavity pressures, temperatures, energy and durations."""
        found = self._registers(segment, window)
        if CURVE in window:
            found |= self._curve(segment, window)
        whole = Phase("", segment.start_ns, segment.end_ns)
        for role in (*self.barrel, "mold.temp"):
            if role in window:
                found[f"{role.replace('.', '_')}_mean"] = mean_of(during(window[role], whole), "Cel")
        if "mold.temp" in window:
            found["mold_temp_max"] = extreme_of(during(window["mold.temp"], whole), "Cel", "max")
        if "clamp.force" in window:
            found["clamp_force_max"] = extreme_of(during(window["clamp.force"], whole), "kN", "max")
        if "energy.total" in window:
            found["energy"] = gained(counted(window["energy.total"]), segment.start_ns, segment.end_ns, "kW.h")
        for name in (*STATES[1:], "IDLE"):
            found[f"time_{name.lower()}"] = lasting(segment.phase(name), F_DURATION)
        return Measured(found)

    def _bits(self, window: Window, names: object) -> StateRows:
        """The state that the bits show."""
        states = tuple(str(name) for name in names) if isinstance(names, tuple) else STATES
        closed = window["mold_closed"].good
        when: Ints = closed.ts_ns
        if not np.isfinite(closed.every_s):
            when = np.unique(np.concatenate([window[bit].good.ts_ns for bit in BITS]))
        shut, fill, hold, opened, eject = (np.asarray(held(window[bit], when) >= 0.5) for bit in BITS)
        if "mold_opened" not in window:
            opened = ~shut
        told: dict[str, Bools] = {
            "OPEN": ~shut & (was(shut, opened) | ~since(~shut, eject)),
            "IDLE": opened & since(~shut, eject),
            "CLOSE": (~shut & ~opened & was(opened, shut)) | (shut & ~since(shut, fill | hold)),
            "COOL": shut & since(shut, fill | hold),
            "FILL": shut & fill,
            "PACK": shut & hold,
            "EJECT": eject,
        }
        code = np.full(len(when), -1, dtype=np.int64)
        for name, rows in told.items():
            if name in states:
                code[rows] = states.index(name)
        known = code >= 0
        return StateRows(when[known], code[known], closed.every_s)

    def _read(self, segment: Segment, window: Window) -> tuple[InjectionCurve | None, Waveform | None]:
        end_ns = window.end_ns if segment.end_ns is None else segment.end_ns
        burst = window.cut(segment.start_ns, end_ns).burst(CURVE)
        rules = Rules(self.screw_channel, self.pressure_channel, self.begin_share, self.switch_share)
        return (read_injection(burst, rules) if burst is not None else None), burst

    def _told(self, segment: Segment, counter: Series, window: Window) -> Segment:
        """With its number, the stages of its burst, and whether it was a whole cycle."""
        curve, _ = self._read(segment, window)
        flags, phases = set(segment.flags), segment.phases
        if curve is not None and curve.switch_s is not None:
            phases = _refined(phases, curve)
        elif curve is not None:
            flags.add(Flag.ABORTED)
        lacks = all(phase.name != "COOL" for phase in phases)
        if segment.end_ns is not None and Flag.GAP not in flags and lacks:
            flags.add(Flag.ABORTED)
        end_ns = window.end_ns if segment.end_ns is None else segment.end_ns
        rows = counter.between(segment.start_ns, end_ns)
        number = int(np.sort(rows.value)[len(rows) // 2]) + 1 if len(rows) else None
        return replace(segment, phases=phases, number=number, flags=frozenset(flags))

    def _registers(self, segment: Segment, window: Window) -> Features:
        end_ns = segment.end_ns or window.end_ns
        after = window.cut(end_ns, end_ns + round(self.settle_s * SECOND_NS))
        count = counted(after[COUNTER])
        stale = segment.number is not None and len(count) > 0 and int(count.value[-1]) == segment.number - 1
        return {
            name: signal(after[role].between(0, 0) if stale else after[role], unit)
            for role, (name, unit) in REGISTERS.items()
            if role in window
        }

    def _curve(self, segment: Segment, window: Window) -> Features:
        """F-INJ-01 to -03; every feature is there, with a reason when the burst is missing."""
        curve, burst = self._read(segment, window)
        if curve is None or burst is None:
            return {name: plain(None, Formula("F-INJ-BURST", unit)) for name, unit in _CURVE_UNITS.items()}
        end_s = curve.packed_s if curve.packed_s is not None else curve.dose_s
        forward = calm(curve.part(curve.screw, curve.fill_s, end_s))
        cushion = formulas.cushion(forward)
        peak = curve.part(curve.pressure, curve.fill_s, end_s)
        start_mm = curve.value_at(curve.screw, curve.fill_s, F_SWITCH_MM).value
        shot_mm = None if start_mm is None or cushion.value is None else start_mm - cushion.value
        found: Features = {
            "fill_time": curve.lasted(curve.fill_s, curve.switch_s, F_DURATION),
            "dosing_time": curve.lasted(curve.dose_s, curve.dosed_s, F_DURATION),
            "switch_position": curve.value_at(curve.screw, curve.switch_s, F_SWITCH_MM),
            "switch_pressure": curve.value_at(curve.pressure, curve.switch_s, F_SWITCH_MPA),
            "inj_peak": plain(float(np.max(calm(peak))) if len(peak) else None, F_PRESSURE),
            "cushion": cushion,
            "cushion_end_of_hold": formulas.cushion_at_end_of_hold(forward),
            "cushion_fraction": formulas.cushion_fraction(cushion.value, shot_mm).one(),
        }
        return found | self._cavities(curve, burst)

    def _cavities(self, curve: InjectionCurve, burst: Waveform) -> Features:
        """F-INJ-02 of each sensor, from the begin of fill to the end of the burst, and F-INJ-03 of their mean."""
        found: Features = {}
        peaks: list[float | None] = []
        for name in self.cavity_channels:
            column = channel(burst, name)
            if column is None:
                continue
            features = formulas.cavity_pressure(curve.samples(calm(column)))
            found[f"{name}_integral"] = features.integral
            found[f"{name}_peak"] = features.peak
            found[f"{name}_peak_time"] = features.peak_time
            peaks.append(features.peak.value)
        if peaks and self.projected_mm2:
            known = [peak for peak in peaks if peak is not None]
            mean = sum(known) / len(known) if len(known) == len(peaks) else None
            found["clamp_need"] = formulas.clamp_need(mean, self.projected_mm2).one()
        return found


def _refined(phases: tuple[Phase, ...], curve: InjectionCurve) -> tuple[Phase, ...]:
    """The phases with fill and packing as the burst saw them."""
    fill, switch, packed = (curve.at_ns(at) for at in (curve.fill_s, curve.switch_s, curve.packed_s))
    if fill is None or switch is None:
        return phases
    kept = [phase for phase in phases if phase.name not in {"FILL", "PACK"}]
    before = [phase for phase in kept if phase.start_ns < fill]
    after = [phase for phase in kept if phase.start_ns >= fill]
    if before:
        before[-1] = replace(before[-1], end_ns=fill)
    told = next((phase.end_ns for phase in phases if phase.name == "PACK"), None)
    end = packed if packed is not None else after[0].start_ns if after else told
    if after and end is not None and (after[0].end_ns is None or end < after[0].end_ns):
        after[0] = replace(after[0], start_ns=end)
    return (*before, Phase("FILL", fill, switch), Phase("PACK", switch, end), *after)
