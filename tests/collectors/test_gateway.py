import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from collectors import collector, gateway
from collectors.collector import BOUNDARY_S, Collector
from collectors.gateway import collect
from collectors.source import Arrival, Missed, Opening, Reading, Source
from collectors.stopping import ended
from pipeline.errors import ConfigError, Unavailable
from pipeline.model import Batch, Cause, Phase
from pipeline.plant import Machine, Tag
from pipeline.settings import Bus, GatewaySettings, Settings, SpoolSettings
from tests.collectors.devices import ASSET, MemorySpool, RawModbus, machine, serving, stopped

SECOND = 1_000_000_000


class Scripted(Source):
    """A device of which a test writes the script: a function from Opening to what the session does."""

    protocol: Literal["scripted"] = "scripted"
    script: Any
    way: Arrival = "pushed"

    @property
    def arrival(self) -> Arrival:
        return self.way

    def check(self, tags: Any) -> None:
        pass

    @asynccontextmanager
    async def open(self, opening: Opening) -> Any:
        session = self.script(opening)
        if isinstance(session, Exception):
            raise session
        yield session


class Talk:
    def __init__(self, words: Callable[[], AsyncIterator[Reading]]) -> None:
        self.readings = words


def scripted(
    script: Callable[[Opening], Any], way: Arrival = "pushed", tags: Any = ("a", "b"), every_s: Any = 1.0
) -> Machine[Any]:
    return Machine[Scripted](
        path="casting/line1/dc1",
        name="scripted",
        process="casting",
        source=Scripted(script=script, way=way, every_s=every_s),
        tag=tuple(Tag(name=name, address="x", unit="Cel", range=(0, 10)) for name in tags),
    )


def rows(opening: Opening, value: float = 1.0) -> Batch:
    names = tuple(tag.name for tag in opening.tags)
    return Batch.of(opening.asset, names, opening.clock(), np.arange(len(names)), np.full(len(names), value))


def start(machines: Any, spool: Any, clock: Any = time.time_ns) -> "asyncio.Task[None]":
    return asyncio.create_task(collect(machines, spool, "gw-1", clock))


def modbus(port: int, tags: int = 3, path: str = "casting/line1/dc1", **more: Any) -> Any:
    source = {"protocol": "modbus", "host": "127.0.0.1", "port": port, "every_s": 0.05, "timeout_s": 0.2} | more
    return machine(source, [{"address": f"holding:{i}"} for i in range(tags)], path)


def grown(before: int, spool: MemorySpool) -> bool:
    return spool.rows() > before


async def test_rows_declaration_and_counts_reach_the_spool_and_add_up() -> None:
    spool = MemorySpool()
    spool.delay_s = 0.02
    async with serving(RawModbus()) as port:
        task = start({ASSET: modbus(port)}, spool)
        await spool.until(lambda s: s.rows() >= 15)
        await stopped(task)
    (declared,) = spool.events("machine.declared")
    assert declared.data["process"] == "casting"
    assert declared.data["tags"][0] == {
        "name": "t0",
        "role": "",
        "unit": "1",
        "low": None,
        "high": None,
        "text": "",
        "every_s": 0.05,
    }
    assert spool.expected() == spool.rows() + spool.missing()
    stamps = np.unique(np.concatenate([batch.ts_ns for batch in spool.batches]))
    assert spool.rows() == 3 * len(stamps)


async def test_a_machine_is_declared_again_only_when_it_changed() -> None:
    spool = MemorySpool()
    async with serving(RawModbus()) as port:
        for tags in (2, 2, 3):
            task = start({ASSET: modbus(port, tags)}, spool)
            before = spool.rows()
            await spool.until(partial(grown, before))
            await stopped(task)
            spool = spool.after_a_kill()
    assert [len(event.data["tags"]) for event in spool.events("machine.declared")] == [2, 3]
    assert {tally.tags for tally in spool.tallies} == {("t0", "t1"), ("t0", "t1", "t2")}
    assert spool.expected() == spool.rows() + spool.missing()


