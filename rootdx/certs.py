"""A plant's own authority and the certificates it gives: bus, database, board and gateways. See commands.md.

* The authority is made once and never overwritten; whoever has `ca.key` can make certificates, so it stays on one
  computer. `renew` gives certificates a new end and keeps their keys, so that a pair never fits only half.
* A gateway's certificate names the gateway (CN) and nothing else: with it the broker knows which topics are its own.
* Every file is 0600, its folder 0700; a file is there as a whole or not at all.

Layout of the folder: `ca.pem`, `ca.key`, for each name `NAME.pem` and `NAME.key`, and `bus-users.conf`, the permissions
of every client on a NATS broker (Mosquitto needs none: its patterns know the names).
"""

import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pipeline.errors import ConfigError
from pipeline.topics import ALL_RECORDS, alarm_topic, committed_topic, record_topic, slug
from rootdx.server import write

Kind = Literal["ca", "server", "client"]

CA: Final = "ca"
WRITER: Final = "writer"
NOTIFY: Final = "notify"
USERS: Final = "bus-users.conf"
LIFE: Final = timedelta(days=825)
"""Of servers and clients; longer ones are refused by some."""
CA_LIFE: Final = timedelta(days=7300)
NEAR: Final = timedelta(days=60)
"""So long before its end `renew` renews a certificate without being asked for it."""
_CLOCK_ERROR: Final = timedelta(days=1)
"""By which another computer's clock may be behind ours."""
_RESERVED: Final = frozenset({CA, "alarm"})
"""`rootdx/v1/alarm/…` are the notifier's topics, so no gateway may be called so."""


@dataclass(frozen=True, slots=True)
class Paper:
    """A certificate of the folder.

    Attributes:
        name: of its files, and its CN.
        kind: whose it is.
        names: under which a server is reached.
        end: after which nobody believes it.
    """

    name: str
    kind: Kind
    names: tuple[str, ...]
    end: datetime

    def days_left(self, now: datetime) -> int:
        """Whole days to its end; negative when that is over."""
        return (self.end - now).days


def make_authority(folder: Path, plant: str, now: datetime) -> Path:
    """The authority of a plant, whose name its certificate carries.

    Raises:
        ConfigError: there is one already, or the folder cannot be written.
    """
    file = folder / f"{CA}.pem"
    if file.exists() or file.with_suffix(".key").exists():
        raise ConfigError(
            f"{file}: there is an authority already, and everything it signed would be worth nothing; "
            "`rootdx certs renew ca` gives it a new end, another folder another authority"
        )
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"rootdx {plant}"[:64])])
    _make_key(folder, CA)
    _sign_authority(folder, subject, now)
    return file


def make(folder: Path, name: str, kind: Literal["server", "client"], names: Sequence[str], now: datetime) -> Path:
    """A certificate with its key.

    Args:
        folder: of the authority.
        name: of a server, or of a gateway, `writer` or `notify`.
        kind: what it is good for.
        names: host names and IP numbers of a server.
        now: the time.

    Raises:
        ConfigError: the name is taken or none, a server without names, no authority, or the folder cannot be written.
    """
    file = folder / f"{slug(name, 'name')}.pem"
    if name in _RESERVED:
        raise ConfigError(f"name = {name!r}: is used by rootdx itself; choose another")
    if file.exists():
        raise ConfigError(f"{file}: is there already; `rootdx certs renew {name}` renews it")
    if kind == "server" and not names:
        raise ConfigError(f"server {name!r}: give every name and number by which it is reached, as --host broker")
    _authority(folder)
    _make_key(folder, name)
    _sign(folder, name, kind, names, now)
    _write_users(folder)
    return file


def papers(folder: Path) -> list[Paper]:
    """Every certificate of the folder, the one that ends first in front.

    Raises:
        ConfigError: one cannot be read, or there is no authority.
    """
    _authority(folder)
    found = [_paper(file) for file in sorted(folder.glob("*.pem"))]
    return sorted(found, key=lambda one: one.end)


def renew(folder: Path, asked: Sequence[str], within: timedelta, now: datetime) -> list[Paper]:
    """A new end for those that are asked for, or, when none is, for those near theirs; never for an authority unasked.

    Raises:
        ConfigError: one that is asked for is not there; as `papers`.
    """
    known = {one.name: one for one in papers(folder)}
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise ConfigError(f"{folder}: no certificate {', '.join(unknown)}; there are: {', '.join(sorted(known))}")
    near = [one.name for one in known.values() if one.end - now <= within and one.kind != CA]
    for name in sorted(asked or near, key=lambda one: one != CA):
        one = known[name]
        if one.kind == CA:
            _sign_authority(folder, _authority(folder)[0].subject, now)
        else:
            _sign(folder, name, one.kind, one.names, now)
    _write_users(folder)
    return [_paper(folder / f"{name}.pem") for name in asked or near]


