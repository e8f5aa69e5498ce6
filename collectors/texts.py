"""Texts that a machine says become events, once each time they change.

* A tag with `context` gives `context.<context>`, which the analytics attaches to cycles; another gives `device.text`.
* The value is in `data["value"]`, without control characters and at most `_LONGEST` characters long.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from pipeline.model import Event, Floats, Indices
from pipeline.plant import Tag

KIND: Final = "device.text"
_LONGEST: Final = 200


def clean(text: str) -> str:
    """A text that every store takes: no control characters, no halves of characters, not too long."""
    whole = text.encode("utf-8", "replace").decode()
    return "".join(c for c in whole if c.isprintable()).strip()[:_LONGEST]


def text_of(said: Any) -> str | None:
    """What a payload says, as text; None where it is no single value."""
    if isinstance(said, bool):
        return "true" if said else "false"
    if isinstance(said, str):
        return clean(said)
    if isinstance(said, int) and abs(said) < 1 << 64:
        return str(said)
    return repr(said) if isinstance(said, float) and math.isfinite(said) else None


class Texts:
    """The last text of each tag of a machine; what it knew before comes back in `told`."""

    def __init__(self, asset: str, told: Mapping[str, str]) -> None:
        self._asset = asset
        self._told = dict(told)

    def said(self, tag: Tag, text: str, ts_ns: int) -> Event | None:
        """The event of a change, None where the text is the one before."""
        if self._told.get(tag.name) == text:
            return None
        self._told[tag.name] = text
        return self.event(tag, text, ts_ns)

    def event(self, tag: Tag, text: str, ts_ns: int) -> Event:
        """The event of a text, whatever was before it."""
        kind = f"context.{tag.context}" if tag.context else KIND
        return Event(self._asset, kind, ts_ns, text, key=tag.name, data={"value": text})

    def of_numbers(self, tags: Sequence[Tag], tag: Indices, raw: Floats, ts_ns: Sequence[int]) -> list[Event]:
        """The events of numbers of tags with `values`: the word of each, else the number itself; rows (n,)."""
        worded = np.array([bool(one.values) for one in tags], bool)[tag] & np.isfinite(raw)
        events = []
        for i in np.flatnonzero(worded).tolist():
            one, number = tags[tag[i]], float(raw[i])
            text = one.values.get(int(number), "") if number.is_integer() else ""
            event = self.said(one, clean(text) or f"{number:.15g}", ts_ns[i])
            events += [event] if event else []
        return events

    def state(self) -> dict[str, str]:
        """What to tell the next one."""
        return dict(self._told)
