"""Plain data as YAML that people can read: blocks, and texts of several lines as they are. Writes, never reads."""

import json
from collections.abc import Iterator, Mapping, Sequence


def dumped(data: Mapping[str, object]) -> str:
    """The document.

    >>> print(dumped({"a": [{"b": 1, "c": "x: y"}], "d": {}, "e": True}), end="")
    a:
      - b: 1
        c: "x: y"
    d: {}
    e: true
    """
    return "".join(f"{line}\n" for line in _mapping(data))


def _mapping(data: Mapping[str, object]) -> Iterator[str]:
    for key, value in data.items():
        yield from _entry(f"{key}:", value)


def _entry(head: str, value: object) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        yield head
        yield from (f"  {line}" for line in _mapping(value))
    elif isinstance(value, Sequence) and not isinstance(value, str) and value:
        yield head
        for item in value:
            lines = list(_mapping(item)) if isinstance(item, Mapping) else [_scalar(item)]
            yield f"  - {lines[0]}"
            yield from (f"    {line}" for line in lines[1:])
    elif isinstance(value, str) and "\n" in value:
        yield f"{head} |-"
        yield from (f"  {line}" if line else "" for line in value.splitlines())
    else:
        yield f"{head} {_scalar(value)}"


def _scalar(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)  # JSON's scalars are YAML's
