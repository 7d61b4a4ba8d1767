"""Recall, precision, F1 and average precision of each class, from labels that exist for few."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import NormalDist

import msgspec

from stream_al.learner.blocks import Counted
from stream_al.learner.calibration import log_odds, sigmoid
from stream_al.learner.weighted import Ranked, Side, count_limits, unanswered_limits
from stream_al.records import Tally

__all__ = ["ClassQualities", "ClassQuality", "Figure"]

_CERTAIN = 1.0 - 1e-12
_MOST_CLASSES = 32

_FEWEST = 5
"""Drawn positives from which on a standard error says anything."""

_UNANSWERED = 0.2
"""Share of alpha for what picked requests without an answer hold."""


class Figure(msgspec.Struct, frozen=True):
    """An estimate and its limits, all in [0, 1]."""

    value: float
    lower: float
    upper: float


class ClassQuality(msgspec.Struct, frozen=True, kw_only=True):
    """How well one class is found, over all events up to the watermark.

    The limits of the first four hold together, at all times at once, with the probability asked
    for. Those of `average_precision` are *pointwise* and asymptotic: they are meant for one moment
    looked at, and say nothing (0 and 1) before five positives were drawn.

    Attributes
    ----------
    prevalence
        Share of events that are of the class.
    recall
        Share of the class's events that were predicted as it; None before one is known.
    precision
        Share of the events predicted as the class that are of it; None without any.
    f1
        Harmonic mean of the two; None where there is neither.
    average_precision
        Of all events ranked by the probability of the class; None before a positive is known.
    events, predicted
        Events with a prediction; those predicted as the class. Both are counts, not estimates.
    positives, drawn_positives
        Answers that named the class; those among them that were drawn and stand for more than
        themselves, on which everything about events outside the policy's picks rests. A recall
        from fewer than about ten is mostly noise, and too high where there is none.
    """

    prevalence: Figure
    recall: Figure | None
    precision: Figure | None
    f1: Figure | None
    average_precision: Figure | None
    events: int
    predicted: int
    positives: int
    drawn_positives: int


class _Class:
    """What is known of one class; sides by whether an event was predicted as it."""

    def __init__(self, before: Side, squares: float) -> None:
        other = Side()
        other.certain, other.certain_answered = before.certain, before.certain_answered
        other.drawn, other.drawn_answered = before.drawn, before.drawn_answered
        other.weight = before.weight
        self.sides = other, Side()
        self.positives = self.drawn_positives = 0
        self.ranked = Ranked()
        self.ranked.add_many(0, False, False, float(before.certain_answered), 0.0, certain=True)
        self.ranked.add_many(0, False, False, before.weight, squares, certain=False)

    def add(self, name: str, counted: Counted, weight: float) -> None:
        ended, sign = counted.ended, counted.sign
        predicted = name == ended.prediction
        probability = ended.probabilities.get(name, 0.0)
        hit = None if counted.label is None else counted.label == name
        self.sides[predicted].add(probability, hit, weight, sign)
        if hit is None:
            return
        self.positives += sign * hit
        self.drawn_positives += sign * (hit and weight > 1.0)
        self.ranked.add(probability, predicted, hit, weight, weight == 1.0, sign)


class _Range(msgspec.Struct, frozen=True):
    """A number of events: estimate and limits."""

    value: float
    lower: float
    upper: float


class ClassQualities:
    """Estimates how well each class is found, from the training log alone.

    What the policy picked was asked for with certainty, and its answers count as they are. Of all
    other events one in each block of L is asked for, uniformly: it stands for L. For a class, with
    w = 1 / propensity,

    - positives that were missed: sum of w over answers of the class to events predicted otherwise
      (Horvitz and Thompson 1952);
    - positives that were found: those among what the policy picked, and beyond it the sum of the
      model's calibrated confidence m plus the mean of (y - m) over the drawn answers, times
      the events so predicted, a number that is known (a difference estimator, Cassel, Sarndal and
      Wretman 1976, post-stratified).

    Limits for found, falsely found and missed positives outside the picks are those of
    `count_limits`, at a quarter, a quarter and half of alpha; recall and the others grow in the
    first and fall in the rest, so theirs follow.

    Assumed: answers that return within a block change nothing of what it asks for; block
    lengths are chosen without a look at the answers; requests without an answer are missing at
    random among the certain, and among the drawn ones, that were predicted as the class or
    otherwise, the share of those missing being taken as known. Limits for the worst case are
    not given: a missing tenth of the drawn answers could be many times the class's positives.

    The first 32 classes met are kept. Events before the first prediction do not count.
    """

    def __init__(self) -> None:
        self._classes: dict[str, _Class] = {}
        self._all = Side()
        self._squares = 0.0
        self._reach = 0.0

    def take(self, counted: Counted) -> None:
        """Take note of a request that counts, or no longer does.

        Requests come block by block, each block once, when all of its requests have ended, so
        that events of the classes which are answered sooner do not count sooner.
        """
        ended, label, sign = counted.ended, counted.label, counted.sign
        block, prediction = ended.block, ended.prediction
        if block is None or prediction is None:
            return
        self._reach = max(self._reach, float(block.length))
        if label is not None:
            self._meet(label)
        weight = 1.0 if ended.propensity >= _CERTAIN else 1.0 / ended.propensity
        for name in ended.probabilities:
            self._meet(name)
        for name, known in self._classes.items():
            known.add(name, counted, weight)
        self._all.add(0.0, None if label is None else False, weight, sign)
        if weight > 1.0 and label is not None:
            self._squares += sign * weight * weight

    def _meet(self, name: str) -> None:
        if name not in self._classes and len(self._classes) < _MOST_CLASSES:
            self._classes[name] = _Class(self._all, self._squares)

    def estimate(self, tallies: Iterable[Tally], alpha: float = 0.05) -> dict[str, ClassQuality]:
        """Estimate for each class over all events of the blocks taken.

        Parameters
        ----------
        tallies
            Of each partition, at the end of the last block taken.
        alpha
            Probability that the limits miss, in (0, 1); see `ClassQuality`.
        """
        events = 0
        totals: dict[str, tuple[int, float]] = {}
        for tally in tallies:
            events += tally.events
            for name, (count, confidence, _) in tally.classes.items():
                other_count, other_confidence = totals.get(name, (0, 0.0))
                totals[name] = count + other_count, confidence + other_confidence
        if not events:
            return {}
        return {
            name: self._of(known, events, *totals.get(name, (0, 0.0)), alpha)
            for name, known in self._classes.items()
        }

    def _of(
        self, known: _Class, events: int, predicted: int, confidence: float, alpha: float
    ) -> ClassQuality:
        other, same = known.sides
        found = self._found(same, predicted, confidence, alpha)
        missed = self._missed(other, events - predicted, alpha)
        recall = precision = f1 = None
        if found.value + missed.value > 0.0:
            recall = _figure(_recall, found, missed)
        if predicted:
            precision = _figure(lambda tp, _: tp / predicted, found, missed)
        if predicted + found.value + missed.value > 0.0:
            f1 = _figure(
                lambda tp, fn: 2.0 * tp / (predicted + tp + fn) if tp else 0.0, found, missed
            )
        return ClassQuality(
            prevalence=Figure(
                (found.value + missed.value) / events,
                (found.lower + missed.lower) / events,
                min(1.0, (found.upper + missed.upper) / events),
            ),
            recall=recall,
            precision=precision,
            f1=f1,
            average_precision=self._average_precision(known, predicted, alpha),
            events=events,
            predicted=predicted,
            positives=known.positives,
            drawn_positives=known.drawn_positives,
        )

    def _found(self, side: Side, predicted: int, confidence: float, alpha: float) -> _Range:
        outside = float(max(0, predicted - side.certain))
        value = confidence - side.expected
        if side.weight:
            value += outside * side.excess / side.weight
        value = min(max(value, 0.0), outside) + side.certain_hits * side.certain_scale
        misses = side.certain_answered - side.certain_hits
        low, high = self._limits(side, side.certain_hits, side.hits, outside, alpha / 4.0)
        least, most = self._limits(side, misses, side.weight - side.hits, outside, alpha / 4.0)
        total = outside + side.certain
        return _range(value, max(low, total - most), min(high, total - least))

    def _missed(self, side: Side, predicted_otherwise: int, alpha: float) -> _Range:
        outside = float(max(0, predicted_otherwise - side.certain))
        value = side.hits * side.drawn_scale + side.certain_hits * side.certain_scale
        return _range(
            value, *self._limits(side, side.certain_hits, side.hits, outside, alpha / 2.0)
        )

    def _limits(
        self, side: Side, certain: int, weight: float, outside: float, alpha: float
    ) -> tuple[float, float]:
        """Limit a number of events from certain answers and the weight of drawn ones."""
        unanswered = side.certain - side.certain_answered
        least, most = unanswered_limits(
            certain, side.certain_answered, unanswered, alpha * _UNANSWERED
        )
        low, high = 0.0, outside
        if self._reach:
            unit = self._reach * side.drawn_scale
            drawn = count_limits(weight / self._reach, alpha * (1.0 - _UNANSWERED))
            low, high = min(unit * drawn[0], outside), min(unit * drawn[1], outside)
        return certain + least + low, certain + most + high

    def _average_precision(self, known: _Class, predicted: int, alpha: float) -> Figure | None:
        other, same = known.sides
        outside = max(0, predicted - same.certain)
        found = known.ranked.average_precision(
            (other.certain_scale, same.certain_scale),
            (other.drawn_scale, outside / same.weight if same.weight else 1.0),
            self._reach,
        )
        if found is None:
            return None
        if known.drawn_positives < _FEWEST:
            return Figure(found.value, 0.0, 1.0)
        middle = log_odds(found.value)
        reach = NormalDist().inv_cdf(1.0 - alpha / 2.0) * found.spread
        return Figure(found.value, sigmoid(middle - reach), sigmoid(middle + reach))


def _range(value: float, low: float, high: float) -> _Range:
    high = max(low, high)
    return _Range(min(max(value, low), high), low, high)


def _recall(found: float, missed: float) -> float:
    return found / (found + missed) if found else 0.0


def _figure(of: Callable[[float, float], float], found: _Range, missed: _Range) -> Figure:
    return Figure(
        of(found.value, missed.value),
        of(found.lower, missed.upper),
        of(found.upper, missed.lower),
    )
