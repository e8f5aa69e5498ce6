"""Names for people of what cycles measure, put together where nobody wrote a name of its own.

* A name is put together only of parts that are all known; else there is none, and the bare one is shown.
* A written name goes before one that is put together.
* `#` in a key of the catalogue stands for the first number of a name: `zone#_dwell` names every zone.

The groups of the catalogue: `measured` for whole names; `time_<phase>` and `<phase>_<part>` of `phase` and `part`;
a role, or `<role with underscores>_<statistic>`, of `signal` (or `feature`, where that has the role) and `statistic`.
"""

import re
from functools import lru_cache

from rootdx.texts import catalogue, say_in

_NUMBER = re.compile(r"\d+")
_TIME = "time_"


@lru_cache(maxsize=4096)
def feature_name(name: str, wanted: str) -> str | None:
    """The name of a feature, a role or a verdict in a language; None where a part of it is not known.

    >>> feature_name("time_slow_shot", "en"), feature_name("die_temp_fix1_max", "en")
    ('slow shot time', 'highest fixed die 1 temperature')
    >>> feature_name("zone7_dwell", "ko"), feature_name("time_of_our_own", "ko")
    ('7존 체류시간', None)
    """
    if "#" in name:
        return None
    whole = _written("measured", name, wanted) or _written("signal", name, wanted)
    return whole or _of_phase(name, wanted) or _of_signal(name, wanted)


def _written(group: str, name: str, wanted: str) -> str | None:
    """A text of a group by its key, or by its key with # for a number."""
    key = f"{group}.{name}"
    if key in catalogue():
        return say_in(wanted, key)
    found = _NUMBER.search(name)
    if found is None:
        return None
    key = f"{group}.{name[: found.start()]}#{name[found.end() :]}"
    return say_in(wanted, key, n=found.group()) if key in catalogue() else None


def _of_phase(name: str, wanted: str) -> str | None:
    if name.startswith(_TIME):
        return _joined("part.time", wanted, phase=_phase(name.removeprefix(_TIME), wanted))
    for part in _keys("part"):
        phase = _phase(name.removesuffix(f"_{part}"), wanted) if name.endswith(f"_{part}") else None
        if phase is not None:
            return _joined(f"part.{part}", wanted, phase=phase)
    return None


def _of_signal(name: str, wanted: str) -> str | None:
    for statistic in _keys("statistic"):
        if name.endswith(f"_{statistic}"):
            signal = _signal(name.removesuffix(f"_{statistic}"), wanted)
            if signal is not None:
                return _joined(f"statistic.{statistic}", wanted, signal=signal)
    return None


def _joined(key: str, wanted: str, **part: str | None) -> str | None:
    return None if None in part.values() else say_in(wanted, key, **part)


def _phase(name: str, wanted: str) -> str | None:
    """Features spell phases small: a phase that is not known by capitals is none."""
    return _written("phase", name.upper(), wanted) if name.islower() else None


def _signal(name: str, wanted: str) -> str | None:
    """The signal of a role spelled with underscores; a number that no role has by itself is filled in."""
    roles = _roles()
    found = _NUMBER.search(name)
    if name in roles or found is None:
        return say_in(wanted, roles[name]) if name in roles else None
    key = roles.get(f"{name[: found.start()]}#{name[found.end() :]}")
    return None if key is None else say_in(wanted, key, n=found.group())


@lru_cache(maxsize=1)
def _roles() -> dict[str, str]:
    """Keys of the catalogue by role, dots as underscores; what has no dot in `feature` is a feature."""
    keys = [key for key in catalogue() if key.startswith("feature.") and "." in key.partition(".")[2]]
    keys += [key for key in catalogue() if key.startswith("signal.")]
    return {key.partition(".")[2].replace(".", "_"): key for key in keys}


@lru_cache
def _keys(group: str) -> tuple[str, ...]:
    return tuple(key.partition(".")[2] for key in catalogue() if key.startswith(f"{group}."))
