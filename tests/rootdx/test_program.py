"""A process that stays imports what it needs, and no more."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"scipy", "openpyxl", "pyarrow", "distributed", "pymodbus", "asyncua"}
NEEDS: dict[str, set[str]] = {
    "gateway": {"asyncua"},
    "writer": set(),
    "analytics": {"scipy"},
    "simulate": {"asyncua", "pymodbus"},
}
_LOOK = """
import sys
sys.argv = ["rootdx", {name!r}, "--help"]
from rootdx.__main__ import main
try:
    main()
except SystemExit as end:
    print("code", end.code)
print("loaded", *sys.modules)
"""


@pytest.mark.parametrize("name", NEEDS)
def test_a_process_that_stays_is_imported_alone(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LOOK.format(name=name)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    told = done.stdout.splitlines()
    assert f"Usage: rootdx {name}" in done.stdout
    assert "code 0" in told
    assert HEAVY & set(told[-1].split()) == NEEDS[name]


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_without_a_command_every_command_is_shown(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "rootdx", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert all(f" {name} " in done.stdout for name in (*NEEDS, "demo", "cycles"))
    assert "Usage: rootdx [OPTIONS]" in done.stdout
