"""Every dashboard and alert rule: it loads in Grafana's own schema, and every query of it runs and says something."""

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args

import psycopg
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from psycopg.conninfo import make_conninfo

from analytics.known import AnyProcess
from pipeline import metrics
from rootdx.grafana import looks, panels, provision, rules
from rootdx.grafana.dashboards import PAGES
from rootdx.grafana.model import Page, keys_of, worded
from rootdx.grafana.processes import KINDS
from rootdx.texts import LANGUAGES, catalogue, say_in
from tests.support import front_door
from tests.support.front_door import DC1, NI1, Shop
from tests.support.grafana_macros import View, expanded
from tests.support.services import run

HOME: Final = Path(__file__).resolve().parents[2]
COMMITTED: Final = HOME / "deploy" / "grafana"
TEXTS: Final = dict(provision.files(LANGUAGES))
HOUR_MS: Final = 3_600_000
END_MS: Final = round(front_door.at(41).timestamp() * 1000)
RANGES_H: Final = {"raw": 1, "minutes": 48, "hours": 24 * 40}
"""One for each resolution, all ending when the casting cell ends."""
SILENT: Final = {
    "alarms/floods": "no ten minutes of the shop had more than ten alarms",
    "explorer/doubtful": "every row of the shop is good",
    "cycles/outside": "every feature that the shop judges lies inside its limits",
    "surface_treatment/records": "the shop makes records of the casting cell's lots alone",
}
"""Panels that rightly say nothing about the shop's data."""
STRANGERS: Final = {"heat_treatment", "welding", "forging", "molding"}
"""Processes without a machine in the shop: their queries run, and find nothing."""
EXTRA: Final = """
INSERT INTO rootdx.demand SELECT asset_id, %(at)s::timestamptz - n * INTERVAL '15 minutes', 100 + n, 0
FROM rootdx.asset CROSS JOIN generate_series(0, 3) AS n WHERE path = %(asset)s;
INSERT INTO rootdx.event SELECT gen_random_uuid(), 'note', asset_id, 'device.unreachable', '', %(at)s, 400, 'x', '{}', 1
FROM rootdx.asset WHERE path = %(asset)s;
INSERT INTO rootdx.waveform SELECT asset_id, 'shot_curve', %(at)s, 1000000, '{v}', 1, '\\x00', 1, 0, 1
FROM rootdx.asset WHERE path = %(asset)s;
"""
INNER: Final = (
    "measurement record ledger asset tag tally event waveform waveform_channel quarantine cycle feature_set "
    "process_config arrival recompute context_change stop_entry quantity_entry kpi_element demand lab_result genealogy "
    "life_reset check_entry compliance_record detector detector_change score alarm alarm_journal notice bucket_1m "
    "bucket_1h touched_hour migration"
).split()


def sqls(page: Page) -> Iterator[tuple[str, str]]:
    yield from ((panel.name, panel.sql) for panel in page.panels if panel.sql)


