"""The one entry: what it refuses, what it tells, how it stops."""

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest

from simulators.errors import InputError
from simulators.run import MACHINES, Endpoint, Options, running, serve
from tests.simulators.devices import truth_lines, until


@pytest.mark.parametrize(
    ("machine", "options", "message"),
    [
        (
            "foundry",
            Options(),
            "machine 'foundry' is unknown; there are casting, heat_treatment, welding, surface_treatment",
        ),
        ("casting", Options(speed="max"), "speed = 'max' is for replay"),
        ("casting", Options(speed=0.0), "speed = 0.0; expected a number above 0"),
        ("casting", Options(port=70_000), "port = 70000; expected 0"),
        ("casting", Options(unit_id=0), "unit_id = 0; expected 1 to 247"),
        ("heat_treatment", Options(every_s=0.0), "every_s = 0.0 must be above 0"),
        ("replay", Options(), "at least one CSV file"),
    ],
)
async def test_options_that_cannot_be_are_refused(machine: str, options: Options, message: str) -> None:
    with pytest.raises(InputError, match=message):
        await serve(machine, options)


async def test_the_endpoint_is_told_once_and_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    told: list[Endpoint] = []
    task = asyncio.create_task(serve("casting", Options(port=0), on_ready=told.append))
    await until(lambda: told)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [endpoint.url for endpoint in told] == [f"modbus://127.0.0.1:{told[0].port}"]
    assert capfd.readouterr() == ("", "")


async def test_cancelling_frees_the_port_and_closes_clients() -> None:
    async with running("casting", Options(port=0)) as endpoint:
        reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    assert await asyncio.wait_for(reader.read(), 1.0) == b""
    writer.close()
    with pytest.raises(OSError, match="Connect"):
        await asyncio.open_connection(endpoint.host, endpoint.port)


async def test_cycles_are_told_while_serving(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    async with running("casting", Options(port=0, truth=path, speed=1000.0, start_s=30.0)):
        await until(lambda: len(truth_lines(path, "cycle")) > 9)
    cycles = truth_lines(path, "cycle")
    # The shot that was running when serving began is not told: nobody saw it whole.
    assert [cycle["number"] for cycle in cycles] == list(range(2, 2 + len(cycles)))
    assert all(a["end_ns"] == b["start_ns"] for a, b in pairwise(cycles))


def test_every_machine_is_named() -> None:
    assert MACHINES[:4] == ("casting", "heat_treatment", "welding", "surface_treatment")
    assert {"melting", "forging", "molding"} < set(MACHINES)
    assert MACHINES[-1] == "replay"
