"""What comes after an outage takes back exactly what was booked as missing."""

import itertools

import numpy as np
from hypothesis import given, settings, strategies as st

from collectors.completeness import Accounts
from collectors.source import Mended, Reading
from pipeline.model import MINUTE_NS, Batch, Cause, Tally

SECOND = 1_000_000_000
TAGS = ("a", "b")
START = 1_780_000_000 * SECOND


def accounts_of(every_s: float, state: str = "", strides: dict[str, int] | None = None) -> Accounts:
    return Accounts("e/s/a/l/c", TAGS, every_s, "mended", state, ticks_a_row=strides)


def sums(tallies: list[Tally]) -> tuple[int, list[int]]:
    missing = [int(sum(t.missing[t.tag == tag].sum() for t in tallies)) for tag in range(len(TAGS))]
    return int(sum(t.expected.sum() for t in tallies)), missing


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 90_000), st.integers(1, 90_000)), min_size=1, max_size=5),
    st.sampled_from([0.2, 1.0, 7.0]),
    st.lists(st.floats(0, 1), max_size=4),
    st.sampled_from([None, {"a": 3}]),
    st.booleans(),
)
def test_what_is_mended_piece_by_piece_was_never_missing(
    spans: list[tuple[int, int]], every_s: float, cuts: list[float], strides: dict[str, int] | None, told: bool
) -> None:
    accounts, now, tallies = accounts_of(every_s, strides=strides), START, list[Tally]()
    accounts.alive(now)
    for up_s, down_s in spans:
        now += up_s * SECOND
        accounts.alive(now)
        now += down_s * SECOND
        while not accounts.cover(now, Cause.UNREACHABLE):
            tallies += accounts.ripe()
    tallies += accounts.close() if told else ()
    accounts = accounts_of(every_s, accounts.state(), strides)
    ends = [START - 1, *sorted(START + int(cut * (now - START)) for cut in cuts), now]
    for start, end in itertools.pairwise(ends):
        accounts.add(Reading((), mended=(Mended(0, start, end),)), now)
        accounts = accounts_of(every_s, accounts.state(), strides)
    tallies += accounts.close()
    expected, missing = sums(tallies)
    assert missing[0] == 0
    assert missing[1] == expected >= 0


def test_the_minutes_of_an_outage_are_those_that_are_mended() -> None:
    accounts = accounts_of(1.0)
    begin = START // MINUTE_NS * MINUTE_NS
    accounts.alive(begin)
    accounts.cover(begin + 3 * MINUTE_NS - SECOND, Cause.UNREACHABLE)
    accounts.close()
    rows = Batch.of("e/s/a/l/c", TAGS, [begin + MINUTE_NS + 5 * SECOND], np.array([1]), np.zeros(1))
    mended = Mended(1, begin + MINUTE_NS - 1, begin + 2 * MINUTE_NS - 1)
    accounts.add(Reading((rows,), mended=(mended,)), begin + 3 * MINUTE_NS)
    (tally,) = accounts.close()
    assert tally.minute_ns.tolist() == [begin + MINUTE_NS]
    assert (tally.tag.tolist(), tally.expected.tolist()) == ([1], [-59])
    assert tally.missing.sum() == -60
