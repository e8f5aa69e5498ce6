"""Melting furnaces: batches from charge to charge, their states, losses and energy (section 1.5 of domain.md).

* A batch begins with the first charge after a tap, cleaning or holding; a second charge into a melt belongs to it.
* The state number tells the states, or rules over power, temperature and masses where there is none.
* HOLD may come at any time: before the tap it is a wait, after it the rest of the batch.
"""

import itertools
from dataclasses import replace
from typing import ClassVar, Final, Literal

import numpy as np
from pydantic import Field, PositiveFloat, model_validator

from analytics.formulas import melting as formulas
from analytics.process import Flag, Measured, Phase, Process, Roles, Segment, lasting, plain
from analytics.readings import F_DURATION, during, extreme_of, gained, held, mean_of
from analytics.result import Bools, Evidence, Floats, Formula, Ints, Result
from analytics.states import Order, Runs, StateRows, counted, segments, without_glitches
from analytics.time_series import GAP_FACTOR
from analytics.window import SECOND_NS, Series, Window

STATES: Final = ("HOLD", "CHARGE", "MELT", "SUPERHEAT", "TREAT", "TAP", "CLEAN")
OES: Final = {"fe": "oes.fe", "mn": "oes.mn", "cr": "oes.cr", "c": "oes.c", "si": "oes.si", "p": "oes.p"}
RPT: Final = ("rpt.density_atm", "rpt.density_vac")
COUNTER: Final = "batch.count"
F_MASS: Final = Formula("0.2-AT", "kg")
F_BATH: Final = Formula("0.2-AT", "Cel")
_KG_PER_T: Final = 1e3
Features = dict[str, Result]


