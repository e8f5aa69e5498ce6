"""The REST API against everything that its own description allows, and what it does not."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok

from rootdx.board.access import MAY
from tests.support.board import BASE, PEOPLE, Board, add_people, served, settings_for
from tests.support.front_door import Shop

pytestmark = [pytest.mark.plain, pytest.mark.timeout(400)]
EXAMPLES = 8
ENDLESS = {"/live"}
"""A stream never ends; test_board_api.py listens to it."""
OWN = {"/session"}
"""Would end the session that asks."""
NEEDS = {
    "/alarms/{alarm_id}/acknowledge": "acknowledge", "/alarms/{alarm_id}/reset": "acknowledge",
    "/alarms/{alarm_id}/shelve": "shelve", "/alarms/{alarm_id}/unshelve": "shelve",
    "/alarms/{alarm_id}/out_of_service": "service", "/alarms/{alarm_id}/in_service": "service",
    "/records POST": "seal", "/probe": "probe", "/entries/{kind} POST": "enter", "/accounts": "accounts",
    "/accounts/{name}": "accounts", "/journal": "journal",
}  # fmt: skip
ALLOWED = {200, 201, 204, 400, 401, 403, 404, 405, 406, 409, 411, 415, 422, 429}


@pytest.fixture(scope="module")
def board(module_shop: Shop) -> Iterator[Board]:
    made = settings_for(module_shop.dsn, module_shop.config.parent / "plant")
    add_people(made)
    with served(made) as one:
        yield one


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["as described", "as not"])
@pytest.mark.parametrize("name", ["ko", "oh", None], ids=["admin", "operator", "nobody"])
def test_whatever_is_asked_nothing_breaks_and_nothing_is_given_away(
    board: Board, name: str | None, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_url(f"{board.url}{BASE}/openapi.json")
    told: dict[str, set[int]] = {}
    with board.client(name) as person:
        session = {"X-Rootdx": "test", "Cookie": "; ".join(f"{key}={value}" for key, value in person.cookies.items())}

        def ask(case: "Case[Any]") -> None:
            response = case.call(headers=session, timeout=60)
            where = f"{case.method} {case.formatted_path}"
            assert response.status_code in ALLOWED, f"{where}: {response.status_code} {response.text[:300]}"
            told.setdefault(f"{case.operation.path.removeprefix(BASE)} {case.method}", set()).add(response.status_code)

        for found in schema.get_all_operations():
            assert isinstance(found, Ok), "the description describes itself"
            operation = found.ok()
            if operation.path.removeprefix(BASE) in ENDLESS | OWN:
                continue
            tried = given(case=operation.as_strategy(generation_mode=mode))(ask)
            limited = settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            with contextlib.suppress(Unsatisfiable):  # what takes nothing cannot be asked wrongly
                limited(tried)()
    assert len(told) > 30
    fine = {key for key, statuses in told.items() if statuses & {200, 201, 204}}
    if name is None:
        assert {key.split()[0] for key in fine} <= {"/texts", "/health"}
        return
    for key in fine:
        wanted = NEEDS.get(key) or NEEDS.get(key.split()[0])
        assert wanted is None or wanted in MAY[PEOPLE[name]], f"{key}: {name} may not"
    if mode is GenerationMode.POSITIVE and name == "ko":
        assert len(fine) > 15, "most questions that are well put have an answer"
