"""Every unit's own command line, as an unprivileged user, with the files that are shipped: data flows.

Takes some 45 s: seven processes of ours are started at once, and the font list of two of them is made anew.
"""

import contextlib
import ctypes.util
import os
import pwd
import shlex
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
import tomli_w

from pipeline import migrate
from rootdx import certs, passwords
from rootdx.account import reaches
from rootdx.embedded import Postgres, free_port
from tests.deploy.test_units import DEPLOY, UNITS, read, refused_calls, value
from tests.support.services import reachable_folder, run
from tests.support.spine import one

NOW = datetime.now(UTC).replace(microsecond=0)
PATIENCE_S = 60.0
SERVERS = ("broker", "database", "board", "metrics")
CLIENTS = ("gw-1", "writer", "notify")


@dataclass
class Computer:
    """One on which everything is installed, under a folder in place of /etc, /var and /opt."""

    root: Path
    dsn: str
    ports: dict[str, int]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    said: dict[str, socket.socket] = field(default_factory=dict)

    def translate(self, text: str) -> str:
        """What is shipped, on this computer."""
        for shipped, here in (
            ("/opt/rootdx/bin/nats-server", str(Path(sys.executable).with_name("nats-server"))),
            ("/opt/rootdx/bin/rootdx", f"{sys.executable} -m rootdx"),
            ("/etc/rootdx", str(self.root / "etc")),
            ("/var/cache/rootdx", str(self.root / "cache")),
            ("/var/lib/rootdx", str(self.root / "state")),
            # the wheel's PostgreSQL is built without TLS
            ("@database:5432/rootdx", f"@localhost:{self.ports['database']}/rootdx?sslmode=disable"),
            ('host = "broker"', 'host = "localhost"'),
            ("0.0.0.0", "127.0.0.1"),
        ):
            text = text.replace(shipped, here)
        for number, name in _PORTS.items():
            text = text.replace(number, str(self.ports[name]))
        return text

    def start(self, unit: Path) -> None:
        """As systemd would: its command line, its environment, its credentials, nobody special."""
        name = unit.stem.removeprefix("rootdx-")
        handed = self.root / "credentials" / name
        handed.mkdir(parents=True)
        for key, told in read(unit)["Service"]:
            if key == "LoadCredential":
                target, _, source = told.partition(":")
                shutil.copy(self.translate(source), handed / target)
        environment = {"PATH": os.environ["PATH"], "CREDENTIALS_DIRECTORY": str(handed), "WATCHDOG_USEC": "6000000"}
        for key, told in read(unit)["Service"]:
            if key == "Environment":
                environment |= dict(
                    pair.split("=", 1) for pair in self.translate(told).replace("%d", str(handed)).split()
                )
        environment["PGSSLMODE"] = "disable"  # likewise
        listener = self.said[name] = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.bind(str(self.root / f"{name}.notify"))
        listener.settimeout(PATIENCE_S)
        environment["NOTIFY_SOCKET"] = str(self.root / f"{name}.notify")
        for file in handed.iterdir():
            file.chmod(0o400)
        own(handed, self.root / f"{name}.notify")  # not the folder of the others, who run and make and remove files
        line = shlex.split(self.translate(value(unit, "ExecStart")))
        assert unreadable(self.root, Path(line[-1]), handed, environment) == []
        log = (self.root / f"{name}.log").open("wb")
        with log:
            self.processes[name] = subprocess.Popen(
                [*as_nobody(), *filtered(unit), *line], env=environment, cwd=self.root, stderr=log, stdout=log
            )

    def simulate(self) -> None:
        """The plating line that the sample plant has."""
        command = [
            sys.executable,
            "-m",
            "rootdx",
            "simulate",
            "surface_treatment",
            "--port",
            str(self.ports["machine"]),
        ]
        self.processes["machine"] = subprocess.Popen(command, cwd=self.root, stdout=subprocess.DEVNULL)

    def ask(self, *words: str) -> int:
        """The exit code of a command of ours, as a person on this computer would give it."""
        program = "rootdx.commands.health" if words[0] == "health" else "rootdx"
        command = [sys.executable, "-m", program, *words[program.endswith("health") :]]
        return subprocess.run(command, cwd=self.root, capture_output=True, check=False).returncode

    def comes(self, what: str, condition: Callable[[], bool]) -> None:
        """Waits for it, and says what the processes said when it does not come."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            dead = [name for name, process in self.processes.items() if process.poll() is not None]
            if dead or time.monotonic() > deadline:
                logs = "\n".join(f"{file.name}: {file.read_text()[-600:]}" for file in self.root.glob("*.log"))
                pytest.fail(f"{what} did not come; ended: {dead}\n{logs}")
            time.sleep(0.2)

    def end(self) -> None:
        """Of what still runs."""
        for process in self.processes.values():
            process.kill()
            process.wait()
        for listener in self.said.values():
            listener.close()


_PORTS = {
    "8883": "broker", "4222": "nats", "127.0.0.1:8222": "monitor", "8470": "board", "9101": "gateway_metrics",
    "9102": "writer_metrics", "9103": "analytics_metrics", "9104": "notify_metrics", "9105": "board_metrics",
}  # fmt: skip


def as_nobody() -> list[str]:
    """What stands before a command so that it runs without rights; reads our Python where that lies in root's home."""
    if os.geteuid():
        return []
    account, line = pwd.getpwnam("nobody"), ["setpriv", "--clear-groups", "--no-new-privs"]
    line += [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}"]
    if not reaches(account, Path(sys.executable)):
        line += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return line


