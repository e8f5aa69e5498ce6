"""The examples in docstrings and pages hold; most are the worked examples of the specification."""

import doctest
import importlib
from pathlib import Path

import pytest

ANALYTICS = Path(__file__).parents[2] / "analytics"
WITH_EXAMPLES = [path for path in sorted(ANALYTICS.rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.stem)
def test_examples_of_a_module_hold(path: Path) -> None:
    name = ".".join(path.relative_to(ANALYTICS.parent).with_suffix("").parts)
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_examples_of_the_result_page_hold() -> None:
    found = doctest.testfile(str(ANALYTICS / "result.md"), module_relative=False)
    assert found.attempted > 5
    assert found.failed == 0
