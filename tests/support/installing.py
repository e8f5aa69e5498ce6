"""A bundle of this tree, and a computer below a folder on which its install.sh runs: no root, no wheels, no systemd.

* Real are install.sh, the files of deploy/, the sums, and the order in which things are done.
* Played are `python -m venv` with pip (the program is one that the test names; tests/deploy/test_bundle.py installs the
  wheels), and systemctl, which writes down what it is told and can do something when services are restarted.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.report import ROOT

THIS_TREE: Final = f'PYTHONPATH="{ROOT}" exec "{sys.executable}" -m rootdx "$@"'
RESTART: Final = "systemctl try-restart rootdx-*.service"
_PYTHON: Final = """#!/bin/sh
[ "$1" = -m ] || exec "{python}" "$@"
mkdir -p "$4/bin"
printf '#!/bin/sh\\nexit 0\\n' > "$4/bin/python"
cp "{place}/program" "$4/bin/rootdx"
chmod +x "$4/bin/python" "$4/bin/rootdx"
"""
_SYSTEMCTL: Final = """#!/bin/sh
case "$1" in
is-enabled) exec grep -qx "$3" "{place}/enabled" ;;
esac
printf 'systemctl %s\\n' "$*" >> "{place}/said"
[ "$*" != "try-restart rootdx-*.service" ] || exec sh -e "{place}/at-restart"
"""


def make_bundle(out: Path, version: str = "9.9.0", remark: str = "") -> Path:
    """The folder that `make bundle` makes, with wheels that nobody opens; `remark` makes it another one."""
    shutil.copytree(ROOT / "deploy", out / "deploy", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "deploy" / "install.sh", out)
    (out / "wheels").mkdir()
    (out / "wheels" / "pip-0-py3-none-any.whl").write_text(remark)
    (out / "VERSION").write_text(f"{version}\n")
    (out / "PYTHON").write_text(f"{sys.version_info.major}.{sys.version_info.minor}\n")
    files = sorted(file for file in out.rglob("*") if file.is_file())
    sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(out)}\n" for file in files]
    (out / "SHA256SUMS").write_text("".join(sums))
    return out


@dataclass(frozen=True)
class Computer:
    """Below `root`; what install.sh runs and tells stands in `said`, in order."""

    place: Path

    @property
    def root(self) -> Path:
        """In place of /."""
        return self.place / "computer"

    @property
    def etc(self) -> Path:
        """Settings and secrets."""
        return self.root / "etc" / "rootdx"

    @property
    def program(self) -> Path:
        """What /opt/rootdx/bin leads to."""
        return (self.root / "opt" / "rootdx" / "bin").readlink()

    @classmethod
    def switched_on(cls, place: Path, program: str = "") -> "Computer":
        """With systemd, and no rootdx yet; `program` is what a shell does in place of rootdx."""
        made = cls(place)
        (made.root / "run" / "systemd" / "system").mkdir(parents=True)
        (place / "bin").mkdir()
        told = program or f'printf "rootdx %s\\n" "$*" >> "{place}/said"'
        (place / "program").write_text(f"#!/bin/sh\n{told}\n")
        for name, text in {"python": _PYTHON, "systemctl": _SYSTEMCTL}.items():
            (place / "bin" / name).write_text(text.format(place=place, python=sys.executable))
            (place / "bin" / name).chmod(0o755)
        for name in ("said", "enabled", "at-restart"):
            (place / name).touch()
        return made

    def has(self, *secrets: str) -> None:
        """Files of /etc/rootdx/secrets."""
        (self.etc / "secrets").mkdir(parents=True, exist_ok=True)
        for name in secrets:
            (self.etc / "secrets" / name).write_text("of the version before\n")

    def had(self, version: str) -> None:
        """A version that was installed before."""
        older = self.root / "opt" / "rootdx" / "releases" / version / "bin"
        older.mkdir(parents=True)
        (self.root / "opt" / "rootdx" / "bin").symlink_to(older)

    def install(self, bundle: Path) -> "subprocess.CompletedProcess[str]":
        """`sh install.sh`; `said` begins anew."""
        (self.place / "said").write_text("")
        path = f"{self.place / 'bin'}:{os.environ['PATH']}"
        environment = {
            **os.environ,
            "PATH": path,
            "DESTDIR": str(self.root),
            "PYTHON": str(self.place / "bin" / "python"),
        }
        command = ["sh", str(bundle / "install.sh")]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    def said(self) -> list[str]:
        """What install.sh ran, with places as on a real computer."""
        return (self.place / "said").read_text().replace(str(self.root), "").splitlines()
