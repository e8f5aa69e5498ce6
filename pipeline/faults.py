"""What is wrong with a settings file, in words: file, line where it can be found, key, value, what was expected."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import ValidationError

from pipeline.secrecy import HIDDEN, is_secret


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
    if shown and (any(is_secret(part) for part in keys) or (keys[0], keys[-1]) == ("notify", "url")):
        shown = f" = {HIDDEN}"  # who knows the address of a chat room may write into it
    if fault["type"] == "extra_forbidden":
        said = "unknown key; check its spelling"
        if is_secret(keys[-1]):
            said = "unknown key; a secret stands in a file of its own, which a key such as password_file names"
    elif fault["type"] == "missing":
        said = "missing; it must be given"
    return f"{place}: {key}{shown}: {said}"


def _is_union_label(part: object) -> bool:
    """Pydantic puts the tag of a discriminated union into the path; nobody wrote it into the file."""
    return isinstance(part, str) and part in {"modbus", "opcua", "mqtt", "files", "sparkplug"}


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
