"""Machines on free ports, read by independent clients."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pymodbus.client import AsyncModbusTcpClient

from simulators.registers import decode, parse_register
from simulators.run import Endpoint, Options, running
from simulators.signals import Signal


class Poller:
    """A Modbus client that reads tags one by one or whole blocks."""

    def __init__(self, client: AsyncModbusTcpClient, unit_id: int) -> None:
        self.client = client
        self.unit_id = unit_id

    async def words(self, table: str, address: int, count: int) -> list[int]:
        """The registers or bits of a block; an exception reply becomes `[-code]`."""
        read: dict[str, Callable[..., Any]] = {
            "holding": self.client.read_holding_registers,
            "input": self.client.read_input_registers,
            "coil": self.client.read_coils,
            "discrete": self.client.read_discrete_inputs,
        }
        reply = await read[table](address, count=count, device_id=self.unit_id)
        if reply.isError():
            return [-int(reply.exception_code)]
        words = reply.registers if table in ("holding", "input") else reply.bits[:count]
        return [int(word) for word in words]

    async def tag(self, signal: Signal) -> float:
        """One tag in engineering units, by a request of its own."""
        register = parse_register(signal.address)
        words = await self.words(register.table, register.number, register.size)
        return decode(register, words) * signal.scale + signal.offset

    async def row(self, first: int, count: int) -> list[float]:
        """Float64 values of a replay from holding register `first`."""
        words = await self.words("holding", first, 4 * count)
        register = parse_register("holding:0:float64")
        return [decode(register, words[i : i + 4]) for i in range(0, len(words), 4)]


@asynccontextmanager
async def modbus(machine: str, options: Options) -> AsyncIterator[tuple[Endpoint, Poller]]:
    """A machine behind Modbus and a client connected to it."""
    async with (
        running(machine, options) as endpoint,
        AsyncModbusTcpClient(endpoint.host, port=endpoint.port, timeout=0.3, retries=0) as client,
    ):
        yield endpoint, Poller(client, options.unit_id)


def truth_lines(path: Path, kind: str) -> list[dict[str, Any]]:
    """The lines of one kind in a truth file."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["kind"] == kind]


async def until(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
    """Wait for something another task brings about."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)  # what comes is another program's doing
