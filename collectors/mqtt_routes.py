"""Which tags the messages of a topic bring: those listed, those found before, and those that patterns find now."""

import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from collectors.found import Finder, Pattern
from collectors.mqtt_address import Address, address_of
from collectors.mqtt_decode import Field, Route, field_of
from pipeline import metrics
from pipeline.plant import Tag

KEY: Final = 8
_MOST_ROUTES: Final = 20_000
"""Topics remembered by name; those beyond are looked at again each time."""


def fitting(topic: str) -> re.Pattern[str]:
    """Topics that a filter takes in; the groups are the parts in the place of `+` and `#`.

    `a/#` takes in `a` too; what begins with `$` is the broker's own and never meant (MQTT 3.1.1, 4.7).
    """
    *levels, last = topic.split("/")
    if last != "#":
        levels.append(last)
    said = "/".join("([^/]*)" if level == "+" else re.escape(level) for level in levels)
    rest = "" if last != "#" else "(?:/(.*))?" if levels else "(.*)"
    return re.compile((r"(?!\$)" if topic.startswith(("+", "#")) else "") + said + rest, re.DOTALL)


def is_text(tag: Tag) -> bool:
    """Whether what the tag says is an event and no row."""
    return address_of(tag.address).text or (tag.context is not None and not tag.values)


def made_by(pattern: Pattern, topic: str) -> Tag | None:
    """The tag that a pattern makes of a topic; None where it does not fit."""
    found = fitting(address_of(pattern.address, wild=True).topic).fullmatch(topic)
    if found is None or not topic.isprintable() or not re.fullmatch(r"[^\s#+=]+", topic):
        return None
    parts = [part.replace("/", ".") for part in found.groups("")]
    return pattern.tag(parts, " ".join([topic, *pattern.address.split()[1:]]))


def key_of(topic: str) -> bytes:
    """A short name of a topic."""
    return blake2b(topic.encode("utf-8", "surrogatepass"), digest_size=KEY).digest()


class Routes:
    """The tags of one machine by topic."""

    def __init__(self, listed: Sequence[Tag], found: Sequence[Tag], patterns: Sequence[Pattern], most: int) -> None:
        self._finder = Finder(listed, found, most)
        self._patterns = [(fitting(address_of(one.address, wild=True).topic), one) for one in patterns]
        self._known: dict[str, list[Field]] = {}
        self._addresses: set[str] = set()
        for index, tag in enumerate(self._finder.tags):
            self._know(index, tag)
        self._routes: dict[str, Route | None] = {}
        topics = [address_of(tag.address).topic for tag in listed]
        topics += [address_of(one.address, wild=True).topic for one in patterns]
        self.filters = tuple(dict.fromkeys(topics))

    @property
    def tags(self) -> Sequence[Tag]:
        """All tags known by now; grows at its end."""
        return self._finder.tags

    def new(self) -> tuple[Tag, ...]:
        """Tags found since the last call."""
        return self._finder.new()

    def route(self, asset: str, topic: str) -> Route | None:
        """What is read from a topic; None where it is nothing, which is counted."""
        try:
            found = self._routes[topic]
        except KeyError:
            found = self._route(asset, topic)
            if len(self._routes) < _MOST_ROUTES:
                self._routes[topic] = found
        if found is None:
            metrics.bad_data.labels(asset, "unknown_topic").inc()
        return found

    def _know(self, index: int, tag: Tag) -> None:
        at: Address = address_of(tag.address)
        self._known.setdefault(at.topic, []).append(field_of(index, at, is_text=is_text(tag)))
        self._addresses.add(" ".join(tag.address.split()))

    def _route(self, asset: str, topic: str) -> Route | None:
        for fits, pattern in self._patterns:
            if fits.fullmatch(topic) is None or self._is_known(topic, pattern):
                continue
            tag = made_by(pattern, topic)
            cause = self._finder.add(tag)
            if cause:
                metrics.bad_data.labels(asset, cause).inc()
            elif tag is not None:
                self._know(len(self._finder.tags) - 1, tag)
        fields = self._known.get(topic)
        return Route(topic, key_of(topic), fields) if fields else None

    def _is_known(self, topic: str, pattern: Pattern) -> bool:
        return " ".join([topic, *pattern.address.split()[1:]]) in self._addresses
