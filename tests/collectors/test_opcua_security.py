"""Policies, certificates and users, against a server that has them all."""

import asyncio
import shutil
import stat
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.server import Server
from asyncua.server.user_managers import UserManager
from asyncua.ua.status_codes import StatusCodes
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import ValidationError

from collectors import opcua_pki
from collectors.opcua_pki import Pin, read_certificate, thumbprint
from collectors.protocols import MachineFile
from pipeline import metrics
from pipeline.errors import ConfigError, Unavailable
from pipeline.plant import load
from rootdx.embedded import free_port
from tests.collectors.devices import ASSET, first_readings, machine, opening
from tests.collectors.test_opcua import press_machine

pytestmark = pytest.mark.asyncio(loop_scope="module")  # the server takes two seconds to start
NOW = datetime.now(UTC)
POLICIES = ("Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss")


class Users(UserManager):
    """One user with a password, and whoever shows a certificate or nothing."""

    def get_user(self, iserver: Any, username: Any = None, password: Any = None, certificate: Any = None) -> Any:
        known = username is None or (username, password) == ("reader", "비밀번호 1")
        return User(role=UserRole.User) if known else None


class Guarded:
    """A server whose trusted clients a test can change."""

    def __init__(self, port: int, certificate: x509.Certificate) -> None:
        self.port, self.certificate, self.users = port, certificate, Users()
        self.untrusted: set[str] = set()

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}/press"

    async def validate(self, certificate: x509.Certificate, _: Any) -> None:
        if thumbprint(certificate) in self.untrusted:
            raise ServiceError(StatusCodes.BadCertificateUntrusted)


@asynccontextmanager
async def guarded(folder: Path, made: datetime = NOW, *tokens: Any, open_: bool = True) -> Any:
    own = opcua_pki.own(folder, made)
    port, server = free_port(), Server()
    device = Guarded(port, own.certificate)
    await server.init()
    server.set_endpoint(device.url)
    await server.set_application_uri(own.uri)
    await server.load_certificate(str(own.file))
    await server.load_private_key(str(folder / "own" / "rootdx.key.pem"))
    server.set_security_policy([one for one in ua.SecurityPolicyType if open_ or one.value])
    if tokens:
        server.set_identity_tokens(list(tokens))
    server.set_certificate_validator(device.validate)
    server.iserver.user_manager = device.users
    index = await server.register_namespace("urn:test:press")
    await server.nodes.objects.add_variable(ua.NodeId(ua.String("temp"), ua.Int16(index)), "temp", 20.5)
    async with server:
        yield device


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def device(tmp_path_factory: Any) -> Any:
    async with guarded(tmp_path_factory.mktemp("server")) as one:
        yield one


def secured(device: Guarded, pki: Path, **security: Any) -> Any:
    one = press_machine(device.port, "temp")
    source = one.source.model_dump() | {"security": {"pki": pki} | security}
    return machine(source, [{"name": "temp", "address": one.tag[0].address}])


async def value_of(one: Any) -> float:
    (reading,) = await first_readings(one.source, opening(one, time.time_ns), 1)
    return float(reading.bodies[0].value[0])  # type: ignore[union-attr]


def password(folder: Path, text: str = "비밀번호 1") -> dict[str, Any]:
    (folder / "password").write_text(text + "\n", encoding="utf-8")
    return {"user": "reader", "password_file": folder / "password"}


@pytest.mark.parametrize("mode", ["Sign", "SignAndEncrypt"])
@pytest.mark.parametrize("policy", POLICIES)
async def test_every_policy_and_mode_brings_values(device: Guarded, tmp_path: Path, policy: str, mode: str) -> None:
    one = secured(device, tmp_path / "pki", policy=policy, mode=mode, **password(tmp_path))
    assert await value_of(one) == 20.5
    assert read_certificate(Pin(device.url, tmp_path / "pki").file) == device.certificate


