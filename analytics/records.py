"""Compliance records: what was found of a lot, part, load or cycle, said so that it can be said again (section 6.10).

* A record holds everything it says: limits then in force, formula versions, instruments and how their checks stood on
  the day, coverage, where the raw rows are and what they hash to. Nothing in it points to what may change.
* Its content is canonical JSON, and the text itself is what is stored, hashed and rendered.
* In doubt the verdict is `incomplete`. `unverified` when an instrument was not valid; `pass` only when everything that
  the profile asks for is there, judged and inside.
"""

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field

from analytics.calendar import Due
from analytics.checks import Standing
from analytics.verdict import Verdict, worst
from pipeline.errors import ConfigError
from pipeline.plant import Frozen, load

FORMAT: Final = 1
PROFILES_FILE: Final = Path(__file__).with_name("record_profiles.toml")
LEAST_COVERAGE: Final = 0.95


class Profile(Frozen):
    """What a record of one trade must show."""

    kinds: tuple[str, ...]
    """Processes it is about."""
    features: tuple[str, ...] = ()
    """Without one of these, or without limits for them, it is incomplete."""
    checks: tuple[str, ...] = ()
    """Kinds of checks that must be required of the machine and valid."""
    least_coverage: Annotated[float, Field(ge=0, le=1)] = LEAST_COVERAGE
    """Share of the rows due that must be there and good."""


class Profiles(Frozen):
    """All profiles, by name."""

    profile: dict[str, Profile]


@dataclass(frozen=True, slots=True)
class FeatureSaid:
    """A feature as the store has it."""

    name: str
    value: float | None
    unit: str
    reason: str
    low: float | None
    high: float | None
    verdict: Verdict | None
    formula: str
    formula_version: str
    n_used: int
    coverage: float
    quality: int
    inputs_hash: str


@dataclass(frozen=True, slots=True)
class RawSaid:
    """The raw rows of one tag under a cycle.

    Attributes:
        tag: name.
        rows: how many.
        due: how many were due in these minutes, None where nobody counted.
        good: of the rows, how many were good.
        digests: of every `DIGEST_MINUTES` of rows, in order, so that a changed row is found to within them.
    """

    tag: str
    rows: int
    due: int | None
    good: int
    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CycleSaid:
    """A cycle as the store has it, with what its record needs besides."""

    asset: str
    machine: str
    kind: str
    lane: str
    number: int | None
    start: str
    end: str
    phases: tuple[tuple[str, str, str | None], ...]
    flags: tuple[str, ...]
    context: Mapping[str, str]
    verdict: Verdict | None
    verdicts: Mapping[str, str]
    features: tuple[FeatureSaid, ...]
    settings: str
    process: str
    version: int
    digest: str
    raw: tuple[RawSaid, ...] = ()
    coverage: float | None = None


@dataclass(frozen=True, slots=True)
class Grounds:
    """Everything a record is made of.

    Attributes:
        profile: name and what it asks for.
        subject_kind: lot, part, load, rack, melt or cycle.
        subject: its name or number.
        plant: enterprise/site.
        time_zone: of the plant.
        cycles: in order of time.
        checks: how the required checks of each machine stood on the day, by asset.
        lab: laboratory results of the subject and what it came from.
        alarms: events of warning or worse on the machines during the cycles, with their disposition.
        links: what the subject came from.
    """

    profile_name: str
    profile: Profile
    subject_kind: str
    subject: str
    plant: str
    time_zone: str
    cycles: Sequence[CycleSaid]
    checks: Mapping[str, Sequence[Standing]] = field(default_factory=dict)
    lab: Sequence[Mapping[str, Any]] = ()
    alarms: Sequence[Mapping[str, Any]] = ()
    links: Sequence[tuple[str, str]] = ()


def load_profiles(file: Path | None = None) -> dict[str, Profile]:
    """The profiles of rootdx, or of a file of the plant.

    Raises:
        ConfigError: names file, key and what was expected.
    """
    if file is not None:
        return load(file, Profiles).profile
    tables = tomllib.loads(PROFILES_FILE.read_text(encoding="utf-8"))
    return Profiles(profile=tables).profile


def profile_for(profiles: Mapping[str, Profile], kinds: Sequence[str]) -> str:
    """The name of the profile that covers these kinds of cycles.

    Raises:
        ConfigError: none does, or more than one is needed: name one.
    """
    fitting = [name for name, one in profiles.items() if set(kinds) & set(one.kinds)]
    if len(fitting) != 1:
        raise ConfigError(f"cycles of kind {', '.join(sorted(set(kinds)))}: name one profile of {', '.join(profiles)}")
    return fitting[0]


@dataclass(frozen=True, slots=True)
class Remark:
    """What speaks against a pass: facts, kept; words are made of them when somebody reads.

    Attributes:
        verdict: what it makes of the whole.
        key: which sentence it is.
        facts: its values; `start` and `kind` name the cycle where it is about one.
    """

    verdict: Verdict
    key: str
    facts: Mapping[str, Any]


def judged(grounds: Grounds) -> tuple[Verdict, list[Remark]]:
    """The verdict of the whole, and what speaks against `pass`."""
    remarks: list[Remark] = []
    of_profile = [cycle for cycle in grounds.cycles if cycle.kind in grounds.profile.kinds]
    if not of_profile:
        remarks.append(Remark(Verdict.INCOMPLETE, "no_cycle", {"kinds": list(grounds.profile.kinds)}))
    for cycle in of_profile:
        remarks += _of_cycle(cycle, grounds.profile)
    for asset in sorted({cycle.asset for cycle in of_profile}):
        remarks += _of_checks(asset, grounds.checks.get(asset, ()), grounds.profile)
    return worst(*(one.verdict for one in remarks)) if remarks else Verdict.PASS, remarks


