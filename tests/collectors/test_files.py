"""Files that a machine drops are read when they are complete, stored once, and never lost; broken ones are told."""

import asyncio
import contextlib
import math
import os
import time
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from collectors import folder
from collectors.csv_burst import Layout, Table
from collectors.gateway import collect
from collectors.source import Reading
from pipeline.errors import BadData, Unavailable
from pipeline.model import MOST_VALUES, Event, Waveform
from tests.collectors.devices import ASSET, MemorySpool, machine, opening, stopped

BEGAN_NS = 1_780_000_000_123_456_000
STAMP = "20260528T202640.123456Z"
CURVE = {"name": "shot.curve", "channel": [{"name": "velocity", "unit": "m/s"}, {"name": "pressure", "unit": "MPa"}]}
TEXT = "time_s,velocity,pressure\n0.000,0.5,10\n0.001,0.75,20\n0.002,,30\n"


def dropping(place: Path, waveform: Any = CURVE, **more: Any) -> Any:
    source = {"protocol": "files", "folder": str(place), "every_s": 0.02, "settle_s": 0.03} | more
    return machine(source, [], waveform=[waveform])


def drop(place: Path, name: str = f"shot.curve_{STAMP}.csv", text: str | bytes = TEXT) -> Path:
    file = place / name
    file.parent.mkdir(parents=True, exist_ok=True)
    hidden = file.with_name(f".{file.name}.part")
    hidden.write_bytes(text if isinstance(text, bytes) else text.encode())
    return hidden.rename(file)


class Session:
    """A session in a test's hands; `next` makes what came before durable."""

    def __init__(self, one: Any, memory: str = "") -> None:
        self._stack, self._one, self.memory = contextlib.AsyncExitStack(), one, memory

    async def __aenter__(self) -> Self:
        opened = opening(self._one, time.time_ns, self.memory)
        session = await self._stack.enter_async_context(self._one.source.open(opened))
        self._readings = session.readings()
        self._stack.push_async_callback(self._readings.aclose)
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._stack.aclose()

    async def next(self) -> Reading:
        async with asyncio.timeout(5):
            reading: Reading = await anext(self._readings)
        assert reading.memory is not None
        self.memory = reading.memory
        return reading

    async def nothing(self, wait_s: float = 0.3) -> bool:
        """Ends the session."""
        try:
            async with asyncio.timeout(wait_s):
                await anext(self._readings)
        except TimeoutError:
            return True
        return False


async def one_burst(one: Any) -> Waveform:
    async with Session(one) as session:
        (body,) = (await session.next()).bodies
    assert isinstance(body, Waveform), body
    return body


async def one_refusal(one: Any) -> str:
    async with Session(one) as session:
        (body,) = (await session.next()).bodies
    assert isinstance(body, Event), body
    assert body.kind == "waveform.refused"
    assert body.data["file"]
    return body.text


async def test_a_file_of_the_default_form_becomes_a_waveform(tmp_path: Path) -> None:
    drop(tmp_path)
    value = np.array([[0.5, 10], [0.75, 20], [np.nan, 30]], np.float32)
    expected = Waveform(ASSET, "shot.curve", BEGAN_NS, 1_000_000, ("velocity", "pressure"), value)
    assert await one_burst(dropping(tmp_path)) == expected


async def test_a_file_is_read_once_across_restarts_and_again_when_it_changes(tmp_path: Path) -> None:
    first = drop(tmp_path)
    async with Session(dropping(tmp_path)) as session:
        assert len((await session.next()).bodies) == 1
        assert await session.nothing()
    async with Session(dropping(tmp_path), session.memory) as again:
        assert await again.nothing()
    drop(tmp_path, "shot.curve_20260528T202700.000000Z.csv")
    first.write_text(TEXT + "0.003,1,40\n")
    async with Session(dropping(tmp_path), session.memory) as later:
        bodies = (await later.next()).bodies
        assert sorted(len(body) for body in bodies if isinstance(body, Waveform)) == [3, 4]
        assert await later.nothing()


