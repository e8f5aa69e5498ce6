"""Settings of the processes: one TOML file, a table a process, secrets in files of their own.

* Every key has a default that works on a bench; unknown keys are refused.
* A secret never stands in the file: `password_file` names a file that holds it, or the environment variable
  `ROOTDX_STORE_DSN` gives the whole connection string.
* Relative paths are taken from the file's folder.
* `%d/NAME` is the file NAME among the credentials that systemd (or a container) handed this process, and for a person
  who runs a command with the same settings, NAME in the folder `secrets` beside them.
"""

import os
from dataclasses import dataclass
from datetime import time
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import AfterValidator, Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from pipeline.errors import ConfigError
from pipeline.plant import Frozen, Slug, load
from pipeline.secrecy import without_password
from pipeline.topics import SLUG

DSN_ENV: Final = "ROOTDX_STORE_DSN"
CREDENTIALS_ENV: Final = "CREDENTIALS_DIRECTORY"
"""Environment variable: where systemd's LoadCredential= puts files."""


@dataclass(frozen=True, slots=True)
class Node:
    """Where a broker listens."""

    host: str
    port: int

    def __str__(self) -> str:
        """As it is written in `bus.host`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _node(written: str, port: int) -> Node:
    """A host, with a port of its own where it has one: broker1, broker1:8883, 10.0.0.1, ::1, [::1]:8883."""
    host, colon, own = written.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        return Node(written.strip("[]"), port)
    if not host or not own.isascii() or not own.isdecimal() or not 1 <= int(own) <= 65535:
        raise ValueError(
            f"{written!r} is no address; expected a name or number, and a port where it differs: 'b1:8883'"
        )
    return Node(host.strip("[]"), int(own))


def _addresses(given: str | tuple[str, ...]) -> str | tuple[str, ...]:
    each = (given,) if isinstance(given, str) else given
    if not each or not all(each):
        raise ValueError("expected a name, or the names of a cluster's nodes: ['broker1', 'broker2', 'broker3']")
    for one in each:
        _node(one, 1883)
    return given


class Bus(Frozen):
    """The MQTT broker between gateway and writer; any broker of MQTT 3.1.1 will do."""

    host: Annotated[str | tuple[str, ...], AfterValidator(_addresses)] = "127.0.0.1"
    """One, or the nodes of a cluster; a port that differs from `port` behind a colon."""
    port: Annotated[int, Field(ge=1, le=65535)] = 1883
    user: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    """TLS: PEM of the authority that is believed; the broker's certificate must name `host`. None: not encrypted."""
    certificate: Path | None = None
    """PEM that we show the broker, with `key`; its CN is what the broker knows us by."""
    key: Path | None = None
    """PEM without pass phrase."""
    keepalive_s: PositiveInt = 15
    timeout_s: PositiveFloat = 10.0
    """Longest wait for the broker's answer."""

    @model_validator(mode="after")
    def _check_tls(self) -> "Bus":
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together; give both files, or neither")
        if self.certificate is not None and self.ca_file is None:
            raise ValueError("certificate without ca_file; name the authority that the broker's certificate is of")
        return self

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Every address at which the broker may be reached."""
        return tuple(_node(one, self.port) for one in ((self.host,) if isinstance(self.host, str) else self.host))

    def password(self) -> str | None:
        """The secret, read now.

        Raises:
            ConfigError: the file cannot be read.
        """
        return None if self.password_file is None else read_secret(self.password_file)


class SpoolSettings(Frozen):
    """Where a gateway keeps what is not yet committed."""

    folder: Path = Path("spool")
    cap_mb: PositiveFloat = 2048.0
    """Full means: the oldest records that were never sent are dropped, counted and announced."""
    cap_hours: PositiveFloat = 24.0 * 14
    """Older records are dropped likewise."""
    keep_mb: NonNegativeFloat = 512.0
    """Committed records are kept up to this size, for a store restored from a backup; they make room for others."""
    keep_hours: NonNegativeFloat = 48.0
    """Committed records older than this are forgotten."""
    group_s: PositiveFloat = 0.05
    """Everything that arrives within this time is made durable by one fsync."""


class Forwarding(Frozen):
    """How much of the spool is on its way at once."""

    window: PositiveInt = 64
    """Messages sent and not yet known to be committed; full means: wait."""
    message_kb: PositiveInt = 256
    """A message takes as many records as fit; a larger record goes alone. Below the broker's limit."""
    patience_s: PositiveFloat = 3.0
    """Without progress for this long the forwarder goes back to what the ledger says."""


class GatewaySettings(Frozen):
    """One gateway process."""

    name: Slug = "gw-1"
    """Unique in the plant; the bus topics and the ledger carry it."""
    plant: Path = Path("plant")
    """Folder of plant.toml and the machine files."""
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """0: no metrics server."""
    spool: SpoolSettings = SpoolSettings()
    forward: Forwarding = Forwarding()


