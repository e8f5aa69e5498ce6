"""How the client of an OPC UA server protects itself and says who it is; see opcua.md.

* A password or a signature leaves only for a server whose certificate has been checked against the pinned one.
* A password never crosses readable, unless the machine file says so.
* What a person must do is a ConfigError that says what and where, `Refused` where it is done elsewhere than in the
  machine file; what time heals is Unavailable.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from asyncua import ua
from asyncua.client.client import Client
from asyncua.crypto import security_policies as policies
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.uaerrors import UaError, UaStatusCodeError
from cryptography import x509
from pydantic import Field, model_validator

from collectors import opcua_pki
from collectors.opcua_pki import Identity, Pin
from collectors.source import Refused
from pipeline import metrics
from pipeline.errors import ConfigError, Unavailable
from pipeline.plant import Beside, Frozen
from pipeline.settings import read_secret

log = logging.getLogger(__name__)

Policy = Literal["None", "Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss"]
_NONE: Final = policies.SecurityPolicyNone.URI
_POLICIES: Final[dict[str, type[policies.SecurityPolicy]]] = {
    "Basic256Sha256": policies.SecurityPolicyBasic256Sha256,
    "Aes128Sha256RsaOaep": policies.SecurityPolicyAes128Sha256RsaOaep,
    "Aes256Sha256RsaPss": policies.SecurityPolicyAes256Sha256RsaPss,
}
_TOKENS: Final = {
    ua.UserTokenType.Anonymous: "anonymous",
    ua.UserTokenType.UserName: "user and password_file",
    ua.UserTokenType.Certificate: "user_certificate and user_key",
}
_UNTRUSTED: Final = frozenset(
    getattr(StatusCodes, f"BadCertificate{name}")
    for name in (
        "Invalid Untrusted Revoked TimeInvalid HostNameInvalid UriInvalid UseNotAllowed ChainIncomplete "
        "PolicyCheckFailed RevocationUnknown "
        "IssuerTimeInvalid IssuerUseNotAllowed IssuerRevocationUnknown IssuerRevoked"
    ).split()
) | {StatusCodes.BadSecurityChecksFailed, StatusCodes.BadApplicationSignatureInvalid}
_UNWELCOME: Final = frozenset(
    {
        StatusCodes.BadIdentityTokenInvalid,
        StatusCodes.BadIdentityTokenRejected,
        StatusCodes.BadUserAccessDenied,
        StatusCodes.BadUserSignatureInvalid,
    }
)


class Security(Frozen):
    """`[source.security]`: what of it is given."""

    policy: Policy = "Basic256Sha256"
    """Of the messages; `None` leaves them readable and unsigned."""
    mode: Literal["Sign", "SignAndEncrypt"] = "SignAndEncrypt"
    """Unused with policy `None`."""
    pki: Beside = Field(default=Path("pki"), validate_default=True)
    """Folder of certificates, made when there is none; several machines may share one."""
    user: str | None = None
    """None, and no user certificate: anonymous."""
    password_file: Beside | None = None
    """Its first line is the user's password."""
    in_clear: Literal["refuse", "send"] = "refuse"
    """The password, where the server takes it only as it is, over a channel that does not encrypt."""
    user_certificate: Beside | None = None
    """DER or PEM; the user's, not that of this client."""
    user_key: Beside | None = None
    """Its key, PEM or DER without pass phrase."""

    @model_validator(mode="after")
    def _check(self) -> "Security":
        if (self.user is None) != (self.password_file is None):
            raise ValueError("user and password_file belong together; give both, or neither")
        if (self.user_certificate is None) != (self.user_key is None):
            raise ValueError("user_certificate and user_key belong together; give both, or neither")
        if self.user is not None and self.user_certificate is not None:
            raise ValueError("a user has a password or a certificate; remove user or user_certificate")
        return self

    @property
    def token(self) -> ua.UserTokenType:
        """How it says who it is."""
        if self.user is not None:
            return ua.UserTokenType.UserName
        return ua.UserTokenType.Anonymous if self.user_certificate is None else ua.UserTokenType.Certificate


