"""The analytics process on fifty machines at their own pace: its CPU, and how long until a closed cycle is seen.

* Fifty die-casting cells of 33 tags at 1 Hz, shifted against each other, committed by the store's own code once a
  second; the analytics process is a process of its own.
* Latency runs from the commit of the row that decides a cycle (`settle_s` after its end) to the cycle's own commit.
"""

import asyncio
import contextlib
import time
import tomllib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from analytics.process import Process
from analytics.processes.casting import HpdcShot
from analytics.window import SECOND_NS
from pipeline import service
from pipeline.model import Batch, Event, rows_of
from pipeline.naming import DECLARED
from pipeline.settings import StoreSettings
from pipeline.store import Accepted, Commit, Entry, Store, opened
from rootdx.demo import sample_plant
from tests.bench.figures import Figure, quantile, show
from tests.bench.stage import Child, Db, Invalid, Stage, Wish, looking
from tests.support.plant_rows import batches
from tests.support.simulated import ORIGIN_NS, simulated

MACHINES = 50
TARGET_CORE, TARGET_S = 0.10, 2.0
HISTORY_S = 300.0


@dataclass(slots=True)
class Feeder:
    """Commits what every machine said in the last second."""

    store: Store
    entry: Entry
    origin_ns: int
    told: Mapping[str, tuple[int, Sequence[Batch]]]
    committed: list[tuple[int, float]]

    async def take(self, second: int) -> None:
        bodies = [
            moved(some[second + ahead], asset, self.origin_ns - ahead * SECOND_NS)
            for asset, (ahead, some) in self.told.items()
        ]
        key, last = self.entry.source_id, self.entry.last
        record = Accepted(key, last + 1, service.wall_ns(), rows_of(bodies), bodies)
        await self.store.commit(Commit([record], [], {key: last}, {key: last + 1}))
        self.entry = replace(self.entry, last=last + 1)
        self.committed.append((self.origin_ns + (second + 1) * SECOND_NS, time.time()))


def moved(batch: Batch, asset: str, origin_ns: int) -> Batch:
    """The same rows on another machine at another time."""
    return Batch.of(asset, batch.tags, batch.ts_ns - ORIGIN_NS + origin_ns, batch.tag, batch.value, batch.quality)


async def measure(stage: Stage, wish: Wish) -> list[Figure]:
    """The figures; prints them."""
    async with looking(stage) as db:
        await stage.empty(db)
        place = stage.place("cycles")
        process = HpdcShot.model_validate(_sample()["cycle"][0])
        assets = plant_files(stage, place)
        seconds = round(HISTORY_S + wish.warm_s + wish.repeats * wish.seconds)
        pieces = {asset: said(seconds, seed) for seed, asset in enumerate(assets[:5], 1)}
        told = {asset: (number, pieces[assets[number % 5]]) for number, asset in enumerate(assets)}
        settings = StoreSettings(dsn=stage.dsn)
        async with opened(settings) as store:
            entry = await store.enter("bench", uuid.uuid4())
            feeder = Feeder(store, entry, service.wall_ns() - round(HISTORY_S * SECOND_NS), told, [])
            await declare(feeder, process)
            for second in range(round(HISTORY_S)):
                await feeder.take(second)
            child = await stage.start("analytics", "rootdx", "analytics", "--config", str(place / "rootdx.toml"))
            windows = await _run(stage, db, feeder, child, wish)
            late = await _latencies(db, feeder, process)
        await stage.stop()
    if len(late) < MACHINES // 2:
        raise Invalid(f"only {len(late)} cycles closed; give more --seconds")
    figures = [
        Figure(f"analytics: CPU of {MACHINES} machines", windows, "core", TARGET_CORE, "low"),
        Figure("commit to closed cycle, p99", [quantile(late, 0.99)], "s", TARGET_S, "low"),
        Figure("commit to closed cycle, median", [quantile(late, 0.5)], "s"),
        Figure("cycles closed", [float(len(late))], "1"),
    ]
    show(stage.console, f"live cycles, {MACHINES} die-casting cells × 33 tags × 1 Hz", figures)
    return figures


