"""A sealed-quench furnace: a cycle is a load, from the opening for it to its unloading (section 2 of the domain).

* Phases come from the program's state number, or from setpoint, doors and elevator where there is none.
* While the probe burns off, and until it has recovered, nothing is computed from it.
"""

from typing import ClassVar, Final, Literal

import numpy as np
from pydantic import FiniteFloat, NonNegativeFloat, PositiveFloat, PositiveInt

from analytics import furnace_program
from analytics.formulas import atmosphere, heat_treatment
from analytics.furnace import Furnace, between, difference, durations, idle_features
from analytics.process import Measured, Phase, Roles, Segment, plain
from analytics.readings import during, edge, extreme_of, mean_of, on, rise_of, samples_of
from analytics.result import Bools, Evidence, Ints, Result
from analytics.steps import Steps, cycles_of
from analytics.window import SECOND_NS, Series, Window

STATES: Final = (
    "LOAD", "PURGE", "RAMP", "SOAK", "BOOST", "DIFFUSE", "DROP_TO_QUENCH_T", "TRANSFER", "QUENCH", "DRAIN", "UNLOAD",
)  # fmt: skip
_OPTIONAL: Final = (
    "overtemp.pv", "load_tc.1", "probe.mv", "probe.temp", "burn_off", "atm.cp", "quench.temp", "agit.rpm", "agit.amp",
    "power", "energy",
)  # fmt: skip
_GAS: Final = (
    ("probe.mv", "probe_mv_mean", "mV"), ("probe.impedance", "probe_impedance", "kOhm"),
    ("gas.enrich", "enrich_mean", "L/min"), ("atm.dp", "dew_point_mean", "Cel"),
)  # fmt: skip
_OIL_BEFORE_S: Final = 60.0


