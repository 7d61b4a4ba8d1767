"""Whether confidence means what it says, from the labels of the events that were explored."""

from __future__ import annotations

import math
from collections import deque

import msgspec

from stream_al.training import Labelled

__all__ = ["BINS", "Bin", "Calibration", "Reliability"]

BINS = 15
"""Bins of equal width that [0, 1] is cut into, as for the error that a replay scores."""

_WINDOW = 1000
"""Explored labels that are looked at."""

_PRIOR = 1.0
"""Labels' worth of trust in a bin's confidence, where its labels' spread is judged: three right
ones out of three do not show that none will be wrong."""

_RARE = 2.0
"""Added to the sum of squares, since a rare mistake that was not seen yet has left none there."""


class Bin(msgspec.Struct, frozen=True, kw_only=True):
    """Explored labels that have something in common.

    Attributes
    ----------
    labels
        How many.
    confidence, right
        Their mean confidence in the predicted class, and the share that was predicted right.
    lower, upper
        Confidence that the bin begins with, and that the next one does.
    """

    labels: int
    confidence: float
    right: float
    lower: float = 0.0
    upper: float = 1.0


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """How far confidence is from the share that is right, over the last explored labels.

    Attributes
    ----------
    ece
        Expected calibration error of the predicted class's probability, without the part that
        chance alone would make: |mean confidence - share right| of a bin, averaged over events; in
        [0, 1]. None before the first explored label.
    lower, upper
        Limits of it, for one moment looked at, not for all at once.
    binned
        The same without taking anything off: what calibration by itself would not bring to 0.
    labels
        Explored labels looked at.
    bins
        Those of the bins that have any, in order of confidence.
    classes
        The same by predicted class.
    """

    ece: float | None
    lower: float
    upper: float
    binned: float | None
    labels: int
    bins: tuple[Bin, ...]
    classes: dict[str, Bin]


class _Sums:
    """Of some labels: their number, right ones, sums of confidence and of squared errors."""

    __slots__ = ("confidence", "labels", "right", "squares")

    def __init__(self) -> None:
        self.labels = self.right = 0
        self.confidence = self.squares = 0.0

    def add(self, confidence: float, right: bool, sign: int) -> None:
        self.labels += sign
        self.right += sign * right
        self.confidence += sign * confidence
        self.squares += sign * (confidence - right) ** 2
        if not self.labels:
            # No rounding is to be left behind.
            self.confidence = self.squares = 0.0

    def told(self, lower: float = 0.0, upper: float = 1.0) -> Bin:
        confidence, right = self.confidence / self.labels, self.right / self.labels
        return Bin(labels=self.labels, confidence=confidence, right=right, lower=lower, upper=upper)


class Reliability:
    """Bins the confidence of explored events by what it was worth.

    Explored events are a uniform draw of all, so their bins are those of all traffic; what a
    policy picked is not looked at. Within a bin let S be the sum of confidence less right, and v
    its variance. The mean of |S| is above |sum of means| by up to .8 sqrt(v), in every bin, so the
    usual binned error shows .11 for 50 labels of a model without any. Instead S counts with the
    sign that *other* labels give it: one half of the bin's labels give the sign and the other
    half the size, in the mean over all ways to halve them, which with Gaussian sums is

        S (2 Phi(S / sqrt(v)) - 1) - 2 sqrt(v) phi(S / sqrt(v)).

    Its mean is 0 where the bin is calibrated, never above the true |sum of means|, and equal to it
    where that stands out of the noise; between, at most .48 sqrt(v) less. So is the lower limit
    taken from it, while the upper one is taken from the sum of |S|, which is high in the mean.

    Examples
    --------
    >>> reliability = Reliability()
    >>> reliability.calibration()
    Calibration(ece=None, lower=0.0, upper=1.0, binned=None, labels=0, bins=(), classes={})
    """

    def __init__(self) -> None:
        self._recent: deque[tuple[float, bool, str]] = deque()
        self._bins = [_Sums() for _ in range(BINS)]
        self._classes: dict[str, _Sums] = {}

    def take(self, record: Labelled) -> None:
        """Take note of an answer; of one to an event that was explored and predicted."""
        predicted = record.prediction
        if not record.explored or predicted is None:
            return
        # A class that was predicted has a probability; rounding may bring it above 1.
        confidence = min(record.probabilities[predicted], 1.0)
        self._count(confidence, record.label == predicted, predicted, 1)
        self._recent.append((confidence, record.label == predicted, predicted))
        if len(self._recent) > _WINDOW:
            self._count(*self._recent.popleft(), -1)

    def _count(self, confidence: float, right: bool, predicted: str, sign: int) -> None:
        self._bins[min(int(confidence * BINS), BINS - 1)].add(confidence, right, sign)
        of_class = self._classes.setdefault(predicted, _Sums())
        of_class.add(confidence, right, sign)
        if not of_class.labels:
            del self._classes[predicted]

    def calibration(self, z: float = 1.96) -> Calibration:
        """Estimate over the last explored labels.

        Parameters
        ----------
        z
            How many standard errors the limits are apart from what they are taken from.
        """
        n = len(self._recent)
        if not n:
            return Calibration(
                ece=None, lower=0.0, upper=1.0, binned=None, labels=0, bins=(), classes={}
            )
        apart = halved = squares = 0.0
        for sums in self._bins:
            if sums.labels:
                excess = sums.confidence - sums.right
                apart += abs(excess)
                halved += _halved(excess, _variance(sums))
                squares += sums.squares
        error = z * math.sqrt(squares + _RARE)
        return Calibration(
            ece=max(0.0, halved / n),
            lower=max(0.0, (halved - error) / n),
            upper=min(1.0, (apart + error) / n),
            binned=apart / n,
            labels=n,
            bins=tuple(
                sums.told(number / BINS, (number + 1) / BINS)
                for number, sums in enumerate(self._bins)
                if sums.labels
            ),
            classes={name: sums.told() for name, sums in sorted(self._classes.items())},
        )


def _variance(sums: _Sums) -> float:
    """Return the variance of a bin's number of right ones."""
    n = sums.labels
    right = (sums.right + _PRIOR * sums.confidence / n) / (n + _PRIOR)
    return n * max(0.0, right * (1.0 - right))


def _halved(excess: float, variance: float) -> float:
    """Return the size of a sum by the sign that other labels give it; see `Reliability`."""
    if not variance:
        return abs(excess)
    deviation = math.sqrt(variance)
    x = excess / deviation
    density = math.exp(-x * x / 2.0) / math.sqrt(2.0 * math.pi)
    return excess * math.erf(x / math.sqrt(2.0)) - 2.0 * deviation * density
