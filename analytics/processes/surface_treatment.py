"""Plating in racks and barrels: a cycle is a carrier on its way through the line (section 4 of the domain).

* Several carriers are on the line at a time; `lane` is the carrier. What one tank measures is read while it is in it.
* The charge is the rectifier's own count where there is one; the integral of the current is compared with it.
* Loading and unloading by hand are not the hoist's, so they are not seen.
"""

from typing import ClassVar, Final, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from analytics.formulas import plating, surface_treatment
from analytics.furnace import number_of
from analytics.hoist import Line, carriers, out_of_order
from analytics.process import Measured, Phase, Process, Roles, Segment, lasting, plain
from analytics.readings import F_DURATION, during, gained, held, joined, mean_of, on
from analytics.result import Evidence, Formula, Result
from analytics.time_series import integral
from analytics.window import SECOND_NS, Series, Window

TANKS: Final = (
    "LOAD", "DEGREASE", "RINSE_1", "PICKLE", "RINSE_2", "ACTIVATE", "RINSE_3", "PLATE", "DRAGOUT", "RINSE_4", "RINSE_5",
    "DRY", "UNLOAD",
)  # fmt: skip
F_ORDER: Final = Formula("SEQUENCE", "1")
F_ENERGY: Final = Formula("RECTIFIER-ENERGY", "kW.h")
F_DIP: Final = Formula("F-SUR-09", "uS/cm", "1 rise")
F_DOSE: Final = Formula("F-SUR-04", "1/(A.h)", "1 shots")
_BATH: Final = (
    ("bath1.temp", "bath_temp_mean", "Cel"), ("bath1.ph", "bath_ph_mean", "[pH]"),
    ("bath1.cond", "bath_cond_mean", "mS/cm"), ("bath1.level", "bath_level_mean", "mm"),
    ("bath1.heater", "heater_mean", "%"), ("filter.dp", "filter_dp_mean", "kPa"),
    ("rinse1.flow", "rinse_flow_mean", "L/min"),
)  # fmt: skip


