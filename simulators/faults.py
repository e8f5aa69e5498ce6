"""The fault timeline: what goes wrong, where, from when to when and how much.

- A file is TOML, one `[[fault]]` each: `type`, `tag`, `start_s`, `end_s`, `magnitude`; `faults.md` lists the types.
- Times are simulated seconds, [start_s, end_s). Unknown types, tags and keys are refused, never ignored.
- A fault changes values as a pure function of time too: the same file, seed and time give the same values.
"""

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulators.errors import InputError
from simulators.physics import Noise
from simulators.registers import parse_register
from simulators.signals import SCAN_COUNTER, Failure, Signal, Wire

_KEYS = ("type", "tag", "start_s", "end_s", "magnitude")
_SPIKE_SHARE = 0.03
_MAX_DELAY_S = 30.0
_MAX_SKEW_S = 2.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One entry of the timeline; `tag` is empty when the whole device is meant."""

    type: str
    tag: str
    start_s: float
    end_s: float
    magnitude: float

    def active(self, t_s: float) -> bool:
        """Whether it is on at a simulated time."""
        return self.start_s <= t_s < self.end_s

    def progress(self, t_s: float) -> float:
        """How much of it has passed, 0 to 1."""
        return min(1.0, max(0.0, (t_s - self.start_s) / (self.end_s - self.start_s)))


@dataclass(frozen=True, slots=True)
class Disturbance:
    """A fault of a tag or of the network; `whole_device` ones take no tag."""

    name: str
    magnitude: float
    wires: tuple[Wire, ...]
    text: str
    whole_device: bool = False


_ALL: tuple[Wire, ...] = ("modbus", "opcua", "mqtt")
DISTURBANCES = {
    kind.name: kind
    for kind in (
        Disturbance("gap", 1.0, _ALL, "no value: no answer, no write, no key; without a tag the whole device"),
        Disturbance("stuck", 1.0, _ALL, "holds the value it had at start_s"),
        Disturbance("sentinel", 32767.0, _ALL, "burn-out code; magnitude is the raw number sent"),
        Disturbance("nan", 1.0, _ALL, "not a number; null in JSON"),
        Disturbance("spike", 0.3, _ALL, "3 % of samples jump by magnitude times the tag's range"),
        Disturbance("scale", 10.0, _ALL, "value times magnitude"),
        Disturbance("word_order", 1.0, ("modbus",), "words of a 32 or 64 bit value swapped"),
        Disturbance("counter_reset", 1.0, _ALL, "a counter starts again from 0 at start_s and stays so"),
        Disturbance("exception", 2.0, ("modbus",), "requests that touch the tag get exception `magnitude`"),
        Disturbance(
            "unresponsive", 1.0, ("modbus",), "connections stay open, no request is answered", whole_device=True
        ),
        Disturbance("bad_status", 1.0, ("opcua",), "written with status BadSensorFailure"),
        Disturbance("duplicate", 1.0, ("mqtt",), "every message is sent twice", whole_device=True),
        Disturbance(
            "out_of_order", 5.0, ("mqtt",), "every fifth message is sent magnitude seconds late", whole_device=True
        ),
        Disturbance("clock_skew", 2.0, ("opcua", "mqtt"), "device stamps are magnitude seconds off", whole_device=True),
    )
}
_OPTIONAL_TAG = {"gap"}


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What may go wrong with one machine."""

    machine: str
    wire: Wire
    signals: tuple[Signal, ...]
    failures: tuple[Failure, ...]

    def types(self) -> list[str]:
        """Fault types a file may name, the process's own first."""
        return [f.name for f in self.failures] + [d.name for d in DISTURBANCES.values() if self.wire in d.wires]

    def tags(self, kind: str) -> list[str]:
        """Tags a fault of that type may name; empty when it takes none."""
        for failure in self.failures:
            if failure.name == kind:
                return list(failure.tags)
        if DISTURBANCES[kind].whole_device:
            return []
        return [signal.name for signal in self.signals if self._suits(kind, signal)]

    def magnitude(self, kind: str) -> float:
        """The default size of a fault type."""
        return {f.name: f.magnitude for f in self.failures}.get(kind) or DISTURBANCES[kind].magnitude

    def default_tag(self, kind: str) -> str:
        """The tag a failure shows in first; empty for a disturbance."""
        return next((f.tags[0] for f in self.failures if f.name == kind), "")

    def needs_tag(self, kind: str) -> bool:
        """Whether an entry without `tag` would be ambiguous."""
        return bool(self.tags(kind)) and not self.default_tag(kind) and kind not in _OPTIONAL_TAG

    def _suits(self, kind: str, signal: Signal) -> bool:
        if kind == "counter_reset":
            return signal.counter
        if signal.name == SCAN_COUNTER:
            return kind in ("gap", "exception")
        if self.wire != "modbus":
            return kind != "nan" or signal.kind == "double"
        register = parse_register(signal.address)
        suits = {"nan": register.is_float, "word_order": register.size > 1, "sentinel": register.type == "int16"}
        return suits.get(kind, register.type != "bit" or kind in ("gap", "stuck", "exception"))