def filtered(unit: Path) -> list[str]:
    """What stands before it so that the system refuses what the unit has it refuse; nothing where systemd is not."""
    if shutil.which("systemd-analyze") is None or ctypes.util.find_library("seccomp") is None:
        return []
    return [sys.executable, str(Path(__file__).with_name("without_calls.py")), ",".join(refused_calls(unit))]


def unreadable(root: Path, config: Path, handed: Path, environment: Mapping[str, str]) -> list[str]:
    """Of the files that its settings and its environment name, those that it may not read by their mode and owner.

    As it runs here with the right to read everything, where Python lies in root's home, it would not find out itself.
    """
    account = pwd.getpwuid(os.geteuid()) if os.geteuid() else pwd.getpwnam("nobody")
    named = {config, *(Path(value) for key, value in environment.items() if key != "PATH" and value.startswith("/"))}
    if config.suffix == ".toml":
        for value in strings(tomllib.loads(config.read_text(encoding="utf-8"))):
            named.add(handed / value.removeprefix("%d/") if value.startswith("%d/") else config.parent / value)
    else:
        named.add(config.with_name(certs.USERS))
    ours = {place for place in named if place.is_relative_to(root) and place.exists()}
    files = {file for place in ours for file in (place, *place.rglob("*")) if file.is_file()}
    missing = [str(place) for place in named if place.parent == handed and not place.exists()]
    return sorted(missing + [str(file) for file in files if not may_read(account, file)])


def strings(settings: object) -> Iterator[str]:
    """Every text in settings that could be a file's name."""
    if isinstance(settings, str):
        yield settings
    elif isinstance(settings, dict | list):
        for value in settings.values() if isinstance(settings, dict) else settings:
            yield from strings(value)


def may_read(account: pwd.struct_passwd, file: Path) -> bool:
    """By the mode and the owner of the file and of every folder on the way."""
    status = file.stat()
    bit = 0o400 if status.st_uid == account.pw_uid else 0o040 if status.st_gid == account.pw_gid else 0o004
    return bool(status.st_mode & bit) and reaches(account, file.parent)


def own(*places: Path) -> None:
    """Gives files, and folders with everything in them, to whom the processes run as."""
    if os.geteuid():
        return
    account = pwd.getpwnam("nobody")
    for place in places:
        for path in (place, *place.rglob("*")):
            os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)


def install(root: Path) -> None:
    """What install.sh and the first steps of the runbook do: certificates, secrets, settings, a machine."""
    secrets, place = root / "etc" / "secrets", root / "certs"
    certs.make_authority(place, "plant", NOW)
    for server in SERVERS:
        certs.make(place, server, "server", ["localhost", server], NOW)
    for client in CLIENTS:
        certs.make(place, client, "client", [], NOW)
    secrets.mkdir(parents=True)
    for name in ("ca", "crl", *SERVERS, "writer", "notify"):
        for file in place.glob(f"{name}.*"):
            shutil.copy(file, secrets)
    for end in ("pem", "key"):
        shutil.copy(place / f"gw-1.{end}", secrets / f"gateway.{end}")
    (root / "etc" / "nats").mkdir()
    shutil.copy(place / certs.USERS, root / "etc" / "nats")
    (root / "etc" / "nats" / certs.USERS).chmod(0o644)
    for folder in (secrets, place):
        folder.chmod(0o700)


