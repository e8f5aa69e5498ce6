"""Known weaknesses of the packages in this environment, as PyPI knows them; what `make check` asks once a day.

    python -m tests.support.audit [--memo FILE]

Exit code 1 where a package that rootdx itself needs has a known weakness; one of a tool for developers is told and no
more. Without an answer from the service (a plant, a mirror without it) it says so, and how many packages were not
looked at: that is no result, and no failure either.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LIFE_S = 24 * 3600
PATIENCE_S = 300


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    looked_at: int
    not_looked_at: int
    ours: tuple[str, ...]
    developers: tuple[str, ...]


def needed(distribution: str) -> set[str]:
    """Names of all that a distribution needs without its extras, itself left out."""
    found: set[tuple[str, str]] = set()
    waiting = [(distribution, "")]
    while waiting:
        name, extra = waiting.pop()
        try:
            wanted = metadata.requires(name) or ()
        except metadata.PackageNotFoundError:  # for another platform
            continue
        for one in map(Requirement, wanted):
            if one.marker is not None and not one.marker.evaluate({"extra": extra}):
                continue
            new = {(canonicalize_name(one.name), also) for also in ("", *one.extras)} - found
            found |= new
            waiting.extend(new)
    return {name for name, _ in found}


def judged(report: Mapping[str, Any], ours: Iterable[str]) -> Outcome:
    """What a report of pip-audit says, in lines of `package version: weakness, mended in`."""
    own = set(ours)
    told: dict[bool, list[str]] = {True: [], False: []}
    skipped = 0
    for package in report["dependencies"]:
        skipped += "skip_reason" in package
        for weakness in package.get("vulns", ()):
            mended = ", ".join(weakness["fix_versions"]) or "nothing yet"
            line = f"{package['name']} {package['version']}: {weakness['id']}, mended in {mended}"
            told[canonicalize_name(package["name"]) in own].append(line)
    looked_at = len(report["dependencies"]) - skipped
    return Outcome(looked_at, skipped, tuple(told[True]), tuple(told[False]))


def asked() -> dict[str, Any] | None:
    """The report on this environment; None where nobody could be asked."""
    command = [sys.executable, "-m", "pip_audit", "--progress-spinner", "off", "--format", "json", "--skip-editable"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        report: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return None
    return report


def _installed() -> str:
    versions = sorted(f"{one.metadata['Name']}=={one.version}" for one in metadata.distributions())
    return hashlib.sha256("\n".join(versions).encode()).hexdigest()


def _remembered(memo: Path | None, installed: str) -> bool:
    """Whether the same packages were found clean within a day."""
    try:
        said = json.loads(memo.read_text()) if memo else {}
    except (OSError, ValueError):
        return False
    return said.get("installed") == installed and time.time() - said.get("at_s", 0) < LIFE_S


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--memo", type=Path, help="remembers a good result for a day")
    memo: Path | None = parser.parse_args().memo
    installed = _installed()
    if _remembered(memo, installed):
        return 0
    report = asked()
    if report is None:
        print("dependency audit: nobody to ask, no package was looked at")
        return 0
    outcome = judged(report, needed("rootdx"))
    for line in outcome.ours:
        print(f"weakness: {line}")
    for line in outcome.developers:
        print(f"weakness, of a tool for developers: {line}")
    print(f"dependency audit: {outcome.looked_at} packages looked at, {outcome.not_looked_at} unknown to who was asked")
    if memo and not outcome.ours:
        memo.parent.mkdir(parents=True, exist_ok=True)
        memo.write_text(json.dumps({"installed": installed, "at_s": time.time()}))
    return 1 if outcome.ours else 0


if __name__ == "__main__":
    sys.exit(main())
