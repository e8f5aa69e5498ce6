"""What flows keeps its invariants whatever it is made of."""

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from pipeline.model import (
    CAUSES,
    MOST_VALUES,
    Batch,
    Body,
    Phase,
    Quality,
    Tally,
    Waveform,
    rows_of,
    waveforms_of,
    weight_of,
)
from tests.support.spine import ASSET, T0_NS, batch, event, tally, waveform

CODES = st.sampled_from([int(code) for code in Quality]) | st.integers(0, 2**32 - 1)
ROWS = st.lists(st.tuples(st.floats(), CODES), max_size=20)


@given(ROWS)
def test_value_is_nan_exactly_where_quality_is_bad(rows: list[tuple[float, int]]) -> None:
    values, codes = [value for value, _ in rows], [code for _, code in rows]
    made = Batch.of(ASSET, ("a",), T0_NS, 0, np.array(values, float), np.array(codes, np.uint32))
    assert len(made) == len(rows)
    for (value, code), kept, quality in zip(rows, made.value.tolist(), made.quality.tolist(), strict=True):
        if code >= Quality.BAD:
            assert quality == code
            assert math.isnan(kept)
        elif math.isfinite(value):
            assert (kept, quality) == (value, code)
        else:
            assert quality == Quality.BAD_SENSOR_FAILURE
            assert math.isnan(kept)


def test_scalars_are_spread_over_all_rows() -> None:
    made = Batch.of(ASSET, ("a",), T0_NS, 0, [1.0, 2.0], Quality.UNCERTAIN)
    assert made.ts_ns.tolist() == [T0_NS, T0_NS]
    assert made.tag.tolist() == [0, 0]
    assert made.quality.tolist() == [Quality.UNCERTAIN] * 2


def test_arrays_are_read_only_and_input_is_untouched() -> None:
    given = np.array([1.0, math.inf])
    made = Batch.of(ASSET, ("a",), T0_NS, 0, given)
    assert given.tolist() == [1.0, math.inf]
    for array in (made.ts_ns, made.tag, made.value, made.quality):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_columns_of_different_length_are_refused() -> None:
    ones = np.ones(1)
    with pytest.raises(ValueError, match="different length"):
        Batch(ASSET, ("a",), np.array([1, 2]), ones.astype(np.uint16), ones, ones.astype(np.uint32))
    with pytest.raises(ValueError, match="different length"):
        Tally(ASSET, ("a",), np.array([1]), np.array([0]), np.array([1]), np.zeros((1, len(CAUSES) - 1), int))


def test_bodies_compare_by_value_and_nan_equals_nan() -> None:
    nan = Batch.of(ASSET, ("a",), T0_NS, 0, [math.nan, 1.0])
    assert nan == Batch.of(ASSET, ("a",), T0_NS, 0, [math.nan, 1.0])
    assert nan != Batch.of(ASSET, ("a",), T0_NS, 0, [math.nan, 2.0])
    assert batch() != batch(1)
    assert tally(3, late=1) == tally(3, late=1)
    assert tally(3, late=1) != tally(3, unreachable=1)
    assert batch() != tally(3)


def test_event_id_is_what_the_event_says_of_its_condition() -> None:
    raised = event("hot", phase=Phase.RAISED, key="zone1", onset_ns=T0_NS)
    cleared = event("cool", phase=Phase.CLEARED, key="zone1", onset_ns=T0_NS, ts_ns=T0_NS + 5)
    assert raised.id == cleared.id
    assert raised.id.version == 5
    assert raised.id != event("hot", key="zone2", onset_ns=T0_NS).id
    assert event("hot").id == event("other words", data={"x": 1}).id


def test_rows_are_those_of_batches() -> None:
    assert rows_of([batch(n=3), tally(9), event(), batch(n=4)]) == 7


def test_waveforms_are_read_only_and_compare_by_value_with_their_holes() -> None:
    given = np.zeros((3, 2), np.float32)
    made = Waveform(ASSET, "x", T0_NS, 50_000, ("a", "b"), given)
    with pytest.raises(ValueError, match="read-only"):
        made.value[0, 0] = 1
    assert waveform() == waveform()
    assert waveform() != waveform(seed=2)
    assert len(waveform(n=7)) == 7


@pytest.mark.parametrize(
    ("shape", "channels", "period_ns", "words"),
    [
        ((3, 2), ("a",), 1, "expected"),
        ((3,), ("a",), 1, "expected"),
        ((0, 1), ("a",), 1, "expected"),
        ((3, 0), (), 1, "expected"),
        ((3, 2), ("a", "a"), 1, "appears twice"),
        ((3, 1), ("a",), 0, "at least 1"),
        ((MOST_VALUES + 1, 1), ("a",), 1, "at most"),
        ((1, 65), tuple(map(str, range(65))), 1, "64 channels"),
    ],
)
def test_waveforms_that_cannot_be_are_refused(
    shape: tuple[int, ...], channels: tuple[str, ...], period_ns: int, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Waveform(ASSET, "x", T0_NS, period_ns, channels, np.zeros(shape, np.float32))


def test_five_values_of_a_waveform_weigh_as_much_as_a_row() -> None:
    bodies: list[Body] = [batch(n=3), waveform(n=50), tally(9), waveform(n=50)]
    assert (waveforms_of(bodies), rows_of(bodies), weight_of(bodies)) == (2, 3, 3 + 2 * 50 * 2 // 5)
