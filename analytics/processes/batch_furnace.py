"""Furnaces that treat one load after the other: pit and box, vacuum with gas quench, tempering (sections 2.2, 2.5).

* Phases come from the program's state number, or (but for vacuum) from setpoint, temperature and door.
* The load's own thermocouple is taken where there is one, else zone 1.
"""

from typing import ClassVar, Final, Literal

import numpy as np
from pydantic import FiniteFloat, PositiveFloat

from analytics import furnace_program
from analytics.formulas import heat_treatment, tempering
from analytics.furnace import Furnace, durations, idle_features
from analytics.process import Measured, Phase, Roles, Segment, lasting
from analytics.readings import during, extreme_of, joined, mean_of, samples_of
from analytics.result import Evidence, Formula, Result, judged
from analytics.steps import Steps, cycles_of
from analytics.time_series import crossings
from analytics.window import SECOND_NS, Series, Window

PIT_STATES: Final = ("IDLE", "LOAD", "RAMP", "SOAK", "COOL", "UNLOAD")
VACUUM_STATES: Final = (
    "IDLE", "LOAD", "PUMP_DOWN", "LEAK_CHECK", "HEAT", "SOAK", "QUENCH", "BACKFILL", "UNLOAD",
)  # fmt: skip
TEMPER_STATES: Final = ("IDLE", "LOAD", "RAMP", "SOAK", "UNLOAD")
UM_HG_PER_MBAR: Final = 750.062
F_PUMP: Final = Formula("PUMP-DOWN", "s")


class BatchFurnace(Furnace):
    """What pit, vacuum and tempering furnaces share; not a process by itself."""

    segment_by: Literal["state", "rules"] = "state"
    """Phases from a state number (state), or from setpoint, temperature and door (rules)."""
    state_role: Literal["program.state", "program.step"] = "program.state"
    """Which role carries the state number."""
    states: tuple[str, ...] = PIT_STATES
    """Names of the state numbers from 0 on, in the order of the program; "" is unused, IDLE lies between loads."""
    reached_tolerance: PositiveFloat = 5.0
    """With rules: the ramp ends within this of the setpoint, K [GK]."""
    off_below: FiniteFloat = 200.0
    """With rules: a setpoint below this means heating is off, Cel."""
    cold_below: FiniteFloat = 60.0
    """With rules: cooling has ended below this, Cel."""

    heating: ClassVar[str] = "RAMP"
    process_version: ClassVar[str] = "2"
    """Name of the phase that heats."""

    def roles(self) -> Roles:
        """Zones always; the state number, or setpoint and temperature of zone 1, as markers."""
        by_state = self.segment_by == "state"
        markers = (self.state_role,) if by_state else ("zone1.pv", "zone1.sp")
        helping = ("batch",) if by_state else ("batch", "door1")
        zones = (*self.zone_roles("pv"), *self.zone_roles("sp"), *self.load_sensors)
        optional = ("load_tc.1", "power", "energy", *self.more_roles())
        return Roles(
            markers=markers,
            mandatory=tuple(role for role in zones if role not in markers),
            optional_markers=helping,
            optional=tuple(role for role in optional if role not in self.load_sensors),
        )

    def more_roles(self) -> tuple[str, ...]:
        """Optional roles of the one furnace."""
        return ()

    def cycles(self, window: Window) -> tuple[Segment, ...]:
        """Loads in order of their starts."""
        names = self.names
        if self.segment_by == "state":
            rows = window[self.state_role]
        else:
            rows = furnace_program.batch(window, names, self.reached_tolerance, self.off_below, self.cold_below)
        steps = Steps.of(rows, names, window.start_ns)
        return cycles_of(steps, self.lead_s, counter=window["batch"])

    @property
    def names(self) -> tuple[str, ...]:
        """States in use: with rules always those of a pit furnace."""
        return self.states if self.segment_by == "state" else PIT_STATES

    def features(self, segment: Segment, window: Window) -> Measured:
        """Soak, ramp, energy and durations, and what the one furnace adds."""
        heating, soak = segment.phase(self.heating), segment.phase("SOAK")
        found = {"time_to_temperature": self.time_to_temperature(window, joined([heating, soak]))}
        found |= self.ramp_features(window, heating)
        found |= self.soak_features(window, soak, "soak")
        found["soak_temp_mean"] = mean_of(during(window["zone1.pv"], soak), "Cel")
        found |= self.load_difference(window, soak)
        if self.zones > 1:
            found["zone_spread"] = self.spread(window, soak)
        found |= self.more_features(segment, window)
        found |= self.energy_features(segment, window)
        if self.segment_by == "state":
            found |= idle_features(self.names, window[self.state_role], window, segment.start_ns)
        return Measured(found | durations(segment, self.names))

    def more_features(self, segment: Segment, window: Window) -> dict[str, Result]:
        """Features of the one furnace."""
        del segment, window
        return {}

    def load_sensor(self, window: Window) -> Series:
        """The first load thermocouple, else zone 1."""
        return window["load_tc.1"] if "load_tc.1" in window else window["zone1.pv"]


class PitLoad(BatchFurnace):
    """A load of a pit or box furnace: LOAD, RAMP, SOAK, COOL, UNLOAD."""

    kind: Literal["pit_load"] = "pit_load"

    def more_features(self, segment: Segment, window: Window) -> dict[str, Result]:
        """F-HT-14 where the load cools through 800 and 500 Cel."""
        falling = during(self.load_sensor(window), joined([segment.phase("SOAK"), segment.phase("COOL")]))
        found = heat_treatment.cooling_time(samples_of(falling))
        return {"cooling_time": found, "cooling_rate": heat_treatment.cooling_rate(found.value).one()}


