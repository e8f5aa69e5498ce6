"""Every sample in a page is what the program takes, and shows every key with its default."""

import base64
import re
import tomllib
from pathlib import Path

import pytest

from collectors.protocols import MachineFile
from pipeline import wire
from pipeline.model import Batch
from pipeline.plant import Channel, Plant, Tag, WaveformEntry
from pipeline.settings import Settings
from tests.support.spine import T0_NS

ROOT = Path(__file__).resolve().parents[2]
MODULES = (
    "pipeline/wire", "pipeline/spool", "pipeline/ledger", "pipeline/writer", "pipeline/forwarder", "pipeline/plant",
    "pipeline/settings", "rootdx/quarantine", "rootdx/doctor", "rootdx/embedded", "rootdx/notify",
)  # fmt: skip


def samples(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("module", MODULES)
def test_module_has_its_page_beside_it(module: str) -> None:
    assert (ROOT / f"{module}.py").exists()
    text = (ROOT / f"{module}.md").read_text(encoding="utf-8")
    assert text.lower().startswith(f"# {module.rpartition('/')[2]}")
    assert max(map(len, text.splitlines())) < 400


def keys(table: dict[str, object], path: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in table.items():
        place = f"{path}{name}"
        found.update(keys(value, f"{place}.") if isinstance(value, dict) else {place: value})
    return found


def test_settings_page_shows_every_key_with_its_default() -> None:
    (sample,) = samples("pipeline/settings.md", "toml")
    assert Settings.model_validate(tomllib.loads(sample)) == Settings()
    shown = keys(tomllib.loads(re.sub(r"^# (\w+ = .*)$", r"\1", sample, flags=re.MULTILINE)))
    known = keys(Settings().model_dump(mode="json"))
    assert shown.keys() == known.keys()
    assert {name for name in known if known[name] is None} == {
        "bus.user", "bus.password_file", "bus.ca_file", "bus.certificate", "bus.key", "store.password_file",
        "board.certificate", "board.key", "notify.quiet", "metrics.certificate", "metrics.key", "metrics.ca_file",
        "metrics.crl_file", "seal.signers", "store.ca_file", "store.crl_file",
        "notify.smtp.user", "notify.smtp.password_file",
    }  # fmt: skip
    assert all(shown[name] == value for name, value in known.items() if value is not None)


def test_the_board_page_is_what_the_program_takes() -> None:
    (sample,) = samples("rootdx/board/board.md", "toml")
    board = Settings.model_validate(tomllib.loads(sample)).board
    assert board.sign_in
    assert not board.is_local


def test_the_notify_page_is_what_the_program_takes() -> None:
    (sample,) = samples("rootdx/notify.md", "toml")
    made = Settings.model_validate(tomllib.loads(sample)).notify
    assert [step.after_min for step in made.step] == [0, 15]
    assert made.smtp.security == "starttls"


@pytest.mark.parametrize("page", ["pipeline/spool.md", "pipeline/forwarder.md", "pipeline/writer.md"])
def test_settings_in_other_pages_are_the_defaults(page: str) -> None:
    for sample in samples(page, "toml"):
        given, known = keys(tomllib.loads(sample)), keys(Settings().model_dump(mode="json"))
        Settings.model_validate(tomllib.loads(sample))
        assert {name: known[name] for name in given if not name.endswith("password_file")} == {
            name: value for name, value in given.items() if not name.endswith("password_file")
        }


def test_plant_page_shows_every_key() -> None:
    plant, machine = samples("pipeline/plant.md", "toml")
    assert tomllib.loads(plant).keys() == Plant.model_fields.keys()
    Plant.model_validate(tomllib.loads(plant))
    data = tomllib.loads(machine)
    assert data.keys() == MachineFile.model_fields.keys()
    assert {key for tag in data["tag"] for key in tag} == Tag.model_fields.keys()  # no tag can have all of them
    assert data["waveform"][0].keys() == WaveformEntry.model_fields.keys()
    assert data["waveform"][0]["channel"][0].keys() == Channel.model_fields.keys()
    MachineFile.model_validate(data)


def test_frame_in_the_page_is_what_it_says() -> None:
    (sample,) = samples("pipeline/wire.md", "base64")
    (held,) = wire.frames(base64.b64decode(sample))
    assert held.source == "gw-1"
    (body,) = wire.record(held).bodies
    assert body == Batch.of("acme/ansan1/casting/line1/dc1", ("a",), T0_NS, 0, [1.5])
