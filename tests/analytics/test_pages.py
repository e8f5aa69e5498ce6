"""Every sample in a page of the analytics is what the program takes."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from analytics.alarm import AlarmSettings
from analytics.checks import RequiredCheck
from analytics.entries import KINDS, read_csv
from analytics.life import LifeCounter
from analytics.profile_table import Profile
from analytics.records import Profiles
from analytics.watching import View, watchings

ROOT = Path(__file__).resolve().parents[2] / "analytics"


def samples(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "module", ["watch", "entries", "records", "elements", "watching", "alarm", "detection", "backtest", "signature"]
)
def test_module_has_its_page_beside_it(module: str) -> None:
    assert (ROOT / f"{module}.py").exists()
    assert (ROOT / f"{module}.md").read_text(encoding="utf-8").startswith(f"# {module}")


def test_life_counters_checks_and_profiles_of_the_pages_parse() -> None:
    lives: dict[str, Any] = tomllib.loads(samples("entries.md", "toml")[0])
    assert [LifeCounter.model_validate(table).name for table in lives["life"]]
    profiles, checks = samples("records.md", "toml")
    assert Profiles.model_validate(tomllib.loads(profiles)).profile["casting"].kinds
    assert [RequiredCheck.model_validate(table) for table in tomllib.loads(checks)["check"]]


def test_detectors_of_the_page_parse_and_show_every_shared_key() -> None:
    tables = [table for sample in samples("watching.md", "toml") for table in tomllib.loads(sample)["detector"]]
    found = watchings(tables, ["hpdc_shot"], "watching.md", Path("plant"))
    assert [one.name for one in found] == ["metal", "shots", "filling"]
    assert {key for table in tables for key in table} >= View.model_fields.keys()
    assert set(tables[2]["profile"]) == Profile.model_fields.keys()
    assert found[2].view.baseline == Path("plant/dc1-filling.json")
    assert set(tables[0]["alarm"]) == AlarmSettings.model_fields.keys()


def test_the_csv_of_the_page_is_read(tmp_path: Path) -> None:
    (text,) = samples("entries.md", "csv")
    (tmp_path / "lab.csv").write_text(text, encoding="utf-8")
    (entry,) = read_csv("lab", tmp_path / "lab.csv", "kim")
    assert entry.author == "kim"


def test_every_kind_of_entry_is_in_the_page() -> None:
    page = (ROOT / "entries.md").read_text(encoding="utf-8")
    assert all(f"| `{kind}` |" in page and f"`{model.table}`" in page for kind, model in KINDS.items())
