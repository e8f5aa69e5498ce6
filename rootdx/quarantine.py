"""What could not be stored: list, retry, export."""

import base64
import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from pipeline import wire
from pipeline.errors import BadData, ConfigError
from pipeline.model import Body, rows_of
from pipeline.refusal import refusal
from pipeline.settings import StoreSettings
from pipeline.store import opened

_FOREIGN: Final = "sent by a gateway that may not send it; look at it, then give its number"
_GONE: Final = "no such entry, or it is resolved already"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that could not be stored, as schema.md describes the table."""

    id: int
    gateway: str | None
    seq: int | None
    body: int | None
    cause: str
    reason: str
    rows: int
    arrivals: int
    arrived: datetime
    resolved: datetime | None
    content: bytes
    source_id: int | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one retry; `refused` says why it still lies there."""

    id: int
    rows: int
    refused: str | None


async def entries(store: StoreSettings, *, everything: bool) -> list[Entry]:
    """What lies there, oldest first; with `everything` also what was resolved."""
    async with opened(store) as db:
        return [Entry(*row) for row in await db.quarantine(resolved=everything)]


async def retry(store: StoreSettings, ids: Sequence[int]) -> list[Outcome]:
    """Stores what can be stored now. Without ids: everything unresolved but what the wrong gateway sent."""
    outcomes = []
    async with opened(store) as db:
        waiting = [Entry(*row) for row in await db.quarantine()]
        unknown = set(ids) - {one.id for one in waiting}
        outcomes += [Outcome(one, 0, _GONE) for one in sorted(unknown)]
        for one in waiting:
            if ids and one.id not in ids:
                continue
            if not ids and one.cause == "machine":
                outcomes.append(Outcome(one.id, 0, _FOREIGN))
                continue
            try:
                bodies = _bodies(one)
                await db.retry(one.id, bodies, counted=one.body is not None and one.cause != "machine")
            except BadData as error:
                outcomes.append(Outcome(one.id, 0, str(error)))
            else:
                outcomes.append(Outcome(one.id, rows_of([body for *_, body in bodies]), None))
    return outcomes


async def dismiss(store: StoreSettings, ids: Sequence[int]) -> list[Outcome]:
    """Marks entries as looked at and not to be stored; their bytes stay."""
    async with opened(store) as db:
        return [Outcome(one, 0, None if await db.dismiss(one) else _GONE) for one in ids]


def _bodies(one: Entry) -> list[tuple[int, int, Body]]:
    if one.source_id is None or one.seq is None:
        raise BadData("these bytes never were a record; the gateway has sent the right ones again")
    if one.body is None:
        found = [body for frame in wire.frames(one.content) for body in wire.record(frame).bodies]
    else:
        found = list(wire.unpack(one.content))
    for body in found:
        reason = refusal(body)
        if reason is not None:
            raise BadData(reason)
    return [(one.source_id, one.seq, body) for body in found]


def as_text(found: Sequence[Entry], form: Literal["json", "csv"]) -> str:
    """Entries without their bytes, as JSON lines or CSV."""
    rows = [_plain(one) for one in found]
    if form == "json":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    out = io.StringIO()
    table = csv.DictWriter(out, fieldnames=[name for name in Entry.__slots__ if name not in {"content", "source_id"}])
    table.writeheader()
    table.writerows(rows)
    return out.getvalue()


def export(found: Sequence[Entry], file: Path) -> None:
    """Entries with their bytes (base64), a JSON object a line.

    Raises:
        ConfigError: the file cannot be written.
    """
    lines = [{**_plain(one), "bytes": base64.b64encode(one.content).decode()} for one in found]
    try:
        file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from error


def _plain(one: Entry) -> dict[str, Any]:
    resolved = None if one.resolved is None else one.resolved.isoformat()
    return {
        "id": one.id, "gateway": one.gateway, "seq": one.seq, "body": one.body, "cause": one.cause,
        "reason": one.reason, "rows": one.rows, "arrivals": one.arrivals, "arrived": one.arrived.isoformat(),
        "resolved": resolved,
    }  # fmt: skip
