"""A whole plant on one machine: embedded database and broker, simulated machines, gateway and writer.

* Each part is a process of its own, as in a plant; what this process does is start, watch, show and stop them.
* Nothing outlives it: embedded servers of a demo that was killed are found and stopped by the next (embedded.md),
  the other children end with the pipe they hold.
* The folder is emptied at the start and holds the logs, settings and truth of the last demo afterwards.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import tomllib
import webbrowser
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg
import tomli_w
from rich.console import Console

from pipeline import migrate
from pipeline.errors import ConfigError, RootdxError, Unavailable
from rootdx import check, demo_people, live, passwords, recordings
from rootdx.demo_steps import Steps, shown_steps
from rootdx.embedded import Broker, Postgres, free_port
from rootdx.program import PARENT
from rootdx.recordings import Recorded
from rootdx.server import is_free
from rootdx.texts import say

log = logging.getLogger(__name__)

GATEWAY: Final = "demo"
FIRST_ROW_S: Final = 60.0
BOARD_PORT: Final = 8470
"""Where the board is found, unless somebody else listens there."""
STOP_S: Final = 25.0
SIMULATED: Final = {"dc1": "casting", "iq2": "heat_treatment", "weld1": "welding", "ni1": "surface_treatment"}
"""Machine file and the simulator that stands in for it."""
FAULTS: Final = {"weld1": (("gas_loss", 60.0, 120.0), ("wire_slip", 600.0, 720.0)), "dc1": (("dosing", 300.0, 540.0),)}
"""What goes wrong in every demo, by machine: type, from and to in simulated seconds."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asked for.

    Attributes:
        duration_s: None means until Ctrl-C.
        check: compare at the end.
        replay: folder of recordings, in place of the simulated plant.
        speed: simulated seconds per second.
        seed: of the simulators.
        folder: where everything of the demo lies.
        browser: whether the board is opened where there is a screen.
    """

    duration_s: float | None
    check: bool
    replay: Path | None
    speed: float
    seed: int
    folder: Path
    browser: bool = False


@dataclass(slots=True)
class _Plant:
    """What runs."""

    wish: Wish
    console: Console
    dsn: str = ""
    broker_port: int = 0
    board_port: int = 0
    store_port: int = 0
    machines: dict[str, str] = field(default_factory=dict)  # asset path to the name of its file and log
    recorded: list[Recorded] = field(default_factory=list)
    processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)


def default_folder() -> Path:
    """A folder of this user, outside any checkout; root's servers run as another account, which cannot enter /root."""
    usual = "/var/cache" if os.geteuid() == 0 else str(Path.home() / ".cache")
    cache = os.environ.get("XDG_CACHE_HOME") or usual
    for base in (Path(cache), Path(tempfile.gettempdir()) / f"rootdx-{os.getuid()}"):
        with contextlib.suppress(OSError):
            (base / "rootdx").mkdir(parents=True, exist_ok=True)
            if os.access(base / "rootdx", os.W_OK):
                return base / "rootdx" / "demo"
    raise ConfigError(f"neither {cache} nor {tempfile.gettempdir()} can be written; name a folder with --folder")


def sample_plant() -> Path:
    """The machine files of the sample plant: in the installed package, else in the checkout."""
    here = Path(__file__).resolve().parent
    return here / "plant" if (here / "plant").is_dir() else here.parent / "deploy" / "plant"


async def run(wish: Wish) -> int:
    """Runs the demo; returns the exit code."""
    console = Console()
    plant = _Plant(wish, console)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        with shown_steps(console) as steps:
            await _start(plant, stack, steps)
        _tell_where(plant)
        verdict = await _work(plant, stop)
        console.print(say("demo.stopping"))
        await _stop(plant)
        if wish.check:
            verdict = max(verdict, await _check(plant))
    return verdict