async def test_what_did_not_become_durable_is_read_again(tmp_path: Path) -> None:
    drop(tmp_path)
    async with Session(dropping(tmp_path, after="delete")) as session:
        await session.next()
    assert len(list(tmp_path.glob("*.csv"))) == 1  # not resumed: nobody said that it is durable
    async with Session(dropping(tmp_path, after="delete")) as again:
        assert len((await again.next()).bodies) == 1
    async with Session(dropping(tmp_path, after="delete"), again.memory) as after_the_crash:
        assert await after_the_crash.nothing()
    assert list(tmp_path.glob("*.csv")) == []


async def test_a_file_that_still_grows_waits(tmp_path: Path) -> None:
    file = tmp_path / f"shot.curve_{STAMP}.csv"
    file.write_text("time_s,velocity,pressure\n")
    async with Session(dropping(tmp_path, settle_s=0.3)) as session:
        reading = asyncio.create_task(session.next())
        for i in range(6):
            with file.open("a") as out:
                out.write(f"0.00{i},{i},{i}\n")
            await asyncio.sleep(0.1)
            assert not reading.done()
        (body,) = (await reading).bodies
    assert isinstance(body, Waveform)
    assert len(body) == 6


async def test_stored_files_are_moved_or_deleted_and_refused_ones_stay(tmp_path: Path) -> None:
    for after in ("move", "delete", "keep"):
        place = tmp_path / after
        drop(place / "day1")
        drop(place / "done" / "day1")  # there already, and not looked at
        broken = drop(place, "day1/shot.curve_x.csv", "nothing")
        async with Session(dropping(place, CURVE | {"address": "*/shot*.csv"}, after=after)) as session:
            assert len((await session.next()).bodies) == 2
            assert await session.nothing()
        left = {file.relative_to(place).as_posix() for file in place.rglob("*.csv*")}
        name = f"day1/shot.curve_{STAMP}.csv"
        extra = {"move": {f"done/{name}.1"}, "delete": set(), "keep": {name}}[after]
        assert left == {f"done/{name}", "day1/shot.curve_x.csv"} | extra
        assert broken.exists()


async def test_a_folder_that_refuses_to_be_changed_stops_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    drop(tmp_path)

    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(folder, "_delete_or_move", refuse)
    async with Session(dropping(tmp_path, after="delete")) as session:
        await session.next()
        drop(tmp_path, "shot.curve_20260528T202700.000000Z.csv")
        assert len((await session.next()).bodies) == 1


