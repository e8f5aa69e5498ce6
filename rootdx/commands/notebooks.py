"""`rootdx notebooks`: notebooks for data scientists, copied to where they work."""

from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import ConfigError
from rootdx.program import alone
from rootdx.texts import say

app = alone()


@app.command(epilog="Example: rootdx notebooks --out ~/notebooks")
def notebooks(
    *,
    out: Annotated[Path, typer.Option(help="Folder to write; made if it is not there.")] = Path("notebooks"),
    replace: Annotated[
        bool, typer.Option("--replace", help="Also over files of that name, with what was changed in them.")
    ] = False,
) -> None:
    """Copies the notebooks: a first look at a furnace, control charts by die, energy and peak."""
    files = sorted(
        (one for one in resources.files("rootdx.notebooks").iterdir() if one.name.endswith(".ipynb")),
        key=lambda one: one.name,
    )
    there = [one.name for one in files if (out / one.name).exists()]
    if there and not replace:
        raise ConfigError(say("notebooks.there", files=", ".join(there), folder=out))
    try:
        out.mkdir(parents=True, exist_ok=True)
        for one in files:
            (out / one.name).write_bytes(one.read_bytes())
    except OSError as error:
        raise ConfigError(say("notebooks.unwritable", folder=out, why=error.strerror or error)) from error
    typer.echo(say("notebooks.written", files=", ".join(one.name for one in files), folder=out))
