"""Many cycles in few tables: the range of every feature that was judged, charts over the cycles, every value small.

* From the sealed content alone. A lot of three hundred shots is read on two pages, and kept whole in the appendix.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from rootdx.alarm_text import name_of
from rootdx.paper import plots
from rootdx.paper.plots import Run
from rootdx.paper.sheet import Block, Grid, Head, Picture, Said, judged, plain, unit_of
from rootdx.record_text import heads_of, limit_of, time_of
from rootdx.terminal import number
from rootdx.texts import say

CHARTS: Final = 8
"""So many features over cycles."""
COLUMNS: Final = 7
"""So many values in a line."""


def together(cycles: Sequence[Mapping[str, Any]]) -> Iterator[Block]:
    """Of many cycles the range of every feature that was judged, and charts of those."""
    runs = _runs(cycles)
    heads = [
        Head(text, number=place in range(2, 9))
        for place, text in enumerate(
            heads_of("feature", "unit", "low", "high", "values", "lowest", "mean", "highest", "outside", "verdict")
        )
    ]
    yield Grid(
        say("paper.record.summary", count=len(cycles)), heads, [_summary(name, *some) for name, some in runs.items()]
    )
    verdicts = [one["verdict"] for one in cycles]
    counts = [[judged(verdict), plain(verdicts.count(verdict))] for verdict in sorted(set(filter(None, verdicts)))]
    if counts:
        yield Grid(
            say("paper.record.verdicts"), [Head(say("column.verdict")), Head(say("column.cycles"), number=True)], counts
        )
    shown = sorted(runs, key=lambda name: not runs[name][1].bad.any())[:CHARTS]
    if shown:
        svg = plots.over_cycles([runs[name][1] for name in shown], say("paper.axis.cycle"))
        notes = [say("paper.record.limit_lines")]
        if len(runs) > len(shown):
            notes.append(say("paper.record.more_charts", count=len(runs) - len(shown)))
        yield Picture(say("paper.record.run"), svg, ", ".join(feature_of(name) for name in shown), notes)


def _runs(cycles: Sequence[Mapping[str, Any]]) -> dict[str, tuple[list[dict[str, Any]], Run]]:
    """Every feature that was judged in one of the cycles: what is said of it, and its values in order."""
    names = dict.fromkeys(one["name"] for cycle in cycles for one in cycle["features"] if one["verdict"] is not None)
    found = {}
    by_name = [{one["name"]: one for one in cycle["features"]} for cycle in cycles]
    for name in names:
        some = [cycle.get(name, {}) for cycle in by_name]
        value, low, high = (
            np.array([np.nan if one.get(key) is None else one[key] for one in some], dtype=np.float64)
            for key in ("value", "low", "high")
        )
        bad = np.array([one.get("verdict") == "fail" for one in some], dtype=np.bool_)
        unit = next((one["unit"] for one in some if one), "")
        found[name] = (
            [one for one in some if one],
            Run(f"{feature_of(name)} [{unit_of(unit)}]".removesuffix(" []"), value, low, high, bad),
        )
    return found


def _summary(name: str, some: Sequence[Mapping[str, Any]], run: Run) -> list[Said]:
    known = run.value[np.isfinite(run.value)]
    numbers = [number(float(one)) for one in (known.min(), known.mean(), known.max())] if len(known) else ["–"] * 3
    limits = [_limits([one[side] for one in some]) for side in ("low", "high")]
    outside = int(run.bad.sum())
    lacking = sum(one["verdict"] in ("incomplete", "review") for one in some)
    worst = "fail" if outside else "incomplete" if lacking else "pass"
    return [
        Said(feature_of(name)), Said(unit_of(some[0]["unit"])), *(Said(one) for one in limits), plain(len(known)),
        *(Said(one) for one in numbers), Said(str(outside), "bad" if outside else ""), judged(worst),
    ]  # fmt: skip


def _limits(values: Sequence[float | None]) -> str:
    """The limits in force; more than one where they changed."""
    return ", ".join(dict.fromkeys(limit_of(value) for value in values if value is not None))


def feature_of(name: str) -> str:
    """A feature as people call it, with its name."""
    told = name_of("feature", name)
    return name if told == name else f"{told} ({name})"


def values(cycles: Sequence[Mapping[str, Any]], zone: ZoneInfo) -> Iterator[Block]:
    """Every judged value of many cycles, a line a cycle, so many columns as a page has room for."""
    names = list(_runs(cycles))
    for first in range(0, len(names), COLUMNS):
        some = names[first : first + COLUMNS]
        rows = []
        for cycle in cycles:
            by_name = {one["name"]: one for one in cycle["features"]}
            cells = [_value(by_name.get(name)) for name in some]
            rows.append([Said(time_of(cycle["start"], zone)), *cells])
        heads = [Head(say("column.start")), *(Head(feature_of(name), number=True) for name in some)]
        yield Grid(say("paper.record.values"), heads, rows, small=True)


def _value(one: Mapping[str, Any] | None) -> Said:
    if one is None or one["value"] is None:
        return Said("–")
    return Said(number(one["value"]), "bad" if one["verdict"] == "fail" else "")
