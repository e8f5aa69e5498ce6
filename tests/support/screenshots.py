"""The pictures of the README, from a demo that runs: `make screenshots`.

Two and a half minutes at the machines' own pace, so that figures are those of a real plant; then a browser looks.
"""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import httpx
from PIL import Image
from playwright.sync_api import Browser

from pipeline.settings import read_settings
from rootdx.invocation import Site, database, site_of
from rootdx.paper import press
from rootdx.paper.record import record_sheet
from rootdx.texts import speaking
from tests.support.browser import chromium
from tests.support.services import reachable_folder

ROOT: Final = Path(__file__).resolve().parents[2]
OUT: Final = ROOT / "rootdx" / "board" / "pictures"
PATIENCE_S: Final = 200.0
Theme = Literal["dark", "light"]
VIEWS: Final[tuple[tuple[str, str, int, int, str, Theme], ...]] = (
    ("overview", "#/", 1280, 720, "ko", "light"),
    ("machine", "#/machine/dc1", 1280, 800, "en", "light"),
    ("alarm", "#/alarm/{alarm}", 1280, 800, "en", "light"),
    ("kiosk", "#/kiosk", 1280, 720, "ko", "dark"),
)
"""Name, address, size, language, theme."""


def main() -> int:
    """Starts a demo, waits for its alarm and its record, takes the pictures."""
    OUT.mkdir(exist_ok=True)
    with reachable_folder() as place:
        folder = place / "demo"
        command = [sys.executable, "-m", "rootdx", "demo", "--folder", str(folder), "--no-browser"]
        environment = {**os.environ, "COLUMNS": "300", "ROOTDX_LANG": "en"}
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as demo:
            try:
                url = _address(demo)
                alarm, record = _awaited(url)
                with chromium() as browser:
                    for name in _taken(browser, url, alarm):
                        print(f"{OUT.name}/{name}.png")
                asyncio.run(_paper(folder, record))
            finally:
                demo.send_signal(signal.SIGINT)
                demo.communicate(timeout=60)
    return 0


def _address(demo: "subprocess.Popen[str]") -> str:
    for line in demo.stdout or ():
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        if found:
            return found[0]
    raise RuntimeError("the demo did not start")


def _awaited(url: str) -> tuple[int, int]:
    """Numbers of the first alarm and the first record."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        alarms = httpx.get(f"{url}/api/v1/alarms", params={"every": True}).json()["alarms"]
        records = httpx.get(f"{url}/api/v1/records").json()["rows"]
        if alarms and records:
            return int(alarms[0]["alarm_id"]), int(records[0][0])
        time.sleep(1)
    raise RuntimeError(f"no alarm and record within {PATIENCE_S:.0f} s")


def _taken(browser: Browser, url: str, alarm: int) -> Iterator[str]:
    for name, address, width, height, language, theme in VIEWS:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
        context.add_cookies([{"name": "rootdx_lang", "value": language, "url": url}])
        page = context.new_page()
        page.goto(f"{url}/{address.format(alarm=alarm)}")
        page.wait_for_timeout(6000)
        _kept(page.screenshot(), name)
        context.close()
        yield name


async def _paper(folder: Path, number: int) -> None:
    """The first page of a record."""
    settings = read_settings(folder / "board.toml")
    site: Site = site_of(folder / "analytics.toml")
    async with database(settings.store) as db:
        with speaking("ko"):
            sheet = await record_sheet(db, site, number)
    _kept(press.png(sheet, 90.0)[0], "record")


def _kept(content: bytes, name: str) -> None:
    """A picture with 128 colours: a tenth of the bytes, and nobody sees it."""
    file = OUT / f"{name}.png"
    file.write_bytes(content)
    with Image.open(file) as picture:
        small = picture.convert("RGB").quantize(128, dither=Image.Dither.NONE)
    small.save(file, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