class Faults:
    """A timeline that answers what is on when; empty when nothing goes wrong."""

    def __init__(self, entries: tuple[Fault, ...] = (), seed: int = 0) -> None:
        self.entries = entries
        self._noise = Noise(seed)
        self._origins: dict[Fault, float] = {}

    def at(self, kind: str, t_s: float, tag: str | None = None) -> Fault | None:
        """The fault of a type that is on at a time; with `tag` only one of that tag."""
        for fault in self.entries:
            if fault.type == kind and fault.active(t_s) and tag in (None, fault.tag):
                return fault
        return None

    def size(self, kind: str, t_s: float, tag: str | None = None) -> float:
        """The magnitude of the fault that is on, else 0."""
        fault = self.at(kind, t_s, tag)
        return fault.magnitude if fault else 0.0

    def grown(self, kind: str, t_s: float) -> float:
        """The magnitude of a fault that grows from 0 at start_s to all of it at end_s."""
        fault = self.at(kind, t_s)
        return fault.magnitude * fault.progress(t_s) if fault else 0.0

    def of(self, kind: str) -> tuple[Fault, ...]:
        """All faults of a type."""
        return tuple(fault for fault in self.entries if fault.type == kind)

    def silent(self, t_s: float, tags: frozenset[str] = frozenset()) -> bool:
        """Whether a request for these tags stays without an answer."""
        return any(
            fault.active(t_s) and (fault.type == "unresponsive" or (fault.type == "gap" and fault.tag in {"", *tags}))
            for fault in self.entries
        )

    def disturbed(self, signal: Signal, t_s: float, value: float, sample: Callable[[float], float]) -> float:
        """The value a disturbed device would measure; `sample` gives the signal at another time."""
        for fault in self.entries:
            if fault.tag == signal.name:
                value = self._apply(fault, signal, t_s, value, sample)
        return value

    def _apply(self, fault: Fault, signal: Signal, t_s: float, value: float, sample: Callable[[float], float]) -> float:
        if fault.type == "counter_reset":
            return value - self._origin(fault, sample) if t_s >= fault.start_s else value
        if fault.active(t_s):
            match fault.type:
                case "stuck":
                    return self._origin(fault, sample)
                case "nan":
                    return math.nan
                case "scale":
                    return value * fault.magnitude
                case "spike":
                    return value + self._spike(fault, signal, t_s)
        return value

    def _spike(self, fault: Fault, signal: Signal, t_s: float) -> float:
        draw = self._noise.uniform(f"spike {signal.name}", t_s)
        if draw >= _SPIKE_SHARE:
            return 0.0
        side = 1.0 if draw < _SPIKE_SHARE / 2 else -1.0
        return side * fault.magnitude * (signal.high - signal.low)

    def _origin(self, fault: Fault, sample: Callable[[float], float]) -> float:
        if fault not in self._origins:
            self._origins[fault] = sample(fault.start_s)
        return self._origins[fault]


def load_faults(path: Path, allowed: Catalogue, seed: int = 0) -> Faults:
    """The timeline in a file.

    Raises:
        InputError: naming file, entry, key, value and what is allowed.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as exc:
        raise InputError(f"{path}: cannot read the fault file ({exc.strerror}); give the path of a TOML file") from exc
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise InputError(f"{path}: not TOML in UTF-8 ({exc})") from exc
    entries = document.pop("fault", [])
    if document or not isinstance(entries, list):
        raise InputError(f"{path}: unknown key {', '.join(document) or 'fault'}; allowed are [[fault]] tables only")
    return Faults(tuple(_entry(f"{path}: fault {i}", e, allowed) for i, e in enumerate(entries, 1)), seed)


def _entry(where: str, entry: Mapping[str, Any], allowed: Catalogue) -> Fault:
    for key in entry:
        if key not in _KEYS:
            raise InputError(f"{where}: key {key!r} is unknown; allowed are {', '.join(_KEYS)}")
    kind = entry.get("type")
    if kind not in allowed.types():
        raise InputError(
            f"{where}: type = {kind!r} is unknown for {allowed.machine}; allowed are {', '.join(allowed.types())}"
        )
    start_s, end_s = _number(where, entry, "start_s"), _number(where, entry, "end_s")
    if end_s <= start_s:
        raise InputError(f"{where}: end_s = {end_s:g} must be greater than start_s = {start_s:g} (simulated seconds)")
    magnitude = _number(where, entry, "magnitude") if "magnitude" in entry else allowed.magnitude(kind)
    _check_size(where, kind, magnitude)
    return Fault(kind, _tag(where, entry, allowed), start_s, end_s, magnitude)


def _tag(where: str, entry: Mapping[str, Any], allowed: Catalogue) -> str:
    kind, tags = entry["type"], allowed.tags(entry["type"])
    if "tag" not in entry:
        if allowed.needs_tag(kind):
            raise InputError(f"{where}: key 'tag' is missing; {kind} needs one of {', '.join(tags)}")
        return allowed.default_tag(kind)
    if entry["tag"] not in tags:
        listed = f"allowed are {', '.join(tags)}" if tags else "it takes no tag"
        raise InputError(f"{where}: tag = {entry['tag']!r} is not allowed for {kind}; {listed}")
    return str(entry["tag"])


def _number(where: str, entry: Mapping[str, Any], key: str) -> float:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{where}: {key} = {value!r}; expected a finite number")
    return float(value)


def _check_size(where: str, kind: str, magnitude: float) -> None:
    bounds = {
        "clock_skew": (-_MAX_SKEW_S, _MAX_SKEW_S),
        "out_of_order": (0.0, _MAX_DELAY_S),
        "exception": (1.0, 11.0),
        "sentinel": (-32768.0, 65535.0),
    }
    low, high = bounds.get(kind, (-math.inf, math.inf))
    if not low <= magnitude <= high:
        raise InputError(
            f"{where}: magnitude = {magnitude:g} is out of range for {kind}; allowed are {low:g} to {high:g}"
        )
