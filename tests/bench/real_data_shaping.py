"""Casting, forging and moulding processes on recordings from real plants: what could be computed, what not and why.

`python -m tests.bench.real_data_shaping` prints it. The recordings lie in the folder ROOTDX_DATA, by default
`../shared/data`; one that is not there is left out.

* These recordings are one row a cycle. A row becomes a window of its own: the cycle ends with the row's time and lasted
  what the row says; registers stand at its end, temperatures just before it.
* So segmentation is not tested here, only the measuring; no row holds phases or a burst.
"""

import csv
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
from scipy.stats import rankdata

from analytics.process import Process, Segment
from analytics.processes.casting import HpdcShot
from analytics.processes.forging import PressStroke
from analytics.processes.molding import MoldingCycle
from analytics.result import Reason
from analytics.window import SECOND_NS, Series, Window

ROOT = Path(__file__).resolve().parents[2]
_BEFORE_NS = 1_000_000
_SEOUL = ZoneInfo("Asia/Seoul")


@dataclass(frozen=True, slots=True)
class Recording:
    """Which columns of a file are which roles.

    Attributes:
        name: of the recording.
        process: what measures its rows.
        registers: role -> (column, factor): values that the controller wrote at the end of the cycle.
        states: role -> (column, factor): values that held during the cycle.
        cycle_s: column with the duration of the cycle, or the duration.
        failed: column that is 1 for a bad part; empty when nobody labelled them.
        left_out: column -> why it is no role.
    """

    name: str
    process: Process
    registers: Mapping[str, tuple[str, float]]
    states: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    cycle_s: str | float = 1.0
    failed: str = ""
    left_out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """One feature over the rows of a recording.

    Attributes:
        recording: which.
        feature: which; empty for a column that could not be used.
        n: rows.
        ok: rows with a value.
        median: of the values, in `unit`.
        unit: UCUM.
        auc: how well the feature alone tells bad from good, 0.5 is not at all; NaN without labels. Moulds and start-ups
            are mixed, so it is no claim about a cause.
        why: the most frequent reason of the rows without value, or why a column is no role.
    """

    recording: str
    feature: str
    n: int
    ok: int
    median: float
    unit: str
    auc: float
    why: str


RHEOCASTING = Recording(
    "kamp_rheocasting",
    HpdcShot(
        marker="bits",
        die_zones=("die.temp_upper1", "die.temp_upper2", "die.temp_lower1", "die.temp_lower2"),
        cooling=(),
    ),
    registers={
        "cycle.v_slow": ("low_section_speed", 1e-3),
        "cycle.v_fast": ("high_section_speed", 1e-3),
        "cycle.p_int": ("cast_pressure", 0.1),
        "cycle.biscuit": ("biscuit_thickness", 1.0),
        "cycle.t_cycle": ("facility_operation_cycleTime", 1.0),
    },
    states={
        "die.temp_upper1": ("upper_mold_temp1", 1.0),
        "die.temp_upper2": ("upper_mold_temp2", 1.0),
        "die.temp_lower1": ("lower_mold_temp1", 1.0),
        "die.temp_lower2": ("lower_mold_temp2", 1.0),
        "metal.temp": ("molten_temp", 1.0),
    },
    cycle_s="facility_operation_cycleTime",
    failed="passorfail",
    left_out={
        "sleeve_temperature": "no role in section 1.2",
        "EMS_operation_time": "stirring of slurry, no role in section 1.2",
        "physical_strength": "clamping force in a unit that the file contradicts (kgf); tie-bars are not recorded",
        "molten_volume": "-1 where it was missing: two of three moulds, but for a part of one",
        "Coolant_temperature": "a temperature, section 1.2 has the flow",
    },
)

INJECTION = Recording(
    "kamp_injection",
    MoldingCycle(barrel=tuple(f"barrel.zone{i}" for i in range(1, 7))),
    registers={
        "cycle.fill": ("Filling_Time", 1.0),
        "cycle.dosing": ("Plasticizing_Time", 1.0),
        "cycle.inj_peak": ("Max_Injection_Pressure", 1.0),
    },
    states={f"barrel.zone{i}": (f"Barrel_Temperature_{i}", 1.0) for i in range(1, 7)}
    | {"mold.temp": ("Mold_Temperature_3", 1.0)},
    cycle_s="Cycle_Time",
    failed="PassOrFail",
    left_out={
        "Cushion_Position": "653 against a plasticising position of 69 mm: no cushion in mm",
        "Max_Switch_Over_Pressure": "the switch is known from a burst only",
        "Max_Back_Pressure": "no role in section 5.2",
    },
)

PRESS = Recording(
    "kamp_press",
    PressStroke(marker="counter"),
    registers={
        "stroke.ton1": ("pressure_1", 1.0),
        "stroke.ton2": ("pressure_2", 1.0),
        "stroke.peak": ("pressure_3", 1.0),
    },
    left_out={
        "working_time": "the day only: rows are one a second from midnight on, their order is kept",
        "press_time": "its unit is not said; 550 with every stroke",
        "pressure_1, pressure_2": "two sides where the imbalance (F-FRG-01) takes four corners; units are not said",
    },
)


