"""The shift calendar: which shift a moment belongs to, and when the plant means to work.

* Shifts and breaks stand in plant.toml in the plant's own time; one that ends before it begins ends on the next day.
* A shift belongs to the day on which it begins, also past midnight.
* Without shifts every day is one shift from midnight to midnight.
* A holiday takes out the shifts that begin on it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from analytics.intervals import Intervals
from analytics.window import SECOND_NS
from pipeline.plant import DAYS, Plant, Shift

ALL_DAY = Shift(name="day", start=time(0), end=time(0), days=DAYS)


@dataclass(frozen=True, slots=True)
class ShiftRun:
    """One shift on one day.

    Attributes:
        day: the production day.
        name: of the shift.
        start_ns: begin, ns UTC.
        end_ns: end.
        breaks: planned downtime in it.
    """

    day: date
    name: str
    start_ns: int
    end_ns: int
    breaks: Intervals


def shift_runs(plant: Plant, from_ns: int, to_ns: int) -> list[ShiftRun]:
    """The shifts that overlap [from_ns, to_ns), in order of their begin.

    >>> from pipeline.plant import Plant
    >>> runs = shift_runs(Plant(enterprise="a", site="b"), 0, 86_400 * 10**9)
    >>> [(run.day.isoformat(), (run.end_ns - run.start_ns) // 3_600_000_000_000) for run in runs]
    [('1970-01-01', 24), ('1970-01-02', 24)]
    """
    zone = ZoneInfo(plant.time_zone)
    first = datetime.fromtimestamp(from_ns / SECOND_NS, zone).date() - timedelta(days=1)
    last = datetime.fromtimestamp(to_ns / SECOND_NS, zone).date()
    found = []
    for number in range((last - first).days + 1):
        found += list(_of_day(plant, first + timedelta(days=number), zone))
    return sorted((run for run in found if run.end_ns > from_ns and run.start_ns < to_ns), key=lambda run: run.start_ns)


def _of_day(plant: Plant, day: date, zone: ZoneInfo) -> Iterator[ShiftRun]:
    for shift in plant.shift or (ALL_DAY,):
        if DAYS[day.weekday()] not in shift.days or day in plant.holiday:
            continue
        start, end = _moment(day, shift.start, zone), _moment(day, shift.end, zone)
        if end <= start:
            end = _moment(day + timedelta(days=1), shift.end, zone)
        pauses = [(_after(day, a, shift, zone), _after(day, b, shift, zone)) for a, b in shift.breaks]
        breaks = Intervals.of([a for a, _ in pauses], [b for _, b in pauses])
        yield ShiftRun(day, shift.name, start, end, breaks.both(Intervals.of([start], [end])))


def _after(day: date, at: time, shift: Shift, zone: ZoneInfo) -> int:
    """A clock time of a shift: on its first day, or past midnight where it lies before the shift's start."""
    return _moment(day if at >= shift.start else day + timedelta(days=1), at, zone)


def _moment(day: date, at: time, zone: ZoneInfo) -> int:
    return round(datetime.combine(day, at, zone).timestamp()) * SECOND_NS


def busy_times(runs: list[ShiftRun]) -> Intervals:
    """When the plant means to work: shifts without their breaks."""
    shifts = Intervals.of([run.start_ns for run in runs], [run.end_ns for run in runs])
    pauses = [run.breaks for run in runs]
    starts = np.concatenate([one.start_ns for one in pauses]) if pauses else np.empty(0, dtype=np.int64)
    ends = np.concatenate([one.end_ns for one in pauses]) if pauses else np.empty(0, dtype=np.int64)
    return shifts.minus(Intervals.of(starts, ends))
