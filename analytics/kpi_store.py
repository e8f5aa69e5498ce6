"""Every SQL statement about elements of shifts and demand by quarter hour.

* A row of a shift is written again as long as anything in its span changes; what was right yesterday is not touched.
* Times cross as whole microseconds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from analytics.columns import take_arrays
from analytics.elements import Entered, Made, Row, Stop
from analytics.energy import Demand
from analytics.intervals import NOTHING, Intervals
from analytics.result import Column
from pipeline.database import translated
from pipeline.migrate import Connection


@dataclass(frozen=True, slots=True)
class Rates:
    """What turns cycles into items: from the settings of the process that was in force, by config_id."""

    parts_per_cycle: float
    ideal_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Cycles:
    """Cycles of a machine: those that are over, and the starts of those that are not."""

    made: Made
    running_ns: Sequence[int]


class KpiStore:
    """The tables of elements over one connection with autocommit."""

    def __init__(self, db: Connection) -> None:
        self.db = db

    async def cycles(self, asset_id: int, kind: str, from_ns: int, to_ns: int) -> Cycles:
        """Cycles that overlap a span, and the last one before and the first one after it."""
        with translated():
            async with self.db.cursor(binary=True) as cursor:
                take_arrays(cursor)
                span = {"from": from_ns // 1000, "to": to_ns // 1000}
                await cursor.execute(_CYCLES, {"asset": asset_id, "kind": kind, **span})
                ((start, end, over, aborted, failed, parts, ideal),) = await cursor.fetchall()
        closed = over > 0
        made_parts = np.where(aborted > 0, 0.0, parts)[closed]
        good = np.where(failed[closed] > 0, 0.0, made_parts)
        made = Made(start[closed], end[closed], made_parts, good, ideal[closed])
        return Cycles(made, start[~closed].tolist())

    async def stops(self, asset_id: int, from_ns: int, to_ns: int) -> dict[Stop, Intervals]:
        """Entered stops that overlap a span, without those that were replaced."""
        rows = await self._all(_STOPS, [asset_id, to_ns // 1000, from_ns // 1000])
        by_kind: dict[Stop, list[tuple[int, int]]] = {}
        for kind, first, last in rows:
            by_kind.setdefault(Stop(kind), []).append((first * 1000, last * 1000))
        return {kind: Intervals.of([a for a, _ in some], [b for _, b in some]) for kind, some in by_kind.items()}

    async def quantities(self, asset_id: int, from_ns: int, to_ns: int) -> list[Entered]:
        """Entered scrap and rework in a span."""
        rows = await self._all(_QUANTITIES, [asset_id, from_ns // 1000, to_ns // 1000])
        return [Entered(at * 1000, scrap, rework) for at, scrap, rework in rows]

    async def blind(self, asset_id: int, from_ns: int, to_ns: int) -> Intervals:
        """Minutes of which nothing is known because our own line was down."""
        rows = await self._all(_BLIND, [asset_id, from_ns // 1000, to_ns // 1000])
        starts = np.array([at * 1000 for (at,) in rows], dtype=np.int64)
        return Intervals.of(starts, starts + 60_000_000_000) if rows else NOTHING

    async def write(self, asset_id: int, rows: Sequence[Row], energy: Sequence[float | None]) -> None:
        """Elements of whole shifts in place of what stood there."""
        starts = sorted({row.run.start_ns // 1000 for row in rows})
        with translated():
            async with self.db.transaction(), self.db.cursor() as cursor:
                await cursor.execute(_CLEAR, [asset_id, starts])
                await cursor.executemany(
                    _ADD, [_columns(asset_id, row, kwh) for row, kwh in zip(rows, energy, strict=True)]
                )

    async def write_demand(self, asset_id: int, found: Demand) -> None:
        """Whole quarter hours."""
        rows = [
            (asset_id, start // 1000, _plain(value), int(reason))
            for start, value, reason in zip(
                found.start_ns.tolist(), found.demand.value, found.demand.reason.tolist(), strict=True
            )
        ]
        if rows:
            with translated():
                async with self.db.transaction(), self.db.cursor() as cursor:
                    await cursor.executemany(_DEMAND, rows)

    async def _all(self, query: str, args: Sequence[object]) -> list[tuple[Any, ...]]:
        with translated():
            return await (await self.db.execute(query.encode(), args)).fetchall()


def _columns(asset_id: int, row: Row, energy_kwh: float | None) -> dict[str, Any]:
    e, run = row.elements, row.run
    return {
        "asset_id": asset_id, "start": run.start_ns // 1000, "end": run.end_ns // 1000, "shift": run.name,
        "day": run.day, "order": row.order, "busy": e.planned_busy_s, "production": e.production_s, "setup": e.setup_s,
        "delay": e.delay_s, "down": row.down_s, "technical": row.technical_s, "organisational": row.organisational_s,
        "blind": row.blind_s, "order_s": _plain(e.order_s), "run": _plain(e.planned_run_s),
        "good_run": _plain(e.planned_good_s), "produced": e.produced, "good": e.good, "scrap": e.scrap,
        "rework": e.rework, "corrective": e.corrective_s, "preventive": e.preventive_s, "failures": row.failures,
        "cycles": row.cycles, "energy": energy_kwh,
    }  # fmt: skip


def _plain(value: Column) -> float | None:
    number = float(np.asarray(value, dtype=np.float64))
    return number if math.isfinite(number) else None


_CYCLES: Final = """
    SELECT coalesce(array_agg(c.start_ts), '{}'), coalesce(array_agg(coalesce(c.end_ts, c.start_ts)), '{}'),
           coalesce(array_agg((c.end_ts IS NOT NULL)::int), '{}'),
           coalesce(array_agg(('aborted' = ANY(c.flags))::int), '{}'),
           coalesce(array_agg(coalesce(c.verdict = 'fail', false)::int), '{}'),
           coalesce(array_agg(c.parts), '{}'), coalesce(array_agg(c.ideal), '{}')
    FROM (
        SELECT c.*, p.parts, p.ideal
        FROM rootdx.cycle c JOIN (
            SELECT config_id, coalesce((settings->>'parts_per_cycle')::float8, 1) AS parts,
                   coalesce((settings->>'ideal_cycle_s')::float8, 'NaN') AS ideal
            FROM rootdx.process_config
        ) p USING (config_id)
        WHERE c.asset_id = %(asset)s AND c.kind = %(kind)s
          AND c.start_ts <= coalesce((SELECT min(n.start_ts) FROM rootdx.cycle n WHERE n.asset_id = %(asset)s
                                      AND n.kind = %(kind)s AND n.start_ts >= rootdx.at_us(%(to)s)), 'infinity')
          AND c.start_ts >= coalesce((SELECT b.start_ts FROM rootdx.cycle b WHERE b.asset_id = %(asset)s
                                      AND b.kind = %(kind)s AND b.end_ts <= rootdx.at_us(%(from)s)
                                      ORDER BY b.start_ts DESC LIMIT 1), '-infinity')
        ORDER BY c.start_ts
    ) c"""
_STOPS: Final = """
    SELECT s.kind, rootdx.us(s.from_ts), rootdx.us(s.to_ts) FROM rootdx.stop_entry s
    WHERE s.asset_id = %s AND s.from_ts < rootdx.at_us(%s) AND s.to_ts > rootdx.at_us(%s)
      AND NOT EXISTS (SELECT FROM rootdx.stop_entry r WHERE r.replaces = s.id)"""
_QUANTITIES: Final = """
    SELECT rootdx.us(ts), scrap, rework FROM rootdx.quantity_entry
    WHERE asset_id = %s AND ts >= rootdx.at_us(%s) AND ts < rootdx.at_us(%s)"""
_BLIND: Final = """
    SELECT rootdx.us(minute) FROM rootdx.tally y JOIN rootdx.tag t USING (tag_id)
    WHERE t.asset_id = %s AND y.minute >= rootdx.at_us(%s) AND y.minute < rootdx.at_us(%s)
    GROUP BY minute HAVING sum(y.gateway_down + y.spool_full + y.quarantined) >= sum(y.expected) AND sum(y.expected) > 0
    ORDER BY minute"""
_CLEAR: Final = """
    DELETE FROM rootdx.kpi_element WHERE asset_id = %s AND shift_start = ANY(rootdx.at_us(%s::bigint[]))"""
_ADD: Final = """
    INSERT INTO rootdx.kpi_element (
        asset_id, shift_start, order_name, shift_end, shift, day, planned_busy_s, production_s, setup_s, delay_s,
        down_s, technical_s, organisational_s, blind_s, order_s, planned_run_s, planned_good_s, produced, good, scrap,
        rework, corrective_s, preventive_s, failures, cycles, energy_kwh)
    VALUES (
        %(asset_id)s, rootdx.at_us(%(start)s), %(order)s, rootdx.at_us(%(end)s), %(shift)s, %(day)s, %(busy)s,
        %(production)s, %(setup)s, %(delay)s, %(down)s, %(technical)s, %(organisational)s, %(blind)s, %(order_s)s,
        %(run)s, %(good_run)s, %(produced)s, %(good)s, %(scrap)s, %(rework)s, %(corrective)s, %(preventive)s,
        %(failures)s, %(cycles)s, %(energy)s)"""
_DEMAND: Final = """
    INSERT INTO rootdx.demand (asset_id, quarter, kw, reason) VALUES (%s, rootdx.at_us(%s), %s, %s)
    ON CONFLICT (asset_id, quarter) DO UPDATE SET kw = EXCLUDED.kw, reason = EXCLUDED.reason"""
