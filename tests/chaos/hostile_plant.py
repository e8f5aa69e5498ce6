"""The plant that hostile clients are let loose on: guarded as a plant is, with one gateway that behaves.

Real processes: an MQTT broker (nats-server) as deploy/nats/nats.conf has it, with TLS and permissions from `rootdx
certs`, a PostgreSQL server without TimescaleDB, a writer, a board, and a gateway `gw-good` whose every value is a
number of its own and witnessed.
`gw-evil` has a certificate of the plant and is in the wrong hands; `gw-stolen` had one and was revoked.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import psycopg
import tomli_w

from pipeline import migrate
from pipeline.settings import Bus
from rootdx import certs, passwords
from rootdx.board.people import People
from rootdx.embedded import Postgres, free_port
from rootdx.invocation import ask
from tests.chaos.counted_gateway import CLOCK_OFFSET, INCARNATION, WITNESS

ROOT: Final = Path(__file__).resolve().parents[2]
NOW: Final = datetime.now(UTC).replace(microsecond=0)
GOOD, EVIL, STOLEN = "gw-good", "gw-evil", "gw-stolen"
TAGS: Final = 10
EVERY_S: Final = 0.1
PASSWORD: Final = "correct horse battery"
PEOPLE: Final = {"eun": "engineer", "oh": "operator"}
ASSET: Final = f"hostile/{GOOD}/a/l/m1"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt.

    Attributes:
        area: bus, wire, texts or sign-in.
        attempt: what was tried.
        times: how often.
        outcome: what happened.
        counted: where that can be seen afterwards.
        held: whether it is as it should be.
    """

    area: str
    attempt: str
    times: int
    outcome: str
    counted: str
    held: bool


@dataclass(slots=True)
class Yard:
    """The plant and what its attackers have."""

    folder: Path
    papers: Path
    other: Path
    postgres: Postgres
    broker_port: int
    writer_metrics: int
    board_port: int
    processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    def bus(self, client: str | None, folder: Path | None = None) -> Bus:
        """As a client sees the broker."""
        place = folder or self.papers
        given: dict[str, object] = {"host": "localhost", "port": self.broker_port, "ca_file": self.papers / "ca.pem"}
        if client is not None:
            given |= {"certificate": place / f"{client}.pem", "key": place / f"{client}.key"}
        return Bus.model_validate({**given, "timeout_s": 5.0, "keepalive_s": 5})

    @property
    def board_url(self) -> str:
        return f"http://127.0.0.1:{self.board_port}"

    def counter(self, name: str, **labels: str) -> float:
        """A counter of the writer, summed over what is not named."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.writer_metrics}/metrics", timeout=10) as page:
            lines = page.read().decode().splitlines()
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        mine = [line for line in lines if line.startswith((f"{name}{{", f"{name} ")) and all(w in line for w in wanted)]
        return sum(float(line.rpartition(" ")[2]) for line in mine)

    def refusals(self, *words: str) -> int:
        """Lines of the broker's log with one of these words."""
        text = (self.folder / "broker.log").read_text(errors="replace")
        return sum(any(word in line for word in words) for line in text.splitlines())

    async def asked(self, query: str, *args: object) -> list[tuple[object, ...]]:
        """What the database says, as its superuser."""
        async with await psycopg.AsyncConnection.connect(self.postgres.dsn(), autocommit=True) as db:
            return await ask(db, query, list(args) or None)

    async def number(self, query: str, *args: object) -> int:
        """The only value of the only row."""
        return int(str((await self.asked(query, *args))[0][0]))

    async def committed(self, gateway: str = GOOD) -> int:
        """Up to where the gateway's records are in the database."""
        asked = "SELECT coalesce(max(last_seq), 0) FROM rootdx.ledger WHERE gateway = %s"
        return await self.number(asked, gateway)

    async def goes_on(self, patience_s: float = 20.0) -> bool:
        """Whether the gateway that behaves gets something new into the database."""
        mark, deadline = await self.committed(), time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if await self.committed() > mark + 1:
                return True
            await asyncio.sleep(0.05)
        return False

    async def restart_writer(self) -> None:
        """Ends the writer gently and starts it again."""
        await _ended(self.processes.pop("writer"))
        await _start(self, "writer", "-m", "rootdx", "writer", "--config", str(self.folder / "writer.toml"))


