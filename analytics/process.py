"""The process contract: what a process needs of a machine, how it finds cycles, what it measures and how it judges.

* A process is a frozen model: a table `[[cycle]]` of the machine file. Its fields are its settings, `kind` is its name.
* It keeps no state. `cycles` and `features` are pure functions of a window, so live, replayed and recomputed agree.
* **Locality.** A cycle depends on nothing but rows from `lead_s` before its start to `settle_s` after its end. Cut
  anywhere, the windows give the same cycles for all that lie wholly inside by that margin. A cycle whose start is not
  seen is not reported; one whose end is not seen is reported open, with `end_ns` None.
* It is written against roles, so one file serves every make of machine.
* A feature is a `Result`: a number, or the reason why there is none.
"""

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

from pydantic import Field, FiniteFloat, PositiveFloat, model_validator

from analytics.result import Evidence, Formula, Result, columns, judged
from analytics.verdict import Verdict, within, worst
from analytics.window import SECOND_NS, Series, Window
from pipeline.plant import Frozen

LONG_STOP_S: Final = 600.0
"""A pause between cycles above this is a stop after which the machine warms up (section 1.3)."""


class Flag(enum.StrEnum):
    """What keeps a cycle out of baselines."""

    WARM_UP = "warm_up"  # among the first after a long stop
    ABORTED = "aborted"  # ended without its last phases
    GAP = "gap"  # rows that find or measure it are missing
    RECIPE_CHANGED = "recipe_changed"  # the context changed while it ran


@dataclass(frozen=True, slots=True)
class Phase:
    """A named part of a cycle, [start_ns, end_ns); the running one of an open cycle has no end."""

    name: str
    start_ns: int
    end_ns: int | None


@dataclass(frozen=True, slots=True)
class Segment:
    """A cycle as it was found, before anything is measured.

    Attributes:
        start_ns: first moment, ns UTC.
        end_ns: the moment after the last; None while it runs.
        phases: in order of time, without overlap, inside the cycle; a gap between two is unknown.
        lane: tells cycles apart that run at the same time (a carrier, a zone), empty otherwise.
        number: the machine's own count of it, None when it has none.
        flags: what keeps it out of baselines.
    """

    start_ns: int
    end_ns: int | None
    phases: tuple[Phase, ...]
    lane: str = ""
    number: int | None = None
    flags: frozenset[Flag] = frozenset()

    def phase(self, name: str) -> Phase | None:
        """The first phase of that name, None when the cycle has none."""
        return next((phase for phase in self.phases if phase.name == name), None)


@dataclass(frozen=True, slots=True)
class Roles:
    """The signals that a process is written against, by their names in domain.md.

    Attributes:
        markers: needed to find cycles, always.
        optional_markers: help to find cycles and phases where the machine has them.
        mandatory: needed for what the process is about, besides the markers.
        optional: each switches on the features that name it.
        bursts: waveform roles, all optional.
    """

    markers: tuple[str, ...]
    mandatory: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    optional_markers: tuple[str, ...] = ()
    bursts: tuple[str, ...] = ()

    def missing(self, present: Iterable[str]) -> tuple[str, ...]:
        """The roles without which the process cannot run."""
        have = set(present)
        return tuple(role for role in (*self.markers, *self.mandatory) if role not in have)


class Limit(Frozen):
    """The limits of a feature, in its unit; a side left out is not judged."""

    low: FiniteFloat | None = None
    high: FiniteFloat | None = None

    @model_validator(mode="after")
    def _check(self) -> "Limit":
        if self.low is None and self.high is None:
            raise ValueError("a limit needs low, high or both")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low = {self.low} lies above high = {self.high}")
        return self

    def judge(self, result: Result) -> Verdict:
        """PASS, FAIL, or INCOMPLETE and REVIEW as `verdict.within` says."""
        low = float("-inf") if self.low is None else self.low
        high = float("inf") if self.high is None else self.high
        return within(result, low, high)


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of one cycle.

    Attributes:
        features: results by name, in the order in which people read them.
        verdicts: of what is judged beyond limits (a WPS envelope, a recipe), by name.
        flags: found while measuring.
    """

    features: Mapping[str, Result]
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    flags: frozenset[Flag] = frozenset()


class Process(Frozen, ABC):
    """Base of the processes: `[[cycle]]` of a machine file."""

    kind: str
    """Which process; each subclass fixes it."""
    limit: dict[str, Limit] = Field(default_factory=dict)
    """Limits by feature, for every recipe."""
    recipe_limit: dict[str, dict[str, Limit]] = Field(default_factory=dict)
    """Limits by recipe and feature; they go before `limit`."""
    ideal_cycle_s: PositiveFloat | None = None
    """PRI, planned run time of one item, s; effectiveness is undefined without."""
    parts_per_cycle: PositiveFloat = 1.0
    """Items that one good cycle makes."""

    lead_s: ClassVar[float] = 0.0
    """Rows this long before a cycle's start decide where it starts."""
    settle_s: ClassVar[float] = 0.0
    """Rows this long after a cycle's end decide where it ended."""
    process_version: ClassVar[str] = "1"
    """Changes with every change of segmentation or of the set of features."""

    @property
    def warm_up_cycles(self) -> int:
        """Cycles after a long stop that are flagged WARM_UP."""
        return 0

    @abstractmethod
    def roles(self) -> Roles:
        """What it needs of the machine, given its settings."""

    @abstractmethod
    def cycles(self, window: Window) -> tuple[Segment, ...]:
        """The cycles that begin in the window, in order of their starts; see Locality above."""

    @abstractmethod
    def features(self, segment: Segment, window: Window) -> Measured:
        """What a closed cycle measured.

        `window` reaches from `lead_s` before the cycle to `settle_s` after it; its context is what held at the start.
        A feature whose optional role the machine lacks is left out; one whose rows are missing has a reason.
        """

    def limits(self, context: Mapping[str, str]) -> dict[str, Limit]:
        """The limits in force for a cycle with this context."""
        return self.limit | self.recipe_limit.get(context.get("recipe", ""), {})

    def judge(self, measured: Measured, limits: Mapping[str, Limit]) -> Verdict | None:
        """The verdict of a cycle; None when nothing is judged. A limit on a feature that is missing is INCOMPLETE."""
        verdicts = list(measured.verdicts.values())
        for name, limit in limits.items():
            found = measured.features.get(name)
            verdicts.append(Verdict.INCOMPLETE if found is None else limit.judge(found))
        return worst(*verdicts) if verdicts else None


def signal(series: Series, unit: str, version: str = "last") -> Result:
    """The last number of a role in a window, as a feature: what the machine itself reports of a cycle.

    >>> f"{signal(Series.of([1, 2], [2.5, 2.6]), 'm/s'):.1f}"
    '2.6 m/s'
    """
    good = series.good
    value = float(good.value[-1]) if len(good) else None
    return plain(value, Formula("SIGNAL", unit, version), Evidence(len(good), 1.0, series.worst))


def plain(value: float | None, formula: Formula, evidence: Evidence | None = None) -> Result:
    """One number as a result; None and NaN are MISSING_INPUT."""
    given = columns(value)
    return judged(given[0], formula, given, evidence=evidence or Evidence()).one()


def lasting(phase: Phase | None, formula: Formula) -> Result:
    """The duration of a closed phase, s; MISSING_INPUT when there is none."""
    if phase is None or phase.end_ns is None:
        return plain(None, formula)
    return plain((phase.end_ns - phase.start_ns) / SECOND_NS, formula)
