"""Melting and holding: losses, specific energy, melt quality, spectrometer check (section 1.5).

* Columns broadcast; a NaN or None input is MISSING_INPUT.
* Contents are mass percent.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from analytics.formulas.constants import MJ_PER_KWH
from analytics.result import Column, Evidence, Formula, Reason, Result, Results, columns, judged, ratio, silent
from analytics.verdict import Verdict, within, worst

F_LOSS: Final = Formula("F-MELT-01", "1")
F_ENERGY: Final = Formula("F-MELT-02", "kW.h/t")
F_GAS: Final = Formula("F-MELT-02", "kW.h")
F_EFFICIENCY: Final = Formula("F-MELT-02", "1")
F_DENSITY: Final = Formula("F-MELT-03", "%")
F_SLUDGE: Final = Formula("F-MELT-04", "%{wt}")
F_CARBON: Final = Formula("F-MELT-05", "%{wt}")
F_HOLDING: Final = Formula("F-MELT-06", "kW/t")
F_FADE: Final = Formula("F-MELT-07", "min")
F_OES: Final = Formula("F-MELT-08", "%{wt}")


def melt_loss(charged_kg: Column, tapped_kg: Column, heel_start_kg: Column = 0.0, heel_end_kg: Column = 0.0) -> Results:
    """F-MELT-01: melt loss, what was charged and did not come out, heel change included.

    Unit: 1. Valid: >= 0 (negative is a weighing or heel error), charged > 0. Source: [S11].

    >>> f"{melt_loss(2000, 1940, 300, 305).one():.4f}"
    '0.0275 1'
    """
    charged, tapped, start, end = given = columns(charged_kg, tapped_kg, heel_start_kg, heel_end_kg)
    with silent():
        loss = (charged + start - tapped - end) / charged
        return judged(loss, F_LOSS, given, (Reason.ZERO_DENOM, charged <= 0), (Reason.OUT_OF_VALID_RANGE, loss < 0))


def gas_energy(volume_nm3: Column, calorific_mj_nm3: Column) -> Results:
    """F-MELT-02: energy of fuel gas from its volume and net calorific value.

    Unit: kW.h. Valid: volume >= 0. Source: definition.

    >>> f"{gas_energy(140, 38.9).one():.2f}"
    '1512.78 kW.h'
    """
    volume, calorific = given = columns(volume_nm3, calorific_mj_nm3)
    with silent():
        return judged(volume * calorific / MJ_PER_KWH, F_GAS, given, (Reason.OUT_OF_VALID_RANGE, volume < 0))


def melting_energy(energy_kwh: Column, tapped_t: Column) -> Results:
    """F-MELT-02: specific melting energy, energy over tapped mass.

    Unit: kW.h/t. Valid: tapped > 0, theoretical for aluminium 326.3, iron in induction 585 to 640. Source: [S12] [S13].

    >>> f"{melting_energy(gas_energy(140, 38.9).value, 1.94).one():.2f}"
    '779.78 kW.h/t'
    """
    return ratio(energy_kwh, tapped_t, F_ENERGY)


def melting_efficiency(actual_kwh_t: Column, *, theoretical_kwh_t: Column = 326.3) -> Results:
    """F-MELT-02: melting efficiency, theoretical over actual specific energy; default aluminium.

    Unit: 1. Valid: actual > 0. Source: [S12].

    >>> f"{melting_efficiency(779.78).one():.4f}"
    '0.4185 1'
    """
    return ratio(theoretical_kwh_t, actual_kwh_t, F_EFFICIENCY)


def density_index(atmosphere_g_cm3: Column, vacuum_g_cm3: Column) -> Results:
    """F-MELT-03: density index of the reduced-pressure test.

    Unit: %. Valid: vacuum density <= atmospheric density. Source: [GK].

    >>> f"{density_index(2.68, 2.60).one():.5f}"
    '2.98507 %'
    """
    air, vacuum = given = columns(atmosphere_g_cm3, vacuum_g_cm3)
    with silent():
        value = (air - vacuum) / air * 100
        return judged(value, F_DENSITY, given, (Reason.ZERO_DENOM, air <= 0), (Reason.OUT_OF_VALID_RANGE, vacuum > air))


def sludge_factor(iron: Column, manganese: Column, chromium: Column) -> Results:
    """F-MELT-04: sludge factor Fe + 2 Mn + 3 Cr; at most 1.8 is typical for holding from 650 °C.

    Unit: %{wt}. Valid: contents >= 0. Source: [GK].

    >>> f"{sludge_factor(0.8, 0.25, 0.06).one():.2f}"
    '1.48 %{wt}'
    """
    fe, mn, cr = given = columns(iron, manganese, chromium)
    with silent():
        return judged(
            fe + 2 * mn + 3 * cr, F_SLUDGE, given, (Reason.OUT_OF_VALID_RANGE, (fe < 0) | (mn < 0) | (cr < 0))
        )


def carbon_equivalent_iron(carbon: Column, silicon: Column, phosphorus: Column) -> Results:
    """F-MELT-05: carbon equivalent of cast iron, C + (Si + P) / 3.

    Unit: %{wt}. Valid: contents >= 0. Source: [GK].

    >>> f"{carbon_equivalent_iron(3.4, 2.1, 0.05).one():.5f}"
    '4.11667 %{wt}'
    """
    c, si, p = given = columns(carbon, silicon, phosphorus)
    with silent():
        return judged(c + (si + p) / 3, F_CARBON, given, (Reason.OUT_OF_VALID_RANGE, (c < 0) | (si < 0) | (p < 0)))


def holding_loss(holding_kw: npt.ArrayLike, bath_t: float) -> Result:
    """F-MELT-06: holding loss, median power while holding over bath mass; NaN samples are left out.

    Unit: kW/t. Valid: bath > 0. Source: section 1.5.

    >>> f"{holding_loss([44, 45, 90, 45, 46], 5.0):.1f}"
    '9.0 kW/t'
    """
    power, bath = given = columns(holding_kw, bath_t)
    good = power[np.isfinite(power)]
    value = np.median(good) / bath if good.size and bath > 0 else np.nan
    conditions = (Reason.MISSING_INPUT, good.size == 0), (Reason.ZERO_DENOM, bath <= 0)
    return judged(value, F_HOLDING, given, *conditions, evidence=Evidence(good.size)).one()


def magnesium_fade(treatment_end_s: Column, pour_end_s: Column) -> Results:
    """F-MELT-07: magnesium fade time, end of treatment to end of pour; the usual limit is 12 min [GK].

    Unit: min. Valid: pour after treatment. Source: [GK].

    >>> fade = magnesium_fade(0.0, 660.0).one()
    >>> f"{fade:.1f}", within(fade, high=12.0).value
    ('11.0 min', 'pass')
    """
    treated, poured = given = columns(treatment_end_s, pour_end_s)
    with silent():
        return judged((poured - treated) / 60, F_FADE, given, (Reason.OUT_OF_VALID_RANGE, poured < treated))


@dataclass(frozen=True, slots=True)
class ElementLimit:
    """What a grade allows of one element, in mass percent; `scatter` is the widest range of a valid burn pair."""

    low: float
    high: float
    scatter: float


@dataclass(frozen=True, slots=True)
class ElementCheck:
    """One element of one heat. `burn_again` asks for another burn: the pairs so far scatter too much."""

    element: str
    mean: Result
    verdict: Verdict
    burn_again: bool


@dataclass(frozen=True, slots=True)
class GradeCheck:
    """All elements of one heat and the verdict of the heat."""

    elements: tuple[ElementCheck, ...]
    verdict: Verdict


def grade_check(
    burns: Mapping[str, Sequence[float]],
    limits: Mapping[str, ElementLimit],
    *,
    reference_in_control: bool,
    reference_age_h: float,
    reference_valid_h: float = 8.0,
) -> GradeCheck:
    """F-MELT-08: spectrometer grade check of a heat, the mean of at least two valid burns against the grade.

    Burns are valid together when they scatter no more than the limit; otherwise the closest pair counts, and when that
    scatters too much as well another burn is asked for. A missing element is INCOMPLETE. Without a reference sample in
    control within 8 h the heat is UNVERIFIED. Sums and ratios are judged with `verdict.within`.
    Unit: %{wt}. Valid: two burns of every element. Source: section 1.5.

    >>> limits = {"Si": ElementLimit(9.6, 12.0, 0.2), "Fe": ElementLimit(0.0, 1.3, 0.05)}
    >>> heat = {"Si": [10.8, 10.9], "Fe": [0.80, 0.81]}
    >>> grade_check(heat, limits, reference_in_control=True, reference_age_h=2.0).verdict.value
    'pass'
    >>> grade_check({"Si": [10.8, 10.9]}, limits, reference_in_control=True, reference_age_h=2.0).verdict.value
    'incomplete'
    """
    checks = tuple(_element(name, burns.get(name, ()), limit) for name, limit in limits.items())
    verdict = worst(*(check.verdict for check in checks))
    sure = reference_in_control and reference_age_h <= reference_valid_h
    return GradeCheck(checks, verdict if sure or verdict is Verdict.INCOMPLETE else Verdict.UNVERIFIED)


def _element(name: str, burns: Sequence[float], limit: ElementLimit) -> ElementCheck:
    good = np.array([burn for burn in burns if np.isfinite(burn)], dtype=np.float64)
    valid = _valid_burns(good, limit.scatter)
    value = np.mean(valid) if valid.size else np.nan
    given = columns(list(burns), [limit.low, limit.high, limit.scatter])
    few = (Reason.MISSING_INPUT, good.size < 2)
    scattered = (Reason.BAD_QUALITY, valid.size < 2)
    mean = judged(value, F_OES, given, few, scattered, evidence=Evidence(valid.size)).one()
    return ElementCheck(name, mean, within(mean, limit.low, limit.high), good.size >= 2 > valid.size)


def _valid_burns(burns: npt.NDArray[np.float64], scatter: float) -> npt.NDArray[np.float64]:
    if burns.size < 2 or np.ptp(burns) <= scatter:
        return burns if burns.size >= 2 else burns[:0]
    pair = min(itertools.pairwise(np.sort(burns)), key=lambda two: float(two[1] - two[0]))
    return np.array(pair) if pair[1] - pair[0] <= scatter else burns[:0]
