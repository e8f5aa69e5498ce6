"""The page of a process's metrics: who may read it, and over what.

* As it is only this computer reads it. From elsewhere: with TLS and, where an authority is named, a certificate of it
  whose name is among the readers, or is that of the process itself, which its health check shows.
* A handshake is done by the thread of its connection and within `PATIENCE_S`: whoever connects and keeps silent holds
  up nobody else. Connections at once are bounded.
* Certificates are read at the start; what was renewed or revoked counts from the next.
"""

import contextlib
import socket
import ssl
import threading
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, Final, Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from cryptography import x509
from cryptography.x509.oid import NameOID
from prometheus_client import REGISTRY, CollectorRegistry, Metric, make_wsgi_app
from prometheus_client.registry import Collector

from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

LOOPBACK: Final = "127.0.0.1"
PATIENCE_S: Final = 10.0
MOST_AT_ONCE: Final = 16


class Door(Protocol):
    """How it is reached; the table `[metrics]`."""

    @property
    def host(self) -> str:
        """Address it listens on."""

    @property
    def certificate(self) -> Path | None:
        """PEM; with `key`: TLS."""

    @property
    def key(self) -> Path | None:
        """PEM without pass phrase."""

    @property
    def ca_file(self) -> Path | None:
        """Who reads must have a certificate of it."""

    @property
    def crl_file(self) -> Path | None:
        """Certificates that are believed no more."""

    @property
    def readers(self) -> Collection[str]:
        """Names (CN) of certificates of `ca_file` that may read."""

    @property
    def disks(self) -> Collection[Path]:
        """Folders whose disks are measured."""


class _Quiet(WSGIRequestHandler):
    timeout = PATIENCE_S  # of a request, also of one that never comes

    def log_message(self, *_: object) -> None:
        """Nothing: who reads and who is refused is no news of ours."""

    def get_environ(self) -> dict[str, Any]:
        """With the name in the certificate that was shown; empty: none was asked for."""
        shown = self.request.getpeercert(binary_form=True) if isinstance(self.request, ssl.SSLSocket) else None
        name = "" if shown is None else _name(x509.load_der_x509_certificate(shown))
        return super().get_environ() | {"REMOTE_USER": name}


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, place: tuple[str, int], tls: ssl.SSLContext | None) -> None:
        self.address_family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
        self._tls, self._free = tls, threading.BoundedSemaphore(MOST_AT_ONCE)
        super().__init__(place, _Quiet)

    def server_bind(self) -> None:
        """Without asking the network what the computer is called, which may take half a minute."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is room for another connection."""
        del request, client_address
        return self._free.acquire(blocking=False)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One connection, in a thread of its own; what goes wrong in it is the other's."""
        try:
            with contextlib.suppress(OSError):
                request.settimeout(PATIENCE_S)
                if self._tls is not None:
                    request = self._tls.wrap_socket(request, server_side=True)
                self.finish_request(request, client_address)
            self.shutdown_request(request)
        finally:
            self._free.release()


class _Own(Collector):
    """All that is measured, without what only another process measures."""

    def __init__(self, others: Collection[str]) -> None:
        self._others = frozenset(others)

    def collect(self) -> Iterator[Metric]:
        """As Prometheus asks."""
        return (family for family in REGISTRY.collect() if family.name not in self._others)


@contextlib.contextmanager
def opened(process: str, port: int, door: Door | None, others: Collection[str] = ()) -> Iterator[None]:
    """Serves the metrics of this process until the block ends; `others` names what is not told.

    Raises:
        ConfigError: the port is taken or the host none of this computer, or a certificate cannot be used; says which.
    """
    host = LOOPBACK if door is None else door.host
    tls = None if door is None else _context(door)
    try:
        server = _Server((host, port), tls)
    except OSError as error:
        raise ConfigError(
            f"{process}.metrics_port = {port}, metrics.host = {host!r}: {error.strerror or error}; choose another, or "
            "port 0 for none"
        ) from error
    told = CollectorRegistry()
    told.register(_Own(others))
    page = make_wsgi_app(told)
    server.set_app(page if door is None or door.ca_file is None else _only_for({*door.readers, *_own_name(door)}, page))
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def end_of(door: Door | None) -> float | None:
    """When the certificate ends, seconds since 1970; None without one."""
    if door is None or door.certificate is None:
        return None
    return x509.load_pem_x509_certificate(door.certificate.read_bytes()).not_valid_after_utc.timestamp()


def _only_for(readers: Collection[str], page: "WSGIApplication") -> "WSGIApplication":
    """The page, to whom it is for."""

    def answer(environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        if environ["REMOTE_USER"] in readers:
            return page(environ, start)
        start("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"not among metrics.readers\n"]

    return answer


def _own_name(door: Door) -> list[str]:
    """Of the certificate that the process shows; whoever asks on this computer for its health shows the same."""
    return [] if door.certificate is None else [_name(x509.load_pem_x509_certificate(door.certificate.read_bytes()))]


def _name(certificate: x509.Certificate) -> str:
    return "".join(str(one.value) for one in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME))


def _context(door: Door) -> ssl.SSLContext | None:
    if door.certificate is None or door.key is None:
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        made.load_cert_chain(door.certificate, door.key, password="")
    except OSError as error:  # an SSLError is one
        raise _unusable("certificate or metrics.key", door.certificate, error) from error
    for key, file in (("ca_file", door.ca_file), ("crl_file", door.crl_file)):
        if file is not None:
            try:
                made.load_verify_locations(str(file))
            except OSError as error:
                raise _unusable(key, file, error) from error
    if door.ca_file is not None:
        made.verify_mode = ssl.CERT_REQUIRED
    if door.crl_file is not None:
        made.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    return made


def _unusable(key: str, file: Path, error: OSError) -> ConfigError:
    why = (error.reason if isinstance(error, ssl.SSLError) else error.strerror) or "no PEM in it"
    return ConfigError(
        f"metrics.{key} = {str(file)!r}: cannot be used: {why}; expected PEM files that this user may read, the key "
        "without pass phrase; `rootdx certs server metrics` makes them"
    )
