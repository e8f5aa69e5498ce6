"""A steel plant's year of quarter hours through the energy formulas: what could be computed, what not and why.

`python -m tests.bench.real_data_energy` prints it. The recording lies in the folder ROOTDX_DATA, by default
`../shared/data`; it is left out where it is not there.

* The file gives kWh of each quarter hour. They are added up to a counter, as a meter would show it, so that the demand
  comes out of the same code as a plant's; the sum of the demands must be the energy of the file.
* It says nothing of items made, so base load and specific energy are not computed.
* Emission factors before 2018 are in no table of ours: the factor of 2021 stands in and is named.
"""

import csv
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import numpy as np

from analytics.energy import Month, billing_demand, demand_profile, electricity_emission, power_factor
from tests.bench.real_data_thermal import Line, folder

NAME = "steel_energy_gwangyang"
KST = timezone(timedelta(hours=9))
CONTRACT_KW = 700.0
GRID_2021 = 0.4509
"""tCO2eq/MWh of the single year 2021, section 6.8: the oldest one stated there."""


def quarters() -> Iterator[tuple[datetime, float, float, float]]:
    """End of each quarter hour (UTC), kWh, lagging and leading kvarh."""
    for file in sorted((folder() / NAME).glob("*.csv")):
        with file.open(encoding="utf-8-sig", newline="") as lines:
            for row in csv.DictReader(lines):
                end = datetime.strptime(row["date"], "%d/%m/%Y %H:%M").replace(tzinfo=KST)
                lagging = float(row["Lagging_Current_Reactive_Power_kVarh"])
                yield (
                    end.astimezone(UTC),
                    float(row["Usage_kWh"]),
                    lagging,
                    float(row["Leading_Current_Reactive_Power_kVarh"]),
                )


def report() -> list[Line]:
    """The year, or nothing where the recording is not there."""
    if not (folder() / NAME).is_dir():
        return []
    rows = list(quarters())
    # The file calls midnight at the end of a day 00:00 of that same day: a quarter hour 23 h 45 min too early.
    ends = [end + timedelta(days=1) if end.astimezone(KST).strftime("%H:%M") == "00:00" else end for end, *_ in rows]
    kwh, lagging, leading = (np.array(column) for column in zip(*(row[1:] for row in rows), strict=True))
    at_ns = np.array([round(end.timestamp()) * 1_000_000_000 for end in ends], dtype=np.int64)
    order = np.argsort(at_ns, kind="stable")
    meter = np.concatenate(([0.0], np.cumsum(kwh[order])))
    when = np.concatenate(([at_ns[order][0] - 900_000_000_000], at_ns[order]))
    found = demand_profile(when, meter, longest_gap_s=901.0)
    kw = found.demand.value
    months = [Month(t.year, t.month) for t in (datetime.fromtimestamp(s / 1e9, KST) for s in found.start_ns.tolist())]
    peaks = {month: float(np.nanmax(kw[[m == month for m in months]])) for month in dict.fromkeys(months)}
    bill = billing_demand(Month(2018, 12), peaks, CONTRACT_KW)
    factor = power_factor(kwh, lagging - leading).value
    co2 = electricity_emission(float(np.sum(kwh)) / 1000, GRID_2021).one()
    total, demands = float(np.sum(kwh)) / 1000, float(np.nansum(kw)) / 4000
    lines = [
        _spread("demand kW", kw),
        _spread("month peak kW", np.array(list(peaks.values()))),
        _spread("power factor", factor),
        _one("billing demand kW, December", bill.value, f"contract {CONTRACT_KW:g} kW is ours"),
        Line(NAME, "energy MWh, file = demands", len(kwh), total, total, demands),
        _one("tCO2eq with the factor of 2021", co2.value),
    ]
    why = "no items or mass are recorded"
    return [*lines, *(Line(NAME, what, 0, 0, 0, 0, why) for what in ("base load", "specific energy", "kgCO2e an item"))]


def _one(what: str, value: float | None, note: str = "") -> Line:
    shown = np.nan if value is None else value
    return Line(NAME, what, 1, shown, shown, shown, note)


def _spread(what: str, values: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> Line:
    known = values[np.isfinite(values)]
    return Line(NAME, what, len(known), float(known.min()), float(np.median(known)), float(known.max()))


if __name__ == "__main__":
    for line in report():
        print(line)