class MeltBatch(Process):
    """A batch of a melting furnace."""

    kind: Literal["melt_batch"] = "melt_batch"
    marker: Literal["state", "rules"] = "rules"
    """What tells the states: the role `cycle.state`, or rules over `furnace.kw` and `bath.temp`."""
    states: tuple[str, ...] = STATES
    """Names of the state numbers from 0."""
    nominal_kw: PositiveFloat = 350.0
    """Nominal power, kW."""
    liquidus_c: float = Field(default=600.0, ge=0.0, le=2000.0)
    """Liquidus of the alloy, Cel."""
    melt_share: float = Field(default=0.7, gt=0.0, lt=1.0)
    """Above this share of the nominal power it melts or superheats."""
    hold_share: float = Field(default=0.3, gt=0.0, lt=1.0)
    """Below this share it holds."""
    hold_c_min: PositiveFloat = 0.5
    """While holding the bath changes by less than this, Cel/min."""
    above_liquidus_c: PositiveFloat = 10.0
    """Melting is over this far above the liquidus, Cel."""
    charge_kg: PositiveFloat = 20.0
    """The smallest step of the charged mass that is a load, kg."""
    charge_drop_c: PositiveFloat = 15.0
    """Without a scale: a fall of the bath by this in 60 s is a charge, Cel."""
    between_loads_s: PositiveFloat = Field(default=600.0, le=1800.0)
    """Loads closer together are one charge, s."""
    longest_s: PositiveFloat = 43_200.0
    """A furnace that holds for so long after the batch began stands by; the batch ends there, s."""
    gas_mj_nm3: PositiveFloat | None = None
    """Net calorific value of the gas, MJ/Nm3, when `gas.total` is a role."""
    theoretical_kwh_t: PositiveFloat = 326.3
    """Theoretical melting energy of the metal, kW.h/t; aluminium."""

    lead_s: ClassVar[float] = 3600.0
    settle_s: ClassVar[float] = 90.0

    @model_validator(mode="after")
    def _check(self) -> "MeltBatch":
        unknown = [name for name in self.states if name not in {*STATES, "FAULT"}]
        if unknown or len(set(self.states)) != len(self.states) or "CHARGE" not in self.states:
            raise ValueError(
                f"states = {list(self.states)}: CHARGE and others of {', '.join(STATES)}, FAULT, each once"
            )
        if self.hold_share >= self.melt_share:
            raise ValueError(f"hold_share = {self.hold_share} is not below melt_share = {self.melt_share}")
        return self

    def roles(self) -> Roles:
        """The state number, or power and temperature."""
        helpers = ("treat_on", "clean_on", "charge.mass", "tap.mass")
        optional = ("bath.mass", "energy.total", "gas.total", "lining.leak", *RPT, *OES.values())
        if self.marker == "state":
            optional = ("furnace.kw", "bath.temp", "charge.mass", "tap.mass", *optional)
            return Roles(markers=("cycle.state",), optional_markers=(COUNTER,), optional=optional)
        return Roles(markers=("furnace.kw", "bath.temp"), optional_markers=(*helpers, COUNTER), optional=optional)

    def cycles(self, window: Window) -> tuple[Segment, ...]:
        """Batches from charge to charge."""
        by_state = self.marker == "state"
        order = Order(
            self.states if by_state else STATES,
            "CHARGE",
            "HOLD",
            outside=("HOLD", "FAULT"),
            longest_s=self.longest_s,
            after=("HOLD", "TAP", "CLEAN"),
        )
        rows = StateRows.of(window["cycle.state"], len(self.states)) if by_state else self._told(window)
        found = segments(without_glitches(Runs.of(rows), order), order)
        counter = counted(window[COUNTER])
        return tuple(_finished(segment, counter, window.end_ns) for segment in found)

    def features(self, segment: Segment, window: Window) -> Measured:
        """Masses, loss, energy, holding, treatment, temperatures and durations."""
        found = self._masses(segment, window)
        found |= self._energy(segment, window, found.get("tapped"))
        found |= self._temperatures(segment, window)
        found |= _quality(segment, window)
        treat, tap = _last(segment, "TREAT"), _last(segment, "TAP")
        ends = [None if phase is None or phase.end_ns is None else phase.end_ns / SECOND_NS for phase in (treat, tap)]
        found["treatment_to_pour"] = formulas.magnesium_fade(*ends).one()
        for name in STATES:
            spent = [phase for phase in segment.phases if phase.name == name]
            found[f"time_{name.lower()}"] = _together(spent)
        return Measured(found)

    def _told(self, window: Window) -> StateRows:
        """States by the rules of section 1.5, at the rows of the power; what no rule names goes on."""
        rows = window["furnace.kw"].good
        when = rows.ts_ns
        share = rows.value / self.nominal_kw
        bath = _calmed(held(window["bath.temp"], when))
        hot = bath >= self.liquidus_c + self.above_liquidus_c
        code = np.full(len(when), -1, dtype=np.int64)
        calm = np.abs(_slope(when, bath)) < self.hold_c_min
        busy = np.zeros(len(when), dtype=np.bool_)
        code[(share > self.melt_share) & ~hot] = STATES.index("MELT")
        code[(share > self.melt_share) & hot] = STATES.index("SUPERHEAT")
        if "charge.mass" in window:
            code[self._charging(when, window)] = STATES.index("CHARGE")
        else:
            code[_fallen(when, bath) >= self.charge_drop_c] = STATES.index("CHARGE")
        for role, name in (("tap.mass", "TAP"), ("clean_on", "CLEAN"), ("treat_on", "TREAT")):
            on = _rising(when, counted(window[role])) if role == "tap.mass" else held(window[role], when) >= 0.5
            code[on] = STATES.index(name)
            busy |= on
        resting = (share < self.hold_share) & ~busy & (code < 0)
        # After a treatment, a tap or cleaning the furnace holds at once; after heating only when the bath is calm.
        told = np.maximum.accumulate(np.where(code >= 0, np.arange(len(code)), -1))
        before = np.where(told >= 0, code[np.maximum(told, 0)], -1)
        handled = np.isin(before, [STATES.index(name) for name in ("TREAT", "TAP", "CLEAN")])
        code[resting & (handled | calm)] = STATES.index("HOLD")
        told = np.maximum.accumulate(np.where(code >= 0, np.arange(len(code)), -1))
        known = told >= 0
        return StateRows(when[known], code[told[known]], rows.every_s)

    def _charging(self, when: Ints, window: Window) -> Bools:
        """(n,) from the first load of a charge to the last."""
        mass = held(counted(window["charge.mass"]), when)
        loads = np.flatnonzero(np.diff(mass, prepend=mass[:1]) >= self.charge_kg)
        charging = np.zeros(len(when), dtype=np.bool_)
        charging[loads] = True
        for one, following in itertools.pairwise(loads.tolist()):
            if when[following] - when[one] <= self.between_loads_s * SECOND_NS:
                charging[one:following] = True
        return charging

    def _masses(self, segment: Segment, window: Window) -> Features:
        """Masses are read one row beyond the ends: a scale steps with the load that begins the batch."""
        found: Features = {}
        start_ns, end_ns = segment.start_ns, segment.end_ns or window.end_ns
        for role, name in (("charge.mass", "charged"), ("tap.mass", "tapped")):
            if role in window:
                rows = counted(window[role])
                found[name] = gained(rows, *_before(rows, start_ns, end_ns), "kg")
        if "bath.mass" in window:
            first, last = _before(window["bath.mass"], start_ns, end_ns)
            found["heel_start"] = _mass(window["bath.mass"], first)
            found["heel_end"] = _mass(window["bath.mass"], last)
        if {"charged", "tapped"} <= set(found):
            heels = [found[name].value if name in found else 0.0 for name in ("heel_start", "heel_end")]
            found["melt_loss"] = formulas.melt_loss(found["charged"].value, found["tapped"].value, *heels).one()
        return found

    def _energy(self, segment: Segment, window: Window, tapped: Result | None) -> Features:
        found: Features = {}
        start_ns, end_ns = segment.start_ns, segment.end_ns
        if "energy.total" in window:
            found["energy"] = gained(counted(window["energy.total"]), start_ns, end_ns, "kW.h")
        if "gas.total" in window and self.gas_mj_nm3:
            volume = gained(counted(window["gas.total"]), start_ns, end_ns, "m3")
            found["gas_energy"] = formulas.gas_energy(volume.value, self.gas_mj_nm3).one()
        source = [found[name].value for name in ("energy", "gas_energy") if name in found]
        if source and tapped is not None:
            total = None if None in source else sum(value for value in source if value is not None)
            tonnes = None if tapped.value is None else tapped.value / _KG_PER_T
            found["specific_energy"] = formulas.melting_energy(total, tonnes).one()
            efficiency = formulas.melting_efficiency(
                found["specific_energy"].value, theoretical_kwh_t=self.theoretical_kwh_t
            )
            found["melting_efficiency"] = efficiency.one()
        hold = _last(segment, "HOLD")
        if "furnace.kw" in window and "bath.mass" in window:
            rows, bath = during(window["furnace.kw"], hold), during(window["bath.mass"], hold).good
            mass = float(np.median(bath.value)) / _KG_PER_T if len(bath) else float("nan")
            found["holding_loss"] = formulas.holding_loss(rows.value, mass)
            found["melting_power"] = mean_of(during(window["furnace.kw"], segment.phase("MELT")), "kW")
        return found

    def _temperatures(self, segment: Segment, window: Window) -> Features:
        found: Features = {}
        whole = Phase("", segment.start_ns, segment.end_ns)
        if "bath.temp" in window:
            rows = window["bath.temp"]
            found["bath_temp_max"] = extreme_of(during(rows, whole), "Cel", "max")
            for name, phase in (("treat", segment.phase("TREAT")), ("tap", segment.phase("TAP"))):
                at = None if phase is None else rows.at(phase.start_ns, GAP_FACTOR * rows.every_s)
                found[f"bath_temp_at_{name}"] = plain(at, F_BATH)
        if "lining.leak" in window:
            found["lining_leak_max"] = extreme_of(during(window["lining.leak"], whole), "mA", "max")
        return found


