"""What hostile clients try on the board: texts that would be commands somewhere else, and guessing passwords."""

import asyncio
import contextlib
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import psutil
from playwright.sync_api import Error as BrowserError

from pipeline import wire
from pipeline.bus import connected
from pipeline.model import Body
from pipeline.topics import record_topic
from tests.chaos.hostile_plant import ASSET, EVIL, PASSWORD, Outcome, Yard
from tests.support.browser import chromium
from tests.support.spine import batch, event, frame

BASE: Final = "/api/v1"
MARK: Final = "pwned"
ATTACKS: Final = (
    "'; DROP TABLE rootdx.measurement; --", "' OR '1'='1", "$$; SELECT pg_sleep(60); $$",
    f"<img src=x onerror=\"document.title='{MARK}'\">", f"<script>document.title='{MARK}'</script>",
    f"</title><svg onload=document.title='{MARK}'>", f"javascript:document.title='{MARK}'", "{{7*7}} ${7*7} %s%n",
    "=cmd|' /C calc'!A0", "../../etc/passwd", "금형 \U0001f525 'ä' \\ \"",
)  # fmt: skip
PAGES: Final = (
    "overview", f"machine/{ASSET}", "alarms", "lots", "entries?kind=context", "entries?kind=lab", "entries?kind=stop",
    "records", "completeness", f"commissioning?machine={ASSET}", "journal", "kpis", "lots?tab=trace&kind=lot&item=x",
)  # fmt: skip
ATTACKER, COLLEAGUE = "127.0.0.3", "127.0.0.2"
AT_ONCE: Final = 40
SIGNED_IN_S: Final = 10.0
"""Within this time a right sign-in from another address is answered, whatever an attacker does."""


def _client(yard: Yard, address: str, **more: Any) -> httpx.AsyncClient:
    """A browser that comes from an address of this computer."""
    transport = httpx.AsyncHTTPTransport(local_address=address, limits=httpx.Limits(max_connections=AT_ONCE))
    headers = {"X-Rootdx": "test", "Accept-Language": "en"}
    return httpx.AsyncClient(base_url=yard.board_url + BASE, headers=headers, transport=transport, timeout=60, **more)


# ---- texts ----


async def texts(yard: Yard, *, with_browser: bool) -> list[Outcome]:
    """In every place where a machine or a person says something; then looked for as it was said."""
    found = [await _by_machine(yard), await _by_person(yard)]
    if with_browser:
        found.append(await _shown(yard))
    return found


async def _by_machine(yard: Yard) -> Outcome:
    """Names of machines and tags, and texts of events."""
    site, epoch = f"hostile/{EVIL}", uuid.uuid4()
    async with connected(yard.bus(EVIL), f"x-{uuid.uuid4().hex[:8]}", []) as voice:
        for number, attack in enumerate(ATTACKS, 1):
            bodies: list[Body] = [
                batch(asset=f"{site}/{attack}", tags=(attack, "a"), ts_ns=time.time_ns()),
                event(attack, asset=f"{site}/{attack}", kind=attack, key=attack, data={attack: attack}),
            ]
            await voice.publish(record_topic(EVIL), wire.frame(frame(bodies, number, None, EVIL, epoch)))
    asked = (
        "SELECT (SELECT count(*) FROM rootdx.asset WHERE path = ANY(%s)) + (SELECT count(*) FROM rootdx.tag "
        "WHERE name = ANY(%s)) + (SELECT count(*) FROM rootdx.event WHERE text = ANY(%s) AND kind = ANY(%s))"
    )
    names = list(ATTACKS)
    given = [[f"{site}/{attack}" for attack in ATTACKS], names, names, names]
    wanted, deadline = 3 * len(ATTACKS), time.monotonic() + 20
    while (stored := await yard.number(asked, *given)) < wanted and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    said = f"asset, tag and event hold {stored} of {wanted}, letter by letter"
    held = stored == wanted and await yard.goes_on()
    return Outcome("texts", "SQL, HTML, formulas in names and events", wanted, "stored as text", said, held)


def _entries(attack: str) -> dict[str, dict[str, object]]:
    now = datetime.now(UTC).isoformat()
    return {
        "context": {"asset": ASSET, "kind": "lot", "value": attack, "valid_from": now},
        "lab": {
            "asset": ASSET, "sampled": now, "name": "ni", "value": 80.0, "unit": "g/L", "item_kind": "lot",
            "item": attack, "method": attack, "note": attack, "sample": attack,
        },
        "link": {"item_kind": "part", "item": attack, "of_kind": "lot", "of_item": f"{attack}."},
    }  # fmt: skip


async def _by_person(yard: Yard) -> Outcome:
    """Entries of the board's API, given back as JSON and as CSV."""
    entered = answered = harmless = 0
    async with _client(yard, COLLEAGUE) as web:
        (await web.post("/session", json={"name": "eun", "password": PASSWORD})).raise_for_status()
        for attack in ATTACKS:
            for kind, given in _entries(attack).items():
                entered += (await web.post(f"/entries/{kind}", json=given)).status_code == 200
        for kind in ("context", "lab", "link"):
            got = await web.get(f"/entries/{kind}")
            safe = got.headers["content-type"].startswith("application/json")
            safe = safe and got.headers["x-content-type-options"] == "nosniff"
            told = {str(cell) for row in got.json()["rows"] for cell in row}
            answered += sum(attack in told for attack in ATTACKS) if safe else 0
            sheet = (await web.get(f"/entries/{kind}", params={"format": "csv"})).text
            harmless += "=cmd" not in sheet.replace("'=cmd", "")
    wanted = 3 * len(ATTACKS)
    journal = await yard.number("SELECT count(*) FROM rootdx.board_journal WHERE action = 'entered'")
    said = f"board_journal: {journal} entries of eun"
    outcome = f"stored {entered}, given back as said {answered}; formulas in CSV defused {harmless} of 3"
    held = entered == answered == wanted == journal and harmless == 3
    return Outcome("texts", "SQL, HTML, formulas in entries of people", wanted, outcome, said, held)


