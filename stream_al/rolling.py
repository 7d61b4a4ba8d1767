"""Shares over a rolling window, in memory that does not grow."""

from __future__ import annotations

import math
from collections import deque

__all__ = ["RollingAccuracy", "RollingRatio"]


class RollingRatio:
    """The share of hits among the last things counted.

    Counts are kept in buckets and forgotten by whole ones, so the window is at least `window` and
    longer by less than one bucket, a `buckets`-th of it, or the largest batch where that is more.

    Parameters
    ----------
    window
        Things that count, at least 1.
    buckets
        Steps in which the window moves, at least 1.

    Attributes
    ----------
    value
        The share, in [0, 1]; NaN before anything was counted. May be read from any thread.

    Examples
    --------
    >>> asked = RollingRatio(window=100, buckets=10)
    >>> asked.value
    nan
    >>> for _ in range(5):
    ...     asked.add(5, 50)
    >>> asked.add(50, 50)
    >>> asked.value
    0.55
    """

    def __init__(self, window: int = 10_000, buckets: int = 20) -> None:
        if window < 1 or buckets < 1:
            raise ValueError(f"window and buckets are at least 1, not {window} and {buckets}")
        self._window = window
        self._step = -(-window // buckets)
        self._buckets: deque[tuple[int, int]] = deque()
        self._hits = self._total = 0
        self.value = math.nan

    def add(self, hits: int, total: int) -> None:
        """Count `total` things, `hits` of them hits."""
        if not 0 <= hits <= total:
            raise ValueError(f"hits must be in [0, {total}], not {hits}")
        self._hits += hits
        self._total += total
        if self._buckets and self._buckets[-1][1] < self._step:
            before = self._buckets.pop()
            hits, total = hits + before[0], total + before[1]
        self._buckets.append((hits, total))
        while self._total - self._buckets[0][1] >= self._window:
            hits, total = self._buckets.popleft()
            self._hits -= hits
            self._total -= total
        self.value = self._hits / self._total if self._total else math.nan


class RollingAccuracy:
    """The share of right predictions among the last labelled requests.

    Naive: it weighs all alike, so it tells of the events that were asked about and not of traffic.

    Parameters
    ----------
    window
        Labelled requests that count, at least 1.

    Attributes
    ----------
    value
        As of `RollingRatio`.

    Examples
    --------
    >>> accuracy = RollingAccuracy(window=2)
    >>> for prediction in (None, "fraud", "good"):
    ...     accuracy.add("good", prediction)
    >>> accuracy.value
    0.5
    """

    def __init__(self, window: int = 1000) -> None:
        if window < 1:
            raise ValueError(f"window is at least 1, not {window}")
        self._right: deque[bool] = deque(maxlen=window)
        self._sum = 0
        self.value = math.nan

    def add(self, label: str, prediction: str | None) -> None:
        """Count a labelled request; no prediction is a wrong one."""
        if len(self._right) == self._right.maxlen:
            self._sum -= self._right[0]
        self._right.append(label == prediction)
        self._sum += self._right[-1]
        self.value = self._sum / len(self._right)
