"""A session delivers what is there, and says so when the broker is not."""

import asyncio
import contextlib
import logging
import secrets
from pathlib import Path

import pytest

from pipeline import bus as bus_module
from pipeline.bus import Delivery, connected
from pipeline.errors import ConfigError, Unavailable
from pipeline.settings import Bus, Node
from rootdx.embedded import Broker, free_port
from tests.support.proxy import Proxy


@pytest.fixture
def topic() -> str:
    return f"test/bus-{secrets.token_hex(3)}"


def settings(port: int, **more: object) -> Bus:
    return Bus.model_validate({"port": port, "timeout_s": 2.0, **more})


def name() -> str:
    return f"test-{secrets.token_hex(4)}"


async def heard(session: bus_module.Session, count: int) -> list[Delivery]:
    found: list[Delivery] = []
    async with asyncio.timeout(10):
        async for deliveries in session.deliveries():
            found.extend(deliveries)
            if len(found) >= count:
                return found
    raise AssertionError


async def test_messages_arrive_in_order_with_topic_and_bytes(broker: Broker, topic: str) -> None:
    sent = [b"", b"\x00\xff", "한글".encode(), bytes(200_000)]
    async with (
        connected(settings(broker.port), name(), [topic]) as reader,
        connected(settings(broker.port), name(), []) as writer,
    ):
        for payload in sent:
            await writer.publish(topic, payload)
        assert await heard(reader, 4) == [Delivery(topic, payload) for payload in sent]


async def test_retained_message_is_told_from_news(broker: Broker, topic: str) -> None:
    async with connected(settings(broker.port), name(), []) as writer:
        await writer.publish(topic, b"old", retain=True)
        async with connected(settings(broker.port), name(), [topic]) as reader:
            assert await heard(reader, 1) == [Delivery(topic, b"old", retained=True)]
            await writer.publish(topic, b"new", retain=True)
            assert await heard(reader, 1) == [Delivery(topic, b"new", retained=False)]


async def test_what_arrives_together_is_delivered_together(broker: Broker, topic: str) -> None:
    async with (
        connected(settings(broker.port), name(), [topic]) as reader,
        connected(settings(broker.port), name(), []) as writer,
    ):
        for i in range(50):
            await writer.publish(topic, b"%d" % i)
        await asyncio.sleep(0.3)  # all of them are here
        async for deliveries in reader.deliveries():
            assert len(deliveries) == 50
            break


async def test_queue_is_bounded_in_messages(broker: Broker, topic: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "mqtt")
    async with (
        connected(settings(broker.port), name(), [topic], queue=5) as reader,
        connected(settings(broker.port), name(), []) as writer,
    ):
        for i in range(50):
            await writer.publish(topic, b"%d" % i)
        await asyncio.sleep(0.3)
        async for deliveries in reader.deliveries():
            assert [one.payload for one in deliveries] == [b"%d" % i for i in range(5)]
            break


async def test_queue_is_bounded_in_bytes(
    broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "mqtt")
    monkeypatch.setattr(bus_module, "MOST_BYTES", 250_000)
    async with (
        connected(settings(broker.port), name(), [topic]) as reader,
        connected(settings(broker.port), name(), []) as writer,
    ):
        for _ in range(20):
            await writer.publish(topic, bytes(100_000))
        await asyncio.sleep(0.5)
        async for deliveries in reader.deliveries():
            assert len(deliveries) == 3
            break


async def test_no_broker_is_unavailable_with_its_address() -> None:
    port = free_port()
    with pytest.raises(Unavailable, match=f"bus 127.0.0.1:{port}: "):
        await connected(settings(port), name(), []).__aenter__()


async def test_silent_broker_is_unavailable_within_the_timeout(broker: Broker) -> None:
    async with Proxy("127.0.0.1", broker.port) as proxy:
        proxy.stall()
        with pytest.raises(Unavailable):
            await asyncio.wait_for(connected(settings(proxy.port, timeout_s=0.3), name(), []).__aenter__(), 5)


async def test_cut_link_is_unavailable_to_reader_and_writer(broker: Broker, topic: str) -> None:
    async with Proxy("127.0.0.1", broker.port) as proxy:
        async with connected(settings(proxy.port), name(), [topic]) as session:
            proxy.refuse()
            with pytest.raises(Unavailable, match="bus: "):
                await heard(session, 1)
            with pytest.raises(Unavailable, match="bus: "):
                await session.publish(topic, b"x")
        proxy.heal()
        async with connected(settings(proxy.port), name(), [topic]) as session:
            await session.publish(topic, b"again")
            assert [one.payload for one in await heard(session, 1)] == [b"again"]


async def test_who_is_told_to_stop_while_publishing_stops(broker: Broker, topic: str) -> None:
    """As when cancellation and the library's answer come in one moment, and it takes the answer for all there is."""

    async def answered_when_cancelled(*_: object, **__: object) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    async with connected(settings(broker.port), name(), []) as session:
        session._client.publish = answered_when_cancelled  # type: ignore[method-assign]
        publishing = asyncio.create_task(session.publish(topic, b"x"))
        await asyncio.sleep(0.01)
        publishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await publishing


async def test_second_session_of_one_name_ends_the_first(broker: Broker, topic: str) -> None:
    mine = name()
    async with (
        connected(settings(broker.port), mine, [topic]) as first,
        connected(settings(broker.port), mine, [topic]),
    ):
        with pytest.raises(Unavailable):
            await heard(first, 1)


async def test_missing_password_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the secret"):
        await connected(settings(1, user="u", password_file=tmp_path / "no"), name(), []).__aenter__()


# Several nodes


async def test_a_node_that_is_dead_costs_a_try_and_no_more(broker: Broker, topic: str) -> None:
    dead = free_port()
    several = settings(dead, host=("127.0.0.1", f"localhost:{broker.port}", "127.0.0.1"))
    for _ in range(4):  # whichever order is drawn
        async with connected(several, name(), [topic]) as session:
            assert session.node == Node("localhost", broker.port)
            await session.publish(topic, b"x")
            assert await heard(session, 1) == [Delivery(topic, b"x")]


async def test_every_node_that_was_tried_is_named(broker: Broker) -> None:
    one, other = free_port(), free_port()
    with pytest.raises(Unavailable) as caught:
        await connected(settings(one, host=("127.0.0.1", f"127.0.0.1:{other}")), name(), []).__aenter__()
    assert f"bus 127.0.0.1:{one}: " in str(caught.value)
    assert f"bus 127.0.0.1:{other}: " in str(caught.value)


async def test_clients_spread_over_the_nodes(broker: Broker) -> None:
    several = settings(broker.port, host=("127.0.0.1", "localhost"))
    found = set()
    for _ in range(20):
        async with connected(several, name(), []) as session:
            found.add(session.node.host)
    assert found == {"127.0.0.1", "localhost"}
