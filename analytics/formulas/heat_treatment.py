"""Heat treatment by time and temperature: dwell, soak, ramp, cooling, quench, vacuum, energy (sections 2.3 and 2.5).

* Columns broadcast; a NaN or None input is MISSING_INPUT. Series take `Samples`, whose NaN are dropped.
* Nothing is interpolated across a gap: time that was not seen is not soak time.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from analytics.formulas.constants import S_PER_H, S_PER_MIN
from analytics.result import (
    Column,
    Evidence,
    Floats,
    Formula,
    Reason,
    Result,
    Results,
    columns,
    judged,
    ratio,
    silent,
)
from analytics.time_series import Samples, covered, crossings, gaps

F_DWELL: Final = Formula("F-HT-00", "min")
F_SOAK: Final = Formula("F-HT-01", "s")
F_EXCURSIONS: Final = Formula("F-HT-01", "1")
F_WORST: Final = Formula("F-HT-01", "Cel")
F_RAMP: Final = Formula("F-HT-02", "Cel/min")
F_COOLING_TIME: Final = Formula("F-HT-14", "s")
F_COOLING_RATE: Final = Formula("F-HT-14", "Cel/s")
F_DELAY: Final = Formula("F-HT-15", "s")
F_QUENCH: Final = Formula("F-HT-16", "K")
F_LEAK: Final = Formula("F-HT-17", "um[Hg]/h")
F_LEAK_FLOW: Final = Formula("F-HT-17", "mbar.L/s")
F_ENERGY: Final = Formula("F-HT-18", "kW.h/t")
F_FIXTURE: Final = Formula("F-HT-18", "1")
F_IDLE: Final = Formula("F-HT-18", "kW")

MBAR_PER_TORR: Final = 1.33322


def dwell_time(zone_length_m: Column, belt_m_min: Column) -> Results:
    """F-HT-00: dwell in a zone of a continuous furnace, zone length over belt speed.

    Unit: min. Valid: belt moving. Source: section 2.2.

    >>> f"{dwell_time(6.0, 0.12).one():.1f}"
    '50.0 min'
    """
    return ratio(zone_length_m, belt_m_min, F_DWELL)


@dataclass(frozen=True, slots=True)
class Band:
    """Setpoint and tolerances; `minus` and `plus` are both positive and may be infinite."""

    setpoint: float
    minus: float
    plus: float


@dataclass(frozen=True, slots=True)
class Soak:
    """Time in tolerance of one load.

    Attributes:
        total: s in band; what policy PAUSE counts.
        longest: s, the longest contiguous time in band; what policy RESET counts.
        excursions: how often the band was left and entered again; a gap is not an excursion.
        worst: the reading farthest from the setpoint between first entry and last exit, as deviation.
        spans_s: (m, 2) begin and end of each time in band: the evidence, whatever the coverage.
    """

    total: Result
    longest: Result
    excursions: Result
    worst: Result
    spans_s: Floats


def soak_time(
    time_s: npt.ArrayLike,
    readings: npt.ArrayLike,
    band: Band,
    *,
    nominal_s: float = np.inf,
    least_coverage: float = 0.95,
) -> Soak:
    """F-HT-01: soak time in tolerance, all required sensors inside the band, linear between samples.

    `readings` is (n,) or (n, sensors), corrected. A row with a NaN in any required sensor is dropped. Never in band is
    0 s, a known value; a load with gaps is LOW_COVERAGE (`least_coverage` is a default of ours), its `spans_s` stay.
    Unit: s. Valid: at least two rows. Source: section 2.3.

    >>> minutes = np.arange(0, 50, 5)
    >>> pv = [800, 830, 846, 851, 853, 838, 849, 850, 850, 700]
    >>> soak = soak_time(minutes * 60, pv, Band(850, 10, 10))
    >>> f"{soak.total.value / 60:.5f} {soak.longest.value / 60:.5f} {soak.excursions:.0f}; {soak.worst:.0f}"
    '30.63258 16.20833 1 1; -12 Cel'
    """
    when, values = columns(time_s, readings)
    table = values.reshape(when.size, -1) if values.size else np.empty((when.size, 1))
    good = np.isfinite(table).all(axis=1) & np.isfinite(when)
    when, table = when[good], table[good]
    is_gap = gaps(when, nominal_s)
    spans = _spans_in_band(when, table, band, is_gap)
    lengths = spans[:, 1] - spans[:, 0]
    given = (when, table, np.array([band.setpoint, band.minus, band.plus, nominal_s]))
    evidence = Evidence(when.size, covered(when, nominal_s), least_coverage=least_coverage)
    few = (Reason.MISSING_INPUT, when.size < 2)
    never = (Reason.NOT_REACHED, lengths.size == 0)
    return Soak(
        total=judged(np.sum(lengths), F_SOAK, given, few, evidence=evidence).one(),
        longest=judged(np.max(lengths, initial=0.0), F_SOAK, given, few, evidence=evidence).one(),
        excursions=judged(_excursions(spans, when, is_gap), F_EXCURSIONS, given, few, evidence=evidence).one(),
        worst=judged(_worst(spans, when, table, band), F_WORST, given, few, never, evidence=evidence).one(),
        spans_s=spans,
    )


def _spans_in_band(when: Floats, table: Floats, band: Band, is_gap: npt.NDArray[np.bool_]) -> Floats:
    """(m, 2) times in band: in each step every sensor's line is in band over one interval; they are intersected."""
    first, last = table[:-1], table[1:]
    slope = last - first
    begin, end = np.zeros(slope.shape), np.ones(slope.shape)
    for limit, side in ((band.setpoint - band.minus, 1.0), (band.setpoint + band.plus, -1.0)):
        room, rise = side * (first - limit), side * slope  # in band where room + s * rise >= 0
        with silent():
            cross = -room / rise
        begin = np.where(rise > 0, np.maximum(begin, cross), begin)
        end = np.where(rise < 0, np.minimum(end, cross), end)
        end = np.where((rise == 0) & (room < 0), -1.0, end)
    begin, end = np.max(begin, axis=1, initial=0.0), np.min(end, axis=1, initial=1.0)
    inside = (begin < end) & ~is_gap
    step = np.diff(when)
    starts, ends = (when[:-1] + begin * step)[inside], (when[:-1] + end * step)[inside]
    joined = np.flatnonzero(inside)
    follows = (np.diff(joined) == 1) & (begin[joined[1:]] == 0.0) & (end[joined[:-1]] == 1.0)
    heads = np.concatenate([[True], ~follows])[: joined.size]
    tails = np.concatenate([~follows, [True]])[: joined.size]
    return np.column_stack([starts[heads], ends[tails]])


