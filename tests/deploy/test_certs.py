"""The plant's authority: made once, never overwritten; certificates with their names, ends and rights."""

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

from pipeline.errors import ConfigError
from rootdx import certs
from rootdx.bus_rights import mosquitto_acl, nats_users
from rootdx.cli import app

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "certs"
    certs.make_authority(place, "한성정밀 안산1공장", NOW)
    certs.make(place, "broker", "server", ["broker", "10.0.0.5"], NOW)
    certs.make(place, "gw-1", "client", [], NOW)
    return place


def read(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def test_nobody_else_can_read_anything(folder: Path) -> None:
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
    pairs = {f"{name}.{end}" for name in ("ca", "broker", "gw-1") for end in ("pem", "key")}
    assert set(modes) == pairs | {certs.USERS, certs.ACL, certs.CRL, "issued.csv"}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_certificate_says_whose_it_is_and_is_signed(folder: Path) -> None:
    ca, server, client = (read(folder / f"{name}.pem") for name in ("ca", "broker", "gw-1"))
    for one in (server, client):
        one.verify_directly_issued_by(ca)
    assert client.subject.rfc4514_string() == "CN=gw-1"
    assert client.not_valid_after_utc == NOW + certs.LIFE
    assert [one.names for one in certs.papers(folder)] == [("broker", "10.0.0.5"), (), ()]
    assert [one.kind for one in certs.papers(folder)] == ["server", "client", "ca"]


def test_an_authority_is_never_overwritten(folder: Path) -> None:
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(ConfigError, match="there is an authority already"):
        certs.make_authority(folder, "other", NOW)
    (folder / "ca.pem").unlink()
    with pytest.raises(ConfigError, match="there is an authority already"):
        certs.make_authority(folder, "other", NOW)
    assert (folder / "ca.key").read_bytes() == before["ca.key"]


@pytest.mark.parametrize(
    ("name", "kind", "names", "words"),
    [
        ("gw-1", "client", [], "is there already; `rootdx certs renew gw-1`"),
        ("ca", "client", [], "used by rootdx itself"),
        ("alarm", "client", [], "used by rootdx itself"),
        ("Gateway 1", "client", [], "lower-case letters"),
        ("../gw", "client", [], "lower-case letters"),
        ("board", "server", [], "give every name"),
        ("board", "server", ["보드"], "expected a host name in ASCII"),
    ],
)
def test_what_cannot_be_made_is_said(folder: Path, name: str, kind: "certs.Kind", names: list[str], words: str) -> None:
    assert kind != "ca"
    with pytest.raises(ConfigError, match=words):
        certs.make(folder, name, kind, names, NOW)


def test_without_an_authority_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no authority; make it with `rootdx certs init"):
        certs.make(tmp_path, "gw-1", "client", [], NOW)


def test_only_what_is_near_its_end_is_renewed_and_keys_stay(folder: Path) -> None:
    keys = {file.name: file.read_bytes() for file in folder.glob("*.key")}
    certs.make(folder, "gw-2", "client", [], NOW + timedelta(days=700))
    later = NOW + certs.LIFE - timedelta(days=30)
    assert [one.name for one in certs.renew(folder, [], certs.NEAR, later)] == ["broker", "gw-1"]
    assert certs.renew(folder, [], certs.NEAR, later) == []
    ends = {one.name: one.days_left(later) for one in certs.papers(folder)}
    assert ends["broker"] == ends["gw-1"] == certs.LIFE.days
    assert ends["gw-2"] == certs.LIFE.days - 95
    assert {name: (folder / name).read_bytes() for name in keys} == keys
    assert {one.name: one.names for one in certs.papers(folder)}["broker"] == ("broker", "10.0.0.5")


def test_an_authority_is_renewed_when_it_is_named_and_what_it_signed_stays_good(folder: Path) -> None:
    later = NOW + certs.CA_LIFE - timedelta(days=10)
    assert [one.name for one in certs.renew(folder, [], certs.NEAR, later)] == ["broker", "gw-1"]
    certs.renew(folder, ["ca"], certs.NEAR, later)
    ca = read(folder / "ca.pem")
    assert ca.not_valid_after_utc == later + certs.CA_LIFE
    read(folder / "gw-1.pem").verify_directly_issued_by(ca)


def test_no_certificate_outlives_the_authority(folder: Path) -> None:
    later = NOW + certs.CA_LIFE - timedelta(days=10)
    certs.renew(folder, ["gw-1"], certs.NEAR, later)
    assert read(folder / "gw-1.pem").not_valid_after_utc == read(folder / "ca.pem").not_valid_after_utc


def test_an_authority_at_its_end_signs_nothing(folder: Path) -> None:
    later = NOW + certs.CA_LIFE + timedelta(days=1)
    with pytest.raises(ConfigError, match="the authority is at its end; `rootdx certs renew ca`"):
        certs.renew(folder, ["gw-1"], certs.NEAR, later)
    certs.renew(folder, ["gw-1", "ca"], certs.NEAR, later)
    read(folder / "gw-1.pem").verify_directly_issued_by(read(folder / "ca.pem"))


def test_renewing_somebody_unknown_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="no certificate gw-7; there are: broker, ca, gw-1"):
        certs.renew(folder, ["gw-7"], certs.NEAR, NOW)


def test_a_try_that_was_cut_short_goes_on_with_its_key(folder: Path) -> None:
    (folder / "gw-1.pem").unlink()
    key = (folder / "gw-1.key").read_bytes()
    certs.make(folder, "gw-1", "client", [], NOW)
    assert (folder / "gw-1.key").read_bytes() == key
    assert isinstance(read(folder / "gw-1.pem").public_key(), ec.EllipticCurvePublicKey)


def test_what_is_no_key_of_ours_is_named(folder: Path) -> None:
    (folder / "ca.key").write_text("nothing")
    with pytest.raises(ConfigError, match=r"ca\.key: no private key in PEM"):
        certs.make(folder, "gw-2", "client", [], NOW)


def test_users_have_their_own_topics() -> None:
    told = nats_users(["gw-1", "writer", "notify"])
    assert 'user: "CN=gw-1"' in told
    assert 'publish: { allow: "rootdx.v1.gw-1.record" }, subscribe: { allow: "rootdx.v1.gw-1.committed" }' in told
    assert 'publish: { allow: "rootdx.v1.*.committed" }, subscribe: { allow: "rootdx.v1.*.record" }' in told
    assert 'publish: { allow: "rootdx.v1.alarm.>" }, subscribe: { deny: ">" }' in told


def test_a_writer_for_some_gateways_has_their_topics_alone(folder: Path) -> None:
    certs.make_writer(folder, "hansung-writer", ["hansung-gw-2", "hansung-gw-1"], NOW)
    told = (folder / certs.USERS).read_text()
    line = next(line for line in told.splitlines() if "CN=hansung-writer" in line)
    assert 'publish: { allow: ["rootdx.v1.hansung-gw-1.committed", "rootdx.v1.hansung-gw-2.committed"] }' in line
    assert 'subscribe: { allow: ["rootdx.v1.hansung-gw-1.record", "rootdx.v1.hansung-gw-2.record"] }' in line
    acl = (folder / certs.ACL).read_text()
    assert "user hansung-writer\ntopic read rootdx/v1/hansung-gw-1/record\n" in acl
    assert "+/record" not in acl
    pem = (folder / "hansung-writer.pem").read_bytes()
    certs.make_writer(folder, "hansung-writer", ["hansung-gw-3"], NOW)
    assert (folder / "hansung-writer.pem").read_bytes() == pem
    assert 'allow: "rootdx.v1.hansung-gw-3.record"' in (folder / certs.USERS).read_text()
    with pytest.raises(ConfigError, match="one of its own gateways"):
        certs.make_writer(folder, "gw-9", ["gw-9"], NOW)
    with pytest.raises(ConfigError, match="lower-case letters"):
        certs.make_writer(folder, "w", ["rootdx/#"], NOW)


def test_the_acl_that_is_shipped_is_the_one_that_is_written() -> None:
    shipped = Path(__file__).resolve().parents[2] / "deploy" / "mosquitto" / "bus.acl"
    assert mosquitto_acl(["gw-1", "writer", "notify"]) == shipped.read_text(encoding="utf-8")


def serials(folder: Path) -> set[int]:
    found = x509.load_pem_x509_crl((folder / certs.CRL).read_bytes())
    key = read(folder / "ca.pem").public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert found.is_signature_valid(key)
    assert found.next_update_utc == read(folder / "ca.pem").not_valid_after_utc
    return {one.serial_number for one in found}


def test_what_is_revoked_is_on_the_list_with_all_that_came_before_it(folder: Path) -> None:
    assert serials(folder) == set()
    first = read(folder / "gw-1.pem").serial_number
    certs.renew(folder, ["gw-1"], certs.NEAR, NOW)
    second = read(folder / "gw-1.pem").serial_number
    certs.make(folder, "gw-2", "client", [], NOW)
    certs.revoke(folder, "gw-1", NOW)
    assert serials(folder) == {first, second}
    assert "CN=gw-1" not in (folder / certs.USERS).read_text()
    assert "CN=gw-2" in (folder / certs.USERS).read_text()
    assert not list(folder.glob("gw-1.*"))
    assert serials(folder) == {first, second}
    certs.renew(folder, ["gw-2"], certs.NEAR, NOW + certs.LIFE + timedelta(days=1))
    assert serials(folder) == set(), "their end has come by itself"


def test_a_renewal_by_an_older_program_is_found_where_it_can_be(folder: Path) -> None:
    (folder / "issued.csv").unlink()
    first = read(folder / "gw-1.pem").serial_number
    certs.renew(folder, ["gw-1"], certs.NEAR, NOW)
    certs.revoke(folder, "gw-1", NOW)
    assert first in serials(folder)
    assert len(serials(folder)) == 2


def test_a_revoked_client_does_not_come_back_and_a_server_does(folder: Path) -> None:
    certs.revoke(folder, "gw-1", NOW)
    with pytest.raises(ConfigError, match=r"gw-1: was revoked on 2026-11-22, .*until 2029-02-24; choose another name"):
        certs.make(folder, "gw-1", "client", [], NOW)
    certs.make(folder, "gw-1", "client", [], NOW + certs.LIFE + timedelta(days=1))
    old = read(folder / "broker.pem").serial_number
    certs.revoke(folder, "broker", NOW)
    certs.make(folder, "broker", "server", ["broker"], NOW)
    assert old in serials(folder)
    assert read(folder / "broker.pem").serial_number not in serials(folder)


@pytest.mark.parametrize(
    ("name", "words"), [("ca", "cannot be revoked"), ("gw-7", "no such certificate; there are: broker, gw-1")]
)
def test_what_cannot_be_revoked_is_said(folder: Path, name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        certs.revoke(folder, name, NOW)


def test_revoking_twice_says_when(folder: Path) -> None:
    certs.revoke(folder, "gw-1", NOW)
    with pytest.raises(ConfigError, match="was revoked on 2026-11-22"):
        certs.revoke(folder, "gw-1", NOW)


def test_the_command_makes_lists_and_renews(tmp_path: Path) -> None:
    place = ["--folder", str(tmp_path / "c")]

    def say(*words: str, language: str = "en") -> str:
        done = CliRunner().invoke(app, ["certs", *words, *place], env={"ROOTDX_LANG": language})
        assert done.exit_code == 0, done.output
        return done.stdout

    assert say("init", "--plant", "p") == f"made: {tmp_path / 'c' / 'ca.pem'}\n"
    say("server", "broker", "--host", "localhost", "--host", "127.0.0.1")
    say("client", "gw-1")
    rows = json.loads(say("list", "--format", "json"))["certificates"]["rows"]
    left = {row["name"]: row["days_left"] for row in rows}
    assert left == {
        "broker": pytest.approx(825, abs=1),
        "gw-1": pytest.approx(825, abs=1),
        "ca": pytest.approx(7300, abs=1),
    }
    assert say("renew") == "no certificate ends within 60 days\n"
    assert "다시 시작하십시오" in say("renew", "gw-1", language="ko")
    assert "bus-users.conf and crl.pem" in say("revoke", "gw-1")
    said = {row["name"]: row["use"] for row in json.loads(say("list", "--format", "json"))["certificates"]["rows"]}
    assert said["gw-1"].startswith("revoked 20")


def test_a_list_with_one_that_is_over_ends_with_1(folder: Path) -> None:
    certs.renew(folder, ["gw-1"], certs.NEAR, datetime.now(UTC) - certs.LIFE - timedelta(days=1))
    assert CliRunner().invoke(app, ["certs", "list", "--folder", str(folder)]).exit_code == 1
