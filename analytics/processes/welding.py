"""Arc welding: a cycle is a seam, from the gas before to the gas after its arc (section 3 of the domain).

* Rows are means over `bundle_s` that end at their time; the seam's times are those of the arc, not of the messages.
* Statistics leave out the first `settle_in_s` of WELD, and the crater.
* What the arc did within a bundle comes from a burst of u and i alone: the product of means is not the mean power.
"""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, FiniteFloat, NonNegativeFloat, PositiveFloat

from analytics.arc import STATES, ArcLevels, Helpers, arc_states
from analytics.formulas import seam, welding
from analytics.formulas.seam import Limits
from analytics.process import Flag, Limit, Measured, Phase, Process, Roles, Segment, plain
from analytics.readings import gained, on
from analytics.result import Evidence, Floats, Formula, Result
from analytics.steps import Steps, cycles_of
from analytics.time_series import Samples
from analytics.verdict import Verdict, worst
from analytics.window import SECOND_NS, Series, Window
from pipeline.model import Waveform

Variable = Literal["voltage", "current", "wire_feed", "travel", "gas_flow", "heat_input", "interpass", "preheat"]
F_ARC_TIME = Formula("F-WLD-06", "s", "1 arc time")
_WINDOW_S = 0.1
_MEANS: dict[str, tuple[str, str]] = {
    "voltage": ("arc.u", "V"),
    "current": ("arc.i", "A"),
    "wire_feed": ("wfs", "m/min"),
    "gas_flow": ("gas.flow", "L/min"),
    "travel": ("travel", "mm/s"),
    "feeder_current": ("feeder.motor", "A"),
}