def _excursions(spans: Floats, when: Floats, is_gap: npt.NDArray[np.bool_]) -> int:
    blind = when[:-1][is_gap]
    between = zip(spans[:-1, 1], spans[1:, 0], strict=True)
    return sum(not np.any((blind >= left) & (blind < entered)) for left, entered in between)


def _worst(spans: Floats, when: Floats, table: Floats, band: Band) -> float:
    if not spans.size:
        return np.nan
    held = table[(when >= spans[0, 0]) & (when <= spans[-1, 1])] - band.setpoint
    return float(held.flat[np.argmax(np.abs(held))]) if held.size else 0.0


def ramp_rate(ramp: Samples) -> Result:
    """F-HT-02: ramp rate, the least-squares slope over the ramp; fewer than five points are MISSING_INPUT.

    `ramp` is in °C over s.
    Unit: Cel/min. Valid: at least 5 points. Source: section 2.3.

    >>> f"{ramp_rate(Samples.of([0, 60, 120, 180, 240], [700, 712, 723, 736, 748])):.4f}"
    '12.0000 Cel/min'
    """
    n = ramp.time_s.size
    value = _slope(ramp.time_s, ramp.value) * S_PER_MIN if n >= 5 else np.nan
    given = (ramp.time_s, ramp.value)
    few = (Reason.MISSING_INPUT, n < 5)
    return judged(value, F_RAMP, given, few, evidence=Evidence(n, ramp.coverage)).one()


