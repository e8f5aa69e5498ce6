"""A Sparkplug B edge node that shares no code with ours: the npm package sparkplug-client, on strings."""

import asyncio
import json
from pathlib import Path
from typing import Any, Self

from tests.support.services import _installed, _node

_HERE = Path(__file__).parent / "edge-node"
_PATIENCE_S = 20.0
GROUP, EDGE = "plant", "edge1"


class EdgeNode:
    """Entering starts it and waits until it is connected and wants to be born; leaving ends it."""

    def __init__(self, port: int, group: str = GROUP, edge: str = EDGE) -> None:
        self._config = {
            "serverUrl": f"mqtt://127.0.0.1:{port}",
            "username": None,  # a broker that lets everybody in
            "password": None,
            "groupId": group,
            "edgeNode": edge,
            "clientId": f"edge-{group}-{edge}",
            "version": "spBv1.0",
            "publishDeath": True,
        }

    async def __aenter__(self) -> Self:
        folder = await asyncio.to_thread(_installed, _HERE)
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            _node(), "server.mjs", json.dumps(self._config), cwd=folder, stdin=pipe, stdout=pipe
        )
        await self.heard("birth")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.kill()
        await self._process.wait()

    def kill(self) -> None:
        """No goodbye: the broker says its will."""
        if self._process.returncode is None:
            self._process.kill()

    async def do(self, method: str, *arguments: Any) -> None:
        """Calls a method of sparkplug-client, returns when it has returned."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([method, *arguments]).encode() + b"\n")
        await self._process.stdin.drain()
        await self.heard("done")

    async def heard(self, what: str) -> list[Any]:
        """What it says next of this kind."""
        assert self._process.stdout is not None
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                line = await self._process.stdout.readline()
                assert line, "the edge node has ended"
                said: list[Any] = json.loads(line)
                if said[0] == what:
                    return said[1:]
