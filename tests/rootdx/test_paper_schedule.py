"""Reports by schedule: each once to everybody, over restarts, downtime and channels that fail."""

import asyncio
import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from email.message import Message
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as MessageHandler
from pydantic import ValidationError

from pipeline.errors import ConfigError
from pipeline.settings import Settings, read_settings
from rootdx.embedded import free_port
from rootdx.paper.schedule import reporting, run
from tests.support.front_door import Shop
from tests.support.spine import ask

ZONE = ZoneInfo("Asia/Seoul")
PAGE = Path(__file__).resolve().parents[2] / "rootdx" / "paper" / "paper.md"
NOW = datetime(2026, 5, 29, 19, 0, tzinfo=ZONE)
"""An hour after the day shift that the rows end in."""


class Kept(MessageHandler):
    """Keeps what is mailed."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[Message] = []

    def handle_message(self, message: Message) -> None:
        self.messages.append(message)


@contextmanager
def post() -> Iterator[tuple[int, list[Message]]]:
    kept = Kept()
    server = Controller(kept, hostname="127.0.0.1", port=free_port())
    server.start()
    try:
        yield server.port, kept.messages
    finally:
        server.stop()


def settings(shop: Shop, *reports: dict[str, Any], port: int = 9) -> Settings:
    return Settings.model_validate({
        "store": {"dsn": shop.dsn}, "analytics": {"plant": shop.config.parent / "plant"}, "report": list(reports),
        "notify": {"smtp": {"host": "127.0.0.1", "port": port, "security": "none", "sender": "rootdx@plant"}},
    })  # fmt: skip


async def rounds(wanted: Settings, *moments: datetime) -> list[int]:
    async with reporting(wanted) as reporter:
        return [await reporter.round(moment) for moment in moments]


def folder(path: Path, **more: Any) -> dict[str, Any]:
    return {"name": "shifts", "kind": "shift", "form": "html", "to": [{"kind": "folder", "path": str(path)}], **more}


async def test_a_shift_is_sent_once_after_its_end(own_shop: Shop, tmp_path: Path) -> None:
    made = settings(own_shop, folder(tmp_path, shifts=["day"]))
    early = NOW - timedelta(minutes=46)
    assert await rounds(made, early, NOW, NOW) == [1, 1, 0], "first the newest that is over, then that of the day"
    assert await rounds(made, NOW) == [0], "a restart sends nothing again"
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "shifts_shift-2026-05-28-day.html", "shifts_shift-2026-05-29-day.html",
    ]  # fmt: skip
    assert 'lang="ko"' in (tmp_path / "shifts_shift-2026-05-29-day.html").read_text(encoding="utf-8")


async def test_what_ended_during_a_downtime_is_sent_afterwards(own_shop: Shop, tmp_path: Path) -> None:
    made = settings(own_shop, folder(tmp_path))
    assert await rounds(made, NOW) == [1]
    assert await rounds(made, NOW + timedelta(days=3), NOW + timedelta(days=3)) == [6, 0]
    assert len(list(tmp_path.iterdir())) == 7


async def test_a_crash_after_planning_forgets_nothing(own_shop: Shop, tmp_path: Path) -> None:
    made = settings(own_shop, folder(tmp_path))
    await rounds(made, NOW)
    ask(own_shop.dsn, "UPDATE rootdx.report_delivery SET sent = NULL")
    assert await rounds(made, NOW, NOW) == [1, 0]


async def test_a_month_and_every_record_go_by_mail_in_their_language(own_shop: Shop) -> None:
    with post() as (port, letters):
        to = [{"kind": "mail", "to": ["boss@plant", "auditor@oem"]}]
        made = settings(
            own_shop, {"name": "energy", "kind": "energy", "form": "xlsx", "language": "en", "to": to},
            {"name": "records", "kind": "record", "to": to, "after_min": 0}, port=port,
        )  # fmt: skip
        later = NOW + timedelta(days=365)
        assert await rounds(made, later, later) == [2, 0]
        ask(
            own_shop.dsn,
            "INSERT INTO rootdx.compliance_record SELECT 3, made, profile, subject_kind, subject, 2, verdict, author, "
            "'x', content, hash, 'h' FROM rootdx.compliance_record WHERE number = 2",
        )
        assert await rounds(made, later, later) == [1, 0]
        subjects = sorted(str(one["Subject"]) for one in letters)
    assert len({one["Message-ID"] for one in letters}) == 3
    assert all(one["To"] == "boss@plant, auditor@oem" for one in letters)
    files = sorted(str(part.get_filename()) for one in letters for part in one.walk() if part.get_filename())
    assert files == ["energy_energy-2027-04.xlsx", "records_record-2.pdf", "records_record-3.pdf"]
    assert len(subjects) == 3


async def test_what_fails_says_what_to_do_and_is_tried_again(own_shop: Shop, tmp_path: Path) -> None:
    gone = tmp_path / "drive"
    to = [{"kind": "folder", "path": str(gone)}, {"kind": "mail", "to": ["a@plant"]}]
    made = settings(own_shop, folder(gone, to=to, language="en"), port=free_port())
    assert await rounds(made, NOW, NOW) == [0, 0]
    rows = ask(own_shop.dsn, "SELECT channel, tries, error, due - now() FROM rootdx.report_delivery ORDER BY channel")
    assert [row[1] for row in rows] == [1, 1]
    assert "the folder of [[report]] shifts must be there" in rows[0][2]
    assert "check [notify.smtp]" in rows[1][2]
    assert all(50 < row[3].total_seconds() <= 60 for row in rows)
    shown = (await asyncio.to_thread(own_shop, "report", "list")).out
    assert "must be there" in shown
    gone.mkdir()
    ask(own_shop.dsn, "UPDATE rootdx.report_delivery SET due = now()")
    assert await rounds(made, NOW) == [1]
    assert ask(own_shop.dsn, "SELECT count(*) FROM rootdx.report_delivery WHERE sent IS NULL") == [(1,)]


async def test_a_machine_that_nobody_knows_stops_no_other_report(own_shop: Shop, tmp_path: Path) -> None:
    wrong = folder(tmp_path, name="wrong", machine="dc9", language="en")
    assert await rounds(settings(own_shop, wrong, folder(tmp_path)), NOW) == [1]
    ((error,),) = ask(own_shop.dsn, "SELECT error FROM rootdx.report_delivery WHERE sent IS NULL")
    assert "machine 'dc9' is unknown" in error
    assert "rootdx report" in error


async def test_only_one_process_sends(own_shop: Shop, tmp_path: Path) -> None:
    made = settings(own_shop, folder(tmp_path))
    async with reporting(made) as first, reporting(made) as second:
        assert sorted(await asyncio.gather(first.round(NOW), second.round(NOW))) == [0, 1]
        assert await second.round(NOW) == 0
    assert len(list(tmp_path.iterdir())) == 1


async def test_a_plant_without_records_begins_with_the_first(plain_dsn: str, shop: Shop, tmp_path: Path) -> None:
    empty = Shop(plain_dsn, shop.config)
    made = settings(empty, folder(tmp_path, name="records", kind="record", form="pdf"))
    assert await rounds(made, NOW, NOW) == [0, 0]
    assert ask(plain_dsn, "SELECT period, place FROM rootdx.report_delivery") == [("", 0)]


async def test_the_process_sends_until_it_is_stopped(own_shop: Shop, tmp_path: Path) -> None:
    made = settings(own_shop, folder(tmp_path))
    running = asyncio.create_task(run(made))
    try:
        async with asyncio.timeout(30):
            while not list(tmp_path.glob("*.html")):
                await asyncio.sleep(0.05)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled()
    assert all("</html>" in one.read_text(encoding="utf-8") for one in tmp_path.glob("*.html"))


async def test_nothing_to_send_is_an_error_that_says_what_to_do(shop: Shop) -> None:
    with pytest.raises(ConfigError, match=r"paper\.md"):
        await run(settings(shop))


def test_the_page_is_what_the_program_takes(tmp_path: Path) -> None:
    (sample,) = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    made = Settings.model_validate(tomllib.loads(sample))
    assert [one.kind for one in made.report] == ["shift", "energy", "record"]
    file = tmp_path / "rootdx.toml"
    file.write_text(sample)
    kept = read_settings(file).report
    assert [getattr(one.to[-1], "path", None) for one in kept] == [
        tmp_path / "reports", tmp_path / "reports", Path("/srv/records"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("reports", "words"),
    [
        ([{"name": "a", "kind": "shift", "to": []}], "at least 1 item"),
        ([{"name": "a", "kind": "record", "form": "xlsx", "to": [{"kind": "folder", "path": "x"}]}], "pdf or html"),
        ([{"name": "a", "kind": "shift", "to": [{"kind": "folder", "path": "x"}]}] * 2, "appears twice"),
    ],
)
def test_settings_that_make_no_sense_are_refused(reports: list[dict[str, Any]], words: str) -> None:
    with pytest.raises((ValidationError, ConfigError), match=words):
        Settings.model_validate({"report": reports})