def steepest_ramp(ramp: Samples, *, window_s: float = 300.0) -> Result:
    """F-HT-02: steepest ramp rate of any window of 5 min that holds at least five points and no gap.

    Unit: Cel/min. Valid: one such window. Source: section 2.3.

    >>> f"{steepest_ramp(Samples.of(np.arange(0, 601, 60), [0, 5, 10, 15, 20, 25, 45, 65, 85, 105, 125])):.1f}"
    '20.0 Cel/min'
    """
    ends = np.searchsorted(ramp.time_s, ramp.time_s + window_s, side="right")
    blind = np.concatenate([[0], np.cumsum(ramp.is_gap)])
    slopes = [
        _slope(ramp.time_s[i:j], ramp.value[i:j]) * S_PER_MIN
        for i, j in enumerate(ends)
        if j - i >= 5 and blind[j - 1] == blind[i]
    ]
    given = (ramp.time_s, ramp.value, np.array([window_s]))
    few = (Reason.MISSING_INPUT, not slopes)
    value = max(slopes, default=np.nan)
    return judged(value, F_RAMP, given, few, evidence=Evidence(ramp.time_s.size, ramp.coverage)).one()


def _slope(time_s: Floats, value: Floats) -> float:
    centred = time_s - np.mean(time_s)
    spread = float(np.sum(centred * centred))
    return float(np.sum(centred * value)) / spread if spread > 0 else np.nan


def cooling_time(load: Samples, *, upper_c: float = 800.0, lower_c: float = 500.0) -> Result:
    """F-HT-14: cooling time t8/5 of a load thermocouple, from the first fall through 800 °C after the peak to 500 °C.

    Unit: s. Valid: both levels crossed. Source: section 2.5.

    >>> f"{cooling_time(Samples.of([0, 1, 2, 4, 6, 8, 10, 12], [1350, 1100, 930, 780, 670, 580, 510, 450])):.5f}"
    '6.60000 s'
    """
    peak = int(np.argmax(load.value)) if load.value.size else 0
    after = Samples(load.time_s[peak:], load.value[peak:], load.nominal_s, load.gap_factor)
    upper = crossings(after, upper_c, "down")[:1]
    lower = crossings(after, lower_c, "down")
    lower = lower[lower >= upper[0]][:1] if upper.size else lower[:0]
    value = lower[0] - upper[0] if lower.size else np.nan
    given = (load.time_s, load.value, np.array([upper_c, lower_c]))
    evidence = Evidence(after.time_s.size, after.coverage)
    return judged(value, F_COOLING_TIME, given, (Reason.NOT_REACHED, lower.size == 0), evidence=evidence).one()


def cooling_rate(cooling_time_s: Column, *, upper_c: Column = 800.0, lower_c: Column = 500.0) -> Results:
    """F-HT-14: mean cooling rate between the two levels of t8/5.

    Unit: Cel/s. Valid: t8/5 > 0. Source: section 2.5.

    >>> f"{cooling_rate(6.6).one():.4f}"
    '45.4545 Cel/s'
    """
    time, upper, lower = given = columns(cooling_time_s, upper_c, lower_c)
    with silent():
        return judged((upper - lower) / time, F_COOLING_RATE, given, (Reason.ZERO_DENOM, time <= 0))


def quench_delay(door_opens_s: Column, immersed_s: Column) -> Results:
    """F-HT-15: quench delay, from the furnace door beginning to open until the last portion is immersed.

    Unit: s. Valid: immersed after the door opens. Source: [S32].

    >>> f"{quench_delay(36_000.0, 36_017.4).one():.1f}"
    '17.4 s'
    """
    door, immersed = given = columns(door_opens_s, immersed_s)
    with silent():
        return judged(immersed - door, F_DELAY, given, (Reason.OUT_OF_VALID_RANGE, immersed < door))


