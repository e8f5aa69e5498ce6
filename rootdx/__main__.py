"""The command `rootdx`: imports the one program that was asked for, and no other.

* The front door with all its commands imports SciPy, Arrow, openpyxl and the demo: 65 MB and a second, which a gateway
  that runs for months on a small computer would carry for nothing. A process that stays is imported alone.
* This is the only place that imports inside a function. They are imports, not names in a table, so that the type
  checker and the import contracts see them like any other.
* `rootdx.cli` has every command, these too: it is what `--help` shows.
"""

import sys

from rootdx.program import begin


def main() -> None:
    """Entry point of the command."""
    if sys.argv[1:3] == ["probe", "opcua"]:
        sys.argv[1:3] = ["browse"]
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name == "gateway":
        from rootdx.commands.gateway import app
    elif name == "writer":
        from rootdx.commands.writer import app
    elif name == "analytics":
        from rootdx.commands.analytics import app
    elif name == "notify":
        from rootdx.commands.notify import app
    elif name == "board":
        from rootdx.commands.board import app
    elif name == "health":
        from rootdx.commands.health import app
    elif name == "simulate":
        from rootdx.commands.simulate import app
    else:
        from rootdx.cli import app

        begin(lambda: app(prog_name="rootdx"))
        return
    begin(lambda: app(sys.argv[2:], prog_name=f"rootdx {name}"))


if __name__ == "__main__":
    main()
