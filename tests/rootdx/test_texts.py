"""Every text is there in every language, and every text that the code asks for is there."""

import ast
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from rootdx import texts
from rootdx.texts import LANGUAGES, catalogue, language, say

HOME = Path(__file__).resolve().parents[2] / "rootdx"
NAMED = (
    "failure.", "feature.", "phase.", "kind.", "process.", "stop.", "detector.", "measured.", "part.", "signal.",
    "statistic.",
)  # fmt: skip
"""Names that come with data; test_signature_texts.py, test_names.py, test_feature_names.py say which there must be."""
GROUPS = {key.partition(".")[0] for key in catalogue()}
PAGES = HOME / "board" / "static"
KEY = re.compile(r"""\bt\(\s*(?:"([^"]+)"|`([^`$]+)(\$?))""")
BEGINNING = re.compile(r"""\bnamed\(\s*"([^"]+)\"""")


def said_by_pages() -> Iterator[tuple[str, bool]]:
    """Every key that a page asks for, and whether it is only its beginning."""
    for file in PAGES.rglob("*.js"):
        if "vendor" in file.parts:
            continue
        text = file.read_text(encoding="utf-8")
        for whole, begun, goes_on in KEY.findall(text):
            yield whole or begun, bool(goes_on)
        for group in BEGINNING.findall(text):
            yield f"{group}.", True


def literals() -> Iterator[tuple[str, bool]]:
    """Every string in our code that looks like a key, and whether it is only its beginning."""
    for file in HOME.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value, False
            elif isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
                yield str(node.values[0].value), True


def said_everywhere() -> Iterator[tuple[str, bool]]:
    yield from literals()
    yield from said_by_pages()


def said() -> Iterator[ast.expr]:
    for file in HOME.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "say":
                yield node.args[0]


@pytest.mark.parametrize("key", sorted(catalogue()))
def test_text_has_every_language_with_the_same_places(key: str) -> None:
    entry = catalogue()[key]
    assert entry.keys() == set(LANGUAGES)
    places = {
        lang: sorted((name, form) for _, name, form, _ in string.Formatter().parse(text) if name is not None)
        for lang, text in entry.items()
    }
    assert places["en"] == places["ko"]
    assert all(text.strip() for text in entry.values())


def test_korean_is_korean() -> None:
    plain = [
        key
        for key, entry in catalogue().items()
        if not re.search("[가-힣]", entry["ko"]) and entry["ko"] != entry["en"]
    ]
    assert plain == []


def test_every_key_that_the_code_says_exists() -> None:
    asked = {node.value for node in said() if isinstance(node, ast.Constant)}
    assert asked
    assert asked - catalogue().keys() == set()
    for node in said():
        if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
            beginning = str(node.values[0].value)
            assert any(key.startswith(beginning) for key in catalogue()), beginning


def test_every_key_that_a_page_asks_for_exists() -> None:
    asked = list(said_by_pages())
    assert len(asked) > 200
    assert {key for key, begun in asked if not begun} - catalogue().keys() == set()
    assert [key for key, begun in asked if begun and not any(one.startswith(key) for one in catalogue())] == []


def test_every_text_is_said_somewhere() -> None:
    whole = {text for text, only_beginning in said_everywhere() if not only_beginning}
    begun = tuple(
        text for text, only_beginning in said_everywhere() if only_beginning and text.partition(".")[0] in GROUPS
    )
    left = [key for key in catalogue() if key not in whole and not key.startswith((*begun, *NAMED))]
    assert left == []


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "en"),
        ({"LANG": "ko_KR.UTF-8"}, "ko"),
        ({"LANG": "ko_KR", "LC_ALL": "C"}, "en"),
        ({"LANG": "C", "ROOTDX_LANG": "ko"}, "ko"),
    ],
)
def test_language_follows_the_environment(
    environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ROOTDX_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert language() == expected
    assert say("quarantine.empty") == texts.catalogue()["quarantine.empty"][expected]
