"""Honest figures, beside their targets, limits and peers.

    make bench ARGS="--only spool_to_store latency --repeats 5"

Exit code 0 when every measurement is valid, also where a figure misses its target (it says so, and why); 1 when a
measurement is not: rows missing or doubled, a process that died, too few samples.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
from rich.console import Console

from tests.bench import (
    board,
    databases,
    detector_speed,
    frames,
    gateway_cpu,
    gateway_hour,
    grafana,
    joint_speed,
    latency,
    live_cycles,
    memory,
    modbus_rate,
    opcua_rate,
    outage,
    restore,
    sizing,
    sparkplug_rate,
    spool_to_store,
    upgrade,
    writers,
    year,
)
from tests.bench.figures import Figure
from tests.bench.stage import Invalid, Stage, Wish, staged
from tests.support.report import write_report

Measurement = Callable[[Stage, Wish], Awaitable[list[Figure]]]
ALL: dict[str, Measurement] = {
    "spool_to_store": spool_to_store.measure,
    "latency": latency.measure,
    "gateway_cpu": gateway_cpu.measure,
    "outage": outage.measure,
    "memory": memory.measure,
    "live_cycles": live_cycles.measure,
    "year": year.measure,
    "detector_speed": detector_speed.measure,
    "joint_speed": joint_speed.measure,
    "frames": frames.measure,
    "grafana": grafana.measure,
    "board": board.measure,
    "modbus_rate": modbus_rate.measure,
    "opcua_rate": opcua_rate.measure,
    "sparkplug_rate": sparkplug_rate.measure,
    "gateway_hour": gateway_hour.measure,
    "upgrade": upgrade.measure,
    "restore": restore.measure,
    "sizing": sizing.measure,
    "databases": databases.measure,
    "writers": writers.measure,
}
LONG = ("gateway_hour", "upgrade", "restore", "sizing", "databases", "writers")
"""Only when asked for by name."""
ELSEWHERE = ("spool_to_store", "outage")
"""Also measured on the server of --dsn."""
WIDTH = 150
"""Of the tables where nobody looks on."""
DSN = "ROOTDX_BENCH_DSN"


async def main(asked: argparse.Namespace, console: Console) -> int:
    wish = Wish(
        asked.repeats,
        asked.rows,
        asked.seconds,
        asked.hours,
        asked.minutes,
        spool=asked.spool,
        flash=(asked.flash[0], asked.flash[1], asked.flash[2], asked.flash[3]),
    )
    figures: list[Figure] = []
    wrong: list[str] = []
    busy = ", ".join(f"{load:.2f}" for load in os.getloadavg())
    console.print(f"{psutil.cpu_count()} cores, load average {busy} before the first measurement")
    places = [(None, tuple(asked.only))]
    if asked.dsn:
        places.append((asked.dsn, tuple(name for name in asked.only if name in ELSEWHERE)))
    for dsn, names in places:
        if names:
            found, bad = await _measure_at(dsn, names, wish, console)
            figures += found
            wrong += bad
    file = write_report("bench", [row for figure in figures for row in figure.rows()])
    missed = sum(1 for figure in figures if not figure.met)
    console.print(f"{len(figures)} figures, {missed} miss their target, {len(wrong)} measurements invalid; {file.name}")
    for line in wrong:
        console.print(f"INVALID {line}", markup=False)
    return 1 if wrong else 0


async def _measure_at(
    dsn: str | None, names: tuple[str, ...], wish: Wish, console: Console
) -> tuple[list[Figure], list[str]]:
    figures: list[Figure] = []
    wrong: list[str] = []
    async with staged(console, dsn) as stage:
        console.print(f"database: {stage.server}{', embedded, its default settings' if stage.embedded else ''}")
        for name in names:
            try:
                figures += await ALL[name](stage, wish)
            except Invalid as error:
                wrong.append(f"{name} on {stage.server}: {error}")
                console.print(f"INVALID {wrong[-1]}", markup=False)
                await stage.stop()
    return figures, wrong


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    usual = [name for name in ALL if name not in LONG]
    parser.add_argument("--only", nargs="+", choices=list(ALL), default=usual, metavar="NAME", help=", ".join(ALL))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", type=int, help="in the spool of spool_to_store (2 M), of upgrade and restore (10 M)")
    parser.add_argument("--seconds", type=float, default=20.0, help="a window of latency and gateway_cpu")
    parser.add_argument("--hours", type=float, default=8.0, help="of outage")
    parser.add_argument("--minutes", type=float, help="of memory (3) and gateway_hour (60)")
    parser.add_argument("--spool", type=Path, metavar="DIR", help="of gateway_hour, best on a file system of its own")
    flash = ("GB", "CYCLES", "WA_LOW", "WA_HIGH")
    parser.add_argument(
        "--flash", nargs=4, type=float, metavar=flash, default=Wish().flash, help="of gateway_hour, assumed"
    )
    parser.add_argument(
        "--dsn", default=os.environ.get(DSN), help=f"administrator's DSN of a TimescaleDB server; {DSN}"
    )
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main(arguments(), Console(width=None if sys.stdout.isatty() else WIDTH))))
