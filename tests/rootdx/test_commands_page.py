"""Every line of the page is a command that exists, with options that exist."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from rootdx.cli import app

PAGE = (Path(__file__).resolve().parents[2] / "rootdx" / "commands.md").read_text(encoding="utf-8")
LINES = [
    line for block in re.findall(r"^```\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL) for line in block.splitlines()
]
OURS = (
    "cycles",
    "kpi",
    "record",
    "report",
    "board",
    "account",
    "enter",
    "life",
    "checks",
    "trace",
    "recompute",
    "alarms",
    "backtest",
    "learn",
    "notebooks",
    "company",
    "certs",
    "config",
    "health",
)


def command_of(words: list[str]) -> tuple[list[str], list[str], Any]:
    """Its name, what follows, and the command."""
    command: Any = typer.main.get_command(app)
    name = []
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words[0]]
        name.append(words.pop(0))
    return name, words, command


@pytest.mark.parametrize("line", LINES)
def test_the_command_parses(line: str) -> None:
    program, *words = shlex.split(line)
    name, rest, command = command_of(words)
    assert program == "rootdx"
    assert name
    command.make_context(" ".join(name), list(rest), resilient_parsing=False, allow_extra_args=False)


def test_every_command_and_every_option_is_on_the_page() -> None:
    shown = {" ".join(command_of(shlex.split(line)[1:])[0]) for line in LINES}
    group: Any = typer.main.get_command(app)
    there = set()
    for name in OURS:
        below = getattr(group.commands[name], "commands", {})
        there |= {f"{name} {inner}" for inner in below}
        if not below or not group.commands[name].no_args_is_help:
            there.add(name)
    assert shown == there
