"""Linear members, folded together with the scaling so that they apply to raw numbers.

Nine in ten of the microseconds of a linear prediction go into standardising the event. Between
two folds nothing moves, so w (x - mean) / deviation + b is computed as one product with x.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import asinh, exp
from typing import cast

import msgspec
from river.utils import VectorDict

from stream_al.learner.calibration import LARGEST, LINEAR, Calibrator, sigmoid
from stream_al.records import Features

__all__ = ["LinearMember", "LinearPlan"]

Moments = dict[str, tuple[float, float]]
"""Mean and inverse deviation of each number."""


class LinearMember(msgspec.Struct, frozen=True):
    """A member's weights on encoded features, its intercept, calibration and share."""

    weights: dict[str, float]
    intercept: float
    calibrator: Calibrator | None
    share: float


class LinearPlan:
    """A committee of two-class linear members as of one fold.

    Parameters
    ----------
    moments
        What the encoder has learnt.
    members
        At least one.
    """

    def __init__(self, moments: Moments, members: Sequence[LinearMember]) -> None:
        self._moments = moments
        self._names = frozenset(moments)
        self._linear = members
        self._calibrated = []
        self._uncalibrated = []
        for member in members:
            scaled = {}
            intercept = member.intercept
            for name, weight in member.weights.items():
                if name in moments:
                    mean, scale = moments[name]
                    scaled[name] = weight * scale
                    intercept -= weight * scale * mean
            dot, calibrator, share = VectorDict(scaled).dot, member.calibrator, member.share
            if calibrator:
                slope = calibrator.slope * LINEAR
                self._calibrated.append((dot, intercept, slope, calibrator.intercept, share))
            else:
                self._uncalibrated.append((dot, intercept, share))

    def predict_one(self, x: Features) -> float | None:
        """Return the calibrated probability of the second class.

        None for an event whose features are not exactly the numbers that were observed: it has
        categories, or something is new or missing.
        """
        if x.keys() != self._names:
            return None
        p = 0.0
        try:
            # `Calibrator.pair`, written out: for a committee the calls would cost as much again.
            for dot, intercept, slope, offset, share in self._calibrated:
                z = slope * asinh((dot(x) + intercept) / LINEAR) + offset
                if z < -LARGEST:
                    z = -LARGEST
                elif z > LARGEST:
                    z = LARGEST
                p += share / (1.0 + exp(-z))
            for dot, intercept, share in self._uncalibrated:
                p += share * sigmoid(dot(x) + intercept)
        except TypeError:
            return None
        return p

    def weigh_one(self, x: Features) -> dict[str, float] | None:
        """Return each number's part in the members' mean log odds of the second class.

        None where `predict_one` is None.
        """
        if x.keys() != self._names:
            return None
        slopes: dict[str, float] = {}
        for member in self._linear:
            share = member.share * (member.calibrator.slope if member.calibrator else 1.0)
            if slopes:
                for name, weight in member.weights.items():
                    slopes[name] = slopes.get(name, 0.0) + share * weight
            else:
                slopes = {name: share * weight for name, weight in member.weights.items()}
        moments, numbers = self._moments, cast("dict[str, float]", x)
        try:
            return {
                name: slopes[name] * (numbers[name] - mean) * scale
                for name, (mean, scale) in moments.items()
                if name in slopes
            }
        except TypeError:
            return None
