"""Each fault of an installation gives its own finding and hides no other."""

import contextlib
import os
import sqlite3
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w

from pipeline import migrate
from pipeline.migrate import set_password
from pipeline.settings import DSN_ENV, StoreSettings
from pipeline.spool import Spool
from pipeline.store import Accepted, Commit, Quarantined, opened
from rootdx.doctor import Finding, examine
from rootdx.embedded import Broker, Postgres, free_port
from tests.support.services import run
from tests.support.spine import T0_NS, ask, batch, spool_settings

MACHINE = """
path = "casting/line1/dc1"
name = "dc1"
process = "casting"
[source]
protocol = "modbus"
host = "127.0.0.1"
port = {port}
[[tag]]
name = "a"
address = "holding:0"
unit = "1"
"""


class Installation:
    """A settings file and what it names."""

    def __init__(self, folder: Path, dsn: str, broker_port: int) -> None:
        self.folder = folder
        self.data: dict[str, dict[str, object]] = {
            "bus": {"port": broker_port, "timeout_s": 2.0}, "store": {"dsn": dsn, "connect_timeout_s": 3},
            "gateway": {"name": "gw-1"},
        }  # fmt: skip
        (folder / "plant").mkdir()
        (folder / "plant" / "plant.toml").write_text('enterprise = "acme"\nsite = "ansan1"\n')
        (folder / "plant" / "dc1.toml").write_text(MACHINE.format(port=free_port()))

    def findings(self, *, machines: bool = False) -> dict[str, Finding]:
        file = self.folder / "rootdx.toml"
        file.write_text(tomli_w.dumps(self.data))
        return {one.subject: one for one in run(examine(file, machines=machines))}


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOTDX_LANG", "en")
    monkeypatch.delenv(DSN_ENV, raising=False)


@pytest.fixture
def place(tmp_path: Path, database: str, broker: Broker) -> Installation:
    run(migrate.migrate(database))
    return Installation(tmp_path, database, broker.port)


def failed(found: dict[str, Finding]) -> list[str]:
    return [subject for subject, one in found.items() if one.state == "failed"]


async def delivered(dsn: str, *quarantined: Quarantined) -> None:
    async with opened(StoreSettings(dsn=dsn)) as store:
        entry = await store.enter("gw-1", uuid.UUID(int=1))
        key = entry.source_id
        await store.commit(Commit([Accepted(key, 1, T0_NS, 3, [batch()])], list(quarantined), {key: 0}, {key: 1}))


def test_sound_installation_has_nothing_failed(place: Installation, database: str) -> None:
    run(delivered(database))
    found = place.findings()
    assert failed(found) == []
    assert {subject: one.state for subject, one in found.items()} == {
        "settings": "ok", "plant files": "ok", "broker": "ok", "database": "ok", "TimescaleDB": "warning",
        "clock": "ok", "data flow": "ok", "quarantine": "ok", "spool": "ok", "cycles": "ok", "analytics": "ok",
    }  # fmt: skip
    assert found["plant files"].text == "1 machines, 1 tags"


def test_unreadable_settings_are_the_only_finding(tmp_path: Path) -> None:
    file = tmp_path / "rootdx.toml"
    file.write_text("[bus]\nhots = 1\n")
    (only,) = run(examine(file, machines=True))
    assert (only.state, only.subject) == ("failed", "settings")
    assert "rootdx.toml:2: bus.hots" in only.text


def _no_broker(place: Installation) -> None:
    place.data["bus"]["port"] = free_port()


def _no_database(place: Installation) -> None:
    place.data["store"]["dsn"] = f"postgresql://127.0.0.1:{free_port()}/x"


def _no_secret(place: Installation) -> None:
    place.data["store"]["password_file"] = "nowhere"


def _wrong_password(place: Installation) -> None:
    dsn = str(place.data["store"]["dsn"])
    place.data["store"]["dsn"] = dsn.replace(dsn.partition("@")[0].rpartition(":")[2], "wrong")


def _no_plant(place: Installation) -> None:
    place.data["gateway"]["plant"] = "nowhere"


def _bad_machine(place: Installation) -> None:
    (place.folder / "plant" / "dc1.toml").write_text(MACHINE.format(port=1).replace('unit = "1"', 'unit = "°C"'))


def _bad_cycle(place: Installation) -> None:
    file = place.folder / "plant" / "dc1.toml"
    file.write_text(file.read_text() + '\n[[cycle]]\nkind = "hpdc_shot"\n')


def _newer_schema(place: Installation) -> None:
    ask(
        str(place.data["store"]["dsn"]),
        "INSERT INTO rootdx.migration (number, name, checksum) VALUES (99, '0099_x.sql', '')",
    )