def _tell_where(plant: _Plant) -> None:
    """Where the board is, and what a Grafana would be pointed at; opens the board where there is a screen."""
    url = _address(plant)
    plant.console.print(say("demo.board", url=url), style="bold")
    plant.console.print(say("demo.grafana", port=plant.store_port, file=plant.wish.folder / "pg_service.conf"))
    if plant.wish.browser and plant.console.is_terminal and (os.environ.get("DISPLAY") or sys.platform != "linux"):
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


async def _start(plant: _Plant, stack: contextlib.AsyncExitStack, steps: Steps) -> None:
    folder = plant.wish.folder
    with steps.step("demo.step.services"):
        postgres, broker = await _services(folder, stack)
        plant.dsn, plant.broker_port, plant.store_port = postgres.dsn(), broker.port, postgres.port
        plant.board_port = BOARD_PORT if is_free(BOARD_PORT) else free_port()
    await stack.enter_async_context(_ended(plant))
    with steps.step("demo.step.simulators"):
        await _simulate(plant)
    with steps.step("demo.step.schema"):
        await migrate.migrate(plant.dsn)
        if plant.recorded:
            await asyncio.to_thread(_keep_old_rows, plant.dsn)
        secrets = await passwords.make(plant.dsn, folder / "secrets")
        _service_file(plant, postgres.port, secrets["rootdx_reader"])
    with steps.step("demo.step.processes"):
        settings = _settings_file(plant, "rootdx", postgres.port, secrets["rootdx_writer"])
        await _spawn(plant, "writer", ["writer", "--config", str(settings)])
        await _spawn(plant, "gateway", ["gateway", "--config", str(settings)])
        if not plant.recorded:
            settings = _settings_file(plant, "analytics", postgres.port, secrets["rootdx_analytics"])
            await _spawn(plant, "analytics", ["analytics", "--config", str(settings)])
        settings = _settings_file(plant, "board", postgres.port, secrets["rootdx_board"])
        await _spawn(plant, "board", ["board", "--config", str(settings)])
    with steps.step("demo.step.rows"):
        await _first_rows(plant)
    with steps.step("demo.step.board"):
        await _board_answers(plant)
    seconds = time.monotonic() - plant.began
    plant.console.print(say("demo.first_row", machines=len(plant.machines), seconds=seconds))


async def _services(folder: Path, stack: contextlib.AsyncExitStack) -> tuple[Postgres, Broker]:
    """Database and broker on an empty folder; leftovers of an earlier demo are stopped first."""
    for server in (Postgres(folder / "database"), Broker(folder / "broker")):
        await server.clear()
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, mode=0o755)
    (folder / "logs").mkdir()
    servers = Postgres(folder / "database"), Broker(folder / "broker")
    for server in servers:
        await stack.enter_async_context(server)
    return servers


async def _simulate(plant: _Plant) -> None:
    files = plant.wish.folder / "plant"
    files.mkdir()
    shutil.copy(sample_plant() / "plant.toml", files / "plant.toml")
    name = tomllib.loads((files / "plant.toml").read_text(encoding="utf-8"))
    if plant.wish.replay is not None:
        plant.recorded = await asyncio.to_thread(recordings.find, plant.wish.replay, plant.console)
        for one in plant.recorded:
            port = free_port()
            recordings.machine_file(one, port, files / f"{one.name}.toml")
            arguments = ["replay", *map(str, one.files), "--port", str(port), "--speed", "max"]
            await _spawn(plant, one.name, ["simulate", *arguments])
            plant.machines[f"{name['enterprise']}/{name['site']}/{one.path}"] = one.name
        return
    for machine, model in SIMULATED.items():
        data = tomllib.loads((sample_plant() / f"{machine}.toml").read_text(encoding="utf-8"))
        port = free_port()
        _point(data["source"], port, plant.broker_port)
        drop = _drop(data, plant.wish.folder / "bursts" / machine)
        (files / f"{machine}.toml").write_text(tomli_w.dumps(data), encoding="utf-8")
        plant.machines[f"{name['enterprise']}/{name['site']}/{data['path']}"] = machine
        where = ["--broker", f"127.0.0.1:{plant.broker_port}"] if model == "welding" else ["--port", str(port)]
        truth = ["--truth", str(plant.wish.folder / f"truth-{machine}.jsonl")]
        pace = ["--seed", str(plant.wish.seed), "--speed", str(plant.wish.speed)]
        wrong = _faults(machine, plant.wish.folder / f"faults-{machine}.toml")
        await _spawn(plant, machine, ["simulate", model, *where, *pace, *truth, *drop, *wrong])


