"""The bus on three nodes, as it is shipped, on the real program: TLS everywhere, any of them killed, or all but one."""

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
"""For a node to start; the machine that tests run on does other things, too."""


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
    """Said to one node, it is on its way to the others for a moment."""
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


async def test_one_node_alone_goes_on_and_hears_the_next_one_that_comes(three: Cluster) -> None:
    """No leaders, no majority: who is connected stays so, and who comes anew is let in."""
    last, *others = (three.nodes[name] for name in reversed(NODES))
    async with let_in(three.bus("writer", last.name), ALL_RECORDS) as writer:
        for node in others:
            node.kill()
        began = time.monotonic()
        async with let_in(three.bus("gw-1"), committed_topic("gw-1")) as gateway:
            assert time.monotonic() - began < 3.0, "a dead node costs a refused connection and no more"
            await gateway.publish(record_topic("gw-1"), b"alone")
            assert [one.payload for one in await heard(writer, 1)] == [b"alone"]
        for node in others:
            three.start(node)
        async with let_in(three.bus("gw-1", others[0].name), committed_topic("gw-1")) as gateway:
            arrived = asyncio.create_task(heard(writer, 1))
            deadline = time.monotonic() + IN_S
            while not arrived.done():  # until the node is linked with the others what is said goes nowhere
                assert time.monotonic() < deadline
                await gateway.publish(record_topic("gw-1"), b"together")
                await asyncio.wait([arrived], timeout=0.2)
        assert arrived.result()[0].payload == b"together"


async def test_a_gateways_certificate_makes_no_node(three: Cluster) -> None:
    stranger = Node("stranger", three.folder / "stranger", "gw-1")
    three.start(stranger)
    try:
        deadline = time.monotonic() + IN_S
        for said in ("Route Error 'Authorization Violation'", "Leafnode Error 'Authorization Violation'"):
            while said not in stranger.log():
                assert time.monotonic() < deadline, stranger.log()[-2000:]
                await asyncio.sleep(0.1)
        for name in NODES:
            assert {one["remote_name"] for one in three.nodes[name].asked("routez")["routes"]} <= set(NODES)
            assert {one["name"] for one in three.nodes[name].asked("leafz")["leafs"] or ()} <= set(NODES)
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
