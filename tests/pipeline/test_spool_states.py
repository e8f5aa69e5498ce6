"""A spool is a plain list with numbers, whatever is done to it in whatever order."""

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pipeline import wire
from pipeline.reserve import FILE as RESERVE
from pipeline.spool import Spool
from pipeline.spool_file import FILE, LEAP
from tests.support.spine import T0_NS, batch, spool_settings, values_of


class SpoolMachine(RuleBasedStateMachine):
    """The spool, and beside it the list that it ought to be."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.home = Path(tempfile.mkdtemp(prefix="rootdx-states-"))
        self.lives = 0
        self.records: list[tuple[int, list[float]]] = []
        self.gone = 0  # highest number that need not be held any more
        self.keep_mb = 0.0
        self.notes: dict[str, str] = {}
        self.ever = 0  # highest number ever given away
        self.released = 0
        self.next_value = 0.0
        self.spool: Spool | None = None

    @initialize(keep_mb=st.sampled_from([0.0, 0.0006, 1.0]))
    def starts(self, keep_mb: float) -> None:
        self.keep_mb = keep_mb
        self.folder = self.home / "0"
        self._open()

    def _open(self) -> None:
        self.spool = Spool(spool_settings(self.folder, group_s=0.001, keep_mb=self.keep_mb), "gw-1", lambda: T0_NS)
        self.runner.run(self.spool.__aenter__())

    def _leave(self) -> None:
        assert self.spool is not None
        self.runner.run(self.spool.__aexit__(None, None, None))
        self.spool = None

    @property
    def one(self) -> Spool:
        assert self.spool is not None
        return self.spool

    @rule(rows=st.lists(st.integers(0, 3), min_size=1, max_size=3), note=st.sampled_from("abc"))
    def appends_a_group(self, rows: list[int], note: str) -> None:
        groups = []
        for n in rows:
            groups.append([self.next_value + i for i in range(n)])
            self.next_value += n
        notes = {note: str(self.next_value)}

        async def work() -> list[int]:
            bodies = [[batch(int(values[0]), len(values))] if values else [] for values in groups]
            return await asyncio.gather(*(self.one.append(held, notes) for held in bodies))

        for seq, values in zip(self.runner.run(work()), groups, strict=True):
            assert seq >= self.ever
            if not self.records or self.records[-1][0] != seq:
                assert seq > self.ever
                self.records.append((seq, []))
            self.records[-1][1].extend(values)
            self.ever = seq
        self.notes |= notes

    @rule(share=st.floats(0, 1))
    def releases(self, share: float) -> None:
        if self.records:
            last = self.records[int(share * (len(self.records) - 1))][0]
            self.runner.run(self.one.release(last))
            self.released = max(self.released, last)
            self._forgets()

    def _forgets(self) -> None:
        """Takes over what the spool has forgotten, which must be the eldest and committed, and not more than needed."""
        frames = self.runner.run(self.one.read(0, 1 << 30))
        eldest = frames[0].seq if frames else self.ever + 1
        gone = [held for held in self.records if held[0] < eldest]
        kept = sum(len(frame.payload) for frame in frames if frame.seq <= self.released)
        assert all(seq <= self.released for seq, _ in gone)
        assert kept <= self.keep_mb * 1e6
        assert not gone or self.keep_mb < 1
        self.records = [held for held in self.records if held[0] >= eldest]
        self.gone = max([self.gone, *(seq for seq, _ in gone)])

    @rule(share=st.floats(0, 1))
    def is_taken_back(self, share: float) -> None:
        numbers = [0, *(seq for seq, _ in self.records if seq <= self.released)]
        last = numbers[int(share * (len(numbers) - 1))]
        gone = self.runner.run(self.one.take_back(last))
        if last < self.released:
            assert gone == max(last, self.gone)
            self.released = last

    @rule()
    def stops_and_starts(self) -> None:
        self._leave()
        self._open()
        assert self.one.head == self.ever

    @rule()
    def loses_power(self) -> None:
        self.lives += 1
        copy = self.home / str(self.lives)
        copy.mkdir()
        for file in self.folder.iterdir():
            if file.name not in {RESERVE, FILE + "-shm"}:
                shutil.copy(file, copy)
        epoch = self.one.epoch
        self._leave()
        self.folder = copy
        self._open()
        assert self.one.epoch == epoch
        assert self.one.head >= self.ever + LEAP
        self.ever = self.one.head

    @rule(start=st.floats(0, 1), most=st.integers(1, 2_000))
    def reads_from_anywhere(self, start: float, most: int) -> None:
        seqs = [self.released, *(seq for seq, _ in self.records)]
        after = seqs[int(start * (len(seqs) - 1))]
        frames = self.runner.run(self.one.read(after, most))
        due = [held for held in self.records if held[0] > after]
        assert [frame.seq for frame in frames] == [seq for seq, _ in due[: len(frames)]]
        assert bool(frames) == bool(due)
        previous: Any = after
        for frame in frames:
            assert frame.previous == previous
            previous = frame.seq

    @invariant()
    def holds_what_the_list_holds(self) -> None:
        if self.spool is None:
            return
        frames = self.runner.run(self.one.read(0, 1 << 30))
        assert [(frame.seq, values_of([wire.record(frame)])) for frame in frames] == self.records
        pending = [frame for frame in frames if frame.seq > self.released]
        assert (self.one.pending(), self.one.released) == (len(pending), self.released)
        assert self.one.size() == sum(len(frame.payload) for frame in pending)

    @rule()
    def remembers_its_notes(self) -> None:
        self._leave()
        self._open()
        assert dict(self.one.notes) == self.notes

    def teardown(self) -> None:
        if self.spool is not None:
            self._leave()
        self.runner.close()
        shutil.rmtree(self.home)


TestSpoolStates = SpoolMachine.TestCase
TestSpoolStates.settings = settings(
    max_examples=20, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
