"""From a simulated machine to a person at the board: the whole demo, seen through a real browser.

Runs on plain PostgreSQL (embedded), with every part a process of its own, as `make demo` starts them.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import chromium
from tests.support.services import reachable_folder

ROOT = Path(__file__).resolve().parents[2]
SPEED = "4"
pytestmark = [pytest.mark.plain, pytest.mark.timeout(400)]
WITHIN_S = 120.0
"""Of the start of the demo: an alarm is there, and a record."""


@dataclass(frozen=True, slots=True)
class Demo:
    """A demo that runs."""

    url: str
    folder: Path
    said: str

    def api(self, path: str) -> httpx.Response:
        """What the board answers."""
        return httpx.get(f"{self.url}/api/v1{path}", timeout=30)


@pytest.fixture
def demo() -> Iterator[Demo]:
    with reachable_folder() as place:
        folder = place / "demo"
        command = [sys.executable, "-m", "rootdx", "demo", "--folder", str(folder), "--speed", SPEED, "--no-browser"]
        environment = {**os.environ, "LANG": "en_US.UTF-8", "LC_ALL": "en_US.UTF-8", "COLUMNS": "400"}
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        said = ""
        try:
            for line in process.stdout:
                said += line
                found = re.search(r"http://127\.0\.0\.1:\d+", said)
                if found and "rootdx_reader" in said:
                    yield Demo(found[0], folder, said)
                    break
        finally:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=60)
            process.kill()
            process.stdout.close()


def board_process(folder: Path) -> psutil.Process:
    settings = str(folder / "board.toml")
    (found,) = [one for one in psutil.process_iter(["cmdline"]) if settings in (one.info["cmdline"] or [])]
    return found


def moves(page: Page, where: str, seconds: float) -> bool:
    """Whether a text changes within so many seconds, without the page being loaded again."""
    first = page.locator(where).first.inner_text()
    with contextlib.suppress(AssertionError):
        expect(page.locator(where).first).not_to_have_text(first, timeout=seconds * 1000)
        return True
    return False


def test_a_failing_machine_is_seen_explained_and_dealt_with(demo: Demo) -> None:
    began = time.monotonic()
    assert "rootdx grafana" in demo.said, "it says where a Grafana would be pointed"
    wrong: list[str] = []
    with chromium() as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="ko-KR")
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        everything_is_alive(page, demo)
        page.goto(f"{demo.url}/#/alarms")
        alarm = page.locator("li.alarm", has_text="weld1").first
        expect(alarm).to_be_visible(timeout=WITHIN_S * 1000)
        assert time.monotonic() - began < WITHIN_S
        expect(alarm).to_contain_text("보호가스", timeout=30_000)
        alarm.locator("a.alarm-link").click()
        dealt_with(page, demo)
        with heals(page, demo):
            record = a_record(demo, began)
        context.close()
    assert wrong == []
    assert record.headers["content-type"] == "application/pdf"
    assert record.content.startswith(b"%PDF-")


def everything_is_alive(page: Page, demo: Demo) -> None:
    page.goto(f"{demo.url}/")
    expect(page.locator("li.tile")).to_have_count(4, timeout=30_000)
    for name in ("dc1", "f03", "ni1", "weld1"):
        expect(page.locator("li.tile", has_text=name)).to_be_visible()
    page.goto(f"{demo.url}/#/machine/dc1")
    expect(page.locator(".tag-value").first).to_be_visible(timeout=20_000)
    assert moves(page, ".with-list", 15), "live values move"


def dealt_with(page: Page, demo: Demo) -> None:
    """Explained, shelved, back again, acknowledged; the journal has all of it."""
    expect(page.get_by_text("보호가스 부족").first).to_be_visible(timeout=20_000)  # which failure it resembles
    number = int(page.url.rpartition("/")[2].split("?")[0])
    dialog = page.get_by_role("dialog")
    said(page, "보류", "가스통 교체 중")
    assert demo.api(f"/alarms/{number}").json()["alarm"]["state"] == "shelved"
    page.get_by_role("button", name="보류 해제").click()
    expect(page.get_by_role("button", name="확인", exact=True)).to_be_visible(timeout=10_000)
    assert demo.api(f"/alarms/{number}").json()["alarm"]["state"] in ("unacknowledged", "returned")
    said(page, "확인", "가스통 교체")
    expect(dialog).to_be_hidden(timeout=10_000)
    told = demo.api(f"/alarms/{number}?lang=en").json()
    entries = [row[4] for row in told["journal"]["rows"]]
    wanted = ["shelved", "unshelved", "acknowledged"]
    assert [one for one in entries if one in wanted] == wanted
    assert told["alarm"]["state"] in ("acknowledged", "normal")


def said(page: Page, button: str, words: str) -> None:
    """Presses a button, and says why in the dialog that opens."""
    page.get_by_role("button", name=button, exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.locator("textarea").fill(words)
    dialog.get_by_role("button", name=button, exact=True).click()
    expect(dialog).to_be_hidden(timeout=10_000)


@contextlib.contextmanager
def heals(page: Page, demo: Demo) -> Iterator[None]:
    """The board dies and comes back; nobody loads the page again."""
    page.goto(f"{demo.url}/#/machine/dc1")
    expect(page.locator(".tag-value").first).to_be_visible(timeout=20_000)
    board = board_process(demo.folder)
    command = board.cmdline()
    board.kill()
    expect(page.locator(".lost-banner")).to_be_visible(timeout=30_000)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as again:
        try:
            expect(page.locator(".lost-banner")).to_be_hidden(timeout=60_000)
            assert moves(page, ".with-list", 15), "and values move again"
            yield
        finally:
            again.terminate()
            again.wait(30)


def a_record(demo: Demo, began: float) -> httpx.Response:
    """The first record, as a person would take it away."""
    while not (rows := demo.api("/records").json()["rows"]):
        assert time.monotonic() - began < WITHIN_S + 60
        time.sleep(1)
    assert rows[0][2:4] == ["lot", "W-1"] or rows[0][3] == "W-1"
    assert demo.api(f"/records/{rows[0][0]}/verify").json()["holds"]
    return demo.api(f"/records/{rows[0][0]}?format=pdf&lang=ko")
