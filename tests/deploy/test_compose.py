"""The plant in containers: nothing secret in it, every image pinned, every check means something."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML comes without types

from pipeline.settings import Settings, read_settings
from tests.deploy.command_line import parses

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
FILE = DEPLOY / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(name for name, one in SERVICES.items() if one["image"].startswith("rootdx:") and name != "tool")
KNOWN = frozenset(
    "profiles image user command entrypoint environment volumes secrets ports extra_hosts network_mode healthcheck "
    "restart read_only tmpfs cap_drop cap_add security_opt logging stop_grace_period mem_limit shm_size "
    "working_dir".split()
)
PROFILES = {"edge", "centre", "all", "setup"}


def words(line: str | list[str]) -> list[str]:
    return shlex.split(line) if isinstance(line, str) else list(line)


def mounted(service: dict[str, Any]) -> dict[str, str]:
    """What a container sees where, by its path in the container."""
    pairs = [volume.replace(":-", "\0").split(":") for volume in service.get("volumes", [])]
    return {pair[1]: pair[0].replace("\0", ":-") for pair in pairs}


def test_nothing_is_misspelt() -> None:
    assert {key for one in SERVICES.values() for key in one} <= KNOWN
    assert set(COMPOSE) == {"name", "x-safe", "x-rootdx", "x-store", "x-check", "services", "volumes", "secrets"}
    assert {profile for one in SERVICES.values() for profile in one["profiles"]} == PROFILES


@pytest.mark.skipif(shutil.which("docker") is None, reason="no docker here: the other tests read the file")
def test_docker_takes_it(tmp_path: Path) -> None:
    version = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    if version.returncode:
        pytest.skip("docker without compose here: the other tests read the file")
    command = ["docker", "compose", "--file", str(FILE), "--profile", "*", "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_pinned(name: str) -> None:
    tag = SERVICES[name]["image"].rpartition(":")[2]
    assert re.match(r"v?\d+\.\d+\.\d+", tag), tag


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_is_in_the_environment(name: str) -> None:
    environment = SERVICES[name].get("environment", {})
    assert isinstance(environment, dict)
    for key, value in environment.items():
        if re.search("PASS|SECRET|TOKEN|KEY", key):
            assert str(value).startswith("/run/secrets/"), key
        assert not re.search(r"://[^/]*:[^/]*@", str(value))


def handed(name: str) -> dict[str, str]:
    """Where each secret lies in a service."""
    said = [one if isinstance(one, dict) else {"source": one} for one in SERVICES[name].get("secrets", [])]
    return {one["source"]: one.get("target", f"/run/secrets/{one['source']}") for one in said}


def test_grafana_finds_the_readers_password_where_its_data_source_says() -> None:
    sources = (DEPLOY / "grafana" / "provisioning" / "datasources" / "rootdx.yaml").read_text(encoding="utf-8")
    assert re.findall(r"\$__file\{(.*)\}", sources) == [handed("grafana")["rootdx_reader.password"]]


def test_every_secret_is_a_file_that_somebody_is_given() -> None:
    used = {secret for name in SERVICES for secret in handed(name)}
    assert used == set(COMPOSE["secrets"])
    assert all(set(one) == {"file"} and one["file"].startswith("./secrets/") for one in COMPOSE["secrets"].values())


@pytest.mark.parametrize("name", SERVICES)
def test_every_secret_that_is_read_is_handed_over(name: str) -> None:
    said = str([SERVICES[name].get(key) for key in ("environment", "entrypoint", "command")])
    read = set(re.findall(r"/run/secrets/([a-z_.]+[a-z])", said))
    assert read <= set(handed(name))


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_may_do_no_more_than_it_must(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("privileged") is None
    assert set(service.get("cap_add", [])) <= {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"}
    if name in OURS:
        assert service["user"] == "10001:10001"
        assert service["read_only"] is True
        assert "cap_add" not in service


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_asked_how_it_is(name: str) -> None:
    test = SERVICES[name]["healthcheck"]["test"]
    assert test[0] == "CMD"
    if name in OURS:
        assert test[1:6] == ["python", "-m", "rootdx.commands.health", "--of", name]
        parses(["rootdx", "health", *test[4:]])


@pytest.mark.parametrize("name", OURS)
def test_a_process_is_started_with_settings_that_are_there(name: str) -> None:
    service = SERVICES[name]
    command = words(service["command"])
    parses(["rootdx", *command])
    source = mounted(service)[command[-1]]
    settings = read_settings(DEPLOY / source)
    assert health_port(settings, name)


def health_port(settings: Settings, name: str) -> int:
    return int(settings.board.port if name == "board" else getattr(settings, name).metrics_port)


@pytest.mark.parametrize("name", OURS)
def test_every_file_that_the_settings_name_is_a_secret_of_the_service(name: str) -> None:
    text = (DEPLOY / "config" / f"{name}.toml").read_text(encoding="utf-8")
    named = set(re.findall(r'"%d/([^"]+)"', text))
    assert named <= set(handed(name))
    assert named
    assert named | {"ca.pem", "crl.pem"} == set(handed(name))


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_from_here_is_here_or_made_by_the_runbook(name: str) -> None:
    made = ("./secrets", "./backup", "./out")
    for target, source in mounted(SERVICES[name]).items():
        assert target.startswith("/")
        if source.startswith("./") and not source.startswith(made):
            assert (DEPLOY / source.replace("${ROOTDX_MEMORY:-8gb}", "8gb")).exists(), source
        elif not source.startswith("./"):
            assert source in COMPOSE["volumes"]


def test_prometheus_asks_the_ports_that_processes_answer_at() -> None:
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    asked = dict(re.findall(r'targets: \["(\w+):(\d+)"\]', text.partition("global:")[2]))
    settings = {name: read_settings(DEPLOY / "config" / f"{name}.toml") for name in OURS}
    assert asked == {name: str(getattr(settings[name], name).metrics_port) for name in OURS}


def test_the_image_is_built_from_the_wheels_and_runs_without_rights() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"^FROM (\S+)", text, re.MULTILINE) == ["python:3.11.13-slim-bookworm"] * 2
    assert "--no-index --find-links /wheels" in text
    assert re.findall(r"^USER (\S+)", text, re.MULTILINE) == ["10001:10001"]
    assert not re.search(r"apt-get|curl|wget|https?://", text.replace("docker/dockerfile", ""))
