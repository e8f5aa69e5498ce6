"""`rootdx board` and `rootdx account` as an operator starts them. Runs on plain PostgreSQL."""

import contextlib
import datetime as dt
import os
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import tomli_w
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.front_door import Shop

pytestmark = [pytest.mark.plain, pytest.mark.timeout(120)]
PASSWORD = "correct horse battery"


def settings(shop: Shop, folder: Path, **board: object) -> Path:
    file = folder / "board.toml"
    plant = str(shop.config.parent / "plant")
    file.write_text(tomli_w.dumps({"analytics": {"plant": plant}, "board": {"plant": plant, "port": 0, **board}}))
    return file


@contextlib.contextmanager
def started(shop: Shop, file: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "rootdx", "board", "--config", str(file)]
    environment = {**os.environ, **shop.environment("board"), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def port_of(process: "subprocess.Popen[str]") -> int:
    assert process.stderr is not None
    told = ""
    for line in process.stderr:
        told += line
        found = re.search(r"the board listens .*port=(\d+)", line)
        if found:
            return int(found[1])
    raise AssertionError(told)


def account(shop: Shop, folder: Path, *arguments: str, password: str = PASSWORD) -> None:
    secret = folder / "password"
    secret.write_text(password + "\n")
    done = shop("account", *arguments, "--password-file", str(secret), role="board")
    assert done.code == 0, done.err


def certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "board.test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(1))
        .not_valid_after(now + dt.timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    chain, private = folder / "board.pem", folder / "board.key"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )  # fmt: skip
    return chain, private


def test_without_an_account_it_says_how_to_make_one(own_shop: Shop, tmp_path: Path) -> None:
    with started(own_shop, settings(own_shop, tmp_path)) as process:
        _, told = process.communicate(timeout=60)
        assert process.returncode == 78
        assert "rootdx account add" in told


def test_people_sign_in_over_tls_and_a_stop_cuts_open_streams(own_shop: Shop, tmp_path: Path) -> None:
    account(own_shop, tmp_path, "add", "kim", "--role", "engineer")
    chain, private = certificate(tmp_path)
    file = settings(own_shop, tmp_path, certificate=str(chain), key=str(private))
    with started(own_shop, file) as process:
        url = f"https://localhost:{port_of(process)}/api/v1"
        trusting = ssl.create_default_context(cafile=str(chain))
        with httpx.Client(base_url=url, verify=trusting, headers={"X-Rootdx": "test"}, timeout=60) as web:
            answer = web.post("/session", json={"name": "kim", "password": PASSWORD})
            assert answer.json()["role"] == "engineer"
            assert "secure" in answer.headers["set-cookie"].lower()
            assert answer.headers["strict-transport-security"] == "max-age=31536000"
            with contextlib.suppress(httpx.HTTPError), web.stream("GET", "/live") as stream:
                assert next(stream.iter_lines()) == "retry: 2000"
                process.send_signal(signal.SIGTERM)
                assert process.wait(60) == 0
    with pytest.raises(httpx.HTTPError):
        httpx.get(url + "/health", verify=trusting)


def test_accounts_are_made_changed_and_listed_and_the_journal_has_it(own_shop: Shop, tmp_path: Path) -> None:
    account(own_shop, tmp_path, "add", "lee", "--role", "operator")
    again = own_shop(
        "account", "add", "lee", "--role", "operator", "--password-file", str(tmp_path / "password"), role="board"
    )
    assert again.code == 1
    assert "lee has an account already" in again.err
    assert own_shop("account", "role", "lee", "admin", role="board").code == 0
    assert own_shop("account", "disable", "lee", role="board").code == 1, "no admin would be left"
    account(own_shop, tmp_path, "add", "kim", "--role", "admin")
    assert own_shop("account", "disable", "lee", role="board").code == 0
    listed = own_shop("account", "list", "--format", "csv", role="board").out
    assert re.search(r"^lee,admin,true,", listed, re.MULTILINE)
    assert "argon2" not in listed
    account(own_shop, tmp_path, "password", "kim")
    short = tmp_path / "password"
    short.write_text("short\n")
    refused = own_shop("account", "password", "kim", "--password-file", str(short), role="board")
    assert "10 to 200 letters" in refused.err
    reader = own_shop("account", "list")
    assert "permission denied" in reader.err


@pytest.mark.parametrize(
    ("board", "words"),
    [
        ({"certificate": "board.pem"}, "certificate and key go together"),
        ({"sign_in": False, "host": "0.0.0.0"}, "everybody in the network would be admin"),
        ({"host": "0.0.0.0"}, "passwords would cross the network readable"),
        ({"host": "::"}, "`rootdx certs server board` makes them"),
        ({"sign_in": False, "host": "203.0.113.7", "names": ["x"]}, "everybody in the network would be admin"),
        ({"prot": 1}, "prot"),
    ],
)
def test_settings_that_will_not_do_say_why(shop: Shop, tmp_path: Path, board: dict[str, object], words: str) -> None:
    with started(shop, settings(shop, tmp_path, **board)) as process:
        _, told = process.communicate(timeout=60)
        assert process.returncode == 78
        assert words in told
