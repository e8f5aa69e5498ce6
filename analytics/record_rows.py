"""The raw rows under a record: counts and digests, so that a changed row is found to within ten minutes of its tag.

* A digest is of time, value and quality of the rows of ten minutes of the clock, as the window would give them.
* Rows due are those that the gateway counted in the minutes of the cycle, by their share of these minutes.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from analytics.records import RawSaid
from analytics.rows import Wanted, read
from analytics.window import SECOND_NS, Series
from pipeline.database import translated
from pipeline.migrate import Connection

DIGEST_MINUTES: Final = 10
_BUCKET_NS: Final = DIGEST_MINUTES * 60 * SECOND_NS


async def raw_rows(db: Connection, asset: str, start: datetime, end: datetime) -> tuple[RawSaid, ...]:
    """The rows of every tag of a machine in [start, end), as counts and digests.

    Raises:
        Unavailable, ConfigError: what the server says.
    """
    with translated():
        tags = await (await db.execute(_TAGS, [asset])).fetchall()
        due: dict[int, int] = dict(await (await db.execute(_DUE, [asset, start, end])).fetchall())
    first, last = _ns(start), _ns(end)
    series = await read(db, [Wanted(tag_id, first, last) for tag_id, _ in tags])
    minutes = max((end - start).total_seconds() / 60, 1e-9)
    counted = max(1, -(-last // 60_000_000_000) - first // 60_000_000_000)
    found = []
    for (tag_id, name), rows in zip(tags, series, strict=True):
        expected = due.get(tag_id)
        share = None if expected is None else round(expected * minutes / counted)
        found.append(RawSaid(name, len(rows), share, len(rows.good), _digests(rows, first)))
    return tuple(found)


def changed_rows(asset: str, start: datetime, then: Mapping[str, Any], now: RawSaid | None) -> list[str]:
    """What is not as a record says of one tag from `start` on, a sentence for each ten minutes; empty when all is."""
    where = f"{asset} {then['tag']}"
    digests = () if now is None else now.digests
    if then["rows"] and not any(digests):
        return [f"{where}: the raw rows are gone"]
    first = _ns(start) // _BUCKET_NS
    changed = []
    for place in range(max(len(digests), len(then["digests"]))):
        old = then["digests"][place] if place < len(then["digests"]) else ""
        new = digests[place] if place < len(digests) else ""
        if old != new:
            at = datetime.fromtimestamp((first + place) * DIGEST_MINUTES * 60, UTC)
            changed.append(f"{where}: rows of the {DIGEST_MINUTES} minutes from {at:%Y-%m-%d %H:%M}Z changed")
    return changed


def _digests(rows: Series, start_ns: int) -> tuple[str, ...]:
    """Of each ten minutes of the clock from `start_ns` on, to the last row; "" of those without rows."""
    if not len(rows):
        return ()
    bucket = rows.ts_ns // _BUCKET_NS
    first = start_ns // _BUCKET_NS
    made = [""] * (int(bucket[-1]) - first + 1)
    cuts = np.searchsorted(bucket, np.arange(first, int(bucket[-1]) + 2))
    for place, (start, end) in enumerate(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True)):
        if start == end:
            continue
        digest = hashlib.blake2b(digest_size=8)
        for column, kind in ((rows.ts_ns, "<i8"), (rows.value, "<f8"), (rows.quality, "<u4")):
            part = column[start:end]
            plain = np.where(np.isnan(part), np.nan, part) if kind == "<f8" else part
            digest.update(np.ascontiguousarray(plain.astype(kind)).tobytes())
        made[place] = digest.hexdigest()
    return tuple(made)


def _ns(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000) * 1000


_TAGS: Final = """
    SELECT t.tag_id, t.name FROM rootdx.tag t JOIN rootdx.asset a USING (asset_id)
    WHERE a.path = %s AND t.role <> '' ORDER BY t.name"""
_DUE: Final = """
    SELECT c.tag_id, sum(c.expected)::bigint FROM rootdx.tally c JOIN rootdx.tag t USING (tag_id)
    JOIN rootdx.asset a USING (asset_id)
    WHERE a.path = %s AND c.minute >= date_trunc('minute', %s::timestamptz) AND c.minute < %s
    GROUP BY c.tag_id HAVING sum(c.expected) > 0"""
