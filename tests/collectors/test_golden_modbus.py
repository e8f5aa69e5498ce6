"""Each folder of tests/golden/modbus is a device and a machine file: what is read from it, or why it is refused."""

import csv
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from collectors.protocols import MachineFile
from pipeline.errors import ConfigError
from pipeline.model import Batch, Event, Quality
from pipeline.plant import load
from tests.collectors.devices import first_readings, opening

FOLDER = Path(__file__).parents[1] / "golden" / "modbus"
READABLE = sorted(file.parent.name for file in FOLDER.glob("*/expected.csv"))
REFUSED = sorted(file.parent.name for file in FOLDER.glob("*/error.txt"))
FUNCTION = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}


@asynccontextmanager
async def device_of(file: Path) -> AsyncIterator[tuple[int, list[list[Any]]]]:
    """A pymodbus server with the registers of a device.json; what is not there answers exception 2."""
    said = json.loads(file.read_text())
    refuse = said.get("refuse", [])
    requests: list[list[Any]] = []

    async def act(
        function: int, _first: int, address: int, count: int, _registers: Any, _values: Any
    ) -> ExcCodes | None:
        table = FUNCTION[function]
        requests.append([table, address, count * 16 if table in ("coil", "discrete") else count])
        for fault in refuse:
            if fault["table"] == table and address <= fault["number"] < address + count:
                return ExcCodes(fault["code"])
        return None

    tables: Any = []
    for table in ("coil", "discrete", "holding", "input"):
        kind = DataType.BITS if table in ("coil", "discrete") else DataType.REGISTERS
        blocks = said.get(table, {})
        cast = bool if kind is DataType.BITS else int
        data = [
            SimData(int(first), values=[cast(v) for v in values], datatype=kind) for first, values in blocks.items()
        ]
        tables.append(data or [SimData(60_000, values=[False] * 16 if cast is bool else [0], datatype=kind)])
    server = ModbusTcpServer([SimDevice(1, simdata=tuple(tables), action=act)], address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    try:
        yield server.transport.sockets[0].getsockname()[1], requests  # type: ignore[attr-defined]
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("case", READABLE)
async def test_a_device_reads_as_expected(case: str) -> None:
    one = load(FOLDER / case / "machine.toml", MachineFile)
    expected = list(csv.DictReader((FOLDER / case / "expected.csv").read_text().splitlines()))
    said = json.loads((FOLDER / case / "device.json").read_text())
    async with device_of(FOLDER / case / "device.json") as (port, requests):
        source = one.source.model_copy(update={"port": port})
        first, last = await first_readings(source, opening(one, time.time_ns), 2)
    (batch,) = last.bodies
    assert isinstance(batch, Batch)
    tags = len(expected)
    assert tags == len(one.tag) - len(source.on_demand(one.tag))
    told = [[body.kind, body.text] for body in first.bodies if isinstance(body, Event)]
    assert told == said.get("events", [])
    got = [(batch.tags[i], value, code) for i, value, code in zip(batch.tag, batch.value, batch.quality, strict=True)]
    assert [(name, Quality(code).name) for name, _, code in got[-tags:]] == [
        (r["name"], r["quality"]) for r in expected
    ]
    np.testing.assert_allclose(
        [value for _, value, _ in got[-tags:]], [float(row["value"]) for row in expected], rtol=1e-15, equal_nan=True
    )
    if "requests" in said:
        assert requests[-len(said["requests"]) :] == said["requests"]


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_file_is_refused_with_a_remedy(case: str) -> None:
    file = FOLDER / case / "machine.toml"
    with pytest.raises(ConfigError) as caught:
        load(file, MachineFile)
    assert str(caught.value).replace(str(file), "{file}") == (FOLDER / case / "error.txt").read_text().rstrip("\n")


def test_every_case_is_one_of_the_two_kinds() -> None:
    cases = {folder.name for folder in FOLDER.iterdir()}
    assert cases == set(READABLE) ^ set(REFUSED)
    assert len(cases) >= 40