class CarefulClient(Client):
    """One that does not send a password readable by accident."""

    in_clear: Literal["refuse", "send"] = "refuse"

    def _add_user_auth(self, params: Any, username: str | None, password: str | None) -> None:
        is_plain = self.server_policy(ua.UserTokenType.UserName).SecurityPolicyUri in {None, "", _NONE}
        is_open = self.security_policy.Mode != ua.MessageSecurityMode.SignAndEncrypt
        if is_plain and is_open and self.in_clear == "refuse":
            raise ConfigError(
                f"{self.server_url.geturl()}: the password would cross the network readable; choose a policy and "
                'mode = "SignAndEncrypt" in [source.security], or accept it with in_clear = "send"'
            )
        super()._add_user_auth(params, username, password)


@dataclass(frozen=True, slots=True)
class Door:
    """One server and what is asked of it."""

    url: str
    timeout_s: float
    security: Security
    asset: str
    now: datetime

    async def enter(self, client: CarefulClient) -> None:
        """Connects; afterwards the session is active and the server's certificate is pinned.

        Raises:
            ConfigError: the machine file has to be changed; says how.
            Refused: somebody has to do something on the server, or with a file; says what.
            Unavailable, OSError, TimeoutError, UaError: it may work later.
        """
        shown: list[x509.Certificate] = []
        pin = Pin(self.url, self.security.pki)

        async def validate(certificate: x509.Certificate, _: ua.ApplicationDescription) -> None:
            if self._proves_itself:
                pin.check(certificate, self.now)
                shown[:] = [certificate]

        identity = await self._prepare(client, pin)
        client.certificate_validator = validate
        try:
            await client.connect()
        except UaStatusCodeError as error:
            raise await self._explained(error, identity) from error
        except AssertionError as error:  # how the library takes a fault that answers the opening of the channel
            raise self._refused("no channel", identity) from error
        except (OSError, TimeoutError, UaError) as error:
            if identity is None:
                if not isinstance(error, TimeoutError | ConnectionRefusedError):  # nobody there offers anything
                    await self._check_offer(error)
                raise
            raise Unavailable(
                f"{self.url}: closed the door: {error or type(error).__name__}; if that stays so: {self._ask(identity)}"
            ) from error
        for certificate in shown:
            metrics.certificate_expiry.labels(self.asset, "server").set(certificate.not_valid_after_utc.timestamp())
            if pin.keep(certificate):
                log.info("server certificate pinned url=%s thumbprint=%s", self.url, opcua_pki.thumbprint(certificate))

    @property
    def _proves_itself(self) -> bool:
        """Whether the server is told anything that must not reach another."""
        return self.security.policy != "None" or self.security.token != ua.UserTokenType.Anonymous

    async def _prepare(self, client: CarefulClient, pin: Pin) -> Identity | None:
        """Policy, own certificate and credentials; the identity where messages are secured."""
        security, identity = self.security, None
        client.in_clear = security.in_clear
        if security.user is not None and security.password_file is not None:
            client.set_user(security.user)
            client.set_password(read_secret(security.password_file))
        if security.user_certificate is not None and security.user_key is not None:
            person = opcua_pki.user(security.user_certificate, security.user_key)
            client.user_certificate, client.user_private_key = person.certificate, person.key
        if security.policy != "None":
            identity = opcua_pki.own(security.pki, self.now)
            client.application_uri = identity.uri
            expiry = identity.certificate.not_valid_after_utc.timestamp()
            metrics.certificate_expiry.labels(self.asset, "own").set(expiry)
            endpoint = _chosen(self.url, security, await self._endpoints())
            shown = _first(endpoint.ServerCertificate)
            pin.check(shown, self.now)
            policy: Any = _POLICIES[security.policy](
                shown, identity.certificate, identity.key, ua.MessageSecurityMode[security.mode]
            )
            client.security_policy = policy
            client.uaclient.set_security(policy)
        return identity

    async def _endpoints(self) -> list[ua.EndpointDescription]:
        try:
            return await Client(self.url, timeout=self.timeout_s).connect_and_get_server_endpoints()
        except AssertionError as error:
            raise Unavailable(f"{self.url}: does not say which endpoints it has") from error

    async def _check_offer(self, error: Exception) -> None:
        """Says so when the server has no open endpoint at all."""
        try:
            endpoints = await self._endpoints()
        except (OSError, TimeoutError, UaError, Unavailable):
            raise error from None
        _chosen(self.url, self.security, endpoints)

    async def _explained(self, error: UaStatusCodeError, identity: Identity | None) -> Exception:
        code = error.code
        if code in _UNTRUSTED and identity is not None:
            return Refused(
                f"{self.url}: the server refuses this client's certificate ({_name(code)}); {self._ask(identity)}"
            )
        if identity is None and code not in _UNWELCOME:
            await self._check_offer(error)
        if code in _UNWELCOME:
            return Refused(f"{self.url}: the server refuses {self._who()} ({_name(code)}); {self._advice()}")
        return error

    def _refused(self, why: str, identity: Identity | None) -> Refused | Unavailable:
        if identity is None:
            return Unavailable(f"{self.url}: the server opens no channel")
        return Refused(f"{self.url}: the server refuses this client's certificate ({why}); {self._ask(identity)}")

    def _ask(self, identity: Identity) -> str:
        subject, mark = identity.certificate.subject.rfc4514_string(), opcua_pki.thumbprint(identity.certificate)
        return (
            f"on the server, move the certificate {subject}, thumbprint {mark}, from the rejected to "
            f"the trusted clients, or copy {identity.file} to its trusted clients; and check its clock"
        )

    def _who(self) -> str:
        security = self.security
        return {
            ua.UserTokenType.Anonymous: "anonymous clients",
            ua.UserTokenType.UserName: f"user {security.user!r}",
            ua.UserTokenType.Certificate: f"the user certificate {security.user_certificate}",
        }[security.token]

    def _advice(self) -> str:
        return {
            ua.UserTokenType.Anonymous: "give a user and a password_file in [source.security]",
            ua.UserTokenType.UserName: f"check user, and the password in {self.security.password_file}",
            ua.UserTokenType.Certificate: "have the server trust it as a user's certificate, beside that of the client",
        }[self.security.token]