async def test_a_user_certificate_says_who_one_is(device: Guarded, tmp_path: Path) -> None:
    person = opcua_pki.own(tmp_path / "person", NOW)
    key = person.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    (tmp_path / "key.pem").write_bytes(key)
    (tmp_path / "user.pem").write_bytes(person.certificate.public_bytes(Encoding.PEM))
    user = {"user_certificate": tmp_path / "user.pem", "user_key": tmp_path / "key.pem"}
    assert await value_of(secured(device, tmp_path / "pki", **user)) == 20.5
    other = opcua_pki.own(tmp_path / "other", NOW)
    with pytest.raises(ConfigError, match="does not belong to the key"):
        await value_of(secured(device, tmp_path / "pki", **user | {"user_certificate": other.file}))


async def test_without_a_policy_the_password_is_encrypted_for_the_pinned_server(
    device: Guarded, tmp_path: Path
) -> None:
    one = secured(device, tmp_path / "pki", policy="None", **password(tmp_path))
    assert await value_of(one) == 20.5
    pinned = Pin(device.url, tmp_path / "pki").file
    shutil.copy(opcua_pki.own(tmp_path / "other", NOW).file, pinned)
    with pytest.raises(ConfigError, match="another certificate than before"):
        await value_of(one)


async def test_a_wrong_password_says_where_to_look(device: Guarded, tmp_path: Path) -> None:
    one = secured(device, tmp_path / "pki", **password(tmp_path, "falsch"))
    with pytest.raises(
        ConfigError, match=r"refuses user 'reader' \(BadUserAccessDenied\); check user, and .*/password"
    ):
        await value_of(one)


async def test_an_untrusted_client_is_told_what_to_trust_where(device: Guarded, tmp_path: Path) -> None:
    one = secured(device, tmp_path / "pki")
    own = opcua_pki.own(tmp_path / "pki", NOW)
    device.untrusted.add(thumbprint(own.certificate))
    with pytest.raises((ConfigError, Unavailable)) as refusal:
        await value_of(one)
    for part in ("on the server, move the certificate CN=rootdx@", thumbprint(own.certificate), str(own.file)):
        assert part in str(refusal.value)
    device.untrusted.clear()
    assert await value_of(one) == 20.5


async def test_another_server_certificate_is_refused_until_somebody_copies_it(device: Guarded, tmp_path: Path) -> None:
    one = secured(device, tmp_path / "pki")
    pinned, rejected = (tmp_path / "pki" / part / f"127.0.0.1-{device.port}.der" for part in ("trusted", "rejected"))
    pinned.parent.mkdir(parents=True)
    shutil.copy(opcua_pki.own(tmp_path / "other", NOW).file, pinned)
    with pytest.raises(ConfigError) as refusal:
        await value_of(one)
    assert f"copy {rejected} to {pinned}" in str(refusal.value)
    shutil.copy(rejected, pinned)
    assert await value_of(one) == 20.5


async def test_an_expired_server_certificate_is_refused(tmp_path: Path) -> None:
    async with guarded(tmp_path / "server", NOW - timedelta(days=3651)) as device:
        with pytest.raises(ConfigError, match=r"renew it on the server, then remove .*trusted"):
            await value_of(secured(device, tmp_path / "pki"))
        assert not Pin(device.url, tmp_path / "pki").file.exists()


async def test_what_a_server_does_not_offer_is_named_with_what_it_does(tmp_path: Path) -> None:
    async with guarded(tmp_path / "server", NOW, ua.UserNameIdentityToken, open_=False) as device:
        with pytest.raises(
            ConfigError, match=r"no endpoint None; set policy and mode .* Basic256Sha256 SignAndEncrypt"
        ):
            await value_of(press_machine(device.port, "temp"))
        with pytest.raises(ConfigError, match="does not take anonymous there; it takes user and password_file"):
            await value_of(secured(device, tmp_path / "pki"))


