"""Which certificates of the plant's authority are believed no more, though their end has not come.

* Every certificate ever signed is noted with its serial number, since one that was renewed is good until its own end:
  to revoke a name is to revoke all of them.
* The list (CRL) is signed by the authority and does not grow old: a server with an old list would let nobody in.

Layout, beside the certificates: `issued.csv` and `revoked.csv` (name, kind, serial, end, when), `crl.pem`.
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipeline.errors import ConfigError
from rootdx.server import write

CRL: Final = "crl"
_ISSUED: Final = "issued.csv"
_REVOKED: Final = "revoked.csv"


@dataclass(frozen=True, slots=True)
class Issued:
    """One certificate that was signed.

    Attributes:
        name: whose it is.
        kind: server or client.
        serial: of the certificate.
        end: after which nobody believes it anyway.
        when: it was signed, or revoked.
    """

    name: str
    kind: str
    serial: int
    end: datetime
    when: datetime


def note_issued(folder: Path, one: Issued) -> None:
    """Remembers a certificate.

    Raises:
        ConfigError: the folder cannot be read or written.
    """
    known = _read(folder / _ISSUED)
    if one.serial not in {other.serial for other in known}:
        _write(folder / _ISSUED, [*known, one])


def revoked(folder: Path) -> list[Issued]:
    """What was revoked, in that order.

    Raises:
        ConfigError: the file cannot be read.
    """
    return _read(folder / _REVOKED)


def revoke(folder: Path, name: str, current: Issued, now: datetime) -> None:
    """Every certificate of a name that is not yet at its end.

    Raises:
        ConfigError: the folder cannot be read or written.
    """
    known = revoked(folder)
    serials = {one.serial for one in known}
    mine = [one for one in [*_read(folder / _ISSUED), current] if one.name == name and one.end > now]
    new = {one.serial: Issued(name, one.kind, one.serial, one.end, now) for one in mine if one.serial not in serials}
    _write(folder / _REVOKED, [*known, *new.values()])


def write_list(folder: Path, authority: x509.Certificate, signer: ec.EllipticCurvePrivateKey, now: datetime) -> None:
    """The list of those that have not come to their end by themselves, as servers read it.

    Raises:
        ConfigError: the folder cannot be read or written.
    """
    made = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.subject)
        .last_update(authority.not_valid_before_utc)
        .next_update(authority.not_valid_after_utc)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(x509.CRLNumber(len(revoked(folder)) + 1), critical=False)
    )
    for one in revoked(folder):
        if one.end > now:
            entry = x509.RevokedCertificateBuilder().serial_number(one.serial).revocation_date(one.when)
            made = made.add_revoked_certificate(entry.build())
    signed = made.sign(signer, hashes.SHA256())
    _keep(folder / f"{CRL}.pem", signed.public_bytes(serialization.Encoding.PEM).decode())


def _read(file: Path) -> list[Issued]:
    if not file.exists():
        return []
    try:
        rows = list(csv.reader(file.read_text(encoding="utf-8").splitlines()))
        return [
            Issued(name, kind, int(serial, 16), datetime.fromisoformat(end), datetime.fromisoformat(when))
            for name, kind, serial, end, when in rows
        ]
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: expected lines of name, kind, serial, end, when: {error}") from error


def _write(file: Path, rows: Iterable[Issued]) -> None:
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerows([one.name, one.kind, f"{one.serial:x}", one.end.isoformat(), one.when.isoformat()] for one in rows)
    _keep(file, out.getvalue())


def _keep(file: Path, text: str) -> None:
    try:
        write(file, text)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}; name a folder of yours") from error