class Grouping(Frozen):
    """How many records share one transaction of the writer."""

    rows: PositiveInt = 250_000
    """Full means: commit now."""
    wait_ms: PositiveFloat = 40.0
    """Longest wait for company."""
    queue_messages: PositiveInt = 1024
    """Messages held in memory; full means: drop, the gateway sends them again."""


def _slug_or_nothing(name: str) -> str:
    if name and not SLUG.fullmatch(name):
        raise ValueError("expected 1 to 63 lower-case letters, digits and hyphens, as 'writer-1', or nothing")
    return name


class StoreSettings(Frozen):
    """The database."""

    dsn: str = "postgresql://rootdx_writer@127.0.0.1:5432/rootdx"
    """Without password; it comes from `password_file`, PGPASSFILE or the environment."""
    password_file: Path | None = None
    ca_file: Path | None = None
    """TLS: PEM of the authority that is believed; the database's certificate must name the host. What `dsn` says itself
    holds. None: as PGSSLMODE and PGSSLROOTCERT say, and without them not checked."""
    crl_file: Path | None = None
    """PEM of that authority's certificates that were revoked."""
    connect_timeout_s: PositiveInt = 10
    direct_columnstore_rows: PositiveInt = 5_000
    """From this many rows on a transaction goes straight into the columnstore, where TimescaleDB can: see writer.md."""


class WriterSettings(Frozen):
    """One writer process."""

    name: Annotated[str, AfterValidator(_slug_or_nothing)] = ""
    """Among the writers of this database; empty: that of this computer. One that is taken gets a number behind it."""
    gateways: tuple[Slug, ...] = ()
    """Only these are served; none: all. Writers whose lists have a gateway in common share it."""
    machines: dict[Slug, tuple[Annotated[str, Field(min_length=1)], ...]] = Field(default_factory=dict)
    """What each gateway may send: paths of machines, `*` for any characters. Empty: each anything; else one that is not
    named here may send nothing of a machine."""
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    group: Grouping = Grouping()


class AnalyticsSettings(Frozen):
    """One analytics process."""

    plant: Path = Path("plant")
    """Folder of plant.toml and the machine files whose cycles it finds."""
    machines: tuple[str, ...] = ()
    """Paths of the machines it looks after, as in their files; none: all that no other process has."""
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    every_s: PositiveFloat = 1.0
    """Shortest time from one look at new rows to the next."""
    span_h: PositiveFloat = 12.0
    """Longest span of one machine's rows that is worked on at once; longer ones are cut."""
    patience_s: PositiveFloat = 60.0
    """A cycle whose last rows have not come this long after its end is closed without them."""
    judge_every_s: PositiveFloat = 10.0
    """Detectors judge the rows of tags in blocks of at least this long, cycles at once."""
    settle_s: PositiveFloat = 5.0
    """Detectors wait this long for rows of tags that are on their way."""
    live_s: PositiveFloat = 600.0
    """Older rows never ring."""
    together_s: PositiveFloat = 60.0
    """Alarms of a machine that rise within this time have one cause: the first of them rings."""
    history_d: PositiveFloat = 7.0
    """A new detector looks at rows this far back; they never ring."""
    unattended: Literal["watch", "leave"] = "watch"
    """A machine whose file has no [[detector]] is watched by what needs no setting, or left alone."""


class Webhook(Frozen):
    """An HTTP POST with the alarm as JSON."""

    kind: Literal["webhook"] = "webhook"
    url: Annotated[str, Field(pattern=r"^https?://")]
    """Where to; a chat room's or a ticket system's address."""
    token_file: Path | None = None
    """A file with the bearer token, where it needs one."""


class Mail(Frozen):
    """An e-mail."""

    kind: Literal["mail"] = "mail"
    to: Annotated[tuple[str, ...], Field(min_length=1)]
    """Addresses."""


class MqttTold(Frozen):
    """A message on the bus: rootdx/v1/alarm/<asset path>."""

    kind: Literal["mqtt"] = "mqtt"


class Step(Frozen):
    """Who is told when."""

    after_min: Annotated[float, Field(ge=0)] = 0.0
    """Minutes after the alarm was told of; a later step only when it is still active and nobody acknowledged it."""
    priorities: tuple[Literal["low", "medium", "high"], ...] = ("medium", "high")
    to: Annotated[tuple[Annotated[Webhook | Mail | MqttTold, Field(discriminator="kind")], ...], Field(min_length=1)]
    """Channels."""


class Folder(Frozen):
    """A file in a folder, which must be there: a network drive that is not mounted is an error, not a new folder."""

    kind: Literal["folder"] = "folder"
    path: Path