async def test_a_broken_file_is_told_once_and_tried_again_when_file_or_settings_change(tmp_path: Path) -> None:
    file = drop(tmp_path, text="time_s;velocity;pressure\n0;a;b\n")
    drop(tmp_path, "shot.curve_20260528T202700.000000Z.csv")
    async with Session(dropping(tmp_path)) as session:
        bodies = (await session.next()).bodies
        assert [type(body) for body in bodies] == [Event, Waveform]
        assert await session.nothing()
    async with Session(dropping(tmp_path), session.memory) as again:
        assert await again.nothing()
    async with Session(dropping(tmp_path, decimal="."), session.memory) as changed:
        (body,) = (await changed.next()).bodies
        assert isinstance(body, Event)
    file.write_text(TEXT)
    async with Session(dropping(tmp_path), session.memory) as mended:
        (body,) = (await mended.next()).bodies
        assert isinstance(body, Waveform)


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        ("", {}, None),
        ("time_s,velocity\n0,1\n1,2\n", {}, "no column 'pressure'; there are: time_s, velocity"),
        ("time_s,velocity,pressure\n", {}, "no row below line 1"),
        ("time_s,velocity,pressure\na,b,c\n", {}, "no row holds a number"),
        ("time_s,velocity,pressure\n0,1,2\n1,2\n", {}, "row 2 ends before column 'pressure'"),
        ("time_s,velocity,pressure\n0,1,2\n1,2,3\n5,2,3\n", {}, "not evenly spaced"),
        ("time_s,velocity,pressure\n0,1,2\n0,2,3\n", {}, "does not rise"),
        ("velocity,pressure\n1,2\n2,3\n", {}, "give period_s in the machine file"),
        ("time_s,velocity,pressure\n0,1,2\n9e9,2,3\n", {}, "expected 1e-9 to 3600"),
        (b"time_s,velocity,pressure\n\xff\xff,1\n", {}, "not text of utf-8-sig or cp949"),
        (b"\xff\xff\xff", {"encoding": "utf-16"}, "not text of utf-16"),
        ('time_s,velocity,pressure\n0,1,"' + "x" * 200_000, {}, "not a table"),
        ("time_s,velocity,pressure\ninf,1,2\n", {}, "no time"),
        ("time_s,velocity,pressure\n1e300,1,2\n", {"time": "column"}, "no time"),
        ("time_s,velocity,pressure\n9e11,1,2\n", {"time": "column"}, "began at 30489-"),
        ("time_s,velocity,pressure\n0,1,2\nx,2,3\n1,1,1\n", {}, "no time"),
        ("time_s,velocity,pressure\nmonday,1,2\n", {"time": "column"}, "is no time of the form ISO 8601"),
        ("velocity,pressure\n1,2\n", {"time": "column"}, "no column 'time_s'"),
        ("velocity,pressure\n1,2\n", {"time": "mtime"}, "give period_s"),
        (TEXT, {"max_mb": 0.00001}, "see max_mb"),
        (TEXT, {"time_format": "%Y-%m-%d"}, "no time of the form"),
        (TEXT, {"time_format": "%Y%m%d", "time_zone": "Asia/Seoul", "time": "column"}, "began at 1970"),
    ],
)
async def test_what_cannot_be_read_is_told_with_the_remedy(
    tmp_path: Path, text: Any, more: Any, said: str | None
) -> None:
    drop(tmp_path, text=text)
    if said is None:
        async with Session(dropping(tmp_path, **more)) as session:
            assert await session.nothing()
    else:
        assert said in await one_refusal(dropping(tmp_path, **more))


async def test_a_burst_too_large_to_carry_is_told_and_the_next_one_stored(tmp_path: Path) -> None:
    rows = MOST_VALUES // 2 + 1
    drop(tmp_path, text="velocity,pressure\n" + "1,2\n" * rows)
    drop(tmp_path, "shot.curve_20260528T202700.000000Z.csv", "velocity,pressure\n" + "1,2\n" * 5)
    async with Session(dropping(tmp_path, CURVE | {"period_s": 1e-4})) as session:
        large, small = (await session.next()).bodies
    assert isinstance(large, Event)
    assert f"at most {MOST_VALUES} values are carried" in large.text
    assert isinstance(small, Waveform)
    assert (len(small), small.period_ns) == (5, 100_000)


KOREAN = "측정 설비 1호기\n시간;속도;압력\n[초];[m/s];[MPa]\n0,00;1,5;\n0,01;2,5;7,25\n"


@pytest.mark.parametrize("encoding", ["cp949", "utf-8", "utf-8-sig", "utf-16"])
async def test_korean_headings_units_and_decimal_commas_are_found_out(tmp_path: Path, encoding: str) -> None:
    drop(tmp_path, "20260528_202640_사출.csv", KOREAN.encode(encoding))
    channels = [
        {"name": "velocity", "unit": "m/s", "address": "속도", "scale": 2, "offset": 1},
        {"name": "pressure", "unit": "MPa", "address": "#3"},
    ]
    form = {"time_format": "%Y%m%d_%H%M%S", "time_zone": "Asia/Seoul", "time_column": "시간", "header_row": 2}
    got = await one_burst(dropping(tmp_path, {"name": "shot", "address": "*_사출.csv", "channel": channels}, **form))
    assert (got.ts_ns, got.period_ns) == ((1_780_000_000 - 9 * 3600) * 10**9, 10_000_000)
    assert np.array_equal(got.value, np.array([[4, np.nan], [6, 7.25]], np.float32), equal_nan=True)


