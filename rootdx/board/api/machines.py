"""One machine: what it has, trends, curves of its cycles, features, bursts."""

from itertools import pairwise
from math import floor
from typing import Annotated, Any, Final

import numpy as np
from fastapi import APIRouter, Query

from pipeline.bursts import decode
from pipeline.errors import BadData
from rootdx.board import curves
from rootdx.board.house import Db, Here, Who
from rootdx.board.places import LONGEST, Machine, Stamp, moment, path_of
from rootdx.invocation import ask
from rootdx.texts import say

router = APIRouter(tags=["machines"])
Kind = Annotated[str, Query(max_length=40, description="Of cycle, as hpdc_shot.")]
Tags = Annotated[list[str], Query(min_length=1, max_length=12, description="Names or roles of tags.")]
TagName = Annotated[str, Query(max_length=80)]


@router.get("/machine")
async def machine(machine: Machine, db: Db, person: Who) -> dict[str, Any]:
    """What a machine is, its tags with their units and ranges, its bursts, the kinds of cycle it runs."""
    del person
    path = await path_of(db, machine)
    (row,) = await ask(db, _MACHINE, [path])
    tags = await ask(db, _TAGS, [path])
    bursts = await ask(db, _BURSTS, [path, path])
    names = ("tag", "role", "unit", "low", "high", "every_s", "text")
    return {
        "machine": path, "short": path.rpartition("/")[2], "name": row[0], "line": row[1], "process": row[2],
        "kinds": row[3], "tags": [dict(zip(names, one, strict=True)) for one in tags],
        "bursts": [
            {"name": name, "role": role, "channels": [{"channel": one, "unit": unit} for one, unit in channels]}
            for name, role, channels in bursts
        ],
    }  # fmt: skip


@router.get("/trend")
async def trend(
    machine: Machine, tag: Tags, from_ms: Stamp, to_ms: Stamp, db: Db, person: Who,
    points: Annotated[int, Query(ge=10, le=2000)] = 600,
) -> dict[str, Any]:  # fmt: skip
    """Tags over a span: mean, lowest and highest, where rows are missing, bad or doubtful, and the cycles in it."""
    del person
    first, last = moment(from_ms), moment(to_ms)
    if not first < last or last - first > LONGEST:
        raise BadData(say("board.error.span", days=LONGEST.days))
    return await curves.trend(db, await path_of(db, machine), tag, (first, last), points)


@router.get("/curves")
async def cycle_curves(
    machine: Machine, kind: Kind, tag: TagName, db: Db, person: Who, cycles: Annotated[int, Query(ge=1, le=40)] = 20
) -> dict[str, Any]:
    """A tag in the last cycles against the good ones."""
    del person
    return await curves.curves(db, await path_of(db, machine), kind, tag, cycles)


@router.get("/cycle-features")
async def cycle_features(
    machine: Machine, kind: Kind, db: Db, person: Who, n: Annotated[int, Query(ge=1, le=300)] = 60
) -> dict[str, Any]:
    """Features of the last cycles with their limits."""
    del person
    return await curves.features(db, await path_of(db, machine), kind, n)