@pytest.fixture(scope="session")
def seen(built: Any) -> Iterator[str]:
    """The shop on plain PostgreSQL, with what it lacks."""
    name = f"{built.name}_grafana"
    admin = make_conninfo(built.dsn, dbname="postgres")
    with psycopg.connect(admin, autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name} TEMPLATE {built.name}".encode())
    dsn = make_conninfo(built.dsn, dbname=name)
    add_what_the_shop_lacks(dsn)
    yield dsn
    with psycopg.connect(admin, autocommit=True) as db:
        db.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def add_what_the_shop_lacks(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as db:
        for statement in EXTRA.strip().split(";")[:-1]:
            db.execute(statement.encode(), {"at": front_door.at(30), "asset": DC1})


def choices(db: psycopg.Connection[Any], page: Page, view: View) -> View:
    """What Grafana chooses at first: all where many may be chosen, else the first."""
    chosen: dict[str, list[str]] = {}
    for one in page.variables:
        view = View(view.from_ms, view.to_ms, chosen, timescale=view.timescale)
        with db.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            rows = cursor.execute(expanded(one.sql, view).encode()).fetchall()
        values = [str(row.get("__value", next(iter(row.values())))) for row in rows]
        chosen[one.name] = values if one.many else values[:1]
    return View(view.from_ms, view.to_ms, chosen, timescale=view.timescale)


def faults(dsn: str, *, timescale: bool, hours: int) -> list[str]:
    """What is wrong with any query of any page, over a range of so many hours."""
    found = []
    with psycopg.connect(dsn, autocommit=True) as db:
        for page in PAGES:
            begun = View(END_MS - hours * HOUR_MS, END_MS, {}, timescale=timescale)
            view = choices(db, page, begun)
            if page.name not in STRANGERS:
                found += [f"{page.name} ${name}: no choice" for name, some in view.chosen.items() if not some]
            for name, sql in sqls(page):
                try:
                    cursor = db.execute(expanded(worded(sql, "ko"), view).encode())
                except (psycopg.Error, ValueError) as error:
                    found.append(f"{page.name}/{name}: {error}")
                    continue
                rows, columns = cursor.fetchall(), [one.name for one in cursor.description or ()]
                if len(set(columns)) < len(columns):
                    found.append(f"{page.name}/{name}: two columns of one name in {columns}")
                silent = f"{page.name}/{name}" in SILENT
                if not (silent or page.name in STRANGERS) and not any(
                    any(value is not None for value in row[1:]) for row in rows
                ):
                    found.append(f"{page.name}/{name}: empty")
                if silent and rows:
                    found.append(f"{page.name}/{name}: says something after all: {rows[0]}")
    return found


@pytest.mark.plain
@pytest.mark.parametrize("resolution", RANGES_H)
def test_every_query_runs_and_says_something(seen: str, resolution: str) -> None:
    assert faults(seen, timescale=False, hours=RANGES_H[resolution]) == []


@pytest.mark.timeout(400)
def test_every_query_runs_and_says_something_on_timescale(timescale_store: str, tmp_path: Path) -> None:
    shapes = front_door.windows()
    front_door.write_plant(tmp_path / "plant", shapes)
    run(front_door.fill(timescale_store, tmp_path / "plant", shapes))
    add_what_the_shop_lacks(timescale_store)
    for hours in RANGES_H.values():
        assert faults(timescale_store, timescale=True, hours=hours) == []
    with psycopg.connect(timescale_store, autocommit=True) as db:
        for rule in rules.RULES:
            assert not rule.sql or db.execute(rule.sql.encode()).fetchall()


def test_every_query_is_allowed_to_the_reader(seen: str, shop: Shop) -> None:
    dsn = make_conninfo(seen, user="rootdx_reader", password=front_door.SECRET)
    assert faults(dsn, timescale=False, hours=1) == []


@pytest.mark.parametrize("rule", [rule for rule in rules.RULES if rule.sql], ids=lambda rule: rule.name)
def test_rule_of_the_store_always_answers(seen: str, rule: rules.Rule) -> None:
    assert "$" not in rule.sql
    with psycopg.connect(seen, autocommit=True) as db:
        rows = db.execute(rule.sql.encode()).fetchall()
        machines = db.execute("SELECT asset FROM rootdx.machines ORDER BY 1").fetchall()
    assert [row[0] for row in machines] == [DC1, NI1]
    if "AS machine" in rule.sql:
        assert [row[:-1] for row in rows] == machines
    assert all(row[-1] is not None for row in rows)


def test_rules_tell_off_from_link_from_sensor(seen: str) -> None:
    """Rows of now, in a transaction that is undone."""
    minute = "date_trunc('minute', now())"
    tag = "(SELECT min(tag_id) FROM rootdx.tags WHERE asset = %s)"
    bad = f"INSERT INTO rootdx.measurement SELECT now(), NULL, 1, {tag}, -2146828288"
    good = f"INSERT INTO rootdx.measurement SELECT now(), 1, 1, {tag} + 1, 0"
    off = f"INSERT INTO rootdx.tally SELECT {minute}, 1, {tag}, 60, 0, 0, 0, 0, 0, 60"
    heard = "INSERT INTO rootdx.touched_hour (hour) VALUES (date_trunc('hour', now()))"
    states = {}
    for name, writes in {"link_down": [], "sensor_bad": [bad, good], "machine_off": [off], "": [good]}.items():
        with psycopg.connect(seen) as db:
            db.execute(heard.encode())
            for write in writes:
                db.execute(write.encode(), [DC1])
            states[name] = [
                rule.name for rule in rules.RULES[:3] if (DC1, 1) in db.execute(rule.sql.encode()).fetchall()
            ]
            db.rollback()
    assert states == {name: [name] if name else [] for name in states}


def test_no_query_names_an_inner_table() -> None:
    texts = [sql for page in PAGES for _, sql in sqls(page)] + [rule.sql for rule in rules.RULES]
    texts += [one.sql for page in PAGES for one in page.variables]
    named = {name for text in texts for name in re.findall(r"rootdx\.(\w+)", text)}
    views = set(re.findall(r"^### `(\w+)`(?: `(\w+)`)?", _views(), re.MULTILINE))
    views.add(("completeness_hours", ""))  # a function, so that the range reaches the rows
    assert named - {one for pair in views for one in pair} == set()
    assert named & set(INNER) == set()
    assert not [text for text in texts if re.search(r"\b(FROM|JOIN) (?!rootdx\.|LATERAL|\()(cycle|measurement)", text)]


def _views() -> str:
    pages = ("schema.md", "cycles.md", "alarms.md")
    texts = [(HOME / "pipeline" / "schema" / page).read_text(encoding="utf-8") for page in pages]
    return "\n".join(re.search(r"^## Views.*?(?=^## Tables)", text, re.MULTILINE | re.DOTALL)[0] for text in texts)  # type: ignore[index]


def test_committed_files_are_what_the_code_makes() -> None:
    assert {str(one.relative_to(COMMITTED)) for one in COMMITTED.rglob("*") if one.suffix in (".json", ".yaml")} == set(
        TEXTS
    )
    stale = [path for path, text in TEXTS.items() if (COMMITTED / path).read_text(encoding="utf-8") != text]
    assert stale == [], "run: rootdx grafana --out deploy/grafana"


@pytest.mark.parametrize("path", [path for path in TEXTS if path.endswith(".json")])
def test_dashboard_loads_in_grafanas_own_schema(path: str) -> None:
    register_default_plugins()
    data = json.loads(TEXTS[path])
    again = json.loads(json.dumps(Dashboard.from_json(data), cls=JSONEncoder))
    assert again == data
    assert {panel["datasource"]["uid"] for panel in data["panels"]} <= {"rootdx-store", "rootdx-metrics"}
    places = [(p["gridPos"]["x"] + x, p["gridPos"]["y"] + y) for p in data["panels"]
              for x in range(p["gridPos"]["w"]) for y in range(p["gridPos"]["h"])]  # fmt: skip
    assert len(set(places)) == len(places), "panels lie on each other"


@pytest.mark.parametrize("path", [path for path in TEXTS if path.endswith(".yaml")])
def test_provisioning_is_yaml(path: str) -> None:
    yaml: Any = importlib.import_module("yaml")
    data = yaml.safe_load(TEXTS[path])
    assert data["apiVersion"] == 1
    if "groups" in data:
        (group,) = data["groups"]
        assert [one["uid"] for one in group["rules"]] == [rules.uid(rule.name) for rule in rules.RULES]
        assert [one["data"][0]["model"].get("rawSql", "") for one in group["rules"]] == [
            rule.sql.strip() for rule in rules.RULES
        ]
        assert not re.search(r"(?<!\$)\$(?!\$)", TEXTS[path]), "Grafana would take it for the environment"


def test_no_password_stands_in_a_file() -> None:
    sources = TEXTS["provisioning/datasources/rootdx.yaml"]
    assert re.findall(r"password: (.*)", sources) == [f'"$__file{{{provision.PASSWORD_FILE}}}"']
    assert "rootdx_reader" in sources


def test_uids_are_stable_and_unique() -> None:
    made = [panels.uid(page.name, language) for page in PAGES for language in LANGUAGES]
    made += [rules.uid(rule.name) for rule in rules.RULES]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(r"[a-z0-9-]{1,40}", one) for one in made)
    assert {"rootdx-ko-overview", "rootdx-en-heat-treatment", "rootdx-link-down"} <= set(made)


