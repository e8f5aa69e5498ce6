"""Hostile clients on the bus and on the board, while a gateway that behaves sends all the time.

    python -m tests.chaos.hostile [--times 20] [--tries 10000] [--seed 1]     or: make torture ARGS="--hostile"

What runs is in hostile_plant.py, what is tried in hostile_bus.py, hostile_crowd.py, hostile_bytes.py and
hostile_board.py. At the end every row of the gateway that behaved is looked up by its witness file: nothing missing,
nothing twice, nothing strange.
"""

import argparse
import asyncio
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos import hostile_board, hostile_bus, hostile_bytes, hostile_crowd
from tests.chaos.hostile_plant import Outcome, Verdict, Yard, settle, yard
from tests.support.report import Row, write_report


async def attacked(place: Yard, arguments: argparse.Namespace, console: Console) -> list[Outcome]:
    """Everything, one after the other; each line is printed as it comes."""
    times, seed, began = arguments.times, arguments.seed, time.monotonic()
    found: list[Outcome] = []
    attempts: tuple[Callable[[], Awaitable[Sequence[Outcome]]], ...] = (
        lambda: hostile_bus.entering(place, min(times, 5)),
        lambda: hostile_bus.listening(place),
        lambda: hostile_bus.forging(place, min(times, 10)),
        lambda: hostile_crowd.crowding(place, arguments.crowd),
        lambda: hostile_bytes.topics(place),
        lambda: hostile_bytes.broken_packets(place, times, seed),
        lambda: hostile_bytes.broken_records(place, times * 5, seed),
        lambda: hostile_board.texts(place, with_browser=not arguments.no_browser),
        lambda: hostile_board.guessing(place, arguments.tries),
        lambda: hostile_bytes.single(place),
    )
    for attempt in attempts:
        for one in await attempt():
            found.append(one)
            mark = "[green]held[/]" if one.held else "[bold red]NOT HELD[/]"
            said = f"{one.area}: {one.attempt} ×{one.times}: {one.outcome}; {one.counted}"
            console.print(f"{time.monotonic() - began:4.0f} s {said} {mark}", markup=True)
    return found


async def main(arguments: argparse.Namespace) -> tuple[list[Outcome], Verdict]:
    """One run; the figures go to build/torture-hostile.json."""
    console = Console(width=None if sys.stdout.isatty() else 180)
    folder = Path(tempfile.mkdtemp(prefix="rootdx-hostile-"))
    folder.chmod(0o711)
    began = time.monotonic()
    # The bus library writes on sockets that a broker which refuses us has closed, and complains of it.
    logging.getLogger("mqtt").setLevel(logging.CRITICAL)
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    try:
        async with yard(folder) as place:
            outcomes = await attacked(place, arguments, console)
            verdict = await settle(place)
    finally:
        if arguments.keep:
            console.print(f"kept {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    console.print(table_of(outcomes))
    console.print(
        f"{time.monotonic() - began:.0f} s; gateway that behaved: {verdict.witnessed:,} numbers witnessed, "
        f"missing {verdict.missing}, twice {verdict.twice}, strange {verdict.strange}"
    )
    console.print(f"figures in {write_report('torture-hostile', rows_of(outcomes, verdict), arguments.report)}")
    return outcomes, verdict


def table_of(outcomes: Sequence[Outcome]) -> Table:
    """For people."""
    table = Table(title="hostile clients")
    for name in ("where", "attempt", "times", "outcome", "counted"):
        table.add_column(name)
    for one in outcomes:
        style = "" if one.held else "red"
        table.add_row(one.area, one.attempt, str(one.times), one.outcome, one.counted, style=style)
    return table


def rows_of(outcomes: Sequence[Outcome], verdict: Verdict) -> list[Row]:
    """For build/torture-hostile.json: 1 is held."""
    rows = [
        Row(f"{one.area}: {one.attempt}: held", int(one.held), "1", 1, one.outcome, one.counted or None)
        for one in outcomes
    ]
    for name in ("witnessed", "missing", "twice", "strange"):
        count = int(getattr(verdict, name))
        rows.append(Row(f"gateway that behaved: {name}", count, "rows", None if name == "witnessed" else 0, None, None))
    return rows


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """From the command line."""
    parser = argparse.ArgumentParser(prog="make torture ARGS=--hostile", description=__doc__)
    parser.add_argument("--hostile", action="store_true", help="this menu")
    parser.add_argument("--times", type=int, default=20, help="how often each is tried (default 20)")
    parser.add_argument("--tries", type=int, default=10_000, help="of signing in (default 10,000)")
    parser.add_argument("--crowd", type=int, default=5_000, help="connections at once (default 5,000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-browser", action="store_true", help="leave out the pages in Chromium")
    parser.add_argument("--report", type=Path, help="file for the figures (default build/torture-hostile.json)")
    parser.add_argument("--keep", action="store_true", help="leave logs, spool and database behind")
    return parser.parse_args(given)


def entry() -> int:
    """What a person asked for; 1 when something did not hold."""
    outcomes, verdict = asyncio.run(main(arguments()))
    return 0 if all(one.held for one in outcomes) and not (verdict.missing or verdict.twice or verdict.strange) else 1


if __name__ == "__main__":
    raise SystemExit(entry())