class PlatingLine(Process):
    """What racks and barrels share; not a process by itself."""

    tanks: tuple[str, ...] = TANKS
    """Names of tank 1, 2, ... in the order of the process; "" is unused."""
    first_tanks: tuple[str, ...] = ("DEGREASE",)
    """Where the hoist sets a carrier down first."""
    last_tanks: tuple[str, ...] = ("UNLOAD",)
    """Where it leaves it."""
    main_tank: str = "PLATE"
    """Where it is coated."""
    rectifiers: PositiveInt = 1
    """How many; the roles are rect1.amp, rect1.volt, rect1.ah, rect1.ripple, rect1.carrier, rect2.amp, ..."""
    on_share: PositiveFloat = Field(default=0.05, lt=1.0)
    """The current counts above this share of what is set [GK]."""
    move_s: PositiveFloat = 120.0
    """The longest move of the hoist from tank to tank, s."""
    area_dm2: PositiveFloat | None = None
    """Wetted plated area of a carrier, dm2; `area_dm2` of the context goes before it."""
    metal: Literal["Ni", "Cu2", "Cu1", "Zn", "Cr6", "Sn2", "Ag", "Au1"] = "Ni"
    """What is deposited, as in the table of formulas/plating.toml."""
    efficiency: PositiveFloat = Field(default=0.95, le=1.05)
    """Cathode efficiency of the bath [GK]."""
    reconcile: PositiveFloat = 0.02
    """How far integral and counter of the charge may be apart."""
    rinse_tank: str = "RINSE_4"
    """The rinse of `rinse1.cond`."""
    rinse_compensated: bool = True
    """Whether the transmitter already gives 25 Cel; else `rinse1.temp` is used (F-SUR-09)."""
    rinse_alpha: PositiveFloat = 0.02
    """Temperature coefficient of the conductivity, 1/K [GK]."""
    rinse_g_l: PositiveFloat | None = None
    """Concentration that 1 uS/cm of the rinse stands for, g/L; with `bath_g_l` and `rinse1.flow` F-SUR-08."""
    bath_g_l: PositiveFloat | None = None
    """Concentration of the bath, g/L."""

    lead_s: ClassVar[float] = 3600.0
    settle_s: ClassVar[float] = 60.0
    process_version: ClassVar[str] = "2"

    @model_validator(mode="after")
    def _known(self) -> "PlatingLine":
        for name in (*self.first_tanks, *self.last_tanks, self.main_tank):
            if name not in self.tanks:
                raise ValueError(f"tank {name!r} is not in tanks; there are {', '.join(filter(None, self.tanks))}")
        return self

    def roles(self) -> Roles:
        """The hoist as marker; rectifiers and baths."""
        parts = ("volt", "ah", "ripple", "carrier")
        each = [f"rect{n}.{part}" for n in range(1, self.rectifiers + 1) for part in parts]
        bath = (*(role for role, *_ in _BATH), "rinse1.cond", "rinse1.temp", "dose.pump_shots")
        return Roles(
            markers=("hoist.tank_id", "hoist.carrier_id"),
            mandatory=tuple(f"rect{n}.amp" for n in range(1, self.rectifiers + 1)),
            optional=(*each, *bath),
        )

    def cycles(self, window: Window) -> tuple[Segment, ...]:
        """Carriers in order of their starts."""
        place = {name: number for number, name in enumerate(self.tanks, 1)}
        first, last = (frozenset(place[name] for name in names) for names in (self.first_tanks, self.last_tanks))
        line = Line(self.tanks, first, place[self.main_tank], last)
        return carriers(window, line, self.lead_s, self.move_s)

    def features(self, segment: Segment, window: Window) -> Measured:
        """Dwell in each tank, charge and coating, bath and rinse."""
        found: dict[str, Result] = {
            f"{name.lower()}_time": lasting(segment.phase(name), F_DURATION)
            for name in self.tanks
            if name and name not in {"LOAD", *self.last_tanks}
        }
        found["out_of_order"] = plain(float(out_of_order(segment, self.tanks)), F_ORDER)
        stay = segment.phase(self.main_tank)
        rectifier = self._rectifier(segment, stay, window)
        found |= self._coating(stay, rectifier, window)
        for role, name, unit in _BATH:
            if role in window:
                found[name] = mean_of(during(window[role], stay), unit)
        found |= self._dosing(stay, window)
        found |= self._rinse(segment, window)
        if segment.phase("BAKE") is not None and stay is not None and stay.end_ns is not None:
            begins_s = ((segment.phase("BAKE") or stay).start_ns - stay.end_ns) / SECOND_NS
            found["bake_delay"] = surface_treatment.bake_delay(0.0, begins_s).one()
        return Measured(found)

    def _rectifier(self, segment: Segment, stay: Phase | None, window: Window) -> int | None:
        """The rectifier that says it has this carrier during its stay; the only one when there is but one."""
        if stay is None or stay.end_ns is None:
            return None
        for n in range(1, self.rectifiers + 1):
            shown = during(window[f"rect{n}.carrier"], stay).good.value
            if len(shown) and np.mean(np.rint(shown) == (segment.number or 0)) > 0.5:
                return n
        return 1 if self.rectifiers == 1 and "rect1.carrier" not in window else None

    def _coating(self, stay: Phase | None, n: int | None, window: Window) -> dict[str, Result]:
        """Time, current, voltage, ripple and charge of the rectifier, and what they deposit."""
        amp = window[f"rect{n}.amp"] if n else during(window["rect1.amp"], None)
        current = self._plating(amp, stay)
        found = {
            "plating_time": lasting(current, plating.F_TIME if current is None else F_DURATION),
            "current_mean": mean_of(during(amp, current), "A"),
        }
        if any(f"rect{k}.volt" in window for k in range(1, self.rectifiers + 1)):
            found["volt_mean"] = mean_of(during(window[f"rect{n}.volt"], current), "V")
            found["rectifier_energy"] = _energy(amp, window[f"rect{n}.volt"], current)
        if any(f"rect{k}.ripple" in window for k in range(1, self.rectifiers + 1)):
            found["ripple_mean"] = mean_of(during(window[f"rect{n}.ripple"], current), "%")
        found |= self._charge(amp, stay, n, window)
        area = number_of(window.context, "area_dm2", self.area_dm2)
        if area is not None:
            found["current_density"] = plating.current_density(found["current_mean"].value, area).one()
            found |= self.deposit(found["charge"].value, found["plating_time"].value, area)
        return found

    def deposit(self, charge_ah: float | None, seconds: float | None, area_dm2: float) -> dict[str, Result]:
        """F-SUR-01 from the charge."""
        density, minutes = _density(charge_ah, seconds, area_dm2)
        constant = plating.thickness_constant(plating.DEFAULT_METALS[self.metal]).value
        return {"thickness": plating.plating_thickness(density, minutes, constant, efficiency=self.efficiency).one()}

    def _plating(self, amp: Series, stay: Phase | None) -> Phase | None:
        """From the first to the last row of a stay with current, its ends between the rows."""
        rows = during(amp, stay).good
        if not len(rows):
            return None
        flowing = rows.value > self.on_share * float(np.percentile(rows.value, 90))
        if not flowing.any() or float(rows.value.max()) <= 0:
            return None
        first, last = int(np.argmax(flowing)), len(flowing) - 1 - int(np.argmax(flowing[::-1]))
        end_ns = int(rows.ts_ns[last + 1]) if last + 1 < len(rows) else (stay.end_ns if stay else None)
        return Phase("PLATE", int(rows.ts_ns[first]), end_ns)

    def _charge(self, amp: Series, stay: Phase | None, n: int | None, window: Window) -> dict[str, Result]:
        """F-SUR-03: the counter, else the integral; both when they are there, and how far they are apart."""
        start_ns = stay.start_ns if stay else 0
        integrated = plating.ampere_hours(during(amp, stay).samples(start_ns))
        if not any(f"rect{k}.ah" in window for k in range(1, self.rectifiers + 1)):
            return {"charge": integrated}
        counter = gained(window[f"rect{n}.ah"], start_ns, stay.end_ns if stay else None, "A.h")
        counted = plain(counter.value, plating.F_CHARGE, Evidence(counter.n_used, counter.coverage, counter.quality))
        apart = plating.charge_deviation(integrated.value, counter.value, tolerance=self.reconcile).one()
        return {
            "charge": counted if counted.value is not None else integrated,
            "charge_integrated": integrated,
            "charge_deviation": apart,
        }

    def _dosing(self, stay: Phase | None, window: Window) -> dict[str, Result]:
        """Shots of the dosing pump for each A.h of all rectifiers, while the carrier is in the main tank."""
        counters = [f"rect{n}.ah" for n in range(1, self.rectifiers + 1)]
        if "dose.pump_shots" not in window or any(role not in window for role in counters):
            return {}
        start_ns, end_ns = (0, None) if stay is None else (stay.start_ns, stay.end_ns)
        charges = [gained(window[role], start_ns, end_ns, "A.h").value for role in counters]
        shots = gained(window["dose.pump_shots"], start_ns, end_ns, "1")
        charge = sum(one or 0.0 for one in charges)
        known = shots.value is not None and None not in charges and charge > 0
        value = (shots.value or 0.0) / charge if known else None
        return {"dosing_per_ah": plain(value, F_DOSE, Evidence(shots.n_used, shots.coverage, shots.quality))}

    def _rinse(self, segment: Segment, window: Window) -> dict[str, Result]:
        """Peak of the rinse while the carrier is in it, how much it rose, and F-SUR-08."""
        if "rinse1.cond" not in window:
            return {}
        rows, dip = self._at_25(window), segment.phase(self.rinse_tank)
        inside = during(rows, dip).good
        start_ns = dip.start_ns if dip else 0
        # The row before the set-down may have seen it already.
        last_ns = start_ns - (round(rows.every_s * SECOND_NS) if np.isfinite(rows.every_s) else 0)
        before = rows.between(start_ns - 30 * SECOND_NS, last_ns + 1).good
        peak = float(np.percentile(inside.value, 90)) if len(inside) else None
        level = float(before.value.mean()) if len(before) else None
        rise = None if peak is None or level is None else peak - level
        found = {
            "rinse_peak": plain(peak, surface_treatment.F_KAPPA, Evidence(len(inside), 1.0, inside.worst)),
            "rinse_rise": plain(rise, F_DIP, Evidence(len(inside), 1.0, inside.worst)),
        }
        if self.rinse_g_l is not None and self.bath_g_l is not None and "rinse1.flow" in window:
            flow = mean_of(during(window["rinse1.flow"], joined([segment.phase(self.rinse_tank)])), "L/min").value
            water = None if flow is None else flow * 60
            salt = None if peak is None else peak * self.rinse_g_l
            found["drag_out"] = surface_treatment.drag_out(water, salt, self.bath_g_l).one()
        return found

    def _at_25(self, window: Window) -> Series:
        """Conductivity of the rinse at 25 Cel (F-SUR-09)."""
        rows = window["rinse1.cond"]
        if self.rinse_compensated or "rinse1.temp" not in window:
            return rows
        temp = on(window["rinse1.temp"], rows.ts_ns)
        value = surface_treatment.conductivity_25(rows.value, temp, alpha=self.rinse_alpha).value
        return Series(rows.ts_ns, value, rows.quality, rows.every_s)


