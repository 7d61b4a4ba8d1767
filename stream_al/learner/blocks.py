"""Blocks of exploration, in the order of the stream: how each ended, and how it counts."""

from __future__ import annotations

from collections import deque

import msgspec

from stream_al.records import Block, Tally
from stream_al.training import Ended, Labelled

__all__ = ["Counted", "Part", "Point", "Sums", "Term"]

_WINDOW = 200
"""Blocks of each partition that are kept for what looks back."""

_REMEMBERED = 20_000
"""Requests of each partition whose answer may still be revised, retracted or come late."""


class Counted(msgspec.Struct, frozen=True, gc=False):
    """A request that counts from now on, or, with a `sign` of -1, no longer does as it did.

    Attributes
    ----------
    ended
        What does not change: the event and its decision.
    label
        The answer that counts; None without one.
    """

    ended: Ended
    label: str | None
    sign: int = 1

    @staticmethod
    def of(ended: Ended) -> Counted:
        """Count a request as it ended."""
        return Counted(ended, ended.label if isinstance(ended, Labelled) else None)


class Term(msgspec.Struct, frozen=True, gc=False):
    """An explored event: what its answer, if it has one, adds to the model's own confidence.

    `value` is L (c - m): L events to a block, c whether the prediction was right, m its calibrated
    confidence; None without an answer. It lies at most `below` under 0 and `above` over 0.
    """

    value: float | None
    below: float
    above: float
    least: float
    most: float


class Sums:
    """Sums over explored events."""

    def __init__(self) -> None:
        self.sum = 0.0
        self.answered = self.unanswered = 0
        # What requests without an answer would add to `sum` at least and at most.
        self.least = self.most = 0.0
        # Sums of squares by reach, for limits from below and from above.
        self.below: dict[float, float] = {}
        self.above: dict[float, float] = {}

    def add(self, term: Term, sign: int = 1) -> None:
        """Take in a term, or take it out again."""
        if term.value is None:
            self.unanswered += sign
            self.least += sign * term.least
            self.most += sign * term.most
            return
        self.answered += sign
        self.sum += sign * term.value
        square = sign * term.value**2
        self.below[term.below] = self.below.get(term.below, 0.0) + square
        self.above[term.above] = self.above.get(term.above, 0.0) + square


class _Answer(msgspec.Struct, frozen=True, gc=False):
    """How a request that counts has ended: its block, its answer, its term if explored."""

    block: int
    label: str | None
    term: Term | None
    right: bool | None


class Point(msgspec.Struct, gc=False):
    """A block: where it began, the running sums before it, and what it held.

    `explored` says whether its explored event had a prediction, and so counts.
    """

    number: int
    offset: int
    events: int
    confidence: float
    explored: bool = False
    term: Term | None = None
    labelled: int = 0
    right: int = 0

    def add(self, answer: _Answer, sign: int = 1) -> None:
        """Take in how a request ended, or take it out again."""
        if answer.term is not None:
            self.explored = sign > 0
            self.term = answer.term if sign > 0 else None
        if answer.right is not None:
            self.labelled += sign
            self.right += sign * answer.right


class Part:
    """What is known of one input partition, in the order of its requests.

    Attributes
    ----------
    offset, tally
        The watermark, and the running sums of all events below it.
    epoch_tally
        The running sums where the epoch begins; None while the watermark is below it.
    recent
        The last blocks below the watermark.
    """

    def __init__(self) -> None:
        self.offset = 0
        self.tally = Tally()
        self.epoch_tally: Tally | None = Tally()
        self._next_no = self._block = self._epoch = 0
        self._newest = -1
        self.recent: deque[Point] = deque(maxlen=_WINDOW)
        self._early: dict[int, Ended] = {}
        self._open: dict[int, Ended] = {}
        self._counted: dict[int, _Answer] = {}

    def begin_epoch(self) -> None:
        """Begin an epoch with the first block of which no request has ended yet."""
        # Of the others some answers are known, and may be why an epoch begins.
        self._epoch, self.epoch_tally = self._newest + 1, None

    def take(self, ended: Ended, sums: Sums, epoch: Sums) -> list[Counted]:
        """Take note of how a request ended; what follows counts in the sums and is returned."""
        number = ended.request_no
        complete: list[Counted] = []
        if ended.block is not None and ended.block.number > self._newest:
            self._newest = ended.block.number
        if number < self._next_no:
            if number in self._open:
                self._open[number] = ended
            elif ended.block is not None:
                return self._restate(number, ended, _answer(ended, ended.block), sums, epoch)
            return complete
        self._early[number] = ended
        while (following := self._early.pop(self._next_no, None)) is not None:
            block = following.block
            if block is not None:
                if block.number != self._block:
                    # It stands in a later block, so the one before is complete.
                    complete += self._complete(sums, epoch)
                    self._block, self.offset, self.tally = block.number, block.begin, block.before
                if self.epoch_tally is None and block.number >= self._epoch:
                    self.epoch_tally = block.before
                self._open[self._next_no] = following
            self._next_no += 1
        return complete

    def _complete(self, sums: Sums, epoch: Sums) -> list[Counted]:
        tally = self.tally
        point = Point(self._block, self.offset, tally.events, tally.confidence)
        complete = []
        for number, ended in self._open.items():
            if ended.block is None:
                continue
            answer = _answer(ended, ended.block)
            if answer.term is not None:
                sums.add(answer.term)
                if answer.block >= self._epoch:
                    epoch.add(answer.term)
            point.add(answer)
            complete.append(Counted.of(ended))
            self._counted[number] = answer
            if len(self._counted) > _REMEMBERED:
                del self._counted[next(iter(self._counted))]
        self._open.clear()
        self.recent.append(point)
        return complete

    def _restate(
        self, number: int, ended: Ended, answer: _Answer, sums: Sums, epoch: Sums
    ) -> list[Counted]:
        """Count a request otherwise that has counted; what is long ago stays as it is."""
        before = self._counted.get(number)
        if before is None:
            return []
        self._counted[number] = answer
        for each, sign in ((before, -1), (answer, 1)):
            if each.term is not None:
                sums.add(each.term, sign)
                if each.block >= self._epoch:
                    epoch.add(each.term, sign)
            for point in self.recent:
                if point.number == each.block:
                    point.add(each, sign)
        return [Counted(ended, before.label, -1), Counted.of(ended)]


def _answer(ended: Ended, block: Block) -> _Answer:
    """Say how an event counts; one before the first prediction does not."""
    label = Counted.of(ended).label
    if ended.prediction is None:
        return _Answer(block.number, label, None, None)
    right = None if label is None else label == ended.prediction
    if not ended.explored:
        return _Answer(block.number, label, None, right)
    length, confidence = float(block.length), ended.probabilities[ended.prediction]
    term = Term(
        value=None if right is None else length * (right - confidence),
        below=length,
        above=length * (1.0 - 1.0 / max(2, len(ended.probabilities))),
        least=-length * confidence,
        most=length * (1.0 - confidence),
    )
    return _Answer(block.number, label, term, right)
