"""Records to bytes and back. The layout is drawn in wire.md.

* A frame says its own length, version and checksum; frames simply follow each other in a message.
* The header can be read, and the ledger asked, without unpacking the payload.
* Whatever the bytes are, reading them returns what was written or raises `BadData`; it never returns half of it.
* Numbers are little-endian; columns begin at multiples of eight bytes, so arrays are views of the unpacked payload.
"""

import json
import struct
import threading
import uuid
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import zstandard

from pipeline.errors import BadData
from pipeline.ledger import LAST_SEQ
from pipeline.model import (
    CAUSES,
    MOST_CHANNELS,
    MOST_VALUES,
    Batch,
    Body,
    Event,
    Phase,
    Record,
    Severity,
    Singles,
    Tally,
    Waveform,
    rows_of,
)

MAGIC: Final = b"RDX"
VERSION: Final = 1
LARGEST_PAYLOAD: Final = 64 << 20
"""Bytes a payload may unpack to; a frame that claims more is refused before a byte is unpacked."""

MOST_ROWS: Final = 1 << 20
"""Rows of one payload, tallies included; constant columns unpack to this many from a few bytes."""
MOST_BODIES: Final = 1 << 16
"""Bodies of one payload."""

_HEAD: Final = struct.Struct("<3sBII16sQQqIH")  # magic version length crc epoch seq previous gateway_ns rows name
_CRC_FROM: Final = 12
_PART: Final = struct.Struct("<BxHI")  # kind, reserved, unused, length
_BATCH: Final = struct.Struct("<IIII")  # asset bytes, tag-name bytes, rows, constant columns
_WAVEFORM: Final = struct.Struct("<IIIIIIqq")  # asset, name and channel bytes, samples, channels, quality, ts, period
_BATCH_KIND, _TALLY_KIND, _EVENT_KIND, _WAVEFORM_KIND = 1, 2, 3, 4

_I8, _F8, _F4, _U4, _U2 = (np.dtype(name) for name in ("<i8", "<f8", "<f4", "<u4", "<u2"))
_Layout = Sequence[tuple[str, np.dtype[Any], int]]
"""name, type and width of each column, in the order of the bytes."""
_BATCH_LAYOUT: Final = (("ts_ns", _I8, 1), ("value", _F8, 1), ("quality", _U4, 1), ("tag", _U2, 1))
_TALLY_LAYOUT: Final = (
    ("minute_ns", _I8, 1),
    ("expected", _I8, 1),
    ("missing", _I8, len(CAUSES)),
    ("tag", _U2, 1),
)


@dataclass(frozen=True, slots=True)
class Frame:
    """A record with its payload still packed.

    Attributes:
        source: gateway name.
        epoch: identity of the spool folder.
        seq: position in the spool.
        previous: position of the record before it.
        gateway_ns: gateway clock at the group commit.
        rows: measurement rows inside.
        payload: packed bodies.
    """

    source: str
    epoch: uuid.UUID
    seq: int
    previous: int
    gateway_ns: int
    rows: int
    payload: bytes


def pack(bodies: Sequence[Body], level: int = 1) -> bytes:
    """The payload of a record: bodies, compressed by zstd.

    Raises:
        ValueError: more than `unpack` would take back, or a name that the layout cannot hold; a bug of the caller.
    """
    plain = b"".join(_part(body) for body in bodies)
    rows = sum(len(body) for body in bodies if isinstance(body, Batch | Tally))
    if rows > MOST_ROWS or len(bodies) > MOST_BODIES or len(plain) > LARGEST_PAYLOAD:
        raise ValueError(f"{len(bodies)} bodies of {rows} rows and {len(plain)} bytes are too much for one record")
    return _compressor(level).compress(plain)


def frame(held: Frame) -> bytes:
    """The bytes that cross the bus."""
    name = held.source.encode()
    length = _HEAD.size + len(name) + len(held.payload)
    head = _HEAD.pack(
        MAGIC, VERSION, length, 0, held.epoch.bytes, held.seq, held.previous, held.gateway_ns, held.rows, len(name)
    )
    tail = head[_CRC_FROM:] + name + held.payload
    return head[:8] + struct.pack("<I", zlib.crc32(tail)) + tail


