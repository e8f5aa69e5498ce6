"""States to cycles: order, glitches, gaps, rest and the counter."""

import numpy as np
import pytest

from analytics.process import Flag, Segment
from analytics.states import Order, Runs, StateRows, counted, counter_breaks, segments, without_glitches
from analytics.window import SECOND_NS, Series

ORDER = Order(("REST", "A", "B", "C", "D", "FAULT"), "A", "REST", longest_s=100.0)


def rows(code: list[int], at_s: list[float] | None = None) -> StateRows:
    times = list(range(len(code))) if at_s is None else at_s
    return StateRows(np.array([round(t * SECOND_NS) for t in times]), np.array(code), 1.0)


def told(code: list[int], at_s: list[float] | None = None) -> list[Segment]:
    return segments(without_glitches(Runs.of(rows(code, at_s)), ORDER), ORDER)


def names(segment: Segment) -> list[str]:
    return [phase.name for phase in segment.phases]


def test_a_cycle_begins_where_the_order_falls_back() -> None:
    one, two = told([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 0, 0, 0, 1, 1, 1])
    assert names(one) == ["A", "B", "C", "REST"]
    assert (one.start_ns, one.end_ns) == (3 * SECOND_NS, 15 * SECOND_NS)
    assert (two.end_ns, two.phases[-1].end_ns) == (None, None)


def test_a_cycle_whose_begin_is_not_seen_is_not_told() -> None:
    assert told([1, 1, 1, 2, 2, 2, 3, 3, 3]) == []


def test_a_phase_that_was_too_short_is_absent() -> None:
    assert names(told([0, 0, 0, 1, 1, 1, 3, 3, 3, 0, 0, 0, 1, 1, 1])[0]) == ["A", "C", "REST"]


@pytest.mark.parametrize(
    "glitch",
    [
        [2, 2, 2, 4, 2, 2, 2],
        [2, 2, 2, 4, 4, 2, 2],
        [2, 2, 2, 1, 2, 2, 2],
        [2, 2, 2, 4, 1, 2, 2, 2],
        [2, 2, 2, 0, 2, 2, 4, 2],
        [2, 2, 2, 3, 1, 2, 2, 2],
    ],
)
def test_rows_that_cannot_stand_there_are_left_out(glitch: list[int]) -> None:
    found = told([0, 0, 0, 1, 1, 1, *glitch, 3, 3, 3, 0, 0, 0, 1, 1, 1])
    assert [names(one) for one in found] == [["A", "B", "C", "REST"], ["A"]]


def test_a_wrong_first_row_does_not_hide_the_begin() -> None:
    first, second = told([0, 0, 0, 1, 1, 1, 3, 3, 3, 0, 0, 0, 3, 1, 1, 2, 3, 3, 3, 0])
    assert first.end_ns == second.start_ns == 13 * SECOND_NS


def test_fault_comes_at_any_time_and_begins_nothing() -> None:
    one, two = told([0, 0, 0, 1, 1, 1, 2, 2, 2, 5, 5, 5, 3, 3, 3, 0, 0, 0, 1])
    assert names(one) == ["A", "B", "FAULT", "C", "REST"]
    assert names(two) == ["A"]
    after = told([3, 3, 3, 5, 5, 5, 1, 1, 1])
    assert len(after) == 1


def test_rest_that_lasts_too_long_ends_the_cycle() -> None:
    (one,) = told([0, 0, 0, 1, 1, 1, 3, 3, 3, *[0] * 200])
    assert one.end_ns == (3 + 100) * SECOND_NS
    assert one.phases[-1].end_ns == one.end_ns


def test_a_gap_ends_the_phase_before_it_and_is_flagged() -> None:
    code = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 0, 0, 0, 1]
    times = [float(t if t < 9 else t + 5) for t in range(len(code))]
    one, two = told(code, times)
    assert Flag.GAP in one.flags
    assert not two.flags
    b = one.phase("B")
    c = one.phase("C")
    assert b is not None
    assert c is not None
    assert b.end_ns == 8 * SECOND_NS
    assert c.start_ns == 14 * SECOND_NS


def test_another_witness_fills_gaps_only() -> None:
    mine = rows([1, 1, 2], [0.0, 1.0, 9.0])
    other = rows([3, 3, 3], [1.0, 5.0, 12.0])
    assert mine.filled(other).code.tolist() == [1, 1, 3, 2, 3]


def test_the_counter_parts_cycles_over_a_gap() -> None:
    state = rows([2, 2, 2, 2], [0.0, 1.0, 60.0, 61.0])
    moved = Series.of(state.ts_ns, [7.0, 7.0, 8.0, 8.0], every_s=1.0)
    still = Series.of(state.ts_ns, [7.0, 7.0, 7.0, 7.0], every_s=1.0)
    assert counter_breaks(state, moved, ORDER, "A").tolist() == [False, True, False]
    assert not counter_breaks(state, still, ORDER, "A").any()


def test_lonely_rows_of_a_counter_are_dropped_and_resets_stay() -> None:
    series = Series.of(range(7), [5.0, 5.0, 1e9, 6.0, 6.0, 0.0, 1.0])
    assert counted(series).value.tolist() == [5.0, 5.0, 6.0, 6.0, 0.0, 1.0]


def test_rows_that_name_no_state_are_dropped() -> None:
    series = Series.of(range(5), [0.0, 0.5, 9.0, np.nan, 1.0])
    assert StateRows.of(series, 3).code.tolist() == [0, 1]


def test_nothing_gives_nothing() -> None:
    assert told([]) == []
