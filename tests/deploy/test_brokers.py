"""The brokers' configurations, as they are shipped, on the real programs: who gets in, and who may say what."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import aiomqtt
import pytest

from pipeline.bus import Delivery, Session, connected
from pipeline.errors import Unavailable
from pipeline.settings import Bus
from pipeline.topics import ALL_RECORDS, committed_topic, record_topic
from rootdx import certs
from rootdx.embedded import free_port
from tests.pipeline.test_bus import heard, name

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
PASSWD = shutil.which("mosquitto_passwd")
NFT = shutil.which("nft", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
NOW = datetime.now(UTC).replace(microsecond=0)
CLIENTS = ("gw-1", "gw-2", "hansung-gw-1", "daehan-gw-1", "writer", "notify")
COMPANY = "hansung-writer"


@dataclass(frozen=True)
class Place:
    """A broker that runs."""

    folder: Path
    port: int
    monitor: int = 0
    pid: int = 0

    def bus(self, client: str | None) -> Bus:
        """As a client sees it."""
        files = {} if client is None else {key: self.folder / f"{client}.{end}" for key, end in _FILES.items()}
        ca = self.folder / "ca.pem"
        return Bus.model_validate({"host": "localhost", "port": self.port, "timeout_s": 3.0, "ca_file": ca} | files)


_FILES = {"certificate": "pem", "key": "key"}


def papers(folder: Path) -> Path:
    place = folder / "certs"
    certs.make_authority(place, "plant", NOW)
    certs.make(place, "broker", "server", ["localhost", "broker"], NOW)
    for client in CLIENTS:
        certs.make(place, client, "client", [], NOW)
    certs.make_writer(place, COMPANY, ["hansung-gw-1"], NOW)
    return place


@contextlib.contextmanager
def running(command: list[str], port: int, **environment: str) -> Iterator[int]:
    process = subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(400):
            if process.poll() is not None:
                assert process.stderr is not None
                raise AssertionError(process.stderr.read())
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.025)
        yield process.pid
    finally:
        process.terminate()
        process.communicate(timeout=20)


@contextlib.contextmanager
def nats(folder: Path) -> Iterator[Place]:
    place, port, own, monitor = papers(folder), free_port(), free_port(), free_port()
    text = (DEPLOY / "nats" / "nats.conf").read_text(encoding="utf-8")
    assert text.count(":8883") == text.count(":4222") == 1
    conf = folder / "nats.conf"
    conf.write_text(text.replace("0.0.0.0:8883", f"127.0.0.1:{port}").replace("4222", str(own)), encoding="utf-8")
    shutil.copy(place / certs.USERS, folder)
    environment = {
        "BROKER_CA": str(place / "ca.pem"), "BROKER_CERTIFICATE": str(place / "broker.pem"),
        "BROKER_KEY": str(place / "broker.key"), "BROKER_STATE": str(folder / "state"),
        "BROKER_MONITOR": f"127.0.0.1:{monitor}",
    }  # fmt: skip
    server = str(Path(sys.executable).with_name("nats-server"))
    with running([server, "-c", str(conf)], port, **environment) as pid:
        yield Place(place, port, monitor, pid)


@contextlib.contextmanager
def mosquitto(folder: Path) -> Iterator[Place]:
    assert MOSQUITTO is not None
    place, port = papers(folder), free_port()
    text = (DEPLOY / "mosquitto" / "mosquitto.conf").read_text(encoding="utf-8")
    text = text.replace("listener 8883", f"listener {port} 127.0.0.1").replace("/etc/mosquitto/rootdx", str(place))
    with started_mosquitto(folder, text, port):
        yield Place(place, port)


@contextlib.contextmanager
def started_mosquitto(folder: Path, text: str, port: int) -> Iterator[None]:
    state = folder / "state"
    state.mkdir()
    for shipped in ("/var/lib/mosquitto-devices/", "/var/lib/mosquitto/"):
        text = text.replace(shipped, f"{state}/")
    if os.geteuid() == 0:
        text += "user root\n"  # it would leave for an account that cannot enter the folder
    (folder / "mosquitto.conf").write_text(text, encoding="utf-8")
    with running([str(MOSQUITTO), "-c", str(folder / "mosquitto.conf")], port):
        yield


@pytest.fixture(
    scope="module",
    params=[
        "nats",
        pytest.param("mosquitto", marks=pytest.mark.skipif(MOSQUITTO is None, reason="no Mosquitto on this machine")),
    ],
)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    kinds = {"nats": nats, "mosquitto": mosquitto}
    with kinds[request.param](tmp_path_factory.mktemp(request.param)) as found:
        yield found


async def arrives(place: Place, listener: str, topic: str, speaker: str, said: str, size: int = 1) -> bool:
    async with (
        connected(place.bus(listener), name(), [topic]) as reader,
        connected(place.bus(speaker), name(), []) as talker,
    ):
        with contextlib.suppress(Unavailable):
            await talker.publish(said, b"x" * size)
        return bool(await soon(reader))


async def soon(reader: Session) -> list[Delivery]:
    with contextlib.suppress(TimeoutError, Unavailable):
        async with asyncio.timeout(1.0):
            return await heard(reader, 1)
    return []


@pytest.mark.parametrize(
    ("listener", "topic", "speaker", "said", "expected"),
    [
        ("writer", ALL_RECORDS, "gw-1", record_topic("gw-1"), True),
        ("writer", ALL_RECORDS, "gw-1", record_topic("gw-2"), False),
        ("gw-2", committed_topic("gw-2"), "writer", committed_topic("gw-2"), True),
        ("gw-2", committed_topic("gw-2"), "gw-1", committed_topic("gw-2"), False),
    ],
)
async def test_a_gateway_has_its_own_topics_and_no_other(
    place: Place, listener: str, topic: str, speaker: str, said: str, expected: bool
) -> None:
    assert await arrives(place, listener, topic, speaker, said) is expected


@pytest.mark.parametrize(
    ("listener", "topic", "speaker", "said", "expected"),
    [
        (COMPANY, record_topic("hansung-gw-1"), "hansung-gw-1", record_topic("hansung-gw-1"), True),
        (COMPANY, record_topic("daehan-gw-1"), "daehan-gw-1", record_topic("daehan-gw-1"), False),
        (COMPANY, ALL_RECORDS, "daehan-gw-1", record_topic("daehan-gw-1"), False),
        (COMPANY, "#", "daehan-gw-1", record_topic("daehan-gw-1"), False),
        ("hansung-gw-1", committed_topic("hansung-gw-1"), COMPANY, committed_topic("hansung-gw-1"), True),
        ("daehan-gw-1", committed_topic("daehan-gw-1"), COMPANY, committed_topic("daehan-gw-1"), False),
    ],
)
async def test_a_companys_writer_serves_its_own_gateways_alone(
    place: Place, listener: str, topic: str, speaker: str, said: str, expected: bool
) -> None:
    found = False
    with contextlib.suppress(Unavailable):  # a topic that is not its own is refused at once, or nothing comes
        found = await arrives(place, listener, topic, speaker, said)
    assert found is expected


@pytest.mark.parametrize("topic", [committed_topic("gw-2"), "#", ALL_RECORDS])
async def test_a_gateway_hears_nothing_of_others(place: Place, topic: str) -> None:
    with contextlib.suppress(Unavailable):  # refused at once, or nothing comes
        assert not await arrives(place, "gw-1", topic, "writer", committed_topic("gw-2"))


async def test_a_record_of_six_megabytes_passes(place: Place) -> None:
    assert await arrives(place, "writer", ALL_RECORDS, "gw-1", record_topic("gw-1"), 6_000_000)


async def test_an_announcement_is_kept(place: Place) -> None:
    async with connected(place.bus("writer"), name(), []) as writer:
        await writer.publish(committed_topic("gw-1"), b"last", retain=True)
    async with connected(place.bus("gw-1"), name(), [committed_topic("gw-1")]) as gateway:
        assert [one.payload for one in await heard(gateway, 1)] == [b"last"]


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # paho leaves its socket to the collector
async def test_nobody_enters_without_a_certificate(place: Place) -> None:
    with pytest.raises(Unavailable, match="name none"):
        await connected(place.bus(None), name(), []).__aenter__()


async def test_nats_answers_its_health_check(tmp_path: Path) -> None:
    with (
        nats(tmp_path) as place,
        urllib.request.urlopen(f"http://127.0.0.1:{place.monitor}/healthz", timeout=10) as answer,
    ):
        assert answer.status == 200


async def test_nats_lets_a_new_gateway_in_after_a_reload_and_one_that_was_removed_no_more(tmp_path: Path) -> None:
    """As `systemctl reload` does; whoever is connected stays."""
    with nats(tmp_path) as place:
        certs.make(place.folder, "gw-3", "client", [], NOW)
        (place.folder / "gw-2.pem").rename(tmp_path / "gw-2.pem")
        certs.renew(place.folder, ["gw-3"], certs.NEAR, NOW)
        with pytest.raises(Unavailable):
            await connected(place.bus("gw-3"), name(), []).__aenter__()
        shutil.copy(place.folder / certs.USERS, tmp_path)
        async with connected(place.bus("gw-1"), name(), []) as stays:
            os.kill(place.pid, signal.SIGHUP)
            await asyncio.sleep(0.5)  # another program's work
            async with connected(place.bus("gw-3"), name(), []):
                pass
            (tmp_path / "gw-2.pem").rename(place.folder / "gw-2.pem")
            with pytest.raises(Unavailable):
                await connected(place.bus("gw-2"), name(), []).__aenter__()
            await stays.publish(record_topic("gw-1"), b"x")


async def test_nats_ends_the_session_of_one_that_was_revoked_and_lets_it_in_no_more(tmp_path: Path) -> None:
    with nats(tmp_path) as place:
        thief = place.bus("gw-2")
        kept = {name: (place.folder / f"gw-2.{name}").read_bytes() for name in ("pem", "key")}
        async with connected(place.bus("gw-1"), name(), []) as stays:
            async with connected(thief, name(), [committed_topic("gw-2")]) as stolen, asyncio.timeout(10):
                certs.revoke(place.folder, "gw-2", NOW)
                shutil.copy(place.folder / certs.USERS, tmp_path)
                os.kill(place.pid, signal.SIGHUP)
                with pytest.raises(Unavailable):
                    await heard(stolen, 1)
            for end, content in kept.items():
                (place.folder / f"gw-2.{end}").write_bytes(content)
            with pytest.raises(Unavailable):
                await connected(thief, name(), []).__aenter__()
            await stays.publish(record_topic("gw-1"), b"x")


@pytest.mark.skipif(MOSQUITTO is None, reason="no Mosquitto on this machine")
async def test_mosquitto_lets_one_that_was_revoked_in_no_more(tmp_path: Path) -> None:
    """Also with a certificate from before its last renewal."""
    (tmp_path / "first").mkdir()
    with mosquitto(tmp_path / "first") as place:
        async with connected(place.bus("gw-2"), name(), []):
            pass
        kept = {name: (place.folder / f"gw-2.{name}").read_bytes() for name in ("pem", "key")}
        certs.renew(place.folder, ["gw-2"], certs.NEAR, NOW)
        certs.revoke(place.folder, "gw-2", NOW)
    conf = (tmp_path / "first" / "mosquitto.conf").read_text(encoding="utf-8")
    for end, content in kept.items():
        (place.folder / f"gw-2.{end}").write_bytes(content)
    with running([str(MOSQUITTO), "-c", str(tmp_path / "first" / "mosquitto.conf")], place.port):
        assert "crlfile" in conf
        async with connected(place.bus("gw-1"), name(), []):
            pass
        with pytest.raises(Unavailable):
            await connected(place.bus("gw-2"), name(), []).__aenter__()


@pytest.mark.skipif(MOSQUITTO is None or PASSWD is None, reason="no Mosquitto on this machine")
async def test_a_machine_writes_below_its_own_name(tmp_path: Path) -> None:
    port, folder = free_port(), tmp_path / "etc"
    folder.mkdir()
    shutil.copy(DEPLOY / "mosquitto" / "devices.acl", folder)
    for user, first in (("gateway", True), ("f03", False)):
        command = [str(PASSWD), *(["-c"] if first else []), "-b", str(folder / "devices.passwd"), user, "only-here"]
        subprocess.run(command, check=True)
    text = (DEPLOY / "mosquitto" / "devices.conf").read_text(encoding="utf-8")
    text = text.replace("listener 1883", f"listener {port} 127.0.0.1").replace("/etc/mosquitto/rootdx", str(folder))
    heard_topics = []
    with started_mosquitto(tmp_path, text, port):
        async with (
            aiomqtt.Client("127.0.0.1", port, username="gateway", password="only-here") as reader,
            aiomqtt.Client("127.0.0.1", port, username="f03", password="only-here") as machine,
        ):
            await reader.subscribe("#")
            for topic in ("other/pv", "f03/pv"):
                await machine.publish(topic, b"1", qos=1)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    async for message in reader.messages:
                        heard_topics += [str(message.topic)]
        with pytest.raises(aiomqtt.MqttError):
            await aiomqtt.Client("127.0.0.1", port, timeout=3).__aenter__()
    assert heard_topics == ["f03/pv"]


KNOCKING = """
import fcntl, socket, struct, subprocess, sys, time
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 0x41))  # up
subprocess.run(["nft", "-f", "-"], input=sys.stdin.read(), text=True, check=True)
listener = socket.create_server(("0.0.0.0", 8883), backlog=500)
held = {}
for address in ("127.0.0.2", "127.0.0.3"):
    held[address] = []
    for _ in range(90):
        link = socket.socket()
        link.settimeout(0.05)
        link.bind((address, 0))
        try:
            link.connect(("127.0.0.1", 8883))
            held[address].append(link)
        except TimeoutError:
            pass
print(*(len(links) for links in held.values()))
"""


@pytest.mark.skipif(NFT is None, reason="no nftables on this machine")
def test_the_firewalls_limits_hold_each_address_to_its_own_share() -> None:
    """On a network of its own, which only its processes see; there everything is loopback."""
    rules = (DEPLOY / "nats" / "limits.nft").read_text(encoding="utf-8")
    exempt = '    iif "lo" accept\n'
    assert rules.count(exempt) == 1
    alone = ["unshare", "--map-root-user", "--net", sys.executable, "-c", KNOCKING]
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    done = subprocess.run(
        alone, input=rules.replace(exempt, ""), env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.split() == ["64", "64"], done.stderr
