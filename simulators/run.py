"""One entry for every simulated machine: `serve`.

    async def serve(
        machine: str,                       # one of MACHINES
        options: Options = Options(),       # what a person may set, see the class
        *,
        on_ready: Callable[[Endpoint], None] | None = None,
        wall: Callable[[], int] = time.time_ns,
    ) -> None

It runs until it is cancelled, prints nothing, and calls `on_ready` once, when clients can connect (MQTT: when the
device runs; it connects to the broker by itself and keeps trying). Cancelling closes sockets and the truth file.
`InputError` is raised before anything is opened, but for a port that is taken.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from simulators import casting, forging, heat_treatment, melting, molding, surface_treatment, welding
from simulators.clock import SimClock
from simulators.errors import InputError
from simulators.faults import Catalogue, Faults, load_faults
from simulators.recording import read_recording
from simulators.replay import ReplayDevice, Speed
from simulators.serve_bursts import check_folder, tell_bursts
from simulators.serve_modbus import MachineDevice, open_modbus
from simulators.serve_mqtt import BundlingMachine, MqttDevice, Publisher
from simulators.serve_opcua import OpcuaDevice, open_opcua
from simulators.signals import Failure, Machine, Signal, Wire
from simulators.truth import Truth, open_truth

REPLAY = "replay"
_CYCLES_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Model:
    """A machine that can be simulated, what it speaks and the port of its machine file."""

    wire: Wire
    make: Callable[[int, Faults], Machine]
    signals: tuple[Signal, ...]
    failures: tuple[Failure, ...]
    port: int


MODELS = {
    "casting": Model("modbus", casting.CastingCell, casting.SIGNALS, casting.FAILURES, 15021),
    "heat_treatment": Model(
        "opcua", heat_treatment.CarburisingFurnace, heat_treatment.SIGNALS, heat_treatment.FAILURES, 48400
    ),
    "welding": Model("mqtt", welding.WeldingCell, welding.SIGNALS, welding.FAILURES, 1883),
    "surface_treatment": Model(
        "modbus", surface_treatment.PlatingLine, surface_treatment.SIGNALS, surface_treatment.FAILURES, 15022
    ),
    "forging": Model("modbus", forging.ForgingPress, forging.SIGNALS, forging.FAILURES, 15025),
    "melting": Model("modbus", melting.MeltingFurnace, melting.SIGNALS, melting.FAILURES, 15024),
    "molding": Model("modbus", molding.InjectionMachine, molding.SIGNALS, molding.FAILURES, 15026),
}
MACHINES = (*MODELS, REPLAY)
_REPLAY_PORT = 15023


@dataclass(frozen=True, slots=True)
class Options:
    """What a person may set for a simulated machine."""

    host: str = "127.0.0.1"
    """Address to listen on; not used by MQTT, which connects out."""
    port: int | None = None
    """Port to listen on; 0 takes a free one, None the one in the machine file of deploy/plant."""
    unit_id: int = 1
    """Modbus unit the device answers for."""
    broker_host: str = "127.0.0.1"
    broker_port: int = 1883
    """The broker an MQTT machine publishes to."""
    seed: int = 1
    """The same seed, speed, start and faults give the same values."""
    speed: Speed = 1.0
    """Simulated seconds per second; "max" is for replay alone: a row a read."""
    start_s: float = 0.0
    """Simulated second to begin at: jumps into the middle of a shift."""
    every_s: float = 1.0
    """Wall seconds between two writes of an OPC UA machine."""
    faults: Path | None = None
    """Fault timeline, see faults.md; not for replay."""
    truth: Path | None = None
    """File the truth is appended to, see truth.py."""
    drop: Path | None = None
    """Folder into which bursts are written as CSV files, see serve_bursts.py; None writes none."""
    files: tuple[Path, ...] = ()
    """Recordings a replay plays one after the other."""
    time_column: str | None = None
    """Heading of the recording's time; None finds it by its name."""
    zone: str = "Asia/Seoul"
    """Time zone of recorded times that name none."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a running machine is; `url` is the whole of it, `detail` names unit, namespace or topics."""

    machine: str
    protocol: Wire
    url: str
    host: str
    port: int
    detail: str
    notices: tuple[str, ...] = ()
    """What a person should be told, one sentence each: columns a replay left out."""


@dataclass(frozen=True, slots=True)
class _Run:
    machine: str
    options: Options
    faults: Faults
    clock: SimClock
    truth: Truth


DEFAULTS = Options()


async def serve(
    machine: str,
    options: Options = DEFAULTS,
    *,
    on_ready: Callable[[Endpoint], None] | None = None,
    wall: Callable[[], int] = time.time_ns,
) -> None:
    """Simulate a machine behind its protocol until cancelled.

    Raises:
        InputError: for a machine, option, file or port that cannot be used, saying what can.
    """
    _check(machine, options)
    faults = _faults(machine, options)
    speed = 1.0 if options.speed == "max" else options.speed
    ready = on_ready or _nobody
    if machine == REPLAY:
        await _serve_replay(options, speed, wall, ready)
        return
    model = MODELS[machine]
    with open_truth(machine, options.truth) as truth:
        device = model.make(options.seed, faults)
        clock = SimClock(wall, wall(), speed, options.start_s)
        truth.faults(faults, clock)
        run = _Run(machine, options, faults, clock, truth)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_tell_cycles(device, run), name=f"{machine} cycles")
                tasks.create_task(tell_bursts(device, clock, truth, options.drop), name=f"{machine} bursts")
                tasks.create_task(_SERVERS[model.wire](run, model, device, ready), name=f"{machine} server")
        except BaseExceptionGroup as group:
            taken, rest = group.split(InputError)
            if taken and not rest:
                raise InputError(str(taken.exceptions[0])) from taken
            raise


