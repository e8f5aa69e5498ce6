"""Modbus/TCP devices, lean: what they cost must not be mistaken for what the gateway costs.

    python -m tests.bench.device COUNT

* COUNT devices on ports of their own; the first line says `ports` and which.
* Function codes 1 to 4. Registers 0 to 3 are the wall clock in milliseconds as a float64 at the moment of answering;
  4 to 43 are float32, from 44 on integers, all of them changing from answer to answer. Bits change likewise.
"""

import asyncio
import struct
import sys
import time
from functools import partial
from typing import cast

import numpy as np
import uvloop

from rootdx.program import follow_parent

REGISTERS = 256
FLOATS = 20
VARIANTS = 64
_CLOCK = struct.Struct(">d")
_REQUEST = struct.Struct(">HHHBBHH")


def images(seed: int) -> list[bytes]:
    """What lies behind register 3, in VARIANTS versions."""
    rng = np.random.default_rng(seed)
    base = rng.uniform(20, 700, FLOATS)
    count = REGISTERS - 4 - 2 * FLOATS
    found = []
    for _ in range(VARIANTS):
        floats = np.round(base + rng.normal(0, 0.5, FLOATS), 2).astype(">f4").tobytes()
        found.append(floats + rng.integers(0, 30_000, count).astype(">u2").tobytes())
    return found


class Device(asyncio.Protocol):
    """One connection."""

    def __init__(self, contents: list[bytes]) -> None:
        self._contents = contents
        self._answers = 0
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by name

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        while len(data) >= _REQUEST.size:
            self._transport.write(self._answer(*_REQUEST.unpack_from(data)))
            data = data[_REQUEST.size :]
        self._rest = data

    def _answer(self, transaction: int, protocol: int, _: int, unit: int, code: int, start: int, count: int) -> bytes:
        self._answers += 1
        image = _CLOCK.pack(time.time_ns() / 1e6) + self._contents[self._answers % VARIANTS]
        if code in (1, 2):
            body = image[start // 8 : start // 8 + (count + 7) // 8]
        elif code in (3, 4) and 0 < count <= 125 and start + count <= REGISTERS:
            body = image[2 * start : 2 * (start + count)]
        else:
            return struct.pack(">HHHBBB", transaction, protocol, 3, unit, code | 0x80, 1 if code not in (3, 4) else 2)
        return struct.pack(">HHHBBB", transaction, protocol, 3 + len(body), unit, code, len(body)) + body


async def serve(count: int) -> None:
    loop = asyncio.get_running_loop()
    servers = []
    for seed in range(count):
        contents = images(seed)
        servers.append(await loop.create_server(partial(Device, contents), "127.0.0.1", 0))
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    print("ports", *ports, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    follow_parent()
    uvloop.run(serve(int(sys.argv[1])))