def frames(message: bytes) -> Iterator[Frame]:
    """The frames of a message, in order.

    Raises:
        BadData: at the first byte that is not a whole, undamaged frame of this version; what was yielded before
            stands.
    """
    at = 0
    while at < len(message):
        held, at = _frame_at(message, at)
        yield held


def _frame_at(message: bytes, at: int) -> tuple[Frame, int]:
    if len(message) - at < _HEAD.size:
        raise BadData(f"frame at byte {at}: {len(message) - at} bytes are less than a header of {_HEAD.size}")
    magic, version, length, crc, epoch, seq, previous, gateway_ns, rows, name = _HEAD.unpack_from(message, at)
    if magic != MAGIC:
        raise BadData(f"frame at byte {at}: begins with {magic!r}, expected {MAGIC!r}")
    if version != VERSION:
        raise BadData(f"frame at byte {at}: version {version}, this program reads version {VERSION}; upgrade it")
    end = at + length
    start = at + _HEAD.size + name
    if length < _HEAD.size + name or end > len(message):
        raise BadData(f"frame at byte {at}: says {length} bytes, {len(message) - at} are there")
    if zlib.crc32(memoryview(message)[at + _CRC_FROM : end]) != crc:
        raise BadData(f"frame at byte {at}: checksum differs; it was damaged on its way")
    if not 0 < seq <= LAST_SEQ or previous >= seq:
        raise BadData(f"frame at byte {at}: seq {seq} after {previous} cannot be")
    try:
        source = message[at + _HEAD.size : start].decode("ascii")
    except UnicodeDecodeError as error:
        raise BadData(f"frame at byte {at}: the gateway name is not ASCII") from error
    return Frame(source, uuid.UUID(bytes=epoch), seq, previous, gateway_ns, rows, message[start:end]), end


def unpack(payload: bytes) -> tuple[Body, ...]:
    """The bodies of a payload.

    Raises:
        BadData: it is not what `pack` makes.
    """
    try:
        size = zstandard.frame_content_size(payload)
        if not 0 <= size <= LARGEST_PAYLOAD:
            raise BadData(f"payload unpacks to {size} bytes; at most {LARGEST_PAYLOAD} are accepted")
        plain = _own.decompressor.decompress(payload, max_output_size=size)
    except zstandard.ZstdError as error:
        raise BadData(f"payload of {len(payload)} bytes is not a zstd frame: {error}") from error
    bodies: list[Body] = []
    rows = 0
    for kind, content in _parts(plain):
        bodies.append(_body(kind, content, MOST_ROWS - rows))
        rows += len(bodies[-1]) if isinstance(bodies[-1], Batch | Tally) else 0
        if len(bodies) > MOST_BODIES:
            raise BadData(f"payload of more than {MOST_BODIES} bodies")
    return tuple(bodies)


def record(held: Frame) -> Record:
    """A frame with its bodies unpacked.

    Raises:
        BadData: as `unpack`; or the header counts other rows than are inside.
    """
    bodies = unpack(held.payload)
    if rows_of(bodies) != held.rows:
        raise BadData(f"header says {held.rows} rows, the payload holds {rows_of(bodies)}")
    return Record(held.source, held.epoch, held.seq, held.previous, held.gateway_ns, bodies)


class _Own(threading.local):
    """What packs and unpacks; one a thread, since two at once in one of them spoil each other's bytes."""

    def __init__(self) -> None:
        self.compressors: dict[int, zstandard.ZstdCompressor] = {}
        self.decompressor = zstandard.ZstdDecompressor()


_own = _Own()


