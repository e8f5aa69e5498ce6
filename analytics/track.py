"""One process on one machine: which rows to look at when some are new, and what that changes in the store.

* Nothing here knows a database; `watch` reads and writes what is asked for here.
* By the locality of the process contract, new rows in [from_ns, to_ns] can change only cycles that reach into that span
  by `lead_s` and `settle_s`. Exactly those are found again; all others stay untouched.
* What is cached is a copy of rows in the store, read again where rows are new; a restart starts without it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from analytics.cycle_store import Known, TagRow
from analytics.cycles import Change, Cycle, segments
from analytics.machines import Watched
from analytics.process import Process, Segment
from analytics.rows import Wanted
from analytics.window import EMPTY, SECOND_NS, Series, Window
from pipeline.model import Waveform

Bursts = Mapping[str, tuple[Waveform, ...]]
"""Waveforms by role."""
CONTEXT: Final = "context."
STEP_NS: Final = 3600 * SECOND_NS
"""How much further a window reaches when a cycle's end is not in it yet."""


@dataclass(frozen=True, slots=True)
class Dated:
    """A process with its settings, and from when to when they are in force."""

    config_id: int
    process: Process
    from_ns: int
    to_ns: int


@dataclass(frozen=True, slots=True)
class Dirty:
    """New rows in [from_ns, to_ns]; only cycles that start in [own_from_ns, own_to_ns) are this task's to write."""

    from_ns: int
    to_ns: int
    own_from_ns: int = -(2**62)
    own_to_ns: int = 2**62


@dataclass(frozen=True, slots=True)
class Found:
    """A segment with the settings it was found with."""

    segment: Segment
    dated: Dated