async def test_an_outage_is_raised_once_and_cleared_with_the_same_identity() -> None:
    device, spool = RawModbus(), MemorySpool()
    async with serving(device) as port:
        task = start({ASSET: modbus(port)}, spool)
        await spool.until(lambda s: s.rows())
        device.mute = True
        device.cut()
        await spool.until(lambda s: s.events("device.unreachable"))
        await asyncio.sleep(0.6)
        device.mute = False
        await spool.until(lambda s: len(s.events("device.unreachable")) == 2)
        done = spool.rows()
        await spool.until(lambda s: s.rows() > done)
        await stopped(task)
    raised, cleared = spool.events("device.unreachable")
    assert (raised.phase, cleared.phase) == (Phase.RAISED, Phase.CLEARED)
    assert raised.id == cleared.id
    assert raised.text
    assert spool.missing(Cause.UNREACHABLE) > 0
    assert spool.missing(Cause.GATEWAY_DOWN) == 0
    assert spool.expected() == spool.rows() + spool.missing()
    last, first = max(b.ts_ns.max() for b in spool.batches), min(b.ts_ns.min() for b in spool.batches)
    assert spool.expected() == 3 * ((last - first) // 50_000_000 + 1)


async def test_an_outage_is_cleared_by_the_process_that_sees_its_end() -> None:
    spool = MemorySpool()
    task = start({ASSET: modbus(1)}, spool)
    await spool.until(lambda s: s.events("device.unreachable"))
    await stopped(task)
    spool = spool.after_a_kill()
    async with serving(RawModbus()) as port:
        task = start({ASSET: modbus(port)}, spool)
        await spool.until(lambda s: s.rows())
        await stopped(task)
    raised, cleared = spool.events("device.unreachable")
    assert (raised.phase, cleared.phase) == (Phase.RAISED, Phase.CLEARED)
    assert raised.id == cleared.id


async def test_a_dead_device_delays_no_other() -> None:
    dead, alive, spool = RawModbus(), RawModbus(), MemorySpool()
    dead.mute = True
    async with serving(dead) as silent, serving(alive) as port:
        others = {f"e/s/casting/line1/dead{i}": modbus(silent, path=f"casting/line1/dead{i}") for i in range(5)}
        task = start({ASSET: modbus(port), **others, "e/s/x/y/gone": modbus(1, path="x/y/gone")}, spool)
        await spool.until(lambda s: len(s.batches) > 15)
        await stopped(task)
    mine = [batch for batch in spool.batches if batch.asset == ASSET]
    assert np.diff(np.unique(np.concatenate([batch.ts_ns for batch in mine]))).max() == 50_000_000
    tallies = [tally for tally in spool.tallies if tally.asset == ASSET]
    assert sum(int(tally.missing.sum()) for tally in tallies) == 0


async def test_a_device_that_always_has_more_does_not_hold_up_the_end() -> None:
    spool = MemorySpool()

    async def chatter(opening: Opening) -> AsyncIterator[Reading]:
        while True:
            await asyncio.sleep(0.002)
            yield Reading((rows(opening),))

    task = start({ASSET: scripted(lambda opening: Talk(partial(chatter, opening)))}, spool)
    await spool.until(lambda s: s.rows() > 10)
    began = time.monotonic()
    task.cancel()
    await asyncio.wait({task}, timeout=10)
    assert task.done()
    assert time.monotonic() - began < BOUNDARY_S + 1
    assert spool.expected() == spool.rows() + spool.missing()


async def test_after_a_kill_the_counts_are_those_of_what_became_durable() -> None:
    spool = MemorySpool()
    async with serving(RawModbus()) as port:
        task = start({ASSET: modbus(port)}, spool)
        await spool.until(lambda s: s.rows() >= 9)
        found = spool.after_a_kill()
        await stopped(task)  # what it does from here on never happened
        await asyncio.sleep(0.2)
        task = start({ASSET: modbus(port)}, found)
        before = found.rows()
        await found.until(lambda s: s.rows() >= before + 9)
        await stopped(task)
    assert found.missing(Cause.GATEWAY_DOWN) >= 9
    assert found.missing(Cause.UNREACHABLE) == 0
    assert found.expected() == found.rows() + found.missing()
    stamps = np.concatenate([batch.ts_ns for batch in found.batches])
    assert found.expected() == 3 * ((stamps.max() - stamps.min()) // 50_000_000 + 1)


async def test_rows_a_full_spool_refuses_are_counted_and_the_machine_goes_on() -> None:
    spool = MemorySpool()
    async with serving(RawModbus()) as port:
        task = start({ASSET: modbus(port)}, spool)
        await spool.until(lambda s: s.rows() >= 3)
        spool.full = True
        await asyncio.sleep(0.3)
        spool.full = False
        before = spool.rows()
        await spool.until(lambda s: s.rows() > before)
        await stopped(task)
    assert spool.missing(Cause.SPOOL_FULL) >= 9
    assert spool.expected() == spool.rows() + spool.missing()


async def test_a_stop_stores_what_was_read_and_lets_the_session_acknowledge_it() -> None:
    spool = MemorySpool()
    acknowledged = []

    def script(opening: Opening) -> Any:
        async def words() -> Any:
            for number in range(3):
                yield Reading((rows(opening, number),), memory=str(number))
                acknowledged.append(number)
            await asyncio.Event().wait()

        return Talk(words)

    spool.delay_s = 0.1
    task = start({ASSET: scripted(script)}, spool)
    await asyncio.sleep(0.15)  # the declaration is in, the first reading is on its way
    await stopped(task)
    assert [batch.value[0] for batch in spool.batches] == [0, 1, 2]
    assert acknowledged == [0, 1, 2]
    assert spool.notes[f"memory:{ASSET}"] == "2"
    assert spool.expected() == spool.rows() == 6


async def test_a_session_is_told_its_last_durable_memory() -> None:
    spool = MemorySpool()
    told = []

    def script(opening: Opening) -> Any:
        told.append(opening.memory)

        async def words() -> Any:
            yield Reading((rows(opening),), memory=f"after {opening.memory or 'nothing'}")
            raise Unavailable("gone")

        return Talk(words)

    task = start({ASSET: scripted(script)}, spool)
    await spool.until(lambda s: len(s.batches) == 2)
    await stopped(task)
    spool = spool.after_a_kill()
    task = start({ASSET: scripted(script)}, spool)
    await spool.until(lambda s: len(s.batches) == 3)
    await stopped(task)
    assert told[:3] == ["", "after nothing", "after after nothing"]


async def test_a_contradicted_file_stops_only_its_own_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "CONFIG_WAIT_S", 0.1)
    spool, tries = MemorySpool(), []

    def wrong(opening: Opening) -> Any:
        tries.append(opening.asset)
        return ConfigError("no namespace urn:press")

    async with serving(RawModbus()) as port:
        task = start({"e/s/x/y/wrong": scripted(wrong), ASSET: modbus(port)}, spool)
        await spool.until(lambda s: s.rows() >= 12 and s.events("machine.misconfigured"))
        await asyncio.sleep(0.3)
        await stopped(task)
    (event,) = spool.events("machine.misconfigured")
    assert event.text == "no namespace urn:press"
    assert len(tries) > 2


async def test_a_bug_in_one_machine_ends_the_process_after_the_others_closed_their_books() -> None:
    spool = MemorySpool()

    def buggy(opening: Opening) -> Any:
        async def words() -> Any:
            await spool.until(lambda s: s.rows() >= 6)
            raise ZeroDivisionError
            yield

        return Talk(words)

    async with serving(RawModbus()) as port:
        with pytest.raises(ExceptionGroup) as caught:
            await collect({"e/s/x/y/bug": scripted(buggy), ASSET: modbus(port)}, spool, "gw-1", time.time_ns)
    assert caught.group_contains(ZeroDivisionError)
    assert spool.expected() == spool.rows() > 0


async def test_a_cancellation_that_a_library_swallows_is_heeded_all_the_same() -> None:
    spool, opening_now = MemorySpool(), asyncio.Event()

    class Deaf(Scripted):
        @asynccontextmanager
        async def open(self, opening: Opening) -> AsyncIterator[Any]:
            opening_now.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                yield Talk(asyncio.Event().wait)  # type: ignore[arg-type]  # it must not come to that

    one = scripted(lambda _: None)
    task = start({ASSET: one.model_copy(update={"source": Deaf(script=None)})}, spool)
    await opening_now.wait()
    async with asyncio.timeout(1):
        await stopped(task)


async def test_ending_a_task_insists() -> None:
    swallowed = 0

    async def deaf() -> None:
        nonlocal swallowed
        while swallowed < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await ended(task, 0.01)
    assert task.done()
    assert swallowed == 3


async def test_tallies_keep_flowing_while_a_device_is_down() -> None:
    now = 1_780_000_000 * SECOND
    spool = MemorySpool()
    up = True

    def script(opening: Opening) -> Any:
        if not up:
            return Unavailable("dark")

        async def words() -> Any:
            tick = opening.clock() // SECOND * SECOND
            yield Reading(
                (rows(opening),), (Missed(tick - 2 * SECOND, 2, Cause.LATE),), ticks=(tick - 2 * SECOND, tick)
            )
            await spool.until(lambda s: not up)
            raise Unavailable("dark")

        return Talk(words)

    one = scripted(script, "polled")
    mine = Collector(ASSET, one, spool, "gw-1", lambda: now)
    task = asyncio.create_task(mine.run())
    await spool.until(lambda s: s.rows())
    up = False
    spool.appended.set()
    await spool.until(lambda s: s.events("device.unreachable"))
    for _ in range(5):
        now += 60 * SECOND
        await mine.minute(now)
    assert spool.missing(Cause.UNREACHABLE) >= 2 * 60 * 4
    await stopped(task)
    assert spool.missing(Cause.UNREACHABLE) == 2 * 300
    assert spool.missing(Cause.LATE) == 2 * 2
    assert spool.expected() == spool.rows() + spool.missing()


@pytest.mark.parametrize("file", ["plant.toml", "dc1.toml"])
async def test_a_wrong_file_stops_the_start(tmp_path: Path, file: Any) -> None:
    (tmp_path / "plant.toml").write_text('enterprise = "hansung"\nsite = "ansan1"\n')
    (tmp_path / "dc1.toml").write_text('path = "casting/line1/dc1"\n')
    (tmp_path / file).write_text("nonsense = 1\n")
    settings = Settings(gateway=GatewaySettings(plant=tmp_path, spool=SpoolSettings(folder=tmp_path / "spool")))
    with pytest.raises(ConfigError, match=file):
        await gateway.run(settings)


async def test_the_process_stores_serves_metrics_and_stops_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unused_tcp_port_factory: Callable[[], int]
) -> None:
    monkeypatch.setattr(gateway, "DRAIN_S", 0.2)
    metrics_port, no_broker = unused_tcp_port_factory(), unused_tcp_port_factory()
    async with serving(RawModbus()) as port:
        (tmp_path / "plant.toml").write_text('enterprise = "hansung"\nsite = "ansan1"\n')
        (tmp_path / "dc1.toml").write_text(
            'path = "casting/line1/dc1"\nname = "1"\nprocess = "casting"\n'
            f'[source]\nprotocol = "modbus"\nhost = "127.0.0.1"\nport = {port}\nevery_s = 0.05\n'
            '[[tag]]\nname = "t"\nunit = "1"\naddress = "holding:0"\n'
        )
        settings = Settings(
            bus=Bus(port=no_broker),
            gateway=GatewaySettings(
                plant=tmp_path, metrics_port=metrics_port, spool=SpoolSettings(folder=tmp_path / "spool", group_s=0.01)
            ),
        )
        task = asyncio.create_task(gateway.run(settings, time.time_ns))
        text = ""
        async with asyncio.timeout(5):
            while 'rootdx_rows_read_total{asset="hansung/ansan1/casting/line1/dc1",quality="good"}' not in text:
                await asyncio.sleep(0.1)
                reader, writer = await asyncio.open_connection("127.0.0.1", metrics_port)
                writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
                text = (await reader.read()).decode()
                writer.close()
        began = time.monotonic()
        await stopped(task)
        assert time.monotonic() - began < 3
    assert (tmp_path / "spool").exists()
    assert f'rootdx_disk_free_bytes{{folder="{tmp_path / "spool"}"}}' in text, "of the spool, without being told"
