"""Compliance records in the store: what they are made of, how they are sealed, and whether they still hold.

* Records are numbered without a gap; each seals the one before it. One writer at a time, by a lock of the database.
* `verify` says of every record whether its row is as it was sealed, and of its raw rows and cycles whether they are as
  they were when it was made. It names the record, machine, tag and minutes that are not.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from analytics.checks import Standing, standings
from analytics.machines import Watched
from analytics.process import Limit
from analytics.record_rows import changed_rows, raw_rows
from analytics.records import (
    CycleSaid,
    FeatureSaid,
    Grounds,
    Profile,
    content_of,
    hash_of,
    judged,
    profile_for,
)
from analytics.verdict import Verdict
from pipeline.database import translated
from pipeline.errors import BadData
from pipeline.migrate import Connection
from pipeline.plant import Plant

_LOCK: Final = 7_266_883_170_119
FIRST: Final = "rootdx"
"""What the first record seals."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A record as it is stored."""

    number: int
    made: datetime
    profile: str
    subject_kind: str
    subject: str
    version: int
    verdict: Verdict
    author: str
    reason: str
    content: str
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it was sealed.

    Attributes:
        number: of the record.
        what: record, raw or cycle.
        text: names the row.
    """

    number: int
    what: str
    text: str


@dataclass(frozen=True, slots=True)
class Subject:
    """What a record is asked of: `lot`, `part`, `load`, `rack` or `melt` and its name, or `cycle` and its id."""

    kind: str
    name: str


class RecordStore:
    """Makes, reads and verifies records of one plant over one connection with autocommit."""

    def __init__(self, db: Connection, plant: Plant, machines: Sequence[Watched]) -> None:
        self._db, self._plant = db, plant
        self._machines = {machine.asset: machine for machine in machines}

    async def make(
        self, subject: Subject, profiles: Mapping[str, Profile], *, profile: str | None, author: str, reason: str
    ) -> Sealed:
        """Makes and seals the record of a subject; of one that has a record already, its next version.

        Raises:
            BadData: the subject has no closed cycle, or a next version is asked for without a reason.
            ConfigError: no profile fits, name one.
        """
        grounds = await self.grounds(subject, profiles, profile)
        with translated():
            async with self._db.transaction():
                await self._db.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
                return await self._seal(grounds, author, reason)

    async def _seal(self, grounds: Grounds, author: str, reason: str) -> Sealed:
        number, previous = (await self._all(_LAST, []) or [(0, FIRST)])[0]
        name = [grounds.subject_kind, grounds.subject, grounds.profile_name]
        version = (await self._all(_VERSION, name))[0][0] + 1
        if version > 1 and not reason:
            raise BadData(f"{name[0]} {name[1]} has a record already; say why it is made again with a reason")
        made = datetime.now(UTC)
        heading = {
            "number": number + 1, "version": version, "made": made.isoformat(), "author": author, "reason": reason,
        }  # fmt: skip
        content = content_of(grounds, heading)
        sealed = Sealed(
            number + 1, made, grounds.profile_name, grounds.subject_kind, grounds.subject, version,
            judged(grounds)[0], author, reason, content, previous, hash_of(number + 1, previous, content),
        )  # fmt: skip
        await self._db.execute(_ADD, [getattr(sealed, field) for field in Sealed.__slots__])
        return sealed

    async def grounds(self, subject: Subject, profiles: Mapping[str, Profile], profile: str | None) -> Grounds:
        """Everything that is known of a subject.

        Raises:
            BadData, ConfigError: as `make`.
        """
        cycles, links = await self._cycles(subject)
        if not cycles:
            raise BadData(
                f"{subject.kind} {subject.name!r} has no closed cycle; `rootdx cycles --lot …` finds those that exist"
            )
        name = profile or profile_for(profiles, [cycle.kind for cycle in cycles])
        zone = ZoneInfo(self._plant.time_zone)
        day = max(datetime.fromisoformat(cycle.end) for cycle in cycles).astimezone(zone).date()
        wanted = profiles[name]
        said = [await self._with_raw(cycle) if cycle.kind in wanted.kinds else cycle for cycle in cycles]
        return Grounds(
            profile_name=name,
            profile=wanted,
            subject_kind=subject.kind,
            subject=subject.name,
            plant=f"{self._plant.enterprise}/{self._plant.site}",
            time_zone=self._plant.time_zone,
            cycles=said,
            checks=await self._checks(said, day),
            lab=await self._lab([(subject.kind, subject.name), *links]),
            alarms=await self._alarms(said),
            links=links,
        )

    async def _cycles(self, subject: Subject) -> tuple[list[CycleSaid], list[tuple[str, str]]]:
        if subject.kind == "cycle":
            if not subject.name.isdigit():
                raise BadData(f"cycle {subject.name!r}: its id is a number; `rootdx cycles` shows it")
            ids, links = [int(subject.name)], []
        else:
            rows = await self._all(_WINDOWS, [subject.kind, subject.name])
            ids = [row[0] for row in rows]
            found = await self._all(_ORIGINS, [subject.kind, subject.name])
            links = [(kind, item) for kind, item in found if (kind, item) != (subject.kind, subject.name)]
        features = await self._features(ids)
        cycles = [self._cycle(row, features.get(row[0], ())) for row in await self._all(_CYCLES, [ids])]
        return cycles, links

    def _cycle(self, row: Sequence[Any], features: Sequence[FeatureSaid]) -> CycleSaid:
        _, asset, machine, kind, lane, number, start, end, names, starts, ends, *rest = row
        flags, context, verdict, verdicts, settings, process, version, digest = rest
        return CycleSaid(
            asset=asset, machine=machine, kind=kind, lane=lane, number=number, start=_iso(start), end=_iso(end),
            phases=tuple(
                (name, _iso(first), None if last is None else _iso(last))
                for name, first, last in zip(names, starts, ends, strict=True)
            ),
            flags=tuple(flags), context=context, verdict=None if verdict is None else Verdict(verdict),
            verdicts=verdicts, features=tuple(features), process=process, version=version, digest=digest.hex(),
            settings=hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest(),
        )  # fmt: skip

    async def _features(self, ids: Sequence[int]) -> dict[int, list[FeatureSaid]]:
        found: dict[int, list[FeatureSaid]] = {}
        for cycle_id, name, value, unit, reason, low, high, *rest in await self._all(_FEATURES, [list(ids)]):
            verdict = _judged(value, reason, low, high)
            found.setdefault(cycle_id, []).append(FeatureSaid(name, value, unit, reason, low, high, verdict, *rest))
        return found

    async def _with_raw(self, cycle: CycleSaid) -> CycleSaid:
        raw = await raw_rows(
            self._db, cycle.asset, datetime.fromisoformat(cycle.start), datetime.fromisoformat(cycle.end)
        )
        due = sum(one.due or 0 for one in raw)
        coverage = min(1.0, sum(one.rows for one in raw if one.due) / due) if due else None
        bad = sum(one.rows - one.good for one in raw)
        rows = sum(one.rows for one in raw)
        share = None if coverage is None or not rows else round(coverage * (rows - bad) / rows, 6)
        return replace(cycle, raw=raw, coverage=share)

    async def _checks(self, cycles: Sequence[CycleSaid], day: date) -> dict[str, list[Standing]]:
        assets = sorted({cycle.asset for cycle in cycles})
        required = {asset: self._machines[asset].checks for asset in assets if asset in self._machines}
        return {asset: await standings(self._db, asset, some, day) for asset, some in required.items()}

    async def _lab(self, items: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        names = ("sampled", "asset", "name", "value", "unit", "item_kind", "item", "sample", "method", "note", "author")
        rows = await self._all(_LAB, [[kind for kind, _ in items], [item for _, item in items]])
        return [dict(zip(names, (_iso(row[0]), *row[1:]), strict=True)) for row in rows]

    async def _alarms(self, cycles: Sequence[CycleSaid]) -> list[dict[str, Any]]:
        found = []
        for cycle in cycles:
            for at, kind, phase, severity, text in await self._all(_ALARMS, [cycle.asset, cycle.start, cycle.end]):
                found.append({
                    "asset": cycle.asset, "ts": _iso(at), "kind": kind, "phase": phase, "severity": severity,
                    "text": text,
                })  # fmt: skip
        return found

    async def read(self, number: int | None = None, subject: Subject | None = None) -> list[Sealed]:
        """Records in order: all, one number, or those of a subject."""
        kind, name = (subject.kind, subject.name) if subject else (None, None)
        rows = await self._all(_READ, {"number": number, "kind": kind, "name": name})
        return [
            Sealed(number, made, profile, kind, name, version, Verdict(verdict), *rest)
            for number, made, profile, kind, name, version, verdict, *rest in rows
        ]

    async def verify(self, number: int | None = None) -> AsyncIterator[tuple[Sealed, list[Fault]]]:
        """Every record in order, with what is not as it was sealed; raw rows and cycles of all, or of one number."""
        previous, expected = FIRST, 1
        for (place,) in await self._all(_NUMBERS, []):  # one at a time: a record may hold a furnace load's features
            (one,) = await self.read(place)
            faults = [Fault(missing, "record", f"record {missing} is gone") for missing in range(expected, one.number)]
            if one.previous != previous:
                faults.append(Fault(one.number, "record", f"record {one.number} does not seal the one before it"))
            faults += _row_faults(one)
            if number in (None, one.number) and not any(fault.number == one.number for fault in faults):
                faults += await self._content_faults(one)
            yield one, faults
            previous, expected = one.hash, one.number + 1

    async def _content_faults(self, one: Sealed) -> list[Fault]:
        faults = []
        for cycle in json.loads(one.content)["cycles"]:
            start, end = datetime.fromisoformat(cycle["start"]), datetime.fromisoformat(cycle["end"])
            if cycle["raw"]:
                now = {raw.tag: raw for raw in await raw_rows(self._db, cycle["asset"], start, end)}
                for raw in cycle["raw"]:
                    changed = changed_rows(cycle["asset"], start, raw, now.get(raw["tag"]))
                    faults += [Fault(one.number, "raw", text) for text in changed]
            faults += await self._cycle_faults(one.number, cycle, start)
        return faults

    async def _cycle_faults(self, number: int, cycle: Mapping[str, Any], start: datetime) -> list[Fault]:
        """A cycle that says it is the version of the record, and says something else."""
        rows = await self._all(_SAME, [cycle["asset"], cycle["kind"], cycle["lane"], start, cycle["version"]])
        if not rows:
            return []
        now = {one.name: one.value for one in (await self._features([rows[0][0]])).get(rows[0][0], [])}
        where = f"cycle {cycle['kind']} {cycle['start']} of {cycle['asset']}"
        return [
            Fault(number, "cycle", f"{where}: {one['name']} is {now.get(one['name'])}, the record says {one['value']}")
            for one in cycle["features"]
            if now.get(one["name"]) != one["value"]
        ]

    async def _all(self, query: str, args: Any) -> list[tuple[Any, ...]]:
        with translated():
            return await (await self._db.execute(query.encode(), args)).fetchall()


def _judged(value: float | None, reason: str, low: float | None, high: float | None) -> Verdict | None:
    if low is None and high is None:
        return None
    if value is None:
        return Verdict.INCOMPLETE
    if reason != "OK":
        return Verdict.REVIEW
    limit = Limit(low=low, high=high)
    inside = (limit.low is None or value >= limit.low) and (limit.high is None or value <= limit.high)
    return Verdict.PASS if inside else Verdict.FAIL


def _row_faults(one: Sealed) -> list[Fault]:
    """Whether the row still says what its seal is of: the text, and the columns that repeat it."""
    where = f"record {one.number}"
    if hash_of(one.number, one.previous, one.content) != one.hash:
        return [Fault(one.number, "record", f"{where} was changed: its content does not fit its hash")]
    said = json.loads(one.content)
    columns = {
        "number": one.number, "made": one.made.astimezone(UTC).isoformat(), "profile": one.profile,
        "version": one.version, "verdict": one.verdict.value, "author": one.author, "reason": one.reason,
    }  # fmt: skip
    wrong = [name for name, value in columns.items() if said[name] != value]
    if said["subject"] != {"kind": one.subject_kind, "name": one.subject}:
        wrong.append("subject")
    return [
        Fault(one.number, "record", f"{where} was changed: column {name} is not what its content says")
        for name in wrong
    ]


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()


_LAST: Final = "SELECT number, hash FROM rootdx.compliance_record ORDER BY number DESC LIMIT 1"
_VERSION: Final = """
    SELECT coalesce(max(version), 0) FROM rootdx.compliance_record
    WHERE subject_kind = %s AND subject = %s AND profile = %s"""
_ADD: Final = """
    INSERT INTO rootdx.compliance_record (
        number, made, profile, subject_kind, subject, version, verdict, author, reason, content, previous, hash)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"""
_NUMBERS: Final = "SELECT number FROM rootdx.compliance_record ORDER BY number"
_READ: Final = """
    SELECT number, made, profile, subject_kind, subject, version, verdict, author, reason, content, previous, hash
    FROM rootdx.compliance_record
    WHERE (%(number)s::bigint IS NULL OR number = %(number)s)
      AND (%(kind)s::text IS NULL OR (subject_kind = %(kind)s AND subject = %(name)s))
    ORDER BY number"""
_WINDOWS: Final = "SELECT cycle_id FROM rootdx.windows_of(%s, %s) WHERE end_ts IS NOT NULL"
_ORIGINS: Final = "SELECT item_kind, item FROM rootdx.origins(%s, %s) ORDER BY depth, item_kind, item"
_CYCLES: Final = """
    SELECT c.cycle_id, a.path, a.name, c.kind, c.lane, c.number, c.start_ts, c.end_ts, c.phase_names, c.phase_starts,
           c.phase_ends, c.flags, c.context, c.verdict, c.verdicts, p.settings, c.process, c.version, c.digest
    FROM rootdx.cycle c JOIN rootdx.asset a USING (asset_id) JOIN rootdx.process_config p USING (config_id)
    WHERE c.cycle_id = ANY(%s) AND c.end_ts IS NOT NULL ORDER BY c.start_ts, a.path, c.lane"""
_FEATURES: Final = """
    SELECT cycle_id, feature, value, unit, reason, low, high, formula, formula_version, n_used, coverage, quality,
           inputs_hash
    FROM rootdx.features WHERE cycle_id = ANY(%s)"""
_SAME: Final = """
    SELECT c.cycle_id FROM rootdx.cycle c JOIN rootdx.asset a USING (asset_id)
    WHERE a.path = %s AND c.kind = %s AND c.lane = %s AND c.start_ts = %s AND c.version = %s"""
_LAB: Final = """
    SELECT sampled, asset, name, value, unit, item_kind, item, sample, method, note, author FROM rootdx.lab_results
    WHERE (item_kind, item) IN (SELECT * FROM unnest(%s::text[], %s::text[])) ORDER BY sampled, id"""
_ALARMS: Final = """
    SELECT ts, kind, phase, severity, text FROM rootdx.events
    WHERE asset = %s AND ts >= %s AND ts < %s AND severity >= 400 ORDER BY ts, id"""
