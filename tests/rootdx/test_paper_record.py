"""A record on paper says what was sealed, in both languages, and says when it no longer holds."""

import asyncio
import dataclasses
import hashlib
import io
import json
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pypdf
import pytest

from analytics.entries import LabEntry
from analytics.machines import load_machines
from analytics.record_store import RecordStore, Subject
from analytics.records import hash_of, load_profiles
from pipeline import migrate
from pipeline.migrate import Connection
from pipeline.settings import Settings
from pipeline.store import opened
from rootdx.embedded import Postgres
from rootdx.invocation import Site, database, site_of
from rootdx.paper import press
from rootdx.paper.evidence import Evidence, evidence_of
from rootdx.paper.page import html_of
from rootdx.paper.record import composed, record_html, record_pdf
from rootdx.paper.sheet import Grid
from rootdx.terminal import number
from rootdx.texts import speaking
from tests.support import front_door, papers
from tests.support.front_door import Shop
from tests.support.papers import HOSTILE, IQ2
from tests.support.plant_rows import Feed, store_settings, waves
from tests.support.services import run
from tests.support.simulated import simulated
from tests.support.spine import ask

pytestmark = pytest.mark.plain


@dataclass(frozen=True, slots=True)
class Works:
    """A furnace's database and settings."""

    dsn: str
    config: Path

    @property
    def site(self) -> Site:
        return dataclasses.replace(site_of(self.config), settings=self.settings)

    @property
    def settings(self) -> Settings:
        return Settings.model_validate(
            {"store": {"dsn": self.dsn}, "analytics": {"plant": self.config.parent / "plant"}}
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Connection]:
        async with database(self.settings.store) as db:
            yield db

    def pdf(self, record: int, language: str = "en") -> bytes:
        async def made() -> bytes:
            async with self.open() as db:
                with speaking(language):
                    return await record_pdf(db, self.site, record)

        return run(made())


@pytest.fixture(scope="module")
def furnace(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Works]:
    folder = tmp_path_factory.mktemp("furnace")
    name = f"furnace_{secrets.token_hex(4)}"
    with psycopg.connect(postgres.dsn(), autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}".encode())
    dsn = postgres.dsn(dbname=name)
    run(migrate.migrate(dsn))
    shape = papers.window()
    papers.write_plant(folder / "plant", shape)
    sealed = run(papers.fill(dsn, folder / "plant", shape))
    assert sealed.verdict == "pass", json.loads(sealed.content)["remarks"]
    (folder / "rootdx.toml").write_text('[analytics]\nplant = "plant"\n')
    yield Works(dsn, folder / "rootdx.toml")
    with psycopg.connect(postgres.dsn(), autocommit=True) as db:
        db.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def own(furnace: Works, postgres: Postgres) -> Iterator[Works]:
    """A furnace of one's own."""
    name = f"copy_{secrets.token_hex(4)}"
    original = psycopg.conninfo.conninfo_to_dict(furnace.dsn)["dbname"]
    with psycopg.connect(postgres.dsn(), autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name} TEMPLATE {original}".encode())
    yield Works(postgres.dsn(dbname=name), furnace.config)
    with psycopg.connect(postgres.dsn(), autocommit=True) as db:
        db.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def pages(content: bytes) -> list[str]:
    """The text of each page, words of a cell put together again."""
    return [page.extract_text().replace("\u200b", "") for page in pypdf.PdfReader(io.BytesIO(content)).pages]


def fonts(content: bytes) -> dict[str, bool]:
    """Every font, and whether it is embedded."""
    found = {}
    for page in pypdf.PdfReader(io.BytesIO(content)).pages:
        resources: Any = page["/Resources"]
        for one in resources.get("/Font", {}).values():
            inner = one.get_object().get("/DescendantFonts", [one])[0].get_object()
            descriptor = inner["/FontDescriptor"].get_object()
            found[str(inner["/BaseFont"])] = any(f"/FontFile{kind}" in descriptor for kind in ("", "2", "3"))
    return found


