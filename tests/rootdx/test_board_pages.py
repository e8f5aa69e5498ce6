"""The pages of the board in a real browser: whole in every size, language and theme, for fingers, keyboard and ears."""

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Response, expect

from pipeline.settings import Settings
from tests.support.board import PASSWORD, Board, add_people, served, settings_for
from tests.support.browser import axe, chromium
from tests.support.front_door import DC1, NI1, Shop, at

pytestmark = pytest.mark.plain
SHOTS: Final = Path(__file__).parents[2] / "build" / "screenshots"
SIZES: Final = {"phone": (390, 844), "tablet": (1024, 768), "desktop": (1440, 900), "kiosk": (1920, 1080)}
KEPT: Final = ("phone", "desktop")
"""Sizes kept as pictures in both languages; the tablet is in both colours."""
THEMES: Final = ("light", "dark")
FINGER: Final = 48
BUSY: Final = ".waiting, .starting, [aria-busy=true]"
PAINTED: Final = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
THEN: Final = "span=own&from=2026-05-29T04:00&to=2026-05-29T08:00"
"""When the simulated machines ran, on the plant's clock."""


def ms(minutes: float) -> int:
    return round(at(minutes).timestamp() * 1000)


PAGES: Final = {
    "overview": "overview", "machine": f"machine/{DC1}?from_ms={ms(5)}&to_ms={ms(15)}",
    "curves": f"machine/{DC1}?tab=curves&tag=die.temp_fix1", "features": f"machine/{DC1}?tab=features",
    "alarms": "alarms?every=yes", "alarm_journal": f"alarms?tab=journal&{THEN}",
    "alarm_load": f"alarms?tab=load&{THEN}",
    "alarm": "alarm/1", "cycles": f"cycles?{THEN}", "cycle": "cycle/5", "lots": f"lots?{THEN}",
    "trace": "lots?tab=trace&kind=lot&item=L-2", "records": "lots?tab=records", "record": "records/1",
    "entries": f"entries?kind=lab&{THEN}", "kpis": f"kpis?{THEN}", "energy": f"energy?{THEN}&machine={NI1}",
    "completeness": f"completeness?{THEN}", "commissioning": f"commissioning?machine={DC1}", "settings": "settings",
    "journal": "journal", "accounts": "accounts", "kiosk": "kiosk?turn=60",
}  # fmt: skip


class Tab:
    """A page of a browser that notes what goes wrong in it."""

    def __init__(self, context: BrowserContext, board: Board) -> None:
        self.page, self.board, self.faults = context.new_page(), board, list[str]()
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("requestfailed", self._failed)
        self.page.on("response", self._answered)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"console: {message.text}")

    def _failed(self, request: Request) -> None:
        if "ERR_ABORTED" not in (request.failure or ""):
            self.faults.append(f"failed: {request.url} {request.failure}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400 or not response.url.startswith(self.board.url):
            self.faults.append(f"answered {response.status}: {response.url}")

    def show(self, address: str) -> Page:
        """Goes to a page and waits until it is there."""
        if self.page.url.startswith(self.board.url):
            self.page.evaluate("address => { location.hash = `#/${address}`; }", address)
        else:
            self.page.goto(f"{self.board.url}/#/{address}")
        shown = ".kiosk" if address.startswith("kiosk") else f'.page[data-address="#/{address}"]'
        self.page.wait_for_selector(shown, state="attached")
        self.settle()
        return self.page

    def settle(self) -> None:
        self.page.wait_for_selector(BUSY, state="detached")
        self.page.evaluate(PAINTED)

    def without_faults(self) -> list[str]:
        """What went wrong since it was asked last."""
        found, self.faults = self.faults, []
        return found


@pytest.fixture(scope="module")
def board(module_shop: Shop) -> Iterator[Board]:
    with served(with_people(module_shop)) as one:
        yield one


@pytest.fixture(scope="module")
def browser(board: Board) -> Iterator[Browser]:
    """After the plant is filled: the browser's own event loop leaves no other to this thread."""
    assert board
    with chromium() as one:
        yield one


def with_people(shop: Shop) -> Settings:
    settings = settings_for(shop.dsn, shop.config.parent / "plant")
    with ThreadPoolExecutor(1) as apart:
        apart.submit(add_people, settings).result()
    return settings


def signed_in(browser: Browser, board: Board, name: str, language: str) -> BrowserContext:
    context = browser.new_context(locale=language, timezone_id="America/Lima", has_touch=True)
    context.set_default_timeout(15_000)
    headers = {"X-Rootdx": "board"}
    context.request.post(f"{board.url}/api/v1/session", data={"name": name, "password": PASSWORD}, headers=headers)
    context.add_cookies([{"name": "rootdx_lang", "value": language, "url": board.url}])
    return context


@pytest.fixture(scope="module")
def tabs(browser: Browser, board: Board) -> Iterator[dict[str, Tab]]:
    """Of an admin, by language."""
    contexts = {language: signed_in(browser, board, "ko", language) for language in ("en", "ko")}
    yield {language: Tab(context, board) for language, context in contexts.items()}
    for context in contexts.values():
        context.close()


@pytest.fixture
def fresh(browser: Browser, board: Board) -> Iterator[Tab]:
    """Of an engineer, in English."""
    context = signed_in(browser, board, "eun", "en")
    yield Tab(context, board)
    context.close()


# Every page


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("name", PAGES)
def test_page_is_whole_in_every_size(tabs: dict[str, Tab], name: str, language: str) -> None:
    tab = tabs[language]
    page = tab.show(PAGES[name])
    assert page.evaluate("document.documentElement.lang") == language
    SHOTS.mkdir(parents=True, exist_ok=True)
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate(PAINTED)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, f"wider than a {size}"
        if size in KEPT:
            page.screenshot(path=SHOTS / f"{name}-{size}-{language}.png")
    told = page.content()
    assert re.findall("⟦[^⟧]*⟧", told) == []
    assert page.locator("h1").count() == 1
    assert page.title()
    if language == "ko":
        assert re.search("[가-힣]", page.inner_text("main"))
    assert tab.without_faults() == []


@pytest.mark.parametrize("name", PAGES)
def test_page_is_for_everybody(tabs: dict[str, Tab], name: str) -> None:
    page = tabs["en"].show(PAGES[name])
    page.set_viewport_size({"width": 1024, "height": 768})
    if not page.evaluate("Boolean(window.axe)"):
        page.evaluate(axe())
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)
        page.evaluate(PAINTED)
        page.screenshot(path=SHOTS / f"{name}-tablet-{theme}.png")
        assert serious(page) == [], theme
    assert small_targets(page) == []
    page.emulate_media(color_scheme="light")


