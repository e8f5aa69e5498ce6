"""The Modbus client against servers that share no code with ours, pymodbus, or each other."""

import asyncio
import contextlib
import struct
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from collectors.source import Reading
from pipeline.errors import Unavailable
from pipeline.model import Batch, Event, Quality
from tests.collectors.devices import first_readings, machine, opening
from tests.support.modbus_server import KINDS, ModbusServer
from tests.support.proxy import Proxy

VALUES: dict[str, tuple[str, float]] = {
    "int16": (">h", -12_345),
    "uint16": (">H", 54_321),
    "int32": (">i", -1_234_567_890),
    "uint32": (">I", 3_234_567_890),
    "float32": (">f", -12.34375),
    "int64": (">q", -1_234_567_890_123),
    "uint64": (">Q", 1_234_567_890_123_456),
    "float64": (">d", 98_765.4321),
}
BITS = bytes.fromhex("a1 4c 07 f2")  # reads differently from either end


def arranged(data: bytes, order: str) -> bytes:
    """The bytes A B C D… in the order of the registers; spelled out, so that it shares no idea with the client."""
    words = [data[i : i + 2] for i in range(0, len(data), 2)]
    if order in ("CDAB", "DCBA"):
        words.reverse()
    if order in ("BADC", "DCBA"):
        words = [word[::-1] for word in words]
    return b"".join(words)


