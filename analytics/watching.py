"""What watches a machine: the `[[detector]]` tables of its file, a detector with what it looks at and how it rings."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, PositiveFloat, TypeAdapter, ValidationError, model_validator

from analytics.alarm import AlarmSettings
from analytics.baseline import Baseline, read_baseline
from analytics.known_detectors import AnyDetector
from analytics.profile_table import Profile
from pipeline.errors import ConfigError
from pipeline.faults import explain
from pipeline.plant import Beside, Frozen

TAGS: Final = "tags"
_DETECTOR: Final[TypeAdapter[AnyDetector]] = TypeAdapter(AnyDetector)


class View(Frozen):
    """What a detector looks at, and how it rings: the keys that all detectors share."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    """Unique on the machine; alarms carry it."""
    on: str = TAGS
    """`tags`, or the kind of the cycles whose features it judges."""
    of: tuple[str, ...] = ()
    """Roles of tags, or features; none: all of them."""
    by: tuple[str, ...] = ()
    """Kinds of context that are judged apart, as recipe or mold."""
    during: tuple[str, ...] = ()
    """Of tags: only in these phases of the machine's first process; none: always."""
    every_s: PositiveFloat | None = None
    """Of tags: grid, s; none: the slowest of them."""
    profile: Profile | None = None
    """Of cycles: in place of their features a signal along the cycle, a column a position."""
    baseline: Beside | None = None
    """The file that `rootdx learn` writes."""
    alarm: AlarmSettings = AlarmSettings()

    @model_validator(mode="after")
    def _check(self) -> "View":
        if self.on == TAGS and self.by:
            raise ValueError(f"by = {list(self.by)} is for features of cycles; tags have no context of their own")
        if self.profile is not None and (self.on == TAGS or self.of):
            raise ValueError("profile is of cycles (on = their kind), and takes the place of `of`")
        if self.on != TAGS and (self.during or self.every_s is not None):
            raise ValueError('during and every_s are for on = "tags"')
        return self


class Watching(Frozen):
    """One `[[detector]]`."""

    view: View
    detector: AnyDetector

    @property
    def name(self) -> str:
        """As in the file."""
        return self.view.name

    @property
    def is_of_cycles(self) -> bool:
        """Whether it judges features of cycles."""
        return self.view.on != TAGS

    def baseline(self) -> Baseline | None:
        """What it learned; None when it needs nothing.

        Raises:
            ConfigError: the file cannot be read, or is of another detector; says what to do.
        """
        if self.view.baseline is None:
            return None
        found = read_baseline(self.view.baseline)
        found.fits(self.detector, None, str(self.view.baseline))
        return found


COUNTED: Final = frozenset({"1", "kW.h", "A.h"})
"""Units of states, bits and counters, which rise or jump by design."""
CONTEXTS: Final = ("recipe", "part", "die", "mold")
"""Kinds of context that a machine without any [[detector]] is judged apart by."""


def unattended(kinds: Sequence[str], polled: Mapping[str, str]) -> tuple[Watching, ...]:
    """What watches a machine for which nobody has configured anything: its cycles, its line, and its analog tags.

    Args:
        kinds: processes that it runs.
        polled: unit by role of the tags that are read at an interval.

    >>> [one.name for one in unattended(["hpdc_shot"], {"metal.temp": "Cel", "shot.count": "1"})]
    ['hpdc_shot', 'line', 'anything']
    """
    rings: dict[str, Any] = {"refractory_s": 900.0, "priority": "low"}
    tables: list[dict[str, Any]] = [
        {"kind": "adaptive", "name": kind, "on": kind, "by": list(CONTEXTS), "alarm": rings} for kind in kinds
    ]
    if polled:
        tables.append({"kind": "gap", "name": "line", "of": list(polled), "alarm": rings | {"on_delay_s": 60.0}})
    analog = [role for role, unit in polled.items() if unit not in COUNTED and not role.endswith(("total", "count"))]
    if analog:
        tables.append(
            {"kind": "general", "name": "anything", "of": analog, "every_s": 60.0, "subject": "all", "past_rows": 1440,
             "alarm": rings}
        )  # fmt: skip
    return watchings(tables, kinds, "unattended")


def watchings(
    tables: Sequence[Mapping[str, Any]], kinds: Sequence[str], place: str, folder: Path = Path()
) -> tuple[Watching, ...]:
    """The `[[detector]]` tables of a machine that runs processes of these kinds; baselines lie beside its file.

    Raises:
        ConfigError: names table, key, value and what was expected.
    """
    found = tuple(_watching(dict(table), f"{place}: [[detector]] {n}", folder) for n, table in enumerate(tables, 1))
    twice = [name for name, times in Counter(one.name for one in found).items() if times > 1]
    if twice:
        raise ConfigError(f"{place}: [[detector]] name = {twice[0]!r} appears twice; alarms are known by it")
    for one in found:
        if one.is_of_cycles and one.view.on not in kinds:
            known = ", ".join(map(repr, (TAGS, *kinds)))
            raise ConfigError(f"{place}: [[detector]] {one.name!r}: on = {one.view.on!r}; expected one of {known}")
        if one.detector.needs_baseline and one.view.baseline is None:
            raise ConfigError(
                f"{place}: [[detector]] {one.name!r}: {one.detector.kind} needs baseline = a file; make it with "
                f"rootdx learn"
            )
    return found


def _watching(table: dict[str, Any], where: str, folder: Path) -> Watching:
    shared = {key: table.pop(key) for key in list(table) if key in View.model_fields}
    shared.setdefault("name", str(table.get("kind", "detector")).replace(".", "-"))
    try:
        view = View.model_validate(shared, context={"folder": folder})
        return Watching(view=view, detector=_DETECTOR.validate_python(table))
    except ValidationError as error:
        raise ConfigError(explain(error, where)) from error
