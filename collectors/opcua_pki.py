"""Certificates of the OPC UA client: its own, and those of the servers it has met. See opcua.md.

* The own key and certificate are made once and kept; nothing but the removal of the file makes another.
* A server's certificate is pinned when the first session with it succeeds; from then on it shall show that one.
* Every refusal names the file to look at. What was refused lies in `rejected`, to be compared and copied.

Layout of the folder: `own/rootdx.key.pem` (0600), `own/rootdx.der`, `trusted/<host>-<port>.der`, `rejected/` likewise.
"""

import os
import re
import secrets
import socket
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from collectors.source import Refused

_KEY_BITS: Final = 2048
"""What every one of the policies takes."""
_LIFE: Final = timedelta(days=3650)
_CLOCK_ERROR: Final = timedelta(days=2)
"""By which a device's clock may be behind ours."""
_making: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey
    file: Path
    """Of the certificate, for people."""

    @property
    def uri(self) -> str:
        """The application's URI, which a server compares with what the client says it is."""
        names = self.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return next(iter(names.get_values_for_type(x509.UniformResourceIdentifier)), "")


def own(pki: Path, now: datetime) -> Identity:
    """The client's own identity, made at the first call.

    Raises:
        Refused: the folder cannot be written, the files cannot be read or do not belong together, or the
            certificate has expired.
    """
    key_file, file = pki / "own" / "rootdx.key.pem", pki / "own" / "rootdx.der"
    try:
        with _making:
            if not file.exists():
                _make(key_file, file, now)
    except OSError as error:
        raise Refused(
            f"{error.filename or pki}: cannot keep the client's certificate: {error.strerror}; name a folder that the "
            "gateway may write, as pki in [source.security]"
        ) from error
    found = Identity(read_certificate(file), read_key(key_file), file)
    _check_pair(found, key_file)
    if found.certificate.not_valid_after_utc <= now:
        raise Refused(
            f"{file}: the client's own certificate expired on {found.certificate.not_valid_after_utc:%Y-%m-%d}; remove "
            "the file, a new one is made at the next try, and have the servers trust that one"
        )
    return found


def user(file: Path, key_file: Path) -> Identity:
    """A user's certificate and key.

    Raises:
        Refused: as of `own`.
    """
    found = Identity(read_certificate(file), read_key(key_file), file)
    _check_pair(found, key_file)
    return found


def _check_pair(found: Identity, key_file: Path) -> None:
    if found.certificate.public_key() != found.key.public_key():
        raise Refused(f"{found.file}: does not belong to the key in {key_file}; put the right pair there")


def _make(key_file: Path, file: Path, now: datetime) -> None:
    key_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not key_file.exists():
        key = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _put(key_file, pem, 0o600, replace=False)
    certificate = _certificate(read_key(key_file), now)
    _put(file, certificate.public_bytes(serialization.Encoding.DER), 0o644, replace=False)


def _certificate(key: rsa.RSAPrivateKey, now: datetime) -> x509.Certificate:
    """A self-signed application certificate as OPC 10000-6 §6.2.2 wants it."""
    host = socket.gethostname()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"rootdx@{host}"[:64])])
    uri = f"urn:{re.sub('[^A-Za-z0-9.-]', '-', host)}:rootdx:{secrets.token_hex(4)}"
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        key_cert_sign=True,  # of itself
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .not_valid_before(now - _CLOCK_ERROR)
        .not_valid_after(now + _LIFE)
        .serial_number(x509.random_serial_number())
        .public_key(key.public_key())
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri), x509.DNSName(host)]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=False)
        .add_extension(usage, critical=False)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        .sign(key, hashes.SHA256())
    )


def _put(file: Path, content: bytes, mode: int, *, replace: bool) -> None:
    """The whole file or none of it; without `replace` one that is there already stays."""
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        if replace:
            draft.replace(file)
        elif not file.exists():
            file.hardlink_to(draft)
    except FileExistsError:
        pass  # another process was first
    finally:
        draft.unlink(missing_ok=True)


