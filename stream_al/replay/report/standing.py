"""Which arm is best, and which others may be just as good."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from stream_al.replay.bootstrap import Difference, paired_difference
from stream_al.replay.comparison import Cell, Comparison, rises
from stream_al.replay.runs import METRICS, Metric
from stream_al.replay.seed_means import known, mean_of

__all__ = ["Standing", "means", "standing", "values"]


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How the arms stand at one budget.

    Attributes
    ----------
    best
        The arm with the best mean; the first of several.
    level, worse, unknown
        Other arms: those that an interval of the paired difference does not tell from it; those
        that it does; those for which there is no interval.
    differences
        By arm, its metric minus that of the best.
    """

    best: str
    level: list[str]
    worse: list[str]
    unknown: list[str]
    differences: dict[str, Difference]


def values(cell: Cell, metric: Metric, second_half: bool) -> list[float | None]:
    """Return a metric of each seed's run."""
    parts = [run.metrics_second_half if second_half else run.metrics for run in cell.runs]
    return [getattr(part, metric, None) for part in parts]


def standing(cells: Sequence[Cell], comparison: Comparison) -> Standing | None:
    """Compare each arm with the best by paired bootstrap; None where no arm has the metric.

    Nothing is corrected for there being several arms, nor for the best being chosen by the same
    figures.

    Parameters
    ----------
    cells
        Those of one budget.
    comparison
        What they are of.
    """
    metric, second_half = comparison.metric, comparison.second_half
    found = {cell.arm: known(values(cell, metric, second_half)) for cell in cells}
    by_mean = {cell.arm: cell.mean for cell in cells if cell.mean is not None}
    if not by_mean:
        return None
    choose = max if rises(metric) else min
    best = choose(by_mean, key=by_mean.__getitem__)
    reference = found[best] or []
    differences: dict[str, Difference] = {}
    level, worse, unknown = [], [], []
    for arm, numbers in found.items():
        if arm == best:
            continue
        difference = paired_difference(numbers, reference) if numbers else None
        if difference is None or difference.low is None or difference.high is None:
            unknown.append(arm)
        elif difference.low <= 0.0 <= difference.high:
            level.append(arm)
        else:
            worse.append(arm)
        if difference is not None:
            differences[arm] = difference
    return Standing(best=best, level=level, worse=worse, unknown=unknown, differences=differences)


def means(cell: Cell, second_half: bool) -> dict[Metric, float | None]:
    """Average every metric over an arm's seeds."""
    return {metric: mean_of(values(cell, metric, second_half)) for metric in METRICS}
