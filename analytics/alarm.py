"""Scores to alarms: one state machine for all detectors (ISA-18.2 / IEC 62682, section 6.7).

* Pure: a state and something that happens give the next state and what is written into the journal. The state is all
  the memory there is, so a process that restarts between two rows goes on as if it had not.
* A row raises when the score has been above 1 for `on_rows` rows and `on_delay_s`; it clears likewise below
  1 - deadband. Both in the time of the rows. A row without a score (bad quality, no opinion) stops the clock: it
  neither raises nor clears.
* **People are told once, while it matters**: an alarm that is active, not acknowledged, not set aside, and whose rows
  are live, is annunciated once. What was set aside or came late is told as soon as that ends and it is still active;
  what came and went meanwhile is in the journal and nowhere else.
* Set aside is shelved (for a time, with a reason), suppressed by design (the machine is off, warms up, burns off) or
  out of service. None of them stops the evaluation.

```
             raise                 ack                  clear
   NORMAL ----------> UNACK ----------------> ACKED -----------> NORMAL
                        | clear                 | clear, ends = "reset"
                        v                       v
                    RTN_UNACK --ack--> NORMAL   LATCHED_ACKED --reset--> NORMAL
                    (LATCHED_UNACK --ack--> LATCHED_ACKED with ends = "reset")
   set aside: SHELVED, SUPPRESSED, OUT_OF_SERVICE, and back to what is underneath
```
"""

import enum
import math
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Final, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from pipeline.errors import BadData
from pipeline.plant import Frozen

_NS: Final = 1_000_000_000

Priority = Literal["low", "medium", "high"]


class AlarmSettings(Frozen):
    """`[detector.alarm]`: how scores of one detector become alarms."""

    priority: Priority = "medium"
    """What people see first; about 80/15/5 % of alarms should be low, medium, high."""
    on_rows: PositiveInt = 1
    """Rows in a row above the limit that raise it."""
    on_delay_s: NonNegativeFloat = 0.0
    """Time above the limit that raises it, s."""
    off_rows: PositiveInt = 1
    """Rows in a row below the limit less `deadband` that clear it."""
    off_delay_s: NonNegativeFloat = 0.0
    """Time below the limit less `deadband` that clears it, s."""
    deadband: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the limit; with 1 it could never clear."""
    refractory_s: NonNegativeFloat = 0.0
    """Raised again within this after it cleared it is the same episode: nobody is told again, s."""
    ends: Literal["itself", "reset"] = "itself"
    """`reset`: it stays latched after it cleared until somebody resets it."""


class State(enum.StrEnum):
    """States of ISA-18.2."""

    NORMAL = "normal"
    UNACK = "unacknowledged"
    ACKED = "acknowledged"
    RTN_UNACK = "returned"
    LATCHED_UNACK = "latched_unacknowledged"
    LATCHED_ACKED = "latched_acknowledged"
    SHELVED = "shelved"
    SUPPRESSED = "suppressed"
    OUT_OF_SERVICE = "out_of_service"


class Kind(enum.StrEnum):
    """What the journal knows."""

    RAISED = "raised"
    CLEARED = "cleared"
    TOLD = "told"  # annunciated after it had been raised
    ACKNOWLEDGED = "acknowledged"
    RESET = "reset"
    SHELVED = "shelved"
    UNSHELVED = "unshelved"
    EXPIRED = "expired"  # shelving ended by itself
    SUPPRESSED = "suppressed"
    UNSUPPRESSED = "unsuppressed"
    OUT_OF_SERVICE = "out_of_service"
    IN_SERVICE = "in_service"
    NOTED = "noted"  # found in rows that came late; changes nothing and rings nobody


@dataclass(frozen=True, slots=True)
class Alarm:
    """All that is remembered of one alarm.

    Attributes:
        active: raised and not cleared.
        acked: nothing is to be acknowledged.
        told: this activation has been annunciated.
        latched: cleared and waiting for a reset, or going to.
        shelved_until_ns: wall clock; None when it is not shelved.
        suppressed: by design, now.
        out_of_service: taken out by somebody.
        episode_ns: first row above the limit of the present or last episode.
        cleared_ns: when it last cleared after people had been told; None before.
        peak: highest score of the episode.
        run: rows in a row that speak for the other state.
        held_ns: time they cover, without the time next to rows that had no score.
        run_from_ns: the first of them.
        last_ns: the last row that had a score; None after one that had none.
    """

    active: bool = False
    acked: bool = True
    told: bool = True
    latched: bool = False
    shelved_until_ns: int | None = None
    suppressed: bool = False
    out_of_service: bool = False
    episode_ns: int = 0
    cleared_ns: int | None = None
    peak: float = 0.0
    run: int = 0
    held_ns: int = 0
    run_from_ns: int = 0
    last_ns: int | None = None

    @property
    def is_aside(self) -> bool:
        """Whether it is shelved, suppressed or out of service."""
        return self.shelved_until_ns is not None or self.suppressed or self.out_of_service

    @property
    def is_idle(self) -> bool:
        """Whether it is as good as one that was never heard of, except for what it remembers of the last episode."""
        return self.name is State.NORMAL and not self.run and not self.latched

    @property
    def name(self) -> State:
        """Its state as people see it; what is set aside says so first."""
        if self.out_of_service:
            return State.OUT_OF_SERVICE
        if self.suppressed and self.active:
            return State.SUPPRESSED
        if self.shelved_until_ns is not None:
            return State.SHELVED
        return self.underneath

    @property
    def underneath(self) -> State:
        """Its state but for being set aside."""
        if self.active:
            return State.ACKED if self.acked else State.UNACK
        if self.latched:
            return State.LATCHED_ACKED if self.acked else State.LATCHED_UNACK
        return State.NORMAL if self.acked else State.RTN_UNACK

    def to_json(self) -> dict[str, Any]:
        """For the store."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Alarm":
        """What `to_json` gave."""
        return cls(**data)


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the journal.

    Attributes:
        ts_ns: when: time of the row, or the wall clock of what a person did.
        kind: what.
        before: state before.
        after: state after.
        score: of the row, NaN where no row is meant.
        episode_ns: which episode; with the alarm it names it for ever.
        told: whether people are told by this entry.
        replayed: whether the row was old when it was looked at.
        who: the person; empty for what happened by itself.
        reason: what they gave.
    """

    ts_ns: int
    kind: Kind
    before: State
    after: State
    score: float = math.nan
    episode_ns: int = 0
    told: bool = False
    replayed: bool = False
    who: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A scored row.

    Attributes:
        ts_ns: its time.
        score: NaN for none.
        live: whether it is recent enough to ring.
        suppressed: the machine is in a state in which this alarm means nothing.
    """

    ts_ns: int
    score: float
    live: bool = True
    suppressed: bool = False


