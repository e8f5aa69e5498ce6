"""The page of metrics: from this computer alone unless said otherwise, and behind certificates where it is.

Runs the real server and the real `rootdx health`, with certificates of `rootdx certs`.
"""

import http.client
import shutil
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from pydantic import ValidationError
from typer.testing import CliRunner

from pipeline import metrics, metrics_server
from pipeline.errors import ConfigError
from pipeline.settings import MetricsSettings, read_settings
from rootdx import certs
from rootdx.cli import app
from rootdx.embedded import free_port

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("metrics")
    for place in (folder / "certs", folder / "other"):
        certs.make_authority(place, "plant", NOW)
        certs.make(place, "prometheus", "client", [], NOW)
    ours = folder / "certs"
    certs.make(ours, "metrics", "server", ["localhost"], NOW)
    certs.make(ours, "stolen", "client", [], NOW)
    certs.make(ours, "gw-2", "client", [], NOW)
    certs.make(ours, "board", "server", ["localhost"], NOW)
    shutil.copytree(ours, folder / "kept")
    certs.revoke(ours, "stolen", NOW)
    shutil.copytree(ours, folder / "expired")
    certs.renew(folder / "expired", ["prometheus"], certs.NEAR, NOW - certs.LIFE - timedelta(days=2))
    return folder


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    metrics.serve_at(MetricsSettings())


def door(papers: Path, **more: Any) -> MetricsSettings:
    ours = papers / "certs"
    given = {
        "certificate": ours / "metrics.pem", "key": ours / "metrics.key", "ca_file": ours / "ca.pem",
        "crl_file": ours / certs.CRL,
    }  # fmt: skip
    return MetricsSettings.model_validate(given | more)


def scraped(port: int, papers: Path, client: str | None, folder: str = "certs", host: str = "localhost") -> str:
    context = ssl.create_default_context(cafile=str(papers / "certs" / "ca.pem"))
    if client is not None:
        context.load_cert_chain(papers / folder / f"{client}.pem", papers / folder / f"{client}.key")
    link = http.client.HTTPSConnection(host, port, timeout=5, context=context)
    try:
        link.request("GET", "/metrics")
        return link.getresponse().read().decode()
    finally:
        link.close()


def test_with_a_certificate_it_is_scraped(papers: Path) -> None:
    port = free_port()
    metrics.serve_at(door(papers))
    with metrics.served("test-tls", port):
        assert 'rootdx_data_flowing{process="test-tls"}' in scraped(port, papers, "prometheus")
        end = REGISTRY.get_sample_value("rootdx_certificate_expiry_unixtime", {"asset": "metrics", "whose": "own"})
        assert end == (NOW + certs.LIFE).timestamp()


@pytest.mark.parametrize(
    ("client", "folder"),
    [(None, "certs"), ("prometheus", "other"), ("prometheus", "expired"), ("stolen", "kept"), ("board", "certs")],
    ids=["none", "another authority", "expired", "revoked", "a server's"],
)
def test_without_a_good_certificate_it_is_refused(papers: Path, client: str | None, folder: str) -> None:
    port = free_port()
    metrics.serve_at(door(papers))
    with metrics.served("test-tls", port):
        with pytest.raises(OSError):  # noqa: PT011  # an SSLError, or the line is cut: TLS 1.3 tells late
            scraped(port, papers, client, folder)
        assert "rootdx_data_flowing" in scraped(port, papers, "prometheus")


def test_another_clients_certificate_reads_nothing_and_one_that_is_named_does(papers: Path) -> None:
    """A gateway's, of another company say, is of the same authority."""
    for readers, reads in ((("prometheus",), False), (("prometheus", "gw-2"), True)):
        port = free_port()
        metrics.serve_at(door(papers, readers=readers))
        with metrics.served("test-tls", port):
            assert ("rootdx_" in scraped(port, papers, "gw-2")) is reads
            assert ("not among metrics.readers" in scraped(port, papers, "gw-2")) is not reads
            assert "rootdx_data_flowing" in scraped(port, papers, "prometheus")


def test_a_plain_request_gets_nothing_and_a_wrong_name_is_noticed(papers: Path) -> None:
    port = free_port()
    metrics.serve_at(door(papers))
    with metrics.served("test-tls", port):
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        link.request("GET", "/metrics")
        with pytest.raises((OSError, http.client.HTTPException)):
            link.getresponse()
        link.close()
        with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
            scraped(port, papers, "prometheus", host="127.0.0.1")


def test_who_connects_and_keeps_silent_holds_up_nobody(papers: Path) -> None:
    port = free_port()
    metrics.serve_at(door(papers))
    with metrics.served("test-tls", port):
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(metrics_server.MOST_AT_ONCE - 2)]
        assert "rootdx_data_flowing" in scraped(port, papers, "prometheus")
        for one in silent:
            one.close()


def test_connections_at_once_are_bounded(papers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "MOST_AT_ONCE", 2)
    port = free_port()
    metrics.serve_at(door(papers))
    with metrics.served("test-tls", port):
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
        with pytest.raises(OSError):  # noqa: PT011  # cut, one way or the other
            scraped(port, papers, "prometheus")
        for one in silent:
            one.close()
        for _ in range(50):
            try:
                assert "rootdx_data_flowing" in scraped(port, papers, "prometheus")
                break
            except OSError:
                continue
        else:
            raise AssertionError


def test_as_shipped_only_this_computer_reads_it() -> None:
    port = free_port()
    with metrics.served("test-loopback", port):
        listening = Path("/proc/net/tcp").read_text(encoding="ascii")
        assert f"0100007F:{port:04X} 00000000:0000 0A" in listening
        assert f"00000000:{port:04X} 00000000:0000 0A" not in listening


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("certificate", r"metrics\.certificate or metrics\.key = .*: cannot be used: .*`rootdx certs server metrics`"),
        ("key", r"metrics\.certificate or metrics\.key = "),
        ("ca_file", r"metrics\.ca_file = .*: cannot be used: No such file"),
        ("crl_file", r"metrics\.crl_file = .*: cannot be used: No such file"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(papers: Path, tmp_path: Path, key: str, words: str) -> None:
    metrics.serve_at(door(papers, **{key: tmp_path / "none.pem"}))
    with pytest.raises(ConfigError, match=words), metrics.served("test-tls", free_port()):
        raise AssertionError


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"certificate": "a"}, "belong together"),
        ({"ca_file": "a"}, "ca_file without certificate"),
        ({"certificate": "a", "key": "b", "crl_file": "c"}, "crl_file without ca_file"),
    ],
)
def test_half_of_the_settings_is_refused(given: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        MetricsSettings.model_validate(given)


def test_the_health_check_shows_the_processes_own_pair(papers: Path, tmp_path: Path) -> None:
    port, file = free_port(), tmp_path / "writer.toml"
    ours = papers / "certs"
    file.write_text(
        f'[writer]\nmetrics_port = {port}\n[metrics]\nhost = "0.0.0.0"\ncertificate = "{ours / "metrics.pem"}"\n'
        f'key = "{ours / "metrics.key"}"\nca_file = "{ours / "ca.pem"}"\ncrl_file = "{ours / certs.CRL}"\n'
    )
    metrics.serve_at(read_settings(file).metrics)
    with metrics.served("writer", port):
        metrics.moved("writer")
        done = CliRunner().invoke(app, ["health", "--of", "writer", "--config", str(file)])
        assert done.exit_code == 0, done.output