def settle(computer: Computer) -> None:
    """Settings, the broker's configuration, a machine file."""
    etc = computer.root / "etc"
    for file in (DEPLOY / "config").glob("*.toml"):
        (etc / file.name).write_text(computer.translate(file.read_text(encoding="utf-8")), encoding="utf-8")
    board = etc / "board.toml"
    board.write_text(board.read_text().replace("[board]", "[board]\nsign_in = false"), encoding="utf-8")
    text = (DEPLOY / "nats" / "nats.conf").read_text(encoding="utf-8")
    (etc / "nats" / "nats.conf").write_text(computer.translate(text), encoding="utf-8")
    (etc / "plant").mkdir()
    shutil.copy(DEPLOY / "plant" / "plant.toml", etc / "plant")
    machine = tomllib.loads((DEPLOY / "plant" / "ni1.toml").read_text(encoding="utf-8"))
    machine["source"] |= {"host": "127.0.0.1", "port": computer.ports["machine"]}
    (etc / "plant" / "ni1.toml").write_text(tomli_w.dumps(machine), encoding="utf-8")
    for folder in ("cache", "state", "state/spool", "state/reports", "state-broker"):
        (computer.root / folder).mkdir()


@contextlib.contextmanager
def installed() -> Iterator[Computer]:
    """A computer with a database, certificates, secrets and settings; nothing runs yet but the database."""
    with reachable_folder() as root, contextlib.ExitStack() as stack:
        own(root)
        install(root)
        (root / "postgres").mkdir(mode=0o755)
        server = Postgres(root / "postgres")
        run(server.start())
        stack.callback(lambda: run(server.stop()))
        run(migrate.migrate(server.dsn()))
        run(passwords.make(server.dsn(), root / "etc" / "secrets"))
        ports = {name: free_port() for name in {*_PORTS.values(), "machine"}}
        made = Computer(root, server.dsn(), ports | {"database": server.port})
        settle(made)
        own(*(root / name for name in ("cache", "state", "state-broker")))  # as install.sh: settings are root's
        stack.callback(made.end)
        yield made


@pytest.fixture
def computer() -> Iterator[Computer]:
    with installed() as made:
        yield made


@pytest.mark.plain
@pytest.mark.timeout(240)
def test_everything_that_is_shipped_works_together(computer: Computer) -> None:
    computer.simulate()
    units = sorted(UNITS, key=lambda unit: unit.stem != "rootdx-broker")
    for unit in units:
        computer.start(unit)
    for name, listener in computer.said.items():
        if name != "broker":
            assert listener.recv(100) == b"READY=1", name
            assert listener.recv(100) == b"WATCHDOG=1", name
    etc = computer.root / "etc"
    computer.comes("rows", lambda: int(one(computer.dsn, "SELECT count(*) FROM rootdx.measurement")) > 500)
    for name in ("gateway", "writer", "board"):
        words = ["health", "--of", name, "--config", str(etc / f"{name}.toml")]
        computer.comes(f"health of {name}", lambda words=words: computer.ask(*words) == 0)  # type: ignore[misc]
    assert computer.ask("health", "--of", "notify", "--wants", "answer", "--config", str(etc / "notify.toml")) == 0
    assert computer.ask("doctor", "--config", str(etc / "writer.toml"), "--no-machines") == 0
    ended = {name: computer.processes[name] for name in computer.said if name != "broker"}
    for process in ended.values():
        process.terminate()
    assert {name: process.wait(30) for name, process in ended.items()} == dict.fromkeys(ended, 0)


@pytest.mark.plain
def test_a_setting_that_is_wrong_ends_with_the_code_that_is_not_tried_again(computer: Computer) -> None:
    file = computer.root / "etc" / "writer.toml"
    file.write_text(file.read_text().replace("metrics_port", "metrics_prot"))
    computer.start(DEPLOY / "systemd" / "rootdx-writer.service")
    assert computer.processes["writer"].wait(30) == 78
    assert "writer.metrics_prot" in (computer.root / "writer.log").read_text()


@pytest.mark.plain
@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts services as somebody else")
@pytest.mark.parametrize("name", ["plant/ni1.toml", "nats/bus-users.conf", "gateway.toml", "plant"])
def test_a_file_that_the_unprivileged_user_may_not_read_is_noticed(computer: Computer, name: str) -> None:
    """By the check that stands before every start here."""
    (computer.root / "etc" / name).chmod(0)
    unit = "broker" if name.startswith("nats") else "gateway"
    with pytest.raises(AssertionError, match=name.replace("plant", "plant/").replace("//", "/").partition(".")[0]):
        computer.start(DEPLOY / "systemd" / f"rootdx-{unit}.service")
