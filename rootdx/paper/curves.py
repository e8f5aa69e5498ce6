"""The raw rows and bursts behind a cycle, as charts draw them: which signals, which limits belong on them.

* They come from the store as it is now; whether that is what was sealed is for `verify` to say.
* Limits come from the sealed features alone.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Final

import numpy as np

from analytics.rows import Wanted, read
from analytics.window import SECOND_NS, Series
from pipeline.bursts import waveforms
from pipeline.database import translated
from pipeline.migrate import Connection
from pipeline.model import Waveform
from rootdx.invocation import ask
from rootdx.paper.plots import Border, Line, Panel, Shade, days
from rootdx.paper.sheet import unit_of

_FURNACE: Final = (
    ("zone*.pv", "zone*.sp", "load_tc.*", "overtemp.pv"),
    ("atm.cp", "atm.cp_sp"),
    ("quench.temp",),
    ("vac.pressure",),
)
SIGNALS: Final[Mapping[str, Sequence[Sequence[str]]]] = {
    **dict.fromkeys(("sealed_quench", "pit_load", "temper_load", "vacuum_load", "continuous_batch"), _FURNACE),
    "hpdc_shot": (("metal.temp",), ("die.temp_*",), ("vac.pressure",)),
    "arc_seam": (("arc.i",), ("arc.u",), ("gas.flow",)),
    "spot_weld": (("weld.i", "spot.i"), ("weld.force", "force")),
    **dict.fromkeys(
        ("plating_rack", "plating_barrel", "anodise_rack", "ecoat_rack"),
        (("rect*.amp",), ("bath*.temp",), ("bath*.ph",)),
    ),
    "oven_cure": (("oven.*temp*", "part.temp*"),),
    "melt_batch": (("bath.temp", "melt.temp"), ("power",)),
}
"""Roles of the panels, by kind of cycle; of any other kind what its machine has."""
BURSTS: Final = frozenset({"hpdc_shot", "spot_weld", "press_stroke", "molding_cycle"})
"""Kinds whose cycles are drawn by a burst where there is one; that of a seam is one second out of many."""
_PANELS: Final = 3
_LINES: Final = 7
_ON: Final = (
    (re.compile(r"(?P<phase>\w+)_carbon_(mean|min|max)"), "atm.cp"),
    (re.compile(r"oil_temp_max"), "quench.temp"),
    (re.compile(r"(?P<phase>soak)_temp_mean"), "zone1.pv"),
    (re.compile(r"metal_temp_at_pour"), "metal.temp"),
    (re.compile(r"current_mean"), "arc.i"),
    (re.compile(r"voltage_mean"), "arc.u"),
    (re.compile(r"gas_flow_mean"), "gas.flow"),
    (re.compile(r"bath_temp_mean"), "bath1.temp"),
    (re.compile(r"bath_ph_mean"), "bath1.ph"),
)
"""Features whose limits are limits of a signal, in a phase where the name has one."""
_DEVIATION: Final = re.compile(r"(?P<phase>[a-z_]+?)_worst_deviation")


@dataclass(frozen=True, slots=True)
class Curve:
    """What is drawn of one cycle.

    Attributes:
        panels: of signals; none when nothing can be drawn.
        shades: its phases.
        seconds: the axis is seconds from the first sample of a burst, not time.
    """

    panels: Sequence[Panel]
    shades: Sequence[Shade]
    seconds: bool = False


async def curve(db: Connection, cycle: Mapping[str, Any]) -> Curve:
    """The chart of a cycle of a record's content.

    Raises:
        Unavailable, ConfigError, BadData: what the server says.
    """
    first, last = (nanoseconds(cycle[name]) for name in ("start", "end"))
    if cycle["kind"] in BURSTS:
        found = await bursts(db, cycle)
        if found is not None:
            return Curve(_of_burst(found, await units_of(db, found)), (), seconds=True)
    tags = [one["tag"] for one in cycle["raw"]]
    known = await ask(db, _TAGS, [cycle["asset"], tags])
    wanted = _chosen(cycle["kind"], {role: (tag_id, unit) for tag_id, role, unit in known})
    roles = [role for some in wanted for role in some]
    units = {role: (tag_id, unit) for tag_id, role, unit in known}
    series = await read(db, [Wanted(units[role][0], first, last) for role in roles])
    rows = {role: one for role, one in zip(roles, series, strict=True) if len(one.good)}
    shades = _shades(cycle)
    panels = [
        panel
        for some in wanted[:_PANELS]
        if any(role in rows for role in some)
        for panel in _panels(some, rows, units[some[0]][1], cycle, shades)
    ]
    return Curve(panels, shades)


async def bursts(db: Connection, cycle: Mapping[str, Any]) -> Waveform | None:
    """The last burst that begins in a cycle."""
    first, last = (nanoseconds(cycle[name]) for name in ("start", "end"))
    with translated():
        found = await waveforms(db, cycle["asset"], first, last)
    return found[-1] if found else None


async def units_of(db: Connection, wave: Waveform) -> dict[str, str]:
    """Units of the channels of a burst, as people write them."""
    return {channel: unit_of(unit) for channel, unit in await ask(db, _CHANNELS, [wave.asset, wave.name])}


def nanoseconds(text: str) -> int:
    """A time of a record's content, ns UTC."""
    return round(datetime.fromisoformat(text).timestamp() * 1_000_000) * 1000


