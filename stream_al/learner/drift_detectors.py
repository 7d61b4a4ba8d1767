"""The detectors of drift: charts of residuals, and windows over errors and features."""

from __future__ import annotations

import math

from river.drift import ADWIN

from stream_al.learner.calibration import sigmoid

__all__ = ["Chart", "Scale", "window"]

_KEEP = 0.999
_LEAST = 1e-3
_FAR = 3.0
_ENOUGH = 10


class Chart:
    """Two-sided cumulative sum chart of outcomes against their predicted probability.

    A step is the log likelihood ratio between log odds moved by `shift` and those predicted,
    shift (y - p) - shift^2 p (1 - p) / 2 to second order: the residual, normalised by its
    predicted variance (risk-adjusted CUSUM; Steiner, Cook, Farewell and Treasure 2000, equation
    2.1). A step is at most `shift` long, however sure the model was. Of calibrated predictions
    the mean number of outcomes to a false alarm of one side is at least exp(limit) (Lorden 1971).

    The predictions are first calibrated to the outcomes themselves by an intercept, slowly: what
    a model gets wrong all the time is no drift.

    Parameters
    ----------
    shift
        Change of log odds that is found soonest, above 0.
    trust
        Information that the predictions are trusted with; that of about 4 labels a unit.

    Examples
    --------
    >>> chart = Chart(shift=0.8, trust=16.0)
    >>> for _ in range(30):
    ...     chart.add(True, 0.0, 1.0)
    >>> chart.above > 5.0, chart.below
    (True, 0.0)
    """

    __slots__ = ("_bias", "_information", "_shift", "_trust", "above", "below")

    def __init__(self, shift: float, trust: float) -> None:
        self._shift = shift
        self._trust = trust
        self._bias = 0.0
        self.restart()

    def restart(self) -> None:
        """Forget the sums; the calibration holds on, but moves as fast as a new one."""
        self._information = self._trust
        self.above = self.below = 0.0

    def settle(self, outcome: bool, odds: float, tilt: float) -> None:
        """Calibrate to an outcome without charting it; see `add`."""
        q = sigmoid(odds + self._bias * tilt)
        self._learn(outcome - q, q, tilt)

    def add(self, outcome: bool, odds: float, tilt: float) -> None:
        """Take in an outcome.

        Parameters
        ----------
        outcome
            Whether it happened.
        odds
            Predicted log odds of its happening.
        tilt
            What the change looked for is multiplied with: 1, or a feature, standardised.
        """
        q = sigmoid(odds + self._bias * tilt)
        move = self._shift * tilt
        step = move if outcome else 0.0
        self.above = max(0.0, self.above + step - math.log1p(q * math.expm1(move)))
        self.below = max(0.0, self.below - step - math.log1p(q * math.expm1(-move)))
        self._learn(outcome - q, q, tilt)

    def _learn(self, residual: float, q: float, tilt: float) -> None:
        spread = max(q * (1.0 - q), _LEAST) * tilt * tilt
        fresh = self._trust * (1.0 - _KEEP)
        self._information = _KEEP * self._information + spread + fresh
        self._bias += residual * tilt / self._information


class Scale:
    """Standardise a feature by its first values, and watch whether later ones stay like them.

    Parameters
    ----------
    reference
        How many values the mean and deviation are taken from.
    delta
        As of `window`.
    """

    __slots__ = ("_delta", "_deviation", "_mean", "_reference", "_squares", "_window", "count")

    def __init__(self, reference: int, delta: float) -> None:
        self._reference = reference
        self._delta = delta
        self.restart()

    def restart(self) -> None:
        """Forget everything."""
        self.count = 0
        self._mean = self._squares = self._deviation = 0.0
        self._window = window(self._delta)

    def standardise(self, value: float) -> float:
        """Return the value as standard deviations from the mean, within ±3; 0 if unknown yet."""
        if not self._deviation:
            return 0.0
        z = (value - self._mean) / self._deviation
        return -_FAR if z < -_FAR else _FAR if z > _FAR else z

    def observe(self, value: float) -> float | None:
        """Take in a value.

        Returns
        -------
        float or None
            If the mean has changed: by how many standard deviations, roughly.
        """
        if self.count < self._reference:
            self.count += 1
            away = value - self._mean
            self._mean += away / self.count
            self._squares += away * (value - self._mean)
            if self.count >= _ENOUGH:
                self._deviation = math.sqrt(max(0.0, self._squares) / self.count)
        # Within [0, 1], as the window's bound takes for granted.
        z = self.standardise(value)
        self._window.update(0.5 + z / (2.0 * _FAR))
        if not self._window.drift_detected:
            return None
        return 2.0 * _FAR * (float(self._window.estimation) - 0.5)


def window(delta: float) -> ADWIN:
    """Make a window over values in [0, 1] that shrinks when their mean changes.

    Parameters
    ----------
    delta
        Significance of one comparison of its two ends, in (0, 1) (Bifet and Gavaldà 2007).
    """
    # Values are as scarce as labels: each may be the one that tells.
    return ADWIN(delta=delta, clock=1, grace_period=30, min_window_length=10)
