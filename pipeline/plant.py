"""The registry: a plant file and one TOML file a machine, parsed once and then trusted.

* `plant.toml` names the enterprise, the site and the time zone; every other `*.toml` of the folder is a machine.
* Unknown keys are refused; an error names the file, the line where it can, the key, the value and what was expected.
* What a source needs is the protocol's own business: `Machine` is generic in it, and `collectors.protocols` names
  the union of all protocols.
"""

import re
import tomllib
from collections.abc import Iterator, Sequence
from datetime import date, time
from pathlib import Path
from typing import Annotated, Any, Final, Generic, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    PositiveFloat,
    ValidationError,
    model_validator,
)

from pipeline.errors import ConfigError
from pipeline.topics import SLUG
from pipeline.units import is_unit

PLANT_FILE = "plant.toml"


class Frozen(BaseModel):
    """A settings object: immutable, refusing keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _path(text: str) -> str:
    levels = text.split("/")
    if len(levels) != 3 or not all(SLUG.fullmatch(level) for level in levels):
        raise ValueError(
            "expected area/line/cell, each of lower-case letters, digits and hyphens, as casting/line1/dc1"
        )
    return text


def _slug(text: str) -> str:
    if not SLUG.fullmatch(text):
        raise ValueError("expected lower-case letters, digits and hyphens, as ansan1")
    return text


def _tag_name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,62}", text):
        raise ValueError("expected 1 to 63 of a-z 0-9 _ . - beginning with a letter or digit, as zone1.pv")
    return text


def _unit(text: str) -> str:
    if not is_unit(text):
        raise ValueError("unknown UCUM unit; examples: Cel, MPa, mm, m/s, A, V, kW.h, L/min, uS/cm, [pH], %, 1")
    return text


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError("unknown time zone; an IANA name as Asia/Seoul is expected") from error
    return text


Slug = Annotated[str, AfterValidator(_slug)]
Zone = Annotated[str, AfterValidator(_zone)]
"""IANA name of a time zone."""
ProcessName = Literal["casting", "heat_treatment", "welding", "surface_treatment", "forging", "molding"]


class Tag(Frozen):
    """One signal of a machine."""

    name: Annotated[str, AfterValidator(_tag_name)]
    """Unique within the machine."""
    address: str
    """Where the device keeps it, in the protocol's own notation (see the protocol's page)."""
    unit: Annotated[str, AfterValidator(_unit)]
    """UCUM."""
    role: str = ""
    """Signal name of the process, as `metal.temp`; KPIs and phases are written against roles."""
    range: tuple[FiniteFloat, FiniteFloat] | None = None
    """Plausible engineering range in `unit`; a value outside is kept and marked uncertain."""
    scale: FiniteFloat = 1.0
    """value = raw · scale + offset."""
    offset: FiniteFloat = 0.0
    text: str = ""
    """For people, in any language."""

    @model_validator(mode="after")
    def _check(self) -> "Tag":
        if self.range is not None and self.range[0] >= self.range[1]:
            raise ValueError(f"range = {list(self.range)}: the first number must be below the second")
        if self.scale == 0:
            raise ValueError("scale = 0 would turn every value into the offset")
        return self


class Channel(Frozen):
    """One column of a waveform."""

    name: Annotated[str, AfterValidator(_tag_name)]
    """Unique within the waveform."""
    unit: Annotated[str, AfterValidator(_unit)]
    """UCUM."""
    address: str = ""
    """Where the burst keeps it, in the protocol's own notation; empty: under its name."""
    role: str = ""
    """Signal name of the process, as `shot.velocity`."""
    scale: FiniteFloat = 1.0
    """value = raw · scale + offset."""
    offset: FiniteFloat = 0.0
    text: str = ""
    """For people, in any language."""

    @model_validator(mode="after")
    def _check(self) -> "Channel":
        if self.scale == 0:
            raise ValueError("scale = 0 would turn every value into the offset")
        return self


