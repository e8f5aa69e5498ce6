"""A cycle as it is stored, made from what a process finds and measures.

* Times are whole microseconds, as the store keeps them.
* Two cycles with the same digest say the same; what was computed when and how often is not part of it.
* What needs the cycles before it (cycle time, warm-up) is added here, the same for every process.
"""

import dataclasses
import hashlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from analytics.process import LONG_STOP_S, Flag, Limit, Phase, Process, Segment, plain
from analytics.result import Formula, Reason, Result
from analytics.verdict import Verdict
from analytics.window import SECOND_NS, Window

F_CYCLE_TIME: Final = Formula("F-HPDC-11", "s")
STOP_FACTOR: Final = 3.0
"""An interval above this many medians is a stop, not a cycle (F-HPDC-11)."""
MEDIAN_OF: Final = 10
"""Intervals before it that the median of an interval is taken over."""


@dataclass(frozen=True, slots=True)
class Span:
    """When an earlier cycle ran, ns UTC."""

    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Change:
    """A value of the context that holds from a moment on; an empty value ends it."""

    ts_ns: int
    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class Cycle:
    """One shot, load, seam, rack, stroke or part.

    Attributes:
        kind: which process found it.
        segment: when, with its phases, lane, number and flags.
        context: recipe, lot, part, die, operator, ... by kind, as they were when it began.
        features: results by name; empty while it runs.
        limits: in force for it, by feature.
        verdicts: of what is judged beyond limits.
        verdict: of the whole; None when nothing is judged or while it runs.
        process_version: of the process that found it.
        config_id: the settings it was found with.
    """

    kind: str
    segment: Segment
    context: Mapping[str, str] = field(default_factory=dict)
    features: Mapping[str, Result] = field(default_factory=dict)
    limits: Mapping[str, Limit] = field(default_factory=dict)
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    verdict: Verdict | None = None
    process_version: str = "1"
    config_id: int = 0

    @property
    def digest(self) -> bytes:
        """(16,) of everything above, but of the settings only what they led to."""
        found = self.segment
        said = [
            *(self.kind, self.process_version, found.start_ns, found.end_ns, found.lane, found.number),
            [[phase.name, phase.start_ns, phase.end_ns] for phase in found.phases],
            sorted(found.flags),
            sorted(self.context.items()),
            [[name, _said(result)] for name, result in self.features.items()],
            sorted((name, limit.low, limit.high) for name, limit in self.limits.items()),
            sorted(self.verdicts.items()),
            self.verdict,
        ]
        return hashlib.blake2b(json.dumps(said, ensure_ascii=False).encode(), digest_size=16).digest()


def _said(result: Result) -> list[object]:
    return [result.value, result.unit, int(result.reason), result.n_used, round(result.coverage, 6), result.quality,
            result.formula_id, result.formula_version, result.inputs_hash]  # fmt: skip


def segments(process: Process, window: Window) -> tuple[Segment, ...]:
    """The cycles that a process finds, checked and in whole microseconds.

    Raises:
        ValueError: the process breaks its contract.
    """
    found = tuple(_rounded(segment) for segment in process.cycles(window))
    for segment in found:
        _check(process, segment)
    return found


def _rounded(segment: Segment) -> Segment:
    phases = tuple(Phase(one.name, _micro(one.start_ns), _micro_or_none(one.end_ns)) for one in segment.phases)
    return dataclasses.replace(
        segment, start_ns=_micro(segment.start_ns), end_ns=_micro_or_none(segment.end_ns), phases=phases
    )


def _micro(ts_ns: int) -> int:
    return int(ts_ns) // 1000 * 1000


def _micro_or_none(ts_ns: int | None) -> int | None:
    return None if ts_ns is None else _micro(ts_ns)


def _check(process: Process, segment: Segment) -> None:
    end = math.inf if segment.end_ns is None else segment.end_ns
    last: float = segment.start_ns
    for phase in segment.phases:
        until = end if phase.end_ns is None else phase.end_ns
        if not last <= phase.start_ns <= until <= end:
            raise ValueError(f"{process.kind}: phase {phase.name} of the cycle at {segment.start_ns} is out of order")
        last = until
    if segment.start_ns >= end:
        raise ValueError(f"{process.kind}: the cycle at {segment.start_ns} does not last")


