"""Scores: how informative a label would be, from calibrated probabilities alone.

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

__all__ = ["Score", "entropy", "least_confidence", "make_score", "margin", "risk"]

Score: TypeAlias = Callable[[Mapping[str, float]], float]
"""Maps the probabilities of two or more classes (adding up to 1) to [0, 1]; pure."""


def least_confidence(p: Mapping[str, float]) -> float:
    """Return (1 - max p) / (1 - 1/K) (Lewis and Gale 1994, normalised).

    Examples
    --------
    >>> least_confidence({"a": 0.5, "b": 0.5}), least_confidence({"a": 0.0, "b": 1.0})
    (1.0, 0.0)
    """
    n = len(p)
    return (1.0 - max(p.values())) * n / (n - 1)


def margin(p: Mapping[str, float]) -> float:
    """Return 1 - (largest p - second largest p) (Scheffer et al. 2001).

    Examples
    --------
    >>> margin({"a": 0.5, "b": 0.5, "c": 0.0}), margin({"a": 0.75, "b": 0.25})
    (1.0, 0.5)
    """
    if len(p) == 2:
        one, other = p.values()
        return 1.0 - abs(one - other)
    second, first = sorted(p.values())[-2:]
    return 1.0 - (first - second)


def entropy(p: Mapping[str, float]) -> float:
    """Return -sum p log p / log K (Shannon entropy, normalised).

    Examples
    --------
    >>> entropy({"a": 0.5, "b": 0.5}), entropy({"a": 1.0, "b": 0.0})
    (1.0, 0.0)
    """
    return abs(sum([q * math.log(q) for q in p.values() if q > 0.0])) / math.log(len(p))


def risk(p: Mapping[str, float], named: str) -> float:
    """Return the probability of the named class; 1 while that class is unknown.

    Examples
    --------
    >>> risk({"legitimate": 0.75, "fraud": 0.25}, "fraud"), risk({"a": 0.5, "b": 0.5}, "fraud")
    (0.25, 1.0)
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
    return {"least-confidence": least_confidence, "margin": margin, "entropy": entropy}[
        config.score
    ]