def quench_rise(
    load_kg: Column,
    load_c: Column,
    bath_c: Column,
    bath_m3: Column,
    *,
    load_kj_kg_k: Column = 0.67,
    bath_kg_m3: Column = 870.0,
    bath_kj_kg_k: Column = 2.1,
) -> Results:
    """F-HT-16: temperature rise of a quench tank by the heat of the load; default steel into oil.

    Unit: K. Valid: bath volume, density and heat capacity > 0. Source: section 2.5.

    >>> f"{quench_rise(500, 850, 70, 8).one():.3f}"
    '17.878 K'
    """
    given = columns(load_kg, load_c, bath_c, bath_m3, load_kj_kg_k, bath_kg_m3, bath_kj_kg_k)
    mass, hot, cold, volume, c_load, density, c_bath = given
    with silent():
        capacity = volume * density * c_bath
        value = mass * c_load * (hot - cold) / capacity
        return judged(value, F_QUENCH, given, (Reason.ZERO_DENOM, capacity <= 0))


def leak_up_rate(first_um_hg: Column, second_um_hg: Column, hours: Column) -> Results:
    """F-HT-17: leak-up rate of an isolated vacuum furnace; at most 10 in general, 5 for critical work.

    Unit: um[Hg]/h. Valid: time > 0. Source: [S33] [S34].

    >>> f"{leak_up_rate(12, 16, 0.5).one():.1f}"
    '8.0 um[Hg]/h'
    """
    first, second, time = given = columns(first_um_hg, second_um_hg, hours)
    with silent():
        return judged((second - first) / time, F_LEAK, given, (Reason.ZERO_DENOM, time <= 0))


def leak_flow(rate_um_hg_h: Column, volume_l: Column) -> Results:
    """F-HT-17: leak flow of a chamber from its leak-up rate.

    Unit: mbar.L/s. Valid: volume > 0. Source: [S33].

    >>> f"{leak_flow(8, 2000).one():.3e}"
    '5.925e-03 mbar.L/s'
    """
    rate, volume = given = columns(rate_um_hg_h, volume_l)
    with silent():
        flow = rate / 1e3 * MBAR_PER_TORR * volume / S_PER_H
        return judged(flow, F_LEAK_FLOW, given, (Reason.OUT_OF_VALID_RANGE, volume <= 0))


def furnace_energy(energy_kwh: Column, net_charge_t: Column) -> Results:
    """F-HT-18: specific energy of a furnace per tonne of net charge.

    Unit: kW.h/t. Valid: charge > 0. Source: section 2.5.

    >>> f"{furnace_energy(450, 1.5).one():.1f}"
    '300.0 kW.h/t'
    """
    return ratio(energy_kwh, net_charge_t, F_ENERGY)


def fixture_fraction(fixture_kg: Column, net_charge_kg: Column) -> Results:
    """F-HT-18: fixture mass fraction, baskets and trays over everything heated (decided: gross mass below).

    Unit: 1. Valid: gross mass > 0. Source: section 2.5.

    >>> f"{fixture_fraction(200, 600).one():.2f}"
    '0.25 1'
    """
    fixture, charge = given = columns(fixture_kg, net_charge_kg)
    with silent():
        return judged(fixture / (fixture + charge), F_FIXTURE, given, (Reason.ZERO_DENOM, fixture + charge <= 0))


def idle_power(power_kw: npt.ArrayLike) -> Result:
    """F-HT-18: idle-hold power, the median power at setpoint without load; NaN samples are left out.

    Unit: kW. Valid: at least one sample. Source: section 2.5.

    >>> f"{idle_power([40, 42, 41, 120, 41]):.1f}"
    '41.0 kW'
    """
    (power,) = given = columns(power_kw)
    good = power[np.isfinite(power)]
    value = np.median(good) if good.size else np.nan
    return judged(value, F_IDLE, given, (Reason.MISSING_INPUT, good.size == 0), evidence=Evidence(good.size)).one()
