"""The bus on three nodes, as it is shipped, on the real program: TLS everywhere, any one of them killed."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from pipeline.bus import Session, connected
from pipeline.errors import Unavailable
from pipeline.settings import Bus
from pipeline.topics import ALL_RECORDS, committed_topic, record_topic
from rootdx import certs
from tests.pipeline.test_bus import heard, name
from tests.support.nats_cluster import NODES, Cluster, Node, cluster

IN_S = 40.0
"""For a leader to be found; the machine that tests run on does other things, too."""


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster"), ["gw-1", "writer"]) as made:
        yield made


@contextlib.asynccontextmanager
async def let_in(bus: Bus, topic: str) -> AsyncIterator[Session]:
    """As gateways and writers do: tried until it works."""
    deadline = time.monotonic() + IN_S
    async with contextlib.AsyncExitStack() as stack:
        while True:
            try:
                session = await stack.enter_async_context(connected(bus, name(), [topic]))
                break
            except Unavailable:
                assert time.monotonic() < deadline, "nobody was let in"
                await asyncio.sleep(0.2)
        yield session


async def test_what_is_said_at_one_node_is_heard_at_the_others(three: Cluster) -> None:
    async with let_in(three.bus("writer", NODES[0]), ALL_RECORDS) as writer:
        for node in NODES:
            async with let_in(three.bus("gw-1", node), committed_topic("gw-1")) as gateway:
                assert gateway.node.port == three.nodes[node].mqtt
                await asyncio.sleep(0.2)  # the subscription has come to the other nodes
                await gateway.publish(record_topic("gw-1"), node.encode())
                assert [one.payload for one in await heard(writer, 1)] == [node.encode()]


async def kept(bus: Bus) -> bytes:
    """What a gateway that comes anew is told at once."""
    async with let_in(bus, committed_topic("gw-1")) as gateway:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                return (await heard(gateway, 1))[0].payload
    return b""


async def until_kept(bus: Bus, expected: bytes) -> None:
    """While a new leader is looked for, who subscribes is told nothing."""
    deadline = time.monotonic() + IN_S
    while (found := await kept(bus)) != expected:
        assert not found
        assert time.monotonic() < deadline


async def test_an_announcement_outlives_the_node_that_took_it(three: Cluster) -> None:
    first = three.nodes[NODES[0]]
    deadline = time.monotonic() + IN_S
    while await kept(three.bus("gw-1", NODES[1])) != b"last":  # said anew, as a writer does with every commit
        assert time.monotonic() < deadline
        async with let_in(three.bus("writer", NODES[0]), ALL_RECORDS) as writer:
            await writer.publish(committed_topic("gw-1"), b"last", retain=True)
    first.kill()
    await until_kept(three.bus("gw-1"), b"last")
    three.start(first)
    await until_kept(three.bus("gw-1", NODES[0]), b"last")


async def test_a_gateways_certificate_makes_no_node(three: Cluster) -> None:
    stranger = Node("stranger", three.folder / "stranger", "gw-1")
    three.start(stranger)
    try:
        deadline = time.monotonic() + IN_S
        while "Route Error 'Authorization Violation'" not in stranger.log():
            assert time.monotonic() < deadline, stranger.log()[-2000:]
            await asyncio.sleep(0.1)
        assert {route["remote_name"] for route in three.nodes[NODES[1]].asked("routez")["routes"]} <= set(NODES)
    finally:
        stranger.kill()


def test_only_a_brokers_certificate_is_good_for_calling_other_nodes(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    certs.make_authority(tmp_path, "plant", now)
    for server in ("broker2", "board"):
        certs.make(tmp_path, server, "server", ["localhost"], now)
        made = x509.load_pem_x509_certificate((tmp_path / f"{server}.pem").read_bytes())
        uses = set(made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
        assert ExtendedKeyUsageOID.SERVER_AUTH in uses
        assert (ExtendedKeyUsageOID.CLIENT_AUTH in uses) is (server == "broker2")
    assert {one.name: one.kind for one in certs.papers(tmp_path)} == {
        "ca": "ca",
        "broker2": "server",
        "board": "server",
    }
