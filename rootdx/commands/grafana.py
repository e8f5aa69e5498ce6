"""`rootdx grafana`: dashboards, data sources and alert rules for a Grafana."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline.errors import ConfigError
from rootdx.program import alone
from rootdx.texts import LANGUAGES, say

app = alone()


@app.command(epilog="Example: rootdx grafana --out deploy/grafana")
def grafana(
    out: Annotated[Path, typer.Option(help="Folder to write; Grafana is pointed at it.")] = Path("deploy/grafana"),
    language: Annotated[Literal["ko", "en", "both"], typer.Option(help="Of titles and columns.")] = "both",
) -> None:
    """Writes the dashboards, data sources and alert rules that a Grafana reads at its start."""
    if find_spec("grafana_foundation_sdk") is None:
        raise ConfigError(say("grafana.word.no_sdk"))
    languages = LANGUAGES if language == "both" else (language,)
    command = [sys.executable, "-m", "rootdx.grafana.provision", str(out), *languages]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603  # ourselves
    typer.echo(say("grafana.word.written", files=done.stdout.strip(), folder=out))