def _compressor(level: int) -> zstandard.ZstdCompressor:
    known = _own.compressors.get(level)
    if known is None:
        known = _own.compressors[level] = zstandard.ZstdCompressor(level=level)
    return known


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def _part(body: Body) -> bytes:
    match body:
        case Batch():
            kind, content = _BATCH_KIND, _columns(body, _BATCH_LAYOUT)
        case Tally():
            kind, content = _TALLY_KIND, _columns(body, _TALLY_LAYOUT)
        case Event():
            kind, content = _EVENT_KIND, _event_bytes(body)
        case Waveform():
            kind, content = _WAVEFORM_KIND, _waveform_bytes(body)
    content = _padded(content)
    return _PART.pack(kind, 0, len(content)) + content


def _parts(plain: bytes) -> Iterator[tuple[int, memoryview]]:
    view, at = memoryview(plain), 0
    while at < len(view):
        if len(view) - at < _PART.size:
            raise BadData("payload ends inside a part header")
        kind, _, length = _PART.unpack_from(view, at)
        at += _PART.size
        if length > len(view) - at:
            raise BadData(f"part of {length} bytes, {len(view) - at} are left")
        yield kind, view[at : at + length]
        at += length


def _body(kind: int, content: memoryview, most_rows: int) -> Body:
    match kind:
        case 1:
            return Batch.made_of(**_read_columns(content, _BATCH_LAYOUT, most_rows))
        case 2:
            return Tally(**_read_columns(content, _TALLY_LAYOUT, most_rows))
        case 3:
            return _event(bytes(content).rstrip(b"\0"))
        case 4:
            return _waveform(content)
        case _:
            raise BadData(f"part of kind {kind}, this program knows 1 to 4; upgrade it")


def _columns(body: Batch | Tally, layout: _Layout) -> bytes:
    asset, names = body.asset.encode(), _names(body.tags)
    constant, parts = 0, []
    for bit, (name, dtype, _) in enumerate(layout):
        column: npt.NDArray[Any] = getattr(body, name)
        if len(column) > 1 and _is_constant(column):
            constant |= 1 << bit
            column = column[:1]
        parts.append(_padded(np.ascontiguousarray(column, dtype).tobytes()))
    head = _BATCH.pack(len(asset), len(names), len(body), constant)
    return b"".join((head, _padded(asset + names), *parts))


def _is_constant(column: npt.NDArray[Any]) -> bool:
    """Bit by bit, so that NaN is constant too; the second row is looked at first because it usually differs."""
    first = column[0].tobytes()
    return column[1].tobytes() == first and bool((column.view(f"V{column[0].nbytes}").ravel() == np.void(first)).all())


def _read_columns(content: memoryview, layout: _Layout, most_rows: int) -> dict[str, Any]:
    if len(content) < _BATCH.size:
        raise BadData("columns end inside their header")
    asset_bytes, name_bytes, n, constant = _BATCH.unpack_from(content)
    if n > most_rows:
        raise BadData(f"body of {n} rows; at most {MOST_ROWS} are accepted in one payload")
    at = _BATCH.size
    text = bytes(content[at : at + asset_bytes + name_bytes])
    at += (asset_bytes + name_bytes + 7) // 8 * 8
    asset, tags = _texts(text[:asset_bytes], text[asset_bytes:])
    found: dict[str, Any] = {"asset": asset, "tags": tags}
    for bit, (name, dtype, width) in enumerate(layout):
        held = 1 if constant >> bit & 1 else n
        size = held * width * dtype.itemsize
        if size > len(content) - at:
            raise BadData(f"column {name} of {n} rows is longer than what is left")
        column = np.frombuffer(content, dtype, held * width, at)
        if width > 1:
            column = column.reshape(held, width)
        if held != n:
            column = column.repeat(n, axis=0)
            column.flags.writeable = False
        found[name] = column
        at += (size + 7) // 8 * 8
    if (found["tag"] >= len(tags)).any():
        raise BadData(f"a row names tag {int(found['tag'].max())} of {len(tags)}")
    return found


@lru_cache(maxsize=1024)
def _names(tags: tuple[str, ...]) -> bytes:
    if any(not tag or "\n" in tag for tag in tags):
        raise ValueError(f"tag names {tags!r}: an empty one or one with a line break cannot be told from two")
    return "\n".join(tags).encode()


