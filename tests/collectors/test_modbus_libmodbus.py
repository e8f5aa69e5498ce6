"""The Modbus client against a server of libmodbus, whose own macros lay whole numbers into the registers.

Runs on a C program built by the test; skipped where gcc, pkg-config or libmodbus (Debian: libmodbus-dev) is missing.
"""

import asyncio
import secrets
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collectors.gateway import collect
from pipeline.model import Batch, Phase
from pipeline.plant import Machine
from rootdx.embedded import free_port
from tests.collectors.devices import ASSET, MemorySpool, first_readings, machine, opening, stopped
from tests.support import libmodbus
from tests.support.libmodbus import LibmodbusServer

pytestmark = pytest.mark.skipif(libmodbus.flags() is None, reason="no gcc with libmodbus-dev on this machine")
FLOAT = float(np.float32(123.45))
VALUES = {
    "holding:0:int16": -12_345.0, "holding:1:uint16": 54_321.0, "holding:2:int32": -1_234_567_890.0,
    "holding:4:uint32": 3_234_567_890.0, "holding:6:float32": FLOAT, "holding:8:float32:CDAB": FLOAT,
    "holding:10:float32:BADC": FLOAT, "holding:12:float32:DCBA": FLOAT, "holding:14:int64": -1_234_567_890_123.0,
    "input:0": 7.0, "coil:0": 1.0, "coil:1": 0.0, "coil:3": 1.0, "discrete:0": 0.0, "discrete:1": 1.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return libmodbus.built(tmp_path_factory.mktemp("libmodbus"))


def asked(port: int, addresses: Iterable[str] = VALUES) -> Machine[Any]:
    source = {"protocol": "modbus", "host": "127.0.0.1", "port": port, "every_s": 0.1, "timeout_s": 0.5}
    return machine(source, [{"address": address} for address in addresses])


def numbers(batch: Batch) -> dict[str, float]:
    """The last value of each address."""
    places = {f"t{place}": address for place, address in enumerate(VALUES)}
    return {places[batch.tags[tag]]: value for tag, value in zip(batch.tag, batch.value.tolist(), strict=True)}


async def test_what_libmodbus_lays_into_registers_comes_out_as_it_was(program: Path) -> None:
    async with LibmodbusServer(program, free_port()) as server:
        one = asked(server.port)
        (reading,) = await first_readings(one.source, opening(one, time.time_ns), 1)
    (batch,) = reading.bodies
    assert isinstance(batch, Batch)
    assert numbers(batch) == VALUES
    assert not batch.quality.any()


async def test_a_register_that_is_not_there_spoils_its_own_tag(program: Path) -> None:
    async with LibmodbusServer(program, free_port()) as server:
        one = asked(server.port, ["holding:1", "holding:900"])
        readings = await first_readings(one.source, opening(one, time.time_ns), 3)
    (batch,) = readings[-1].bodies
    assert isinstance(batch, Batch)
    assert batch.value[0] == 54_321
    assert np.isnan(batch.value[1])
    assert batch.quality.astype(bool).tolist() == [False, True]


async def test_after_the_server_restarts_its_values_come_again(program: Path) -> None:
    spool, port = MemorySpool(), free_port()
    one = asked(port)
    async with LibmodbusServer(program, port):
        task = asyncio.create_task(collect({ASSET: one}, spool, f"gw-{secrets.token_hex(3)}", time.time_ns))
        await spool.until(lambda s: s.rows() >= len(VALUES))
    await spool.until(lambda s: any(e.phase is Phase.RAISED for e in s.events("device.unreachable")), 20)
    before = len(spool.batches)
    async with LibmodbusServer(program, port):
        await spool.until(lambda s: len(s.batches) > before and not s.batches[-1].quality.any(), 20)
        await stopped(task)
    assert numbers(spool.batches[-1]) == VALUES
    assert [e.phase for e in spool.events("device.unreachable")] == [Phase.RAISED, Phase.CLEARED]
    assert spool.expected() == spool.rows() + spool.missing()
