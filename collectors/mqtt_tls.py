"""Encryption to a broker: whose certificates are believed, and the one that we show. Pure but for reading the files.

* A broker is always checked, against the named authority or the machine's own, and by its name.
* Files are read when the connection is opened, so that one renewed on disk counts from the next.
"""

import contextlib
import ssl
from pathlib import Path

from cryptography import x509
from pydantic import model_validator

from collectors.source import Refused
from pipeline import metrics
from pipeline.plant import Beside, Frozen


class Tls(Frozen):
    """TLS settings; the table alone, empty, is encryption with the authorities that this machine trusts."""

    ca_file: Beside | None = None
    """PEM of the authorities (or the self-signed broker) that are believed; none: those of this machine."""
    certificate: Beside | None = None
    """PEM that we show, with its chain; none: the broker wants no certificate."""
    key: Beside | None = None
    """PEM of its key, without pass phrase; none: it stands in `certificate`."""
    server_name: str = ""
    """Name in the broker's certificate where it is not `host`; for brokers that are reached by their number."""

    @model_validator(mode="after")
    def _check(self) -> "Tls":
        if self.key is not None and self.certificate is None:
            raise ValueError("key without certificate; give both, or a certificate that holds its key")
        return self

    def context(self, asset: str) -> ssl.SSLContext:
        """How to greet the broker, for a machine whose metric says when our certificate expires.

        Raises:
            Refused: a file cannot be used; says which.
        """
        try:
            made = ssl.create_default_context(cafile=None if self.ca_file is None else str(self.ca_file))
        except OSError as error:  # an SSLError is one
            raise _unusable("ca_file", self.ca_file, error) from error
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate is not None:
            try:
                made.load_cert_chain(self.certificate, self.key, password="")
                tell(asset, "own", self.certificate.read_bytes())
            except OSError as error:
                raise _unusable("certificate or tls.key", self.certificate, error) from error
        return made


def tell(asset: str, whose: str, certificate: bytes | None) -> None:
    """Sets the metric that says when a certificate, PEM or DER, expires; one that cannot be read has none."""
    with contextlib.suppress(ValueError):
        is_pem = (certificate or b"").find(b"-----BEGIN CERTIFICATE") >= 0
        read = x509.load_pem_x509_certificate if is_pem else x509.load_der_x509_certificate
        expiry = read(certificate or b"").not_valid_after_utc
        metrics.certificate_expiry.labels(asset, whose).set(expiry.timestamp())


def _unusable(key: str, file: Path | None, error: OSError) -> Refused:
    why = error.strerror if not isinstance(error, ssl.SSLError) else error.reason
    return Refused(
        f"tls.{key} = {str(file)!r}: cannot be used: {why or 'no PEM in it'}; expected PEM files that this user "
        "may read, the key without pass phrase"
    )