@contextlib.asynccontextmanager
async def yard(folder: Path) -> AsyncIterator[Yard]:
    """The plant, running."""
    papers, other = _papers(folder)
    async with contextlib.AsyncExitStack() as stack:
        (folder / "database").mkdir(mode=0o755)
        postgres = await stack.enter_async_context(Postgres(folder / "database"))
        broker_port = await stack.enter_async_context(_broker(folder, papers))
        await migrate.migrate(postgres.dsn())
        await passwords.make(postgres.dsn(), folder / "secrets")
        made = Yard(folder, papers, other, postgres, broker_port, free_port(), free_port())
        await _add_people(made)
        _write_settings(made)
        stack.push_async_callback(_end, made)
        await _start(made, "writer", "-m", "rootdx", "writer", "--config", str(folder / "writer.toml"))
        await _start(made, "board", "-m", "rootdx", "board", "--config", str(folder / "board.toml"))
        await _start(made, GOOD, "-m", "tests.chaos.counted_gateway", str(folder / "gateway.toml"))
        if not (await made.goes_on(60.0) and await _listens(made.board_port)):
            logs = [(folder / f"{name}.log").read_text()[-1500:] for name in ("writer", "board", GOOD)]
            raise TimeoutError("the plant does not run:\n" + "\n".join(logs))
        yield made


@contextlib.asynccontextmanager
async def _broker(folder: Path, papers: Path) -> AsyncIterator[int]:
    """The bus as it is shipped, on a port of its own."""
    port, text = free_port(), (ROOT / "deploy" / "nats" / "nats.conf").read_text(encoding="utf-8")
    for shipped, own in (("0.0.0.0:8883", f"127.0.0.1:{port}"), ("127.0.0.1:4222", f"127.0.0.1:{free_port()}")):
        if shipped not in text:
            raise ValueError(shipped)
        text = text.replace(shipped, own)
    (folder / "nats.conf").write_text(text, encoding="utf-8")
    shutil.copy(papers / certs.USERS, folder)
    environment = {
        "BROKER_CA": str(papers / "ca.pem"), "BROKER_CERTIFICATE": str(papers / "broker.pem"),
        "BROKER_KEY": str(papers / "broker.key"), "BROKER_STATE": str(folder / "broker"),
        "BROKER_MONITOR": f"127.0.0.1:{free_port()}",
    }  # fmt: skip
    command = [str(Path(sys.executable).with_name("nats-server")), "-c", str(folder / "nats.conf")]
    with (folder / "broker.log").open("wb") as log:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)
    try:
        if not await _listens(port):
            raise TimeoutError((folder / "broker.log").read_text()[-1500:])
        yield port
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 20)


async def _listens(port: int, patience_s: float = 30.0) -> bool:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return True
        await asyncio.sleep(0.1)
    return False


def _papers(folder: Path) -> tuple[Path, Path]:
    """The plant's certificates and those of somebody who calls himself the same."""
    ours, other = folder / "certs", folder / "other"
    for place in (ours, other):
        certs.make_authority(place, "plant", NOW)
    certs.make(ours, "broker", "server", ["localhost"], NOW)
    for client in (GOOD, EVIL, STOLEN, "writer"):
        certs.make(ours, client, "client", [], NOW)
    for client in (GOOD, "writer"):
        certs.make(other, client, "client", [], NOW)
    shutil.copytree(ours, folder / "expired")
    certs.renew(folder / "expired", [EVIL], certs.NEAR, NOW - certs.LIFE - timedelta(days=2))
    shutil.copytree(ours, folder / "thief")
    certs.revoke(ours, STOLEN, NOW)
    return ours, other


async def _add_people(made: Yard) -> None:
    async with await psycopg.AsyncConnection.connect(made.postgres.dsn(), autocommit=True) as db:
        for name, role in PEOPLE.items():
            await People(db).add(name, role, PASSWORD)  # type: ignore[arg-type]


