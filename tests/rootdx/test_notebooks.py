"""The notebooks run on a real database, their figures are those of the tables, and none carries anybody's data."""

import base64
import json
import secrets
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import nbformat
import psycopg
import pytest
from nbclient import NotebookClient

from pipeline import migrate
from rootdx.embedded import Postgres
from tests.bench.real_data_thermal import folder as recordings
from tests.support import front_door, notebook_plant
from tests.support.front_door import DC1, Shop
from tests.support.notebook_plant import DIES, FURNACE
from tests.support.services import run
from tests.support.spine import ask, one

HOME: Final = Path(__file__).resolve().parents[2]
BOOKS: Final = sorted((HOME / "rootdx" / "notebooks").glob("*.ipynb"))
CHARTS: Final = {"furnace": 3, "shots": 3, "energy": 4}
PATIENCE_S: Final = 90
LAST: Final[dict[str, Any]] = {
    "cell_type": "code", "id": "last", "metadata": {}, "execution_count": None, "outputs": [],
    "source": "import json; print(json.dumps(figures, default=str))",
}  # fmt: skip
"""Says the figures, so that they can be read without parsing what people see."""
pytestmark = pytest.mark.plain


@pytest.fixture(scope="module")
def plant_dsn(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A furnace of two days and a casting cell with three dies, as the reader sees them."""
    name = f"notebooks_{secrets.token_hex(4)}"
    with psycopg.connect(postgres.dsn(), autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}".encode())
    dsn = postgres.dsn(dbname=name)
    run(migrate.migrate(dsn))
    folder = tmp_path_factory.mktemp("notebooks") / "plant"
    made = notebook_plant.shapes()
    notebook_plant.write_plant(folder, made)
    run(notebook_plant.fill(dsn, folder, made))
    yield dsn
    with psycopg.connect(postgres.dsn(), autocommit=True) as db:
        db.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def book_of(file: Path) -> nbformat.NotebookNode:
    book: nbformat.NotebookNode = nbformat.read(file, as_version=4)  # type: ignore[no-untyped-call]
    return book


def executed(name: str, dsn: str, folder: Path, data: Path) -> tuple[dict[str, Any], list[bytes], str]:
    """Its `figures`, its charts as PNG, all it printed; run by the reader alone."""
    front_door.let_in(dsn, ["rootdx_reader"])
    book = book_of(HOME / "rootdx" / "notebooks" / f"{name}.ipynb")
    book.cells.append(nbformat.NotebookNode(LAST))  # type: ignore[no-untyped-call]
    reader = psycopg.conninfo.make_conninfo(dsn, user="rootdx_reader", password=front_door.SECRET)
    environment = {
        **front_door.clean_environment(), "ROOTDX_DSN": reader, "ROOTDX_DATA": str(data), "ROOTDX_LANG": "ko",
        "PYTHONPATH": str(HOME), "IPYTHONDIR": str(folder / "ipython"), "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
    }  # fmt: skip
    client = NotebookClient(book, timeout=PATIENCE_S, resources={"metadata": {"path": str(folder)}})
    client.execute(env=environment)
    said = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    charts = [base64.b64decode(out.data["image/png"]) for out in said if "image/png" in out.get("data", {})]
    errors = "".join(out.text for out in said if out.get("name") == "stderr")
    return json.loads(said[-1].text), charts, errors


def assert_charts(charts: list[bytes], count: int) -> None:
    """So many, each large and not blank."""
    assert len(charts) == count
    for chart in charts:
        width, height = struct.unpack(">II", chart[16:24])
        assert (width > 800, height > 300, len(chart) > 10_000) == (True, True, True)


@pytest.fixture
def ran(plant_dsn: str, tmp_path: Path) -> Any:
    return partial(executed, dsn=plant_dsn, folder=tmp_path)


NOWHERE: Final = Path("no") / "such" / "folder"


@pytest.mark.timeout(240)
def test_furnace_sees_the_leak_of_the_newest_load(ran: Any, plant_dsn: str) -> None:
    figures, charts, errors = ran("furnace", data=NOWHERE)
    assert_charts(charts, CHARTS["furnace"])
    assert errors == ""
    of = "asset = %s AND end_ts IS NOT NULL"
    assert figures["loads"] == one(plant_dsn, f"SELECT count(*) FROM rootdx.cycles WHERE {of}", FURNACE)
    passed = f"SELECT count(*) FROM rootdx.cycles WHERE {of} AND verdict = 'pass' AND flags = '{{}}'"
    assert figures["golden_of"] == one(plant_dsn, passed, FURNACE)
    assert figures["outside_band"] > 0.5
    assert figures["outside_band_before"] < 0.05
    assert figures["last_verdict"] == "fail"
    assert figures["beyond_limits"] == ["diffuse_carbon_mean"]
    median = "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY value) FROM rootdx.features"
    energy = f"{median} WHERE asset = %s AND feature = 'energy'"
    assert figures["energy_kwh"] == pytest.approx(one(plant_dsn, energy, FURNACE), rel=1e-9)
    assert 4.0 < figures["load_hours"] < 4.4


@pytest.mark.timeout(240)
def test_charts_by_die_see_what_one_chart_does_not(ran: Any, plant_dsn: str) -> None:
    figures, charts, errors = ran("shots", data=NOWHERE)
    assert_charts(charts, CHARTS["shots"])
    assert (figures["real"], errors) == (False, "")
    shots = one(plant_dsn, "SELECT count(*) FROM rootdx.cycles WHERE asset = %s AND end_ts IS NOT NULL", DC1)
    assert shots - 10 * len(DIES) - 2 <= figures["shots"] <= shots - 10
    by_mold = {row["mold"]: row for row in figures["by_mold"]}
    assert by_mold.keys() == DIES.keys()
    assert [row["one chart"] for row in by_mold.values()] == [0.0, 0.0, 0.0]
    assert by_mold["D-13"]["own, rules"] > 0.1
    assert max(by_mold[die]["own, rules"] for die in ("D-11", "D-12")) < 0.1


@pytest.mark.timeout(240)
@pytest.mark.skipif(
    not (recordings() / "kamp_rheocasting").is_dir(),
    reason="no kamp_rheocasting: set ROOTDX_DATA to the folder of the recordings",
)
def test_charts_by_die_of_the_recordings(ran: Any) -> None:
    figures, charts, _ = ran("shots", data=recordings())
    assert_charts(charts, CHARTS["shots"])
    assert figures["real"]
    assert figures["shots"] == 42_192
    by_mold = {row["mold"]: row for row in figures["by_mold"]}
    assert {name: row["failed"] for name, row in by_mold.items()} == {"8412": 14, "8573": 44, "8722": 121}
    for row in by_mold.values():
        assert row["lag1"] > 0.4, "shots resemble the one before"
        assert row["own, ranges"] > 2 * row["own, overall"], "so limits of moving ranges are too narrow"
        assert row["failed beyond"] > 10 * row["own, overall"], "and bad shots lie outside far more often"


@pytest.mark.timeout(240)
def test_energy_is_that_of_the_meters(ran: Any, plant_dsn: str) -> None:
    figures, charts, errors = ran("energy", data=NOWHERE)
    assert_charts(charts, CHARTS["energy"])
    assert errors == ""
    quarters = "SELECT quarter, sum(kw) AS kw FROM rootdx.demands WHERE kw IS NOT NULL GROUP BY 1"
    peak = f"SELECT count(*), max(kw), sum(kw) / 4, avg(kw) / max(kw) FROM ({quarters}) AS q"
    ((count, highest, kwh, load_factor),) = ask(plant_dsn, peak)
    assert figures["quarters"] == count
    assert figures["peak_kw"] == pytest.approx(highest)
    assert figures["energy_kwh"] == pytest.approx(kwh)
    assert figures["load_factor"] == pytest.approx(load_factor)
    assert figures["co2_t"] == pytest.approx(kwh / 1000 * 0.4173)
    assert figures["peak_moved_kw"] < figures["peak_kw"] - 20.0
    assert "iq2" in figures["peak_running"]
    assert set(figures["kwh_per_cycle"]) == {"hpdc_shot", "sealed_quench"}


def test_empty_database_is_said_in_a_sentence(plain_dsn: str, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"give a tag that counts kWh the role energy\.total"):
        executed("energy", plain_dsn, tmp_path, NOWHERE)


@pytest.mark.parametrize("file", BOOKS, ids=lambda file: file.stem)
def test_book_is_stored_clean_and_in_both_languages(file: Path) -> None:
    book = book_of(file)
    nbformat.validate(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert [cell for cell in code if cell.outputs or cell.execution_count is not None] == []
    words = [cell.source for cell in book.cells if cell.cell_type == "markdown"]
    assert [text for text in words if not any("가" <= sign <= "힣" for sign in text)] == []
    assert [text for text in words if sum(sign.isascii() and sign.isalpha() for sign in text) < 5] == []
    assert not [cell.source for cell in code if str(HOME.parent) in cell.source or "/home" in cell.source]


def test_every_book_is_asserted() -> None:
    assert {file.stem for file in BOOKS} == CHARTS.keys()


def test_command_copies_them_and_never_over_work(shop: Shop, tmp_path: Path) -> None:
    done = shop("notebooks", "--out", str(tmp_path / "mine"))
    assert (done.code, done.err) == (0, "")
    assert {file.name: file.read_bytes() for file in (tmp_path / "mine").iterdir()} == {
        file.name: file.read_bytes() for file in BOOKS
    }
    (tmp_path / "mine" / "shots.ipynb").write_text("mine")
    again = shop("notebooks", "--out", str(tmp_path / "mine"))
    assert again.code == 78
    assert "--replace" in again.err
    assert (tmp_path / "mine" / "shots.ipynb").read_text() == "mine"
    assert shop("notebooks", "--out", str(tmp_path / "mine"), "--replace").code == 0
    assert (tmp_path / "mine" / "shots.ipynb").read_bytes() == BOOKS[-1].read_bytes()


def test_folder_that_is_a_file_is_said(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    done = shop("notebooks", "--out", str(tmp_path / "mine"))
    assert done.code == 78
    assert "cannot write" in done.err
