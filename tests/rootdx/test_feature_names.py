"""Every feature that a process measures has a name for people, of its own among those of its cycle."""

import json
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, get_args

import pytest
from pydantic import TypeAdapter

from analytics.cycles import measure, segments
from analytics.known import AnyProcess
from analytics.process import Process
from analytics.processes.welding import Variable
from analytics.signature import Kind
from rootdx.alarm_text import name_of
from rootdx.feature_names import feature_name
from rootdx.texts import LANGUAGES, catalogue
from tests.analytics.test_signature import ALIKE, MACHINES
from tests.support.board import add_people, served, settings_for
from tests.support.front_door import Shop
from tests.support.simulated import simulated
from tests.support.spine import ask

PAGES: Final = Path(__file__).resolve().parents[2] / "analytics" / "processes"
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
VERDICTS: Final = {"wps", "cure"}


@cache
def samples() -> dict[str, tuple[Process, str]]:
    """The process that a page has as its sample with all settings, and the page, by kind."""
    found = {}
    for page in PAGES.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        for sample in re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            for table in tomllib.loads(sample)["cycle"]:
                process: Process = TypeAdapter[Process](AnyProcess).validate_python(table)
                found[process.kind] = (process, text)
    return found


@cache
def measured(kind: Kind) -> tuple[frozenset[str], frozenset[str]]:
    """Features and verdicts of a cycle of the simulated machine, by its usual settings and by all of them."""
    like = ALIKE.get(kind, kind)
    model, usual, until_s, every_s, bursts = MACHINES[like]
    window = simulated(model, until_s, every_s=every_s, bursts=bursts).window
    features: set[str] = set()
    verdicts: set[str] = set()
    for process in (usual, samples()[like][0]):
        closed = next((one for one in segments(process, window) if one.end_ns is not None), None)
        if closed is not None:
            features |= measure(process, closed, window, [], [], 0).features.keys()
            verdicts |= process.features(closed, window).verdicts.keys()
    assert features
    return frozenset(features), frozenset(verdicts)


def said_by_page(kind: str) -> Iterator[str]:
    """The first column of the table of features, its places and shortened names filled in."""
    process, text = samples()[kind]
    table = re.split(r"^\| feature \|.*$", text, flags=re.MULTILINE)[1].split("\n\n")[0]
    settings = {field for one, _ in samples().values() for field in type(one).model_fields}
    whole = ""
    for line in table.strip().splitlines()[1:]:
        for name in re.findall(r"`([^`]+)`", line.split("|")[1]):
            if "." in name or name in settings or name.isdigit():
                continue
            whole = whole if name.startswith("_") else name
            full = whole.rpartition("_")[0] + name if name.startswith("_") else name
            yield from filled(full, process)


def filled(name: str, process: Process) -> Iterator[str]:
    phases = [one for key in ("states", "tanks") for one in getattr(process, key, ()) if one not in ("", "IDLE")]
    name = re.sub(r"(?<=_)\*", "fix1", name).replace("*", "1").replace("<n>", "1").replace("…", "mean")
    if "<variable>" in name:
        yield from (name.replace("<variable>", one) for one in get_args(Variable))
    elif "<" in name:
        yield from (re.sub("<(phase|tank)>", one.lower(), name) for one in phases)
    else:
        yield name


@cache
def features(kind: Kind) -> frozenset[str]:
    return measured(kind)[0] | frozenset(said_by_page(kind))


def of_number(name: str) -> str:
    return re.sub(r"\d+", "#", name, count=1)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_feature_has_a_name_that_no_other_of_its_cycle_has(kind: Kind, language: str) -> None:
    names: dict[str, list[str]] = {}
    for one in sorted(features(kind)):
        said = name_of("feature", one, language)
        assert said != one
        names.setdefault(said.replace(" ", "").lower(), []).append(one)
    assert [several for several in names.values() if len(several) > 1] == []


def test_pages_name_what_is_measured() -> None:
    """Else the tables above are not read as they are meant."""
    assert len(set().union(*(features(kind) for kind in KINDS))) > 300
    assert {"wps_heat_input_compliance", "rise_time", "soak_longest", "diffuse_carbon_max"} <= features(
        "arc_seam"
    ) | features("hpdc_shot") | features("sealed_quench")


