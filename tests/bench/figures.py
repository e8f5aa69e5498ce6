"""Figures: medians with their spread, printed and kept in one shape."""

import pstats
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from tests.bench.stage import Invalid
from tests.support.report import Row


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of one measurement.

    Attributes:
        name: what was measured.
        samples: one a repeat.
        unit: UCUM or a plain word.
        target: what we want, None where it only explains.
        better: which side of the target is good.
        limit: the bound, measured in the same run where it can be.
        peer: what a user would pick instead.
    """

    name: str
    samples: Sequence[float]
    unit: str
    target: float | None = None
    better: Literal["high", "low"] = "high"
    limit: float | str | None = None
    peer: str | None = None

    @property
    def median(self) -> float:
        """Over the repeats."""
        return statistics.median(self.samples)

    @property
    def met(self) -> bool:
        """Whether the target is reached; true where there is none."""
        if self.target is None:
            return True
        return self.median >= self.target if self.better == "high" else self.median <= self.target

    def rows(self) -> list[Row]:
        """The median, and the spread where there is one."""
        sign = "≥" if self.better == "high" else "≤"
        target = None if self.target is None else f"{sign} {shown(self.target)}"
        found = [Row(self.name, _rounded(self.median), self.unit, target, self.limit, self.peer)]
        if len(self.samples) > 1:
            for word, value in (("min", min(self.samples)), ("max", max(self.samples))):
                found.append(
                    Row(f"{self.name}, {word} of {len(self.samples)}", _rounded(value), self.unit, None, None, None)
                )
        return found


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


def shown(value: float) -> str:
    """Three figures that count, thousands apart.

    >>> [shown(v) for v in (1234567.0, 482.31, 0.82345, 4.0)]
    ['1,234,567', '482', '0.823', '4']
    """
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def show(console: Console, title: str, figures: Sequence[Figure]) -> None:
    """The figures as a table, and a sentence for every target missed."""
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("figure", overflow="fold")
    for column in ("median", "min..max", "n"):
        table.add_column(column, justify="right", no_wrap=True)
    for column in ("unit", "target", "limit", "peer"):
        table.add_column(column, overflow="fold")
    for one in figures:
        spread = "" if len(one.samples) < 2 else f"{shown(min(one.samples))}..{shown(max(one.samples))}"
        target = "" if one.target is None else str(one.rows()[0].target)
        style = "green" if one.target is not None and one.met else "" if one.met else "red"
        limit = one.limit if isinstance(one.limit, str) or one.limit is None else shown(one.limit)
        cells = (
            one.name,
            shown(one.median),
            spread,
            str(len(one.samples)),
            one.unit,
            target,
            limit or "",
            one.peer or "",
        )
        table.add_row(*cells, style=style)
    console.print(table)
    for one in figures:
        if not one.met:
            console.print(f"target missed: {one.name}: {shown(one.median)} {one.unit}, wanted {one.rows()[0].target}")


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that is not exceeded by `share` of all.

    Raises:
        Invalid: fewer than twenty.
    """
    if len(values) < 20:
        raise Invalid(f"{len(values)} samples are too few for a quantile")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Theil-Sen: the median of the slopes between every two points.

    >>> slope([0, 1, 2, 3], [5, 7, 9, 100])
    2.0
    """
    each = [(v2 - v1) / (t2 - t1) for (t1, v1), (t2, v2) in combinations(zip(times, values, strict=True), 2)]
    return statistics.median_low(each)


def show_profile(console: Console, title: str, file: Path, most: int = 12) -> None:
    """Where a process spent its time: the functions with the most time of their own."""
    stats = pstats.Stats(str(file)).stats  # type: ignore[attr-defined]  # there, but not in the stubs
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in ("function", "calls", "own s", "with callees s"):
        table.add_column(column, justify="left" if column == "function" else "right")
    ranked = sorted(stats.items(), key=lambda item: -item[1][2])
    for (path, line, function), (_, calls, own, cumulative, _) in ranked[:most]:
        where = function if path == "~" else f"{'/'.join(Path(path).parts[-2:])}:{line} {function}"
        table.add_row(where, f"{calls:,}", f"{own:.3f}", f"{cumulative:.3f}")
    console.print(table)