def _of_cycle(cycle: CycleSaid, profile: Profile) -> list[Remark]:
    def remark(verdict: Verdict, key: str, **facts: Any) -> Remark:
        return Remark(verdict, key, {"kind": cycle.kind, "start": cycle.start, **facts})

    found = [
        remark(one.verdict, "feature", name=one.name, value=one.value, unit=one.unit, reason=one.reason, low=one.low,
               high=one.high)
        for one in cycle.features
        if one.verdict not in (None, Verdict.PASS)
    ]  # fmt: skip
    found += [
        remark(Verdict(said), "judged", name=name) for name, said in cycle.verdicts.items() if said != Verdict.PASS
    ]
    found += [remark(Verdict.INCOMPLETE, key, **facts) for key, facts in _lacking(cycle, profile)]
    if cycle.coverage is None or cycle.coverage < profile.least_coverage:
        facts = {"coverage": cycle.coverage, "least": profile.least_coverage}
        found.append(remark(Verdict.INCOMPLETE, "coverage", **facts))
    if any(one.quality >> 30 == 1 for one in cycle.features if one.verdict is not None):
        found.append(remark(Verdict.REVIEW, "uncertain"))
    return found + [remark(Verdict.REVIEW, "flag", flag=flag) for flag in cycle.flags if flag != "warm_up"]


def _lacking(cycle: CycleSaid, profile: Profile) -> list[tuple[str, dict[str, str]]]:
    """What the profile asks for and is not there, or not judged."""
    there = {one.name for one in cycle.features}
    judged_names = {one.name for one in cycle.features if one.verdict is not None}
    lacking = [("not_measured", {"name": name}) for name in profile.features if name not in there]
    lacking += [("no_limits", {"name": name}) for name in profile.features if name in there - judged_names]
    return lacking if judged_names or cycle.verdicts else [*lacking, ("nothing_judged", {})]


def _of_checks(asset: str, standings: Sequence[Standing], profile: Profile) -> list[Remark]:
    found = [
        Remark(Verdict.UNVERIFIED, _how(one), {
            "asset": asset, "check": one.check.kind, "subject": one.check.subject,
            "done": None if one.done is None else one.done.isoformat(),
            "due": None if one.due is None else one.due.isoformat(),
        })
        for one in standings
        if one.state is Due.OVERDUE
    ]  # fmt: skip
    required = {one.check.kind for one in standings}
    found += [
        Remark(Verdict.UNVERIFIED, "check_not_required", {"asset": asset, "check": kind})
        for kind in profile.checks
        if kind not in required
    ]
    return found


def _how(one: Standing) -> str:
    if one.done is None:
        return "check_never"
    return "check_failed" if one.failed else "check_due"


def content_of(grounds: Grounds, heading: Mapping[str, Any]) -> str:
    """The record as canonical JSON: keys sorted, no spaces, numbers as Python writes them, text as it is.

    `heading` is number, version, made, author, reason.
    """
    verdict, remarks = judged(grounds)
    said = {
        "format": FORMAT,
        **heading,
        "profile": grounds.profile_name,
        "asked": grounds.profile.model_dump(mode="json"),
        "subject": {"kind": grounds.subject_kind, "name": grounds.subject},
        "plant": grounds.plant,
        "time_zone": grounds.time_zone,
        "verdict": verdict.value,
        "remarks": [{"verdict": one.verdict.value, "key": one.key, "facts": dict(one.facts)} for one in remarks],
        "cycles": [_cycle(one) for one in grounds.cycles],
        "checks": {asset: [_standing(one) for one in some] for asset, some in sorted(grounds.checks.items())},
        "lab": [dict(one) for one in grounds.lab],
        "alarms": [dict(one) for one in grounds.alarms],
        "links": [list(one) for one in grounds.links],
    }
    return json.dumps(said, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _cycle(one: CycleSaid) -> dict[str, Any]:
    said = {name: getattr(one, name) for name in CycleSaid.__slots__}
    said["features"] = [_plain(feature) for feature in one.features]
    said["raw"] = [_plain(raw) for raw in one.raw]
    return said | {"context": dict(one.context), "verdicts": dict(one.verdicts)}


def _plain(one: Any) -> dict[str, Any]:
    return {name: getattr(one, name) for name in type(one).__slots__}


def _standing(one: Standing) -> dict[str, Any]:
    return {
        "kind": one.check.kind,
        "subject": one.check.subject,
        "roles": list(one.check.roles),
        "done": None if one.done is None else one.done.isoformat(),
        "due": None if one.due is None else one.due.isoformat(),
        "state": one.state.value,
        "failed": one.failed,
        "document": one.document,
        "author": one.author,
    }


def hash_of(number: int, previous: str, content: str) -> str:
    """What seals a record: SHA-256 of its number, the seal before it and its content, hexadecimal.

    >>> hash_of(1, "", "{}")[:16]
    'ea5ffb9f1112f22d'
    """
    return hashlib.sha256(f"{number}\n{previous}\n{content}".encode()).hexdigest()
