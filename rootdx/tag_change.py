"""New tags into a machine file: what changes, and the file with nothing else changed.

* A key is touched only where its value differs, so comments, order and everything that is no tag stay as they are.
* Tags keep their places; new ones follow the last.
* The file is replaced as a whole, after what it is to hold was read as a machine file.
"""

import math
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import tomlkit
from pydantic import ValidationError
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT

from collectors.protocols import MachineFile
from pipeline.errors import ConfigError
from pipeline.plant import parsed, text_of
from rootdx.tag_file import BLANKS
from rootdx.tag_table import COLUMNS, PAIRS, Fault, Table
from rootdx.texts import say

_KEYS: Final = tuple(
    dict.fromkeys(next((key for key, pair in PAIRS.items() if name in pair), name) for name in COLUMNS)
)
"""Keys of a tag that a table can hold, in the order in which they are written."""


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the difference; `before` and `after` are values as a machine file has them, None: not there."""

    kind: Literal["added", "changed", "removed"]
    tag: str
    key: str = ""
    before: Any = None
    after: Any = None


def tags_in(file: Path) -> list[dict[str, Any]]:
    """The tags as they stand in a machine file that is right.

    Raises:
        ConfigError: it is not.
    """
    text = text_of(file)
    parsed(text, file, MachineFile)
    return [dict(tag) for tag in tomlkit.parse(text).unwrap().get("tag", [])]


def differences(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> list[Change]:
    """What makes the one list of tags the other one, key by key."""
    old, new = ({tag["name"]: tag for tag in tags} for tags in (before, after))
    found: list[Change] = []
    for name in [*old, *(name for name in new if name not in old)]:
        if name not in new:
            found.append(Change("removed", name))
        elif name not in old:
            found.append(Change("added", name))
        else:
            values = [(key, old[name].get(key), new[name].get(key)) for key in _KEYS]
            found += [Change("changed", name, key, one, other) for key, one, other in values if not _same(one, other)]
    return found


def _same(one: Any, other: Any) -> bool:
    """Whether two values are one, to the 15 digits that a spreadsheet keeps of a number."""
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(_same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, str) and isinstance(other, str):
        return one.strip(BLANKS) == other.strip(BLANKS)  # a spreadsheet's cell has none around it
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-14)
    return bool(one == other)


def changed(text: str, tags: Sequence[Mapping[str, Any]]) -> str:
    """The text of a machine file with these tags.

    Raises:
        ConfigError: its tags do not stand as [[tag]] tables.
    """
    try:
        file = tomlkit.parse(text)
    except TOMLKitError as error:
        raise ConfigError(f"TOML: {error}") from error
    tables = file.setdefault("tag", tomlkit.aot())
    if not isinstance(tables, AoT):
        raise ConfigError(say("tags.not_tables"))
    wanted = {tag["name"]: tag for tag in tags}
    for place in range(len(tables) - 1, -1, -1):
        if tables[place]["name"] not in wanted:
            del tables[place]
    for table in tables:
        _set(table, wanted.pop(str(table["name"])))
    for tag in wanted.values():
        table = tomlkit.table()
        _set(table, tag)
        if not tomlkit.dumps(file).endswith("\n\n"):
            _spaced(tables)
        tables.append(table)
    said = tomlkit.dumps(file)
    return said.replace("\r\n", "\n").replace("\n", "\r\n") if "\r\n" in text else said


def _spaced(tables: AoT) -> None:
    """A blank line before the next table."""
    if len(tables):
        tables[-1].add(tomlkit.nl())


def _set(table: Any, tag: Mapping[str, Any]) -> None:
    for key in _KEYS:
        if key not in tag:
            table.pop(key, None)
        elif key not in table or not _same(table[key], tag[key]):
            table[key] = _written(tag[key])


def _written(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inline = tomlkit.inline_table()
    inline.update(value)
    return inline


def checked(text: str, file: Path, table: Table) -> MachineFile:
    """What the file is to hold, read as a machine file.

    Raises:
        ConfigError: it is none; rows and columns of the table where they are what is wrong.
    """
    try:
        return parsed(text, file, MachineFile)
    except ConfigError as error:
        told = _told(error, text, table)
        if not told or not all(told):
            raise
        raise ConfigError("\n".join(map(str, told))) from error


def faults_beside(before: str, file: Path, table: Table) -> list[Fault]:
    """What else is wrong with a table that has faults: what a machine file of its other rows would be refused for."""
    faulty = {fault.row for fault in table.faults}
    sound = [tag for tag, row in zip(table.tags, table.rows, strict=True) if row not in faulty]
    try:
        text = changed(before, sound)
        parsed(text, file, MachineFile)
    except ConfigError as error:
        return [fault for fault in _told(error, text, table) if fault is not None]
    return []


def _told(error: ConfigError, text: str, table: Table) -> list[Fault | None]:
    """The faults of a machine file, by row and column where they are the table's."""
    if not isinstance(error.__cause__, ValidationError):
        return []
    names = [tag["name"] for tag in tomlkit.parse(text).unwrap().get("tag", [])]
    return [_placed(fault, names, table) for fault in error.__cause__.errors()]


def _placed(fault: Any, names: Sequence[str], table: Table) -> Fault | None:
    """Where in the table a fault of the machine file is."""
    said = str(fault["msg"]).removeprefix("Value error, ")
    loc = fault["loc"]
    named = re.match(r"tag '([^']*)': ", said)
    if len(loc) >= 2 and loc[0] == "tag" and isinstance(loc[1], int):
        name = names[loc[1]]
    elif named is not None:
        name = named[1]
    else:
        return None
    found = ((row, tag) for row, tag in zip(table.rows, table.tags, strict=True) if tag.get("name") == name)
    row, tag = next(found, (0, {}))
    if not row:
        return None
    key = str(loc[2]) if len(loc) > 2 else _meant(said, tag)
    column = table.places.get(PAIRS[key][1] if key in PAIRS else key, "")
    return Fault(row, column, "refused", {"why": said})


def _meant(said: str, tag: Mapping[str, Any]) -> str:
    """Which key of a tag a sentence about it is about: the one it names, else the one whose value it repeats."""
    named = next((key for key in _KEYS if re.search(rf"\b{key}\b( =|:| )", said) and key in tag), "")
    address = str(tag.get("address", ""))
    return "address" if named in {"", "name", "text", "values"} and address and address in said else named


def replace(file: Path, before: str, text: str) -> None:
    """Puts the new text in place of the old one, whole or not at all.

    Raises:
        ConfigError: somebody has changed the file meanwhile, or it cannot be written.
    """
    if text_of(file) != before:
        raise ConfigError(say("tags.meanwhile", file=file))
    try:
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(handle, "wb") as new:
                new.write(text.encode())
                new.flush()
                os.fsync(new.fileno())
            shutil.copymode(file, name)
            Path(name).replace(file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(say("tags.not_written", file=file, why=error.strerror or error)) from error
