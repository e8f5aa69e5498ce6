"""A simulated machine's rows in a real store, in whatever order and repetition a test wants."""

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analytics.machines import Watched
from analytics.process import Process
from analytics.watching import watchings
from analytics.window import Window
from pipeline.model import Batch, Body, Event, Waveform, rows_of
from pipeline.naming import DECLARED
from pipeline.settings import AnalyticsSettings, StoreSettings
from pipeline.store import Accepted, Commit, Store
from tests.support.simulated import ORIGIN_NS

QUICK = AnalyticsSettings(every_s=0.01, patience_s=1e6, unattended="leave")


@dataclass(slots=True)
class Feed:
    """One gateway's records into a store."""

    store: Store
    asset: str
    last: int = 0

    async def take(self, *bodies: Body) -> None:
        entry = await self.store.enter("gw-1", uuid.UUID(int=7))
        record = Accepted(entry.source_id, entry.last + 1, ORIGIN_NS, rows_of(bodies), bodies)
        await self.store.commit(Commit([record], [], {entry.source_id: entry.last}, {entry.source_id: entry.last + 1}))

    async def declare(self, window: Window) -> None:
        """Tells the store the tags of a machine: one a role, of the role's name."""
        tags = [
            {"name": role, "role": role, "unit": "1", "every_s": None if np.isinf(rows.every_s) else rows.every_s}
            for role, rows in window.series.items()
        ]
        data = {"name": self.asset, "process": "casting", "tags": tags}
        await self.take(Event(self.asset, DECLARED, ORIGIN_NS, "", data=json.loads(json.dumps(data))))


def watched(window: Window, *processes: Process, detectors: Sequence[dict[str, Any]] = ()) -> Watched:
    """The machine of a window, with its `[[detector]]` tables."""
    roles = frozenset(window.series) | frozenset(window.bursts)
    found = watchings(detectors, [one.kind for one in processes], "test")
    return Watched(window.asset, "machine", processes, roles, {}, detectors=found)


def batches(window: Window, every_s: float = 10.0) -> list[Batch]:
    """The rows of a window in pieces of time, all roles together, as a gateway sends them."""
    roles = tuple(window.series)
    step = round(every_s * 1e9)
    made = []
    for first in range(window.start_ns, window.end_ns, step):
        parts = [window[role].between(first, first + step) for role in roles]
        if not any(len(part) for part in parts):
            continue
        tag = np.repeat(np.arange(len(roles)), [len(part) for part in parts])
        columns = [np.concatenate([getattr(part, name) for part in parts]) for name in ("ts_ns", "value", "quality")]
        made.append(Batch.of(window.asset, roles, columns[0], tag, columns[1], columns[2]))
    return made


def only(batch: Batch, roles: Iterable[str]) -> Batch:
    """The rows of some roles."""
    wanted = np.isin(batch.tag, [batch.tags.index(role) for role in roles])
    return replace(
        batch,
        ts_ns=batch.ts_ns[wanted],
        tag=batch.tag[wanted],
        value=batch.value[wanted],
        quality=batch.quality[wanted],
    )


def store_settings(dsn: str) -> StoreSettings:
    return StoreSettings(dsn=dsn, connect_timeout_s=5)


STORED_CYCLES = """
    SELECT a.path, c.kind, c.lane, c.start_ts, c.end_ts, c.number, c.phase_names, c.phase_starts, c.phase_ends, c.flags,
           c.verdict, c.verdicts, c.context, s.names, s.lows, s.highs, c.value, c.reason, c.n_used, c.coverage,
           c.quality, c.inputs_hash, c.digest
    FROM rootdx.cycle c JOIN rootdx.asset a USING (asset_id) LEFT JOIN rootdx.feature_set s USING (set_id)
    ORDER BY 1, 2, 4, 3"""
"""All that a cycle says, without when and how often it was computed."""


STORED_KPIS = """
    SELECT a.path, k.shift_start, k.order_name, k.shift_end, k.planned_busy_s, k.production_s, k.delay_s, k.down_s,
           k.blind_s, k.produced, k.good, k.cycles, k.energy_kwh
    FROM rootdx.kpi_element k JOIN rootdx.asset a USING (asset_id) ORDER BY 1, 2, 3"""


def waves(window: Window) -> Sequence[Waveform]:
    """The bursts of a window."""
    return [wave for some in window.bursts.values() for wave in some]
