"""Three brokers and their relays on loopback as deploy/nats ships them, with certificates and ports of their own."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pipeline.settings import Bus
from rootdx import certs
from rootdx.embedded import free_port

CONF: Final = Path(__file__).resolve().parents[2] / "deploy" / "nats"
NODES: Final = ("broker1", "broker2", "broker3")


@dataclass(slots=True)
class Node:
    """A broker and the relay of its computer; what it is called is also whose certificate it shows."""

    name: str
    folder: Path
    shows: str
    mqtt: int = field(default_factory=free_port)
    own: int = field(default_factory=free_port)
    route: int = field(default_factory=free_port)
    leaf: int = field(default_factory=free_port)
    monitor: int = field(default_factory=free_port)
    relay_monitor: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    relay: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Of the broker; None where it does not run."""
        return None if self.process is None or self.process.poll() is not None else self.process.pid

    def kill(self) -> None:
        """SIGKILL to both."""
        running = [one for one in (self.process, self.relay) if one is not None]
        for one in running:
            one.kill()
        for one in running:
            one.wait()

    def log(self) -> str:
        """All that both said."""
        return (self.folder / "log").read_text(errors="replace")

    def asked(self, page: str) -> Any:
        """What the relay's monitor says."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.relay_monitor}/{page}", timeout=5) as answer:
            return json.load(answer)


@dataclass(slots=True)
class Cluster:
    """The three, and the plant's certificates."""

    folder: Path
    nodes: dict[str, Node]

    @property
    def papers(self) -> Path:
        """Folder of the certificates."""
        return self.folder / "certs"

    def bus(self, client: str, *names: str, **more: object) -> Bus:
        """As a client of that name sees the nodes, all of them or these."""
        return Bus.model_validate(self.settings(client, *names) | more)

    def settings(self, client: str, *names: str) -> dict[str, object]:
        """Likewise, as it stands in a settings file."""
        hosts = [f"localhost:{self.nodes[name].mqtt}" for name in names or NODES]
        files = {"ca_file": "ca.pem", "certificate": f"{client}.pem", "key": f"{client}.key"}
        return {"host": hosts} | {key: str(self.papers / file) for key, file in files.items()}

    def start(self, node: Node) -> None:
        """From the files as they are shipped, with this machine's names and ports."""
        own = node.folder
        own.mkdir(exist_ok=True)
        text = (CONF / "nats.conf").read_text(encoding="utf-8")
        (own / "nats.conf").write_text(_with(text, {
            '"0.0.0.0:8883"': f'"127.0.0.1:{node.mqtt}"', '"127.0.0.1:4222"': f'"127.0.0.1:{node.own}"',
        }))  # fmt: skip
        routes = {f"{name}:6222": f"localhost:{self.nodes[name].route}" for name in NODES}
        leaves = {f"{name}:7422": f"localhost:{self.nodes[name].leaf}" for name in NODES}
        text = (CONF / "cluster.conf").read_text(encoding="utf-8")
        (own / "cluster.conf").write_text(_with(text, leaves))
        text = (CONF / "relay.conf").read_text(encoding="utf-8")
        (own / "relay.conf").write_text(_with(text, {
            '"0.0.0.0:6222"': f'"127.0.0.1:{node.route}"', '"0.0.0.0:7422"': f'"127.0.0.1:{node.leaf}"',
            '"127.0.0.1:4223"': '"127.0.0.1:-1"', '"127.0.0.1:8223"': f'"127.0.0.1:{node.relay_monitor}"',
        } | routes))  # fmt: skip
        shutil.copy(self.papers / certs.USERS, own)
        environment = {
            "BROKER_NAME": node.name, "BROKER_CA": str(self.papers / "ca.pem"),
            "BROKER_CERTIFICATE": str(self.papers / f"{node.shows}.pem"),
            "BROKER_KEY": str(self.papers / f"{node.shows}.key"), "BROKER_STATE": str(own / "state"),
            "BROKER_MONITOR": f"127.0.0.1:{node.monitor}",
        }  # fmt: skip
        server = str(Path(sys.executable).with_name("nats-server"))
        with (own / "log").open("ab") as log:
            node.relay, node.process = (
                subprocess.Popen(
                    [server, "-c", str(own / file)], env={**os.environ, **environment}, stdout=log, stderr=log
                )
                for file in ("relay.conf", "cluster.conf")
            )


def _with(text: str, changes: dict[str, str]) -> str:
    for shipped, ours in changes.items():
        assert text.count(shipped) == 1, shipped
        text = text.replace(shipped, ours)
    return text


@contextlib.contextmanager
def cluster(folder: Path, clients: Sequence[str]) -> Iterator[Cluster]:
    """Three nodes that were started together; clients are let in at once, and hear each other a moment later."""
    now = datetime.now(UTC).replace(microsecond=0)
    made = Cluster(folder, {name: Node(name, folder / name, name) for name in NODES})
    certs.make_authority(made.papers, "plant", now)
    for name in NODES:
        certs.make(made.papers, name, "server", ["localhost"], now)
    for name in clients:
        certs.make(made.papers, name, "client", [], now)
    try:
        for node in made.nodes.values():
            made.start(node)
        yield made
    finally:
        for node in made.nodes.values():
            node.kill()
