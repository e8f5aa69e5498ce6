"""The registry: a plant file and one TOML file a machine, parsed once and then trusted.

* `plant.toml` names the enterprise, the site and the time zone; every other `*.toml` of the folder is a machine.
* Unknown keys are refused; an error names the file, the line where it can, the key, the value and what was expected.
* What a source needs is the protocol's own business: `Machine` is generic in it, and `collectors.protocols` names
  the union of all protocols.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
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
    PlainValidator,
    PositiveFloat,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from pipeline.errors import ConfigError
from pipeline.faults import explain
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


def _beside(path: Path, info: ValidationInfo) -> Path:
    return Path((info.context or {}).get("folder", "")) / path


def _deadband(said: Any) -> float | str:
    if isinstance(said, int | float) and not isinstance(said, bool) and 0 < said < float("inf"):
        return float(said)
    if isinstance(said, str) and re.fullmatch(r"\d{1,2}(\.\d+)? ?%", said):
        return said
    raise ValueError("expected a positive number in the tag's unit, or a share of its range as '1 %'")


Slug = Annotated[str, AfterValidator(_slug)]
Beside = Annotated[Path, AfterValidator(_beside)]
"""A path; when it is relative, from the folder of the file that names it."""
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
    every_s: PositiveFloat | None = None
    """How often it is sampled, where the protocol can tell tags apart (OPC UA); none: as its source."""
    deadband: Annotated[float | str, PlainValidator(_deadband)] | None = None
    """Changes up to this, in `unit` or as "1 %" of `range`, give no row; none: every reading does."""
    heartbeat_s: PositiveFloat | None = None
    """With a deadband one row at least this often; none: every minute. Not where a server filters."""
    loop: tuple[FiniteFloat, FiniteFloat] | None = None
    """The tag's value at 4 mA and at 20 mA; raw · scale + offset is then the current in mA, judged by NAMUR NE 43."""
    sentinels: tuple[int, ...] | None = None
    """Raw integers that mean "no sensor"; none: those of the source."""
    values: dict[int, str] = {}
    """What the numbers mean: the number is stored, its text is an event on change."""
    context: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")] | None = None
    """What its text is for the process, as `lot` or `recipe`; none: told as `device.text`."""
    text: str = ""
    """For people, in any language."""

    @model_validator(mode="after")
    def _check(self) -> "Tag":
        if self.range is not None and self.range[0] >= self.range[1]:
            raise ValueError(f"range = {list(self.range)}: the first number must be below the second")
        if self.loop is not None and self.loop[0] == self.loop[1]:
            raise ValueError(f"loop = {list(self.loop)}: the values at 4 mA and at 20 mA must differ")
        if self.scale == 0:
            raise ValueError("scale = 0 would turn every value into the offset")
        if isinstance(self.deadband, str) and self.range is None:
            raise ValueError(f"deadband = {self.deadband!r} is a share of the range; give one, or a number")
        if self.deadband is not None and self.values:
            raise ValueError("deadband and values: every change of a number that means something counts; remove one")
        if self.heartbeat_s is not None and self.deadband is None:
            raise ValueError("heartbeat_s without deadband: every reading gives a row anyway; remove it")
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

    @property
    def finds(self) -> bool:
        """Whether tags come that the file does not list."""
        return False

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
    detector: tuple[dict[str, Any], ...] = ()
    """What watches it; read by the analytics."""

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
        if not (self.tag or self.waveform or self.source.finds):
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
    return parsed(text_of(file), file, model)


def text_of(file: Path) -> str:
    """What stands in a file.

    Raises:
        ConfigError: it is not there, or no text.
    """
    try:
        return file.read_bytes().decode()  # line ends as they are: the same text can be written back
    except FileNotFoundError as error:
        raise ConfigError(f"{file}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from error


def parsed(text: str, file: Path, model: type[M]) -> M:
    """What stands in a file, or is to stand there, as a settings object.

    Raises:
        ConfigError: as `load`; its cause is the ValidationError where TOML is not what is wrong.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from error
    try:
        return model.model_validate(data, context={"folder": file.parent})
    except ValidationError as error:
        raise ConfigError(explain(error, str(file), text)) from error


def texts_in(folder: Path) -> dict[str, str]:
    """What stands in the files of a plant folder, by file name, in their order.

    Raises:
        ConfigError: there is no such folder, or a file cannot be read.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; it should hold {PLANT_FILE} and one *.toml file a machine")
    return {file.name: text_of(file) for file in sorted(folder.glob("*.toml"))}


def load_folder(
    folder: Path, machine: type[Machine[S]], texts: Mapping[str, str] | None = None
) -> tuple[Plant, dict[str, Machine[S]]]:
    """The plant and its machines by full asset path, in the order of their file names.

    Args:
        folder: of the files.
        machine: shape of the machine files.
        texts: what stands in the files, where they were read before; see `texts_in`.

    Raises:
        ConfigError: no plant file, no machine, a fault in one of them, or two machines with one path.
    """
    files = dict(texts_in(folder) if texts is None else texts)
    if PLANT_FILE not in files:
        raise ConfigError(f"{folder / PLANT_FILE}: no such file")
    plant = parsed(files.pop(PLANT_FILE), folder / PLANT_FILE, Plant)
    machines: dict[str, Machine[S]] = {}
    origin: dict[str, Path] = {}
    for name, text in files.items():
        file = folder / name
        one = parsed(text, file, machine)
        asset = plant.asset(one)
        if asset in machines:
            raise ConfigError(f"{file}: path = {one.path!r} is already that of {origin[asset]}; give it its own")
        machines[asset], origin[asset] = one, file
    if not machines:
        raise ConfigError(f"{folder}: no machine file; copy a sample and set its path, source and tags")
    return plant, machines
