"""Everything that goes wrong between a machine and its gateway, protocol by protocol.

    make torture ARGS="--protocols [--times 100] [--only opcua]"

Each fault has a collector of its own on a device of its own (Modbus: modbus-serial from npm and a raw server; OPC UA:
node-opcua and asyncua; Sparkplug: sparkplug-client from npm; MQTT: the embedded broker) and a spool in memory. After
each injection it is timed how long it takes, from the device being back, until a good row is in the spool; at the end
no task may be left, and Σ expected = Σ stored + Σ missing by cause.
"""

import argparse
import asyncio
import logging
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.chaos import faults_modbus, faults_mqtt, faults_opcua
from tests.chaos.watched import RECOVER_S, Outcome
from tests.support.report import Row, write_report

Trial = Callable[[int, Path], Awaitable[Outcome]]
MENU: Final[dict[str, Sequence[Trial]]] = {
    "modbus": faults_modbus.ALL,
    "opcua": faults_opcua.ALL,
    "mqtt": faults_mqtt.ALL,
}
_FEW: Final = 10
"""Injections of a fault that is not said to be a hundred."""


async def main(arguments: argparse.Namespace) -> int:
    console = Console(width=None if sys.stdout.isatty() else 150)
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)
    outcomes: list[Outcome] = []
    for protocol in arguments.only:
        for trial in MENU[protocol]:
            outcomes.append(await run(trial, arguments.times))
            said = outcomes[-1]
            worst = f"{max(said.recovered_s):.2f} s" if said.recovered_s else ""
            console.print(f"{said.protocol}: {said.fault}: {worst} {'; '.join(said.leaked)}")
    console.print(table_of(outcomes))
    file = write_report("torture-protocols", rows_of(outcomes), arguments.report)
    console.print(f"figures in {file}")
    return 0


async def run(trial: Trial, times: int) -> Outcome:
    """One fault; `times` for restarts, at most ten for what takes its time."""
    folder = Path(tempfile.mkdtemp(prefix="rootdx-torture-"))
    folder.chmod(0o711)
    try:
        return await trial(times if trial.__name__ == "restarted" else min(times, _FEW), folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def table_of(outcomes: Sequence[Outcome]) -> Table:
    table = Table(title="faults by protocol")
    for column in ("protocol", "fault"):
        table.add_column(column)
    for column in ("n", "back p50 s", "max s", "rows", "missing by cause", "Σ difference", "leaked"):
        table.add_column(column, justify="right")
    table.add_column("remark")
    for one in outcomes:
        middle, worst = _extremes(one.recovered_s)
        missing = ", ".join(f"{cause} {count:,}" for cause, count in one.missing.items())
        remark = one.remark
        if one.noticed_s:
            remark = f"{max(one.noticed_s):.3f} s, wanted ≤ {one.noticed_most_s:g} s; {remark}"
        cells = (str(len(one.recovered_s)), middle, worst, f"{one.rows:,}", missing, str(one.difference))
        slow = any(took > RECOVER_S for took in one.recovered_s)
        late = any(took > one.noticed_most_s for took in one.noticed_s)
        bad = slow or late or one.difference or one.leaked or one.misplaced
        remark += f"; {one.misplaced} good rows at a wrong time" if one.misplaced else ""
        table.add_row(one.protocol, one.fault, *cells, str(len(one.leaked)), remark, style="red" if bad else "")
    return table


def _extremes(times: Sequence[float]) -> tuple[str, str]:
    return (f"{statistics.median(times):.2f}", f"{max(times):.2f}") if times else ("", "")


def rows_of(outcomes: Sequence[Outcome]) -> list[Row]:
    rows: list[Row] = []
    for one in outcomes:
        name = f"{one.protocol}, {one.fault}"
        if one.recovered_s:
            middle, worst = statistics.median(one.recovered_s), max(one.recovered_s)
            rows.append(Row(f"{name}: data again, p50", round(middle, 3), "s", None, None, None))
            rows.append(Row(f"{name}: data again, max", round(worst, 3), "s", f"≤ {RECOVER_S:g}", None, None))
        if one.noticed_s:
            most = round(max(one.noticed_s), 4)
            rows.append(Row(f"{name}: {one.remark}", most, "s", f"≤ {one.noticed_most_s:g}", None, None))
        rows.append(Row(f"{name}: expected - stored - missing", one.difference, "rows", 0, 0, None))
        if one.near_s:
            rows.append(Row(f"{name}: good rows more than {one.near_s:g} s off", one.misplaced, "rows", 0, 0, None))
        rows.append(Row(f"{name}: tasks leaked", len(one.leaked), "1", 0, 0, None))
    return rows


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make torture ARGS=--protocols", description=__doc__)
    parser.add_argument("--protocols", action="store_true", help="this menu")
    parser.add_argument("--times", type=int, default=100, help="restarts of each server (default 100)")
    parser.add_argument("--only", nargs="+", choices=list(MENU), default=list(MENU))
    parser.add_argument("--report", type=Path, help="file for the figures (default build/torture-protocols.json)")
    return parser.parse_args()


def entry() -> int:
    """What a person asked for; the exit code is 0 whatever the figures are."""
    began = time.monotonic()
    code = asyncio.run(main(_arguments()))
    print(f"{time.monotonic() - began:.0f} s")
    return code


if __name__ == "__main__":
    raise SystemExit(entry())
