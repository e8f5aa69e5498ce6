"""Energy, CO2 equivalents, quarter-hour demand and what is billed for it (section 6.8).

* Korean standard time has no daylight saving and is nine hours ahead, so its quarter hours are those of UTC.
* Emission factors and tariffs are dated data; an old report keeps the factor it was computed with.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analytics.result import (
    Column,
    Evidence,
    Floats,
    Formula,
    Ints,
    Reason,
    Result,
    Results,
    columns,
    judged,
    ratio,
    silent,
)
from analytics.time_series import UNKNOWN_COUNTER, Counter, counter_delta

F_BASE: Final = Formula("F-ENE-01", "kW.h")
F_MARGINAL: Final = Formula("F-ENE-01", "kW.h")
F_CO2: Final = Formula("F-ENE-02", "t")
F_DEMAND: Final = Formula("F-ENE-03", "kW")
F_BILLING: Final = Formula("F-ENE-04", "kW")
F_POWER_FACTOR: Final = Formula("F-ENE-05", "1")

QUARTER_NS: Final = 900_000_000_000
QUARTER_H: Final = 0.25
SEASON_MONTHS: Final = (12, 1, 2, 7, 8, 9)


def specific_energy(energy_kwh: Column, good: Column, unit: str = "kW.h") -> Results:
    """F-ENE-01: specific energy, energy over good quantity; `unit` is kW.h for a part, kW.h/kg for a mass.

    Unit: kW.h. Valid: good quantity > 0. Source: section 6.8.

    >>> f"{specific_energy(247, 494).one():.2f} {specific_energy(247, 0).one():.2f}"
    '0.50 kW.h none kW.h (ZERO_DENOM)'
    """
    return ratio(energy_kwh, good, Formula("F-ENE-01", unit))


@dataclass(frozen=True, slots=True)
class BaseLoad:
    """Energy of a shift as base + per_item x items."""

    base: Result
    per_item: Result


def base_load(items: npt.ArrayLike, energy_kwh: npt.ArrayLike) -> BaseLoad:
    """F-ENE-01: base load and energy per item by least squares over shifts; pairs with a NaN are left out.

    Unit: kW.h. Valid: two shifts of different output. Source: section 6.8.

    >>> found = base_load([60, 100, 140, 180], [430, 520, 600, 690])
    >>> f"{found.base:.4f} {found.per_item:.4f}"
    '302.0000 kW.h 2.1500 kW.h'
    """
    given = columns(items, energy_kwh)
    good = np.isfinite(given[0]) & np.isfinite(given[1])
    n, e = given[0][good], given[1][good]
    few = (Reason.MISSING_INPUT, n.size < 2)
    away = n - np.mean(n) if n.size else n
    spread = np.sum(away * away)
    with silent():
        slope = np.sum(away * e) / spread
        base = np.mean(e) - slope * np.mean(n) if n.size else np.nan
    same, evidence = (Reason.ZERO_DENOM, spread <= 0), Evidence(n.size)
    return BaseLoad(
        base=judged(base, F_BASE, given, few, same, evidence=evidence).one(),
        per_item=judged(slope, F_MARGINAL, given, few, same, evidence=evidence).one(),
    )


@dataclass(frozen=True, slots=True)
class GridFactor:
    """An emission factor and from when it is the one to use."""

    valid_from: date
    factor_t_mwh: float
    basis: str
    source: str


_TABLES: Final[dict[str, Any]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
DEFAULT_GRID: Final[Sequence[GridFactor]] = tuple(GridFactor(**row) for row in _TABLES["grid"])


def grid_factor(day: date, table: Sequence[GridFactor] = DEFAULT_GRID) -> GridFactor | None:
    """F-ENE-02: the grid factor in force on a day; None before the first.

    Unit: t/MW/h. Valid: a row at or before the day. Source: [S67].

    >>> grid_factor(date(2026, 11, 22)).factor_t_mwh, grid_factor(date(2025, 12, 16)).factor_t_mwh
    (0.4173, 0.4541)
    """
    return max((row for row in table if row.valid_from <= day), key=lambda row: row.valid_from, default=None)


def electricity_emission(energy_mwh: Column, factor_t_mwh: Column) -> Results:
    """F-ENE-02: CO2 equivalents of electricity.

    Unit: t. Valid: energy >= 0. Source: [S67].

    >>> f"{electricity_emission(1000, 0.4173).one():.1f}"
    '417.3 t'
    """
    energy, factor = given = columns(energy_mwh, factor_t_mwh)
    with silent():
        return judged(energy * factor, F_CO2, given, (Reason.OUT_OF_VALID_RANGE, energy < 0))


def fuel_emission(volume_nm3: Column, calorific_mj_nm3: Column, *, factor_t_tj: Column = 56.1) -> Results:
    """F-ENE-02: CO2 of a fuel gas, volume times net calorific value times factor; default natural gas [GK].

    Unit: t. Valid: volume >= 0, the supplier's monthly calorific value. Source: [GK].

    >>> f"{fuel_emission(1000, 38.9).one():.4f}"
    '2.1823 t'
    """
    volume, calorific, factor = given = columns(volume_nm3, calorific_mj_nm3, factor_t_tj)
    with silent():
        return judged(volume * calorific * factor / 1e6, F_CO2, given, (Reason.OUT_OF_VALID_RANGE, volume < 0))


def quarter_demand(first_kwh: Column, last_kwh: Column, counter: Counter = UNKNOWN_COUNTER) -> Results:
    """F-ENE-03: demand of a quarter hour from the meter readings at its ends.

    Unit: kW. Valid: no reset between the readings. Source: [S69].

    >>> f"{quarter_demand(380.50, 412.75).one():.1f}"
    '129.0 kW'
    """
    delta = counter_delta(first_kwh, last_kwh, counter)
    reset = (Reason.MISSING_INPUT, ~np.isfinite(delta.value))
    with silent():
        return judged(delta.value / QUARTER_H, F_DEMAND, delta.inputs, reset)


@dataclass(frozen=True, slots=True)
class Demand:
    """(k,) starts of whole quarter hours in ns UTC, and the demand of each."""

    start_ns: Ints
    demand: Results


def demand_profile(
    ts_ns: npt.ArrayLike,
    meter_kwh: npt.ArrayLike,
    *,
    longest_gap_s: float = 60.0,
    counter: Counter = UNKNOWN_COUNTER,
) -> Demand:
    """F-ENE-03: demand of every whole quarter hour (:00 :15 :30 :45 KST) of a meter's counter.

    `ts_ns` (n,) rises; NaN readings are dropped. A reading at a boundary is interpolated between readings less than
    60 s apart; otherwise both quarters are LOW_COVERAGE. A rollover counts on, a reset is MISSING_INPUT.
    Unit: kW. Valid: two boundaries. Source: [S69].

    >>> at = np.array([0, 450, 900, 1800], dtype=np.int64) * 10**9
    >>> [f"{r:.1f}" for r in demand_profile(at, [380.50, 400.0, 412.75, 430.0]).demand]
    ['129.0 kW', '69.0 kW']
    """
    when, (meter,) = np.asarray(ts_ns, dtype=np.int64), columns(meter_kwh)
    when, meter = when[np.isfinite(meter)], meter[np.isfinite(meter)]
    if when.size < 2:
        return Demand(np.empty(0, dtype=np.int64), judged(np.empty(0), F_DEMAND, ()))
    step = counter_delta(meter[:-1], meter[1:], counter).value
    total = np.concatenate([[0.0], np.cumsum(np.nan_to_num(step))])
    resets = np.concatenate([[0], np.cumsum(np.isnan(step))])
    bounds = np.arange(-(-when[0] // QUARTER_NS), when[-1] // QUARTER_NS + 1, dtype=np.int64) * QUARTER_NS
    after = np.searchsorted(when, bounds)
    before = np.where(when[after] == bounds, after, after - 1)
    apart = (when[after] - when[before]) / 1e9
    part = np.where(apart > 0, (bounds - when[before]) / 1e9 / np.where(apart > 0, apart, 1.0), 0.0)
    reading = total[before] + part * (total[after] - total[before])
    vague = apart >= longest_gap_s
    blind = (Reason.LOW_COVERAGE, vague[1:] | vague[:-1])
    reset = (Reason.MISSING_INPUT, resets[after[1:]] > resets[before[:-1]])
    given = (reading[:-1], reading[1:])
    demand = judged(np.diff(reading) / QUARTER_H, F_DEMAND, given, reset, blind, evidence=Evidence(2))
    return Demand(bounds[:-1], demand)


def demand_forecast(energy_so_far_kwh: Column, elapsed_s: Column, power_kw: Column) -> Results:
    """F-ENE-03: demand that the running quarter hour will reach at the present power.

    Unit: kW. Valid: elapsed 0 to 900 s. Source: section 6.8.

    >>> f"{demand_forecast(18.2, 540, 130).one():.1f}"
    '124.8 kW'
    """
    energy, elapsed, power = given = columns(energy_so_far_kwh, elapsed_s, power_kw)
    with silent():
        value = (energy + power * (900 - elapsed) / 3600) / QUARTER_H
        return judged(value, F_DEMAND, given, (Reason.OUT_OF_VALID_RANGE, (elapsed < 0) | (elapsed > 900)))


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A calendar month, in Korean time."""

    year: int
    month: int

    def back(self, months: int) -> "Month":
        """That many months earlier."""
        year, month = divmod(self.year * 12 + self.month - 1 - months, 12)
        return Month(year, month + 1)


