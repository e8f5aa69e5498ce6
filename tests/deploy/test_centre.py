"""What the page for a centre tells people to type exists, its settings can be read, its files are shipped."""

import re
import shlex
from pathlib import Path

import pytest

from pipeline.settings import read_settings
from tests.deploy.command_line import parses

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
PAGE = (DEPLOY / "centre.md").read_text(encoding="utf-8")
SHELL = [
    line for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL) for line in block.splitlines()
]
OURS = [line for line in SHELL if line.startswith("rootdx ")]


@pytest.mark.parametrize("line", OURS)
def test_a_command_of_ours_exists_with_these_options(line: str) -> None:
    assert parses(shlex.split(line))


def test_both_languages_tell_the_same_steps() -> None:
    korean = (DEPLOY / "centre.ko.md").read_text(encoding="utf-8")
    assert re.findall(r"^```.*?^```", korean, re.MULTILINE | re.DOTALL) == re.findall(
        r"^```.*?^```", PAGE, re.MULTILINE | re.DOTALL
    )
    for mark in ("^## ", r"^\* ", r"^\| "):
        assert len(re.findall(mark, korean, re.MULTILINE)) == len(re.findall(mark, PAGE, re.MULTILINE)), mark
    said = re.sub(r"^```.*?^```", "", korean, flags=re.MULTILINE | re.DOTALL)
    assert all(re.search("[가-힣]", text) for text in said.split("\n\n") if text.strip())


def test_the_settings_of_a_company_can_be_read(tmp_path: Path) -> None:
    (sample,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    shipped = (DEPLOY / "config" / "writer.toml").read_text(encoding="utf-8")
    (tmp_path / "company.toml").write_text(sample.replace("[bus]", '[bus]\nca_file = "%d/ca.pem"'), encoding="utf-8")
    settings = read_settings(tmp_path / "company.toml")
    assert settings.writer.gateways == ("hansung-gw-1", "hansung-gw-2")
    assert {f"[{name}]" for name in ("bus", "store", "writer")} <= set(re.findall(r"^\[\w+\]", shipped, re.MULTILINE))


def test_the_writer_that_is_made_reads_the_gateways_that_are_made() -> None:
    made = {line.split()[3] for line in OURS if line.startswith("rootdx certs client")}
    (writer,) = [line for line in OURS if "--gateway" in line]
    assert {*re.findall(r"--gateway (\S+)", writer), "hansung-writer"} == made
    assert {line.split()[3] for line in OURS if line.startswith("rootdx certs revoke")} == made


def test_every_file_that_is_named_is_shipped() -> None:
    for name in re.findall(r"/opt/rootdx/deploy/(\S+\.\w+)", PAGE):
        assert (DEPLOY / name).exists(), name
    for name in re.findall(r"\]\(([^)]+)\)", PAGE):
        assert (DEPLOY / name).resolve().exists(), name


def test_only_who_comes_first_differs_in_who_may_connect() -> None:
    """The lines of a plant and of a centre, but for the column that says into which database."""
    lines = {}
    for name in ("pg_hba.conf", "pg_hba.centre.conf"):
        text = (DEPLOY / "timescale" / name).read_text(encoding="utf-8")
        rows = [line.split() for line in text.splitlines() if not line.startswith("#")]
        lines[name] = [[row[0], *row[2:]] for row in rows]
    groups = [[cell.removeprefix("+") for cell in row] for row in lines["pg_hba.centre.conf"]]
    assert groups == lines["pg_hba.conf"]
    assert all(row[-1] == "scram-sha-256" for row in lines["pg_hba.centre.conf"] if row[0] != "local")