def places() -> tuple[bytes, list[tuple[str, int, str, float]]]:
    """Registers, and what lies in them: type, number, order, value."""
    image, found = b"", []
    for kind, (code, value) in VALUES.items():
        data = struct.pack(code, value)
        for order in ("ABCD", "BADC") if len(data) == 2 else ("ABCD", "CDAB", "BADC", "DCBA"):
            found.append((kind, len(image) // 2, order, struct.unpack(code, data)[0]))
            image += arranged(data, order)
    image += "용해로 2".encode("euc-kr").ljust(16, b"\0")
    return image.ljust(600, b"\x5a"), found


IMAGE, PLACES = places()
TEXT_AT = IMAGE.index("용해로 2".encode("euc-kr")) // 2


def inverted(image: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in image)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=KINDS)
async def server(request: Any) -> AsyncIterator[ModbusServer]:
    content = {"holding": IMAGE, "input": inverted(IMAGE), "coil": BITS, "discrete": inverted(BITS)}
    async with ModbusServer(request.param, content) as one:
        yield one


pytestmark = pytest.mark.asyncio(loop_scope="module")


def asked(port: int, addresses: list[str], **source: Any) -> Any:
    return machine(
        {"protocol": "modbus", "host": "127.0.0.1", "port": port, "every_s": 0.1, "timeout_s": 0.5} | source,
        [{"address": address} for address in addresses],
    )


def batch_of(reading: Reading) -> Batch:
    return next(body for body in reading.bodies if isinstance(body, Batch))


async def row(one: Any, count: int = 1) -> Batch:
    return batch_of((await first_readings(one.source, opening(one, time.time_ns), count))[-1])


@pytest.mark.parametrize("limit", [125, 4])
async def test_every_type_in_every_order_from_both_tables(server: ModbusServer, limit: int) -> None:
    addresses = [f"holding:{number}:{kind}:{order}" for kind, number, order, _ in PLACES]
    inputs = [f"input:{number}:uint16" for _, number, _, _ in PLACES]
    batch = await row(asked(server.port, [*addresses, *inputs], max_registers=limit))
    values = batch.value.tolist()
    assert values[: len(PLACES)] == [float(value) for *_, value in PLACES]
    words = struct.unpack(f">{len(IMAGE) // 2}H", inverted(IMAGE))
    assert values[len(PLACES) :] == [words[number] for _, number, _, _ in PLACES]
    assert not batch.quality.any()


@pytest.mark.parametrize("limit", [2000, 5])
async def test_bits_of_both_tables_and_of_registers(server: ModbusServer, limit: int) -> None:
    coils, discretes = [f"coil:{i}" for i in range(32)], [f"discrete:{i}" for i in range(32)]
    batch = await row(asked(server.port, [*coils, *discretes, "holding:1:bits4-7", "holding:1:bit0"], max_coils=limit))
    expected = np.unpackbits(np.frombuffer(BITS, np.uint8), bitorder="little").astype(float)
    (word,) = struct.unpack_from(">H", IMAGE, 2)
    assert batch.value.tolist() == [*expected, *(1 - expected), word >> 4 & 15, word & 1]


async def test_a_text_is_read(server: ModbusServer) -> None:
    one = asked(server.port, ["holding:0", f"holding:{TEXT_AT}:string16:ABCD:euc-kr"])
    (reading,) = await first_readings(one.source, opening(one, time.time_ns), 1)
    assert [body.text for body in reading.bodies if isinstance(body, Event)] == ["용해로 2"]


async def test_what_is_not_there_spoils_its_own_tags(server: ModbusServer) -> None:
    batch = await row(asked(server.port, ["holding:0:int16", "holding:5000", "coil:3", "coil:9000"]), 2)
    last = {
        int(tag): (value, quality) for tag, value, quality in zip(batch.tag, batch.value, batch.quality, strict=True)
    }
    assert last[0] == (VALUES["int16"][1], Quality.GOOD)
    assert last[2] == (float(BITS[0] >> 3 & 1), Quality.GOOD)
    for tag in (1, 3):
        assert last[tag][1] in (Quality.BAD_CONFIGURATION_ERROR, Quality.BAD_COMMUNICATION_ERROR)


async def test_exceptions_become_qualities() -> None:
    found: dict[int, dict[int, int]] = {}
    async with ModbusServer("modbus-serial", {"holding": IMAGE, "coil": BITS}) as server:
        for code in (1, 2, 3, 4, 6, 11):
            await server.tell(f"refuse 200 210 {code}")
            batch = await row(asked(server.port, ["holding:0:int16", "holding:205", "coil:0"], max_gap=0), 2)
            found[code] = {int(tag): int(quality) for tag, quality in zip(batch.tag, batch.quality, strict=True)}
    wrong, refused = Quality.BAD_CONFIGURATION_ERROR, Quality.BAD_COMMUNICATION_ERROR
    expected = {1: wrong, 2: wrong, 3: wrong, 4: refused, 6: refused, 11: refused}
    assert found == {code: {0: Quality.GOOD, 1: quality, 2: Quality.GOOD} for code, quality in expected.items()}


async def test_slow_answers_are_waited_for_and_late_ones_never_mixed_up(server: ModbusServer) -> None:
    numbers = [number for _, number, _, _ in PLACES][:6]
    words = struct.unpack(f">{len(IMAGE) // 2}H", IMAGE)
    async with Proxy("127.0.0.1", server.port) as link:
        link.delay(0.08)
        batch = await row(asked(link.port, [f"holding:{n}" for n in numbers], max_registers=1), 1)
        assert batch.value.tolist() == [words[n] for n in numbers]
        one = asked(link.port, [f"holding:{n}" for n in numbers], timeout_s=0.3)
        link.delay(0.0)
        async with one.source.open(opening(one, time.time_ns)) as session:
            readings = session.readings()
            await anext(readings)
            link.delay(0.25)  # there and back longer than the timeout
            with contextlib.suppress(Unavailable):
                for _ in range(10):
                    values = batch_of(await anext(readings)).value
                    assert np.isnan(values).all() or values.tolist() == [words[n] for n in numbers]
        link.delay(0.0)
        healed = await row(asked(link.port, [f"holding:{n}" for n in numbers]), 1)
        assert healed.value.tolist() == [words[n] for n in numbers]


async def test_machines_behind_one_address_are_told_apart(server: ModbusServer) -> None:
    many = [asked(server.port, [f"holding:{n}:int16"]) for n in range(6)]
    words = struct.unpack(f">{len(IMAGE) // 2}h", IMAGE)
    batches = await asyncio.gather(*(row(one) for one in many))
    assert [batch.value.tolist() for batch in batches] == [[float(words[n])] for n in range(6)]
