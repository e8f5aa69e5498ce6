"""`rootdx gateway`: devices in, records out."""

import typer

from collectors import gateway as gateway_process
from pipeline import service
from rootdx.program import Config, alone, settings_of

app = alone()


@app.command(epilog="Example: rootdx gateway --config /etc/rootdx/rootdx.toml")
def gateway(config: Config = None) -> None:
    """Reads the machines of the plant folder and forwards what they say. Runs until stopped."""
    settings = settings_of(config)
    raise typer.Exit(service.run(lambda: gateway_process.run(settings)))
