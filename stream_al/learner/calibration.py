"""Probabilities that mean what they say, learnt from the labels as they come."""

from __future__ import annotations

import math

__all__ = ["LARGEST", "LINEAR", "Calibrator", "log_odds", "sigmoid"]

LARGEST = 36.0
"""Log odds beyond which a double cannot tell a probability from 0 or 1."""

LINEAR = 4.0
"""Log odds up to which the map is about linear; beyond, it grows by their logarithm."""

_PRIOR = 16.0
_PRIOR_SPREAD = 0.25
"""Information that the uncalibrated model is trusted with: for Platt's two parameters (about four
times as many labels), and for the temperature (squared log probability)."""

_KEEP = 0.998
"""Share of the information that is kept from label to label."""


class Calibrator:
    """Platt scaling for two classes, temperature scaling for more, fitted online.

    For two classes p becomes sigmoid(a s(log odds of p) + b) (Platt 1999), s(z) = 4 asinh(z / 4):
    a linear model's outliers have log odds in the hundreds, and one of them, wrong, would flatten
    the slope for all. For more classes p becomes softmax(a log p) (Guo et al. 2017; a is the
    inverse temperature). Each label moves the parameters by one step of the extended Kalman
    filter for logistic observations, which is Newton's method with the information that the
    labels brought so far (Fahrmeir 1992); old information fades.

    Attributes
    ----------
    slope, intercept
        a and b.

    Examples
    --------
    >>> calibrator = Calibrator()
    >>> for _ in range(200):
    ...     right = calibrator.learn_one([0.05, 0.95], 1)
    ...     wrong = calibrator.learn_one([0.05, 0.95], 0)
    >>> calibrator.apply([0.05, 0.95])[1] < 0.6
    True
    """

    def __init__(self) -> None:
        self.slope = 1.0
        self.intercept = 0.0
        self._ss = _PRIOR
        self._si = 0.0
        self._ii = _PRIOR
        self._spread = _PRIOR_SPREAD

    def pair(self, z: float) -> float:
        """Calibrate the second of two classes' log odds to its probability."""
        return sigmoid(self.slope * (LINEAR * math.asinh(z / LINEAR)) + self.intercept)

    def apply(self, p: list[float]) -> list[float]:
        """Calibrate the probabilities of two or more classes, adding up to 1."""
        if len(p) == 2:
            q = self.pair(log_odds(p[1]))
            return [1.0 - q, q]
        return self._temper([math.log(max(q, 1e-15)) for q in p])

    def learn_one(self, p: list[float], k: int) -> float:
        """Learn that what was predicted `p`, uncalibrated, is of class `k`.

        Returns
        -------
        float
            The calibrated probability of class `k` before it was learnt.
        """
        if len(p) == 2:
            q = self._learn_pair(LINEAR * math.asinh(log_odds(p[1]) / LINEAR), k)
        else:
            q = self._learn_temperature([math.log(max(q, 1e-15)) for q in p], k)
        self.slope = min(max(self.slope, 0.0), 10.0)
        return q

    def _learn_pair(self, z: float, k: int) -> float:
        q = sigmoid(self.slope * z + self.intercept)
        information = max(q * (1.0 - q), 1e-6)
        # What fades is made up for by the prior: there is never less belief than at the start.
        fresh = _PRIOR * (1.0 - _KEEP)
        self._ss = ss = _KEEP * self._ss + information * z * z + fresh
        self._si = si = _KEEP * self._si + information * z
        self._ii = ii = _KEEP * self._ii + information + fresh
        step = (q - k) / (ss * ii - si * si)
        self.slope -= (ii * z - si) * step
        self.intercept -= (ss - si * z) * step
        return q if k else 1.0 - q

    def _temper(self, z: list[float]) -> list[float]:
        tempered = [self.slope * value for value in z]
        # What two classes taught of the second's bias holds when a third turns up.
        tempered[1] += self.intercept
        return _softmax(tempered)

    def _learn_temperature(self, z: list[float], k: int) -> float:
        q = self._temper(z)
        mean = sum([w * value for w, value in zip(q, z, strict=True)])
        spread = sum([w * (value - mean) ** 2 for w, value in zip(q, z, strict=True)])
        self._spread = _KEEP * self._spread + spread + _PRIOR_SPREAD * (1.0 - _KEEP)
        self.slope -= (mean - z[k]) / self._spread
        return q[k]


def log_odds(p: float) -> float:
    """Return log(p / (1 - p)), within what a double can tell apart.

    Examples
    --------
    >>> log_odds(0.5), log_odds(1.0)
    (0.0, 36.0)
    """
    if p <= 0.0:
        return -LARGEST
    if p >= 1.0:
        return LARGEST
    return math.log(p / (1.0 - p))


def sigmoid(z: float) -> float:
    """Return 1 / (1 + exp(-z)), strictly between 0 and 1; NaN of NaN.

    Examples
    --------
    >>> sigmoid(0.0)
    0.5
    """
    if z < -LARGEST:
        z = -LARGEST
    elif z > LARGEST:
        z = LARGEST
    return 1.0 / (1.0 + math.exp(-z))


def _softmax(z: list[float]) -> list[float]:
    top = max(z)
    e = [math.exp(value - top) for value in z]
    total = sum(e)
    return [value / total for value in e]
