"""Modbus TCP servers that share no code with ours or each other: the npm packages modbus-serial and jsmodbus."""

import asyncio
import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from tests.support.services import _installed, _node

_HERE = Path(__file__).parent / "modbus-server"
_PATIENCE_S = 20.0
Kind = Literal["modbus-serial", "jsmodbus"]
KINDS: tuple[Kind, ...] = ("modbus-serial", "jsmodbus")


class ModbusServer:
    """Entering installs it once a machine, starts it and waits until it listens; leaving ends it.

    Args:
        kind: whose server.
        content: bytes of `holding`, `input` (big-endian words), `coil` and `discrete` (first bit lowest).
        listeners: ports it listens on, more than one only jsmodbus.
    """

    def __init__(self, kind: Kind, content: Mapping[str, bytes] | None = None, listeners: int = 1) -> None:
        self.kind, self._listeners, self.ports = kind, listeners, list[int]()
        held = content or {}
        tables = {name: held.get(name, bytes(500)) for name in ("holding", "input", "coil", "discrete")}
        self._content = json.dumps({name: base64.b64encode(data).decode() for name, data in tables.items()})

    async def __aenter__(self) -> Self:
        folder = await asyncio.to_thread(_installed, _HERE)
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            _node(), "server.mjs", self.kind, self._content, str(self._listeners), cwd=folder, stdin=pipe, stdout=pipe
        )
        self.ports = [int(port) for port in (await self._said("ready")).split()]
        return self

    @property
    def port(self) -> int:
        """The first."""
        return self.ports[0]

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def tell(self, line: str) -> None:
        """`refuse FIRST LAST CODE` or `slow MS`; modbus-serial only."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        await self._said("done")

    @property
    def pid(self) -> int:
        return self._process.pid

    async def _said(self, word: str) -> str:
        assert self._process.stdout is not None
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                line = (await self._process.stdout.readline()).decode()
                assert line, f"{self.kind} never said {word}"
                if line.startswith(word):
                    return line.removeprefix(word).strip()
