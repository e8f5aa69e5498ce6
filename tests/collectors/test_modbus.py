import asyncio
import contextlib
import socket
import struct
import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import uvloop

from collectors.source import Missed
from pipeline.errors import Unavailable
from pipeline.model import Batch, Cause, Event, Phase, Quality
from tests.collectors.devices import ASSET, RawModbus, first_readings, machine, opening, serving


def source(port: int, **more: Any) -> Any:
    return {"protocol": "modbus", "host": "127.0.0.1", "port": port, "every_s": 0.05, "timeout_s": 0.3} | more


def numbered(count: int) -> RawModbus:
    return RawModbus({("holding", i): i for i in range(count)})


def batch_of(reading: Any) -> Batch:
    (body,) = reading.bodies
    assert isinstance(body, Batch)
    return body


async def test_a_scan_is_one_batch_stamped_with_its_tick() -> None:
    async with serving(numbered(10)) as port:
        one = machine(source(port), [{"address": f"holding:{i}"} for i in range(10)])
        (reading,) = await first_readings(one.source, opening(one, time.time_ns), 1)
    batch = batch_of(reading)
    assert batch.asset == ASSET
    assert batch.tags == tuple(tag.name for tag in one.tag)
    assert batch.value.tolist() == list(range(10))
    assert batch.tag.tolist() == list(range(10))
    assert not batch.quality.any()
    assert set((batch.ts_ns % 50_000_000).tolist()) == {0}
    assert reading.ticks == (batch.ts_ns[0], batch.ts_ns[0])


async def test_scans_that_pile_up_are_merged_and_none_is_lost() -> None:
    async with serving(numbered(3)) as port:
        one = machine(source(port, every_s=0.02), [{"address": f"holding:{i}"} for i in range(3)])
        async with one.source.open(opening(one, time.time_ns)) as session:
            readings = session.readings()
            got = [await anext(readings)]
            await asyncio.sleep(0.15)  # the disk is slow
            got += [await anext(readings), await anext(readings)]
            await readings.aclose()
    stamps = np.concatenate([np.unique(batch_of(reading).ts_ns) for reading in got])
    late = sum(missed.count for reading in got for missed in reading.missed)
    assert len(batch_of(got[1])) >= 4 * 3
    assert len(stamps) + late == (stamps[-1] - stamps[0]) // 20_000_000 + 1
    assert got[1].ticks[0] > got[0].ticks[1]


async def test_a_slow_device_makes_ticks_late_not_queued() -> None:
    device = numbered(1)
    async with serving(device) as port:
        one = machine(source(port, every_s=0.05), [{"address": "holding:0"}])
        async with one.source.open(opening(one, time.time_ns)) as session:
            device.delay_s = 0.13
            readings = session.readings()
            got = [await anext(readings) for _ in range(3)]
            await readings.aclose()
    for reading in got[1:]:
        (missed,) = reading.missed
        assert missed == Missed(reading.ticks[0], missed.count, Cause.LATE)
        assert missed.count >= 2
        assert batch_of(reading).ts_ns[0] == reading.ticks[0] + missed.count * 50_000_000


async def test_an_exception_spoils_exactly_its_own_tags() -> None:
    device = numbered(400)
    device.refuse = lambda table, start, count: 2 if start <= 5 < start + count else 0
    async with serving(device) as port:
        one = machine(source(port), [{"address": f"holding:{i}"} for i in (*range(10), *range(200, 210))])
        (reading,) = await first_readings(one.source, opening(one, time.time_ns), 1)
    batch = batch_of(reading)
    assert np.flatnonzero(batch.quality).tolist() == [5]
    assert batch.quality[5] == Quality.BAD_CONFIGURATION_ERROR
    assert np.isnan(batch.value[5])
    assert batch.value[4] == 4
    assert batch.value[-1] == 209
    assert {(0, 5), (5, 1), (6, 4), (200, 10)} <= {(start, count) for _, start, count in device.requests[-4:]}


