"""The bus behind TLS: who is let in, who may say what to whom, and what is told to who is not."""

import asyncio
import contextlib
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from pydantic import ValidationError

from pipeline.bus import connected
from pipeline.errors import ConfigError, Unavailable
from pipeline.forwarder import forward
from pipeline.service import wall_ns
from pipeline.settings import Bus, Forwarding
from pipeline.spool import Spool
from pipeline.topics import ALL_RECORDS, alarm_topic, committed_topic, record_topic
from pipeline.writer import run as write_rows
from rootdx import certs
from rootdx.embedded import Broker, Guard, free_port
from tests.pipeline.test_bus import heard, name
from tests.support.services import reachable_folder, run
from tests.support.spine import batch, one, spool_settings, writer_settings

NOW = datetime.now(UTC).replace(microsecond=0)
CLIENTS = ("gw-1", "gw-2", "writer", "notify")


@dataclass(frozen=True)
class Hall:
    """An authority, another one, and a broker of the first that lets in its clients alone."""

    folder: Path
    other: Path
    broker: Broker

    def bus(self, client: str | None, folder: Path | None = None, **more: object) -> Bus:
        """As a client sees it."""
        given = {"host": "localhost", "port": self.broker.port, "ca_file": self.folder / "ca.pem", "timeout_s": 3.0}
        place = folder or self.folder
        if client is not None:
            given |= {"certificate": place / f"{client}.pem", "key": place / f"{client}.key"}
        return Bus.model_validate(given | more)


@pytest.fixture(scope="module")
def hall() -> Iterator[Hall]:
    with reachable_folder() as folder:
        ours, other = folder / "certs", folder / "other"
        for place in (ours, other):
            certs.make_authority(place, "plant", NOW)
        certs.make(ours, "broker", "server", ["localhost"], NOW)
        for client in CLIENTS:
            certs.make(ours, client, "client", [], NOW)
        certs.make(other, "gw-1", "client", [], NOW)
        (folder / "broker").mkdir(mode=0o755)
        guard = Guard(ours / "ca.pem", ours / "broker.pem", ours / "broker.key", ours / certs.USERS)
        server = Broker(folder / "broker", guard=guard)
        run(server.start())
        yield Hall(ours, other, server)
        run(server.stop())


async def test_a_gateways_records_arrive_and_what_is_committed_comes_back(
    hall: Hall, plain_dsn: str, tmp_path: Path
) -> None:
    settings = writer_settings(plain_dsn, hall.broker.port).model_copy(update={"bus": hall.bus("writer")})
    async with Spool(spool_settings(tmp_path), source="gw-1", clock=wall_ns) as spool:
        tasks = [
            asyncio.create_task(write_rows(settings)),
            asyncio.create_task(forward(spool, hall.bus("gw-1"), Forwarding())),
        ]
        try:
            last = await spool.append([batch(n=30)])
            async with asyncio.timeout(20):
                while spool.released < last:
                    await asyncio.sleep(0.05)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
    assert one(plain_dsn, "SELECT count(*) FROM rootdx.measurement") == 30


async def heard_by(hall: Hall, listener: str, topic: str, speaker: str, said: str) -> list[bytes]:
    """What arrives when `speaker` says something on `said` and then on its own topic or ours."""
    async with (
        connected(hall.bus(listener), name(), [topic]) as reader,
        connected(hall.bus(speaker), name(), []) as talker,
    ):
        with contextlib.suppress(Unavailable):
            await talker.publish(said, b"x")
        with contextlib.suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(1.0):
                return [delivery.payload for delivery in await heard(reader, 1)]
    return []


@pytest.mark.parametrize(
    ("listener", "topic", "speaker", "said", "arrives"),
    [
        ("writer", ALL_RECORDS, "gw-1", record_topic("gw-1"), True),
        ("writer", ALL_RECORDS, "gw-1", record_topic("gw-2"), False),
        ("gw-2", committed_topic("gw-2"), "writer", committed_topic("gw-2"), True),
        ("gw-2", committed_topic("gw-2"), "gw-1", committed_topic("gw-2"), False),
        ("writer", ALL_RECORDS, "notify", alarm_topic("a/b"), False),
    ],
)
async def test_everybody_says_and_hears_what_is_theirs(
    hall: Hall, listener: str, topic: str, speaker: str, said: str, arrives: bool
) -> None:
    assert await heard_by(hall, listener, topic, speaker, said) == ([b"x"] if arrives else [])


@pytest.mark.parametrize("topic", [committed_topic("gw-2"), ALL_RECORDS, "#", "rootdx/v1/+/committed"])
async def test_a_gateway_cannot_listen_to_others(hall: Hall, topic: str) -> None:
    with contextlib.suppress(Unavailable):  # refused at once, or nothing comes
        assert await heard_by(hall, "gw-1", topic, "writer", committed_topic("gw-2")) == []


