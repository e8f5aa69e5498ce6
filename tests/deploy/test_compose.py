"""The plant in containers: nothing secret in it, every image pinned, every check means something."""

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML comes without types

from pipeline.settings import Settings, read_settings
from tests.deploy.command_line import parses

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
FILE = DEPLOY / "compose.yaml"
PAGE = (DEPLOY / "runbook.en.md").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(name for name, one in SERVICES.items() if one["image"].startswith("rootdx:") and name != "tool")
METERED = [name for name in OURS if name != "report"]
"""Those that have a port to ask at."""
KNOWN = frozenset(
    "profiles image user command entrypoint environment volumes secrets ports extra_hosts network_mode healthcheck "
    "restart read_only tmpfs cap_drop cap_add security_opt logging stop_grace_period mem_limit shm_size "
    "working_dir".split()
)
COPIES = "/var/lib/postgresql/tls/"
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


def test_our_image_is_called_after_this_version_wherever_it_is_named() -> None:
    version = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert {SERVICES[name]["image"] for name in (*OURS, "tool")} == {f"rootdx:{version}"}
    for language in ("en", "ko"):
        page = (DEPLOY / f"runbook.{language}.md").read_text(encoding="utf-8")
        assert re.findall(r"docker build --tag (\S+)", page) == [f"rootdx:{version}"]


def test_whatever_has_a_unit_has_a_service() -> None:
    units = {unit.stem.removeprefix("rootdx-") for unit in (DEPLOY / "systemd").glob("*.service")}
    assert units <= set(SERVICES)
    for name in units - {"broker"}:
        unit = (DEPLOY / "systemd" / f"rootdx-{name}.service").read_text(encoding="utf-8")
        (line,) = re.findall(r"^ExecStart=/opt/rootdx/bin/rootdx (.+)$", unit, re.MULTILINE)
        assert words(SERVICES[name]["command"]) == words(line)


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_is_in_the_environment(name: str) -> None:
    environment = SERVICES[name].get("environment", {})
    assert isinstance(environment, dict)
    for key, value in environment.items():
        if re.search("PASS|SECRET|TOKEN|KEY", key):
            assert str(value).startswith(("/run/secrets/", COPIES)), key
        assert not re.search(r"://[^/]*:[^/]*@", str(value))


def test_the_database_reads_copies_that_are_its_own() -> None:
    """Secrets are of user 10001 and 0600; the user postgres may read neither a key nor a password of another user."""
    (line,) = [one for one in SERVICES["database"]["entrypoint"][-1].split(";") if "-m 0600" in one]
    copied = {Path(word).name for word in line.split() if word.startswith("/run/secrets/")}
    assert line.split()[:7] == ["install", "-o", "postgres", "-g", "postgres", "-m", "0600"]
    assert line.split()[-1] == COPIES
    assert copied == set(handed("database"))
    named = SERVICES["database"]["environment"]["POSTGRES_PASSWORD_FILE"]
    assert named == f"{COPIES}postgres.password"


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
    if name == "report":
        assert SERVICES[name]["healthcheck"] == {"disable": True}
        return
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
    assert name not in METERED or health_port(settings, name)


def test_the_page_says_which_checks_see_that_rows_go_through() -> None:
    flow = {
        name
        for name in METERED
        if name != "board" and SERVICES[name]["healthcheck"]["test"][6:8] != ["--wants", "answer"]
    }
    (said,) = re.findall(r"`healthy` in `docker compose ps` says of (.*?) that rows went through", PAGE)
    assert set(re.findall(r"\w+", said)) - {"and"} == flow


def test_the_database_is_awaited_before_it_is_migrated() -> None:
    """The first start runs initdb for some seconds; pg_isready asks at TCP, where only the real server listens."""
    lines = PAGE.splitlines()
    started = [n for n, line in enumerate(lines) if re.fullmatch(r"docker compose .* up .*\bdatabase\b.*", line)]
    migrated = [n for n, line in enumerate(lines) if line.startswith("docker compose run --rm tool migrate --")]
    assert len(started) == 1
    assert started[0] < migrated[0]
    assert "--wait" in lines[started[0]].split()
    assert SERVICES["database"]["healthcheck"]["test"][-2:] == ["--host", "127.0.0.1"]


