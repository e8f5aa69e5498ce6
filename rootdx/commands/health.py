"""`rootdx health`: whether data goes through a process, for health checks of containers and for people.

Containers ask twice a minute, so they run this module alone, a third of the time of the whole command line.
"""

import http.client
import re
import ssl
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from pipeline.errors import ConfigError, Unavailable
from pipeline.metrics_server import LOOPBACK
from pipeline.settings import MetricsSettings, Settings
from rootdx.program import Config, alone, begin, settings_of
from rootdx.texts import say

app = alone()

Process = Literal["gateway", "writer", "analytics", "board", "notify"]
TIMEOUT_S: Final = 5.0
_FLOWING: Final = re.compile(r'^rootdx_data_flowing\{process="(\w+)"\} ([\d.]+)$', re.MULTILINE)


@app.command(epilog="Example: rootdx health --of gateway --config /etc/rootdx/gateway.toml")
def health(
    of: Annotated[Process, typer.Option(help="Process on this computer.")],
    config: Config = None,
    *,
    wants: Annotated[
        Literal["flow", "answer"],
        typer.Option(help="flow: rows went through within a minute; answer: it is there, rows or not."),
    ] = "flow",
) -> None:
    """Asks a process on this computer whether rows go through it (the board: whether it serves); exit code 1: no."""
    settings = settings_of(config)
    if of == "board":
        ours = settings.board
        good = (
            _get(ours.port, "/api/v1/health", tls=ours.certificate is not None, name="".join(ours.names[:1]))[0] == 200
        )
    else:
        text = _get_metrics(settings.metrics, _port(settings, of))
        good = wants == "answer" or (of, 1.0) in [(who, float(is_so)) for who, is_so in _FLOWING.findall(text)]
    typer.echo(say("health.good" if good else "health.bad", process=of))
    raise typer.Exit(0 if good else 1)


def _port(settings: Settings, of: Process) -> int:
    ports = {
        "gateway": settings.gateway.metrics_port,
        "writer": settings.writer.metrics_port,
        "analytics": settings.analytics.metrics_port,
        "notify": settings.notify.metrics_port,
    }
    if not ports[of]:
        raise ConfigError(say("health.no_port", process=of))
    return ports[of]


def _get_metrics(door: MetricsSettings, port: int) -> str:
    """Where the process asks who reads, its own pair is shown: `rootdx certs server metrics` is good for both."""
    host = LOOPBACK if door.host in ("0.0.0.0", "::") else door.host  # noqa: S104  # compared, not listened on
    shown = None if door.certificate is None or door.key is None else (door.certificate, door.key)
    return _get(port, "/metrics", tls=shown is not None, shown=shown, host=host)[1]


def _get(
    port: int, path: str, *, tls: bool = False, name: str = "", shown: tuple[Path, Path] | None = None,
    host: str = LOOPBACK,
) -> tuple[int, str]:  # fmt: skip
    """What this computer itself answers: nothing secret is asked, so its own certificate need not name 127.0.0.1."""
    unchecked = ssl._create_unverified_context() if tls else None  # noqa: S323, SLF001
    if unchecked is not None and shown is not None:
        try:
            unchecked.load_cert_chain(*shown, password="")
        except OSError as error:
            raise ConfigError(say("health.certificate", file=shown[0], cause=error.strerror or error)) from error
    link = (
        http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=unchecked)
        if tls
        else http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    )
    try:
        link.request("GET", path, headers={"Host": name} if name else {})
        answer = link.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(say("health.silent", port=port, cause=error)) from error
    finally:
        link.close()


if __name__ == "__main__":
    begin(app)
