"""Whatever the way does to a spool's records, the table is the spool, once, in order."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from pipeline.ledger import BITS, LAST_SEQ, Verdict, decide, record_id

GAPS = st.lists(st.sampled_from([1, 1, 1, 1, 2, 5, 1 << 20]), min_size=1, max_size=25)


def spool_of(gaps: list[int]) -> list[tuple[int, int]]:
    """(previous, seq) of every record."""
    seqs = [0]
    for gap in gaps:
        seqs.append(seqs[-1] + gap)
    return list(pairwise(seqs))


@given(GAPS, st.randoms(use_true_random=False))
def test_everything_is_committed_once_in_order_through_any_loss_doubling_and_reordering(
    gaps: list[int], rng: random.Random
) -> None:
    spool = spool_of(gaps)
    committed: list[int] = []
    last, rounds = 0, 0
    while last != spool[-1][1]:
        rounds += 1
        sent = [one for one in spool if one[1] > last]  # what a rewind sends again
        sent[0] = (last, sent[0][1])
        arriving = [one for one in sent if rng.random() > 0.3] + rng.choices(spool, k=rng.randrange(4))
        rng.shuffle(arriving)
        if rounds > 50:
            arriving = sent  # the way must be fair at last
        for previous, seq in arriving:
            verdict = decide(last, previous, seq)
            assert (verdict is Verdict.DUPLICATE) == (seq in committed)
            if verdict is Verdict.COMMIT:
                committed.append(seq)
                last = seq
    assert committed == [seq for _, seq in spool]


@given(st.integers(0, LAST_SEQ), st.integers(0, LAST_SEQ), st.integers(1, LAST_SEQ))
def test_every_record_has_exactly_one_fate(last: int, previous: int, seq: int) -> None:
    verdict = decide(last, previous, seq)
    assert (verdict is Verdict.DUPLICATE) == (seq <= last)
    assert (verdict is Verdict.HOLE) == (seq > last and previous > last)


@given(GAPS, st.data())
def test_record_is_never_committed_before_one_the_spool_held_before_it(gaps: list[int], data: st.DataObject) -> None:
    spool = spool_of(gaps)
    done = data.draw(st.integers(0, len(spool)))
    last = spool[done - 1][1] if done else 0
    for place, (previous, seq) in enumerate(spool):
        if decide(last, previous, seq) is Verdict.COMMIT:
            assert place == done


@given(st.integers(1, 2**23 - 1), st.integers(0, LAST_SEQ))
def test_id_gives_source_and_seq_back(source: int, seq: int) -> None:
    key = record_id(source, seq)
    assert (key >> BITS, key & LAST_SEQ) == (source, seq)
    assert key < 2**63


def test_ids_of_two_spools_never_meet() -> None:
    assert record_id(1, LAST_SEQ) < record_id(2, 0)


@pytest.mark.parametrize("module", ["pipeline.ledger", "pipeline.units"])
def test_examples_in_docstrings_are_true(module: str) -> None:
    import doctest
    import importlib

    found = doctest.testmod(importlib.import_module(module))
    assert found.attempted > 0
    assert found.failed == 0