class TemperLoad(BatchFurnace):
    """A load of a tempering or stress-relief furnace."""

    kind: Literal["temper_load"] = "temper_load"

    states: tuple[str, ...] = TEMPER_STATES
    """Names of the state numbers from 0 on, in the order of the program; "" is unused, IDLE lies between loads."""
    material_constant: PositiveFloat = 20.0
    """C of Hollomon-Jaffe and Larson-Miller, a property of the steel [GK]."""
    step_s: PositiveFloat = 60.0
    """Length of the steps in which the temperature curve is added up, s."""
    counts_above: FiniteFloat = 100.0
    """Below this nothing tempers; rows below do not count, Cel."""

    def more_features(self, segment: Segment, window: Window) -> dict[str, Result]:
        """F-HT-12 over the real curve of the load, and F-HT-13 of the same steps."""
        curve = during(self.load_sensor(window), joined([segment.phase("RAMP"), segment.phase("SOAK")])).good
        temp, hours = _steps(curve, self.step_s)
        counts = temp >= self.counts_above
        found = tempering.hollomon_jaffe_steps(temp[counts], hours[counts], constant=self.material_constant)
        larson = None if found.value is None else found.value * 1000
        given = (temp[counts], hours[counts])
        return {
            "tempering_parameter": found,
            "larson_miller": judged(
                np.nan if larson is None else larson,
                tempering.F_LARSON,
                (np.asarray(np.nan if larson is None else larson), *given),
                evidence=Evidence(int(counts.sum()), found.coverage),
            ).one(),
            "load_temp_max": extreme_of(curve, "Cel", "max"),
        }


class VacuumLoad(BatchFurnace):
    """A load of a vacuum furnace with gas quench."""

    kind: Literal["vacuum_load"] = "vacuum_load"

    states: tuple[str, ...] = VACUUM_STATES
    """Names of the state numbers from 0 on, in the order of the program; "" is unused, IDLE lies between loads."""
    segment_by: Literal["state"] = "state"
    """Phases come from a state number."""
    pumped_mbar: PositiveFloat = 0.1
    """The chamber is pumped down at this pressure, mbar [GK]."""
    leak_after_s: PositiveFloat = 300.0
    """Time after isolating before the first leak-up reading, s."""
    volume_l: PositiveFloat | None = None
    """Volume of the chamber, L; switches on the leak flow."""

    heating: ClassVar[str] = "HEAT"

    def more_roles(self) -> tuple[str, ...]:
        """Pressure."""
        return ("vac.pressure",)

    def more_features(self, segment: Segment, window: Window) -> dict[str, Result]:
        """Pump-down time, F-HT-17 of the leak check, F-HT-14 of the quench, pressure while hot."""
        falling = during(self.load_sensor(window), joined([segment.phase("SOAK"), segment.phase("QUENCH")]))
        found = {"cooling_time": heat_treatment.cooling_time(samples_of(falling))}
        found["cooling_rate"] = heat_treatment.cooling_rate(found["cooling_time"].value).one()
        if "vac.pressure" not in window:
            return found
        pressure = window["vac.pressure"]
        found["pumped_after"] = self._pumped(pressure, segment.phase("PUMP_DOWN"))
        found["pressure_max"] = extreme_of(during(pressure, segment.phase("SOAK")), "mbar", "max")
        if segment.phase("LEAK_CHECK") is not None:
            found["leak_up_rate"] = self._leak(during(pressure, segment.phase("LEAK_CHECK")))
            if self.volume_l is not None:
                found["leak_flow"] = heat_treatment.leak_flow(found["leak_up_rate"].value, self.volume_l).one()
        return found

    def _pumped(self, pressure: Series, phase: Phase | None) -> Result:
        """From the start of PUMP_DOWN until the pressure falls through the limit, on a logarithmic scale."""
        if phase is None:
            return lasting(None, F_PUMP)
        rows = during(pressure, phase).good
        logarithm = np.log(np.maximum(rows.value, 1e-12))
        falls = crossings(
            Series(rows.ts_ns, logarithm, rows.quality, rows.every_s).samples(phase.start_ns),
            float(np.log(self.pumped_mbar)),
            "down",
        )
        end_ns = phase.start_ns + round(float(falls[0]) * SECOND_NS) if len(falls) else None
        return lasting(Phase("PUMP_DOWN", phase.start_ns, end_ns), F_PUMP)

    def _leak(self, rows: Series) -> Result:
        """F-HT-17 from the means of the first and the last fifth of the leak check after it has settled."""
        good = rows.good
        settled = good.seconds() >= self.leak_after_s
        time, level = good.seconds()[settled], good.value[settled] * UM_HG_PER_MBAR
        fifth = max(len(time) // 5, 1)
        if len(time) < 2:
            return heat_treatment.leak_up_rate(None, None, None).one()
        hours = (time[-fifth:].mean() - time[:fifth].mean()) / 3600
        return heat_treatment.leak_up_rate(level[:fifth].mean(), level[-fifth:].mean(), hours).one()


def _steps(
    curve: Series, step_s: float
) -> "tuple[np.ndarray[tuple[int], np.dtype[np.float64]], np.ndarray[tuple[int], np.dtype[np.float64]]]":
    """Mean temperature and hours of each step of a curve; the rows of a gap are in no step."""
    seconds = curve.seconds()
    place = (seconds // step_s).astype(np.int64)
    used, inverse, count = np.unique(place, return_inverse=True, return_counts=True)
    mean = np.bincount(inverse, curve.value) / np.maximum(count, 1) if len(used) else np.zeros(0)
    usual_s = float(np.median(np.diff(seconds))) if len(seconds) > 1 else step_s
    return mean, np.minimum(count * usual_s, step_s) / 3600 if len(used) else np.zeros(0)
