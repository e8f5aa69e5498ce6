"""Scans that wait and are looked into together say the same as scans looked into one by one."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest

from collectors.modbus_line import Line
from pipeline import metrics
from pipeline.errors import Unavailable
from pipeline.model import Batch, Quality
from tests.collectors.devices import RawModbus, first_readings, machine, opening, serving


class Counting(RawModbus):
    """Its first register says how often it was asked for."""

    asked = 0

    def _answer(self, code: int, start: int, count: int) -> bytes:
        self.asked += start == 0
        self.words["holding", 0] = self.asked % 65_536
        return super()._answer(code, start, count)


class Splitting:
    """A link that hands over every answer in two pieces, with a moment in between."""

    pieces = 0

    @contextlib.asynccontextmanager
    async def to(self, port: int) -> AsyncIterator[int]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, back = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    back.write(await reader.readexactly(12))
                    head = await there.readexactly(6)
                    rest = await there.readexactly(int.from_bytes(head[4:], "big"))
                    for piece in (head, rest):
                        writer.write(piece)
                        self.pieces += 1
                        await asyncio.sleep(0.002)
            writer.close()
            back.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]


def at_full_pace(port: int, *addresses: str, **more: Any) -> Any:
    source = {"protocol": "modbus", "host": "127.0.0.1", "port": port, "pace": "full", "timeout_s": 0.5} | more
    return machine(source, [{"address": address} for address in addresses])


def columns(readings: list[Any], tags: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    batches = [body for reading in readings for body in reading.bodies if isinstance(body, Batch)]
    assert all(batch.tag.tolist() == [*range(tags)] * (len(batch) // tags) for batch in batches)
    value, quality = (np.concatenate([getattr(batch, name) for batch in batches]) for name in ("value", "quality"))
    return value.reshape(-1, tags), quality.reshape(-1, tags)


async def test_many_scans_are_one_batch_and_every_one_is_in_it_once() -> None:
    async with serving(Counting({("holding", 1): 0xFFFF})) as port:
        one = at_full_pace(port, "holding:0", "holding:1:int16")
        readings = await first_readings(one.source, opening(one, time.time_ns), 3)
    value, quality = columns(readings, 2)
    assert len(value) > 3
    assert value[:, 0].tolist() == list(range(1, len(value) + 1))
    assert (value[:, 1] == -1).all()
    assert not quality.any()
    stamps = [body.ts_ns for reading in readings for body in reading.bodies if isinstance(body, Batch)]
    assert (np.diff(np.concatenate(stamps)) >= 0).all()


async def test_cancelling_while_scans_gather_loses_none() -> None:
    readings: list[Any] = []
    async with serving(Counting()) as port:
        one = at_full_pace(port, "holding:0")
        async with asyncio.timeout(8), one.source.open(opening(one, time.time_ns)) as session:
            said = session.readings()
            for patience_s in itertools.chain([0.01, 0.03] * 4, [1.0] * 2):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(patience_s):
                        readings.append(await anext(said))
    value, _ = columns(readings, 1)
    assert value[:, 0].tolist() == list(range(1, len(value) + 1))


async def test_a_plan_that_changes_between_scans_of_one_batch_shifts_nothing() -> None:
    device = Counting({("holding", i): 100 + i for i in range(1, 6)})

    def refuse(_: str, start: int, count: int) -> int:
        return 2 if device.asked > 20 and start <= 3 < start + count else 0

    device.refuse = refuse
    async with serving(device) as port:
        one = at_full_pace(port, *(f"holding:{i}" for i in range(6)))
        readings = await first_readings(one.source, opening(one, time.time_ns), 4)
    value, quality = columns(readings, 6)
    good = quality == Quality.GOOD
    assert good[:20].all()
    assert (~good).any(axis=0).all()  # the scan in which it was refused spoils them all
    assert good[-1].tolist() == [True, True, True, False, True, True]
    assert (quality[~good] == Quality.BAD_CONFIGURATION_ERROR).all()
    expected = np.broadcast_to([101, 102, 103, 104, 105], (len(value), 5))
    assert (value[:, 1:][good[:, 1:]] == expected[good[:, 1:]]).all()


async def test_answers_are_counted_when_they_are_handed_over() -> None:
    async with serving(Counting()) as port:
        one = at_full_pace(port, "holding:0")
        counter = metrics.requests.labels(opening(one, time.time_ns).asset, "answered")
        before = counter._value.get()
        readings = await first_readings(one.source, opening(one, time.time_ns), 2)
    value, _ = columns(readings, 1)
    assert counter._value.get() - before == len(value)


class Odd(Counting):
    """Does something else at its hundredth answer, and each hundredth after it."""

    def __init__(self, odd: Callable[["Odd", bytes], bytes]) -> None:
        super().__init__()
        self.odd = odd
        self.answers = 0

    def _answer(self, code: int, start: int, count: int) -> bytes:
        pdu = super()._answer(code, start, count)
        self.answers += 1
        return self.odd(self, pdu) if self.answers % 100 == 0 else pdu


@pytest.mark.parametrize(
    ("odd", "quality"),
    [
        (lambda _, pdu: bytes([pdu[0] | 0x80, 4]), Quality.BAD_COMMUNICATION_ERROR),
        (lambda _, pdu: pdu[:1] + bytes([pdu[1] - 2]) + pdu[2:-2], Quality.BAD_COMMUNICATION_ERROR),
        (lambda _, pdu: bytes([pdu[0] ^ 7]) + pdu[1:], Quality.BAD_COMMUNICATION_ERROR),
    ],
    ids=["refused", "short", "another function"],
)
async def test_what_is_not_the_answer_asked_for_costs_its_own_scan_at_full_pace(odd: Any, quality: int) -> None:
    async with serving(Odd(odd)) as port:
        one = at_full_pace(port, "holding:0", "holding:1")
        readings = await first_readings(one.source, opening(one, time.time_ns), 4)
    value, codes = columns(readings, 2)
    bad = codes[:, 0] != Quality.GOOD
    assert bad.sum() >= 2
    assert (codes[bad] == quality).all()
    assert np.isnan(value[bad]).all()
    counted = np.arange(1, len(value) + 1)
    assert (value[~bad, 0] == counted[~bad]).all()
    assert (counted[bad] % 100 == 0).all()


async def test_answers_in_pieces_are_read_at_full_pace() -> None:
    device, link = Counting(), Splitting()
    async with serving(device) as port, link.to(port) as split:
        one = at_full_pace(split, "holding:0", "holding:1")
        readings = await first_readings(one.source, opening(one, time.time_ns), 3)
    value, codes = columns(readings, 2)
    assert link.pieces > 2
    assert not codes.any()
    assert value[:, 0].tolist() == list(range(1, len(value) + 1))


def fall_mute(device: Odd, pdu: bytes) -> bytes:
    device.mute = True
    return pdu


async def test_a_device_that_falls_silent_at_full_pace_ends_the_session_and_loses_nothing() -> None:
    readings: list[Any] = []

    async def read(port: int) -> None:
        one = at_full_pace(port, "holding:0", timeout_s=0.1)
        async with asyncio.timeout(8), one.source.open(opening(one, time.time_ns)) as session:
            async for reading in session.readings():
                readings.append(reading)  # noqa: PERF401  # what came before the end is what this is about

    async with serving(Odd(fall_mute)) as port:
        with pytest.raises(Unavailable, match="gives no answer"):
            await read(port)
    value, codes = columns(readings, 1)
    good = codes[:, 0] == Quality.GOOD
    assert value[good, 0].tolist() == list(range(1, 101))
    assert (codes[~good] == Quality.BAD_NO_COMMUNICATION).all()


async def test_a_machine_that_joins_the_line_gets_its_turns_beside_one_at_full_pace() -> None:
    device = Counting({("holding", 7): 7})
    async with serving(device) as port, asyncio.timeout(20):
        fast, slow = (
            at_full_pace(port, "holding:0"),
            machine(
                {"protocol": "modbus", "host": "127.0.0.1", "port": port, "every_s": 0.05, "timeout_s": 0.5},
                [{"address": "holding:7"}],
            ),
        )
        async with fast.source.open(opening(fast, time.time_ns)) as session:
            said = session.readings()
            before = [await anext(said) for _ in range(2)]
            beside = await first_readings(slow.source, opening(slow, time.time_ns), 3)
            after = [await anext(said) for _ in range(2)]
    assert device.connections == 1
    assert [body.value.tolist() for reading in beside for body in reading.bodies if isinstance(body, Batch)] == [
        [7]
    ] * 3
    value, _ = columns(before + after, 1)
    assert value[:, 0].tolist() == list(range(1, len(value) + 1))


async def test_one_timer_serves_waits_of_different_length() -> None:
    line, now = Line("x"), asyncio.get_running_loop().time
    for patience_s in (0.2, 0.05, 0.1):
        began = now()
        assert await line.read(began + patience_s) == b""
        assert patience_s - 0.01 <= now() - began <= patience_s + 0.09
    waiting = line.read(now() + 5.0)
    line.data_received(b"ab")
    line.data_received(b"c")
    assert await waiting == b"ab"
    assert await line.read(now() + 5.0) == b"c"
    waiting = line.read(now() + 5.0)
    line.hang_up()
    assert await waiting == b""
