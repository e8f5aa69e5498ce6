"""No secret leaves its file: into no process list, environment, log, answer or error, nor into this repository.

One test runs the shipped units on a real database and broker, at DEBUG, with everything that may be refused refused; it
takes some 30 s. The others ask one thing each of a real database, or of a real broker that wants a password.
"""

import asyncio
import contextlib
import logging
import re
import secrets
import ssl
import subprocess
import sys
import tomllib
import traceback
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import tomli_w
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from psycopg.conninfo import conninfo_to_dict

from pipeline.database import connect
from pipeline.errors import ConfigError, RootdxError
from pipeline.settings import StoreSettings, Webhook, read_settings, store_dsn
from rootdx.doctor import examine
from rootdx.embedded import free_port
from tests.deploy.test_services import Computer, installed, own
from tests.deploy.test_units import UNITS
from tests.rootdx.test_notify import Kept, raise_alarm, web
from tests.support.services import reachable_folder, run
from tests.support.spine import one

REPOSITORY = Path(__file__).resolve().parents[2]
LONG = "geheim-Zebra-77-"


def password() -> str:
    return LONG + secrets.token_hex(8)


def left(text: str, kept: dict[str, str]) -> list[str]:
    """Names of the secrets that stand in a text."""
    return [name for name, secret in kept.items() if secret in text]


