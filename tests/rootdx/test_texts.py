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
NAMED = ("failure.", "feature.")
"""Names that come with facts; test_signature_texts.py says which there must be."""
GROUPS = {key.partition(".")[0] for key in catalogue()}


def literals() -> Iterator[tuple[str, bool]]:
    """Every string in our code that looks like a key, and whether it is only its beginning."""
    for file in HOME.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value, False
            elif isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
                yield str(node.values[0].value), True


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


def test_every_text_is_said_somewhere() -> None:
    whole = {text for text, only_beginning in literals() if not only_beginning}
    begun = tuple(text for text, only_beginning in literals() if only_beginning and text.partition(".")[0] in GROUPS)
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
