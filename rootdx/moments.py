"""Moments as people write them.

* ISO with a zone (`2026-11-22T06:00+09:00`, `…Z`); without one it is the plant's own time, which plant.toml names.
* A day is its midnight; `now`, `today`, `yesterday`; `7d`, `12h`, `30min` are that long ago.
* A span is [from, to): what begins at `to` is not in it.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from pipeline.errors import ConfigError
from rootdx.texts import say

_UNITS: Final = {"d": "days", "h": "hours", "min": "minutes"}


@dataclass(frozen=True, slots=True)
class Clock:
    """Now, in the zone of the plant."""

    now: datetime
    zone: ZoneInfo

    def moment(self, text: str, option: str) -> datetime:
        """An aware time.

        Raises:
            ConfigError: names the option, the text and what was expected.

        >>> clock = Clock(datetime(2026, 11, 22, 9, tzinfo=ZoneInfo("Asia/Seoul")), ZoneInfo("Asia/Seoul"))
        >>> [clock.moment(text, "--from").isoformat() for text in ("today", "2026-11-20 06:00", "90min")]
        ['2026-11-22T00:00:00+09:00', '2026-11-20T06:00:00+09:00', '2026-11-22T07:30:00+09:00']
        """
        here, word = self.now.astimezone(self.zone), text.strip().lower()
        if word == "now":
            return here
        if word in ("today", "yesterday"):
            return self.midnight(here.date() - timedelta(days=word == "yesterday"))
        ago = re.fullmatch(r"(\d{1,5})\s*(d|h|min)", word)
        if ago is not None:
            return here - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        try:
            found = datetime.fromisoformat(text.strip())
        except ValueError as error:
            raise ConfigError(say("moments.unreadable", option=option, text=text)) from error
        return found if found.tzinfo else found.replace(tzinfo=self.zone)

    def midnight(self, day: date) -> datetime:
        """When a day of the plant begins."""
        return datetime.combine(day, time(0), self.zone)

    def day(self, text: str, option: str) -> date:
        """A day of the plant.

        Raises:
            ConfigError: as `moment`.
        """
        return self.moment(text, option).astimezone(self.zone).date()

    def span(self, from_text: str, to_text: str) -> "Span":
        """A span from two texts.

        Raises:
            ConfigError: as `moment`, or it ends before it begins.
        """
        first, last = self.moment(from_text, "--from"), self.moment(to_text, "--to")
        if last <= first:
            raise ConfigError(say("moments.backwards", first=first.isoformat(), last=last.isoformat()))
        return Span(first, last)


@dataclass(frozen=True, slots=True)
class Span:
    """[from, to), aware times."""

    first: datetime
    last: datetime

    def said(self, zone: ZoneInfo) -> str:
        """For people, with the zone."""
        ends = [f"{one.astimezone(zone):%Y-%m-%d %H:%M}" for one in (self.first, self.last)]
        return say("moments.span", first=ends[0], last=ends[1], zone=zone.key)