@dataclass(frozen=True, slots=True)
class Act:
    """What a person does.

    Attributes:
        kind: ACKNOWLEDGED, RESET, SHELVED, UNSHELVED, OUT_OF_SERVICE or IN_SERVICE.
        ts_ns: wall clock.
        who: never empty.
        reason: never empty when something is set aside.
        until_ns: end of shelving.
    """

    kind: Kind
    ts_ns: int
    who: str
    reason: str = ""
    until_ns: int | None = None


def on_row(alarm: Alarm, settings: AlarmSettings, row: Row) -> tuple[Alarm, list[Entry]]:
    """What a row changes. Rows come in order of time; an older one than the last is the caller's mistake."""
    entries: list[Entry] = []
    if row.suppressed != alarm.suppressed:
        alarm = _suppressed(alarm, row, entries)
    if row.suppressed or math.isnan(row.score):
        return replace(alarm, last_ns=None), entries
    alarm = _counted(alarm, settings, row)
    if alarm.active:
        alarm = replace(alarm, peak=max(alarm.peak, row.score))
        if _is_due(alarm, settings.off_rows, settings.off_delay_s):
            alarm = _cleared(alarm, settings, row, entries)
    elif _is_due(alarm, settings.on_rows, settings.on_delay_s):
        alarm = _raised(alarm, settings, row, entries)
    return _told(alarm, row, entries), entries


def on_time(alarm: Alarm, now_ns: int) -> tuple[Alarm, list[Entry]]:
    """What the wall clock changes: shelving expires. Still active it is to be acknowledged, and told, again."""
    if alarm.shelved_until_ns is None or now_ns < alarm.shelved_until_ns:
        return alarm, []
    return _unshelved(alarm, Entry(alarm.shelved_until_ns, Kind.EXPIRED, alarm.name, alarm.name))


def on_act(alarm: Alarm, act: Act) -> tuple[Alarm, list[Entry]]:
    """What a person changes.

    Raises:
        BadData: it cannot be done in this state, or something is missing.
    """
    _check(alarm, act)
    entry = Entry(
        act.ts_ns, act.kind, alarm.name, alarm.name, episode_ns=alarm.episode_ns, who=act.who, reason=act.reason
    )
    match act.kind:
        case Kind.ACKNOWLEDGED:
            after = replace(alarm, acked=True, told=True)
        case Kind.RESET:
            after = replace(alarm, latched=False)
        case Kind.SHELVED:
            after = replace(alarm, shelved_until_ns=act.until_ns)
        case Kind.UNSHELVED:
            return _unshelved(alarm, entry)
        case Kind.OUT_OF_SERVICE:
            after = replace(alarm, out_of_service=True)
        case _:
            after = _told_again(replace(alarm, out_of_service=False))
    return after, [replace(entry, after=after.name)]


