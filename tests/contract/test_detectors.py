"""Every detector keeps the contract by being in the union: no state, no future, no mixing of groups, a page."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from analytics.detector import Arrays, Detector, Scores
from analytics.known_detectors import AnyDetector
from analytics.result import Floats
from analytics.table import Table, Variable
from analytics.watching import TAGS, watchings
from analytics.window import Series

PAGES = Path(__file__).resolve().parents[2] / "analytics" / "detectors"
KINDS: tuple[type[Detector], ...] = get_args(get_args(AnyDetector)[0])
SMALL: dict[str, dict[str, Any]] = {  # settings that keep the memory, and so the tables, short
    "limits": {"low": -1.0, "high": 1.5},
    "stuck": {"longest_rows": 60, "resolution": 0.5},
    "cusum": {"longest_rows": 80},
    "sensor_drift": {"longest_rows": 80, "limit": 4.0},
    "pettitt": {"rows": 30},
    "pelt": {"rows": 25},
    "matrix_profile": {"window": 8, "history": 60},
    "adaptive": {"window": 40, "spread_rows": 60},
    "general": {"past_rows": 400, "every": 4, "recent_rows": 60, "episode_rows": 20},
}
EVERY_S = 21_600.0
"""Four rows a day, so that a day fits into a short memory."""


def made(kind: type[Detector]) -> Detector:
    name = kind.model_fields["kind"].default
    return kind.model_validate({"kind": name, **SMALL.get(name, {})})


def table(rows: int, seed: int) -> Table:
    """Two groups in turns, three variables with steps, spikes and flat stretches, some rows bad, some not normal."""
    generator = np.random.default_rng(seed)
    group = (generator.random(rows) < 0.4).astype(np.int64)
    value = generator.normal(size=(rows, 3)) + 3.0 * group[:, None] + 2.0
    value += np.where(np.arange(rows)[:, None] > 0.8 * rows, [1.5, 0.0, 20.0], 0.0)
    value[generator.random(value.shape) < 0.01] += 12.0
    value[rows // 3 : rows // 3 + 40] = value[rows // 3]
    value[generator.random(value.shape) < 0.02] = np.nan
    ts_ns = np.arange(rows, dtype=np.int64) * round(EVERY_S * 1e9)
    raw = Series.of(np.append(ts_ns, ts_ns[::7] + 1_000), np.zeros(len(ts_ns) + len(ts_ns[::7])), every_s=EVERY_S)
    return Table(
        ts_ns=ts_ns,
        variables=tuple(Variable(name, span=10.0, resolution=0.01) for name in ("a", "b", "c")),
        value=value,
        group=group,
        groups=("die=A", "die=B"),
        normal=generator.random(rows) > 0.03,
        every_s=EVERY_S,
        rows={"a": raw},
    )


def learned(detector: Detector) -> dict[str, Arrays]:
    history = table(700, 1)
    clean = replace(history, value=np.random.default_rng(2).normal(size=(700, 3)) + 3.0 * history.group[:, None] + 2.0)
    return detector.learn(clean) if type(detector).learn is not Detector.learn else {}


def at(scores: Scores, row: int) -> dict[str, Floats]:
    """All that is said of one row; `since` as rows back."""
    found = {}
    for name in ("score", "share", "centre", "low", "high"):
        column = getattr(scores, name)
        if column is not None:
            found[name] = np.asarray(column[row], dtype=np.float64)
    return found


@pytest.fixture(params=KINDS, ids=[kind.model_fields["kind"].default for kind in KINDS])
def detector(request: pytest.FixtureRequest) -> Detector:
    return made(request.param)


def ends(detector: Detector, whole: Table, number: int) -> list[int]:
    """Some rows of a group that have all of their memory before them, the last among them."""
    rows = whole.of_group(number)
    return [int(rows[i]) for i in np.linspace(detector.memory, len(rows) - 1, 5).astype(int) if i >= detector.memory]


def enough(detector: Detector) -> int:
    return max(400, 3 * detector.memory + 100)


@pytest.mark.parametrize("number", [0, 1])
def test_a_row_is_scored_alike_with_the_whole_past_and_with_its_memory_alone(detector: Detector, number: int) -> None:
    whole = table(enough(detector), 3)
    known = learned(detector)
    all_at_once = detector.examine(whole, known)
    rows = whole.of_group(number)
    for end in ends(detector, whole, number):
        kept = rows[rows <= end][-detector.memory - 1 :]
        alone = detector.examine(whole.take(kept), known)
        expected, found = at(all_at_once, end), at(alone, len(kept) - 1)
        assert expected.keys() == found.keys()
        for name, column in expected.items():
            np.testing.assert_allclose(found[name], column, rtol=1e-9, atol=1e-9, err_msg=name)
        if all_at_once.since is not None and alone.since is not None:
            rings = expected["score"] >= 1 + 1e-9
            np.testing.assert_array_equal(kept[alone.since[-1]][rings], all_at_once.since[end][rings])


def test_nothing_after_a_row_changes_its_score(detector: Detector) -> None:
    whole = table(enough(detector), 4)
    known = learned(detector)
    half = len(whole) // 2
    later = replace(whole, value=np.where(np.arange(len(whole))[:, None] < half, whole.value, 77.0))
    before = detector.examine(whole, known).score[:half]
    np.testing.assert_allclose(detector.examine(later, known).score[:half], before, rtol=1e-9, atol=1e-9)


def test_rows_that_will_not_be_read_save_work_and_change_nothing(detector: Detector) -> None:
    whole = table(enough(detector), 12)
    known = learned(detector)
    fresh = len(whole) - 40
    found = detector.examine(replace(whole, fresh=fresh), known).score[fresh:]
    np.testing.assert_allclose(found, detector.examine(whole, known).score[fresh:], rtol=1e-9, atol=1e-9)


def test_what_it_reads_stays_as_it_is(detector: Detector) -> None:
    whole, again = table(enough(detector), 5), table(enough(detector), 5)
    known = learned(detector)
    copy = {group: {name: np.array(array) for name, array in arrays.items()} for group, arrays in known.items()}
    detector.examine(whole, known)
    for one in fields(Table):
        mine, theirs = getattr(whole, one.name), getattr(again, one.name)
        if isinstance(mine, np.ndarray):
            np.testing.assert_array_equal(mine, theirs, err_msg=one.name)
    for group, arrays in copy.items():
        for name, array in arrays.items():
            np.testing.assert_array_equal(known[group][name], array, err_msg=name)


def test_other_groups_change_nothing(detector: Detector) -> None:
    whole = table(enough(detector), 6)
    known = learned(detector)
    own, other = whole.of_group(0), whole.of_group(1)
    mixed = np.array(whole.value)
    mixed[other] = np.random.default_rng(7).permutation(mixed[other])[::-1]
    found = detector.examine(replace(whole, value=mixed), known).score[own]
    np.testing.assert_array_equal(found, detector.examine(whole, known).score[own])


def test_rows_that_are_not_normal_get_no_opinion_and_have_no_say(detector: Detector) -> None:
    whole = table(enough(detector), 8)
    known = learned(detector)
    scores = detector.examine(whole, known).score
    assert np.isnan(scores[~whole.normal]).all()
    wild = np.where(whole.normal[:, None], whole.value, 1e6)
    found = detector.examine(replace(whole, value=wild), known).score
    np.testing.assert_array_equal(found[whole.normal], scores[whole.normal])


def test_scores_have_the_shape_of_the_table_and_are_never_negative(detector: Detector) -> None:
    whole = table(enough(detector), 9)
    found = detector.examine(whole, learned(detector))
    assert found.score.shape == (len(whole), len(found.subjects))
    assert not np.any(found.score < 0)
    assert not np.any(np.isinf(found.score))
    if found.share is not None:
        total = found.share.sum(axis=1)
        np.testing.assert_allclose(total[np.isfinite(total)], 1.0, atol=1e-9)


def test_an_empty_table_and_one_row_are_no_errors(detector: Detector) -> None:
    whole = table(50, 10)
    known = learned(detector)
    for rows in (0, 1, 2):
        assert len(detector.examine(whole.take(slice(0, rows)), known).score) == rows


def test_without_a_baseline_that_it_needs_there_is_no_opinion(detector: Detector) -> None:
    if detector.needs_baseline:
        assert np.isnan(detector.examine(table(200, 11)).score).all()


def test_page_is_beside_it_and_its_sample_parses(detector: Detector) -> None:
    module = type(detector).__module__.rsplit(".", maxsplit=1)[-1]
    page = (PAGES / f"{module}.md").read_text(encoding="utf-8")
    samples: list[Mapping[str, Any]] = [
        one for text in re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
        for one in tomllib.loads(text)["detector"]
    ]  # fmt: skip
    cycles = sorted({one["on"] for one in samples if one.get("on", TAGS) != TAGS})
    checked = [{**one, "baseline": PAGES / one["baseline"]} if "baseline" in one else one for one in samples]
    assert detector.kind in {one.detector.kind for one in watchings(checked, cycles, module)}
    own = type(detector).model_fields.keys() - {"kind"}
    assert [key for key in own if f"`{key}`" not in page] == []
