"""What the store says about a record at the moment of printing: whether it holds, and the rows that are drawn.

* Everything that was sealed is looked at, raw rows too; nothing else of the paper depends on the rows of today.
* Dispositions of alarms and the causes of gaps stand in the journals of the database, not in the record.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from analytics.record_store import Fault, RecordStore, Sealed
from pipeline.errors import BadData
from pipeline.migrate import Connection
from pipeline.model import CAUSES, Waveform
from rootdx.invocation import Site, ask
from rootdx.paper.curves import BURSTS, Curve, bursts, curve, units_of
from rootdx.record_text import holds
from rootdx.texts import say

FEW: Final = 3
"""So many cycles are printed one by one; of more each feature has its range and a chart."""
OVERLAID: Final = 40
"""So many bursts at most are drawn over each other."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A record and what the store says about it at the moment of printing.

    Attributes:
        sealed: the record.
        printed: when it was looked at.
        faults: what is not as it was sealed, of this record.
        before: what is not as it was sealed, of records before it in the chain.
        said: the sealed content; empty when it does not fit its hash.
        curves: charts of cycles, by place in the content.
        waves: bursts of many cycles, and whether their cycle did not pass.
        units: of the channels of these.
        journal: alarms that were raised in the cycles, with who acknowledged them.
        gaps: rows due and missing, by machine and cause.
    """

    sealed: Sealed
    printed: datetime
    faults: Sequence[Fault]
    before: Sequence[Fault]
    said: Mapping[str, Any]
    zone: ZoneInfo
    curves: Mapping[int, Curve] = field(default_factory=dict)
    waves: Sequence[tuple[Waveform, bool]] = ()
    units: Mapping[str, str] = field(default_factory=dict)
    journal: Sequence[tuple[Any, ...]] = ()
    gaps: Sequence[tuple[Any, ...]] = ()


async def evidence_of(db: Connection, site: Site, number: int) -> Evidence:
    """A record, verified now, with the rows that are drawn.

    Raises:
        BadData: there is no record of this number.
        Unavailable, ConfigError: what the server says.
    """
    store = RecordStore(db, site.plant, [])
    if not await store.read(number):
        raise BadData(say("record.unknown", number=number))
    own: list[Fault] = []
    before: list[Fault] = []
    async for sealed, faults in store.verify(number):
        own += [fault for fault in faults if fault.number == number]
        before += [fault for fault in faults if fault.number != number]
        if sealed.number >= number:
            break
    now = datetime.now(UTC)
    if not holds(sealed):
        return Evidence(sealed, now, own, before, {}, site.zone)
    said = json.loads(sealed.content)
    cycles = said["cycles"]
    waves = await _waves(db, said)
    places = [] if waves else drawn(said)
    return Evidence(
        sealed, now, own, before, said, ZoneInfo(said["time_zone"]),
        curves={place: await curve(db, cycles[place]) for place in places},
        waves=waves,
        units=await units_of(db, waves[0][0]) if waves else {},
        journal=await ask(db, _JOURNAL, _windows(cycles)),
        gaps=await ask(db, _GAPS, _windows(cycles)),
    )  # fmt: skip


def drawn(said: Mapping[str, Any]) -> list[int]:
    """The cycles that get a chart: all of a few; of many the first that did not pass, else the first."""
    kinds = set(said["asked"]["kinds"])
    places = [place for place, one in enumerate(said["cycles"]) if one["kind"] in kinds]
    if len(places) <= FEW:
        return places or list(range(min(FEW, len(said["cycles"]))))
    return [next((place for place in places if said["cycles"][place]["verdict"] not in ("pass", None)), places[0])]


async def _waves(db: Connection, said: Mapping[str, Any]) -> list[tuple[Waveform, bool]]:
    """Bursts of many cycles: those that did not pass first, then evenly from the others."""
    kinds = set(said["asked"]["kinds"]) & BURSTS
    cycles = [one for one in said["cycles"] if one["kind"] in kinds]
    if len(cycles) <= FEW:
        return []
    bad = [one for one in cycles if one["verdict"] not in ("pass", None)][: OVERLAID // 2]
    good = [one for one in cycles if one["verdict"] in ("pass", None)]
    step = max(1, -(-len(good) // (OVERLAID - len(bad))))
    found = [(await bursts(db, one), is_bad) for some, is_bad in ((good[::step], False), (bad, True)) for one in some]
    return [(wave, is_bad) for wave, is_bad in found if wave is not None]


def _windows(cycles: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "assets": [one["asset"] for one in cycles],
        "firsts": [datetime.fromisoformat(one["start"]) for one in cycles],
        "lasts": [datetime.fromisoformat(one["end"]) for one in cycles],
        "first": min((datetime.fromisoformat(one["start"]) for one in cycles), default=None),
        "last": max((datetime.fromisoformat(one["end"]) for one in cycles), default=None),
    }


_JOURNAL: Final = """
    SELECT r.ts, r.asset, r.priority, r.facts, k.who, k.ts, k.reason
    FROM rootdx.alarm_entries r
    LEFT JOIN LATERAL (
        SELECT CASE WHEN k.kind = 'acknowledged' THEN k.who END AS who,
               CASE WHEN k.kind = 'acknowledged' THEN k.ts END AS ts,
               CASE WHEN k.kind = 'acknowledged' THEN k.reason END AS reason
        FROM rootdx.alarm_entries k
        WHERE k.alarm_id = r.alarm_id AND k.entry_id > r.entry_id AND k.kind IN ('acknowledged', 'raised')
        ORDER BY k.entry_id LIMIT 1
    ) k ON true
    WHERE r.kind = 'raised' AND r.ts >= %(first)s AND r.ts < %(last)s AND EXISTS (
        SELECT FROM unnest(%(assets)s::text[], %(firsts)s::timestamptz[], %(lasts)s::timestamptz[])
            AS w(asset, first, last)
        WHERE w.asset = r.asset AND r.ts >= w.first AND r.ts < w.last)
    ORDER BY r.ts, r.entry_id"""
_GAPS: Final = f"""
    SELECT a.path, sum(t.expected)::bigint, {", ".join(f"sum(t.{one.value})::bigint" for one in CAUSES)}
    FROM rootdx.tally t JOIN rootdx.tag g USING (tag_id) JOIN rootdx.asset a USING (asset_id)
    WHERE g.role <> '' AND a.path = ANY(%(assets)s)
      AND t.minute >= date_trunc('minute', %(first)s::timestamptz) AND t.minute < %(last)s AND EXISTS (
        SELECT FROM unnest(%(assets)s::text[], %(firsts)s::timestamptz[], %(lasts)s::timestamptz[])
            AS w(asset, first, last)
        WHERE w.asset = a.path AND t.minute >= date_trunc('minute', w.first) AND t.minute < w.last)
    GROUP BY a.path ORDER BY a.path"""  # noqa: S608  # our own column names