async def _tell_cycles(device: Machine, run: _Run) -> None:
    """Write cycles into the truth soon after they end."""
    told_s = run.clock.start_s
    while run.truth.wanted:
        await asyncio.sleep(_CYCLES_EVERY_S)
        now_s = run.clock.now_s()
        for cycle in device.cycles(told_s, now_s):
            if cycle.start_s >= run.clock.start_s:
                run.truth.cycle(cycle, run.clock)
            # A fast machine has many cycles to tell; others may work between them.
            await asyncio.sleep(0)
        told_s = max(told_s, now_s)


async def _serve_modbus(run: _Run, model: Model, machine: Machine, ready: Callable[[Endpoint], None]) -> None:
    device = MachineDevice(machine, model.signals, run.faults, run.clock, run.truth)
    host, unit_id = run.options.host, run.options.unit_id
    async with open_modbus(device, host, _port(run.options, model.port), unit_id) as port:
        ready(Endpoint(run.machine, "modbus", f"modbus://{host}:{port}", host, port, f"unit {unit_id}"))
        await _forever()


async def _serve_opcua(run: _Run, model: Model, machine: Machine, ready: Callable[[Endpoint], None]) -> None:
    device = OpcuaDevice(machine, model.signals, run.faults, run.clock, run.truth)
    host = run.options.host
    async with open_opcua(device, heat_treatment.NAMESPACE, host, _port(run.options, model.port)) as writer:
        url = f"opc.tcp://{host}:{writer.port}"
        ready(Endpoint(run.machine, "opcua", url, host, writer.port, heat_treatment.NAMESPACE))
        await writer.run(run.options.every_s)


async def _serve_mqtt(run: _Run, model: Model, machine: Machine, ready: Callable[[Endpoint], None]) -> None:
    device = MqttDevice(cast("BundlingMachine", machine), model.signals, run.faults, run.clock)
    host, port = run.options.broker_host, run.options.broker_port
    ready(Endpoint(run.machine, "mqtt", f"mqtt://{host}:{port}", host, port, " ".join(device.topics)))
    await Publisher(device, run.clock, run.truth).run(host, port)


_SERVERS = {"modbus": _serve_modbus, "opcua": _serve_opcua, "mqtt": _serve_mqtt}


async def _serve_replay(
    options: Options, speed: float, wall: Callable[[], int], ready: Callable[[Endpoint], None]
) -> None:
    recording = await asyncio.to_thread(read_recording, options.files, options.time_column, options.zone)
    with open_truth(REPLAY, options.truth) as truth:
        clock = SimClock(wall, wall(), speed, options.start_s)
        device = ReplayDevice(recording, options.speed, clock, truth)
        async with open_modbus(device, options.host, _port(options, _REPLAY_PORT), options.unit_id) as port:
            notices = (f"columns left out, not numeric: {', '.join(recording.left_out)}",) if recording.left_out else ()
            url, detail = f"modbus://{options.host}:{port}", f"unit {options.unit_id}, {device.rows} rows"
            ready(Endpoint(REPLAY, "modbus", url, options.host, port, detail, notices))
            await _forever()


def catalogue(machine: str) -> Catalogue:
    """What a fault file for that machine may name."""
    model = MODELS[machine]
    return Catalogue(machine, model.wire, model.signals, model.failures)


def _check(machine: str, options: Options) -> None:
    if machine not in MACHINES:
        raise InputError(f"machine {machine!r} is unknown; there are {', '.join(MACHINES)}")
    if machine == REPLAY and options.faults:
        raise InputError("replay takes no fault file: a recording is played as it is")
    if options.speed == "max" and machine != REPLAY:
        raise InputError(f"speed = 'max' is for replay; give {machine} a number of simulated seconds per second")
    if options.speed != "max" and not 0.0 < options.speed <= 1e5:
        raise InputError(f"speed = {options.speed!r}; expected a number above 0, at most 100000")
    if options.drop is not None:
        check_folder(options.drop)
    if options.port is not None and not 0 <= options.port <= 65535:
        raise InputError(f"port = {options.port}; expected 0 (a free one) to 65535")
    if not 1 <= options.unit_id <= 247:
        raise InputError(f"unit_id = {options.unit_id}; expected 1 to 247")
    if options.every_s <= 0.0 or options.start_s < 0.0:
        raise InputError(f"every_s = {options.every_s} must be above 0 and start_s = {options.start_s} not below it")


def _faults(machine: str, options: Options) -> Faults:
    if options.faults is None:
        return Faults()
    return load_faults(options.faults, catalogue(machine), options.seed)


def _port(options: Options, usual: int) -> int:
    return usual if options.port is None else options.port


def _nobody(_: Endpoint) -> None:
    """Nobody asked to be told."""


@asynccontextmanager
async def running(machine: str, options: Options = DEFAULTS) -> AsyncIterator[Endpoint]:
    """A machine served while entered: `serve` as a context, for a demo or a test that runs several."""
    found: asyncio.Future[Endpoint] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(machine, options, on_ready=found.set_result), name=f"simulator {machine}")
    await asyncio.wait((task, found), return_when=asyncio.FIRST_COMPLETED)
    if not found.done():
        await task
    try:
        yield await found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _forever() -> None:
    await asyncio.get_running_loop().create_future()
