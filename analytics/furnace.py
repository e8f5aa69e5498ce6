"""What all furnaces that treat a load share: zones, tolerance band, soaks, ramp, energy (sections 2.2, 2.3 and 2.5).

* A zone is `zone1.pv` with `zone1.sp`, and so on; a load sensor is judged against the setpoint of zone 1.
* A deviation is the corrected reading less the setpoint that held then; a sensor without a reading leaves a gap.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Final, Literal

import numpy as np
from pydantic import Field, FiniteFloat, NonNegativeFloat, PositiveFloat, PositiveInt

from analytics.formulas import heat_treatment
from analytics.formulas.heat_treatment import Band, Soak
from analytics.process import Phase, Process, Segment, lasting, plain
from analytics.readings import F_DURATION, during, gained, held, joined, mean_of, on
from analytics.result import Evidence, Floats, Formula, Ints, Reason, Result, judged
from analytics.steps import IDLE
from analytics.time_series import Samples, covered
from analytics.window import SECOND_NS, Series, Window

F_REACHED: Final = Formula("F-HT-01", "s", "1 time to temperature")
F_LOAD: Final = Formula("0.2-MEAN", "K", "1 load")
_RAMP_EVERY_S: Final = 15.0
_SETTLED_S: Final = 600.0
"""End of a soak over which the load is compared with the zones, s."""


@dataclass(frozen=True, slots=True, eq=False)
class Deviations:
    """Corrected readings less setpoint.

    Attributes:
        ts_ns: (n,) rising.
        value: (n, sensors) K, NaN where a sensor has no reading.
        every_s: nominal interval.
    """

    ts_ns: Ints
    value: Floats
    every_s: float

    def soak(self, band: Band, least_coverage: float) -> Soak:
        """F-HT-01 over all of it; rows missing at its two ends count as missing too."""
        found = heat_treatment.soak_time(
            self.seconds, self.value, band, nominal_s=self.every_s, least_coverage=least_coverage
        )
        known = self.seconds[np.isfinite(self.value).all(axis=1)]
        share = covered(np.concatenate([self.seconds[:1], known, self.seconds[-1:]]), self.every_s)
        if not len(known) or share >= least_coverage:
            return found
        total, longest, excursions, worst = (
            replace(result, value=None, reason=Reason.LOW_COVERAGE, coverage=share)
            for result in (found.total, found.longest, found.excursions, found.worst)
        )
        return Soak(total, longest, excursions, worst, found.spans_s)

    @property
    def seconds(self) -> Floats:
        """(n,) time since the first."""
        return (self.ts_ns - self.ts_ns[0]) / SECOND_NS if len(self.ts_ns) else np.zeros(0)


class Furnace(Process):
    """Settings and features that every furnace process has."""

    zones: PositiveInt = 1
    """Control zones; the roles are zone1.pv, zone1.sp, zone2.pv, ..."""
    load_sensors: tuple[str, ...] = ()
    """Roles of the load thermocouples that must be in tolerance besides the control zones, as load_tc.1."""
    correction: dict[str, FiniteFloat] = Field(default_factory=dict)
    """Sensor and instrument correction by role, K; added to the reading."""
    band_minus: PositiveFloat = 10.0
    """Tolerance below the setpoint, K [GK]."""
    band_plus: PositiveFloat = 10.0
    """Tolerance above the setpoint, K [GK]."""
    soak_policy: Literal["pause", "reset"] = "pause"
    """Which soak time counts: all time in tolerance (pause), or the longest time without an excursion (reset)."""
    least_coverage: float = Field(default=0.95, ge=0.0, le=1.0)
    """Covered share below which a soak time is LOW_COVERAGE."""
    load_kg: PositiveFloat | None = None
    """Net charge, kg; `load_kg` of the context goes before it."""
    fixture_kg: NonNegativeFloat | None = None
    """Baskets and trays, kg; `fixture_kg` of the context goes before it."""

    lead_s: ClassVar[float] = 1800.0
    settle_s: ClassVar[float] = 120.0

    def zone_roles(self, part: Literal["pv", "sp", "out"]) -> tuple[str, ...]:
        """Readings, setpoints or outputs of the control zones."""
        return tuple(f"zone{n}.{part}" for n in range(1, self.zones + 1))

    def deviations(self, window: Window, phase: Phase | None) -> Deviations:
        """All required sensors over a closed phase, its two ends interpolated; empty when there is none."""
        sensors = (*self.zone_roles("pv"), *self.load_sensors)
        first = window[sensors[0]]
        if phase is None or phase.end_ns is None:
            return Deviations(np.zeros(0, np.int64), np.zeros((0, len(sensors))), first.every_s)
        rows = during(first, phase).ts_ns
        inner = rows[(rows > phase.start_ns) & (rows < phase.end_ns)]
        when = np.concatenate([[phase.start_ns], inner, [phase.end_ns]]).astype(np.int64)
        setpoints = (*self.zone_roles("sp"), *("zone1.sp",) * len(self.load_sensors))
        # The setpoint of the next phase may already stand in the row at the end.
        asked = np.minimum(when, phase.end_ns - 1)
        columns = [
            on(window[sensor], when) + self.correction.get(sensor, 0.0) - held(window[setpoint], asked)
            for sensor, setpoint in zip(sensors, setpoints, strict=True)
        ]
        return Deviations(when, np.column_stack(columns), max(window[role].every_s for role in sensors))

    @property
    def band(self) -> Band:
        """The tolerance as deviations."""
        return Band(0.0, self.band_minus, self.band_plus)

    def soak_features(self, window: Window, phase: Phase | None, name: str) -> dict[str, Result]:
        """F-HT-01 of one phase; `<name>_soak` is what the policy counts."""
        soak = self.deviations(window, phase).soak(self.band, self.least_coverage)
        return {
            f"{name}_soak": soak.total if self.soak_policy == "pause" else soak.longest,
            f"{name}_in_band": soak.total,
            f"{name}_longest": soak.longest,
            f"{name}_excursions": soak.excursions,
            f"{name}_worst_deviation": soak.worst,
        }

    def time_to_temperature(self, window: Window, heating: Phase | None) -> Result:
        """From the start of heating until all required sensors first are in tolerance, s."""
        found = self.deviations(window, heating)
        soak = found.soak(self.band, 0.0)
        value = float(soak.spans_s[0, 0]) if len(soak.spans_s) else np.nan
        never = (Reason.NOT_REACHED, not len(soak.spans_s))
        given = (found.seconds, found.value)
        return judged(value, F_REACHED, given, never, evidence=Evidence(len(found.ts_ns), soak.total.coverage)).one()

    def ramp_features(self, window: Window, ramp: Phase | None) -> dict[str, Result]:
        """F-HT-02 of the mean of the control zones."""
        rows = during(window["zone1.pv"], ramp)
        zones = [on(window[role], rows.ts_ns) + self.correction.get(role, 0.0) for role in self.zone_roles("pv")]
        mean = Series(rows.ts_ns, np.mean(zones, axis=0), rows.quality, rows.every_s).good
        samples = mean.samples(int(rows.ts_ns[0]) if len(rows) else 0)
        return {
            "ramp_rate": heat_treatment.ramp_rate(samples),
            "ramp_rate_steepest": heat_treatment.steepest_ramp(_thinned(samples)),
        }

    def spread(self, window: Window, phase: Phase | None) -> Result:
        """Hottest less coldest control zone of a phase, by their means, K; noise does not widen it."""
        rows = during(window["zone1.pv"], phase)
        zones = [on(window[role], rows.ts_ns) + self.correction.get(role, 0.0) for role in self.zone_roles("pv")]
        table = np.array(zones)[:, np.isfinite(np.sum(zones, axis=0))]
        value = float(np.ptp(table.mean(axis=1))) if table.size else None
        return plain(value, Formula("0.2-SPREAD", "K"), Evidence(table.shape[1], 1.0, rows.worst))

    def load_difference(self, window: Window, phase: Phase | None) -> dict[str, Result]:
        """Load thermocouple 1 less the mean of the control zones over the end of a soak, K; nothing without it."""
        if "load_tc.1" not in window:
            return {}
        if phase is None or phase.end_ns is None:
            return {"load_difference": plain(None, F_LOAD)}
        rows = window["load_tc.1"].between(
            max(phase.start_ns, phase.end_ns - round(_SETTLED_S * SECOND_NS)), phase.end_ns
        )
        zones = [on(window[role], rows.ts_ns) + self.correction.get(role, 0.0) for role in self.zone_roles("pv")]
        apart = rows.value + self.correction.get("load_tc.1", 0.0) - np.mean(zones, axis=0)
        return {"load_difference": mean_of(Series(rows.ts_ns, apart, rows.quality, rows.every_s), "K")}

    def mass(self, which: Literal["load_kg", "fixture_kg"], window: Window) -> float | None:
        """Of the context, or the setting; kg."""
        return number_of(window.context, which, self.load_kg if which == "load_kg" else self.fixture_kg)

    def energy_features(self, segment: Segment, window: Window) -> dict[str, Result]:
        """Energy of the load, kWh, and F-HT-18 per tonne and idle power, as far as roles and masses allow."""
        found: dict[str, Result] = {}
        load_kg, fixture_kg = self.mass("load_kg", window), self.mass("fixture_kg", window)
        if "energy" in window:
            found["energy"] = gained(window["energy"], segment.start_ns, segment.end_ns, "kW.h")
            if load_kg is not None:
                found["specific_energy"] = heat_treatment.furnace_energy(found["energy"].value, load_kg / 1000).one()
        if load_kg is not None and fixture_kg is not None:
            found["fixture_fraction"] = heat_treatment.fixture_fraction(fixture_kg, load_kg).one()
        return found


def number_of(context: Mapping[str, str], key: str, default: float | None) -> float | None:
    """A number of the context, or the setting.

    >>> number_of({"load_kg": "480"}, "load_kg", 500.0), number_of({"load_kg": "half"}, "load_kg", 500.0)
    (480.0, 500.0)
    """
    try:
        return float(context[key])
    except (KeyError, ValueError):
        return default


def idle_features(names: tuple[str, ...], states: Series, window: Window, start_ns: int) -> dict[str, Result]:
    """Idle-hold power before a cycle (F-HT-18); left out when the list of states has no IDLE or there is no power."""
    if IDLE not in names or "power" not in window:
        return {}
    power = window["power"].between(window.start_ns, start_ns)
    resting = held(states, power.ts_ns) == names.index(IDLE)
    return {"idle_power": heat_treatment.idle_power(power.value[resting])}


def durations(segment: Segment, names: tuple[str, ...]) -> dict[str, Result]:
    """How long each phase of the list lasted, `<phase>_time`, s."""
    named = [name for name in names if name not in {"", IDLE, "FAULT"}]
    return {f"{name.lower()}_time": lasting(segment.phase(name), F_DURATION) for name in named}


def between(segment: Segment, first: str, last: str) -> Phase | None:
    """One span from the first phase of one name to the end of the first of another."""
    return joined([segment.phase(first), segment.phase(last)])


def difference(one: Series, other: Series, unit: str) -> Result:
    """Mean of one role less another, at the rows of the first."""
    return mean_of(Series(one.ts_ns, one.value - on(other, one.ts_ns), one.quality, one.every_s), unit)


def _thinned(samples: Samples) -> Samples:
    """At most four points a minute: what a slope over five minutes needs."""
    step = max(1, int(_RAMP_EVERY_S // samples.nominal_s)) if np.isfinite(samples.nominal_s) else 1
    return Samples(samples.time_s[::step], samples.value[::step], samples.nominal_s * step)


def nothing(unit: str, formula_id: str = "0.2-MEAN") -> Result:
    """A feature whose rows are missing."""
    return plain(None, Formula(formula_id, unit))