@router.get("/bursts")
async def bursts(
    machine: Machine, db: Db, person: Who, name: Annotated[str, Query(max_length=80)] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 20, before_ms: Stamp | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The newest bursts of a machine, each with the cycle in which it began."""
    del person
    given = {"asset": await path_of(db, machine), "name": name or None, "limit": limit,
             "before": None if before_ms is None else moment(before_ms)}  # fmt: skip
    names = ("ts_ms", "name", "role", "seconds", "samples", "channels", "quality", "cycle_id")
    rows = [(floor(row[0].timestamp() * 1000), *row[1:]) for row in await ask(db, _NEWEST, given)]
    return {"bursts": [dict(zip(names, row, strict=True)) for row in rows]}


@router.get("/burst")
async def burst(
    machine: Machine, name: Annotated[str, Query(max_length=80)], ts_ms: Stamp, db: Db, house: Here, person: Who,
    points: Annotated[int, Query(ge=50, le=20_000)] = 2000,
) -> dict[str, Any]:  # fmt: skip
    """The samples of one burst; where there are more than `points`, lowest and highest of each stretch in turn."""
    del person, house
    path = await path_of(db, machine)
    rows = await ask(db, _BURST, [path, name, moment(ts_ms)])
    if not rows:
        raise BadData(say("board.error.burst", name=name, machine=path))
    _, period_ns, channels, samples, value, encoding = rows[0]
    table = decode(bytes(value), encoding, samples, len(channels))
    keep = _kept(table, points)
    units = dict(await ask(db, _UNITS, [path, name]))
    return {
        "name": name, "unit": {one: units.get(one, "1") for one in channels}, "period_s": period_ns / 1e9,
        "second": curves.listed(keep * period_ns / 1e9), "reduced": len(keep) < samples,
        "channels": {one: curves.listed(table[keep, place]) for place, one in enumerate(channels)},
    }  # fmt: skip


def _kept(table: "np.ndarray[Any, Any]", points: int) -> "np.ndarray[Any, Any]":
    """(k,) indices that are drawn: all, or those of the extremes of every channel in equal stretches."""
    samples, channels = table.shape
    if samples <= points:
        return np.arange(samples)
    stretches = max(points // (2 * channels), 1)
    edges = np.linspace(0, samples, stretches + 1).astype(np.int64)
    found = [0, samples - 1]
    filled = np.where(np.isfinite(table), table, 0.0)
    for first, last in pairwise(edges):
        part = filled[first:last]
        found += [*(first + part.argmin(axis=0)), *(first + part.argmax(axis=0))]
    return np.unique(found)


_MACHINE: Final = """
    SELECT m.name, m.line, m.process, ARRAY(SELECT kind FROM rootdx.process_config p WHERE p.asset_id = m.asset_id
                                            GROUP BY kind ORDER BY max(p.config_id) DESC)
    FROM rootdx.machines m WHERE m.asset = %s"""
_TAGS: Final = "SELECT tag, role, unit, low, high, every_s, text FROM rootdx.tags WHERE asset = %s ORDER BY tag_id"
_BURSTS: Final = """
    SELECT c.name, (SELECT w.role FROM rootdx.waveforms w WHERE w.asset = %s AND w.name = c.name LIMIT 1),
           jsonb_agg(jsonb_build_array(c.channel, c.unit) ORDER BY c.place)
    FROM rootdx.waveform_channel c JOIN rootdx.asset a USING (asset_id) WHERE a.path = %s GROUP BY c.name ORDER BY 1"""
_NEWEST: Final = """
    SELECT w.ts, w.name, w.role, w.seconds, w.samples, w.channels, w.quality, c.cycle_id FROM rootdx.waveforms w
    LEFT JOIN LATERAL (
        SELECT cycle_id FROM rootdx.cycles c WHERE c.asset = w.asset AND c.start_ts <= w.ts
          AND coalesce(c.end_ts, 'infinity') > w.ts ORDER BY c.start_ts DESC LIMIT 1
    ) c ON true
    WHERE w.asset = %(asset)s AND (%(name)s::text IS NULL OR w.name = %(name)s)
      AND (%(before)s::timestamptz IS NULL OR w.ts < %(before)s)
    ORDER BY w.ts DESC LIMIT %(limit)s"""
_BURST: Final = """
    SELECT w.ts, w.period_ns, w.channels, w.samples, w.value, w.encoding
    FROM rootdx.waveform w JOIN rootdx.asset a USING (asset_id)
    WHERE a.path = %s AND w.name = %s AND w.ts >= %s ORDER BY w.ts LIMIT 1"""
_UNITS: Final = """
    SELECT c.channel, c.unit FROM rootdx.waveform_channel c JOIN rootdx.asset a USING (asset_id)
    WHERE a.path = %s AND c.name = %s"""