async def test_without_a_certificate_nobody_enters(hall: Hall) -> None:
    with pytest.raises(Unavailable, match=r"bus localhost:\d+: .*bus.certificate and bus.key name none"):
        await connected(hall.bus(None), name(), []).__aenter__()


async def test_the_certificate_of_another_authority_is_refused(hall: Hall) -> None:
    with pytest.raises(Unavailable, match="we show CN=gw-1, valid to 20"):
        await connected(hall.bus("gw-1", hall.other), name(), []).__aenter__()


async def test_an_expired_certificate_is_refused_until_it_is_renewed(hall: Hall, tmp_path: Path) -> None:
    old = tmp_path / "certs"
    shutil.copytree(hall.folder, old)
    certs.renew(old, ["gw-1"], certs.NEAR, NOW - certs.LIFE - timedelta(days=2))
    ended = NOW - timedelta(days=2)
    with pytest.raises(Unavailable, match=f"we show CN=gw-1, valid to {ended:%Y-%m-%d}"):
        await connected(hall.bus("gw-1", old), name(), []).__aenter__()
    certs.renew(old, [], certs.NEAR, NOW)
    async with connected(hall.bus("gw-1", old), name(), []):
        pass


async def test_a_client_that_the_authority_knows_and_the_broker_does_not_is_refused(hall: Hall, tmp_path: Path) -> None:
    later = tmp_path / "certs"
    shutil.copytree(hall.folder, later)
    certs.make(later, "gw-9", "client", [], NOW)
    with pytest.raises(Unavailable, match="we show CN=gw-9"):
        await connected(hall.bus("gw-9", later), name(), []).__aenter__()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"host": "127.0.0.1"}, "IP address mismatch.*check bus.ca_file, that its names have bus.host"),
        ({"ca_file": "other"}, "not believed: (unable to get local issuer|self.signed|certificate signature)"),
    ],
)
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # paho leaves its socket to the collector
async def test_a_broker_that_is_not_believed_is_told_apart(hall: Hall, change: dict[str, Any], words: str) -> None:
    if "ca_file" in change:
        change = {"ca_file": str(hall.other / "ca.pem")}
    began = time.monotonic()
    with pytest.raises(Unavailable, match=words):
        await connected(hall.bus("gw-1", **change), name(), []).__aenter__()
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("key", "content", "words"),
    [
        ("ca_file", None, "bus.ca_file = .*: cannot be used: No such file"),
        ("ca_file", "nothing", "bus.ca_file = .*: cannot be used: "),
        ("certificate", "nothing", "bus.certificate.* = .*: cannot be used: "),
        ("key", "nothing", "bus.certificate or bus.key = .*: cannot be used: "),
    ],
)
async def test_a_file_that_cannot_be_used_is_named(
    hall: Hall, tmp_path: Path, key: str, content: str | None, words: str
) -> None:
    file = tmp_path / "file.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=words):
        await connected(hall.bus("gw-1", **{key: file}), name(), []).__aenter__()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"certificate": "a", "ca_file": "b"}, "certificate and key belong together"),
        ({"certificate": "a", "key": "b"}, "certificate without ca_file"),
    ],
)
def test_half_of_the_settings_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Bus.model_validate(given)


async def test_a_plain_client_gets_no_further(hall: Hall) -> None:
    plain = hall.bus(None).model_copy(update={"ca_file": None, "timeout_s": 1.0})
    with pytest.raises(Unavailable):
        await connected(plain, name(), []).__aenter__()


async def test_a_broker_that_is_away_is_no_matter_of_certificates(hall: Hall) -> None:
    with pytest.raises(Unavailable, match=r"bus localhost:\d+: .*refused$"):
        await connected(hall.bus("gw-1", port=free_port()), name(), []).__aenter__()


async def test_a_broker_may_encrypt_and_ask_nobody_who_it_is(hall: Hall) -> None:
    with reachable_folder() as folder:
        guard = Guard(hall.folder / "ca.pem", hall.folder / "broker.pem", hall.folder / "broker.key")
        async with (
            Broker(folder, guard=guard) as broker,
            connected(hall.bus(None, port=broker.port), name(), []) as bus,
        ):
            await bus.publish("a/b", b"x")
        assert (folder / "broker.conf").exists()


async def test_the_ends_of_both_certificates_are_measured(hall: Hall) -> None:
    async with connected(hall.bus("gw-1"), name(), []):
        pass
    for whose in ("own", "server"):
        found = REGISTRY.get_sample_value("rootdx_certificate_expiry_unixtime", {"asset": "bus", "whose": whose})
        assert found == (NOW + certs.LIFE).timestamp()
