"""Electroplating: Faraday, current density, ampere hours, dosing, efficiency, ripple (section 4.2).

* Columns broadcast; a NaN or None input is MISSING_INPUT.
* Area is the wetted plated area; the efficiency multiplies (a widely copied answer divides by it: wrong).
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analytics.formulas.constants import FARADAY_C_MOL, S_PER_H, S_PER_MIN
from analytics.result import Column, Formula, Reason, Result, Results, columns, judged, outside, ratio, silent
from analytics.time_series import Samples, integral

F_MASS: Final = Formula("F-SUR-01", "g")
F_THICKNESS: Final = Formula("F-SUR-01", "um")
F_CONSTANT: Final = Formula("F-SUR-01", "um.dm2/A/min")
F_EQUIVALENT: Final = Formula("F-SUR-01", "g/A/h")
F_DENSITY: Final = Formula("F-SUR-02", "A/dm2")
F_TIME: Final = Formula("F-SUR-02", "min")
F_CHARGE: Final = Formula("F-SUR-03", "A.h")
F_RECONCILED: Final = Formula("F-SUR-03", "1")
F_DOSE: Final = Formula("F-SUR-04", "mL")
F_EFFICIENCY: Final = Formula("F-SUR-05", "1")
F_RIPPLE: Final = Formula("F-SUR-06", "1")


@dataclass(frozen=True, slots=True)
class Metal:
    """What deposits: molar mass, electrons per ion, density of the deposit."""

    molar_g_mol: float
    electrons: int
    density_g_cm3: float


_TABLES: Final[dict[str, Any]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
DEFAULT_METALS: Final[Mapping[str, Metal]] = {name: Metal(**row) for name, row in _TABLES["metal"].items()}


def faraday_mass(amperes: Column, time_s: Column, metal: Metal, *, efficiency: Column = 1.0) -> Results:
    """F-SUR-01: mass deposited by Faraday's law.

    Unit: g. Valid: efficiency 0 to 1.05. Source: [S43].

    >>> f"{faraday_mass(1.0, 3600, DEFAULT_METALS['Ni']).one():.5f}"
    '1.09496 g'
    """
    i, t, eta, molar, electrons = given = columns(amperes, time_s, efficiency, metal.molar_g_mol, metal.electrons)
    with silent():
        value = molar * i * t * eta / (electrons * FARADAY_C_MOL)
        return judged(value, F_MASS, given, (Reason.ZERO_DENOM, electrons <= 0), outside(eta, 0, 1.05))


def deposit_thickness(mass_g: Column, area_cm2: Column, metal: Metal) -> Results:
    """F-SUR-01: mean thickness of a deposit from its mass.

    Unit: um. Valid: area > 0. Source: [S43].

    >>> nickel = DEFAULT_METALS["Ni"]
    >>> f"{deposit_thickness(faraday_mass(3.0, 2400, nickel, efficiency=0.95).value, 100, nickel).one():.4f}"
    '23.3545 um'
    """
    mass, area, density = given = columns(mass_g, area_cm2, metal.density_g_cm3)
    with silent():
        return judged(1e4 * mass / (density * area), F_THICKNESS, given, (Reason.ZERO_DENOM, density * area <= 0))


def thickness_constant(metal: Metal) -> Results:
    """F-SUR-01: thickness per current density and time at full efficiency.

    Unit: um.dm2/A/min. Valid: electrons and density > 0. Source: [S43].

    >>> [f"{thickness_constant(DEFAULT_METALS[m]).one().value:.6f}" for m in ("Ni", "Cu2", "Cu1", "Zn")]
    ['0.204864', '0.220516', '0.441032', '0.284713']
    >>> [f"{thickness_constant(DEFAULT_METALS[m]).one().value:.6f}" for m in ("Cr6", "Sn2", "Ag", "Au1")]
    ['0.074951', '0.506522', '0.639451', '0.633981']
    """
    molar, electrons, density = given = columns(metal.molar_g_mol, metal.electrons, metal.density_g_cm3)
    with silent():
        below = electrons * FARADAY_C_MOL * density * 100  # 100 cm2 a dm2
        return judged(1e4 * molar * S_PER_MIN / below, F_CONSTANT, given, (Reason.ZERO_DENOM, below <= 0))


def electrochemical_equivalent(metal: Metal) -> Results:
    """F-SUR-01: mass per ampere hour at full efficiency.

    Unit: g/A/h. Valid: electrons > 0. Source: [S43].

    >>> [f"{electrochemical_equivalent(DEFAULT_METALS[m]).one().value:.5f}" for m in ("Ni", "Cu2", "Zn", "Cr6")]
    ['1.09496', '1.18549', '1.21971', '0.32334']
    """
    molar, electrons = given = columns(metal.molar_g_mol, metal.electrons)
    with silent():
        value = molar * S_PER_H / (electrons * FARADAY_C_MOL)
        return judged(value, F_EQUIVALENT, given, (Reason.ZERO_DENOM, electrons <= 0))


def plating_thickness(density_a_dm2: Column, minutes: Column, constant: Column, *, efficiency: Column = 1.0) -> Results:
    """F-SUR-01: thickness from current density and time, c j t times efficiency.

    Unit: um. Valid: efficiency 0 to 1.05, current density >= 0. Source: [S43].

    >>> f"{plating_thickness(3, 40, thickness_constant(DEFAULT_METALS['Ni']).value, efficiency=0.95).one():.4f}"
    '23.3545 um'
    """
    j, t, c, eta = given = columns(density_a_dm2, minutes, constant, efficiency)
    with silent():
        odd = (Reason.OUT_OF_VALID_RANGE, j < 0)
        return judged(c * j * t * eta, F_THICKNESS, given, odd, outside(eta, 0, 1.05))


def current_density(amperes: Column, area_dm2: Column) -> Results:
    """F-SUR-02: current density, current over wetted plated area.

    Unit: A/dm2. Valid: area > 0. Source: section 4.2.

    >>> f"{current_density(600, 200).one():.1f} {current_density(600, 0).one():.1f}"
    '3.0 A/dm2 none A/dm2 (ZERO_DENOM)'
    """
    return ratio(amperes, area_dm2, F_DENSITY)


def plating_time(thickness_um: Column, density_a_dm2: Column, constant: Column, *, efficiency: Column = 1.0) -> Results:
    """F-SUR-02: time to a thickness.

    Unit: min. Valid: c j efficiency > 0. Source: section 4.2.

    >>> f"{plating_time(23.3545, 3, 0.204864, efficiency=0.95).one():.3f}"
    '40.000 min'
    """
    thickness, j, c, eta = given = columns(thickness_um, density_a_dm2, constant, efficiency)
    with silent():
        below = c * j * eta
        return judged(thickness / below, F_TIME, given, (Reason.ZERO_DENOM, below <= 0), outside(eta, 0, 1.05))


def ampere_hours(current: Samples) -> Result:
    """F-SUR-03: charge from current samples, when the rectifier has no counter; a gap is LOW_COVERAGE.

    Unit: A.h. Valid: at least two samples, no gap. Source: section 4.2.

    >>> f"{ampere_hours(Samples.of([0, 1800, 3600], [100, 100, 100])):.1f}"
    '100.0 A.h'
    """
    whole = integral(current)
    few = (Reason.MISSING_INPUT, current.time_s.size < 2)
    given = (current.time_s, current.value)
    return judged(whole.partial / S_PER_H, F_CHARGE, given, few, evidence=whole.evidence()).one()


def charge_deviation(integrated_ah: Column, counter_ah: Column, *, tolerance: Column = 0.02) -> Results:
    """F-SUR-03: deviation of the integrated charge from the rectifier's counter; beyond 2 % they do not reconcile.

    Unit: 1. Valid: counter > 0, within the tolerance. Source: section 4.2.

    >>> [f"{r:.3f}" for r in charge_deviation([101.0, 105.0], 100.0)]
    ['0.010 1', '0.050 1 (OUT_OF_VALID_RANGE)']
    """
    integrated, counter, limit = given = columns(integrated_ah, counter_ah, tolerance)
    with silent():
        value = integrated / counter - 1
        odd = (Reason.OUT_OF_VALID_RANGE, np.abs(value) > limit)
        return judged(value, F_RECONCILED, given, (Reason.ZERO_DENOM, counter <= 0), odd)


def dosing_volume(ampere_hours_used: Column, rate_ml_kah: Column) -> Results:
    """F-SUR-04: additive that a charge consumed.

    Unit: mL. Valid: charge >= 0. Source: section 4.2.

    >>> f"{dosing_volume(1850, 180).one():.1f}"
    '333.0 mL'
    """
    charge, rate = given = columns(ampere_hours_used, rate_ml_kah)
    with silent():
        return judged(charge * rate / 1e3, F_DOSE, given, (Reason.OUT_OF_VALID_RANGE, charge < 0))


@dataclass(frozen=True, slots=True)
class Dose:
    """Whole pump shots to give now, and what to carry; the carry is kept across restarts."""

    shots: int
    carry_ml: float


def dosing_shots(volume_ml: float, shot_ml: float, carry_ml: float = 0.0) -> Dose:
    """F-SUR-04: whole pump shots for a volume, the remainder carried to the next time.

    Unit: 1. Valid: shot > 0, volume and carry finite (else ValueError: a pump must not guess). Source: section 4.2.

    >>> dosing_shots(333.0, 50.0)
    Dose(shots=6, carry_ml=33.0)
    >>> dosing_shots(20.0, 50.0, carry_ml=33.0)
    Dose(shots=1, carry_ml=3.0)
    """
    due_ml = volume_ml + carry_ml
    if not (shot_ml > 0 and np.isfinite(due_ml) and due_ml >= 0):
        raise ValueError(f"dosing of {volume_ml} mL plus {carry_ml} mL in shots of {shot_ml} mL: check the pump's data")
    shots = int(due_ml / shot_ml + 1e-9)
    return Dose(shots, max(0.0, due_ml - shots * shot_ml))


def cathode_efficiency(weighed_g: Column, faraday_g: Column) -> Results:
    """F-SUR-05: cathode efficiency, weighed over Faraday mass at full efficiency (or measured over Faraday thickness).

    Unit: 1. Valid: 0 to 1.05 (above it area or charge are wrong), Faraday mass > 0. Source: section 4.2.

    >>> [f"{r:.2f}" for r in cathode_efficiency([0.95, 1.2], 1.0)]
    ['0.95 1', '1.20 1 (OUT_OF_VALID_RANGE)']
    """
    weighed, theory = given = columns(weighed_g, faraday_g)
    with silent():
        value = weighed / theory
        return judged(value, F_EFFICIENCY, given, (Reason.ZERO_DENOM, theory <= 0), outside(value, 0, 1.05))


def ripple(current_a: npt.ArrayLike) -> Results:
    """F-SUR-06: ripple of a rectifier, effective AC part over mean, of equidistant samples on the last axis.

    A NaN in a window is MISSING_INPUT.
    Unit: 1. Valid: mean > 0, usual below 0.05. Source: [GK].

    >>> f"{ripple([99.0, 101.0, 99.0, 101.0]).one():.3f}"
    '0.010 1'
    """
    (i,) = given = columns(current_a)
    empty = np.full(i.shape[:-1], np.nan)
    mean = np.mean(i, axis=-1) if i.shape[-1:] != (0,) else empty
    wave = np.std(i, axis=-1) if i.shape[-1:] != (0,) else empty
    with silent():
        missing = (Reason.MISSING_INPUT, ~np.isfinite(mean))
        return judged(wave / mean, F_RIPPLE, given, missing, (Reason.ZERO_DENOM, mean <= 0))
