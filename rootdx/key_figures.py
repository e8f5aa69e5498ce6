"""Key figures of ISO 22400-2 by shift, day, order, machine or line.

* Elements are summed, then divided: a figure of a week is never an average of figures of its shifts.
* What is undefined says why; it is never 0. A figure of which an element is missing in one shift is missing.
* Energy counts the shifts whose meter was seen all the time; `energy_coverage` is their share, and kWh per good item
  divides by the good items of the same shifts. CO2 equivalents use the grid factor in force on the day of each shift.
* MTBF is operating time, MTTR the time of technical stops, each over the failures that people entered as stops.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from analytics import oee
from analytics.energy import electricity_emission, grid_factor, specific_energy
from analytics.oee import Elements
from analytics.result import Floats, Formula, Ints, Reason, Result, Results, ratio
from pipeline.migrate import Connection
from rootdx.export import Cell, Missing, Table, column
from rootdx.invocation import ask, machine_paths
from rootdx.moments import Span
from rootdx.texts import say

By = Literal["shift", "day", "order", "machine", "line"]
GROUPS: Final[Mapping[By, tuple[str, ...]]] = {
    "shift": ("machine", "day", "shift", "start"),
    "day": ("machine", "day"),
    "order": ("machine", "order"),
    "machine": ("machine",),
    "line": ("line",),
}
_KEYS: Final = ("machine", "line", "day", "shift", "start", "order")
_SUMS: Final = (
    "planned_busy_s", "production_s", "setup_s", "delay_s", "down_s", "technical_s", "organisational_s", "blind_s",
    "order_s", "planned_run_s", "planned_good_s", "produced", "good", "scrap", "rework", "corrective_s",
    "preventive_s", "failures", "cycles", "energy_kwh",
)  # fmt: skip
_FIGURES: Final[Mapping[str, Callable[[Elements], Results]]] = {
    "oee": oee.oee,
    "availability": oee.availability,
    "effectiveness": oee.effectiveness,
    "quality_ratio": oee.quality_ratio,
    "nee": oee.nee,
    "allocation_efficiency": oee.allocation_efficiency,
    "utilisation_efficiency": oee.utilisation_efficiency,
    "technical_efficiency": oee.technical_efficiency,
    "setup_rate": oee.setup_rate,
    "scrap_ratio": oee.scrap_ratio,
    "rework_ratio": oee.rework_ratio,
    "corrective_ratio": oee.corrective_maintenance_ratio,
}
_ON_SCREEN: Final = (
    "machine", "line", "day", "shift", "start", "order", "oee", "availability", "effectiveness", "quality_ratio",
    "produced", "good", "scrap", "down_s", "mtbf_s", "mttr_s", "energy_kwh", "kwh_per_good", "co2e_kg",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Grouped:
    """Elements of shifts as columns, and the group of each.

    Attributes:
        keys: of the groups, in order.
        group: (n,) index into keys.
        columns: (n,) by name, NaN where missing.
        emission_kg: (n,) CO2 equivalents.
    """

    keys: Sequence[tuple[Any, ...]]
    group: Ints
    columns: Mapping[str, Floats]
    emission_kg: Floats

    def sum(self, values: Floats) -> Floats:
        """(groups,) sums; missing stays missing."""
        return np.bincount(self.group, weights=values, minlength=len(self.keys)).astype(np.float64)


async def table(db: Connection, span: Span, by: By, machine: str | None, zone: str, *, brief: bool) -> Table:
    """The figures of the shifts that begin in a span; `brief` leaves out what a screen has no room for.

    Raises:
        BadData: nobody knows the machine.
    """
    machines = None if machine is None else await machine_paths(db, [machine])
    given = {"machines": machines, "first": span.first, "last": span.last}
    grouped = group(await ask(db, _ELEMENTS, given), by)
    columns = {**_named(grouped, by), **figures(grouped)}
    heads = [column(name, *_KINDS[name]) for name in columns if not brief or name in _ON_SCREEN]
    rows = [[columns[head.name][place] for head in heads] for place in range(len(grouped.keys))]
    return Table("kpi", say("kpi.title"), heads, rows, zone, reasons=True, notes=[] if rows else [say("kpi.none")])


def group(rows: Sequence[tuple[Any, ...]], by: By) -> Grouped:
    """Rows of `kpi_elements` by group."""
    places = [_KEYS.index(name) for name in GROUPS[by]]
    index: dict[tuple[Any, ...], int] = {}
    numbers = [index.setdefault(tuple(row[place] for place in places), len(index)) for row in rows]
    order = {old: new for new, old in enumerate(index[key] for key in sorted(index, key=_sorting))}
    numeric = np.array([row[len(_KEYS) :] for row in rows], dtype=np.float64).reshape(len(rows), len(_SUMS))
    columns = {name: numeric[:, place] for place, name in enumerate(_SUMS)}
    factors = np.array([_factor(row[_KEYS.index("day")]) for row in rows], dtype=np.float64)
    emission = electricity_emission(columns["energy_kwh"] / 1000, factors).value * 1000
    return Grouped(
        sorted(index, key=_sorting), np.array([order[n] for n in numbers], dtype=np.int64), columns, emission
    )


def _sorting(key: tuple[Any, ...]) -> tuple[Any, ...]:
    """By time first, where there is one."""
    return (*(part for part in key if not isinstance(part, str)), *(part for part in key if isinstance(part, str)))


def _factor(day: Any) -> float:
    found = grid_factor(day)
    return np.nan if found is None else found.factor_t_mwh


def _named(grouped: Grouped, by: By) -> dict[str, list[Cell]]:
    return {name: [key[place] for key in grouped.keys] for place, name in enumerate(GROUPS[by])}


def figures(grouped: Grouped) -> dict[str, list[Cell]]:
    """Every figure of every group, by name: numbers, or why there is none."""
    total = {name: grouped.sum(values) for name, values in grouped.columns.items()}
    names = (
        "planned_busy_s", "production_s", "setup_s", "delay_s", "order_s", "planned_run_s", "planned_good_s",
        "produced", "good", "scrap", "rework", "corrective_s", "preventive_s",
    )  # fmt: skip
    elements = Elements(
        **{name: total[name] for name in names},
        busy_s=total["production_s"] + total["setup_s"] + total["delay_s"],
    )
    found = {name: cells(formula(elements)) for name, formula in _FIGURES.items()}
    hourly = oee.throughput_rate(elements)
    found["throughput_h"] = cells(hourly, 3600.0)
    found |= _reliability(total)
    found |= _energy(grouped)
    plain = ("produced", "good", "scrap", "rework", "cycles", "planned_busy_s", "production_s", "setup_s", "delay_s",
             "down_s", "technical_s", "organisational_s", "blind_s", "failures")  # fmt: skip
    return found | {name: [float(value) for value in total[name]] for name in plain}


def _reliability(total: Mapping[str, Floats]) -> dict[str, list[Cell]]:
    """F-KPI-11; the mean of intervals needs no more of them than their sum and number."""
    found: dict[str, list[Cell]] = {name: [] for name in ("mtbf_s", "mtbf_iso_s", "mttr_s")}
    for count, running, repair in zip(total["failures"], total["production_s"], total["technical_s"], strict=True):
        failures = int(count)
        between = oee.mean_interval(np.full(failures, running / max(failures, 1)), failures, float(running))
        repairs = oee.mean_interval(np.full(failures, repair / max(failures, 1)), failures, float(running))
        found["mtbf_s"].append(cell(between.mean))
        found["mtbf_iso_s"].append(cell(between.iso_mean))
        found["mttr_s"].append(cell(repairs.mean))
    return found


def _energy(grouped: Grouped) -> dict[str, list[Cell]]:
    """Energy, its coverage, what a good item took, and CO2 equivalents, of the shifts whose energy is known."""
    energy = grouped.columns["energy_kwh"]
    known = np.isfinite(energy)
    counted = grouped.sum(known.astype(np.float64))
    share = ratio(counted, grouped.sum(np.ones(len(energy))), Formula("COVERAGE", "1"))
    some = counted > 0
    total = np.where(some, grouped.sum(np.where(known, energy, 0.0)), np.nan)
    emission = np.where(some, grouped.sum(np.where(known, grouped.emission_kg, 0.0)), np.nan)
    good = grouped.sum(np.where(known, grouped.columns["good"], 0.0))
    return {
        "energy_kwh": _or_missing(total),
        "energy_coverage": cells(share),
        "kwh_per_good": cells(specific_energy(total, good)),
        "co2e_kg": _or_missing(emission),
    }


def _or_missing(values: Floats) -> list[Cell]:
    return [float(value) if np.isfinite(value) else Missing(Reason.MISSING_INPUT.name) for value in values]


def cells(found: Results, times: float = 1.0) -> list[Cell]:
    """A column of results as cells."""
    return [
        Missing(Reason(int(code)).name) if np.isnan(value) else float(value) * times
        for value, code in zip(found.value, found.reason, strict=True)
    ]


def cell(found: Result) -> Cell:
    """A result as a cell."""
    return Missing(found.reason.name) if found.value is None else found.value


_SHARE: Final = ("share", "1")
_TIME: Final = ("number", "s")
_COUNT: Final = ("whole", "1")
_KINDS: Final[Mapping[str, tuple[Any, ...]]] = {
    "machine": (), "line": (), "shift": (), "order": (), "day": ("day",), "start": ("time",),
    **dict.fromkeys(_FIGURES, _SHARE), "energy_coverage": _SHARE,
    **dict.fromkeys((name for name in _SUMS if name.endswith("_s")), _TIME),
    **dict.fromkeys(("mtbf_s", "mtbf_iso_s", "mttr_s"), _TIME),
    **dict.fromkeys(("failures", "cycles"), _COUNT),
    **dict.fromkeys(("produced", "good", "scrap", "rework"), ("number", "1")),
    "throughput_h": ("number", "/h"), "energy_kwh": ("number", "kW.h"), "kwh_per_good": ("number", "kW.h"),
    "co2e_kg": ("number", "kg"),
}  # fmt: skip
_ELEMENTS: Final = f"""
    SELECT asset, line, day, shift, shift_start, order_name, {", ".join(_SUMS)}
    FROM rootdx.kpi_elements
    WHERE (%(machines)s::text[] IS NULL OR asset = ANY(%(machines)s))
      AND shift_start >= %(first)s AND shift_start < %(last)s
    ORDER BY shift_start, asset, order_name"""  # noqa: S608  # our own column names
