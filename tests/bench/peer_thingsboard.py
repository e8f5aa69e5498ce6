"""The ThingsBoard gateway on the devices of gateway_hour: the same 200 values a second, its storage on disk.

    python -m venv peer && peer/bin/pip install thingsboard-gateway pymodbus==3.9.2
    python -m tests.bench.peer_thingsboard peer/bin/thingsboard-gateway --minutes 10 --spool DIR --broker 1883

* An optional peer: without its program there is nothing to measure. It gets a configuration as its pages show it, a
  reading a tag, `sqlite` as storage and QoS 1. It speaks MQTT 5 alone, so it needs a broker that does, say Mosquitto,
  on this computer; what it asks of its platform when it connects is answered by this script.
* Counted are values that arrive on `v1/gateway/telemetry`, and the process's own CPU, memory and written bytes.
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from pipeline.bus import Session, connected
from pipeline.settings import Bus
from rootdx.embedded import Broker
from tests.bench import machines
from tests.bench.device import FLOATS
from tests.bench.figures import Figure, show, slope
from tests.bench.gateway_hour import DAY_S, DEVICES, RATE_HZ, Disk
from tests.bench.stage import Invalid, Stage

ASKED, ANSWER, TOLD = "v1/devices/me/rpc/request", "v1/devices/me/rpc/response", "v1/gateway/telemetry"
LIMITS = {"maxPayloadSize": 65_536, "maxInflightMessages": 100, "rateLimits": {}, "gatewayRateLimits": {}}
WARM_S, SAMPLE_S = 20.0, 5.0


class Platform:
    """Answers the one question, counts the values."""

    def __init__(self, session: Session) -> None:
        self._session, self.values = session, 0

    async def run(self) -> None:
        async for some in self._session.deliveries():
            for each in some:
                if each.topic.startswith(ASKED):
                    await self._session.publish(each.topic.replace("request", "response"), json.dumps(LIMITS).encode())
                elif each.topic == TOLD:
                    self.values += counted(json.loads(each.payload))


def counted(message: Mapping[str, Any]) -> int:
    """Values in a message: by device a list of `{"ts": …, "values": {…}}`."""
    return sum(len(one.get("values", one)) for told in message.values() for one in told)


def configuration(folder: Path, port: int, ports: tuple[int, ...]) -> None:
    """Its two files."""
    series = [_tag("clock", "64float", 0, 4), *(_tag(f"f{i:02d}", "32float", 4 + 2 * i, 2) for i in range(FLOATS))]
    first = 4 + 2 * FLOATS
    series += [_tag(f"i{i:02d}", "16uint", first + i, 1) | {"divider": 10} for i in range(machines.TAGS - 1 - FLOATS)]
    slaves = [
        {
            "host": "127.0.0.1", "port": each, "type": "tcp", "method": "socket", "unitId": 1,
            "deviceName": f"m{number}", "deviceType": "default", "timeout": 5, "byteOrder": "BIG", "wordOrder": "BIG",
            "retries": 3, "pollPeriod": 1000, "connectAttemptTimeMs": 5000, "connectAttemptCount": 5,
            "waitAfterFailedAttemptsMs": 5000, "timeseries": series, "attributes": [], "attributeUpdates": [],
            "rpc": [],
        }
        for number, each in enumerate(ports)
    ]  # fmt: skip
    (folder / "modbus.json").write_text(json.dumps({"master": {"slaves": slaves}}))
    general = {
        "thingsboard": {
            "host": "127.0.0.1", "port": port, "remoteShell": False, "remoteConfiguration": False, "qos": 1,
            "security": {"type": "accessToken", "accessToken": "peer"}, "statistics": {"enable": False},
        },
        "storage": {
            "type": "sqlite", "data_file_path": str(folder / "data.db"), "messages_ttl_check_in_hours": 1,
            "messages_ttl_in_days": 7, "max_read_records_count": 1000,
        },
        "grpc": {"enabled": False},
        "connectors": [{"name": "modbus", "type": "modbus", "configuration": "modbus.json"}],
    }  # fmt: skip
    (folder / "tb_gateway.json").write_text(json.dumps(general))


def _tag(name: str, kind: str, address: int, count: int) -> dict[str, Any]:
    return {"tag": name, "type": kind, "address": address, "objectsCount": count, "functionCode": 3}


async def main(asked: argparse.Namespace, console: Console) -> None:
    folder = (asked.spool / f"peer-{os.getpid()}").absolute()
    folder.mkdir(parents=True)
    disk = Disk.of(folder)
    console.print(disk.told())
    async with contextlib.AsyncExitStack() as stack:
        stage = Stage(console, folder, "", Broker(folder))  # never started: the stage only keeps the devices here
        stack.push_async_callback(stage.stop)
        _, ports = await machines.devices(stage, DEVICES)
        configuration(folder, asked.broker, ports)
        session = await stack.enter_async_context(connected(Bus(port=asked.broker), "platform", [f"{ASKED}/+", TOLD]))
        platform = Platform(session)
        listening = asyncio.create_task(platform.run())
        stack.callback(listening.cancel)
        with (folder / "peer.log").open("wb") as log:
            child = await asyncio.create_subprocess_exec(
                str(asked.program.absolute()), cwd=folder, stdout=log, stderr=log,
                env={**os.environ, "TB_GW_CONFIG_DIR": f"{folder}/", "TB_GW_LOGS_PATH": str(folder)},
            )  # fmt: skip
        try:
            figures = await _measured(psutil.Process(child.pid), platform, disk, asked.minutes * 60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
    show(console, f"ThingsBoard gateway, {RATE_HZ:g} values/s wanted, {asked.minutes:g} min", figures)


async def _measured(peer: psutil.Process, platform: Platform, disk: Disk, seconds: float) -> list[Figure]:
    await asyncio.sleep(WARM_S)
    if not platform.values:
        raise Invalid("no value has arrived; see peer.log and the logs beside it")
    before, cpu, written, device = platform.values, _cpu(peer), _written(peer), disk.written()
    memory, at = list[float](), list[float]()
    for step in range(round(seconds / SAMPLE_S)):
        await asyncio.sleep(SAMPLE_S)
        memory.append(peer.memory_info().rss / 1e6)
        at.append(step * SAMPLE_S / 3600)
    values, cpu, written = platform.values - before, _cpu(peer) - cpu, _written(peer) - written
    return [
        Figure("values that arrived", [values / seconds], "values/s", limit=RATE_HZ),
        Figure("CPU", [100 * cpu / seconds], "% of a core"),
        Figure("CPU a value", [cpu * 1e6 / values], "us/value"),
        Figure("RSS, median", [statistics.median(memory)], "MB"),
        Figure("RSS slope (Theil-Sen)", [slope(at, memory)], "MB/h"),
        Figure("written (write_bytes)", [written / seconds / 1e3], "kB/s"),
        Figure("written a value", [written / values], "B/value"),
        Figure("a day, by the process", [written / seconds * DAY_S / 1e9], "GB/d"),
        Figure("a day, on its device with all its users", [(disk.written() - device) / seconds * DAY_S / 1e9], "GB/d"),
    ]


def _cpu(peer: psutil.Process) -> float:
    times = peer.cpu_times()
    return float(times.user + times.system)


def _written(peer: psutil.Process) -> float:
    return float(peer.io_counters().write_bytes)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peer_thingsboard")
    parser.add_argument("program", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--spool", type=Path, required=True)
    parser.add_argument("--broker", type=int, default=1883)
    asyncio.run(main(parser.parse_args(), Console(width=110)))
