"""Every fault in a plant folder is named: file, line, key, value, what was expected."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest

from pipeline.errors import ConfigError
from pipeline.plant import Machine, Plant, SourceSettings, Tag, WaveformEntry, load, load_folder

PLANT = 'enterprise = "acme"\nsite = "ansan1"\n'
MACHINE = """\
path = "casting/line1/dc1"
name = "다이캐스팅 1호기"
process = "casting"

[source]
protocol = "bench"
host = "10.0.0.5"

[[tag]]
name = "metal.temp"
address = "1"
unit = "Cel"

[[tag]]
name = "plunger.speed"
address = "2"
unit = "m/s"
range = [0.0, 8.0]
"""


class Bench(SourceSettings):
    """A protocol of this test: addresses are numbers."""

    protocol: Literal["bench"] = "bench"
    host: str

    def check(self, tags: Sequence[Tag]) -> None:
        for tag in tags:
            if not tag.address.isdigit():
                raise ValueError(f"tag {tag.name!r}: address = {tag.address!r}: expected a number")


class BenchMachine(Machine[Bench]):
    """A machine of this test."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "plant.toml").write_text(PLANT)
    (tmp_path / "dc1.toml").write_text(MACHINE, encoding="utf-8")
    return tmp_path


def fault(folder: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_folder(folder, BenchMachine)
    return str(caught.value)


def test_machines_are_found_by_their_full_path_in_file_order(folder: Path) -> None:
    (folder / "a.toml").write_text(MACHINE.replace("dc1", "dc2"), encoding="utf-8")
    (folder / "notes.txt").write_text("not a machine")
    plant, machines = load_folder(folder, BenchMachine)
    assert plant == Plant(enterprise="acme", site="ansan1")
    assert list(machines) == ["acme/ansan1/casting/line1/dc2", "acme/ansan1/casting/line1/dc1"]
    assert machines["acme/ansan1/casting/line1/dc1"].tag[1].range == (0.0, 8.0)


# what to change in MACHINE, the line it then stands on, what is said
GOLDEN = [
    ('unit = "Cel"', 'unti = "Cel"', 12, "tag.0.unti = 'Cel': unknown key; check its spelling"),
    ('unit = "Cel"', 'unit = "°C"', 12, "tag.0.unit = '°C': unknown UCUM unit; examples: Cel, MPa"),
    ('unit = "Cel"', "", 9, "tag.0.unit: missing; it must be given"),
    ('unit = "m/s"', "", 14, "tag.1.unit: missing; it must be given"),
    ('unit = "Cel"', 'unit = "Cel"\nscale = 0', 9, "tag.0: scale = 0 would turn every value into the offset"),
    ('unit = "Cel"', 'unit = "Cel"\nscale = nan', 13, "tag.0.scale = nan: "),
    ('unit = "Cel"', "unit = 5", 12, "tag.0.unit = 5: "),
    ("[0.0, 8.0]", "[8.0, 0.0]", 14, "tag.1: range = [8.0, 0.0]: the first number must be below the second"),
    ("[0.0, 8.0]", "[1.0]", 18, "tag.1.range.1: missing; it must be given"),
    ("metal.temp", "Metal Temp", 10, "tag.0.name = 'Metal Temp': expected 1 to 63 of a-z 0-9 _ . -"),
    ('"plunger.speed"', '"metal.temp"', None, "the file: tag 'metal.temp' appears twice"),
    ("casting/line1/dc1", "casting/dc1", 1, "path = 'casting/dc1': expected area/line/cell"),
    ("casting/line1/dc1", "casting/Line 1/dc1", 1, "path = 'casting/Line 1/dc1': expected area/line/cell"),
    ('path = "casting/line1/dc1"', "", None, "path: missing; it must be given"),
    ('"casting"', '"castign"', 3, "process = 'castign': Input should be 'casting', "),
    ('host = "10.0.0.5"', "", 5, "source.host: missing; it must be given"),
    ('host = "10.0.0.5"', 'host = "x"\nevery_s = 0', 8, "source.every_s = 0: Input should be greater than 0"),
    ('protocol = "bench"', 'protocol = "bnech"', 6, "source.protocol = 'bnech': "),
    ('address = "2"', 'address = "x"', None, "the file: tag 'plunger.speed': address = 'x': expected a number"),
    ("[source]", "[sauce]", None, "source: missing; it must be given"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "words"), GOLDEN)
def test_fault_in_a_machine_file_is_named(folder: Path, old: str, new: str, line: int | None, words: str) -> None:
    assert MACHINE.count(old) == 1
    file = folder / "dc1.toml"
    file.write_text(MACHINE.replace(old, new), encoding="utf-8")
    place = f"{file}:{line}" if line else f"{file}"
    assert any(said.startswith(f"{place}: {words}") for said in fault(folder).splitlines()), fault(folder)


def test_every_fault_of_a_file_is_named_at_once(folder: Path) -> None:
    text = MACHINE.replace('"Cel"', '"degC"').replace("casting/line1/dc1", "x").replace("host", "hots")
    (folder / "dc1.toml").write_text(text, encoding="utf-8")
    assert len(fault(folder).splitlines()) == 4


def test_machine_without_tags_is_refused(folder: Path) -> None:
    (folder / "dc1.toml").write_text(MACHINE.split("[[tag]]", maxsplit=1)[0], encoding="utf-8")
    assert "tag: missing" in fault(folder)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"path = [", "not valid TOML: "), (b'name = "\xb0C"', "cannot be read: "), (b"", "path: missing")],
)
def test_file_that_is_no_toml_or_no_utf8_is_named(folder: Path, content: bytes, words: str) -> None:
    (folder / "dc1.toml").write_bytes(content)
    assert fault(folder).startswith(f"{folder / 'dc1.toml'}: ")
    assert words in fault(folder)


