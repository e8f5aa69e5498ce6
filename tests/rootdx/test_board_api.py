"""The REST API of the board: who may what, what it tells, and what it refuses."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from pipeline.errors import ConfigError
from rootdx.board.access import MAY, ROLES
from rootdx.board.app import create_app
from rootdx.embedded import Postgres
from tests.support.board import BASE, PASSWORD, PEOPLE, Board, add_people, served, settings_for
from tests.support.front_door import DC1, NI1, Shop
from tests.support.spine import ask

pytestmark = pytest.mark.plain
FREE = {"/session", "/texts", "/health"}
SPAN = {"from": "2026-05-01", "to": "2026-06-30"}


@pytest.fixture
def board(own_shop: Shop) -> Iterator[Board]:
    settings = settings_for(own_shop.dsn, own_shop.config.parent / "plant")
    add_people(settings)
    with served(settings) as one:
        yield one


@pytest.fixture(scope="module")
def looked_at(module_shop: Shop) -> Iterator[Board]:
    """Nothing is changed but accounts and their sessions."""
    settings = settings_for(module_shop.dsn, module_shop.config.parent / "plant")
    add_people(settings)
    with served(settings) as one:
        yield one


@pytest.fixture(scope="module")
def browser(looked_at: Board) -> Iterator[httpx.Client]:
    with looked_at.client("ahn") as one:
        yield one


def endpoints(client: httpx.Client) -> list[tuple[str, str]]:
    paths: dict[str, dict[str, Any]] = client.get("/openapi.json").json()["paths"]
    return [(verb, path.removeprefix(BASE)) for path, verbs in paths.items() for verb in verbs]


# Who may what


def test_nothing_is_told_to_who_is_not_signed_in(looked_at: Board) -> None:
    with looked_at.client() as stranger:
        told = {
            (verb, path): stranger.request(verb, path.replace("{", "").replace("}", ""), json={}).status_code
            for verb, path in endpoints(stranger)
            if path not in FREE
        }
    assert len(told) > 30
    assert {key: status for key, status in told.items() if status not in (401, 422)} == {}
    assert [key for key, status in told.items() if status == 422 and key[0] == "get"] == [
        key for key, status in told.items() if key[0] == "get" and status != 401
    ], "a question that is wrong in itself may be told so"


BODIES: dict[str, Any] = {
    "/alarms/1/acknowledge": {"done": "x"}, "/alarms/1/reset": {}, "/alarms/1/shelve": {"reason": "x", "hours": 1},
    "/alarms/1/unshelve": {}, "/alarms/1/out_of_service": {"reason": "x"}, "/alarms/1/in_service": {},
    "/records": {"kind": "lot", "name": "L-1", "reason": "again"}, "/probe": {"machine": "dc1"},
    "/entries/quantity": {"asset": "dc1", "ts": "2026-05-29T10:00", "scrap": 1},
    "/accounts": {"name": "new", "role": "operator", "password": PASSWORD},
}  # fmt: skip
NEEDS = {
    "/alarms/1/acknowledge": "acknowledge", "/alarms/1/reset": "acknowledge", "/alarms/1/shelve": "shelve",
    "/alarms/1/unshelve": "shelve", "/alarms/1/out_of_service": "service", "/alarms/1/in_service": "service",
    "/records": "seal", "/probe": "probe", "/entries/quantity": "enter", "/accounts": "accounts",
}  # fmt: skip


@pytest.mark.parametrize("name", PEOPLE)
def test_a_role_does_what_it_may_and_nothing_else(board: Board, name: str) -> None:
    role = PEOPLE[name]
    with board.client(name) as person:
        assert person.get("/me").json()["may"] == sorted(MAY[role])
        told = {path: person.post(path, json=body) for path, body in BODIES.items()}
        looks = {path: person.get(path).status_code for path in ("/journal", "/accounts")}
    refused = {path for path, answer in told.items() if answer.status_code == 403}
    assert refused == {path for path, wanted in NEEDS.items() if wanted not in MAY[role]}
    assert looks == {
        "/journal": 200 if "journal" in MAY[role] else 403, "/accounts": 200 if "accounts" in MAY[role] else 403,
    }  # fmt: skip
    assert all(set(answer.json()) >= {"error", "kind"} for answer in told.values() if answer.status_code >= 400)
    assert all(answer.status_code < 500 for answer in told.values())


def test_every_change_has_an_endpoint_in_the_matrix_above(looked_at: Board) -> None:
    with looked_at.client() as stranger:
        changes = {path for verb, path in endpoints(stranger) if verb in ("post", "put", "patch", "delete")}
    known = {path.replace("/1/", "/{alarm_id}/").replace("/quantity", "/{kind}") for path in BODIES}
    assert changes - known == {"/session", "/accounts/{name}"}


def test_what_people_do_stands_in_the_journal(board: Board) -> None:
    with board.client("eun") as person:
        (alarm,) = person.get("/alarms", params={"every": True}).json()["alarms"]
        number = alarm["alarm_id"]
        assert (
            person.post(f"/alarms/{number}/shelve", json={"reason": "주문 중", "hours": 2}).json()["state"] == "shelved"
        )
        assert person.get(f"/alarms/{number}").json()["alarm"]["shelved_until_ms"] > time.time() * 1000
        assert "unshelve" in person.get(f"/alarms/{number}").json()["may"]
        assert person.post(f"/alarms/{number}/unshelve", json={}).status_code == 200
        assert person.post(f"/alarms/{number}/reset", json={}).status_code == 400
    with board.client("ahn", "ko") as auditor:
        rows = auditor.get("/journal").json()["rows"]
        assert auditor.get(f"/alarms/{number}").json()["may"] == []
    assert [(row[1], row[2], row[4], row[5]) for row in rows[:4]] == [
        ("ahn", "auditor", "로그인", "ahn"),
        ("eun", "engineer", "알람 보류 해제", str(number)),
        ("eun", "engineer", "알람 보류", str(number)),
        ("eun", "engineer", "로그인", "eun"),
    ]
    assert "주문 중" in rows[2][6]
    with psycopg.connect(board.settings.store.dsn) as db, pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute("UPDATE rootdx.board_journal SET who = 'x'")


def test_entries_carry_who_is_signed_in(board: Board) -> None:
    given = {"asset": "ni1", "sampled": "2026-05-29 10:00", "name": "ni", "value": 80.5, "unit": "g/L"}
    with board.client("oh") as person:
        assert person.post("/entries/lab", json=given).json() == {"new": 1}
        assert person.post("/entries/lab", json=given | {"author": "somebody else"}).status_code == 422
        wrong = person.post("/entries/lab", json=given | {"value": "viel"})
        assert (wrong.status_code, wrong.json()["field"]) == (422, "value")
        missing = person.post("/entries/lab", json={"asset": "ni1", "name": "ni", "value": 1, "unit": "g/L"})
        assert missing.json()["error"] == "sampled is missing"
        rows = person.get("/entries/lab").json()["rows"]
    assert (rows[0][1], rows[0][2], rows[0][4], rows[0][5]) == ("oh", NI1, "ni", 80.5)
    assert rows[0][3].startswith("2026-05-29T10:00:00.000+09:00")


def test_forms_ask_for_what_can_be_entered_in_both_languages(looked_at: Board) -> None:
    with looked_at.client("oh", "ko") as person:
        forms = {one["kind"]: one for one in person.get("/entries/kinds").json()}
    stop = {one["name"]: one for one in forms["stop"]["fields"]}
    assert stop["kind"]["type"] == "choice"
    assert {"value": "technical", "label": "설비 고장"} in stop["kind"]["choices"]
    assert (stop["from_ts"]["type"], stop["asset"]["type"], stop["replaces"]["type"]) == ("time", "machine", "number")
    assert "author" not in stop


# Signing in


def test_wrong_tries_are_counted_by_name_also_with_the_right_password(board: Board) -> None:
    with board.client() as guest:
        told = [guest.post("/session", json={"name": "ko", "password": f"wrong {n}"}).status_code for n in range(12)]
        assert told == [401] * 10 + [429] * 2
        waits = guest.post("/session", json={"name": "ko", "password": PASSWORD})
        assert waits.status_code == 429
        assert 0 < int(waits.headers["retry-after"]) <= 30
    refused = ask(
        board.settings.store.dsn, "SELECT count(*) FROM rootdx.board_journal WHERE action = 'sign_in_refused'"
    )
    assert refused == [(10,)]


def test_a_name_that_is_not_there_is_told_like_a_wrong_password(board: Board) -> None:
    with board.client() as guest:
        nobody = guest.post("/session", json={"name": "nobody", "password": "x" * 12})
        wrong = guest.post("/session", json={"name": "oh", "password": "x" * 12})
    assert (nobody.status_code, nobody.json()) == (wrong.status_code, wrong.json())


def test_a_session_ends_with_sign_out_with_its_time_and_with_its_account(board: Board) -> None:
    dsn = board.settings.store.dsn
    with board.client("oh") as person:
        kept = person.cookies.get("rootdx_session")
        assert person.delete("/session").status_code == 204
        assert person.get("/me", headers={"Authorization": f"Bearer {kept}"}).status_code == 401
    with board.client("oh") as person:
        with psycopg.connect(dsn) as db:
            db.execute("UPDATE rootdx.board_session SET begun = now() - INTERVAL '13 hours'")
        assert person.get("/me").status_code == 401
    with board.client("oh") as person, board.client("ko") as admin:
        assert admin.patch("/accounts/oh", json={"disabled": True}).status_code == 200
        assert person.get("/me").status_code == 401
        assert person.post("/session", json={"name": "oh", "password": PASSWORD}).status_code == 401
        last = admin.patch("/accounts/ko", json={"role": "operator"})
        assert (last.status_code, last.json()["kind"]) == (400, "bad_data")
        assert admin.get("/me").status_code == 200, "nothing was changed"


def test_the_cookie_is_kept_from_scripts_and_other_sites_and_the_store_has_no_token(board: Board) -> None:
    with board.client() as guest:
        answer = guest.post("/session", json={"name": "oh", "password": PASSWORD})
        cookie = answer.headers["set-cookie"].lower()
        assert all(word in cookie for word in ("httponly", "samesite=strict", "max-age=43200"))
        token = guest.cookies["rootdx_session"]
        assert guest.post("/session", json={"name": "oh", "password": PASSWORD, "bearer": True}).json()["token"]
    dump = str(ask(board.settings.store.dsn, "SELECT encode(digest, 'hex'), account FROM rootdx.board_session"))
    assert token not in dump
    kept = ask(board.settings.store.dsn, "SELECT password FROM rootdx.account")
    assert all(str(one[0]).startswith("$argon2id$") for one in kept)


def test_a_change_without_the_header_is_refused(board: Board) -> None:
    with board.client("ko") as admin:
        del admin.headers["X-Rootdx"]
        answer = admin.post("/accounts", json=BODIES["/accounts"])
        assert (answer.status_code, answer.json()["kind"]) == (403, "forbidden")
        assert len(admin.get("/accounts").json()["rows"]) == len(PEOPLE)


def test_every_answer_has_its_headers(looked_at: Board) -> None:
    for path in ("/", "/api", "/api/v1/health", "/api/v1/me", "/static/nothing.js"):
        headers = httpx.get(looked_at.url + path).headers
        assert "default-src 'self'" in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff"
        assert "cache-control" in headers


def test_only_over_tls_browsers_are_told_to_come_no_other_way(looked_at: Board) -> None:
    assert "strict-transport-security" not in httpx.get(f"{looked_at.url}/").headers


def test_others_are_served_without_encryption_only_where_somebody_says_so(module_shop: Shop) -> None:
    plant = module_shop.config.parent / "plant"
    with pytest.raises(ConfigError, match="without certificate"):
        create_app(settings_for(module_shop.dsn, plant, host="0.0.0.0"))  # not listened on
    create_app(settings_for(module_shop.dsn, plant, host="0.0.0.0", plain_http=True))


def test_everybody_is_admin_only_on_this_machine_and_under_its_names(module_shop: Shop) -> None:
    plant = module_shop.config.parent / "plant"
    with pytest.raises(ConfigError, match="sign_in = false"):
        create_app(settings_for(module_shop.dsn, plant, sign_in=False, host="0.0.0.0"))  # not listened on
    with served(settings_for(module_shop.dsn, plant, sign_in=False)) as one:
        assert httpx.get(f"{one.url}{BASE}/me").json()["role"] == "admin"
        foreign = httpx.get(f"{one.url}{BASE}/me", headers={"Host": "evil.example"})
        assert foreign.status_code == 400


# What it tells


def test_a_trend_keeps_spikes_gaps_and_what_is_bad(board: Board, own_shop: Shop) -> None:
    dsn = own_shop.dsn
    (tag_id, start) = ask(
        dsn, "SELECT t.tag_id, min(ts) FROM rootdx.tags t JOIN rootdx.measurement USING (tag_id) "
        "WHERE asset = %s AND role = 'metal.temp' GROUP BY 1", DC1,
    )[0]  # fmt: skip
    with psycopg.connect(
        dsn.replace("user=rootdx_board", "user=postgres").replace(f"password={'only-for-tests'}", "")
    ) as db:
        rows = "UPDATE rootdx.measurement SET"
        where = "WHERE tag_id = %s AND ts >= %s + INTERVAL '{}' AND ts < %s + INTERVAL '{}'"
        for what, since, until in (
            ("DELETE FROM rootdx.measurement", "5 min", "8 min"),
            (f"{rows} value = NULL, quality = -2147483648", "12 min", "13 min"),
            (f"{rows} value = 9999", "20 min", "20 min 1 s"),
        ):
            db.execute(f"{what} {where.format(since, until)}".encode(), [tag_id, start, start])
    first = round(start.timestamp() * 1000)
    with board.client("oh") as person:
        asked = {"machine": "dc1", "tag": "metal.temp", "from_ms": first, "to_ms": first + 1_800_000, "points": 100}
        told = person.get("/trend", params=asked).json()
    (series,) = told["series"]
    assert told["resolution"] == "raw"
    assert max(value for value in series["high"] if value is not None) == 9999
    assert len(series["t_ms"]) <= 103
    gap = [t - first for t, mean in zip(series["t_ms"], series["mean"], strict=True) if mean is None]
    assert any(300_000 <= t <= 480_000 for t in gap), "a gap stays a gap"
    assert any(a - first <= 725_000 and b - first >= 775_000 for a, b in series["bad"])
    assert [one["kind"] for one in told["cycles"]][:1] == ["hpdc_shot"]


def test_curves_show_the_last_cycles_against_the_good_ones(browser: httpx.Client) -> None:
    told = browser.get("/curves", params={"machine": "dc1", "kind": "hpdc_shot", "tag": "die.temp_fix1"}).json()
    assert told["golden"]["cycles"] >= 2
    band = [
        (low, mean, high)
        for low, mean, high in zip(*(told["golden"][name] for name in ("low", "mean", "high")), strict=True)
        if low is not None
    ]
    assert len(band) > 100
    assert all(low <= mean + 1e-9 <= high + 2e-9 for low, mean, high in band)
    assert len(told["others"]) == 20


def test_features_come_with_limits_and_what_lies_outside(browser: httpx.Client, built: Any) -> None:
    told = browser.get("/cycle-features", params={"machine": "dc1", "kind": "hpdc_shot", "n": 300}).json()
    (fast,) = [one for one in told["features"] if one["name"] == "v_fast"]
    assert (fast["low"], fast["high"], fast["unit"]) == (2.0, 3.2, "m/s")
    stored = ask(
        built.dsn, "SELECT count(*), count(*) FILTER (WHERE NOT within) FROM rootdx.features "
        "WHERE asset = %s AND feature = 'v_fast'", DC1,
    )[0]  # fmt: skip
    assert (len(fast["points"]), sum(one["outside"] for one in fast["points"])) == stored


def test_a_list_is_the_same_as_a_file_as_the_command_gives(browser: httpx.Client, shop: Shop) -> None:
    rows = browser.get("/cycles", params={**SPAN, "most": 0}).json()["rows"]
    out = browser.get("/cycles", params={**SPAN, "format": "csv"})
    assert out.headers["content-disposition"] == "attachment; filename*=UTF-8''cycles.csv"
    said = shop("cycles", "--from", SPAN["from"], "--to", SPAN["to"], "--format", "csv").out
    assert out.content.decode("utf-8-sig").splitlines() == said.splitlines()
    assert len(rows) == len(said.splitlines()) - 1
    book = browser.get("/cycles", params={**SPAN, "format": "xlsx", "lang": "ko"})
    assert book.content[:2] == b"PK"


def test_a_cycle_knows_its_records_and_what_is_worth_drawing(browser: httpx.Client, built: Any) -> None:
    number = ask(built.dsn, "SELECT cycle_id FROM rootdx.cycle WHERE context->>'lot' = 'L-1' LIMIT 1")[0][0]
    told = browser.get(f"/cycles/{number}").json()
    assert [one["number"] for one in told["records"]] == [1]
    assert told["tags"]
    assert {one["name"] for one in told["tables"]} >= {"cycle", "phases", "features", "context"}
    lots = browser.get("/lots", params=SPAN).json()
    items = {row[0]: row for row in lots["rows"]}
    assert {"L-1", "L-2"} <= set(items)
    assert items["L-1"][8] == 1


def test_the_load_and_the_losses_add_up(browser: httpx.Client, built: Any) -> None:
    told = browser.get("/losses", params=SPAN).json()
    seconds = {one["name"]: one["seconds"] for one in told["parts"]}
    production, down = ask(built.dsn, "SELECT sum(production_s), sum(down_s) FROM rootdx.kpi_elements")[0]
    assert seconds["producing"] == pytest.approx(production)
    assert seconds["technical"] + seconds["organisational"] + seconds["down"] == pytest.approx(down)
    hours = browser.get("/completeness", params=SPAN).json()
    due, there = ask(
        built.dsn, "SELECT sum(expected)::float8, sum(good + uncertain + bad)::float8 FROM rootdx.completeness"
    )[0]
    assert sum(row[1] for row in hours["by_machine"]["rows"]) == due
    assert sum(row[2] for row in hours["by_machine"]["rows"]) == there


def test_settings_are_shown_without_secrets(browser: httpx.Client, built: Any) -> None:
    file = built.config.parent / "plant" / "dc1.toml"
    before = file.read_text()
    try:
        file.write_text(before.replace('protocol = "none"', 'protocol = "none"\npassword = "s3cret"'))
        told = browser.get("/settings").text
    finally:
        file.write_text(before)
    assert "hpdc_shot" in told
    assert "s3cret" not in told


# Live


def events(client: httpx.Client, until: str, seconds: float, **params: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    deadline, name = time.monotonic() + seconds, ""
    with client.stream("GET", "/live", params=params, timeout=seconds) as stream:
        for line in stream.iter_lines():
            kind, _, text = line.partition(": ")
            if kind == "event":
                name = text
            elif kind == "data":
                found.append((name, json.loads(text)))
                if name == until or time.monotonic() > deadline:
                    return found
    return found


def test_fifty_who_watch_ask_the_store_as_often_as_one(board: Board) -> None:
    dsn = board.settings.store.dsn
    heard: list[list[tuple[str, Any]]] = []
    with board.client("oh") as person:
        token = person.cookies["rootdx_session"]

        def watch() -> None:
            with board.client() as one:
                one.cookies.set("rootdx_session", token)
                heard.append(events(one, "beat", 20, machine="dc1"))

        many = [threading.Thread(target=watch) for _ in range(50)]
        for one in many:
            one.start()
        time.sleep(2)
        used = ask(
            dsn, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'rootdx_board' AND datname = current_database()"
        )
        overview = person.get("/overview")
        for one in many:
            one.join(30)
    assert used[0][0] <= 9, "a stream keeps no connection"
    assert overview.status_code == 200
    assert len(heard) == 50
    assert all({name for name, _ in one} >= {"overview", "alarms", "values"} for one in heard)
    tiles = heard[0][0][1]["machines"]
    assert [one["machine"] for one in tiles] == [DC1, NI1]


def test_an_alarm_reaches_who_watches_in_their_language(board: Board) -> None:
    with board.client("oh") as person:
        (alarm,) = person.get("/alarms", params={"every": True}).json()["alarms"]
        told = dict(events(person, "alarms", 10, lang="ko"))
        assert told["alarms"]["open"] in (0, 1)
        person.post(f"/alarms/{alarm['alarm_id']}/shelve", json={"reason": "x", "hours": 1})
        newer = dict(events(person, "alarms", 10))
    assert newer["alarms"]["newest_id"] > told["alarms"]["newest_id"]
    assert newer["alarms"]["open"] == 0


def test_a_database_that_goes_away_is_told_and_comes_back_by_itself(own_shop: Shop, postgres: Postgres) -> None:
    name = own_shop.dsn.rpartition("/")[2]
    settings = settings_for(own_shop.dsn, own_shop.config.parent / "plant", sign_in=False)
    with served(settings) as one, one.client() as person:
        assert person.get("/overview").status_code == 200
        with psycopg.connect(postgres.dsn(), autocommit=True) as db:
            db.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
            db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            away = person.get("/overview", timeout=30)
            assert (away.status_code, away.json()["kind"]) == (503, "unavailable")
            assert person.get("/health", timeout=30).status_code == 503
            assert events(person, "trouble", 30)[-1][0] == "trouble"
            db.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
        for _ in range(40):
            if person.get("/overview", timeout=30).status_code == 200:
                break
            time.sleep(0.5)
        assert events(person, "overview", 30)[-1][0] == "overview"


def test_roles_are_those_of_the_database(looked_at: Board) -> None:
    assert set(PEOPLE.values()) == set(ROLES)
    for query in ("SELECT * FROM rootdx.account", "SELECT * FROM rootdx.board_session"):
        for role in ("rootdx_reader", "rootdx_writer", "rootdx_analytics"):
            dsn = looked_at.settings.store.dsn.replace("user=rootdx_board", f"user={role}")
            if role != "rootdx_writer":
                with psycopg.connect(dsn) as db, pytest.raises(psycopg.errors.InsufficientPrivilege):
                    db.execute(query.encode())
