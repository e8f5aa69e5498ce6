from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from collectors.completeness import Accounts
from collectors.source import Missed, Reading
from pipeline.model import CAUSES, MINUTE_NS, Batch, Cause, Tally

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
TAGS = ("a", "b", "c")
START = 1_780_000_000 * SECOND // MINUTE_NS * MINUTE_NS


def batch(stamps: Any, tags: Any = None) -> Batch:
    tag = np.resize(np.arange(len(TAGS)), len(stamps)) if tags is None else tags
    return Batch.of("e/s/a/l/c", TAGS, stamps, tag, np.zeros(len(stamps)))


def scan(tick: int) -> Batch:
    return batch([tick] * len(TAGS))


@dataclass
class Store:
    """What became durable: the bodies and the state that went with them."""

    bodies: list[Any] = field(default_factory=list)
    state: str = ""

    def put(self, accounts: Any, bodies: Any, *, full: bool = False) -> None:
        everything = (*bodies, *accounts.ripe())
        if full:
            accounts.refuse(everything)
        else:
            self.bodies += everything
            self.state = accounts.state()

    @property
    def rows(self) -> int:
        return sum(len(body) for body in self.bodies if isinstance(body, Batch))

    def sums(self) -> tuple[int, int]:
        tallies = [body for body in self.bodies if isinstance(body, Tally)]
        return sum(int(t.expected.sum()) for t in tallies), sum(int(t.missing.sum()) for t in tallies)

    def by_minute(self) -> dict[int, np.ndarray]:
        found: dict[int, np.ndarray] = {}
        for tally in (body for body in self.bodies if isinstance(body, Tally)):
            for minute, tag, expected in zip(tally.minute_ns, tally.tag, tally.expected, strict=True):
                found.setdefault(int(minute), np.zeros(len(TAGS), np.int64))[tag] += expected
        return found

    def causes(self) -> dict[Cause, int]:
        total = np.zeros(len(CAUSES), np.int64)
        for tally in (body for body in self.bodies if isinstance(body, Tally)):
            total += tally.missing.sum(axis=0)
        return {cause: int(n) for cause, n in zip(CAUSES, total, strict=True) if n}


def accounts_of(arrival: Any = "polled", every_s: Any = 1.0, state: Any = "") -> Accounts:
    return Accounts("e/s/a/l/c", TAGS, every_s, arrival, state)


times = st.integers(START - 3 * DAY, START + 3 * DAY)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("rows"), st.lists(times, max_size=6), st.booleans()),
        st.tuples(st.just("scan"), times, st.booleans()),
        st.tuples(st.just("missed"), times, st.integers(0, 4000), st.booleans()),
        st.tuples(st.just("cover"), times, st.sampled_from([Cause.UNREACHABLE, Cause.GATEWAY_DOWN]), st.booleans()),
        st.tuples(st.just("over"), times, st.booleans()),
        st.tuples(st.just("alive"), times),
        st.tuples(st.just("kill")),
        st.tuples(st.just("close")),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(operations, st.sampled_from(["polled", "pushed", "kept"]), st.sampled_from([0.2, 1.0, 7.0]))
def test_expected_is_rows_plus_missing_under_any_sequence(sequence: Any, arrival: Any, every_s: Any) -> None:
    store, accounts = Store(), accounts_of(arrival, every_s)
    for name, *given_ in sequence:
        if name == "rows":
            stamps, full = given_
            reading = Reading((batch(stamps),))
            accounts.add(reading, max([START, *stamps]))
            store.put(accounts, reading.bodies, full=full)
        elif name == "scan":
            tick, full = given_
            reading = Reading((scan(tick),), ticks=(tick, tick))
            accounts.add(reading, tick)
            store.put(accounts, reading.bodies, full=full)
        elif name == "missed":
            first, count, full = given_
            accounts.add(Reading((), (Missed(first, count, Cause.LATE),), ticks=(first, first)), first)
            store.put(accounts, (), full=full)
        elif name == "cover":
            until, cause, full = given_
            while not accounts.cover(until, cause):
                store.put(accounts, (), full=full)
            store.put(accounts, (), full=full)
        elif name == "over":
            now, full = given_
            store.put(accounts, accounts.over(now), full=full)
        elif name == "alive":
            accounts.alive(given_[0])
        elif name == "kill":
            accounts = accounts_of(arrival, every_s, store.state)
        else:
            store.put(accounts, accounts.close())
    store.put(accounts, accounts.close())
    expected, missing = store.sums()
    assert expected == store.rows + missing


