"""The bundle installs on a computer without a network and runs there: 70 wheels are collected and installed, 45 s."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 240
OFFLINE = {"PIP_NO_INDEX": "1", "https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
pytestmark = pytest.mark.timeout(2 * PATIENCE_S)


def run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    own = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "ROOTDX"))}
    return subprocess.run(
        command, env=own | environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False, cwd="/"
    )


def without_network() -> list[str]:
    """What stands before a command so that it has no network; where the kernel refuses, the environment says it."""
    line = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]
    found = shutil.which("unshare") and run([*line, "true"]).returncode == 0
    return line if found else []


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundle") / "bundle"
    done = run([sys.executable, str(ROOT / "deploy" / "bundle.py"), "--out", str(out)])
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def installed(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("computer")
    command = [*without_network(), "sh", str(bundle / "install.sh")]
    done = run(command, DESTDIR=str(place), PYTHON=sys.executable, **OFFLINE)
    assert done.returncode == 0, done.stderr
    assert "설치가 끝났습니다" in done.stdout
    return place


def rootdx(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    program = str(place / "opt" / "rootdx" / "bin" / "rootdx")
    return run([*without_network(), program, *words], ROOTDX_LANG="en", COLUMNS="200", **OFFLINE)


def test_every_file_has_its_sum(bundle: Path) -> None:
    lines = (line.split("  ") for line in (bundle / "SHA256SUMS").read_text().splitlines())
    sums = {name: digest for digest, name in lines}
    files = {file.relative_to(bundle).as_posix() for file in bundle.rglob("*") if file.is_file()}
    assert set(sums) == files - {"SHA256SUMS"}
    assert all(hashlib.sha256((bundle / name).read_bytes()).hexdigest() == digest for name, digest in sums.items())


def test_the_bill_names_every_wheel_with_its_sum_and_what_it_needs(bundle: Path) -> None:
    bill: dict[str, Any] = json.loads((bundle / "sbom.cdx.json").read_text(encoding="utf-8"))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", bill["serialNumber"])
    wheels = [one for one in bill["components"] if one["type"] != "container"]
    named = {one["properties"][0]["value"] for one in wheels}
    assert named == {f"wheels/{file.name}" for file in (bundle / "wheels").iterdir()}
    refs = {one["bom-ref"] for one in bill["components"]} | {"rootdx-bundle"}
    needs = {one["ref"]: one["dependsOn"] for one in bill["dependencies"]}
    assert set(needs) | {ref for each in needs.values() for ref in each} <= refs
    (ours,) = [one["bom-ref"] for one in wheels if one["name"] == "rootdx"]
    assert "numpy" in str(needs[ours])
    assert sum("licenses" in one for one in wheels) > 0.9 * len(wheels)


def test_the_wheel_of_ours_is_of_this_tree(bundle: Path) -> None:
    (wheel,) = (bundle / "wheels").glob("rootdx-*.whl")
    with zipfile.ZipFile(wheel) as packed:
        assert packed.read("rootdx/certs.py") == (ROOT / "rootdx" / "certs.py").read_bytes()


def test_it_runs_on_a_computer_without_a_network(installed: Path) -> None:
    done = rootdx(installed, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage: rootdx" in done.stdout


def test_doctor_says_what_is_still_missing(installed: Path) -> None:
    done = rootdx(installed, "doctor", "--config", str(installed / "etc" / "rootdx" / "writer.toml"))
    assert done.returncode == 1
    assert re.search(r"ok\s+settings\s+readable", done.stdout)
    assert "etc/rootdx/secrets/writer.pem" in re.sub(r"\s", "", done.stdout)


def test_everything_the_units_start_is_there(installed: Path) -> None:
    units = sorted((installed / "etc" / "systemd" / "system").glob("rootdx-*.service"))
    assert len(units) == 10
    for unit in units:
        (program,) = re.findall(r"^ExecStart=(\S+)", unit.read_text(encoding="utf-8"), re.MULTILINE)
        assert os.access(f"{installed}{program}", os.X_OK), program


def test_installing_again_keeps_what_people_wrote(installed: Path, bundle: Path) -> None:
    secret = installed / "etc" / "rootdx" / "secrets" / "ca.pem"
    secret.write_text("of the version before")
    file = installed / "etc" / "rootdx" / "gateway.toml"
    file.write_text(file.read_text(encoding="utf-8").replace("gw-1", "gw-7"), encoding="utf-8")
    releases = sorted((installed / "opt" / "rootdx" / "releases").iterdir())
    done = run([*without_network(), "sh", str(bundle / "install.sh")], DESTDIR=str(installed), PYTHON=sys.executable)
    assert done.returncode == 0, done.stderr
    assert sorted((installed / "opt" / "rootdx" / "releases").iterdir()) == releases
    assert "rootdx-gateway.service wants /etc/rootdx/secrets/gateway.key\n" in done.stderr
    assert "secrets/ca.pem" not in done.stderr
    assert 'name = "gw-7"' in file.read_text(encoding="utf-8")
    assert 'name = "gw-1"' in file.with_name("gateway.toml.new").read_text(encoding="utf-8")


def test_a_damaged_bundle_is_not_installed(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy, symlinks=True)
    with (copy / "deploy" / "compose.yaml").open("a") as file:
        file.write("# more\n")
    done = run(["sh", str(copy / "install.sh")], DESTDIR=str(tmp_path / "d"), PYTHON=sys.executable)
    assert done.returncode == 1
    assert "copy the bundle again" in done.stderr
    assert not (tmp_path / "d").exists()


def test_another_python_is_refused_with_what_to_do(bundle: Path, tmp_path: Path) -> None:
    other = tmp_path / "python3"
    other.write_text("#!/bin/sh\necho 3.99\n")
    other.chmod(0o755)
    done = run(["sh", str(bundle / "install.sh")], DESTDIR=str(tmp_path / "d"), PYTHON=str(other))
    assert done.returncode == 1
    assert "the wheels are for Python 3." in done.stderr
