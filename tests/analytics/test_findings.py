"""Skipping quiet rows changes nothing, and episodes are what the alarm machine says."""

import itertools

import numpy as np
import numpy.typing as npt
from hypothesis import given, strategies as st

from analytics.alarm import Alarm, AlarmSettings, Row, on_row
from analytics.backtest import Label, judge
from analytics.detector import Scores
from analytics.findings import episodes, rung
from analytics.table import Table
from tests.analytics.test_alarm import settings_of

columns = st.lists(st.sampled_from([0.0, 0.4, 0.95, 1.0, 1.2, 3.0, np.nan]), min_size=1, max_size=60)


def table_of(values: list[float], off: set[int] = frozenset()) -> Table:  # type: ignore[assignment]
    table = Table.of(values)
    table.normal[list(off)] = False
    return table


@given(settings_of, columns, st.sets(st.integers(0, 59)), st.integers(0, 59), st.integers(0, 60))
def test_skipping_quiet_rows_changes_nothing(
    settings: AlarmSettings, values: list[float], off: set[int], cut: int, live_s: int
) -> None:
    table = table_of(values, {one for one in off if one < len(values)})
    scores = Scores(("x1",), np.where(table.normal[:, None], table.value, np.nan))
    alarm, plain = Alarm(), []
    for row, ts_ns in enumerate(table.ts_ns.tolist()):
        suppressed, live = not table.normal[row], ts_ns >= live_s * 10**9
        given_row = Row(ts_ns, float(scores.score[row, 0]), live=live, suppressed=suppressed)
        alarm, entries = on_row(alarm, settings, given_row)
        plain += entries
    parts = []
    alarms: dict[str, Alarm] = {}
    for first, last in ((0, min(cut, len(values))), (min(cut, len(values)), len(values))):
        part = table.take(slice(0, last))
        found = rung(
            part, Scores(("x1",), scores.score[:last]), settings, alarms, from_row=first, live_from_ns=live_s * 10**9
        )
        alarms |= found.alarms
        parts += [one.entry for one in found.findings]
    assert repr(parts) == repr(plain)


@given(columns)
def test_episodes_do_not_overlap_and_have_a_peak_above_the_limit(values: list[float]) -> None:
    table = table_of(values)
    found = episodes(table, Scores(("x1",), table.value), AlarmSettings())
    for before, after in itertools.pairwise(found):
        assert before.cleared_ns is not None
        assert before.onset_ns <= before.raised_ns < before.cleared_ns < after.onset_ns
    assert all(one.peak > 1 for one in found)
    assert bool(found) == any(value > 1 for value in values)


def test_labels_are_found_once_and_rings_between_them_are_false() -> None:
    score: npt.NDArray[np.float64] = np.zeros(100)
    score[[12, 14, 40, 71]] = 2.0
    table = Table.of(score)
    rings = episodes(table, Scores(("x1",), table.value), AlarmSettings())
    seconds = [Label(int(a * 1e9), int(b * 1e9)) for a, b in ((10, 20), (50, 60), (70, 80))]
    found = judge(table, rings, seconds, 0, 1.0)
    assert (found.labels, found.found, found.true, found.false) == (3, 2, 3, 1)
    assert found.missed == (seconds[1],)
    assert found.delay.value == 1.5
    wider = judge(table, rings, seconds, round(10e9), 1.0)
    assert (wider.found, wider.false) == (3, 0)


def test_nothing_to_judge_by_is_no_zero() -> None:
    table = Table.of(np.zeros(5))
    found = judge(table, (), [], 0, 0.0)
    assert (found.precision.value, found.recall.value, found.false_per_day.value) == (None, None, None)
