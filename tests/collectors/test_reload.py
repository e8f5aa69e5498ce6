"""Machine files that change while the gateway runs: only what changed begins anew."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collectors import gateway
from collectors.gateway import collect
from pipeline import wire
from pipeline.model import Cause, Event, Severity
from pipeline.plant import Machine
from pipeline.settings import Bus, GatewaySettings, Settings, SpoolSettings
from pipeline.spool import Spool
from tests.collectors.devices import MemorySpool, RawModbus, machine, serving, stopped

EVERY_NS = 50_000_000


def asset(number: int) -> str:
    return f"hansung/ansan1/casting/line1/dc{number}"


def modbus(port: int, number: int, tags: int = 2, **more: Any) -> Machine[Any]:
    source = {"protocol": "modbus", "host": "127.0.0.1", "port": port, "every_s": 0.05, "timeout_s": 0.2} | more
    return machine(source, [{"address": f"holding:{i}"} for i in range(tags)], f"casting/line1/dc{number}")


class Reading:
    """A gateway's collecting, with files that a test changes."""

    def __init__(self, machines: Mapping[str, Machine[Any]]) -> None:
        self.spool = MemorySpool()
        self.changes: asyncio.Queue[Mapping[str, Machine[Any]]] = asyncio.Queue()
        self.task = asyncio.create_task(collect(machines, self.spool, "gw-1", time.time_ns, self._again()))

    async def _again(self) -> AsyncIterator[Mapping[str, Machine[Any]]]:
        while True:
            yield await self.changes.get()

    async def become(self, machines: Mapping[str, Machine[Any]]) -> Event:
        told = len(self.spool.events("gateway.reloaded"))
        self.changes.put_nowait(machines)
        await self.spool.until(lambda s: len(s.events("gateway.reloaded")) > told)
        return self.spool.events("gateway.reloaded")[-1]

    async def rows_of(self, number: int, more: int = 6) -> None:
        def rows(spool: MemorySpool) -> int:
            return sum(len(batch) for batch in spool.batches if batch.asset == asset(number))

        before = rows(self.spool)
        await self.spool.until(lambda s: rows(s) >= before + more)

    def stamps(self, number: int) -> Any:
        return np.unique(np.concatenate([b.ts_ns for b in self.spool.batches if b.asset == asset(number)]))


async def test_what_did_not_change_keeps_its_connection_and_misses_no_tick() -> None:
    calm, other, late = RawModbus(), RawModbus(), RawModbus()
    async with serving(calm) as one, serving(other) as two, serving(late) as three:
        reading = Reading({asset(1): modbus(one, 1), asset(2): modbus(two, 2), asset(3): modbus(three, 3)})
        for number in (1, 2, 3):
            await reading.rows_of(number)
        told = await reading.become({asset(1): modbus(one, 1), asset(2): modbus(two, 2, 5), asset(4): modbus(three, 4)})
        assert told.data == {"added": [asset(4)], "changed": [asset(2)], "removed": [asset(3)]}
        assert (told.asset, told.text) == ("gateway/gw-1", "added=1 changed=1 removed=1")
        await reading.rows_of(4)
        await reading.spool.until(lambda s: any(len(b.tags) == 5 for b in s.batches))
        await reading.rows_of(1)
        await stopped(reading.task)
    assert [device.connections for device in (calm, other, late)] == [1, 2, 2]
    assert set(np.diff(reading.stamps(1))) == {EVERY_NS}
    spool = reading.spool
    assert spool.expected() == spool.rows() + spool.missing()
    assert [event.asset for event in spool.events("machine.declared")].count(asset(1)) == 1
    assert [len(e.data["tags"]) for e in spool.events("machine.declared") if e.asset == asset(2)] == [2, 5]
    assert spool.events("device.unreachable") == []


