"""Addresses of tags in messages: a topic, a way into the payload, and what differs from plain JSON as `key=value`.

<topic> [<path>] [key=value ...]          plant/f03/pv zone.1.temp
                                          plant/f03/log v each=samples
                                          plant/f03/curve v period_ms=100
                                          plant/f03/temp format=text decimal=comma
                                          plant/f03/frame type=int16be at=4
                                          plant/f03/order lot as=text
"""

import re
import struct
from dataclasses import dataclass
from typing import Final, Literal

_TOPIC: Final = re.compile(r"([^\s#]+|([^\s#]+/)?#)")
_PLACE: Final = re.compile(r"(?:(\d+):)?(u?int|float)(8|16|32|64)(le|be)?")
_CODES: Final = {
    "int8": "b", "uint8": "B", "int16": "h", "uint16": "H", "int32": "i", "uint32": "I",
    "int64": "q", "uint64": "Q", "float32": "f", "float64": "d",
}  # fmt: skip
PERIODS: Final = {"period_us": 1e-6, "period_ms": 1e-3, "period_s": 1.0}
_KEYS: Final = frozenset({"as", "format", "each", "times", "decimal", "map", "type", "at", "ts", *PERIODS})
Format = Literal["json", "text", "binary"]
Decimal = Literal["", "point", "comma"]
_FORMATS: Final[dict[str, Format]] = {"json": "json", "text": "text", "binary": "binary"}
_DECIMALS: Final[dict[str, Decimal]] = {"": "", "point": "point", "comma": "comma"}


@dataclass(frozen=True, slots=True)
class Address:
    """An address, taken apart.

    Attributes:
        topic: filter of the messages; a level may be `+`, the last one `#`.
        path: way into the JSON.
        form: what a payload is.
        each: way to an array of objects, each with the path and a time of its own.
        times: way to an array of times, one a sample of the array at the path.
        period: way to the time between samples of the array at the path, or itself; in `period_scale_s` seconds.
        decimal: a text is a number written so.
        words: texts that are numbers.
        field: where a number lies in the bytes.
        ts_field: where an integer time lies in the bytes.
        text: what is said is a text and becomes an event.
    """

    topic: str
    path: tuple[str, ...] = ()
    form: Format = "json"
    each: tuple[str, ...] = ()
    times: tuple[str, ...] = ()
    period: tuple[str, ...] | float | None = None
    period_scale_s: float = 1.0
    decimal: Decimal = ""
    words: tuple[tuple[str, float], ...] = ()
    field: tuple[struct.Struct, int] | None = None
    ts_field: tuple[struct.Struct, int] | None = None
    text: bool = False


def address_of(text: str, *, wild: bool = False) -> Address:
    """An address read.

    Raises:
        ValueError: it is none; says what was expected.
    """
    parts = text.split()
    options = dict(part.split("=", 1) for part in parts[1:] if "=" in part)
    bare = [part for part in parts[1:] if "=" not in part]
    if not parts or not _TOPIC.fullmatch(parts[0]) or len(bare) > 1 or (not wild and set("+#") & set(parts[0])):
        raise ValueError(
            f"address {text!r} is not '<topic> <json path>' and perhaps options, e.g. 'plant/f03/pv zone.1.temp'; "
            "a topic has no spaces and no wildcards (for those see [[source.pattern]])"
        )
    if wild and any("+" in level and level != "+" for level in parts[0].split("/")):
        raise ValueError(
            f"address {text!r}: '+' stands for a whole level, '#' for all the last ones, e.g. 'device/+/temp'"
        )
    unknown = sorted(options.keys() - _KEYS)
    if unknown:
        raise ValueError(
            f"address {text!r}: unknown {unknown[0]}=; there are {' '.join(f'{k}=' for k in sorted(_KEYS))}"
        )
    return _address(text, parts[0], _way(bare[0]) if bare else (), options)


def _address(text: str, topic: str, path: tuple[str, ...], options: dict[str, str]) -> Address:
    period, scale = _period(text, options)
    binary = "type" in options
    form = options.get("format", "binary" if binary else "json")
    decimal = options.get("decimal", "point" if form == "text" else "")
    if form not in _FORMATS or (form == "binary") != binary:
        raise ValueError(f"address {text!r}: format={form}; expected json or text, or type= for bytes")
    if decimal not in _DECIMALS:
        raise ValueError(f"address {text!r}: decimal={decimal}; expected point or comma")
    if form != "json" and (path or {"each", "times"} & options.keys() or period is not None):
        raise ValueError(f"address {text!r}: a path, each=, times= and period_…= need JSON")
    if options.get("as", "text") != "text" or (binary and "as" in options):
        raise ValueError(f"address {text!r}: as={options['as']}; only as=text is known, and not of bytes")
    if "times" in options and period is not None:
        raise ValueError(f"address {text!r}: give times= or a period, not both")
    if not binary and {"at", "ts"} & options.keys():
        raise ValueError(f"address {text!r}: at= and ts= belong to bytes; give type= too, e.g. type=int16be")
    return Address(
        topic,
        path,
        _FORMATS[form],
        _way(options.get("each", "")),
        _way(options.get("times", "")),
        period,
        scale,
        _DECIMALS[decimal],
        _words(text, options.get("map", "")),
        _field(text, f"{options.get('at', '0')}:{options['type']}") if binary else None,
        _field(text, options["ts"]) if "ts" in options else None,
        "as" in options,
    )


def _way(text: str) -> tuple[str, ...]:
    return tuple(text.split(".")) if text else ()


def _period(text: str, options: dict[str, str]) -> tuple[tuple[str, ...] | float | None, float]:
    given = [key for key in PERIODS if key in options]
    if not given:
        return None, 1.0
    if len(given) > 1:
        raise ValueError(f"address {text!r}: one period is enough")
    said = options[given[0]]
    if not re.fullmatch(r"\d+(\.\d+)?", said):
        return _way(said), PERIODS[given[0]]
    if float(said) <= 0:
        raise ValueError(f"address {text!r}: {given[0]}={said}; expected more than 0")
    return float(said), PERIODS[given[0]]


def _words(text: str, said: str) -> tuple[tuple[str, float], ...]:
    try:
        pairs = [item.rsplit(":", 1) for item in said.split(",") if item]
        return tuple((word, float(number)) for word, number in pairs)
    except ValueError:
        raise ValueError(f"address {text!r}: map={said}; expected words and numbers as map=ON:1,OFF:0") from None


def _field(text: str, said: str) -> tuple[struct.Struct, int]:
    found = _PLACE.fullmatch(said)
    name = f"{found[2]}{found[3]}" if found else ""
    if found is None or name not in _CODES or (found[4] is None and found[3] != "8"):
        raise ValueError(
            f"address {text!r}: {said!r} is no place in bytes; expected as type=int16be at=4 or ts=0:uint64le, of "
            "int8 uint8, and int16 uint16 int32 uint32 int64 uint64 float32 float64 with le or be behind"
        )
    return struct.Struct((">" if found[4] == "be" else "<") + _CODES[name]), int(found[1] or 0)
