import asyncio
import contextlib
import itertools
import json
import time
from typing import Any

import numpy as np
import pytest
import uvloop

from collectors import modbus_bus
from collectors.breaker import Breaker
from collectors.collector import Collector
from collectors.modbus_bus import seat_on
from collectors.turns import Seat, Turns
from pipeline import metrics
from pipeline.errors import ConfigError, Unavailable
from pipeline.model import Batch, Event, Phase, Quality
from tests.collectors.devices import (
    Bridge,
    MemorySpool,
    RawModbus,
    RtuBus,
    first_readings,
    machine,
    opening,
    serving,
    stopped,
)

RTU = {"protocol": "modbus", "transport": "rtu_over_tcp", "host": "127.0.0.1", "every_s": 0.05, "timeout_s": 0.3}
LINE = {"protocol": "modbus", "transport": "serial", "baudrate": 115200, "every_s": 0.05, "timeout_s": 0.3}


def numbered(first: int) -> RawModbus:
    return RawModbus({("holding", i): first + i for i in range(50)})


def batch_of(reading: Any) -> Batch:
    return next(body for body in reading.bodies if isinstance(body, Batch))


def events_of(readings: list[Any]) -> list[Event]:
    return [body for reading in readings for body in reading.bodies if isinstance(body, Event)]


def dropped(line: str) -> dict[str, float]:
    found = [s for m in metrics.modbus_dropped.collect() for s in m.samples if s.labels.get("line") == line]
    return {s.labels["cause"]: s.value for s in found if s.name.endswith("_total")}


async def test_rtu_frames_through_a_converter_are_read() -> None:
    bus = RtuBus({7: numbered(100)})
    bus.slaves[7].words["coil", 3] = 1
    async with bus.on_tcp() as port:
        one = machine(RTU | {"port": port, "unit_id": 7}, [{"address": "holding:0"}, {"address": "coil:3"}])
        (reading,) = await first_readings(one.source, opening(one, time.time_ns), 1)
    assert batch_of(reading).value.tolist() == [100, 1]
    assert {unit for unit, *_ in bus.requests} == {7}


@pytest.mark.parametrize("parity", ["none", "even"])
async def test_a_serial_line_is_read(parity: Any) -> None:
    bus = RtuBus({1: numbered(100), 2: numbered(200)})
    async with bus.on_a_line() as port:
        tags = [{"address": "holding:0"}, {"address": "2/holding:5"}]
        one = machine(LINE | {"serial_port": port, "parity": parity}, tags)
        readings = await first_readings(one.source, opening(one, time.time_ns), 3)
    assert [batch_of(reading).value[:2].tolist() for reading in readings] == [[100, 205]] * 3
    assert bus.wrong == 0


async def test_a_serial_port_that_is_not_there_is_unavailable() -> None:
    one = machine(LINE | {"serial_port": "/dev/nothing"}, [{"address": "holding:0"}])
    with pytest.raises(Unavailable, match="cannot be opened"):
        await first_readings(one.source, opening(one, time.time_ns), 1)


@pytest.mark.parametrize(
    ("mangle", "cause"),
    [
        (lambda frame: frame[:-1] + bytes([frame[-1] ^ 1]), "crc"),
        (lambda frame: frame[:4] + bytes([frame[4] ^ 0x80]) + frame[5:], "crc"),
        (lambda frame: bytes([frame[0] + 1]) + frame[1:-2], "garbage"),
        (lambda frame: frame[:3], "garbage"),
    ],
)
async def test_a_spoilt_frame_is_counted_and_never_a_number(mangle: Any, cause: Any) -> None:
    bus = RtuBus({1: numbered(100)})
    async with bus.on_tcp() as port:
        one = machine(RTU | {"port": port, "timeout_s": 0.1}, [{"address": "holding:0"}])
        readings = []
        with contextlib.suppress(Unavailable):
            async with asyncio.timeout(5), one.source.open(opening(one, time.time_ns)) as session:
                async for reading in session.readings():
                    bus.mangle = mangle
                    readings.append(reading)
                    if len(readings) == 3:
                        break
    last = batch_of(readings[-1])
    assert np.isnan(last.value[-1])
    assert last.quality[-1] in (Quality.BAD_COMMUNICATION_ERROR, Quality.BAD_NO_COMMUNICATION)
    assert dropped(f"127.0.0.1:{port}")[cause] >= 1


async def test_noise_before_an_answer_does_not_cost_it() -> None:
    bus = RtuBus({1: numbered(100)}, mangle=lambda frame: b"\x00\xff" + frame)
    async with bus.on_tcp() as port:
        one = machine(RTU | {"port": port}, [{"address": "holding:0"}])
        (reading,) = await first_readings(one.source, opening(one, time.time_ns), 1)
    assert batch_of(reading).value.tolist() == [100]