def _write_settings(made: Yard) -> None:
    folder = made.folder
    tags = [{"name": f"n{i}", "address": f"n{i}", "unit": "1"} for i in range(TAGS)]
    for name, protocol in (("plant", "counted"), ("board-plant", "modbus")):
        place = folder / name
        place.mkdir()
        (place / "plant.toml").write_text(tomli_w.dumps({"enterprise": "hostile", "site": GOOD}))
        source = {"protocol": protocol, "every_s": EVERY_S} | ({"host": "127.0.0.1"} if protocol == "modbus" else {})
        mine = [{**tag, "address": "holding:0"} for tag in tags[:1]] if protocol == "modbus" else tags
        machine = {"path": "a/l/m1", "name": "m1", "process": "casting", "source": source, "tag": mine}
        (place / "m1.toml").write_text(tomli_w.dumps(machine))

    def stored(role: str) -> dict[str, str]:
        dsn = made.postgres.dsn(user=role)
        return {"dsn": dsn, "password_file": str(folder / "secrets" / f"{role}.password")}

    def bus(client: str) -> dict[str, object]:
        return {name: value for name, value in made.bus(client).model_dump(mode="json").items() if value is not None}

    plant = str(folder / "board-plant")
    files: dict[str, dict[str, object]] = {
        "writer": {
            "bus": bus("writer"), "store": stored("rootdx_writer"), "writer": {
                "metrics_port": made.writer_metrics,
                "machines": {GOOD: [f"hostile/{GOOD}/*"], EVIL: [f"hostile/{EVIL}/*", "forged/*"]},
            },
        },
        "board": {
            "store": stored("rootdx_board"), "analytics": {"plant": plant},
            "board": {"plant": plant, "port": made.board_port},
        },
        "gateway": {
            "bus": bus(GOOD),
            "gateway": {
                "name": GOOD, "plant": str(folder / "plant"), "spool": {"folder": str(folder / "spool")},
                "forward": {"patience_s": 1.0},
            },
        },
    }  # fmt: skip
    for name, settings in files.items():
        (folder / f"{name}.toml").write_text(tomli_w.dumps(settings))


async def _start(made: Yard, name: str, *words: str) -> None:
    own = {WITNESS: str(made.folder / "witness"), CLOCK_OFFSET: str(made.folder / "clock"), INCARNATION: "1"}
    with (made.folder / f"{name}.log").open("ab") as log:
        made.processes[name] = await asyncio.create_subprocess_exec(
            sys.executable, *words, stdout=log, stderr=log, cwd=ROOT, env={**os.environ, **own}
        )


async def _ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), 30)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _end(made: Yard) -> None:
    for process in made.processes.values():
        await _ended(process)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The rows of the gateway that behaved.

    Attributes:
        witnessed: numbers its spool has confirmed.
        missing: of these not in the table.
        twice: numbers in the table more than once.
        strange: rows of its machine that it never read.
    """

    witnessed: int
    missing: int
    twice: int
    strange: int


async def settle(made: Yard) -> Verdict:
    """Stops the gateway clean and looks up every row of it."""
    await made.goes_on(60.0)
    process = made.processes.pop(GOOD)
    await _ended(process)
    await asyncio.sleep(1.0)
    witnessed: set[int] = set()
    for line in (made.folder / "witness").read_text().splitlines():
        _, first, count, _ = line.split()
        witnessed.update(range(int(first), int(first) + int(count)))
    asked = (
        "SELECT m.value::bigint, count(*) FROM rootdx.measurement m JOIN rootdx.tag t USING (tag_id) "
        "JOIN rootdx.asset a USING (asset_id) WHERE a.path = %s AND t.name LIKE 'n%%' AND m.value >= 0 GROUP BY 1"
    )
    stored = {int(str(value)): int(str(count)) for value, count in await made.asked(asked, ASSET)}
    # What became durable in the moment of the stop may have no witness.
    strange = sum(count for value, count in stored.items() if value < min(witnessed) or value > max(witnessed) + TAGS)
    return Verdict(len(witnessed), len(witnessed - stored.keys()), sum(count - 1 for count in stored.values()), strange)
