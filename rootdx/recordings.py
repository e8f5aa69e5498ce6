"""Recorded tables as machines of a demo: which files belong together, and the machine file that reads them."""

import csv
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import tomli_w
from rich.console import Console

from pipeline.errors import ConfigError
from rootdx.texts import say
from simulators.errors import InputError
from simulators.recording import read_recording
from simulators.replay import MachineFile, machine_toml

PARTS: Final = ("train", "test")
"""Parts of one recording, in the order of time: `train_x.csv` then `test_x.csv` are one machine."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One machine made of recorded files.

    Attributes:
        name: slug.
        path: ISA-95 area/line/cell.
        files: in the order in which they are played.
        rows: lines of all of them.
        toml: machine file text, without the port.
    """

    name: str
    path: str
    files: tuple[Path, ...]
    rows: int
    toml: str


def find(folder: Path, console: Console) -> list[Recorded]:
    """The recordings of a folder; a file that cannot be played is named and left out.

    Raises:
        ConfigError: there is none.
    """
    groups: dict[str, list[Path]] = {}
    for file in sorted(folder.glob("*.csv"), key=_place):
        groups.setdefault(_stem(file), []).append(file)
    found = list(_readable(groups, console))
    if not found:
        raise ConfigError(f"--replay {folder}: no CSV file with a column of numbers and a time in it")
    return found


def _stem(file: Path) -> str:
    return re.sub(rf"^({'|'.join(PARTS)})_", "", file.stem)


def _place(file: Path) -> tuple[int, str]:
    part = file.stem.split("_")[0]
    return (PARTS.index(part) if part in PARTS else len(PARTS), file.name)


def _readable(groups: dict[str, list[Path]], console: Console) -> Iterator[Recorded]:
    for stem, files in groups.items():
        try:
            recording = read_recording(files)
        except InputError as error:
            console.print(say("demo.replay_left_out", file=", ".join(one.name for one in files), reason=error))
            continue
        if recording.left_out:
            reason = ", ".join(recording.left_out)
            console.print(say("demo.replay_left_out", file=files[0].name, reason=reason))
        name = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-") or "recording"
        path = f"replay/line1/{name}"
        text = machine_toml(recording, MachineFile(path=path, name=stem))
        yield Recorded(name, path, tuple(files), len(recording.values), text)


def machine_file(one: Recorded, port: int, file: Path) -> None:
    """The machine file that plays a recording at full speed: every row once, stamped with its own time."""
    data = tomllib.loads(one.toml)
    data["source"] |= {"port": port, "pace": "full"}
    names = [tag["name"] for tag in data["tag"]]
    if "source_time_ms" in names:
        data["source"]["time_tag"] = "source_time_ms"
    data["tag"] = [tag for tag in data["tag"] if not tag["address"].startswith("coil")]
    file.write_text(tomli_w.dumps(data), encoding="utf-8")


def cells(one: Recorded) -> dict[str, np.ndarray[tuple[int, int], np.dtype[np.float64]]]:
    """What the files hold, read by other means than the machine does: (cells, 2) of row number and value by tag.

    Empty cells are left out, and so is the time, which dates are made into by the machine.
    """
    tags = {tag["text"]: tag["name"] for tag in tomllib.loads(one.toml)["tag"]}
    found: dict[str, list[tuple[float, float]]] = {tags["row"]: [(float(n), float(n)) for n in range(one.rows)]}
    number = -1
    for file in one.files:
        with file.open(encoding=_encoding(file), newline="") as text:
            for line in csv.DictReader(text):
                number += 1
                for heading, cell in line.items():
                    if heading in tags and cell.strip():
                        found.setdefault(tags[heading], []).append((float(number), float(cell)))
    return {tag: np.array(pairs) for tag, pairs in found.items()}


def _encoding(file: Path) -> str:
    try:
        file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        return "cp949"
    return "utf-8-sig"
