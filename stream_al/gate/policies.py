"""Policies: whether a score is high enough to ask, by a threshold that adapts.

A policy is frozen; what it learns stands beside it in one number, the *level*, which belongs to
the gate's state. Žliobaitė et al.'s ``split`` strategy is no policy of its own here: it is
``variable`` plus exploration.
"""

from __future__ import annotations

import math
from typing import Protocol

import msgspec

from stream_al.config import GateConfig

__all__ = [
    "Fixed",
    "Policy",
    "Quantile",
    "Random",
    "RandomizedVariable",
    "SelectiveSampling",
    "Variable",
    "make_policy",
]


class Policy(Protocol):
    """Decides with what probability to ask; `stream_al.gate.checks.check_policy` tests one.

    All methods are pure and take a score in [0, 1] (never NaN).
    """

    def initial(self) -> float:
        """Return the level before the first event."""

    def propose(self, level: float, score: float) -> tuple[float, float]:
        """Return what the score is compared with (in [0, 1]) and the probability of asking."""

    def moved(self, level: float, score: float, asked: bool) -> float:
        """Return the level after an event.

        `asked` is what the policy itself did; exploration and refusals never show here. It is not
        called for an event that the policy's budget refused.
        """


class _Base(msgspec.Struct, frozen=True):
    """Base of the policies that keep no level."""

    def initial(self) -> float:
        return 0.0

    def moved(self, level: float, score: float, asked: bool) -> float:  # noqa: ARG002
        return level


class Random(_Base, frozen=True):
    """Ask with probability `rate`, whatever the score: the baseline."""

    rate: float

    def propose(self, level: float, score: float) -> tuple[float, float]:  # noqa: ARG002
        """Ask at the rate; no score is too low."""
        return 0.0, self.rate


class Fixed(_Base, frozen=True):
    """Ask at a given score and above (Žliobaitė et al. 2014, algorithm 2, ``fixed``)."""

    at: float

    def propose(self, level: float, score: float) -> tuple[float, float]:  # noqa: ARG002
        """Ask at the given score and above."""
        return self.at, 1.0 if score >= self.at else 0.0


class Variable(msgspec.Struct, frozen=True):
    """Tighten after asking, relax after not (Žliobaitė et al. 2014, ``variable``).

    The level is their theta, a bound on confidence = 1 - score: ask below it; then multiply it by
    1 - step, else by 1 + step.
    """

    step: float = 0.01

    def initial(self) -> float:
        """Return 1: at first every confidence is low."""
        return 1.0

    def propose(self, level: float, score: float) -> tuple[float, float]:
        """Ask where confidence is under theta."""
        return max(0.0, 1.0 - level), 1.0 if 1.0 - score < level else 0.0

    def moved(self, level: float, score: float, asked: bool) -> float:  # noqa: ARG002
        """Move theta; kept above 1e-9, from where it can come back."""
        return max(level * (1.0 - self.step), 1e-9) if asked else level * (1.0 + self.step)


class RandomizedVariable(Variable, frozen=True):
    """``variable`` with theta times a normal draw (Žliobaitė et al. 2014, ``randomised variable``).

    Theta is multiplied by eta ~ N(1, deviation); the probability that confidence is under it is
    Phi((1 - confidence / theta) / deviation), which is known, and drawn by keyed hash.
    """

    deviation: float = 1.0

    def propose(self, level: float, score: float) -> tuple[float, float]:
        """Ask with the normal probability that the drawn bound exceeds confidence."""
        z = (1.0 - (1.0 - score) / level) / self.deviation
        return max(0.0, 1.0 - level), 0.5 * math.erfc(-z / math.sqrt(2.0))


class Quantile(msgspec.Struct, frozen=True):
    """Track the score's quantile that spends the rate.

    The level is the threshold's log odds: after asking it rises by step * (1 - rate), else it
    falls by step * rate (Robbins and Monro 1951 with a constant step, as in the tracking of
    Gibbs and Candès 2021, equation 2). Hence, while the level stays within its bounds of ±30, the
    number asked in any span differs from rate times its length by at most 60 / step + 1, for any
    sequence of scores: constant, tied and drifting ones included. Scores of exactly 1 are always
    asked about and scores of exactly 0 never, as far as the budget lets them.
    """

    rate: float
    step: float = 0.25

    def initial(self) -> float:
        """Return 0, the middle."""
        return 0.0

    def propose(self, level: float, score: float) -> tuple[float, float]:
        """Ask at the threshold and above."""
        threshold = 1.0 / (1.0 + math.exp(-level))
        return threshold, 1.0 if score >= threshold else 0.0

    def moved(self, level: float, score: float, asked: bool) -> float:  # noqa: ARG002
        """Move the level within the log odds that a double distinguishes from 0 and 1."""
        level += self.step * (asked - self.rate)
        return -30.0 if level < -30.0 else 30.0 if level > 30.0 else level


class SelectiveSampling(msgspec.Struct, frozen=True):
    """Ask with probability b / (b + distance) (Cesa-Bianchi et al. 2006, figure 1).

    The distance to the decision boundary is 1 - score, in [0, 1]. The parameter b is their
    smoothing constant, kept here as its logarithm in the level and adapted so that p averages the
    rate: log b += step * (rate - p).
    """

    rate: float
    step: float = 0.05

    def initial(self) -> float:
        """Return log b for a score of 0.5 to be asked at the rate."""
        return math.log(0.5 * self.rate / (1.0 - self.rate)) if self.rate < 1.0 else 30.0

    def propose(self, level: float, score: float) -> tuple[float, float]:
        """Ask with probability b / (b + 1 - score); one half at the threshold."""
        b = math.exp(level)
        return max(0.0, 1.0 - b), b / (b + (1.0 - score))

    def moved(self, level: float, score: float, asked: bool) -> float:  # noqa: ARG002
        """Move log b against the probability, not the draw: less noise."""
        level += self.step * (self.rate - self.propose(level, score)[1])
        return min(max(level, -30.0), 30.0)


def make_policy(config: GateConfig, rate: float) -> Policy:
    """Return the configured policy.

    Parameters
    ----------
    config
        Names the policy and its parameters.
    rate
        Share of events that the policy itself may ask for, in (0, 1]: budget less exploration.

    Examples
    --------
    >>> make_policy(GateConfig(policy="quantile"), rate=0.01)
    Quantile(rate=0.01, step=0.25)
    """
    step = {} if config.step is None else {"step": config.step}
    match config.policy:
        case "fixed":
            return Fixed(at=config.threshold)
        case "variable":
            return Variable(**step)
        case "randomized-variable":
            return RandomizedVariable(**step)
        case "quantile":
            return Quantile(rate=rate, **step)
        case "selective-sampling":
            return SelectiveSampling(rate=rate, **step)
        case "random":
            return Random(rate=rate)
