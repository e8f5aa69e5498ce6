"""A page for each alert rule, true to the code and alike in both languages; each rule against series, in promtool.

The rules are tried where promtool is in PATH, the questions on a real PostgreSQL; everything else needs nothing.
"""

import re
import shlex
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML comes without types

from pipeline import metrics
from tests.deploy.command_line import parses
from tests.deploy.test_files import DEPLOY, PROMTOOL, RULES
from tests.support.spine import ask

FOLDER = DEPLOY / "prometheus"
PAGES = sorted((FOLDER / "alerts").glob("*.md"))
TRIES: dict[str, Any] = yaml.safe_load((FOLDER / "rules_test.yml").read_text(encoding="utf-8"))
NAMES = [rule["alert"] for rule in RULES]
UNITS = {file.stem for file in (DEPLOY / "systemd").glob("*.service")}


def halves(page: Path) -> tuple[str, str]:
    title, english, korean = re.split("^## .*$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert title.startswith(f"# {page.stem} (")
    return english, korean


def block(half: str) -> list[str]:
    (one,) = re.findall(r"^```sh\n(.*?)^```", half, re.MULTILINE | re.DOTALL)
    return str(one).splitlines()


def spans(half: str) -> list[str]:
    """What stands in backticks in a sentence or table."""
    return re.findall("`([^`\n]+)`", re.sub(r"^```.*?^```", "", half, flags=re.MULTILINE | re.DOTALL))


def ours(page: Path) -> list[str]:
    found = [line for half in halves(page) for line in (*block(half), *spans(half))]
    return [line for line in dict.fromkeys(found) if line.startswith("rootdx ")]


def test_every_alert_has_a_page_and_every_page_an_alert() -> None:
    assert sorted(NAMES) == [page.stem for page in PAGES]
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_names_its_page_and_the_page_its_severity(rule: dict[str, Any]) -> None:
    assert rule["annotations"]["page"] == f"alerts/{rule['alert']}.md"
    page = FOLDER / rule["annotations"]["page"]
    assert page.read_text(encoding="utf-8").startswith(f"# {rule['alert']} ({rule['labels']['severity']})\n")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_page_explains_what_its_rule_measures(rule: dict[str, Any]) -> None:
    for half in halves(FOLDER / rule["annotations"]["page"]):
        for name in re.findall(r"\b(?:rootdx|node)_\w+|\bup\b", rule["expr"]):
            assert name in half or name == "rootdx_data_flowing", name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_both_languages_give_the_same_commands_within_a_screen(page: Path) -> None:
    english, korean = halves(page)
    assert block(english) == block(korean)
    assert set(spans(english)) == set(spans(korean))
    assert re.search("[가-힣]", korean)
    assert not re.search("[가-힣]", english)
    for half in (english, korean):
        assert len(half.splitlines()) < 30
        assert half.count("\n| ") >= 5, "a table of causes"
        assert len(re.findall(r"^\*\*", half, re.MULTILINE)) == 3


@pytest.mark.parametrize("line", [(page.stem, line) for page in PAGES for line in ours(page)], ids=": ".join)
def test_a_command_on_a_page_exists_with_these_options(line: tuple[str, str]) -> None:
    assert parses(shlex.split(line[1]))


@pytest.mark.plain
def test_every_question_to_the_database_is_understood(plain_dsn: str) -> None:
    asked = [
        query
        for page in PAGES
        for line in block(halves(page)[0])
        for query in re.findall(r'psql rootdx -c "(.+)"$', line)
    ]
    assert len(asked) > 5
    for query in asked:
        ask(plain_dsn, f"EXPLAIN {query.replace('%', '%%')}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_metrics_units_and_files_on_a_page_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    source = Path(metrics.__file__).read_text(encoding="utf-8")
    for name in re.findall(r"\brootdx_\w+", text):
        assert f'"{name}"' in source, name
    assert set(re.findall(r"\brootdx-[a-z]+(?![\w*-])", text)) <= UNITS
    for name in re.findall(r"/etc/rootdx/(\w+\.toml)", text):
        assert (DEPLOY / "config" / name).exists(), name
    for name in re.findall(r"\b[A-Z][a-z]+[A-Z]\w+", text, re.ASCII):
        assert name in {*NAMES, "PostgreSQL"}, name


def test_the_index_has_every_rule_with_its_severity() -> None:
    rows = re.findall(
        r"^\| \[(\w+)\]\(alerts/(\w+)\.md\) \| (\w+) \|", (FOLDER / "README.md").read_text(), re.MULTILINE
    )
    assert rows == [(name, name, rule["labels"]["severity"]) for name, rule in zip(NAMES, RULES, strict=True)]


def test_every_rule_is_tried_with_series_that_ring_and_series_that_do_not() -> None:
    rings, silent = Counter[str](), Counter[str]()
    for one in TRIES["tests"]:
        for asked in one["promql_expr_test"]:
            (name,) = re.findall(r'alertname="(\w+)"', asked["expr"])
            (rings if asked.get("exp_samples") else silent)[name] += 1
    assert set(rings) == set(silent) == set(NAMES)


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool on this machine")
def test_rules_ring_when_they_should_and_only_then() -> None:
    done = subprocess.run(
        [str(PROMTOOL), "test", "rules", str(FOLDER / "rules_test.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool on this machine")
def test_a_rule_that_is_changed_fails_its_series(tmp_path: Path) -> None:
    """So that the test above can fail."""
    rules = (FOLDER / "rules.yml").read_text(encoding="utf-8")
    (tmp_path / "rules.yml").write_text(rules.replace("hours_left < 12", "hours_left < 24"), encoding="utf-8")
    shutil.copy(FOLDER / "rules_test.yml", tmp_path)
    done = subprocess.run(
        [str(PROMTOOL), "test", "rules", str(tmp_path / "rules_test.yml")], capture_output=True, check=False
    )
    assert done.returncode != 0
    assert b"SpoolFilling" in done.stdout + done.stderr
