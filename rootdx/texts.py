"""What the front door says, in Korean or English: one catalogue, from texts.toml here and in the packages below."""

import contextlib
import os
import tomllib
from collections.abc import Iterator
from contextvars import ContextVar
from functools import lru_cache
from importlib import resources
from typing import Final

LANGUAGES = ("en", "ko")
FILES: Final = ("texts.toml", "board/texts.toml", "board/api/texts.toml", "paper/texts.toml")
_SPOKEN: ContextVar[str | None] = ContextVar("spoken", default=None)


@contextlib.contextmanager
def speaking(wanted: str) -> Iterator[None]:
    """Says everything in a language, for as long as it is open and to this task alone.

    >>> with speaking("ko"):
    ...     language()
    'ko'
    """
    token = _SPOKEN.set(wanted)
    try:
        yield
    finally:
        _SPOKEN.reset(token)


def language() -> str:
    """`ko` or `en`: that of the person who is spoken to, else from ROOTDX_LANG or the usual locale variables."""
    spoken = _SPOKEN.get()
    if spoken is not None:
        return spoken
    for name in ("ROOTDX_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        given = os.environ.get(name, "")
        if given:
            return "ko" if given.lower().startswith("ko") else "en"
    return "en"


@lru_cache(maxsize=1)
def catalogue() -> dict[str, dict[str, str]]:
    """Every text by dotted key and language."""
    found: dict[str, dict[str, str]] = {}
    for name in FILES:
        data = tomllib.loads(resources.files("rootdx").joinpath(name).read_text(encoding="utf-8"))
        _collect(data, "", found)
    return found


def _collect(node: dict[str, object], path: str, found: dict[str, dict[str, str]]) -> None:
    texts = {name: text for name, text in node.items() if isinstance(text, str)}
    if texts:
        found[path] = texts
    for name, below in node.items():
        if isinstance(below, dict):
            _collect(below, f"{path}.{name}".lstrip("."), found)


def say(key: str, **values: object) -> str:
    """The text of a key in the language of this process, its places filled."""
    return say_in(language(), key, **values)


def say_in(wanted: str, key: str, **values: object) -> str:
    """The text of a key in a language, its places filled."""
    return catalogue()[key][wanted].format(**values)
