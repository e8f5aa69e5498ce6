"""Sizes of the database, rules of Prometheus, and what each file promises."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML comes without types

from pipeline import metrics
from rootdx.embedded import Postgres
from tests.support.services import reachable_folder

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
PROMTOOL = shutil.which("promtool")
RULES: list[dict[str, Any]] = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text(encoding="utf-8"))[
    "groups"
][0]["rules"]
SIZES = (4, 8, 32)


def conf(gb: int) -> str:
    return (DEPLOY / "timescale" / f"{gb}gb.conf").read_text(encoding="utf-8")


def settings(text: str) -> dict[str, str]:
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return {key.strip(): value.strip().strip("'") for key, _, value in (line.partition("=") for line in lines)}


@pytest.mark.parametrize("gb", SIZES)
def test_the_file_of_a_size_is_what_the_formula_says(gb: int) -> None:
    command = [sys.executable, str(DEPLOY / "timescale" / "sizes.py"), str(gb)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == conf(gb)


@pytest.mark.parametrize("gb", SIZES)
def test_all_that_the_database_may_take_fits(gb: int) -> None:
    def mb(key: str) -> int:
        return int(settings(conf(gb))[key].removesuffix("MB"))

    found = settings(conf(gb))
    sorts = mb("work_mem") * 40 + mb("maintenance_work_mem") * 3 + mb("autovacuum_work_mem") * 3
    assert mb("shared_buffers") + sorts + 10 * int(found["max_connections"]) < gb * 1024 * 0.8
    assert found["fsync"] == found["synchronous_commit"] == found["full_page_writes"] == "on"


async def test_postgresql_takes_them() -> None:
    """But for TimescaleDB's own, which this server does not have, and with less memory than a plant's."""
    found = settings(conf(4))
    ours = {key: value for key, value in found.items() if "timescaledb" not in key + value}
    with reachable_folder() as folder:
        async with Postgres(folder, settings=ours | {"shared_buffers": "64MB"}) as server:
            assert server.pid is not None


async def test_on_debian_it_writes_into_the_journal_which_is_bounded() -> None:
    found = settings((DEPLOY / "timescale" / "journal.conf").read_text(encoding="utf-8"))
    with reachable_folder() as folder:
        async with (
            Postgres(folder, settings=found) as server,
            await psycopg.AsyncConnection.connect(server.dsn()) as db,
        ):
            row = await (await db.execute("SELECT current_setting('log_destination')")).fetchone()
            assert row == ("syslog",)
    page = (DEPLOY / "runbook.en.md").read_text(encoding="utf-8")
    assert re.search(r"^cp /opt/rootdx/deploy/timescale/journal.conf /etc/postgresql/\S+/conf.d/", page, re.MULTILINE)
    assert re.search(r"^SystemMaxUse=\d+M$", (DEPLOY / "systemd" / "journald.conf").read_text(), re.MULTILINE)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_says_what_to_do_in_both_languages(rule: dict[str, Any]) -> None:
    notes = rule["annotations"]
    assert set(notes) == {"summary", "runbook", "runbook_ko", "page"}
    assert len(notes["runbook"]) > 40
    assert re.search("[가-힣]{2}", notes["runbook_ko"])
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert re.fullmatch(r"\d+[mh]", rule["for"])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_asks_for_something_that_is_measured(rule: dict[str, Any]) -> None:
    source = Path(metrics.__file__).read_text(encoding="utf-8")
    named = set(re.findall(r"\brootdx_\w+", rule["expr"]))
    assert all(f'"{name}"' in source for name in named)
    assert named or rule["alert"] == "ProcessGone"


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool on this machine")
def test_promtool_takes_them() -> None:
    """The configuration without the files that it names: certificates are made in a plant."""
    folder = DEPLOY / "prometheus"
    for words in (
        ["check", "config", "--syntax-only", str(folder / "prometheus.yml")],
        ["check", "rules", str(folder / "rules.yml")],
    ):
        done = subprocess.run([str(PROMTOOL), *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + done.stdout


def test_prometheus_shows_a_certificate_to_each_process() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    for job in config["scrape_configs"]:
        assert job["scheme"] == "https"
        assert set(job["tls_config"]) == {"ca_file", "cert_file", "key_file"}
