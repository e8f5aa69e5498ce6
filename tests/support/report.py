"""Results of bench and torture: one shape, printed and kept under build/."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Attributes:
        name: what was measured.
        value: the figure, in `unit`.
        unit: UCUM or a plain word.
        target: what we want.
        limit: what is physically or by definition the bound, measured in the same run where it can be.
        peer: what a user would pick instead, with its figure.
    """

    name: str
    value: float | None
    unit: str
    target: float | str | None
    limit: float | str | None
    peer: str | None


def write_report(name: str, rows: Sequence[Row], file: Path | None = None) -> Path:
    """Keeps the rows in `file`, build/<name>.json as a rule, and returns it."""
    file = file or _build_folder() / f"{name}.json"
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
    file.write_text(json.dumps({"machine": machine, "rows": [asdict(row) for row in rows]}, indent=1) + "\n")
    return file


def _build_folder() -> Path:
    folder = ROOT / "build"
    try:
        folder.mkdir(exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"rootdx-{os.getuid()}"  # per user
        folder.mkdir(exist_ok=True)
    return folder