def secrets_in(folder: Path) -> dict[str, str]:
    """What must not be seen, by file: of a key a line from its middle, of everything else the first line."""
    found = {}
    for file in [*folder.glob("*.password"), *folder.glob("*.key"), *folder.glob("*.token")]:
        lines = file.read_text(encoding="utf-8").splitlines()
        found[file.name] = lines[len(lines) // 2] if file.suffix == ".key" else lines[0]
    return found


def processes() -> Iterator[tuple[int, str]]:
    """Every process of this computer with its command line."""
    for place in Path("/proc").iterdir():
        if place.name.isdecimal():
            with contextlib.suppress(OSError):  # ended meanwhile
                yield int(place.name), (place / "cmdline").read_bytes().decode(errors="replace")


@contextlib.contextmanager
def guarded_broker(right: str) -> Iterator[int]:
    """A real broker that lets in one user with one password; its MQTT port."""
    port, client, monitor = free_port(), free_port(), free_port()
    with reachable_folder() as folder:
        conf = folder / "guarded.conf"
        conf.write_text(
            f'server_name: guarded\nlisten: "127.0.0.1:{client}"\nhttp: "127.0.0.1:{monitor}"\n'
            f'jetstream {{ store_dir: "{folder}" }}\nmqtt {{ listen: "127.0.0.1:{port}" }}\n'
            f'authorization {{ user: "machine", password: "{right}" }}\n'
        )
        command = [str(Path(sys.executable).with_name("nats-server")), "-c", str(conf)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for _ in range(100):
                with contextlib.suppress(httpx.HTTPError):
                    httpx.get(f"http://127.0.0.1:{monitor}/healthz").raise_for_status()
                    break
                assert process.poll() is None
                run(asyncio.sleep(0.1))
            yield port
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def refusing_mail() -> Iterator[int]:
    """A mail server that takes no password at all; its port."""

    def refuse(*_: object) -> AuthResult:
        return AuthResult(success=False, handled=False)

    mail = Controller(Kept(), hostname="127.0.0.1", port=free_port(), authenticator=refuse, auth_require_tls=False)
    mail.start()
    try:
        yield mail.port
    finally:
        mail.stop()


def refused_everywhere(computer: Computer, chat: str, mail_port: int, broker_port: int) -> dict[str, str]:
    """Settings at DEBUG in which webhook, mail and a machine's broker refuse; more secrets to look for."""
    etc = computer.root / "etc"
    more = {"chat.token": password(), "mail.password": password(), "machine.password": password()}
    place = etc / "tokens"  # of these systemd knows nothing: whoever names them lets the service read them
    place.mkdir()
    for name, secret in more.items():
        (place / name).write_text(secret + "\n")
    own(place)
    for file in etc.glob("*.toml"):
        file.write_text('log_level = "DEBUG"\n' + file.read_text(encoding="utf-8"), encoding="utf-8")
    told = tomllib.loads((etc / "notify.toml").read_text(encoding="utf-8"))
    room = password()
    hook = {"kind": "webhook", "url": f"{chat}/{room}", "token_file": str(place / "chat.token")}
    told["notify"]["step"] = [{"to": [hook, {"kind": "mail", "to": ["kim@plant.example"]}]}]
    told["notify"]["smtp"] = {
        "host": "127.0.0.1", "port": mail_port, "user": "rootdx", "security": "none",
        "password_file": str(place / "mail.password"),
    }  # fmt: skip
    (etc / "notify.toml").write_text(tomli_w.dumps(told), encoding="utf-8")
    machine = {
        "path": "plating/line1/mq1", "name": "MQ 1", "process": "surface_treatment",
        "source": {
            "protocol": "mqtt", "host": "127.0.0.1", "port": broker_port, "user": "machine",
            "password_file": str(place / "machine.password"),
        },
        "tag": [{"name": "t", "unit": "Cel", "address": "a/t"}],
    }  # fmt: skip
    noted = password()
    text = f'# password = "{noted}"\n' + tomli_w.dumps(machine)
    (etc / "plant" / "mq1.toml").write_text(text, encoding="utf-8")
    return more | {"the address of the chat room": room, "a note in a machine file": noted}


def answers(computer: Computer) -> Iterator[tuple[str, str]]:
    """What the board says at every address that needs no parameter, and every process at /metrics."""
    folder = computer.root / "etc" / "secrets"
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    context.load_cert_chain(folder / "metrics.pem", folder / "metrics.key")
    with httpx.Client(verify=context, timeout=20) as client:
        board = f"https://localhost:{computer.ports['board']}"
        paths = client.get(f"{board}/api/v1/openapi.json").raise_for_status().json()["paths"]
        for path, verbs in paths.items():
            wanted = [one for one in verbs.get("get", {}).get("parameters", ()) if one.get("required")]
            if "get" in verbs and not wanted and "{" not in path and not path.endswith(("/live", "/events")):
                yield path, client.get(board + path).text
        for name in ("gateway", "writer", "analytics", "notify", "board"):
            place = f"https://localhost:{computer.ports[f'{name}_metrics']}/metrics"
            yield f"{name}/metrics", client.get(place).raise_for_status().text


@pytest.mark.plain
@pytest.mark.timeout(240)
def test_no_process_log_or_answer_has_a_secret() -> None:
    with (
        installed() as computer, web() as chat, refusing_mail() as mail_port, guarded_broker(password()) as broker_port
    ):  # fmt: skip
        chat.fail = 1000
        more = refused_everywhere(computer, chat.url, mail_port, broker_port)
        kept = secrets_in(computer.root / "etc" / "secrets") | more
        assert len(kept) > 12
        assert min(len(secret) for secret in kept.values()) > 15
        run(raise_alarm(computer.dsn))
        computer.simulate()
        for unit in sorted(UNITS, key=lambda unit: unit.stem != "rootdx-broker"):
            if unit.stem != "rootdx-report":
                computer.start(unit)
        computer.comes("rows", lambda: int(one(computer.dsn, "SELECT count(*) FROM rootdx.measurement")) > 100)
        failing = "SELECT count(DISTINCT channel) FROM rootdx.notice WHERE error <> ''"
        computer.comes("refusals of both channels", lambda: int(one(computer.dsn, failing)) == 2)
        logs = {file.name: file for file in computer.root.glob("*.log")}
        computer.comes("refusal by the machine's broker", lambda: "refuses user" in logs["gateway.log"].read_text())
        for name, listener in computer.said.items():
            assert name == "broker" or listener.recv(100) == b"READY=1"
        board = ["health", "--of", "board", "--config", str(computer.root / "etc" / "board.toml")]
        computer.comes("the board", lambda: computer.ask(*board) == 0)
        told = dict(answers(computer))
        assert "/api/v1/settings" in told
        assert '# password = \\"…\\"' in told["/api/v1/settings"]
        told |= {f"log {name}": file.read_text(encoding="utf-8", errors="replace") for name, file in logs.items()}
        for file in (computer.root / "postgres").rglob("*log"):
            told[f"log {file.name}"] = file.read_text(errors="replace") if file.is_file() else ""
        told |= {f"command line of {pid}": line for pid, line in processes()}
        for name, process in computer.processes.items():
            told[f"environment of {name}"] = Path(f"/proc/{process.pid}/environ").read_bytes().decode(errors="replace")
        told["notices"] = str(one(computer.dsn, "SELECT string_agg(channel || error, ' ') FROM rootdx.notice"))
        assert {read_settings(file).log_level for file in (computer.root / "etc").glob("*.toml")} == {"DEBUG"}
        assert "503" in told["notices"]
        assert "535" in told["notices"]
        config = computer.root / "etc" / "writer.toml"
        told["doctor"] = str(run(examine(config, machines=False)))
        assert {where: found for where, text in told.items() if (found := left(text, kept))} == {}


@pytest.mark.parametrize(
    ("dsn", "said"),
    [
        ("postgresql://rootdx_writer:{}@127.0.0.1:{closed}/rootdx", "refused"),
        ("postgresql://rootdx_writer:{}@{open}/rootdx", "password authentication failed|no pg_hba|does not exist"),
        ("postgresq://rootdx_writer:{}@127.0.0.1/rootdx", "not a connection string"),
        ("postgresql://rootdx_writer:100%{}@127.0.0.1/rootdx", "not a connection string"),
        ("postgresql://rootdx_writer:{}/{}@127.0.0.1:5432/rootdx", "database"),
        ("postgresql://rootdx_writer:a@{}@127.0.0.1:1/rootdx", "database"),
        ("host=127.0.0.1 user=x password={} {} dbname=rootdx", "not a connection string"),
    ],
)
async def test_an_error_about_a_connection_string_leaves_the_password_out(
    dsn: str, said: str, plain_dsn: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    kept = {"password": password()}
    asked = conninfo_to_dict(plain_dsn)
    given = dsn.replace("{}", kept["password"]).replace("{closed}", str(free_port()))
    given = given.replace("{open}", f"{asked['host']}:{asked['port']}")
    monkeypatch.setenv("ROOTDX_STORE_DSN", given)
    with pytest.raises(RootdxError, match=said) as caught:
        await connect(store_dsn(StoreSettings()), 2)
    text = "".join(traceback.format_exception(caught.value)) if "not a conn" in said else str(caught.value)
    found = [finding.text for finding in await examine(None, machines=False)]
    assert left(text + caplog.text + str(found), kept) == []


def test_the_setting_of_a_connection_string_is_quoted_without_its_password(tmp_path: Path) -> None:
    kept = {"password": password()}
    (tmp_path / "other").write_text("other\n")
    with pytest.raises(ConfigError, match=r"store\.dsn = 'postgresq://x:…@h/d': not a connection string") as caught:
        store_dsn(StoreSettings(dsn=f"postgresq://x:{kept['password']}@h/d", password_file=tmp_path / "other"))
    assert left("".join(traceback.format_exception(caught.value)), kept) == []


@pytest.mark.parametrize(
    "text",
    [
        '[bus]\npassword = "{}"', '[store]\npasswd = "{}"', '[notify.smtp]\nsecret = "{}"',
        '[[notify.step]]\nto = [{{ kind = "webhook", url = "htps://chat/{}" }}]',
        '[[notify.step]]\nto = [{{ kind = "webhook", url = "https://chat/", token = "{}" }}]',
    ],
)  # fmt: skip
def test_a_secret_in_the_wrong_place_is_not_repeated(text: str, tmp_path: Path) -> None:
    kept = {"secret": password()}
    file = tmp_path / "rootdx.toml"
    file.write_text(text.replace("{{", "{").replace("}}", "}").replace("{}", kept["secret"]))
    with pytest.raises(ConfigError) as caught:
        read_settings(file)
    assert "rootdx.toml" in str(caught.value)
    assert left(str(caught.value), kept) == []


async def test_a_broker_that_refuses_us_is_told_without_the_password(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    kept = {"right": password(), "wrong": password()}
    (tmp_path / "bus.password").write_text(kept["wrong"] + "\n")
    with guarded_broker(kept["right"]) as port:
        (tmp_path / "rootdx.toml").write_text(
            f'[bus]\nhost = "127.0.0.1"\nport = {port}\nuser = "machine"\npassword_file = "bus.password"\n'
        )
        found = await examine(tmp_path / "rootdx.toml", machines=False)
    said = str([finding.text for finding in found])
    assert "Not authorized" in said or "not authori" in said.lower()
    assert left(said + caplog.text, kept) == []


def test_files_named_by_a_webhook_lie_where_those_of_others_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a token can be handed over as a credential, and need not stand in the settings."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/x")
    file = tmp_path / "rootdx.toml"
    file.write_text(
        '[[notify.step]]\nto = [{ kind = "webhook", url = "http://h/", token_file = "%d/chat.token" },'
        ' { kind = "webhook", url = "http://h/", token_file = "chat.token" }]'
    )
    (step,) = read_settings(file).notify.step
    files = [channel.token_file for channel in step.to if isinstance(channel, Webhook)]
    assert files == [Path("/run/credentials/x/chat.token"), tmp_path / "chat.token"]


ASSIGNED = re.compile(
    r"""(?ix) \b[\w.-]*(?:password|passwd|secret|token|api_?key)\b["']? \s*[:=]\s*
    (?: "(?P<a>[^"\n]+)" | '(?P<b>[^'\n]+)' | (?P<c>[\w+/=-]{6,})\s*$ )""",
    re.MULTILINE,
)
IN_ADDRESS = re.compile(r"\w://[\w.-]+:([^@/\s\"'`{}<>$]+)@")
PEM = re.compile("BEGIN (?:[A-Z]+ )?PRIVATE KEY-+\\s+[A-Za-z0-9+/]{20}")
"""A key itself, not a program that looks for one."""
ALLOWED = {
    "deploy/grafana/provisioning/datasources/rootdx.yaml: $__file{/etc/rootdx/secrets/rootdx_reader.password}": "file",
    "rootdx/grafana/provision.py: $__file{": "makes that file",
    "rootdx/board/api/office.py: Password": "a type",
    "rootdx/board/api/office.py: …": "what stands in the journal in place of one",
    "rootdx/embedded.md: …": "left out",
    "pipeline/secrecy.py: b": "an example",
    "pipeline/secrecy.py: …": "what it comes to",
    "pipeline/secrecy.py: geheim": "an example",
}
"""A file and a value in it that look like a secret: why they are none."""


def suspects(text: str) -> list[str]:
    """What looks like a secret in a file."""
    found = [match["a"] or match["b"] or match["c"] for match in ASSIGNED.finditer(text)]
    return [*found, *IN_ADDRESS.findall(text), *PEM.findall(text)]


@pytest.mark.parametrize(
    "text",
    [
        'password = "hunter22"', "  password: hunter22\n", "SMTP_PASSWORD='hunter22'", "postgresql://kim:hunter22@db/x",
        'api_key = "ab12cd"', '{"token": "ab12cd"}', "-----BEGIN PRIVATE " + "KEY-----\nMIIEvQIBADANBgkqhkiG9w0B",
    ],
)  # fmt: skip
def test_what_looks_like_a_secret_is_found(text: str) -> None:
    assert suspects(text)


def test_no_file_of_the_repository_has_a_secret() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    ).stdout
    names = [name for name in listed.decode().split("\0") if name]
    assert len(names) > 500
    found = {}
    for name in names:
        file = REPOSITORY / name
        if name.startswith("tests/") or not file.is_file():
            continue
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture or an archive
        for value in suspects(text):
            found[f"{name}: {value}"] = value
    assert sorted(set(found) - set(ALLOWED)) == []
    assert set(ALLOWED) <= set(found), "an allowance that nobody needs"
