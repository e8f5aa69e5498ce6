"""The board with fifty browsers at once: CPU of its process, latency of its answers, delay of its live values.

* Twenty die-casting cells of 33 tags at 1 Hz, committed by the store's own code once a second; analytics and board are
  processes of their own, as the demo starts them.
* Each browser watches the plant and one machine by server-sent events; together they ask ten times a second for what
  pages ask for. The answer that needs no plant (`/health`, one round trip to the database) is the limit.
* Delay runs from the commit of a row to its value in a browser; the board looks once a second.
"""

import asyncio
import contextlib
import json
import time
import tomllib
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import tomli_w

from analytics.processes.casting import HpdcShot
from analytics.window import SECOND_NS
from pipeline import service
from pipeline.settings import StoreSettings
from pipeline.store import opened
from rootdx.demo import sample_plant
from rootdx.embedded import free_port
from tests.bench.figures import Figure, quantile, show
from tests.bench.live_cycles import Feeder, declare, plant_files, said
from tests.bench.stage import Child, Invalid, Stage, Wish, looking

MACHINES, CLIENTS, HISTORY_S = 20, 50, 300.0
TARGET_CORE, TARGET_MS, TARGET_S = 0.5, 200.0, 2.0
ASKS_PER_S: Final = 10.0


@dataclass(slots=True)
class _Heard:
    """What the browsers saw."""

    answers: dict[str, list[float]] = field(default_factory=dict)
    events: int = 0
    delays: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


async def measure(stage: Stage, wish: Wish) -> list[Figure]:
    """The figures; prints them."""
    async with looking(stage) as db:
        await stage.empty(db)
        place, port = stage.place("board"), free_port()
        assets = plant_files(stage, place, MACHINES)
        _settings(stage, place, port)
        seconds = round(HISTORY_S + wish.warm_s + wish.repeats * wish.seconds) + 20
        pieces = {asset: said(seconds, seed) for seed, asset in enumerate(assets[:5], 1)}
        told = {asset: (number, pieces[assets[number % 5]]) for number, asset in enumerate(assets)}
        async with opened(StoreSettings(dsn=stage.dsn)) as store:
            entry = await store.enter("bench", uuid.uuid4())
            feeder = Feeder(store, entry, service.wall_ns() - round(HISTORY_S * SECOND_NS), told, [])
            await declare(feeder, HpdcShot.model_validate(_sample()["cycle"][0]))
            for second in range(round(HISTORY_S)):
                await feeder.take(second)
            config = str(place / "rootdx.toml")
            await stage.start("analytics", "rootdx", "analytics", "--config", config)
            child = await stage.start("board", "rootdx", "board", "--config", config)
            await child.hears("listens")
            heard = _Heard()
            busy = await _watched(stage, feeder, child, wish, heard, f"http://127.0.0.1:{port}/api/v1", assets)
            size = child.rss_mb()
        await stage.stop()
    return _figures(stage, busy, size, heard)


def _figures(stage: Stage, busy: list[float], size: float, heard: _Heard) -> list[Figure]:
    if heard.wrong:
        raise Invalid(f"{len(heard.wrong)} answers were none: {heard.wrong[0]}")
    pages = [one for path, some in heard.answers.items() if path != "/health" for one in some]
    limit = quantile(heard.answers["/health"], 0.5)
    slowest = max(heard.answers, key=lambda path: quantile(heard.answers[path], 0.5))
    figures = [
        Figure(f"board: CPU with {CLIENTS} browsers", busy, "core", TARGET_CORE, "low"),
        Figure("answers, p99", [quantile(pages, 0.99)], "ms", TARGET_MS, "low", limit=round(limit, 1)),
        Figure("answers, median", [quantile(pages, 0.5)], "ms", limit=round(limit, 1)),
        Figure(f"slowest kind of answer, median: {slowest}", [quantile(heard.answers[slowest], 0.5)], "ms"),
        Figure("commit of a row to its value in a browser, p99", [quantile(heard.delays, 0.99)], "s", TARGET_S, "low"),
        Figure("live events heard", [float(heard.events)], "1"),
        Figure("board: memory", [size], "MB"),
    ]
    show(stage.console, f"board, {MACHINES} cells × 33 tags × 1 Hz, {CLIENTS} browsers", figures)
    return figures