def bus_users(gateways: Sequence[str]) -> str:
    """What every client may do on a NATS broker, as its configuration includes it.

    Args:
        gateways: names of all clients; `writer` and `notify` are what they are called.
    """
    lines = [_user(name) for name in sorted(gateways)]
    return "# Written by `rootdx certs`: who may do what on the bus.\nusers = [\n" + "".join(lines) + "]\n"


def _user(name: str) -> str:
    if name == WRITER:
        says, hears = committed_topic("+"), ALL_RECORDS
    elif name == NOTIFY:
        says, hears = alarm_topic("#"), None
    else:
        says, hears = record_topic(name), committed_topic(name)
    heard = f"allow: {_subject(hears)}" if hears else 'deny: ">"'
    permissions = f"publish: {{ allow: {_subject(says)} }}, subscribe: {{ {heard} }}"
    return f'  {{ user: "CN={name}", allowed_connection_types: ["MQTT"], permissions: {{ {permissions} }} }}\n'


def _subject(topic: str) -> str:
    """A topic or filter as NATS spells it."""
    return json.dumps(topic.replace("/", ".").replace("+", "*").replace("#", ">"))


def _write_users(folder: Path) -> None:
    _write(folder / USERS, bus_users([one.name for one in papers(folder) if one.kind == "client"]))


def _make_key(folder: Path, name: str) -> None:
    file = folder / f"{name}.key"
    if file.exists():  # of a try that was cut short
        return
    key = ec.generate_private_key(ec.SECP256R1())
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    _write(file, key.private_bytes(serialization.Encoding.PEM, form, plain).decode())


def _sign_authority(folder: Path, subject: x509.Name, now: datetime) -> None:
    key = _key(folder / f"{CA}.key")
    made = (
        _begun(key, subject, subject, now, CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write(folder / f"{CA}.pem", made.public_bytes(serialization.Encoding.PEM).decode())


def _sign(folder: Path, name: str, kind: Kind, names: Sequence[str], now: datetime) -> None:
    authority, signer = _authority(folder)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    use = ExtendedKeyUsageOID.SERVER_AUTH if kind == "server" else ExtendedKeyUsageOID.CLIENT_AUTH
    life = min(LIFE, authority.not_valid_after_utc - now)
    if life <= timedelta():
        raise ConfigError(
            f"{folder / CA}.pem: the authority is at its end; `rootdx certs renew ca`, then hand {CA}.pem out again"
        )
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    made = (
        _begun(_key(folder / f"{name}.key"), subject, authority.subject, now, life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        .add_extension(issuer, critical=False)
    )
    if names:
        made = made.add_extension(x509.SubjectAlternativeName([_name(one) for one in names]), critical=False)
    signed = made.sign(signer, hashes.SHA256())
    _write(folder / f"{name}.pem", signed.public_bytes(serialization.Encoding.PEM).decode())


def _begun(
    key: ec.EllipticCurvePrivateKey, subject: x509.Name, issuer: x509.Name, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .not_valid_before(now - _CLOCK_ERROR)
        .not_valid_after(now + life)
        .serial_number(x509.random_serial_number())
        .public_key(key.public_key())
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _name(given: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(given))
    except ValueError:
        pass
    try:
        return x509.DNSName(given)
    except ValueError as error:
        raise ConfigError(f"--host {given!r}: expected a host name in ASCII or an IP number") from error


def _authority(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    file = folder / f"{CA}.pem"
    if not file.exists():
        raise ConfigError(f"{file}: there is no authority; make it with `rootdx certs init --folder {folder}`")
    return _certificate(file), _key(folder / f"{CA}.key")


def _paper(file: Path) -> Paper:
    found = _certificate(file)
    kind: Kind = CA if file.stem == CA else "client"
    names: tuple[str, ...] = ()
    for extension in found.extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            names = tuple(str(one.value) for one in extension.value)
        elif isinstance(extension.value, x509.ExtendedKeyUsage) and ExtendedKeyUsageOID.SERVER_AUTH in extension.value:
            kind = "server"
    return Paper(file.stem, kind, names, found.not_valid_after_utc)


def _certificate(file: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(_content(file))
    except ValueError as error:
        raise ConfigError(f"{file}: no certificate in PEM: {error}") from error


def _key(file: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(_content(file), None)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{file}: no private key in PEM without pass phrase: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{file}: not a key that `rootdx certs` made")
    return key


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write(file, text)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}; name a folder of yours") from error
