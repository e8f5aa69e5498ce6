"""A baseline read is the baseline written; anything else is refused with file, key and remedy."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analytics.baseline import Baseline, Origin, learned, outlying, read_baseline, write_baseline
from analytics.detectors.combined import Combined
from analytics.detectors.hotelling import Hotelling
from analytics.table import Table
from pipeline.errors import ConfigError

ORIGIN = Origin(
    asset="a/b/casting/line1/dc1", on="hpdc_shot", by=("mold",), source="store", since="2026-11-01T00:00:00+09:00",
    until="2026-11-02T00:00:00+09:00", learned_at="2026-11-03T00:00:00+00:00", excluded={"warm_up": 3},
)  # fmt: skip


def table(rows: int = 400) -> Table:
    x = np.random.default_rng(1).normal(size=(rows, 3)) @ np.array([[1, 0.5, 0], [0, 1, 0.2], [0, 0, 0.1]])
    x[:, 2] += 1e6
    return replace(Table.of(x, ("v", "p", "온도")), group=np.arange(rows) % 2, groups=("mold=A", "mold=B"))


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, Baseline]:
    file = tmp_path / "shot.json"
    return file, write_baseline(learned(Combined(kind="combined"), table(), ORIGIN), file)


def test_what_is_read_is_what_was_learned_bit_by_bit(written: tuple[Path, Baseline]) -> None:
    file, before = written
    after = read_baseline(file)
    assert (after.detector, after.variables, after.origin, after.rows, after.digest) == (
        "combined", ("v", "p", "온도"), ORIGIN, {"mold=A": 200, "mold=B": 200}, before.digest,
    )  # fmt: skip
    assert after.settings["weights"] == [0.1, 0.2, 0.4]
    for name, arrays in before.groups.items():
        for key, array in arrays.items():
            assert np.array_equal(after.groups[name][key], array, equal_nan=True), (name, key)
    one, other = (Combined(kind="combined").examine(table(), found.groups).score for found in (before, after))
    assert np.array_equal(one, other, equal_nan=True)


def test_nan_survives_and_groups_with_too_few_rows_are_not_there(tmp_path: Path) -> None:
    found = learned(Hotelling(kind="hotelling"), table(90), ORIGIN)
    assert found.groups == {}
    odd = replace(found, groups={"": {"centre": np.array([1.0, np.nan])}}, rows={"": 2})
    write_baseline(odd, tmp_path / "odd.json")
    assert np.array_equal(read_baseline(tmp_path / "odd.json").groups[""]["centre"], [1.0, np.nan], equal_nan=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(rows=401), "digest: the file is not as it was written"),
        (lambda c: c.pop("since"), "since: missing"),
        (lambda c: c.update(format=2), "format = 2"),
        (lambda c: c.update(until="soon"), "until = 'soon'"),
        (lambda c: c.update(more=1), "more = 1: unknown key"),
        (lambda c: c["excluded"].update(trial=-1), "excluded.trial = -1"),
    ],
)
def test_a_changed_file_is_refused(
    written: tuple[Path, Baseline], change: Callable[[dict[str, Any]], None], words: str
) -> None:
    file, _ = written
    content = json.loads(file.read_text(encoding="utf-8"))
    change(content)
    file.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ConfigError, match="rootdx learn") as refused:
        read_baseline(file)
    assert str(file) in str(refused.value)
    assert words in str(refused.value)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[1]"])
def test_what_is_no_baseline_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.json"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"x\.json.*rootdx learn"):
        read_baseline(file)
    with pytest.raises(ConfigError, match=r"no\.json: there is no such baseline; make it with rootdx learn"):
        read_baseline(tmp_path / "no.json")


def test_a_baseline_of_something_else_is_refused(written: tuple[Path, Baseline]) -> None:
    _, baseline = written
    baseline.fits(Combined(kind="combined"), ("v", "p", "온도"), "x.json")
    with pytest.raises(ConfigError, match=r"x\.json: learned by combined version 1, wanted by hotelling version 1"):
        baseline.fits(Hotelling(kind="hotelling"), None, "x.json")
    with pytest.raises(ConfigError, match="variables = v, p, 온도, wanted v, p"):
        baseline.fits(Combined(kind="combined"), ("v", "p"), "x.json")


def test_a_table_is_put_in_the_order_of_the_baseline(written: tuple[Path, Baseline]) -> None:
    _, baseline = written
    given = table(4).select(("온도", "p", "v"))
    assert baseline.arranged(given, "x").names == ("v", "p", "온도")
    with pytest.raises(ConfigError, match="learned of 온도, which the rows do not have"):
        baseline.arranged(given.select(("p", "v")), "x")


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, written: tuple[Path, Baseline]) -> None:
    _, baseline = written
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_baseline(baseline, tmp_path / "file" / "x.json")
    assert not list(tmp_path.glob("*.part"))


def test_outliers_are_by_context_and_still_variables_may_move() -> None:
    x = np.zeros((200, 2))
    x[::7, 0] = 1.0
    x[:, 1] = np.random.default_rng(1).normal(100.0, 1.0, 200)
    x[100:, 1] += 500.0
    x[50, 1] = 300.0
    group = (np.arange(200) >= 100).astype(np.int64)
    far = outlying(replace(Table.of(x), group=group, groups=("a", "b")), 10.0)
    assert np.flatnonzero(far).tolist() == [50]
