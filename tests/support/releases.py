"""What a release left behind, in tests/golden/releases/<version>; every later version must be able to live with it.

python -m tests.support.releases 0.2.0      when 0.2.0 is released; a folder that is there is never written again

program.zip        its package `pipeline`, that older writers and gateways of a drill really run on
migrations.json    by engine the names and checksums of its schema files
messages/*.bin     records as they crossed the bus; expected.json beside them what they say
spool/             a spool folder with those records, closed cleanly
settings/ plant/   settings and machine files; expected.json what their keys mean
announced.json     topics and announcements of the bus
"""

import asyncio
import json
import shutil
import sys
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from collectors.protocols import MachineFile
from pipeline import wire
from pipeline.migrate import Migration, migrations
from pipeline.model import Batch, Body, Phase, Quality, Severity, rows_of
from pipeline.plant import load_folder
from pipeline.settings import SpoolSettings, read_settings
from pipeline.spool import Spool
from pipeline.topics import Committed, committed_topic, record_topic
from tests.support.report import ROOT
from tests.support.spine import T0_NS, batch, event, tally, waveform

FOLDER: Final = ROOT / "tests" / "golden" / "releases"
GATEWAY: Final = "gw-released"
EPOCH: Final = uuid.UUID("0f6a1c52-7d53-4a45-9c5d-5f0c7f0f4b11")
_ZIP_TIME: Final = (2026, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Release:
    """One folder."""

    folder: Path

    @property
    def version(self) -> str:
        """As in its name."""
        return self.folder.name

    @property
    def program(self) -> Path:
        """Its package `pipeline`."""
        return self.folder / "program.zip"

    def json(self, name: str) -> Any:
        """A file of expected values."""
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    def messages(self) -> dict[str, bytes]:
        """By name."""
        return {file.stem: file.read_bytes() for file in sorted((self.folder / "messages").glob("*.bin"))}

    def schema(self, engine: str) -> tuple[list[Migration], list[Migration]]:
        """Today's files: those the release had, and those newer than it."""
        had = {name for name, _ in self.json("migrations.json")[engine]}
        known = migrations(engine)
        return [one for one in known if one.name in had], [one for one in known if one.name not in had]


def releases() -> list[Release]:
    """All of them, oldest first."""
    found = [Release(place) for place in FOLDER.iterdir() if (place / "migrations.json").exists()]
    return sorted(found, key=lambda one: tuple(int(part) for part in one.version.split(".")))


def as_json(body: Body) -> dict[str, Any]:
    """A body as plain values, NaN as null."""
    fields = {name: getattr(body, name) for name in body.__dataclass_fields__}
    return {"is": type(body).__name__} | {name: _plain(value) for name, value in fields.items()}


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return None if isinstance(value, float) and value != value else value  # noqa: PLR0124  NaN differs from itself


def said(message: bytes) -> list[dict[str, Any]]:
    """What every frame of a message says, header and bodies."""
    found = []
    for one in wire.frames(message):
        head = {name: getattr(one, name) for name in ("source", "seq", "previous", "gateway_ns", "rows")}
        told = [as_json(body) for body in wire.unpack(one.payload)]
        found.append({"epoch": str(one.epoch), **head, "bodies": told})
    return found


def meaning(folder: Path) -> dict[str, Any]:
    """What the keys in settings and machine files mean, places relative to `folder`; what no file says is left out."""
    found: dict[str, BaseModel] = {
        file.name: read_settings(file) for file in sorted((folder / "settings").glob("*.toml"))
    }
    plant, machines = load_folder(folder / "plant", MachineFile)
    found |= {"plant": plant} | {f"machine {path}": machine for path, machine in machines.items()}
    plain = {name: one.model_dump(mode="json", exclude_unset=True) for name, one in found.items()}
    told = json.dumps(plain, ensure_ascii=False).replace(str(folder), "")
    meant: dict[str, Any] = json.loads(told)
    return meant


# Making one


def bodies() -> dict[str, list[Body]]:
    """One message each: every kind of body, and the odd things that each may hold."""
    bad = Batch.of(
        "acme/ansan1/casting/line1/dc1", ("a", "b"), T0_NS, [0, 1], [1.5, float("nan")], [0, int(Quality.BAD)]
    )
    raised = event(
        "온도 초과", "test.alarm", key="k", phase=Phase.RAISED, severity=Severity.CRITICAL, data={"limit": 7.5}
    )
    return {
        "batch": [batch(0, 20), bad],
        "tally": [tally(60, late=2, spool_full=3)],
        "event": [event(), raised],
        "waveform": [waveform(n=20)],
        "mixed": [batch(20, 5), event("끝", "test.end"), tally(60, minute_ns=T0_NS + 60_000_000_000)],
    }


async def make(folder: Path) -> None:
    """Writes the folder of the program as it is now."""
    folder.mkdir(parents=True)
    _make_program(folder / "program.zip")
    known = {name: [[one.name, one.checksum] for one in migrations(name)] for name in ("plain", "timescale")}
    _write(folder / "migrations.json", known)
    (folder / "messages").mkdir()
    expected = {}
    for seq, (name, told) in enumerate(bodies().items(), 1):
        held = wire.Frame(GATEWAY, EPOCH, seq, seq - 1, T0_NS + seq, rows_of(told), wire.pack(told))
        (folder / "messages" / f"{name}.bin").write_bytes(wire.frame(held))
        expected[name] = said(wire.frame(held))
    _write(folder / "messages" / "expected.json", expected)
    await _make_spool(folder / "spool")
    shutil.copytree(ROOT / "deploy" / "config", folder / "settings")
    shutil.copytree(ROOT / "deploy" / "plant", folder / "plant", ignore=shutil.ignore_patterns("more"))
    _write(folder / "expected.json", meaning(folder))
    announced = [Committed(EPOCH, 5).payload().decode(), Committed(EPOCH, 5, hole=True).payload().decode()]
    _write(
        folder / "announced.json",
        {"record": record_topic(GATEWAY), "committed": committed_topic(GATEWAY), "payloads": announced},
    )


def _write(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _sources() -> Iterator[Path]:
    package = ROOT / "pipeline"
    yield from sorted(file for file in package.rglob("*") if file.suffix in {".py", ".sql"})


def _make_program(file: Path) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for source in _sources():
            entry = zipfile.ZipInfo(source.relative_to(ROOT).as_posix(), _ZIP_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, source.read_bytes())


async def _make_spool(place: Path) -> None:
    async with Spool(SpoolSettings(folder=place, group_s=0.002), GATEWAY, lambda: T0_NS) as spool:
        for told in bodies().values():
            await spool.append(told)
    for name in ("lock", "reserve.bin"):
        (place / name).unlink(missing_ok=True)


if __name__ == "__main__":
    asyncio.run(make(FOLDER / sys.argv[1]))
