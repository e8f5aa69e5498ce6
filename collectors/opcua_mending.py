"""Pages of history to rows and events of a record of their own; see opcua.md.

* Numbers are the rows they would have been, with source time and status code as the server gives them.
* Texts, and meanings of numbers, are told on change as if they had been heard, from what was last told before the hole.
* An event `opcua.history` says, with the last rows of a hole, which tag it was and what came: it is what marks them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from collectors.opcua_history import Page
from collectors.opcua_items import Part
from collectors.opcua_structures import Structures
from collectors.opcua_values import Rows, time_of, value_of
from collectors.scaling import Scaling
from collectors.source import Mended
from collectors.texts import Texts
from pipeline.model import Batch, Event, Severity
from pipeline.plant import Tag

KIND: Final = "opcua.history"
_NAMED: Final = 200
"""Tags that one event names."""


class Mending:
    """What pages bring.

    Args:
        asset: ISA-95 path.
        tags: of the machine, with what their numbers mean.
        parts: what of its node's value each tag is.
        structures: how to read those in it.
        told: the last text of each tag.
    """

    def __init__(
        self, asset: str, tags: Sequence[Tag], parts: Sequence[Part], structures: Structures, told: Mapping[str, str]
    ) -> None:
        self._asset, self._tags, self._parts, self._structures = asset, tags, parts, structures
        self._names = tuple(tag.name for tag in tags)
        self._texts = Texts(asset, told)
        self._scaling = Scaling(tags)
        self._came: dict[tuple[int, int], int] = {}

    def bodies(self, pages: Sequence[Page], now_ns: int) -> list[Batch | Event]:
        """Rows, texts, and what is whole now."""
        rows, found = Rows(), list[Batch | Event]()
        for page in pages:
            before = len(rows.tag)
            found += self._read(page, now_ns, rows)
            key = (page.hole.tag, page.hole.until_ns)
            self._came[key] = self._came.get(key, 0) + len(rows.tag) - before
        return [*self._batch(rows), *found, *self._told(pages, now_ns)]

    def mended(self, pages: Sequence[Page]) -> tuple[Mended, ...]:
        """Spans of which nothing is missing."""
        return tuple(Mended(one.hole.tag, *one.known_ns) for one in pages if one.known_ns[0] < one.known_ns[1])

    def _read(self, page: Page, now_ns: int, rows: Rows) -> list[Event]:
        """Adds the rows of a page; the events of its texts."""
        place, hole = page.hole.tag, page.hole
        tag, events, worded = self._tags[place], list[Event | None](), Rows()
        for ts_ns, said in page.values:
            value = value_of(said, self._parts[place], self._structures)
            believed = time_of(said, now_ns)[1]
            if isinstance(value, str):
                events.append(self._texts.said(tag, value, ts_ns))
                continue
            raw, quality = value
            worded.add(ts_ns, place, raw, quality)
            if ts_ns < hole.until_ns and believed and (tag.name not in self._texts.state() or tag.values):
                rows.add(ts_ns, place, raw, quality)
        where, numbers = np.array(worded.tag, np.uint16), np.array(worded.raw, np.float64)
        events += self._texts.of_numbers(self._tags, where, numbers, worded.ts_ns)
        return [event for event in events if event is not None]

    def _batch(self, rows: Rows) -> list[Batch]:
        if not rows.tag:
            return []
        tag, ts_ns = np.array(rows.tag, np.uint16), np.array(rows.ts_ns, np.int64)
        raw, quality = np.array(rows.raw, np.float64), np.array(rows.quality, np.uint32)
        value, quality = self._scaling.judge(raw, quality, tag)
        return [Batch(self._asset, self._names, ts_ns, tag, value, quality)]

    def _told(self, pages: Sequence[Page], now_ns: int) -> list[Event]:
        done = [page for page in pages if page.rest is None]
        filled: list[dict[str, Any]] = []
        for page in done:
            count = self._came.pop((page.hole.tag, page.hole.until_ns), 0)
            if count or page.refused:
                hole = page.hole
                span = {"tag": self._names[hole.tag], "from_ns": page.begin_ns, "until_ns": hole.until_ns}
                filled.append(span | {"rows": count} | ({"refused": page.refused} if page.refused else {}))
        parts = [filled[start : start + _NAMED] for start in range(0, len(filled), _NAMED)]
        return [self._event(part, number, now_ns) for number, part in enumerate(parts)]

    def _event(self, filled: Sequence[Mapping[str, Any]], number: int, now_ns: int) -> Event:
        count = sum(one["rows"] for one in filled)
        refused = sorted({one["refused"] for one in filled if "refused" in one})
        text = f"{count} values of {len(filled)} tags from the server's history"
        text += f"; refused: {', '.join(refused)}" if refused else ""
        severity = Severity.WARNING if refused else Severity.INFO
        key = f"{filled[0]['tag']}/{number}"
        return Event(self._asset, KIND, now_ns, text, severity=severity, key=key, data={"filled": list(filled)})
