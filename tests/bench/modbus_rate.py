"""Modbus requests a second of one core: our client beside a bare socket loop that packs the same request by hand.

    python -m tests.bench.modbus_rate ours|bare|loop SECONDS PORT…

* Each request asks for 125 holding registers of which ten are tags; one request at a time on each connection.
* The servers are jsmodbus from npm (one process) and tests.bench.device; the client is a process of its own, so its CPU
  is its own. `ours` is a Modbus session a port, back to back (`pace = "full"`), every value decoded and judged; `bare`
  sends, waits for the whole answer, and forgets it; `loop` does the same on the event loop that ours runs on, in a
  protocol of ten lines, and shows what that alone costs.
"""

import asyncio
import json
import selectors
import socket
import struct
import sys
import time
from typing import Any

import uvloop

from collectors.source import Opening
from pipeline.model import Batch
from rootdx.program import follow_parent
from tests.bench.figures import Figure, show
from tests.bench.stage import Invalid, Stage, Wish
from tests.collectors.devices import machine
from tests.support.modbus_server import ModbusServer

REGISTERS, TAGS = 125, 10
MANY = 50
ONE_TARGET, MANY_TARGET = 0.5, 0.8
_REQUEST = struct.Struct(">HHHBBHH")
_ANSWER = 9 + 2 * REGISTERS
_PEER = "pymodbus async 0.65 of raw asyncio, 0.48 of C"


async def measure(stage: Stage, wish: Wish) -> list[Figure]:
    """The figures; prints them."""
    seconds, figures = min(wish.seconds, 5.0), list[Figure]()
    async with ModbusServer("jsmodbus") as npm:
        figures += await _compared(stage, "jsmodbus, 1 device", [npm.port], wish.repeats, seconds, ONE_TARGET)
    async with ModbusServer("jsmodbus", listeners=MANY) as npm:
        figures += await _compared(stage, f"jsmodbus, {MANY} devices", npm.ports, wish.repeats, seconds, MANY_TARGET)
    for count, target in ((1, ONE_TARGET), (MANY, MANY_TARGET)):
        device = await stage.start("device", "tests.bench.device", str(count))
        ports = [int(word) for word in (await device.hears("ports")).split()[1:]]
        figures += await _compared(stage, f"lean server, {count} devices", ports, wish.repeats, seconds, target)
        await stage.stop()
    show(stage.console, f"Modbus, {REGISTERS} registers a request", figures)
    return figures


async def _compared(
    stage: Stage, name: str, ports: list[int], repeats: int, seconds: float, target: float
) -> list[Figure]:
    ours, bare, loop = [], [], []
    for _ in range(repeats):
        loop.append(await _client(stage, "loop", seconds, ports))
        bare.append(await _client(stage, "bare", seconds, ports))
        ours.append(await _client(stage, "ours", seconds, ports))
    ratios = [one["hz"] / other["hz"] for one, other in zip(ours, bare, strict=True)]
    limit = sorted(one["hz"] for one in bare)[len(bare) // 2]
    return [
        Figure(f"{name}: requests/s ÷ bare socket loop", ratios, "1", target, "high", 1.0, _PEER),
        Figure(
            f"{name}: ten lines on the event loop ÷ bare",
            [a["hz"] / b["hz"] for a, b in zip(loop, bare, strict=True)],
            "1",
        ),
        Figure(f"{name}: ten lines on the event loop, CPU a request", [one["us"] for one in loop], "us"),
        Figure(f"{name}: requests/s", [one["hz"] for one in ours], "1/s", limit=limit),
        Figure(f"{name}: CPU a request", [one["us"] for one in ours], "us", limit=round(bare[0]["us"], 1)),
        Figure(
            f"{name}: client's share of a core", [one["core"] for one in ours], "1", limit=round(bare[0]["core"], 2)
        ),
    ]


async def _client(stage: Stage, kind: str, seconds: float, ports: list[int]) -> dict[str, float]:
    child = await stage.start(kind, "tests.bench.modbus_rate", kind, str(seconds), *map(str, ports))
    said: dict[str, float] = json.loads(await child.hears("{"))
    await child.process.wait()
    stage.children.remove(child)
    if said["requests"] < 20 * len(ports):
        raise Invalid(f"{kind}: {said['requests']} requests are too few")
    return said


# ---- the clients ----


async def _ours(seconds: float, ports: list[int]) -> int:
    counts = await asyncio.gather(*(_session(seconds, port) for port in ports))
    return sum(counts)


async def _session(seconds: float, port: int) -> int:
    source = {"protocol": "modbus", "host": "127.0.0.1", "port": port, "pace": "full", "max_gap": 124}
    places = [round(i * (REGISTERS - 1) / (TAGS - 1)) for i in range(TAGS)]
    one = machine(source, [{"address": f"holding:{place}"} for place in places])
    rows, until = 0, time.monotonic() + seconds
    async with one.source.open(Opening("bench", one.tag, time.time_ns, f"b{port}")) as session:
        async for reading in session.readings():
            rows += sum(len(body) for body in reading.bodies if isinstance(body, Batch))
            if time.monotonic() > until:
                break
    return rows // TAGS


class _Ten(asyncio.Protocol):
    """Asks, counts bytes, asks again."""

    count = got = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        self.got += len(data)
        if self.got == _ANSWER:
            self.got, self.count = 0, self.count + 1
            self._ask()

    def _ask(self) -> None:
        self._transport.write(_REQUEST.pack(self.count & 0xFFFF, 0, 6, 1, 3, 0, REGISTERS))


async def _loop(seconds: float, ports: list[int]) -> int:
    made = [await asyncio.get_running_loop().create_connection(_Ten, "127.0.0.1", port) for port in ports]
    await asyncio.sleep(seconds)
    return sum(protocol.count for _, protocol in made)


def _bare(seconds: float, ports: list[int]) -> int:
    request, count, chosen = _REQUEST, 0, selectors.DefaultSelector()
    for port in ports:
        link = socket.create_connection(("127.0.0.1", port))
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        chosen.register(link, selectors.EVENT_READ, [0, 0])
        link.sendall(request.pack(0, 0, 6, 1, 3, 0, REGISTERS))
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for key, _ in chosen.select(1.0):
            link, state = _of(key)
            state[0] += len(link.recv(65_536))
            if state[0] == _ANSWER:
                count, state[0], state[1] = count + 1, 0, (state[1] + 1) & 0xFFFF
                link.sendall(request.pack(state[1], 0, 6, 1, 3, 0, REGISTERS))
    return count


def _of(key: Any) -> tuple[socket.socket, list[int]]:
    return key.fileobj, key.data


def main() -> None:
    follow_parent()
    kind, seconds, ports = sys.argv[1], float(sys.argv[2]), [int(port) for port in sys.argv[3:]]
    began, cpu = time.monotonic(), time.process_time()
    if kind == "bare":
        count = _bare(seconds, ports)
    else:
        count = uvloop.run(_ours(seconds, ports) if kind == "ours" else _loop(seconds, ports))
    took_s, cpu_s = time.monotonic() - began, time.process_time() - cpu
    said = {"requests": count, "hz": count / took_s, "us": cpu_s / max(1, count) * 1e6, "core": cpu_s / took_s}
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
