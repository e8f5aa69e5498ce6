"""What people see of phases, kinds, trades, stops, causes and detectors has a name in their language."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args

import pytest

from analytics.known import AnyProcess
from analytics.known_detectors import AnyDetector
from analytics.process import Process
from pipeline.model import CAUSES
from rootdx.alarm_text import name_of
from rootdx.grafana.processes import KINDS
from rootdx.texts import LANGUAGES, catalogue
from tests.support.spine import ask

HOME: Final = Path(__file__).resolve().parents[2]
SOURCES: Final = (*(HOME / "analytics" / "processes").glob("*.py"), *(HOME / "analytics").glob("*.py"))
NAME: Final = re.compile(r"[A-Z][A-Z_]+[A-Z](_[0-9]+)?")
NO_PHASE: Final = {"PULSE", "ZONE"}
"""Words in capitals that are only the beginning of one, or none."""
CONTEXT: Final = {"lot", "part", "recipe", "order", "operator", "die", "melt", "load", "rack", "cycle"}
"""Kinds of context that our own pages name, and the one of a record that is of a cycle."""
PLANT: Final = (*(HOME / "deploy" / "plant").glob("*.toml"), *(HOME / "deploy" / "plant" / "more").glob("*.toml"))


def known(group: str) -> set[str]:
    return {key.removeprefix(f"{group}.") for key in catalogue() if key.startswith(f"{group}.")}


def processes() -> tuple[type[Process], ...]:
    return get_args(get_args(AnyProcess)[0])


def kinds_of(union: Any) -> set[str]:
    return {one.model_fields["kind"].default for one in get_args(get_args(union)[0])}


def listed(settings: dict[str, Any]) -> Iterator[str]:
    """Names in the tables of a machine file, or of its defaults."""
    for key in ("states", "tanks"):
        yield from (name for name in settings.get(key) or () if name)


def phases_in_sources() -> set[str]:
    """Every word in capitals that a process or its helpers can give a phase, whatever the way it is made."""
    found: set[str] = set()
    for file in SOURCES:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        if file.parent.name != "processes" and file.stem not in ("arc", "steps", "furnace_program", "furnace", "hoist"):
            continue
        formulas = {id(leaf) for node in ast.walk(tree) if isinstance(node, ast.Call)
                    and getattr(node.func, "id", "") == "Formula" for leaf in ast.walk(node)}  # fmt: skip
        found |= {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in formulas
                  and isinstance(node.value, str) and NAME.fullmatch(node.value)}  # fmt: skip
    return found - NO_PHASE


def test_every_phase_of_every_process_has_a_name() -> None:
    possible = phases_in_sources()
    for process in processes():
        possible |= set(listed({name: field.default for name, field in process.model_fields.items()}))
    for file in PLANT:
        for table in tomllib.loads(file.read_text(encoding="utf-8")).get("cycle", ()):
            possible |= set(listed(table))
    possible |= {f"PULSE_{n}" for n in range(1, 6)} | {f"COOL_{n}" for n in range(1, 5)}
    assert {"INTENSIFY", "DROP_TO_QUENCH_T", "PREFLOW", "BDC", "OFF", "THROUGH", "PHOSPHATE"} <= possible
    assert possible - known("phase") == set()
    samples = {"PASSIVATE", "RINSE_6"}
    assert known("phase") - possible == samples, "names that nothing has"


def test_phases_that_simulated_machines_went_through_have_names(built: Any) -> None:
    rows = ask(built.dsn, "SELECT DISTINCT phase, kind FROM rootdx.phases")
    assert len(rows) > 10
    assert {phase for phase, _ in rows} - known("phase") == set()
    assert {kind for _, kind in rows} - known("kind") == set()


def test_every_kind_of_cycle_has_a_name() -> None:
    assert known("kind") == kinds_of(AnyProcess) | CONTEXT


def test_every_trade_has_a_name() -> None:
    assert known("process") == set(KINDS)
    said = {tomllib.loads(file.read_text(encoding="utf-8")).get("process") for file in PLANT} - {None}
    assert said <= known("process")


def test_every_detector_has_a_name() -> None:
    assert known("detector") == kinds_of(AnyDetector)


def test_every_kind_of_stop_has_a_name(plain_dsn: str) -> None:
    ((check,),) = ask(
        plain_dsn, "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'stop_entry_kind_check'"
    )
    assert known("stop") == set(re.findall(r"'(\w+)'", check))


def test_every_cause_of_a_missing_row_has_a_name() -> None:
    assert {f"{cause}" for cause in CAUSES} | {"on_the_way"} == known("grafana.cause")


@pytest.mark.parametrize("language", LANGUAGES)
def test_names_are_said_and_a_stranger_keeps_its_own(language: str) -> None:
    assert name_of("phase", "INTENSIFY", language) == {"en": "intensification", "ko": "증압"}[language]
    assert name_of("kind", "hpdc_shot", language) != "hpdc_shot"
    assert name_of("phase", "OUR_OWN_TANK", language) == "OUR_OWN_TANK"


@pytest.mark.parametrize("kind", sorted(kinds_of(AnyProcess)))
def test_a_cycle_has_no_two_phases_of_one_name(kind: str) -> None:
    """A person could not tell them apart in a list."""
    process = next(one for one in processes() if one.model_fields["kind"].default == kind)
    names = list(listed({name: field.default for name, field in process.model_fields.items()}))
    for language in LANGUAGES:
        assert len({name_of("phase", name, language) for name in names}) == len(names)