async def test_a_machine_that_is_changed_owes_the_ticks_between() -> None:
    async with serving(RawModbus()) as port:
        reading = Reading({asset(1): modbus(port, 1)})
        await reading.rows_of(1)
        await reading.become({asset(1): modbus(port, 1, timeout_s=0.3)})
        await reading.rows_of(1)
        await stopped(reading.task)
    stamps, spool = reading.stamps(1), reading.spool
    assert spool.expected() == spool.rows() + spool.missing()
    assert spool.expected() == 2 * ((stamps[-1] - stamps[0]) // EVERY_NS + 1)
    assert spool.missing() == spool.missing(Cause.GATEWAY_DOWN, Cause.LATE)
    assert len(spool.events("machine.declared")) == 1


async def test_what_the_analytics_alone_read_is_no_change() -> None:
    device = RawModbus()
    async with serving(device) as port:
        one = modbus(port, 1)
        reading = Reading({asset(1): one})
        await reading.rows_of(1)
        told = await reading.become({asset(1): one.model_copy(update={"cycle": ({"kind": "x"},)})})
        await reading.rows_of(1)
        await stopped(reading.task)
    assert told.data == {"added": [], "changed": [], "removed": []}
    assert device.connections == 1


async def test_machines_on_one_line_change_it_together() -> None:
    device = RawModbus()
    async with serving(device) as port:
        reading = Reading({asset(n): modbus(port, n, gap_ms=0) for n in (1, 2)})
        for number in (1, 2):
            await reading.rows_of(number)
        await reading.become({asset(n): modbus(port, n, gap_ms=1) for n in (1, 2)})
        for number in (1, 2):
            await reading.rows_of(number)
        await stopped(reading.task)
    assert reading.spool.events("machine.misconfigured") == []
    assert device.connections == 2


def write(folder: Path, number: int, port: int, tags: str = "t") -> None:
    lines = [
        f'path = "casting/line1/dc{number}"\nname = "1"\nprocess = "casting"\n[source]\nprotocol = "modbus"',
        f'host = "127.0.0.1"\nport = {port}\nevery_s = 0.05',
        *(f'[[tag]]\nname = "{tag}"\nunit = "1"\naddress = "holding:{i}"' for i, tag in enumerate(tags)),
    ]
    (folder / f"dc{number}.toml").write_text("\n".join(lines))


async def test_the_process_takes_files_up_on_a_hangup_and_refuses_wrong_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gateway, "DRAIN_S", 0.1)
    caplog.set_level("INFO")

    async def logged(text: str) -> None:
        async with asyncio.timeout(8):
            while text not in caplog.text:
                await asyncio.sleep(0.02)
        caplog.clear()

    calm, other = RawModbus(), RawModbus()
    async with serving(calm) as one, serving(other) as two:
        (tmp_path / "plant.toml").write_text('enterprise = "hansung"\nsite = "ansan1"\n')
        write(tmp_path, 1, one)
        write(tmp_path, 2, two)
        spool = SpoolSettings(folder=tmp_path / "spool")
        its = GatewaySettings(name="gw-1", plant=tmp_path, spool=spool, metrics_port=0)
        task = asyncio.create_task(gateway.run(Settings(gateway=its, bus=Bus(port=unused_tcp_port))))
        async with asyncio.timeout(8):
            while len(calm.requests) < 3 or len(other.requests) < 3:
                await asyncio.sleep(0.02)
        write(tmp_path, 2, two, "tu")
        os.kill(os.getpid(), signal.SIGHUP)
        await logged("files read again added=0 changed=1 removed=0")
        (tmp_path / "dc1.toml").write_text("nonsense = 1\n")
        os.kill(os.getpid(), signal.SIGHUP)
        await logged("everything stays as it was")
        seen = len(calm.requests)
        async with asyncio.timeout(8):
            while len(calm.requests) < seen + 3 or other.requests[-1][2] != 2:
                await asyncio.sleep(0.02)
        await stopped(task)
    assert [device.connections for device in (calm, other)] == [1, 2]
    async with Spool(its.spool, "gw-1", time.time_ns) as again:
        events = [body for held in await again.read(0, 1 << 30) for body in wire_bodies(held)]
    told = [event for event in events if event.kind == "gateway.reloaded"]
    assert [event.severity for event in told] == [Severity.INFO, Severity.ERROR]
    assert "dc1.toml" in told[1].text
    assert again.head < 1 << 20  # no leap: the spool was never closed and opened on the way


def wire_bodies(held: Any) -> list[Event]:
    return [body for body in wire.record(held).bodies if isinstance(body, Event)]
