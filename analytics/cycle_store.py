"""Every SQL statement about cycles: what is new, what is stored, what is written.

* A round is two transactions: arrivals become requests to recompute (so a writer never waits for the analytics), and
  results are written together with the removal of the requests that led to them. Killed in between, nothing is lost.
* Times cross as whole microseconds.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from analytics.cycles import Change, Cycle, Span
from analytics.process import Process
from analytics.rows import Wanted
from analytics.time_series import UNKNOWN_COUNTER, Counter
from pipeline.database import translated
from pipeline.migrate import Connection


@dataclass(frozen=True, slots=True)
class Request:
    """A span of a machine whose cycles are to be found again, [from_ns, to_ns]."""

    id: int
    asset_id: int
    from_ns: int
    to_ns: int
    reason: str = "rest"


@dataclass(frozen=True, slots=True)
class TagRow:
    """A tag that plays a role."""

    tag_id: int
    role: str
    every_s: float
    counter: Counter = UNKNOWN_COUNTER

    def wanted(self, start_ns: int, end_ns: int) -> Wanted:
        """Its rows in [start_ns, end_ns)."""
        return Wanted(self.tag_id, start_ns, end_ns, self.every_s, self.counter)


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of a process, and from when on they are in force."""

    config_id: int
    valid_from_ns: int
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Known:
    """A cycle in the store, as far as finding it again needs."""

    cycle_id: int
    lane: str
    start_ns: int
    end_ns: int | None
    digest: bytes
    version: int


@dataclass(frozen=True, slots=True)
class Writing:
    """What a round changes for one machine and kind.

    Attributes:
        asset_id: of the machine.
        removed: ids of cycles that are no more.
        changed: cycles with the id they keep.
        added: new cycles.
    """

    asset_id: int
    removed: Sequence[int]
    changed: Sequence[tuple[int, Cycle]]
    added: Sequence[Cycle]


