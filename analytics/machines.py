"""The machine files as the analytics read them: which machine runs which processes, and whether it has their roles.

* The source of a machine is the gateway's business; here it says only how far the counters of its registers count.
* A process without its mandatory roles is a configuration error that lists them; optional ones switch features off.
"""

import collections
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from analytics.checks import RequiredCheck
from analytics.counters import counter_of
from analytics.known import AnyProcess
from analytics.life import LifeCounter
from analytics.process import Process
from analytics.time_series import UNKNOWN_COUNTER, Counter
from analytics.watching import Watching, watchings
from pipeline import seal
from pipeline.errors import ConfigError
from pipeline.faults import explain
from pipeline.model import Waveform
from pipeline.plant import Frozen, Machine, Plant, SourceSettings, Tag, WaveformEntry, load_folder, texts_in

M = TypeVar("M", bound=Frozen)
METER: Final = "energy.total"
"""Role of a counter of kWh."""
_PROCESSES: TypeAdapter[AnyProcess] = TypeAdapter(AnyProcess)


class _AnySource(SourceSettings):
    """A source that nobody opens."""

    model_config = ConfigDict(frozen=True, extra="allow")

    def check(self, tags: Sequence[Tag]) -> None:
        """The gateway checks addresses."""

    def check_waveforms(self, waveforms: Sequence[WaveformEntry]) -> None:
        """The gateway checks these too."""


@dataclass(frozen=True, slots=True)
class Burst:
    """A waveform of a machine: its role, and the roles of its channels by name."""

    role: str
    channels: Mapping[str, str]

    def renamed(self, wave: Waveform) -> Waveform:
        """With roles in place of the device's channel names, where the file gives them."""
        return replace(wave, channels=tuple(self.channels.get(name) or name for name in wave.channels))


@dataclass(frozen=True, slots=True)
class Watched:
    """A machine whose cycles are found.

    Attributes:
        asset: ISA-95 path.
        name: for people.
        processes: in the order of the file; no kind twice.
        roles: of its tags and waveforms.
        bursts: waveforms with a role, by name.
        lives: what wears, `[[life]]`.
        checks: what must be valid, `[[check]]`.
        detectors: what watches it, `[[detector]]`.
        counters: how far the counters of its tags count, by role, where that is known.
    """

    asset: str
    name: str
    processes: tuple[Process, ...]
    roles: frozenset[str]
    bursts: Mapping[str, Burst]
    lives: tuple[LifeCounter, ...] = ()
    checks: tuple[RequiredCheck, ...] = ()
    detectors: tuple[Watching, ...] = ()
    counters: Mapping[str, Counter] = field(default_factory=dict)

    @property
    def burst_roles(self) -> frozenset[str]:
        """Roles of its waveforms."""
        return frozenset(one.role for one in self.bursts.values())

    def counter(self, role: str) -> Counter:
        """How far the counter of a role counts."""
        return self.counters.get(role, UNKNOWN_COUNTER)

    def left_out(self, process: Process) -> tuple[str, ...]:
        """Optional roles that the machine does not have: the features that need them are off."""
        wanted = process.roles()
        return tuple(r for r in (*wanted.optional_markers, *wanted.optional, *wanted.bursts) if r not in self.roles)


def load_machines(folder: Path, signers: Path | None = None) -> tuple[Plant, list[Watched]]:
    """The plant, and its machines that have a `[[cycle]]` or `[[detector]]` table or an energy meter.

    Args:
        folder: of the files.
        signers: folder with the keys of those who may seal it; None: no seal is asked for.

    Raises:
        ConfigError: names file, table, key and what was expected, the roles that are missing, or a wrong seal.
    """
    texts = texts_in(folder)
    if signers is not None:
        seal.check(folder, texts, seal.public_keys(signers))
    plant, machines = load_folder(folder, Machine[_AnySource], texts)
    found = [watched(asset, machine, folder) for asset, machine in machines.items()]
    return plant, [one for one in found if one.processes or one.detectors or METER in one.roles]


def watched(asset: str, machine: Machine[Any], folder: Path) -> Watched:
    """One machine of a plant folder, with its processes and detectors.

    Raises:
        ConfigError: as `load_machines`.
    """
    roles = frozenset(
        [tag.role for tag in machine.tag if tag.role] + [wave.role for wave in machine.waveform if wave.role]
    )
    place = f"{folder}: {machine.path}"
    processes = tuple(_process(place, number, table) for number, table in enumerate(machine.cycle, 1))
    twice = [kind for kind, times in collections.Counter(one.kind for one in processes).items() if times > 1]
    if twice:
        raise ConfigError(f"{place}: [[cycle]] kind = {twice[0]!r} appears twice; a machine runs each kind once")
    for one in processes:
        missing = one.roles().missing(roles)
        if missing:
            raise ConfigError(
                f"{place}: [[cycle]] kind = {one.kind!r} needs tags with role = {', '.join(map(repr, missing))}; "
                "give those roles to the tags that carry them, or take the table out"
            )
    bursts = {
        one.name: Burst(one.role, {channel.name: channel.role for channel in one.channel})
        for one in machine.waveform
        if one.role
    }
    lives = _parsed(LifeCounter, machine.life, f"{place}: [[life]]")
    checks = _parsed(RequiredCheck, machine.check, f"{place}: [[check]]")
    detectors = watchings(machine.detector, [one.kind for one in processes], place, folder)
    counted = {tag.role: counter_of(getattr(machine.source, "protocol", ""), tag) for tag in machine.tag if tag.role}
    counters = {role: one for role, one in counted.items() if one != UNKNOWN_COUNTER}
    return Watched(asset, machine.name, processes, roles, bursts, lives, checks, detectors, counters)


def process_of(settings: dict[str, Any], where: str) -> Process:
    """A process from its settings, as the machine file or the store has them.

    Raises:
        ConfigError: names key, value and what was expected.
    """
    try:
        return _PROCESSES.validate_python(settings)
    except ValidationError as error:
        raise ConfigError(explain(error, where)) from error


def _process(place: str, number: int, table: dict[str, Any]) -> Process:
    return process_of(table, f"{place}: [[cycle]] {number}")


def _parsed(model: type[M], tables: Sequence[dict[str, Any]], place: str) -> tuple[M, ...]:
    try:
        return tuple(model.model_validate(table) for table in tables)
    except ValidationError as error:
        raise ConfigError(explain(error, place)) from error
