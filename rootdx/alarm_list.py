"""Alarms of the store as tables: those that stand, everything about one, the journal, the load of the operators."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from analytics import alarm_rates
from analytics.alarm import Alarm
from analytics.part_9 import part_9
from analytics.result import Result
from pipeline.errors import BadData
from pipeline.migrate import Connection
from rootdx.alarm_text import name_of, sentence
from rootdx.export import Cell, Missing, Table, column
from rootdx.invocation import Site, ask, machine_paths
from rootdx.moments import Span
from rootdx.texts import say


async def listed(db: Connection, site: Site, machine: str | None, *, every: bool) -> Table:
    """The alarms that are not normal, or every one there ever was; what matters most first.

    Raises:
        BadData: nobody knows the machine.
    """
    machines = None if machine is None else await machine_paths(db, [machine])
    found = await ask(db, _ALARMS, {"machines": machines, "every": every})
    rows: list[list[Cell]] = [
        [alarm_id, priority, say(f"alarm.state.{state}"), asset, detector, name_of("feature", subject), raised,
         acknowledged_by, sentence(facts, site.zone)]
        for alarm_id, priority, state, asset, detector, subject, raised, acknowledged_by, facts in found
    ]  # fmt: skip
    columns = [
        column("id", "whole"), column("priority"), column("state"), column("machine"), column("detector"),
        column("subject"), column("raised", "time"), column("acknowledged_by"), column("explanation"),
    ]  # fmt: skip
    return Table(
        "alarms", say("alarms.title"), columns, rows, site.zone.key, notes=[] if rows else [say("alarms.none")]
    )


async def shown(db: Connection, site: Site, alarm_id: int) -> list[Table]:
    """One alarm: as it stands, why, and its journal.

    Raises:
        BadData: there is none of that number.
    """
    rows = await ask(db, _ONE, [alarm_id])
    if not rows:
        raise BadData(say("alarms.unknown", id=alarm_id))
    asset, detector, kind, subject, state, priority, raised, facts, memory, shelved, cycle = rows[0]
    told: dict[str, Cell] = {
        "machine": asset, "detector": f"{detector} ({kind})", "subject": subject, "priority": priority,
        "state": say(f"alarm.state.{state}"), "raised": None if raised is None else raised.astimezone(site.zone),
        "explanation": sentence(facts, site.zone), "shelved_until": shelved,
        "cycle": cycle, "window": None if not facts else _window(site, facts),
        **{f"opcua.{name}": str(value) for name, value in part_9(Alarm.from_json(memory)).items()},
    }  # fmt: skip
    about: list[list[Cell]] = [
        [name, value.astimezone(site.zone).isoformat(timespec="seconds") if isinstance(value, datetime) else str(value)]
        for name, value in told.items()
        if value is not None
    ]
    first = Table("alarm", say("alarms.one", id=alarm_id), [column("name"), column("value")], about, site.zone.key)
    return [first, _moved(site, facts or {}), _entries(site, await ask(db, _ITS, [alarm_id]))]


def _window(site: Site, facts: dict[str, Any]) -> str:
    first, last = (datetime.fromtimestamp(us / 1e6, UTC).astimezone(site.zone) for us in facts["window"])
    return f"{first.isoformat(timespec='seconds')} .. {last.isoformat(timespec='seconds')}"


def _moved(site: Site, facts: dict[str, Any]) -> Table:
    shares = facts.get("shares", {})
    names = [one["name"] for one in facts.get("moves", ())]
    moves = {one["name"]: one for one in facts.get("moves", ())}
    rows: list[list[Cell]] = [
        [name_of("feature", name), shares.get(name), moves.get(name, {}).get("sigma"),
         moves.get(name, {}).get("before"), moves.get(name, {}).get("now")]
        for name in [*names, *(name for name in shares if name not in moves)]
    ]  # fmt: skip
    columns = [
        column("feature"), column("share", "share", "1"), column("sigma", "number", "1"), column("before", "number"),
        column("now", "number"),
    ]  # fmt: skip
    return Table("moved", say("alarms.moved"), columns, rows, site.zone.key)


async def journal(db: Connection, site: Site, machine: str | None, span: Span) -> Table:
    """Every entry of a span, oldest first.

    Raises:
        BadData: nobody knows the machine.
    """
    machines = None if machine is None else await machine_paths(db, [machine])
    return _entries(site, await ask(db, _JOURNAL, {"machines": machines, "first": span.first, "last": span.last}))


def _entries(site: Site, rows: Sequence[tuple[Any, ...]]) -> Table:
    columns = [
        column("time", "time"), column("machine"), column("detector"), column("subject"), column("event"),
        column("before"), column("after"), column("priority"), column("score", "number", "1"), column("told", "flag"),
        column("replayed", "flag"), column("cause", "whole"), column("who"), column("reason"),
    ]  # fmt: skip
    cells: list[list[Cell]] = [
        [ts, asset, detector, name_of("feature", subject), say(f"alarm.event.{kind}"), say(f"alarm.state.{before}"),
         say(f"alarm.state.{after}"), *rest]
        for ts, asset, detector, subject, kind, before, after, *rest in rows
    ]  # fmt: skip
    return Table("journal", say("alarms.journal"), columns, cells, site.zone.key)


async def rates(db: Connection, site: Site, machine: str | None, span: Span) -> list[Table]:
    """The load of the operators over a span (section 6.7): rates, floods, chattering, stale, the worst sources.

    Raises:
        BadData: nobody knows the machine.
    """
    machines = None if machine is None else await machine_paths(db, [machine])
    given = {"machines": machines, "first": span.first, "last": span.last}
    told = await ask(db, _TOLD, given)
    when = np.array([ts for ts, *_ in told], dtype=np.int64) * 1000
    first, last = (round(one.timestamp() * 1e9) for one in (span.first, span.last))
    load = alarm_rates.alarm_load(alarm_rates.alarms_per_bin(when, first, last))
    sources = [f"{asset} {detector} {subject}".strip() for _, asset, detector, subject, _ in told]
    standing = np.array([ts for (ts,) in await ask(db, _STANDING, given)], dtype=np.int64) * 1000
    chatter = sum(
        len(alarm_rates.chattering(when[[one == source for one in sources]])) for source in sorted(set(sources))
    )
    figures: list[tuple[str, Cell, str]] = [
        ("alarms", len(told), "–"),
        ("per_10_min", _cell(load.rate), "≤ 1"),
        ("busy_bins", _cell(load.share_over), "< 1 %"),
        ("in_flood", _cell(load.share_flood), "< 1 %"),
        ("floods", len(load.floods), "0"),
        ("chattering", chatter, "0"),
        ("stale", len(alarm_rates.stale(standing, last)), "0"),
        ("top_10", _cell(alarm_rates.top_share(sources)), "≤ 5 %"),
    ]
    rows: list[list[Cell]] = [[say(f"alarms.figure.{name}"), value, target] for name, value, target in figures]
    days = (span.last - span.first).days
    notes = [say("alarms.few_days", days=days)] if days < _LEAST_DAYS else []
    columns = [column("figure"), column("value", "number"), column("target")]
    worst: list[list[Cell]] = [[one.name, one.share] for one in alarm_rates.shares(sources)]
    levels: list[list[Cell]] = [[one.name, one.share] for one in alarm_rates.shares([row[4] for row in told])]
    share, zone = column("share", "share", "1"), site.zone.key
    return [
        Table("rates", say("alarms.rates"), columns, rows, zone, reasons=True, notes=notes),
        Table("sources", say("alarms.sources"), [column("source"), share], worst, zone),
        Table(
            "priorities", say("alarms.priorities"), [column("priority"), share], levels, zone,
            notes=[say("alarms.priorities_target")],
        ),
    ]  # fmt: skip


def _cell(result: Result) -> Cell:
    return Missing(result.reason.name) if result.value is None else result.value


_LEAST_DAYS: Final = 30
_ALARMS: Final = """
    SELECT alarm_id, priority, state, asset, detector, subject, raised, acknowledged_by, facts FROM rootdx.alarms
    WHERE (%(machines)s::text[] IS NULL OR asset = ANY(%(machines)s))
      AND (state <> 'normal' OR %(every)s AND raised IS NOT NULL)
    ORDER BY state = 'normal', active DESC, array_position(ARRAY['high', 'medium', 'low'], priority), raised DESC"""
_ONE: Final = """
    SELECT v.asset, v.detector, v.kind, v.subject, v.state, v.priority, v.raised, v.facts, a.memory, v.shelved_until,
           (v.facts ->> 'cycle_id')::bigint
    FROM rootdx.alarms v JOIN rootdx.alarm a USING (alarm_id) WHERE alarm_id = %s"""
_ENTRY: Final = """
    SELECT ts, asset, detector, subject, kind, before, after, priority, score, told, replayed, cause, who, reason
    FROM rootdx.alarm_entries """
_ITS: Final = _ENTRY + "WHERE alarm_id = %s ORDER BY entry_id"
_JOURNAL: Final = (
    _ENTRY + "WHERE ts >= %(first)s AND ts < %(last)s "
    "AND (%(machines)s::text[] IS NULL OR asset = ANY(%(machines)s)) ORDER BY entry_id"
)
_TOLD: Final = """
    SELECT rootdx.us(ts), asset, detector, subject, priority FROM rootdx.alarm_entries
    WHERE told AND ts >= %(first)s AND ts < %(last)s AND (%(machines)s::text[] IS NULL OR asset = ANY(%(machines)s))
    ORDER BY ts"""
_STANDING: Final = """
    SELECT rootdx.us(raised) FROM rootdx.alarms
    WHERE active AND raised < %(last)s AND (%(machines)s::text[] IS NULL OR asset = ANY(%(machines)s))
      AND %(first)s <= %(last)s"""
