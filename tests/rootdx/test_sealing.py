"""Seals on a plant folder: what a gateway takes up, what it refuses, and what the history shows afterwards.

Runs on files and a spool in memory; the history on a real PostgreSQL without TimescaleDB.
"""

import csv
import io
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from analytics.machines import load_machines
from collectors.plant_files import KIND, PlantFiles
from collectors.protocols import MachineFile
from pipeline import seal as seals
from pipeline.errors import ConfigError
from pipeline.model import Event
from pipeline.store import opened
from rootdx import sealing
from rootdx.cli import app
from tests.collectors.devices import MemorySpool
from tests.support import services
from tests.support.front_door import Shop
from tests.support.plant_rows import Feed, store_settings

PLANT = Path(__file__).resolve().parents[2] / "deploy" / "plant"
NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
SECOND = 1_000_000_000
START_S = 1_800_000_000
"""2027-01-15 08:00 UTC."""


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    folder = tmp_path / "plant"
    folder.mkdir()
    for file in PLANT.glob("*.toml"):
        shutil.copy(file, folder)
    return folder


@pytest.fixture
def signers(tmp_path: Path) -> Path:
    """Kim and Lee may seal; both keys lie in the folder that holds the public ones as well."""
    for name in ("kim", "lee"):
        sealing.make_key(tmp_path / "keys", name, f"{name}'s own")
    folder = tmp_path / "signers"
    folder.mkdir()
    for file in (tmp_path / "keys").glob("*.pub"):
        shutil.copy(file, folder)
    return folder


def put(plant: Path, who: str = "kim", note: str = "as commissioned") -> seals.Seal:
    return sealing.put_seal(plant, plant.parent / "keys" / f"{who}.key", f"{who}'s own", note, NOW)


def files_of(plant: Path, signers: Path | None, spool: Any) -> PlantFiles:
    return PlantFiles(plant, signers, spool, "gw-1")


def edit(plant: Path, name: str = "dc1.toml") -> None:
    file = plant / name
    file.write_text(file.read_text() + "\n# another byte\n")


def test_a_sealed_folder_is_taken_up_by_gateway_and_analytics(plant: Path, signers: Path) -> None:
    put(plant)
    _, machines = files_of(plant, signers, MemorySpool()).load(MachineFile)
    assert len(machines) == 4
    assert len(load_machines(plant, signers)[1]) >= 1


def swap_signer(plant: Path) -> None:
    said = json.loads((plant / seals.FILE).read_text())
    (plant / seals.FILE).write_text(json.dumps(said | {"signer": "lee"}))


def change_note(plant: Path) -> None:
    said = json.loads((plant / seals.FILE).read_text())
    (plant / seals.FILE).write_text(json.dumps(said | {"note": "nothing was changed"}))


def seal_by_a_stranger(plant: Path) -> None:
    sealing.make_key(plant.parent / "keys", "mallory", "x")
    sealing.put_seal(plant, plant.parent / "keys" / "mallory.key", "x", "harmless", NOW)


