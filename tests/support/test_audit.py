from tests.support.audit import judged, needed

REPORT = {
    "dependencies": [
        {"name": "psycopg", "version": "3.1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.1.1"], "aliases": []}]},
        {"name": "Werkzeug", "version": "2.0", "vulns": [{"id": "GHSA-2", "fix_versions": [], "aliases": []}]},
        {"name": "numpy", "version": "2.1", "vulns": []},
        {"name": "typst", "skip_reason": "Dependency not found on PyPI and could not be audited: typst (0.15.2)"},
    ]
}


def test_a_weakness_of_what_we_need_is_told_apart_from_one_of_a_developers_tool() -> None:
    outcome = judged(REPORT, ["psycopg", "numpy"])
    assert outcome.ours == ("psycopg 3.1.0: PYSEC-1, mended in 3.1.1",)
    assert outcome.developers == ("Werkzeug 2.0: GHSA-2, mended in nothing yet",)
    assert (outcome.looked_at, outcome.not_looked_at) == (3, 1)


def test_what_is_needed_goes_all_the_way_down_and_leaves_extras_out() -> None:
    found = needed("rootdx")
    assert {"fastapi", "starlette", "psycopg", "psycopg-binary", "numpy"} <= found
    assert not {"pytest", "hypothesis", "rootdx", "schemathesis"} & found
