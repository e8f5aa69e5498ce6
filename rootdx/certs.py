"""A plant's own authority and the certificates it gives: bus, database, board and gateways. See commands.md.

* The authority is made once and never overwritten; whoever has `ca.key` can make certificates, so it stays on one
  computer. `renew` gives certificates a new end and keeps their keys, so that a pair never fits only half.
* A gateway's certificate names the gateway (CN) and nothing else: with it the broker knows which topics are its own.
* A writer may be for some gateways alone: that list is the folder's, not the certificate's, and can be said anew.
* Every file is 0600, its folder 0700; a file is there as a whole or not at all.

Layout of the folder: `ca.pem`, `ca.key`, for each name `NAME.pem` and `NAME.key`; `bus-users.conf` and `bus.acl`, the
permissions of every client on a NATS broker and on Mosquitto; `reads.json`, the gateways of each writer that has a
list; `crl.pem` and the files of `revocation.py`.
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
from pipeline.topics import slug
from rootdx import revocation
from rootdx.bus_rights import mosquitto_acl, nats_users
from rootdx.server import write

Kind = Literal["ca", "server", "client"]

CA: Final = "ca"
BROKER: Final = "broker"
"""How the names of brokers begin: broker, or broker1, broker2, broker3 of a cluster."""
USERS: Final = "bus-users.conf"
ACL: Final = "bus.acl"
CRL: Final = f"{revocation.CRL}.pem"
"""Of certificates that are revoked; there from the beginning, so that every configuration can name it."""
METRICS: Final = "metrics"
COMPUTE: Final = "compute"
"""Of whoever takes part in a cluster that computes: each calls and is called."""
"""Begins the names of servers of metrics."""
_READS: Final = "reads.json"
LIFE: Final = timedelta(days=825)
"""Of servers and clients; longer ones are refused by some."""
CA_LIFE: Final = timedelta(days=7300)
NEAR: Final = timedelta(days=60)
"""So long before its end `renew` renews a certificate without being asked for it."""
_CLOCK_ERROR: Final = timedelta(days=1)
"""By which another computer's clock may be behind ours."""
_RESERVED: Final = frozenset({CA, "alarm", revocation.CRL})
"""`rootdx/v1/alarm/…` are the notifier's topics, so no gateway may be called so."""


@dataclass(frozen=True, slots=True)
class Paper:
    """A certificate of the folder.

    Attributes:
        name: of its files, and its CN.
        kind: whose it is.
        names: under which a server is reached.
        end: after which nobody believes it.
        serial: number of this one.
    """

    name: str
    kind: Kind
    names: tuple[str, ...]
    end: datetime
    serial: int

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
    _write_rights(folder, now)
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
    _authority(folder)
    gone = [one for one in revocation.revoked(folder) if (one.name, one.kind) == (name, "client") and one.end > now]
    if gone and kind == "client":  # NATS knows names alone: whoever has the old one would be let in again
        raise ConfigError(
            f"{name}: was revoked on {gone[-1].when:%Y-%m-%d}, and its old certificate is good until "
            f"{max(one.end for one in gone):%Y-%m-%d}; choose another name, e.g. {name}b"
        )
    if kind == "server" and not names:
        raise ConfigError(f"server {name!r}: give every name and number by which it is reached, as --host broker")
    _make_key(folder, name)
    _sign(folder, name, kind, names, now)
    _write_rights(folder, now)
    return file


def make_writer(folder: Path, name: str, gateways: Sequence[str], now: datetime) -> Path:
    """A writer's certificate that is good for the records of some gateways alone; one that is there gets a new list.

    Raises:
        ConfigError: as `make`, or one is no gateway's name.
    """
    for one in (*gateways, name):
        slug(one, "gateway")
    if name in gateways:
        raise ConfigError(f"writer {name!r}: is one of its own gateways; it needs a name of its own")
    known = _reads(folder)
    _write(folder / _READS, json.dumps({**known, name: sorted(set(gateways))}, indent=1) + "\n")
    file = folder / f"{name}.pem"
    if not file.exists():
        return make(folder, name, "client", [], now)
    _write_rights(folder, now)
    return file