class PlatingRack(PlatingLine):
    """A rack on an electroplating line."""

    kind: Literal["plating_rack"] = "plating_rack"


class PlatingBarrel(PlatingLine):
    """A barrel on an electroplating line; its area is the lot's, so it comes with the context."""

    kind: Literal["plating_barrel"] = "plating_barrel"

    metal: Literal["Ni", "Cu2", "Cu1", "Zn", "Cr6", "Sn2", "Ag", "Au1"] = "Zn"
    """What is deposited, as in the table of formulas/plating.toml."""
    efficiency: PositiveFloat = Field(default=0.70, le=1.05)
    """Cathode efficiency of the bath, alkaline zinc [GK]."""


class AnodiseRack(PlatingLine):
    """A rack on a sulphuric anodising line."""

    kind: Literal["anodise_rack"] = "anodise_rack"

    tanks: tuple[str, ...] = ("LOAD", "DEGREASE", "RINSE_1", "ETCH", "RINSE_2", "ANODISE", "RINSE_3", "SEAL", "UNLOAD")
    """Names of tank 1, 2, ... in the order of the process; "" is unused."""
    main_tank: str = "ANODISE"
    """Where it is coated."""
    rinse_tank: str = "RINSE_3"
    """The rinse of `rinse1.cond`."""
    film_constant: PositiveFloat = surface_treatment.RULE_720
    """um per A/dm2 and min, the 720 rule of type II; others have their own."""

    def deposit(self, charge_ah: float | None, seconds: float | None, area_dm2: float) -> dict[str, Result]:
        """F-SUR-10 from the charge."""
        density, minutes = _density(charge_ah, seconds, area_dm2)
        return {"thickness": surface_treatment.anodised_thickness(density, minutes, constant=self.film_constant).one()}


