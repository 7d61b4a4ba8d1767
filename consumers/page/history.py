"""How figures went, in memory that does not grow."""

from __future__ import annotations

import math
from collections import deque

import msgspec

from consumers.telemetry import Telemetry

__all__ = ["History", "Point"]

_TIERS = ((1, 300), (15, 240), (180, 240))
"""Every how many points one is kept, and how many of those. At a point every 2 s: 10 minutes, 2
hours and a day."""


class Point(msgspec.Struct, frozen=True, array_like=True, gc=False, kw_only=True):
    """What the page draws of one moment; NaN where it is not known.

    Attributes
    ----------
    time
        Epoch seconds.
    query, budget
        `query_ratio` and `budget_ratio`.
    accuracy, lower, upper, naive
        `rolling_accuracy_ratio` with its limits, and `rolling_accuracy_naive_ratio`.
    decided
        `predictions_total` of both actions.
    open_requests
        As the metric.
    """

    time: float
    query: float
    budget: float
    accuracy: float
    lower: float
    upper: float
    naive: float
    decided: float
    open_requests: float

    @classmethod
    def of(cls, time: float, telemetry: Telemetry) -> Point:
        """Take the figures of now."""
        get = telemetry.get
        return cls(
            time=time,
            query=get("query_ratio"),
            budget=get("budget_ratio"),
            accuracy=get("rolling_accuracy_ratio"),
            lower=get("rolling_accuracy_limit_ratio", "lower"),
            upper=get("rolling_accuracy_limit_ratio", "upper"),
            naive=get("rolling_accuracy_naive_ratio"),
            decided=get("predictions_total", "ask") + get("predictions_total", "auto"),
            open_requests=get("open_requests"),
        )


class History:
    """The points of the past: recent ones densely, older ones thinned out, the oldest forgotten.

    One thread adds, any may read.

    Examples
    --------
    >>> history, telemetry = History(), Telemetry(["ledger"])
    >>> for second in range(0, 100_000, 2):
    ...     history.add(Point.of(float(second), telemetry))
    >>> points = history.points
    >>> len(points), points[-1].time - points[-2].time, points[1].time - points[0].time
    (740, 2.0, 360.0)
    """

    def __init__(self) -> None:
        self._rings = [deque[Point](maxlen=room) for _, room in _TIERS]
        self._added = 0

    def add(self, point: Point) -> None:
        """Add a point, later than those before."""
        for (every, _), ring in zip(_TIERS, self._rings, strict=True):
            if self._added % every == 0:
                ring.append(point)
        self._added += 1

    @property
    def points(self) -> list[Point]:
        """All that is kept, in order of time."""
        found: list[Point] = []
        until = math.inf
        for ring in self._rings:
            kept = list(ring)
            found[:0] = [point for point in kept if point.time < until]
            until = kept[0].time if kept else until
        return found
