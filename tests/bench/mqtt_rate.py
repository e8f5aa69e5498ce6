"""One-value messages a second of gateway CPU: broker, subscription, JSON to rows, spool; nothing is left out.

* The publisher is another process that writes MQTT by hand; the broker is another one still.
* The gateway's part is `collectors.gateway.collect` into a real spool, so every message is acknowledged when durable.
* Counted are rows that became durable, against this process's user and system time meanwhile.

    python -m tests.bench.mqtt_rate [messages] [topics]
"""

import asyncio
import multiprocessing
import socket
import struct
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from collectors.gateway import collect
from collectors.protocols import MachineFile
from pipeline.model import rows_of
from pipeline.settings import SpoolSettings
from pipeline.spool import Spool
from rootdx.embedded import Broker

TARGET_HZ = 20_000
_WINDOW = 500
_CONNECT = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04feed"


def publish(port: int, messages: int, topics: int, qos: int) -> None:
    """Sends the messages, at most a window of them unacknowledged; by hand, so that it shares nothing with us."""
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.sendall(_CONNECT)
        link.recv(4)
        began = time.time_ns() // 1_000_000
        answered = 0
        for sent in range(messages):
            topic = f"bench/{sent % topics}/pv".encode()
            payload = b'{"ts":%d,"v":%d.5}' % (began + sent // topics, sent % 1000)
            ident = struct.pack(">H", sent % 65_535 + 1) if qos else b""
            rest = struct.pack(">H", len(topic)) + topic + ident + payload
            link.sendall(bytes([0x30 | qos << 1, len(rest)]) + rest)
            while qos and sent - answered // 4 >= _WINDOW:
                answered += len(link.recv(65_536))
        while qos and answered // 4 < messages:
            answered += len(link.recv(65_536))
        link.sendall(b"\xe0\x00")


class _Counting:
    """A spool that counts what became durable."""

    def __init__(self, spool: Spool) -> None:
        self._spool, self.rows, self.appends = spool, 0, 0
        self.notes = spool.notes

    async def append(self, bodies: Any, notes: Any) -> int:
        """As the spool, and counted."""
        seq = await self._spool.append(bodies, notes)
        self.rows += rows_of(bodies)
        self.appends += 1
        return seq


async def measure(messages: int = 60_000, topics: int = 50, qos: int = 1) -> dict[str, float]:
    """Rows, seconds of the wall and of our own CPU, and rows a CPU-second."""
    with tempfile.TemporaryDirectory() as name:
        broker = Broker(Path(name) / "broker")
        await broker.start()
        try:
            return await _measure(Path(name), broker.port, messages, topics, qos)
        finally:
            await broker.stop()


async def _measure(folder: Path, port: int, messages: int, topics: int, qos: int) -> dict[str, float]:
    source = {"protocol": "mqtt", "host": "127.0.0.1", "port": port, "time": "ts"}
    tags = [{"name": f"t{i}", "unit": "1", "address": f"bench/{i}/pv v"} for i in range(topics)]
    one = MachineFile.model_validate(
        {"path": "a/b/c", "name": "bench", "process": "casting", "source": source, "tag": tags}
    )
    async with Spool(SpoolSettings(folder=folder / "spool"), source="gw", clock=time.time_ns) as spool:
        counting = _Counting(spool)
        task = asyncio.create_task(collect({"x/y/a/b/c": one}, counting, "gw", time.time_ns))
        await asyncio.sleep(1.0)
        child = multiprocessing.get_context("spawn").Process(target=publish, args=(port, messages, topics, qos))
        child.start()
        while counting.rows == 0:
            await asyncio.sleep(0.001)
        rows, began, cpu = counting.rows, time.monotonic(), time.process_time()
        last = began
        while counting.rows < messages and time.monotonic() - last < 8:
            before = counting.rows
            await asyncio.sleep(0.05)
            last = time.monotonic() if counting.rows > before else last
        cpu_s, took_s = time.process_time() - cpu, time.monotonic() - began
        done = counting.rows - rows
        child.join(20)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return {"rows": counting.rows, "wall_s": took_s, "cpu_s": cpu_s, "us": cpu_s / done * 1e6, "hz": done / cpu_s}


if __name__ == "__main__":
    count, width = (int(text) for text in (sys.argv[1:] + ["60000", "50"][len(sys.argv) - 1 :]))
    for level in (1, 0):
        found = asyncio.run(measure(count, width, level))
        met = "met" if found["hz"] >= TARGET_HZ else "MISSED"
        shown = " ".join(f"{key}={value:.4g}" for key, value in found.items())
        print(f"QoS {level}: {shown} target={TARGET_HZ} {met}")