def test_every_text_of_grafana_is_used() -> None:
    source = "\n".join(file.read_text(encoding="utf-8") for file in (HOME / "rootdx").rglob("*.py"))
    used = {key for page in PAGES for _, sql in sqls(page) for key in keys_of(sql)}
    used |= {key for page in PAGES for panel in page.panels for _, legend in panel.metrics for key in keys_of(legend)}
    used |= {key for values in looks.VALUES.values() for key, _ in values.values()}
    used |= {f"grafana.{kind}.{page.name}" for page in PAGES for kind in ("page", "answers")}
    used |= {f"grafana.panel.{panel.name}" for page in PAGES for panel in page.panels}
    used |= {f"grafana.variable.{one.name}" for page in PAGES for one in page.variables}
    used |= {f"grafana.{kind}.{rule.name}" for rule in rules.RULES for kind in ("rule", "advice")}
    ours = {key for key in catalogue() if key.startswith("grafana.")}
    assert {key for key in ours - used if f'"{key}"' not in source} == set()
    assert used - catalogue().keys() == set()


def test_korean_dashboards_show_no_english_title() -> None:
    for page in PAGES:
        data = json.loads(TEXTS[f"dashboards/ko/{page.name}.json"])
        titles = [data["title"], *(panel["title"] for panel in data["panels"])]
        titles += [one["label"] for one in data["templating"]["list"]]
        assert not [title for title in titles if not re.search("[가-힣]", title)]