async def test_late_answers_never_shift_values_to_their_neighbours() -> None:
    """32 requests of one shape on a line without transactions, one answer late: no value in another's place."""
    bus = RtuBus({1: numbered(0), 2: numbered(1000)})
    late = 0

    def slow(table: Any, start: Any, count: Any) -> int:
        nonlocal late
        late += 1
        bus.slaves[1].delay_s = 0.16 if late in (40, 80) else 0.0
        return 0

    bus.slaves[1].refuse = slow
    tags = [{"name": f"a{i}", "address": f"1/holding:{i}"} for i in range(32)] + [{"address": "2/holding:0"}]
    async with bus.on_tcp() as port:
        one = machine(RTU | {"port": port, "timeout_s": 0.1, "max_registers": 1, "every_s": 0.2}, tags)
        readings = await first_readings(one.source, opening(one, time.time_ns), 8)
    good = 0
    for reading in readings:
        batch = batch_of(reading)
        for tag, value, code in zip(batch.tag, batch.value, batch.quality, strict=True):
            want = 1000 if tag == 32 else tag
            assert np.isnan(value) if code else value == want
            good += not code
    assert good > 150
    assert sum(dropped(f"127.0.0.1:{port}").values()) >= 1
    assert any(count == 2 for *_, count in bus.requests)  # a question of another shape, before the same one again


async def test_machines_at_one_place_share_one_connection_and_take_turns() -> None:
    bus = RtuBus({1: numbered(100), 2: numbered(200)})
    peers: set[Any] = set()
    serve = bus.serve

    async def counted(reader: Any, writer: Any) -> None:
        peers.add(writer.get_extra_info("peername"))
        await serve(reader, writer)

    bus.serve = counted  # type: ignore[method-assign]
    async with bus.on_tcp() as port:
        ones = [
            machine(
                RTU | {"port": port, "unit_id": unit, "max_registers": 1},
                [{"address": f"holding:{i}"} for i in range(5)],
            )
            for unit in (1, 2)
        ]
        got = await asyncio.gather(*(first_readings(one.source, opening(one, time.time_ns), 4) for one in ones))
    assert len(peers) == 1
    for first, readings in zip((100, 200), got, strict=True):
        assert batch_of(readings[-1]).value[-5:].tolist() == [first + i for i in range(5)]
    turns = [unit for unit, *_ in bus.requests]
    assert sum(a != b for a, b in itertools.pairwise(turns)) > len(turns) / 3


async def test_two_files_that_speak_differently_to_one_line_are_refused() -> None:
    bus = RtuBus({1: numbered(100)})
    async with bus.on_tcp() as port:
        rtu = machine(RTU | {"port": port}, [{"address": "holding:0"}])
        tcp = machine(RTU | {"port": port, "transport": "tcp"}, [{"address": "holding:0"}])
        async with rtu.source.open(opening(rtu, time.time_ns)):
            with pytest.raises(ConfigError, match="say the same in both"):
                async with tcp.source.open(opening(tcp, time.time_ns)):
                    pass


async def test_one_dead_unit_of_two_costs_its_own_tags_and_is_told_once() -> None:
    bus = RtuBus({1: numbered(100), 2: numbered(200)})
    async with bus.on_tcp() as port:
        one = machine(RTU | {"port": port, "timeout_s": 0.03}, [{"address": "1/holding:0"}, {"address": "2/holding:0"}])
        readings = []
        asked_dead: list[int] = []
        async with asyncio.timeout(8), one.source.open(opening(one, time.time_ns)) as session:
            async for reading in session.readings():
                readings.append(reading)
                bus.slaves[2].mute = 3 <= len(readings) < 30
                asked_dead.append(sum(unit == 2 for unit, *_ in bus.requests))
                last = batch_of(reading)
                if len(readings) > 30 and not last.quality.any():
                    break
    rows = [(q[0], q[1]) for q in (batch_of(reading).quality[-2:].tolist() for reading in readings)]
    assert all(first == 0 for first, _ in rows)
    assert rows[20][1] == Quality.BAD_NO_COMMUNICATION
    assert asked_dead[25] - asked_dead[10] <= 3
    raised, cleared = [event for event in events_of(readings) if event.kind == "device.silent"]
    assert (raised.phase, cleared.phase) == (Phase.RAISED, Phase.CLEARED)
    assert raised.id == cleared.id
    assert raised.data["unit"] == 2


async def test_a_silence_told_before_is_cleared_by_the_next_session() -> None:
    async with serving(numbered(0)) as port:
        source = {"protocol": "modbus", "host": "127.0.0.1", "port": port, "every_s": 0.05}
        one = machine(source, [{"address": "1/holding:0"}, {"address": "2/holding:0"}])
        memory = json.dumps({"away": {"2": 5_000_000_000}})
        (reading,) = await first_readings(one.source, opening(one, time.time_ns, memory), 1)
    (event,) = events_of([reading])
    assert (event.kind, event.phase, event.onset_ns) == ("device.silent", Phase.CLEARED, 5_000_000_000)
    assert reading.memory == ""


