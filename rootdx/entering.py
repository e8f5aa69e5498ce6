"""Entries of people: one from options, many from a CSV file, an empty file to fill in.

* Times in options are plant time unless they have a zone; in a CSV file each time must have one.
* A machine may be named by the end of its path, in options and in files.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from analytics.entries import KINDS, Entry, enter, read_csv
from pipeline.errors import ConfigError
from pipeline.migrate import Connection
from rootdx import export
from rootdx.invocation import ASSETS, Site, ask, database, one_of
from rootdx.moments import Clock
from rootdx.texts import say

OPTIONS: Final[Mapping[str, str]] = {
    "asset": "--machine", "valid_from": "--at", "ts": "--at", "sampled": "--at", "at": "--at", "from_ts": "--from",
    "to_ts": "--to",
}  # fmt: skip
"""Options that are not named as their field."""
TIMES: Final = ("valid_from", "ts", "sampled", "at", "from_ts", "to_ts")
_LEFT_OUT: Final = ("origin", "result")
EXAMPLES: Final[Mapping[str, Mapping[str, str]]] = {
    "context": {"kind": "lot", "value": "L-2611"},
    "stop": {"kind": "technical", "reason": "유압 누유 / hydraulic leak"},
    "quantity": {"scrap": "2", "rework": "0", "reason": "기포 / porosity"},
    "lab": {"name": "ni", "value": "80.5", "unit": "g/L", "sample": "S-1", "method": "titration"},
    "link": {"item_kind": "part", "item": "P-1", "of_kind": "lot", "of_item": "L-2611"},
    "reset": {"counter": "die_shots", "item": "D-17", "value": "0", "note": "연마 / polished"},
    "check": {"kind": "calibration", "subject": "TC-101", "months": "12", "passed": "true", "document": "KOLAS-2611"},
}


@dataclass(frozen=True, slots=True)
class Source:
    """Where entries come from: a CSV file, or options (None: not given)."""

    kind: str
    author: str | None
    csv: Path | None
    given: Mapping[str, Any]


def entries_of(source: Source, clock: Clock) -> list[Entry]:
    """The entries of a file or of options.

    Raises:
        ConfigError: names file, row and column, or the option, and what was expected.
    """
    given = {name: value for name, value in source.given.items() if value is not None}
    if source.csv is not None:
        if given:
            raise ConfigError(say("enter.either", options=", ".join(_option(name) for name in given)))
        return read_csv(source.kind, source.csv, source.author or "")
    for name in TIMES:
        if isinstance(given.get(name), str):
            given[name] = clock.moment(given[name], _option(name))
    if isinstance(given.get("done"), str):
        given["done"] = clock.day(given["done"], "--done")
    if source.author is not None:
        given["author"] = source.author
    try:
        return [KINDS[source.kind].model_validate(given)]
    except ValidationError as error:
        raise ConfigError("\n".join(_fault(source.kind, fault) for fault in error.errors())) from error


def _option(field: str) -> str:
    return OPTIONS.get(field, f"--{field.replace('_', '-')}")


def _fault(kind: str, fault: Any) -> str:
    where = _option(str(fault["loc"][0])) if fault["loc"] else ""
    if fault["type"] == "missing":
        return say("enter.missing", kind=kind, option=where)
    shown = "" if isinstance(fault["input"], dict) else f" {fault['input']}"
    said = fault["msg"].removeprefix("Value error, ")
    return f"enter {kind}{f' {where}' if where else ''}{shown}: {said}"


async def entered(site: Site, found: Sequence[Entry]) -> int:
    """Writes all or none; returns how many were new.

    Raises:
        BadData, Unavailable, ConfigError: as `analytics.entries.enter`; a machine nobody knows.
    """
    async with database(site.store) as db:
        return await enter(db, await _resolved(db, found))


async def _resolved(db: Connection, found: Sequence[Entry]) -> list[Entry]:
    """With full paths in place of the ends of them."""
    names = {name for entry in found if (name := getattr(entry, "asset", ""))}
    if not names:
        return list(found)
    known = [path for (path,) in await ask(db, ASSETS)]
    paths = {name: one_of(known, name) for name in names}
    return [
        entry.model_copy(update={"asset": paths[name]}) if (name := getattr(entry, "asset", "")) else entry
        for entry in found
    ]


def template(kind: str, file: Path, clock: Clock) -> None:
    """An empty CSV file with its headings and one example row.

    Raises:
        ConfigError: the file is there already, or cannot be written.
    """
    if file.exists():
        raise ConfigError(say("enter.exists", file=file))
    fields = [name for name in KINDS[kind].model_fields if name not in _LEFT_OUT]
    out = io.StringIO()
    lines = csv.writer(out)
    lines.writerow(fields)
    lines.writerow([_example(kind, name, clock.now.astimezone(clock.zone)) for name in fields])
    export.write(out.getvalue().encode("utf-8-sig"), file)


def _example(kind: str, field: str, now: datetime) -> str:
    if field in TIMES:
        ended = now.replace(minute=0, second=0, microsecond=0)
        return (ended - timedelta(hours=field == "from_ts")).isoformat(timespec="minutes")
    fixed = {"author": "kim", "asset": "dc1", "done": now.date().isoformat()}
    return EXAMPLES[kind].get(field, fixed.get(field, ""))