class WaveformEntry(Frozen):
    """One burst signal of a machine: what it records in every shot, weld or stroke."""

    name: Annotated[str, AfterValidator(_tag_name)]
    """Unique among the waveforms of the machine."""
    address: str = ""
    """Where its source keeps it, in the protocol's own notation (see the protocol's page)."""
    role: str = ""
    """What it is for the process, as `shot.curve`."""
    period_s: PositiveFloat | None = None
    """Seconds between samples; none: the source states it."""
    text: str = ""
    """For people, in any language."""
    channel: tuple[Channel, ...] = Field(min_length=1, max_length=64)

    @model_validator(mode="after")
    def _check(self) -> "WaveformEntry":
        seen: set[str] = set()
        for channel in self.channel:
            if channel.name in seen:
                raise ValueError(f"channel {channel.name!r} appears twice; every channel needs a name of its own")
            seen.add(channel.name)
        return self


class SourceSettings(Frozen):
    """What every protocol's settings have in common."""

    every_s: PositiveFloat = 1.0
    """Seconds between readings of a polled device; the longest expected silence of one that sends by itself."""

    def check(self, tags: Sequence[Tag]) -> None:
        """Refuses tags whose address this protocol cannot read.

        Raises:
            ValueError: names the tag, the address and what was expected.
        """
        raise NotImplementedError

    def check_waveforms(self, waveforms: Sequence[WaveformEntry]) -> None:
        """Refuses waveforms that this protocol cannot bring.

        Raises:
            ValueError: names the waveform, the key and what was expected.
        """
        if waveforms:
            raise ValueError(
                f"waveform {waveforms[0].name!r}: this protocol brings no waveforms; say in [waveform_source] where "
                'they come from, e.g. protocol = "files"'
            )


S = TypeVar("S", bound=SourceSettings)


class Machine(Frozen, Generic[S]):
    """One machine file."""

    path: Annotated[str, AfterValidator(_path)]
    """ISA-95 area/line/cell below the plant's enterprise/site."""
    name: str
    """For people."""
    process: ProcessName
    source: S
    tag: tuple[Tag, ...] = Field(max_length=65_535)
    waveform: tuple[WaveformEntry, ...] = ()
    """Bursts, read beside the tags."""
    waveform_source: S | None = None
    """Where the bursts come from; none: from `source`, like the tags."""
    cycle: tuple[dict[str, Any], ...] = ()
    """How cycles are told from the tags; read by the analytics."""
    life: tuple[dict[str, Any], ...] = ()
    """What wears and is counted; read by the analytics."""
    check: tuple[dict[str, Any], ...] = ()
    """Calibrations and surveys that must be valid; read by the analytics."""

    @model_validator(mode="after")
    def _check(self) -> "Machine[S]":
        seen: set[str] = set()
        for tag in self.tag:
            if tag.name in seen:
                raise ValueError(f"tag {tag.name!r} appears twice; every tag of a machine needs a name of its own")
            seen.add(tag.name)
        names = [waveform.name for waveform in self.waveform]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"waveform {name!r} appears twice; every waveform of a machine needs a name of its own"
                )
        if not (self.tag or self.waveform):
            raise ValueError("a machine needs at least one [[tag]] or [[waveform]]")
        if self.waveform_source is not None and not self.waveform:
            raise ValueError("[waveform_source] without a [[waveform]]; say what it brings, or remove it")
        if self.waveform_source is not None and not self.tag:
            raise ValueError("no tags: name the source of the waveforms in [source] and remove [waveform_source]")
        self.source.check(self.tag)
        if self.waveform_source is not None:
            self.waveform_source.check(())
        (self.waveform_source or self.source).check_waveforms(self.waveform)
        return self


DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class Shift(Frozen):
    """When the plant means to work, in its own time."""

    name: Slug
    start: time
    end: time
    """Not after `start`: the next day."""
    days: tuple[Day, ...] = DAYS[:5]
    """On which it begins."""
    breaks: tuple[tuple[time, time], ...] = ()
    """Planned downtime in it."""


class Plant(Frozen):
    """The plant file."""

    enterprise: Slug
    site: Slug
    name: str = ""
    time_zone: Zone = "Asia/Seoul"
    shift: tuple[Shift, ...] = ()
    """Without any, every day is one shift."""
    holiday: tuple[date, ...] = ()
    """Days on which no shift begins."""
    contract_kw: PositiveFloat | None = None
    """Contract power of the site, for the billing demand."""

    @model_validator(mode="after")
    def _check_shifts(self) -> "Plant":
        names = [shift.name for shift in self.shift]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"shift {twice!r} appears twice; every shift needs a name of its own")
        return self

    def asset(self, machine: Machine[Any]) -> str:
        """The full path of a machine: enterprise/site/area/line/cell."""
        return f"{self.enterprise}/{self.site}/{machine.path}"