class CycleStore:
    """The cycle tables over one connection with autocommit."""

    def __init__(self, db: Connection) -> None:
        self.db = db
        self._sets: dict[bytes, int] = {}

    async def asset_ids(self, paths: Sequence[str]) -> dict[str, int]:
        """Ids of the machines that have sent anything yet."""
        return dict(await self._all("SELECT path, asset_id FROM rootdx.asset WHERE path = ANY(%s)", [list(paths)]))

    async def lock(self, asset_id: int, *, shared: bool) -> bool:
        """Takes a machine until the connection ends; false when another process has it."""
        how = "pg_try_advisory_lock_shared" if shared else "pg_try_advisory_lock"
        return bool((await self._all(f"SELECT {how}(%s, %s)", [LOCK, asset_id]))[0][0])

    async def tags(self, asset_id: int) -> list[TagRow]:
        """Tags with a role."""
        rows = await self._all(_TAGS, [asset_id])
        return [TagRow(tag_id, role, every_s or float("inf")) for tag_id, role, every_s in rows]

    async def take(self, asset_ids: Sequence[int]) -> list[Request]:
        """Turns arrivals of these machines into requests and returns all requests of theirs, oldest first."""
        with translated():
            await self.db.execute(_TAKE, [list(asset_ids)])
        return [Request(*row) for row in await self._all(_REQUESTS, [list(asset_ids)])]

    async def waiting(self, asset_ids: Sequence[int]) -> int:
        """How many requests of these machines there are."""
        query = "SELECT count(*) FROM rootdx.recompute WHERE asset_id = ANY(%s)"
        return int((await self._all(query, [list(asset_ids)]))[0][0])

    async def ask(self, asset_id: int, from_ns: int, to_ns: int, reason: str) -> None:
        """Requests a span."""
        await self._all(_ASK, [asset_id, from_ns // 1000, to_ns // 1000, reason])

    async def covered(self, asset_id: int) -> tuple[int, int] | None:
        """First and last moment of the rows of a machine, None when it has none."""
        first, last = (await self._all(_COVERED, [asset_id]))[0]
        return None if first is None else (first * 1000, last * 1000)

    async def configs(self, asset_id: int, kind: str) -> list[Config]:
        """All settings that were ever in force, oldest first."""
        rows = await self._all(_CONFIGS, [asset_id, kind])
        return [Config(config_id, since * 1000, settings) for config_id, since, settings in rows]

    async def add_config(self, asset_id: int, process: Process, since_ns: int | None) -> None:
        """New settings, in force from a moment on; None: from the beginning of time."""
        settings = json.dumps(process.model_dump(mode="json"), sort_keys=True)
        since = None if since_ns is None else since_ns // 1000
        await self._all(_ADD_CONFIG, [asset_id, process.kind, since, settings])

    async def known(self, asset_id: int, kind: str, from_ns: int, to_ns: int) -> list[Known]:
        """Cycles that start in or reach into [from_ns, to_ns], in order of their starts."""
        rows = await self._all(_KNOWN, [asset_id, kind, to_ns // 1000, from_ns // 1000])
        return [
            Known(cycle_id, lane, start * 1000, None if end is None else end * 1000, bytes(digest), version)
            for cycle_id, lane, start, end, digest, version in rows
        ]

    async def before(self, asset_id: int, kind: str, start_ns: int, count: int) -> list[Span]:
        """The last closed cycles without a lane that start before a moment, oldest first."""
        rows = await self._all(_BEFORE, [asset_id, kind, start_ns // 1000, count])
        return [Span(start * 1000, end * 1000) for start, end in reversed(rows)]

    async def after(self, asset_id: int, kind: str, start_ns: int, count: int) -> list[int]:
        """Starts of the next cycles without a lane after a moment."""
        return [start * 1000 for (start,) in await self._all(_AFTER, [asset_id, kind, start_ns // 1000, count])]

    async def changes(self, asset_id: int, until_ns: int) -> list[Change]:
        """Changes of context up to a moment, in order."""
        rows = await self._all(_CHANGES, [asset_id, until_ns // 1000])
        return [Change(at * 1000, kind, value) for at, kind, value in rows]

    async def last_row(self, tag_id: int, ts_ns: int) -> tuple[int, float] | None:
        """Time and value of the last good row of a tag at or before a moment."""
        rows = await self._all(_LAST_ROW, [tag_id, ts_ns // 1000])
        return (rows[0][0] * 1000, rows[0][1]) if rows else None

    async def write(self, writings: Sequence[Writing], done: Sequence[Request], rest: Sequence[Request]) -> None:
        """Results, the removal of what asked for them, and what is left of it, all or nothing."""
        with translated():
            async with self.db.transaction():
                for one in writings:
                    await self._write(one)
                await self.db.execute("DELETE FROM rootdx.recompute WHERE id = ANY(%s)", [[one.id for one in done]])
                for left in rest:
                    await self.ask(left.asset_id, left.from_ns, left.to_ns, left.reason)

    async def _write(self, one: Writing) -> None:
        if one.removed:
            await self.db.execute("DELETE FROM rootdx.cycle WHERE cycle_id = ANY(%s)", [list(one.removed)])
        async with self.db.cursor() as cursor:
            changed = [{**await self._row(cycle), "cycle_id": cycle_id} for cycle_id, cycle in one.changed]
            if changed:
                await cursor.executemany(_CHANGE, changed)
            added = [{**await self._row(cycle), "asset_id": one.asset_id} for cycle in one.added]
            if added:
                await cursor.executemany(_ADD, added)

    async def _row(self, cycle: Cycle) -> dict[str, Any]:
        found, results = cycle.segment, list(cycle.features.values())
        return {
            "kind": cycle.kind,
            "lane": found.lane,
            "start": found.start_ns // 1000,
            "end": None if found.end_ns is None else found.end_ns // 1000,
            "number": found.number,
            "names": [phase.name for phase in found.phases],
            "starts": [phase.start_ns // 1000 for phase in found.phases],
            "ends": [None if phase.end_ns is None else phase.end_ns // 1000 for phase in found.phases],
            "flags": sorted(found.flags),
            "verdict": cycle.verdict,
            "verdicts": json.dumps(dict(cycle.verdicts)),
            "context": json.dumps(dict(cycle.context), ensure_ascii=False),
            "set_id": await self._set_id(cycle) if results else None,
            "value": [one.value for one in results],
            "reason": [int(one.reason) for one in results],
            "n_used": [one.n_used for one in results],
            "coverage": [one.coverage for one in results],
            "quality": [one.quality for one in results],
            "inputs_hash": [one.inputs_hash for one in results],
            "config_id": cycle.config_id,
            "process": cycle.process_version,
            "digest": cycle.digest,
        }

    async def _set_id(self, cycle: Cycle) -> int:
        names = list(cycle.features)
        columns = [
            names,
            [cycle.features[name].unit for name in names],
            [cycle.features[name].formula_id for name in names],
            [cycle.features[name].formula_version for name in names],
            [_side(cycle, name, "low") for name in names],
            [_side(cycle, name, "high") for name in names],
        ]
        text = json.dumps(columns).encode()
        if text not in self._sets:
            await self.db.execute(_ADD_SET, [text, *columns])
            self._sets[text] = (await self._all(_SET, [text]))[0][0]
        return self._sets[text]

    async def _all(self, query: str, args: Sequence[object]) -> list[tuple[Any, ...]]:
        with translated():
            cursor = await self.db.execute(query.encode(), args)
            return await cursor.fetchall() if cursor.description else []


def _side(cycle: Cycle, feature: str, side: str) -> float | None:
    limit = cycle.limits.get(feature)
    return None if limit is None else getattr(limit, side)


LOCK: Final = 0x726F6F74
"""First key of the advisory lock on a machine, its id being the second; any fixed number of our own."""
_TAGS: Final = "SELECT tag_id, role, every_s FROM rootdx.tag WHERE asset_id = %s AND role <> '' ORDER BY tag_id"
_TAKE: Final = """
    WITH taken AS (DELETE FROM rootdx.arrival WHERE asset_id = ANY(%s) RETURNING asset_id, from_ts, to_ts)
    INSERT INTO rootdx.recompute (asset_id, from_ts, to_ts, reason)
    SELECT asset_id, from_ts, to_ts, 'rows' FROM taken ORDER BY asset_id, from_ts"""
_REQUESTS: Final = """
    SELECT id, asset_id, rootdx.us(from_ts) * 1000, rootdx.us(to_ts) * 1000, reason
    FROM rootdx.recompute WHERE asset_id = ANY(%s) ORDER BY from_ts, id"""
_ASK: Final = """
    INSERT INTO rootdx.recompute (asset_id, from_ts, to_ts, reason)
    VALUES (%s, rootdx.at_us(%s), rootdx.at_us(%s), %s)"""
_COVERED: Final = """
    SELECT rootdx.us(min(f.ts)), rootdx.us(max(l.ts)) FROM rootdx.tag t
    CROSS JOIN LATERAL (SELECT ts FROM rootdx.measurement m WHERE m.tag_id = t.tag_id ORDER BY ts LIMIT 1) f
    CROSS JOIN LATERAL (SELECT ts FROM rootdx.measurement m WHERE m.tag_id = t.tag_id ORDER BY ts DESC LIMIT 1) l
    WHERE t.asset_id = %s AND t.role <> ''"""
_CONFIGS: Final = """
    SELECT config_id, rootdx.us(valid_from), settings
    FROM rootdx.process_config WHERE asset_id = %s AND kind = %s ORDER BY valid_from"""
_ADD_CONFIG: Final = """
    INSERT INTO rootdx.process_config (asset_id, kind, valid_from, settings)
    VALUES (%s, %s, coalesce(rootdx.at_us(%s::bigint), '-infinity'), %s) ON CONFLICT DO NOTHING"""
_KNOWN: Final = """
    SELECT cycle_id, lane, rootdx.us(start_ts), rootdx.us(end_ts), digest, version FROM rootdx.cycle
    WHERE asset_id = %s AND kind = %s AND start_ts <= rootdx.at_us(%s)
      AND (end_ts IS NULL OR end_ts >= rootdx.at_us(%s))
    ORDER BY start_ts, lane"""
_BEFORE: Final = """
    SELECT rootdx.us(start_ts), rootdx.us(end_ts) FROM rootdx.cycle
    WHERE asset_id = %s AND kind = %s AND lane = '' AND end_ts IS NOT NULL AND start_ts < rootdx.at_us(%s)
    ORDER BY start_ts DESC LIMIT %s"""
_AFTER: Final = """
    SELECT rootdx.us(start_ts) FROM rootdx.cycle
    WHERE asset_id = %s AND kind = %s AND lane = '' AND start_ts > rootdx.at_us(%s)
    ORDER BY start_ts LIMIT %s"""
_CHANGES: Final = """
    SELECT rootdx.us(valid_from), kind, value FROM rootdx.context
    WHERE asset_id = %s AND valid_from <= rootdx.at_us(%s) ORDER BY valid_from, entered, place"""
_LAST_ROW: Final = """
    SELECT rootdx.us(ts), value FROM rootdx.measurement
    WHERE tag_id = %s AND ts <= rootdx.at_us(%s) AND value IS NOT NULL ORDER BY ts DESC LIMIT 1"""
_SET: Final = "SELECT set_id FROM rootdx.feature_set WHERE digest = sha256(%s)"
_ADD_SET: Final = """
    INSERT INTO rootdx.feature_set (digest, names, units, formulas, versions, lows, highs)
    VALUES (sha256(%s), %s, %s, %s, %s, %s::float8[], %s::float8[]) ON CONFLICT DO NOTHING"""
_ADD: Final = """
    INSERT INTO rootdx.cycle (
        asset_id, kind, lane, start_ts, end_ts, number, phase_names, phase_starts, phase_ends, flags, verdict, verdicts,
        context, set_id, value, reason, n_used, coverage, quality, inputs_hash, config_id, process, digest)
    VALUES (
        %(asset_id)s, %(kind)s, %(lane)s, rootdx.at_us(%(start)s), rootdx.at_us(%(end)s::bigint), %(number)s,
        %(names)s::text[], rootdx.at_us(%(starts)s::bigint[]), rootdx.at_us(%(ends)s::bigint[]), %(flags)s::text[],
        %(verdict)s, %(verdicts)s, %(context)s, %(set_id)s, %(value)s::float8[], %(reason)s::smallint[],
        %(n_used)s::bigint[], %(coverage)s::real[], %(quality)s::bigint[], %(inputs_hash)s::text[], %(config_id)s,
        %(process)s, %(digest)s)"""
_CHANGE: Final = """
    UPDATE rootdx.cycle SET (
        lane, start_ts, end_ts, number, phase_names, phase_starts, phase_ends, flags, verdict, verdicts,
        context, set_id, value, reason, n_used, coverage, quality, inputs_hash, config_id, process, digest,
        version, computed_at) = ROW(
        %(lane)s, rootdx.at_us(%(start)s), rootdx.at_us(%(end)s::bigint), %(number)s,
        %(names)s::text[], rootdx.at_us(%(starts)s::bigint[]), rootdx.at_us(%(ends)s::bigint[]), %(flags)s::text[],
        %(verdict)s, %(verdicts)s, %(context)s, %(set_id)s, %(value)s::float8[], %(reason)s::smallint[],
        %(n_used)s::bigint[], %(coverage)s::real[], %(quality)s::bigint[], %(inputs_hash)s::text[], %(config_id)s,
        %(process)s, %(digest)s, version + (end_ts IS NOT NULL)::int, now())
    WHERE cycle_id = %(cycle_id)s"""
