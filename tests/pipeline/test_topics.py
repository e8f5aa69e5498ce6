"""A topic or announcement is read back as it was built, or refused."""

import uuid

import pytest
from hypothesis import given, strategies as st

from pipeline.errors import BadData, ConfigError
from pipeline.ledger import LAST_SEQ
from pipeline.topics import SLUG, Committed, committed_topic, gateway_of, parse_committed, record_topic, slug

NAMES = st.from_regex(SLUG, fullmatch=True)


@given(NAMES)
def test_gateway_is_read_back_from_its_topic(name: str) -> None:
    assert gateway_of(record_topic(slug(name, "gateway.name"))) == name
    with pytest.raises(BadData, match="not of the form rootdx/v1/<gateway>/record"):
        gateway_of(committed_topic(name))


@pytest.mark.parametrize(
    "name", ["", "GW-1", "gw 1", "gw.1", "gw/1", "-gw", "gw-", "가", "+", "#", "a" * 64, "gw-1\n", "gw_1"]
)
def test_name_that_may_not_stand_in_a_topic_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="lower-case letters, digits and hyphens"):
        slug(name, "gateway.name")
    with pytest.raises(BadData):
        gateway_of(f"rootdx/v1/{name}/record")


@given(st.uuids(), st.integers(0, LAST_SEQ), st.booleans())
def test_announcement_is_read_back(epoch: uuid.UUID, last: int, hole: bool) -> None:
    said = Committed(epoch, last, hole)
    assert parse_committed(said.payload()) == said


@given(st.binary(max_size=80))
def test_any_other_bytes_are_bad_data(payload: bytes) -> None:
    try:
        said = parse_committed(payload)
    except BadData:
        return
    assert said.payload().split()[1:] == [b"%d" % said.last, *([b"hole"] if said.hole else [])]


@pytest.mark.parametrize(
    "payload",
    [b"", b"x", b"7", b"-" * 36 + b" 7", f"{uuid.UUID(int=1)} -7".encode(), f"{uuid.UUID(int=1)} 7 h".encode()],
)
def test_garbled_announcement_is_bad_data(payload: bytes) -> None:
    with pytest.raises(BadData, match="announcement"):
        parse_committed(payload)
