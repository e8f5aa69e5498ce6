"""What is to be seen of the whole plant at one moment: a tile a machine.

Cycles, alarms and values are looked at each time; states, key figures and what a cycle usually takes change slowly and
are looked at every SLOW_S. Texts are made last, in the language of whoever looks.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from pipeline.migrate import Connection
from rootdx.alarm_text import sentence
from rootdx.grafana.queries import machine_states
from rootdx.invocation import ask

SLOW_S: Final = 10.0
STANDING: Final = "state NOT IN ('normal', 'shelved', 'suppressed', 'out_of_service')"
"""Alarms that somebody has to look at."""


@dataclass(frozen=True, slots=True)
class Slow:
    """What changes slowly, by path of a machine.

    Attributes:
        machines: asset_id, name, line, process.
        state: ok, off, link_down or sensor_bad, with the share of rows due that are there and good.
        oee: of the newest day that has one.
        typical_s: median of the last closed cycles, by machine and kind.
    """

    machines: Mapping[str, tuple[int, str, str, str]]
    state: Mapping[str, tuple[str, float | None]]
    oee: Mapping[str, tuple[float | None, str]]
    typical_s: Mapping[tuple[str, str], float]


@dataclass(slots=True)
class Sight:
    """What was seen; `told` says it.

    Attributes:
        slow: what changes slowly.
        now_ms: of the database's clock.
        running: by machine.
        last: newest closed cycle by machine.
        alarms: that stand, what matters first.
        newest_ms: newest row by machine.
        mark: something that changes whenever an alarm does.
    """

    slow: Slow
    now_ms: int
    running: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    last: dict[str, dict[str, Any]] = field(default_factory=dict)
    alarms: list[tuple[Any, ...]] = field(default_factory=list)
    newest_ms: dict[str, int] = field(default_factory=dict)
    mark: int = 0

    def told(self, language: str, zone: ZoneInfo) -> dict[str, Any]:
        """The overview in a language."""
        standing: defaultdict[str, Counter[str]] = defaultdict(Counter)
        top: dict[str, dict[str, Any]] = {}
        for alarm_id, asset, priority, state, facts in self.alarms:
            standing[asset][priority] += 1
            if asset not in top:
                text = sentence(facts, zone, language)
                top[asset] = {"alarm_id": alarm_id, "priority": priority, "state": state, "sentence": text}
        tiles = [self._tile(asset, standing[asset], top.get(asset)) for asset in self.slow.machines]
        states = Counter(tile["state"] for tile in tiles)
        counts = {name: states[name] for name in ("ok", "off", "link_down", "sensor_bad")}
        return {
            "now_ms": self.now_ms,
            "counts": {**counts, "open_alarms": len(self.alarms)},
            "machines": tiles,
        }

    def _tile(self, asset: str, alarms: Counter[str], top: dict[str, Any] | None) -> dict[str, Any]:
        _, name, line, process = self.slow.machines[asset]
        state, health = self.slow.state.get(asset, ("off", None))
        oee, day = self.slow.oee.get(asset, (None, ""))
        running = self.running.get(asset, [])
        newest = self.newest_ms.get(asset)
        return {
            "machine": asset, "short": asset.rpartition("/")[2], "name": name, "line": line, "process": process,
            "state": state, "producing": bool(running), "running": running, "last": self.last.get(asset),
            "oee": oee, "oee_day": day or None,
            "alarms": {priority: alarms[priority] for priority in ("high", "medium", "low")}, "top_alarm": top,
            "health": health, "newest_ms": newest,
            "age_s": None if newest is None else max(0.0, (self.now_ms - newest) / 1000),
        }  # fmt: skip


async def slow(db: Connection) -> Slow:
    """Looks at what changes slowly."""
    machines = {row[0]: row[1:] for row in await ask(db, _MACHINES)}
    states = {row[0]: (row[1], row[2]) for row in await ask(db, _STATES)}
    oee = {row[0]: (row[1], row[2].isoformat()) for row in await ask(db, _OEE)}
    typical = {(row[0], row[1]): row[2] for row in await ask(db, _TYPICAL)}
    return Slow(machines, states, oee, typical)


async def seen(db: Connection, known: Slow) -> Sight:
    """Looks at the rest."""
    found = Sight(known, (await ask(db, "SELECT (extract(epoch FROM now()) * 1000)::bigint"))[0][0])
    paths = {number: asset for asset, (number, *_) in known.machines.items()}
    for asset_id, *row in await ask(db, _RUNNING):
        if asset_id in paths:
            found.running.setdefault(paths[asset_id], []).append(running(row, known, paths[asset_id], found.now_ms))
    for asset_id, cycle_id, kind, verdict, end, seconds in await ask(db, _LAST, [list(paths)]):
        found.last[paths[asset_id]] = {
            "cycle_id": cycle_id, "kind": kind, "verdict": verdict, "end_ms": ms(end), "seconds": seconds,
        }  # fmt: skip
    found.alarms = await ask(db, _ALARMS)
    found.newest_ms = {asset: ms(ts) for asset, ts in await ask(db, _NEWEST)}
    found.mark = (await ask(db, "SELECT coalesce(max(entry_id), 0) FROM rootdx.alarm_journal"))[0][0]
    return found


def running(row: Sequence[Any], known: Slow, asset: str, now_ms: int) -> dict[str, Any]:
    """A cycle that runs: phase, what it usually takes, how far it is."""
    cycle_id, kind, lane, number, start, names, starts, ends, context = row
    typical = known.typical_s.get((asset, kind))
    done = (now_ms - ms(start)) / 1000
    return {
        "cycle_id": cycle_id, "kind": kind, "lane": lane, "number": number, "phase": names[-1] if names else None,
        "phases": phases(names, starts, ends), "start_ms": ms(start), "typical_s": typical,
        "progress": None if not typical else round(min(max(done / typical, 0.0), 1.0), 3),
        "lot": context.get("lot"), "part": context.get("part"), "recipe": context.get("recipe"),
    }  # fmt: skip


def phases(names: Sequence[str], starts: Sequence[datetime], ends: Sequence[datetime | None]) -> list[dict[str, Any]]:
    """Phases of a cycle in order."""
    return [
        {"name": name, "start_ms": ms(start), "end_ms": None if end is None else ms(end)}
        for name, start, end in zip(names, starts, ends, strict=True)
    ]


def ms(moment: datetime) -> int:
    """Milliseconds since 1970, as browsers count."""
    return round(moment.timestamp() * 1000)


_MACHINES: Final = "SELECT asset, asset_id, name, line, process FROM rootdx.machines ORDER BY asset"
_STATES: Final = f"""
    WITH {machine_states("now()")}
    SELECT asset, state, CASE WHEN expected > 0 THEN least(good / expected, 1)::float8 END FROM machine_state"""  # noqa: S608  # our own constant
_OEE: Final = """
    SELECT DISTINCT ON (asset) asset, oee, day FROM rootdx.kpis_by_day
    WHERE day >= (now() - INTERVAL '7 days')::date ORDER BY asset, day DESC"""
_TYPICAL: Final = """
    SELECT a.path, k.kind, percentile_cont(0.5) WITHIN GROUP (ORDER BY c.seconds)
    FROM (SELECT DISTINCT asset_id, kind FROM rootdx.process_config) k JOIN rootdx.asset a USING (asset_id)
    CROSS JOIN LATERAL (
        SELECT extract(epoch FROM end_ts - start_ts)::float8 AS seconds FROM rootdx.cycle c
        WHERE c.asset_id = k.asset_id AND c.kind = k.kind AND c.end_ts IS NOT NULL AND NOT 'ABORTED' = ANY(c.flags)
        ORDER BY c.end_ts DESC LIMIT 30
    ) c GROUP BY 1, 2"""
_RUNNING: Final = """
    SELECT asset_id, cycle_id, kind, lane, number, start_ts, phase_names, phase_starts, phase_ends, context
    FROM rootdx.cycle WHERE end_ts IS NULL AND start_ts > now() - INTERVAL '14 days' ORDER BY asset_id, start_ts"""
_LAST: Final = """
    SELECT a.asset_id, c.cycle_id, c.kind, c.verdict, c.end_ts, c.seconds FROM unnest(%s::int[]) AS a(asset_id)
    CROSS JOIN LATERAL (
        SELECT DISTINCT ON (1) p.asset_id, q.* FROM (SELECT DISTINCT asset_id, kind FROM rootdx.process_config
                                                     WHERE asset_id = a.asset_id) p
        CROSS JOIN LATERAL (
            SELECT cycle_id, kind, verdict, end_ts, extract(epoch FROM end_ts - start_ts)::float8 AS seconds
            FROM rootdx.cycle c WHERE c.asset_id = p.asset_id AND c.kind = p.kind AND c.end_ts IS NOT NULL
            ORDER BY c.end_ts DESC LIMIT 1
        ) q ORDER BY 1, q.end_ts DESC
    ) c"""
_ALARMS: Final = f"""
    SELECT alarm_id, asset, priority, state, facts FROM rootdx.alarms WHERE {STANDING}
    ORDER BY active DESC, array_position(ARRAY['high', 'medium', 'low'], priority), raised DESC"""  # noqa: S608  # our own constant
_NEWEST: Final = "SELECT asset, max(ts) FROM rootdx.latest GROUP BY asset"
