"""What the runbook tells people to type exists, and both languages tell them the same."""

import re
import shlex
from pathlib import Path

import pytest

from tests.deploy.command_line import parses

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
PAGES = {language: (DEPLOY / f"runbook.{language}.md").read_text(encoding="utf-8") for language in ("en", "ko")}
TOOL = "docker compose run --rm tool "
UNITS = {file.stem for file in (DEPLOY / "systemd").glob("*.service")}


def blocks(language: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", PAGES[language], re.MULTILINE | re.DOTALL)


def lines() -> list[str]:
    return [line for block in blocks("en") for line in block.splitlines()]


def ours() -> list[list[str]]:
    """Every command of ours, in blocks and in sentences, in both languages."""
    said = [line for page in PAGES.values() for line in re.findall(r"`(rootdx [^`]+)`", page)]
    direct = [line for line in lines() if line.startswith("rootdx ")]
    inside = [line.replace(TOOL, "rootdx ") for line in lines() if line.startswith(TOOL)]
    return [shlex.split(line) for line in dict.fromkeys(direct + inside + said) if line != "rootdx certs server"]


@pytest.mark.parametrize("line", ours(), ids=" ".join)
def test_a_command_of_ours_exists_with_these_options(line: list[str]) -> None:
    assert parses(line)


def test_both_languages_tell_the_same_steps() -> None:
    assert blocks("ko") == blocks("en")
    headings = {language: len(re.findall("^## ", page, re.MULTILINE)) for language, page in PAGES.items()}
    assert headings["ko"] == headings["en"] == 12
    assert max(len(line) for page in PAGES.values() for line in page.splitlines()) < 180


def test_every_unit_and_file_that_is_named_is_shipped() -> None:
    text = PAGES["en"]
    assert set(re.findall(r"\brootdx-[a-z]+(?![\w*-])", text)) <= UNITS
    for name in re.findall(r"/opt/rootdx/deploy/(\S+\.\w+)", text):
        assert (DEPLOY / name).exists(), name
    for name in re.findall(r"/etc/rootdx/(\w+\.toml)", text):
        assert (DEPLOY / "config" / name).exists(), name


def test_every_secret_that_units_want_is_made_by_the_runbook() -> None:
    wanted = {
        name
        for unit in (DEPLOY / "systemd").glob("*.service")
        for name in re.findall(r"^LoadCredential=(\S+):", unit.read_text(encoding="utf-8"), re.MULTILINE)
    }
    text = "\n".join(lines())
    made = {f"rootdx_{role}.password" for role in ("writer", "reader", "analytics", "board")}  # by migrate --passwords
    for line in re.findall(r"cp (ca\.pem .*) /etc/rootdx/secrets/", text):
        made |= {f"{name.removesuffix('.*')}.{end}" for name in line.split() for end in ("pem", "key") if "*" in name}
        made |= {name for name in line.split() if "*" not in name}
    made |= set(re.findall(r"/etc/rootdx/secrets/(\S+)$", text, re.MULTILINE))
    assert wanted <= made


def test_no_password_is_written_anywhere() -> None:
    for file in DEPLOY.rglob("*"):
        if file.is_file() and file.suffix in {".toml", ".yaml", ".yml", ".conf", ".service", ".md", ".sh"}:
            text = file.read_text(encoding="utf-8")
            assert not re.search(r"(?i)^\s*[\w.]*password\s*[:=]\s*[\"']?[\w-]+[\"']?\s*$", text, re.MULTILINE), file
            assert not re.search(r"postgresql://\w+:[^@/\s]+@", text), file
