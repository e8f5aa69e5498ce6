"""Carriers on a hoist line: who was set into which tank and lifted out of it, several at a time (section 4.1).

* The hoist tells one thing at a time: the tank it last served, 0 while it carries, and whom. A change is an event.
* A carrier begins where the hoist lifts it for its first tank, and ends where it is set down in the last one.
* What happened between two rows is not known: a tank whose arrival was missed is absent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from analytics.process import Flag, Phase, Segment
from analytics.readings import as_sent, held
from analytics.result import Floats, Ints
from analytics.time_series import GAP_FACTOR
from analytics.window import SECOND_NS, Series, Window

CARRIED: Final = 0
_GLITCH_ROWS: Final = 2


@dataclass(frozen=True, slots=True)
class Line:
    """The tanks of a line.

    Attributes:
        names: of tank 1, 2, ... in the order of the process; "" is unused.
        first: numbers of the tanks a carrier may be set into first.
        main: number of the tank in which it is coated.
        last: numbers of the tanks where it ends.
    """

    names: tuple[str, ...]
    first: frozenset[int]
    main: int
    last: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Event:
    ts_ns: int
    tank: int
    carrier: int
    known_ns: int
    """How long the hoist was seen to show what it showed before."""


@dataclass(frozen=True, slots=True, eq=False)
class _Span:
    """What was looked at: first moment, margin, longest move, times before gaps; all ns."""

    start_ns: int
    lead_ns: int
    move_ns: int
    gaps_ns: Ints

    def near(self, lift: _Event, arrival: _Event) -> bool:
        """Whether an arrival may belong to a lift."""
        return arrival.ts_ns - lift.ts_ns <= self.move_ns


def carriers(window: Window, line: Line, lead_s: float, move_s: float) -> tuple[Segment, ...]:
    """The carriers in order of their starts; `lane` and `number` are the carrier's.

    A lift belongs to an arrival at most `move_s` later. A carrier that was not seen for `lead_s` and turns up before
    the main tank has lost its beginning in a gap: it begins there, flagged GAP.
    """
    rows = as_sent(window["hoist.tank_id"]).good
    events, gaps_ns = _events(rows, held(window["hoist.carrier_id"], rows.ts_ns), len(line.names))
    span = _Span(window.start_ns, round(lead_s * SECOND_NS), round(move_s * SECOND_NS), gaps_ns)
    by_carrier: dict[int, list[_Event]] = {}
    waiting = range(1, min(line.first))  # where carriers stand before they begin
    for event in events:
        if event.tank in waiting:
            continue
        by_carrier.setdefault(event.carrier, []).append(event)
    found = [segment for number, own in by_carrier.items() for segment in _passages(number, own, line, span)]
    return tuple(sorted(found, key=lambda segment: (segment.start_ns, segment.lane)))


def _events(rows: Series, carrier: Floats, tanks: int) -> tuple[list[_Event], Ints]:
    """Changes of what the hoist shows, without interruptions of one or two rows, and the times before gaps."""
    good = np.isfinite(carrier) & (carrier > 0) & (rows.value >= 0) & (np.rint(rows.value) <= tanks)
    when = rows.ts_ns[good]
    shown = np.column_stack([np.rint(rows.value[good]), np.rint(carrier[good])]).astype(np.int64)
    heads = np.flatnonzero(np.append(True, (np.diff(shown, axis=0) != 0).any(axis=1))[: len(shown)])
    lengths = np.diff(np.append(heads, len(shown)))
    if len(heads) > 2 and np.isfinite(rows.every_s):  # on change every row counts
        same = (shown[heads[:-2]] == shown[heads[2:]]).all(axis=1) & (lengths[1:-1] <= _GLITCH_ROWS)
        kept = np.repeat(~np.concatenate([[False], same, [False]]), lengths)
        when, shown = when[kept], shown[kept]
        heads = np.flatnonzero(np.append(True, (np.diff(shown, axis=0) != 0).any(axis=1))[: len(shown)])
    every_ns = rows.every_s * SECOND_NS
    blind = when[:-1][np.diff(when) > GAP_FACTOR * every_ns] if len(when) > 1 else when[:0]
    found = []
    for head in heads[1:].tolist():  # what the first row shows may have begun long before
        before_ns, at_ns = int(when[head - 1]), int(when[head])
        known_ns = at_ns if at_ns - before_ns <= GAP_FACTOR * every_ns else before_ns + round(every_ns)
        found.append(_Event(at_ns, int(shown[head, 0]), int(shown[head, 1]), known_ns))
    return found, blind


def _passages(number: int, own: list[_Event], line: Line, span: _Span) -> list[Segment]:
    """The passages of one carrier through the line."""
    starts = [place for place in range(len(own)) if _begins(own, place, line, span)]
    found = []
    for place, first in enumerate(starts):
        closed = place + 1 < len(starts)
        stop = starts[place + 1] if closed else len(own)
        found.append(_segment(number, own[first:stop], line, closed=closed, gaps_ns=span.gaps_ns))
    return found


def _begins(own: list[_Event], place: int, line: Line, span: _Span) -> bool:
    """Whether an event is the first of a passage: a lift for the first tank, or an arrival whose lift was not seen."""
    event, before = own[place], own[place - 1] if place else None
    target = place + 1 if event.tank == CARRIED else place
    if target >= len(own) or own[target].tank == CARRIED:
        return False
    if place == target and before is not None and before.tank == CARRIED and span.near(before, event):
        return False  # its lift is there and has been asked
    if before is not None and before.tank in line.last:
        return True
    if own[target].tank in line.first:
        return not _again(own, target, line, span)
    silent_ns = event.ts_ns - (span.start_ns if before is None else before.ts_ns)
    return own[target].tank < line.main and silent_ns >= span.lead_ns


def _again(own: list[_Event], place: int, line: Line, span: _Span) -> bool:
    """Whether a carrier was in its first tank before and in no other since."""
    for event in reversed(own[:place]):
        if own[place].ts_ns - event.ts_ns > span.lead_ns or event.tank not in {CARRIED, *line.first}:
            return False
        if event.tank in line.first:
            return True
    return False


def _segment(number: int, own: list[_Event], line: Line, *, closed: bool, gaps_ns: Ints) -> Segment:
    start_ns = own[0].ts_ns
    end_ns: int | None = None
    phases: list[Phase] = []
    for place, event in enumerate(own):
        if event.tank in line.last:
            end_ns = event.ts_ns
            break
        if event.tank != CARRIED:
            following = own[place + 1] if place + 1 < len(own) else None
            name = line.names[event.tank - 1]
            phases.append(Phase(name, event.ts_ns, None if following is None else following.ts_ns))
    flags = set()
    arrivals = [event.tank for event in own if event.tank != CARRIED]
    if arrivals and arrivals[0] not in line.first:
        flags.add(Flag.GAP)
    if end_ns is None and closed:
        end_ns = own[-1].ts_ns + 1
        phases = [Phase(p.name, p.start_ns, end_ns if p.end_ns is None else p.end_ns) for p in phases]
        flags.add(Flag.ABORTED)
    until_ns = end_ns if end_ns is not None else own[-1].ts_ns
    if bool(((gaps_ns >= start_ns) & (gaps_ns < until_ns)).any()) or own[0].known_ns < own[0].ts_ns:
        flags.add(Flag.GAP)
    return Segment(start_ns, end_ns, tuple(phases), str(number), number, frozenset(flags))


def out_of_order(segment: Segment, names: Sequence[str]) -> int:
    """How often a carrier went back in the order of the tanks."""
    order = [names.index(phase.name) for phase in segment.phases if phase.name in names]
    return sum(later < earlier for earlier, later in pairwise(order))
