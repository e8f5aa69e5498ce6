"""High-pressure die casting: shots of a cold-chamber machine, their phases and features (section 1 of domain.md).

* A shot runs from die close to the next die close; a wait belongs to the shot before it, for at most `longest_s`.
* The state number tells the phases, or the bits where there is none; the burst of the shot knows its stages better.
* Registers that the PLC writes at the end of a cycle are read in the `settle_s` after it, and only if the shot
  counter has moved.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Final, Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from analytics.formulas import casting as formulas
from analytics.process import Flag, Measured, Phase, Process, Roles, Segment, lasting, plain, signal
from analytics.readings import F_DURATION, during, extreme_of, gained, held, mean_of
from analytics.result import Bools, Evidence, Floats, Formula, Ints, Result
from analytics.shot_curve import Rules, ShotCurve, read_shot
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

STATES: Final = (
    "IDLE", "DIE_CLOSE", "POUR", "SLOW_SHOT", "FAST_SHOT", "INTENSIFY", "COOL", "DIE_OPEN", "EJECT", "SPRAY",
)  # fmt: skip
BITS: Final = ("die_closed", "ladle_pour", "shot_start", "die_open", "eject", "spray_on")
REGISTERS: Final = {
    "cycle.v_slow": ("v_slow", "m/s"),
    "cycle.v_fast": ("v_fast", "m/s"),
    "cycle.t_fill": ("t_fill", "ms"),
    "cycle.p_int": ("p_int", "MPa"),
    "cycle.t_rise": ("t_rise", "ms"),
    "cycle.biscuit": ("biscuit", "mm"),
    "cycle.t_cycle": ("t_cycle", "s"),
    "spray.volume": ("spray_volume", "mL"),
    "vac.pressure": ("vac_min", "mbar"),
    "clamp.tiebar1": ("tiebar1", "kN"),
    "clamp.tiebar2": ("tiebar2", "kN"),
    "clamp.tiebar3": ("tiebar3", "kN"),
    "clamp.tiebar4": ("tiebar4", "kN"),
}
COUNTER, CURVE = "shot.count", "shot.curve"
_SHOT: Final = ("SLOW_SHOT", "FAST_SHOT", "INTENSIFY")
F_AT_POUR: Final = Formula("0.2-AT", "Cel")
Features = dict[str, Result]


class HpdcShot(Process):
    """A shot of a cold-chamber die-casting machine."""

    kind: Literal["hpdc_shot"] = "hpdc_shot"
    marker: Literal["state", "bits"] = "state"
    """What tells the phases: the role `cycle.state`, or the bits from `die_closed` on."""
    states: tuple[str, ...] = STATES
    """Names of the state numbers from 0; a name outside the list of the page but FAULT is refused."""
    counts_at: str = "DIE_CLOSE"
    """The state with which the shot counter rises; DIE_CLOSE: at the end of the cycle before."""
    longest_s: PositiveFloat = 180.0
    """A machine that idles this long after a cycle began stands; the cycle ends there, s. About three cycles."""
    warm_up_shots: NonNegativeInt = 10
    """Shots after a long stop that are flagged WARM_UP."""
    die_zones: tuple[str, ...] = ("die.temp_fix1", "die.temp_fix2", "die.temp_mov1", "die.temp_mov2")
    """Roles of the die temperatures, Cel."""
    cooling: tuple[str, ...] = ("cool.flow1", "cool.flow2")
    """Roles of the cooling flows, L/min."""
    vacuum: Literal["register", "live"] = "register"
    """Whether `vac.pressure` is the PLC's lowest of the shot, or the pressure itself."""

    plunger_mm: PositiveFloat | None = None
    """Plunger diameter D, mm."""
    gate_mm2: PositiveFloat | None = None
    """Gate area A_g, mm2."""
    gate_mm: PositiveFloat | None = None
    """Plunger position at which metal reaches the gate, mm; without it the fill begins at the fast start."""
    cavity_cm3: PositiveFloat | None = None
    """Volume of casting and overflows, cm3, without runner and biscuit."""
    sleeve_mm: PositiveFloat | None = None
    """Active length of the shot sleeve, mm."""
    density_g_cm3: PositiveFloat = 2.5
    """Density of the melt, g/cm3 [GK]."""
    bore_mm: PositiveFloat | None = None
    """Bore of the shot cylinder, mm."""
    rod_mm: PositiveFloat | None = None
    """Rod of the shot cylinder, mm, thinner than the bore."""
    face_mm: PositiveFloat | None = None
    """Plunger position at contact with the spreader, mm, calibrated for each die."""
    projected_mm2: PositiveFloat | None = None
    """Projected area of the casting with runner, mm2."""
    clamp_t: PositiveFloat | None = None
    """Clamping force, t."""
    biscuit_mm: PositiveFloat | None = None
    """Biscuit aimed at, mm; the dosing deviation is against it."""

    position_channel: str = "position"
    """Channel of the burst with the plunger position, mm."""
    head_channel: str = "p_head"
    """Channel with the head pressure, MPa."""
    rod_channel: str = "p_rod"
    """Channel with the rod-side pressure, MPa."""
    smoothing_points: PositiveInt = Field(default=11, ge=5, le=51)
    """Odd number of points of the Savitzky-Golay derivative."""
    slow_start_m_s: PositiveFloat = 0.05
    """Velocity that begins the slow stage, m/s."""
    fast_set_m_s: PositiveFloat | None = None
    """Set velocity of the fast stage, m/s; without it the highest that was measured."""
    fill_end_share: float = Field(default=0.2, gt=0.0, lt=1.0)
    """The fill ends below this share of the highest velocity."""
    longest_fill_s: PositiveFloat = 3.0
    """A fast stage without end for this long is an aborted shot, s."""

    lead_s: ClassVar[float] = 30.0
    settle_s: ClassVar[float] = 5.0

    @model_validator(mode="after")
    def _check(self) -> "HpdcShot":
        unknown = [name for name in self.states if name not in {*STATES, "FAULT"}]
        if unknown or len(set(self.states)) != len(self.states) or "DIE_CLOSE" not in self.states:
            raise ValueError(
                f"states = {list(self.states)}: DIE_CLOSE and others of {', '.join(STATES)}, FAULT, each once"
            )
        if self.counts_at not in self.states:
            raise ValueError(f"counts_at = {self.counts_at!r}: expected one of the states")
        if self.bore_mm is not None and self.rod_mm is not None and self.rod_mm >= self.bore_mm:
            raise ValueError(f"rod_mm = {self.rod_mm} is not thinner than bore_mm = {self.bore_mm}")
        if self.smoothing_points % 2 == 0:
            raise ValueError(f"smoothing_points = {self.smoothing_points}: expected an odd number")
        return self

    def roles(self) -> Roles:
        """The state number or the bits; all else is optional."""
        by_state = self.marker == "state"
        return Roles(
            markers=("cycle.state",) if by_state else ("die_closed",),
            optional_markers=(*(BITS if by_state else BITS[1:]), COUNTER),
            optional=(*REGISTERS, *self.die_zones, *self.cooling, "metal.temp", "metal.mass_total", "energy.total"),
            bursts=(CURVE,),
        )

    def cycles(self, window: Window) -> tuple[Segment, ...]:
        """Shots from die close to die close."""
        order = Order(self._names, "DIE_CLOSE", "IDLE", longest_s=self.longest_s)
        rows = self._bits(window)
        if self.marker == "state":
            # The bits do not tell the stages of a shot apart, so they must not stand beside them.
            apart = ~np.isin(rows.code, [order.names.index(name) for name in _SHOT])
            others = StateRows(rows.ts_ns[apart], rows.code[apart], rows.every_s)
            rows = StateRows.of(window["cycle.state"], len(self.states)).filled(others)
        breaks = counter_breaks(rows, window[COUNTER], order, self.counts_at)
        found = segments(without_glitches(Runs.of(rows, breaks), order), order)
        counter = counted(window[COUNTER])
        return tuple(self._told(segment, counter, window) for segment in found)

    def features(self, segment: Segment, window: Window) -> Measured:
        """The PLC's registers, the burst's stages, temperatures, flows, energy and durations."""
        found = self._registers(segment, window)
        curve = self._curve(segment, window)
        if CURVE in window:
            found |= self._stages(curve)
        found |= self._derived(found, segment, window)
        found |= self._thermal(segment, window)
        if "energy.total" in window:
            found["energy"] = gained(window["energy.total"], segment.start_ns, segment.end_ns, "kW.h")
        found |= {f"time_{name.lower()}": lasting(segment.phase(name), F_DURATION) for name in self._measured_phases}
        return Measured(found)

    @property
    def warm_up_cycles(self) -> int:
        """See `warm_up_shots`."""
        return self.warm_up_shots

    @property
    def _names(self) -> tuple[str, ...]:
        """State names; the bits need all of them."""
        return self.states if self.marker == "state" else STATES

    @property
    def _measured_phases(self) -> tuple[str, ...]:
        return tuple(name for name in (*STATES[1:], "IDLE") if name in self._names)

    @property
    def _rules(self) -> Rules:
        return Rules(
            self.position_channel, self.head_channel, self.rod_channel, self.smoothing_points, self.slow_start_m_s,
            self.fast_set_m_s, self.fill_end_share, self.longest_fill_s,
        )  # fmt: skip

    def _curve(self, segment: Segment, window: Window) -> ShotCurve | None:
        end_ns = window.end_ns if segment.end_ns is None else segment.end_ns
        burst = window.cut(segment.start_ns, end_ns).burst(CURVE)
        return read_shot(burst, self._rules) if burst is not None else None

    def _told(self, segment: Segment, counter: Series, window: Window) -> Segment:
        """With its number, the stages of its burst, and whether it was a whole shot."""
        curve = self._curve(segment, window)
        flags, phases = set(segment.flags), segment.phases
        if curve is not None and curve.fill_s is not None:
            phases = _refined(phases, curve)
        elif curve is not None:
            flags.add(Flag.ABORTED)
        names = {phase.name for phase in phases}
        if segment.end_ns is not None and Flag.GAP not in flags and "COOL" in self._names and "COOL" not in names:
            flags.add(Flag.ABORTED)
        end_ns = window.end_ns if segment.end_ns is None else segment.end_ns
        number = self._number(counter.between(segment.start_ns, end_ns))
        return replace(segment, phases=phases, number=number, flags=frozenset(flags))

    def _number(self, during_cycle: Series) -> int | None:
        if not len(during_cycle):
            return None
        if self.counts_at == "DIE_CLOSE":
            return int(np.sort(during_cycle.value)[len(during_cycle) // 2]) + 1
        return int(during_cycle.value[-1])

    def _bits(self, window: Window) -> StateRows:
        """The state that the bits show; without `die_open` the die is open when it is not closed."""
        closed = window["die_closed"].good
        when = closed.ts_ns
        if not np.isfinite(closed.every_s):
            when = np.unique(np.concatenate([window[bit].good.ts_ns for bit in BITS]))
        shut, pour, shot, opened, eject, spray = (np.asarray(held(window[bit], when) >= 0.5) for bit in BITS)
        if "die_open" not in window:
            opened = ~shut
        code = np.full(len(when), self._names.index("DIE_CLOSE"), dtype=np.int64)
        moving, started = ~shut & ~opened, since(shut, shot)
        _name(code, self._names, "DIE_OPEN", (moving & was(shut, opened)) | (opened & ~since(opened, eject | spray)))
        _name(code, self._names, "IDLE", opened & since(opened, eject | spray))
        _name(code, self._names, "POUR", shut & since(shut, pour) & ~started)
        _name(code, self._names, "COOL", shut & started & ~shot)
        for name, bit in (("POUR", pour & shut), ("SLOW_SHOT", shot), ("EJECT", eject), ("SPRAY", spray)):
            _name(code, self._names, name, bit)
        return StateRows(when, code, closed.every_s)

    def _registers(self, segment: Segment, window: Window) -> Features:
        end_ns = segment.end_ns or window.end_ns
        after = window.cut(end_ns, end_ns + round(self.settle_s * SECOND_NS))
        found = {}
        written = self._is_written(segment, window, after)
        for role, (name, unit) in REGISTERS.items():
            if role in window:
                rows = after[role] if written else after[role].between(0, 0)
                found[name] = signal(rows, unit)
        if self.vacuum == "live" and "vac.pressure" in window:
            live = window["vac.pressure"].between(segment.start_ns, end_ns)
            found["vac_min"] = extreme_of(live, "mbar", "min")
        return found

    def _is_written(self, segment: Segment, window: Window, after: Window) -> bool:
        """Whether the registers are those of this shot: with a counter at the end of a cycle, if it has moved."""
        if COUNTER not in window or self.counts_at != "DIE_CLOSE" or segment.number is None:
            return True
        count = counted(after[COUNTER])
        return not len(count) or int(count.value[-1]) != segment.number - 1

    def _stages(self, curve: ShotCurve | None) -> Features:
        """What the burst measured; every feature is there, with a reason when the burst is missing."""
        if curve is None:
            names = {"curve_v_slow": "m/s", "curve_v_fast": "m/s", "fill_time": "ms", "switch_position": "mm"}
            names |= {"fill_end_position": "mm", "p_final": "MPa", "rise_time": "ms"}
            return {name: plain(None, Formula("F-HPDC-BURST", unit)) for name, unit in names.items()}
        found = {
            "curve_v_slow": curve.slow_velocity(),
            "curve_v_fast": curve.fast_velocity(),
            "fill_time": curve.fill_time(self.gate_mm),
            "switch_position": curve.place(curve.fast_s),
            "fill_end_position": curve.place(curve.fill_s),
            "p_final": curve.final_head(),
            "rise_time": curve.rise_time(),
        }
        if self.face_mm is not None:
            end = curve.place(curve.end_s)
            found["biscuit_thickness"] = formulas.biscuit_thickness(self.face_mm, end.value).one()
        if self.bore_mm and self.rod_mm and self.plunger_mm:
            head, rod = curve.final_head().value, curve.final_rod().value
            pressure = formulas.intensification_pressure(head, rod, self.bore_mm, self.rod_mm, self.plunger_mm)
            found["metal_pressure"] = pressure.one()
        return found

    def _derived(self, found: Mapping[str, Result], segment: Segment, window: Window) -> Features:
        """F-HPDC-02 to -05, -08, -09 from the burst where it has them, else from the registers."""
        made: Features = {}
        area = formulas.plunger_area(self.plunger_mm).value if self.plunger_mm else None
        fast, fill = _first(found, "curve_v_fast", "v_fast"), _first(found, "fill_time", "t_fill")
        pressure = _first(found, "metal_pressure", "p_int")
        biscuit = _first(found, "biscuit_thickness", "biscuit")
        if area is not None and fast is not None and self.gate_mm2:
            made["gate_velocity"] = formulas.gate_velocity(fast.value, area, self.gate_mm2).one()
        if area is not None and fast is not None and self.cavity_cm3:
            made["fill_time_theoretical"] = formulas.fill_time(self.cavity_cm3 * 1e3, area, fast.value).one()
            if fill is not None:
                theoretical = made["fill_time_theoretical"].value
                made["fill_time_ratio"] = formulas.fill_time_ratio(fill.value, theoretical).one()
        if area is not None and self.sleeve_mm and "metal.mass_total" in window:
            made |= self._sleeve(area, segment, window)
        if pressure is not None and self.projected_mm2:
            made["opening_force"] = formulas.die_opening_force(pressure.value, self.projected_mm2).one()
            if self.clamp_t:
                used = formulas.clamp_utilisation(made["opening_force"].value, self.clamp_t)
                made["clamp_utilisation"] = used.one()
        if area is not None and biscuit is not None and self.biscuit_mm:
            change = None if biscuit.value is None else biscuit.value - self.biscuit_mm
            deviation = formulas.dosing_deviation(change, area, density_g_cm3=self.density_g_cm3)
            made["dosing_deviation"] = deviation.one()
        return made

    def _sleeve(self, area: Floats, segment: Segment, window: Window) -> Features:
        """The mass counter steps with the shot counter, so the shot's mass is seen in the `settle_s` after it."""
        settle_ns = round(self.settle_s * SECOND_NS)
        end_ns = segment.end_ns or window.end_ns
        rows = window["metal.mass_total"].between(segment.start_ns + settle_ns, end_ns + settle_ns)
        mass = gained(rows, int(rows.ts_ns[0]), int(rows.ts_ns[-1]), "kg") if len(rows) else plain(None, F_AT_POUR)
        late = len(rows) and rows.ts_ns[-1] < end_ns
        kg = None if late or not mass.value else mass.value
        filling = formulas.sleeve_filling(kg, area, self.sleeve_mm, density_g_cm3=self.density_g_cm3).one()
        critical = formulas.critical_slow_shot_velocity(self.plunger_mm, filling.value).one()
        poured = plain(kg, Formula("0.3-COUNTER", "kg"), Evidence(len(rows)))
        return {"metal_mass": poured, "sleeve_filling": filling, "critical_slow_velocity": critical}

    def _thermal(self, segment: Segment, window: Window) -> Features:
        found: Features = {}
        whole = Phase("", segment.start_ns, segment.end_ns)
        pour = segment.phase("POUR")
        for role in self.die_zones:
            if role in window:
                rows, name = during(window[role], whole), role.replace(".", "_")
                found[f"{name}_min"] = extreme_of(rows, "Cel", "min")
                found[f"{name}_max"] = extreme_of(rows, "Cel", "max")
                found[f"{name}_at_pour"] = _at(window[role], pour)
        if "metal.temp" in window:
            found["metal_temp_at_pour"] = _at(window["metal.temp"], pour)
        for role in self.cooling:
            if role in window:
                found[f"{role.replace('.', '_')}_mean"] = mean_of(during(window[role], whole), "L/min")
        return found


def _at(series: Series, phase: Phase | None) -> Result:
    """The last number at the start of a phase, not older than 2.5 intervals."""
    longest_s = 2.5 * series.every_s
    return plain(None if phase is None else series.at(phase.start_ns, longest_s), F_AT_POUR)


def _first(found: Mapping[str, Result], *names: str) -> Result | None:
    """The first of these features that has a value, else the first that is there."""
    there = [found[name] for name in names if name in found]
    return next((result for result in there if result.value is not None), there[0] if there else None)


def _name(code: Ints, names: tuple[str, ...], name: str, where: Bools) -> None:
    if name in names:
        code[where] = names.index(name)


def _refined(phases: tuple[Phase, ...], curve: ShotCurve) -> tuple[Phase, ...]:
    """The phases with the stages of the shot as the burst saw them."""
    slow, fast, fill, end = (curve.at_ns(at) for at in (curve.slow_s, curve.fast_s, curve.fill_s, curve.end_s))
    if slow is None or fast is None or fill is None:
        return phases
    kept = [phase for phase in phases if phase.name not in _SHOT]
    before = [phase for phase in kept if phase.start_ns < slow]
    after = [phase for phase in kept if phase.start_ns >= slow]
    if before:
        before[-1] = replace(before[-1], end_ns=slow)
    told = next((phase.end_ns for phase in phases if phase.name == "INTENSIFY"), None)
    end = end if end is not None else after[0].start_ns if after else told
    if after and end is not None and (after[0].end_ns is None or end < after[0].end_ns):
        after[0] = replace(after[0], start_ns=end)
    stages = (Phase("SLOW_SHOT", slow, fast), Phase("FAST_SHOT", fast, fill), Phase("INTENSIFY", fill, end))
    return (*before, *stages, *after)
