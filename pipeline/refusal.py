"""What can never be stored, and why; the writer sets it aside with its bytes.

* A reason, or None where there is none: nothing is raised, and nothing in a body is changed.
* It says what a person can look at: which asset, which event, which name, and what was expected.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import chain
from typing import Final

import numpy as np

from pipeline import bursts
from pipeline.model import BAD_BIT, EARLIEST_NS, LATEST_NS, Batch, Body, Event, Tally, Waveform
from pipeline.naming import DECLARED

LARGEST_COUNT: Final = (1 << 31) - 1
GATEWAYS: Final = "gateway/"
"""What stands before the name of a gateway in the path of its own events."""
DEEPEST: Final = 32
"""Levels of an event's data."""
LONGEST_TEXT: Final = 200
"""Characters of an asset path or tag name."""


def refusal(body: Body) -> str | None:
    """Why a body can never be stored, None where it can."""
    wrong = named(body)
    if wrong is not None:
        return wrong
    match body:
        case Batch():
            return _batch_refusal(body)
        case Event():
            return _event_refusal(body)
        case Tally():
            return _tally_refusal(body)
        case Waveform():
            return bursts.refusal(body)


def foreign(gateway: str, body: Body, machines: Mapping[str, Sequence[str]]) -> str | None:
    """Why a gateway may not speak of what a body names, None where it may.

    Args:
        gateway: who sent it.
        body: any.
        machines: patterns of paths by gateway; empty: any gateway may speak of any machine.
    """
    if body.asset.startswith(GATEWAYS):
        return None if body.asset == GATEWAYS + gateway else f"body of {body.asset}: sent by gateway {gateway}"
    if not machines or any(fnmatchcase(body.asset, one) for one in machines.get(gateway, ())):
        return None
    return (
        f"body of {body.asset}: gateway {gateway} may not send it; if it should, add the path to writer.machines "
        f"under {gateway}, restart the writers, then retry this entry by its number"
    )


def named(body: Body) -> str | None:
    """What is wrong with the names in a body, None where nothing is."""
    match body:
        case Event():
            return _named(body.asset, ())
        case Waveform():
            return _name_refusal(body.name) or _named(body.asset, body.channels)
        case _:
            return _named(body.asset, body.tags)


@lru_cache(maxsize=4096)
def _named(asset: str, tags: tuple[str, ...]) -> str | None:
    for name in (asset, *tags):
        wrong = _name_refusal(name)
        if wrong is not None:
            return wrong
    return f"body of {asset}: a tag is named twice" if len(set(tags)) != len(tags) else None


def _name_refusal(name: str) -> str | None:
    if not 0 < len(name) <= LONGEST_TEXT or not name.isprintable():
        return f"name {name[:40]!r}: expected 1 to {LONGEST_TEXT} printable characters"
    return None


def _batch_refusal(batch: Batch) -> str | None:
    if ((batch.ts_ns - EARLIEST_NS).view(np.uint64) > LATEST_NS - EARLIEST_NS).any():
        where = batch.ts_ns[np.argmax((batch.ts_ns < EARLIEST_NS) | (batch.ts_ns > LATEST_NS))]
        stamp = np.datetime_as_string(np.datetime64(int(where), "ns"), unit="s")
        return f"row of {batch.asset} at {stamp}Z: expected a time from 2000 to 2099; check the device's clock"
    finite = np.isfinite(batch.value)
    if not finite.all() and bool((~finite & (batch.quality < BAD_BIT)).any()):
        return f"row of {batch.asset}: a value that is no number and claims to be good"
    return None


def _event_refusal(event: Event) -> str | None:
    if not EARLIEST_NS <= event.ts_ns <= LATEST_NS:
        return f"event {event.kind!r} of {event.asset}: expected a time from 2000 to 2099"
    where = f"event {event.kind!r} of {event.asset}"
    texts = list(_texts([event.kind, event.key, event.text, dict(event.data)]))
    if texts[-1:] == [None]:
        return f"{where}: holds NaN, an infinite number, or more than {DEEPEST} levels of data"
    said = "".join(text for text in texts if text is not None)
    if "\0" in said:
        return f"{where}: holds a NUL character"
    if said.encode("utf-8", "ignore").decode() != said:
        return f"{where}: holds half a surrogate pair"
    return _declaration_refusal(event) if event.kind == DECLARED else None


def _texts(data: object, depth: int = 0) -> Iterator[str | None]:
    """Every text in a JSON value; None, and an end, at what JSON or the database has no place for."""
    if depth > DEEPEST or (isinstance(data, float) and not math.isfinite(data)):
        yield None
    elif isinstance(data, str):
        yield data
    elif isinstance(data, dict | list):
        for one in chain(data, data.values()) if isinstance(data, dict) else data:
            for text in _texts(one, depth + 1):
                yield text
                if text is None:
                    return


def _declaration_refusal(event: Event) -> str | None:
    tags = event.data.get("tags", [])
    well = isinstance(tags, list) and all(isinstance(tag, dict) and isinstance(tag.get("name"), str) for tag in tags)
    if not well or not all(isinstance(event.data.get(key, ""), str) for key in ("name", "process")):
        return f"event {event.kind!r} of {event.asset}: expected name, process and a list of tags, each with a name"
    wrong = [tag["name"] for tag in tags if _name_refusal(tag["name"]) is not None]
    return _name_refusal(wrong[0]) if wrong else bursts.declaration_refusal(event.data.get("waveforms", []))


def _tally_refusal(tally: Tally) -> str | None:
    if not len(tally):
        return None
    if int(tally.minute_ns.min()) < EARLIEST_NS or int(tally.minute_ns.max()) > LATEST_NS:
        return f"tally of {tally.asset}: expected minutes from 2000 to 2099"
    least = min(int(tally.expected.min()), int(tally.missing.min()))
    most = max(int(tally.expected.max()), int(tally.missing.max()))
    if least < -LARGEST_COUNT or most > LARGEST_COUNT:  # below zero: what was counted before is taken back
        return f"tally of {tally.asset}: counts from {least} to {most}, expected {-LARGEST_COUNT} to {LARGEST_COUNT}"
    return None
