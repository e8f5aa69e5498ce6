"""What the front door says, in Korean or English: one catalogue, texts.toml."""

import os
import tomllib
from functools import lru_cache
from importlib import resources

LANGUAGES = ("en", "ko")


def language() -> str:
    """`ko` or `en`, from ROOTDX_LANG or the usual locale variables."""
    for name in ("ROOTDX_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        given = os.environ.get(name, "")
        if given:
            return "ko" if given.lower().startswith("ko") else "en"
    return "en"


@lru_cache(maxsize=1)
def catalogue() -> dict[str, dict[str, str]]:
    """Every text by dotted key and language."""
    data = tomllib.loads(resources.files("rootdx").joinpath("texts.toml").read_text(encoding="utf-8"))
    found: dict[str, dict[str, str]] = {}
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
