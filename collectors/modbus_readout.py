"""What is read together from Modbus devices: its requests, and the numbers and texts that their answers mean.

* A request that fails spoils exactly the tags behind it: every answer keeps its place, whatever happens to the others.
* A unit that is silent costs one request; its other tags of that reading are not asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from collectors.modbus_bus import Bus, Silent
from collectors.modbus_frame import Ask
from collectors.registers import FUNCTION, Block, Decoder, Limits, Point, learn, plan
from collectors.turns import Seat
from pipeline import metrics
from pipeline.errors import Unavailable
from pipeline.model import Codes, Floats, Quality
from pipeline.plant import Tag

_CONFIGURATION: Final = frozenset({1, 2, 3})
"""Exceptions that say the machine file is wrong: illegal function, illegal address, illegal value."""


@dataclass(frozen=True, slots=True)
class Got:
    """The data of one block, or the quality its tags get instead."""

    data: bytes
    quality: Quality = Quality.GOOD
    refused: bool = False


class Lane:
    """A machine's way to the devices on its line."""

    def __init__(self, bus: Bus, seat: Seat, unit: int, asset: str) -> None:
        self.bus, self.seat, self._unit = bus, seat, unit
        outcomes = [metrics.requests.labels(asset, name) for name in ("answered", "refused", "wrong", "silent")]
        self._answered, self._refused, self._wrong, self._silent = outcomes

    def unit_of(self, block: Block) -> int:
        """Whom a block asks."""
        return self._unit if block.unit is None else block.unit

    def asking(self, block: Block) -> Ask:
        """The request of a block."""
        return Ask(self.unit_of(block), FUNCTION[block.table], block.start, block.count)

    async def ask(self, block: Block, ask: Ask) -> Got:
        """What came of one request.

        Raises:
            Silent: the unit said nothing.
            Unavailable: the line is gone.
        """
        try:
            answer = await self.bus.ask(self.seat, ask)
        except Unavailable:
            self._silent.inc()
            raise
        if answer.wrong:
            self._wrong.inc()
            return Got(bytes(block.nbytes), Quality.BAD_COMMUNICATION_ERROR)
        if answer.exception:
            self._refused.inc()
            wrong = answer.exception in _CONFIGURATION
            quality = Quality.BAD_CONFIGURATION_ERROR if wrong else Quality.BAD_COMMUNICATION_ERROR
            return Got(bytes(block.nbytes), quality, refused=wrong)
        self._answered.inc()
        return Got(answer.data)


@dataclass(frozen=True, slots=True)
class Said:
    """One reading.

    Attributes:
        raw: (tags,) numbers before scale and offset, of all tags of the machine; those not read together are 0.
        quality: (tags,) likewise.
        texts: index and text of the strings that could be read.
        silent: units that gave no answer.
        answered: units that gave one.
        lost: why the line is gone, None while it is there.
        whole: every request was answered as asked, or refused as the machine file deserves.
    """

    raw: Floats
    quality: Codes
    texts: tuple[tuple[int, str], ...]
    silent: frozenset[int]
    answered: frozenset[int]
    lost: Unavailable | None
    whole: bool


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
        self.has_words = bool(self.meanings) or any(point.type == "string" for point in points)
        """Whether it tells anything beside numbers."""
        integers = self._decoder.integers()
        pairs: list[tuple[int, int]] = []
        for point in points:
            own = tags[point.tag].sentinels
            known = own if own is not None else sentinels if integers[point.tag] else ()
            pairs.extend((point.tag, said) for said in known)
        self._sentinel_tag = np.array([tag for tag, _ in pairs], np.intp)
        self._sentinel = np.array([said for _, said in pairs], np.float64)

    def _use(self, blocks: list[Block]) -> None:
        self.blocks = blocks
        self._trying = any(block.stage == 1 for block in blocks)
        self._asks = [self.lane.asking(block) for block in blocks]
        self._decoder = Decoder(blocks, len(self._tags))
        self._behind = [np.array([point.tag for point in block.points], np.intp) for block in blocks]

    def first_of(self, unit: int) -> Ask:
        """The request that finds out whether a unit answers: the first of its own."""
        return next(ask for ask in self._asks if ask.unit == unit)

    async def read(self) -> Said:
        """One reading, block by block; never raises for a device that is away."""
        data: list[bytes] = []
        quality = np.zeros(len(self._tags), np.uint32)
        refused: list[Block] = []
        silent: set[int] = set()
        answered: set[int] = set()
        lost: Unavailable | None = None
        whole = True
        for block, ask, behind in zip(self.blocks, self._asks, self._behind, strict=True):
            got = None
            if lost is None and ask.unit not in silent:
                try:
                    got = await self.lane.ask(block, ask)
                    answered.add(ask.unit)
                except Silent as error:
                    silent.add(ask.unit)
                    self.last_silence = error
                except Unavailable as error:
                    lost = error
            if got is None:
                got = Got(bytes(block.nbytes), Quality.BAD_NO_COMMUNICATION)
            data.append(got.data)
            if got.quality:
                quality[behind] = got.quality
                whole = whole and got.refused
            if got.refused:
                refused.append(block)
        joined = data[0] if len(data) == 1 else b"".join(data)
        raw = self._decoder.decode(joined)
        if len(self._sentinel):
            missing = self._sentinel_tag[raw[self._sentinel_tag] == self._sentinel]
            quality[missing[quality[missing] == 0]] = Quality.BAD_SENSOR_FAILURE
        texts = self._told(joined, quality) if self._decoder.has_texts else ()
        self._learn(frozenset(refused))
        return Said(raw, quality, texts, frozenset(silent), frozenset(answered), lost, whole)

    def _told(self, data: bytes, quality: Codes) -> tuple[tuple[int, str], ...]:
        """The strings that were read and are texts; the others are counted."""
        texts = [(tag, text) for tag, text in self._decoder.texts(data) if not quality[tag]]
        metrics.bad_data.labels("modbus", "text").inc(sum(text is None for _, text in texts))
        return tuple((tag, text) for tag, text in texts if text is not None)

    def _learn(self, refused: frozenset[Block]) -> None:
        if refused or self._trying:
            better = learn(self.blocks, refused, self._limits)
            if better is not None:
                self._use(better)
