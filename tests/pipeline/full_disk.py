"""What a spool does on a disk that is full. Run by test_spool.py on a small disk of its own; speaks by assertions.

python -m tests.pipeline.full_disk CASE
"""

import asyncio
import contextlib
import sqlite3
import sys

from pipeline import wire
from pipeline.errors import SpoolFull
from pipeline.model import Record
from pipeline.reserve import FILE as RESERVE
from pipeline.spool import Spool
from pipeline.spool_file import FILE
from tests.pipeline.test_spool import accounts, appended, copied, held, losses_of, spool
from tests.support.disk import PLACE, fill

FOLDER = PLACE / "spool"


def looked_at(one: Spool) -> list[Record]:
    """What lies there, not marked as sent: as a person would look at it."""
    with contextlib.closing(sqlite3.connect(f"file:{FOLDER / FILE}?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT seq, payload FROM record ORDER BY seq").fetchall()
    return [Record("gw-1", one.epoch, seq, 0, 0, wire.unpack(payload)) for seq, payload in rows]


async def drops_and_goes_on() -> None:
    """The reserve is given up, the oldest rows are dropped and told; with room again the reserve is made again."""
    async with spool(FOLDER, keep_mb=0) as one:
        assert (FOLDER / RESERVE).exists()
        await appended(one, range(50))
        filler = fill(PLACE)
        done = 50
        while not losses_of(looked_at(one)):
            assert done < 3_000
            await appended(one, [done])
            done += 1
        for _ in range(200):  # and on, for as long as it takes
            await appended(one, [done])
            done += 1
        assert not (FOLDER / RESERVE).exists()
        there, dropped, expected, events = accounts(looked_at(one))
        assert there + dropped == expected == 500 * done, (there, dropped, expected, done)
        assert events == done
        assert dropped > 0
        filler.unlink()
        await one.release(one.head)
        await appended(one, [done])
        assert (FOLDER / RESERVE).exists()
        assert accounts(looked_at(one)) == (500, 0, 500, 1)


async def keeps_what_was_acknowledged() -> None:
    """Power fails while the disk is full: what was acknowledged is there, or told as dropped."""
    async with spool(FOLDER) as one:
        await appended(one, range(50))
        filler = fill(PLACE)
        done = 50
        while not losses_of(looked_at(one)):
            await appended(one, [done])
            done += 1
        filler.unlink()
        copy = copied(FOLDER, PLACE / "copy")
    async with spool(copy) as again:
        there, dropped, expected, events = accounts(await held(again))
    assert there + dropped == expected == 500 * done
    assert events == done


async def drains() -> None:
    """A spool hands over and forgets although the disk is full."""
    async with spool(FOLDER) as one:
        await appended(one, range(300))
        fill(PLACE)
        sent = 0
        while frames := await one.read(sent, 50_000):
            sent = frames[-1].seq
            await one.release(sent)
        assert (one.pending(), one.released) == (0, 300)
        await appended(one, range(300, 600))
        assert one.pending() == 300


async def forgets_first() -> None:
    """What is kept though it is committed makes room before anything is dropped."""
    async with spool(FOLDER) as one:
        await appended(one, range(300))
        await one.release(one.head)
        kept = len(looked_at(one))
        assert kept == 300
        fill(PLACE)
        await appended(one, range(300, 500))
        assert len(looked_at(one)) - 200 < kept
        there, dropped, expected, _ = accounts([held for held in looked_at(one) if held.seq > 300])
        assert (there, dropped, expected) == (500 * 200, 0, 500 * 200)


async def starts() -> None:
    """A gateway that comes back on a full disk starts, with all it had."""
    async with spool(FOLDER) as one:
        await appended(one, range(100))
        copy = copied(FOLDER, PLACE / "copy")
    (copy / RESERVE).write_bytes(bytes(5 << 20))
    fill(PLACE)
    async with spool(copy) as again:
        assert accounts(await held(again)) == (50_000, 0, 50_000, 100)
        await appended(again, range(100, 110))


async def says_so() -> None:
    """Where everything may have been sent already, nothing is dropped: the append is refused, the next one may work."""
    async with spool(FOLDER) as one:
        await appended(one, range(20))
        await one.read(0, 10_000_000)
        filler = fill(PLACE)
        refused = 20
        for number in range(20, 3_000):
            with contextlib.suppress(SpoolFull):
                await appended(one, [number])
                refused = number + 1
            if refused != number + 1:
                break
            await one.read(one.head - 1, 10_000_000)
        assert refused < 3_000
        filler.unlink()
        await appended(one, [refused])
        assert accounts(looked_at(one)) == (500 * (refused + 1), 0, 500 * (refused + 1), refused + 1)


CASES = {
    one.__name__: one
    for one in (drops_and_goes_on, keeps_what_was_acknowledged, drains, forgets_first, starts, says_so)
}

if __name__ == "__main__":
    asyncio.run(CASES[sys.argv[1]]())
