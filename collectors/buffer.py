"""The bounded place between whoever hears a device and the gateway that makes it durable.

* Nothing is dropped here: a full buffer says so beforehand, and the one who fills it decides.
* What was put in before the end comes out before the error that ended it.
"""

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class Buffer(Generic[T]):
    """A queue that is emptied as a whole.

    Args:
        limit: weight from which on it counts as full; one item more than that always fits.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: list[T] = []
        self._weight = 0
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._end: BaseException | None = None

    @property
    def full(self) -> bool:
        """Whether the next item had better wait."""
        return self._weight >= self._limit

    def put(self, item: T, weight: int = 1) -> None:
        """Appends at once."""
        self._items.append(item)
        self._weight += weight
        self._filled.set()
        if self.full:
            self._room.clear()

    async def room(self) -> None:
        """Returns when it is not full. Cancelling is safe."""
        await self._room.wait()

    def end(self, error: BaseException) -> None:
        """Nothing more will come; `take` raises `error` once everything is taken. The first end counts."""
        self._end = self._end or error
        self._filled.set()

    async def take(self) -> list[T]:
        """Everything that is there, at least one item. Cancelling is safe: nothing has been taken then.

        Raises:
            BaseException: what `end` was given, when nothing is left.
        """
        await self._filled.wait()
        if not self._items and self._end is not None:
            raise self._end
        taken, self._items, self._weight = self._items, [], 0
        if self._end is None:
            self._filled.clear()
        self._room.set()
        return taken
