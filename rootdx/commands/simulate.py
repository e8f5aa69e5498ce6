"""`rootdx simulate`: a machine that is not there."""

import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pipeline import service
from pipeline.errors import ConfigError
from rootdx.program import alone
from rootdx.texts import say
from simulators.replay import Speed
from simulators.run import MACHINES, Endpoint, Options, serve

app = alone()


@app.command(epilog="Examples: rootdx simulate casting --port 1502   ·   rootdx simulate replay shots.csv --speed max")
def simulate(
    machine: Annotated[str, typer.Argument(help=f"One of {', '.join(MACHINES)}.")],
    files: Annotated[list[Path] | None, typer.Argument(help="Recordings to replay, one after the other.")] = None,
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.")] = None,
    broker: Annotated[str, typer.Option(help="Broker of an MQTT machine, host:port.")] = "127.0.0.1:1883",
    seed: Annotated[int, typer.Option(help="The same seed gives the same values.")] = 1,
    speed: Annotated[str, typer.Option(help="Simulated seconds per second; 'max' for a replay, a row a read.")] = "1",
    faults: Annotated[Path | None, typer.Option(help="Fault timeline (TOML).")] = None,
    truth: Annotated[Path | None, typer.Option(help="File that receives what really happened (JSON lines).")] = None,
    drop: Annotated[Path | None, typer.Option(help="Folder that receives bursts (shot curves) as CSV files.")] = None,
) -> None:
    """A machine that is not there: its physics behind its protocol. Runs until stopped."""
    broker_host, _, broker_port = broker.rpartition(":")
    options = Options(
        host=host, port=port, broker_host=broker_host or "127.0.0.1", broker_port=_port(broker_port), seed=seed,
        speed=_speed(speed), faults=faults, truth=truth, drop=drop, files=tuple(files or ()),
    )  # fmt: skip
    service.configure_logging()

    async def run() -> None:
        await serve(machine, options, on_ready=_tell_ready)

    raise typer.Exit(service.run(run))


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise ConfigError(f"--broker …:{text}: expected host:port, as 127.0.0.1:1883")
    return int(text)


def _speed(text: str) -> Speed:
    if text == "max":
        return "max"
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(f"--speed {text!r}: expected a number or 'max'") from error


def _tell_ready(endpoint: Endpoint) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    logging.getLogger("simulators").info("ready %s", json.dumps({"at": now, "url": endpoint.url}))
    typer.echo(say("simulate.ready", machine=endpoint.machine, url=endpoint.url, detail=endpoint.detail))
    for notice in endpoint.notices:
        typer.echo(notice)
    sys.stdout.flush()