class EcoatRack(PlatingLine):
    """A rack on an electrocoating line."""

    kind: Literal["ecoat_rack"] = "ecoat_rack"

    tanks: tuple[str, ...] = ("LOAD", "DEGREASE", "RINSE_1", "PHOSPHATE", "RINSE_2", "ECOAT", "RINSE_3", "UNLOAD")
    """Names of tank 1, 2, ... in the order of the process; "" is unused."""
    main_tank: str = "ECOAT"
    """Where it is coated."""
    rinse_tank: str = "RINSE_3"
    """The rinse of `rinse1.cond`."""
    yield_mg_c: PositiveFloat = 30.0
    """Paint deposited per charge, mg/C [GK]."""
    film_density: PositiveFloat = 1.35
    """Density of the cured film, g/cm3 [GK]."""
    residual_s: PositiveFloat = 10.0
    """The end of the coating over which the residual current is taken, s."""

    def deposit(self, charge_ah: float | None, seconds: float | None, area_dm2: float) -> dict[str, Result]:
        """F-SUR-12 and coulombs a square metre."""
        del seconds
        coulombs = None if charge_ah is None else charge_ah * 3600
        film = surface_treatment.electrocoat_thickness(
            self.yield_mg_c, coulombs, area_dm2 / 100, density_g_cm3=self.film_density
        ).one()
        return {"thickness": film, "charge_per_area": surface_treatment.per_area(coulombs, area_dm2 / 100, "C").one()}

    def features(self, segment: Segment, window: Window) -> Measured:
        """Besides: how far the current has decayed, residual over peak; a bare contact keeps it up."""
        found = super().features(segment, window)
        stay = segment.phase(self.main_tank)
        n = self._rectifier(segment, stay, window)
        amp = window[f"rect{n}.amp"] if n else during(window["rect1.amp"], None)
        coating = self._plating(amp, stay)
        rows = during(amp, coating).good
        end_ns = int(rows.ts_ns[-1]) + 1 if len(rows) else 0
        tail = rows.between(end_ns - round(self.residual_s * SECOND_NS), end_ns)
        share = float(tail.value.mean() / rows.value.max()) if len(tail) and rows.value.max() > 0 else None
        formula = Formula("F-SUR-12", "1", "1 current decay")
        decay = plain(share, formula, Evidence(len(rows), 1.0, rows.worst))
        return Measured(dict(found.features) | {"current_decay": decay}, found.verdicts, found.flags)


def _density(charge_ah: float | None, seconds: float | None, area_dm2: float) -> tuple[float | None, float | None]:
    """Mean current density in A/dm2 that a charge over a time stands for, and the time in min."""
    if charge_ah is None or not seconds:
        return None, None
    return plating.current_density(charge_ah * 3600 / seconds, area_dm2).one().value, seconds / 60


def _energy(amp: Series, volt: Series, phase: Phase | None) -> Result:
    """The carrier's share of energy, the integral of u i over its plating."""
    rows = during(amp, phase)
    power = Series(rows.ts_ns, rows.value * held(volt, rows.ts_ns), rows.quality, rows.every_s)
    whole = integral(power.samples(int(rows.ts_ns[0]) if len(rows) else 0))
    value = whole.partial / 3.6e6 if whole.n_used > 1 else None
    return plain(value, F_ENERGY, whole.evidence())