lives = st.lists(
    st.tuples(st.sampled_from(["read", "read", "late", "down", "kill", "full"]), st.integers(1, 90)),
    min_size=1,
    max_size=25,
)


@settings(deadline=None)
@given(lives, st.sampled_from([0.5, 1.0, 3.0]))
def test_every_full_minute_of_a_polled_machine_expects_the_grid(life: Any, every_s: Any) -> None:
    every = round(every_s * SECOND)
    store, accounts, tick = Store(), accounts_of(every_s=every_s), START
    cause, gap = Cause.GATEWAY_DOWN, True

    def read(full: bool = False, late: int = 0) -> None:
        nonlocal tick, gap, cause
        tick += every * (1 + late)
        first = tick - late * every
        if gap:
            while not accounts.cover(first - 1, cause):
                store.put(accounts, ())
        missed = (Missed(first, late, Cause.LATE),) if late else ()
        reading = Reading((scan(tick),), missed, ticks=(first, tick))
        accounts.add(reading, tick + 3)
        store.put(accounts, reading.bodies, full=full)
        gap = False

    for what, count in life:
        if what == "late":
            read(late=count)
        elif what in ("read", "full"):
            for _ in range(count):
                read(full=what == "full")
        else:
            tick += count * every
            gap = True
            if what == "kill":
                accounts, cause = accounts_of(every_s=every_s, state=store.state), Cause.GATEWAY_DOWN
            else:
                cause = Cause.UNREACHABLE
                accounts.cover(tick + every // 2, cause)
    read()
    store.put(accounts, accounts.close())
    minutes = store.by_minute()
    expected, missing = store.sums()
    assert expected == store.rows + missing
    for minute in sorted(minutes)[1:-1]:
        assert minutes[minute].tolist() == [60 / every_s] * len(TAGS)


def test_an_outage_is_booked_to_its_cause_and_nothing_else() -> None:
    store, accounts = Store(), accounts_of()
    accounts.add(Reading((scan(START),), ticks=(START, START)), START)
    assert accounts.cover(START + 10 * SECOND + 5, Cause.UNREACHABLE)
    back = START + 15 * SECOND
    assert accounts.cover(back - 1, Cause.UNREACHABLE)
    accounts.add(Reading((scan(back),), ticks=(back, back)), back)
    store.put(accounts, accounts.close())
    assert store.causes() == {Cause.UNREACHABLE: 14 * len(TAGS)}


def test_the_first_start_covers_nothing() -> None:
    accounts = accounts_of()
    assert accounts.cover(START, Cause.GATEWAY_DOWN)
    assert accounts.close() == ()


def test_a_pushed_device_misses_whole_periods_only() -> None:
    store, accounts = Store(), accounts_of("pushed", 2.0)
    accounts.alive(START)
    for until in (START + 3 * SECOND, START + 5 * SECOND, START + 9 * SECOND):
        assert accounts.cover(until, Cause.UNREACHABLE)
    store.put(accounts, accounts.close())
    assert store.causes() == {Cause.UNREACHABLE: 4 * len(TAGS)}


def test_what_a_broker_keeps_is_not_missing() -> None:
    accounts = accounts_of("kept")
    accounts.alive(START)
    assert accounts.cover(START + DAY, Cause.UNREACHABLE)
    assert accounts.close() == ()


def test_rows_count_in_the_minute_of_their_own_time() -> None:
    accounts = accounts_of("kept")
    accounts.add(Reading((batch([START + 1, START - DAY, START + 2], [0, 0, 1]),)), START + DAY)
    (tally,) = accounts.close()
    rows = list(zip(tally.minute_ns.tolist(), tally.tag.tolist(), tally.expected.tolist(), strict=True))
    assert rows == [(START - DAY, 0, 1), (START, 0, 1), (START, 1, 1)]


def test_a_minute_is_told_once_when_the_next_one_begins() -> None:
    accounts = accounts_of()
    for second in range(125):
        tick = START + second * SECOND
        accounts.add(Reading((scan(tick),), ticks=(tick, tick)), tick)
        told = accounts.ripe()
        assert bool(told) == (second in (60, 120))
        if told:
            assert told[0].expected.tolist() == [60] * len(TAGS)


@pytest.mark.parametrize(("days", "tags"), [(2, 3), (365, 100), (9_500, 100), (365, 20_000)])
def test_an_outage_of_years_stays_bounded_and_exact(days: Any, tags: Any) -> None:
    names = tuple(f"t{i}" for i in range(tags))
    accounts = Accounts("a", names, 1.0, "polled")
    accounts.add(Reading((), ticks=(START, START)), START)
    expected = missing = rows = 0
    done = False
    while not done:
        done = accounts.cover(START + days * DAY, Cause.GATEWAY_DOWN)
        for tally in accounts.ripe() if not done else accounts.close():
            expected += int(tally.expected.sum())
            missing += int(tally.missing.sum())
            rows += len(tally)
    assert expected == missing == days * 86_400 * tags
    assert rows <= 700_000


def test_a_spool_that_stays_full_does_not_fill_the_memory() -> None:
    store, accounts = Store(), accounts_of(every_s=60.0)
    for minute in range(1_000):
        tick = START + minute * MINUTE_NS
        reading = Reading((scan(tick),), ticks=(tick, tick))
        accounts.add(reading, tick)
        store.put(accounts, reading.bodies, full=True)
    assert len(accounts.state()) < 300_000
    store.put(accounts, accounts.close())
    assert store.causes() == {Cause.SPOOL_FULL: 1_000 * len(TAGS)}
    assert store.sums()[0] == 1_000 * len(TAGS)


def test_the_state_is_compact() -> None:
    names = tuple(f"t{i}" for i in range(5_000))
    accounts = Accounts("a", names, 1.0, "polled")
    stamps = np.full(5_000, START)
    accounts.add(
        Reading((Batch.of("a", names, stamps, np.arange(5_000), np.zeros(5_000)),), ticks=(START, START)), START
    )
    assert len(accounts.state()) < 100


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 5_000), st.lists(st.integers(1, 4_000), min_size=1, max_size=6), st.integers(1, 90))
def test_a_tag_with_a_heartbeat_owes_a_row_for_some_ticks_however_they_are_booked(
    first: int, steps: list[int], stride: int
) -> None:
    accounts = Accounts("e/s/a/l/c", TAGS, 1.0, "polled", on_demand=("c",), ticks_a_row={"a": stride})
    tick = START + first * SECOND
    accounts.add(Reading((), ticks=(tick, tick)), tick)
    told = np.zeros(len(TAGS), np.int64)
    for step in steps:
        tick += step * SECOND
        while not accounts.cover(tick, Cause.UNREACHABLE):
            told += summed(accounts.ripe())
        told += summed(accounts.close())
    begin, end = (START + first * SECOND) // SECOND, tick // SECOND
    assert told.tolist() == [end // stride - begin // stride, sum(steps), 0]


def summed(tallies: Any) -> Any:
    """Rows missing a tag, all of them expected."""
    total = np.zeros(len(TAGS), np.int64)
    for tally in tallies:
        assert (tally.missing.sum(axis=1) == tally.expected).all()
        np.add.at(total, tally.tag, tally.expected)
    return total
