"""Which known failure a move of the variables resembles: the tables of signatures of the domain, in signatures.toml.

* Likeness is the cosine between what moved and what the failure moves, over all variables that any signature of the
  process names; what none of them names (a derived feature, a nuisance) counts neither way.
* Moves are taken robustly: below `NOISE` nothing moved, from `FULL` on how far no longer matters.
* A failure is only judged by variables that were measured, and only when one that makes it is among them.

>>> moved = [Move("biscuit", -6.0, 25.0, 14.0), Move("v_fast", 0.4, 2.6, 2.62), Move("cycle_time", 9.0, 62.0, 80.0)]
>>> resembling("hpdc_shot", moved)
[{'failure': 'dosing', 'likeness': 1.0}]
>>> resembling("plating_rack", [Move("bath1.ph", 0.8, 4.1, 4.16)], {"subject": "bath1.ph", "value": 4.16, "high": 4.15})
[{'failure': 'ph_loss', 'likeness': 1.0}]
"""

import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib import resources
from typing import Any, Final, Literal

from pydantic import Field, FiniteFloat

from analytics.explanation import Move
from pipeline.plant import Frozen

NOISE: Final = 2.0
"""Moves up to this count as none, in robust standard deviations."""
FULL: Final = 8.0
"""Moves from this on count alike."""
LEAST: Final = 0.5
"""Likeness below which nothing is said."""
MOST: Final = 3
"""Failures that are told of."""

_FARTHEST: Final[Mapping[str, Callable[[Move], float]]] = {
    "": lambda one: abs(one.sigma), "max": lambda one: one.sigma, "min": lambda one: -one.sigma,
}  # fmt: skip

Kind = Literal[
    "hpdc_shot", "melt_batch", "sealed_quench", "pit_load", "temper_load", "vacuum_load", "continuous_batch",
    "arc_seam", "spot_weld", "plating_rack", "plating_barrel", "anodise_rack", "ecoat_rack", "oven_cure",
    "press_stroke", "molding_cycle",
]  # fmt: skip


class Signature(Frozen):
    """One way in which a failure shows: `[[failure]]` of signatures.toml."""

    name: str
    """The failure; one that shows in several ways has several entries."""
    kinds: tuple[Kind, ...] = Field(min_length=1)
    """Processes that know it."""
    source: str
    """Section of the domain."""
    moves: dict[str, FiniteFloat] = Field(min_length=1)
    """Signed weight by variable (a feature, or a role of a tag), at most 1; patterns as the page says."""
    share: dict[str, tuple[FiniteFloat, FiniteFloat]] = Field(default_factory=dict)
    """Bounds of the relative move of a variable, outside of which it is not this failure."""

    def is_made_of(self, seen: Mapping[str, Move]) -> bool:
        """Whether a variable that makes it was measured, and none moved farther or less far than it may."""
        if not any(abs(weight) >= 1 and name in seen for name, weight in self.moves.items()):
            return False
        return all(low <= _relative(seen[name]) <= high for name, (low, high) in self.share.items() if name in seen)


@lru_cache(maxsize=1)
def signatures() -> tuple[Signature, ...]:
    """All that are known."""
    text = resources.files("analytics").joinpath("signatures.toml").read_text(encoding="utf-8")
    return tuple(Signature.model_validate(table) for table in tomllib.loads(text)["failure"])


def resembling(kind: str, moved: Sequence[Move], told: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Failures of a process, the likeliest first: `failure` and `likeness`, 0..1; none when nothing is alike.

    Args:
        kind: of the process.
        moved: how far everything had moved, as `explanation.moves` tells it.
        told: of the alarm, as `explanation.facts` tells it: the variable that rings has moved, however slowly.
    """
    known = [one for one in signatures() if kind in one.kinds]
    seen = _seen({name for one in known for name in one.moves}, _with_subject(moved, told or {}))
    found: dict[str, float] = {}
    for one in known:
        likeness = _cosine(one.moves, seen) if one.is_made_of(seen) else 0.0
        found[one.name] = max(likeness, found.get(one.name, 0.0))
    likely = sorted(found.items(), key=lambda pair: -pair[1])[:MOST]
    return [{"failure": name, "likeness": round(value, 3)} for name, value in likely if value >= LEAST]


def _with_subject(moved: Sequence[Move], told: Mapping[str, Any]) -> list[Move]:
    """With the variable that rings moved in full towards where it lies beyond its limits, or off its centre.

    A drift is in the rows before the alarm too, and beside those it is small.
    """
    others = [one for one in moved if one.name != told.get("subject")]
    value, usual = told.get("value"), told.get("centre")
    if value is None:
        return list(moved)
    low, high = told.get("low", -math.inf), told.get("high", math.inf)
    usual = usual if usual is not None else min(max(value, low), high)
    if value == usual:
        return list(moved)
    own = next((one for one in moved if one.name == told["subject"]), None)
    sigma = math.copysign(max(FULL, abs(own.sigma) if own else 0.0), value - usual)
    return [*others, Move(told["subject"], sigma, own.before if own else usual, value)]


def _seen(names: set[str], moved: Sequence[Move]) -> dict[str, Move]:
    """By name or pattern the variable that fits it and moved farthest, up (`max:`), down (`min:`) or either way."""
    found = {}
    for name in sorted(names):
        which, _, pattern = name.rpartition(":")
        fitting = [one for one in moved if fnmatchcase(one.name, pattern)]
        if fitting:
            found[name] = max(fitting, key=_FARTHEST[which])
    return found


def _cosine(weights: Mapping[str, float], seen: Mapping[str, Move]) -> float:
    far = {name: _clipped(one.sigma) for name, one in seen.items()}
    length = math.hypot(*far.values()) * math.hypot(*(weights.get(name, 0.0) for name in far))
    return sum(weights.get(name, 0.0) * value for name, value in far.items()) / length if length else 0.0


def _clipped(sigma: float) -> float:
    """-1..1.

    >>> _clipped(1.0), _clipped(-5.0), _clipped(30.0)
    (0.0, -0.5, 1.0)
    """
    return math.copysign(min(max(abs(sigma) - NOISE, 0.0) / (FULL - NOISE), 1.0), sigma)


def _relative(move: Move) -> float:
    """How far it moved beside what it was; infinitely far from nothing."""
    return (move.now - move.before) / abs(move.before) if move.before else math.copysign(math.inf, move.sigma)
