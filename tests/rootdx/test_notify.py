"""The notifier against a real web server, mail server and broker: told once, escalated, quiet at night, tried again."""

import asyncio
import itertools
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as MessageHandler

from analytics.alarm import Act, Alarm, Kind, Row, on_row
from analytics.alarm_store import AlarmStore, Raised
from analytics.watching import watchings
from pipeline import bus as bus_module
from pipeline.database import connect
from pipeline.errors import ConfigError
from pipeline.settings import Bus, Settings, read_settings
from rootdx.embedded import Broker, free_port
from rootdx.notify import notifying, run
from tests.support.spine import ask

MOMENTS = itertools.count(10**18, 10**12)
ZONE = ZoneInfo("Asia/Seoul")
PATH = "test/plant/casting/line1/dc1"
FACTS = {"subject": "biscuit", "value": 15.0, "low": 18.0, "unit": "mm", "score": 1.5, "since": 10**15}


@dataclass
class Web:
    """A web server that keeps what is posted, and fails as often as it is told."""

    port: int
    fail: int = 0
    got: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/alarm"


@contextmanager
def web() -> Iterator[Web]:
    kept = Web(free_port())

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.tokens.append(self.headers["Authorization"])
            failed = kept.fail > 0
            kept.fail -= failed
            if not failed:
                kept.got.append(json.loads(body))
            self.send_response(503 if failed else 204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", kept.port), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Kept(MessageHandler):
    """Keeps what is mailed."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[Message] = []

    def handle_message(self, message: Message) -> None:
        self.messages.append(message)


async def raise_alarm(dsn: str, *, priority: str = "high") -> int:
    """An alarm in the store that people are to be told of; its number."""
    ask(
        dsn, "INSERT INTO rootdx.asset (path, name, process) VALUES (%s, 'dc1', 'casting') ON CONFLICT DO NOTHING", PATH
    )
    asset_id = ask(dsn, "SELECT asset_id FROM rootdx.asset WHERE path = %s", PATH)[0][0]
    db = await connect(dsn, 5)
    try:
        store = AlarmStore(db)
        table = {"kind": "limits", "name": f"d-{secrets.token_hex(3)}", "alarm": {"priority": priority}}
        one = watchings([table], [], "test")[0]
        entered = await store.enter(asset_id, one)
        alarm, entries = on_row(Alarm(), one.view.alarm, Row(next(MOMENTS), 1.5))
        await store.write(
            entered.detector_id, one.view.alarm.priority, [Raised("biscuit", alarm, entries, {0: FACTS})], 0.0
        )
        return int(ask(dsn, "SELECT alarm_id FROM rootdx.alarm WHERE detector_id = %s", entered.detector_id)[0][0])
    finally:
        await db.close()


async def acknowledge(dsn: str, alarm_id: int) -> None:
    db = await connect(dsn, 5)
    try:
        await AlarmStore(db).act(alarm_id, Act(Kind.ACKNOWLEDGED, 10**18, "kim", "봤음"))
    finally:
        await db.close()


def settings(dsn: str, **notify: Any) -> Settings:
    return Settings.model_validate({"store": {"dsn": dsn}, "notify": {"language": "ko", **notify}})


async def rounds(wanted: Settings, count: int = 1) -> list[int]:
    async with notifying(wanted, ZONE) as notifier:
        return [await notifier.round() for _ in range(count)]


async def test_everybody_is_told_once_over_every_channel(plain_dsn: str, broker: Broker) -> None:
    kept = Kept()
    mail = Controller(kept, hostname="127.0.0.1", port=free_port())
    mail.start()
    try:
        with web() as site:
            channels = [
                {"kind": "webhook", "url": site.url},
                {"kind": "mail", "to": ["kim@plant", "lee@plant"]},
                {"kind": "mqtt"},
            ]
            made = settings(
                plain_dsn, step=[{"to": channels}],
                smtp={"host": "127.0.0.1", "port": mail.port, "security": "none", "sender": "rootdx@plant"},
            ).model_copy(update={"bus": Bus(port=broker.port)})  # fmt: skip
            alarm_id = await raise_alarm(plain_dsn)
            async with bus_module.connected(made.bus, f"t-{secrets.token_hex(4)}", ["rootdx/v1/alarm/#"]) as ear:
                assert await rounds(made, 3) == [3, 0, 0]
                async with asyncio.timeout(5):
                    heard = [json.loads(one.payload) async for some in _first(ear) for one in some]
        assert [one["alarm_id"] for one in site.got] == [alarm_id] == [one["alarm_id"] for one in heard]
        assert "비스킷 두께: 15 mm, 하한 18 mm 미달" in site.got[0]["text"]
        (letter,) = kept.messages
        assert letter["To"] == "kim@plant, lee@plant"
        assert "하한 18 mm" in letter.get_payload(decode=True).decode()  # type: ignore[union-attr]
    finally:
        mail.stop()


async def _first(ear: bus_module.Session) -> Any:
    async for some in ear.deliveries():
        yield some
        return


async def test_the_next_step_waits_and_is_left_out_once_somebody_knows(plain_dsn: str) -> None:
    with web() as site:
        steps = [
            {"to": [{"kind": "webhook", "url": site.url + suffix}], "after_min": after}
            for suffix, after in (("1", 0), ("2", 10))
        ]
        made = settings(plain_dsn, step=steps)
        known, forgotten = await raise_alarm(plain_dsn), await raise_alarm(plain_dsn)
        assert await rounds(made) == [2]
        await acknowledge(plain_dsn, known)
        assert await rounds(made) == [0], "ten minutes have not passed"
        ask(plain_dsn, "UPDATE rootdx.notice SET due = now() WHERE step = 1")
        await rounds(made)
        told = [one["alarm_id"] for one in site.got]  # what is due together is sent together
        assert (sorted(told[:2]), told[2:]) == (sorted([known, forgotten]), [forgotten])
    assert ask(plain_dsn, "SELECT count(*) FROM rootdx.notice WHERE sent IS NULL") == [(0,)]


async def test_a_channel_that_fails_is_tried_again_and_the_others_do_not_wait(plain_dsn: str, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("s3cret\n")
    with web() as bad, web() as good:
        bad.fail = 2
        made = settings(plain_dsn, step=[{"to": [
            {"kind": "webhook", "url": bad.url, "token_file": str(secret)}, {"kind": "webhook", "url": good.url},
        ]}])  # fmt: skip
        await raise_alarm(plain_dsn)
        assert await rounds(made, 2) == [1, 0]
        error, wait = ask(plain_dsn, "SELECT error, due - now() FROM rootdx.notice WHERE sent IS NULL")[0]
        assert "503" in error
        assert 3 < wait.total_seconds() <= 5
        for _ in range(2):
            ask(plain_dsn, "UPDATE rootdx.notice SET due = now() WHERE sent IS NULL")
            await rounds(made)
        assert len(bad.got) == len(good.got) == 1
        assert bad.tokens == ["Bearer s3cret"] * 3
    assert ask(plain_dsn, "SELECT max(tries) FROM rootdx.notice") == [(3,)]


async def test_at_night_only_what_is_high_is_told(plain_dsn: str) -> None:
    with web() as site:
        made = settings(
            plain_dsn, step=[{"to": [{"kind": "webhook", "url": site.url}]}], quiet=["00:00", "23:59:59.999"]
        )
        high, medium = await raise_alarm(plain_dsn), await raise_alarm(plain_dsn, priority="medium")
        await raise_alarm(plain_dsn, priority="low")
        await rounds(made)
        assert [one["alarm_id"] for one in site.got] == [high]
        waiting = ask(
            plain_dsn,
            "SELECT j.alarm_id FROM rootdx.notice n JOIN rootdx.alarm_journal j USING (entry_id) WHERE sent IS NULL",
        )
        assert waiting == [(medium,)], "nobody wants to be told of low ones"


async def test_a_restart_between_planning_and_sending_forgets_nobody(plain_dsn: str) -> None:
    with web() as site:
        made = settings(plain_dsn, step=[{"to": [{"kind": "webhook", "url": site.url}]}])
        await raise_alarm(plain_dsn)
        async with notifying(made, ZONE) as first:
            await first._plan()
        assert await rounds(made, 2) == [1, 0]


async def test_nobody_to_tell_is_an_error_that_says_what_to_do(plain_dsn: str) -> None:
    with pytest.raises(ConfigError, match=r"\[\[notify.step\]\]"):
        await run(settings(plain_dsn))


def test_the_secret_of_the_mail_server_lies_beside_the_file(tmp_path: Path) -> None:
    file = tmp_path / "rootdx.toml"
    file.write_text('[notify.smtp]\nuser = "plant"\npassword_file = "mail.secret"\n')
    assert read_settings(file).notify.smtp.password_file == tmp_path / "mail.secret"
