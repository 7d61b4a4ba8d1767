"""Limits for a running mean that hold at all times, whatever the mean does meanwhile."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["radius"]

_Floats: TypeAlias = NDArray[np.float64]

_POINTS = 48
_CLOSE = 1e-10
_MOST_STEPS = 100
_GRID: _Floats = np.geomspace(0.004, 0.95, _POINTS)


def radius(variations: Mapping[float, float], first: float, alpha: float) -> float:
    """Bound by how much a sum exceeds the sum of its terms' means, at all times at once.

    A term x is at least -r, its reach r known before it is drawn, and its mean may be another each
    time. For each l with l r < 1 then exp(l (x - mean) - psi_r(l) x^2) has a mean of at most 1,
    with psi_r(l) = (-log(1 - r l) - r l) / r^2 (Fan, Grama and Liu 2015, lemma 4.1), so their
    running product is a supermartingale; so is its mean over a grid of l, which by Ville's
    inequality stays below 1 / alpha at all times with probability 1 - alpha (a mixture, as in
    Howard, Ramdas, McAuliffe and Sekhon 2021, section 3.2). An l that some reach does not allow
    counts as 0 from then on.

    Parameters
    ----------
    variations
        For each reach, the sum of squares of the terms that had it.
    first
        The reach that the first term had; the grid of l is laid out for it.
    alpha
        Probability, in (0, 1), that the sum ever exceeds the bound.

    Returns
    -------
    float
        The smallest s with mean_l exp(l s - sum_r psi_r(l) V_r) >= 1 / alpha; in the terms' unit.
        Infinite where no l is left.

    Examples
    --------
    >>> round(radius({1.0: 0.0}, 1.0, 0.05), 3)
    6.275
    >>> radius({40.0: 1600.0 * 9.0}, 40.0, 0.05) / 40.0 == radius({1.0: 9.0}, 1.0, 0.05)
    True
    """
    rates = _GRID / first
    rates = rates[rates * max(variations, default=first) < 1.0]
    if not len(rates):
        return math.inf
    spent = np.zeros_like(rates)
    for reach, variation in variations.items():
        scaled = rates * reach
        spent += (-np.log1p(-scaled) - scaled) * (variation / reach**2)
    wanted = math.log(_POINTS / alpha)
    # One l alone is enough here; from above, Newton's steps on a convex function stay above.
    s = float(np.min((wanted + spent) / rates))
    for _ in range(_MOST_STEPS):
        exponents: _Floats = rates * s - spent
        top = float(exponents.max())
        weights = np.exp(exponents - top)
        total = float(weights.sum())
        step = (top + math.log(total) - wanted) * total / float(weights @ rates)
        s -= step
        if step <= _CLOSE * s:
            break
    return s
