"""`rootdx alarms`: what stands and why, what people do about it, the journal, the load."""

import json
from typing import Any

import pytest

from tests.support.front_door import DC1, Shop
from tests.support.spine import ask

pytestmark = pytest.mark.plain
ALL = ("--from", "2026-05-01", "--to", "2026-06-30")


def rows(shop: Shop, table: str, *arguments: str) -> list[dict[str, Any]]:
    done = shop("alarms", *arguments, "--format", "json")
    assert done.code == 0, done.err
    found: list[dict[str, Any]] = json.loads(done.out)[table]["rows"]
    return found


def test_the_list_says_why_in_one_sentence(shop: Shop) -> None:
    (alarm,) = rows(shop, "alarms", "--all")
    assert alarm["machine"] == DC1
    assert alarm["explanation"].startswith("biscuit thickness is ")
    assert "below the limit of 23 mm; since 2026-05-29 05:" in alarm["explanation"]
    korean = Shop(shop.dsn, shop.config, "ko")("alarms", "--all", "--format", "json")
    assert "하한 23 mm 미달" in json.loads(korean.out)["alarms"]["rows"][0]["explanation"]


def test_one_alarm_names_its_cycle_and_its_window(shop: Shop) -> None:
    (alarm,) = rows(shop, "alarms", "--all")
    about = {row["name"]: row["value"] for row in rows(shop, "alarm", "show", str(alarm["id"]))}
    assert about["opcua.AckedState"] in {"True", "False"}
    cycle = ask(shop.dsn, "SELECT count(*) FROM rootdx.cycle WHERE cycle_id = %s", int(about["cycle"]))
    assert cycle == [(1,)]
    assert about["window"].startswith("2026-05-29T05:")
    assert rows(shop, "journal", "show", str(alarm["id"]))[0]["event"] == "raised"


def test_people_shelve_and_acknowledge_and_the_journal_has_them(shop: Shop) -> None:
    (alarm,) = rows(shop, "alarms", "--all")
    number = str(alarm["id"])
    before = len(rows(shop, "journal", "journal", *ALL[:2]))
    shelve = ("alarms", "shelve", number, "--who", "kim", "--reason", "주문 중")
    assert "permission denied" in shop(*shelve).err, "a reader may look, not act"
    assert "shelved" in shop(*shelve, role="analytics").out
    refused = shop("alarms", "reset", number, "--who", "kim", role="analytics")
    assert refused.code == 1
    assert "it is not latched" in refused.err
    assert shop("alarms", "unshelve", number, "--who", "kim", role="analytics").code == 0
    entries = rows(shop, "journal", "journal", *ALL[:2])[before:]
    assert [(row["event"], row["who"], row["reason"]) for row in entries] == [
        ("shelved", "kim", "주문 중"),
        ("unshelved", "kim", ""),
    ]


def test_an_alarm_that_is_not_there_is_told_apart(shop: Shop) -> None:
    done = shop("alarms", "ack", "4711", "--who", "kim", role="analytics")
    assert done.code == 1
    assert "4711" in done.err
    assert shop("alarms", "show", "4711").code == 1


def test_the_load_counts_what_people_were_told_of(shop: Shop) -> None:
    figures = {row["figure"]: row["value"] for row in rows(shop, "rates", "rates", *ALL)}
    told = ask(shop.dsn, "SELECT count(*) FROM rootdx.alarm_journal WHERE told AND ts < '2026-07-01'")[0][0]
    assert figures["alarms people were told of"] == told > 0
    assert figures["floods"] == 0
    (source,) = rows(shop, "sources", "rates", *ALL, "--only", "sources")
    assert source["source"] == f"{DC1} biscuit biscuit"
