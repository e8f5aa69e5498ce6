"""What an OPC UA server says of a value, and what is remembered of it.

* Source time and status code stay as the server gives them.
* Numbers and booleans are numbers, strings, localized texts, names and times are texts; nothing else is taken.
* A time that cannot be believed is the gateway's.
"""

import base64
import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
from asyncua import ua

from collectors.bursts import plausible
from collectors.opcua_items import Part
from collectors.opcua_structures import Structures
from collectors.texts import clean
from pipeline.errors import BadData
from pipeline.model import BAD_BIT, Int64s, Quality

OVERFLOW: Final = 0x0480
"""Info bits of a status code: the server's queue was full and a value before this one is lost."""
_HOLES: Final = 10_000
"""Remembered; the server's history is asked for one after the other."""
UNDECODED: Final = 0x8007_0000
"""BadDecodingError."""
_NONE_KNOWN: Final = Structures()
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Hole:
    """What is not known of a tag.

    Attributes:
        tag: its index.
        from_ns: source time up to which everything is stored.
        until_ns: source time of the first value heard again.
        heard_ns: gateway time at which it was heard: until then it was the newest.
        since_ns: gateway time up to which an earlier hole accounts for what is missing.
    """

    tag: int
    from_ns: int
    until_ns: int
    heard_ns: int
    since_ns: int = 0

    def parts(self) -> list[int]:
        """For JSON."""
        return [self.tag, self.from_ns, self.until_ns, self.heard_ns, self.since_ns]


@dataclass(slots=True)
class Rows:
    """Rows as they are heard, column by column."""

    ts_ns: list[int] = field(default_factory=list)
    tag: list[int] = field(default_factory=list)
    raw: list[float] = field(default_factory=list)
    quality: list[int] = field(default_factory=list)
    believed: list[bool] = field(default_factory=list)
    """Whether the time is the server's own."""
    holes: list[Hole] = field(default_factory=list)
    """Before them."""

    def add(self, ts_ns: int, tag: int, raw: float, quality: int, *, believed: bool = False) -> None:
        """One more row."""
        self.ts_ns.append(ts_ns)
        self.tag.append(tag)
        self.raw.append(raw)
        self.quality.append(quality)
        self.believed.append(believed)


@dataclass(frozen=True, slots=True)
class Text:
    """A text that a tag said."""

    tag: int
    ts_ns: int
    text: str
    believed: bool


class Memory:
    """What was stored last of each tag, and which nodes the server refused: it outlives session and process."""

    def __init__(self, names: Sequence[str], text: str) -> None:
        self._names = hashlib.blake2b("\n".join(names).encode(), digest_size=6).hexdigest()
        self.last: Int64s = np.zeros(len(names), np.int64)
        self.refused: dict[str, int] = {}
        self.holes: list[Hole] = []
        self.heard_ns = 0
        self.clock_ns = 0
        """Since when its clock has been wrong."""
        said = json.loads(text) if text else {}
        self.bursts: dict[str, int] = said.get("bursts", {})
        self.texts: dict[str, str] = said.get("texts", {})
        self.alarms: dict[str, int] = said.get("alarms", {})
        self.clock_ns = int(said.get("clock", 0))
        if said.get("tags") == self._names:
            self.last = np.frombuffer(zlib.decompress(base64.b64decode(said["last"])), "<i8").astype(np.int64)
            self.refused = said["refused"]
            self.holes = [Hole(*one) for one in said.get("holes", [])]
            self.heard_ns = int(said.get("heard", 0))

    def text(self) -> str:
        """Compact: neighbouring times share most of their bytes."""
        last = base64.b64encode(zlib.compress(self.last.astype("<i8").tobytes(), 1)).decode()
        said: dict[str, Any] = {"tags": self._names, "last": last, "refused": self.refused}
        more: dict[str, Any] = {"bursts": self.bursts, "texts": self.texts, "alarms": self.alarms}
        more["holes"] = [hole.parts() for hole in self.holes[-_HOLES:]]
        more |= {"heard": self.heard_ns, "clock": self.clock_ns}
        said |= {key: kept for key, kept in more.items() if kept}
        return json.dumps(said, separators=(",", ":"))


def stamp_of(said: ua.DataValue) -> int | None:
    """Source time, else server time; None where there is neither."""
    stamps: tuple[Any, Any] = (said.SourceTimestamp, said.ServerTimestamp)
    for stamp in stamps:
        if stamp is None or stamp.year <= 1601:  # FILETIME zero means "none"
            continue
        aware = stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)
        return int((aware - _EPOCH) // _MICROSECOND * 1000)
    return None


def time_of(said: ua.DataValue, now_ns: int) -> tuple[int, bool]:
    """Source time, else server time, else the gateway's; and whether it could be a time."""
    ts_ns = stamp_of(said)
    if ts_ns is None:
        return now_ns, True
    return (ts_ns, True) if plausible(ts_ns, now_ns) else (now_ns, False)


def value_of(said: ua.DataValue, part: Part, structures: Structures = _NONE_KNOWN) -> tuple[float, int] | str:
    """A number with its quality, NaN where it is bad (UNDECODED: a structure nobody can read); or a text."""
    status = 0 if said.StatusCode is None else said.StatusCode.value
    if status >= BAD_BIT:
        return np.nan, status
    variant = said.Value
    if variant is None or variant.Value is None:
        return np.nan, Quality.BAD_NO_DATA
    value: Any = variant.Value
    if part.steps:
        try:
            value = part.of(value, [int(size) for size in variant.Dimensions or ()], structures)
        except BadData:
            return np.nan, UNDECODED
    if isinstance(value, int | float):
        return float(value), status
    text = _text_of(value)
    return (np.nan, Quality.BAD_TYPE_MISMATCH) if text is None else text


def reason(value: Any, part: Part, structures: Structures) -> str:
    """Why a structure could not be read."""
    try:
        part.of(value, (), structures)
    except BadData as error:
        return str(error)
    return ""


def _text_of(value: Any) -> str | None:
    if isinstance(value, ua.LocalizedText):
        return clean(value.Text or "")
    if isinstance(value, ua.QualifiedName):
        return clean(value.Name or "")
    if isinstance(value, datetime):
        return value.isoformat()
    return clean(value) if isinstance(value, str) else None
