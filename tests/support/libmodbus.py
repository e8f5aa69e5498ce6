"""A Modbus TCP server of libmodbus, built from libmodbus-server/server.c where gcc and the library are installed."""

import asyncio
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Self

_SOURCE = Path(__file__).parent / "libmodbus-server" / "server.c"
_PATIENCE_S = 20.0


@cache
def flags() -> tuple[str, ...] | None:
    """What gcc needs to find the library; None where there is no gcc or no libmodbus."""
    if shutil.which("gcc") is None or shutil.which("pkg-config") is None:
        return None
    asked = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "libmodbus"], capture_output=True, text=True, check=False
    )
    return None if asked.returncode else tuple(asked.stdout.split())


def built(folder: Path) -> Path:
    """The server as a program."""
    program = folder / "libmodbus-server"
    command = ["gcc", "-Wall", "-Wno-overflow", "-Werror", "-o", str(program), str(_SOURCE), *(flags() or ())]
    subprocess.run(command, check=True, timeout=60)
    return program


class LibmodbusServer:
    """Entering starts it and waits until it listens; leaving ends it."""

    def __init__(self, program: Path, port: int) -> None:
        self._program, self.port = program, port

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            str(self._program), str(self.port), stdin=pipe, stdout=pipe
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(_PATIENCE_S):
            said = await self._process.stdout.readline()
        assert said == b"ready\n", "the libmodbus server did not start"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()
