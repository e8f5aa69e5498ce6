"""What people and other systems say: context, stops, quantities, laboratory results, links, resets, checks.

* Every entry names its author. Nothing is changed or removed: a correction is a new entry that replaces one.
* Entries are taken all or none, from a program or from a CSV file whose columns are the fields below.
* What an entry changes is computed again by the analytics: context the cycles from then on, stops and quantities the
  shifts they lie in.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, AwareDatetime, Field, FiniteFloat, ValidationError, model_validator

from pipeline.database import translated
from pipeline.errors import BadData, ConfigError
from pipeline.migrate import Connection
from pipeline.plant import Frozen
from pipeline.units import is_unit

LONGEST: Final = 500


def _text(text: str) -> str:
    cleaned = text.strip()
    if not cleaned.isprintable() or len(cleaned) > LONGEST:
        raise ValueError(f"expected up to {LONGEST} printable characters")
    return cleaned


def _some(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    return text


def _unit(text: str) -> str:
    if not is_unit(text):
        raise ValueError("unknown UCUM unit; examples: Cel, um, g/L, %, mm, 1")
    return text


Text = Annotated[str, AfterValidator(_text)]
Name = Annotated[str, AfterValidator(_text), AfterValidator(_some)]
Kind = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Entry(Frozen):
    """Base of what can be entered."""

    author: Name
    """Who says so."""
    table: ClassVar[str]
    """Where it is kept."""

    def columns(self, asset_ids: Mapping[str, int]) -> dict[str, Any]:
        """The row; `asset_id` in place of `asset`."""
        row = self.model_dump()
        if "asset" in row:
            asset = row.pop("asset")
            row["asset_id"] = asset_ids[asset] if asset else None
        return row

    def changes(self) -> tuple[datetime, datetime] | None:
        """The span whose shifts depend on it; None when none does. What context changes, the database knows."""
        return None


class ContextEntry(Entry):
    """From a moment on a machine works with this lot, part, recipe, order, operator, die, rack, load or melt."""

    table: ClassVar[str] = "context_change"
    asset: Name
    kind: Kind
    value: Text
    """Empty: none any more."""
    valid_from: AwareDatetime
    origin: Literal["manual", "import", "api"] = "manual"


class StopEntry(Entry):
    """What a stop was."""

    table: ClassVar[str] = "stop_entry"
    asset: Name
    kind: Literal["planned", "setup", "technical", "organisational", "preventive", "corrective"]
    from_ts: AwareDatetime
    to_ts: AwareDatetime
    reason: Text = ""
    replaces: int | None = None

    @model_validator(mode="after")
    def _check(self) -> "StopEntry":
        if self.to_ts < self.from_ts or (self.to_ts == self.from_ts and self.replaces is None):
            raise ValueError("to_ts must be after from_ts (the same moment withdraws the entry that it replaces)")
        return self

    def changes(self) -> tuple[datetime, datetime]:
        """The stop."""
        return self.from_ts, self.to_ts


class QuantityEntry(Entry):
    """Scrap or rework counted by hand, beyond what verdicts say; negative to correct."""

    table: ClassVar[str] = "quantity_entry"
    asset: Name
    ts: AwareDatetime
    scrap: FiniteFloat = 0.0
    rework: FiniteFloat = 0.0
    reason: Text = ""

    def changes(self) -> tuple[datetime, datetime]:
        """Its moment."""
        return self.ts, self.ts


class LabEntry(Entry):
    """One laboratory value: a bath analysis, a hardness, a thickness, an element of a spectrometer burn."""

    table: ClassVar[str] = "lab_result"
    asset: Text = ""
    sampled: AwareDatetime
    name: Kind
    value: FiniteFloat
    unit: Annotated[str, AfterValidator(_unit)]
    item_kind: Annotated[str, Field(pattern=r"^([a-z][a-z0-9_]*)?$")] = ""
    item: Text = ""
    sample: Text = ""
    method: Text = ""
    note: Text = ""
    replaces: int | None = None

    @model_validator(mode="after")
    def _check(self) -> "LabEntry":
        if bool(self.item_kind) != bool(self.item):
            raise ValueError("item_kind and item go together, as lot and L-2611")
        if not self.asset and not self.item:
            raise ValueError("name the machine (asset), the item (item_kind and item), or both")
        return self


class LinkEntry(Entry):
    """An item comes from, or goes through a process together with, another: part of lot, lot of melt, lot of load."""

    table: ClassVar[str] = "genealogy"
    item_kind: Kind
    item: Name
    of_kind: Kind
    of_item: Name

    @model_validator(mode="after")
    def _check(self) -> "LinkEntry":
        if (self.item_kind, self.item) == (self.of_kind, self.of_item):
            raise ValueError("an item does not come from itself")
        return self


class ResetEntry(Entry):
    """A life counter starts again: a new die, a dressed electrode, a changed filter."""

    table: ClassVar[str] = "life_reset"
    asset: Name
    counter: Kind
    item: Text = ""
    at: AwareDatetime
    value: FiniteFloat = 0.0
    """What it starts from."""
    note: Text = ""
    replaces: int | None = None


class CheckEntry(Entry):
    """A calibration, accuracy test, uniformity survey, self-assessment, probe check: done, and valid how long."""

    table: ClassVar[str] = "check_entry"
    asset: Name
    kind: Kind
    subject: Name
    done: date
    months: Annotated[int, Field(ge=0)] = 0
    days: Annotated[int, Field(ge=0)] = 0
    passed: bool
    result: dict[str, Any] = Field(default_factory=dict)
    document: Text = ""
    replaces: int | None = None

    @model_validator(mode="after")
    def _check(self) -> "CheckEntry":
        if (self.months > 0) == (self.days > 0):
            raise ValueError("give months or days for which the check holds, one of them")
        return self

    def columns(self, asset_ids: Mapping[str, int]) -> dict[str, Any]:
        """The row, its result as JSON."""
        row = super().columns(asset_ids)
        return row | {"result": json.dumps(row["result"], ensure_ascii=False)}


KINDS: Final[Mapping[str, type[Entry]]] = {
    "context": ContextEntry,
    "stop": StopEntry,
    "quantity": QuantityEntry,
    "lab": LabEntry,
    "link": LinkEntry,
    "reset": ResetEntry,
    "check": CheckEntry,
}


async def enter(db: Connection, entries: Sequence[Entry]) -> int:
    """Writes all of them, or none; returns how many were new (a link that is known is not).

    Raises:
        BadData: a machine is unknown, or what is to be replaced is not there or replaced already.
        Unavailable, ConfigError: what the server says.
    """
    names = sorted({str(getattr(entry, "asset", "")) for entry in entries} - {""})
    with translated():
        async with db.transaction():
            rows = await (await db.execute(_ASSETS, [names])).fetchall()
            known: dict[str, int] = dict(rows)
            unknown = [name for name in names if name not in known]
            if unknown:
                raise BadData(
                    f"machine {unknown[0]!r} is unknown; name it by its path, as hansung/ansan1/casting/line1/dc1 "
                    "(`rootdx cycles` lists those that have sent rows)"
                )
            new = 0
            for entry in entries:
                new += await _insert(db, entry, known)
    return new


async def _insert(db: Connection, entry: Entry, asset_ids: Mapping[str, int]) -> int:
    row = entry.columns(asset_ids)
    names = ", ".join(row)
    places = ", ".join(f"%({name})s" for name in row)
    statement = f"INSERT INTO rootdx.{entry.table} ({names}) VALUES ({places}) ON CONFLICT DO NOTHING"  # noqa: S608  # our own field names
    added = (await db.execute(statement.encode(), row)).rowcount
    if not added and row.get("replaces") is not None:
        raise BadData(f"{entry.table} {row['replaces']} is replaced already; replace the newest entry instead")
    span = entry.changes()
    if added and span is not None:
        await db.execute(_RECOMPUTE, {"asset_id": row["asset_id"], "from": span[0], "to": span[1]})
    if added and isinstance(entry, StopEntry):
        await db.execute(_RECOMPUTE_REPLACED, [entry.replaces])
    return added


def read_csv(kind: str, file: Path, author: str) -> list[Entry]:
    """The entries of a CSV file: UTF-8 (with or without mark) or Excel's Korean, comma or semicolon, one a row.

    A column `author` goes before the author given. Times without a zone are refused: a plant has one clock, but a
    file may come from anywhere.

    Raises:
        ConfigError: names file, row, column and what was expected.
    """
    model = KINDS[kind]
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    text = decoded(raw, file)
    delimiter = ";" if text.split("\n", 1)[0].count(";") > text.split("\n", 1)[0].count(",") else ","
    made: list[Entry] = []
    for number, row in enumerate(csv.DictReader(io.StringIO(text), delimiter=delimiter), 2):
        given: dict[str, Any] = {key: value for key, value in row.items() if key and value not in (None, "")}
        if None in row:
            raise ConfigError(f"{file}: row {number}: more cells than headings")
        try:
            made.append(model.model_validate({"author": author} | given))
        except ValidationError as error:
            fault = error.errors()[0]
            column = ".".join(map(str, fault["loc"])) or "the row"
            said = fault["msg"].removeprefix("Value error, ")
            shown = f" = {fault['input']!r}" if not isinstance(fault["input"], dict) else ""
            raise ConfigError(f"{file}: row {number}, column {column}{shown}: {said}") from error
    return made


def decoded(raw: bytes, file: Path) -> str:
    """The text of a CSV file: UTF-8, or Excel's Korean.

    Raises:
        ConfigError: it is neither.
    """
    for encoding in ("utf-8-sig", "cp949"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ConfigError(f"{file}: neither UTF-8 nor Korean Windows text; save it as CSV UTF-8")


_ASSETS: Final = "SELECT path, asset_id FROM rootdx.asset WHERE path = ANY(%s)"
_RECOMPUTE: Final = """
    INSERT INTO rootdx.recompute (asset_id, from_ts, to_ts, reason)
    VALUES (%(asset_id)s, %(from)s, %(to)s, 'entry')"""
_RECOMPUTE_REPLACED: Final = """
    INSERT INTO rootdx.recompute (asset_id, from_ts, to_ts, reason)
    SELECT asset_id, from_ts, to_ts, 'entry' FROM rootdx.stop_entry WHERE id = %s"""