def serious(page: Page) -> list[str]:
    told = page.evaluate("async () => (await axe.run(document, { resultTypes: ['violations'] })).violations")
    return [
        f"{one['id']}: {node['html'][:160]} {node['any'][0]['message'] if node['any'] else ''}"
        for one in told if one["impact"] in ("serious", "critical") for node in one["nodes"]
    ]  # fmt: skip


def small_targets(page: Page) -> list[str]:
    """What a finger in a glove would miss."""
    wanted = "button, .button, .nav-link, .file, select, summary, .chip, .tag-choice, .alarm-link, .tile-link"
    script = """([wanted, least]) => [...document.querySelectorAll(wanted)]
        .map((one) => [one.outerHTML.slice(0, 120), one.getBoundingClientRect()])
        .filter(([, box]) => box.width > 0 && (box.height < least - 0.5 || box.width < least - 0.5))
        .map(([text, box]) => `${Math.round(box.width)} x ${Math.round(box.height)}: ${text}`)"""
    found: list[str] = page.evaluate(script, [wanted, FINGER])
    return found


# Who is there


def test_signing_in_and_out(browser: Browser, board: Board) -> None:
    context = browser.new_context(locale="ko-KR")
    tab = Tab(context, board)
    page = tab.page
    page.goto(board.url)
    expect(page.get_by_role("heading", level=1)).to_have_text("로그인")
    page.screenshot(path=SHOTS / "sign_in-desktop-ko.png")
    page.get_by_label("이름").fill("oh")
    page.get_by_label("비밀번호").fill("not this one")
    page.get_by_role("button", name="로그인").click()
    expect(page.get_by_role("alert").filter(has_text=re.compile("[가-힣]"))).to_be_visible()
    page.get_by_label("비밀번호").fill(PASSWORD)
    page.get_by_role("button", name="로그인").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("공장 현황")
    page.get_by_role("button", name="로그아웃").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("로그인")
    assert all("401" in fault for fault in tab.without_faults())
    context.close()


@pytest.mark.parametrize(("name", "seen"), [("oh", []), ("ahn", ["journal"]), ("ko", ["journal", "accounts"])])
def test_people_see_what_they_may(browser: Browser, board: Board, name: str, seen: Sequence[str]) -> None:
    context = signed_in(browser, board, name, "en")
    page = Tab(context, board).show("alarm/1")
    links = {one.get_attribute("href") for one in page.locator(".side a").all()}
    assert {f"#/{one}" for one in ("journal", "accounts")} & links == {f"#/{one}" for one in seen}
    assert (page.locator(".acts button").count() == 0) == (name == "ahn")
    context.close()


# What one does


def test_language_and_colours_change_at_once(fresh: Tab) -> None:
    page = fresh.show("overview")
    page.get_by_role("button", name="한국어").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("공장 현황")
    assert page.evaluate("document.documentElement.lang") == "ko"
    light = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    for _ in range(2):
        page.get_by_role("button", name=re.compile("화면 색")).click()
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") != light
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("공장 현황")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert fresh.without_faults() == []


