"""`rootdx analytics`: rows in, cycles out."""

import typer

from analytics import watch as watch_process
from pipeline import service
from rootdx.program import Config, alone, settings_of

app = alone()


@app.command(epilog="Example: ROOTDX_STORE_DSN=postgresql://… rootdx analytics --config /etc/rootdx/rootdx.toml")
def analytics(config: Config = None) -> None:
    """Makes cycles with phases, features and verdicts of what the writer commits. Runs until stopped."""
    settings = settings_of(config)
    raise typer.Exit(service.run(lambda: watch_process.run(settings)))