def running(process: Process, segment: Segment, context: Mapping[str, str], config_id: int = 0) -> Cycle:
    """A cycle that is not over, or whose last rows may still come: nothing is measured yet."""
    opened = dataclasses.replace(segment, end_ns=None)
    return Cycle(process.kind, opened, dict(context), process_version=process.process_version, config_id=config_id)


def measure(
    process: Process,
    segment: Segment,
    window: Window,
    before: Sequence[Span],
    changes: Sequence[Change],
    config_id: int = 0,
) -> Cycle:
    """A closed cycle, measured and judged.

    Args:
        process: with the settings in force when it began.
        segment: the cycle, with an end.
        window: reaches from `lead_s` before it to `settle_s` after it.
        before: cycles of the same kind and lane before it, in order; as many as `memory` says, fewer where there are
            no more.
        changes: of the machine's context, in order, to the end of the cycle at least.
        config_id: of the settings.
    """
    context = context_at(changes, segment.start_ns)
    found = process.features(segment, dataclasses.replace(window, context=context))
    flags = segment.flags | found.flags | _warm_up(process, segment, before) | _changed(segment, changes)
    features = {**found.features}
    if not segment.lane:
        features["cycle_time"] = cycle_time(segment, before)
    limits = process.limits(context)
    measured = dataclasses.replace(found, features=features)
    return Cycle(
        kind=process.kind,
        segment=dataclasses.replace(segment, flags=frozenset(flags)),
        context=context,
        features=features,
        limits=limits,
        verdicts=dict(found.verdicts),
        verdict=process.judge(measured, limits),
        process_version=process.process_version,
        config_id=config_id,
    )


def memory(process: Process) -> int:
    """How many cycles before a cycle decide about it."""
    return max(MEDIAN_OF + 1, process.warm_up_cycles)


def cycle_time(segment: Segment, before: Sequence[Span]) -> Result:
    """Cycle time (F-HPDC-11): from the start of the cycle before to the start of this one, s; NOT_REACHED over a stop.

    >>> spans = [Span(i * 60 * SECOND_NS, (i + 1) * 60 * SECOND_NS) for i in range(5)]
    >>> f"{cycle_time(Segment(301 * SECOND_NS, None, ()), spans):.0f}"
    '61 s'
    >>> cycle_time(Segment(1000 * SECOND_NS, None, ()), spans).reason.name
    'NOT_REACHED'
    """
    starts = [span.start_ns for span in before] + [segment.start_ns]
    if len(starts) < 2:
        return plain(None, F_CYCLE_TIME)
    intervals = np.diff(starts) / SECOND_NS
    usual = float(np.median(intervals[-1 - MEDIAN_OF : -1])) if len(intervals) > 1 else math.inf
    value = plain(float(intervals[-1]), F_CYCLE_TIME)
    if intervals[-1] > STOP_FACTOR * usual:
        return dataclasses.replace(value, value=None, reason=Reason.NOT_REACHED)
    return value


def _warm_up(process: Process, segment: Segment, before: Sequence[Span]) -> set[Flag]:
    """Whether a long stop, or the beginning of all records, lies among the last `warm_up_cycles` cycles."""
    last = (
        [*before[-process.warm_up_cycles :], Span(segment.start_ns, segment.start_ns)] if process.warm_up_cycles else []
    )
    if last and len(before) < process.warm_up_cycles:
        return {Flag.WARM_UP}
    stops = [later.start_ns - earlier.end_ns > LONG_STOP_S * SECOND_NS for earlier, later in itertools.pairwise(last)]
    return {Flag.WARM_UP} if any(stops) else set()


def context_at(changes: Sequence[Change], ts_ns: int) -> dict[str, str]:
    """The context that holds at a moment; `changes` in order of time."""
    held = {change.kind: change.value for change in changes if change.ts_ns <= ts_ns}
    return {kind: value for kind, value in sorted(held.items()) if value}


def _changed(segment: Segment, changes: Sequence[Change]) -> set[Flag]:
    within = [c for c in changes if segment.start_ns < c.ts_ns < (segment.end_ns or 0) and c.kind == "recipe"]
    at_start = context_at(changes, segment.start_ns).get("recipe", "")
    return {Flag.RECIPE_CHANGED} if any(change.value != at_start for change in within) else set()