async def test_an_address_that_vanishes_while_running_costs_its_neighbours_one_scan() -> None:
    device = numbered(10)
    async with serving(device) as port:
        one = machine(source(port), [{"address": f"holding:{i}"} for i in range(10)])
        async with one.source.open(opening(one, time.time_ns)) as session:
            readings = session.readings()
            await anext(readings)
            device.refuse = lambda table, start, count: 2 if start <= 3 < start + count else 0
            bad = []
            for _ in range(6):
                quality = batch_of(await anext(readings)).quality.reshape(-1, 10)
                bad += [np.flatnonzero(row).tolist() for row in quality]
            await readings.aclose()
    assert bad[-1] == [3]
    assert bad.count(list(range(10))) <= 1
    assert len(device.requests[-3:]) == 3


@pytest.mark.parametrize(
    ("code", "quality"),
    [(1, "CONFIGURATION"), (3, "CONFIGURATION"), (4, "COMMUNICATION"), (6, "COMMUNICATION"), (11, "COMMUNICATION")],
)
async def test_exception_codes_become_qualities(code: Any, quality: Any) -> None:
    device = numbered(10)
    device.refuse = lambda table, start, count: code if table == "input" else 0
    async with serving(device) as port:
        one = machine(source(port), [{"address": "holding:1"}, {"address": "input:0"}, {"address": "input:1"}])
        (reading,) = await first_readings(one.source, opening(one, time.time_ns), 1)
    want = Quality[f"BAD_{quality}_ERROR"]
    assert batch_of(reading).quality.tolist() == [0, want, want]


async def test_an_answer_of_the_wrong_length_is_a_communication_error() -> None:
    device = numbered(4)
    async with serving(device) as port:
        one = machine(source(port), [{"address": f"holding:{i}"} for i in range(4)])
        async with one.source.open(opening(one, time.time_ns)) as session:
            device.short = True
            readings = session.readings()
            codes = [batch_of(await anext(readings)).quality[-1] for _ in range(3)]
            await readings.aclose()
    assert codes[-1] == Quality.BAD_COMMUNICATION_ERROR


async def test_silence_gives_one_bad_scan_and_then_unavailable() -> None:
    device = numbered(2)
    async with serving(device) as port:
        one = machine(source(port, timeout_s=0.15), [{"address": "holding:0"}, {"address": "holding:1"}])
        batches: list[Batch] = []

        async def listen() -> None:
            async with one.source.open(opening(one, time.time_ns)) as session:
                async for reading in session.readings():
                    batches.append(batch_of(reading))
                    device.mute = True

        with pytest.raises(Unavailable, match="gives no answer"):
            await listen()
    assert not batches[0].quality.any()
    assert batches[-1].quality[-2:].tolist() == [Quality.BAD_NO_COMMUNICATION] * 2


async def test_a_cut_connection_is_noticed_at_once() -> None:
    device = numbered(1)
    async with serving(device) as port:
        one = machine(source(port, timeout_s=5.0), [{"address": "holding:0"}])
        async with one.source.open(opening(one, time.time_ns)) as session:
            device.mute = True
            await asyncio.sleep(0.06)
            device.cut()
            began = time.monotonic()
            with pytest.raises(Unavailable):
                async for _ in session.readings():
                    pass
            assert time.monotonic() - began < 1.0


@pytest.mark.parametrize("mute", [False, True])
async def test_opening_proves_that_the_device_answers(mute: Any) -> None:
    device = numbered(1)
    device.mute = mute
    async with serving(device) as port:
        one = machine(source(port if mute else 1, timeout_s=0.1), [{"address": "holding:0"}])
        with pytest.raises(Unavailable):
            async with one.source.open(opening(one, time.time_ns)):
                pytest.fail("it does not")


async def test_rows_are_stamped_with_the_devices_own_time() -> None:
    said_ms = time.time_ns() // 1_000_000 - 60_000
    stamp = struct.unpack(">4H", struct.pack(">d", said_ms))
    device = RawModbus({("holding", i): word for i, word in enumerate(stamp)})
    async with serving(device) as port:
        tags = [{"name": "clock", "address": "holding:0:float64"}, {"address": "holding:4"}]
        one = machine(source(port, time_tag="clock"), tags)
        (reading,) = await first_readings(one.source, opening(one, time.time_ns), 1)
        device.words = {}
        (without,) = await first_readings(one.source, opening(one, time.time_ns), 1)
    assert set(batch_of(reading).ts_ns.tolist()) == {said_ms * 1_000_000}
    assert set(batch_of(reading).quality.tolist()) == {Quality.GOOD}
    assert reading.ticks is not None
    (without_rows, told) = without.bodies
    assert isinstance(told, Event)
    assert (told.kind, told.phase) == ("device.clock", Phase.RAISED)
    without = replace(without, bodies=(without_rows,))
    assert set(batch_of(without).quality.tolist()) == {Quality.UNCERTAIN}
    assert without.ticks is not None
    assert batch_of(without).ts_ns[0] == without.ticks[0]


