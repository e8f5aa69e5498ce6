"""Rows of the store as columns: many tags, each over a span of its own, in one question.

* The server sends one array a tag and column, read by NumPy: no object per row on either side.
* The order in which rows were stored does not matter: see `window.Series`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from analytics.columns import take_arrays
from analytics.time_series import UNKNOWN_COUNTER, Counter
from analytics.window import EMPTY, Series
from pipeline.database import translated
from pipeline.migrate import Connection

_ROWS: Final = """
    SELECT q.place, m.ts, m.value, m.quality
    FROM unnest(%s::int[], %s::int[], %s::bigint[], %s::bigint[]) AS q(place, tag_id, first, last)
    CROSS JOIN LATERAL (
        SELECT array_agg(ts) AS ts, array_agg(coalesce(value, 'NaN'::double precision)) AS value,
               array_agg(quality) AS quality
        FROM rootdx.measurement
        WHERE tag_id = q.tag_id AND ts >= to_timestamp(0) + q.first * INTERVAL '1 microsecond'
          AND ts < to_timestamp(0) + q.last * INTERVAL '1 microsecond'
    ) m
    WHERE m.ts IS NOT NULL"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Rows of one tag in [start_ns, end_ns)."""

    tag_id: int
    start_ns: int
    end_ns: int
    every_s: float = np.inf
    counter: Counter = UNKNOWN_COUNTER


async def read(db: Connection, wanted: Sequence[Wanted]) -> list[Series]:
    """The series of each span that was asked for, empty where there is nothing.

    Raises:
        Unavailable, ConfigError, BadData: what the server says.
    """
    if not wanted:
        return []
    spans = [(-(-one.start_ns // 1000), -(-one.end_ns // 1000)) for one in wanted]
    places = list(range(len(wanted)))
    asked = [places, [one.tag_id for one in wanted], [first for first, _ in spans], [last for _, last in spans]]
    made = [EMPTY] * len(wanted)
    with translated():
        async with db.cursor(binary=True) as cursor:
            take_arrays(cursor)
            await cursor.execute(_ROWS, asked)
            async for place, ts, value, quality in cursor:
                codes = quality.view(np.uint32)
                one = wanted[place]
                made[place] = Series.of(ts, value, codes, one.every_s, one.counter)
    return made