def _not_migrated(place: Installation) -> None:
    ask(str(place.data["store"]["dsn"]), "DROP SCHEMA rootdx CASCADE")


def _behind(place: Installation) -> None:
    ask(str(place.data["store"]["dsn"]), "DELETE FROM rootdx.migration WHERE number = 3")


FAULTS: list[tuple[Callable[[Installation], None], str, str]] = [
    (_no_broker, "broker", "bus 127.0.0.1:"),
    (_no_database, "database", "database: "),
    (_no_secret, "database", "nowhere: cannot read the secret"),
    (_wrong_password, "database", "check user, password and database name"),
    (_not_migrated, "database", "run `rootdx migrate`"),
    (_behind, "database", "schema lacks 0003_views.sql; run `rootdx migrate`"),
    (_newer_schema, "database", "newer than this program"),
    (_no_plant, "plant files", "nowhere: no such folder"),
    (_bad_machine, "plant files", "unknown UCUM unit"),
    (_bad_cycle, "cycles", "needs tags with role = 'cycle.state'"),
]


@pytest.mark.parametrize(("fault", "subject", "words"), FAULTS, ids=lambda one: getattr(one, "__name__", None))
def test_fault_gives_its_finding_and_hides_no_other(
    place: Installation, fault: Callable[[Installation], None], subject: str, words: str
) -> None:
    fault(place)
    found = place.findings()
    assert failed(found) == [subject]
    assert words in found[subject].text
    assert found.keys() >= {"settings", "plant files", "broker", "database", "spool"}


def test_analytics_that_do_not_keep_up_are_told(place: Installation, database: str) -> None:
    run(delivered(database))
    ask(database, "INSERT INTO rootdx.recompute (asset_id, from_ts, to_ts, reason, asked) "
        "SELECT asset_id, now(), now(), 'test', now() - INTERVAL '10 min' FROM rootdx.asset LIMIT 1")  # fmt: skip
    found = place.findings()["analytics"]
    assert (found.state, found.text[:29]) == ("warning", "1 spans wait, the oldest sinc")


def test_folder_that_cannot_be_written_is_found(place: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and real(path, mode))  # root may do all
    found = place.findings()
    assert failed(found) == ["spool"]
    assert "cannot be written by this user" in found["spool"].text


def test_gateway_that_never_delivered_and_one_that_stopped_are_told(place: Installation, database: str) -> None:
    assert place.findings()["data flow"].text.startswith("no gateway has ever delivered")
    run(delivered(database))
    ask(database, "UPDATE rootdx.ledger SET last_commit = now() - INTERVAL '1 hour'")
    found = place.findings()["data flow"]
    assert found.state == "warning"
    assert "gw-1: nothing committed for 3600 s" in found.text


def test_what_waits_in_quarantine_is_told(place: Installation, database: str) -> None:
    run(delivered(database, Quarantined("body", "x", b"x", 1, 1, 0, 7)))
    found = place.findings()["quarantine"]
    assert (found.state, found.text) == ("warning", "1 entries, 7 rows: `rootdx quarantine list` shows why")


def test_clock_that_is_off_is_told(place: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 60)
    found = place.findings()["clock"]
    assert found.state == "warning"
    assert found.text.startswith("+60.0 s against the database")


async def _filled(folder: Path) -> None:
    async with Spool(spool_settings(folder), "gw-1", lambda: T0_NS) as spool:
        await spool.append([batch()])


@pytest.mark.parametrize(("bytes_per_s", "state"), [(1.0, "ok"), (1e6, "warning")])
def test_room_for_an_outage_is_told_from_what_the_gateway_noted(
    place: Installation, bytes_per_s: float, state: str
) -> None:
    run(_filled(place.folder / "spool"))
    with contextlib.closing(sqlite3.connect(place.folder / "spool" / "spool.sqlite")) as db:
        db.execute("INSERT OR REPLACE INTO meta VALUES ('bytes_per_s', ?)", [bytes_per_s])
        db.commit()
    found = place.findings()["spool"]
    assert found.state == state
    assert ("room for only 0.6 h" in found.text) == (state == "warning")


def test_machine_that_does_not_answer_is_told(place: Installation) -> None:
    found = place.findings(machines=True)
    assert found["machine dc1"].state in {"failed", "warning"}


def test_reader_is_spared_what_it_may_not_see(place: Installation, database: str, postgres: Postgres) -> None:
    run(set_password(database, "rootdx_reader", "secret"))
    reader = postgres.dsn("rootdx_reader", database.rpartition("/")[2]).replace("reader@", "reader:secret@")
    place.data["store"]["dsn"] = reader
    found = place.findings()
    assert failed(found) == []
    assert "quarantine" not in found
