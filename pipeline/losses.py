"""What a spool says of records it can no longer give: dropped, damaged or salvaged. Pure."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from pipeline import metrics
from pipeline.model import (
    CAUSES,
    EARLIEST_NS,
    LATEST_NS,
    MINUTE_NS,
    Batch,
    Body,
    Cause,
    Event,
    Severity,
    Tally,
    rows_of,
    waveforms_of,
)

LOSS: Final = "loss"
_SPOOL_FULL: Final = CAUSES.index(Cause.SPOOL_FULL)
_RANGE: Final = "range"


def gateway_asset(source: str) -> str:
    """The asset path under which a gateway speaks of itself."""
    return f"gateway/{source}"


def taken_back(tally: Tally) -> Tally:
    """What makes a tally not have been: its missing rows are there after all."""
    return Tally(tally.asset, tally.tags, tally.minute_ns, tally.tag, tally.expected, -tally.missing)


def tally_of(batch: Batch, cause: Cause, now_ns: int | None = None) -> Tally:
    """The rows of a batch as rows that will never arrive.

    With `now_ns`, a row whose time cannot be is counted there: its own minute would be past all retention.
    """
    ts_ns = batch.ts_ns
    if now_ns is not None:
        ts_ns = np.where((ts_ns < EARLIEST_NS) | (ts_ns > LATEST_NS), now_ns, ts_ns)
    minute = ts_ns - ts_ns % MINUTE_NS
    keys, counts = np.unique(np.stack([minute, batch.tag.astype(np.int64)]), axis=1, return_counts=True)
    missing = np.zeros((len(counts), len(CAUSES)), np.int64)
    missing[:, CAUSES.index(cause)] = counts
    tag = keys[1].astype(np.uint16)
    return Tally(batch.asset, batch.tags, keys[0], tag, np.zeros(len(counts), np.int64), missing)


def merged(tallies: Sequence[Tally]) -> list[Tally]:
    """The same counts in one tally for each asset and set of tags."""
    groups: dict[tuple[str, tuple[str, ...]], list[Tally]] = {}
    for tally in tallies:
        groups.setdefault((tally.asset, tally.tags), []).append(tally)
    return [_sum(asset, tags, group) for (asset, tags), group in groups.items()]


def _sum(asset: str, tags: tuple[str, ...], group: Sequence[Tally]) -> Tally:
    minute = np.concatenate([tally.minute_ns for tally in group])
    tag = np.concatenate([tally.tag for tally in group]).astype(np.int64)
    keys, place = np.unique(np.stack([minute, tag]), axis=1, return_inverse=True)
    expected = np.zeros(keys.shape[1], np.int64)
    missing = np.zeros((keys.shape[1], len(CAUSES)), np.int64)
    np.add.at(expected, place.ravel(), np.concatenate([tally.expected for tally in group]))
    np.add.at(missing, place.ravel(), np.concatenate([tally.missing for tally in group]))
    return Tally(asset, tags, keys[0], keys[1].astype(np.uint16), expected, missing)


def stub(source: str, now_ns: int, dropped: Sequence[tuple[int, Sequence[Body]]]) -> list[Body]:
    """What remains of dropped records: their events and tallies, and of all else how much it was.

    Rows are counted by tag and minute, waveforms altogether.

    Args:
        source: gateway.
        now_ns: when they are dropped.
        dropped: (seq, bodies) in order; an earlier stub may be among them and is absorbed.
    """
    bodies = [body for _, held in dropped for body in held]
    rows = [body for body in bodies if isinstance(body, Batch)]
    events = [body for body in bodies if isinstance(body, Event)]
    told = [event for event in events if event.kind == LOSS and event.key == _RANGE]
    tallies = [body for body in bodies if isinstance(body, Tally)]
    tallies += [tally_of(batch, Cause.SPOOL_FULL) for batch in rows]
    lost = rows_of(bodies)
    waveforms = waveforms_of(bodies) + sum(int(event.data.get("waveforms", 0)) for event in told)
    metrics.spool_dropped_rows.inc(lost)
    metrics.spool_dropped_waveforms.inc(waveforms_of(bodies))
    data = {
        "cause": Cause.SPOOL_FULL.value,
        "from_seq": min([event.data["from_seq"] for event in told] + [dropped[0][0]]),
        "to_seq": dropped[-1][0],
        "rows": lost + sum(int(event.data["rows"]) for event in told),
    }
    what = f"{data['rows']} rows"
    if waveforms:
        data["waveforms"] = waveforms
        what += f" and {waveforms} waveforms"
    text = f"{what} dropped: spool full (records {data['from_seq']} to {data['to_seq']})"
    loss = Event(gateway_asset(source), LOSS, now_ns, text, severity=Severity.ERROR, key=_RANGE, data=data)
    return [*merged(tallies), *(event for event in events if event not in told), loss]


def damaged(source: str, now_ns: int, seq: int, rows: int) -> list[Body]:
    """What is sent in place of one record whose bytes no longer match their checksum."""
    data = {"cause": "damaged", "from_seq": seq, "to_seq": seq, "rows": rows}
    text = f"{rows} rows lost: record {seq} is damaged on disk"
    return [Event(gateway_asset(source), LOSS, now_ns, text, severity=Severity.ERROR, key=str(seq), data=data)]


def salvaged(source: str, now_ns: int, cause: str, aside: str, kept: int, missing: int) -> Event:
    """What the gateway says after it had to rescue its spool.

    Args:
        source: gateway.
        now_ns: now.
        cause: what was wrong with the file.
        aside: folder of the damaged file.
        kept: records that could be read.
        missing: records certainly lost between them; what came before and after is not known.
    """
    data = {"cause": "damaged", "missing_records": missing, "kept_records": kept, "reason": cause, "aside": aside}
    text = f"spool file damaged ({cause}); {kept} records kept, at least {missing} lost, the old file lies in {aside}"
    return Event(gateway_asset(source), LOSS, now_ns, text, severity=Severity.CRITICAL, key=aside, data=data)
