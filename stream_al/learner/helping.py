"""Whether asking by the policy teaches more than asking at random would."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from stream_al.config import LearnerConfig
from stream_al.keyed import below
from stream_al.learner.committee import Committee
from stream_al.learner.interval import radius
from stream_al.records import Features
from stream_al.training import Labelled

__all__ = ["Comparison", "Helping", "Verdict"]

Verdict: TypeAlias = Literal["too-early", "helps", "level", "hurts"]

_LEVEL = 0.05
"""How far from 0 both limits may be where two learners count as level."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Accuracy of a learner of selected labels less that of a learner of random ones.

    Attributes
    ----------
    difference
        Mean over the pairs, in [-1, 1]; None before the first.
    lower, upper
        Limits of the mean difference that hold at all times at once with the probability asked
        for, however the difference changes meanwhile.
    pairs, disagreements
        Explored events that both learners predicted; those that only one of them had right.
    verdict
        ``helps`` · ``hurts``: the limits exclude 0. ``level``: they hold 0 and lie within .05 of
        it. ``too-early`` otherwise.
    """

    difference: float | None
    lower: float
    upper: float
    pairs: int
    disagreements: int
    verdict: Verdict


class Helping:
    """Compares, paired, what selected and random labels teach at equal counts and equal times.

    Two plain copies of the model learn each label once. One learns the explored labels, which are
    a uniform sample. The other learns as many of all labels together: at each explored label, one
    of those that came since the explored label before, itself included, drawn by key. So both
    have learnt as many labels at all times, and labels as old: a learner of the first labels
    would be behind by its age alone. Both predict each explored event before either learns it.

    The limits are those of `stream_al.learner.interval.radius` for differences in {-1, 0, 1}. The
    learners differ from the main one, which learns all labels and may rehearse: what is compared
    is the choice of labels.

    Parameters
    ----------
    config
        That of the main learner; its model and classes, calibration and seed are used.

    Examples
    --------
    >>> Helping(LearnerConfig()).estimate().verdict
    'too-early'
    """

    def __init__(self, config: LearnerConfig) -> None:
        plain = msgspec.structs.replace(config, committee=False)
        self._seed = config.seed
        self._random = Committee(plain)
        self._selected = Committee(plain)
        self._held: tuple[Labelled, int] | None = None
        self._since = 0
        self._pairs = self._sum = self._squares = 0
        self._told: tuple[int, float, Comparison] | None = None

    def observe(self, features: Features) -> None:
        """Learn from an event without its label, as the main learner does."""
        self._random.observe_one(features)
        self._selected.observe_one(features)

    def take(self, record: Labelled, offset: int) -> None:
        """Take in a label; call it in the order of the log.

        Parameters
        ----------
        record
            Explored or not.
        offset
            Its place in the training log.
        """
        self._since += 1
        if self._held is None or not below(self._since, "helping", self._seed, offset):
            self._held = record, offset
        if not record.explored:
            return
        self._compare(record)
        self._random.learn_one(record.features, record.label, record.weight, offset)
        held, place = self._held
        self._selected.learn_one(held.features, held.label, held.weight, place)
        self._held, self._since = None, 0

    def estimate(self, alpha: float = 0.05) -> Comparison:
        """Compare up to now.

        Parameters
        ----------
        alpha
            Probability that the limits ever miss, in (0, 1).
        """
        pairs = self._pairs
        if self._told is not None and self._told[:2] == (pairs, alpha):
            return self._told[2]
        self._told = pairs, alpha, self._compared(alpha)
        return self._told[2]

    def _compared(self, alpha: float) -> Comparison:
        pairs = self._pairs
        if not pairs:
            return Comparison(
                difference=None,
                lower=-1.0,
                upper=1.0,
                pairs=0,
                disagreements=0,
                verdict="too-early",
            )
        difference = self._sum / pairs
        reach = radius({1.0: float(self._squares)}, 1.0, alpha / 2) / pairs
        lower, upper = max(-1.0, difference - reach), min(1.0, difference + reach)
        return Comparison(
            difference=difference,
            lower=lower,
            upper=upper,
            pairs=pairs,
            disagreements=self._squares,
            verdict=_verdict(lower, upper),
        )

    def _compare(self, record: Labelled) -> None:
        if not self._random.labels:
            return
        selected = self._selected.predict_one(record.features)
        random = self._random.predict_one(record.features)
        difference = _right(selected, record.label) - _right(random, record.label)
        self._pairs += 1
        self._sum += difference
        self._squares += difference * difference


def _right(p: dict[str, float], label: str) -> int:
    return int(max(p, key=p.__getitem__) == label)


def _verdict(lower: float, upper: float) -> Verdict:
    if lower > 0.0:
        return "helps"
    if upper < 0.0:
        return "hurts"
    return "level" if lower >= -_LEVEL and upper <= _LEVEL else "too-early"
