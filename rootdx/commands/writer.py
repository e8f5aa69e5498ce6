"""`rootdx writer`: records in, rows out."""

import typer

from pipeline import service, writer as writer_process
from rootdx.program import Config, alone, settings_of

app = alone()


@app.command(epilog="Example: ROOTDX_STORE_DSN=postgresql://… rootdx writer --config /etc/rootdx/rootdx.toml")
def writer(config: Config = None) -> None:
    """Takes records from the bus into the database, exactly once. Runs until stopped."""
    settings = settings_of(config)
    raise typer.Exit(service.run(lambda: writer_process.run(settings)))
