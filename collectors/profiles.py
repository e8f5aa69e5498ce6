"""Device profiles: what is known of a class of devices, so that a machine file need not say it. One file each.

* A profile gives what the file leaves out: limits, byte order, sentinels; what the file says itself holds.
* A tag whose address is a name of the profile, as `pv` or `3/pv`, is that tag, of the source's unit or of unit 3; keys
  that the file writes beside it hold.
"""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field

from collectors.registers import Order
from pipeline.plant import Frozen, Tag

FOLDER: Final = Path(__file__).parent / "profiles"
_GIVES: Final = ("max_registers", "max_coils", "max_gap", "gap_ms", "forbidden", "order", "sentinels")
_NAMED: Final = re.compile(r"((?P<unit>\d{1,3})/)?(?P<name>[a-z0-9][a-z0-9_.-]*)")


class Profile(Frozen):
    """One profile file."""

    source: str = Field(min_length=10)
    """Where its facts are from, and what to check."""
    max_registers: Annotated[int, Field(ge=1, le=125)] = 125
    max_coils: Annotated[int, Field(ge=1, le=2000)] = 2000
    max_gap: Annotated[int, Field(ge=0, le=124)] | None = None
    gap_ms: float | None = None
    forbidden: tuple[str, ...] = ()
    order: Order = "ABCD"
    sentinels: tuple[int, ...] = ()
    tag: tuple[Tag, ...]


def names() -> list[str]:
    """The profiles there are."""
    return sorted(file.stem for file in FOLDER.glob("*.toml"))


@cache
def _said(name: str) -> dict[str, Any]:
    if name not in names():
        raise ValueError(f"profile = {name!r} is none of {', '.join(names())}")
    return tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


def filled(machine: Any) -> Any:
    """A machine file as read, with what its profile gives.

    Raises:
        ValueError: there is no such profile, or it has no such tag.
    """
    source = machine.get("source") if isinstance(machine, dict) else None
    if not isinstance(source, dict) or source.get("protocol") != "modbus" or not isinstance(source.get("profile"), str):
        return machine
    profile = _said(source["profile"])
    known = {tag["name"]: tag for tag in profile["tag"]}
    tags = [_filled(tag, source["profile"], known) for tag in machine.get("tag", ())]
    given = {key: profile[key] for key in _GIVES if key in profile}
    return machine | {"source": given | source, "tag": tags}


def _filled(tag: Any, profile: str, known: Mapping[str, Mapping[str, Any]]) -> Any:
    found = _NAMED.fullmatch(str(tag.get("address", ""))) if isinstance(tag, dict) else None
    if found is None:
        return tag
    template = known.get(found["name"])
    if template is None:
        raise ValueError(f"address = {tag['address']!r}: profile {profile!r} knows {', '.join(known)}")
    unit = f"{found['unit']}/" if found["unit"] else ""
    return {**template, **tag, "address": unit + template["address"]}