class ArcSeam(Process):
    """A seam of a robot or a welder with a supervised power source."""

    kind: Literal["arc_seam"] = "arc_seam"
    process_version: ClassVar[str] = "2"

    segment_by: Literal["current", "state"] = "current"
    """Phases from current, gas and travel (current), or from a state number (state)."""
    states: tuple[str, ...] = STATES
    """Names of the state numbers from 0 on, in order; "" is unused."""
    bundle_s: PositiveFloat = 0.1
    """What a row of the arc is the mean of, s; it ends at the row's time."""
    on_a: PositiveFloat = 25.0
    """The arc is on above this, A."""
    on_s: NonNegativeFloat = 0.15
    """... for at least this long, s; 0.05 on rows of 50 ms or less, two bundles of 100 ms against spikes."""
    off_a: PositiveFloat = 15.0
    """The arc is off below this, A."""
    off_s: PositiveFloat = 0.2
    """... for at least this long; what is shorter is an interruption, s."""
    gas_on: PositiveFloat = 2.0
    """Gas flows above this, L/min."""
    travel_on: PositiveFloat = 0.5
    """The torch moves above this, mm/s; it parts ARC_START and CRATER from WELD."""
    arc_start_s: NonNegativeFloat = 0.3
    """Length of ARC_START where there is no travel speed, s."""
    settle_in_s: NonNegativeFloat = 0.5
    """Begin of WELD that statistics leave out, s."""
    arc_process: Literal["saw", "mma", "mag", "mig", "fcaw", "tig", "plasma"] = "mag"
    """Sets the thermal efficiency k (EN 1011-1)."""
    thermal_efficiency: PositiveFloat | None = Field(default=None, le=1.0)
    """k, in place of the one of `arc_process`."""
    wire_mm: PositiveFloat | None = None
    """Diameter of the wire, mm; switches on the deposition rate."""
    deposition_efficiency: PositiveFloat = Field(default=0.95, le=1.0)
    """Share of the wire that becomes weld metal [GK]."""
    thickness_mm: PositiveFloat | None = None
    """Plate thickness, mm; switches on t8/5."""
    preheat_c: FiniteFloat | None = None
    """Preheat temperature where no interpass temperature is measured, Cel."""
    thick_factor: PositiveFloat = 1.0
    """F3 of EN 1011-2, shape of a thick joint."""
    thin_factor: PositiveFloat = 1.0
    """F2 of EN 1011-2, shape of a thin joint."""
    wps: dict[Variable, Limit] = Field(default_factory=dict)
    """Limits of the welding procedure by essential variable, for every recipe."""
    recipe_wps: dict[str, dict[Variable, Limit]] = Field(default_factory=dict)
    """Limits by recipe; they go before `wps`."""
    least_compliance: float = Field(default=0.95, ge=0.0, le=1.0)
    """Share of arc time that must lie inside each limit [GK]."""
    longest_excursion_s: NonNegativeFloat = 1.0
    """The longest excursion that still passes, s [GK]."""

    lead_s: ClassVar[float] = 30.0
    settle_s: ClassVar[float] = 5.0

    def roles(self) -> Roles:
        """The current, or the state number, as marker."""
        by_current = self.segment_by == "current"
        helping = ("gas.flow", "travel", "seam_id") if by_current else ("seam_id",)
        means = tuple(role for role, _ in _MEANS.values())
        optional = (*means, "interpass.temp", "preheat.temp", "wire.total")
        marker = "arc.i" if by_current else "cycle.state"
        return Roles(
            markers=(marker,),
            mandatory=("arc.u",) if by_current else ("arc.u", "arc.i"),
            optional_markers=helping,
            optional=tuple(role for role in optional if role not in {marker, "arc.u", "arc.i", *helping}),
            bursts=("arc.burst",),
        )

    def cycles(self, window: Window) -> tuple[Segment, ...]:
        """Seams in order of their starts."""
        if self.segment_by == "state":
            rows = self._shifted(window["cycle.state"])
            steps = Steps.of(rows, self.states, window.start_ns)
            return cycles_of(steps, self.lead_s, counter=self._shifted(window["seam_id"]))
        levels = ArcLevels(self.on_a, self.on_s, self.off_a, self.off_s, self.bundle_s)
        gas, travel = (self._shifted(window[role]) for role in ("gas.flow", "travel"))
        helpers = Helpers(gas, self.gas_on, travel, self.travel_on, self.arc_start_s)
        rows = arc_states(self._shifted(window["arc.i"]), levels, helpers)
        steps = Steps(rows.ts_ns, rows.value.astype(np.int64), STATES, self.bundle_s, window.start_ns)
        finals = ("POSTFLOW", "CRATER", "WELD") if "gas.flow" not in window else ("POSTFLOW",)
        counter = self._shifted(window["seam_id"])
        return cycles_of(steps, self.lead_s, counter=counter, last=finals, rests_silently=True)

    def _shifted(self, rows: Series) -> Series:
        """Rows with the begin of what they are the mean of as their time."""
        back_ns = round(self.bundle_s * SECOND_NS)
        return Series(rows.ts_ns - back_ns, rows.value, rows.quality, rows.every_s)

    def features(self, segment: Segment, window: Window) -> Measured:
        """Means, energies, stability, cooling and the procedure."""
        weld = self._settled(segment)
        rows = {
            name: self._shifted(window[role]).between(weld.start_ns, weld.end_ns or weld.start_ns)
            for name, (role, _) in _MEANS.items()
            if role in window
        }
        found: dict[str, Result] = {
            f"{name}_mean": plain(_mean(series.value), Formula("0.2-MEAN", _MEANS[name][1]), series.evidence)
            for name, series in rows.items()
        }
        found |= self._energy(found)
        found |= self._burst(window, segment, found)
        found |= self._arc(window, segment, rows)
        interpass = self._interpass(window, segment)
        if interpass is not None:
            found["interpass"] = interpass
        found |= self._cooling(found)
        procedure, verdicts = self._procedure(window, weld, rows, interpass)
        blind = len(rows["current"]) < self._expected(weld) - 1 if "current" in rows else False
        return Measured(found | procedure, verdicts, frozenset({Flag.GAP}) if blind else frozenset())

    def _settled(self, segment: Segment) -> Phase:
        """WELD without its first moments; empty when there is none."""
        weld = segment.phase("WELD")
        if weld is None or weld.end_ns is None:
            return Phase("WELD", segment.start_ns, segment.start_ns)
        return Phase("WELD", min(weld.start_ns + round(self.settle_in_s * SECOND_NS), weld.end_ns), weld.end_ns)

    def _expected(self, weld: Phase) -> int:
        """Bundles that WELD should hold."""
        return round(((weld.end_ns or weld.start_ns) - weld.start_ns) / SECOND_NS / self.bundle_s)

    @property
    def k(self) -> float:
        """Thermal efficiency."""
        return self.thermal_efficiency or welding.DEFAULT_EFFICIENCY[self.arc_process]

    def _energy(self, found: dict[str, Result]) -> dict[str, Result]:
        """F-WLD-01 and F-WLD-05 from the means."""
        more: dict[str, Result] = {}
        if "travel_mean" in found and "current_mean" in found:
            travel = found["travel_mean"].value
            volts, amperes = found["voltage_mean"].value, found["current_mean"].value
            more["arc_energy"] = welding.arc_energy(volts, amperes, None if travel is None else travel * 60).one()
            more["heat_input"] = welding.heat_input(more["arc_energy"].value, self.k).one()
        if "wire_feed_mean" in found and self.wire_mm is not None:
            feed, share = found["wire_feed_mean"].value, self.deposition_efficiency
            more["deposition_rate"] = welding.deposition_rate(feed, self.wire_mm, efficiency=share).one()
        return more

    def _burst(self, window: Window, segment: Segment, found: dict[str, Result]) -> dict[str, Result]:
        """F-WLD-02 and F-WLD-06 of the last burst that began in the seam."""
        if "arc.burst" not in window:
            return {}
        wave = window.cut(segment.start_ns, segment.end_ns or window.end_ns).burst("arc.burst")
        volts, amperes = _channel(wave, "u"), _channel(wave, "i")
        period_s = 1.0 if wave is None else wave.period_ns / SECOND_NS
        travel = found["travel_mean"].value if "travel_mean" in found else None
        power = welding.instantaneous_power(volts, amperes).one()
        energy = welding.arc_energy_of_power(power.value, travel).one()
        samples = Samples.of(np.arange(len(volts)) * period_s, volts, period_s)
        apart = max(round(_WINDOW_S / period_s), 1)
        return {
            "arc_power": power,
            "arc_energy_instant": energy,
            "heat_input_instant": welding.heat_input(energy.value, self.k).one(),
            "short_circuit_rate": seam.short_circuit_rate(samples),
            "voltage_variation": _variation(volts, apart),
            "current_variation": _variation(amperes, apart),
        }

    def _arc(self, window: Window, segment: Segment, rows: dict[str, Series]) -> dict[str, Result]:
        """Arc time, interruptions, scatter of the bundles, wire used."""
        parts = [p for name in ("ARC_START", "WELD", "CRATER") if (p := segment.phase(name)) and p.end_ns is not None]
        arc_s = sum(((p.end_ns or p.start_ns) - p.start_ns) / SECOND_NS for p in parts)
        found = {"arc_time": plain(arc_s if parts else None, F_ARC_TIME)}
        start_ns, end_ns = (parts[0].start_ns, parts[-1].end_ns or 0) if parts else (0, 0)
        current = self._shifted(window["arc.i"]).between(start_ns, end_ns).samples(start_ns)
        # A drop-out of one bundle is one bundle long, which rounding must not make 200 ms.
        found["arc_interruptions"] = seam.arc_interruptions(current, off_a=self.off_a, new_seam_s=self.off_s - 1e-6)
        for name in ("voltage", "current"):
            if name in rows:
                found[f"{name}_scatter"] = seam.variation(rows[name].good.value).one()
        if "wire.total" in window:
            found["wire_used"] = gained(window["wire.total"], segment.start_ns, segment.end_ns, "kg")
        return found

    def _interpass(self, window: Window, segment: Segment) -> Result | None:
        """The temperature where the arc starts; None without the role."""
        if "interpass.temp" not in window:
            return None
        start = segment.phase("ARC_START") or segment.phase("WELD")
        rows = window["interpass.temp"]
        near_s = 2.5 * rows.every_s
        back_ns = round(self.bundle_s * SECOND_NS)
        value = rows.at(start.start_ns + back_ns, near_s) if start else None
        return plain(value, Formula("F-WLD-07", "Cel", "1 interpass"), Evidence(1, 1.0, rows.worst))

    def _cooling(self, found: dict[str, Result]) -> dict[str, Result]:
        """F-WLD-03 from the heat input, the instantaneous one where there is one."""
        heat = found.get("heat_input_instant") or found.get("heat_input")
        if self.thickness_mm is None or heat is None:
            return {}
        before = found["interpass"].value if "interpass" in found else self.preheat_c
        factors = {"thick_factor": self.thick_factor, "thin_factor": self.thin_factor}
        return {"cooling_time": welding.cooling_time(heat.value, before, self.thickness_mm, **factors).one()}

    def _procedure(
        self, window: Window, weld: Phase, rows: dict[str, Series], interpass: Result | None
    ) -> tuple[dict[str, Result], dict[str, Verdict]]:
        """F-WLD-07 for each essential variable; the seam's verdict is the worst of them."""
        limits = self.wps | self.recipe_wps.get(window.context.get("recipe", ""), {})
        found: dict[str, Result] = {}
        verdicts = []
        for variable, limit in limits.items():
            one = seam.procedure_compliance(
                self._windows(variable, window, weld, rows, interpass),
                Limits(-np.inf if limit.low is None else limit.low, np.inf if limit.high is None else limit.high),
                window_s=self.bundle_s,
                least_compliance=self.least_compliance,
                longest_excursion_s=self.longest_excursion_s,
            )
            found[f"wps_{variable}_compliance"] = one.compliance
            found[f"wps_{variable}_excursion"] = one.longest_excursion
            verdicts.append(one.verdict)
        return found, {"wps": worst(*verdicts)} if limits else {}

    def _windows(
        self, variable: Variable, window: Window, weld: Phase, rows: dict[str, Series], interpass: Result | None
    ) -> Floats:
        """What one variable was in each bundle, NaN where one is missing; one value for a temperature."""
        if variable == "interpass":
            return np.array([np.nan if interpass is None or interpass.value is None else interpass.value])
        if variable == "preheat":
            role = window["preheat.temp"]
            measured = role.at(weld.start_ns, 600.0)
            return np.array([measured if np.isfinite(measured) or self.preheat_c is None else self.preheat_c])
        if variable == "heat_input":
            if "travel" not in rows or "current" not in rows:
                return np.zeros(0)
            ts_ns = rows["current"].ts_ns
            volts, travel = (on(rows[name], ts_ns) for name in ("voltage", "travel"))
            energy = welding.arc_energy(volts, rows["current"].value, travel * 60).value
            value = welding.heat_input(energy, self.k).value
        else:
            value = rows[variable].value if variable in rows else np.zeros(0)
        missing = max(self._expected(weld) - len(value), 0)
        return np.concatenate([value, np.full(missing if missing > 1 and len(value) else 0, np.nan)])


def _mean(value: Floats) -> float | None:
    good = value[np.isfinite(value)]
    return float(good.mean()) if len(good) else None


def _channel(wave: Waveform | None, name: str) -> Floats:
    """One channel of a burst, empty when it lacks it."""
    if wave is None or name not in wave.channels:
        return np.zeros(0)
    return np.asarray(wave.value[:, wave.channels.index(name)], dtype=np.float64)


def _variation(value: Floats, apart: int) -> Result:
    """F-WLD-06 in windows of 100 ms, their mean."""
    windows = value[: len(value) // apart * apart].reshape(-1, apart)
    found = seam.variation(windows)
    return plain(_mean(found.value), seam.F_VARIATION, Evidence(len(windows)))
