"""The alarm state machine against its table, and under any order of rows, acts, restarts and replays."""

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from analytics.alarm import Act, Alarm, AlarmSettings, Entry, Kind, Row, State, on_act, on_row, on_time
from analytics.part_9 import part_9
from pipeline.errors import BadData

S: Final = 1_000_000_000
Happening = Row | Act | int


def happen(alarm: Alarm, settings: AlarmSettings, what: Happening) -> tuple[Alarm, list[Entry]]:
    """What happens; an act that cannot be done changes nothing."""
    if isinstance(what, Row):
        return on_row(alarm, settings, what)
    if isinstance(what, int):
        return on_time(alarm, what)
    try:
        return on_act(alarm, what)
    except BadData:
        return alarm, []


def journal(settings: AlarmSettings, story: Sequence[Happening], alarm: Alarm | None = None) -> list[Entry]:
    alarm, entries = alarm or Alarm(), []
    for what in story:
        alarm, new = happen(alarm, settings, what)
        entries += new
    return entries


def rows(*scores: float, first_s: int = 1, live: bool = True) -> list[Happening]:
    return [Row((first_s + i) * S, score, live=live) for i, score in enumerate(scores)]


def kinds(entries: Sequence[Entry]) -> list[str]:
    return [entry.kind.value for entry in entries]


# The table: state, what happens, state after, and whether people are told.

ACTIVE = Alarm(active=True, acked=False, told=True, episode_ns=S, peak=2.0)
STATES: Final = {
    State.NORMAL: Alarm(),
    State.UNACK: ACTIVE,
    State.ACKED: replace(ACTIVE, acked=True),
    State.RTN_UNACK: replace(ACTIVE, active=False),
    State.LATCHED_UNACK: replace(ACTIVE, active=False, latched=True),
    State.LATCHED_ACKED: replace(ACTIVE, active=False, latched=True, acked=True),
    State.SHELVED: replace(ACTIVE, shelved_until_ns=100 * S),
    State.SUPPRESSED: replace(ACTIVE, suppressed=True),
    State.OUT_OF_SERVICE: replace(ACTIVE, out_of_service=True),
}
HIGH, LOW, NONE, OFF = Row(9 * S, 2.0), Row(9 * S, 0.0), Row(9 * S, math.nan), Row(9 * S, math.nan, suppressed=True)
ACK, RESET = Act(Kind.ACKNOWLEDGED, 9 * S, "kim"), Act(Kind.RESET, 9 * S, "kim")
SHELVE, UNSHELVE = Act(Kind.SHELVED, 9 * S, "kim", "test", 99 * S), Act(Kind.UNSHELVED, 9 * S, "kim")
OUT, BACK = Act(Kind.OUT_OF_SERVICE, 9 * S, "kim", "repair"), Act(Kind.IN_SERVICE, 9 * S, "kim")
TABLE: Final = [
    (State.NORMAL, HIGH, State.UNACK, True),
    (State.NORMAL, LOW, State.NORMAL, False),
    (State.NORMAL, NONE, State.NORMAL, False),
    (State.NORMAL, SHELVE, State.SHELVED, False),
    (State.NORMAL, OUT, State.OUT_OF_SERVICE, False),
    (State.UNACK, HIGH, State.UNACK, False),
    (State.UNACK, LOW, State.RTN_UNACK, False),
    (State.UNACK, NONE, State.UNACK, False),
    (State.UNACK, ACK, State.ACKED, False),
    (State.UNACK, SHELVE, State.SHELVED, False),
    (State.UNACK, OFF, State.SUPPRESSED, False),
    (State.UNACK, OUT, State.OUT_OF_SERVICE, False),
    (State.ACKED, LOW, State.NORMAL, False),
    (State.ACKED, HIGH, State.ACKED, False),
    (State.ACKED, NONE, State.ACKED, False),
    (State.RTN_UNACK, ACK, State.NORMAL, False),
    (State.RTN_UNACK, HIGH, State.UNACK, True),
    (State.LATCHED_UNACK, ACK, State.LATCHED_ACKED, False),
    (State.LATCHED_ACKED, RESET, State.NORMAL, False),
    (State.LATCHED_ACKED, HIGH, State.UNACK, True),
    (State.SHELVED, UNSHELVE, State.UNACK, False),
    (State.SHELVED, HIGH, State.SHELVED, False),
    (State.SHELVED, 101 * S, State.UNACK, False),
    (State.SHELVED, 99 * S, State.SHELVED, False),
    (State.SUPPRESSED, HIGH, State.UNACK, True),
    (State.SUPPRESSED, OFF, State.SUPPRESSED, False),
    (State.OUT_OF_SERVICE, HIGH, State.OUT_OF_SERVICE, False),
    (State.OUT_OF_SERVICE, BACK, State.UNACK, False),
]
REFUSED: Final = [
    (State.NORMAL, ACK), (State.ACKED, ACK), (State.NORMAL, RESET), (State.LATCHED_UNACK, RESET), (State.UNACK, RESET),
    (State.NORMAL, UNSHELVE), (State.NORMAL, BACK), (State.OUT_OF_SERVICE, OUT),
    (State.UNACK, Act(Kind.SHELVED, 9 * S, "kim", "", 99 * S)), (State.UNACK, Act(Kind.SHELVED, 9 * S, "kim", "x", S)),
    (State.UNACK, Act(Kind.ACKNOWLEDGED, 9 * S, " ")), (State.UNACK, Act(Kind.OUT_OF_SERVICE, 9 * S, "kim")),
]  # fmt: skip


