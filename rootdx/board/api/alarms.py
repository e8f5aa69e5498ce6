"""Alarms: what stands, why, what people do about it, the journal, the load."""

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, Field

from analytics.alarm import Act, Alarm, Kind, on_act
from analytics.alarm_store import AlarmStore
from pipeline.errors import BadData
from pipeline.migrate import Connection
from rootdx import alarm_list
from rootdx.alarm_text import name_of, sentence
from rootdx.board import answers
from rootdx.board.access import Permission, Person
from rootdx.board.answers import Format, Only, TableOut
from rootdx.board.house import Db, Here, May, Who
from rootdx.board.people import People
from rootdx.board.places import Month, Week, maybe_path
from rootdx.board.sight import ms
from rootdx.invocation import ask
from rootdx.texts import say

router = APIRouter(tags=["alarms"])

Number = Annotated[int, Path(ge=1, le=2**62)]
MaybeMachine = Annotated[str | None, Query(max_length=300)]
NEEDED: Final[Mapping[Kind, Permission]] = {
    Kind.ACKNOWLEDGED: "acknowledge", Kind.RESET: "acknowledge", Kind.SHELVED: "shelve", Kind.UNSHELVED: "shelve",
    Kind.OUT_OF_SERVICE: "service", Kind.IN_SERVICE: "service",
}  # fmt: skip
_VERBS: Final[Mapping[Kind, str]] = {
    Kind.ACKNOWLEDGED: "acknowledge", Kind.RESET: "reset", Kind.SHELVED: "shelve", Kind.UNSHELVED: "unshelve",
    Kind.OUT_OF_SERVICE: "out_of_service", Kind.IN_SERVICE: "in_service",
}  # fmt: skip


class Done(BaseModel):
    """What was done about it, shown the next time it rings."""

    done: Annotated[str, Field(max_length=500)] = ""


class Why(BaseModel):
    """A reason."""

    reason: Annotated[str, Field(min_length=1, max_length=500)]


class ForHours(Why):
    """For how long, and why."""

    hours: Annotated[float, Field(gt=0, le=336)] = 8.0


class Now(BaseModel):
    """The state it is in now."""

    state: str
    state_text: str


class AlarmsOut(BaseModel):
    """Alarms for pages, and the same as a table."""

    alarms: list[dict[str, Any]]
    table: TableOut


@router.get("/alarms", response_model=AlarmsOut)
async def alarms(
    house: Here, db: Db, person: Who, machine: MaybeMachine = None,
    every: Annotated[bool, Query(description="Also those that are normal now.")] = False,
    form: Annotated[Format, Query(alias="format")] = None,
) -> Any:  # fmt: skip
    """The alarms that stand, what matters most first, each with its reason in one sentence."""
    del person
    site, path = house.site(), await maybe_path(db, machine)
    table = await alarm_list.listed(db, site, path, every=every)
    if form is not None:
        return answers.one(table, form)
    rows = await ask(db, _LIST, {"asset": path, "every": every})
    return {"alarms": [_told(row, site.zone) for row in rows], "table": answers.told(table)}


@router.get("/alarms/journal", response_model=TableOut)
async def journal(
    house: Here, db: Db, person: Who, span: Week, machine: MaybeMachine = None,
    form: Annotated[Format, Query(alias="format")] = None,
) -> Response:  # fmt: skip
    """Everything that happened to alarms in a span, oldest first; never rewritten."""
    del person
    return answers.one(await alarm_list.journal(db, house.site(), await maybe_path(db, machine), span), form)


@router.get("/alarms/rates")
async def rates(
    house: Here, db: Db, person: Who, span: Month, machine: MaybeMachine = None,
    form: Annotated[Format, Query(alias="format")] = None, only: Only = None,
) -> Response:  # fmt: skip
    """How much the alarms ask of people: rates, floods, worst sources, and alarms by ten minutes."""
    del person
    path = await maybe_path(db, machine)
    tables = await alarm_list.rates(db, house.site(), path, span)
    bins = await ask(db, _BINS, {"asset": path, "first": span.first, "last": span.last})
    return answers.many(tables, form, only, bins=[{"t_ms": ms(ts), "alarms": int(count)} for ts, count in bins])


@router.get("/alarms/{alarm_id}")
async def alarm(alarm_id: Number, house: Here, db: Db, person: Who) -> dict[str, Any]:
    """Everything about one alarm, its journal, and what this person may do with it now."""
    site = house.site()
    rows = await ask(db, _ONE, [alarm_id])
    if not rows:
        raise BadData(say("alarms.unknown", id=alarm_id))
    facts = rows[0][_FACTS] or {}
    told = _told(rows[0], site.zone) | _explained(facts, rows[0][_SCORE])
    tables = await alarm_list.shown(db, site, alarm_id)
    memory = (await ask(db, "SELECT memory FROM rootdx.alarm WHERE alarm_id = %s", [alarm_id]))[0][0]
    return {"alarm": told, "journal": answers.told(tables[-1]), "may": _may(Alarm.from_json(memory), person)}


def _may(alarm: Alarm, person: Person) -> list[str]:
    """What is possible now and allowed to the person, found by trying it on a copy."""
    now, found = time.time_ns(), []
    for kind, wanted in NEEDED.items():
        until = now + 3_600_000_000_000 if kind is Kind.SHELVED else None
        try:
            on_act(alarm, Act(kind, now, person.name, "-", until))
        except BadData:
            continue
        if person.may(wanted):
            found.append(_VERBS[kind])
    return found


