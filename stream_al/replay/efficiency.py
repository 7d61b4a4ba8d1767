"""How many labels it takes to reach a level of a metric."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from math import exp, log
from typing import Literal

import msgspec

__all__ = ["Reach", "labels_to_reach"]


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """Labels that it takes to reach a level.

    Attributes
    ----------
    labels
        A number of labels.
    bound
        ``exact``: it takes these, interpolated between two runs or met by one; ``at_most``: the
        run with the fewest labels is already above the level; ``more_than``: no run reaches it,
        these being the most labels of any.
    """

    labels: float
    bound: Literal["exact", "at_most", "more_than"]


def labels_to_reach(
    points: Iterable[tuple[float, float]], level: float, *, rising: bool = True
) -> Reach | None:
    """Find the labels at which a curve first reaches a level.

    Between two points the metric is taken to be linear in the logarithm of the labels.

    Parameters
    ----------
    points
        (labels, metric) of each run or mean of runs, in any order; those without labels are left
        out.
    level
        The metric to reach.
    rising
        Whether more of the metric is better.

    Returns
    -------
    Reach or None
        None where no point has labels.

    Examples
    --------
    >>> reach = labels_to_reach([(100, 0.5), (1600, 0.9)], 0.7)
    >>> round(reach.labels, 6), reach.bound
    (400.0, 'exact')
    >>> labels_to_reach([(100, 0.5), (1600, 0.9)], 0.95)
    Reach(labels=1600, bound='more_than')
    """
    sign = 1.0 if rising else -1.0
    curve = sorted((labels, sign * metric) for labels, metric in points if labels > 0)
    if not curve:
        return None
    goal = sign * level
    fewest, lowest = curve[0]
    if lowest >= goal:
        return Reach(labels=fewest, bound="exact" if lowest == goal else "at_most")
    for (labels, metric), (more, higher) in pairwise(curve):
        if higher == goal:
            return Reach(labels=more, bound="exact")
        if higher > goal:
            share = (goal - metric) / (higher - metric)
            between = exp(log(labels) + share * (log(more) - log(labels)))
            return Reach(labels=between, bound="exact")
    return Reach(labels=curve[-1][0], bound="more_than")
