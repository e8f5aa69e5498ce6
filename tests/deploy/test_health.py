"""A health check says whether rows go through a process; settings find their secrets where they were put."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline import metrics
from pipeline.errors import ConfigError, Unavailable
from pipeline.settings import CREDENTIALS_ENV, read_settings
from rootdx.cli import app
from rootdx.embedded import free_port

ROOT = Path(__file__).resolve().parents[2]


def config(folder: Path, port: int) -> Path:
    file = folder / "writer.toml"
    file.write_text(f"[writer]\nmetrics_port = {port}\n")
    return file


def asked(file: Path, *more: str, of: str = "writer") -> tuple[int, str]:
    done = CliRunner().invoke(app, ["health", "--of", of, "--config", str(file), *more], env={"ROOTDX_LANG": "en"})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout


def test_a_process_through_which_rows_go_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    file = config(tmp_path, port)
    monkeypatch.setattr(metrics, "_moved", {})
    with metrics.served("writer", port):
        assert asked(file) == (1, "writer: no data has gone through for a minute; rootdx doctor says why\n")
        assert asked(file, "--wants", "answer")[0] == 0
        metrics.moved("gateway")
        assert asked(file)[0] == 1
        metrics.moved("writer")
        assert asked(file) == (0, "writer: data flows\n")


def test_a_process_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    port = free_port()
    with pytest.raises(Unavailable, match=f"nothing answers at 127.0.0.1:{port}"):
        asked(config(tmp_path, port))


def test_a_process_without_a_port_cannot_be_asked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[writer\] metrics_port is 0"):
        asked(config(tmp_path, 0))


def test_a_container_asks_with_the_module_alone(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-X", "importtime", "-m", "rootdx.commands.health", "--of", "writer"]
    done = subprocess.run(
        [*command, "--config", str(config(tmp_path, port))], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time")}
    assert "pydantic" in imported
    assert not {"numpy.random", "scipy", "matplotlib", "asyncua", "openpyxl"} & imported


@pytest.mark.parametrize("given", [True, False])
def test_credentials_are_found_as_a_service_and_as_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: bool
) -> None:
    handed = tmp_path / "handed"
    monkeypatch.setenv(CREDENTIALS_ENV, str(handed) if given else "")
    file = tmp_path / "x.toml"
    file.write_text(
        '[bus]\nca_file = "%d/ca.pem"\ncertificate = "%d/a.pem"\nkey = "%d/a.key"\n'
        '[store]\npassword_file = "%d/db"\n[board]\ncertificate = "own.pem"\nkey = "%d/b.key"\n'
    )
    settings = read_settings(file)
    place = handed if given else tmp_path / "secrets"
    assert settings.bus.ca_file == place / "ca.pem"
    assert (settings.bus.certificate, settings.bus.key) == (place / "a.pem", place / "a.key")
    assert settings.store.password_file == place / "db"
    assert (settings.board.certificate, settings.board.key) == (tmp_path / "own.pem", place / "b.key")