async def test_time_from_a_column_of_texts_or_numbers_or_from_the_file(tmp_path: Path) -> None:
    body = "velocity,pressure\n"
    drop(tmp_path / "text", text=f"time_s,{body}2026-05-28T20:26:40.5,1,2\n2026-05-28T20:26:41.0,1,2\n")
    drop(tmp_path / "form", text=f"time_s,{body}28.05.2026 20:26:40,1,2\n28.05.2026 20:26:42,1,2\n")
    drop(tmp_path / "unix", text=f"time_s,{body}1780000000500,1,2\n1780000000501,1,2\n")
    file = drop(tmp_path / "mtime", text="time_ms,velocity,pressure\n0,1,2\n1,1,2\n2,1,2\n")
    os.utime(file, ns=(BEGAN_NS, BEGAN_NS))
    text = await one_burst(dropping(tmp_path / "text", time="column"))
    form = await one_burst(
        dropping(tmp_path / "form", time="column", time_format="%d.%m.%Y %H:%M:%S", time_zone="Asia/Seoul")
    )
    unix = await one_burst(dropping(tmp_path / "unix", time="column", time_unit="ms"))
    mtime = await one_burst(dropping(tmp_path / "mtime", time="mtime", time_column="time_ms", time_unit="ms"))
    assert (text.ts_ns, text.period_ns) == (1_780_000_000_500_000_000, 500_000_000)
    assert (form.ts_ns, form.period_ns) == ((1_780_000_000 - 9 * 3600) * 10**9, 2_000_000_000)
    assert (unix.ts_ns, unix.period_ns) == (1_780_000_000_500_000_000, 1_000_000)
    assert (mtime.ts_ns, mtime.period_ns) == (BEGAN_NS - 2_000_000, 1_000_000)


async def test_samples_before_the_trigger_move_the_beginning(tmp_path: Path) -> None:
    drop(tmp_path, text="time_s,velocity,pressure\n-0.5,1,2\n0,1,2\n0.5,1,2\n")
    assert (await one_burst(dropping(tmp_path))).ts_ns == BEGAN_NS - 500_000_000


async def test_many_files_stay_bounded_in_memory_and_each_is_read_once(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(folder, "_REMEMBERED", 20)
    count, stored, memory = 100, 0, ""
    for i in range(count):
        drop(tmp_path, f"shot.curve_20260528T2026{i // 60:02d}.{i:06d}Z.csv")
    for _ in range(4):  # a restart in between
        async with Session(dropping(tmp_path, settle_s=0.01), memory) as session:
            with contextlib.suppress(TimeoutError):
                for _ in range(2):
                    async with asyncio.timeout(0.5):
                        stored += len((await session.next()).bodies)
        memory = session.memory
        assert len(memory) < 700
    assert stored == count


async def test_a_file_that_appears_with_an_old_change_time_is_read_all_the_same(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(folder, "_REMEMBERED", 2)
    for i in range(6):
        drop(tmp_path, f"shot.curve_20260528T202640.00000{i}Z.csv")
    async with Session(dropping(tmp_path)) as session:
        assert len((await session.next()).bodies) == 6
        seen = folder._seen

        def set_back(label: str, path: Path, name: str) -> Any:
            file = seen(label, path, name)
            if file is None or not name.endswith("9Z.csv"):
                return file
            return folder.File(label, path, file.size, file.modified_ns, 1, file.key)

        monkeypatch.setattr(folder, "_seen", set_back)
        monkeypatch.setattr(folder.File, "is_same", lambda _: True)
        drop(tmp_path, "shot.curve_20260528T202640.000009Z.csv")
        assert len((await session.next()).bodies) == 1
        assert await session.nothing()


async def test_a_folder_that_is_away_is_unavailable(tmp_path: Path) -> None:
    place = tmp_path / "share"
    with pytest.raises(Unavailable, match="is it mounted"):
        await Session(dropping(place)).__aenter__()
    place.mkdir()
    async with Session(dropping(place)) as session:
        place.rmdir()
        with pytest.raises(Unavailable, match="is it mounted"):
            await session.next()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"waveform": [CURVE | {"address": "../x.csv"}]}, "no pattern of files in the folder"),
        ({"waveform": [CURVE | {"address": "/x.csv"}]}, "no pattern of files in the folder"),
        ({"source": {"encoding": "klingon"}}, "unknown; examples: cp949"),
        ({"source": {"delimiter": "\n"}}, "Input should be"),
        ({"source": {"time_format": "%Q"}}, "expected the parts of a date"),
        ({"source": {"time_format": "x"}}, "expected the parts of a date"),
        ({"tag": [{"name": "a", "address": "x", "unit": "1"}]}, "files bring waveforms, no tags"),
        ({"waveform": []}, "at least one"),
    ],
)
def test_what_cannot_be_right_in_a_machine_file_is_refused(tmp_path: Path, change: Any, said: str) -> None:
    data = dropping(tmp_path).model_dump(mode="json")
    data["source"] |= change.pop("source", {})
    with pytest.raises(ValidationError, match=said):
        type(dropping(tmp_path)).model_validate(data | change)


