"""PROCESS: machine files in, one task a machine, one spool, forward. Operated as gateway.md says.

* A machine's trouble is its own: a dead device, or a file it contradicts, delays no other machine.
* Told to (SIGHUP), it reads the files again: what has changed begins anew, nothing else is touched (`crew`).
* Cancelling is stopping: every machine closes its books, the spool is drained for a bounded time.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from typing import Any, Final

from collectors.collector import Durable
from collectors.crew import Crew, Turnover
from collectors.plant_files import PlantFiles
from collectors.protocols import MachineFile
from collectors.schedule import ticks
from collectors.source import Clock
from collectors.stopping import ended
from pipeline import metrics, service
from pipeline.errors import ConfigError, Unavailable
from pipeline.forwarder import forward
from pipeline.losses import gateway_asset
from pipeline.model import Event, Severity
from pipeline.plant import Machine
from pipeline.settings import Settings
from pipeline.spool import Spool

log = logging.getLogger(__name__)

DRAIN_S: Final = 5.0
"""What the forwarder may take to hand over the rest when the gateway stops."""
_MINUTE_S: Final = 60.0


async def run(
    settings: Settings, clock: Clock = service.wall_ns, machine_file: type[Machine[Any]] = MachineFile
) -> None:
    """The gateway, until cancelled.

    Args:
        settings: of this process.
        clock: wall clock.
        machine_file: shape of the machine files; another one brings a protocol of its own.

    Raises:
        ConfigError: a file or setting is wrong.
    """
    gateway = settings.gateway
    with (
        metrics.served("gateway", gateway.metrics_port),
        service.reload_asked() as asked,
        contextlib.ExitStack() as stack,
    ):
        async with Spool(gateway.spool, source=gateway.name, clock=clock) as spool:
            stack.enter_context(metrics.disks_measured([gateway.spool.folder]))  # which is there only now
            files = PlantFiles(gateway.plant, settings.seal.signers, spool, gateway.name)
            plant, machines = files.load(machine_file)
            told = "gateway name=%s plant=%s/%s machines=%d"
            log.info(told, gateway.name, plant.enterprise, plant.site, len(machines))
            async with asyncio.TaskGroup() as group:
                forwarding = group.create_task(forward(spool, settings.bus, gateway.forward), name="forward")
                try:
                    await files.tell(clock())
                    again = _read_again(gateway.name, files, machine_file, spool, asked)
                    await collect(machines, spool, gateway.name, clock, again)
                finally:
                    await _drain(spool, forwarding)
                    if not forwarding.done():  # its own end is the group's to tell
                        await ended(forwarding)


async def collect(
    machines: Mapping[str, Machine[Any]],
    spool: Durable,
    name: str,
    clock: Clock,
    again: AsyncIterator[Mapping[str, Machine[Any]]] | None = None,
) -> None:
    """Reads all machines into `spool` until cancelled; then every one of them closes its books.

    Args:
        machines: by asset path.
        spool: where everything becomes durable.
        name: of this gateway.
        clock: wall clock.
        again: the machines anew, whenever their files were read again.
    """
    async with asyncio.TaskGroup() as group:
        crew = Crew(group, spool, name, clock)
        await crew.follow(machines)
        group.create_task(_every_minute(crew, clock), name="minutes")
        if again is not None:
            async for changed in again:
                turnover = await crew.follow(changed)
                await _tell(spool, name, clock, turnover)


async def _every_minute(crew: Crew, clock: Clock) -> None:
    async for tick in ticks(_MINUTE_S, clock):
        for collector in crew.collectors:
            await collector.minute(tick.ns)


async def _read_again(
    name: str, files: PlantFiles, machine_file: type[Machine[Any]], spool: Durable, asked: asyncio.Event
) -> AsyncIterator[Mapping[str, Machine[Any]]]:
    """The machines, each time the files were read again and are right; when they are wrong, all stays as it is."""
    while True:
        await asked.wait()
        asked.clear()
        try:
            _, machines = await asyncio.to_thread(files.load, machine_file)
        except ConfigError as error:
            log.error("files not taken up, everything stays as it was error=%s", error)  # noqa: TRY400  # it is no bug
            await _note(spool, name, service.wall_ns(), str(error), Severity.ERROR, {})
        else:
            await files.tell(service.wall_ns())
            yield machines


async def _tell(spool: Durable, name: str, clock: Clock, turnover: Turnover) -> None:
    data = {key: list(assets) for key, assets in asdict(turnover).items()}
    counts = " ".join(f"{key}={len(assets)}" for key, assets in data.items())
    log.info("files read again %s", counts)
    await _note(spool, name, clock(), counts, Severity.INFO, data)


async def _note(
    spool: Durable, name: str, now_ns: int, text: str, severity: Severity, data: Mapping[str, list[str]]
) -> None:
    """One event of the gateway's own."""
    with contextlib.suppress(Unavailable):  # a full spool: it stands in the log
        await spool.append(
            [Event(gateway_asset(name), "gateway.reloaded", now_ns, text, severity=severity, data=data)], {}
        )


async def _drain(spool: Spool, forwarding: "asyncio.Task[None]") -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            while spool.pending() and not forwarding.done():  # noqa: ASYNC110  # the forwarder counts, nobody calls
                await asyncio.sleep(0.05)
    if spool.pending():
        log.info("stopped before all was committed records=%d; the spool keeps them", spool.pending())
