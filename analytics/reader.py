"""Reads of the store what a track needs: rows by role, waveforms by role, context told in tags."""

from collections.abc import Mapping, Sequence

from analytics.cycle_store import CycleStore
from analytics.cycles import Change
from analytics.rows import Wanted, read
from analytics.track import CONTEXT, Track, told_by_tags
from analytics.window import Series
from pipeline import bursts
from pipeline.database import translated
from pipeline.model import Waveform


class Reader:
    """Over the connection of a store."""

    def __init__(self, store: CycleStore) -> None:
        self._store = store

    async def read(self, wanted: Sequence[Wanted]) -> list[Series]:
        """As `rows.read`."""
        return await read(self._store.db, wanted)

    async def series(self, track: Track, roles: Sequence[str], start_ns: int, end_ns: int) -> dict[str, Series]:
        """Rows of some roles in [start_ns, end_ns)."""
        wanted = [track.tags[role].wanted(start_ns, end_ns) for role in roles]
        return dict(zip(roles, await read(self._store.db, wanted), strict=True))

    async def bursts(self, track: Track, start_ns: int, end_ns: int) -> dict[str, tuple[Waveform, ...]]:
        """Waveforms by role, their channels by role where the machine file gives one."""
        names = [name for name, one in track.machine.bursts.items() if one.role in track.process.roles().bursts]
        if not names:
            return {}
        with translated():
            waves = await bursts.waveforms(self._store.db, track.machine.asset, start_ns, end_ns, names)
        found: dict[str, list[Waveform]] = {track.machine.bursts[name].role: [] for name in names}
        for wave in waves:
            burst = track.machine.bursts[wave.name]
            found[burst.role].append(burst.renamed(wave))
        return {role: tuple(some) for role, some in found.items()}

    async def with_tags(
        self, track: Track, rows: Mapping[str, Series], start_ns: int, changes: Sequence[Change]
    ) -> Sequence[Change]:
        """Also the context that the machine tells in tags, where need be by the last row before the window."""
        roles = track.context_roles()
        if not roles:
            return changes
        told = told_by_tags(rows)
        unknown = [
            role
            for role in roles
            if not any(c.kind == role.removeprefix(CONTEXT) and c.ts_ns <= start_ns for c in told)
        ]
        for role in unknown:
            last = await self._store.last_row(track.tags[role].tag_id, start_ns)
            if last is not None:
                told += told_by_tags({role: Series.of([last[0]], [last[1]])})
        return sorted([*told, *changes], key=lambda change: change.ts_ns)
