"""Whether a command line is one of ours: the command exists and takes these options."""

from collections.abc import Sequence
from typing import Any

import typer

from rootdx.cli import app


def parses(line: Sequence[str]) -> str:
    """The command's name; fails when it or one of its options does not exist."""
    program, *words = line
    assert program.rpartition("/")[2] == "rootdx", line
    command: Any = typer.main.get_command(app)
    name = []
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words[0]]
        name.append(words.pop(0))
    assert name or words == ["--help"], f"no command: {line}"
    if words != ["--help"]:
        command.make_context(" ".join(name), list(words), resilient_parsing=False, allow_extra_args=False)
    return " ".join(name)