@pytest.mark.parametrize(
    ("language", "verdict", "heading"), [("en", "pass", "Compliance record 1"), ("ko", "합격", "품질 적합성 기록서 1")]
)
def test_a_load_is_printed_with_the_numbers_of_the_database(
    furnace: Works, language: str, verdict: str, heading: str
) -> None:
    content = furnace.pdf(1, language)
    first, *rest = pages(content)
    whole = " ".join((first, *rest))
    assert heading in first
    assert verdict in first
    assert "침탄로 2호기" in first
    assert "이 반장" in first
    joined = re.sub(r"\s", "", whole)
    features = ask(furnace.dsn, "SELECT feature, value, low, high FROM rootdx.features")
    judged = [one for one in features if one[2] is not None or one[3] is not None]
    assert len(judged) == 10
    for name, value, low, high in features:
        if value is not None:
            assert name in joined
            assert number(value) in whole, name
        assert all(f"{limit:g}" in whole for limit in (low, high) if limit is not None)
    ((sealed_hash, previous),) = ask(furnace.dsn, "SELECT hash, previous FROM rootdx.compliance_record")
    assert sealed_hash in whole
    assert previous in whole
    assert "rootdx record verify 1" in whole
    assert all(f"KOLAS-26-{days}" in whole for days in (90, 40, 200))
    ((rows,),) = ask(furnace.dsn, "SELECT sum((r->>'rows')::int) FROM rootdx.compliance_record, "
                     "jsonb_array_elements(content::jsonb->'cycles'->0->'raw') r")  # fmt: skip
    assert f"{rows:,}" in whole
    assert fonts(content) == dict.fromkeys(fonts(content), True)
    assert all("Pretendard" in name for name in fonts(content))
    ((said,),) = ask(furnace.dsn, "SELECT content FROM rootdx.compliance_record")
    assert number(next(value for name, value, *_ in features if name == "case_depth")) in whole
    assert "not as it was sealed" not in whole
    assert json.loads(said)["verdict"] == "pass"


def test_the_file_carries_its_own_evidence(furnace: Works) -> None:
    content = furnace.pdf(1)
    reader = pypdf.PdfReader(io.BytesIO(content))
    attached = reader.attachments["record-1.json"][0]
    ((said, previous, sealed),) = ask(furnace.dsn, "SELECT content, previous, hash FROM rootdx.compliance_record")
    assert attached.decode() == said
    assert hashlib.sha256(f"1\n{previous}\n".encode() + attached).hexdigest() == sealed
    metadata = reader.xmp_metadata
    assert metadata is not None
    assert b"<pdfaid:part>3</pdfaid:part>" in metadata.stream.get_data()
    assert b"<pdfaid:conformance>B</pdfaid:conformance>" in metadata.stream.get_data()


def test_a_changed_raw_row_is_told_on_the_first_page(own: Works) -> None:
    async def verified() -> int:
        async with own.open() as db:
            return sum([len(faults) async for _, faults in RecordStore(db, own.site.plant, []).verify(1)])

    assert run(verified()) == 0
    changed = ask(
        own.dsn,
        "UPDATE rootdx.measurement SET value = value + 5 WHERE ctid = (SELECT m.ctid FROM rootdx.measurement m "
        "JOIN rootdx.tag t USING (tag_id) WHERE t.role = 'zone1.pv' ORDER BY m.ts OFFSET 700 LIMIT 1) RETURNING ts",
    )
    assert len(changed) == 1
    assert run(verified()) == 1
    first = pages(own.pdf(1))[0]
    assert "THE DATA WAS CHANGED" in first
    assert f"{IQ2} zone1.pv: rows of the 10 minutes from" in first
    assert "NOT VALID" in first
    korean = pages(own.pdf(1, "ko"))[0]
    assert "근거 데이터가 변경되었습니다" in korean
    assert "무효" in korean


def test_a_broken_seal_prints_no_number_of_the_content(own: Works) -> None:
    ask(own.dsn, "ALTER TABLE rootdx.compliance_record DISABLE TRIGGER USER")
    ask(own.dsn, "UPDATE rootdx.compliance_record SET content = replace(content, '\"L-2611\"', '\"L-2612\"')")
    (only,) = pages(own.pdf(1))
    assert "THE SEAL IS BROKEN" in only
    assert "NOT VALID" in only
    assert "case_depth" not in only
    assert "L-2612" not in only


