"""The result contract: a finite number or a reason, the same for one row and for a column."""

import inspect
import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from analytics import capability, energy, multivariate, spc
from analytics.formulas import (
    atmosphere,
    casting,
    heat_treatment,
    melting,
    molding,
    plating,
    pyrometry,
    seam,
    spot_welding,
    surface_treatment,
    tempering,
    welding,
)
from analytics.result import Column, Evidence, Floats, Formula, Reason, Results, columns, judged, ratio, silent

MODULES = [atmosphere, casting, heat_treatment, melting, molding, plating, pyrometry, seam, spot_welding]
MODULES += [surface_treatment, tempering, welding, capability, energy, multivariate, spc]
VALUED = {Reason.OK, Reason.OUT_OF_VALID_RANGE}
NUMBERS = st.one_of(
    st.floats(-1e3, 1e3),
    st.sampled_from([0.0, 1.0, -1.0, 500.0, 800.0, np.nan, np.inf, -np.inf, 1e300, 1e-300]),
    st.floats(allow_nan=True, allow_infinity=True),
)


def _is_closed(function: Callable[..., object]) -> bool:
    signature = inspect.signature(function)
    wanted = [p for p in signature.parameters.values() if p.default is inspect.Parameter.empty]
    return signature.return_annotation is Results and all(p.annotation == Column for p in wanted) and bool(wanted)


CLOSED = [
    function
    for module in MODULES
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if function.__module__ == module.__name__ and not name.startswith("_") and _is_closed(function)
]


def _call(function: Callable[..., Results], table: Floats) -> Results:
    wanted = [p for p in inspect.signature(function).parameters.values() if p.default is inspect.Parameter.empty]
    named = {p.name: table[i % len(table)] for i, p in enumerate(wanted)}
    return function(**named)


def test_the_closed_forms_are_found() -> None:
    assert len(CLOSED) > 70


@pytest.mark.parametrize("function", CLOSED, ids=lambda f: f"{f.__module__.rsplit('.', 1)[-1]}.{f.__name__}")
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(table=st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=7, max_size=7))
def test_a_value_is_finite_or_none_and_a_column_is_its_rows(
    function: Callable[..., Results], table: list[list[float]]
) -> None:
    inputs = np.array(table, dtype=np.float64)
    found = _call(function, inputs)
    assert found.value.shape == (3,)
    for i, row in enumerate(found):
        assert (row.value is None) or (np.isfinite(row.value) and row.reason in VALUED)
        assert row.value is not None or row.reason is not Reason.OK
        alone = _call(function, inputs[:, i]).one()
        assert (alone.reason, alone.inputs_hash) == (row.reason, row.inputs_hash)
        assert alone.value == (None if row.value is None else pytest.approx(row.value, rel=1e-12))


@pytest.mark.parametrize("function", CLOSED, ids=lambda f: f.__name__)
def test_none_and_nan_are_missing_and_inputs_stay_untouched(function: Callable[..., Results]) -> None:
    wanted = sum(p.default is inspect.Parameter.empty for p in inspect.signature(function).parameters.values())
    table = np.full((7, 2), 3.0)
    table[:, 1] = np.nan
    before = table.copy()
    assert _call(function, table)[1].reason is Reason.MISSING_INPUT
    assert np.array_equal(table, before, equal_nan=True)
    assert function(*[None] * _positional(function), **_keyword(function, wanted)).one().value is None


def _positional(function: Callable[..., object]) -> int:
    kinds = [p.kind for p in inspect.signature(function).parameters.values() if p.default is inspect.Parameter.empty]
    return sum(kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for kind in kinds)


def _keyword(function: Callable[..., object], _: int) -> dict[str, None]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: None for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty}


def test_reasons_come_in_order() -> None:
    x, y = columns([np.nan, 0.0, 1.0, 2.0], [0.0, 0.0, 1.0, 1.0])
    with silent():
        low = Evidence(coverage=[0.1, 0.1, 0.1, 0.9], least_coverage=0.5)
        zero, odd = (Reason.ZERO_DENOM, y <= 0), (Reason.OUT_OF_VALID_RANGE, x > 0)
        found = judged(x / y, Formula("F-X-01", "1"), (x, y), odd, zero, evidence=low)
    wanted = [Reason.MISSING_INPUT, Reason.ZERO_DENOM, Reason.LOW_COVERAGE, Reason.OUT_OF_VALID_RANGE]
    assert [r.reason for r in found] == wanted
    assert [r.value for r in found] == [None, None, None, 2.0]


def test_bad_quality_goes_before_everything_and_uncertain_does_not_matter() -> None:
    found = ratio([1, 1, 0], [2, 2, 0], Formula("F-X-01", "1"))
    graded = found.graded(Evidence(quality=[0x808C0000, 0x40930000, 0x808C0000]))
    assert [r.reason for r in graded] == [Reason.BAD_QUALITY, Reason.OK, Reason.BAD_QUALITY]
    assert [r.value for r in graded] == [None, 0.5, None]
    assert [r.inputs_hash for r in graded] == [r.inputs_hash for r in found]


def test_grading_keeps_the_reasons_there_were() -> None:
    found = ratio([1, 1], [0, 2], Formula("F-X-01", "1")).graded(Evidence(5, 0.99))
    assert [(r.reason, r.n_used, r.coverage) for r in found] == [(Reason.ZERO_DENOM, 5, 0.99), (Reason.OK, 5, 0.99)]


def test_hash_depends_on_every_input_on_the_formula_and_its_version() -> None:
    names = [("F-X-01", "1"), ("F-X-02", "1"), ("F-X-01", "2")]
    found = [ratio(a, 2, Formula(i, "1", v)).one().inputs_hash for (i, v), a in itertools.product(names, (1, 3))]
    assert len(set(found)) == len(found)
    assert ratio(0.0, 2, Formula("F-X-01", "1")).one() == ratio(-0.0, 2, Formula("F-X-01", "1")).one()


def test_columns_are_read_only_compare_by_value_and_refuse_one_of_many() -> None:
    found = ratio([1, 2], 2, Formula("F-X-01", "1"))
    with pytest.raises(ValueError, match="read-only"):
        found.value[0] = 3
    assert found == ratio([1, 2], 2, Formula("F-X-01", "1"))
    assert found != ratio([1, 3], 2, Formula("F-X-01", "1"))
    assert len(found) == 2
    with pytest.raises(ValueError, match="2 values where one"):
        found.one()


def test_an_overflow_is_out_of_range_without_a_value() -> None:
    found = casting.plunger_area(1e200).one()
    assert (found.value, found.reason) == (None, Reason.OUT_OF_VALID_RANGE)
