from pathlib import Path
from typing import Any

import pytest

from collectors.profiles import FOLDER, Profile, names
from collectors.protocols import MachineFile
from pipeline.plant import load

GOLDEN = Path(__file__).parents[1] / "golden" / "modbus"
CLASSES = {
    "temperature_controller",
    "temperature_program_controller",
    "rectifier",
    "power_meter",
    "inverter",
    "plc_block",
}
MACHINE: dict[str, Any] = {"path": "a/b/c", "name": "x", "process": "casting"}


def machine(profile: str, tags: list[dict[str, Any]], **source: Any) -> Any:
    said = {"protocol": "modbus", "host": "h", "profile": profile} | source
    return MachineFile.model_validate(MACHINE | {"source": said, "tag": tags})


@pytest.mark.parametrize("name", names())
def test_a_profile_says_where_it_is_from_and_all_its_tags_can_be_taken(name: str) -> None:
    profile = load(FOLDER / f"{name}.toml", Profile)
    assert "manual" in profile.source
    one = machine(name, [{"address": tag.name} for tag in profile.tag])
    assert one.tag == profile.tag
    assert one.source.max_registers == profile.max_registers
    assert one.source.order == profile.order


def test_there_is_a_profile_for_each_class_of_devices() -> None:
    assert set(names()) >= CLASSES


@pytest.mark.parametrize("name", sorted(set(names()) - CLASSES))
def test_a_profile_of_one_make_says_what_agreed_and_that_the_device_was_not_tried(name: str) -> None:
    source = load(FOLDER / f"{name}.toml", Profile).source
    assert "agree" in source
    assert "not tried on the device itself" in source.lower()
    assert "general knowledge" not in source


@pytest.mark.parametrize("name", sorted(set(names()) - CLASSES))
def test_a_profile_of_one_make_has_a_device_image_that_takes_every_tag(name: str) -> None:
    file = GOLDEN / f"profile_{name}" / "machine.toml"
    assert [tag.address for tag in load(file, MachineFile).tag] == [
        tag.address for tag in load(FOLDER / f"{name}.toml", Profile).tag
    ]


def test_what_the_file_says_itself_holds() -> None:
    one = machine("inverter", [{"name": "f", "address": "3/frequency", "scale": 0.1}], max_registers=4, sentinels=[1])
    assert (one.source.max_registers, one.source.sentinels, one.source.max_gap) == (4, (1,), 0)
    (tag,) = one.tag
    assert (tag.name, tag.address, tag.scale, tag.unit) == ("f", "3/holding:0:uint16", 0.1, "Hz")