def _chosen(url: str, security: Security, endpoints: Iterable[ua.EndpointDescription]) -> ua.EndpointDescription:
    """The endpoint that offers what is asked for.

    Raises:
        ConfigError: there is none; names those that there are.
    """
    mode = ua.MessageSecurityMode["None_" if security.policy == "None" else security.mode]
    there = [one for one in endpoints if str(one.EndpointUrl).startswith("opc.tcp:")]
    fitting = [one for one in there if one.SecurityMode == mode and _policy(one) == security.policy]
    if not fitting:
        asked = security.policy + ("" if security.policy == "None" else f" {security.mode}")
        offers = sorted({f"{_policy(one)} {one.SecurityMode.name.strip('_')}" for one in there})
        raise ConfigError(
            f"{url}: the server has no endpoint {asked}; set policy and mode in [source.security] to one of: "
            f"{', '.join(offers) or 'none'}"
        )
    tokens = {token.TokenType for one in fitting for token in one.UserIdentityTokens or ()}
    if tokens and security.token not in tokens:
        ways = [_TOKENS[token] for token in sorted(tokens) if token in _TOKENS]
        raise ConfigError(
            f"{url}: the server does not take {_TOKENS[security.token]} there; it takes {', or '.join(ways)}, to be "
            "given in [source.security]"
        )
    return fitting[0]


def _policy(endpoint: ua.EndpointDescription) -> str:
    return str(endpoint.SecurityPolicyUri).rpartition("#")[2].replace("_", "")


def _name(code: int) -> str:
    return str(ua.StatusCode(ua.UInt32(code)).name)


def _first(chain: bytes | None) -> x509.Certificate:
    """The server's own certificate, with which its chain begins.

    Raises:
        Refused: it shows none.
    """
    said = chain or b""
    digits = said[1] & 0x7F if len(said) > 1 and said[1] & 0x80 else 0
    length = int.from_bytes(said[2 : 2 + digits], "big") if digits else (said[1] if len(said) > 1 else 0)
    try:
        return x509.load_der_x509_certificate(said[: 2 + digits + length])
    except ValueError as error:
        raise Refused(f"the server shows no certificate that can be read: {error}; make one on the server") from error


def moment(now_ns: int) -> datetime:
    """For certificates, which know seconds."""
    return datetime.fromtimestamp(now_ns // 1_000_000_000, UTC)
