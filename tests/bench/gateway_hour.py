"""An hour of one gateway on a small computer: CPU, memory, and what it writes to its flash.

* 2 devices of 100 tags at 1 Hz through the real broker and writer into the database; the gateway alone is counted.
* `write_bytes` are pages that the process made dirty and the kernel has to write, fsync included; a page written back
  before it is made dirty again counts each time. The file system's journal is not in it. It is in the bytes of the
  block device, which are everybody's on that device: `--spool` names a folder on a device of its own.
* After the hour the broker is away for a twelfth of the time, then the backlog is sent.
"""

import asyncio
import os
import statistics
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from pipeline.spool_file import FILE
from tests.bench import machines
from tests.bench.figures import Figure, show, slope
from tests.bench.machines import Plant
from tests.bench.stage import Child, Db, Invalid, Stage, Wish, looking, one
from tests.support.proxy import Proxy

DEVICES, EVERY_S = 2, 1.0
RATE_HZ = DEVICES * machines.TAGS / EVERY_S
MINUTES = 60.0
AWAY = 1 / 12
"""Of the time, with a broker that refuses."""
SAMPLE_S = 5.0
LEAST = 10
DAY_S = 86_400.0
SECTOR = 512
DRAIN_S = 120.0
NOT_ON_A_DISK = ("overlay", "tmpfs", "ramfs")


@dataclass(frozen=True, slots=True)
class Disk:
    """What lies under a folder."""

    kind: str
    device: str | None
    stat: Path | None

    @classmethod
    def of(cls, folder: Path) -> "Disk":
        """From the kernel's table of mounts; without a device where the file system has none."""
        best, kind, device = "", "?", ""
        for line in Path("/proc/mounts").read_text().splitlines():
            name, place, found = line.split()[:3]
            if folder.resolve().is_relative_to(place) and len(place) >= len(best):
                best, kind, device = place, found, name
        number = folder.stat().st_dev
        stat = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/stat")
        return cls(kind, device, stat) if stat.exists() else cls(kind, None, None)

    def written(self) -> float:
        """Bytes written to the device since the machine started, by everybody; nan without a device."""
        return float("nan") if self.stat is None else float(self.stat.read_text().split()[6]) * SECTOR

    def told(self) -> str:
        """A sentence for the reader of the figures."""
        if self.kind in NOT_ON_A_DISK or self.device is None:
            return f"the spool lies on {self.kind}: its written bytes say NOTHING of a disk; name a folder with --spool"
        return f"the spool lies on {self.kind} on {self.device}; bytes of that device are those of all its users"


@dataclass(frozen=True, slots=True)
class Count:
    """Counters at one moment."""

    at_s: float
    cpu_s: float
    written: float
    cancelled: float
    device: float
    rows: int


@dataclass(frozen=True, slots=True)
class Wear:
    """A flash memory. All four are assumptions: a data sheet seldom says more than the first."""

    capacity_gb: float
    cycles: float
    lowest: float
    highest: float

    def years(self, bytes_a_day: float, amplification: float) -> float:
        """Until every cell was written `cycles` times, wear levelled over the whole memory.

        >>> round(Wear(16.0, 3000.0, 2.0, 8.0).years(2e9, 2.0), 1)
        32.9
        """
        return self.capacity_gb * 1e9 * self.cycles / (bytes_a_day * amplification) / 365.25


async def measure(stage: Stage, wish: Wish) -> list[Figure]:
    """The figures; prints them."""
    minutes = wish.minutes or MINUTES
    spool = wish.spool or stage.place("hour")
    async with looking(stage) as db, Proxy("127.0.0.1", stage.broker.port) as link:
        await stage.empty(db)
        folder = (spool / f"spool-{os.getpid()}").absolute()
        folder.mkdir(parents=True)
        disk = Disk.of(folder)
        stage.console.print(disk.told())
        plant = await machines.plant(stage, DEVICES, EVERY_S, spool={"folder": str(folder)})
        await stage.writer(plant.settings)
        gateway = await stage.gateway(_through(plant, link))
        await asyncio.sleep(wish.warm_s)
        before = await _count(gateway, disk, db)
        memory = await _watch(gateway, minutes * 60)
        after = await _count(gateway, disk, db)
        _due(before, after)
        link.refuse()
        await asyncio.sleep(minutes * 60 * AWAY)
        away = await _count(gateway, disk, db)
        held = sum(file.stat().st_size for file in folder.glob(f"{FILE}*")) / 1e6
        link.heal()
        caught_up_s = await _caught_up(db, after, away)
        drained = await _count(gateway, disk, db)
        stage.check()
        await stage.stop()
        late = await _once(db)
    figures = [
        *_cost("gateway", before, after),
        *_memory(memory),
        *_wear(Wear(*wish.flash), before, after, disk),
        *_cost(f"broker away for {minutes * AWAY:.3g} min and caught up", after, drained),
        Figure("broker away: spool files at its end", [held], "MB"),
        Figure("broker back: time to complete", [caught_up_s], "s"),
        Figure("late ticks of a device: seconds without its rows, counted by the gateway", [late], "1"),
    ]
    title = f"one gateway, {RATE_HZ:g} values/s, {minutes:g} min"
    show(stage.console, title, figures)
    stage.console.print(_formula(Wear(*wish.flash)))
    return figures


def _through(plant: Plant, link: Proxy) -> Path:
    """The same settings with the bus behind the link."""
    data = tomllib.loads(plant.settings.read_text())
    data["bus"]["port"] = link.port
    file = plant.settings.with_name("gateway.toml")
    file.write_text(tomli_w.dumps(data))
    return file


