"""Tags that nobody listed: a pattern of the machine file names them when their topics are first heard.

* A pattern is a tag with `{1}`, `{2}` … in its name, each the part of a topic where the pattern has its `+` or `#`.
* At most `most` tags are found, and never one whose name another has; what is refused is counted, not stored.
* What was found is remembered by the gateway, so the same tags are there after a restart.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import AfterValidator, Field, FiniteFloat

from pipeline.plant import Frozen, Tag
from pipeline.units import is_unit

_PART: Final = re.compile(r"\{(\d)\}")
_UNFIT: Final = re.compile(r"[^a-z0-9_.-]+")
_LONGEST_NAME: Final = 63


def _unit(text: str) -> str:
    if not is_unit(text):
        raise ValueError("unknown UCUM unit; examples: Cel, MPa, mm, m/s, A, V, kW.h, L/min, uS/cm, [pH], %, 1")
    return text


class Pattern(Frozen):
    """Many tags of one kind."""

    name: str
    """As `{1}.temp`: parts of the topic in their place."""
    address: str
    """As a tag's, with `+` for any one level of the topic, and at its end `#` for all that follow."""
    unit: Annotated[str, AfterValidator(_unit)] = "1"
    role: str = ""
    """May hold `{1}` too."""
    range: tuple[FiniteFloat, FiniteFloat] | None = None
    scale: FiniteFloat = Field(1.0)
    offset: FiniteFloat = 0.0
    context: str | None = None
    text: str = ""

    def tag(self, parts: Sequence[str], address: str) -> Tag | None:
        """The tag of a topic; None where its parts make no name."""
        name = _filled(self.name, parts, plain=True)
        if not name:
            return None
        told = self.model_dump(exclude={"name", "address", "role", "text"})
        role, text = _filled(self.role, parts, plain=True), _filled(self.text, parts, plain=False)
        return Tag.model_validate({"name": name, "address": address, "role": role, "text": text} | told)

    def check(self) -> None:
        """Refuses a pattern of which not every topic has its own name.

        Raises:
            ValueError: says what was expected.
        """
        levels = self.address.split()[0].split("/") if self.address.strip() else []
        wild = levels.count("+") + levels.count("#")
        asked = {int(number) for number in _PART.findall(self.name)}
        if not wild or asked != set(range(1, wild + 1)):
            expected = " and ".join(f"{{{i + 1}}}" for i in range(wild)) or "a '+' or '#' in the topic and {1}"
            raise ValueError(f"pattern {self.name!r} of {self.address!r}: expected {expected} in the name")
        if self.tag(["a"] * wild, self.address) is None:
            raise ValueError(f"pattern {self.name!r}: letters, digits, _ . - and {{1}} make a name")


def _filled(template: str, parts: Sequence[str], *, plain: bool) -> str:
    said = _PART.sub(lambda found: parts[int(found[1]) - 1] if int(found[1]) <= len(parts) else "", template)
    return plain_name(said) if plain else said


def plain_name(said: str) -> str:
    """What a tag may be called that somebody else named so; "" where nothing is left."""
    return _UNFIT.sub("-", said.lower()).strip("-._")[:_LONGEST_NAME]


class Finder:
    """The tags of a machine, listed and found.

    Args:
        listed: tags of the machine file.
        found: those found before.
        most: how many may be found.
    """

    def __init__(self, listed: Sequence[Tag], found: Sequence[Tag], most: int) -> None:
        self.tags: list[Tag] = [*listed, *found]
        self._names = {tag.name for tag in self.tags}
        self._room = most - len(found)
        self._new: list[Tag] = []

    def add(self, tag: Tag | None) -> str:
        """Takes a tag up; the cause where it does not, "" where it did."""
        if tag is None:
            return "no_name"
        if tag.name in self._names:
            return "name_taken"
        if self._room <= 0:
            return "too_many_tags"
        self._room -= 1
        self._names.add(tag.name)
        self.tags.append(tag)
        self._new.append(tag)
        return ""

    def new(self) -> tuple[Tag, ...]:
        """Those found since the last call."""
        found, self._new = tuple(self._new), []
        return found
