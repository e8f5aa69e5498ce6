"""A real browser for tests of pages: this machine's own Chromium where there is one, else one from a package."""

import contextlib
import ctypes.util
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, sync_playwright

from tests.support.services import _installed, _node

_SYSTEM: Final = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
_SOURCE: Final = Path(__file__).parent / "chromium"
_FLAGS: Final = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-domain-reliability", "--no-default-browser-check",
    "--no-pings", "--font-render-hinting=none", "--hide-scrollbars", "--disable-dev-shm-usage",
)  # fmt: skip
_UNPACK_S: Final = 120.0


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser that talks to nobody but the pages it is shown."""
    path, environment = _found()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(path), args=list(_FLAGS), env=environment)
        yield browser
        browser.close()


def axe() -> str:
    """The accessibility checker's script."""
    return (_installed(_SOURCE) / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")


def _found() -> tuple[Path, dict[str, str | float | bool]]:
    environment: dict[str, str | float | bool] = dict(os.environ)
    for name in _SYSTEM:
        if Path(name).exists():
            return Path(name), environment
    home = _unpacked(_installed(_SOURCE))
    if ctypes.util.find_library("nss3") is None:
        environment["LD_LIBRARY_PATH"] = str(home / "libraries" / "lib")
    return home / "chromium", environment


def _unpacked(package: Path) -> Path:
    """The folder of the unpacked browser, 200 MB, made once."""
    home = package.with_name(f"{package.name}-unpacked")
    with package.with_name(f"{package.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            draft = package.with_name(f"{package.name}-draft")
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            told = subprocess.run(
                [_node(), "server.mjs"], cwd=package, env={**os.environ, "TMPDIR": str(draft)}, capture_output=True,
                timeout=_UNPACK_S, check=False,
            )  # fmt: skip
            if told.returncode != 0:
                raise RuntimeError(f"the browser for the tests cannot be unpacked: {told.stderr.decode()}")
            assert Path(json.loads(told.stdout)["browser"]).parent == draft
            draft.rename(home)
    return home
