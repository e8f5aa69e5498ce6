"""Keeps elements of shifts and demand of quarter hours as the cycles and meters say, for the spans that changed.

* A machine is looked at again at most every `AGAIN_S`; what changed meanwhile is remembered and done at once.
* The running shift is accounted up to the newest row.
* Energy is of the counter with role `energy.total` (kW.h): what it counted between two moments, resets and rollovers
  as section 0.3 says; None where the counter was not seen on both sides.
"""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from analytics.cycle_store import CycleStore, TagRow
from analytics.elements import Row, Said, elements
from analytics.energy import demand_profile
from analytics.intervals import Intervals
from analytics.kpi_store import KpiStore
from analytics.machines import METER
from analytics.rows import read
from analytics.shifts import ShiftRun, shift_runs
from analytics.time_series import counter_delta
from analytics.window import SECOND_NS, Series
from pipeline.plant import Plant

AGAIN_S: Final = 20.0
ORDER: Final = "order"
QUARTER_NS: Final = 900 * SECOND_NS
MARGIN_NS: Final = 120 * SECOND_NS
"""Readings this far outside a span still say what a meter showed at its ends."""


@dataclass(slots=True)
class Accounted:
    """A machine, as far as its accounts need it.

    Attributes:
        asset_id: in the store.
        kind: the process whose cycles are production; None for a meter alone.
        tags: by role.
        first_ns: its first row ever: before it, nobody knows.
        newest_ns: its newest row.
    """

    asset_id: int
    kind: str | None
    tags: Mapping[str, TagRow]
    first_ns: int
    newest_ns: int


@dataclass(slots=True)
class _Open:
    """What changed of a machine since it was last accounted."""

    from_ns: int
    to_ns: int


class Accounts:
    """The accounts of the machines of one plant; told what changed, asked now and then to catch up."""

    def __init__(self, plant: Plant, cycles: CycleStore) -> None:
        self._plant, self._cycles, self._kpis = plant, cycles, KpiStore(cycles.db)
        self._open: dict[int, _Open] = {}
        self._done: dict[int, float] = {}

    def changed(self, asset_id: int, from_ns: int, to_ns: int) -> None:
        """Rows or cycles of a machine in this span are new."""
        known = self._open.setdefault(asset_id, _Open(from_ns, to_ns))
        known.from_ns, known.to_ns = min(known.from_ns, from_ns), max(known.to_ns, to_ns)

    async def catch_up(self, machines: Mapping[int, Accounted], *, at_once: bool = False) -> None:
        """Accounts what is due, or everything.

        Raises:
            Unavailable, ConfigError: what the server says; it is done again next time.
        """
        now = time.monotonic()
        for asset_id in list(self._open):
            if at_once or now - self._done.get(asset_id, float("-inf")) >= AGAIN_S:
                span = self._open[asset_id]
                await self.account(machines[asset_id], span.from_ns, span.to_ns)
                del self._open[asset_id]
                self._done[asset_id] = now

    async def account(self, one: Accounted, from_ns: int, to_ns: int) -> None:
        """Elements of all shifts, and demand of all quarter hours, that overlap a span."""
        runs = [
            dataclasses.replace(run, end_ns=min(run.end_ns, one.newest_ns))
            for run in shift_runs(self._plant, from_ns, to_ns + 1)
            if run.start_ns < one.newest_ns and run.end_ns > one.first_ns
        ]
        meter = await self._meter(one, runs, from_ns, to_ns)
        if runs and one.kind is not None:
            rows = await self._rows(one, runs)
            await self._kpis.write(one.asset_id, rows, [_energy(meter, row, one.first_ns) for row in rows])
        if len(meter):
            first, last = from_ns // QUARTER_NS * QUARTER_NS, (to_ns // QUARTER_NS + 1) * QUARTER_NS
            near = meter.between(first - MARGIN_NS, last + MARGIN_NS)
            await self._kpis.write_demand(one.asset_id, demand_profile(near.ts_ns, near.value, counter=near.counter))

    async def _rows(self, one: Accounted, runs: Sequence[ShiftRun]) -> list[Row]:
        first, last = runs[0].start_ns, max(run.end_ns for run in runs)
        found = await self._kpis.cycles(one.asset_id, one.kind or "", first, last)
        changes = await self._cycles.changes(one.asset_id, last)
        newest = [one.newest_ns] * len(found.running_ns)
        said = Said(
            stops=await self._kpis.stops(one.asset_id, first, last),
            quantities=await self._kpis.quantities(one.asset_id, first, last),
            running=Intervals.of(found.running_ns, newest),
            orders=[(change.ts_ns, change.value) for change in changes if change.kind == ORDER],
            blind=(await self._kpis.blind(one.asset_id, first, last)).plus(Intervals.of([first], [one.first_ns])),
        )
        return elements(found.made, runs, said)

    async def _meter(self, one: Accounted, runs: Sequence[ShiftRun], from_ns: int, to_ns: int) -> Series:
        """What the energy counter showed over the shifts and the quarter hours around them."""
        if METER not in one.tags:
            return Series.of([], [])
        tag = one.tags[METER]
        first = min([from_ns // QUARTER_NS * QUARTER_NS, *(run.start_ns for run in runs)]) - MARGIN_NS
        last = max([(to_ns // QUARTER_NS + 1) * QUARTER_NS, *(run.end_ns for run in runs)]) + MARGIN_NS
        (series,) = await read(self._kpis.db, [tag.wanted(first, last)])
        return series.good


def _energy(meter: Series, row: Row, first_ns: int) -> float | None:
    """Energy in kWh while the order of a row ran; None when the meter was not seen all the time, or was reset."""
    if len(meter) < 2 or not len(row.spans):
        return None
    first, last = row.spans.start_ns, row.spans.end_ns
    if meter.ts_ns[0] > max(first[0], first_ns) + MARGIN_NS or meter.ts_ns[-1] < last[-1] - MARGIN_NS:
        return None
    steps = counter_delta(meter.value[:-1], meter.value[1:], meter.counter).value
    counted = np.concatenate(([0.0], np.cumsum(np.nan_to_num(steps))))
    resets = np.concatenate(([0.0], np.cumsum(np.isnan(steps))))
    if np.any(np.interp(last, meter.ts_ns, resets) != np.interp(first, meter.ts_ns, resets)):
        return None
    return float(np.sum(np.interp(last, meter.ts_ns, counted) - np.interp(first, meter.ts_ns, counted)))