def test_a_changed_column_and_a_record_that_is_gone_are_told(own: Works) -> None:
    async def again() -> None:
        plant, machines = load_machines(own.config.parent / "plant")
        async with own.open() as db:
            await RecordStore(db, plant, machines).make(
                Subject("lot", "L-2611"), load_profiles(), profile=None, author="lee", reason="again"
            )

    run(again())
    ask(own.dsn, "ALTER TABLE rootdx.compliance_record DISABLE TRIGGER USER")
    ask(own.dsn, "UPDATE rootdx.compliance_record SET author = 'x' WHERE number = 1")
    assert "THIS RECORD WAS ALTERED" in pages(own.pdf(1))[0]
    assert "case_depth" in " ".join(pages(own.pdf(1))), "its content is as it was sealed"
    ask(own.dsn, "DELETE FROM rootdx.compliance_record WHERE number = 1")
    text = pages(own.pdf(2))[0]
    assert "record 1 is gone" in text
    assert "NOT VALID" in text


def test_rows_that_are_gone_leave_a_paper_without_a_chart(own: Works) -> None:
    ask(own.dsn, "DELETE FROM rootdx.measurement")
    whole = " ".join(pages(own.pdf(1)))
    assert "the raw rows are gone" in whole
    assert "No signal of this cycle can be drawn" in whole


def test_nothing_that_was_typed_is_markup(own: Works) -> None:
    from analytics.entries import enter

    async def made() -> tuple[bytes, str]:
        plant, machines = load_machines(own.config.parent / "plant")
        async with own.open() as db:
            await enter(db, [
                LabEntry(author=HOSTILE, sampled=papers.at(300), name="hardness_hrc", value=60.0, unit="1",
                         note=HOSTILE, item_kind="lot", item="L-2611", method=HOSTILE, sample="漢字 😀"),
            ])  # fmt: skip
            await RecordStore(db, plant, machines).make(
                Subject("lot", "L-2611"),
                load_profiles(),
                profile=None,
                author=HOSTILE,
                reason=HOSTILE + "x" * 200,
            )
            with speaking("en"):
                return await record_pdf(db, own.site, 2), await record_html(db, own.site, 2)

    content, html = run(made())
    plain = re.sub(r"\s", "", " ".join(pages(content)))
    wanted = re.sub(r"\s", "", HOSTILE)
    assert plain.count(wanted) >= 3
    assert "[U+6F22]" in plain
    assert "[U+1F600]" in plain
    assert "root:" not in plain
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "漢字 😀" in html


def test_a_page_needs_nothing_from_elsewhere(furnace: Works) -> None:
    async def made() -> str:
        async with furnace.open() as db:
            with speaking("ko"):
                return await record_html(db, furnace.site, 1)

    html = run(made())
    assert html.startswith('<!doctype html><html lang="ko">')
    assert "http" not in html
    assert "src=" not in html
    assert html.count("<svg") == 1
    assert "합격" in html


def many(found: Evidence, cycles: int) -> Evidence:
    """The same lot with so many shots, one in fifty of them bad."""
    said = json.loads(found.sealed.content)
    some = said["cycles"]
    said["cycles"] = made = []
    for place in range(cycles):
        one = json.loads(json.dumps(some[place % len(some)]))
        for feature in one["features"]:
            if feature["name"] == "v_fast" and place % 50 == 7:
                feature["value"], feature["verdict"], one["verdict"] = 9.875, "fail", "fail"
        made.append(one)
    said["remarks"] = [
        {"verdict": "fail", "key": "flag", "facts": {"flag": f"shot {place}"}} for place in range(7, cycles, 50)
    ]
    content = json.dumps(said, ensure_ascii=False)
    sealed = dataclasses.replace(
        found.sealed, content=content, hash=hash_of(found.sealed.number, found.sealed.previous, content)
    )
    return dataclasses.replace(found, sealed=sealed, said=said)


