"""The demo as a newcomer runs it, in processes of its own. Runs on plain PostgreSQL (embedded)."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support.services import reachable_folder

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.plain, pytest.mark.timeout(240)]


def demo(folder: Path, *arguments: str, lang: str = "en_US.UTF-8") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rootdx", "demo", "--folder", str(folder), *arguments],
        cwd=ROOT, env={**os.environ, "LANG": lang, "LC_ALL": lang}, capture_output=True, text=True, timeout=200,
        check=False,
    )  # fmt: skip


def belonging_to(folder: Path) -> list[str]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = " ".join(process.info["cmdline"] or [])
        if str(folder) in command:
            found.append(command)
    return found


def test_everything_the_four_machines_produced_is_stored_once() -> None:
    with reachable_folder() as folder:
        done = demo(folder / "demo", "--for", "12s", "--check")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "check passed" in done.stdout
        for machine in ("dc1", "iq2", "weld1", "ni1"):
            produced, stored, *wrong = _numbers(done.stdout, machine)
            assert produced == stored > 100, done.stdout
            assert wrong == [0, 0, 0]
        assert belonging_to(folder) == []


def test_a_recording_is_stored_cell_by_cell(tmp_path: Path) -> None:
    lines = ["datetime,temperature,pressure,remark"]
    lines += [
        f"2026-01-05 10:{n // 60:02d}:{n % 60:02d},{20 + n / 7:.3f},{n if n % 5 else ''},Ofen" for n in range(300)
    ]
    (tmp_path / "train_oven.csv").write_text("\n".join(lines[:200]) + "\n", encoding="utf-8-sig")
    (tmp_path / "test_oven.csv").write_text("\n".join(lines[:1] + lines[200:]) + "\n", encoding="utf-8-sig")
    with reachable_folder() as folder:
        done = demo(folder / "demo", "--replay", str(tmp_path), "--check", lang="ko_KR.UTF-8")
        assert done.returncode == 0, done.stdout + done.stderr
        produced, stored, *wrong = _numbers(done.stdout, "oven")
        assert produced == 300 + 300 + 240  # row number, temperature, pressure where there is one
        assert wrong == [0, 0, 0]
        assert stored == produced
        assert "점검 통과" in done.stdout


def test_a_killed_demo_is_cleaned_up_by_the_next() -> None:
    with reachable_folder() as folder:
        first = subprocess.Popen(
            [sys.executable, "-m", "rootdx", "demo", "--folder", str(folder / "demo")],
            cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while not list((folder / "demo").glob("**/broker.pid")) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(2)
        first.send_signal(signal.SIGKILL)
        first.wait()
        done = demo(folder / "demo", "--for", "3s")
        assert done.returncode == 0, done.stdout + done.stderr
        assert belonging_to(folder) == []


def test_a_folder_without_recordings_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with reachable_folder() as folder:
        done = demo(folder / "demo", "--replay", str(tmp_path))
        assert done.returncode == 78
        assert "no CSV file" in done.stderr
        assert belonging_to(folder) == []


def _numbers(screen: str, machine: str) -> list[int]:
    found = re.search(rf"│ {machine}\s*│([^\n]*)", screen)
    assert found is not None, screen
    return [int(part.replace(",", "")) for part in re.findall(r"[\d,]+", found[1])]