def test_alarm_is_shelved_by_keyboard_and_text_stays_text(fresh: Tab) -> None:
    page = fresh.show("alarm/1")
    shelve = page.get_by_role("button", name="shelve")
    shelve.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    assert page.evaluate("document.querySelector('dialog').contains(document.activeElement)")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(shelve).to_be_focused()
    page.keyboard.press("Enter")
    attack = "<img src=x onerror=document.title='x'> & 팁 교체 대기"
    dialog.get_by_label("reason").fill(attack)
    dialog.get_by_role("button", name="shelve").click()
    expect(page.get_by_role("button", name="end shelving")).to_be_visible()
    expect(page.locator(".told")).to_contain_text("shelved")
    expect(page.locator("tbody tr").first).to_contain_text(attack)
    page.get_by_role("button", name="end shelving").click()
    expect(shelve).to_be_visible()
    assert fresh.without_faults() == []


def test_entry_is_made_from_what_the_server_describes(fresh: Tab) -> None:
    page = fresh.show("entries?kind=lab&span=90d")
    form = page.locator("form")
    form.locator("[name=asset]").select_option(NI1)
    form.locator("[name=name]").fill("ni")
    form.locator("[name=value]").fill("80.5")
    form.locator("[name=unit]").fill("no such unit")
    form.get_by_role("button", name="enter").click()
    expect(form.get_by_role("alert")).to_be_visible()
    form.locator("[name=unit]").fill("g/L")
    form.get_by_role("button", name="enter").click()
    expect(page.locator(".told")).to_be_visible()
    expect(page.locator("tbody")).to_contain_text("80.5")
    assert all("422" in fault for fault in fresh.without_faults())


def test_table_is_sorted_filtered_and_taken_along(fresh: Tab) -> None:
    page = fresh.show(f"cycles?machine={DC1}&{THEN}")
    head = page.get_by_role("button", name="id", exact=True)
    head.click()
    head.click()
    column = page.locator("thead th").first
    expect(column).to_have_attribute("aria-sort", "ascending")
    numbers = [int(one) for one in page.locator("tbody tr td:first-child").all_inner_texts()]
    assert numbers == sorted(numbers)
    page.get_by_placeholder("filter").fill("L-2")
    lots = page.locator("tbody tr").all_inner_texts()
    assert lots
    assert all("L-2" in row for row in lots)
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert download.value.suggested_filename == "cycles.csv"
    assert fresh.without_faults() == []


def test_trend_asks_for_finer_rows_when_one_looks_closer(fresh: Tab) -> None:
    page = fresh.show(f"machine/{DC1}?tags=die.temp_fix1&from_ms={ms(1)}&to_ms={ms(30)}")
    plot = page.locator(".u-over").first
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 50, steps=4)
    with page.expect_response(re.compile("/trend")) as answer:
        page.mouse.up()
    assert answer.value.json()["step_ms"] <= 2000
    fresh.settle()
    expect(page.locator(".plot").first).to_have_attribute("aria-label", re.compile(r"die\.temp_fix1"))
    page.get_by_role("button", name=re.compile("as a table")).first.click()
    expect(page.locator(".chart table")).to_be_visible()
    assert fresh.without_faults() == []


def test_first_tab_skips_to_the_content_and_nothing_holds_the_focus(fresh: Tab) -> None:
    page = fresh.show("alarms")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    seen = []
    for _ in range(8):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.outerHTML"))
    assert len(set(seen)) > 3


# When the line is cut


def test_lost_connection_is_told_and_mended(browser: Browser, own_shop: Shop) -> None:
    settings = with_people(own_shop)
    with served(settings) as first:
        context = signed_in(browser, first, "oh", "en")
        tab = Tab(context, first)
        page = tab.show("overview")
        expect(page.locator(".tile")).to_have_count(2)
    banner = page.locator(".lost-banner")
    expect(banner).to_contain_text("trying again")
    page.screenshot(path=SHOTS / "lost-desktop-en.png")
    with served(settings, int(first.url.rpartition(":")[2])):
        expect(banner).to_be_hidden(timeout=20_000)
        context.close()


def test_wall_screen_turns_its_pages(fresh: Tab) -> None:
    page = fresh.page
    page.clock.install()
    fresh.show("kiosk?turn=5&machines=yes")
    expect(page.locator(".kiosk-tile")).to_have_count(2)
    assert page.locator("nav, button").count() == 0
    size = page.evaluate("parseFloat(getComputedStyle(document.querySelector('.kiosk-tile .state')).fontSize)")
    assert size >= 24
    page.clock.fast_forward(5500)
    expect(page.locator(".kiosk-one")).to_be_visible()
    assert fresh.without_faults() == []
