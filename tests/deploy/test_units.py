"""systemd units: known directives, closed to everything, and every command line one of ours."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.settings import CREDENTIALS_ENV, read_settings
from tests.deploy.command_line import parses

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
OURS = [unit for unit in UNITS if unit.stem != "rootdx-broker"]
KNOWN = {
    "Unit": "Description Documentation Wants After StartLimitIntervalSec",
    "Service": "Type NotifyAccess ExecStart ExecReload Restart RestartSec RestartPreventExitStatus WatchdogSec "
    "TimeoutStartSec TimeoutStopSec LoadCredential Environment StateDirectory StateDirectoryMode MemoryMax "
    "CacheDirectory CacheDirectoryMode "
    "ReadWritePaths OOMScoreAdjust LimitNOFILE User Group UMask NoNewPrivileges CapabilityBoundingSet "
    "AmbientCapabilities ProtectSystem ProtectHome ProtectClock ProtectControlGroups ProtectHostname "
    "ProtectKernelLogs ProtectKernelModules ProtectKernelTunables ProtectProc ProcSubset PrivateTmp RemoveIPC "
    "PrivateDevices SupplementaryGroups DevicePolicy DeviceAllow LockPersonality RestrictNamespaces RestrictRealtime "
    "RestrictSUIDSGID RestrictAddressFamilies SystemCallArchitectures SystemCallFilter SystemCallErrorNumber",
    "Install": "WantedBy",
}


def read(unit: Path) -> dict[str, list[tuple[str, str]]]:
    """Sections with their directives; fails on a line that is none."""
    found: dict[str, list[tuple[str, str]]] = {}
    section = ""
    for line in unit.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        if heading := re.fullmatch(r"\[(\w+)\]", line):
            section = heading[1]
            found[section] = []
            continue
        key, is_there, value = line.partition("=")
        assert is_there, f"{unit.name}: {line}"
        found[section].append((key, value))
    return found


def value(unit: Path, key: str) -> str:
    (one,) = [told for name, told in read(unit)["Service"] if name == key]
    return one


def refused_calls(unit: Path) -> list[str]:
    """Groups of system calls that are taken out of those that every service has."""
    allowed, refused = [told for key, told in read(unit)["Service"] if key == "SystemCallFilter"]
    assert allowed == "@system-service"
    assert value(unit, "SystemCallErrorNumber") == "EPERM"
    return refused.removeprefix("~").split()


def ids(unit: Path) -> str:
    return unit.stem


@pytest.mark.parametrize("unit", UNITS, ids=ids)
def test_every_directive_is_known(unit: Path) -> None:
    for section, directives in read(unit).items():
        assert {key for key, _ in directives} <= set(KNOWN[section].split())


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here: the directives are checked above")
def test_systemd_takes_them(tmp_path: Path) -> None:
    for unit in [*UNITS, *(DEPLOY / "systemd" / "company").glob("*.service")]:
        text = re.sub(r"/opt/rootdx/bin/\S+", sys.executable, unit.read_text(encoding="utf-8"))
        (tmp_path / unit.name.replace("@", "@hansung")).write_text(text, encoding="utf-8")
    command = ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    ours = [line for line in done.stderr.splitlines() if "rootdx" in line]
    assert ours == []


@pytest.mark.parametrize("unit", UNITS, ids=ids)
def test_a_process_is_nobody_special_and_sees_little(unit: Path) -> None:
    assert value(unit, "User") == "rootdx"
    for key, expected in {
        "ProtectSystem": "strict", "ProtectHome": "yes", "NoNewPrivileges": "yes", "CapabilityBoundingSet": "",
        "PrivateTmp": "yes", "UMask": "0077", "Restart": "always", "RemoveIPC": "yes", "ProtectProc": "invisible",
    }.items():  # fmt: skip
        assert value(unit, key) == expected
    assert refused_calls(unit) == ["@privileged", "@resources"]


@pytest.mark.parametrize("unit", OURS, ids=ids)
def test_a_wrong_setting_is_not_tried_again_and_a_loop_that_hangs_is(unit: Path) -> None:
    assert value(unit, "RestartPreventExitStatus") == "78"
    assert value(unit, "Type") == "notify"
    assert re.fullmatch(r"\d+s", value(unit, "WatchdogSec"))


@pytest.mark.parametrize("unit", OURS, ids=ids)
def test_the_command_line_is_one_of_ours_with_settings_that_are_there(unit: Path) -> None:
    line = shlex.split(value(unit, "ExecStart"))
    name = parses(line)
    assert unit.stem == f"rootdx-{name.split()[0]}"
    file = DEPLOY / "config" / Path(line[-1]).name
    assert line[-1] == f"/etc/rootdx/{file.name}"
    read_settings(file)


@pytest.mark.parametrize("unit", OURS, ids=ids)
def test_every_secret_of_the_settings_is_handed_over_and_no_other(unit: Path) -> None:
    config = (DEPLOY / "config" / f"{unit.stem.removeprefix('rootdx-')}.toml").read_text(encoding="utf-8")
    named = set(re.findall(r'"%d/([^"]+)"', config)) | {"ca.pem", "crl.pem"}
    given = [told for key, told in read(unit)["Service"] if key == "LoadCredential"]
    assert {one.partition(":")[0] for one in given} == named
    assert all(one.partition(":")[2] == f"/etc/rootdx/secrets/{one.partition(':')[0]}" for one in given)


@pytest.mark.parametrize("file", sorted((DEPLOY / "config").glob("*.toml")), ids=lambda file: file.stem)
def test_the_database_must_show_a_certificate_of_the_plants_authority(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(CREDENTIALS_ENV, raising=False)
    store = read_settings(file).store
    if "[store]" in file.read_text(encoding="utf-8"):
        assert store.ca_file == file.parent / "secrets" / "ca.pem"
        assert store.crl_file == file.parent / "secrets" / "crl.pem"


def test_the_gateway_reads_its_files_again_when_it_is_told() -> None:
    assert value(DEPLOY / "systemd" / "rootdx-gateway.service", "ExecReload") == "/bin/kill -HUP $MAINPID"


@pytest.mark.parametrize("name", ["writer", "analytics", "board"])
def test_a_company_s_unit_is_the_plant_s_with_files_of_its_own(name: str) -> None:
    own = (DEPLOY / "systemd" / "company" / f"rootdx-{name}@.service").read_text(encoding="utf-8")
    plain = (DEPLOY / "systemd" / f"rootdx-{name}.service").read_text(encoding="utf-8")
    assert own.count("companies/%i/") >= 2
    files = own.replace("secrets/%i_", "secrets/rootdx_").replace("companies/%i/", "")
    words = files.replace(f"rootdx {name} of %i", f"rootdx {name}").splitlines()
    differ = {line.partition("=")[0] for line in {*words} ^ {*plain.splitlines()}}
    assert differ == {"Documentation"}