@pytest.mark.parametrize(("before", "what", "after", "told"), TABLE)
def test_every_line_of_the_table(before: State, what: Happening, after: State, *, told: bool) -> None:
    alarm = STATES[before]
    assert alarm.name is before
    now, entries = happen(alarm, AlarmSettings(ends="reset" if "latched" in before else "itself"), what)
    assert now.name is after
    assert any(entry.told for entry in entries) is told
    assert all(entry.after is after for entry in entries[-1:])


@pytest.mark.parametrize(("state", "act"), REFUSED)
def test_what_cannot_be_done_is_refused_with_a_reason(state: State, act: Act) -> None:
    with pytest.raises(BadData, match=rf"{act.kind}: \w+"):
        on_act(STATES[state], act)


def test_delays_count_rows_and_the_time_between_them() -> None:
    settings = AlarmSettings(on_rows=2, on_delay_s=3.0, off_delay_s=2.0)
    entries = journal(settings, rows(2, 2, 2, 2, 2, 0, 0, 0, 0))
    assert [(e.kind, e.ts_ns // S, e.episode_ns // S) for e in entries] == [(Kind.RAISED, 4, 1), (Kind.CLEARED, 8, 1)]


def test_a_row_without_a_score_stops_the_clock_and_neither_raises_nor_clears() -> None:
    settings = AlarmSettings(on_delay_s=2.0, off_delay_s=2.0)
    nan = math.nan
    assert journal(settings, rows(2, nan, 2, nan, 2, nan, 2)) == []
    assert kinds(journal(settings, rows(2, 2, 2, nan, nan, 0, nan, 0, nan, 0, 0, 0))) == ["raised", "cleared"]


def test_deadband_holds_what_hovers_at_the_limit() -> None:
    hovering = rows(1.01, 0.95, 1.01, 0.95, 0.91, 0.89)
    assert kinds(journal(AlarmSettings(deadband=0.1), hovering)) == ["raised", "cleared"]
    assert kinds(journal(AlarmSettings(deadband=0.0), hovering)) == ["raised", "cleared"] * 2


def test_a_deadband_of_the_whole_limit_is_refused() -> None:
    with pytest.raises(ValidationError, match="less than 1"):
        AlarmSettings(deadband=1.0)


def test_within_the_refractory_time_it_is_the_same_episode_and_nobody_is_told_again() -> None:
    entries = journal(AlarmSettings(refractory_s=5.0), rows(2, 0, 2, 0, 2, 0, *[0] * 6, 2))
    assert [e.episode_ns // S for e in entries if e.kind is Kind.RAISED] == [1, 1, 1, 13]
    assert [e.told for e in entries if e.kind is Kind.RAISED] == [True, False, False, True]


def test_replayed_rows_never_ring_and_what_still_stands_rings_with_the_first_live_row() -> None:
    old = rows(2, 2, 0, 2, live=False)
    entries = journal(AlarmSettings(), [*old, *rows(2, 2, first_s=90)])
    assert kinds(entries) == ["raised", "cleared", "raised", "told"]
    assert [e.told for e in entries] == [False, False, False, True]
    assert [e.replayed for e in entries] == [True, True, True, False]


def test_what_was_replayed_and_is_over_does_not_silence_what_follows() -> None:
    story = [*rows(2, 0, live=False), *rows(2, first_s=3)]
    assert [e.told for e in journal(AlarmSettings(refractory_s=100.0), story)] == [False, False, True]


def test_shelving_that_expires_while_active_is_told_again() -> None:
    shelve = Act(Kind.SHELVED, 2 * S, "kim", "sensor is being changed", 5 * S)
    entries = journal(AlarmSettings(), [*rows(2), shelve, *rows(2, 2, first_s=3), 6 * S, *rows(2, first_s=7)])
    assert kinds(entries) == ["raised", "shelved", "expired", "told"]
    assert entries[-1].told
    assert entries[-1].after is State.UNACK


def test_part_9_says_the_same() -> None:
    for state, alarm in STATES.items():
        told = part_9(alarm)
        assert told["ActiveState"] is alarm.active
        assert (told["ShelvingState"] == "TimedShelved") is (state is State.SHELVED)
        assert told["Retain"] is (state is not State.NORMAL)


# Any order

scores = st.sampled_from([0.0, 0.5, 0.93, 1.0, 1.05, 2.0, math.nan])
acts = st.sampled_from([
    Kind.ACKNOWLEDGED, Kind.RESET, Kind.SHELVED, Kind.UNSHELVED, Kind.OUT_OF_SERVICE, Kind.IN_SERVICE
])  # fmt: skip
settings_of = st.builds(
    AlarmSettings,
    on_rows=st.integers(1, 3),
    off_rows=st.integers(1, 3),
    on_delay_s=st.sampled_from([0.0, 2.0]),
    off_delay_s=st.sampled_from([0.0, 2.0]),
    deadband=st.sampled_from([0.0, 0.1]),
    refractory_s=st.sampled_from([0.0, 4.0]),
    ends=st.sampled_from(["itself", "reset"]),
)


@st.composite
def stories(draw: st.DrawFn) -> list[Happening]:
    """Rows in order of time, some old, some while the machine is off, with acts and the clock between them."""
    story: list[Happening] = []
    for second in range(1, draw(st.integers(1, 40))):
        match draw(st.sampled_from(["row", "row", "row", "row", "act", "clock"])):
            case "row":
                off = draw(st.booleans()) and draw(st.booleans())
                story.append(Row(second * S, draw(scores), live=draw(st.integers(0, 4)) > 0, suppressed=off))
            case "act":
                until = (second + draw(st.integers(1, 10))) * S
                story.append(Act(draw(acts), second * S, "kim", "because", until))
            case _:
                story.append(second * S)
    return story


@given(settings_of, stories())
def test_a_restart_anywhere_leaves_the_same_journal(settings: AlarmSettings, story: list[Happening]) -> None:
    alarm, entries = Alarm(), []
    for what in story:
        alarm = Alarm.from_json(json.loads(json.dumps(alarm.to_json())))
        alarm, new = happen(alarm, settings, what)
        entries += new
    assert repr(entries) == repr(journal(settings, story))


@given(settings_of, stories())
def test_the_journal_is_a_chain_and_says_every_change(settings: AlarmSettings, story: list[Happening]) -> None:
    alarm, last = Alarm(), State.NORMAL
    for what in story:
        before, (alarm, entries) = alarm.name, happen(alarm, settings, what)
        assert before is last
        for entry in entries:
            assert entry.before is last
            last = entry.after
        assert alarm.name is last
    assert last is alarm.name


@given(settings_of, stories())
def test_no_phantom_and_nothing_lost(settings: AlarmSettings, story: list[Happening]) -> None:
    """Active exactly when a plain reading of the rule says so; told at most once while it stays unacknowledged."""
    alarm, plain = Alarm(), Plain(settings)
    for what in story:
        alarm, entries = happen(alarm, settings, what)
        if isinstance(what, Row):
            plain.take(what)
            for entry in entries:
                assert not (entry.told and (alarm.is_aside or entry.replayed))
            if alarm.active and not alarm.acked and what.live and not alarm.is_aside and not math.isnan(what.score):
                assert alarm.told, "an active alarm that nobody was told of"
        assert alarm.active is plain.active


class Plain:
    """The rule of raising and clearing, from the rows alone and with no state but their list."""

    def __init__(self, settings: AlarmSettings) -> None:
        self.settings, self.active, self.seen = settings, False, list[Row]()

    def take(self, row: Row) -> None:
        """Looks back over the rows since the last change."""
        self.seen.append(row)
        if not _is_told(row):
            return
        run: list[Row] = []
        for one in reversed(self.seen):
            if _is_told(one) and not (one.score <= 1 - self.settings.deadband if self.active else one.score > 1):
                break
            run.append(one)
        run.reverse()
        good = [one for one in run if _is_told(one)]
        held = sum(b.ts_ns - a.ts_ns for a, b in itertools.pairwise(run) if a in good and b in good)
        least, delay = (
            (self.settings.off_rows, self.settings.off_delay_s)
            if self.active
            else (self.settings.on_rows, self.settings.on_delay_s)
        )
        if len(good) >= least and held >= delay * S:
            self.active, self.seen = not self.active, []


def _is_told(row: Row) -> bool:
    return not (row.suppressed or math.isnan(row.score))
