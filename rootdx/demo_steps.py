"""The steps of the start of a demo, as people see them."""

import contextlib
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from rootdx.texts import say


class Steps:
    """The lines of the start: what is being done, and how long it took."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    @contextlib.contextmanager
    def step(self, key: str) -> Any:
        """One of them, for as long as it is open; its text is `key`."""
        task = self._progress.add_task(say(key), total=1)
        yield
        self._progress.update(task, completed=1)


@contextlib.contextmanager
def shown_steps(console: Console) -> Any:
    """The lines, for as long as they are open."""
    columns = (SpinnerColumn(finished_text="[green]✔[/]"), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        yield Steps(progress)
