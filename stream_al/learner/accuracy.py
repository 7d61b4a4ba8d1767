"""Accuracy of all predictions, from the labels of the few events that were explored."""

from __future__ import annotations

import math
from collections import deque

import msgspec

from stream_al.learner.interval import radius
from stream_al.records import Block, Tally
from stream_al.training import Ended, Labelled

__all__ = ["Accuracy", "Counted", "Estimate", "Rolling"]

_WINDOW = 200
"""Blocks of each partition that the rolling estimate looks back."""

_REMEMBERED = 20_000
"""Requests of each partition whose answer may still be revised, retracted or come late."""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """Accuracy up to the watermark.

    Attributes
    ----------
    value
        Estimated share of predictions that agree with the answer there is or would be, in [0, 1];
        None before the first explored event was answered.
    lower, upper
        Limits that hold at all times at once with the probability asked for.
    worst, best
        Limits of `value` if every explored event without an answer had been predicted wrong, or
        right (Manski).
    events, unpredicted
        Predictions up to the watermark; events before the first prediction, which do not count.
    blocks, unanswered
        Blocks of exploration up to the watermark; those among them whose request was closed.
    watermark
        By ``topic:partition``: all requests below this offset have ended.
    """

    value: float | None
    lower: float
    upper: float
    worst: float
    best: float
    events: int
    unpredicted: int
    blocks: int
    unanswered: int
    watermark: dict[str, int]


class Rolling(msgspec.Struct, frozen=True, kw_only=True):
    """Accuracy of the last blocks before the watermark.

    Attributes
    ----------
    value, lower, upper
        As of `Estimate`, but the limits hold for one window looked at, not for all at once; None
        with fewer than two answers.
    naive
        Share of right predictions among all labelled events of the window, picked ones included:
        what one would see without any correction, and mostly hard events.
    events
        Predictions in the window.
    begin
        By ``topic:partition``, the offset that the window begins with.
    """

    value: float | None
    lower: float | None
    upper: float | None
    naive: float | None
    events: int
    begin: dict[str, int]


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


class _Term(msgspec.Struct, frozen=True, gc=False):
    """An explored event: what its answer, if it has one, adds to the model's own confidence.

    `value` is L (c - m): L events to a block, c whether the prediction was right, m its calibrated
    confidence; None without an answer. It lies at most `below` under 0 and `above` over 0.
    """

    value: float | None
    below: float
    above: float
    least: float
    most: float


class _Sums:
    """Sums over explored events."""

    def __init__(self) -> None:
        self.sum = 0.0
        self.answered = self.unanswered = 0
        # What requests without an answer would add to `sum` at least and at most.
        self.least = self.most = 0.0
        # Sums of squares by reach, for limits from below and from above.
        self.below: dict[float, float] = {}
        self.above: dict[float, float] = {}

    def add(self, term: _Term, sign: int = 1) -> None:
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
    term: _Term | None
    right: bool | None


class _Point(msgspec.Struct, gc=False):
    """A block: where it began, the running sums before it, and what it held.

    `explored` says whether its explored event had a prediction, and so counts.
    """

    number: int
    offset: int
    events: int
    confidence: float
    explored: bool = False
    term: float | None = None
    labelled: int = 0
    right: int = 0

    def add(self, answer: _Answer, sign: int = 1) -> None:
        """Take in how a request ended, or take it out again."""
        if answer.term is not None:
            self.explored = sign > 0
            self.term = answer.term.value if sign > 0 else None
        if answer.right is not None:
            self.labelled += sign
            self.right += sign * answer.right


class _Part:
    """What is known of one input partition, in the order of its requests."""

    def __init__(self) -> None:
        self.next_no = 0
        self.offset = self.block = 0
        self.tally = Tally()
        self.recent: deque[_Point] = deque(maxlen=_WINDOW)
        self._early: dict[int, Ended] = {}
        self._open: dict[int, Ended] = {}
        self._counted: dict[int, _Answer] = {}

    def take(self, ended: Ended, sums: _Sums) -> list[Counted]:
        number = ended.request_no
        complete: list[Counted] = []
        if number < self.next_no:
            if number in self._open:
                self._open[number] = ended
            elif ended.block is not None:
                return self._restate(number, ended, _answer(ended, ended.block), sums)
            return complete
        self._early[number] = ended
        while (following := self._early.pop(self.next_no, None)) is not None:
            block = following.block
            if block is not None:
                if block.number != self.block:
                    # It stands in a later block, so the one before is complete.
                    complete += self._complete(sums)
                    self.block, self.offset, self.tally = block.number, block.begin, block.before
                self._open[self.next_no] = following
            self.next_no += 1
        return complete

    def _complete(self, sums: _Sums) -> list[Counted]:
        tally = self.tally
        point = _Point(self.block, self.offset, tally.events, tally.confidence)
        complete = []
        for number, ended in self._open.items():
            if ended.block is None:
                continue
            answer = _answer(ended, ended.block)
            if answer.term is not None:
                sums.add(answer.term)
            point.add(answer)
            complete.append(Counted.of(ended))
            self._counted[number] = answer
            if len(self._counted) > _REMEMBERED:
                del self._counted[next(iter(self._counted))]
        self._open.clear()
        self.recent.append(point)
        return complete

    def _restate(self, number: int, ended: Ended, answer: _Answer, sums: _Sums) -> list[Counted]:
        """Count a request otherwise that has counted; what is long ago stays as it is."""
        before = self._counted.get(number)
        if before is None:
            return []
        self._counted[number] = answer
        for each, sign in ((before, -1), (answer, 1)):
            if each.term is not None:
                sums.add(each.term, sign)
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
    term = _Term(
        value=None if right is None else length * (right - confidence),
        below=length,
        above=length * (1.0 - 1.0 / max(2, len(ended.probabilities))),
        least=-length * confidence,
        most=length * (1.0 - confidence),
    )
    return _Answer(block.number, label, term, right)