def read_certificate(file: Path) -> x509.Certificate:
    """A certificate in DER or PEM.

    Raises:
        Refused: it is none.
    """
    content = _content(file, "certificate")
    try:
        is_pem = content.lstrip().startswith(b"-----BEGIN")
        return x509.load_pem_x509_certificate(content) if is_pem else x509.load_der_x509_certificate(content)
    except ValueError as error:
        raise Refused(f"{file}: no certificate in DER or PEM: {error}") from error


def read_key(file: Path) -> rsa.RSAPrivateKey:
    """A private RSA key in PEM or DER, without pass phrase.

    Raises:
        Refused: it is none.
    """
    content = _content(file, "private key")
    try:
        if content.lstrip().startswith(b"-----BEGIN"):
            key = serialization.load_pem_private_key(content, None)
        else:
            key = serialization.load_der_private_key(content, None)
    except (ValueError, TypeError) as error:
        raise Refused(f"{file}: no private key in PEM or DER without pass phrase: {error}") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise Refused(f"{file}: an RSA key is expected")
    return key


def _content(file: Path, what: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise Refused(f"{file}: cannot read the {what}: {error.strerror}") from error


def thumbprint(certificate: x509.Certificate) -> str:
    """SHA-1 in hexadecimal, as servers show it to tell certificates apart."""
    return certificate.fingerprint(hashes.SHA1()).hex()  # noqa: S303  # a name that people compare, nothing is signed


@dataclass(frozen=True, slots=True)
class Pin:
    """The one certificate that a server is expected to show."""

    url: str
    pki: Path

    @property
    def file(self) -> Path:
        """Where it lies."""
        return self.pki / "trusted" / self._name

    @property
    def _name(self) -> str:
        at = urlsplit(self.url)
        return re.sub(r"[^A-Za-z0-9.-]", "_", f"{at.hostname}-{at.port or 4840}") + ".der"

    def check(self, shown: x509.Certificate, now: datetime) -> None:
        """Accepts what is pinned, or anything valid where nothing is pinned yet.

        Raises:
            Refused: another certificate than the one pinned, or no longer (or not yet) valid.
        """
        print_ = thumbprint(shown)
        if self.file.exists():
            pinned = read_certificate(self.file)
            if pinned != shown:
                rejected = self._reject(shown)
                raise Refused(
                    f"{self.url}: the server shows another certificate than before: now {print_} "
                    f"({_subject(shown)}), so far {thumbprint(pinned)} ({_subject(pinned)}). Was it changed on the "
                    f"server? Then copy {rejected} to {self.file}. If not, somebody else answers at this address"
                )
        if not shown.not_valid_before_utc - _CLOCK_ERROR <= now < shown.not_valid_after_utc:
            self._reject(shown)
            raise Refused(
                f"{self.url}: the server's certificate {print_} ({_subject(shown)}) is valid from "
                f"{shown.not_valid_before_utc:%Y-%m-%d} to {shown.not_valid_after_utc:%Y-%m-%d} only, today is "
                f"{now:%Y-%m-%d}; renew it on the server, then remove {self.file}, or set the clock right"
            )

    def keep(self, shown: x509.Certificate) -> bool:
        """Pins what a session succeeded with; whether it was the first.

        Raises:
            Refused: the folder cannot be written.
        """
        if self.file.exists():
            return False
        self._write(self.file, shown)
        return True

    def _reject(self, shown: x509.Certificate) -> Path:
        file = self.pki / "rejected" / self._name
        if not file.exists() or file.read_bytes() != shown.public_bytes(serialization.Encoding.DER):
            self._write(file, shown)
        return file

    def _write(self, file: Path, shown: x509.Certificate) -> None:
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _put(file, shown.public_bytes(serialization.Encoding.DER), 0o644, replace=True)
        except OSError as error:
            raise Refused(
                f"{file}: cannot keep the server's certificate: {error.strerror}; name a folder that the gateway may "
                "write, as pki in [source.security]"
            ) from error


def _subject(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()