def test_every_kind_of_cycle_has_its_dashboard() -> None:
    union = get_args(AnyProcess)[0]
    known = {process.model_fields["kind"].default for process in get_args(union)}
    drawn = [kind for kinds in KINDS.values() for kind in kinds]
    assert set(drawn) == known
    assert len(drawn) == len(known)


def test_every_metric_that_is_asked_for_exists() -> None:
    asked = [e for page in PAGES for panel in page.panels for e, _ in panel.metrics] + [r.metrics for r in rules.RULES]
    names = {name for text in asked for name in re.findall(r"rootdx_\w+", text)}
    source = Path(metrics.__file__).read_text(encoding="utf-8")
    assert {name for name in names if f'"{name}"' not in source} == set()
    assert all("or vector(" in rule.metrics for rule in rules.RULES if rule.metrics)


def test_command_writes_the_folder(shop: Shop, tmp_path: Path) -> None:
    done = shop("grafana", "--out", str(tmp_path), "--language", "ko")
    assert (done.code, done.err) == (0, "")
    assert (tmp_path / "dashboards" / "ko" / "overview.json").read_text(encoding="utf-8") == TEXTS[
        "dashboards/ko/overview.json"
    ]
    assert not (tmp_path / "dashboards" / "en").exists()


def test_worded_query_has_the_words_of_the_language() -> None:
    for page in PAGES:
        for _, sql in sqls(page):
            for language in LANGUAGES:
                said = worded(sql, language)
                assert not keys_of(said)
                assert all(say_in(language, key) in said for key in keys_of(sql))