@dataclass(slots=True)
class Track:
    """A process on a machine.

    Attributes:
        machine: as its file says.
        asset_id: in the store.
        kind: of the process.
        dated: settings, oldest first.
        tags: by role.
        newest_ns: the newest row of the machine.
        known_from_ns: since when all stored cycles are in mind; None when they must be asked for.
    """

    machine: Watched
    asset_id: int
    kind: str
    dated: Sequence[Dated]
    tags: Mapping[str, TagRow]
    newest_ns: int
    known_from_ns: int | None = None
    _known: Sequence[Known] = ()
    _rows: dict[str, Series] = field(default_factory=dict)
    _waves: dict[str, tuple[Waveform, ...]] = field(default_factory=dict)
    _cached: tuple[int, int] = (0, 0)

    @property
    def process(self) -> Process:
        """With the settings of today."""
        return self.dated[-1].process

    @property
    def reach_ns(self) -> int:
        """How far a row decides about starts and ends around it."""
        return round(max(max(d.process.lead_s, d.process.settle_s) for d in self.dated) * SECOND_NS)

    @property
    def settle_ns(self) -> int:
        """How long after its end rows decide about a cycle."""
        return round(max(d.process.settle_s for d in self.dated) * SECOND_NS)

    @property
    def lead_ns(self) -> int:
        """How long before its start rows decide about a cycle."""
        return round(max(d.process.lead_s for d in self.dated) * SECOND_NS)

    def marker_roles(self) -> list[str]:
        """Roles that find cycles, of those that the machine sends."""
        wanted = {r for d in self.dated for r in (*d.process.roles().markers, *d.process.roles().optional_markers)}
        return sorted(wanted & set(self.tags))

    def all_roles(self) -> list[str]:
        """Roles that find or measure cycles or tell their context, of those that the machine sends."""
        wanted = set(self.context_roles()) | {
            role
            for r in (d.process.roles() for d in self.dated)
            for role in (*r.markers, *r.optional_markers, *r.mandatory, *r.optional)
        }
        return sorted(wanted & set(self.tags))

    def context_roles(self) -> list[str]:
        """Roles that tell context as a number: `context.lot`, `context.recipe`, ..."""
        return sorted(role for role in self.tags if role.startswith(CONTEXT))

    def remember(self, from_ns: int, known: Sequence[Known]) -> None:
        """Keeps in mind all stored cycles that reach into [from_ns, ...); good until something is written."""
        self.known_from_ns, self._known = from_ns, known

    def known_since(self, from_ns: int) -> list[Known] | None:
        """The stored cycles that reach into [from_ns, ...), None when they are not in mind."""
        if self.known_from_ns is None or from_ns < self.known_from_ns:
            return None
        return [one for one in self._known if one.end_ns is None or one.end_ns >= from_ns]

    def window_start(self, dirty: Dirty, known: Sequence[Known]) -> int:
        """From where on cycles must be found again."""
        return min([dirty.from_ns - self.reach_ns, *(one.start_ns for one in known)])

    def first_end(self, dirty: Dirty, known: Sequence[Known]) -> int:
        """How far to look at first."""
        ends = [one.end_ns + self.settle_ns for one in known if one.end_ns is not None]
        return min(max([dirty.to_ns + 2 * self.reach_ns, *ends]), self.newest_ns)

    def missing_from(self, start_ns: int, dirty: Dirty) -> int:
        """From where on rows must be read to have [start_ns, ...) as it is in the store now."""
        first, last = self._cached
        if first <= start_ns - self.lead_ns and start_ns < last:
            return min(dirty.from_ns, last)
        return start_ns - self.lead_ns

    def window(
        self, start_ns: int, read_from_ns: int, end_ns: int, read: Mapping[str, Series], waves: Bursts
    ) -> Window:
        """Rows [start - lead, end): what is cached before `read_from_ns`, what was read after it."""
        first = start_ns - self.lead_ns
        rows = {
            role: _joined(self._rows.get(role, EMPTY).between(first, read_from_ns), new) for role, new in read.items()
        }
        found = {
            role: (*_between(self._waves.get(role, ()), first, read_from_ns), *some) for role, some in waves.items()
        }
        self._rows, self._waves, self._cached = rows, found, (first, end_ns)
        return Window(self.machine.asset, first, end_ns, rows, found)

    def find(self, window: Window, start_ns: int, dirty: Dirty) -> list[Found]:
        """The cycles that the new rows may have changed, in order of their starts."""
        found = []
        for dated in self.dated:
            if dated.from_ns >= window.end_ns or dated.to_ns <= start_ns:
                continue
            found += [Found(segment, dated) for segment in segments(dated.process, window)]
        return sorted(
            (
                one
                for one in found
                if max(start_ns, one.dated.from_ns, dirty.own_from_ns) <= one.segment.start_ns
                and one.segment.start_ns < min(one.dated.to_ns, dirty.own_to_ns)
                and self._touched(one.segment.start_ns, one.segment.end_ns, dirty)
            ),
            key=lambda one: (one.segment.start_ns, one.segment.lane),
        )

    def _touched(self, start_ns: int, end_ns: int | None, dirty: Dirty) -> bool:
        return start_ns <= dirty.to_ns + self.reach_ns and (end_ns is None or end_ns + self.settle_ns >= dirty.from_ns)

    def owned(self, known: Iterable[Known], dirty: Dirty) -> list[Known]:
        """Of the cycles in the store those that `find` finds again, or that are no more."""
        return [
            one
            for one in known
            if self._touched(one.start_ns, one.end_ns, dirty) and dirty.own_from_ns <= one.start_ns < dirty.own_to_ns
        ]

    def further(self, found: Sequence[Found], end_ns: int) -> int | None:
        """Where to look up to instead, when a cycle is not settled within the window; None when all is seen."""
        if end_ns >= self.newest_ns or all(self.is_settled(one.segment, end_ns) for one in found):
            return None
        return min(self.newest_ns, end_ns + max(STEP_NS, end_ns - found[0].segment.start_ns))

    def is_settled(self, segment: Segment, seen_to_ns: int) -> bool:
        """Whether a cycle is over and every row that decides about it could be seen."""
        return segment.end_ns is not None and segment.end_ns + self.settle_ns <= seen_to_ns


@dataclass(slots=True)
class Plan:
    """One span of one track: where its cycles begin, and which rows are missing to find them."""

    track: Track
    dirty: Dirty
    known: Sequence[Known]
    start_ns: int
    read_from_ns: int
    end_ns: int
    roles: Sequence[str]

    def wanted(self) -> list[Wanted]:
        """The rows of the markers that are not cached."""
        tags = [self.track.tags[role] for role in self.roles]
        return [tag.wanted(self.read_from_ns, self.end_ns + 1000) for tag in tags]


