"""CPU of the gateway a value, with all that makes a value durable, against a bare loop that only reads.

* 20 devices of 100 tags at 5 Hz = 10,000 values a second; writer and database run, so the gateway also forwards.
* Counted are rows committed between two looks and the gateway's own user and system time between the same looks.
* A late tick is a reading that did not happen: the measurement says so and is worth nothing.
"""

import asyncio
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from rootdx.embedded import free_port
from tests.bench import machines
from tests.bench.figures import Figure, show, show_profile
from tests.bench.machines import Plant
from tests.bench.stage import Db, Invalid, Stage, Wish, looking, one

DEVICES, EVERY_S = 20, 0.2
RATE_HZ = DEVICES * machines.TAGS / EVERY_S
TARGET_US, LIMIT_MB = 5.0, 120.0
PEERS = "Node-RED 2.8-22, thingsboard-gateway 21-165 us; neither durable"


@dataclass(frozen=True, slots=True)
class Run:
    """One window of the gateway."""

    us: float
    rss_mb: float
    values_hz: float


async def measure(stage: Stage, wish: Wish) -> list[Figure]:
    """The figures; prints them and, where the target is missed, the gateway's profile."""
    async with looking(stage) as db:
        await stage.empty(db)
        runs, bare = [], []
        for _ in range(wish.repeats):
            runs.append(await _gateway(stage, db, wish))
            bare.append(await _bare(stage, wish))
        limit = Figure("bare loop: CPU a value", bare, "us/value")
        cost = Figure(
            "gateway: CPU a value", [run.us for run in runs], "us/value", TARGET_US, "low", limit.median, PEERS
        )
        memory = Figure("gateway: RSS", [run.rss_mb for run in runs], "MB", LIMIT_MB, "low", peer="Node-RED 165-276 MB")
        rate = Figure("gateway: values committed", [run.values_hz for run in runs], "values/s", limit=RATE_HZ)
        late = Figure("gateway: late ticks", [0.0] * len(runs), "1", 0, "low")
        figures = [cost, limit, memory, rate, late]
        show(stage.console, f"gateway, {DEVICES} devices × {machines.TAGS} tags × {1 / EVERY_S:g} Hz", figures)
        if wish.explained and not cost.met:
            await _profile(stage, wish)
    return figures


async def _gateway(stage: Stage, db: Db, wish: Wish) -> Run:
    port = free_port()
    plant = await machines.plant(stage, DEVICES, EVERY_S, metrics_port=port)
    await stage.writer(plant.settings)
    gateway = await stage.gateway(plant.settings)
    await asyncio.sleep(wish.warm_s)
    began, cpu, rows = time.monotonic(), gateway.cpu_s(), await _rows(db)
    late = await _late(port)
    await asyncio.sleep(wish.seconds)
    took_s, cpu_s, found = time.monotonic() - began, gateway.cpu_s() - cpu, await _rows(db) - rows
    late = await _late(port) - late
    memory = gateway.rss_mb()
    stage.check()
    await stage.stop()
    await _check(db, plant, found, took_s, late)
    return Run(cpu_s * 1e6 / found, memory, found / took_s)


async def _check(db: Db, plant: Plant, found: int, took_s: float, late: float) -> None:
    """Rows due are there, once.

    Raises:
        Invalid: they are not.
    """
    if late:
        raise Invalid(f"{late:.0f} ticks were late: this machine is too busy, the figure would flatter")
    due = RATE_HZ * took_s
    if abs(found - due) > 0.05 * due + RATE_HZ:
        raise Invalid(f"{found} rows committed in {took_s:.1f} s, {due:.0f} were due")
    doubled = await one(
        db, "SELECT count(*) FROM (SELECT FROM rootdx.measurement GROUP BY tag_id, ts HAVING count(*) > 1) twice"
    )
    if doubled[0]:
        raise Invalid(f"{doubled[0]} rows are there more than once; {len(plant.ports)} devices")


async def _rows(db: Db) -> int:
    return int((await one(db, "SELECT coalesce(sum(rows), 0) FROM rootdx.record"))[0])


async def _late(port: int) -> float:
    """Late ticks of all machines so far, as the gateway counts them."""
    text = await asyncio.to_thread(_scrape, port)
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("rootdx_ticks_late_total"))


def _scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


async def _bare(stage: Stage, wish: Wish) -> float:
    _, ports = await machines.devices(stage, DEVICES)
    child = await stage.start("bare", "tests.bench.bare_loop", str(EVERY_S), *map(str, ports))
    await child.hears("values ")
    await asyncio.sleep(wish.warm_s / 2)
    (values, late), cpu = _said(child.log), child.cpu_s()
    await asyncio.sleep(wish.seconds)
    (more, later), cpu_s = _said(child.log), child.cpu_s() - cpu
    await stage.stop()
    due = RATE_HZ * wish.seconds
    if later > late or abs(more - values - due) > 0.05 * due + RATE_HZ:
        raise Invalid(f"bare loop: {more - values} values, {due:.0f} were due, {later - late} late ticks")
    return cpu_s * 1e6 / due


def _said(log: Path) -> tuple[int, int]:
    line = [line for line in log.read_text().splitlines() if line.startswith("values ")][-1]
    return int(line.split()[1]), int(line.split()[2])


async def _profile(stage: Stage, wish: Wish) -> None:
    plant = await machines.plant(stage, DEVICES, EVERY_S)
    await stage.writer(plant.settings)
    file = plant.settings.parent / "gateway.profile"
    gateway = await stage.gateway(plant.settings, file)
    await asyncio.sleep(wish.warm_s + wish.seconds / 2)
    await gateway.stop()
    show_profile(stage.console, "profile of the gateway, a separate run", file)
    await stage.stop()
