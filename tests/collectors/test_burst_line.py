"""From the file a machine drops to the array a data scientist reads, with a gateway that is killed on the way."""

import asyncio
import contextlib
import secrets
import signal
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import numpy as np
import psycopg

from pipeline import writer
from pipeline.bursts import described, waveforms
from pipeline.model import Waveform
from rootdx.embedded import Broker
from tests.support.spine import one, writer_settings

ASSET = "hansung/ansan1/casting/line1/dc1"
BEGAN = datetime(2026, 5, 28, 20, 26, 40, 123_456, UTC)
ROOT = Path(__file__).resolve().parents[2]
FILES = 40
MACHINE = """\
path = "casting/line1/dc1"
name = "1"
process = "casting"
tag = []

[source]
protocol = "files"
folder = "{folder}"
every_s = 0.05
settle_s = 0.05
after = "delete"

[[waveform]]
name = "shot.curve"
role = "shot.curve"

[[waveform.channel]]
name = "velocity"
unit = "m/s"

[[waveform.channel]]
name = "pressure"
unit = "MPa"
"""
SETTINGS = """\
[bus]
port = {port}

[gateway]
name = "{name}"

[gateway.spool]
folder = "spool"
group_s = 0.01

[gateway.forward]
patience_s = 0.5
"""
PROGRAM = (
    "import asyncio, pathlib, sys; from collectors import gateway; from pipeline.settings import read_settings; "
    "asyncio.run(gateway.run(read_settings(pathlib.Path(sys.argv[1]))))"
)


def curve(number: int) -> Waveform:
    value = np.random.default_rng(number).normal(0, 10, (1000, 2)).astype(np.float32)
    value[number, 1] = np.nan
    ts_ns = (BEGAN + timedelta(seconds=number) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
    return Waveform(ASSET, "shot.curve", ts_ns, 500_000, ("velocity", "pressure"), value)


def drop(folder: Path, number: int) -> None:
    lines = [
        f"{i * 0.0005:.4f},{velocity!s},{'' if np.isnan(pressure) else str(pressure)}"
        for i, (velocity, pressure) in enumerate(curve(number).value)
    ]
    hidden = folder / "hidden"
    hidden.write_text("\n".join(["time_s,velocity,pressure", *lines]), encoding="utf-8")
    hidden.rename(folder / f"shot.curve_{BEGAN + timedelta(seconds=number):%Y%m%dT%H%M%S.%f}Z.csv")


@contextlib.asynccontextmanager
async def gateway(file: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", PROGRAM, str(file), cwd=ROOT, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        _, said = await process.communicate()
        assert process.returncode == -signal.SIGKILL, said.decode()


async def test_every_dropped_file_is_one_array_however_often_the_gateway_is_killed(
    plain_dsn: str, broker: Broker, tmp_path: Path
) -> None:
    folder, plant = tmp_path / "shots", tmp_path / "plant"
    folder.mkdir()
    plant.mkdir()
    (plant / "plant.toml").write_text('enterprise = "hansung"\nsite = "ansan1"\n')
    (plant / "dc1.toml").write_text(MACHINE.format(folder=folder))
    settings = tmp_path / "rootdx.toml"
    settings.write_text(SETTINGS.format(port=broker.port, name=f"gw-{secrets.token_hex(3)}"))

    def stored() -> int:
        return int(one(plain_dsn, "SELECT count(*) FROM rootdx.waveform"))

    writing = asyncio.create_task(writer.run(writer_settings(plain_dsn, broker.port)))
    numbers = iter(range(FILES))
    for life in range(5):
        before = stored()
        async with gateway(settings):
            async with asyncio.timeout(30):
                while stored() == before and before < FILES:
                    for number in islice(numbers, 3):
                        drop(folder, number)
                    await asyncio.sleep(0.05)
                if life == 4:
                    while stored() < FILES or list(folder.iterdir()):
                        for number in numbers:
                            drop(folder, number)
                        await asyncio.sleep(0.05)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    async with await psycopg.AsyncConnection.connect(plain_dsn) as db:
        assert await waveforms(db, ASSET, 0, 1 << 62) == tuple(curve(number) for number in range(FILES))
        (said,) = await described(db, ASSET)
    assert (said.role, said.units) == ("shot.curve", ("m/s", "MPa"))
    assert one(plain_dsn, "SELECT count(*) FROM rootdx.quarantine") == 0
    assert one(plain_dsn, "SELECT count(*) FROM rootdx.event WHERE kind = 'waveform.refused'") == 0