def revoke(folder: Path, name: str, now: datetime) -> None:
    """A name and all its certificates, renewed ones too, are believed no more; both its files are gone.

    Raises:
        ConfigError: there is none of that name, it was revoked before, or it is the authority.
    """
    known = {one.name: one for one in papers(folder)}
    if name == CA:
        raise ConfigError("the authority cannot be revoked: make another one in another folder, and everything anew")
    if name not in known:
        before = [one for one in revocation.revoked(folder) if one.name == name]
        said = f"was revoked on {before[-1].when:%Y-%m-%d}" if before else "no such certificate"
        raise ConfigError(f"{name}: {said}; there are: {', '.join(sorted(set(known) - {CA}))}")
    one = known[name]
    revocation.revoke(folder, name, revocation.Issued(name, one.kind, one.serial, one.end, now), now)
    for end in ("pem", "key"):
        (folder / f"{name}.{end}").unlink(missing_ok=True)
    _write(folder / _READS, json.dumps({who: its for who, its in _reads(folder).items() if who != name}) + "\n")
    _write_rights(folder, now)


def papers(folder: Path) -> list[Paper]:
    """Every certificate of the folder, the one that ends first in front.

    Raises:
        ConfigError: one cannot be read, or there is no authority.
    """
    _authority(folder)
    found = [_paper(file) for file in sorted(folder.glob("*.pem")) if file.name != CRL]
    return sorted(found, key=lambda one: one.end)


def revoked(folder: Path) -> list[revocation.Issued]:
    """What was revoked.

    Raises:
        ConfigError: the file cannot be read.
    """
    return revocation.revoked(folder)


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
    _write_rights(folder, now)
    return [_paper(folder / f"{name}.pem") for name in asked or near]


def _write_rights(folder: Path, now: datetime) -> None:
    """What brokers and servers are told of the folder: who may do what, and who is believed no more."""
    clients = [one.name for one in papers(folder) if one.kind == "client"]
    reads = {name: its for name, its in _reads(folder).items() if name in clients}
    _write(folder / USERS, nats_users(clients, reads))
    _write(folder / ACL, mosquitto_acl(clients, reads))
    revocation.write_list(folder, *_authority(folder), now)


def _reads(folder: Path) -> dict[str, list[str]]:
    file = folder / _READS
    if not file.exists():
        return {}
    try:
        return {str(name): [str(one) for one in its] for name, its in json.loads(_content(file)).items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"{file}: expected the gateways of each writer as JSON: {error}") from error


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
    uses = [ExtendedKeyUsageOID.SERVER_AUTH if kind == "server" else ExtendedKeyUsageOID.CLIENT_AUTH]
    # The nodes of a cluster call each other; a health check asks a process with the process's own pair.
    if kind == "server" and name.startswith((BROKER, METRICS, COMPUTE)):
        uses.append(ExtendedKeyUsageOID.CLIENT_AUTH)
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
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(issuer, critical=False)
    )
    if names:
        made = made.add_extension(x509.SubjectAlternativeName([_name(one) for one in names]), critical=False)
    signed = made.sign(signer, hashes.SHA256())
    file = folder / f"{name}.pem"
    before = [_paper(file)] if file.exists() else []  # of a program that did not note them yet
    for one in before:
        revocation.note_issued(folder, revocation.Issued(name, kind, one.serial, one.end, now))
    note = revocation.Issued(name, kind, signed.serial_number, signed.not_valid_after_utc, now)
    revocation.note_issued(folder, note)
    _write(file, signed.public_bytes(serialization.Encoding.PEM).decode())


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
    return Paper(file.stem, kind, names, found.not_valid_after_utc, found.serial_number)


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
