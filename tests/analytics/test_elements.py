"""Elements of a shift against a slow look at every second, and the rules that figures must keep."""

import random
from datetime import date, time
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, strategies as st

from analytics import oee
from analytics.elements import Entered, Made, Row, Said, Stop, elements
from analytics.intervals import Intervals
from analytics.result import Reason
from analytics.shifts import shift_runs
from analytics.window import SECOND_NS
from pipeline.plant import Plant, Shift

PLANT = Plant(
    enterprise="acme",
    site="ansan1",
    shift=(
        Shift(name="day", start=time(8), end=time(20), breaks=((time(12), time(13)), (time(15), time(15, 10)))),
        Shift(name="night", start=time(20), end=time(8), breaks=((time(0), time(1)),)),
    ),
    holiday=(date(2026, 11, 19),),
)
MONDAY_NS = round(np.datetime64("2026-11-15T23:00", "s").astype(np.int64)) * SECOND_NS
"""Monday 2026-11-16, 08:00 in Ansan."""


def made(start_s: list[float], end_s: list[float], *, failed: tuple[int, ...] = (), ideal_s: float = 42.0) -> Made:
    count = len(start_s)
    good = np.array([0.0 if i in failed else 1.0 for i in range(count)])
    base = MONDAY_NS
    return Made(
        np.array([base + round(s * SECOND_NS) for s in start_s], dtype=np.int64),
        np.array([base + round(s * SECOND_NS) for s in end_s], dtype=np.int64),
        np.ones(count),
        good,
        np.full(count, ideal_s),
    )


def span(start_s: float, end_s: float) -> Intervals:
    return Intervals.of([MONDAY_NS + round(start_s * SECOND_NS)], [MONDAY_NS + round(end_s * SECOND_NS)])


def one_shift(cycles: Made, said: Said = Said()) -> Row:  # noqa: B008  # frozen
    runs = [r for r in shift_runs(PLANT, MONDAY_NS, MONDAY_NS + 3600 * SECOND_NS) if r.start_ns == MONDAY_NS]
    (row,) = elements(cycles, runs, said)
    return row


spans = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=8)


@given(spans, spans, st.lists(st.integers(-5, 70), min_size=1, max_size=5))
def test_sets_of_moments_are_what_a_look_at_every_moment_gives(
    some: list[tuple[int, int]], others: list[tuple[int, int]], at: list[int]
) -> None:
    def moments(pairs: list[tuple[int, int]]) -> set[int]:
        return {t for a, b in pairs for t in range(a, b)}

    def listed(found: Intervals) -> set[int]:
        assert np.all(found.start_ns < found.end_ns)
        assert np.all(found.end_ns[:-1] < found.start_ns[1:])
        return moments(list(zip(found.start_ns.tolist(), found.end_ns.tolist(), strict=True)))

    one = Intervals.of([a for a, _ in some], [b for _, b in some])
    two = Intervals.of([a for a, _ in others], [b for _, b in others])
    assert listed(one) == moments(some)
    assert listed(one.both(two)) == moments(some) & moments(others)
    assert listed(one.minus(two)) == moments(some) - moments(others)
    assert listed(one.plus(two)) == moments(some) | moments(others)
    assert one.before(at).tolist() == [len([t for t in moments(some) if t < when]) for when in at]


def test_shifts_break_at_the_plants_own_clock_and_belong_to_the_day_they_begin() -> None:
    runs = shift_runs(PLANT, MONDAY_NS, MONDAY_NS + 7 * 86_400 * SECOND_NS)
    starting = [run for run in runs if run.start_ns >= MONDAY_NS]
    assert [(run.day.isoformat()[5:], run.name) for run in starting][:4] == [
        ("11-16", "day"),
        ("11-16", "night"),
        ("11-17", "day"),
        ("11-17", "night"),
    ]
    assert "2026-11-19" not in {run.day.isoformat() for run in runs}, "a holiday has no shifts"
    assert {run.day.weekday() for run in starting} == {0, 1, 2, 4}
    night = starting[1]
    assert (night.end_ns - night.start_ns) / SECOND_NS == 12 * 3600
    assert night.breaks.total_ns / SECOND_NS == 3600
    assert night.breaks.start_ns[0] == night.start_ns + 4 * 3600 * SECOND_NS, "midnight is inside the night shift"


def test_every_second_of_planned_time_has_one_state() -> None:
    draw = random.Random(4)
    starts, at = [], 0.0
    ends = []
    while at < 11 * 3600:
        at += draw.choice([0.0, 20.0, 200.0, 299.0, 301.0, 2400.0])
        starts.append(at)
        at += draw.uniform(30, 90)
        ends.append(at)
    stops = {
        Stop.PLANNED: span(1000, 4000),
        Stop.SETUP: span(9000, 12000),
        Stop.TECHNICAL: span(11000, 14000),
        Stop.ORGANISATIONAL: span(13000, 20000),
        Stop.CORRECTIVE: span(30000, 33000),
    }
    cycles = made(starts, ends)
    row = one_shift(cycles, Said(stops=stops, blind=span(21000, 22000)))
    want = _second_by_second(cycles, stops)
    e = row.elements
    got = {
        "busy": e.planned_busy_s, "producing": e.production_s, "setup": e.setup_s, "delay": e.delay_s,
        "down": row.down_s, "technical": row.technical_s, "organisational": row.organisational_s,
    }  # fmt: skip
    for name, seconds in got.items():
        assert seconds == pytest.approx(want[name], abs=3.0 * len(starts) ** 0.5 + 10), name
    together = [float(np.asarray(x, dtype=float)) for x in (e.production_s, e.setup_s, e.delay_s)]
    assert sum(together) + row.down_s == pytest.approx(float(np.asarray(e.planned_busy_s, dtype=float)), abs=1e-6)