def test_what_an_edge_computer_is_given_is_made() -> None:
    docker = PAGE.partition("## First installation with Docker Compose")[2].partition("\n## ")[0]
    made = set(
        re.findall(r"^docker compose run --rm tool certs (?:server|client) (\S+) --folder", docker, re.MULTILINE)
    )
    assert {"gw-1", "metrics-gw-1"} <= made


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
    made = ("./secrets", "./backup", "./out", "./reports")
    for target, source in mounted(SERVICES[name]).items():
        assert target.startswith("/")
        if source.startswith("./") and not source.startswith(made):
            assert (DEPLOY / source.replace("${ROOTDX_MEMORY:-8gb}", "8gb")).exists(), source
        elif not source.startswith("./"):
            assert source in COMPOSE["volumes"]


PROMETHEUS: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
EXAMPLE = DEPLOY / "prometheus" / "targets" / "gateways.yml.example"


def test_prometheus_asks_the_ports_that_processes_answer_at() -> None:
    always = [
        target
        for job in PROMETHEUS["scrape_configs"]
        for one in job.get("static_configs", [])
        for target in one["targets"]
    ]
    own = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    asked = dict(target.split(":") for target in (*always, *(each for one in own for each in one["targets"])))
    settings = {name: read_settings(DEPLOY / "config" / f"{name}.toml") for name in METERED}
    assert asked == {name: str(getattr(settings[name], name).metrics_port) for name in METERED}


def test_a_centre_without_a_gateway_asks_no_gateway() -> None:
    """Whatever stands in prometheus.yml itself runs in the profile `centre`; a gateway comes by a file alone."""
    runs = {name for name, one in SERVICES.items() if "centre" in one["profiles"]}
    for job in PROMETHEUS["scrape_configs"]:
        for one in job.get("static_configs", []):
            assert {target.split(":")[0] for target in one["targets"]} <= runs
    (listed,) = [job for job in PROMETHEUS["scrape_configs"] if "file_sd_configs" in job]
    assert listed["file_sd_configs"] == [{"files": ["targets/*.yml"]}]
    assert not list(EXAMPLE.parent.glob("*.yml"))


def test_the_example_of_targets_has_jobs_that_the_rules_know_also_in_its_comments() -> None:
    text = EXAMPLE.read_text(encoding="utf-8").replace("\n# - {", "\n- {")
    rules = (DEPLOY / "prometheus" / "rules.yml").read_text(encoding="utf-8")
    (known,) = re.findall(r'up\{job=~"([a-z|]+)"\}', rules)
    jobs = [one["labels"]["job"] for one in yaml.safe_load(text)]
    assert jobs[0] == "gateway"
    assert len(jobs) == 3
    assert set(jobs) <= set(known.split("|"))


def test_the_runbook_puts_the_example_into_place_before_all_is_started() -> None:
    copied = PAGE.index("cp prometheus/targets/gateways.yml.example prometheus/targets/gateways.yml\n")
    assert copied < PAGE.index("docker compose --profile all up --detach")


def test_prometheus_which_has_no_sign_in_is_reached_from_its_computer_alone() -> None:
    assert SERVICES["prometheus"]["ports"] == ["127.0.0.1:9090:9090"]


def test_the_writer_sees_the_disk_of_the_database_and_cannot_write_there() -> None:
    (disk,) = read_settings(DEPLOY / "config" / "writer.toml").metrics.disks
    assert f"database:{disk}:ro" in SERVICES["writer"]["volumes"]


def test_the_page_names_every_port_that_the_firewall_must_let_in() -> None:
    first = PAGE.partition("\n## ")[0]
    for name, one in SERVICES.items():
        for port in one.get("ports", []):
            if not port.startswith("127.0.0.1:"):
                assert port.split(":")[0] in first, name


def test_the_image_is_built_from_the_wheels_and_runs_without_rights() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"^FROM (\S+)", text, re.MULTILINE) == ["python:3.11.13-slim-bookworm"] * 2
    assert "--no-index --find-links /wheels" in text
    assert re.findall(r"^USER (\S+)", text, re.MULTILINE) == ["10001:10001"]
    assert not re.search(r"apt-get|curl|wget|https?://", text.replace("docker/dockerfile", ""))
