"""What is counted of a stretch of a stream, and the scores that follow from it.

Memory does not grow with the stretch: confusion counts, sums and histograms (see
`stream_al.replay.ranking`). Two stretches can be merged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from math import log
from typing import TypeAlias

import msgspec

from stream_al.replay import ranking

__all__ = [
    "ClassScores",
    "ConfidenceBin",
    "Confusion",
    "Scores",
    "Tally",
    "merged",
    "summed",
    "weighted_f1",
]

Confusion: TypeAlias = defaultdict[str, defaultdict[str | None, int]]
"""Events by true class, then by predicted one (None: no prediction)."""

_CALIBRATION_BINS = 15
_FLOOR = 1e-15
_LOSS_AT_FLOOR = -log(_FLOOR)
# Normalising a sum of floats may leave a probability this far outside [0, 1], and not further.
_ROUNDING = 1e-9
_LOW, _HIGH = -_ROUNDING, 1.0 + _ROUNDING


class ClassScores(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How one class was predicted.

    Attributes
    ----------
    precision, recall, f1
        In [0, 1]; 0 where nothing was predicted as the class, or none occurred (as
        `zero_division=0` of scikit-learn).
    support, predicted
        Events of the class, and events predicted as the class.
    """

    precision: float
    recall: float
    f1: float
    support: int
    predicted: int


