"""A short torture of three broker nodes and three writers. Runs on plain PostgreSQL (embedded) and nats-server."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.plain
@pytest.mark.timeout(400)
def test_nodes_and_writers_killed_again_and_again_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    asked = ["--for", "9s", "--gateways", "9", "--every", "3", "--produce-every", "0.25", "--seed", "3"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.torture", "--cluster", *asked, "--report", str(file)],
        cwd=ROOT, capture_output=True, text=True, timeout=380, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["name"]: row["value"] for row in json.loads(file.read_text())["rows"]}
    assert rows["broker nodes killed"] >= 3
    assert rows["writers killed"] >= 3
    assert rows["rows produced"] > 1_000
    assert rows["rows stored"] == rows["rows produced"]
    assert rows["rows missing"] == 0
    assert rows["rows stored twice"] == 0
    assert rows["expected - stored - missing by cause"] == 0
    assert rows["no commit of any gateway, max"] < 3.0
    assert rows["no commit of a gateway, max"] < 12.0
