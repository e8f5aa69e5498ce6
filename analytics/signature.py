"""Which known failure a move of the variables resembles."""

from collections.abc import Sequence
from typing import Any

from analytics.explanation import Move


def resembling(kind: str, moved: Sequence[Move]) -> list[dict[str, Any]]:
    """Failures of a process, the likeliest first: `failure` and `likeness`, 0..1; none when nothing is alike."""
    del kind, moved
    return []
