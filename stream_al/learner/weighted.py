"""Answers that stand for unequal numbers of events: counts, their limits, and rankings."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_al.learner.calibration import log_odds

__all__ = ["Precision", "Ranked", "Side", "bin_of", "count_limits", "unanswered_limits"]

_Floats: TypeAlias = NDArray[np.float64]

_PRIOR = 0.5
"""Shape of the mixtures: limits are narrow where few are found, up to about forty."""

_WIDTH = 0.25
_FAR = 12.0
_BINS = int(2 * _FAR / _WIDTH) + 2
"""Bins of log odds, two of them for what lies beyond +-12."""


class Precision(msgspec.Struct, frozen=True):
    """Average precision, and the standard error of its log odds."""

    value: float
    spread: float


def bin_of(probability: float) -> int:
    """Find the bin of a probability; a larger one never has a smaller bin.

    Examples
    --------
    >>> bin_of(0.0), bin_of(0.5), bin_of(0.55), bin_of(0.6), bin_of(1.0)
    (0, 49, 49, 50, 97)
    """
    place = math.floor((log_odds(probability) + _FAR) / _WIDTH) + 1
    return min(max(place, 0), _BINS - 1)


def count_limits(found: float, alpha: float) -> tuple[float, float]:
    """Limit the sum of the means of terms in [0, 1] by their sum, at all times at once.

    For each t > 0 the product of t^x exp(-(t - 1) mean) is a supermartingale, since t^x is at most
    1 + x (t - 1), whatever the means do. So is its mean over a gamma distribution of t (a mixture,
    as Robbins 1970; gamma-Poisson in Howard, Ramdas, McAuliffe and Sekhon 2021), which by Ville's
    inequality stays below 1 / alpha: with shape and rate a, s the sum and m that of the means,

        m - (a + s) log(1 + m / a) + log gamma(a + s) - log gamma(a) - s log a < log(1 / alpha)

    Parameters
    ----------
    found
        Sum of the terms, at least 0.
    alpha
        Probability, in (0, 1), that the sum of the means is ever outside.

    Returns
    -------
    tuple of float
        Lower and upper limit.

    Examples
    --------
    >>> [round(limit, 2) for limit in count_limits(0.0, 0.05)]
    [0.0, 4.11]
    >>> [round(limit, 1) for limit in count_limits(36.0, 0.05)]
    [19.7, 59.3]
    """
    a = _PRIOR
    power = a + found
    rest = math.lgamma(power) - math.lgamma(a) - found * math.log(a) - math.log(1.0 / alpha)

    def excess(m: float) -> float:
        return m - power * math.log1p(m / a) + rest

    high = found + 1.0
    while excess(high) <= 0.0:
        high *= 2.0
    return _around(excess, 0.0, found, high)


def unanswered_limits(
    found: float, answered: int, unanswered: int, alpha: float
) -> tuple[float, float]:
    """Limit how many of a kind are among requests without an answer, missing at random.

    With r the share answered, u / r for each of the kind that was answered and (1 - u) / (1 - r)
    for each that was not have a mean of 1 for any u in (0, 1). The mean of their product over a
    beta distribution of u, of mean r, thus stays below 1 / alpha, at all times, with probability
    1 - alpha.

    Parameters
    ----------
    found
        Answers of the kind.
    answered, unanswered
        Requests of either sort, of any kind.
    alpha
        Probability, in (0, 1), that the number is ever outside.

    Returns
    -------
    tuple of float
        Lower and upper limit, in [0, unanswered].

    Examples
    --------
    >>> [round(limit, 1) for limit in unanswered_limits(100, 800, 200, 0.05)]
    [9.4, 47.4]
    >>> unanswered_limits(5, 7, 0, 0.05)
    (0.0, 0.0)
    """
    if not unanswered or not answered:
        return 0.0, float(unanswered)
    rate = answered / (answered + unanswered)
    a, b = 2.0 * _PRIOR * rate, 2.0 * _PRIOR * (1.0 - rate)
    rest = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) - math.log(1.0 / alpha)
    rest += math.lgamma(a + found) - found * math.log(rate)

    def excess(m: float) -> float:
        both = math.lgamma(b + m) - math.lgamma(a + b + found + m)
        return rest + both - m * math.log1p(-rate)

    likely = min(found * (1.0 - rate) / rate, float(unanswered))
    return _around(excess, 0.0, likely, float(unanswered))


def _around(
    excess: Callable[[float], float], low: float, inside: float, high: float
) -> tuple[float, float]:
    """Find where a function that is below 0 inside crosses 0, to either side, within bounds."""
    found = []
    for outside in (low, high):
        if excess(outside) <= 0.0:
            found.append(outside)
            continue
        near, far = inside, outside
        while abs(far - near) > 1e-9 * max(1.0, abs(far)):
            middle = (near + far) / 2.0
            if excess(middle) <= 0.0:
                near = middle
            else:
                far = middle
        found.append(far)
    return found[0], found[1]


class Side:
    """Answers about events predicted as the class, or as another one.

    A *certain* request was asked for with probability 1; a *drawn* one was not, and stands for
    1 / propensity events.
    """

    def __init__(self) -> None:
        self.certain = self.certain_answered = self.certain_hits = 0
        self.drawn = self.drawn_answered = 0
        self.weight = self.hits = 0.0
        # Probability that the model gave the class: of certain requests, answered or not; and by
        # how much the drawn ones' answers exceeded it.
        self.expected = self.excess = 0.0

    @property
    def certain_scale(self) -> float:
        """How many certain requests an answer to one stands for."""
        return self.certain / self.certain_answered if self.certain_answered else 1.0

    @property
    def drawn_scale(self) -> float:
        """How many drawn requests an answer to one stands for."""
        return self.drawn / self.drawn_answered if self.drawn_answered else 1.0

    def add(self, probability: float, hit: bool | None, weight: float, sign: int = 1) -> None:
        """Take in a request that ended, or take it out again.

        Parameters
        ----------
        probability
            Of the class, as of the decision.
        hit
            Whether the answer was the class; None without one.
        weight
            Events that it stands for; 1 if it was asked for with certainty.
        sign
            -1 to take out.
        """
        answered = hit is not None
        if weight == 1.0:
            self.certain += sign
            self.certain_answered += sign * answered
            self.certain_hits += sign * bool(hit)
            self.expected += sign * probability
            return
        self.drawn += sign
        if hit is not None:
            self.drawn_answered += sign
            self.weight += sign * weight
            self.hits += sign * weight * hit
            self.excess += sign * weight * (hit - probability)


class Ranked:
    """Answers by the log odds that their events had for the class, with what they stand for.

    An answer *certain* to be asked for stands for itself; one that was *drawn* with probability
    1 / w stands for w events. The two are kept apart, and so are events predicted as the class
    and others, because what is known of each of these four parts may be scaled on its own.

    All events of a bin, 0.25 of log odds wide, count as in random order within it.
    """

    def __init__(self) -> None:
        # By part, then answer (other, the class), then bin; last, squared weights of the drawn.
        self._certain = _empty()
        self._drawn = _empty()
        self._squares = _empty()

    def add(
        self,
        probability: float,
        predicted: bool,
        positive: bool,
        weight: float,
        certain: bool,
        sign: int = 1,
    ) -> None:
        """Take in an answer that stands for `weight` events; with a `sign` of -1, out again."""
        sums = sign * weight, sign * weight * weight
        self.add_many(bin_of(probability), predicted, positive, *sums, certain)

    def add_many(
        self,
        place: int,
        predicted: bool,
        positive: bool,
        weight: float,
        square: float,
        certain: bool,
    ) -> None:
        """Take in answers of one bin at once, by the sum of weights and that of their squares."""
        if certain:
            self._certain[predicted][positive][place] += weight
        else:
            self._drawn[predicted][positive][place] += weight
            self._squares[predicted][positive][place] += square

    def average_precision(
        self, certain: tuple[float, float], drawn: tuple[float, float], reach: float
    ) -> Precision | None:
        """Estimate over all events; None without a positive answer.

        The standard error is the delta method's: independent draws, and the derivative of average
        precision by the count of each bin. To it is added what one more positive would change
        that stands for `reach` events, in the bin where the drawn positives' median lies (the
        events' median, without any): without it few positives would seem to be all there are.

        Parameters
        ----------
        certain, drawn
            Factors, at least 1, for what requests without an answer leave out: of events
            predicted as another class, and as this one.
        reach
            The largest weight of a drawn answer.
        """
        fixed = _scaled(self._certain, certain, 1)
        random = _scaled(self._drawn, drawn, 1)
        squares = _scaled(self._squares, drawn, 2)
        counts = fixed + random
        if not counts[1].sum():
            return None
        value, slopes = _average_precision(counts)
        known = random[1] if random[1].sum() else random.sum(axis=0)
        half = int(np.searchsorted(np.cumsum(known), known.sum() / 2.0))
        one_more = counts.copy()
        one_more[1, min(half, _BINS - 1)] += reach
        change = value - _average_precision(one_more)[0]
        variance = float((slopes**2 * squares).sum()) + change**2
        inside = min(max(value, 1e-6), 1.0 - 1e-6)
        return Precision(value, math.sqrt(variance) / (inside * (1.0 - inside)))


def _empty() -> list[list[list[float]]]:
    return [[[0.0] * _BINS for _ in range(2)] for _ in range(2)]


def _scaled(cells: list[list[list[float]]], factors: tuple[float, float], power: int) -> _Floats:
    return np.tensordot(np.array(factors) ** power, np.array(cells), axes=1)


def _average_precision(counts: _Floats) -> tuple[float, _Floats]:
    """Average precision of (other, the class) counts by bin, and its derivative by each of them.

    A positive of bin b finds among those that stand above it c = (positives above, half of b's)
    and d = (others, likewise): AP = sum of t_b c_b / (c_b + d_b), over all positives.
    """
    hits = counts[1]
    above = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1] - counts / 2.0
    d, c = above
    n = np.maximum(c + d, 1e-12)
    q = c / n
    total = hits.sum()
    value = float(hits @ q / total)
    # What a count of bin k changes: all bins below it, and half of its own.
    by_hits, by_others = hits * d / n**2, -hits * c / n**2
    slope_hits = np.cumsum(by_hits) - by_hits / 2.0 + q - value
    slope_others = np.cumsum(by_others) - by_others / 2.0
    return value, np.stack([slope_others, slope_hits]) / total
