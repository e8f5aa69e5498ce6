"""Charts of papers as SVG: signals over time with phases and limits, features over cycles, bars, load profiles.

* Letters are drawn as shapes of our own font, so a chart looks the same everywhere and needs no font.
* Names are never read as formulas, whatever stands in them.
* Many points are drawn as the lowest and the highest of each stretch, so that no peak is lost.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from threading import Lock
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
from matplotlib import dates, font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from analytics.result import Bools, Floats
from rootdx.paper.press import FAMILY, FONTS, printable

WIDTH_IN: Final = 7.1
POINTS: Final = 1200
"""Points of a line at most."""
FAINT_POINTS: Final = 300
"""Of one of many lines over each other."""
COLOURS: Final = ("#1f5fa8", "#d1621b", "#2b8a57", "#8d4bb3", "#a8852a", "#2a9db0", "#b03a6b", "#58616b")
LIMIT: Final = "#b00020"
_SHADES: Final = ("#eef3f9", "#f8f3e9")
_DRAWING: Final = Lock()
"""Matplotlib does not promise to be used by two threads at once."""


@dataclass(frozen=True, slots=True)
class Line:
    """A signal: `x` in the unit of the chart (days since 1970 or s), `y` in that of its panel; NaN is a gap."""

    name: str
    x: Floats
    y: Floats
    dashed: bool = False
    faint: bool = False
    bad: bool = False


@dataclass(frozen=True, slots=True)
class Border:
    """A limit over a part of the axis: NaN ends are those of the axis."""

    value: float
    first: float = np.nan
    last: float = np.nan


@dataclass(frozen=True, slots=True)
class Panel:
    """Signals of one unit above the common axis; `span` is what of their axis is shown, None: all."""

    unit: str
    lines: Sequence[Line]
    borders: Sequence[Border] = ()
    span: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Shade:
    """A phase."""

    name: str
    first: float
    last: float


@dataclass(frozen=True, slots=True)
class Run:
    """A feature over cycles: `value` (n,), NaN where there is none, limits (n,), NaN where there are none."""

    name: str
    value: Floats
    low: Floats
    high: Floats
    bad: Bools


@dataclass(frozen=True, slots=True)
class Stack:
    """One part of stacked bars: `value` (n,), a bar each."""

    name: str
    value: Floats


def days(ts_ns: "Floats | np.ndarray[Any, np.dtype[np.int64]]") -> Floats:
    """Times as the axis has them: days since 1970."""
    return np.asarray(ts_ns, dtype=np.float64) / 86_400e9


def reduced(x: Floats, y: Floats, points: int = POINTS) -> tuple[Floats, Floats]:
    """At most about so many points: of each stretch the lowest and the highest, in their order.

    >>> x, y = reduced(np.arange(10.0), np.array([0, 0, 9, 0, 0, 0, -9, 0, 0, 0.0]), 4)
    >>> float(y.max()), float(y.min()), len(y)
    (9.0, -9.0, 4)
    """
    if len(y) <= points:
        return x, y
    cuts = np.linspace(0, len(y), points // 2 + 1).astype(np.int64)
    kept: list[int] = []
    for first, last in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
        part = y[first:last]
        if np.isnan(part).all():
            kept.append(first)
            continue
        kept += sorted({first + int(np.nanargmin(part)), first + int(np.nanargmax(part))})
    return x[kept], y[kept]


def over_time(panels: Sequence[Panel], shades: Sequence[Shade], zone: ZoneInfo) -> str:
    """Panels above one axis of time, in days since 1970, told in a zone."""
    return _drawn(lambda: _strips(panels, shades, zone))


def over_seconds(panels: Sequence[Panel], shades: Sequence[Shade], label: str) -> str:
    """Panels above one axis in seconds."""
    return _drawn(lambda: _strips(panels, shades, None, label))


def over_cycles(runs: Sequence[Run], label: str) -> str:
    """Features over cycles, two charts a line; what is outside its limits is marked."""
    return _drawn(lambda: _runs(runs, label))


def bars(names: Sequence[str], stacks: Sequence[Stack], label: str) -> str:
    """Stacked bars lying down, one a name."""
    return _drawn(lambda: _bars(names, stacks, label))


def columns(names: Sequence[str], stacks: Sequence[Stack], label: str) -> str:
    """Stacked bars standing up, one a name."""
    return _drawn(lambda: _columns(names, stacks, label))


def profile(lines: Sequence[Line], label: str, axis: str, borders: Sequence[Border] = ()) -> str:
    """Lines over the hours of a day."""
    return _drawn(lambda: _profile(lines, label, axis, borders))


def _drawn(made: Any) -> str:
    with _DRAWING:
        _register()
        figure: Figure = made()
        out = io.BytesIO()
        FigureCanvasSVG(figure)
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(out, format="svg", metadata=nothing)
    return out.getvalue().decode()


@lru_cache(maxsize=1)
def _register() -> None:
    for file in sorted(FONTS.glob("*.otf")):
        font_manager.fontManager.addfont(file)


def _text(text: str) -> str:
    return printable(text.replace("\n", " ")).lstrip("_") or " "


def _axes(one: Axes) -> None:
    """What every chart of ours looks like."""
    for side in ("top", "right"):
        one.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        one.spines[side].set_color("#8b95a0")
    one.tick_params(labelsize=7, labelfontfamily=FAMILY, color="#8b95a0", length=3)
    one.grid(visible=True, axis="y", color="#e3e7ec", lw=0.5)
    one.set_axisbelow(True)
    one.ticklabel_format(axis="y", useOffset=False, style="plain") if one.get_yscale() == "linear" else None
    one.margins(x=0)


def _label(one: Axes, x: str = "", y: str = "") -> None:
    if x:
        one.set_xlabel(_text(x), fontsize=7.5, family=FAMILY, parse_math=False)
    if y:
        one.set_ylabel(_text(y), fontsize=7.5, family=FAMILY, parse_math=False)


def _legend(one: Axes, handles: Sequence[Any], names: Sequence[str]) -> None:
    if not names:
        return
    made = one.legend(
        list(handles), [_text(name) for name in names], loc="lower left", bbox_to_anchor=(0, 1.0),
        ncols=min(len(names), 8),
        frameon=False, prop={"family": FAMILY, "size": 7}, handlelength=1.4, borderaxespad=0.1, columnspacing=1.2,
    )  # fmt: skip
    for text in made.get_texts():
        text.set_parse_math(False)


def _strips(panels: Sequence[Panel], shades: Sequence[Shade], zone: ZoneInfo | None, label: str = "") -> Figure:
    first, other = (2.2, 1.1) if len(panels) < 4 else (1.9, 0.95)  # all of them on the first page
    heights = [first, *([other] * (len(panels) - 1))]
    figure = Figure(figsize=(WIDTH_IN, sum(heights) + 0.35), layout="constrained")
    strips = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    ends = _ends(panels, shades)
    for place, (one, panel) in enumerate(zip(strips, panels, strict=True)):
        _phases(one, shades, ends, named=place == 0)
        _lines(one, panel, ends)
        _axes(one)
        _label(one, y=panel.unit)
        if panel.span is not None:
            one.set_ylim(*panel.span)
        one.set_xlim(*ends)
    if zone is not None:
        _clock(strips[-1], ends, zone)
    _label(strips[-1], x=label)
    return figure


def _ends(panels: Sequence[Panel], shades: Sequence[Shade]) -> tuple[float, float]:
    xs = [float(end) for panel in panels for line in panel.lines if len(line.x) for end in (line.x[0], line.x[-1])]
    xs += [end for shade in shades for end in (shade.first, shade.last)]
    first, last = (min(xs), max(xs)) if xs else (0.0, 1.0)
    return (first, last) if last > first else (first, first + 1e-6)


def _phases(one: Axes, shades: Sequence[Shade], ends: tuple[float, float], *, named: bool) -> None:
    row = 0
    for place, shade in enumerate(shades):
        one.axvspan(shade.first, shade.last, color=_SHADES[place % 2], lw=0, zorder=0)
        one.axvline(shade.first, color="#c9d1da", lw=0.4, zorder=0)
        if not named:
            continue
        wide = (shade.last - shade.first) / (ends[1] - ends[0]) * WIDTH_IN * 72 * 0.88
        text = _text(shade.name)
        fits = wide > len(text) * 4.0
        one.text(
            (shade.first + shade.last) / 2, 0.02, text, transform=one.get_xaxis_transform(), ha="center", va="bottom",
            rotation=0 if fits else 90, fontsize=5.8, family=FAMILY, color="#5c6773", parse_math=False, clip_on=True,
        ) if fits or wide > 6 else None  # fmt: skip
        row += 1


def _lines(one: Axes, panel: Panel, ends: tuple[float, float]) -> None:
    handles, names = [], []
    for place, line in enumerate(panel.lines):
        colour = LIMIT if line.bad else COLOURS[place % len(COLOURS)]
        x, y = reduced(line.x, line.y, FAINT_POINTS if line.faint else POINTS)
        width, shown = (0.6, 0.35) if line.faint and not line.bad else (0.9, 1.0)
        (drawn,) = one.plot(
            x,
            y,
            lw=width,
            alpha=shown,
            color=COLOURS[0] if line.faint and not line.bad else colour,
            ls="--" if line.dashed else "-",
        )
        if line.name:
            handles.append(drawn)
            names.append(line.name)
    for border in panel.borders:
        first = ends[0] if np.isnan(border.first) else border.first
        last = ends[1] if np.isnan(border.last) else border.last
        one.plot([first, last], [border.value] * 2, color=LIMIT, lw=1.0, ls=(0, (4, 2)))
    _legend(one, handles, names)


def _clock(one: Axes, ends: tuple[float, float], zone: ZoneInfo) -> None:
    span_s = (ends[1] - ends[0]) * 86_400
    form = "%H:%M:%S" if span_s < 900 else "%H:%M" if span_s < 36 * 3600 else "%m-%d"
    one.xaxis.set_major_locator(dates.AutoDateLocator(tz=zone, minticks=4, maxticks=10))  # type: ignore[no-untyped-call]
    one.xaxis.set_major_formatter(dates.DateFormatter(form, tz=zone))  # type: ignore[no-untyped-call]
    day = datetime.fromtimestamp(ends[0] * 86_400, zone)
    _label(one, x=f"{day:%Y-%m-%d} {zone.key}")


def _runs(runs: Sequence[Run], label: str) -> Figure:
    lines = -(-len(runs) // 2)
    figure = Figure(figsize=(WIDTH_IN, 1.45 * lines + 0.2), layout="constrained")
    places = figure.subplots(lines, 2 if len(runs) > 1 else 1, squeeze=False).ravel()
    for one, run in zip(places, runs, strict=False):
        x = np.arange(1, len(run.value) + 1, dtype=np.float64)
        one.plot(x, run.value, lw=0.6, color=COLOURS[0], marker=".", ms=2.4 if len(x) > 60 else 4)
        for limit in (run.low, run.high):
            one.step(x, limit, where="mid", color=LIMIT, lw=0.9, ls=(0, (4, 2)))
        one.plot(x[run.bad], run.value[run.bad], "o", ms=3.6, color=LIMIT)
        _axes(one)
        one.set_xlim(0.5, len(x) + 0.5)
        one.set_title(_text(run.name), fontsize=7.5, family=FAMILY, loc="left", parse_math=False)
        one.xaxis.get_major_locator().set_params(integer=True)
    for one in places[len(runs) :]:
        one.set_visible(False)
    for one in places[max(0, len(runs) - 2) : len(runs)]:
        _label(one, x=label)
    return figure


def _bars(names: Sequence[str], stacks: Sequence[Stack], label: str) -> Figure:
    figure = Figure(figsize=(WIDTH_IN, 0.36 * len(names) + 0.85), layout="constrained")
    one = figure.subplots()
    left, places, handles = np.zeros(len(names)), np.arange(len(names)), []
    for stack, colour in zip(stacks, COLOURS, strict=False):
        value = np.nan_to_num(stack.value)
        handles.append(one.barh(places, value, left=left, color=colour, height=0.66))
        left += value
    _axes(one)
    one.grid(visible=True, axis="x", color="#e3e7ec", lw=0.5)
    one.grid(visible=False, axis="y")
    one.set_yticks(places, [_text(name) for name in names], family=FAMILY, parse_math=False)
    one.invert_yaxis()
    _label(one, x=label)
    _legend(one, handles, [stack.name for stack in stacks])
    return figure


def _columns(names: Sequence[str], stacks: Sequence[Stack], label: str) -> Figure:
    figure = Figure(figsize=(WIDTH_IN, 2.4), layout="constrained")
    one = figure.subplots()
    base, places, handles = np.zeros(len(names)), np.arange(len(names)), []
    for stack, colour in zip(stacks, COLOURS * 4, strict=False):
        value = np.nan_to_num(stack.value)
        handles.append(one.bar(places, value, bottom=base, color=colour, width=0.72))
        base += value
    _axes(one)
    one.set_xlim(-0.6, len(names) - 0.4)
    one.set_xticks(places, [_text(name) for name in names], family=FAMILY, parse_math=False)
    _label(one, y=label)
    _legend(one, handles, [stack.name for stack in stacks])
    return figure


def _profile(lines: Sequence[Line], label: str, axis: str, borders: Sequence[Border]) -> Figure:
    figure = Figure(figsize=(WIDTH_IN, 2.4), layout="constrained")
    one = figure.subplots()
    _lines(one, Panel(label, lines, borders), (0.0, 24.0))
    _axes(one)
    one.set_xlim(0, 24)
    one.set_ylim(bottom=0)
    one.set_xticks(range(0, 25, 3))
    _label(one, x=axis, y=label)
    return figure
