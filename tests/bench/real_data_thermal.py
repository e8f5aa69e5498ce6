"""Welding, plating and heat treatment on recordings from real plants: what could be computed, what not and why.

`python -m tests.bench.real_data_thermal` prints it. The recordings lie in the folder ROOTDX_DATA, by default
`../shared/data`; one that is not there is left out.

* The weld runs are a time series of the arc at 0.11 s, so segmentation is tested on them.
* The plating lots are rows of a bath at 5 s with a lot number: the lot stands for the carrier, and its last row for the
  hoist. Their values look generated (SOURCES.md), so only the join and the arithmetic are shown, nothing about baths.
* The furnace batches are one row of means a batch: no curve, so no cycle; only what needs no time is computed.
"""

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from analytics.process import Process, Segment
from analytics.processes.surface_treatment import PlatingRack
from analytics.processes.welding import ArcSeam
from analytics.window import SECOND_NS, Series, Window

ROOT = Path(__file__).resolve().parents[2]
_SEOUL = ZoneInfo("Asia/Seoul")
_WELD_EVERY_S, _BATH_EVERY_S = 0.11, 5.0
WELD_COLUMNS = {6: "arc.i", 8: "arc.u"}
WELD_LEFT_OUT = {
    "CO2 Weld Flow": "falls for minutes after the arc and the file ends before: as gas.flow the seam would stay open",
    "Feed": "no unit, and lags the arc by seconds",
    "Wire Consumed": "no unit",
    "Pressure": "no role",
    "(travel)": "not recorded: no arc energy, no heat input, no t8/5",
    "(burst)": "not recorded: no instantaneous power, no short circuits",
}
BATCH_ZONES = tuple(f"소입로 온도 {n} Zone_Avg" for n in range(1, 5))


@dataclass(frozen=True, slots=True)
class Line:
    """What one recording gave: a feature over its cycles, or why there is none."""

    recording: str
    what: str
    n: int
    low: float
    median: float
    high: float
    note: str = ""

    def __str__(self) -> str:
        figures = f"{self.n:5}  {self.low:10.4g} {self.median:10.4g} {self.high:10.4g}" if self.n else " " * 39
        return f"{self.recording:20} {self.what:28} {figures}  {self.note}"


def folder() -> Path:
    """Where the recordings are."""
    return Path(os.environ.get("ROOTDX_DATA", ROOT.parent / "shared" / "data"))


def weld_runs() -> Iterator[Window]:
    """One window a run."""
    for path in sorted((folder() / "weld_gmaw_runs").glob("*.csv")):
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.reader(lines))[1:]
        when = [datetime.strptime(f"{row[0]} {row[1]}", "%m/%d/%Y %H:%M:%S.%f").replace(tzinfo=_SEOUL) for row in rows]
        ts_ns = [round(moment.timestamp() * 1e6) * 1000 for moment in when]
        series = {
            role: Series.of(ts_ns, [float(row[column]) for row in rows], every_s=_WELD_EVERY_S)
            for column, role in WELD_COLUMNS.items()
        }
        yield Window(path.stem, ts_ns[0], ts_ns[-1] + 1, series)


def plating_lots() -> Iterator[Window]:
    """One window a day; the lot number as the carrier, its rows as its stay in the bath."""
    for path in sorted((folder() / "kamp_plating_bath").glob("kemp-abh-sensor-*.csv")):
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines))
        day = path.stem.removeprefix("kemp-abh-sensor-").replace(".", "-")
        ts_ns = np.array([_korean_ns(day, row["Time"]) for row in rows], dtype=np.int64)
        series = {
            role: Series.of(ts_ns, [float(row[column]) for row in rows], every_s=_BATH_EVERY_S)
            for column, role in (
                ("Current", "rect1.amp"),
                ("Voltage", "rect1.volt"),
                ("Temp", "bath1.temp"),
                ("pH", "bath1.ph"),
            )
        }
        lots = np.array([int(row["Lot"]) for row in rows])
        start_ns, end_ns = int(ts_ns.min()) - 60 * SECOND_NS, int(ts_ns.max()) + 60 * SECOND_NS
        yield Window(day, start_ns, end_ns, series | _hoist(ts_ns, lots, start_ns))


def _hoist(
    ts_ns: "np.ndarray[tuple[int], np.dtype[np.int64]]",
    lots: "np.ndarray[tuple[int], np.dtype[np.int64]]",
    start_ns: int,
) -> dict[str, Series]:
    """A hoist that brings each lot with its first row and takes it with its last."""
    events = [(start_ns, 0, 1)]
    for lot in np.unique(lots):
        own = ts_ns[lots == lot]
        events += [
            (int(own[0]), 1, int(lot)),
            (int(own[-1]) + 2 * SECOND_NS, 0, int(lot)),
            (int(own[-1]) + 3 * SECOND_NS, 2, int(lot)),
        ]
    when = [event[0] for event in events]
    return {
        "hoist.tank_id": Series.of(when, [float(event[1]) for event in events]),
        "hoist.carrier_id": Series.of(when, [float(event[2]) for event in events]),
    }


