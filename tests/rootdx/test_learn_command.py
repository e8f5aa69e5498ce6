"""`rootdx learn` writes what the rows of a range say, and says of what it is."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analytics.baseline import read_baseline
from analytics.detectors.hotelling import Hotelling
from analytics.table import Table
from tests.support.front_door import DC1, Shop
from tests.support.spine import ask

pytestmark = pytest.mark.plain
ALL = ("--from", "2026-05-01", "--to", "2026-06-30")
SETTINGS = """
[[detector]]
kind = "hotelling"
name = "together"
on = "hpdc_shot"
of = ["v_slow", "v_fast"]
by = ["die"]
least_rows = 12
baseline = "{folder}/together.json"

[[detector]]
kind = "shewhart"
name = "metal"
of = ["metal.temp"]
baseline = "{folder}/metal.json"

[[detector]]
kind = "adaptive"
name = "shots"
on = "hpdc_shot"
"""


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    file = tmp_path / "try.toml"
    file.write_text(SETTINGS.replace("{folder}", str(tmp_path)))
    return file


def test_a_baseline_of_stored_cycles_says_of_what_it_is(shop: Shop, settings: Path) -> None:
    done = shop("learn", "--machine", "dc1", "--settings", str(settings), "--detector", "together", *ALL,
                "--format", "json")  # fmt: skip
    assert done.code == 0, done.err
    file = settings.with_name("together.json")
    found = read_baseline(file)
    assert str(file) in done.err
    flags = ask(shop.dsn, f"SELECT flags FROM rootdx.cycles WHERE asset = '{DC1}' AND end_ts IS NOT NULL")
    left_out = [one[0] for (one,) in flags if one]
    assert (found.detector, found.variables, found.origin.asset) == ("hotelling", ("v_slow", "v_fast"), DC1)
    assert (found.origin.on, found.origin.by, found.origin.source) == ("hpdc_shot", ("die",), "store")
    assert found.origin.since.startswith("2026-05-01T00:00:00+09:00")
    assert found.origin.excluded["warm_up"] == left_out.count("warm_up") == 3
    assert found.rows == {"die=D-17": len(flags) - sum(found.origin.excluded.values())}
    values = ask(shop.dsn, f"SELECT feature, value FROM rootdx.features WHERE asset = '{DC1}' AND flags = '{{}}' "
                           "AND feature IN ('v_slow', 'v_fast') ORDER BY start_ts")  # fmt: skip
    means = [np.mean([value for name, value in values if name == wanted]) for wanted in found.variables]
    assert found.groups["die=D-17"]["centre"] == pytest.approx(means, rel=1e-3)
    told: dict[str, Any] = json.loads(done.out)
    assert told["contexts"]["rows"] == [{"context": "die=D-17", "rows": sum(found.rows.values()), "learned": "yes"}]
    assert {"reason": "warm-up", "rows": 3} in told["left_out"]["rows"]


def test_a_baseline_of_tags(shop: Shop, settings: Path) -> None:
    done = shop("learn", "--machine", "dc1", "--settings", str(settings), "--detector", "metal", *ALL)
    assert done.code == 0, done.err
    found = read_baseline(settings.with_name("metal.json"))
    query = (
        "SELECT avg(value) FROM rootdx.measurement JOIN rootdx.tag USING (tag_id) JOIN rootdx.asset USING (asset_id)"
    )
    ((mean,),) = ask(shop.dsn, f"{query} WHERE role = 'metal.temp' AND path = '{DC1}'")
    assert found.origin.on == "tags"
    assert found.groups[""]["centre"] == pytest.approx([mean], rel=1e-3)


def test_a_baseline_of_a_file_leaves_out_what_it_is_told_to(shop: Shop, settings: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal([0.3, 2.6], [0.01, 0.04], (80, 2))
    x[7] = [0.3, 9.0]
    lines = [f"2026-11-01 06:{n:02d}:00,{a},{b},{'D' if n < 5 else 'A'},M1" for n, (a, b) in enumerate(x[:60])]
    file = tmp_path / "shots.csv"
    file.write_text("\n".join(["time,v_slow,v_fast,try,die", *lines]))
    out = tmp_path / "deep" / "own.json"
    done = shop("learn", "--file", str(file), "--settings", str(settings), "--detector", "together",
                "--leave-out", "try", "--baseline", str(out))  # fmt: skip
    assert done.code == 0, done.err
    found = read_baseline(out)
    assert (found.origin.source, found.origin.asset) == ("shots.csv", "")
    assert found.origin.excluded == {"left_out": 5, "outlier": 1}
    kept = np.delete(x[:60], [0, 1, 2, 3, 4, 7], axis=0)
    wanted = Hotelling(kind="hotelling", least_rows=12).learn(Table.of(kept))[""]
    assert {key: one.tolist() for key, one in found.groups["die=M1"].items()} == {
        key: one.tolist() for key, one in wanted.items()
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--detector", "shots"), "shots: adaptive learns nothing"),
        (("--detector", "nobody"), "nobody"),
        ((), "name one detector that learns with --detector: together, metal"),
        (("--detector", "together", "--from", "2020-01-01", "--to", "2020-01-02"), "no context has rows enough"),
    ],
)
def test_a_mistake_says_what_to_do(shop: Shop, settings: Path, arguments: tuple[str, ...], words: str) -> None:
    done = shop("learn", "--machine", "dc1", "--settings", str(settings), *arguments)
    assert done.code != 0
    assert words in done.err