async def _count(gateway: Child, disk: Disk, db: Db) -> Count:
    (rows,) = await one(db, "SELECT coalesce(sum(rows), 0) FROM rootdx.record")
    lines = Path(f"/proc/{gateway.process.pid}/io").read_text().splitlines()
    io = {name: float(value) for name, value in (line.split(": ") for line in lines)}
    return Count(
        time.monotonic(), gateway.cpu_s(), io["write_bytes"], io["cancelled_write_bytes"], disk.written(), int(rows)
    )


async def _watch(gateway: Child, seconds: float) -> list[tuple[float, float]]:
    """Hours and MB."""
    began, samples = time.monotonic(), list[tuple[float, float]]()
    while (at_s := time.monotonic() - began) < seconds:
        samples.append((at_s / 3600, gateway.rss_mb()))
        await asyncio.sleep(min(SAMPLE_S, seconds - at_s))
    if len(samples) < LEAST:
        raise Invalid(f"{len(samples)} samples are too few for a slope; ask for more minutes")
    return samples


def _due(before: Count, after: Count) -> None:
    due, found = RATE_HZ * (after.at_s - before.at_s), after.rows - before.rows
    if abs(found - due) > 0.01 * due + 2 * RATE_HZ:
        raise Invalid(f"{found} rows committed, {due:.0f} were due")


async def _caught_up(db: Db, after: Count, away: Count) -> float:
    """Seconds until the rows of the time away are there."""
    due = after.rows + RATE_HZ * (away.at_s - after.at_s) - 2 * RATE_HZ
    began = time.monotonic()
    while (await one(db, "SELECT coalesce(sum(rows), 0) FROM rootdx.record"))[0] < due:
        if time.monotonic() - began > DRAIN_S:
            raise Invalid(f"the rows of the outage are not there {DRAIN_S:.0f} s after it")
        await asyncio.sleep(0.1)
    return time.monotonic() - began


async def _once(db: Db) -> int:
    """Seconds in which a tag was not read, because the computer was busy.

    Raises:
        Invalid: a row is there more than once, or rows are missing of which the gateway says nothing.
    """
    query = """
        SELECT count(*) FILTER (WHERE n > 1), count(*) FILTER (WHERE n < 1) FROM (
            SELECT (SELECT count(*) FROM rootdx.measurement m WHERE m.tag_id = t.tag_id AND m.ts >= s
                    AND m.ts < s + INTERVAL '1 s') AS n
            FROM (SELECT min(tag_id) AS tag_id, min(ts) AS first, max(ts) AS last FROM rootdx.measurement) t,
                 generate_series(date_trunc('second', first), last - INTERVAL '1 s', INTERVAL '1 s') s) each_second"""
    doubled, missing = await one(db, query)
    (told,) = await one(db, "SELECT coalesce(sum(late), 0) FROM rootdx.tally")
    if doubled or missing * machines.TAGS > told:
        raise Invalid(
            f"{missing} seconds without a row, {told} rows told as late; {doubled} seconds with more than one"
        )
    return int(missing)


def _cost(name: str, before: Count, after: Count) -> list[Figure]:
    took_s, rows = after.at_s - before.at_s, after.rows - before.rows
    cpu_s, written = after.cpu_s - before.cpu_s, after.written - before.written
    return [
        Figure(f"{name}: CPU", [100 * cpu_s / took_s], "% of a core"),
        Figure(f"{name}: CPU a value", [cpu_s * 1e6 / rows], "us/value"),
        Figure(f"{name}: written (write_bytes)", [written / took_s / 1e3], "kB/s"),
        Figure(f"{name}: of it never reached the disk (cancelled)", [(after.cancelled - before.cancelled) / 1e6], "MB"),
        Figure(f"{name}: written a stored value", [written / rows], "B/value"),
    ]


def _memory(samples: list[tuple[float, float]]) -> list[Figure]:
    hours, values = [at for at, _ in samples], [mb for _, mb in samples]
    return [
        Figure("gateway: RSS, first", [values[0]], "MB"),
        Figure("gateway: RSS, median", [statistics.median(values)], "MB"),
        Figure("gateway: RSS, last", [values[-1]], "MB"),
        Figure("gateway: RSS slope (Theil-Sen)", [slope(hours, values)], "MB/h"),
    ]


def _wear(flash: Wear, before: Count, after: Count, disk: Disk) -> list[Figure]:
    took_s, rows = after.at_s - before.at_s, after.rows - before.rows
    by_process = (after.written - before.written) / took_s * DAY_S
    by_device = (after.device - before.device) / took_s * DAY_S
    figures = [Figure("a day, by the process", [by_process / 1e9], "GB/d")]
    if disk.device is not None:
        figures += [
            Figure(f"a day, on {disk.device} with journal and all its users", [by_device / 1e9], "GB/d"),
            Figure(f"on {disk.device} a stored value", [(after.device - before.device) / rows], "B/value"),
        ]
    for what, a_day in (("process", by_process), ("device", by_device)):
        for amplification in (flash.lowest, flash.highest):
            if what == "process" or disk.device is not None:
                name = f"flash lasts, from the bytes of the {what}, write amplification {amplification:g} (assumed)"
                figures.append(Figure(name, [flash.years(a_day, amplification)], "a"))
    return figures


def _formula(flash: Wear) -> str:
    return (
        "years = capacity × P/E cycles ÷ (bytes a day × write amplification) ÷ 365.25; ASSUMED, not measured: "
        f"{flash.capacity_gb:g} GB, {flash.cycles:g} cycles, amplification {flash.lowest:g} to {flash.highest:g} "
        "(--flash GB CYCLES LOWEST HIGHEST), ideal wear levelling, nothing else writes"
    )
