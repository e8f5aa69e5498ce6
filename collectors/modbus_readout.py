"""What is read together from Modbus devices: its requests, and the numbers and texts that their answers mean.

* Reading only keeps what was said; what it means is found for many readings at once, when somebody wants to know.
* A request that fails spoils exactly the tags behind it: every answer keeps its place, whatever happens to the others.
* A unit that is silent costs one request; its other tags of that reading are not asked for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from collectors.modbus_bus import Bus, Silent
from collectors.modbus_frame import Answer, Ask
from collectors.modbus_run import Run
from collectors.registers import FUNCTION, Block, Decoder, Limits, Point, learn, plan
from collectors.turns import Seat
from pipeline import metrics
from pipeline.errors import Unavailable
from pipeline.model import Codes, Floats, Quality
from pipeline.plant import Tag

_CONFIGURATION: Final = frozenset({1, 2, 3})
"""Exceptions that say the machine file is wrong: illegal function, illegal address, illegal value."""


class Lane:
    """A machine's way to the devices on its line."""

    def __init__(self, bus: Bus, seat: Seat, unit: int, asset: str) -> None:
        self.bus, self.seat, self._unit = bus, seat, unit
        outcomes = [metrics.requests.labels(asset, name) for name in ("answered", "refused", "wrong", "silent")]
        self._answered, self._refused, self._wrong, self._silent = outcomes
        self.answered = 0
        """Answers since `tell`."""

    def unit_of(self, block: Block) -> int:
        """Whom a block asks."""
        return self._unit if block.unit is None else block.unit

    def asking(self, block: Block) -> Ask:
        """The request of a block."""
        return Ask(self.unit_of(block), FUNCTION[block.table], block.start, block.count)

    def judged(self, answer: Answer) -> Quality:
        """What an answer without data makes of its tags; counts it."""
        if answer.wrong:
            self._wrong.inc()
            return Quality.BAD_COMMUNICATION_ERROR
        self._refused.inc()
        wrong = answer.exception in _CONFIGURATION
        return Quality.BAD_CONFIGURATION_ERROR if wrong else Quality.BAD_COMMUNICATION_ERROR

    def unanswered(self, error: Unavailable | None) -> None:
        """Counts a request in vain; None: one that was not even sent."""
        if error is not None:
            self._silent.inc()

    def tell(self) -> None:
        """Counts the answers since it was last called."""
        if self.answered:
            self._answered.inc(self.answered)
            self.answered = 0


_NONE: Final[frozenset[int]] = frozenset()
_Trouble = tuple[int, Answer | Unavailable | None]
"""A request without data, by its place in the reading; None: it was not even sent."""


@dataclass(slots=True)
class Said:
    """One reading as it came.

    Attributes:
        data: of all blocks, in plan order; zeros stand for one that did not answer.
        decoder: that knows what they mean; readings with the same one can be decoded together.
        answered: units that gave an answer.
        spoilt: the qualities (tags,) where one is not good, None: all are.
        silent: units that gave none.
        lost: why the line is gone, None while it is there.
        whole: every request was answered as asked, or refused as the machine file deserves.
        numbers: what `Readout.numbers_in` found in it.
        readings: how many it is, one behind the other; several were all answered as asked.
    """

    data: bytes
    decoder: Decoder
    answered: frozenset[int]
    spoilt: Codes | None = None
    silent: frozenset[int] = _NONE
    lost: Unavailable | None = None
    whole: bool = True
    numbers: tuple[Floats, Codes] | None = None
    readings: int = 1


