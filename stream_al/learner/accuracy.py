"""Accuracy of all predictions, from the labels of the few events that were explored."""

from __future__ import annotations

import math

import msgspec

from stream_al.learner.blocks import Counted, Part, Sums, Term
from stream_al.learner.interval import radius
from stream_al.records import Tally
from stream_al.training import Ended

__all__ = ["Accuracy", "Estimate", "Rolling"]


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
    epoch
        Which epoch it is about, from 1; 0: all since the start.
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
    epoch: int = 0


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


class Accuracy:
    """Estimates the accuracy of all predictions from the training log alone.

    The explored event of each block is a uniform draw, whatever is asked beside it, so that

        (sum of m over all events + sum of L (c - m) over explored, answered ones) / events

    is unbiased for the share of right predictions, with m the calibrated confidence in the
    predicted class as of the decision, c whether the answer agrees, and L the block's length. The
    first sum comes with the records, of the second only explored events are random. Blocks count
    in the order of the stream and not of the answers, since some classes are answered sooner: up
    to the watermark, the last block's end of each partition up to which every request has ended.

    An epoch is what counts since something that was found in the log. Its limits hold at all
    times and for all epochs at once: those of the j-th are for alpha / (j (j + 1)), which sums up
    to alpha.
    """

    def __init__(self) -> None:
        self._parts: dict[tuple[str, int], Part] = {}
        self._sums, self._epoch = Sums(), Sums()
        self._epochs = 1

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
            part = self._parts[place] = Part()
        return part.take(ended, self._sums, self._epoch)

    def begin_epoch(self) -> None:
        """Begin an epoch, with the blocks of which no request has ended yet."""
        self._epoch, self._epochs = Sums(), self._epochs + 1
        for part in self._parts.values():
            part.begin_epoch()

    @property
    def tallies(self) -> list[Tally]:
        """Of each partition, up to the watermark."""
        return [part.tally for part in self._parts.values()]

    @property
    def watermark(self) -> dict[str, int]:
        """By ``topic:partition``, the offset below which everything counts."""
        return {f"{topic}:{number}": part.offset for (topic, number), part in self._parts.items()}

    def estimate(self, alpha: float = 0.05) -> Estimate:
        """Estimate up to the watermark, from the start.

        Parameters
        ----------
        alpha
            Probability that the limits ever miss, in (0, 1).
        """
        return self._estimate(self._sums, [(Tally(), tally) for tally in self.tallies], alpha, 0)

    def epoch(self, alpha: float = 0.05) -> Estimate:
        """Estimate up to the watermark, from the beginning of the last epoch.

        Parameters
        ----------
        alpha
            Probability that the limits of any epoch ever miss, in (0, 1).
        """
        spans = [
            (part.epoch_tally, part.tally)
            for part in self._parts.values()
            if part.epoch_tally is not None
        ]
        j = self._epochs
        return self._estimate(self._epoch, spans, alpha / (j * (j + 1)), j)

    def _estimate(
        self, terms: Sums, spans: list[tuple[Tally, Tally]], alpha: float, epoch: int
    ) -> Estimate:
        events = sum(end.events - begin.events for begin, end in spans)
        confident = sum(end.confidence - begin.confidence for begin, end in spans)
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
            unpredicted=sum(end.unpredicted - begin.unpredicted for begin, end in spans),
            blocks=blocks,
            unanswered=terms.unanswered,
            watermark=self.watermark,
            epoch=epoch,
        )

    def rolling(self, z: float = 1.96) -> Rolling:
        """Estimate over the last blocks of each partition before the watermark.

        The limits are those of a score (as Wilson 1927): at a mean further away by d than what
        was seen, the variance is higher by d times the reach of a term, since what would make the
        difference are terms that were not seen. So d^2 = z^2 (s^2 + d r) / n. Without that, a
        window of few errors has limits that are far too narrow.

        Parameters
        ----------
        z
            How many standard errors the limits are apart from the value.
        """
        events = labelled = right = 0
        confident = 0.0
        terms: list[Term] = []
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
            terms += [
                point.term
                for point in part.recent
                if point.term is not None and point.term.value is not None
            ]
            labelled += sum(point.labelled for point in part.recent)
            right += sum(point.right for point in part.recent)
        value = lower = upper = None
        if len(terms) > 1 and events:
            n, values = len(terms), [term.value or 0.0 for term in terms]
            mean = sum(values) / n
            variance = sum((each - mean) ** 2 for each in values) / (n - 1)
            below = _score_reach(variance, max(term.below for term in terms), n, z)
            above = _score_reach(variance, max(term.above for term in terms), n, z)
            value = _share(confident + blocks * mean, events)
            lower = _share(confident + blocks * (mean - below), events)
            upper = _share(confident + blocks * (mean + above), events)
        naive = right / labelled if labelled else None
        return Rolling(
            value=value, lower=lower, upper=upper, naive=naive, events=events, begin=begin
        )


def _score_reach(variance: float, reach: float, n: int, z: float) -> float:
    """Solve d^2 = z^2 (variance + d reach) / n."""
    half = z * z * reach / (2 * n)
    return half + math.sqrt(half * half + z * z * variance / n)


def _share(count: float, events: int) -> float:
    return min(1.0, max(0.0, count / events))