def _told(row: Sequence[Any], zone: ZoneInfo) -> dict[str, Any]:
    alarm_id, asset, detector, subject, priority, state, active, raised, by, done, shelved, facts, *_ = row
    return {
        "alarm_id": alarm_id, "machine": asset, "short": asset.rpartition("/")[2], "detector": detector,
        "subject": subject, "subject_name": name_of("feature", subject), "priority": priority, "state": state,
        "state_text": say(f"alarm.state.{state}"), "active": active,
        "raised_ms": None if raised is None else ms(raised), "sentence": sentence(facts, zone),
        "acknowledged_by": by, "done": done, "shelved_until_ms": None if shelved is None else ms(shelved),
    }  # fmt: skip


def _explained(facts: Mapping[str, Any], score: float | None) -> dict[str, Any]:
    window, last = facts.get("window"), facts.get("last")
    return {
        **{name: facts.get(name) for name in ("value", "low", "high", "centre", "unit", "cycle_id")},
        "score": score,
        "since_ms": facts["since"] // 1000 if "since" in facts else None,
        "window_ms": [round(us / 1000) for us in window] if window else None,
        "shares": [
            {"name": name, "label": name_of("feature", name), "share": share}
            for name, share in (facts.get("shares") or {}).items()
        ],
        "moves": [{**one, "label": name_of("feature", one["name"])} for one in facts.get("moves", ())],
        "resembles": [{**one, "label": name_of("failure", one["failure"])} for one in facts.get("resembles", ())],
        "last": None if not last else {"at_ms": last["at"] // 1000, "who": last["who"], "text": last["text"]},
    }


@router.post("/alarms/{alarm_id}/acknowledge")
async def acknowledge(
    alarm_id: Number, given: Done, db: Db, person: Annotated[Person, Depends(May("acknowledge"))]
) -> Now:
    """Acknowledges it."""
    return await _act(db, person, alarm_id, Act(Kind.ACKNOWLEDGED, time.time_ns(), person.name, given.done))


@router.post("/alarms/{alarm_id}/reset")
async def reset(alarm_id: Number, db: Db, person: Annotated[Person, Depends(May("acknowledge"))]) -> Now:
    """Resets one that is latched."""
    return await _act(db, person, alarm_id, Act(Kind.RESET, time.time_ns(), person.name))


@router.post("/alarms/{alarm_id}/shelve")
async def shelve(alarm_id: Number, given: ForHours, db: Db, person: Annotated[Person, Depends(May("shelve"))]) -> Now:
    """Sets it aside for a time; still active at the end it is told again."""
    now = time.time_ns()
    until = now + round(given.hours * 3600e9)
    return await _act(db, person, alarm_id, Act(Kind.SHELVED, now, person.name, given.reason, until))


@router.post("/alarms/{alarm_id}/unshelve")
async def unshelve(alarm_id: Number, db: Db, person: Annotated[Person, Depends(May("shelve"))]) -> Now:
    """Ends that."""
    return await _act(db, person, alarm_id, Act(Kind.UNSHELVED, time.time_ns(), person.name))


@router.post("/alarms/{alarm_id}/out_of_service")
async def out_of_service(
    alarm_id: Number, given: Why, db: Db, person: Annotated[Person, Depends(May("service"))]
) -> Now:
    """Takes it out of service until somebody puts it back."""
    return await _act(db, person, alarm_id, Act(Kind.OUT_OF_SERVICE, time.time_ns(), person.name, given.reason))


@router.post("/alarms/{alarm_id}/in_service")
async def in_service(alarm_id: Number, db: Db, person: Annotated[Person, Depends(May("service"))]) -> Now:
    """Puts it back."""
    return await _act(db, person, alarm_id, Act(Kind.IN_SERVICE, time.time_ns(), person.name))


async def _act(db: Connection, person: Person, alarm_id: int, act: Act) -> Now:
    state = await AlarmStore(db).act(alarm_id, act)
    await People(db).note(person, f"alarm_{act.kind}", str(alarm_id), {"reason": act.reason} if act.reason else {})
    return Now(state=state, state_text=say(f"alarm.state.{state}"))


_FACTS: Final = 11
_SCORE: Final = 12
_COLUMNS: Final = """
    SELECT alarm_id, asset, detector, subject, priority, state, active, raised, acknowledged_by, done, shelved_until,
           facts, score FROM rootdx.alarms"""
_LIST: Final = f"""{_COLUMNS}
    WHERE (%(asset)s::text IS NULL OR asset = %(asset)s) AND (state <> 'normal' OR %(every)s AND raised IS NOT NULL)
    ORDER BY state = 'normal', active DESC, array_position(ARRAY['high', 'medium', 'low'], priority), raised DESC
    LIMIT 1000"""
_ONE: Final = f"{_COLUMNS} WHERE alarm_id = %s"
_BINS: Final = """
    SELECT bin, sum(alarms) FROM rootdx.alarm_bins
    WHERE bin >= %(first)s AND bin < %(last)s AND (%(asset)s::text IS NULL OR asset = %(asset)s)
    GROUP BY 1 ORDER BY 1"""
