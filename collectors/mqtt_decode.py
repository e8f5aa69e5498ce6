"""Payloads of one machine to columns of rows, and to texts: every form that an address can name.

* Whatever a payload says, it is rows, texts, or `Unreadable` with a cause; a number that was not said is never a row.
* What is said and is no number is a bad row, so that nobody takes silence for the last value.
* A time that cannot be believed is the gateway's own, and the row says so by its quality.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from collectors.device_clock import DeviceClock
from collectors.mqtt_address import Address
from collectors.payload import NOTHING, Stamps, number_of, time_of, unpacked, walk
from collectors.source import Clock
from collectors.texts import text_of
from pipeline import metrics
from pipeline.errors import BadData
from pipeline.model import Quality

MOST_ROWS: Final = 100_000
"""Rows of one message."""
_SHORTEST_NS: Final = 1


class Unreadable(BadData):
    """A message nobody can read; `cause` is what it is counted as."""

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(text)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Field:
    """A tag in the messages of one topic."""

    tag: int
    at: Address
    is_text: bool
    words: dict[str, float]
    is_plain: bool
    """A number at a path and nothing else: what most tags are."""


def field_of(tag: int, at: Address, *, is_text: bool) -> Field:
    """Of an address."""
    plain = at.form == "json" and not (is_text or at.words or at.decimal or at.each or at.times or at.period)
    return Field(tag, at, is_text, dict(at.words), plain)


@dataclass(slots=True)
class Route:
    """What is read from the messages of one topic."""

    topic: str
    key: bytes
    fields: list[Field] = field(default_factory=list)
    gave_s: float = -math.inf
    """When it last brought something, on the monotonic clock."""


@dataclass(slots=True)
class Said:
    """Columns of what messages say: rows, and texts as (tag, time, text)."""

    ts_ns: list[int] = field(default_factory=list)
    tag: list[int] = field(default_factory=list)
    raw: list[float] = field(default_factory=list)
    quality: list[int] = field(default_factory=list)
    texts: list[tuple[int, int, str]] = field(default_factory=list)

    def cut(self, rows: int, texts: int) -> None:
        """Takes back what came after."""
        for column in (self.ts_ns, self.tag, self.raw, self.quality):
            del column[rows:]
        del self.texts[texts:]


@dataclass(frozen=True, slots=True)
class _Moment:
    """A time: the gateway's or the device's own, and whether the rows may be good."""

    ts_ns: int
    owned: bool
    good: bool


class Decoder:
    """Payloads of one machine; what they say is gathered in `said` until somebody takes it."""

    def __init__(self, asset: str, clock: Clock, stamps: Stamps, device: DeviceClock) -> None:
        self._asset, self._clock, self._device = asset, clock, device
        self._time = None if stamps.path is None else stamps.path.split(".")
        self._unit, self._zone = stamps.unit, stamps.zone
        self.said = Said()
        self._kept = False

    def taken(self) -> Said:
        """What was said since the last call."""
        said, self.said = self.said, Said()
        return said

    def read(self, route: Route, payload: bytes, *, kept: bool = False) -> bool:
        """Reads one message; whether everything in it carries its own time.

        Args:
            route: of its topic.
            payload: what it says.
            kept: it is a retained one, however old.

        Raises:
            Unreadable: nothing of it was taken.
        """
        rows, texts = len(self.said.ts_ns), len(self.said.texts)
        self._kept = kept
        try:
            owned = self._read(route.fields, payload)
        except Unreadable:
            self.said.cut(rows, texts)
            raise
        if len(self.said.ts_ns) - rows > MOST_ROWS:
            self.said.cut(rows, texts)
            raise Unreadable("too_long", f"more than {MOST_ROWS} rows in one message")
        return owned

    def _read(self, fields: Sequence[Field], payload: bytes) -> bool:
        owned = True
        structured = [one for one in fields if one.at.form == "json"]
        if structured:
            try:
                found = json.loads(payload)
            except (ValueError, RecursionError) as error:
                raise Unreadable("not_json", f"not JSON: {error}") from error
            objects = found if isinstance(found, list) else [found]
            owned = bool(objects)
            for one in objects:
                owned &= self._object(structured, one)
        if len(structured) < len(fields):
            for one in fields:
                if one.at.form == "text":
                    owned = False
                    self._add(one, self._moment(NOTHING), _plain(payload))
                elif one.at.form == "binary":
                    owned &= self._bytes(one, payload)
        return owned

    # ---- JSON ----

    def _object(self, fields: Sequence[Field], one: Any) -> bool:
        when = self._moment(NOTHING if self._time is None else walk(one, self._time))
        owned, said = when.owned, self.said
        code: int = Quality.GOOD if when.good else Quality.UNCERTAIN
        for each in fields:
            if not each.is_plain:
                owned = self._special(each, one, when) and owned
                continue
            value = walk(one, each.at.path)
            if value.__class__ is float or value.__class__ is int:
                said.ts_ns.append(when.ts_ns)
                said.tag.append(each.tag)
                said.raw.append(value if value.__class__ is float else _float(value))
                said.quality.append(code)
            elif value is not NOTHING:
                self._add(each, when, value)
        return owned

    def _special(self, each: Field, one: Any, when: _Moment) -> bool:
        """Texts, words, arrays of objects and arrays of samples; whether all of it carries its own time."""
        at = each.at
        if at.each:
            found = walk(one, at.each)
            if not isinstance(found, list):
                return when.owned
            moments = [self._own(inner, when) for inner in found]
            for inner, moment in zip(found, moments, strict=True):
                self._array(each, inner, walk(inner, at.path), moment)
            return all(moment.owned for moment in moments)
        return self._array(each, one, walk(one, at.path), when)

    def _array(self, each: Field, one: Any, value: Any, when: _Moment) -> bool:
        at = each.at
        if not isinstance(value, list) or not (at.times or at.period):
            if value is not NOTHING:
                self._add(each, when, value)
            return when.owned
        moments = self._times(each, one, len(value)) if at.times else self._grid(each, one, len(value), when)
        for inner, moment in zip(value, moments, strict=True):
            self._add(each, moment, inner)
        return all(moment.owned for moment in moments)

    def _times(self, each: Field, one: Any, count: int) -> list[_Moment]:
        found = walk(one, each.at.times)
        if not isinstance(found, list) or len(found) != count:
            there = f"{len(found)} times" if isinstance(found, list) else "no times"
            raise Unreadable("times_differ", f"{count} samples at {'.'.join(each.at.path)}, but {there}")
        return [self._moment(one) for one in found]

    def _grid(self, each: Field, one: Any, count: int, when: _Moment) -> list[_Moment]:
        period = each.at.period
        said = walk(one, period) if isinstance(period, tuple) else period
        step = _float(said) * each.at.period_scale_s * 1e9 if isinstance(said, int | float) else float("nan")
        if not _SHORTEST_NS <= step <= 3.6e12:
            raise Unreadable("no_period", f"an array of {count} samples, and no time between them that can be")
        if count > MOST_ROWS:
            raise Unreadable("too_long", f"more than {MOST_ROWS} rows in one message")
        start = when.ts_ns if when.owned and when.good else when.ts_ns - round(step * (count - 1))
        return [_Moment(start + round(step * i), when.owned, when.good) for i in range(count)]

    # ---- bytes ----

    def _bytes(self, each: Field, payload: bytes) -> bool:
        at = each.at
        value = None if at.field is None else unpacked(payload, at.field)
        said = NOTHING if at.ts_field is None else unpacked(payload, at.ts_field)
        if value is None or said is None:
            raise Unreadable("too_short", f"{len(payload)} bytes end before tag {each.tag + 1} of the machine")
        when = self._moment(said)
        self._add(each, when, value)
        return when.owned

    # ---- times and numbers ----

    def _own(self, one: Any, outer: _Moment) -> _Moment:
        said = NOTHING if self._time is None else walk(one, self._time)
        return outer if said is NOTHING else self._moment(said)

    def _moment(self, said: Any) -> _Moment:
        now = self._clock()
        if said is NOTHING:
            return _Moment(now, owned=False, good=True)
        ts_ns = time_of(said, self._unit, self._zone)
        if ts_ns is None or not self._device.believed(ts_ns, now, kept=self._kept):
            return _Moment(now, owned=True, good=False)
        return _Moment(ts_ns, owned=True, good=True)

    def _add(self, each: Field, when: _Moment, value: Any) -> None:
        if each.is_text:
            text = None if value is None else text_of(value)
            if text is None:
                metrics.bad_data.labels(self._asset, "type_mismatch").inc()
            elif text:
                self.said.texts.append((each.tag, when.ts_ns, text))
            return
        raw, quality = self._number(each, value)
        said = self.said
        said.ts_ns.append(when.ts_ns)
        said.tag.append(each.tag)
        said.raw.append(raw)
        said.quality.append(Quality.UNCERTAIN if quality == Quality.GOOD and not when.good else quality)

    def _number(self, each: Field, value: Any) -> tuple[float, int]:
        if value is None:
            return np.nan, Quality.BAD_NO_DATA
        if isinstance(value, bool | int | float):
            return _float(value), Quality.GOOD
        if isinstance(value, str):
            known = each.words.get(value.strip())
            if known is None and each.at.decimal:
                known = number_of(value, each.at.decimal)
            if known is not None:
                return known, Quality.GOOD
        metrics.bad_data.labels(self._asset, "type_mismatch").inc()
        return np.nan, Quality.BAD_TYPE_MISMATCH


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return np.inf


def _plain(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        raise Unreadable("not_text", f"not UTF-8 text: {error.reason}") from error
