"""Every command shows how it is used, and says in a sentence what was wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from pipeline.errors import ConfigError
from rootdx.cli import app, seconds

ROOT = Path(__file__).resolve().parents[2]


def commands() -> list[list[str]]:
    group = typer.main.get_command(app)
    found: list[list[str]] = []
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        below = getattr(command, "commands", None)
        found += [[name, inner] for inner in below] if below else [[name]]
    return found


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_help_of_every_command_has_an_example(command: list[str]) -> None:
    done = CliRunner().invoke(app, [*command, "--help"])
    assert done.exit_code == 0
    assert f"rootdx {' '.join(command)}" in done.output.partition("Example")[2]


def run(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ROOTDX_")}
    command = [sys.executable, "-m", "rootdx", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, env=clean | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_mistake_is_one_sentence_and_exit_code_78(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[bus]\nhots = 'x'\n")
    cases = [
        (("gateway", "--config", str(tmp_path / "no.toml")), "no.toml: no such file"),
        (("writer", "--config", str(wrong)), "wrong.toml:2: bus.hots = 'x': unknown key"),
        (("demo", "--for", "banana"), "--for 'banana': expected a duration as 60s, 2min or 1h"),
        (("simulate", "casting", "--broker", "x:y"), "expected host:port"),
        (("simulate", "casting", "--speed", "fast"), "--speed 'fast': expected a number or 'max'"),
        (("probe", str(tmp_path / "no.toml")), "no.toml: no such file"),
        (("migrate", "--dsn", "nonsense"), "database: not a connection string"),
    ]
    running = [(run(*arguments), words) for arguments, words in cases]
    for process, words in running:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 78, said
        assert words in said
        assert said.startswith("rootdx: ")
        assert len(said.splitlines()) == 1


def test_absence_is_one_sentence_and_exit_code_1() -> None:
    cases = [("migrate", "--dsn", "postgresql://127.0.0.1:1/x"), ("quarantine", "list")]
    running = [run(*arguments, ROOTDX_STORE_DSN="postgresql://127.0.0.1:1/x") for arguments in cases]
    for process in running:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 1, said
        assert said.startswith("rootdx: database: ")
        assert "Traceback" not in said


@pytest.mark.parametrize(("text", "expected"), [("90", 90), ("60s", 60), ("2min", 120), ("1.5h", 5400), (" 3 m ", 180)])
def test_durations_are_read_as_people_write_them(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "s", "-1s", "1d", "1h30", "1,5h"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a duration"):
        seconds(text)
