"""Whether asking by the policy teaches more than asking at random would."""

from __future__ import annotations

import functools
from typing import Literal, TypeAlias

import msgspec

from stream_al.config import LearnerConfig
from stream_al.keyed import below
from stream_al.learner.committee import Member, plain_member
from stream_al.learner.interval import radius
from stream_al.learner.models import Encoded
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


class _Held(msgspec.Struct, frozen=True, gc=False):
    """A label that may be learnt: the encoded event, class number, weight, whole times."""

    z: Encoded
    k: int
    weight: float
    times: int


class Helping:
    """Compares, paired, what selected and random labels teach at equal counts and equal times.

    Two plain copies of the model learn each label once. One learns the explored labels, which are
    a uniform sample. The other learns as many of all labels together: at each explored label, one
    of those that came since the explored label before, itself included, drawn by key. So both
    have learnt as many labels at all times, and labels as old: a learner of the first labels
    would be behind by its age alone. Both predict each explored event before either learns it.

    The limits are those of `stream_al.learner.interval.radius` for differences in {-1, 0, 1}. The
    learners differ from the main one, which learns all labels and may rehearse: what is compared
    is the choice of labels. They see events as the main learner encodes them.

    Parameters
    ----------
    config
        That of the main learner; its model, classes and seed are used.

    Attributes
    ----------
    learnt
        Labels that each of the two has learnt.

    Examples
    --------
    >>> Helping(LearnerConfig()).estimate().verdict
    'too-early'
    """

    def __init__(self, config: LearnerConfig) -> None:
        self._seed = config.seed
        self._classes = list(config.classes)
        self._make = functools.partial(plain_member, config)
        self._start()
        self.learnt = 0
        self._held: _Held | None = None
        self._since = 0
        self._pairs = self._sum = self._squares = 0
        self._told: tuple[int, float, Comparison] | None = None

    def take(self, record: Labelled, offset: int, z: Encoded) -> None:
        """Take in a label; call it in the order of the log.

        Parameters
        ----------
        record
            Explored or not.
        offset
            Its place in the training log.
        z
            Its event, as the main learner encodes it.
        """
        if record.label not in self._classes:
            self._classes.append(record.label)
            for member in (self._random, self._selected):
                member.model.grow(len(self._classes))
        k, weight = self._classes.index(record.label), record.weight
        self._since += 1
        if self._held is None or not below(self._since, "helping", self._seed, offset):
            self._held = _Held(z, k, weight, max(1, round(weight)))
        if not record.explored:
            return
        self._compare(z, k)
        self._learn(self._random, _Held(z, k, weight, max(1, round(weight))))
        self._learn(self._selected, self._held)
        self._held, self._since = None, 0
        self.learnt += 1

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

    def _learn(self, member: Member, held: _Held) -> None:
        if (n := len(self._classes)) > 1:
            member.judge(held.z, held.k, n)
        member.model.learn_one(held.z, held.k, held.weight, held.times)

    def _start(self) -> None:
        self._random, self._selected = self._make(), self._make()
        for member in (self._random, self._selected):
            member.model.grow(len(self._classes))

    def _compare(self, z: Encoded, k: int) -> None:
        n = len(self._classes)
        if not self.learnt or n < 2:
            return
        selected = self._selected.predict_one(z, n)
        random = self._random.predict_one(z, n)
        difference = (selected.index(max(selected)) == k) - (random.index(max(random)) == k)
        self._pairs += 1
        self._sum += difference
        self._squares += difference * difference


def _verdict(lower: float, upper: float) -> Verdict:
    if lower > 0.0:
        return "helps"
    if upper < 0.0:
        return "hurts"
    return "level" if lower >= -_LEVEL and upper <= _LEVEL else "too-early"
