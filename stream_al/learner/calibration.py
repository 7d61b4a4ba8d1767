"""Probabilities that mean what they say, learnt from the labels as they come."""

from __future__ import annotations

import math

__all__ = [
    "LARGEST",
    "LINEAR",
    "POOL_LINEAR",
    "Calibrator",
    "PoolCalibrator",
    "log_odds",
    "sigmoid",
]

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

POOL_LINEAR = 2.0
"""As `LINEAR`, for the mean of calibrated forecasts."""

_POOL_SLOPE = 1.6
_POOL_PRIOR = 8.0
_POOL_KEEP = 0.9995
"""Slope to start with for two classes, to make up for the compression; information that it is
trusted with; and share of that which is kept from label to label: with less an event's rank among
those of other days would move about."""

_POOL_SLOPES = (0.2, 4.0)
_POOL_STEP = 0.5
"""Limits of the slope, at 0 of which no class would be predicted, and of what a label moves it."""


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
        return self._temper(_logs(p))

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
            q = self._learn_temperature(_logs(p), k)
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
        mean, spread = _moments(q, z)
        self._spread = _KEEP * self._spread + spread + _PRIOR_SPREAD * (1.0 - _KEEP)
        self.slope -= (mean - z[k]) / self._spread
        return q[k]


class PoolCalibrator:
    """Sharpens the mean of calibrated forecasts, which are less confident than they are right.

    That holds for any mean of calibrated forecasts that differ (Ranjan and Gneiting 2010,
    theorem 1). For two classes p becomes sigmoid(a s(log odds of p)), s(z) = 2 asinh(z / 2), since
    with noise in the labels no event is certain; for more softmax(a log p). There is no intercept:
    which class is likeliest, and which of two events is the surer, stays as it was.

    It is to learn from explored events alone. Those that a policy picks lie where the classes
    meet, and a slope that fits there is wrong where most events are. Until the first label
    probabilities stay as they are.

    Attributes
    ----------
    slope
        a, within [0.2, 4].

    Examples
    --------
    >>> pool = PoolCalibrator()
    >>> pool.apply([0.3, 0.7])
    [0.3, 0.7]
    >>> for _ in range(100):
    ...     pool.learn_one([0.3, 0.7], 1)
    >>> pool.apply([0.3, 0.7])[1] > 0.8
    True
    """

    def __init__(self) -> None:
        self.slope = 1.0
        self.labels = 0
        self._information = _POOL_PRIOR

    def pair(self, p: float) -> float:
        """Calibrate the probability of the second of two classes; NaN of NaN."""
        if not self.labels:
            return p
        # Every event passes here: not a function more is called than needed.
        z = math.log(p / (1.0 - p)) if 0.0 < p < 1.0 else log_odds(p)
        return 1.0 / (1.0 + math.exp(-self.slope * (POOL_LINEAR * math.asinh(z / POOL_LINEAR))))

    def apply(self, p: list[float]) -> list[float]:
        """Calibrate the probabilities of two or more classes, adding up to 1."""
        if not self.labels:
            return p
        if len(p) == 2:
            q = self.pair(p[1])
            return [1.0 - q, q]
        return _softmax([self.slope * value for value in _logs(p)])

    def learn_one(self, p: list[float], k: int) -> None:
        """Learn that an explored event, for which the mean is `p`, is of class `k`."""
        z = [0.0, _compressed(p[1])] if len(p) == 2 else _logs(p)
        if not self.labels and len(p) == 2:
            self.slope = _POOL_SLOPE
        q = _softmax([self.slope * value for value in z])
        mean, spread = _moments(q, z)
        fresh = _POOL_PRIOR * (1.0 - _POOL_KEEP)
        self._information = _POOL_KEEP * self._information + spread + fresh
        step = (z[k] - mean) / self._information
        least, most = _POOL_SLOPES
        step = min(max(step, -_POOL_STEP), _POOL_STEP)
        self.slope = min(max(self.slope + step, least), most)
        self.labels += 1


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


def _compressed(p: float) -> float:
    return POOL_LINEAR * math.asinh(log_odds(p) / POOL_LINEAR)


def _logs(p: list[float]) -> list[float]:
    return [math.log(max(q, 1e-15)) for q in p]


def _moments(weights: list[float], values: list[float]) -> tuple[float, float]:
    """Return mean and variance under weights that add up to 1."""
    mean = sum([w * value for w, value in zip(weights, values, strict=True)])
    return mean, sum([w * (value - mean) ** 2 for w, value in zip(weights, values, strict=True)])


def _softmax(z: list[float]) -> list[float]:
    top = max(z)
    e = [math.exp(value - top) for value in z]
    total = sum(e)
    return [value / total for value in e]