def _check(alarm: Alarm, act: Act) -> None:
    if not act.who.strip():
        raise BadData(f"{act.kind}: who does it is missing")
    if act.kind in (Kind.SHELVED, Kind.OUT_OF_SERVICE) and not act.reason.strip():
        raise BadData(f"{act.kind}: a reason is needed, as it sets an alarm aside")
    if act.kind is Kind.SHELVED and (act.until_ns is None or act.until_ns <= act.ts_ns):
        raise BadData("shelved: the end must lie after now; shelving always expires")
    why_not = {
        Kind.ACKNOWLEDGED: alarm.acked and "there is nothing to acknowledge",
        Kind.RESET: (not alarm.latched and "it is not latched")
        or (alarm.active and "it is still active")
        or (not alarm.acked and "acknowledge it first"),
        Kind.UNSHELVED: alarm.shelved_until_ns is None and "it is not shelved",
        Kind.OUT_OF_SERVICE: alarm.out_of_service and "it is out of service already",
        Kind.IN_SERVICE: not alarm.out_of_service and "it is in service",
    }.get(act.kind)
    if why_not:
        raise BadData(f"{act.kind}: {why_not}")


def _counted(alarm: Alarm, settings: AlarmSettings, row: Row) -> Alarm:
    """How long the rows have spoken for the other state."""
    speaks = row.score <= 1 - settings.deadband if alarm.active else row.score > 1
    if not speaks:
        return replace(alarm, run=0, held_ns=0, last_ns=row.ts_ns)
    covered = row.ts_ns - alarm.last_ns if alarm.run and alarm.last_ns is not None else 0
    return replace(
        alarm,
        run=alarm.run + 1,
        held_ns=alarm.held_ns + covered,
        run_from_ns=alarm.run_from_ns if alarm.run else row.ts_ns,
        last_ns=row.ts_ns,
    )


def _is_due(alarm: Alarm, rows: int, delay_s: float) -> bool:
    return alarm.run >= rows and alarm.run > 0 and alarm.held_ns >= delay_s * _NS


def _raised(alarm: Alarm, settings: AlarmSettings, row: Row, entries: list[Entry]) -> Alarm:
    since = alarm.cleared_ns
    again = since is not None and row.ts_ns - since <= settings.refractory_s * _NS and settings.refractory_s > 0
    after = replace(
        alarm,
        active=True,
        acked=alarm.acked and again,
        told=alarm.told and again,
        latched=settings.ends == "reset",
        episode_ns=alarm.episode_ns if again else alarm.run_from_ns,
        peak=max(alarm.peak, row.score) if again else row.score,
        run=0,
        held_ns=0,
    )
    entries.append(_line(Kind.RAISED, alarm, after, row))
    return after


def _cleared(alarm: Alarm, settings: AlarmSettings, row: Row, entries: list[Entry]) -> Alarm:
    """Back to normal; what nobody was told of leaves nothing to acknowledge, and what follows is not "again"."""
    after = replace(
        alarm,
        active=False,
        acked=alarm.acked or not alarm.told,
        told=True,
        latched=settings.ends == "reset",
        cleared_ns=row.ts_ns if alarm.told else None,
        run=0,
        held_ns=0,
    )
    entries.append(_line(Kind.CLEARED, alarm, after, row))
    return after


def _suppressed(alarm: Alarm, row: Row, entries: list[Entry]) -> Alarm:
    after = replace(alarm, suppressed=row.suppressed)
    if not row.suppressed:
        after = _told_again(after)
    if alarm.active:
        kind = Kind.SUPPRESSED if row.suppressed else Kind.UNSUPPRESSED
        entries.append(_line(kind, alarm, after, row))
    return after


def _unshelved(alarm: Alarm, entry: Entry) -> tuple[Alarm, list[Entry]]:
    after = replace(alarm, shelved_until_ns=None)
    if entry.kind is Kind.EXPIRED and after.active:
        after = replace(after, acked=False)
    after = _told_again(after)
    return after, [replace(entry, after=after.name, episode_ns=alarm.episode_ns)]


def _told_again(alarm: Alarm) -> Alarm:
    """No longer set aside: the next live row tells of it, if it is active and not acknowledged."""
    return replace(alarm, told=False) if alarm.active and not alarm.acked else alarm


def _told(alarm: Alarm, row: Row, entries: list[Entry]) -> Alarm:
    if not alarm.active or alarm.acked or alarm.told or alarm.is_aside or not row.live:
        return alarm
    after = replace(alarm, told=True)
    if entries and entries[-1].kind is Kind.RAISED:
        entries[-1] = replace(entries[-1], told=True)
    else:
        entries.append(replace(_line(Kind.TOLD, alarm, after, row), told=True))
    return after


def _line(kind: Kind, before: Alarm, after: Alarm, row: Row) -> Entry:
    return Entry(
        row.ts_ns, kind, before.name, after.name, row.score, after.episode_ns, replayed=not row.live
    )  # fmt: skip
