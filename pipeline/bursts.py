"""Waveforms in the database: one row a burst, its values compressed, read back as arrays.

* Encoding 1 is one zstd frame of `wire.planes`: exact, 40 to 70 % of the float32 values.
* (asset, name, ts) is stored once: the same burst sent again changes nothing, the first one stays.
* The database keeps time in microseconds, so `ts_ns` comes back rounded down to them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import zstandard

from pipeline import wire
from pipeline.errors import BadData
from pipeline.migrate import Connection
from pipeline.model import BAD_BIT, EARLIEST_NS, LATEST_NS, MOST_VALUES, Int64s, Singles, Waveform

ENCODING: Final = 1
LEVEL: Final = 3
_WORDS: Final = ("name", "role", "text")
_CHANNEL_WORDS: Final = ("name", "unit", "role", "text")


@dataclass(frozen=True, slots=True)
class Described:
    """What a machine file says of one waveform.

    Attributes:
        name: of the waveform.
        role: what it is for the process, as `shot.curve`; "" where the file says nothing.
        channels: (k,) names, in file order.
        units: (k,) UCUM.
        roles: (k,) signal names of the process, "" where the file says nothing.
    """

    name: str
    role: str
    channels: tuple[str, ...]
    units: tuple[str, ...]
    roles: tuple[str, ...]


async def waveforms(
    db: Connection, asset: str, start_ns: int, end_ns: int, names: Sequence[str] | None = None
) -> tuple[Waveform, ...]:
    """The bursts of a machine whose first sample lies in [start_ns, end_ns), in the order of time.

    Args:
        db: a connection of any role of ours; errors of psycopg pass through.
        asset: ISA-95 path.
        start_ns: rounded down to microseconds, as `end_ns` is.
        end_ns: exclusive.
        names: which waveforms; None: all.

    Raises:
        BadData: a row was written by a newer program, or is damaged.
    """
    args = {"asset": asset, "start": start_ns // 1000, "end": end_ns // 1000, "names": names and list(names)}
    async with db.cursor(binary=True) as cursor:
        await cursor.execute(_READ, args)
        rows = await cursor.fetchall()
    return tuple(
        Waveform(
            asset, name, us * 1000, period_ns, tuple(channels), decode(value, encoding, samples, len(channels)), code
        )
        for name, us, period_ns, channels, samples, value, encoding, code in rows
    )


async def described(db: Connection, asset: str) -> tuple[Described, ...]:
    """The waveforms that a machine file declares, by name."""
    rows = await (await db.execute(_DESCRIBED, [asset])).fetchall()
    return tuple(Described(name, role, tuple(c), tuple(u), tuple(r)) for name, role, c, u, r in rows)


def encode(value: Singles) -> bytes:
    """Values (n, k) as encoding 1."""
    return _compressor().compress(wire.planes(value))


def decode(content: bytes, encoding: int, samples: int, channels: int) -> Singles:
    """Values (samples, channels), read-only.

    Raises:
        BadData: the encoding is not known, or the bytes are damaged.
    """
    if encoding != ENCODING:
        raise BadData(f"waveform of encoding {encoding}, this program knows {ENCODING}; upgrade it")
    try:
        if zstandard.frame_content_size(content) > 4 * MOST_VALUES:
            raise BadData(f"waveform of more than {MOST_VALUES} values")
        return wire.joined(zstandard.ZstdDecompressor().decompress(content), samples, channels)
    except zstandard.ZstdError as error:
        raise BadData(f"waveform cannot be unpacked: {error}") from error


async def insert(db: Connection, rows: Sequence[tuple[int, int, Waveform]]) -> None:
    """Stores waveforms (record, asset_id, waveform), those that are there already excepted."""
    if rows:
        async with db.cursor() as cursor:
            await cursor.executemany(_INSERT, [_row(*row) for row in rows])


def _row(record: int, asset_id: int, one: Waveform) -> tuple[Any, ...]:
    code = one.quality - (1 << 32) if one.quality >= BAD_BIT else int(one.quality)
    shape = (list(one.channels), len(one), encode(one.value), ENCODING)
    return (asset_id, one.name, one.ts_ns // 1000, one.period_ns, *shape, code, record)


def ends(found: Sequence[Waveform]) -> Int64s:
    """(2 n,) times of the first and the last sample of each, ns UTC."""
    return np.array([ns for one in found for ns in (one.ts_ns, one.ts_ns + (len(one) - 1) * one.period_ns)], np.int64)


async def declare(db: Connection, asset_id: int, said: Sequence[Mapping[str, Any]]) -> None:
    """Takes units and roles of channels from the `waveforms` of a `machine.declared` event."""
    rows = [
        (asset_id, one["name"], one.get("role", ""), place, *(channel.get(word, "") for word in _CHANNEL_WORDS))
        for one in said
        for place, channel in enumerate(one["channels"])
    ]
    if rows:
        async with db.cursor() as cursor:
            await cursor.executemany(_DECLARE, rows)


def declaration_refusal(said: object) -> str | None:
    """Why the `waveforms` of a `machine.declared` event cannot be stored, None where they can."""
    if not isinstance(said, list) or not all(_described_well(one) for one in said):
        return "expected a list of waveforms, each with a name and channels that have names; all else texts"
    return None


def _described_well(one: object) -> bool:
    if not isinstance(one, dict) or not isinstance(one.get("channels"), list):
        return False
    channels = all(isinstance(channel, dict) and _has_texts(channel, _CHANNEL_WORDS) for channel in one["channels"])
    return channels and _has_texts(one, _WORDS)


def _has_texts(one: Mapping[str, object], words: Sequence[str]) -> bool:
    return bool(one.get("name")) and all(isinstance(one.get(word, ""), str) for word in words)


def refusal(one: Waveform) -> str | None:
    """Why a waveform can never be stored, its names aside; None where it can."""
    if not EARLIEST_NS <= one.ts_ns <= one.ts_ns + len(one) * one.period_ns <= LATEST_NS:
        return f"waveform {one.name} of {one.asset}: expected a time from 2000 to 2099; check the device's clock"
    if np.isinf(one.value).any():
        return f"waveform {one.name} of {one.asset}: holds an infinite value"
    return None


@lru_cache(maxsize=1)
def _compressor() -> zstandard.ZstdCompressor:
    return zstandard.ZstdCompressor(level=LEVEL)


_INSERT: Final = """
    INSERT INTO rootdx.waveform (asset_id, name, ts, period_ns, channels, samples, value, encoding, quality, record)
    VALUES (%s, %s, to_timestamp(0) + %s * INTERVAL '1 microsecond', %s, %s, %s, %b, %s, %s, %s)
    ON CONFLICT DO NOTHING"""
_READ: Final = """
    SELECT w.name, (extract(epoch FROM w.ts) * 1000000)::bigint, w.period_ns, w.channels, w.samples, w.value,
           w.encoding, w.quality::bigint & 4294967295
    FROM rootdx.waveform w JOIN rootdx.asset a USING (asset_id)
    WHERE a.path = %(asset)s AND w.ts >= to_timestamp(0) + %(start)s * INTERVAL '1 microsecond'
      AND w.ts < to_timestamp(0) + %(end)s * INTERVAL '1 microsecond'
      AND (%(names)s::text[] IS NULL OR w.name = ANY(%(names)s))
    ORDER BY w.ts, w.name"""
_DESCRIBED: Final = """
    SELECT c.name, min(c.waveform_role), array_agg(c.channel ORDER BY c.place), array_agg(c.unit ORDER BY c.place),
           array_agg(c.role ORDER BY c.place)
    FROM rootdx.waveform_channel c JOIN rootdx.asset a USING (asset_id)
    WHERE a.path = %s GROUP BY c.name ORDER BY c.name"""
_DECLARE: Final = """
    INSERT INTO rootdx.waveform_channel (asset_id, name, waveform_role, place, channel, unit, role, text)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (asset_id, name, channel) DO UPDATE SET (waveform_role, place, unit, role, text)
        = (EXCLUDED.waveform_role, EXCLUDED.place, EXCLUDED.unit, EXCLUDED.role, EXCLUDED.text)"""
