"""Whether the policy asks again and again about one small region where labels teach nothing."""

from __future__ import annotations

import math
from collections import deque
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from stream_al.keyed import below, uniform
from stream_al.limits import wilson
from stream_al.records import Features
from stream_al.training import Labelled

__all__ = ["Region"]

_Floats: TypeAlias = NDArray[np.float64]

_Answer: TypeAlias = tuple[str, dict[str, float]]
"""A label, and the probabilities given at its decision."""

_REFERENCE, _PICKS, _COLUMNS = 500, 200, 64
"""Of traffic and of picks, how many of the last are kept; the first so many features of them."""

_EVERY, _CENTRES = 200, 8
"""Picks between two looks for a region; picks it is looked for around. Of a region that has half
of the picks, eight draws miss one in 256."""

_SMALL, _LEAST_INSIDE = 0.05, 3
"""Share of traffic of a small region; events of traffic that make one."""

_LITTLE, _LITTLE_WHEN_ON, _CLOSE = 0.3, 0.5, 1.0 - 1e-9
"""Upper limit of the correlation below which labels teach nothing."""


class Region:
    """Looks for one small region that takes most of what the policy picks, and teaches nothing.

    A region is the ball around a pick that surely holds at most 5 % of traffic, by the last 500
    observed and explored events; distances are Euclidean between ranks among these, so that no
    unit and no tail counts. Uncertain events lie together as well, but their labels are
    what a boundary is learnt from. So a region counts only if its labels teach nothing: the
    probabilities given at the decisions do not correlate with them (as where labels are noise),
    or they are all the same, of a class that is no rarer than the region.

    Parameters
    ----------
    seed
        Key of all draws.
    alpha
        Probability, in (0, 1), that the limits of one look miss.

    Attributes
    ----------
    found
        Lower limit of the share of the last 200 picks in the worst region, and words for people;
        None while too little is known.
    """

    def __init__(self, seed: int, alpha: float) -> None:
        self._seed, self._alpha = seed, alpha
        self._columns: dict[str, int] = {}
        self._seen: deque[list[float]] = deque(maxlen=_REFERENCE)
        self._picks: deque[tuple[list[float], _Answer]] = deque(maxlen=_PICKS)
        self._picked = 0
        self._explored: dict[str, int] = {}
        self.found: tuple[float, str] | None = None

    def see(self, features: Features, label: str | None = None) -> None:
        """Take in an event of traffic, with its label if it was explored."""
        self._seen.append(self._place(features))
        if label is not None:
            self._explored[label] = self._explored.get(label, 0) + 1

    def pick(self, record: Labelled, on: bool) -> None:
        """Take in what the policy picked; `on`: whether the region is warned of already."""
        answer = record.label, record.probabilities
        self._picks.append((self._place(record.features), answer))
        self._picked += 1
        if self._picked % _EVERY or len(self._picks) < _PICKS:
            return
        inside = _most_within(len(self._seen))
        if inside < _LEAST_INSIDE:
            return
        seen, picks = _ranks(self._matrix(self._seen), self._matrix([v for v, _ in self._picks]))
        answers = [answer for _, answer in self._picks]
        worst, why = 0.0, "picked requests are spread, or their labels teach"
        for i in range(_CENTRES):
            centre = picks[below(_PICKS, "region", self._seed, self._picked, i)]
            near = _ball(centre, seen, picks, inside)
            if near.any():
                # From the edge of a cluster to its middle (mean shift).
                near = _ball(picks[near].mean(axis=0), seen, picks, inside)
            share = wilson(int(near.sum()), _PICKS, self._alpha).lower
            if share > worst:
                there = [answer for answer, is_near in zip(answers, near, strict=True) if is_near]
                if self._teaches(there) < (_LITTLE_WHEN_ON if on else _LITTLE):
                    worst = share
                    why = (
                        f"{len(there)} of the last {_PICKS} picked requests lie in a region with "
                        f"at most {_SMALL:.0%} of traffic, where labels teach nothing"
                    )
        self.found = worst, why

    def _teaches(self, there: list[_Answer]) -> float:
        """Return the upper limit of how the probabilities correlate with the labels."""
        labels = [label for label, _ in there]
        counts = {label: labels.count(label) for label in sorted(set(labels))}
        most = max(counts, key=counts.__getitem__)
        if self._explored.get(most, 0) < _SMALL * sum(self._explored.values()):
            return 1.0
        y = np.array([label == most for label in labels], dtype=float)
        p = np.array([probabilities.get(most, 0.0) for _, probabilities in there])
        spread = float(y.std() * p.std())
        if len(counts) == 1:
            return 0.0
        r = float(((y - y.mean()) * (p - p.mean())).mean()) / spread if spread else 0.0
        # Fisher's transformation.
        z = math.atanh(min(max(r, -_CLOSE), _CLOSE))
        return math.tanh(z + 1.96 / math.sqrt(max(1, len(there) - 3)))

    def _place(self, features: Features) -> list[float]:
        columns = self._columns
        place = [math.nan] * len(columns)
        for name, value in features.items():
            i = columns.get(name)
            if i is None:
                if len(columns) >= _COLUMNS:
                    continue
                i = columns[name] = len(columns)
                place.append(math.nan)
            # A category stands at a place of its own.
            place[i] = uniform("category", name, value) if isinstance(value, str) else float(value)
        return place

    def _matrix(self, places: deque[list[float]] | list[list[float]]) -> _Floats:
        found = np.full((len(places), len(self._columns)), math.nan)
        for row, place in zip(found, places, strict=True):
            row[: len(place)] = place
        return found


def _most_within(n: int) -> int:
    """Return how many of n events a region may hold that surely has at most 5 % of traffic."""
    inside = -1
    while inside + 1 < n and wilson(inside + 1, n).upper <= _SMALL:
        inside += 1
    return inside


def _ball(centre: _Floats, seen: _Floats, picks: _Floats, inside: int) -> NDArray[np.bool_]:
    """Tell which picks are nearer to the centre than all but so many events of traffic."""
    reach = np.partition(((seen - centre) ** 2).sum(axis=1), inside)[inside]
    near: NDArray[np.bool_] = ((picks - centre) ** 2).sum(axis=1) < reach
    return near


def _ranks(seen: _Floats, others: _Floats) -> tuple[_Floats, _Floats]:
    """Put each column of both at its rank among the first, in [-1/2, 1/2]; unknown: at 0."""
    ranked = np.zeros_like(seen), np.zeros_like(others)
    for j in range(seen.shape[1]):
        column = np.sort(seen[:, j])
        column = column[~np.isnan(column)]
        if not len(column):
            continue
        for rank, values in zip(ranked, (seen[:, j], others[:, j]), strict=True):
            middle = column.searchsorted(values) + column.searchsorted(values, side="right")
            rank[:, j] = np.where(np.isnan(values), 0.0, middle / (2.0 * len(column)) - 0.5)
    return ranked
