"""Surface treatment beside the deposit: rinsing, drag-out, conductivity, coatings, film thickness, cure (section 4.2).

* Columns broadcast; a NaN or None input is MISSING_INPUT.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from analytics.formulas.heat_treatment import Band, Soak, soak_time
from analytics.result import Column, Evidence, Floats, Formula, Reason, Result, Results, columns, judged, ratio, silent
from analytics.verdict import Verdict

F_RINSE: Final = Formula("F-SUR-07", "1")
F_DRAG: Final = Formula("F-SUR-08", "L/h")
F_DRAG_AREA: Final = Formula("F-SUR-08", "mL/m2")
F_KAPPA: Final = Formula("F-SUR-09", "uS/cm")
F_ANODISE: Final = Formula("F-SUR-10", "um")
F_COATING: Final = Formula("F-SUR-11", "g/m2")
F_ACID: Final = Formula("F-SUR-11", "1")
F_ECOAT: Final = Formula("F-SUR-12", "um")
F_DFT: Final = Formula("F-SUR-13", "um")
F_PEAK: Final = Formula("F-SUR-14", "Cel")
F_BAKE: Final = Formula("4.2-BAKE", "h")

RULE_720: Final = 25.4 * 9.290304 / 720
"""720 A.min/ft2 a mil in um.dm2/(A.min), printed as 0.327741."""


def rinse_ratio(drag_in: Column, water: Column) -> Results:
    """F-SUR-07: dilution of a single rinse, (D + Q) / D in the same units.

    Unit: 1. Valid: drag-in > 0. Source: [S44].

    >>> f"{rinse_ratio(1.0, 999.0).one():.1f}"
    '1000.0 1'
    """
    d, q = given = columns(drag_in, water)
    with silent():
        return judged((d + q) / d, F_RINSE, given, (Reason.ZERO_DENOM, d <= 0))


def counterflow_ratio(water_per_drag: Column, stages: Column) -> Results:
    """F-SUR-07: dilution of a counterflow rinse of n stages, exactly the sum of r^k for k = 0..n, r = Q / D.

    Unit: 1. Valid: r >= 0, stages >= 1. Source: [S44], geometric sum.

    >>> f"{counterflow_ratio(10, 3).one():.1f} {counterflow_ratio(1, 3).one():.1f}"
    '1111.0 1 4.0 1'
    """
    r, n = given = columns(water_per_drag, stages)
    with silent():
        value = np.where(r == 1, n + 1, (r ** (n + 1) - 1) / (r - 1))
        return judged(value, F_RINSE, given, (Reason.OUT_OF_VALID_RANGE, (r < 0) | (n < 1) | (n != np.floor(n))))


def counterflow_water(dilution: Column, stages: Column) -> Results:
    """F-SUR-07: water per drag-in for a wanted dilution, the approximation ratio^(1/n); conservative.

    Unit: 1. Valid: dilution > 0, stages >= 1. Source: [S44].

    >>> f"{counterflow_water(1000, 3).one():.4f}"
    '10.0000 1'
    """
    wanted, n = given = columns(dilution, stages)
    with silent():
        odd = (Reason.OUT_OF_VALID_RANGE, (wanted <= 0) | (n < 1))
        return judged(wanted ** (1 / n), F_RINSE, given, odd)


def drag_out(water_l_h: Column, rinse_g_l: Column, bath_g_l: Column) -> Results:
    """F-SUR-08: drag-out from a flowing first rinse at steady state, Q C_rinse / (C_bath - C_rinse).

    The worked example is of the approximation Q C_rinse / C_bath; the exact form is 0.05 % above it there.
    Unit: L/h. Valid: bath stronger than rinse. Source: section 4.2.

    >>> f"{drag_out(600, 0.040, 80).one():.3f}"
    '0.300 L/h'
    """
    q, rinse, bath = given = columns(water_l_h, rinse_g_l, bath_g_l)
    with silent():
        odd = (Reason.OUT_OF_VALID_RANGE, rinse < 0)
        return judged(q * rinse / (bath - rinse), F_DRAG, given, (Reason.ZERO_DENOM, bath <= rinse), odd)


def drag_out_per_area(drag_out_l_h: Column, plated_m2_h: Column) -> Results:
    """F-SUR-08: drag-out per plated area.

    Unit: mL/m2. Valid: area > 0. Source: section 4.2.

    >>> f"{drag_out_per_area(0.3, 4.0).one():.1f}"
    '75.0 mL/m2'
    """
    drag, area = given = columns(drag_out_l_h, plated_m2_h)
    with silent():
        return judged(drag * 1e3 / area, F_DRAG_AREA, given, (Reason.ZERO_DENOM, area <= 0))


def conductivity_25(kappa_us_cm: Column, temp_c: Column, *, alpha: Column = 0.02) -> Results:
    """F-SUR-09: conductivity at 25 °C; first check whether the transmitter already compensates.

    Unit: uS/cm. Valid: 1 + alpha (T - 25) > 0. Source: section 4.2.

    >>> f"{conductivity_25(620, 32).one():.3f}"
    '543.860 uS/cm'
    """
    kappa, temp, slope = given = columns(kappa_us_cm, temp_c, alpha)
    with silent():
        below = 1 + slope * (temp - 25)
        return judged(kappa / below, F_KAPPA, given, (Reason.ZERO_DENOM, below <= 0))


def anodised_thickness(density_a_dm2: Column, minutes: Column, *, constant: Column = RULE_720) -> Results:
    """F-SUR-10: anodic film by the 720 rule; sulphuric type II, other processes need their own constant.

    Unit: um. Valid: current density >= 0, type II. Source: [S45].

    >>> f"{anodised_thickness(1.5, 30).one():.4f}"
    '14.7484 um'
    """
    j, t, c = given = columns(density_a_dm2, minutes, constant)
    with silent():
        return judged(c * j * t, F_ANODISE, given, (Reason.OUT_OF_VALID_RANGE, j < 0))


def coating_weight(before_g: Column, after_g: Column, area_m2: Column) -> Results:
    """F-SUR-11: coating weight of a phosphate or anodic seal by stripping.

    Unit: g/m2. Valid: area > 0, lighter after stripping. Source: section 4.2.

    >>> f"{coating_weight(10.05, 10.0, 0.01).one():.2f}"
    '5.00 g/m2'
    """
    before, after, area = given = columns(before_g, after_g, area_m2)
    with silent():
        odd = (Reason.OUT_OF_VALID_RANGE, after > before)
        return judged((before - after) / area, F_COATING, given, (Reason.ZERO_DENOM, area <= 0), odd)


def acid_ratio(total_points: Column, free_points: Column) -> Results:
    """F-SUR-11: acid ratio of a phosphate bath, total over free acid.

    Unit: 1. Valid: free acid > 0. Source: section 4.2.

    >>> f"{acid_ratio(24.5, 1.1).one():.2f} {acid_ratio(24.5, 0).one():.2f}"
    '22.27 1 none 1 (ZERO_DENOM)'
    """
    return ratio(total_points, free_points, F_ACID)


def electrocoat_thickness(yield_mg_c: Column, charge_c: Column, area_m2: Column, *, density_g_cm3: Column) -> Results:
    """F-SUR-12: dry film of an electrocoat from its coulombs; the yield is 20 to 40 mg/C [GK].

    Unit: um. Valid: area and density > 0. Source: [GK].

    >>> f"{electrocoat_thickness(30, 2160, 2, density_g_cm3=1.35).one():.1f}"
    '24.0 um'
    """
    coat, charge, area, density = given = columns(yield_mg_c, charge_c, area_m2, density_g_cm3)
    with silent():
        below = density * area * 1e4
        return judged(1e4 * coat / 1e3 * charge / below, F_ECOAT, given, (Reason.ZERO_DENOM, below <= 0))


@dataclass(frozen=True, slots=True)
class FilmCheck:
    """Dry film thickness of an area: mean, thinnest, how many readings are below nominal, and the verdict."""

    mean: Result
    thinnest: Result
    below_nominal: int
    verdict: Verdict


def film_acceptance(
    readings_um: npt.ArrayLike,
    nominal_um: float,
    *,
    highest_um: float = np.inf,
    least_part: float = 0.8,
    most_below: float = 0.2,
) -> FilmCheck:
    """F-SUR-13: dry film acceptance as ISO 19840: mean at least nominal, none below 80 %, at most 20 % below nominal.

    A NaN reading makes the verdict INCOMPLETE.
    Unit: um. Valid: at least one reading. Source: [S46].

    >>> check = film_acceptance([118, 125, 131, 122, 109, 128, 140, 121, 126, 130], 120)
    >>> f"{check.mean:.1f} {check.thinnest:.0f} {check.below_nominal} {check.verdict}"
    '125.0 um 109 um 2 pass'
    """
    (readings,) = columns(readings_um)
    good = readings[np.isfinite(readings)]
    below = int(np.sum(good < nominal_um))
    mean, thinnest = _film(good, "mean"), _film(good, "min")
    passed = (
        good.size > 0
        and bool(np.mean(good) >= nominal_um)
        and bool(np.min(good) >= least_part * nominal_um)
        and below <= most_below * good.size + 1e-9
        and bool(np.max(good) <= highest_um)
    )
    verdict = Verdict.PASS if passed else Verdict.FAIL
    return FilmCheck(mean, thinnest, below, verdict if good.size == readings.size > 0 else Verdict.INCOMPLETE)


def film_spots(
    gauge_um: npt.ArrayLike, lowest_um: float, highest_um: float, *, low_part: float = 0.8, high_part: float = 1.2
) -> FilmCheck:
    """F-SUR-13: dry film acceptance as SSPC-PA 2: area mean inside the limits, each spot inside 80 to 120 % of them.

    `gauge_um` is (spots, readings of a spot); at least three readings a spot, else INCOMPLETE. NaN readings are left
    out of their spot. `below_nominal` counts spots below the lower limit.
    Unit: um. Valid: three readings a spot. Source: [S46].

    >>> film_spots([[100, 102, 98], [70, 75, 80], [110, 112, 108]], 90, 140).verdict.value
    'pass'
    """
    (gauge,) = columns(gauge_um)
    counts = np.sum(np.isfinite(gauge), axis=1)
    enough = gauge.size > 0 and bool(np.all(counts >= 3))
    spots = np.nanmean(gauge, axis=1) if enough else np.empty(0)
    mean, thinnest = _film(spots, "mean"), _film(spots, "min")
    fits = (
        enough
        and bool(lowest_um <= np.mean(spots) <= highest_um)
        and bool(np.all((spots >= low_part * lowest_um) & (spots <= high_part * highest_um)))
    )
    verdict = (Verdict.PASS if fits else Verdict.FAIL) if enough else Verdict.INCOMPLETE
    return FilmCheck(mean, thinnest, int(np.sum(spots < lowest_um)), verdict)


def _film(readings: Floats, which: str) -> Result:
    value = (np.mean(readings) if which == "mean" else np.min(readings)) if readings.size else np.nan
    none = (Reason.MISSING_INPUT, readings.size == 0)
    return judged(value, F_DFT, (readings,), none, evidence=Evidence(readings.size)).one()


@dataclass(frozen=True, slots=True)
class Cure:
    """Time of the part above cure temperature, its peak, and the verdict against the cure window."""

    soak: Soak
    peak: Result
    verdict: Verdict


def oven_cure(  # a cure window has four sides
    time_s: npt.ArrayLike,
    part_c: npt.ArrayLike,
    cure_c: float,
    least_s: float,
    *,
    most_s: float = np.inf,
    peak_c: float = np.inf,
    nominal_s: float = np.inf,
) -> Cure:
    """F-SUR-14: oven cure, total time of the part metal above cure temperature and its peak against the window.

    `part_c` is (n,) or (n, sensors); every sensor counts. Without enough coverage INCOMPLETE.
    Unit: Cel. Valid: at least two rows. Source: section 4.2.

    >>> cure = oven_cure([0, 300, 600, 1500, 1800], [20, 180, 190, 190, 60], 180, least_s=1200)
    >>> f"{cure.soak.total:.1f} {cure.peak:.0f} {cure.verdict}"
    '1223.1 s 190 Cel pass'
    """
    soak = soak_time(time_s, part_c, Band(cure_c, 0.0, np.inf), nominal_s=nominal_s)
    (part,) = given = columns(part_c)
    seen = part[np.isfinite(part)]
    none = (Reason.MISSING_INPUT, seen.size == 0)
    peak = judged(np.max(seen, initial=-np.inf), F_PEAK, given, none, evidence=Evidence(seen.size)).one()
    if soak.total.value is None or peak.value is None:
        return Cure(soak, peak, Verdict.INCOMPLETE)
    fits = least_s <= soak.total.value <= most_s and peak.value <= peak_c
    return Cure(soak, peak, Verdict.PASS if fits else Verdict.FAIL)


def per_area(amount: Column, plated_m2: Column, unit: str) -> Results:
    """F-SUR-15: green figures per square metre of good racks; `unit` is that of the amount (kg, L, kW.h, g).

    Unit: {amount}/m2. Valid: area > 0. Source: section 4.2.

    >>> f"{per_area(120, 400, 'L').one():.2f} {per_area(120, 0, 'L').one():.2f}"
    '0.30 L/m2 none L/m2 (ZERO_DENOM)'
    """
    return ratio(amount, plated_m2, Formula("F-SUR-15", f"{unit}/m2"))


def per_charge(amount: Column, ampere_hours: Column, unit: str) -> Results:
    """F-SUR-15: the same figures per ampere hour, for diagnosis.

    Unit: {amount}/A/h. Valid: charge > 0. Source: section 4.2.

    >>> f"{per_charge(50, 200, 'g').one():.2f}"
    '0.25 g/A/h'
    """
    return ratio(amount, ampere_hours, Formula("F-SUR-15", f"{unit}/A/h"))


def bake_delay(plated_s: Column, bake_starts_s: Column, *, longest_h: Column = 4.0) -> Results:
    """Delay of the embrittlement bake after plating; OUT_OF_VALID_RANGE beyond 4 h [GK], or when it began before.

    >>> [f"{r:.2f}" for r in bake_delay(0, [7200, 18_000])]
    ['2.00 h', '5.00 h (OUT_OF_VALID_RANGE)']
    """
    plated, baked, longest = given = columns(plated_s, bake_starts_s, longest_h)
    with silent():
        hours = (baked - plated) / 3600
        return judged(hours, F_BAKE, given, (Reason.OUT_OF_VALID_RANGE, (hours > longest) | (hours < 0)))
