"""Confidence limits of shares and of differences, for one look at them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist

import msgspec

__all__ = ["Limits", "difference", "farthest", "least_mean", "wilson"]

_FEW = 3
"""Up to so many hits, or misses, their count is far from normal."""

_HALVINGS = 60


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """A value with limits for one look at it, not for all looks at once.

    Attributes
    ----------
    value
        None where nothing is known; the limits are then those of what is possible.
    lower, upper
        Confidence limits.
    count
        What was counted for it: labels, answers or pairs of answers.
    """

    value: float | None
    lower: float
    upper: float
    count: int


def wilson(hits: int, count: int, alpha: float = 0.05, size: float | None = None) -> Limits:
    """Limit a share by Wilson's interval (1927), widened near 0 and 1.

    Wilson's limit is too close to the value after one to three hits, or misses; Poisson's takes
    its place (modified Wilson interval of Brown, Cai and DasGupta 2001).

    Parameters
    ----------
    hits, count
        How many of how many; of none, nothing is known.
    alpha
        Probability, in (0, 1), that the limits miss.
    size
        Independent things that are worth as much as those counted; None: all are independent.

    Examples
    --------
    >>> limits = wilson(8, 10)
    >>> round(limits.lower, 3), round(limits.upper, 3)
    (0.49, 0.964)
    """
    if not count:
        return Limits(value=None, lower=0.0, upper=1.0, count=0)
    p, n = hits / count, size or float(count)
    z = NormalDist().inv_cdf(1.0 - alpha / 2.0)
    scale = 1.0 + z * z / n
    middle = (p + z * z / (2.0 * n)) / scale
    reach = z * math.sqrt(p * (1.0 - p) / n + (z / (2.0 * n)) ** 2) / scale
    lower = min(p, middle - reach, least_mean(p * n, alpha) / n)
    upper = max(p, middle + reach, 1.0 - least_mean((1.0 - p) * n, alpha) / n)
    return Limits(value=p, lower=max(0.0, lower), upper=min(1.0, upper), count=count)


def difference(first: Limits, second: Limits) -> Limits:
    """Subtract a value from another of an independent sample.

    The limits recover each value's variance from its own limits (Zou and Donner 2008; for
    two shares, method 10 of Newcombe 1998). The count is the smaller one.

    Examples
    --------
    >>> high = Limits(value=0.8, lower=0.5, upper=0.9, count=20)
    >>> difference(high, Limits(value=0.3, lower=0.2, upper=0.7, count=10))
    Limits(value=0.5, lower=0.0, upper=0.64..., count=10)
    """
    count = min(first.count, second.count)
    if first.value is None or second.value is None:
        lower, upper = first.lower - second.upper, first.upper - second.lower
        return Limits(value=None, lower=lower, upper=upper, count=count)
    value = first.value - second.value
    below = math.hypot(first.value - first.lower, second.upper - second.value)
    above = math.hypot(first.upper - first.value, second.value - second.lower)
    return Limits(value=value, lower=value - below, upper=value + above, count=count)


def least_mean(count: float, alpha: float) -> float:
    """Find the Poisson mean that reaches a count with probability `alpha`.

    Only where counts are so few that it matters, otherwise the count itself is returned.

    Examples
    --------
    >>> round(least_mean(1, 0.05), 4), least_mean(4, 0.05)
    (0.0513, 4)
    """
    whole = math.ceil(count - 1e-9)
    return _least_mean(whole, alpha) if 1 <= whole <= _FEW else count


@lru_cache(maxsize=32)
def _least_mean(count: int, alpha: float) -> float:
    def refuted(mean: float) -> bool:
        fewer = sum(mean**i / math.factorial(i) for i in range(count))
        return 1.0 - math.exp(-mean) * fewer < alpha

    return farthest(refuted, float(count), 0.0)


def farthest(refuted: Callable[[float], bool], near: float, far: float) -> float:
    """Find how far one can go from `near` towards `far` without being refuted.

    Examples
    --------
    >>> round(farthest(lambda x: x * x > 2.0, 0.0, 4.0), 6)
    1.414214
    """
    if not refuted(far):
        return far
    for _ in range(_HALVINGS):
        middle = (near + far) / 2.0
        if refuted(middle):
            far = middle
        else:
            near = middle
    return near
