"""That the measurements are valid; how fast things are, no test says."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from collectors.sparkplug_payload import payload_of
from tests.bench import opcua_rate, sparkplug_rate
from tests.bench.sparkplug_rate import METRICS, message
from tests.support.modbus_server import ModbusServer
from tests.support.report import ROOT
from tests.support.services import OpcUaServer


@pytest.mark.parametrize("kind", ["ours", "bare", "loop"])
async def test_both_modbus_clients_get_their_answers_from_every_port(kind: str) -> None:
    async with ModbusServer("jsmodbus", listeners=3) as server:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.bench.modbus_rate", kind, "0.5", *map(str, server.ports),
            cwd=ROOT, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said, _ = await process.communicate()
    assert json.loads(said)["requests"] > 30


async def test_no_value_of_a_subscription_is_lost_uncounted(tmp_path: Path) -> None:
    line = {"counters": 20, "everyMs": 200, "history": 0}
    server = OpcUaServer(tmp_path, line=line)
    await asyncio.to_thread(server.__enter__)
    try:
        await asyncio.to_thread(server.tell, "count", "counting")
        found = await opcua_rate.client(f"opc.tcp://127.0.0.1:{server.port}/press", 20, 0.2, 2.0)
    finally:
        server.__exit__()
    assert found["hz"] > 50
    assert found["lost"] == found["overflow"] == 0


def test_a_spool_that_counts_sees_a_hole() -> None:
    spool = opcua_rate.Counting(1)
    spool.first[0], spool.last[0], spool.count[0] = 5, 9, 4
    assert int((spool.last - spool.first + 1 - spool.count).sum()) == 1


@pytest.mark.parametrize("by_name", [True, False])
def test_the_message_is_what_it_is_said_to_be(by_name: bool) -> None:
    metrics = payload_of(message(by_name=by_name)).metrics
    assert len(metrics) == METRICS
    assert [metric.value for metric in metrics[:2]] == [20.5, 1.5]
    if sparkplug_rate.HAS_RUNTIME:
        assert sparkplug_rate._plain(message(by_name=by_name))() == METRICS
