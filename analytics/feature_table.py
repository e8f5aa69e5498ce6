"""Tables of the store: features of cycles, or tags on a grid, as detectors, `learn` and backtests read them.

* A table holds [start, end) and, before it, the `memory` rows of every group that has rows in it: the same rows give
  the same scores whatever range they are read with.
* Cycles: closed ones in order of their ends (then lanes), a row each at its end, when it can be judged first. A cycle
  with a flag (warm-up, aborted, gap, recipe changed) or with a `trial` in its context is not normal.
* Tags: a tick each `every_s`, at whole multiples of it since 1970. At a tick stands the last row at or before it, NaN
  when that is bad or older than a tag's interval allows.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from analytics.columns import take_arrays
from analytics.result import Bools, Floats, Ints
from analytics.rows import Wanted, read
from analytics.table import Table, Variable
from analytics.window import SECOND_NS, Series
from pipeline.database import translated
from pipeline.errors import BadData
from pipeline.migrate import Connection

TRIAL: Final = "trial"
"""Kind of context that says a cycle is a trial shot; any value but `false` and `0` does."""
HELD_INTERVALS: Final = 3.0
"""So many of a tag's intervals its last row stands for, at least as many of the grid's."""
HELD_S: Final = 600.0
"""Likewise of a tag that is sent on change."""
KEPT_GROUPS: Final = 8
"""So many groups of a machine are remembered, those with the newest rows: molds change a few times a day."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Which cycles of a machine, with which features.

    Attributes:
        asset_id: of the machine.
        kind: of the process.
        of: features; none: all that these cycles have, in order of their sets.
        by: kinds of context that make a group.
        memory: rows of each group before the range.
    """

    asset_id: int
    kind: str
    of: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    memory: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Cycles:
    """Features of cycles.

    Attributes:
        table: memory and range.
        first: the first row that lies in the range.
        cycle_id: (n,) of each row.
        why: (n,) what keeps a row out, as `warm_up`; empty where it is normal.
    """

    table: Table
    first: int
    cycle_id: Ints
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    """A cycle as it comes from the server; `values` of the kinds of context that make its group."""

    cycle_id: int
    end_us: int
    lane: str
    values: tuple[str, ...]
    why: str
    set_id: int
    features: Floats


@dataclass(slots=True)
class Memory:
    """The last rows of the groups that were read last, so that nobody reads them again; good while they do not change.

    Whoever keeps one reads forward, each range beginning where the one before ended, and forgets it when cycles of a
    range that is read already may have changed.
    """

    groups: dict[tuple[str, ...], list[_Row]] = field(default_factory=dict)

    def keep(self, before: Mapping[tuple[str, ...], list[_Row]], rows: Sequence[_Row], most: int) -> None:
        """The last `most` rows of each group that has new ones, after what there was before them."""
        for values, some in before.items():
            self.groups.pop(values, None)
            self.groups[values] = [*some, *(row for row in rows if row.values == values)][-most:]
        for values in list(self.groups)[:-KEPT_GROUPS]:
            del self.groups[values]


@dataclass(frozen=True, slots=True)
class Tagged:
    """A tag as a column."""

    tag_id: int
    variable: Variable
    every_s: float

    def held_ns(self, every_s: float) -> int:
        """How long a row of it stands on a grid."""
        interval = max(self.every_s, every_s)
        return round((HELD_INTERVALS * interval if np.isfinite(interval) else HELD_S) * SECOND_NS)


async def of_cycles(db: Connection, wish: Wish, start_ns: int, end_ns: int, kept: Memory | None = None) -> Cycles:
    """Closed cycles that end in [start_ns, end_ns), and the memory before them.

    A feature that a cycle does not have, or has no value of, is NaN. Limits and units are those of the newest set of
    features among these cycles. A group is named `mold=8412 | recipe=A`. What is in `kept` is not read again.

    Raises:
        Unavailable, ConfigError, BadData: what the server says.
    """
    first_us = -(-start_ns // 1000)
    rows = sorted(await _rows(db, _RANGE, wish, {"first": first_us, "last": -(-end_ns // 1000)}), key=_order)
    known = {} if kept is None else kept.groups
    before: dict[tuple[str, ...], list[_Row]] = {}
    for values in sorted({row.values for row in rows}) if wish.memory else ():
        held = known.get(values, [])
        follows = bool(held) and held[-1].end_us < first_us  # not where a range is read again
        before[values] = held if follows else await _memory(db, wish, values, first_us)
    if kept is not None:
        kept.keep(before, rows, wish.memory)
    earlier = [row for some in before.values() for row in some]
    every = sorted([*earlier, *rows], key=_order)
    table = _table(every, await _variables(db, wish, every), wish.by)
    return Cycles(
        table, len(earlier), np.array([row.cycle_id for row in every], dtype=np.int64), tuple(r.why for r in every)
    )


async def newest_cycles(db: Connection, asset_id: int, kinds: Sequence[str]) -> dict[str, int]:
    """The newest end of a closed cycle of each kind that a machine has one of, ns UTC.

    Raises:
        Unavailable, ConfigError, BadData: what the server says.
    """
    with translated():
        cursor = await db.execute(_NEWEST.encode(), [list(kinds), asset_id])
        return {kind: end_us * 1000 for kind, end_us in await cursor.fetchall()}


def _order(row: _Row) -> tuple[int, str]:
    return row.end_us, row.lane


async def _memory(db: Connection, wish: Wish, values: tuple[str, ...], first_us: int) -> list[_Row]:
    """The last rows of a group before a moment, in order."""
    held = {kind: value for kind, value in zip(wish.by, values, strict=True) if value}
    absent = [kind for kind in wish.by if kind not in held]
    group = {"held": json.dumps(held, ensure_ascii=False), "absent": absent, "most": wish.memory}
    return sorted(await _rows(db, _MEMORY, wish, {"first": first_us, **group}), key=_order)


async def _rows(db: Connection, query: str, wish: Wish, args: Mapping[str, Any]) -> list[_Row]:
    found = []
    with translated():
        async with db.cursor(binary=True) as cursor:
            take_arrays(cursor)
            await cursor.execute(query.encode(), {"asset": wish.asset_id, "kind": wish.kind, **args})
            async for cycle_id, end_us, lane, context, flags, set_id, features in cursor:
                values = tuple(str(context.get(kind) or "") for kind in wish.by)
                found.append(_Row(cycle_id, end_us, lane, values, _why(flags, context), set_id, features))
    return found


def _why(flags: Sequence[str], context: Mapping[str, str]) -> str:
    if flags:
        return str(flags[0])
    return "trial" if str(context.get(TRIAL, "")).lower() not in {"", "0", "false"} else ""


@dataclass(frozen=True, slots=True)
class _Columns:
    """Variables, and by set of features where in the table each of its values goes (-1: nowhere)."""

    variables: tuple[Variable, ...]
    places: Mapping[int, Ints]


async def _variables(db: Connection, wish: Wish, rows: Sequence[_Row]) -> _Columns:
    with translated():
        cursor = await db.execute(_SETS.encode(), [sorted({row.set_id for row in rows})])
        sets = await cursor.fetchall()
    known: dict[str, Variable] = {}
    for _, names, units, lows, highs in sets:
        for name, unit, low, high in zip(names, units, lows, highs, strict=True):
            known[name] = Variable(name, unit, -np.inf if low is None else low, np.inf if high is None else high)
    chosen = wish.of or tuple(known)
    index = {name: place for place, name in enumerate(chosen)}
    places = {key: np.array([index.get(name, -1) for name in names], dtype=np.int64) for key, names, *_ in sets}
    return _Columns(tuple(known.get(name, Variable(name)) for name in chosen), places)


def _table(rows: Sequence[_Row], columns: _Columns, by: Sequence[str]) -> Table:
    value = np.full((len(rows), len(columns.variables)), np.nan)
    set_ids = np.array([row.set_id for row in rows], dtype=np.int64)
    for set_id, places in columns.places.items():
        which = np.flatnonzero(set_ids == set_id)
        told = np.stack([rows[one].features for one in which.tolist()])
        value[np.ix_(which, places[places >= 0])] = told[:, places >= 0]
    contexts = sorted({row.values for row in rows}) or [("",) * len(by)]
    number = {values: place for place, values in enumerate(contexts)}
    return Table(
        ts_ns=np.array([row.end_us for row in rows], dtype=np.int64) * 1000,
        variables=columns.variables,
        value=value,
        group=np.array([number[row.values] for row in rows], dtype=np.int64),
        groups=tuple(" | ".join(f"{kind}={said}" for kind, said in zip(by, one, strict=True)) for one in contexts),
        normal=np.array([not row.why for row in rows], dtype=np.bool_),
    )


async def tagged(db: Connection, asset_id: int, names: Sequence[str]) -> list[Tagged]:
    """Tags of a machine by role or name, in that order; none named: all that have a role.

    Raises:
        BadData: the machine has no such tag; says which it has.
        Unavailable, ConfigError: what the server says.
    """
    with translated():
        cursor = await db.execute(_TAGS.encode(), [asset_id])
        rows = await cursor.fetchall()
    known: dict[str, Tagged] = {}
    for tag_id, name, role, unit, low, high, every_s in rows:
        span = high - low if low is not None and high is not None else 0.0
        for said in {name, role} - {""}:
            known.setdefault(said, Tagged(tag_id, Variable(said, unit, span=span), every_s or np.inf))
    missing = [name for name in names if name not in known]
    if missing:
        raise BadData(f"no tag {', '.join(map(repr, missing))} on this machine; it has {', '.join(sorted(known))}")
    return [known[name] for name in names or [role for _, _, role, *_ in rows if role]]


def grid_s(tags: Sequence[Tagged]) -> float:
    """Interval of a grid for tags, s: the slowest of them, 1 when all are sent on change."""
    return max((tag.every_s for tag in tags if np.isfinite(tag.every_s)), default=1.0)


@dataclass(frozen=True, slots=True)
class Grid:
    """Ticks of a table of tags.

    Attributes:
        every_s: interval, s.
        memory: ticks before the range.
        spans: [from, to) in which rows are normal, ns UTC, as `phases` reads them; None: all are.
    """

    every_s: float
    memory: int = 0
    spans: Ints | None = None


async def of_tags(db: Connection, tags: Sequence[Tagged], grid: Grid, start_ns: int, end_ns: int) -> Table:
    """Tags at the ticks of [start_ns, end_ns) and the memory before; `rows` holds their raw rows by name.

    Raises:
        Unavailable, ConfigError, BadData: what the server says.
    """
    step_ns = round(grid.every_s * SECOND_NS)
    first = -(-start_ns // step_ns) - grid.memory
    ticks = np.arange(first, max(first, -(-end_ns // step_ns)), dtype=np.int64) * step_ns
    begin = first * step_ns
    wanted = [Wanted(tag.tag_id, begin - tag.held_ns(grid.every_s), end_ns, tag.every_s) for tag in tags]
    series = await read(db, wanted)
    columns = [_at(one, ticks, tag.held_ns(grid.every_s)) for one, tag in zip(series, tags, strict=True)]
    return Table(
        ts_ns=ticks,
        variables=tuple(tag.variable for tag in tags),
        value=np.stack(columns, axis=1) if columns else np.empty((len(ticks), 0)),
        group=np.zeros(len(ticks), dtype=np.int64),
        normal=np.ones(len(ticks), dtype=np.bool_) if grid.spans is None else _inside(ticks, grid.spans),
        every_s=grid.every_s,
        rows={tag.variable.name: one for one, tag in zip(series, tags, strict=True)},
    )


def _at(series: Series, ticks: Ints, held_ns: int) -> Floats:
    """(n,) what stands at each tick."""
    if not len(series):
        return np.full(len(ticks), np.nan)
    index = np.searchsorted(series.ts_ns, ticks, side="right") - 1
    last = np.maximum(index, 0)
    fresh = (index >= 0) & (ticks - series.ts_ns[last] <= held_ns)
    return np.where(fresh, series.value[last], np.nan)


def _inside(ticks: Ints, spans: Ints) -> Bools:
    """(n,) whether a tick lies in one of (m, 2) spans, which may overlap."""
    depth = np.searchsorted(np.sort(spans[:, 0]), ticks, side="right") - np.searchsorted(
        np.sort(spans[:, 1]), ticks, side="right"
    )
    return np.asarray(depth > 0, dtype=np.bool_)


async def phases(db: Connection, wish: Wish, names: Sequence[str], start_ns: int, end_ns: int) -> Ints:
    """(m, 2) spans in which cycles of a kind were in phases of these names and that reach into [start_ns, end_ns).

    A phase that still runs reaches to `end_ns`.

    Raises:
        Unavailable, ConfigError, BadData: what the server says.
    """
    with translated():
        cursor = await db.execute(
            _PHASES.encode(), [wish.asset_id, wish.kind, end_ns // 1000, start_ns // 1000, list(names)]
        )
        rows = await cursor.fetchall()
    spans = [[first * 1000, end_ns if last is None else last * 1000] for first, last in rows]
    return np.array(spans, dtype=np.int64).reshape(-1, 2)


_SELECT: Final = """
    SELECT cycle_id, rootdx.us(end_ts), lane, context, flags, set_id, array_replace(value, NULL, 'NaN'::float8)
    FROM rootdx.cycle
    WHERE asset_id = %(asset)s AND kind = %(kind)s AND end_ts IS NOT NULL AND set_id IS NOT NULL"""
_RANGE: Final = f"{_SELECT} AND end_ts >= rootdx.at_us(%(first)s) AND end_ts < rootdx.at_us(%(last)s)"
_MEMORY: Final = f"""{_SELECT} AND end_ts < rootdx.at_us(%(first)s) AND context @> %(held)s::jsonb
      AND NOT EXISTS (SELECT FROM unnest(%(absent)s::text[]) AS a(kind) WHERE coalesce(context->>a.kind, '') <> '')
    ORDER BY end_ts DESC, lane DESC LIMIT %(most)s"""
_NEWEST: Final = """
    SELECT k.kind, rootdx.us(c.end_ts) FROM unnest(%s::text[]) AS k(kind) CROSS JOIN LATERAL (
        SELECT end_ts FROM rootdx.cycle
        WHERE asset_id = %s AND kind = k.kind AND end_ts IS NOT NULL AND set_id IS NOT NULL
        ORDER BY end_ts DESC LIMIT 1
    ) c"""
_SETS: Final = "SELECT set_id, names, units, lows, highs FROM rootdx.feature_set WHERE set_id = ANY(%s) ORDER BY set_id"
_TAGS: Final = "SELECT tag_id, name, role, unit, low, high, every_s FROM rootdx.tag WHERE asset_id = %s ORDER BY tag_id"
_PHASES: Final = """
    SELECT rootdx.us(p.first), rootdx.us(p.last) FROM rootdx.cycle c
    CROSS JOIN LATERAL unnest(c.phase_names, c.phase_starts, c.phase_ends) AS p(name, first, last)
    WHERE c.asset_id = %s AND c.kind = %s AND c.start_ts < rootdx.at_us(%s)
      AND (c.end_ts IS NULL OR c.end_ts > rootdx.at_us(%s)) AND p.name = ANY(%s)
    ORDER BY 1"""
