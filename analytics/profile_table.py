"""Profiles of the store as tables: a row a cycle, a column a position along a signal (F-PRF-01).

* The signal is a tag, cut to a phase, or a channel of a burst that begins in the cycle.
* Positions are shares of the time, seconds since its begin, or numbers of another channel: plunger position, crank
  angle. A position that a cycle does not reach is NaN.
* Rows are those of `feature_table.of_cycles`, with its groups, order and what is normal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final

import numpy as np
from pydantic import Field, FiniteFloat, model_validator

from analytics.feature_table import Cycles, Wish, of_cycles, tagged
from analytics.profile import resample
from analytics.result import Floats
from analytics.rows import Wanted, read
from analytics.table import Table, Variable
from analytics.window import SECOND_NS, Series
from pipeline import bursts
from pipeline.database import translated
from pipeline.migrate import Connection
from pipeline.model import Waveform
from pipeline.plant import Frozen


class Profile(Frozen):
    """`[detector.profile]`: what a profile is of, and what it runs along."""

    signal: str
    """Role or name of a tag, or `burst/channel`, as `shot_curve/p_head`."""
    phase: str = ""
    """Of the cycle; empty: all of it, or the whole burst."""
    along: str = ""
    """Another channel of the burst, as `position` or `angle`; empty: time."""
    span: tuple[FiniteFloat, FiniteFloat] | None = None
    """First and last position: in the unit of `along`, or seconds; none: shares of the time, 0 to 1."""
    points: Annotated[int, Field(ge=2, le=500)] = 100
    """How many positions."""

    @model_validator(mode="after")
    def _check(self) -> "Profile":
        if self.along and (self.span is None or "/" not in self.signal):
            raise ValueError(f"along = {self.along!r} needs signal = 'burst/channel' and span = [first, last]")
        if self.span is not None and self.span[0] >= self.span[1]:
            raise ValueError(f"span = {list(self.span)}: the first position must be below the last")
        return self

    def positions(self) -> Floats:
        """(points,) along the profile."""
        first, last = self.span or (0.0, 1.0)
        return np.linspace(first, last, self.points)

    def at(self, time_s: Floats, value: Floats, along: Floats | None = None) -> Floats:
        """(points,) the signal at every position, from samples in order of time.

        >>> Profile(signal="arc.i", points=3).at(np.array([0.0, 1.0, 4.0]), np.array([0.0, 10.0, 40.0])).tolist()
        [0.0, 20.0, 40.0]
        """
        grid = time_s if along is None else along
        if along is None and self.span is None and len(grid):
            length = grid[-1] - grid[0]
            grid = (grid - grid[0]) / length if length > 0 else grid
        good = np.isfinite(grid) & np.isfinite(value)
        grid, value = grid[good], value[good]
        rising = np.append(True, np.diff(np.maximum.accumulate(grid)) > 0)[: len(grid)]
        if rising.sum() < 2:
            return np.full(self.points, np.nan)
        return resample(grid[rising], value[rising], self.positions())


async def of_profiles(db: Connection, asset: str, wish: Wish, profile: Profile, start_ns: int, end_ns: int) -> Cycles:
    """Profiles of the closed cycles that end in [start_ns, end_ns), and of the memory before them.

    Raises:
        BadData: the machine has no such tag; says which it has.
        Unavailable, ConfigError: what the server says.
    """
    found = await of_cycles(db, replace(wish, of=()), start_ns, end_ns)
    spans = await _spans(db, found.cycle_id.tolist(), profile.phase)
    parts = [spans.get(one) for one in found.cycle_id.tolist()]
    if "/" in profile.signal:
        rows = await _of_bursts(db, asset, profile, parts)
    else:
        rows = await _of_tag(db, wish.asset_id, profile, parts)
    value = np.stack(rows) if rows else np.empty((0, profile.points))
    names = tuple(Variable(f"{profile.signal} @ {position:.4g}") for position in profile.positions().tolist())
    table = Table(
        ts_ns=found.table.ts_ns, variables=names, value=value, group=found.table.group, groups=found.table.groups,
        normal=found.table.normal,
    )  # fmt: skip
    return replace(found, table=table)


async def _spans(db: Connection, cycle_ids: Sequence[int], phase: str) -> dict[int, tuple[int, int]]:
    """[from, to) of a phase of each cycle that has it, or of the cycle, ns UTC."""
    with translated():
        cursor = await db.execute(_SPANS.encode(), {"ids": list(cycle_ids), "phase": phase})
        rows = await cursor.fetchall()
    return {cycle_id: (first * 1000, last * 1000) for cycle_id, first, last in rows}


async def _of_tag(
    db: Connection, asset_id: int, profile: Profile, parts: Sequence[tuple[int, int] | None]
) -> list[Floats]:
    (tag,) = await tagged(db, asset_id, [profile.signal])
    wanted = [Wanted(tag.tag_id, *(part or (0, 0)), tag.every_s) for part in parts]
    return [_of_series(profile, rows) for rows in await read(db, wanted)]


def _of_series(profile: Profile, rows: Series) -> Floats:
    good = rows.good
    return profile.at(good.seconds(), np.asarray(good.value))


async def _of_bursts(
    db: Connection, asset: str, profile: Profile, parts: Sequence[tuple[int, int] | None]
) -> list[Floats]:
    some = [part for part in parts if part is not None]
    if not some:
        return [np.full(profile.points, np.nan) for _ in parts]
    name = profile.signal.partition("/")[0]
    first, last = min(a for a, _ in some), max(b for _, b in some)
    with translated():
        roles = {one.name: one for one in await bursts.described(db, asset)}
        wanted = [one.name for one in roles.values() if name in (one.name, one.role)]
        waves = await bursts.waveforms(db, asset, first, last, wanted or [name])
    return [_of_wave(profile, _first(waves, part), roles) for part in parts]


def _first(waves: Sequence[Waveform], part: tuple[int, int] | None) -> Waveform | None:
    return next((one for one in waves if part is not None and part[0] <= one.ts_ns < part[1]), None)


def _of_wave(profile: Profile, wave: Waveform | None, roles: Mapping[str, bursts.Described]) -> Floats:
    columns = {} if wave is None else _channels(wave, roles)
    value = columns.get(profile.signal.partition("/")[2])
    along = columns.get(profile.along) if profile.along else None
    if wave is None or value is None or (profile.along and along is None):
        return np.full(profile.points, np.nan)
    return profile.at(np.arange(len(wave)) * wave.period_ns / SECOND_NS, value, along)


def _channels(wave: Waveform, roles: Mapping[str, bursts.Described]) -> dict[str, Any]:
    """Columns of a burst by the names and the roles of its channels."""
    found: dict[str, Any] = {}
    for place, channel in enumerate(wave.channels):
        found[channel] = np.asarray(wave.value[:, place], dtype=np.float64)
    described = roles.get(wave.name)
    for channel, role in zip(described.channels, described.roles, strict=True) if described else ():
        if role and channel in found:
            found.setdefault(role, found[channel])
    return found


_SPANS: Final = """
    SELECT c.cycle_id, rootdx.us(coalesce(p.first, c.start_ts)), rootdx.us(coalesce(p.last, c.end_ts))
    FROM rootdx.cycle c
    LEFT JOIN LATERAL (
        SELECT q.first, q.last FROM unnest(c.phase_names, c.phase_starts, c.phase_ends) AS q(name, first, last)
        WHERE q.name = %(phase)s LIMIT 1) p ON true
    WHERE c.cycle_id = ANY(%(ids)s) AND c.end_ts IS NOT NULL AND (%(phase)s = '' OR p.first IS NOT NULL)"""
