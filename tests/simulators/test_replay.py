"""A replayed recording: each row once to who reads it whole, exact values, an end one can see."""

import math
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulators.errors import InputError
from simulators.recording import read_recording
from simulators.registers import parse_register
from simulators.replay import MachineFile, ReplayDevice, machine_toml, replay_tags, write_machine_file
from simulators.run import Options, serve
from simulators.serve_modbus import Request
from simulators.truth import Truth
from tests.simulators.conftest import Now
from tests.simulators.devices import modbus, truth_lines


def record(folder: Path, rows: int, columns: int, name: str = "r.csv", first: int = 0) -> Path:
    path = folder / name
    heading = ",".join(["datetime", *(f"Value {c}" for c in range(columns)), "note"])
    lines = [
        ",".join([f"2026-01-01 00:{r // 60:02d}:{r % 60:02d}", *(str(r + c / 7) for c in range(columns)), "ok"])
        for r in range(first, first + rows)
    ]
    path.write_text("\n".join([heading, *lines]))
    return path


def at_max(*files: Path, **more: Any) -> Options:
    return Options(port=0, speed="max", files=files, zone="UTC", **more)


async def test_one_request_a_row_sees_each_row_exactly_once(tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    files = [record(tmp_path, 150, 3, "train.csv"), record(tmp_path, 50, 3, "test.csv", first=150)]
    async with modbus("replay", at_max(*files, truth=truth)) as (endpoint, poller):
        assert endpoint.notices == ("columns left out, not numeric: note",)
        seen = []
        while not (await poller.words("coil", 0, 1))[0]:
            seen.append(await poller.row(0, 5))
        again = [await poller.row(0, 5) for _ in range(3)]
    assert [row[0] for row in seen] == list(range(200))
    assert seen == [[r, 1767225600000.0 + 1000.0 * r, r, r + 1 / 7, r + 2 / 7] for r in range(200)]
    assert again == [seen[-1]] * 3
    told = [line["values"] for line in truth_lines(truth, "served") if "row" in line["values"]]
    assert [list(values.values()) for values in told] == seen + again


async def test_a_wide_row_waits_for_the_next_request_at_zero(tmp_path: Path) -> None:
    async with modbus("replay", at_max(record(tmp_path, 3, 40))) as (_, poller):
        for row in range(3):
            first, second = await poller.row(0, 31), await poller.row(124, 11)
            assert (first[0], second[-1]) == (row, row + 39 / 7)
            assert await poller.words("coil", 0, 1) == [row == 2]
        assert (await poller.row(0, 31))[0] == 2.0
        assert await poller.words("coil", 0, 1) == [1]


async def test_half_a_wide_last_row_is_not_the_end(tmp_path: Path) -> None:
    async with modbus("replay", at_max(record(tmp_path, 1, 40))) as (_, poller):
        await poller.row(0, 31)
        assert await poller.words("coil", 0, 1) == [0]
        await poller.row(124, 11)
        assert await poller.words("coil", 0, 1) == [1]


def test_at_a_speed_recorded_time_runs_that_fast(tmp_path: Path, clock_at: Callable[[float], Now]) -> None:
    now = clock_at(0.0)
    device = ReplayDevice(read_recording([record(tmp_path, 10, 1)], zone="UTC"), 1.0, now.clock, Truth("r"))
    rows, done = [], []
    for t_s in (0.0, 0.9, 1.0, 5.5, 9.0, 9.5, 60.0):
        now.set_s(t_s)
        words = device.answer(Request("holding", 8, 4))
        rows.append(float(np.array(words, np.uint16).astype(">u2").view(">f8")[0]))
        done.append(device.answer(Request("coil", 0, 16))[0])
    assert rows == [0.0, 0.0, 1.0, 5.0, 9.0, 9.0, 9.0]
    assert done == [0, 0, 0, 0, 0, 1, 1]


async def test_empty_cells_and_exact_values_come_through(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("a,b,c\n0.1,,1e300\n1,2,3\n")
    async with modbus("replay", at_max(path)) as (_, poller):
        row = await poller.row(0, 4)
    assert row[:2] == [0.0, 0.1]
    assert math.isnan(row[2])
    assert row[3] == 1e300


def test_tag_names_are_slugs_and_unique(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("Volume Flow,volume-flow,Volume_Flow,온도,row,(A),A\n1,2,3,4,5,6,7\n", encoding="utf-8")
    tags = replay_tags(read_recording([path]))
    names = [tag.name for tag in tags]
    assert names == ["row", "volume_flow", "volume-flow", "volume_flow_2", "c004", "row_2", "a", "a_2"]
    assert tags[4].column == "온도"


async def test_the_machine_file_reads_the_machine(tmp_path: Path) -> None:
    path = record(tmp_path, 4, 2)
    recording = read_recording([path], zone="UTC")
    about = MachineFile(path="skab/loop/valve1", process="molding", port=0)
    document = tomllib.loads(machine_toml(recording, about))
    assert document["source"] == {
        "protocol": "modbus", "host": "127.0.0.1", "port": 0, "unit_id": 1, "every_s": 1.0, "timeout_s": 0.5,
        "max_registers": 125,
    }  # fmt: skip
    assert [tag["name"] for tag in document["tag"]] == ["row", "source_time_ms", "value_0", "value_1", "done"]
    async with modbus("replay", at_max(path)) as (_, poller):
        for tag in document["tag"]:
            register = parse_register(tag["address"])
            assert len(await poller.words(register.table, register.number, register.size)) == register.size
    for tag, column in zip(document["tag"][2:4], recording.values.T, strict=True):
        assert tag["range"][0] < column.min() < column.max() < tag["range"][1]
    write_machine_file(recording, tmp_path / "m.toml", about)
    assert tomllib.loads((tmp_path / "m.toml").read_text(encoding="utf-8")) == document
    with pytest.raises(InputError, match="cannot write the machine file"):
        write_machine_file(recording, tmp_path / "no" / "m.toml", about)


async def test_nothing_can_be_written_and_faults_are_refused(tmp_path: Path) -> None:
    path = record(tmp_path, 2, 1)
    async with modbus("replay", at_max(path)) as (_, poller):
        assert (await poller.client.write_register(0, 1, device_id=1)).exception_code == 1
        assert await poller.words("holding", 12, 1) == [-2]
    with pytest.raises(InputError, match="replay takes no fault file"):
        await serve("replay", at_max(path, faults=path))
