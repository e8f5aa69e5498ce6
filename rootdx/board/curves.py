"""What the charts of a machine are drawn from: trends, cycles against the good ones, features of the last cycles.

* A trend has the resolution that its length asks for, and keeps lowest and highest, so no spike is lost by zooming out.
* The curve of a cycle is resampled to seconds since its begin; the good ones are those that passed without a flag.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import numpy as np

from analytics.result import Floats
from pipeline.errors import BadData
from pipeline.migrate import Connection
from rootdx.alarm_text import name_of
from rootdx.board.sight import ms, phases
from rootdx.invocation import ask
from rootdx.texts import say

RAW: Final = timedelta(hours=2)
MINUTES: Final = timedelta(days=14)
LONG_S: Final = 1800.0
"""A cycle longer than this is drawn from minutes."""
POINTS: Final = 200
"""Of a cycle's curve."""
SHADED: Final = 80
"""More cycles than this are not told with their phases: nobody could see them."""
CYCLES: Final = 400
_LOST: Final = 3.0
"""A gap is longer than so many steps."""

Resolution = Literal["raw", "minute", "hour"]
_SECONDS: Final[Mapping[Resolution, float]] = {"raw": 0.0, "minute": 60.0, "hour": 3600.0}


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag that is to be drawn."""

    tag_id: int
    name: str
    unit: str
    every_s: float | None


async def tags_of(db: Connection, machine: str, names: Sequence[str]) -> list[Tag]:
    """Tags by name or role.

    Raises:
        BadData: the machine has none of that name; says which it has.
    """
    rows = await ask(db, _TAGS, [machine])
    known = {
        said: Tag(tag_id, name, unit, every)
        for tag_id, name, role, unit, every in rows
        for said in (role, name)
        if said
    }
    missing = [name for name in names if name not in known]
    if missing:
        raise BadData(say("board.error.tag", tag=missing[0], machine=machine, known=", ".join(row[1] for row in rows)))
    return [known[name] for name in names]


async def trend(
    db: Connection, machine: str, names: Sequence[str], span: tuple[datetime, datetime], points: int
) -> dict[str, Any]:
    """Series of tags over a span, and the cycles that touch it.

    Raises:
        BadData: no such tag.
    """
    length = span[1] - span[0]
    resolution: Resolution = "raw" if length <= RAW else "minute" if length <= MINUTES else "hour"
    step_s = max(length.total_seconds() / points, _SECONDS[resolution], 0.001)
    wanted = await tags_of(db, machine, names)
    series = [await _series(db, tag, span, resolution, step_s) for tag in wanted]
    return {
        "resolution": resolution, "step_ms": round(step_s * 1000), "series": series,
        "cycles": await cycles_within(db, machine, span),
    }  # fmt: skip


async def _series(
    db: Connection, tag: Tag, span: tuple[datetime, datetime], resolution: Resolution, step_s: float
) -> dict[str, Any]:
    given = {"tag": tag.tag_id, "first": span[0], "last": span[1], "step": f"{step_s} seconds"}
    rows = await ask(db, _QUERIES[resolution], given)
    lost_ms = _LOST * 1000 * max(step_s, tag.every_s or 0.0, _SECONDS[resolution])
    told: dict[str, Any] = {"tag": tag.name, "unit": tag.unit, "t_ms": [], "mean": [], "low": [], "high": []}
    before: int | None = None
    for t_ms, mean, low, high, *_ in rows:
        if before is not None and t_ms - before > lost_ms:
            _append(told, before + round(lost_ms / 2), None, None, None)
        _append(told, t_ms, mean, low, high)
        before = t_ms
    told["doubtful"] = _stretches([(row[0], row[4]) for row in rows], step_s)
    told["bad"] = _stretches([(row[0], row[5]) for row in rows], step_s)
    return told


def _append(told: dict[str, Any], t_ms: int, *values: float | None) -> None:
    told["t_ms"].append(t_ms)
    for name, value in zip(("mean", "low", "high"), values, strict=True):
        told[name].append(None if value is None or not math.isfinite(value) else value)


def _stretches(rows: Sequence[tuple[int, bool]], step_s: float) -> list[list[int]]:
    """Where something holds, as [from, to] in ms; neighbours are one.

    >>> _stretches([(0, True), (1000, True), (2000, False), (9000, True)], 1.0)
    [[0, 2000], [9000, 10000]]
    """
    found: list[list[int]] = []
    step = round(step_s * 1000)
    for t_ms, holds in rows:
        if not holds:
            continue
        if found and t_ms - found[-1][1] <= step:
            found[-1][1] = t_ms + step
        else:
            found.append([t_ms, t_ms + step])
    return found


async def cycles_within(db: Connection, machine: str, span: tuple[datetime, datetime]) -> list[dict[str, Any]]:
    """Cycles that touch a span, oldest first; with phases where there are few."""
    rows = (await ask(db, _WITHIN, [machine, span[1], span[0], CYCLES]))[::-1]
    return [
        {
            "cycle_id": cycle_id, "kind": kind, "lane": lane, "start_ms": ms(start),
            "end_ms": None if end is None else ms(end), "verdict": verdict,
            "phases": phases(names, starts, ends) if len(rows) <= SHADED else [],
        }
        for cycle_id, kind, lane, start, end, verdict, names, starts, ends in rows
    ]  # fmt: skip


async def curves(db: Connection, machine: str, kind: str, name: str, count: int) -> dict[str, Any]:
    """A tag in the last cycles of a kind, each in seconds since its begin, and the band of the good ones.

    Raises:
        BadData: no such tag.
    """
    (tag,) = await tags_of(db, machine, [name])
    rows = await ask(db, _LAST, [machine, kind, count + 1])
    empty: dict[str, Any] = {"unit": tag.unit, "kind": kind, "tag": tag.name, "step_s": 0.0, "second": [],
                             "golden": None, "newest": None, "others": []}  # fmt: skip
    if not rows:
        return empty
    lengths = [(end - start).total_seconds() for _, start, end, *_ in rows]
    whole = [length for length, row in zip(lengths, rows, strict=True) if not row[5]] or lengths
    grid = np.linspace(0.0, max(float(np.median(whole)) * 1.05, 0.5), POINTS)
    drawn = [await _drawn(db, tag, row[1], row[2], grid) for row in rows]
    good = np.array(
        [one for one, row in zip(drawn[1:], rows[1:], strict=True) if row[3] in (None, "pass") and not row[4]]
    )
    told = [
        {"cycle_id": row[0], "verdict": row[3], "running": bool(row[5]), "start_ms": ms(row[1]), "value": listed(one)}
        for one, row in zip(drawn, rows, strict=True)
    ]
    return empty | {
        "step_s": float(grid[1]), "second": [round(float(one), 3) for one in grid], "golden": _band(good),
        "newest": told[0], "others": told[1:],
    }  # fmt: skip


async def _drawn(db: Connection, tag: Tag, start: datetime, end: datetime, grid: Floats) -> Floats:
    """(POINTS,) a tag at seconds since the begin of a cycle; NaN where nothing is near."""
    query = _RAW_ROWS if (end - start).total_seconds() <= LONG_S else _MINUTE_ROWS
    rows = await ask(db, query, [start, tag.tag_id, start, end])
    if len(rows) < 2:
        return np.full(len(grid), np.nan)
    time_s, value = (np.array([row[place] for row in rows], dtype=np.float64) for place in (0, 1))
    found = np.interp(grid, time_s, value, left=np.nan, right=np.nan)
    near = np.searchsorted(time_s, grid).clip(1, len(time_s) - 1)
    usual = max(float(np.median(np.diff(time_s))), tag.every_s or 0.0)
    found[(time_s[near] - time_s[near - 1]) > _LOST * usual] = np.nan
    return np.asarray(found, dtype=np.float64)


def _band(good: Floats) -> dict[str, Any] | None:
    """Lowest, mean and highest of the good ones at every second; None without two of them."""
    if len(good) < 2:
        return None
    seen = np.isfinite(good)
    count = seen.sum(axis=0)
    few = count < 2
    mean = np.where(few, np.nan, np.where(seen, good, 0.0).sum(axis=0) / np.maximum(count, 1))
    low = np.where(few, np.nan, np.where(seen, good, np.inf).min(axis=0))
    high = np.where(few, np.nan, np.where(seen, good, -np.inf).max(axis=0))
    return {"low": listed(low), "mean": listed(mean), "high": listed(high), "cycles": len(good)}


def listed(values: Floats) -> list[float | None]:
    """Numbers as JSON takes them, six digits.

    >>> listed(np.array([1.23456789, np.nan]))
    [1.23457, None]
    """
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values.tolist()]


async def features(db: Connection, machine: str, kind: str, count: int) -> dict[str, Any]:
    """Features of the last closed cycles of a kind, oldest first, each with the limits now in force."""
    rows = (await ask(db, _FEATURES, [machine, kind, count]))[::-1]
    found: dict[str, dict[str, Any]] = {}
    for cycle_id, start, verdict, values, names, units, lows, highs in rows:
        for name, value, unit, low, high in zip(names, values, units, lows, highs, strict=True):
            one = found.setdefault(name, {"name": name, "label": name_of("feature", name), "points": []})
            one.update(unit=unit, low=low, high=high)
            point = {"cycle_id": cycle_id, "start_ms": ms(start), "value": value, "verdict": verdict}
            one["points"].append(point | {"outside": _outside(value, low, high)})
    return {
        "kind": kind,
        "features": sorted(found.values(), key=lambda one: one["low"] is None and one["high"] is None),
    }


def _outside(value: float | None, low: float | None, high: float | None) -> bool:
    return value is not None and ((low is not None and value < low) or (high is not None and value > high))


_TAGS: Final = "SELECT tag_id, tag, role, unit, every_s FROM rootdx.tags WHERE asset = %s ORDER BY tag_id"
_RAW: Final = """
    SELECT rootdx.us(min(ts)) / 1000, avg(value), min(value), max(value), bool_or(code >= 1073741824), bool_or(code < 0)
    FROM rootdx.history WHERE tag_id = %(tag)s AND ts >= %(first)s AND ts < %(last)s
    GROUP BY date_bin(%(step)s::interval, ts, TIMESTAMPTZ '2000-01-01 00:00+00') ORDER BY 1"""
_BUCKETS: Final = """
    SELECT rootdx.us(min(bucket)) / 1000, sum(sum) / nullif(sum(value_count), 0), min(min), max(max),
           bool_or(good_count + bad_count < count), bool_or(bad_count > 0)
    FROM rootdx.{} WHERE tag_id = %(tag)s AND bucket >= %(first)s AND bucket < %(last)s
    GROUP BY date_bin(%(step)s::interval, bucket, TIMESTAMPTZ '2000-01-01 00:00+00') ORDER BY 1"""
_QUERIES: Final[Mapping[Resolution, str]] = {
    "raw": _RAW, "minute": _BUCKETS.format("measurement_1m"), "hour": _BUCKETS.format("measurement_1h"),
}  # fmt: skip
_WITHIN: Final = """
    SELECT c.cycle_id, c.kind, c.lane, c.start_ts, c.end_ts, c.verdict, c.phase_names, c.phase_starts, c.phase_ends
    FROM rootdx.cycle c JOIN rootdx.asset a USING (asset_id)
    WHERE a.path = %s AND c.start_ts < %s AND coalesce(c.end_ts, 'infinity') > %s ORDER BY c.start_ts DESC LIMIT %s"""
_LAST: Final = """
    SELECT c.cycle_id, c.start_ts, coalesce(c.end_ts, now()), c.verdict, cardinality(c.flags), c.end_ts IS NULL
    FROM rootdx.cycle c JOIN rootdx.asset a USING (asset_id)
    WHERE a.path = %s AND c.kind = %s ORDER BY c.start_ts DESC LIMIT %s"""
_RAW_ROWS: Final = """
    SELECT extract(epoch FROM ts - %s)::float8, value FROM rootdx.history
    WHERE tag_id = %s AND ts >= %s AND ts < %s AND value IS NOT NULL ORDER BY 1"""
_MINUTE_ROWS: Final = """
    SELECT extract(epoch FROM bucket - %s)::float8, (sum / value_count)::float8 FROM rootdx.measurement_1m
    WHERE tag_id = %s AND bucket >= %s AND bucket < %s AND value_count > 0 ORDER BY 1"""
_FEATURES: Final = """
    SELECT c.cycle_id, c.start_ts, c.verdict, c.value, s.names, s.units, s.lows, s.highs
    FROM rootdx.cycle c JOIN rootdx.asset a USING (asset_id) JOIN rootdx.feature_set s USING (set_id)
    WHERE a.path = %s AND c.kind = %s AND c.end_ts IS NOT NULL ORDER BY c.start_ts DESC LIMIT %s"""
