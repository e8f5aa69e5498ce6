"""Cancelling what does not always hear it.

`asyncio.wait_for` of Python 3.11 returns its result and forgets the cancellation when both come at once, and the
client libraries use it at every request. So whoever cancels asks until it is done, and whoever loops looks whether it
was asked.
"""

import asyncio
from typing import Any, Final

_PATIENCE_S: Final = 0.5


async def ended(task: "asyncio.Task[Any]", patience_s: float = _PATIENCE_S) -> None:
    """Cancels a task, again and again if need be, and returns when it is done; its outcome is nobody's business."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=patience_s)
    if not task.cancelled():
        task.exception()


def heed() -> None:
    """Raises the CancelledError that a library has swallowed."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
