"""What an alarm says, in one sentence of the reader's language, from the facts that are kept with it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from rootdx.feature_names import feature_name
from rootdx.texts import catalogue, language, say_in


def sentence(facts: Mapping[str, Any] | None, zone: ZoneInfo, wanted: str | None = None) -> str:
    """What was seen, against which limit, since when, which variables, what it resembles, what was done last time.

    In a language, or in that of this process.

    Empty for an alarm without facts.
    """
    if not facts:
        return ""
    return _Teller(wanted or language(), zone).sentence(facts)


def name_of(kind: str, name: str, wanted: str | None = None) -> str:
    """A name of the catalogue (`failure`, `feature`, `detector`), the bare one where there is none.

    A feature without one may have one that is put together, as `feature_names` says.

    >>> name_of("feature", "time_slow_shot", "en"), name_of("feature", "no_such_feature")
    ('slow shot time', 'no_such_feature')
    """
    key, spoken = f"{kind}.{name}", wanted or language()
    if key in catalogue():
        return say_in(spoken, key)
    return (feature_name(name, spoken) if kind == "feature" else None) or name


def moment(us: int, zone: ZoneInfo) -> str:
    """A time of the plant to the second."""
    return f"{datetime.fromtimestamp(us / 1e6, UTC).astimezone(zone):%Y-%m-%d %H:%M:%S}"


def number(value: float, unit: str = "1") -> str:
    """Five digits at most with the unit, as people write it.

    >>> number(2.3456789, "m/s"), number(1234567.0)
    ('2.3457 m/s', '1.2346e+06')
    """
    return f"{value:.5g} {'' if unit == '1' else unit}".strip()


class _Teller:
    """Tells facts in one language."""

    def __init__(self, wanted: str, zone: ZoneInfo) -> None:
        self._wanted, self._zone = wanted, zone

    def sentence(self, facts: Mapping[str, Any]) -> str:
        """All of it."""
        parts = [self._seen(facts), self._say("alarm.since", since=moment(facts["since"], self._zone))]
        parts += [
            part
            for part in (self._shares(facts), self._moves(facts), self._resembles(facts), self._last(facts))
            if part
        ]
        return self._say("alarm.joint").join(parts) + "."

    def _say(self, key: str, **values: object) -> str:
        return say_in(self._wanted, key, **values)

    def _name(self, kind: str, name: str) -> str:
        return name_of(kind, name, self._wanted)

    def _seen(self, facts: Mapping[str, Any]) -> str:
        score = f"{facts['score']:.3g}"
        if not facts["subject"]:
            return self._say("alarm.together", score=score)
        value, unit = facts.get("value"), facts.get("unit", "1")
        given = {
            "subject": self._name("feature", facts["subject"]),
            "score": score,
        }
        if value is None:
            return self._say("alarm.no_value", **given)
        given["value"] = number(value, unit)
        if "high" in facts and value > facts["high"]:
            return self._say("alarm.above", limit=number(facts["high"], unit), **given)
        if "low" in facts and value < facts["low"]:
            return self._say("alarm.below", limit=number(facts["low"], unit), **given)
        if "centre" in facts:
            return self._say("alarm.unlike", centre=number(facts["centre"], unit), **given)
        return self._say("alarm.outside", **given)

    def _shares(self, facts: Mapping[str, Any]) -> str:
        shares = facts.get("shares") or {}
        told = ", ".join(f"{self._name('feature', name)} {share:.0%}" for name, share in list(shares.items())[:4])
        return self._say("alarm.shares", shares=told) if told else ""

    def _moves(self, facts: Mapping[str, Any]) -> str:
        far = [one for one in facts.get("moves", ()) if abs(one["sigma"]) >= 3][:4]
        told = ", ".join(f"{self._name('feature', one['name'])} {one['sigma']:+.1f} σ" for one in far)
        return self._say("alarm.moves", moves=told) if told else ""

    def _resembles(self, facts: Mapping[str, Any]) -> str:
        found = facts.get("resembles", ())
        told = ", ".join(f"{self._name('failure', one['failure'])} ({one['likeness']:.0%})" for one in found[:2])
        return self._say("alarm.resembles", failures=told) if told else ""

    def _last(self, facts: Mapping[str, Any]) -> str:
        last = facts.get("last")
        return (
            self._say("alarm.last", when=moment(last["at"], self._zone), who=last["who"], text=last["text"])
            if last
            else ""
        )