def _sample() -> dict[str, Any]:
    return tomllib.loads((sample_plant() / "dc1.toml").read_text(encoding="utf-8"))


def plant_files(stage: Stage, folder: Path, machines: int = MACHINES) -> list[str]:
    """Writes a plant of so many cells and settings for it; the paths of the cells."""
    (folder / "plant").mkdir()
    (folder / "plant" / "plant.toml").write_text('enterprise = "acme"\nsite = "ansan1"\n')
    sample = _sample()
    for number in range(machines):
        sample["path"] = f"casting/line1/dc{number}"
        (folder / "plant" / f"dc{number:02}.toml").write_text(tomli_w.dumps(sample))
    settings = {"analytics": {"plant": "plant"}, "store": {"dsn": stage.dsn}}
    (folder / "rootdx.toml").write_text(tomli_w.dumps(settings))
    return [f"acme/ansan1/casting/line1/dc{number}" for number in range(machines)]


def said(seconds: int, seed: int) -> list[Batch]:
    """One batch a second, and enough more for a machine that begins later."""
    window = simulated("casting", seconds + MACHINES + 5.0, seed=seed).window
    found = batches(window, 1.0)
    if len(found) < seconds + MACHINES:
        raise Invalid("the simulated rows have gaps")
    return found


async def declare(feeder: Feeder, process: Process) -> None:
    """Tells the store of every machine and its tags."""
    wanted = process.roles()
    for asset, (_, some) in feeder.told.items():
        tags = [{"name": role, "role": role, "unit": "1", "every_s": 1.0} for role in some[0].tags]
        missing = wanted.missing(some[0].tags)
        if missing:
            raise Invalid(f"the simulator lacks {missing}")
        event = Event(asset, DECLARED, feeder.origin_ns, "", data={"name": asset, "process": "casting", "tags": tags})
        key, last = feeder.entry.source_id, feeder.entry.last
        await feeder.store.commit(Commit([Accepted(key, last + 1, 0, 0, [event])], [], {key: last}, {key: last + 1}))
        feeder.entry = replace(feeder.entry, last=last + 1)


async def _run(stage: Stage, db: Db, feeder: Feeder, child: Child, wish: Wish) -> list[float]:
    """CPU of the child in each window, as a share of a core, while rows come at the machines' own pace."""
    second, found = round(HISTORY_S), []
    began = time.monotonic()
    for window in range(wish.repeats + 1):
        length = round(wish.warm_s + 5 if window == 0 else wish.seconds)
        used = child.cpu_s()
        at = time.monotonic()
        for _ in range(length):
            await feeder.take(second)
            second += 1
            with contextlib.suppress(ValueError):
                await asyncio.sleep(max(0.0, began + second - HISTORY_S - time.monotonic()))
        if window:
            found.append((child.cpu_s() - used) / (time.monotonic() - at))
        stage.check()
    await asyncio.sleep(3.0)
    stage.check()
    return found


async def _latencies(db: Db, feeder: Feeder, process: Process) -> list[float]:
    """Of every cycle that closed after the history: s from the commit that decided it to its own."""
    rows = await (await db.execute(
        "SELECT rootdx.us(end_ts) * 1000, extract(epoch FROM computed_at)::float8 FROM rootdx.cycle "
        "WHERE end_ts IS NOT NULL AND version = 1"
    )).fetchall()  # fmt: skip
    moments = np.array([at for at, _ in feeder.committed])
    live_from = feeder.origin_ns + round((HISTORY_S + 10) * SECOND_NS)
    late = []
    for end_ns, computed in rows:
        decided = end_ns + round(process.settle_s * SECOND_NS)
        place = int(np.searchsorted(moments, decided))
        if decided >= live_from and place < len(moments):
            late.append(computed - feeder.committed[place][1])
    return late
