"""A burst comes back as the array that was sent, stored once, from the spool to the table and through a crash."""

import asyncio
import contextlib
import json
import re
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import psycopg
import pytest
import zstandard
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp

from pipeline import bursts, wire
from pipeline.bursts import Described, described, encode, waveforms
from pipeline.errors import BadData
from pipeline.forwarder import forward
from pipeline.model import BAD_BIT, Quality, Waveform
from pipeline.refusal import refusal
from pipeline.settings import Bus, Forwarding
from pipeline.spool import Spool
from rootdx.embedded import Broker
from tests.pipeline.test_store import feeding
from tests.pipeline.test_writer import until, writing
from tests.support.spine import ASSET, T0_NS, ask, batch, event, one, spool_settings, waveform, writer_settings

DAY_NS = 86_400_000_000_000
MACHINE = {
    "name": "dc1",
    "process": "casting",
    "tags": [],
    "waveforms": [
        {
            "name": "shot.curve",
            "role": "shot.curve",
            "text": "사출 곡선",
            "channels": [
                {"name": "압력", "unit": "MPa", "role": "shot.pressure", "text": ""},
                {"name": "velocity", "unit": "m/s", "role": "shot.velocity", "text": "속도"},
            ],
        }
    ],
}


async def found(
    dsn: str, start_ns: int = 0, end_ns: int = 1 << 62, names: list[str] | None = None
) -> tuple[Waveform, ...]:
    async with await psycopg.AsyncConnection.connect(dsn) as db:
        await db.execute("SET ROLE rootdx_reader")
        return await waveforms(db, ASSET, start_ns, end_ns, names)


@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 40), st.integers(1, 5)), elements=st.floats(width=32)))
def test_values_come_back_bit_by_bit(value: np.ndarray) -> None:
    back = bursts.decode(encode(value), bursts.ENCODING, *value.shape)
    assert back.tobytes() == value.tobytes()
    assert not back.flags.writeable


def test_damaged_or_unknown_bytes_are_refused() -> None:
    good = encode(waveform().value)
    for content, encoding, n, k, said in (
        (good, 2, 50, 2, "upgrade"),
        (good, 1, 51, 2, "cannot be in"),
        (good, 1, 0, 2, "cannot be in"),
        (b"x", 1, 50, 2, "cannot be unpacked"),
        (zstandard.compress(bytes(5 << 20)), 1, 50, 2, "more than"),
    ):
        with pytest.raises(BadData, match=said):
            bursts.decode(content, encoding, n, k)


async def test_waveforms_come_back_equal_in_order_and_once(engine_dsn: str) -> None:
    late = waveform("weld", n=7, ts_ns=T0_NS + 5_000_000_000, quality=Quality.UNCERTAIN)
    bad = waveform("weld", n=1, ts_ns=T0_NS + 6_000_000_000, quality=int(BAD_BIT))
    first = waveform(ts_ns=T0_NS + 999)
    async with feeding(engine_dsn) as feed:
        await feed.take(batch(), late, bad, event())
        await feed.take(first)
        await feed.take(first, waveform(seed=2, ts_ns=T0_NS + 17))  # again, and another one at the same microsecond
    kept = Waveform(ASSET, "shot.curve", T0_NS, 1_000_000, first.channels, first.value)
    assert await found(engine_dsn) == (kept, late, bad)
    assert await found(engine_dsn, names=["weld"]) == (late, bad)
    assert await found(engine_dsn, names=[]) == ()
    assert await found(engine_dsn, T0_NS, T0_NS + 5_000_000_000) == (kept,)
    assert await found(engine_dsn, T0_NS + 5_000_000_000, T0_NS + 5_000_001_000) == (late,)
    assert one(engine_dsn, "SELECT count(*) FROM rootdx.measurement") == 3
    assert one(engine_dsn, "SELECT last_seq FROM rootdx.ledger") == 3


async def test_view_names_units_and_roles_in_the_order_of_the_channels(engine_dsn: str) -> None:
    async with feeding(engine_dsn) as feed:
        await feed.take(waveform(), waveform("other", n=3), event(kind="machine.declared", data=MACHINE))
    rows = ask(
        engine_dsn,
        "SELECT name, role, seconds, period_s, samples, channels, units, roles, quality "
        "FROM rootdx.waveforms ORDER BY name",
    )
    assert rows == [
        ("other", "", 0.003, 0.001, 3, ["velocity", "압력"], ["", ""], ["", ""], "good"),
        ("shot.curve", "shot.curve", 0.05, 0.001, 50, ["velocity", "압력"], ["m/s", "MPa"],
         ["shot.velocity", "shot.pressure"], "good"),
    ]  # fmt: skip
    async with await psycopg.AsyncConnection.connect(engine_dsn) as db:
        (said,) = await described(db, ASSET)
    roles = ("shot.pressure", "shot.velocity")
    assert said == Described("shot.curve", "shot.curve", ("압력", "velocity"), ("MPa", "m/s"), roles)


async def test_analytics_are_told_where_a_waveform_lies(plain_dsn: str) -> None:
    async with feeding(plain_dsn) as feed:
        await feed.take(waveform(n=101))
    ((first, last),) = ask(plain_dsn, "SELECT from_ts, to_ts FROM rootdx.arrival")
    assert (first.timestamp(), last.timestamp()) == (T0_NS / 1e9, T0_NS / 1e9 + 0.1)


