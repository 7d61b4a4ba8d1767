"""Linear members, folded together with the scaling so that they apply to raw numbers.

Nine in ten of the microseconds of a linear prediction go into standardising the event. Between
two folds nothing moves, so w (x - mean) / deviation + b is computed as one product with x. Many
events at a time go through numpy, element by element and in the order in which one goes through
the members: the same sums to the last bit, whatever the size of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import chain
from math import asinh, exp, log
from typing import Any, TypeAlias, cast

import msgspec
import numpy as np
from numpy.typing import NDArray
from river.utils import VectorDict

from stream_al.learner.calibration import (
    LARGEST,
    LINEAR,
    POOL_LINEAR,
    Calibrator,
    PoolCalibrator,
    sigmoid,
)
from stream_al.records import Features

__all__ = ["LinearMember", "LinearPlan"]

Moments = dict[str, tuple[float, float]]
"""Mean and inverse deviation of each number."""

_Floats: TypeAlias = NDArray[np.float64]

_NUMBERS = frozenset({float, int})


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
    pool
        Calibrates their mean; None where nothing does.
    """

    def __init__(
        self, moments: Moments, members: Sequence[LinearMember], pool: PoolCalibrator | None = None
    ) -> None:
        self._moments = moments
        self._pool = pool if pool and pool.labels else None
        self._names = frozenset(moments)
        self._linear = members
        self._calibrated = []
        self._uncalibrated = []
        self._scaled: list[dict[str, float]] = []
        for member in members:
            # All names, so that products are summed in the event's order.
            scaled = dict.fromkeys(moments, 0.0)
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
            self._scaled.append(scaled)
        self._order: tuple[str, ...] = ()
        self._columns: list[_Floats] = []

    @cached_property
    def _slopes(self) -> dict[str, float]:
        """The members' mean slope for each number, times the pool's."""
        slopes: dict[str, float] = {}
        pool = self._pool.slope if self._pool else 1.0
        for member in self._linear:
            share = pool * member.share * (member.calibrator.slope if member.calibrator else 1.0)
            for name, weight in member.weights.items():
                slopes[name] = slopes.get(name, 0.0) + share * weight
        return slopes

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
        return self._pool.pair(p) if self._pool else p

    def predict_many(self, xs: Sequence[Features]) -> list[float] | None:
        """Return what `predict_one` does of each, bit for bit.

        None where they are not the same numbers in the same order, or members are not calibrated:
        then they are to be predicted one by one.
        """
        order = tuple(xs[0])
        if not order or self._uncalibrated or {*map(tuple, xs)} != {order}:
            return None
        if order != self._order:
            if self._names != frozenset(order):
                return None
            self._order = order
            self._columns = [_column([s[name] for s in self._scaled]) for name in order]
        values = [cast("Any", x.values()) for x in xs]
        # Text that spells a number would pass for one.
        if not _NUMBERS.issuperset(map(type, chain.from_iterable(values))):
            return None
        try:
            flat = np.fromiter(chain.from_iterable(values), np.float64, len(xs) * len(order))
        except OverflowError:
            return None
        with np.errstate(all="ignore"):
            return self._mixed(np.ascontiguousarray(flat.reshape(len(xs), -1).T))

    def _mixed(self, rows: _Floats) -> list[float]:
        """Mix the members' predictions; one row for each number."""
        _, intercepts, slopes, offsets, shares = zip(*self._calibrated, strict=True)
        z = self._columns[0] * rows[0]
        for column, row in zip(self._columns[1:], rows[1:], strict=True):
            z += column * row
        z += _column(intercepts)
        z /= LINEAR
        z = _each(asinh, z)
        z *= _column(slopes)
        z += _column(offsets)
        np.negative(np.clip(z, -LARGEST, LARGEST, z), z)
        odds = _each(exp, z)
        odds += 1.0
        p = np.zeros(rows.shape[1])
        for share, odd in zip(shares, odds, strict=True):
            p += share / odd
        found: list[float] = self._pooled(p) if self._pool else p.tolist()
        return found

    def _pooled(self, p: _Floats) -> list[float]:
        """Calibrate the members' means as `PoolCalibrator.pair` does."""
        pool = cast("PoolCalibrator", self._pool)
        # Also false where any is NaN.
        if not (p.min() > 0.0 and p.max() < 1.0):
            return [*map(pool.pair, p.tolist())]
        z = _each(log, p / (1.0 - p))
        z /= POOL_LINEAR
        z = _each(asinh, z)
        # `POOL_LINEAR` is a power of 2, so the order of factors changes no bit.
        z *= -pool.slope * POOL_LINEAR
        odds = _each(exp, z)
        odds += 1.0
        found: list[float] = (1.0 / odds).tolist()
        return found

    def weigh_one(self, x: Features) -> dict[str, float] | None:
        """Return each number's part in the members' mean log odds of the second class.

        None where `predict_one` is None.
        """
        if x.keys() != self._names:
            return None
        slopes = self._slopes
        moments, numbers = self._moments, cast("dict[str, float]", x)
        try:
            return {
                name: slopes[name] * (numbers[name] - mean) * scale
                for name, (mean, scale) in moments.items()
                if name in slopes
            }
        except TypeError:
            return None


def _each(function: Callable[[float], float], values: _Floats) -> _Floats:
    """Apply a function of one number; numpy's own may differ from it in the last bit."""
    found = map(function, values.ravel().tolist())
    return np.fromiter(found, np.float64, values.size).reshape(values.shape)


def _column(values: Sequence[float]) -> _Floats:
    return np.array(values, np.float64)[:, np.newaxis]