def _quality(segment: Segment, window: Window) -> Features:
    """F-MELT-03 to -05 from the last samples of the batch that the laboratory entered as rows."""
    end_ns = segment.end_ns or window.end_ns
    found: Features = {}

    def last(role: str) -> float:
        return window[role].between(segment.start_ns, end_ns).at(end_ns)

    if all(role in window for role in RPT):
        found["density_index"] = formulas.density_index(last(RPT[0]), last(RPT[1])).one()
    if all(OES[element] in window for element in ("fe", "mn", "cr")):
        found["sludge_factor"] = formulas.sludge_factor(*(last(OES[element]) for element in ("fe", "mn", "cr"))).one()
    if all(OES[element] in window for element in ("c", "si", "p")):
        iron = formulas.carbon_equivalent_iron(*(last(OES[element]) for element in ("c", "si", "p")))
        found["carbon_equivalent"] = iron.one()
    return found


def _finished(segment: Segment, counter: Series, window_end_ns: int) -> Segment:
    """With its number; a closed batch that was never tapped is aborted."""
    end_ns = window_end_ns if segment.end_ns is None else segment.end_ns
    rows = counter.between(segment.start_ns, end_ns)
    number = int(np.sort(rows.value)[len(rows) // 2]) + 1 if len(rows) else None
    dry = segment.end_ns is not None and segment.phase("TAP") is None and Flag.GAP not in segment.flags
    return replace(segment, number=number, flags=segment.flags | ({Flag.ABORTED} if dry else set()))


def _last(segment: Segment, name: str) -> Phase | None:
    return next((phase for phase in reversed(segment.phases) if phase.name == name), None)


def _together(phases: list[Phase]) -> Result:
    """The durations of phases of one name, added."""
    if len(phases) < 2:
        return lasting(phases[0] if phases else None, F_DURATION)
    spent = [lasting(phase, F_DURATION).value for phase in phases]
    total = None if None in spent else sum(value for value in spent if value is not None)
    return plain(total, F_DURATION, Evidence(len(phases)))


def _before(series: Series, start_ns: int, end_ns: int) -> tuple[int, int]:
    """The times of the last rows before a batch and before the next: the load that begins it is not in them."""
    times = series.good.ts_ns
    first, last = np.searchsorted(times, [start_ns, end_ns]) - 1
    if first < 0 or last < 0:
        return start_ns, end_ns
    return int(times[first]), int(times[last])


def _mass(series: Series, ts_ns: int) -> Result:
    return plain(series.at(ts_ns, GAP_FACTOR * series.every_s), F_MASS)


def _calmed(value: Floats) -> Floats:
    """(n,) median of five rows, then mean of nine, both centred: a single wrong row and noise do not matter."""
    for kernel, half in ((np.median, 2), (np.mean, 4)):
        if len(value) <= 2 * half:
            return value
        padded = np.concatenate([np.repeat(value[:1], half), value, np.repeat(value[-1:], half)])
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
        value = np.asarray(kernel(windows, axis=1), dtype=np.float64)
    return value


def _slope(when: Ints, value: Floats, over_s: float = 180.0) -> Floats:
    """(n,) change per minute since `over_s` before."""
    then = np.searchsorted(when, when - round(over_s * SECOND_NS))
    elapsed_min = (when - when[then]) / SECOND_NS / 60.0
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((value - value[then]) / elapsed_min, dtype=np.float64)


def _fallen(when: Ints, value: Floats, over_s: float = 60.0) -> Floats:
    """(n,) how far the value lies below that of `over_s` before."""
    then = np.searchsorted(when, when - round(over_s * SECOND_NS))
    return value[then] - value


def _rising(when: Ints, series: Series) -> Bools:
    """(n,) rows at which a scale that only grows has grown."""
    mass = held(series, when)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.diff(mass, prepend=mass[:1]) > 0.0, dtype=np.bool_)