async def test_a_wrong_unit_in_an_answer_is_a_communication_error() -> None:
    device = numbered(5)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = await reader.readexactly(12)
                unit = request[6] + (request[9] == 1)
                writer.write(request[:5] + bytes([5, unit, 3, 2, 0, 9]))
        writer.close()

    device.serve = serve  # type: ignore[method-assign]
    async with serving(device) as port:
        source = {"protocol": "modbus", "host": "127.0.0.1", "port": port, "every_s": 0.05, "max_registers": 1}
        one = machine(source, [{"address": "holding:0"}, {"address": "holding:1"}])
        (reading,) = await first_readings(one.source, opening(one, time.time_ns), 1)
    assert batch_of(reading).quality.tolist() == [0, Quality.BAD_COMMUNICATION_ERROR]
    assert dropped(f"127.0.0.1:{port}")["unit"] >= 1


async def test_a_line_that_lost_everybody_is_hung_up_and_opened_again() -> None:
    bus = RtuBus({1: numbered(0), 2: numbered(0)})
    async with bus.on_tcp() as port:
        one = machine(RTU | {"port": port}, [{"address": "holding:0"}])
        async with seat_on(one.source.place, 0.3) as (line, _):
            assert line.seats
        async with seat_on(one.source.place, 0.3) as (again, _):
            assert again is not line


async def test_a_dead_machine_that_opens_again_and_again_hardly_takes_the_line() -> None:
    bus = RtuBus({1: numbered(100)})
    async with bus.on_tcp() as port:
        alive, dead = (
            machine(RTU | {"port": port, "unit_id": unit, "timeout_s": 0.03}, [{"address": "holding:0"}])
            for unit in (1, 2)
        )
        async with asyncio.timeout(5), alive.source.open(opening(alive, time.time_ns)) as session:
            for attempt in range(12):
                with pytest.raises(Unavailable, match="gives no answer" if attempt < 3 else "left alone"):
                    async with dead.source.open(opening(dead, time.time_ns)):
                        pass
                await asyncio.sleep(0.02)
            assert sum(unit == 2 for unit, *_ in bus.requests) == 3
            bus.slaves[2] = numbered(200)
            await asyncio.sleep(1.0)  # the breaker's first pause, on the event loop's clock
            (reading,) = await first_readings(dead.source, opening(dead, time.time_ns), 1)
            assert batch_of(reading).value.tolist() == [200]
            batch = batch_of(await anext(session.readings()))
    assert not batch.quality.any()


@pytest.mark.parametrize("exception", [10, 11])
async def test_a_slave_that_its_bridge_does_not_hear_is_left_alone_and_comes_back(
    exception: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modbus_bus, "_PATIENT_S", 3.0)  # on a line that is never idle for as long as a probe takes
    bridge = Bridge({unit: numbered(unit) for unit in (1, 2, 3, 4)} | {5: RawModbus(mute=True)}, exception)
    every_s, spools = 0.2, {unit: MemorySpool() for unit in bridge.slaves}
    async with bridge.on_tcp() as port:
        source = {"protocol": "modbus", "host": "127.0.0.1", "port": port, "every_s": every_s, "timeout_s": 0.6}
        tasks = []
        for unit, spool in spools.items():
            one = machine(source | {"unit_id": unit}, [{"address": "holding:0"}], f"casting/line1/dc{unit}")
            collector = Collector(f"hansung/ansan1/casting/line1/dc{unit}", one, spool, "gw", time.time_ns)
            tasks.append(asyncio.create_task(collector.run()))
        await asyncio.sleep(3.0)  # real: three silences, and the probes after them
        asked, before = bridge.requests.count(5), {unit: spool.rows() for unit, spool in spools.items()}
        await asyncio.sleep(4.0)
        assert bridge.requests.count(5) - asked <= 2
        for unit in (1, 2, 3, 4):
            assert spools[unit].rows() - before[unit] >= 0.7 * 4.0 / every_s
        assert [event.phase for event in spools[5].events("device.unreachable")] == [Phase.RAISED]
        bridge.slaves[5].mute = False
        await spools[5].until(lambda held: held.rows() > 2, 40)
        for task in tasks:
            await stopped(task)
    assert bridge.connections <= 2