class Report(Frozen):
    """A table `[[report]]`: what is sent by itself; see rootdx/paper/paper.md."""

    name: Slug
    """Unique; with it what was sent is remembered, so a new name begins anew."""
    kind: Literal["shift", "energy", "record"]
    """Of every shift, of every month, or every new compliance record."""
    form: Literal["pdf", "html", "xlsx"] = "pdf"
    language: Literal["ko", "en"] = "ko"
    machine: str | None = None
    """Only of this machine: its path or the end of it."""
    shifts: tuple[str, ...] = ()
    """Only these shifts; none: all."""
    after_min: Annotated[float, Field(ge=0)] = 15.0
    """Minutes after the end of the shift or month, or after the record was made: late rows are in by then."""
    to: Annotated[tuple[Annotated[Mail | Folder, Field(discriminator="kind")], ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check(self) -> "Report":
        if self.kind == "record" and self.form == "xlsx":
            raise ValueError("a record is pdf or html: it is sealed as a whole, not a list")
        return self


class Smtp(Frozen):
    """The mail server."""

    host: str = "localhost"
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    user: str | None = None
    password_file: Path | None = None
    sender: str = "rootdx@localhost"
    security: Literal["starttls", "tls", "none"] = "starttls"


class NotifySettings(Frozen):
    """Who is told of alarms, and when."""

    step: tuple[Step, ...] = ()
    """The escalation list, in order."""
    quiet: tuple[time, time] | None = None
    """From when to when, in plant time, only high alarms are told; the others wait until the end."""
    language: Literal["ko", "en"] = "ko"
    every_s: PositiveFloat = 2.0
    """How often it looks for what is to be told."""
    tries: PositiveInt = 8
    """A channel that fails is tried again, each time after twice as long, at most so often."""
    smtp: Smtp = Smtp()
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0


class BoardSettings(Frozen):
    """The plant's live page."""

    plant: Path = Path("plant")
    """Folder of plant.toml and the machine files."""
    host: str = "127.0.0.1"
    """Address it listens on; 0.0.0.0 for the whole network of the plant."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8470
    """0: any that is free, told in the log."""
    names: tuple[str, ...] = ()
    """Names under which browsers may reach it; none: any, where people sign in."""
    sign_in: bool = True
    """Without it everybody is admin; only on this machine itself (127.0.0.1, ::1)."""
    session_h: PositiveFloat = 12.0
    """A session ends this long after the sign-in, a shift as shipped."""
    idle_h: PositiveFloat = 8.0
    """Or after so long without a request."""
    certificate: Path | None = None
    """TLS: PEM file with the chain; with `key`."""
    key: Path | None = None
    plain_http: bool = False
    """Without a certificate only this machine is served. True: others too, behind a proxy that has one; passwords and
    sessions cross the network readable up to there."""
    every_s: PositiveFloat = 1.0
    """Shortest time from one look at the store to the next, for all who watch together."""
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0

    @property
    def is_local(self) -> bool:
        """Whether nobody but this machine can reach it."""
        return self.host in ("127.0.0.1", "::1", "localhost")


class SealSettings(Frozen):
    """Whose seal the plant folder needs."""

    signers: Path | None = None
    """Folder with the public keys of those who may seal; None: no seal is needed."""


class MetricsSettings(Frozen):
    """Who may read the metrics of a process; one way for all of them, at the `metrics_port` of each."""

    host: str = "127.0.0.1"
    """Address it listens on; 0.0.0.0 for a Prometheus on another computer or in another container."""
    certificate: Path | None = None
    """TLS: PEM that is shown, with `key`; it must name the computer as Prometheus calls it."""
    key: Path | None = None
    ca_file: Path | None = None
    """Who reads must show a certificate of this authority. None: anybody who reaches the port reads."""
    readers: tuple[Annotated[str, Field(min_length=1)], ...] = ("prometheus",)
    """Names in certificates of `ca_file` that may read; the process's own may always, for its health check."""
    crl_file: Path | None = None
    """Certificates of it that were revoked; read at the start."""
    disks: tuple[Path, ...] = ()
    """Folders whose disks are measured: free and size. A gateway measures that of its spool without being told."""

    @model_validator(mode="after")
    def _check_tls(self) -> "MetricsSettings":
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together; give both files, or neither")
        if self.ca_file is not None and self.certificate is None:
            raise ValueError("ca_file without certificate; only over TLS can somebody show one")
        if self.crl_file is not None and self.ca_file is None:
            raise ValueError("crl_file without ca_file; name the authority whose list it is")
        return self


class Settings(Frozen):
    """The whole file."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    seal: SealSettings = SealSettings()
    bus: Bus = Bus()
    store: StoreSettings = StoreSettings()
    gateway: GatewaySettings = GatewaySettings()
    writer: WriterSettings = WriterSettings()
    analytics: AnalyticsSettings = AnalyticsSettings()
    notify: NotifySettings = NotifySettings()
    report: tuple[Report, ...] = ()
    """Reports by schedule, sent by `rootdx report send`."""
    board: BoardSettings = BoardSettings()
    metrics: MetricsSettings = MetricsSettings()

    @model_validator(mode="after")
    def _check_reports(self) -> "Settings":
        names = [one.name for one in self.report]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"[[report]] {twice!r} appears twice; every report needs a name of its own")
        return self


def read_settings(file: Path | None) -> Settings:
    """The settings of a file, or the defaults; relative paths are taken from the file's folder.

    Raises:
        ConfigError: names file, key, value and what was expected.
    """
    if file is None:
        return Settings()
    settings = load(file, Settings)
    base = file.resolve().parent
    gateway = settings.gateway
    spool = gateway.spool.model_copy(update={"folder": base / gateway.spool.folder})
    moved = gateway.model_copy(update={"plant": base / gateway.plant, "spool": spool})
    bus, store = _moved(settings.bus, base, _BUS_FILES), _moved(settings.store, base, _STORE_FILES)
    analytics = settings.analytics.model_copy(update={"plant": base / settings.analytics.plant})
    smtp = _moved(settings.notify.smtp, base, _SECRETS)
    steps = tuple(_step_from(one, base) for one in settings.notify.step)
    notify = settings.notify.model_copy(update={"smtp": smtp, "step": steps})
    board = _moved(settings.board, base, ("plant", "certificate", "key"))
    metrics = _moved(settings.metrics, base, ("certificate", "key", "ca_file", "crl_file"))
    metrics = metrics.model_copy(update={"disks": tuple(base / folder for folder in metrics.disks)})
    reports = tuple(_report_from(one, base) for one in settings.report)
    parts: dict[str, object] = {
        "gateway": moved, "bus": bus, "store": store, "analytics": analytics, "notify": notify, "board": board,
        "report": reports, "metrics": metrics, "seal": _moved(settings.seal, base, ("signers",)),
    }  # fmt: skip
    return settings.model_copy(update=parts)


def _step_from(one: Step, base: Path) -> Step:
    to = [_moved(way, base, ("token_file",)) if isinstance(way, Webhook) else way for way in one.to]
    return one.model_copy(update={"to": tuple(to)})


def _report_from(one: Report, base: Path) -> Report:
    to = [way.model_copy(update={"path": base / way.path}) if isinstance(way, Folder) else way for way in one.to]
    return one.model_copy(update={"to": tuple(to)})


P = TypeVar("P", bound=Frozen)
_SECRETS: Final = ("password_file",)
_STORE_FILES: Final = ("password_file", "ca_file", "crl_file")
_BUS_FILES: Final = ("password_file", "ca_file", "certificate", "key")


def _moved(part: P, base: Path, names: tuple[str, ...]) -> P:
    """With the files that are named, where they really are."""
    files = {name: _place(file, base) for name in names if (file := getattr(part, name)) is not None}
    return part.model_copy(update=files)


def _place(file: Path, base: Path) -> Path:
    if file.parts[:1] != ("%d",):
        return base / file
    handed = os.environ.get(CREDENTIALS_ENV)
    return (Path(handed) if handed else base / "secrets").joinpath(*file.parts[1:])


def read_secret(file: Path) -> str:
    """The first line of a secret file.

    Raises:
        ConfigError: it cannot be read or is empty.
    """
    try:
        secret = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"{file}: cannot read the secret: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: the secret is not UTF-8 text") from error
    if not secret or not secret[0]:
        raise ConfigError(f"{file}: the first line should hold the secret, and it is empty")
    return secret[0]


def store_dsn(store: StoreSettings) -> str:
    """The DSN that the environment gives, or the file's with its secret.

    Raises:
        ConfigError: the secret cannot be read, or the DSN is none.
    """
    given = os.environ.get(DSN_ENV)
    if given:
        return given
    more = {} if store.password_file is None else {"password": read_secret(store.password_file)}
    if store.ca_file is not None:
        more |= {"sslmode": "verify-full", "sslrootcert": str(store.ca_file)}
    if store.ca_file is not None and store.crl_file is not None:
        more |= {"sslcrl": str(store.crl_file)}
    if not more:
        return store.dsn
    try:
        written = conninfo_to_dict(store.dsn)
        return make_conninfo(
            store.dsn, **{key: one for key, one in more.items() if key == "password" or key not in written}
        )
    except psycopg.ProgrammingError as error:
        said = without_password(f"{store.dsn!r}: not a connection string: {str(error).strip()}", store.dsn)
        raise ConfigError(f"store.dsn = {said}") from None  # what it comes from quotes the password
