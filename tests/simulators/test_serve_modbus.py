"""The Modbus server over its real protocol: every type, every refusal, and a truth that matches."""

from pathlib import Path

import pytest
from pymodbus.exceptions import ModbusIOException

from simulators.errors import InputError
from simulators.faults import Faults
from simulators.registers import parse_register
from simulators.run import MODELS, Options, serve
from simulators.signals import SCAN_COUNTER
from tests.simulators.devices import modbus, truth_lines

MODBUS_MACHINES = ("casting", "surface_treatment")


def test_the_two_machines_have_every_type_order_and_table() -> None:
    registers = [parse_register(s.address) for name in MODBUS_MACHINES for s in MODELS[name].signals]
    assert {r.type for r in registers} == {"bit", "int16", "uint16", "int32", "uint32", "float32", "float64"}
    assert {r.order for r in registers} == {"ABCD", "CDAB", "BADC", "DCBA"}
    assert {r.table for r in registers} == {"holding", "input", "coil", "discrete"}


@pytest.mark.parametrize("machine", MODBUS_MACHINES)
async def test_what_a_client_reads_is_what_the_truth_says(machine: str, tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    model = MODELS[machine]
    async with modbus(machine, Options(port=0, truth=path, start_s=5000.0)) as (endpoint, poller):
        assert endpoint.port > 0
        read = {signal.name: await poller.tag(signal) for signal in model.signals}
    told: dict[str, float] = {}
    for line in truth_lines(path, "served"):
        told |= line["values"]
    assert read == told
    for signal in model.signals:
        assert signal.low <= read[signal.name] <= signal.high, signal.name


async def test_a_block_tells_only_the_tags_that_lie_wholly_in_it(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    async with modbus("casting", Options(port=0, truth=path)) as (_, poller):
        assert len(await poller.words("holding", 17, 4)) == 4
        assert len(await poller.words("coil", 1, 3)) == 3
    first, second = truth_lines(path, "served")
    assert list(first["values"]) == ["power", "shot_counter"]
    assert list(second["values"]) == ["ladle_pour", "shot_start", "die_open"]


async def test_one_request_sees_one_instant_of_the_machine(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    async with modbus("casting", Options(port=0, truth=path, speed=500.0)) as (_, poller):
        for _ in range(20):
            await poller.words("holding", 0, 38)
    shots = list(MODELS["casting"].make(1, Faults()).cycles(0.0, 2000.0))
    features = {float(shot.number): shot.features for shot in shots}
    for line in truth_lines(path, "served"):
        values = line["values"]
        if values["shot_counter"]:
            shot = features[values["shot_counter"]]
            assert values["biscuit"] == pytest.approx(shot["biscuit"])
            assert values["tiebar1"] == shot["tiebar1"]


async def test_coils_come_in_order() -> None:
    async with modbus("casting", Options(port=0, start_s=5.0)) as (_, poller):
        pouring = await poller.words("coil", 0, 6)
        assert pouring == [1, 1, 0, 0, 0, 0]
        assert await poller.words("coil", 1, 2) == [1, 0]


async def test_scan_counter_counts_requests_that_touch_it() -> None:
    counter = next(s for s in MODELS["casting"].signals if s.name == SCAN_COUNTER)
    async with modbus("casting", Options(port=0)) as (_, poller):
        assert await poller.tag(counter) == 1.0
        await poller.words("holding", 0, 10)
        await poller.words("holding", 37, 1)
        assert await poller.tag(counter) == 3.0


async def test_every_write_and_every_other_function_gets_exception_1() -> None:
    async with modbus("casting", Options(port=0)) as (_, poller):
        client = poller.client
        before = await poller.words("holding", 8, 7)
        replies = [
            await client.write_register(8, 5, device_id=1),
            await client.write_register(9999, 5, device_id=1),
            await client.write_registers(8, [1, 2], device_id=1),
            await client.write_coil(0, True, device_id=1),
            await client.write_coils(0, [True] * 9, device_id=1),
            await client.mask_write_register(address=8, device_id=1),
            await client.readwrite_registers(read_address=8, read_count=1, address=8, values=[1], device_id=1),
            await client.read_device_information(device_id=1),
            await client.report_device_id(device_id=1),
        ]
        assert [reply.exception_code for reply in replies] == [1] * len(replies)
        assert await poller.words("holding", 8, 7) == before


async def test_absent_addresses_units_and_tables_are_refused() -> None:
    async with modbus("casting", Options(port=0, unit_id=3)) as (_, poller):
        assert len(await poller.words("holding", 0, 38)) == 38
        assert await poller.words("holding", 30, 20) == [-2]
        assert await poller.words("input", 0, 1) == [-2]
        assert await poller.words("coil", 40, 8) == [-2]
        poller.unit_id = 1
        assert await poller.words("holding", 0, 2) == [-11]


async def test_a_silent_device_answers_nothing_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text('[[fault]]\ntype = "unresponsive"\nstart_s = 0\nend_s = 500\n')
    truth = tmp_path / "truth.jsonl"
    options = Options(port=0, faults=path, truth=truth, speed=1000.0)
    async with modbus("casting", options) as (_, poller):
        with pytest.raises(ModbusIOException):
            await poller.words("holding", 0, 2)
        assert truth_lines(truth, "served") == []
        # 0.3 s of waiting for the answer were 300 simulated seconds.
        with pytest.raises(ModbusIOException):
            await poller.words("holding", 0, 2)
        assert len(await poller.words("holding", 0, 2)) == 2
    assert [fault["type"] for fault in truth_lines(truth, "fault")] == ["unresponsive"]


async def test_an_exception_fault_hits_its_registers_only(tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text('[[fault]]\ntype = "exception"\ntag = "energy"\nstart_s = 0\nend_s = 5000\n')
    async with modbus("casting", Options(port=0, faults=path)) as (_, poller):
        assert await poller.words("holding", 18, 4) == [-2]
        assert len(await poller.words("holding", 0, 20)) == 20


async def test_a_taken_port_is_named() -> None:
    async with modbus("casting", Options(port=0)) as (endpoint, _):
        with pytest.raises(InputError, match=f"127.0.0.1:{endpoint.port}: cannot listen there"):
            await serve("surface_treatment", Options(port=endpoint.port))