def _chosen(kind: str, known: Mapping[str, tuple[int, str]]) -> list[list[str]]:
    """Roles of the panels: those of the kind, or by unit what the machine has."""
    found = [
        [role for pattern in patterns for role in sorted(known) if fnmatchcase(role, pattern)][:_LINES]
        for patterns in SIGNALS.get(kind, ())
    ]
    if any(found):
        return [some for some in found if some]
    units: dict[str, list[str]] = {}
    for role, (_, unit) in sorted(known.items()):
        units.setdefault(unit, []).append(role)
    some = [roles[:_LINES] for unit, roles in units.items() if unit != "1"]
    return sorted(some, key=len, reverse=True)[:_PANELS]


def _shades(cycle: Mapping[str, Any]) -> list[Shade]:
    return [
        Shade(name, float(days(np.array(nanoseconds(first)))), float(days(np.array(nanoseconds(last or cycle["end"])))))
        for name, first, last in cycle["phases"]
    ]


def _panels(
    roles: Sequence[str], rows: Mapping[str, Series], unit: str, cycle: Mapping[str, Any], shades: Sequence[Shade]
) -> list[Panel]:
    """The signals of a unit; where a setpoint has a band, the same once more around it."""
    lines = [
        Line(role, days(rows[role].ts_ns), rows[role].value, dashed=role.endswith((".sp", "_sp")))
        for role in roles
        if role in rows and not _repeats(role, rows)
    ]
    borders = _borders(roles, cycle, shades)
    bands = _bands(roles, rows, cycle, shades)
    found = [Panel(unit_of(unit), lines, [*borders, *bands])]
    if bands:
        low, high = min(one.value for one in bands), max(one.value for one in bands)
        margin = max(high - low, 1.0)
        near = [line for line in lines if line.name.startswith("zone")]
        found.append(Panel(unit_of(unit), near, bands, (low - margin, high + margin)))
    return found


def _repeats(role: str, rows: Mapping[str, Series]) -> bool:
    """Whether it is the setpoint of a further zone that is that of the first."""
    return (
        role.endswith(".sp")
        and role != "zone1.sp"
        and "zone1.sp" in rows
        and np.array_equal(rows[role].value, rows["zone1.sp"].value, equal_nan=True)
    )


def _borders(roles: Sequence[str], cycle: Mapping[str, Any], shades: Sequence[Shade]) -> list[Border]:
    phases = {shade.name.lower(): (shade.first, shade.last) for shade in shades}
    found: list[Border] = []
    for one in cycle["features"]:
        limits = [value for value in (one["low"], one["high"]) if value is not None]
        for pattern, role in _ON:
            match = pattern.fullmatch(one["name"])
            if match is not None and role in roles:
                ends = phases.get(match.groupdict().get("phase") or "", (np.nan, np.nan))
                found += [Border(value, *ends) for value in limits]
    return found


def _bands(
    roles: Sequence[str], rows: Mapping[str, Series], cycle: Mapping[str, Any], shades: Sequence[Shade]
) -> list[Border]:
    """Limits of a deviation, around the setpoint in the middle of the phase."""
    phases = {shade.name.lower(): (shade.first, shade.last) for shade in shades}
    if "zone1.sp" not in roles or "zone1.sp" not in rows:
        return []
    found: list[Border] = []
    for one in cycle["features"]:
        match = _DEVIATION.fullmatch(one["name"])
        if match is not None and match["phase"] in phases:
            first, last = phases[match["phase"]]
            setpoint = rows["zone1.sp"].at(round((first + last) / 2 * 86_400 * SECOND_NS))
            limits = [value for value in (one["low"], one["high"]) if value is not None]
            found += [Border(setpoint + value, first, last) for value in limits]
    return found


def _of_burst(wave: Waveform, units: Mapping[str, str]) -> list[Panel]:
    """A panel a channel."""
    return [
        Panel(_axis(channel, units), [Line("", seconds_of(wave), wave.value[:, place].astype(np.float64))])
        for place, channel in enumerate(wave.channels[:_PANELS])
    ]


def seconds_of(wave: Waveform) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """(n,) s since the first sample."""
    return np.arange(len(wave.value), dtype=np.float64) * wave.period_ns / SECOND_NS


def _axis(channel: str, units: Mapping[str, str]) -> str:
    return f"{channel} [{units[channel]}]" if units.get(channel) else channel


def overlaid(waves: Sequence[tuple[Waveform, bool]], units: Mapping[str, str]) -> list[Panel]:
    """Bursts of many cycles over each other; those of cycles that did not pass stand out."""
    if not waves:
        return []
    ordered = sorted(waves, key=lambda one: one[1])
    names = ordered[0][0].channels
    return [
        Panel(
            _axis(channel, units),
            [
                Line("", seconds_of(wave), wave.value[:, place].astype(np.float64), faint=True, bad=bad)
                for wave, bad in ordered
                if wave.channels == names
            ],
        )
        for place, channel in enumerate(names[:_PANELS])
    ]


_CHANNELS: Final = """
    SELECT c.channel, c.unit FROM rootdx.waveform_channel c JOIN rootdx.asset a USING (asset_id)
    WHERE a.path = %s AND c.name = %s"""
_TAGS: Final = """
    SELECT t.tag_id, t.role, t.unit FROM rootdx.tag t JOIN rootdx.asset a USING (asset_id)
    WHERE a.path = %s AND t.name = ANY(%s) ORDER BY t.role"""
