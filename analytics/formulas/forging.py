"""Forging and presses: tonnage, work, upsetting, signature (section 5.1).

* Columns broadcast; a NaN or None input is MISSING_INPUT.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from analytics.profile import Envelope, golden_envelope, profile_score, resample
from analytics.result import Column, Evidence, Floats, Formula, Reason, Result, Results, columns, judged, silent

F_TONNAGE: Final = Formula("F-FRG-01", "kN")
F_ANGLE: Final = Formula("F-FRG-01", "deg")
F_IMBALANCE: Final = Formula("F-FRG-01", "%")
F_WORK: Final = Formula("F-FRG-02", "J")
F_UPSET: Final = Formula("F-FRG-03", "kN")
F_SIGNATURE: Final = Formula("F-FRG-04", "1")


def total_tonnage(corners_kn: npt.ArrayLike) -> Results:
    """F-FRG-01: total tonnage, the sum over the corners on the last axis; a missing corner is MISSING_INPUT.

    Unit: kN. Valid: all corners present. Source: section 5.1.

    >>> f"{total_tonnage([820, 790, 870, 840]).one():.1f}"
    '3320.0 kN'
    """
    (force,) = given = columns(corners_kn)
    with silent():
        total = np.sum(force, axis=-1)
        evidence = Evidence(force.shape[-1])
        return judged(total, F_TONNAGE, given, (Reason.MISSING_INPUT, ~np.isfinite(total)), evidence=evidence)


def imbalance(corners_kn: npt.ArrayLike, *, left: tuple[int, ...] = (0, 2)) -> Results:
    """F-FRG-01: left-right imbalance of a press, `left` names the corners wired to the left.

    `corners_kn` has four corners on the last axis.
    Unit: %. Valid: total > 0, all corners present. Source: section 5.1.

    >>> f"{imbalance([820, 790, 870, 840]).one():.5f}"
    '1.80723 %'
    """
    (force,) = given = columns(corners_kn)
    sign = np.where(np.isin(np.arange(force.shape[-1]), left), 1.0, -1.0)
    total = np.sum(force, axis=-1)
    hashed = (*given, np.broadcast_to(sign, force.shape))
    with silent():
        value = np.sum(sign * force, axis=-1) / total * 100
        missing = (Reason.MISSING_INPUT, ~np.isfinite(total))
        return judged(value, F_IMBALANCE, hashed, missing, (Reason.ZERO_DENOM, total <= 0))


@dataclass(frozen=True, slots=True)
class Peak:
    """The highest force of a stroke and the crank angle where it stood."""

    force: Result
    angle: Result


def peak_tonnage(force_kn: npt.ArrayLike, angle_deg: npt.ArrayLike) -> Peak:
    """F-FRG-01: peak tonnage of a stroke and its crank angle; (n,) curves, NaN points are left out.

    Unit: kN. Valid: at least one point. Source: section 5.1.

    >>> peak = peak_tonnage([0, 1500, 3320, 900], [160, 168, 172, 178])
    >>> f"{peak.force:.0f} {peak.angle:.0f}"
    '3320 kN 172 deg'
    """
    force, angle = given = columns(force_kn, angle_deg)
    good = np.isfinite(force) & np.isfinite(angle)
    none = (Reason.MISSING_INPUT, not good.any())
    at = int(np.argmax(np.where(good, force, -np.inf))) if good.any() else None
    highest, where = (force[at], angle[at]) if at is not None else (np.nan, np.nan)
    evidence = Evidence(int(np.sum(good)))
    return Peak(
        force=judged(highest, F_TONNAGE, given, none, evidence=evidence).one(),
        angle=judged(where, F_ANGLE, given, none, evidence=evidence).one(),
    )


def forming_work(force_kn: npt.ArrayLike, slide_mm: npt.ArrayLike) -> Result:
    """F-FRG-02: forming work, trapezoids of force over slide travel; (n,) curves, a NaN is MISSING_INPUT.

    Unit: J. Valid: at least two points. Source: section 5.1.

    >>> f"{forming_work([0, 400, 900, 1500, 1800, 0], [0, 2, 4, 6, 8, 8.5]):.1f}"
    '7850.0 J'
    """
    force, slide = given = columns(force_kn, slide_mm)
    value = np.sum((force[1:] + force[:-1]) / 2 * np.diff(slide))
    bad = (Reason.MISSING_INPUT, force.size < 2 or not np.isfinite(value))
    return judged(value, F_WORK, given, bad, evidence=Evidence(force.size)).one()


def upsetting_force(
    flow_stress_mpa: Column, area_mm2: Column, diameter_mm: Column, height_mm: Column, *, friction: Column = 0.1
) -> Results:
    """F-FRG-03: upsetting force with the friction factor 1 + 0.4 mu D / h.

    Unit: kN. Valid: height > 0. Source: [GK].

    >>> f"{upsetting_force(100, 5000, 80, 40).one():.1f}"
    '540.0 kN'
    """
    stress, area, d, h, mu = given = columns(flow_stress_mpa, area_mm2, diameter_mm, height_mm, friction)
    with silent():
        value = (1 + 0.4 * mu * d / h) * stress * area / 1e3
        return judged(value, F_UPSET, given, (Reason.ZERO_DENOM, h <= 0))


def crank_bins(first_deg: float, last_deg: float, *, bin_deg: float = 0.5) -> Floats:
    """(k,) crank angles of a signature.

    >>> crank_bins(170, 172)
    array([170. , 170.5, 171. , 171.5, 172. ])
    """
    return first_deg + bin_deg * np.arange(round((last_deg - first_deg) / bin_deg) + 1, dtype=np.float64)


def signature_envelope(
    strokes_kn: npt.ArrayLike, *, k_sigma: float = 4.0, peak_part: float = 0.02, least: int = 30
) -> Envelope:
    """F-FRG-04: tonnage signature, mean and max(4 sigma, 2 % of the mean's peak) per crank-angle bin.

    `strokes_kn` is (strokes, bins), made with `resample` over `crank_bins`.
    Unit: kN. Valid: at least 30 strokes. Source: section 5.1, [S49].

    >>> strokes = np.tile([0.0, 1000.0, 3000.0, 500.0], (30, 1))
    >>> signature_envelope(strokes).half_width
    array([60., 60., 60., 60.])
    """
    (table,) = columns(strokes_kn)
    peak = float(np.nanmax(golden_envelope(table, least=least).mean, initial=0.0))
    return golden_envelope(table, k_sigma=k_sigma, floor=peak_part * peak, least=least)


def signature_score(strokes_kn: npt.ArrayLike, envelope: Envelope) -> Results:
    """F-FRG-04: fraction of crank-angle bins outside the signature, one a stroke of (..., bins).

    A NaN bin is MISSING_INPUT.
    Unit: 1. Valid: half width > 0. Source: section 5.1.

    >>> band = signature_envelope(np.tile([0.0, 1000.0, 3000.0, 500.0], (30, 1)))
    >>> f"{signature_score([0.0, 1100.0, 3050.0, 500.0], band).one():.2f}"
    '0.25 1'
    """
    score = profile_score(strokes_kn, envelope).outside
    missing = (Reason.MISSING_INPUT, score.reason == Reason.MISSING_INPUT)
    flat = (Reason.ZERO_DENOM, score.reason == Reason.ZERO_DENOM)
    return judged(score.value, F_SIGNATURE, score.inputs, missing, flat, evidence=Evidence(score.n_used))


def stroke_signature(angle_deg: npt.ArrayLike, force_kn: npt.ArrayLike, bins_deg: npt.ArrayLike) -> Floats:
    """(k,) force in kN at the crank angles of a signature; NaN where the stroke was not measured.

    >>> stroke_signature([170, 172], [0, 2000], crank_bins(170, 172))
    array([   0.,  500., 1000., 1500., 2000.])
    """
    return resample(angle_deg, force_kn, bins_deg)