class Scores(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Scores of a stretch of a stream; what is not defined for it is null.

    An event without a prediction counts as wrong: in accuracy, F1, kappa and recall.
    Probabilities are scored over the
    ``events - unpredicted - without_probabilities`` events that have them; for the ranking, the
    others stand at 0.5 for either class. A class without a probability has 0.

    Attributes
    ----------
    events
        Events scored.
    unpredicted
        Events without a prediction: no class was known yet. Their probabilities are ignored.
    without_probabilities
        Events with a prediction, but none or unusable probabilities: one was NaN, infinite or
        outside [0, 1] by more than 1e-9. The prediction counts as it is.
    accuracy
        Share of right predictions.
    weighted_f1
        Mean of the classes' F1, weighted by their support.
    mean_cycle_f1
        Mean of the weighted F1 so far, taken each time that another 1 % of the stream has gone
        by (of the marks that were reached). For the second half F1 starts at the half, and the
        marks from 51 % count. Null if the length is unknown.
    kappa
        Cohen's: (accuracy - chance) / (1 - chance), with chance from the frequencies of true and
        predicted classes. Null where only one class occurred and was predicted.
    ranked_class
        The class that the next two are about: the rarer true class of two, the later in text
        order if both are equally frequent. Null for more or fewer than two true classes.
    average_precision, roc_auc
        As scikit-learn's, but for probabilities binned by log odds: within .002 of the exact
        values on streams of some length.
    log_loss
        Mean of -ln(probability of the true class), which is clipped below at 1e-15; in nats.
    brier
        Half of the sum over the classes of the squared difference of probability and outcome
        (1 for the true class, 0 for others); mean over events; in [0, 1]. For two classes this
        is the squared error of either class's probability.
    ece
        Expected calibration error of the predicted class's probability: 15 bins of equal width,
        closed below; mean over events of |mean probability - share right| of the event's bin.
    per_class
        By class that occurred or was predicted, in text order.
    """

    events: int
    unpredicted: int
    without_probabilities: int
    accuracy: float | None
    weighted_f1: float | None
    mean_cycle_f1: float | None
    kappa: float | None
    ranked_class: str | None
    average_precision: float | None
    roc_auc: float | None
    log_loss: float | None
    brier: float | None
    ece: float | None
    per_class: dict[str, ClassScores]


class ConfidenceBin(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Events whose predicted class had about the same probability.

    Attributes
    ----------
    lower, upper
        Probability that the bin begins with, and that the next one does.
    events
        How many, at least 1.
    confidence, right
        Their mean probability of the predicted class, and the share that was predicted right.
    """

    lower: float
    upper: float
    events: int
    confidence: float
    right: float


class Tally:
    """Everything that is counted of one stretch of the stream."""

    __slots__ = (
        "binned",
        "binned_right",
        "brier_sum",
        "confusion",
        "log_loss_sum",
        "overconfidence",
        "ranking",
        "without_probabilities",
    )

    def __init__(self) -> None:
        self.confusion: Confusion = _empty_confusion()
        self.ranking = ranking.Ranking()
        self.without_probabilities = 0
        self.log_loss_sum = 0.0
        self.brier_sum = 0.0
        self.overconfidence = [0.0] * _CALIBRATION_BINS
        self.binned = [0] * _CALIBRATION_BINS
        self.binned_right = [0] * _CALIBRATION_BINS

    def add(self, truth: str, prediction: str | None, probabilities: Mapping[str, float]) -> None:
        """Count an event."""
        self.confusion[truth][prediction] += 1
        if prediction is None:
            self.ranking.add_tied(truth)
            return
        squares = _sum_of_squares(probabilities)
        if squares is None:
            self.without_probabilities += 1
            self.ranking.add_tied(truth)
            return
        p = probabilities.get(truth, 0.0)
        self.log_loss_sum += -log(p) if p > _FLOOR else _LOSS_AT_FLOOR
        self.brier_sum += squares + 1.0 - 2.0 * p
        right = prediction == truth
        if not right:
            p = probabilities.get(prediction, 0.0)
        position = int(p * _CALIBRATION_BINS)
        if position >= _CALIBRATION_BINS:
            position = -1
        self.overconfidence[position] += p - right
        self.binned[position] += 1
        self.binned_right[position] += right
        self.ranking.add(truth, probabilities)

    def scores(self, mean_cycle_f1: float | None) -> Scores:
        """Score what was counted; the mean over cycles is not to be had from counts."""
        per_class = _per_class(self.confusion)
        events = sum(found.support for found in per_class.values())
        unpredicted = events - sum(found.predicted for found in per_class.values())
        judged = events - unpredicted - self.without_probabilities
        right = sum(row[truth] for truth, row in self.confusion.items() if truth in row)
        chance = sum(found.support * found.predicted for found in per_class.values())
        ranked = self.ranking.scores()
        return Scores(
            events=events,
            unpredicted=unpredicted,
            without_probabilities=self.without_probabilities,
            accuracy=right / events if events else None,
            weighted_f1=weighted_f1(self.confusion) if events else None,
            mean_cycle_f1=mean_cycle_f1,
            # In whole numbers, so that "undefined" does not hang on rounding.
            kappa=(right * events - chance) / (events**2 - chance) if chance < events**2 else None,
            ranked_class=ranked.ranked_class if ranked else None,
            average_precision=ranked.average_precision if ranked else None,
            roc_auc=ranked.roc_auc if ranked else None,
            # NumPy's floats would stay in the sums, and JSON encoders refuse them.
            log_loss=float(self.log_loss_sum) / judged if judged else None,
            brier=float(self.brier_sum) / judged / 2.0 if judged else None,
            ece=float(sum(map(abs, self.overconfidence))) / judged if judged else None,
            per_class=per_class,
        )

    def reliability(self) -> tuple[ConfidenceBin, ...]:
        """Return the bins that the calibration error is taken over, but for empty ones."""
        return tuple(
            ConfidenceBin(
                lower=number / _CALIBRATION_BINS,
                upper=(number + 1) / _CALIBRATION_BINS,
                events=events,
                confidence=(float(excess) + right) / events,
                right=right / events,
            )
            for number, (events, right, excess) in enumerate(
                zip(self.binned, self.binned_right, self.overconfidence, strict=True)
            )
            if events
        )


def merged(first: Tally, second: Tally) -> Tally:
    """Count two stretches as one; both stay as they are."""
    whole = Tally()
    whole.confusion = summed(first.confusion, second.confusion)
    whole.ranking = ranking.merged(first.ranking, second.ranking)
    whole.without_probabilities = first.without_probabilities + second.without_probabilities
    whole.log_loss_sum = first.log_loss_sum + second.log_loss_sum
    whole.brier_sum = first.brier_sum + second.brier_sum
    whole.overconfidence = [
        a + b for a, b in zip(first.overconfidence, second.overconfidence, strict=True)
    ]
    whole.binned = [a + b for a, b in zip(first.binned, second.binned, strict=True)]
    whole.binned_right = [
        a + b for a, b in zip(first.binned_right, second.binned_right, strict=True)
    ]
    return whole


def _sum_of_squares(probabilities: Mapping[str, float]) -> float | None:
    """Sum the squared probabilities; None where there are none, or any is unusable."""
    squares = 0.0
    for p in probabilities.values():
        # Written so that NaN, which no comparison holds for, is refused as well.
        if not _LOW <= p <= _HIGH:
            return None
        squares += p * p
    return squares if probabilities else None


def _empty_confusion() -> Confusion:
    return defaultdict(lambda: defaultdict(int))


def summed(first: Confusion, second: Confusion) -> Confusion:
    """Count the confusions of two stretches as one; both stay as they are."""
    whole = _empty_confusion()
    for part in (first, second):
        for truth, row in part.items():
            for prediction, events in row.items():
                whole[truth][prediction] += events
    return whole


def _per_class(confusion: Confusion) -> dict[str, ClassScores]:
    support = {truth: sum(row.values()) for truth, row in confusion.items()}
    predicted: defaultdict[str, int] = defaultdict(int)
    for row in confusion.values():
        for prediction, events in row.items():
            if prediction is not None:
                predicted[prediction] += events
    scores = {}
    for name in sorted(support.keys() | predicted.keys()):
        occurred, claimed = support.get(name, 0), predicted.get(name, 0)
        right = confusion[name].get(name, 0) if name in support else 0
        scores[name] = ClassScores(
            precision=right / claimed if claimed else 0.0,
            recall=right / occurred if occurred else 0.0,
            f1=2 * right / (occurred + claimed),
            support=occurred,
            predicted=claimed,
        )
    return scores


def weighted_f1(confusion: Confusion) -> float:
    """Mean of the classes' F1, weighted by their support, over at least one event."""
    per_class = _per_class(confusion).values()
    events = sum(found.support for found in per_class)
    return sum(found.f1 * found.support for found in per_class) / events