def _point(source: dict[str, Any], port: int, broker_port: int) -> None:
    """The sample's source, at the ports of this demo."""
    if source["protocol"] == "opcua":
        source["url"] = f"opc.tcp://127.0.0.1:{port}"
    else:
        source["port"] = broker_port if source["protocol"] == "mqtt" else port


def _drop(data: dict[str, Any], folder: Path) -> list[str]:
    """A folder of this demo for the machine's bursts, and the simulator's option that fills it."""
    if "waveform_source" not in data:
        return []
    folder.mkdir(parents=True)
    data["waveform_source"]["folder"] = str(folder)
    return ["--drop", str(folder)]


def _faults(machine: str, file: Path) -> list[str]:
    """What goes wrong with a machine as a timeline, and the simulator's option that reads it."""
    told = [{"type": kind, "start_s": start, "end_s": end} for kind, start, end in FAULTS.get(machine, ())]
    if not told:
        return []
    file.write_text(tomli_w.dumps({"fault": told}), encoding="utf-8")
    return ["--faults", str(file)]


def _keep_old_rows(dsn: str) -> None:
    """A recording may be older than anything a plant would keep."""
    with psycopg.connect(dsn) as db:
        db.execute("SELECT rootdx.keep_raw('100 years')")


def _settings_file(plant: _Plant, name: str, port: int, secret: Path) -> Path:
    """Settings of the processes that enter the database with this secret, which is named after its role."""
    file = plant.wish.folder / f"{name}.toml"
    store = {"dsn": f"postgresql://{secret.stem}@127.0.0.1:{port}/rootdx", "password_file": str(secret)}
    gateway = {"name": GATEWAY, "plant": "plant", "spool": {"folder": "spool"}}
    bus, analytics = {"port": plant.broker_port}, {"plant": "plant"}
    board = {"plant": "plant", "port": plant.board_port, "sign_in": False}
    parts = {"bus": bus, "store": store, "gateway": gateway, "analytics": analytics, "board": board}
    file.write_text(tomli_w.dumps(parts), encoding="utf-8")
    return file


def _service_file(plant: _Plant, port: int, secret: Path) -> None:
    """A libpq service file, so that people can look into the demo's database without a password on a command line."""
    lines = ["[rootdx]", "host=127.0.0.1", f"port={port}", "dbname=rootdx", "user=rootdx_reader"]
    file = plant.wish.folder / "pg_service.conf"
    file.touch(mode=0o600)
    file.write_text("\n".join([*lines, f"password={secret.read_text().strip()}", ""]), encoding="utf-8")


async def _spawn(plant: _Plant, name: str, arguments: Sequence[str]) -> None:
    """One of our own processes; its words go to its log."""
    with (plant.wish.folder / "logs" / f"{name}.log").open("wb") as log:
        plant.processes[name] = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "rootdx", *arguments,
            stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            env={**os.environ, PARENT: str(os.getpid())},
        )  # fmt: skip


async def _first_rows(plant: _Plant) -> None:
    deadline = time.monotonic() + FIRST_ROW_S
    seen: set[str] = set()
    while time.monotonic() < deadline:
        _complain_of_the_dead(plant)
        seen = await asyncio.to_thread(_assets_with_rows, plant.dsn)
        if seen >= set(plant.machines):
            return
        await asyncio.sleep(0.1)
    missing = ", ".join(sorted(set(plant.machines) - seen))
    raise Unavailable(say("demo.no_rows", assets=missing, seconds=FIRST_ROW_S, folder=plant.wish.folder / "logs"))