def _settings(stage: Stage, place: Path, port: int) -> None:
    board = {"plant": "plant", "port": port, "sign_in": False}
    whole = {"analytics": {"plant": "plant"}, "store": {"dsn": stage.dsn}, "board": board}
    (place / "rootdx.toml").write_text(tomli_w.dumps(whole))


def _sample() -> dict[str, Any]:
    return tomllib.loads((sample_plant() / "dc1.toml").read_text(encoding="utf-8"))


async def _watched(  # noqa: PLR0917  # called once
    stage: Stage, feeder: Feeder, child: Child, wish: Wish, heard: _Heard, url: str, assets: list[str]
) -> list[float]:
    """CPU of the board in each window, as a share of a core, while browsers watch and rows come."""
    found: list[float] = []
    limits = httpx.Limits(max_connections=CLIENTS + 20)
    async with httpx.AsyncClient(base_url=url, timeout=30, limits=limits) as web, asyncio.TaskGroup() as tasks:
        watching = [tasks.create_task(_watch(web, assets[n % MACHINES], feeder, heard)) for n in range(CLIENTS)]
        asking = tasks.create_task(_ask(web, assets, heard))
        second, began = round(HISTORY_S), time.monotonic()
        for window in range(wish.repeats + 1):
            length = round(wish.warm_s + 5 if window == 0 else wish.seconds)
            used, at = child.cpu_s(), time.monotonic()
            for _ in range(length):
                await feeder.take(second)
                second += 1
                with contextlib.suppress(ValueError):
                    await asyncio.sleep(max(0.0, began + second - HISTORY_S - time.monotonic()))
            if window:
                found.append((child.cpu_s() - used) / (time.monotonic() - at))
            stage.check()
        for task in (*watching, asking):
            task.cancel()
    return found


async def _watch(web: httpx.AsyncClient, machine: str, feeder: Feeder, heard: _Heard) -> None:
    """One browser."""
    seen = 0
    async with web.stream("GET", "/live", params={"machine": machine}, timeout=None) as stream:
        async for line in stream.aiter_lines():
            if not line.startswith("data: "):
                continue
            heard.events += 1
            data = json.loads(line[6:])
            newest = max((one["t_ms"] for one in data.get("values", {}).values()), default=0)
            if newest <= seen:
                continue
            when = next((when for at_ns, when in feeder.committed[-30:] if at_ns >= newest * 1_000_000), None)
            if seen and when is not None:
                heard.delays.append(max(0.0, time.time() - when))
            seen = newest


async def _ask(web: httpx.AsyncClient, assets: list[str], heard: _Heard) -> None:
    """What people click, all of them together, and the limit."""
    number = 0
    while True:
        machine = assets[number % len(assets)]
        now = round(time.time() * 1000)
        asks: list[tuple[str, dict[str, Any]]] = [
            ("/health", {}), ("/overview", {}), ("/alarms", {}), ("/cycles", {"machine": machine}),
            ("/trend", {"machine": machine, "tag": ["metal.temp", "die.temp_fix1"], "from_ms": now - 300_000,
                        "to_ms": now}),
            ("/curves", {"machine": machine, "kind": "hpdc_shot", "tag": "metal.temp"}),
            ("/cycle-features", {"machine": machine, "kind": "hpdc_shot"}), ("/kpis", {}),
            ("/tags", {"machine": machine}),
        ]  # fmt: skip
        path, params = asks[number % len(asks)]
        began = time.perf_counter()
        answer = await web.get(path, params=params)
        heard.answers.setdefault(path, []).append((time.perf_counter() - began) * 1000)
        if answer.status_code != 200:
            heard.wrong.append(f"{path}: {answer.status_code} {answer.text[:200]}")
        number += 1
        await asyncio.sleep(max(0.0, 1 / ASKS_PER_S - (time.perf_counter() - began)))