def test_verdicts_have_names() -> None:
    assert set().union(*(measured(kind)[1] for kind in KINDS)) == VERDICTS
    assert name_of("feature", "wps", "ko") == "용접 절차(WPS)"
    assert name_of("feature", "cure", "en") == "cure window"


def test_no_name_is_written_for_nothing() -> None:
    """Nor twice."""
    written = {key.removeprefix("measured.") for key in catalogue() if key.startswith("measured.")}
    there = set().union(*(features(kind) for kind in KINDS)) | VERDICTS
    there |= {f"cav_p3_{one}" for one in ("integral", "peak", "peak_time")}
    assert written - there - {of_number(one) for one in there} == set()
    assert [one for one in written if f"feature.{one}" in catalogue()] == []
    roles = {key.removeprefix("signal.") for key in catalogue() if key.startswith("signal.")}
    assert [one for one in roles if f"feature.{one}" in catalogue()] == []


@pytest.mark.parametrize(
    ("name", "english", "korean"),
    [
        ("time_slow_shot", "slow shot time", "저속 사출 시간"),
        ("rinse_4_time", "rinse 4 time", "수세 4 시간"),
        ("heat_excursions", "heating up: excursions", "승온: 이탈 횟수"),
        ("die_temp_fix1_max", "highest fixed die 1 temperature", "고정 금형 1 온도 최고값"),
        ("die_temp_mov7_min", "lowest moving die 7 temperature", "가동 금형 7 온도 최저값"),
        ("zone12_dwell", "time in zone 12", "12존 체류시간"),
        ("travel_mean", "mean travel speed", "평균 용접속도"),
        ("metal_temp_max", "highest metal temperature", "용탕 온도 최고값"),
        ("zone6.pv", "zone 6 temperature", "6존 온도"),
    ],
)
def test_names_are_put_together(name: str, english: str, korean: str) -> None:
    assert (feature_name(name, "en"), feature_name(name, "ko")) == (english, korean)


@pytest.mark.parametrize(
    "name",
    [
        "time_our_own_tank", "our_own_tank_time", "our_own_mean", "die_temp_fix1_kurtosis", "time_", "_mean", "_time",
        "TIME_COOL", "time_COOL", "zone#_dwell", "die_temp_fix#_max", "die_temp_fix_max", "mean", "{n}", "",
        "zone1_zone2_dwell",
    ],
)  # fmt: skip
def test_what_is_not_wholly_known_has_no_name(name: str) -> None:
    assert feature_name(name, "en") is None
    assert name_of("feature", name, "ko") == name
    assert name_of("phase", name, "ko") == name


@pytest.mark.parametrize("name", ["die_temp_fix1_at_pour", "die_temp_mov2_at_pour", "metal_temp_at_pour"])
def test_names_that_are_put_together_are_as_the_written_ones(name: str) -> None:
    for language in LANGUAGES:
        assert feature_name(name, language) == name_of("feature", name, language)


def test_a_cycle_is_shown_with_them(shop: Shop) -> None:
    ((number,),) = ask(shop.dsn, "SELECT cycle_id FROM rootdx.cycles WHERE part = 'P-1' ORDER BY start_ts LIMIT 1")
    korean = Shop(shop.dsn, shop.config, "ko")
    rows = json.loads(korean("cycles", "show", str(number), "--format", "json").out)["features"]["rows"]
    names = {row["feature"]: row["name"] for row in rows}
    assert (names["v_slow"], names["time_cool"]) == ("저속 사출속도", "냉각 시간")


@pytest.mark.plain
def test_the_board_says_them_beside_a_cycle(shop: Shop) -> None:
    settings = settings_for(shop.dsn, shop.config.parent / "plant")
    add_people(settings)
    ((number,),) = ask(shop.dsn, "SELECT cycle_id FROM rootdx.cycles WHERE part = 'P-1' ORDER BY start_ts LIMIT 1")
    with served(settings) as board, board.client("ahn") as browser:
        told: dict[str, Any] = browser.get(f"/cycles/{number}", params={"lang": "ko"}).json()
    (table,) = (one for one in told["tables"] if one["name"] == "features")
    assert told["labels"].keys() == {row[0] for row in table["rows"]}
    assert told["labels"]["die_temp_fix1_max"] == "고정 금형 1 온도 최고값"
