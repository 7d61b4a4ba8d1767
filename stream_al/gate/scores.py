"""Scores: how informative a label would be, from probabilities alone.

A score is in [0, 1], 1 the most informative, and normalised by the number of known classes, so
that it means the same for two classes and for ten. One known class or none scores 1: there is
nothing yet to be certain about.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

from stream_al.config import GateConfig

__all__ = ["Rarity", "Score", "entropy", "least_confidence", "make_score", "margin", "risk"]

Probabilities: TypeAlias = Mapping[str, float]

Score: TypeAlias = Callable[[Probabilities, Probabilities], float]
"""Maps two things to [0, 1], and is pure: the calibrated probabilities of an event's two or more
classes, and the prior of the same classes, their shares of all traffic; each adds up to 1. A
prior that differs is another object: it is never changed in place."""

_BONUS = 0.2
_RAREST = 1e-4


def least_confidence(p: Probabilities, prior: Probabilities) -> float:  # noqa: ARG001
    """Return (1 - max p) / (1 - 1/K) (Lewis and Gale 1994, normalised).

    Examples
    --------
    >>> prior = {"a": 0.5, "b": 0.5}
    >>> least_confidence({"a": 0.5, "b": 0.5}, prior), least_confidence({"a": 0.0, "b": 1.0}, prior)
    (1.0, 0.0)
    """
    n = len(p)
    return (1.0 - max(p.values())) * n / (n - 1)


def margin(p: Probabilities, prior: Probabilities) -> float:  # noqa: ARG001
    """Return 1 - (largest p - second largest p) (Scheffer et al. 2001).

    Examples
    --------
    >>> margin({"a": 0.75, "b": 0.25}, prior={"a": 0.5, "b": 0.5})
    0.5
    """
    if len(p) == 2:
        one, other = p.values()
        return 1.0 - abs(one - other)
    second, first = sorted(p.values())[-2:]
    return 1.0 - (first - second)


def entropy(p: Probabilities, prior: Probabilities) -> float:  # noqa: ARG001
    """Return -sum p log p / log K (Shannon entropy, normalised).

    Examples
    --------
    >>> entropy({"a": 0.5, "b": 0.5}, prior={"a": 0.9, "b": 0.1})
    1.0
    """
    return abs(sum([q * math.log(q) for q in p.values() if q > 0.0])) / math.log(len(p))


class Rarity:
    """The margin with a bonus for probable classes that are rare.

    (margin + c sum p_k r_k) / (1 + c max r), r_k = log(largest prior / prior of k), c = 0.2.
    Where all classes are as frequent, this is `margin`. Where one is rare, events that are surely
    of it are asked about beside the uncertain ones, as in the relevance sampling of Lewis and Gale
    (1994): the certain positives are what a rare class is learnt from.

    Examples
    --------
    >>> rarity = Rarity()
    >>> prior = {"good": 0.99, "fraud": 0.01}
    >>> unsure, fraud = {"good": 0.5, "fraud": 0.5}, {"good": 0.0, "fraud": 1.0}
    >>> round(rarity(unsure, prior), 2), round(rarity(fraud, prior), 2)
    (0.76, 0.48)
    """

    def __init__(self) -> None:
        # The prior moves about once in a hundred events: what follows from it is kept till then.
        self._prior: Probabilities = {}
        self._bonus: dict[str, float] = {}
        self._scale = 1.0

    def __call__(self, p: Probabilities, prior: Probabilities) -> float:
        """Score one event."""
        if prior is not self._prior:
            most = max(prior.values())
            self._bonus = {
                name: _BONUS * math.log(most / max(share, _RAREST)) for name, share in prior.items()
            }
            self._scale = 1.0 / (1.0 + max(self._bonus.values()))
            self._prior = prior
        bonus = self._bonus
        if len(p) == 2:
            (one, q), (other, r) = p.items()
            return (1.0 - abs(q - r) + q * bonus[one] + r * bonus[other]) * self._scale
        score = margin(p, prior)
        for name, q in p.items():
            score += q * bonus[name]
        return score * self._scale


def risk(p: Probabilities, prior: Probabilities, named: str) -> float:  # noqa: ARG001
    """Return the probability of the named class; 1 while that class is unknown.

    Examples
    --------
    >>> risk({"good": 0.75, "fraud": 0.25}, {"good": 0.99, "fraud": 0.01}, "fraud")
    0.25
    """
    return p.get(named, 1.0)


def make_score(config: GateConfig) -> Score:
    """Return the configured score.

    Examples
    --------
    >>> make_score(GateConfig(score="entropy")) is entropy
    True
    """
    if config.score == "risk":
        return functools.partial(risk, named=config.risk_class or "")
    if config.score == "rarity":
        return Rarity()
    return {"least-confidence": least_confidence, "margin": margin, "entropy": entropy}[
        config.score
    ]