async def test_a_lot_of_three_hundred_shots_stays_readable(shop: Shop) -> None:
    settings = Settings.model_validate(
        {"store": {"dsn": shop.dsn}, "analytics": {"plant": shop.config.parent / "plant"}}
    )
    site = dataclasses.replace(site_of(shop.config), settings=settings)
    async with database(settings.store) as db:
        found = many(await evidence_of(db, site, 2), 300)
    with speaking("en"):
        text = pages(press.pdf(composed(found)))
    assert len(text) <= 14
    front = " ".join(text[:2])
    assert "Judged features of 300 cycles" in front
    assert re.search(r"fast shot velocity \(v_fast\) m/s 2 3.2 300 [\d.]+ [\d.]+ 9.875 6", front), front
    assert "Seal, and how to check it" in " ".join(text[:3])
    assert " ".join(text).count("9.875") == 7


async def test_bursts_of_a_lot_are_drawn_over_each_other(own_shop: Shop) -> None:
    shape = simulated("casting", 2400.0, bursts=True).window
    async with opened(store_settings(own_shop.dsn)) as store:
        feed = Feed(store, front_door.DC1)
        await feed.take(*(dataclasses.replace(wave, asset=front_door.DC1) for wave in waves(shape)))
    settings = Settings.model_validate(
        {"store": {"dsn": own_shop.dsn}, "analytics": {"plant": own_shop.config.parent / "plant"}}
    )
    site = dataclasses.replace(site_of(own_shop.config), settings=settings)
    async with database(settings.store) as db:
        found = await evidence_of(db, site, 2)
    assert len(found.waves) > 10
    with speaking("en"):
        sheet = composed(found)
    assert any(
        f"{len(found.waves)} of 18 cycles" in note for block in sheet.blocks for note in getattr(block, "notes", ())
    )
    assert html_of(sheet).count("<svg") == 2


def test_alarms_stand_with_who_acknowledged_them_and_what_was_done(own_shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "lot.pdf"
    own_shop("record", "show", "2", "--out", str(file))
    assert "not acknowledged" in " ".join(pages(file.read_bytes()))
    ((alarm_id,),) = ask(own_shop.dsn, "SELECT alarm_id FROM rootdx.alarms")
    done = own_shop("alarms", "ack", str(alarm_id), "--who", "kim", "--done", "플런저 팁 교체", role="analytics")
    assert done.code == 0, done.err
    own_shop("record", "show", "2", "--out", str(file))
    text = " ".join(pages(file.read_bytes()))
    assert "not acknowledged" not in text
    assert "플런저 팁 교체" in text
    assert "not part of the seal" in text


async def test_long_tables_are_whole_in_the_appendix(shop: Shop) -> None:
    settings = Settings.model_validate(
        {"store": {"dsn": shop.dsn}, "analytics": {"plant": shop.config.parent / "plant"}}
    )
    site = dataclasses.replace(site_of(shop.config), settings=settings)
    async with database(settings.store) as db:
        found = await evidence_of(db, site, 2)
    with speaking("en"):
        sheet = composed(dataclasses.replace(found, journal=[*found.journal] * 60))
    grids = [
        one for one in (*sheet.blocks, *sheet.appendix) if one.title == "Alarms of the detectors and their dispositions"
    ]
    assert [len(one.rows) for one in grids if isinstance(one, Grid)] == [25, 60 * len(found.journal)]


async def test_two_papers_are_printed_at_once_in_two_languages(furnace: Works) -> None:
    async def one(language: str) -> bytes:
        async with furnace.open() as db:
            with speaking(language):
                return await record_pdf(db, furnace.site, 1)

    korean, english = await asyncio.gather(one("ko"), one("en"))
    assert "합격" in pages(korean)[0]
    assert "pass" in pages(english)[0]


def test_the_command_writes_the_paper(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "lot.pdf"
    done = shop("record", "show", "2", "--out", str(file), "--lang", "ko")
    assert done.code == 0, done.err
    assert "품질 적합성 기록서 2" in pages(file.read_bytes())[0]
    assert "name the file with --out" in shop("record", "show", "2", "--format", "pdf").err
    assert shop("record", "show", "9", "--out", str(file)).err.startswith("there is no record 9")


def test_letters_that_the_font_lacks_are_numbers() -> None:
    assert press.printable("온도 ≤ 850 °C ✖ 漢") == "온도 ≤ 850 °C ✗ [U+6F22]"
    assert all(ord(letter) in press.letters() for letter in "가힣한글●▲✗≤≥±–·…σ°²µ")