async def _shown(yard: Yard) -> Outcome:
    """Every page of the board in a real browser: nothing of it may run."""
    try:
        ran, seen = await asyncio.to_thread(_looked_at, yard)
    except (BrowserError, RuntimeError, OSError) as error:
        return Outcome("texts", "the same on the pages", 0, f"not looked at: {str(error)[:60]}", "", held=True)
    outcome = f"shown as text on {seen} pages, run on {ran}"
    return Outcome("texts", "the same on the pages, in Chromium", len(PAGES), outcome, "", ran == 0 and seen > 0)


def _looked_at(yard: Yard) -> tuple[int, int]:
    ran = seen = 0
    with chromium() as browser:
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{yard.board_url}/")
        signed = context.request.post(
            f"{yard.board_url}{BASE}/session", data={"name": "eun", "password": PASSWORD}, headers={"X-Rootdx": "test"}
        )
        if not signed.ok:
            raise RuntimeError("the browser cannot sign in")
        for place in PAGES:
            page.goto(f"{yard.board_url}/#/{place}")
            page.reload()
            page.wait_for_timeout(700)
            ran += page.title() == MARK or page.locator("img[src=x], svg[onload]").count() > 0
            seen += "onerror" in page.inner_text("body")
    return ran, seen


# ---- guessing ----


async def guessing(yard: Yard, tries: int) -> list[Outcome]:
    """Many names from one address, then one name; meanwhile somebody else signs in from elsewhere."""
    return [await _many_names(yard, tries), await _one_name(yard, tries // 10)]


async def _many_names(yard: Yard, tries: int) -> Outcome:
    answers, took_s, cpu_s, colleague = await _flood(yard, tries, lambda number: f"user{number}", "eun", [ATTACKER])
    slow = max(colleague, default=float("inf"))
    outcome = (
        f"password looked at {answers[401]} times, told to wait {answers[429]}; CPU {cpu_s:.1f} s in {took_s:.1f} s; "
        f"eun from elsewhere: {len(colleague)} sign-ins, at most {slow:.2f} s"
    )
    refused = await yard.number("SELECT count(*) FROM rootdx.board_journal WHERE action = 'sign_in_refused'")
    held = answers[401] + answers[429] == tries and answers[401] <= 20 + took_s and slow <= SIGNED_IN_S
    return Outcome("sign-in", "names and passwords, one address", tries, outcome, f"board_journal: {refused}", held)


async def _one_name(yard: Yard, tries: int) -> Outcome:
    """From many addresses, the name of somebody who works here and has signed in from her own place before."""
    async with _client(yard, COLLEAGUE) as web:
        (await web.post("/session", json={"name": "oh", "password": PASSWORD})).raise_for_status()
    crowd = [f"127.0.1.{number}" for number in range(1, AT_ONCE + 1)]
    answers, took_s, cpu_s, colleague = await _flood(yard, tries, lambda _: "oh", "oh", crowd)
    slow = max(colleague, default=float("inf"))
    outcome = (
        f"password looked at {answers[401]} times, told to wait {answers[429]}; CPU {cpu_s:.1f} s in {took_s:.1f} s; "
        f"oh from her own place: {len(colleague)} sign-ins, at most {slow:.2f} s"
    )
    held = answers[401] + answers[429] == tries and answers[401] <= 20 + took_s and slow <= SIGNED_IN_S
    return Outcome("sign-in", f"passwords of one name, {AT_ONCE} addresses", tries, outcome, "board_journal", held)


async def _flood(
    yard: Yard, tries: int, name_of: Callable[[int], str], colleague: str, addresses: Sequence[str]
) -> tuple[Counter[int], float, float, list[float]]:
    """Answers by status; seconds; seconds of the board's CPU; seconds of each right sign-in meanwhile."""
    process = psutil.Process(yard.processes["board"].pid)
    before, began = sum(process.cpu_times()[:2]), time.monotonic()
    answers: Counter[int] = Counter()
    numbers = iter(range(tries))
    signed: list[float] = []

    async def attack(web: httpx.AsyncClient) -> None:
        for number in numbers:
            given = {"name": name_of(number), "password": f"password number {number}"}
            answers[(await web.post("/session", json=given)).status_code] += 1

    over = asyncio.Event()

    async def work() -> None:
        while not (over.is_set() and signed):
            start = time.monotonic()
            async with _client(yard, COLLEAGUE) as web:
                answer = await web.post("/session", json={"name": colleague, "password": PASSWORD})
            signed.append(time.monotonic() - start if answer.status_code == 200 else float("inf"))
            await asyncio.sleep(0.5)

    async with contextlib.AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(_client(yard, address)) for address in addresses]
        working = asyncio.create_task(work())
        await asyncio.gather(*(attack(lines[number % len(lines)]) for number in range(AT_ONCE)))
        over.set()
        await working
    took_s = time.monotonic() - began
    return answers, took_s, sum(process.cpu_times()[:2]) - before, signed
