"""The same client against a server that shares no code with it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collectors.probe import probe
from tests.collectors.devices import machine
from tests.collectors.test_opcua_security import value_of
from tests.support.services import OpcUaServer

POLICIES = ("Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss")


@pytest.fixture(scope="module")
def server(tmp_path_factory: Any) -> Iterator[OpcUaServer]:
    with OpcUaServer(tmp_path_factory.mktemp("server")) as one:
        yield one


def secured(server: OpcUaServer, pki: Path, **security: Any) -> Any:
    url = f"opc.tcp://127.0.0.1:{server.port}/press"
    source = {"protocol": "opcua", "url": url, "every_s": 0.1, "security": {"pki": pki} | security}
    return machine(source, [{"name": "temp", "address": "ns=1;s=temp", "unit": "Cel"}])


def reader(folder: Path, password: str) -> dict[str, Any]:
    (folder / "password").write_text(password)
    return {"user": "reader", "password_file": folder / "password"}


async def test_an_untrusted_client_is_told_and_comes_in_with_every_policy_once_it_is_trusted(
    server: OpcUaServer, tmp_path: Path
) -> None:
    pki = tmp_path / "pki"
    (row,) = await probe(secured(server, pki))
    assert "on the server, move the certificate CN=rootdx@" in row.error
    server.trust()
    for policy in POLICIES:
        for mode in ("Sign", "SignAndEncrypt"):
            assert await value_of(secured(server, pki, policy=policy, mode=mode)) == 20.5
    assert await value_of(secured(server, pki, **reader(tmp_path, "secret"))) == 20.5
    assert await value_of(secured(server, pki, policy="None", **reader(tmp_path, "secret"))) == 20.5
    (row,) = await probe(secured(server, pki, **reader(tmp_path, "guessed")))
    assert "refuses user 'reader'" in row.error
