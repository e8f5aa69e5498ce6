"""The bounded place between whoever hears a device and the gateway that makes it durable.

* Nothing is dropped here: a full buffer says so beforehand, and the one who fills it decides.
* What was put in before the end comes out before the error that ended it.
"""

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class Buffer(Generic[T]):
    """A queue that is emptied as a whole, by one who takes.

    Args:
        limit: weight from which on it counts as full; one item more than that always fits.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: list[T] = []
        self._weight = 0
        self._taker: asyncio.Future[None] | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._end: BaseException | None = None
        self._patient = False
        """Whether the taker comes only when there is much."""

    @property
    def full(self) -> bool:
        """Whether the next item had better wait."""
        return self._weight >= self._limit

    def put(self, item: T, weight: int = 1) -> None:
        """Appends at once."""
        self._items.append(item)
        self.grow(weight)

    def grow(self, weight: int) -> None:
        """What was put in weighs so much more."""
        self._weight += weight
        self._wake()
        if self.full:
            self._room.clear()

    async def room(self) -> None:
        """Returns when it is not full. Cancelling is safe."""
        await self._room.wait()

    async def filled(self, within_s: float) -> None:
        """Returns when it is full or has ended, or after `within_s` at the latest. Cancelling is safe."""
        if within_s > 0 and not self.full and self._end is None:
            self._taker = asyncio.get_running_loop().create_future()
            self._patient = True
            try:
                async with asyncio.timeout(within_s):
                    await self._taker
            except TimeoutError:
                return
            finally:
                self._taker, self._patient = None, False

    def end(self, error: BaseException) -> None:
        """Nothing more will come; `take` raises `error` once everything is taken. The first end counts."""
        self._end = self._end or error
        self._wake()

    async def take(self) -> list[T]:
        """Everything that is there, at least one item. Cancelling is safe: nothing has been taken then.

        Raises:
            BaseException: what `end` was given, when nothing is left.
        """
        while not self._items:
            if self._end is not None:
                raise self._end
            self._taker = asyncio.get_running_loop().create_future()
            try:
                await self._taker
            finally:
                self._taker = None
        taken, self._items, self._weight = self._items, [], 0
        self._room.set()
        return taken

    def _wake(self) -> None:
        if self._patient and not self.full and self._end is None:
            return
        if self._taker is not None and not self._taker.done():
            self._taker.set_result(None)