def billing_demand(
    month: Month,
    peaks_kw: Mapping[Month, float],
    contract_kw: float,
    *,
    season: tuple[int, ...] = SEASON_MONTHS,
    floor: float = 0.3,
) -> Result:
    """F-ENE-04: billing demand, the largest of this month's peak, the season's peaks of the 12 months before, 30 %.

    The season is December to February and July to September; 30 % is of the contract power. Months of the season
    without a peak are left out and lower `coverage`; this month's peak is mandatory.
    Unit: kW. Valid: peak of the month known; the tariff changes. Source: [S70] [S71].

    >>> peaks = {Month(2026, 1): 480.0, Month(2026, 4): 900.0, Month(2026, 8): 520.0, Month(2026, 11): 400.0}
    >>> f"{billing_demand(Month(2026, 11), peaks, 1000):.0f}", f"{billing_demand(Month(2026, 11), peaks, 2000):.0f}"
    ('520 kW', '600 kW')
    """
    past = [month.back(n) for n in range(1, 13)]
    wanted = [month, *(m for m in past if m.month in season)]
    peaks = np.array([peaks_kw.get(m, np.nan) for m in wanted])
    known = np.isfinite(peaks)
    given = (peaks, np.array([contract_kw, floor]))
    value = np.max(peaks[known], initial=floor * contract_kw)
    none = (Reason.MISSING_INPUT, not known[0] or not np.isfinite(contract_kw))
    evidence = Evidence(int(np.sum(known)), float(np.mean(known)))
    return judged(value, F_BILLING, given, none, evidence=evidence).one()


def power_factor(active_kw: Column, reactive_kvar: Column) -> Results:
    """F-ENE-05: power factor, P / sqrt(P^2 + Q^2); the lagging base of 90 % is for 30-min values [S72].

    Unit: 1. Valid: P >= 0, apparent power > 0. Source: [S72].

    >>> f"{power_factor(900, 520).one():.6f} {power_factor(0, 0).one():.6f}"
    '0.865865 1 none 1 (ZERO_DENOM)'
    """
    p, q = given = columns(active_kw, reactive_kvar)
    with silent():
        apparent: Floats = np.hypot(p, q)
        odd = (Reason.OUT_OF_VALID_RANGE, p < 0)
        return judged(p / apparent, F_POWER_FACTOR, given, (Reason.ZERO_DENOM, apparent <= 0), odd)