async def _board_answers(plant: _Plant) -> None:
    deadline = time.monotonic() + FIRST_ROW_S
    async with httpx.AsyncClient() as web:
        while time.monotonic() < deadline:
            _complain_of_the_dead(plant)
            with contextlib.suppress(httpx.TransportError):
                if (await web.get(f"{_address(plant)}api/v1/health")).is_success:
                    return
            await asyncio.sleep(0.1)
    raise Unavailable(say("demo.no_board", seconds=FIRST_ROW_S, folder=plant.wish.folder / "logs"))


def _address(plant: _Plant) -> str:
    return f"http://127.0.0.1:{plant.board_port}/"


def _assets_with_rows(dsn: str) -> set[str]:
    with psycopg.connect(dsn) as db:
        found = db.execute(
            "SELECT a.path FROM rootdx.asset a WHERE EXISTS (SELECT FROM rootdx.tag t "
            "JOIN rootdx.measurement m USING (tag_id) WHERE t.asset_id = a.asset_id)"
        )
        return {row[0] for row in found}


def _complain_of_the_dead(plant: _Plant) -> None:
    for name, process in plant.processes.items():
        if process.returncode is not None:
            log = plant.wish.folder / "logs" / f"{name}.log"
            raise Unavailable(say("demo.died", process=name, code=process.returncode, log=log))


async def _work(plant: _Plant, stop: asyncio.Event) -> int:
    """The live view until Ctrl-C, the end of the time or of the recordings."""
    ends = asyncio.create_task(stop.wait())
    watch = asyncio.create_task(live.show(plant.dsn, plant.wish.folder, plant.console, plant.wish.check))
    waits = [ends, watch]
    if not plant.recorded:
        people = asyncio.create_task(_people(plant))
        waits.append(people)
    if plant.recorded:
        waits.append(asyncio.create_task(_recordings_played(plant)))
    try:
        done, _ = await asyncio.wait(waits, timeout=plant.wish.duration_s, return_when=asyncio.FIRST_COMPLETED)
        for one in done:
            one.result()
    finally:
        for one in waits:
            one.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    _complain_of_the_dead(plant)
    return 0


async def _people(plant: _Plant) -> None:
    """The people of the plant; a fault of theirs ends no demo."""
    try:
        await demo_people.work(plant.dsn, plant.wish.folder / "plant")
    except RootdxError as error:
        log.warning("the people of the demo stopped cause=%s", error)
    await asyncio.Event().wait()


async def _recordings_played(plant: _Plant) -> None:
    """Until the last row of every recording is in the table."""
    while not await asyncio.to_thread(check.played, plant.dsn, plant.recorded):
        _complain_of_the_dead(plant)
        await asyncio.sleep(0.2)
    seconds, rows = await asyncio.to_thread(check.taken, plant.dsn)
    lines = sum(one.rows for one in plant.recorded)
    values = {"rows": rows, "seconds": seconds, "rate": rows / seconds if seconds else 0.0}
    plant.console.print(say("demo.replay_done", **values, records=lines, machines=len(plant.recorded)))


async def _stop(plant: _Plant) -> None:
    """Machines that send by themselves first, then the gateway (which empties its spool), writer, other machines."""
    order = ["weld1", "gateway", "writer", *plant.processes]
    for name in dict.fromkeys(name for name in order if name in plant.processes):
        await _end(plant.processes[name])
        if name == "weld1":
            await asyncio.sleep(0.5)  # what the broker still holds for the gateway


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), STOP_S)
    except TimeoutError:
        process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def _ended(plant: _Plant) -> AsyncIterator[None]:
    """Whatever happens, no process of the demo is left behind."""
    try:
        yield
    finally:
        for process in plant.processes.values():
            await _end(process)


async def _check(plant: _Plant) -> int:
    with plant.console.status(say("check.title")):
        report = await asyncio.to_thread(check.examine, plant.dsn, plant.wish.folder, plant.machines, plant.recorded)
    check.show(report, plant.console)
    return 0 if report.passed else 1