@pytest.mark.parametrize("off_s", [9 * 3600, 301, -301, -9 * 3600, None])
async def test_a_wrong_clock_of_the_device_is_not_believed_and_told_once(off_s: int | None) -> None:
    """None: it stands where clocks without battery begin."""
    said_ms = 946_684_800_000 if off_s is None else time.time_ns() // 1_000_000 + 1000 * off_s
    device = RawModbus({("holding", i): w for i, w in enumerate(struct.unpack(">4H", struct.pack(">d", said_ms)))})
    async with serving(device) as port:
        tags = [{"name": "clock", "address": "holding:0:float64"}, {"address": "holding:4"}]
        one = machine(source(port, time_tag="clock"), tags)
        found = await first_readings(one.source, opening(one, time.time_ns), 3)
        again = await first_readings(one.source, opening(one, time.time_ns, found[0].memory or ""), 1)
    bodies = [body for reading in (*found, *again) for body in reading.bodies]
    (raised,) = [body for body in bodies if isinstance(body, Event)]
    assert (raised.kind, raised.phase) == ("device.clock", Phase.RAISED)
    rows = [body for body in bodies if isinstance(body, Batch)]
    assert all((abs(body.ts_ns - time.time_ns()) < 60e9).all() for body in rows)
    assert {int(code) for body in rows for code in body.quality} == {Quality.UNCERTAIN}


async def test_full_pace_yields_each_step_of_a_replay_exactly_once() -> None:
    device = RawModbus()
    answered = 0

    def step(table: Any, start: Any, count: Any) -> Any:
        nonlocal answered
        row = min(answered // 2, 30)  # the device is read faster than it steps
        answered += 1
        for i, word in enumerate(struct.unpack(">4H", struct.pack(">d", 1_750_000_000_000.0 + 1000 * row))):
            device.words["holding", i] = word
        return 0

    device.refuse = step
    async with serving(device) as port:
        one = machine(source(port, time_tag="t0", pace="full"), [{"address": "holding:0:float64"}])
        assert one.source.arrival == "kept"
        stamps = []
        async with asyncio.timeout(5), one.source.open(opening(one, time.time_ns)) as session:
            async for reading in session.readings():
                assert reading.missed == ()
                stamps += batch_of(reading).ts_ns.tolist()
                if len(stamps) > 30:
                    break
    assert stamps == [(1_750_000_000 + row) * 1_000_000_000 for row in range(31)]


async def test_no_request_writes() -> None:
    device = numbered(4)
    async with serving(device) as port:
        one = machine(
            source(port),
            [{"address": "holding:0"}, {"address": "input:1"}, {"address": "coil:0"}, {"address": "discrete:3"}],
        )
        await first_readings(one.source, opening(one, time.time_ns), 2)
    assert {table for table, _, _ in device.requests} == {"holding", "input", "coil", "discrete"}


async def test_sessions_leave_no_task_behind() -> None:
    before = asyncio.all_tasks()
    async with serving(numbered(1)) as port:
        one = machine(source(port), [{"address": "holding:0"}])
        await first_readings(one.source, opening(one, time.time_ns), 1)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


def test_a_device_that_hangs_up_at_once_is_unavailable_also_on_uvloop() -> None:
    """uvloop raises RuntimeError where asyncio drops what is written to a connection that the device has closed."""
    device = socket.create_server(("127.0.0.1", 0))

    def hang_up() -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = device.accept()
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                link.close()

    async def tries() -> None:
        one = machine(source(device.getsockname()[1]), [{"address": "holding:0"}])
        for _ in range(100):
            with pytest.raises(Unavailable):
                async with one.source.open(opening(one, time.time_ns)):
                    pass

    thread = threading.Thread(target=hang_up)
    thread.start()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(tries())
    finally:
        device.shutdown(socket.SHUT_RDWR)
        device.close()
        thread.join()
