"""How well faults are found on data that nobody here made: `make bench-detection`.

    make bench-detection ARGS="nab --data /somewhere/else"

Each benchmark is scored by its own rules, on every file of its folder, with the settings that are committed. The rows
null, random and always stand beside ours in every report. The figures go to build/detection.json. Exit code 0 also
where a target is missed (the table says so), and where there is no data at all.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.detection import kamp_injection, kamp_rheocasting, nab, simulators, skab, tep
from tests.bench.detection.report import Report
from tests.support.report import ROOT, Row, write_report

Measurement = Callable[[Path], list[Report]]
ALL: dict[str, Measurement] = {
    "nab": nab.measure,
    "skab": skab.measure,
    "tep": tep.measure,
    "kamp_rheocasting": kamp_rheocasting.measure,
    "kamp_injection": kamp_injection.measure,
    "simulators": simulators.measure,
}
MADE = ("simulators",)
"""What makes its data itself, which takes an hour the first time: only when it is named."""
DATA = "ROOTDX_DATA"
BESIDE = ROOT.parent / "shared" / "data"
"""Where the data lie when nobody says."""
WIDTH = 170
"""Of the tables where nobody looks on."""
MOST_COLUMNS = 8
"""Figures a line; with more of them each has a line of its own."""


def main(asked: argparse.Namespace, console: Console) -> int:
    data = Path(asked.data)
    if not data.is_dir() and not set(asked.names) & set(MADE):
        console.print(f"no data: {data} is not a folder; name one with --data DIR or {DATA}", markup=False)
        return 0
    reports: list[Report] = []
    for name in asked.names or [name for name in ALL if name not in MADE]:
        if name not in MADE and not (data / name).is_dir():
            console.print(f"{name}: no folder {data / name}, left out", markup=False)
            continue
        found = ALL[name](data)
        for report in found:
            show(console, report)
        reports += found
    file = write_report("detection", [row for report in reports for row in rows_of(report)])
    console.print(f"{len(reports)} reports; {file}", markup=False)
    return 0


def show(console: Console, report: Report) -> None:
    """One table: a method a line and a figure a column; the other way round where there are many figures."""
    table = Table(title=f"{report.benchmark}: {report.data}, {report.seconds:.1f} s of CPU", title_justify="left")
    names = list(dict.fromkeys(name for row in report.rows for name in row.figures))
    cell = {(row.method, name): _number(value) for row in report.rows for name, value in row.figures.items()}
    methods = [row.method for row in report.rows]
    if len(names) > MOST_COLUMNS:
        table.add_column("figure")
        for title in [*methods, "target"]:
            table.add_column(title, justify="right")
        for name in names:
            table.add_row(name, *(cell.get((method, name), "") for method in methods), report.targets.get(name, ""))
    else:
        table.add_column("method")
        for name in names:
            target = f"\n{report.targets[name]}" if name in report.targets else ""
            table.add_column(f"{name}{target}", justify="right")
        for method in methods:
            table.add_row(method, *(cell.get((method, name), "") for name in names))
    console.print(table)
    for note in report.notes:
        console.print(f"  {note}", markup=False)
    if report.settings:
        console.print(f"  settings: {dict(report.settings)}\n", markup=False)


def _number(value: float) -> str:
    return (
        f"{value:,.0f}"
        if abs(value) >= 1000 or value == int(value)
        else f"{value:.3g}"
        if abs(value) < 1
        else f"{value:.1f}"
    )


def rows_of(report: Report) -> list[Row]:
    """The figures in the shape of every other bench report."""
    return [
        Row(
            name=f"{report.benchmark}: {row.method}: {name}",
            value=value if abs(value) < float("inf") else None,
            unit="1",
            target=report.targets.get(name),
            limit=None,
            peer=None,
        )
        for row in report.rows
        for name, value in row.figures.items()
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-detection", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *ALL], metavar="NAME", help=", ".join(ALL))
    parser.add_argument("--data", default=os.environ.get(DATA, str(BESIDE)), help=f"folder of the data sets; {DATA}")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main(arguments(), Console(width=None if sys.stdout.isatty() else WIDTH)))
