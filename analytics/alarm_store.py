"""Every SQL statement about detectors, scores and alarms.

* What rows led to is written together with how far they were looked at: killed in between, nothing is lost or twice.
* An alarm is changed with its row locked, by the analytics and by people's commands alike.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg.types.json import Jsonb

from analytics.alarm import Act, Alarm, Entry, Kind, Priority, State, on_act, on_time
from analytics.findings import Episode
from analytics.watching import Watching
from pipeline.database import translated
from pipeline.errors import BadData
from pipeline.migrate import Connection

RANK: Final[dict[Priority, int]] = {"low": 0, "medium": 1, "high": 2}


@dataclass(frozen=True, slots=True)
class Detecting:
    """A detector in the store.

    Attributes:
        detector_id: its number.
        seen_to_ns: rows and cycles up to here have been judged.
    """

    detector_id: int
    seen_to_ns: int


@dataclass(frozen=True, slots=True)
class Scored:
    """The highest score of a cycle or of a minute."""

    ts_ns: int
    subject: str
    score: float
    cycle_id: int | None = None


@dataclass(frozen=True, slots=True)
class Raised:
    """What is to be written of a subject: its alarm after the rows, its entries, and the facts of those that raise."""

    subject: str
    alarm: Alarm
    entries: Sequence[Entry]
    facts: Mapping[int, Mapping[str, Any]]
    """By place in `entries`."""


class AlarmStore:
    """The tables of alarms over one connection with autocommit."""

    def __init__(self, db: Connection) -> None:
        self.db = db

    async def enter(self, asset_id: int, watching: Watching) -> Detecting:
        """The detector's number and mark; its settings are noted when they are new."""
        settings = json.dumps(watching.model_dump(mode="json"), sort_keys=True)
        version = watching.detector.detector_version
        given = [asset_id, watching.name, watching.detector.kind, version, settings]
        rows = await self._all(_ENTER, given)
        if not rows:
            rows = await self._all(_FIND, given[:2])
        return Detecting(rows[0][0], rows[0][1] * 1000)

    async def standing(self, detector_ids: Sequence[int]) -> dict[int, set[str]]:
        """Subjects by detector whose alarm is not idle."""
        found: dict[int, set[str]] = {}
        for detector_id, subject, memory in await self._all(_STANDING, [list(detector_ids)]):
            if not Alarm.from_json(memory).is_idle:
                found.setdefault(detector_id, set()).add(subject)
        return found

    async def alarms(self, detector_id: int) -> dict[str, Alarm]:
        """The alarms of a detector by subject, locked until the transaction ends."""
        rows = await self._all(_LOCKED, [detector_id])
        return {subject: Alarm.from_json(memory) for subject, memory in rows}

    async def write_scores(self, detector_id: int, scores: Sequence[Scored]) -> None:
        """Scores; those of the same moment are replaced."""
        if scores:
            columns = [[one.ts_ns // 1000 for one in scores], [one.subject for one in scores],
                       [one.score for one in scores], [one.cycle_id for one in scores]]  # fmt: skip
            await self._all(_SCORES, [detector_id, *columns])

    async def mark(self, detector_id: int, seen_to_ns: int) -> None:
        """How far its rows have been judged."""
        await self._all(_MARK, [seen_to_ns // 1000, detector_id])

    async def write(self, detector_id: int, priority: Priority, raised: Sequence[Raised], together_s: float) -> None:
        """Alarms and their entries; a raise that comes together with another on the machine names that as its cause."""
        for one in raised:
            args = {"detector_id": detector_id, "subject": one.subject, "priority": priority, **_row(one.alarm)}
            alarm_id = (await self._all(_ALARM, args))[0][0]
            for place, entry in enumerate(one.entries):
                cause = None
                if entry.kind is Kind.RAISED and not entry.replayed:
                    cause = await self._cause(alarm_id, priority, entry, together_s)
                await self._journal(alarm_id, priority, entry, cause, one.facts.get(place))

    async def _cause(self, alarm_id: int, priority: Priority, entry: Entry, together_s: float) -> int | None:
        """The told entry of a standing alarm on the same machine that this one came together with."""
        least = [name for name, rank in RANK.items() if rank >= RANK[priority]]
        args = {"alarm_id": alarm_id, "ts": entry.ts_ns // 1000, "together": together_s, "least": least}
        rows = await self._all(_CAUSE, args)
        return rows[0][0] if rows else None

    async def _journal(
        self, alarm_id: int, priority: str, entry: Entry, cause: int | None, facts: Mapping[str, Any] | None
    ) -> None:
        args = {
            "alarm_id": alarm_id,
            "ts": entry.ts_ns // 1000,
            "kind": entry.kind,
            "before": entry.before,
            "after": entry.after,
            "priority": priority,
            "score": None if entry.score != entry.score else entry.score,  # NaN is no number here
            "onset": entry.episode_ns // 1000 if entry.episode_ns else None,
            "told": entry.told and cause is None,
            "replayed": entry.replayed,
            "cause": cause,
            "who": entry.who,
            "reason": entry.reason,
            "facts": None if facts is None else Jsonb(dict(facts)),
        }
        entry_id = (await self._all(_JOURNAL, args))[0][0]
        if entry.kind is Kind.RAISED:
            await self._all("UPDATE rootdx.alarm SET raise_entry = %s WHERE alarm_id = %s", [entry_id, alarm_id])

    async def is_told(self, detector_id: int, episode: Episode) -> bool:
        """Whether the journal has an episode that this one is, or is part of."""
        args = [detector_id, episode.subject, episode.raised_ns // 1000, episode.onset_ns // 1000]
        return bool((await self._all(_TOLD, args))[0][0])

    async def note(
        self, detector_id: int, priority: Priority, episode: Episode, entry: Entry, facts: Mapping[str, Any]
    ) -> None:
        """An episode that was found late: into the journal; the alarm stays as it is."""
        args = [detector_id, episode.subject, priority, Jsonb(Alarm().to_json())]
        alarm_id = (await self._all(_KNOWN, args))[0][0]
        await self._journal(alarm_id, priority, entry, None, facts)

    async def expire(self, now_ns: int) -> int:
        """Ends every shelving that is over; how many."""
        with translated():
            async with self.db.transaction():
                rows = await self._all(_OVER, [now_ns // 1000])
                for alarm_id, priority, memory in rows:
                    alarm, entries = on_time(Alarm.from_json(memory), now_ns)
                    await self._change(alarm_id, priority, alarm, entries)
        return len(rows)

    async def act(self, alarm_id: int, act: Act) -> State:
        """What a person does with an alarm; the state it is in then.

        Raises:
            BadData: there is no such alarm, or it cannot be done now.
        """
        with translated():
            async with self.db.transaction():
                rows = await self._all(_ONE, [alarm_id])
                if not rows:
                    raise BadData(f"alarm {alarm_id}: there is none of that number; rootdx alarms list shows them")
                priority, memory = rows[0]
                alarm, entries = on_act(Alarm.from_json(memory), act)
                await self._change(alarm_id, priority, alarm, entries)
        return alarm.name

    async def _change(self, alarm_id: int, priority: str, alarm: Alarm, entries: Sequence[Entry]) -> None:
        await self._all(_CHANGE, {"alarm_id": alarm_id, **_row(alarm)})
        for entry in entries:
            await self._journal(alarm_id, priority, entry, None, None)

    async def cycle_start(self, cycle_id: int) -> int | None:
        """When a cycle began, µs; None when it is no more."""
        rows = await self._all("SELECT rootdx.us(start_ts) FROM rootdx.cycle WHERE cycle_id = %s", [cycle_id])
        return rows[0][0] if rows else None

    async def last_done(self, detector_id: int, subject: str) -> tuple[int, str, str] | None:
        """When an alarm was last acknowledged with words, by whom, and the words."""
        rows = await self._all(_DONE, [detector_id, subject])
        return (rows[0][0] * 1000, rows[0][1], rows[0][2]) if rows else None

    async def _all(self, query: str, args: Sequence[object] | Mapping[str, object]) -> list[tuple[Any, ...]]:
        with translated():
            cursor = await self.db.execute(query.encode(), args)
            return await cursor.fetchall() if cursor.description else []


def _row(alarm: Alarm) -> dict[str, object]:
    shelved = alarm.shelved_until_ns
    return {
        "state": alarm.name,
        "active": alarm.active,
        "shelved": None if shelved is None else shelved // 1000,
        "memory": Jsonb(alarm.to_json()),
    }


_ENTER: Final = """
    WITH said AS (
        INSERT INTO rootdx.detector AS d (asset_id, name, kind, version, settings) VALUES (%s, %s, %s, %s, %s)
        ON CONFLICT (asset_id, name) DO UPDATE
            SET kind = excluded.kind, version = excluded.version, settings = excluded.settings, since = now()
            WHERE (d.version, d.settings) IS DISTINCT FROM (excluded.version, excluded.settings)
        RETURNING detector_id, seen_to, version, settings),
    noted AS (
        INSERT INTO rootdx.detector_change (detector_id, version, settings)
        SELECT detector_id, version, settings FROM said)
    SELECT detector_id, rootdx.us(seen_to) FROM said"""
_FIND: Final = "SELECT detector_id, rootdx.us(seen_to) FROM rootdx.detector WHERE asset_id = %s AND name = %s"
_STANDING: Final = "SELECT detector_id, subject, memory FROM rootdx.alarm WHERE detector_id = ANY(%s)"
_LOCKED: Final = "SELECT subject, memory FROM rootdx.alarm WHERE detector_id = %s ORDER BY alarm_id FOR UPDATE"
_SCORES: Final = """
    INSERT INTO rootdx.score (detector_id, ts, subject, score, cycle_id)
    SELECT %s, rootdx.at_us(t), s, v, c
    FROM unnest(%s::bigint[], %s::text[], %s::float8[], %s::bigint[]) AS q(t, s, v, c)
    ON CONFLICT (detector_id, ts) DO UPDATE
        SET subject = excluded.subject, score = excluded.score, cycle_id = excluded.cycle_id"""
_MARK: Final = "UPDATE rootdx.detector SET seen_to = rootdx.at_us(%s) WHERE detector_id = %s"
_ALARM: Final = """
    INSERT INTO rootdx.alarm (detector_id, subject, priority, state, active, shelved_until, memory)
    VALUES (%(detector_id)s, %(subject)s, %(priority)s, %(state)s, %(active)s, rootdx.at_us(%(shelved)s::bigint),
            %(memory)s)
    ON CONFLICT (detector_id, subject) DO UPDATE
        SET priority = excluded.priority, state = excluded.state, active = excluded.active,
            shelved_until = excluded.shelved_until, memory = excluded.memory, changed = now()
    RETURNING alarm_id"""
_CAUSE: Final = """
    SELECT j.entry_id FROM rootdx.alarm_journal j JOIN rootdx.alarm a USING (alarm_id)
    JOIN rootdx.detector d USING (detector_id)
    WHERE d.asset_id = (SELECT asset_id FROM rootdx.alarm x JOIN rootdx.detector y USING (detector_id)
                        WHERE x.alarm_id = %(alarm_id)s)
      AND a.alarm_id <> %(alarm_id)s AND a.active AND a.raise_entry = j.entry_id AND j.cause IS NULL AND j.told
      AND j.priority = ANY(%(least)s)
      AND abs(extract(epoch FROM j.ts - rootdx.at_us(%(ts)s))) <= %(together)s
    ORDER BY j.entry_id LIMIT 1"""
_JOURNAL: Final = """
    INSERT INTO rootdx.alarm_journal
        (alarm_id, ts, kind, before, after, priority, score, onset, told, replayed, cause, who, reason, facts)
    VALUES (%(alarm_id)s, rootdx.at_us(%(ts)s), %(kind)s, %(before)s, %(after)s, %(priority)s, %(score)s,
            rootdx.at_us(%(onset)s::bigint), %(told)s, %(replayed)s, %(cause)s, %(who)s, %(reason)s, %(facts)s)
    RETURNING entry_id"""
_TOLD: Final = """
    SELECT EXISTS (
        SELECT FROM rootdx.alarm a JOIN rootdx.alarm_journal j USING (alarm_id)
        LEFT JOIN LATERAL (
            SELECT ts FROM rootdx.alarm_journal k
            WHERE k.alarm_id = a.alarm_id AND k.kind = 'cleared' AND k.ts >= j.ts ORDER BY ts LIMIT 1) c ON true
        WHERE a.detector_id = %s AND a.subject = %s AND j.kind IN ('raised', 'noted')
          AND j.onset <= rootdx.at_us(%s) AND coalesce(c.ts, CASE WHEN j.kind = 'noted' THEN j.ts ELSE 'infinity' END)
              >= rootdx.at_us(%s))"""
_KNOWN: Final = """
    INSERT INTO rootdx.alarm AS a (detector_id, subject, priority, state, active, memory)
    VALUES (%s, %s, %s, 'normal', false, %s)
    ON CONFLICT (detector_id, subject) DO UPDATE SET changed = a.changed RETURNING alarm_id"""
_OVER: Final = """
    SELECT alarm_id, priority, memory FROM rootdx.alarm
    WHERE shelved_until <= rootdx.at_us(%s) ORDER BY alarm_id FOR UPDATE"""
_ONE: Final = "SELECT priority, memory FROM rootdx.alarm WHERE alarm_id = %s FOR UPDATE"
_CHANGE: Final = """
    UPDATE rootdx.alarm SET state = %(state)s, active = %(active)s, shelved_until = rootdx.at_us(%(shelved)s::bigint),
        memory = %(memory)s, changed = now()
    WHERE alarm_id = %(alarm_id)s"""
_DONE: Final = """
    SELECT rootdx.us(j.ts), j.who, j.reason FROM rootdx.alarm_journal j JOIN rootdx.alarm a USING (alarm_id)
    WHERE a.detector_id = %s AND a.subject = %s AND j.kind = 'acknowledged' AND j.reason <> ''
    ORDER BY j.entry_id DESC LIMIT 1"""
