"""The limit of gateway_cpu: the same devices read by the same Modbus client, decoded, and forgotten.

    python -m tests.bench.bare_loop EVERY_S PORT…

No files, no quality, no scaling, no accounts, no spool, no bus. On every grid tick all devices are asked at once; the
values read so far are printed once a second as `values <count> <late ticks>`.
"""

import asyncio
import sys
import time

import numpy as np
import uvloop
from pymodbus.client import AsyncModbusTcpClient

from rootdx.program import follow_parent
from tests.bench.device import FLOATS
from tests.bench.machines import TAGS

_FIRST_INTEGER = 4 + 2 * FLOATS
_REGISTERS = _FIRST_INTEGER + TAGS - 1 - FLOATS


async def ask(client: AsyncModbusTcpClient) -> int:
    answer = await client.read_holding_registers(0, count=_REGISTERS)
    words = np.array(answer.registers, ">u2")
    values = np.empty(TAGS)
    values[0] = words[:4].view(">f8")[0]
    values[1 : 1 + FLOATS] = words[4:_FIRST_INTEGER].view(">f4")
    values[1 + FLOATS :] = words[_FIRST_INTEGER:]
    return len(values)


async def loop(every_s: float, ports: list[int]) -> None:
    clients = [AsyncModbusTcpClient("127.0.0.1", port=port, timeout=1, retries=0) for port in ports]
    for client in clients:
        if not await client.connect():
            raise SystemExit("a device accepts no connection")
    values = late = told = 0
    due = (time.time() // every_s + 1) * every_s
    while True:
        await asyncio.sleep(max(0.0, due - time.time()))
        values += sum(await asyncio.gather(*(ask(client) for client in clients)))
        due += every_s
        while due < time.time():
            due, late = due + every_s, late + 1
        if int(time.time()) > told:
            told = int(time.time())
            print(f"values {values} {late}", flush=True)


if __name__ == "__main__":
    follow_parent()
    uvloop.run(loop(float(sys.argv[1]), [int(port) for port in sys.argv[2:]]))