M = TypeVar("M", bound=Frozen)


def load(file: Path, model: type[M]) -> M:
    """A TOML file as a settings object.

    Raises:
        ConfigError: names file, key (with its line where it can be found), value and what was expected.
    """
    try:
        text = file.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except FileNotFoundError as error:
        raise ConfigError(f"{file}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from error
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError(explain(error, str(file), text)) from error


def explain(error: ValidationError, where: str, text: str = "") -> str:
    """A validation error in one line a fault: file, line, key, value, what was expected."""
    return "\n".join(_explain_one(where, text, fault) for fault in error.errors())


def _explain_one(where: str, text: str, fault: Any) -> str:
    keys = [str(part) for part in fault["loc"] if not _is_union_label(part)]
    key = ".".join(keys) or "the file"
    line = _line_of(text, fault["loc"])
    place = f"{where}:{line}" if line else where
    said: str = fault["msg"].removeprefix("Value error, ")
    value = fault["input"]
    shown = "" if isinstance(value, dict | list | tuple) or fault["type"] == "missing" else f" = {value!r}"
    if fault["type"] == "extra_forbidden":
        said = "unknown key; check its spelling"
    elif fault["type"] == "missing":
        said = "missing; it must be given"
    return f"{place}: {key}{shown}: {said}"


def _is_union_label(part: object) -> bool:
    """Pydantic puts the tag of a discriminated union into the path; nobody wrote it into the file."""
    return isinstance(part, str) and part in {"modbus", "opcua", "mqtt", "files"}


def _line_of(text: str, loc: Sequence[object]) -> int | None:
    """The line of a key in a file of the two shapes we have: `[table]` and `[[array of tables]]`."""
    path = [part for part in loc if not _is_union_label(part)]
    heads = list(_headers(text))
    start, end, found = 0, len(text.splitlines()), False
    limit, table = end, ""
    for depth, part in enumerate(path):
        if not isinstance(part, str):
            continue
        table = f"{table}.{part}" if table else part
        following = path[depth + 1] if depth + 1 < len(path) else None
        matches = [i for i, name in heads if name == table and start <= i < limit]
        if matches and isinstance(following, int):
            matches = matches[following : following + 1]
        if matches:
            start, found = matches[0], True
            end = min((i for i, _ in heads if i > start), default=limit)
            limit = min((i for i, name in heads if i > start and name == table), default=limit)
    last = next((part for part in reversed(path) if isinstance(part, str)), None)
    lines = text.splitlines()
    for number in range(start, end):
        if last is not None and re.match(rf"\s*\"?{re.escape(last)}\"?\s*=", lines[number]):
            return number + 1
    return start + 1 if found else None


def _headers(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines()):
        found = re.match(r"\s*\[\[?\s*([\w.-]+)\s*\]?\]", line)
        if found:
            yield number, found[1]


def load_folder(folder: Path, machine: type[Machine[S]]) -> tuple[Plant, dict[str, Machine[S]]]:
    """The plant and its machines by full asset path, in the order of their file names.

    Raises:
        ConfigError: no plant file, no machine, a fault in one of them, or two machines with one path.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; it should hold {PLANT_FILE} and one *.toml file a machine")
    plant = load(folder / PLANT_FILE, Plant)
    machines: dict[str, Machine[S]] = {}
    origin: dict[str, Path] = {}
    for file in sorted(folder.glob("*.toml")):
        if file.name == PLANT_FILE:
            continue
        one = load(file, machine)
        asset = plant.asset(one)
        if asset in machines:
            raise ConfigError(f"{file}: path = {one.path!r} is already that of {origin[asset]}; give it its own")
        machines[asset], origin[asset] = one, file
    if not machines:
        raise ConfigError(f"{folder}: no machine file; copy a sample and set its path, source and tags")
    return plant, machines