async def test_one_of_several_units_behind_a_bridge_is_told_as_silent() -> None:
    bridge = Bridge({1: numbered(1), 2: RawModbus(mute=True)}, patience_s=0.1)
    async with bridge.on_tcp() as port:
        source = {"protocol": "modbus", "host": "127.0.0.1", "port": port, "every_s": 0.05, "timeout_s": 0.3}
        one = machine(source, [{"address": "1/holding:0"}, {"address": "2/holding:0"}])
        readings = await first_readings(one.source, opening(one, time.time_ns), 12)
    (raised,) = [event for event in events_of(readings) if event.kind == "device.silent"]
    assert (raised.phase, raised.data["unit"]) == (Phase.RAISED, 2)
    assert batch_of(readings[-1]).quality[-2:].tolist() == [0, Quality.BAD_NO_COMMUNICATION]
    assert bridge.connections == 1


async def test_a_connection_that_is_only_half_there_is_given_up_by_all() -> None:
    device = numbered(5)
    serve, connections = device.serve, 0

    async def first_one_dies(reader: Any, writer: Any) -> None:
        nonlocal connections
        connections += 1
        if connections > 1:
            await serve(reader, writer)
            return
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            for _ in range(4):
                request = await reader.readexactly(12)
                writer.write(request[:5] + bytes([5, request[6], 3, 2, 0, 9]))
            await reader.read()
        writer.close()

    device.serve = first_one_dies  # type: ignore[method-assign]
    values: list[float] = []

    async def keep_reading(one: Any) -> None:
        while True:
            with contextlib.suppress(Unavailable):
                (reading,) = await first_readings(one.source, opening(one, time.time_ns), 1)
                values.append(float(batch_of(reading).value[0]))
            await asyncio.sleep(0.01)

    async with serving(device) as port:
        source = {"protocol": "modbus", "host": "127.0.0.1", "port": port, "every_s": 0.05, "timeout_s": 0.05}
        ones = [machine(source | {"unit_id": unit}, [{"address": "holding:3"}]) for unit in (1, 2)]
        async with seat_on(ones[0].source.place, 0.05):  # somebody keeps the line, so that it is not hung up by itself
            tasks = [asyncio.create_task(keep_reading(one)) for one in ones]
            async with asyncio.timeout(8):
                while values.count(8.0) < 4:
                    await asyncio.sleep(0.01)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    assert connections == 2


def test_a_serial_line_is_read_on_uvloop() -> None:
    async def read() -> list[float]:
        async with RtuBus({1: numbered(100)}).on_a_line() as port:
            one = machine(LINE | {"serial_port": port}, [{"address": "holding:0"}])
            (reading,) = await first_readings(one.source, opening(one, time.time_ns), 1)
            return [float(value) for value in batch_of(reading).value]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(read()) == [100.0]


@pytest.mark.parametrize(("baudrate", "gap_ms", "registers"), [(9600, 3.65, 12), (19200, 1.82, 14), (115200, 1.75, 38)])
def test_silence_and_bridges_follow_from_the_speed_of_the_line(baudrate: Any, gap_ms: Any, registers: Any) -> None:
    one = machine(LINE | {"serial_port": "/dev/ttyS0", "baudrate": baudrate}, [{"address": "holding:0"}])
    assert one.source.place.gap_s * 1e3 == pytest.approx(gap_ms, abs=0.01)
    assert one.source.limits.gap == registers
    own = machine(LINE | {"serial_port": "/dev/ttyS0", "gap_ms": 10, "max_gap": 2}, [{"address": "holding:0"}])
    assert (own.source.place.gap_s, own.source.limits.gap) == (0.01, 2)


async def test_turns_go_round_in_the_order_of_the_seats_and_survive_a_cancellation() -> None:
    turns, seats, order = Turns(), [Seat(1.0, number) for number in range(4)], []

    async def ask(seat: Seat, requests: int) -> None:
        for _ in range(requests):
            await turns.take(seat)
            order.append(seat.number)
            await asyncio.sleep(0)
            turns.give_back()

    tasks = [asyncio.create_task(ask(seat, 3)) for seat in reversed(seats)]
    await asyncio.sleep(0)
    tasks[1].cancel()  # seat 2
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == [0, 1, 3] * 3
    await asyncio.wait_for(ask(seats[2], 2), 1.0)
    assert order[-2:] == [2, 2]


def test_a_breaker_opens_after_three_and_doubles_its_pause() -> None:
    breaker = Breaker(after=3, first_s=1.0, longest_s=3.0)
    assert [breaker.silent(0.0) for _ in range(3)] == [False, False, True]
    assert breaker.rests_s(0.25) == 0.75
    assert not breaker.silent(1.0)
    assert breaker.rests_s(1.0) == 2.0
    breaker.silent(3.0)
    breaker.silent(6.0)
    assert breaker.rests_s(6.0) == 3.0
    breaker.wake()
    assert (breaker.open, breaker.rests_s(6.0)) == (True, 0.0)
    assert breaker.answered()
    assert not breaker.open