async def test_a_password_does_not_cross_readable_unless_the_file_says_so(tmp_path: Path) -> None:
    port, server = free_port(), Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/press")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace("urn:test:press")
    await server.nodes.objects.add_variable(ua.NodeId(ua.String("temp"), ua.Int16(index)), "temp", 20.5)
    device: Any = type("Open", (), {"port": port})
    async with server:
        asked = {"policy": "None"} | password(tmp_path)
        with pytest.raises(ConfigError, match=r'would cross the network readable.*in_clear = "send"'):
            await value_of(secured(device, tmp_path / "pki", **asked))
        assert await value_of(secured(device, tmp_path / "pki", in_clear="send", **asked)) == 20.5


async def test_expiry_is_a_metric(device: Guarded, tmp_path: Path) -> None:
    await value_of(secured(device, tmp_path / "pki"))
    for whose, certificate in (
        ("own", opcua_pki.own(tmp_path / "pki", NOW).certificate),
        ("server", device.certificate),
    ):
        said = metrics.certificate_expiry.labels(ASSET, whose)._value.get()
        assert said == certificate.not_valid_after_utc.timestamp()


async def test_the_own_certificate_is_kept_and_renewed_when_removed(tmp_path: Path) -> None:
    first = opcua_pki.own(tmp_path, NOW)
    again = opcua_pki.own(tmp_path, NOW + timedelta(days=3000))
    key = tmp_path / "own" / "rootdx.key.pem"
    assert first.certificate == again.certificate
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    with pytest.raises(ConfigError, match=r"own certificate expired on .* remove the file"):
        opcua_pki.own(tmp_path, NOW + timedelta(days=4000))
    first.file.unlink()
    renewed = opcua_pki.own(tmp_path, NOW + timedelta(days=4000))
    assert thumbprint(renewed.certificate) != thumbprint(first.certificate)
    assert renewed.certificate.public_key() == first.certificate.public_key()
    assert sorted(file.name for file in key.parent.iterdir()) == ["rootdx.der", "rootdx.key.pem"]


async def test_a_missing_key_or_folder_is_named(tmp_path: Path) -> None:
    opcua_pki.own(tmp_path, NOW)
    (tmp_path / "own" / "rootdx.key.pem").unlink()
    with pytest.raises(ConfigError, match=r"rootdx\.key\.pem: cannot read the private key"):
        opcua_pki.own(tmp_path, NOW)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="name a folder that the gateway may write"):
        opcua_pki.own(tmp_path / "file", NOW)


async def test_many_machines_that_start_at_once_share_one_identity(tmp_path: Path) -> None:
    found = await asyncio.gather(*(asyncio.to_thread(opcua_pki.own, tmp_path, NOW) for _ in range(4)))
    assert len({one.certificate.fingerprint(hashes.SHA256()) for one in found}) == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"user": "a"}, "user and password_file belong together"),
        ({"user_key": "k"}, "user_certificate and user_key belong together"),
        ({"user": "a", "password_file": "p", "user_key": "k", "user_certificate": "c"}, "a password or a certificate"),
        ({"policy": "Basic256"}, "Basic256Sha256"),
    ],
)
async def test_settings_that_cannot_be_are_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        machine({"protocol": "opcua", "url": "opc.tcp://h:4840", "security": given}, [{"address": "ns=2;i=1"}])


async def test_relative_paths_are_beside_the_machine_file(tmp_path: Path) -> None:
    file = tmp_path / "press.toml"
    file.write_text(
        'path = "a/b/c"\nname = "프레스"\nprocess = "forging"\n[source]\nprotocol = "opcua"\nurl = "opc.tcp://h:4840"\n'
        '[source.security]\nuser = "u"\npassword_file = "press.password"\n'
        '[[tag]]\nname = "t"\naddress = "ns=2;i=1"\nunit = "1"\n',
        encoding="utf-8",
    )
    security = load(file, MachineFile).source.security  # type: ignore[union-attr]
    assert (security.pki, security.password_file) == (tmp_path / "pki", tmp_path / "press.password")
