"""A short torture: every kind of fault once. Runs on plain PostgreSQL (embedded)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.plain
@pytest.mark.timeout(400)
def test_every_fault_once_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    report = ["--report", str(tmp_path / "t.json")]
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.torture", "--faults", "12", "--seed", "3", *report],
        cwd=ROOT, capture_output=True, text=True, timeout=380, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["name"]: row["value"] for row in json.loads((tmp_path / "t.json").read_text())["rows"]}
    assert rows["faults injected"] >= 11
    assert rows["rows witnessed durable"] > 5_000
    assert rows["rows missing and not announced"] == 0
    assert rows["rows stored twice"] == 0
    assert rows["expected - stored - missing by cause"] == 0