def test_columns_by_any_name_and_the_error_names_what_is_there() -> None:
    table = Table(b"a\tB\n1\t2\n", Layout())
    assert table.numbers("b").tolist() == [2.0]
    assert not table.has("#3")
    plain = Table(b"1;2\n3;4\n", Layout(header_row=0))
    assert plain.numbers("#2").tolist() == [2.0, 4.0]
    with pytest.raises(BadData, match="#1 to #2"):
        plain.texts("c")
    assert math.isnan(Table(b"a\n1\nx\n", Layout()).numbers("a")[1])


@given(st.binary(max_size=200) | st.text('0123456789.,;\t\n"e+-ab가', max_size=200).map(str.encode))
def test_whatever_is_in_a_file_it_is_columns_or_bad_data(content: bytes) -> None:
    with contextlib.suppress(BadData):
        table = Table(content, Layout())
        for heading in table.headings:
            assert len(table.numbers(heading)) == len(table)


# Through the gateway


async def test_tags_come_from_one_source_and_waveforms_from_another(tmp_path: Path) -> None:
    spool = MemorySpool()
    one = machine(
        {"protocol": "modbus", "host": "127.0.0.1", "port": 1, "every_s": 0.1, "timeout_s": 0.1},
        [{"address": "holding:1"}],
        waveform=[CURVE],
        waveform_source={"protocol": "files", "folder": str(tmp_path), "every_s": 0.02, "settle_s": 0.02},
    )
    task = asyncio.create_task(collect({ASSET: one}, spool, "gw-1", time.time_ns))
    drop(tmp_path)
    await spool.until(lambda s: s.waveforms)
    await stopped(task)
    (declared,) = spool.events("machine.declared")
    assert [tag["name"] for tag in declared.data["tags"]] == ["t0"]
    (said,) = declared.data["waveforms"]
    assert [channel["unit"] for channel in said["channels"]] == ["m/s", "MPa"]
    assert [event.key for event in spool.events("device.unreachable")] == [""]  # modbus; the folder is there
    assert spool.expected() == spool.missing()

    later = spool.after_a_kill()
    task = asyncio.create_task(collect({ASSET: one}, later, "gw-1", time.time_ns))
    await asyncio.sleep(0.4)
    await stopped(task)
    assert len(later.waveforms) == 1


async def test_a_full_spool_leaves_the_waveform_with_its_source(tmp_path: Path) -> None:
    spool = MemorySpool()
    drop(tmp_path)
    task = asyncio.create_task(collect({ASSET: dropping(tmp_path, after="delete")}, spool, "gw-1", time.time_ns))
    await spool.until(lambda s: s.events("machine.declared"))
    spool.full = True
    await asyncio.sleep(0.3)
    assert not spool.waveforms
    assert len(list(tmp_path.glob("*.csv"))) == 1
    spool.full = False
    await spool.until(lambda s: s.waveforms)
    await asyncio.sleep(0.2)
    await stopped(task)
    assert len(spool.waveforms) == 1
    assert list(tmp_path.glob("*.csv")) == []