class Readout:
    """The requests of some tags of a machine.

    Args:
        tags: all tags of the machine.
        points: where those lie that are read together.
        limits: of one request.
        lane: to the devices.
        sentinels: raw integers that mean "no sensor", for tags that name none of their own.
    """

    def __init__(
        self, tags: Sequence[Tag], points: Sequence[Point], limits: Limits, lane: Lane, sentinels: Sequence[int]
    ) -> None:
        self.lane = lane
        self.last_silence: Silent | None = None
        self._tags, self._limits = tags, limits
        self._use(plan(points, limits))
        self.numbers = np.array(sorted(point.tag for point in points if point.type != "string"), np.intp)
        """(n,) indices of the tags that bring rows, in file order."""
        self.tag = self.numbers.astype(np.uint16)
        """The same, as a batch wants them."""
        self.tag.flags.writeable = False
        self.which: slice | npt.NDArray[np.intp] = slice(None) if len(self.tag) == len(tags) else self.numbers
        """The same, as cheap to index with as can be."""
        self.units = frozenset(lane.unit_of(block) for block in self.blocks)
        self.meanings = tuple((point.tag, tags[point.tag].values) for point in points if tags[point.tag].values)
        """Index of a tag and what its numbers mean."""
        self.has_texts = any(point.type == "string" for point in points)
        """Whether it tells strings."""
        self.has_words = self.has_texts or bool(self.meanings)
        """Whether it tells anything beside numbers."""
        integers = self.decoder.integers()
        pairs: list[tuple[int, int]] = []
        for point in points:
            own = tags[point.tag].sentinels
            known = own if own is not None else sentinels if integers[point.tag] else ()
            pairs.extend((point.tag, said) for said in known)
        self._sentinel_tag = np.array([tag for tag, _ in pairs], np.intp)
        self._sentinel = np.array([said for _, said in pairs], np.float64)

    @property
    def requests(self) -> int:
        """Of one reading."""
        return len(self._asks)

    def _use(self, blocks: list[Block]) -> None:
        self.blocks = blocks
        self._trying = any(block.stage == 1 for block in blocks)
        self._asks = [self.lane.asking(block) for block in blocks]
        self.decoder = Decoder(blocks, len(self._tags))
        self._behind = [np.array([point.tag for point in block.points], np.intp) for block in blocks]

    def first_of(self, unit: int) -> Ask:
        """The request that finds out whether a unit answers: the first of its own."""
        return next(ask for ask in self._asks if ask.unit == unit)

    async def read(self) -> Said:
        """One reading, block by block; never raises for a device that is away."""
        whole = list[bytes]()
        said = await self.read_on(whole.append)
        if said is not None:
            return said
        self.lane.answered += len(self._asks)
        return Said(whole[0], self.decoder, self.units)

    async def read_on(self, take: Callable[[bytes], bool | None]) -> Said | None:
        """Readings back to back, while they are whole, `take` gets them and wants more, and the line is ours alone.

        Returns:
            The first one that is not whole, or that was not read so; None: `take` has it, as all before. The answers
            of what `take` has are for it to count.
        """
        if self._trying or not self.lane.bus.may_run(self.units):
            return await self._read([], None)
        run = Run(self._asks, take)
        first: Answer | Unavailable | None
        try:
            first = await self.lane.bus.run(self.lane.seat, run)
        except Unavailable as error:
            first = error
        return None if run.over else await self._read(run.data, first)

    async def _asked(self, ask: Ask) -> Answer | Unavailable:
        try:
            return await self.lane.bus.ask(self.lane.seat, ask)
        except Unavailable as error:
            return error

    async def _read(self, data: list[bytes], first: Answer | Unavailable | None) -> Said:
        """The rest of a reading: the data of its first requests are there, and what came of the next one."""
        troubles: list[_Trouble] = []
        silent: frozenset[int] = _NONE
        lost: Unavailable | None = None
        asks = self._asks
        for at in range(len(data), len(asks)):
            found: Answer | Unavailable | None = None
            if first is not None:
                found, first = first, None
            elif lost is None and asks[at].unit not in silent:
                found = await self._asked(asks[at])
            if isinstance(found, Answer) and found.data:
                data.append(found.data)
                continue
            if isinstance(found, Silent):
                silent |= {asks[at].unit}
                self.last_silence = found
            elif isinstance(found, Unavailable):
                lost = found
            data.append(bytes(asks[at].nbytes))
            troubles.append((at, found))
        self.lane.answered += len(asks) - len(troubles)
        said = Said(b"".join(data), self.decoder, self.units)
        refused: frozenset[Block] = frozenset()
        if troubles:
            said.silent, said.lost = silent, lost
            refused = self._spoil(said, troubles)
        if refused or self._trying:
            self._learn(refused)
        return said

    def _spoil(self, said: Said, troubles: Sequence[_Trouble]) -> frozenset[Block]:
        """Gives the tags behind each block its quality; the blocks that the device refused for good."""
        said.spoilt = np.zeros(len(self._tags), np.uint32)
        refused: list[Block] = []
        mute: set[int] = set()
        for at, trouble in troubles:
            quality = Quality.BAD_NO_COMMUNICATION
            if isinstance(trouble, Answer):
                quality = self.lane.judged(trouble)
            else:
                mute.add(at)
                self.lane.unanswered(trouble)
            said.spoilt[self._behind[at]] = quality
            if quality == Quality.BAD_CONFIGURATION_ERROR:
                refused.append(self.blocks[at])
        said.whole = len(refused) == len(troubles)
        said.answered = frozenset(ask.unit for at, ask in enumerate(self._asks) if at not in mute)
        return frozenset(refused)

    def numbers_in(self, said: Said) -> tuple[Floats, Codes]:
        """Raw numbers and qualities (tags,) of one reading, found once."""
        if said.numbers is None:
            raw, quality = self.numbers_of([said])
            said.numbers = raw[0], quality[0]
        return said.numbers

    def numbers_of(self, said: Sequence[Said]) -> tuple[Floats, Codes]:
        """Raw numbers and qualities (readings, tags) of readings with one decoder; of tags not read together 0."""
        data = said[0].data if len(said) == 1 else b"".join([one.data for one in said])
        raw = said[0].decoder.decode_all(data, sum(one.readings for one in said))
        quality, at = np.zeros(raw.shape, np.uint32), 0
        for one in said:
            if one.spoilt is not None:
                quality[at] = one.spoilt
            at += one.readings
        if len(self._sentinel):
            reading, which = np.nonzero(raw[:, self._sentinel_tag] == self._sentinel)
            tag = self._sentinel_tag[which]
            new = quality[reading, tag] == 0
            quality[reading[new], tag[new]] = Quality.BAD_SENSOR_FAILURE
        return raw, quality

    def texts_of(self, said: Said) -> tuple[tuple[int, str], ...]:
        """Index and text of the strings that could be read; what is no text is counted."""
        spoilt = said.spoilt
        texts = [(tag, text) for tag, text in said.decoder.texts(said.data) if spoilt is None or not spoilt[tag]]
        metrics.bad_data.labels("modbus", "text").inc(sum(text is None for _, text in texts))
        return tuple((tag, text) for tag, text in texts if text is not None)

    def _learn(self, refused: frozenset[Block]) -> None:
        better = learn(self.blocks, refused, self._limits)
        if better is not None:
            self._use(better)
