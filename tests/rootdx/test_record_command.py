"""Records are made, read in both languages from what is stored, and verified with an exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.front_door import Shop, at
from tests.support.spine import ask, one

pytestmark = pytest.mark.plain
ROOT = Path(__file__).resolve().parents[2]
PROFILES = '[profile.casting]\nkinds = ["hpdc_shot"]\nfeatures = ["v_fast"]\nchecks = ["calibration"]\n'


def test_records_are_listed_and_shown_from_their_content(shop: Shop, tmp_path: Path) -> None:
    rows = json.loads(shop("record", "list", "--format", "json").out)["records"]["rows"]
    assert [(row["record"], row["subject"], row["verdict"]) for row in rows] == [(1, "L-1", "pass"), (2, "L-2", "pass")]
    assert "L-2" not in shop("record", "list", "--lot", "L-1").out
    content = one(shop.dsn, "SELECT content FROM rootdx.compliance_record WHERE number = 2")
    assert shop("record", "show", "2", "--format", "json").out == content
    english = shop("record", "show", "2").out
    assert "compliance record 2\n  ● pass" in english
    assert "● holds: the content is as it was sealed" in english
    assert "KOLAS-2601" in english
    korean = Shop(shop.dsn, shop.config, "ko")("record", "show", "2").out
    assert "품질 적합성 기록서 2\n  ● 합격" in korean
    page = tmp_path / "lot.html"
    assert shop("record", "show", "2", "--format", "html", "--out", str(page)).code == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert "src=" not in text
    assert "http" not in text
    assert text.count("<table>") == text.count("</table>") > 3
    assert shop("record", "show", "9").err == "there is no record 9; `rootdx record list` shows those there are"


def test_what_was_entered_cannot_become_markup(own_shop: Shop) -> None:
    entered = own_shop(
        "enter", "lab", "--name", "fe", "--value", "0.9", "--unit", "%", "--at", at(1).isoformat(),
        "--item-kind", "lot", "--item", "L-2", "--author", "<script>alert(1)</script>", role="analytics",
    )  # fmt: skip
    assert entered.code == 0, entered.err
    made = make(own_shop, "--lot", "L-2", "--reason", "again")
    assert made.startswith("record 3, version 2: ")
    text = own_shop("record", "show", "3", "--format", "html").out
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def make(shop: Shop, *arguments: str) -> str:
    profiles = shop.config.parent / "profiles.toml"
    profiles.write_text(PROFILES)
    done = shop("record", "make", *arguments, "--author", "lee", "--profiles", str(profiles), role="analytics")
    assert done.code == 0, done.err
    return done.out


def test_a_record_is_made_of_one_subject_and_again_only_with_a_reason(own_shop: Shop) -> None:
    assert make(own_shop, "--part", "P-1") == "record 3, version 1: ● pass\n"
    ((cycle,),) = ask(own_shop.dsn, "SELECT min(cycle_id) FROM rootdx.cycles WHERE lot = 'L-2' AND end_ts IS NOT NULL")
    assert make(own_shop, "--cycle", str(cycle), "--profile", "casting").startswith("record 4, version 1: ")
    for arguments, code, words in (
        (("--lot", "L-1"), 1, "say why it is made again"),
        (("--lot", "L-9"), 1, "has no closed cycle"),
        (("--lot", "L-1", "--part", "P-1"), 78, "name one of --lot, --part"),
        ((), 78, "name one of --lot, --part"),
        (("--lot", "L-1", "--profile", "forgery"), 78, "--profile 'forgery': expected one of casting, melting"),
    ):
        done = own_shop("record", "make", *arguments, "--author", "lee", role="analytics")
        assert (done.code, words in done.err) == (code, True), done.err


def test_a_reader_may_not_make_one(own_shop: Shop) -> None:
    done = own_shop("record", "make", "--part", "P-1", "--author", "lee")
    assert (done.code, "use its roles" in done.err) == (78, True), done.err


def test_verify_names_what_was_changed(own_shop: Shop, tmp_path: Path) -> None:
    fine = own_shop("record", "verify")
    ((seal,),) = ask(own_shop.dsn, "SELECT hash FROM rootdx.compliance_record ORDER BY number DESC LIMIT 1")
    told = f"2 records verified: everything is as it was sealed; the last seal is {seal}\n"
    assert (fine.code, fine.out) == (0, told), fine.err
    ask(
        own_shop.dsn,
        "UPDATE rootdx.measurement SET value = value + 1 WHERE ts BETWEEN %s AND %s AND tag_id = "
        "(SELECT min(tag_id) FROM rootdx.tag WHERE role = 'metal.temp')",
        at(25), at(25.1),
    )  # fmt: skip
    done = own_shop("record", "verify")
    assert done.code == 1
    assert "metal.temp: rows of the 10 minutes from 2026-05-28 20:50Z changed" in done.out
    out = tmp_path / "faults.csv"
    assert own_shop("record", "verify", "--out", str(out)).code == 1
    assert "metal.temp" in out.read_text(encoding="utf-8-sig")
    assert own_shop("record", "verify", "7").code == 1


def test_one_record_is_verified_on_its_own(own_shop: Shop) -> None:
    ask(own_shop.dsn, "ALTER TABLE rootdx.compliance_record DISABLE TRIGGER USER")
    ask(own_shop.dsn, "UPDATE rootdx.compliance_record SET author = 'x' WHERE number = 1")
    assert own_shop("record", "verify", "2").code == 0
    assert own_shop("record", "verify", "1").code == 1
    assert "✖ BROKEN" not in own_shop("record", "show", "2").out
    ask(own_shop.dsn, "UPDATE rootdx.compliance_record SET content = replace(content, 'L-1', 'L-7') WHERE number = 1")
    assert "✖ BROKEN" in own_shop("record", "show", "1").out


def test_exit_codes_are_those_of_the_process(own_shop: Shop) -> None:
    environment = {**os.environ, **own_shop.environment("reader")}
    command = [sys.executable, "-m", "rootdx"]
    ask(own_shop.dsn, "ALTER TABLE rootdx.compliance_record DISABLE TRIGGER USER")
    ask(own_shop.dsn, "UPDATE rootdx.compliance_record SET author = 'x' WHERE number = 1")
    running = {
        code: subprocess.Popen(
            [*command, *arguments], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for code, arguments in ((1, ["record", "verify"]), (78, ["cycles", "--from", "soon"]))
    }
    for code, process in running.items():
        out, said = process.communicate(timeout=60)
        assert process.returncode == code, said
        assert "Traceback" not in said
        assert ("record 1 was changed: column author" in out) == (code == 1)