WRONG: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no seal": (lambda plant: (plant / seals.FILE).unlink(), "not there"),
    "a changed file": (edit, "dc1.toml: not as 'kim' sealed it"),
    "one file more": (lambda plant: shutil.copy(plant / "dc1.toml", plant / "x.toml"), "x.toml: not as"),
    "one file less": (lambda plant: (plant / "ni1.toml").unlink(), "ni1.toml: not as"),
    "another name on it": (swap_signer, "not that of 'lee'"),
    "another note": (change_note, "not that of 'kim'"),
    "a stranger's": (seal_by_a_stranger, "'mallory', who may not; those who may: kim, lee"),
    "no JSON": (lambda plant: (plant / seals.FILE).write_text("{"), "cannot be read"),
    "no seal in it": (lambda plant: (plant / seals.FILE).write_text('{"number": 1}'), "no seal"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_not_as_it_was_sealed_is_refused_with_a_remedy(plant: Path, signers: Path, what: str) -> None:
    spoil, said = WRONG[what]
    put(plant)
    spoil(plant)
    gateway = files_of(plant, signers, MemorySpool())
    for load in (lambda: gateway.load(MachineFile), lambda: load_machines(plant, signers)):
        with pytest.raises(ConfigError) as error:
            load()
        assert said in str(error.value)
        assert "rootdx config seal" in str(error.value)


async def take_up(plant: Path, signers: Path | None, spool: MemorySpool, at_s: int) -> None:
    files = files_of(plant, signers, spool)
    files.load(MachineFile)
    await files.tell(at_s * SECOND)


async def test_an_older_seal_that_is_put_back_is_refused_also_after_a_restart(plant: Path, signers: Path) -> None:
    spool = MemorySpool()
    put(plant)
    old = {file.name: file.read_bytes() for file in plant.iterdir()}
    edit(plant)
    put(plant, "lee", "zone 3")
    await take_up(plant, signers, spool, 1)
    for name, content in old.items():
        (plant / name).write_bytes(content)
    with pytest.raises(ConfigError, match="before the seal of 2026-11-22T09:00:01"):
        await take_up(plant, signers, spool.after_a_kill(), 2)
    sealing.put_seal(plant, plant.parent / "keys" / "kim.key", "kim's own", "back", NOW + timedelta(days=1))
    await take_up(plant, signers, spool.after_a_kill(), 3)


async def test_each_change_is_told_once_with_what_it_changed(plant: Path) -> None:
    spool = MemorySpool()
    for at_s in (1, 2):
        await take_up(plant, None, spool.after_a_kill() if at_s == 2 else spool, at_s)
    edit(plant)
    (plant / "ni1.toml").unlink()
    await take_up(plant, None, spool, 3)
    first, second = (event.data for event in spool.events(KIND))
    assert first["added"] == sorted(file.name for file in PLANT.glob("*.toml"))
    assert (second["added"], second["changed"], second["removed"]) == ([], ["dc1.toml"], ["ni1.toml"])
    assert second["files"]["dc1.toml"] != first["files"]["dc1.toml"]


async def test_a_full_spool_keeps_no_change_from_being_told_later(plant: Path) -> None:
    spool = MemorySpool()
    spool.full = True
    await take_up(plant, None, spool, 1)
    spool.full = False
    await take_up(plant, None, spool, 2)
    assert [event.ts_ns for event in spool.events(KIND)] == [2 * SECOND]


def run(*words: str) -> Any:
    return CliRunner().invoke(app, [*words], env={"ROOTDX_SEAL_PASSWORD": "kim's own", "LANG": "en_US.UTF-8"})


def test_a_person_seals_and_checks_by_command(plant: Path, signers: Path) -> None:
    key = str(plant.parent / "keys" / "kim.key")
    made = run("config", "seal", "--plant", str(plant), "--key", key, "--note", "as commissioned")
    assert made.exit_code == 0, made.output
    assert "dc1.toml" in made.output
    edit(plant)
    again = run("config", "seal", "--plant", str(plant), "--key", key, "--note", "zone 3")
    assert [line.split()[-1] for line in again.output.splitlines() if line.endswith(".toml")] == ["dc1.toml"]
    good = run("config", "check", "--plant", str(plant), "--signers", str(signers))
    assert good.exit_code == 0
    assert "zone 3" in good.output
    edit(plant)
    refused = run("config", "check", "--plant", str(plant), "--signers", str(signers))
    assert isinstance(refused.exception, ConfigError)
    assert "not as 'kim' sealed it" in str(refused.exception)


@pytest.mark.parametrize(
    ("password", "note", "said"),
    [("wrong", "x", "wrong password"), ("kim's own", " ", "--note is empty")],
)
def test_nothing_is_sealed_without_password_and_reason(
    plant: Path, signers: Path, password: str, note: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        sealing.put_seal(plant, plant.parent / "keys" / "kim.key", password, note, NOW)
    assert not (plant / seals.FILE).exists()


def test_files_that_are_wrong_are_not_sealed(plant: Path, signers: Path) -> None:
    (plant / "dc1.toml").write_text("path = 1")
    with pytest.raises(ConfigError, match=r"dc1\.toml"):
        put(plant)


def test_a_private_key_is_locked_and_its_own(plant: Path, signers: Path) -> None:
    file = plant.parent / "keys" / "kim.key"
    assert "ENCRYPTED" in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    with pytest.raises(ConfigError, match="is there already"):
        sealing.make_key(plant.parent / "keys", "kim", "another")


@pytest.mark.plain
def test_the_history_says_whose_seal_was_true(plant: Path, signers: Path, own_shop: Shop) -> None:
    spool = MemorySpool()
    put(plant)
    services.run(take_up(plant, signers, spool, START_S))
    edit(plant)
    put(plant, "lee", "zone 3")
    services.run(take_up(plant, signers, spool, START_S + 100))
    edit(plant, "ni1.toml")
    services.run(take_up(plant, None, spool, START_S + 200))
    second = spool.events(KIND)[1]
    seal = second.data["seal"] | {"note": "nothing of importance"}
    forged = replace(second, ts_ns=second.ts_ns + 200 * SECOND, data={**second.data, "seal": seal})
    services.run(store(own_shop.dsn, [*spool.events(KIND), forged]))
    days = ("--from", "2027-01-15", "--to", "2027-01-17")
    words = ("config", "log", *days, "--signers", str(signers), "--format", "csv")
    shown = own_shop(*words)
    (signers / "lee.pub").unlink()
    without = own_shop(*words)
    assert [row["verdict"] for row in csv.DictReader(io.StringIO(shown.out))] == [
        "sealed", "sealed", "not sealed", "signature is false",
    ]  # fmt: skip
    assert [row["files"] for row in csv.DictReader(io.StringIO(shown.out))][1:3] == ["~dc1.toml", "~ni1.toml"]
    assert shown.code == 1
    assert [row["verdict"] for row in csv.DictReader(io.StringIO(without.out))][1] == "signer not trusted"


async def store(dsn: str, events: Sequence[Event]) -> None:
    async with opened(store_settings(dsn)) as open_store:
        await Feed(open_store, events[0].asset).take(*events)
