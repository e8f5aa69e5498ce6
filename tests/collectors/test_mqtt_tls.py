"""Brokers that encrypt: whose certificate is believed, what is shown, and what is said when it does not fit."""

import asyncio
import re
import secrets
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from collectors.protocols import MachineFile
from pipeline import metrics
from pipeline.errors import ConfigError, Unavailable
from pipeline.plant import load
from rootdx.embedded import Broker
from tests.collectors.devices import ASSET, first_readings, machine, opening
from tests.support.services import reachable_folder, run

Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Paper:
    """A certificate with its key, on disk."""

    certificate: x509.Certificate
    key: Key
    file: Path
    key_file: Path


def paper(folder: Path, name: str, *, by: Paper | None = None, names: tuple[str, ...] = (), days: int = 7) -> Paper:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.IPAddress(ip_address(n)) if n[0].isdigit() else x509.DNSName(n) for n in names or (name,)]
            ),
            critical=False,
        )
        .sign(by.key if by else key, hashes.SHA256())
    )
    file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    for one in (file, key_file):
        one.chmod(0o644)  # the broker may run as another user than the tests
    return Paper(made, key, file, key_file)


class SafeBroker(Broker):
    """The embedded broker behind TLS."""

    def __init__(self, folder: Path, own: Paper, clients: Paper | None = None) -> None:
        super().__init__(folder)
        verified = f', ca_file: "{clients.file}", verify: true' if clients else ""
        self.tls = f'tls: {{ cert_file: "{own.file}", key_file: "{own.key_file}"{verified} }}, '

    async def _command(self) -> list[str]:
        command = await super()._command()
        file = Path(command[-1])
        text = re.sub(r"mqtt \{ ", f"mqtt {{ {self.tls}", file.read_text())
        assert self.tls in text
        file.write_text(text)
        return command

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection(self.host, self.port)
        except OSError:
            return False
        writer.close()
        return True


@dataclass(frozen=True)
class Hall:
    """Papers, and brokers that show them."""

    folder: Path
    ca: Paper
    client: Paper
    open: SafeBroker
    strict: SafeBroker
    expired: SafeBroker


@pytest.fixture(scope="module")
def hall() -> Any:
    with reachable_folder() as folder:
        ca = paper(folder, "ca")
        own = paper(folder, "broker", by=ca, names=("localhost", "127.0.0.1"))
        old = paper(folder, "old", by=ca, names=("127.0.0.1",), days=-1)
        client = paper(folder, "client", by=ca)
        brokers = []
        for name, shown, clients in (("open", own, None), ("strict", own, ca), ("expired", old, None)):
            (folder / name).mkdir(mode=0o755)
            brokers.append(SafeBroker(folder / name, shown, clients))
            run(brokers[-1].start())
        yield Hall(folder, ca, client, *brokers)
        for one in brokers:
            run(one.stop())


def device(broker: Broker, topic: str = "x", **tls: Any) -> Any:
    source = {"protocol": "mqtt", "host": broker.host, "port": broker.port, "timeout_s": 4.0, "tls": tls}
    return machine(source, [{"name": "t", "address": f"{topic} v"}])


async def heard(hall: Hall, broker: SafeBroker, **tls: Any) -> float:
    """What arrives of a message that is published while the session is open."""
    topic = f"tls/{secrets.token_hex(4)}"
    one = device(broker, topic, **tls)
    context = ssl.create_default_context(cafile=str(hall.ca.file))
    context.load_cert_chain(hall.client.file, hall.client.key_file)
    reading = asyncio.create_task(first_readings(one.source, opening(one, time.time_ns, client_id=topic), 1))
    async with aiomqtt.Client(broker.host, broker.port, tls_context=context) as client:
        while not reading.done():
            await client.publish(topic, '{"v": 7}', qos=1)
            await asyncio.sleep(0.2)
    (found,) = await reading
    return float(found.bodies[0].value[0])  # type: ignore[union-attr]


async def refused(one: Any) -> None:
    async with (
        asyncio.timeout(8),
        one.source.open(opening(one, time.time_ns, client_id=secrets.token_hex(4))) as session,
    ):
        await anext(session.readings())


async def test_rows_come_through_an_encrypted_connection(hall: Hall) -> None:
    assert await heard(hall, hall.open, ca_file=hall.ca.file) == 7.0


async def test_a_broker_that_wants_a_certificate_gets_ours(hall: Hall) -> None:
    mine = {"ca_file": hall.ca.file, "certificate": hall.client.file}
    assert await heard(hall, hall.strict, **mine, key=hall.client.key_file) == 7.0
    both = hall.folder / "both.pem"
    both.write_bytes(hall.client.file.read_bytes() + hall.client.key_file.read_bytes())
    assert await heard(hall, hall.strict, ca_file=hall.ca.file, certificate=both) == 7.0
    told = metrics.certificate_expiry.labels
    assert told(ASSET, "own")._value.get() == hall.client.certificate.not_valid_after_utc.timestamp()
    assert told(ASSET, "server")._value.get() > time.time()
    with pytest.raises(Unavailable):
        await refused(device(hall.strict, ca_file=hall.ca.file))


async def test_a_broker_that_cannot_be_believed_is_a_matter_for_a_person(hall: Hall) -> None:
    for one, words in (
        (device(hall.open), "not believed: .*check tls.ca_file"),
        (device(hall.expired, ca_file=hall.ca.file), "certificate has expired"),
        (device(hall.open, ca_file=hall.ca.file, server_name="elsewhere"), "not valid for 'elsewhere'"),
    ):
        with pytest.raises(ConfigError, match=words):
            await refused(one)
    assert await heard(hall, hall.open, ca_file=hall.ca.file, server_name="localhost") == 7.0


async def test_a_broker_that_does_not_encrypt_is_away(hall: Hall) -> None:
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as server:
        source = {"protocol": "mqtt", "host": "127.0.0.1", "port": server.sockets[0].getsockname()[1], "tls": {}}
        with pytest.raises(Unavailable):
            await refused(machine(source, [{"name": "t", "address": "x v"}]))


async def test_files_that_cannot_be_used_are_named(hall: Hall, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"ca_file": tmp_path / "no.pem"}, "tls.ca_file = .*no.pem'"),
        ({"ca_file": wrong}, "tls.ca_file = .*wrong.pem'"),
        ({"certificate": hall.client.file}, "tls.certificate or tls.key = .*client.pem'"),
        ({"certificate": hall.client.file, "key": hall.ca.key_file}, "tls.certificate or tls.key"),
    )
    for tls, words in cases:
        with pytest.raises(ConfigError, match=words):
            await refused(device(hall.open, **tls))
    with pytest.raises(ValidationError, match="key without certificate"):
        device(hall.open, key=hall.client.key_file)


@pytest.mark.parametrize("protocol", ['"mqtt"', '"sparkplug"\ngroup = "g"\nedge = "e"'])
def test_paths_count_from_the_machine_file(tmp_path: Path, protocol: str) -> None:
    file = tmp_path / "m.toml"
    file.write_text(
        f'path = "a/b/c"\nname = "m"\nprocess = "casting"\n[source]\nprotocol = {protocol}\nhost = "x"\n'
        'user = "u"\npassword_file = "secret"\n[source.tls]\nca_file = "ca.pem"\n'
        '[[tag]]\nname = "t"\nunit = "1"\naddress = "x y"\n'
    )
    source: Any = load(file, MachineFile).source
    assert (source.password_file, source.tls.ca_file) == (tmp_path / "secret", tmp_path / "ca.pem")
