"""The machines that are read: one task each, changed by difference.

* A machine whose file says the same as before is not touched: its connection stays, and it misses no tick.
* What ends and what begins anew does so in this order, so that two machines on one line never disagree about it.
* A task that fails ends all of them; one that is ended because its file has gone closes its books like at the end.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from collectors.collector import BOUNDARY_S, Collector, Durable
from collectors.deadband import limits_of
from collectors.source import Clock
from collectors.stopping import ended
from pipeline import metrics
from pipeline.plant import Machine

_READ: Final = ("path", "name", "process", "source", "tag", "waveform", "waveform_source")
"""What of a machine file concerns the reading, beside limits of tags with a dead band; the rest is the analytics'."""
_CLOSING_S: Final = 2 * BOUNDARY_S + 1.0


@dataclass(frozen=True, slots=True)
class Turnover:
    """What a change of the files did, by asset path; an asset that is in none of these was not touched."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class Crew:
    """The collectors that run.

    Args:
        group: that owns their tasks.
        spool: where everything becomes durable.
        name: of this gateway.
        clock: wall clock.
    """

    def __init__(self, group: asyncio.TaskGroup, spool: Durable, name: str, clock: Clock) -> None:
        self._group, self._spool, self._name, self._clock = group, spool, name, clock
        self._machines: dict[str, Machine[Any]] = {}
        self._tasks: dict[Collector, asyncio.Task[Any]] = {}

    @property
    def collectors(self) -> tuple[Collector, ...]:
        """Those that run now."""
        return tuple(self._tasks)

    async def follow(self, machines: Mapping[str, Machine[Any]]) -> Turnover:
        """Makes these, by asset path, the machines that are read; returns when what was to end has ended."""
        before = self._machines
        removed = tuple(asset for asset in before if asset not in machines)
        added = tuple(asset for asset in machines if asset not in before)
        changed = tuple(asset for asset in machines if asset in before and not alike(before[asset], machines[asset]))
        self._machines = dict(machines)
        await self._end(asset for asset in (*removed, *changed))
        for asset in (*changed, *added):
            self._begin(asset, machines[asset])
        return Turnover(added, changed, removed)

    def _begin(self, asset: str, machine: Machine[Any]) -> None:
        parts = [Collector(asset, machine, self._spool, self._name, self._clock)]
        if machine.waveform_source is not None:
            bursts = bursts_of(machine)
            parts.append(Collector(asset, bursts, self._spool, self._name, self._clock, part="waveform"))
        for one in parts:
            self._tasks[one] = self._group.create_task(one.run(), name=f"machine {one.label}")

    async def _end(self, assets: Iterable[str]) -> None:
        gone = set(assets)
        leaving = {one: task for one, task in self._tasks.items() if one.asset in gone}
        for one in leaving:
            del self._tasks[one]
        await asyncio.gather(*(ended(task, _CLOSING_S) for task in leaving.values()))
        for one in leaving:
            if one.asset not in self._machines:
                metrics.device_up.remove(one.label)


def alike(one: Machine[Any], other: Machine[Any]) -> bool:
    """Whether two files of a machine are read in the same way."""
    same = all(getattr(one, key) == getattr(other, key) for key in _READ)
    return same and limits_of(one.tag, one.detector) == limits_of(other.tag, other.detector)


def bursts_of(machine: Machine[Any]) -> Machine[Any]:
    """The part of a machine that its second source brings: its waveforms, no tags."""
    return machine.model_copy(update={"source": machine.waveform_source, "waveform_source": None, "tag": ()})
