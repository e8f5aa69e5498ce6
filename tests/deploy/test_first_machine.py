"""The runbook's way from an installed gateway to a machine that answers, typed as it stands there.

Runs on the simulated die-casting cell behind Modbus; `editor` is a program that changes what the page says to change.
"""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from collectors.protocols import MachineFile
from pipeline.plant import load_folder
from pipeline.settings import read_settings
from rootdx.embedded import free_port
from tests.deploy.test_runbook import DEPLOY, PAGES
from tests.support.report import ROOT

CHAPTER = PAGES["en"].partition("## The first machine\n")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"^```sh\n(.*?)^```", CHAPTER, re.MULTILINE | re.DOTALL)
EDITOR = """#!/bin/sh
case "$1" in
*/plant.toml) sed -i 's/^enterprise = .*/enterprise = "daehan"/; s/^site = .*/site = "busan2"/' "$1" ;;
*) sed -i 's/^host = .*/host = "127.0.0.1"/; s/^port = .*/port = {port}/; /^\\[waveform_source]/,$d' "$1" ;;
esac
"""


def blocks(word: str) -> list[str]:
    return [block for block in BLOCKS if word in block]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "rootdx", "simulate", "casting", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
                break
            assert process.poll() is None
            time.sleep(0.1)
        yield port
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """What install.sh makes."""
    place = tmp_path / "etc"
    (place / "plant").mkdir(parents=True)
    shutil.copy(DEPLOY / "plant" / "plant.toml", place / "plant")
    for file in (DEPLOY / "config").glob("*.toml"):
        shutil.copy(file, place)
    return place


def typed(text: str, etc: Path, port: int = 1) -> "subprocess.CompletedProcess[str]":
    """In a shell that ends at the first command that fails."""
    programs = etc.parent / "bin"
    programs.mkdir(exist_ok=True)
    for name, program in {
        "editor": EDITOR.format(port=port),
        "systemctl": "#!/bin/sh\n",
        "rootdx": f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m rootdx "$@"\n',
    }.items():
        (programs / name).write_text(program)
        (programs / name).chmod(0o755)
    for there, here in {"/opt/rootdx/deploy": DEPLOY, "/etc/rootdx": etc, "/home/kim": etc.parent / "kim"}.items():
        text = text.replace(there, str(here))
    environment = {
        **os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "ROOTDX_SEAL_PASSWORD": "only here", "COLUMNS": "200",
    }  # fmt: skip
    command = ["sh", "-e", "-c", text]
    return subprocess.run(
        command, env=environment, cwd=etc.parent, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_sample_becomes_the_machine_that_stands_here(etc: Path, port: int) -> None:
    (whose,) = blocks("editor /etc/rootdx/plant/plant.toml")
    (sample,) = blocks("dc1.toml")
    done = typed(whose + sample, etc, port)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "metal_temp" in done.stdout
    _, machines = load_folder(etc / "plant", MachineFile)
    assert set(machines) == {"daehan/busan2/casting/line1/dc1"}


def test_every_machine_is_told_where_it_is_before_it_is_asked() -> None:
    for block in blocks("rootdx probe"):
        before, _, _ = block.partition("rootdx probe")
        assert "editor /etc/rootdx/plant/" in before or 'host = "' in before
    assert blocks("editor /etc/rootdx/plant/plant.toml") == BLOCKS[:1]


def test_a_device_of_a_known_class_is_written_in_a_few_lines(etc: Path) -> None:
    (profile,) = blocks("profile = ")
    done = typed(profile.partition("rootdx probe")[0], etc)
    assert done.returncode == 0, done.stderr
    _, machines = load_folder(etc / "plant", MachineFile)
    (machine,) = machines.values()
    assert [(tag.name, tag.unit, tag.scale) for tag in machine.tag] == [("zone1.pv", "Cel", 0.1)]


def test_every_profile_that_is_named_is_there() -> None:
    (said,) = re.findall(r"common class (\(.+?\)):", CHAPTER, re.DOTALL)
    files = {file.stem for file in (ROOT / "collectors" / "profiles").glob("*.toml")}
    assert set(re.findall(r"`(\w+)`", said)) == files


def test_the_server_gets_the_files_and_what_reads_them_at_its_start_is_restarted() -> None:
    (block,) = blocks("scp ")
    assert "/etc/rootdx/plant/" in block
    for name in ("analytics", "board", "notify", "report"):
        assert f" rootdx-{name}" in block
        assert "plant = " in (DEPLOY / "config" / f"{name}.toml").read_text(encoding="utf-8")


def test_seals_are_switched_on_and_refuse_a_file_that_nobody_sealed(etc: Path) -> None:
    (block,) = blocks("rootdx config seal")
    (etc.parent / "kim").mkdir()
    done = typed(blocks("profile = ")[0].partition("rootdx probe")[0] + block, etc)
    assert done.returncode == 0, done.stdout + done.stderr
    assert read_settings(etc / "gateway.toml").seal.signers == etc / "signers"
    check = "rootdx config check --plant /etc/rootdx/plant --signers /etc/rootdx/signers\n"
    assert check in block
    assert typed("editor /etc/rootdx/plant/plant.toml\n" + check, etc).returncode == 78