def _korean_ns(day: str, text: str) -> int:
    """Time of day as the export writes it, 오전 or 오후 first."""
    half, clock = text.split(" ")
    hour, minute, second = clock.split(":")
    hours = int(hour) % 12 + (12 if half == "오후" else 0)
    midnight = datetime.fromisoformat(day).replace(tzinfo=_SEOUL).timestamp()
    return round((midnight + 3600 * hours + 60 * int(minute) + float(second)) * 1e3) * 1_000_000


def _measured(process: Process, window: Window) -> list[tuple[Segment, dict[str, float | None]]]:
    return [
        (segment, {name: result.value for name, result in process.features(segment, window).features.items()})
        for segment in process.cycles(window)
        if segment.end_ns is not None
    ]


def _lines(name: str, found: list[dict[str, float | None]]) -> Iterator[Line]:
    for what in dict.fromkeys(key for features in found for key in features):
        values = np.array([features.get(what) for features in found], dtype=np.float64)
        good = values[np.isfinite(values)]
        if len(good):
            yield Line(name, what, len(good), float(good.min()), float(np.median(good)), float(good.max()))
        else:
            yield Line(name, what, 0, np.nan, np.nan, np.nan, "no value: its rows are not in the recording")


def welds() -> list[Line]:
    """Seams of the weld runs."""
    process = ArcSeam(bundle_s=_WELD_EVERY_S, off_s=0.25, on_s=0.15)
    each = [_measured(process, window) for window in weld_runs()]
    if not each:
        return []
    seams = [float(len(found)) for found in each]
    lines = [Line("weld_gmaw_runs", "seams a run", len(seams), min(seams), float(np.median(seams)), max(seams))]
    lines += _lines("weld_gmaw_runs", [features for found in each for _, features in found])
    return [*lines, *(Line("weld_gmaw_runs", what, 0, 0, 0, 0, why) for what, why in WELD_LEFT_OUT.items())]


def lots() -> list[Line]:
    """Lots of the plating bath."""
    process = PlatingRack(tanks=("PLATE", "UNLOAD"), first_tanks=("PLATE",), rinse_tank="PLATE")
    each = [_measured(process, window) for window in plating_lots()]
    if not each:
        return []
    number = [float(len(found)) for found in each]
    name = "kamp_plating_bath"
    lines = [Line(name, "lots a day", len(number), min(number), float(np.median(number)), max(number))]
    lines += _lines(name, [features for found in each for _, features in found])
    left_out = {
        "(area)": "not recorded: no current density, no thickness",
        "(hoist)": "not recorded: no other tanks, no dwell but that of the bath",
        "(rect1.ah)": "not recorded: the charge is the integral alone",
    }
    return [*lines, *(Line(name, what, 0, 0, 0, 0, why) for what, why in left_out.items())]


def batches() -> list[Line]:
    """Means of the quench furnace of each batch."""
    path = folder() / "kamp_heat_treatment" / "train.csv"
    if not path.exists():
        return []
    with path.open(encoding="cp949", newline="") as lines:
        rows = list(csv.DictReader(lines))
    name = "kamp_heat_treatment"
    zones = np.array([[float(row[column]) for column in BATCH_ZONES] for row in rows])
    carbon = np.array([float(row["소입로 CP 값_Avg"]) for row in rows])
    found = [
        Line(name, what, len(value), float(value.min()), float(np.median(value)), float(value.max()), note)
        for what, value, note in (
            ("zone_spread", np.ptp(zones, axis=1), "K, of the means of a batch"),
            ("carbon_mean", carbon, "%C, what the controller said"),
        )
    ]
    why = "only means and deviations of a batch are public, not the curve"
    missing = ("cycles and phases", "soak, ramp, time to temperature", "probe, dew point, case depth", "quench")
    return [*found, *(Line(name, what, 0, 0, 0, 0, why) for what in missing)]


def report() -> list[Line]:
    """All recordings that are there."""
    oven = Line(
        "kamp_hotair_drying", "cure", 0, 0, 0, 0, "air temperature, not part temperature: F-SUR-14 does not apply"
    )
    drying = [oven] if (folder() / "kamp_hotair_drying").is_dir() else []
    return [*welds(), *lots(), *batches(), *drying]


if __name__ == "__main__":
    for line in report():
        print(line)
