"""The file that `learn` writes and detectors read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from analytics.detector import Arrays


@dataclass(frozen=True, slots=True)
class Baseline:
    """What was learned, by group."""

    groups: Mapping[str, Arrays]


def read_baseline(file: Path) -> Baseline:
    """Reads a baseline."""
    raise NotImplementedError(str(file))
