"""A small disk of one's own, without being root: a tmpfs in a mount namespace, and a program that runs in there."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

PLACE = Path("/mnt")
"""Where the disk is, for the program that runs on it."""
_NO_DISK = 77
_ROOT = Path(__file__).resolve().parents[2]


def run_on_small_disk(size: str, module: str, *arguments: str) -> str:
    """What `python -m module` says in a namespace with a disk of `size` (e.g. `24m`) at PLACE; it must end well.

    Where the kernel refuses, the test fails if we are root and is expected to fail if we are not.
    """
    script = f'mount -t tmpfs -o size={size} tmpfs {PLACE} || exit {_NO_DISK}; exec "$@"'
    command = ["unshare", "-Urm", "sh", "-c", script, "sh", sys.executable, "-W", "error", "-m", module, *arguments]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode == _NO_DISK or "unshare" in done.stderr[:40]:
        reason = f"the kernel allows no mount in a namespace of one's own, so no disk can be full: {done.stderr}"
        if os.geteuid() == 0:
            pytest.fail(reason)
        pytest.xfail(reason)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fill(folder: Path) -> Path:
    """Takes all room on the disk of a folder; removing the returned file gives it back."""
    filler = folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"\xaa" * 4096)
    return filler