def test_folder_in_place_of_a_file_is_named(folder: Path) -> None:
    (folder / "dc2.toml").mkdir()
    assert fault(folder).startswith(f"{folder / 'dc2.toml'}: cannot be read: ")


def test_missing_folder_is_named(tmp_path: Path) -> None:
    assert fault(tmp_path / "nowhere") == (
        f"{tmp_path / 'nowhere'}: no such folder; it should hold plant.toml and one *.toml file a machine"
    )


def test_missing_plant_file_is_named(folder: Path) -> None:
    (folder / "plant.toml").unlink()
    assert fault(folder) == f"{folder / 'plant.toml'}: no such file"


def test_folder_without_machine_is_named(folder: Path) -> None:
    (folder / "dc1.toml").unlink()
    assert fault(folder).startswith(f"{folder}: no machine file; copy a sample")


def test_two_machines_with_one_path_are_named(folder: Path) -> None:
    (folder / "dc9.toml").write_text(MACHINE, encoding="utf-8")
    assert fault(folder) == (
        f"{folder / 'dc9.toml'}: path = 'casting/line1/dc1' is already that of {folder / 'dc1.toml'}; give it its own"
    )


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('enterprise = "acme"\n', None, "site: missing"),
        (PLANT + 'time_zone = "Seoul"\n', 3, "time_zone = 'Seoul': unknown time zone; an IANA name as Asia/Seoul"),
        (PLANT + 'time_zone = "../etc"\n', 3, "time_zone = '../etc': unknown time zone"),
        (PLANT.replace("acme", "ACME"), 1, "enterprise = 'ACME': expected lower-case"),
        (PLANT + "tz = 1\n", 3, "tz = 1: unknown key; check its spelling"),
    ],
)
def test_fault_in_the_plant_file_is_named(tmp_path: Path, text: str, line: int | None, words: str) -> None:
    file = tmp_path / "plant.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, Plant)
    assert str(caught.value).startswith(f"{file}:{line}: {words}" if line else f"{file}: {words}")


WAVEFORM = (
    MACHINE
    + """
[waveform_source]
protocol = "bench"
host = "10.0.0.6"

[[waveform]]
name = "shot.curve"

[[waveform.channel]]
name = "velocity"
unit = "m/s"

[[waveform]]
name = "weld"

[[waveform.channel]]
name = "current"
unit = "A"

[[waveform.channel]]
name = "voltage"
unit = "V"

[[cycle]]
kind = "shot"
limit = { low = 1.0 }
"""
)


class BurstingBench(Bench):
    """It brings bursts as well."""

    def check_waveforms(self, waveforms: Sequence[WaveformEntry]) -> None:
        pass


def with_waveforms(folder: Path, old: str = "", new: str = "") -> Machine[BurstingBench]:
    file = folder / "dc1.toml"
    file.write_text(WAVEFORM.replace(old, new) if old else WAVEFORM, encoding="utf-8")
    return load(file, Machine[BurstingBench])


def test_waveforms_and_cycles_are_read(folder: Path) -> None:
    one = with_waveforms(folder)
    assert [(entry.name, [channel.name for channel in entry.channel]) for entry in one.waveform] == [
        ("shot.curve", ["velocity"]),
        ("weld", ["current", "voltage"]),
    ]
    assert one.waveform_source is not None
    assert one.waveform_source.host == "10.0.0.6"
    assert one.cycle == ({"kind": "shot", "limit": {"low": 1.0}},)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('unit = "V"', 'unit = "°V"', ":40: waveform.1.channel.1.unit = '°V': unknown UCUM unit"),
        ('unit = "V"', 'unit = "V"\nscale = 0', "scale = 0 would turn"),
        ('name = "voltage"', 'name = "current"', "channel 'current' appears twice"),
        ('name = "weld"', 'name = "shot.curve"', "waveform 'shot.curve' appears twice"),
        (
            'name = "weld"',
            'name = "weld"\nperiod_s = 0',
            ":33: waveform.1.period_s = 0: Input should be greater than 0",
        ),
        ('name = "weld"', 'name = "weld"\nperod_s = 1', ":33: waveform.1.perod_s = 1: unknown key"),
        (WAVEFORM[WAVEFORM.index("[[waveform]]") :], "", "[waveform_source] without a [[waveform]]"),
        (MACHINE[MACHINE.index("[[tag]]") :], "", "tag: missing"),
    ],
)
def test_a_fault_in_a_waveform_is_named_with_its_line(folder: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_waveforms(folder, old, new)
    assert words in str(caught.value)


def test_a_protocol_without_waveforms_says_where_they_could_come_from(folder: Path) -> None:
    (folder / "dc1.toml").write_text(WAVEFORM, encoding="utf-8")
    assert "this protocol brings no waveforms; say in [waveform_source]" in fault(folder)


def test_a_machine_needs_something_to_read(folder: Path) -> None:
    text = MACHINE[: MACHINE.index("[source]")] + "tag = []\n" + MACHINE[MACHINE.index("[source]") :]
    (folder / "dc1.toml").write_text(text[: text.index("[[tag]]")], encoding="utf-8")
    assert "at least one [[tag]] or [[waveform]]" in fault(folder)


def test_waveforms_alone_come_from_the_source_itself(folder: Path) -> None:
    text = WAVEFORM.replace(MACHINE[MACHINE.index("[[tag]]") :], "").replace("[source]", "tag = []\n[source]", 1)
    (folder / "dc1.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="no tags: name the source of the waveforms in"):
        load(folder / "dc1.toml", Machine[BurstingBench])
