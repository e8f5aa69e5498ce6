"""A TCP link between a client and a server that a test can spoil and mend.

Invariants:
    * The port is the same for the life of the proxy, held even while it refuses: a client comes back to where it was.
    * Bytes arrive in order and unchanged, or the connection is reset; none is ever left out.
    * What `refuse`, `stall`, `delay` and `throttle` set adds up, acts on open connections too, and lasts until `heal`.
    * A direction holds at most 16 pieces of 64 KiB: a slow reader slows the writer.
"""

import asyncio
import socket
import struct
from types import TracebackType
from typing import Self

_PIECE_BYTES = 64 * 1024
_PIECES = 16
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER for zero seconds


class Proxy:
    """A port in front of a server. Constructing it opens nothing; `target` may be changed between two connections."""

    def __init__(self, target_host: str, target_port: int) -> None:
        self.target = (target_host, target_port)
        self.host = "127.0.0.1"
        self.port = 0
        self._holder: socket.socket | None = None
        self._acceptor: asyncio.Task[None] | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._moves = asyncio.Event()
        self._moves.set()
        self._delay_s = 0.0
        self._bytes_per_s = float("inf")

    async def __aenter__(self) -> Self:
        self._holder = self._bound(0)
        self.port = self._holder.getsockname()[1]
        self.heal()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ending = [*self._links, *([self._acceptor] if self._acceptor else [])]
        self.refuse()
        await asyncio.gather(*ending, return_exceptions=True)
        if self._holder is not None:
            self._holder.close()

    @property
    def links(self) -> int:
        """How many connections are open through the proxy."""
        return len(self._links)

    def cut(self) -> None:
        """Reset every open connection, both ends. New ones are accepted at once."""
        for link in self._links:
            link.cancel()

    def refuse(self) -> None:
        """Reset every open connection and refuse new ones, as a host does whose service is down."""
        if self._acceptor is not None:
            self._acceptor.cancel()
            self._acceptor = None
        self.cut()

    def stall(self) -> None:
        """Half-open: connections stay and new ones are accepted, but no byte moves and nobody learns of an end."""
        self._moves.clear()

    def delay(self, seconds: float) -> None:
        """Hold every piece this long, in each direction; pieces overlap on the way, as on a long line."""
        self._delay_s = seconds

    def throttle(self, bytes_per_s: float) -> None:
        """Let so many bytes a second pass, for each connection and direction by itself."""
        self._bytes_per_s = bytes_per_s

    def heal(self) -> None:
        """Undo all of it. What a stall held back flows on, in order."""
        self._delay_s, self._bytes_per_s = 0.0, float("inf")
        self._moves.set()
        if self._acceptor is None:
            listener = self._bound(self.port)
            listener.listen(128)
            self._acceptor = asyncio.create_task(self._accept(listener), name=f"proxy {self.port} accepts")

    def _bound(self, port: int) -> socket.socket:
        # Two sockets share the port: the holder never listens, so while it is alone the system itself refuses.
        bound = socket.socket()
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((self.host, port))
        return bound

    async def _accept(self, listener: socket.socket) -> None:
        with listener:
            while True:
                client, _ = await asyncio.get_running_loop().sock_accept(listener)
                link = asyncio.create_task(self._link(client), name=f"proxy {self.port} link")
                self._links.add(link)
                link.add_done_callback(self._links.discard)

    async def _link(self, client: socket.socket) -> None:
        server = socket.socket()
        server.setblocking(False)
        with client, server:
            try:
                await asyncio.get_running_loop().sock_connect(server, self.target)
                async with asyncio.TaskGroup() as flows:
                    for source, sink in ((client, server), (server, client)):
                        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_PIECES)
                        flows.create_task(self._read(source, pieces))
                        flows.create_task(self._write(sink, pieces))
            except (OSError, ExceptionGroup):
                _reset(client, server)
            except asyncio.CancelledError:
                _reset(client, server)
                raise

    async def _read(self, source: socket.socket, pieces: asyncio.Queue[tuple[float, bytes]]) -> None:
        loop = asyncio.get_running_loop()
        piece = b"begin"
        while piece:
            piece = await loop.sock_recv(source, _PIECE_BYTES)
            await pieces.put((loop.time() + self._delay_s, piece))

    async def _write(self, sink: socket.socket, pieces: asyncio.Queue[tuple[float, bytes]]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, piece = await pieces.get()
            await asyncio.sleep(due - loop.time())
            await self._moves.wait()
            if not piece:
                sink.shutdown(socket.SHUT_WR)
                return
            for part in self._parts(piece):
                await asyncio.sleep(len(part) / self._bytes_per_s)
                await self._moves.wait()
                await loop.sock_sendall(sink, part)

    def _parts(self, piece: bytes) -> list[bytes]:
        size = int(min(_PIECE_BYTES, max(1.0, self._bytes_per_s / 20)))
        return [piece[start : start + size] for start in range(0, len(piece), size)]


def _reset(*ends: socket.socket) -> None:
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
