"""High-pressure die casting: plunger, gate, sleeve, pressure, clamp, biscuit (section 1.4).

* Columns broadcast; a NaN or None input is MISSING_INPUT.
* Usual ranges are advice: a value outside them is a finding for a limit, not for the formula.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from analytics.result import Column, Evidence, Formula, Reason, Result, Results, columns, judged, outside, ratio, silent
from analytics.time_series import Samples, crossings

F_AREA: Final = Formula("F-HPDC-01", "mm2")
F_GATE: Final = Formula("F-HPDC-02", "m/s")
F_FILL: Final = Formula("F-HPDC-03", "ms")
F_FILL_RATIO: Final = Formula("F-HPDC-03", "1")
F_SLEEVE: Final = Formula("F-HPDC-04", "1")
F_SLOW: Final = Formula("F-HPDC-05", "m/s")
F_PRESSURE: Final = Formula("F-HPDC-06", "MPa")
F_RISE: Final = Formula("F-HPDC-07", "ms")
F_FINAL: Final = Formula("F-HPDC-07", "MPa")
F_OPENING: Final = Formula("F-HPDC-08", "kN")
F_CLAMP: Final = Formula("F-HPDC-08", "1")
F_BISCUIT: Final = Formula("F-HPDC-09", "mm")
F_DOSING: Final = Formula("F-HPDC-09", "g")
F_FILL_LIMIT: Final = Formula("F-HPDC-10", "s")
F_CYCLE: Final = Formula("F-HPDC-11", "s")

KN_PER_TONNE: Final = 9.80665


def plunger_area(diameter_mm: Column) -> Results:
    """F-HPDC-01: plunger area, pi D^2 / 4.

    Unit: mm2. Valid: D > 0. Source: geometry.

    >>> f"{plunger_area(70).one():.3f}"
    '3848.451 mm2'
    """
    (d,) = given = columns(diameter_mm)
    with silent():
        return judged(np.pi / 4 * d * d, F_AREA, given, (Reason.OUT_OF_VALID_RANGE, d <= 0))


def gate_velocity(plunger_m_s: Column, plunger_area_mm2: Column, gate_area_mm2: Column) -> Results:
    """F-HPDC-02: gate velocity by continuity, v_p A_p / A_g; once the sleeve is full.

    Usual for aluminium 30 to 60 m/s [GK], one supplier 20 to 40 [S6].
    Unit: m/s. Valid: A_g > 0, sleeve full. Source: [S6] [GK].

    >>> f"{gate_velocity(2.5, plunger_area(70).value, 200).one():.4f}"
    '48.1056 m/s'
    """
    v, area, gate = given = columns(plunger_m_s, plunger_area_mm2, gate_area_mm2)
    with silent():
        return judged(v * area / gate, F_GATE, given, (Reason.ZERO_DENOM, gate <= 0))


def fill_time(cavity_mm3: Column, plunger_area_mm2: Column, plunger_m_s: Column) -> Results:
    """F-HPDC-03: theoretical fill time, cavity (casting and overflows) over plunger flow.

    Unit: ms. Valid: A_p v_p > 0, usual 10 to 50 ms. Source: [S7] [S6].

    >>> f"{fill_time(500e3, plunger_area(70).value, 2.5).one():.3f}"
    '51.969 ms'
    """
    volume, area, v = given = columns(cavity_mm3, plunger_area_mm2, plunger_m_s)
    with silent():
        flow_mm3_ms = area * v
        return judged(volume / flow_mm3_ms, F_FILL, given, (Reason.ZERO_DENOM, flow_mm3_ms <= 0))


def measured_fill_time(position: Samples, gate_reached_mm: float, end_of_fill_s: float | None) -> Result:
    """F-HPDC-03: measured fill time, from the plunger position at which metal reaches the gate to the end of fill.

    `position` is in mm over s. No end of fill or no crossing of the position before it is NOT_REACHED.
    Unit: ms. Valid: end of fill found. Source: section 1.4.

    >>> shot = Samples.of([0.0, 0.1, 0.2], [0.0, 100.0, 200.0])
    >>> f"{measured_fill_time(shot, 150.0, 0.2):.3f}", f"{measured_fill_time(shot, 150.0, None)}"
    ('50.000 ms', 'none ms (NOT_REACHED)')
    """
    passed = crossings(position, gate_reached_mm, "up")[:1]
    end_s = np.nan if end_of_fill_s is None else end_of_fill_s
    begin_s = passed[0] if passed.size else np.nan
    found = end_s >= begin_s
    evidence = Evidence(position.time_s.size, position.coverage)
    given = (position.time_s, position.value)
    return judged((end_s - begin_s) * 1e3, F_FILL, given, (Reason.NOT_REACHED, not found), evidence=evidence).one()


def fill_time_ratio(measured_ms: Column, theoretical_ms: Column) -> Results:
    """F-HPDC-03: measured over theoretical fill time; above 1.15 the shot lost speed.

    Unit: 1. Valid: theoretical > 0. Source: section 1.4.

    >>> f"{fill_time_ratio(60.0, 50.0).one():.2f}"
    '1.20 1'
    """
    return ratio(measured_ms, theoretical_ms, F_FILL_RATIO)


def sleeve_filling(
    metal_kg: Column, plunger_area_mm2: Column, active_length_mm: Column, *, density_g_cm3: Column = 2.5
) -> Results:
    """F-HPDC-04: filling degree of the shot sleeve, metal volume over active sleeve volume.

    Unit: 1. Valid: 0 to 1, usual 0.40 to 0.60. Source: [S8].

    >>> f"{sleeve_filling(1.9, plunger_area(70).value, 450).one():.5f}"
    '0.43885 1'
    """
    mass, area, length, density = given = columns(metal_kg, plunger_area_mm2, active_length_mm, density_g_cm3)
    with silent():
        sleeve_g = area * length * density / 1e3
        filling = mass * 1e3 / sleeve_g
        return judged(filling, F_SLEEVE, given, (Reason.ZERO_DENOM, sleeve_g <= 0), outside(filling, 0, 1))


def critical_slow_shot_velocity(diameter_mm: Column, filling: Column, *, constant: Column = 0.579) -> Results:
    """F-HPDC-05: critical slow-shot velocity of the Garber type; a guideline, never an alarm [S9].

    Unit: m/s. Valid: filling degree 0 to 1, D > 0. Source: [GK] [S9].

    >>> f"{critical_slow_shot_velocity(70, 0.5).one():.5f}"
    '0.48060 m/s'
    """
    d, f, k = given = columns(diameter_mm, filling, constant)
    with silent():
        value = k * (1 - f) * np.sqrt(d / 25.4)
        return judged(value, F_SLOW, given, outside(f, 0, 1), (Reason.OUT_OF_VALID_RANGE, d <= 0))


def intensification_pressure(
    head_mpa: Column, rod_side_mpa: Column, bore_mm: Column, rod_mm: Column, plunger_mm: Column
) -> Results:
    """F-HPDC-06: metal pressure from the shot cylinder's head and rod side pressures.

    Unit: MPa. Valid: plunger diameter > 0, rod < bore, usual 40 to 100 MPa. Source: [S6].

    >>> f"{intensification_pressure(16, 1, 140, 100, 70).one():.4f}"
    '62.0408 MPa'
    """
    head, annulus, bore, rod, plunger = given = columns(head_mpa, rod_side_mpa, bore_mm, rod_mm, plunger_mm)
    with silent():
        value = (head * bore**2 - annulus * (bore**2 - rod**2)) / plunger**2
        return judged(
            value,
            F_PRESSURE,
            given,
            (Reason.ZERO_DENOM, plunger <= 0),
            (Reason.OUT_OF_VALID_RANGE, (rod >= bore) | (value < 0)),
        )


def final_pressure(intensify_mpa: npt.ArrayLike, *, part: float = 0.2) -> Result:
    """F-HPDC-07: final pressure, the median head pressure in the last 20 % of the intensify phase.

    NaN samples are left out; none left is MISSING_INPUT.
    Unit: MPa. Valid: at least one sample. Source: section 1.4.

    >>> f"{final_pressure([8, 40, 61, 62, 62, 63, 62, 61, 62, 62]):.1f}"
    '62.0 MPa'
    """
    (pressure,) = given = columns(intensify_mpa)
    tail = pressure[pressure.size - max(1, round(part * pressure.size)) :] if pressure.size else pressure
    tail = tail[np.isfinite(tail)]
    value = np.median(tail) if tail.size else np.nan
    none = (Reason.MISSING_INPUT, tail.size == 0)
    return judged(value, F_FINAL, given, none, evidence=Evidence(tail.size)).one()


def pressure_rise_time(pressure: Samples, final_mpa: float, *, fraction: float = 0.9) -> Result:
    """F-HPDC-07: time from end of fill until the pressure is at 90 % of its final value.

    `pressure` is in MPa over s, time 0 = end of fill. A curve that starts above the level has risen in 0 s.
    Unit: ms. Valid: level reached, usual 10 to 60 ms. Source: [GK].

    >>> curve = Samples.of(np.arange(0, 0.031, 0.005), [8, 14, 30, 48, 57, 61, 62])
    >>> f"{pressure_rise_time(curve, 62.0):.3f}"
    '19.333 ms'
    """
    level = fraction * final_mpa
    above_at_once = pressure.value.size > 0 and pressure.value[0] >= level
    reached = pressure.time_s[:1] if above_at_once else crossings(pressure, level, "up")[:1]
    value = reached[0] * 1e3 if reached.size else np.nan
    few = (Reason.MISSING_INPUT, pressure.value.size < 2 or not np.isfinite(final_mpa))
    given = (pressure.time_s, pressure.value, np.array([final_mpa, fraction]))
    evidence = Evidence(pressure.value.size, pressure.coverage)
    return judged(value, F_RISE, given, few, (Reason.NOT_REACHED, reached.size == 0), evidence=evidence).one()


def die_opening_force(metal_mpa: Column, projected_mm2: Column) -> Results:
    """F-HPDC-08: die opening force, metal pressure times projected area.

    Unit: kN. Valid: pressure and area >= 0. Source: section 1.4.

    >>> f"{die_opening_force(62.0408, 40_000).one():.2f}"
    '2481.63 kN'
    """
    pressure, area = given = columns(metal_mpa, projected_mm2)
    with silent():
        return judged(pressure * area / 1e3, F_OPENING, given, (Reason.OUT_OF_VALID_RANGE, (pressure < 0) | (area < 0)))


def clamp_utilisation(opening_kn: Column, clamp_tonnes: Column) -> Results:
    """F-HPDC-08: clamp utilisation, opening force over clamping force; warn above 0.9, flash above 1.

    Unit: 1. Valid: clamp > 0. Source: section 1.4.

    >>> f"{clamp_utilisation(die_opening_force(62.0408, 40_000).value, 350).one():.5f}"
    '0.72302 1'
    """
    force, tonnes = given = columns(opening_kn, clamp_tonnes)
    with silent():
        return judged(force / (tonnes * KN_PER_TONNE), F_CLAMP, given, (Reason.ZERO_DENOM, tonnes <= 0))


def biscuit_thickness(face_mm: Column, end_mm: Column) -> Results:
    """F-HPDC-09: biscuit thickness, plunger position at the spreader face less position at the end of intensify.

    Unit: mm. Valid: >= 0, usual 15 to 40 mm. Source: [GK].

    >>> f"{biscuit_thickness(850.0, 825.0).one():.1f}"
    '25.0 mm'
    """
    face, end = given = columns(face_mm, end_mm)
    with silent():
        return judged(face - end, F_BISCUIT, given, (Reason.OUT_OF_VALID_RANGE, end > face))


def dosing_deviation(biscuit_change_mm: Column, plunger_area_mm2: Column, *, density_g_cm3: Column = 2.5) -> Results:
    """F-HPDC-09: dosed mass that a change of the biscuit stands for.

    Unit: g. Valid: area > 0. Source: section 1.4.

    >>> f"{dosing_deviation(5, plunger_area(70).value).one():.3f}"
    '48.106 g'
    """
    change, area, density = given = columns(biscuit_change_mm, plunger_area_mm2, density_g_cm3)
    with silent():
        return judged(density * area * change / 1e3, F_DOSING, given, (Reason.OUT_OF_VALID_RANGE, area <= 0))


def maximum_fill_time(
    wall_mm: Column,
    metal_c: Column,
    flow_end_c: Column,
    die_c: Column,
    solids_percent: Column,
    *,
    constant_s_mm: Column = 0.0346,
    solids_c_percent: Column = 4.8,
) -> Results:
    """F-HPDC-10: longest fill time of a wall by NADCA (Herman), for tool steel and aluminium by default.

    Unit: s. Valid: flow end above die temperature, result > 0. Source: [GK].

    >>> f"{maximum_fill_time(2, 643, 574, 200, 20).one():.6f}"
    '0.030529 s'
    """
    given = columns(wall_mm, metal_c, flow_end_c, die_c, solids_percent, constant_s_mm, solids_c_percent)
    wall, metal, flow_end, die, solids, k, z = given
    with silent():
        value = k * wall * (metal - flow_end + solids * z) / (flow_end - die)
        cold = (Reason.ZERO_DENOM, flow_end <= die)
        return judged(value, F_FILL_LIMIT, given, cold, (Reason.OUT_OF_VALID_RANGE, value < 0))


def cycle_time(events_s: npt.ArrayLike, *, stop_factor: float = 3.0) -> Result:
    """F-HPDC-11: cycle time, the median interval between consecutive identical events (die closed).

    An interval above three medians is a stop and no cycle; `n_used` counts the cycles.
    Unit: s. Valid: at least two events. Source: section 1.4.

    >>> f"{cycle_time([0, 60, 122, 182, 1500, 1561]):.1f}"
    '60.5 s'
    """
    (events,) = given = columns(events_s)
    intervals = np.diff(events[np.isfinite(events)])
    cycles = intervals[intervals <= stop_factor * np.median(intervals)] if intervals.size else intervals
    value = np.median(cycles) if cycles.size else np.nan
    few = (Reason.MISSING_INPUT, cycles.size == 0)
    return judged(value, F_CYCLE, given, few, evidence=Evidence(cycles.size)).one()