class Accuracy:
    """Estimates the accuracy of all predictions from the training log alone.

    The explored event of each block is a uniform draw, whatever is asked beside it, so that

        (sum of m over all events + sum of L (c - m) over explored, answered ones) / events

    is unbiased for the share of right predictions, with m the calibrated confidence in the
    predicted class as of the decision, c whether the answer agrees, and L the block's length. The
    first sum comes with the records, of the second only explored events are random. Blocks count
    in the order of the stream and not of the answers, since some classes are answered sooner: up
    to the watermark, the last block's end of each partition up to which every request has ended.
    """

    def __init__(self) -> None:
        self._parts: dict[tuple[str, int], _Part] = {}
        self._sums = _Sums()

    def take(self, ended: Ended) -> list[Counted]:
        """Take note of how a request ended, or that it ended otherwise than was said before.

        Returns
        -------
        list of Counted
            The requests, in order, of the blocks that this makes complete; and where one ended
            otherwise that has counted, that it no longer counts as it did but as it does now.
        """
        place = ended.topic, ended.partition
        part = self._parts.get(place)
        if part is None:
            part = self._parts[place] = _Part()
        return part.take(ended, self._sums)

    @property
    def tallies(self) -> list[Tally]:
        """Of each partition, up to the watermark."""
        return [part.tally for part in self._parts.values()]

    @property
    def watermark(self) -> dict[str, int]:
        """By ``topic:partition``, the offset below which everything counts."""
        return {f"{topic}:{number}": part.offset for (topic, number), part in self._parts.items()}

    def estimate(self, alpha: float = 0.05) -> Estimate:
        """Estimate up to the watermark.

        Parameters
        ----------
        alpha
            Probability that the limits ever miss, in (0, 1).
        """
        terms = self._sums
        tallies = self.tallies
        events = sum(tally.events for tally in tallies)
        confident = sum(tally.confidence for tally in tallies)
        blocks = terms.answered + terms.unanswered
        value, lower, upper, worst, best = None, 0.0, 1.0, 0.0, 1.0
        if terms.answered > 0 and events:
            scale = blocks / terms.answered
            value = _share(confident + scale * terms.sum, events)
            below = radius(terms.below, next(iter(terms.below)), alpha / 2)
            above = radius(terms.above, next(iter(terms.above)), alpha / 2)
            lower = _share(confident + scale * (terms.sum - below), events)
            upper = _share(confident + scale * (terms.sum + above), events)
            worst = _share(confident + terms.sum + terms.least, events)
            best = _share(confident + terms.sum + terms.most, events)
        return Estimate(
            value=value,
            lower=lower,
            upper=upper,
            worst=worst,
            best=best,
            events=events,
            unpredicted=sum(tally.unpredicted for tally in tallies),
            blocks=blocks,
            unanswered=terms.unanswered,
            watermark=self.watermark,
        )

    def rolling(self, z: float = 1.96) -> Rolling:
        """Estimate over the last blocks of each partition before the watermark.

        Parameters
        ----------
        z
            How many standard errors the limits are apart from the value.
        """
        events = labelled = right = 0
        confident = 0.0
        terms: list[float] = []
        blocks = 0
        begin: dict[str, int] = {}
        for (topic, number), part in self._parts.items():
            if not part.recent:
                continue
            first = part.recent[0]
            begin[f"{topic}:{number}"] = first.offset
            events += part.tally.events - first.events
            confident += part.tally.confidence - first.confidence
            blocks += sum(point.explored for point in part.recent)
            terms += [point.term for point in part.recent if point.term is not None]
            labelled += sum(point.labelled for point in part.recent)
            right += sum(point.right for point in part.recent)
        value = lower = upper = None
        if len(terms) > 1 and events:
            scale = blocks / len(terms)
            mean = sum(terms) / len(terms)
            squares = sum((term - mean) ** 2 for term in terms) / (len(terms) - 1)
            error = z * scale * math.sqrt(squares * len(terms))
            total = confident + scale * mean * len(terms)
            value = _share(total, events)
            lower, upper = _share(total - error, events), _share(total + error, events)
        naive = right / labelled if labelled else None
        return Rolling(
            value=value, lower=lower, upper=upper, naive=naive, events=events, begin=begin
        )


def _share(count: float, events: int) -> float:
    return min(1.0, max(0.0, count / events))