def folder() -> Path:
    """Where the recordings lie."""
    return Path(os.environ.get("ROOTDX_DATA", ROOT.parent / "shared" / "data"))


def rows_of(name: str) -> Iterator[dict[str, str]]:
    """The rows of a recording's files, in the order of their names; none when it is not there."""
    for file in sorted((folder() / name).glob("*.csv")):
        if file.name == "var_labels.csv":
            continue
        with file.open(encoding="utf-8-sig", newline="") as text:
            yield from csv.DictReader(text)


def _time(row: Mapping[str, str], index: int) -> int:
    if "working_time" in row:
        day = datetime.strptime(row["working_time"].split()[0], "%m/%d/%y").replace(tzinfo=_SEOUL)
        return round((day + timedelta(seconds=index)).timestamp()) * SECOND_NS
    text = row.get("datetime") or row["TimeStamp"]
    return round(datetime.fromisoformat(text).replace(tzinfo=_SEOUL).timestamp()) * SECOND_NS


def _value(row: Mapping[str, str], column: str, factor: float) -> float:
    try:
        return float(row[column]) * factor
    except ValueError:
        return float("nan")


def _window(recording: Recording, row: Mapping[str, str], index: int) -> tuple[Segment, Window]:
    end_ns = _time(row, index)
    lasted = recording.cycle_s
    lasted_s = lasted if isinstance(lasted, float) else _value(row, lasted, 1.0)
    start_ns = end_ns - round(max(lasted_s, 1.0) * SECOND_NS)
    series = {
        role: Series.of([end_ns], [_value(row, *place)], every_s=1.0) for role, place in recording.registers.items()
    }
    series |= {
        role: Series.of([end_ns - _BEFORE_NS], [_value(row, *place)], every_s=1.0)
        for role, place in recording.states.items()
    }
    process = recording.process
    lead_ns, settle_ns = round(process.lead_s * SECOND_NS), round(process.settle_s * SECOND_NS)
    return Segment(start_ns, end_ns, ()), Window(recording.name, start_ns - lead_ns, end_ns + settle_ns, series)


def findings(recording: Recording, most: int) -> list[Finding]:
    """Every feature of every `n`-th row, so that about `most` rows are measured; none without the recording."""
    rows = list(rows_of(recording.name))
    rows = rows[:: max(1, len(rows) // most)]
    values: dict[str, list[float]] = {}
    units: dict[str, str] = {}
    reasons: dict[str, list[Reason]] = {}
    for index, row in enumerate(rows):
        segment, window = _window(recording, row, index)
        for name, found in recording.process.features(segment, window).features.items():
            values.setdefault(name, []).append(np.nan if found.value is None else found.value)
            reasons.setdefault(name, []).append(found.reason)
            units[name] = found.unit
    bad = np.array([row.get(recording.failed) == "1" for row in rows], dtype=np.bool_)
    lines = [
        _finding(recording, name, np.array(column), bad, (units[name], reasons[name]))
        for name, column in values.items()
    ]
    if rows:
        lines += [
            Finding(recording.name, "", len(rows), 0, np.nan, "", np.nan, f"{column}: {why}")
            for column, why in recording.left_out.items()
        ]
    return lines


def _finding(
    recording: Recording,
    name: str,
    column: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    bad: "np.ndarray[tuple[int], np.dtype[np.bool_]]",
    told: tuple[str, list[Reason]],
) -> Finding:
    known = np.isfinite(column)
    unit, reasons = told
    lacking = [reason for reason, there in zip(reasons, known, strict=True) if not there]
    why = max(set(lacking), key=lacking.count).name if lacking else ""
    median = float(np.median(column[known])) if known.any() else float("nan")
    auc = _auc(column[known], bad[known]) if recording.failed else float("nan")
    return Finding(recording.name, name, len(column), int(known.sum()), median, unit, auc, why)


def _auc(
    column: "np.ndarray[tuple[int], np.dtype[np.float64]]", bad: "np.ndarray[tuple[int], np.dtype[np.bool_]]"
) -> float:
    """Area under the ROC curve of a value as a score, turned so that it is at least one half."""
    count = int(bad.sum())
    if not count or count == len(bad):
        return float("nan")
    rank = float(rankdata(column)[bad].sum())
    area = (rank - count * (count + 1) / 2) / (count * (len(bad) - count))
    return max(area, 1.0 - area)


def report(most: int = 2000) -> list[Finding]:
    """What the process files could compute of the recordings that are there."""
    return [line for recording in (RHEOCASTING, INJECTION, PRESS) for line in findings(recording, most)]


if __name__ == "__main__":
    for line in report():
        print(
            f"{line.recording:18} {line.feature:28} {line.ok:6d}/{line.n:<6d} {line.median:10.4g} {line.unit:6} "
            f"auc {line.auc:5.3f}  {line.why}"
        )
