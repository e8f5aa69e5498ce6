import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest

import collectors
from collectors.protocols import AnySource, MachineFile
from collectors.source import Source
from pipeline.settings import Settings

FOLDER = Path(collectors.__file__).parent
PAGES = sorted(FOLDER.glob("*.md"))
SOURCES = get_args(get_args(AnySource)[0])


def samples(page: Path) -> list[str]:
    return re.findall(r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_sample_of_a_page_parses(page: Path) -> None:
    (sample,) = samples(page)
    model = Settings if page.name == "gateway.md" else MachineFile
    assert model.model_validate(tomllib.loads(sample))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
def test_a_protocol_has_a_page_that_names_every_key(source: type[Source]) -> None:
    page = FOLDER / f"{source.__module__.rpartition('.')[2]}.md"
    keys = set(re.findall(r"^\| (`.*?) \|", page.read_text(encoding="utf-8"), re.MULTILINE))
    named = {key for cell in keys for key in re.findall(r"`(\w+)`", cell)}
    assert set(source.model_fields) - {"protocol"} <= named


def test_every_module_an_operator_meets_has_its_page() -> None:
    known = {"deadband.md", "files.md", "gateway.md", "modbus.md", "mqtt.md", "opcua.md", "sparkplug.md"}
    assert known == {page.name for page in PAGES}
