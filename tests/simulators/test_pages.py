"""Pages and machine files agree with the code."""

import csv
import json
import re
import tomllib
from pathlib import Path

import pytest

from simulators.faults import DISTURBANCES, load_faults
from simulators.registers import parse_register
from simulators.run import MODELS, catalogue

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "simulators").glob("*.md"))
FILES = {
    "casting": "dc1", "heat_treatment": "iq2", "welding": "weld1", "surface_treatment": "ni1", "melting": "more/mf1",
    "forging": "more/press1",
    "molding": "more/inj1",
}  # fmt: skip
PROCESS = {"melting": "casting"}
SOURCES = {
    "modbus": {"protocol", "host", "port", "unit_id", "every_s", "timeout_s", "max_registers"},
    "opcua": {"protocol", "url", "every_s"},
    "mqtt": {"protocol", "host", "port", "every_s", "time", "time_unit"},
}


def samples(page: Path) -> list[tuple[str, str]]:
    return re.findall(r"```(\w+)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_samples_parse(page: Path) -> None:
    for language, text in samples(page):
        if language == "csv":
            assert len({len(row) for row in csv.reader(text.splitlines())}) == 1
        else:
            assert {"toml": tomllib.loads, "json": json.loads}[language](text)


def test_the_fault_sample_loads_and_all_disturbances_are_listed(tmp_path: Path) -> None:
    page = ROOT / "simulators" / "faults.md"
    path = tmp_path / "faults.toml"
    path.write_text(samples(page)[0][1], encoding="utf-8")
    assert len(load_faults(path, catalogue("casting")).entries) == 3
    for name in DISTURBANCES:
        assert f"| `{name}` |" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("machine", MODELS)
def test_machine_pages_list_signals_and_failures(machine: str) -> None:
    text = (ROOT / "simulators" / f"{machine}.md").read_text(encoding="utf-8")
    for name in [signal.name for signal in MODELS[machine].signals] + [f.name for f in MODELS[machine].failures]:
        assert f"| `{name}` |" in text


@pytest.mark.parametrize("machine", MODELS)
def test_machine_files_agree_with_the_machines(machine: str) -> None:
    model = MODELS[machine]
    document = tomllib.loads((ROOT / "deploy" / "plant" / f"{FILES[machine]}.toml").read_text(encoding="utf-8"))
    analytics = {"check", "cycle", "detector", "waveform", "waveform_source"}
    assert set(document) - analytics == {"path", "name", "process", "source", "tag"}
    assert re.fullmatch(r"[a-z0-9-]+/[a-z0-9-]+/[a-z0-9-]+", document["path"])
    assert document["process"] == PROCESS.get(machine, machine)
    source = document["source"]
    assert set(source) == SOURCES[model.wire]
    assert source["protocol"] == model.wire
    assert str(model.port) in str(source.get("url", source.get("port")))
    tags = [
        (t["name"], t["role"], t["unit"], t["range"], t["address"], t.get("scale", 1.0), t.get("offset", 0.0))
        for t in document["tag"]
    ]
    assert tags == [(s.name, s.role, s.unit, [s.low, s.high], s.address, s.scale, s.offset) for s in model.signals]
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", tag["name"]) and " / " in tag["text"] for tag in document["tag"])


def test_registers_of_a_machine_do_not_overlap() -> None:
    for model in MODELS.values():
        if model.wire == "modbus":
            registers = [parse_register(signal.address) for signal in model.signals]
            cells = [(r.table, number) for r in registers for number in range(r.number, r.end)]
            assert len(cells) == len(set(cells))


def test_the_plant_file_names_the_plant() -> None:
    plant = tomllib.loads((ROOT / "deploy" / "plant" / "plant.toml").read_text(encoding="utf-8"))
    shifts = plant.pop("shift")
    assert plant == {
        "enterprise": "hansung", "site": "ansan1", "name": "한성정밀 안산1공장", "time_zone": "Asia/Seoul",
        "contract_kw": 700.0,
    }  # fmt: skip
    assert [(one["name"], f"{one['start']:%H:%M}", f"{one['end']:%H:%M}", len(one["days"])) for one in shifts] == [
        ("day", "08:00", "20:00", 7), ("night", "20:00", "08:00", 7),
    ]  # fmt: skip