class SealedQuench(Furnace):
    """A load of a sealed-quench furnace."""

    kind: Literal["sealed_quench"] = "sealed_quench"
    process_version: ClassVar[str] = "2"

    segment_by: Literal["state", "rules"] = "state"
    """Phases from a state number (state), or from setpoint, doors and elevator (rules)."""
    state_role: Literal["program.state", "program.step"] = "program.state"
    """Which role carries the state number."""
    states: tuple[str, ...] = STATES
    """Names of the state numbers from 0 on, in the order of the program; "" is unused, IDLE lies between loads."""
    zones: PositiveInt = 3
    """Control zones; the roles are zone1.pv, zone1.sp, zone2.pv, ..."""
    soak_phases: tuple[str, ...] = ("SOAK", "BOOST", "DIFFUSE")
    """Phases whose time in tolerance is measured."""
    reached_tolerance: PositiveFloat = 5.0
    """With rules: the ramp ends when the coldest zone is within this of the setpoint, K [GK]."""
    overtemp_zone: PositiveInt = 1
    """Zone beside which the over-temperature sensor sits."""
    process_factor: PositiveFloat = 150.0
    """Process factor of the probe, about 150 for 20 % CO endothermic gas [GK]."""
    collapsed_mv: PositiveFloat = 900.0
    """Without a `burn_off` bit: below this the hot probe burns off or is broken, mV [GK]."""
    recovery_s: NonNegativeFloat = 600.0
    """Time after a burn-off in which the probe is not yet believed, s [GK]."""
    least_probe_coverage: float = 0.5
    """Share of a phase that must remain beside burn-offs."""
    core_carbon: FiniteFloat = 0.2
    """Carbon of the steel, %C; for the carbon at `profile_depth_mm`."""
    profile_depth_mm: PositiveFloat | None = None
    """Depth at which the carbon is estimated (F-HT-11), mm."""
    bath_m3: PositiveFloat | None = None
    """Volume of the quench bath, m3; switches on the expected rise (F-HT-16)."""

    def roles(self) -> Roles:
        """Zones always; the state number, or the bits and the first setpoint, as markers."""
        by_state = self.segment_by == "state"
        rules = ("zone1.pv", "zone1.sp", "door1", "door2", "elevator_down")
        zones = (*self.zone_roles("pv"), *self.zone_roles("sp"), *self.load_sensors)
        markers = (self.state_role,) if by_state else rules
        bits = ("door2", "elevator_down") if by_state else ()
        more = (*self.zone_roles("out"), *(role for role, *_ in _GAS if role not in _OPTIONAL))
        helping = ("batch",) if by_state else ("batch", "atm.cp_sp", *self.zone_roles("pv")[1:])
        return Roles(
            markers=markers,
            mandatory=tuple(role for role in zones if role not in {*markers, *helping}),
            optional_markers=helping,
            optional=tuple(role for role in (*_OPTIONAL, *more, *bits) if role not in self.load_sensors),
        )

    def cycles(self, window: Window) -> tuple[Segment, ...]:
        """Loads in order of their starts."""
        return cycles_of(self._steps(window), self.lead_s, counter=window["batch"])

    def _steps(self, window: Window) -> Steps:
        if self.segment_by == "state":
            return Steps.of(window[self.state_role], self.states, window.start_ns)
        rows = furnace_program.sealed_quench(window, STATES, self.zone_roles("pv"), self.reached_tolerance)
        return Steps.of(rows, STATES, window.start_ns)

    def features(self, segment: Segment, window: Window) -> Measured:
        """Temperatures, carbon, quench, energy and durations of a load."""
        names = self.states if self.segment_by == "state" else tuple(name for name in STATES if name != "PURGE")
        soaked = between(segment, self.soak_phases[0], self.soak_phases[-1])
        heated = between(segment, "RAMP", self.soak_phases[-1])
        found: dict[str, Result] = {"time_to_temperature": self.time_to_temperature(window, heated)}
        found |= self.ramp_features(window, segment.phase("RAMP"))
        for name in self.soak_phases:
            found |= self.soak_features(window, segment.phase(name), name.lower())
        if self.zones > 1:
            found["zone_spread"] = self.spread(window, soaked)
        found |= self.load_difference(window, soaked)
        found |= {
            f"zone{n}_output_mean": mean_of(during(window[role], soaked), "%")
            for n, role in enumerate(self.zone_roles("out"), 1)
            if role in window
        }
        if "overtemp.pv" in window:
            zone = window[f"zone{self.overtemp_zone}.pv"]
            found["overtemp_difference"] = difference(during(window["overtemp.pv"], soaked), zone, "K")
        found |= self._carbon(segment, window)
        found |= self._quench(segment, window)
        found |= self.energy_features(segment, window)
        if self.segment_by == "state":
            found |= idle_features(names, window[self.state_role], window, segment.start_ns)
        return Measured(found | durations(segment, names))

    def _carbon(self, segment: Segment, window: Window) -> dict[str, Result]:
        found: dict[str, Result] = {}
        for name in ("BOOST", "DIFFUSE"):
            if "atm.cp" in window:
                rows = self._believed(during(window["atm.cp"], segment.phase(name)), window)
                carbon = f"{name.lower()}_carbon"
                found[f"{carbon}_mean"] = mean_of(rows, "%{wt}", self.least_probe_coverage)
                found[f"{carbon}_min"] = extreme_of(rows, "%{wt}", "min")
                found[f"{carbon}_max"] = extreme_of(rows, "%{wt}", "max")
        if "probe.mv" in window and "probe.temp" in window:
            found |= self._probe(between(segment, "BOOST", "DIFFUSE"), window)
        carburised = between(segment, "BOOST", "DIFFUSE")
        for role, name, unit in _GAS:
            if role in window:
                rows = self._believed(during(window[role], carburised), window)
                found[name] = mean_of(rows, unit, self.least_probe_coverage)
        return found | self._case(carburised, window, found.get("diffuse_carbon_mean"))

    def _probe(self, phase: Phase | None, window: Window) -> dict[str, Result]:
        """F-HT-07 and F-HT-08 of the probe, row by row, and how far the controller's carbon is from it."""
        rows = self._believed(during(window["probe.mv"], phase), window)
        temp = on(window["probe.temp"], rows.ts_ns)
        carbon = atmosphere.carbon_potential(rows.value, temp, process_factor=self.process_factor)
        dew = atmosphere.dew_point(rows.value, temp, process_factor=self.process_factor)
        evidence = Evidence(len(rows.good), rows.evidence.coverage, rows.worst, self.least_probe_coverage)
        by_probe = Series(rows.ts_ns, carbon.value, rows.quality, rows.every_s)
        found = {
            "probe_carbon": plain(_average(carbon.value), atmosphere.F_CARBON, evidence),
            "probe_dew_point": plain(_average(dew.value), atmosphere.F_DEW, evidence),
        }
        if "atm.cp" in window:
            shown = self._believed(during(window["atm.cp"], phase), window)
            apart = shown.value - on(by_probe, shown.ts_ns)
            found["carbon_difference"] = plain(_average(apart), atmosphere.F_CARBON, evidence)
        return found

    def _believed(self, rows: Series, window: Window) -> Series:
        """Rows with those of a burn-off and of the recovery after it made bad."""
        masked = np.zeros(len(rows), dtype=np.bool_)
        for start_ns, end_ns in self._burn_offs(window):
            masked |= (rows.ts_ns >= start_ns) & (rows.ts_ns < end_ns + round(self.recovery_s * SECOND_NS))
        return Series(rows.ts_ns, np.where(masked, np.nan, rows.value), rows.quality, rows.every_s)

    def _burn_offs(self, window: Window) -> Ints:
        """(m, 2) begin and end of the burn-offs."""
        source = window["burn_off"].good if "burn_off" in window else window["probe.mv"].good
        burning: Bools = source.is_on() if "burn_off" in window else source.value < self.collapsed_mv
        spans = [span for span in furnace_program.runs(burning.astype(np.int64)) if burning[span[0]]]
        ends = np.append(source.ts_ns, window.end_ns)
        return np.array([(ends[first], ends[stop]) for first, stop in spans], dtype=np.int64).reshape(-1, 2)

    def _case(self, phase: Phase | None, window: Window, surface: Result | None) -> dict[str, Result]:
        """F-HT-09 over the real temperature, the squares of the depths added; F-HT-11 at its mean."""
        rows = during(window["zone1.pv"], phase)
        zones = [on(window[role], rows.ts_ns) + self.correction.get(role, 0.0) for role in self.zone_roles("pv")]
        mean = Series(rows.ts_ns, np.mean(zones, axis=0), rows.quality, rows.every_s)
        average = mean_of(mean, "Cel", self.least_coverage)
        if phase is None or phase.end_ns is None or average.value is None:
            return {"case_depth": atmosphere.case_depth(None, None).one()}
        hours = (phase.end_ns - phase.start_ns) / SECOND_NS / 3600
        depths = atmosphere.case_depth(mean.good.value, hours / len(mean.good)).value
        evidence = Evidence(len(mean.good), average.coverage, average.quality)
        found = {"case_depth": plain(float(np.sqrt(np.sum(depths**2))), atmosphere.F_DEPTH, evidence)}
        if self.profile_depth_mm is not None and surface is not None:
            rate = atmosphere.carbon_diffusivity(average.value).value
            found["carbon_at_depth"] = atmosphere.carbon_profile(
                self.profile_depth_mm, hours, rate, surface.value, self.core_carbon
            ).one()
        return found

    def _quench(self, segment: Segment, window: Window) -> dict[str, Result]:
        found: dict[str, Result] = {}
        if "door2" in window and "elevator_down" in window:
            found["quench_delay"] = _delay(segment, window)
        quench = segment.phase("QUENCH")
        if "load_tc.1" in window:
            falling = during(window["load_tc.1"], between(segment, "TRANSFER", "DRAIN"))
            found["cooling_time"] = heat_treatment.cooling_time(samples_of(falling))
            found["cooling_rate"] = heat_treatment.cooling_rate(found["cooling_time"].value).one()
        if "quench.temp" in window:
            immersed = between(segment, "QUENCH", "DRAIN")
            found["oil_rise"] = rise_of(window["quench.temp"], immersed, "K", _OIL_BEFORE_S)
            found["oil_temp_max"] = extreme_of(during(window["quench.temp"], immersed), "Cel", "max")
            found |= self._expected_rise(window, quench)
        for role, name, unit in (("agit.amp", "agitator_current", "A"), ("agit.rpm", "agitator_speed", "/min")):
            if role in window:
                found[name] = mean_of(during(window[role], quench), unit)
        return found

    def _expected_rise(self, window: Window, quench: Phase | None) -> dict[str, Result]:
        if self.bath_m3 is None or "load_tc.1" not in window:
            return {}
        start_ns = quench.start_ns if quench else window.start_ns
        hot, cold = (window[role].at(start_ns, 60.0) for role in ("load_tc.1", "quench.temp"))
        mass = self.mass("load_kg", window)
        return {"oil_rise_expected": heat_treatment.quench_rise(mass, hot, cold, self.bath_m3).one()}


def _delay(segment: Segment, window: Window) -> Result:
    """F-HT-15: the inner door's last opening before the elevator is down."""
    end_ns = segment.end_ns or window.end_ns
    down, opened = (edge(window[role], "up") for role in ("elevator_down", "door2"))
    down = down[(down >= segment.start_ns) & (down < end_ns)]
    opened = opened[(opened >= segment.start_ns) & (opened < down[0])] if len(down) else opened[:0]
    if not len(opened):
        return heat_treatment.quench_delay(None, None).one()
    seconds = (np.array([opened[-1], down[0]]) - segment.start_ns) / SECOND_NS
    return heat_treatment.quench_delay(seconds[0], seconds[1]).one()


def _average(values: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> float | None:
    good = values[np.isfinite(values)]
    return float(good.mean()) if len(good) else None
