"""Names for people of every failure of the tables of signatures, and of what it moves."""

from fnmatch import fnmatchcase

import pytest

from analytics.signature import signatures
from rootdx.alarm_text import name_of
from rootdx.texts import LANGUAGES, catalogue

FAILURES = {one.name for one in signatures()}
PATTERNS = {name.rpartition(":")[2] for one in signatures() for name in one.moves}


def named(kind: str) -> set[str]:
    return {key.partition(".")[2] for key in catalogue() if key.startswith(f"{kind}.")}


def test_every_failure_has_a_name_and_no_other() -> None:
    assert named("failure") == FAILURES


def test_every_variable_has_a_name() -> None:
    known = named("feature")
    assert [one for one in sorted(PATTERNS) if not any(fnmatchcase(name, one) for name in known)] == []
    assert [one for one in sorted(known) if not any(fnmatchcase(one, pattern) for pattern in PATTERNS)] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_names_are_said(language: str) -> None:
    assert name_of("failure", "plunger_wear", language) != "plunger_wear"
    assert name_of("feature", "metal.temp", language) != "metal.temp"
    assert name_of("feature", "zone2_output_mean", language) != "zone2_output_mean"