@lru_cache(maxsize=1024)
def _texts(asset: bytes, names: bytes) -> tuple[str, tuple[str, ...]]:
    try:
        return asset.decode(), tuple(names.decode().split("\n")) if names else ()
    except UnicodeDecodeError as error:
        raise BadData("asset or tag names are not UTF-8") from error


def _event_bytes(event: Event) -> bytes:
    said = [event.asset, event.kind, event.ts_ns, event.text, event.phase, event.severity, event.key, event.onset_ns]
    return json.dumps([*said, dict(event.data)], separators=(",", ":")).encode()  # ASCII: half a surrogate passes too


def _event(content: bytes) -> Event:
    try:
        asset, kind, ts_ns, text, phase, severity, key, onset_ns, data = json.loads(content)
        texts_are = all(isinstance(item, str) for item in (asset, kind, text, key))
        if not (texts_are and isinstance(ts_ns, int) and isinstance(onset_ns, int | None) and isinstance(data, dict)):
            raise BadData("event with a field of the wrong type")
        return Event(asset, kind, ts_ns, text, Phase(phase), Severity(severity), key, onset_ns, data)
    except (ValueError, TypeError, RecursionError) as error:
        raise BadData(f"not an event: {error}") from error


def planes(value: Singles) -> bytes:
    """Values (n, k) so that zstd finds something to pack: exact, 4 · n · k bytes.

    Column after column the 32 bits of each float minus those of the one before it; of all these differences first the
    lowest bytes, then the next ones, up to the highest.
    """
    bits = np.ascontiguousarray(value.T, _F4).view(_U4)
    steps = bits.copy()
    steps[:, 1:] -= bits[:, :-1]
    return steps.reshape(-1, 1).view(np.uint8).T.tobytes()


def joined(content: bytes | memoryview, samples: int, channels: int) -> Singles:
    """What `planes` was given: (samples, channels), read-only.

    Raises:
        BadData: as many values cannot be in it.
    """
    if samples * channels * 4 != len(content) or not samples * channels:
        raise BadData(f"waveform of {samples} samples in {channels} channels cannot be in {len(content)} bytes")
    steps = np.ascontiguousarray(np.frombuffer(content, np.uint8).reshape(4, -1).T).view(_U4)
    bits = np.cumsum(steps.reshape(channels, samples), axis=1, dtype=np.uint32)
    value = np.ascontiguousarray(bits.view(np.float32).T)
    value.flags.writeable = False
    return value


def _waveform_bytes(one: Waveform) -> bytes:
    asset, name, channels = one.asset.encode(), one.name.encode(), _names(one.channels)
    sizes = (len(asset), len(name), len(channels), *one.value.shape)
    head = _WAVEFORM.pack(*sizes, one.quality, one.ts_ns, one.period_ns)
    return b"".join((head, _padded(asset + name + channels), planes(one.value)))


def _waveform(content: memoryview) -> Waveform:
    if len(content) < _WAVEFORM.size:
        raise BadData("waveform ends inside its header")
    asset, name, names, samples, k, quality, ts_ns, period_ns = _WAVEFORM.unpack_from(content)
    if samples * k > MOST_VALUES or k > MOST_CHANNELS:
        raise BadData(
            f"waveform of {samples} samples in {k} channels; at most {MOST_VALUES} values in {MOST_CHANNELS} channels "
            "are accepted"
        )
    at = _WAVEFORM.size
    text = bytes(content[at : at + asset + name + names])
    at += (asset + name + names + 7) // 8 * 8
    value = joined(content[at : at + samples * k * 4], samples, k)
    try:
        channels = tuple(text[asset + name :].decode().split("\n"))
        said = text[:asset].decode(), text[asset : asset + name].decode()
        return Waveform(*said, ts_ns, period_ns, channels, value, quality)
    except ValueError as error:
        raise BadData(f"not a waveform: {error}") from error