def _second_by_second(cycles: Made, stops: dict[Stop, Intervals]) -> dict[str, float]:
    """The slow twin: the state of the machine at the middle of every second of the shift."""
    found = dict.fromkeys(("busy", "producing", "setup", "delay", "down", "technical", "organisational"), 0.0)
    start, end = (np.asarray(column) for column in (cycles.start_ns, cycles.end_ns))
    for second in range(12 * 3600):
        t = MONDAY_NS + second * SECOND_NS + SECOND_NS // 2
        running = bool(np.any((start <= t) & (t < end)))
        said = {kind for kind, some in stops.items() if np.any((some.start_ns <= t) & (t < some.end_ns))}
        pause = 4 * 3600 <= second < 5 * 3600 or 7 * 3600 <= second < 7 * 3600 + 600
        blind = 21000 <= second < 22000 and not running
        if pause or (Stop.PLANNED in said and not running) or blind:
            continue
        found["busy"] += 1
        before, after = end[end <= t], start[start > t]
        short = len(before) and len(after) and after.min() - before.max() <= 300 * SECOND_NS
        state = (
            "producing" if running else "setup" if Stop.SETUP in said
            else "technical" if said & {Stop.TECHNICAL, Stop.CORRECTIVE}
            else "organisational" if Stop.ORGANISATIONAL in said else "delay" if short else "unsaid"
        )  # fmt: skip
        if state in found:
            found[state] += 1
        if state in ("technical", "organisational", "unsaid"):
            found["down"] += 1
    return found


def test_the_worked_example_of_the_standard() -> None:
    """Section 6.1: PBT 450 min, APT 395, setup 25, delay 18; 520 made, 494 good, 42 s each."""
    starts = [i * 395 * 60 / 520 for i in range(520)]
    runs = [SimpleNamespace(start_ns=MONDAY_NS, end_ns=MONDAY_NS + 450 * 60 * SECOND_NS, breaks=span(0, 0), name="x")]
    cycles = made(starts, [*starts[1:], 395 * 60.0], failed=tuple(range(26)))
    said = Said(stops={Stop.SETUP: span(395 * 60, 420 * 60)})
    (row,) = elements(cycles, runs, said)  # type: ignore[arg-type]
    e = row.elements
    assert f"{oee.availability(e).one():.6f}" == "0.877778 1"
    assert f"{oee.effectiveness(e).one():.6f}" == "0.921519 1"
    assert f"{oee.quality_ratio(e).one():.6f}" == "0.950000 1"
    assert f"{oee.oee(e).one():.6f}" == "0.768444 1"
    assert f"{oee.nee(e).one():.6f}" == "0.817080 1"


def test_a_shift_without_cycles_has_availability_nought_and_no_effectiveness() -> None:
    row = one_shift(made([], []))
    assert f"{oee.availability(row.elements).one():.1f}" == "0.0 1"
    assert oee.effectiveness(row.elements).one().reason is Reason.ZERO_DENOM
    assert f"{oee.oee(row.elements).one():.1f}" == "0.0 1"
    assert oee.quality_ratio(row.elements).one().value is None


def test_a_shift_planned_away_has_no_figures() -> None:
    row = one_shift(made([], []), Said(stops={Stop.PLANNED: span(-10, 12 * 3600 + 10)}))
    for figure in (oee.availability, oee.effectiveness, oee.quality_ratio, oee.oee, oee.nee):
        assert figure(row.elements).one().value is None


def test_orders_share_a_shift_and_a_cycle_belongs_to_the_order_in_which_it_ends() -> None:
    runs = [r for r in shift_runs(PLANT, MONDAY_NS, MONDAY_NS + 1) if r.start_ns == MONDAY_NS]
    change = MONDAY_NS + 1000 * SECOND_NS
    said = Said(orders=[(MONDAY_NS, "A"), (change, "B")], quantities=[Entered(change + 1, 0.5, 2.0)])
    rows = {row.order: row for row in elements(made([900, 960, 1030], [950, 1020, 1090]), runs, said)}
    assert {order: row.cycles for order, row in rows.items()} == {"A": 1, "B": 2}
    assert rows["A"].elements.order_s == 1000.0
    assert rows["A"].elements.production_s == 50 + 40
    assert rows["B"].elements.good == 1.5
    assert rows["B"].elements.planned_good_s == pytest.approx(42.0 * 1.5)
    assert rows["B"].elements.rework == 2.0


def test_what_stands_through_a_shift_change_counts_on_both_sides() -> None:
    runs = [r for r in shift_runs(PLANT, MONDAY_NS, MONDAY_NS + 86_000 * SECOND_NS) if r.start_ns >= MONDAY_NS]
    cycles = made([11.5 * 3600], [13 * 3600])
    day, night = elements(cycles, runs, Said())
    assert (day.elements.production_s, night.elements.production_s) == (1800.0, 3600.0)
    assert (day.cycles, night.cycles) == (0, 1)
    total = float(np.asarray(day.elements.planned_busy_s, float)) + float(
        np.asarray(night.elements.planned_busy_s, float)
    )
    assert total == 24 * 3600 - 3600 - 600 - 3600
