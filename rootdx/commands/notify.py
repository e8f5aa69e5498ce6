"""`rootdx notify`: alarms to people."""

import typer

from pipeline import service
from rootdx import notify as notifier
from rootdx.program import Config, alone, settings_of

app = alone()


@app.command(epilog="Example: ROOTDX_STORE_DSN=postgresql://… rootdx notify --config /etc/rootdx/rootdx.toml")
def notify(config: Config = None) -> None:
    """Tells people of alarms by webhook, e-mail and MQTT until somebody acknowledges. Runs until stopped."""
    settings = settings_of(config)
    raise typer.Exit(service.run(lambda: notifier.run(settings)))