async def test_waveforms_are_forgotten_with_the_raw_rows(plain_dsn: str) -> None:
    async with feeding(plain_dsn) as feed:
        await feed.take(waveform(ts_ns=T0_NS - 500 * DAY_NS), waveform(ts_ns=T0_NS))
        ask(plain_dsn, "SELECT rootdx.keep_raw(now() - to_timestamp(%s))", T0_NS / 1e9 - 86_400)
        assert await feed.store.maintain() is False
    assert [kept.ts_ns for kept in await found(plain_dsn)] == [T0_NS]


def test_keep_raw_holds_for_waveforms_on_timescale(timescale_store: str) -> None:
    asked = (
        "SELECT (config ->> 'drop_after')::interval FROM timescaledb_information.jobs "
        "WHERE proc_name = 'policy_retention' AND hypertable_name = 'waveform'"
    )
    assert one(timescale_store, asked).days == 400
    ask(timescale_store, "SET ROLE rootdx_owner; SELECT rootdx.keep_raw('1000 days')")
    assert one(timescale_store, asked).days == 1000
    assert one(timescale_store, "SELECT rootdx.maintain()") is False


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (waveform(ts_ns=0), "2000 to 2099"),
        (waveform(ts_ns=4_102_444_799_990_000_000), "2000 to 2099"),
        (Waveform(ASSET, "x", T0_NS, 1, ("a",), np.array([[np.inf]], np.float32)), "infinite"),
        (Waveform(ASSET, "x\x00", T0_NS, 1, ("a",), np.zeros((1, 1), np.float32)), "printable"),
        (Waveform(ASSET, "x", T0_NS, 1, ("a\t",), np.zeros((1, 1), np.float32)), "printable"),
    ],
)
def test_what_can_never_be_stored_is_refused(body: Waveform, said: str) -> None:
    assert said in str(refusal(body))
    assert refusal(waveform("velocity")) is None


@pytest.mark.parametrize(
    "waves",
    [{}, [1], [{"name": "x"}], [{"name": "x", "channels": [{}]}], [{"name": "x", "channels": [], "role": 1}],
     [{"name": "x", "channels": [{"name": "a", "unit": None}]}], [{"name": "", "channels": []}]],
)  # fmt: skip
def test_declaration_without_proper_waveforms_is_refused(waves: object) -> None:
    said = json.loads(json.dumps(MACHINE | {"waveforms": waves}))
    assert "list of waveforms" in str(refusal(event(kind="machine.declared", data=said)))
    assert refusal(event(kind="machine.declared", data=MACHINE)) is None


async def test_a_burst_goes_from_the_spool_to_the_table_through_a_crash(
    plain_dsn: str, broker: Broker, tmp_path: Path
) -> None:
    sent = [waveform(n=2000, ts_ns=T0_NS + i * 1_000_000_000, seed=i) for i in range(6)]

    def stored() -> int:
        return int(one(plain_dsn, "SELECT count(*) FROM rootdx.waveform"))

    settings = spool_settings(tmp_path)
    bus, name = Bus(port=broker.port), f"gw-burst-{zlib.crc32(plain_dsn.encode())}"
    async with Spool(settings, name, lambda: T0_NS) as spool:
        for body in sent[:3]:
            await spool.append([body, batch(n=1)])
    async with writing(writer_settings(plain_dsn, broker.port)):
        # a crash: the forwarder dies before it hears what is committed, and sends everything again
        async with Spool(settings, name, lambda: T0_NS) as spool, forwarding(spool, bus):
            await until(lambda: stored() >= 1)
        async with Spool(settings, name, lambda: T0_NS) as spool:
            for body in (*sent[2:], sent[0]):
                await spool.append([body])
            async with forwarding(spool, bus):
                await until(lambda: stored() == 6 and not spool.pending())
    assert await found(plain_dsn) == tuple(sent)
    assert one(plain_dsn, "SELECT count(*) FROM rootdx.measurement") == 3
    assert one(plain_dsn, "SELECT count(*) FROM rootdx.quarantine") == 0


@contextlib.asynccontextmanager
async def forwarding(spool: Spool, bus: Bus) -> AsyncIterator[None]:
    work = asyncio.create_task(forward(spool, bus, Forwarding(patience_s=0.5)))
    try:
        yield
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


def test_the_page_decodes_a_value_as_we_do() -> None:
    page = (Path(bursts.__file__).parent / "schema" / "schema.md").read_text(encoding="utf-8")
    (sample,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    sent = waveform().value
    names: dict[str, object] = {"value": encode(sent), "samples": 50, "channels": ["a", "b"]}
    exec(sample, names)
    assert np.array_equal(names["curve"], sent, equal_nan=True)  # type: ignore[arg-type]


def test_payload_of_a_waveform_is_half_its_size() -> None:
    t = np.arange(4000) / 1000
    curve = np.round(np.stack([3 * np.sin(t), 60 + t], 1) * 100) / 100
    body = Waveform(ASSET, "x", T0_NS, 1_000_000, ("a", "b"), curve.astype(np.float32))
    assert len(wire.pack([body])) < body.value.nbytes / 2
    assert len(encode(body.value)) < body.value.nbytes / 2