@dataclass(frozen=True, slots=True)
class Difference:
    """What has to be written.

    Attributes:
        removed: ids of cycles that are no more.
        changed: cycles whose content is new, with the id they keep.
        added: cycles that were not there.
        moved: whether starts or ends of closed cycles before the last one changed, so that what depends on the order
            must be looked at again.
    """

    removed: list[int]
    changed: list[tuple[int, Cycle]]
    added: list[Cycle]
    moved: bool


def difference(known: Sequence[Known], cycles: Sequence[Cycle]) -> Difference:
    """What turns the store's cycles into these. A cycle keeps its id where its start, else most of it, is the same."""
    left = {one.cycle_id: one for one in known}
    pairs: list[tuple[Known, Cycle]] = []
    added = list(cycles)
    for mate_of in (_same_start, _overlapping):
        waiting, added = added, []
        for cycle in waiting:
            mate = mate_of(cycle, left.values())
            if mate is None:
                added.append(cycle)
            else:
                pairs.append((left.pop(mate.cycle_id), cycle))
    changed = [(old.cycle_id, new) for old, new in pairs if old.digest != new.digest]
    return Difference(list(left), changed, added, _moved(list(left.values()), pairs, added))


def _same_start(cycle: Cycle, known: Iterable[Known]) -> Known | None:
    found = cycle.segment
    return next((one for one in known if (one.start_ns, one.lane) == (found.start_ns, found.lane)), None)


def _overlapping(cycle: Cycle, known: Iterable[Known]) -> Known | None:
    """The one in the same lane that shares most time."""

    def shared(one: Known) -> int:
        ends = [e for e in (one.end_ns, cycle.segment.end_ns) if e is not None]
        return min([*ends, 2**62]) - max(one.start_ns, cycle.segment.start_ns)

    mates = [one for one in known if one.lane == cycle.segment.lane and shared(one) > 0]
    return max(mates, key=shared, default=None)


def _moved(gone: Sequence[Known], pairs: Sequence[tuple[Known, Cycle]], new: Sequence[Cycle]) -> bool:
    shifted = [
        old for old, cycle in pairs
        if old.end_ns is not None and (old.start_ns, old.end_ns) != (cycle.segment.start_ns, cycle.segment.end_ns)
    ]  # fmt: skip
    return bool(gone or shifted or new)


def told_by_tags(rows: Mapping[str, Series]) -> list[Change]:
    """Context that a machine tells in tags: a change wherever the number of a role `context.<kind>` is another.

    >>> [(c.kind, c.value) for c in told_by_tags({"context.lot": Series.of([1, 2, 3, 4], [7, 7, 8.0, float("nan")])})]
    [('lot', '7'), ('lot', '8')]
    """
    changes = []
    for role, series in rows.items():
        if role.startswith(CONTEXT):
            good = series.good
            new = np.append(True, np.diff(good.value) != 0)[: len(good)]
            kind = role.removeprefix(CONTEXT)
            changes += [
                Change(at, kind, f"{value:.15g}")
                for at, value in zip(good.ts_ns[new].tolist(), good.value[new].tolist(), strict=True)
            ]
    return sorted(changes, key=lambda change: change.ts_ns)


def _between(waves: Sequence[Waveform], start_ns: int, end_ns: int) -> list[Waveform]:
    return [wave for wave in waves if start_ns <= wave.ts_ns < end_ns]


def _joined(before: Series, new: Series) -> Series:
    if not len(before):
        return new
    if not len(new):
        return Series(before.ts_ns, before.value, before.quality, before.every_s, before.counter)
    return Series(
        np.concatenate((before.ts_ns, new.ts_ns)),
        np.concatenate((before.value, new.value)),
        np.concatenate((before.quality, new.quality)),
        new.every_s,
        new.counter,
    )


def after_cut(spans: Sequence[tuple[int, int]], longest_ns: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Spans joined where they touch: the first `longest_ns` of each to work on now, and what is left of them."""
    joined: list[list[int]] = []
    for first, last in sorted(spans):
        if joined and first <= joined[-1][1] + SECOND_NS:
            joined[-1][1] = max(joined[-1][1], last)
        else:
            joined.append([first, last])
    now = [(first, min(last, first + longest_ns)) for first, last in joined]
    rest = [(first + longest_ns + 1, last) for first, last in joined if last > first + longest_ns]
    return now, rest
