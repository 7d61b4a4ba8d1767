"""Figures of several runs that differ by their seed alone, as one figure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev

from stream_al.replay.comparison import CurvePoint
from stream_al.replay.prequential import Scores
from stream_al.replay.runs import Metric, Run

__all__ = ["headline", "known", "mean_curve", "mean_of", "sd_of"]

_RARE = 0.2


def headline(scores: Scores) -> tuple[Metric, str]:
    """Choose the metric to compare by, and say why.

    Where one of two classes is rare, predicting the other one always is nearly right by every
    metric but those of ranking.

    Examples
    --------
    >>> from stream_al.replay.prequential import StreamScores
    >>> scores = StreamScores(4)
    >>> for truth in ("good", "bad", "good", "good"):
    ...     scores.update(truth, None, {})
    >>> headline(scores.whole())
    ('weighted_f1', "the rarer of two classes, 'bad', has 25.00% of the events, not under 20%")
    """
    support = {name: found.support for name, found in scores.per_class.items() if found.support}
    if len(support) != 2:
        return "weighted_f1", f"classes that occur: {len(support)}, not two"
    rarer = min(support, key=lambda name: (support[name], name))
    share = support[rarer] / scores.events
    told = f"the rarer of two classes, {rarer!r}, has {share:.2%} of the events"
    if share < _RARE:
        return "average_precision", f"{told}, under {_RARE:.0%}"
    return "weighted_f1", f"{told}, not under {_RARE:.0%}"


def known(values: Sequence[float | None]) -> list[float] | None:
    """Return the values if each is one: a mean over some of the seeds would not be comparable."""
    numbers = [value for value in values if value is not None]
    return numbers if len(numbers) == len(values) else None


def mean_of(values: Sequence[float | None]) -> float | None:
    """Average over the seeds; None where a value is.

    Examples
    --------
    >>> mean_of([0.25, 0.75]), mean_of([0.25, None])
    (0.5, None)
    """
    numbers = known(values)
    return fmean(numbers) if numbers else None


def sd_of(values: Sequence[float | None]) -> float | None:
    """Return the standard deviation over the seeds, n - 1 in its denominator.

    None where a value is, or for a single one.
    """
    numbers = known(values)
    return stdev(numbers) if numbers and len(numbers) > 1 else None


def mean_curve(runs: Sequence[Run], metric: Metric) -> list[CurvePoint]:
    """Average the learning curves of runs of the same stream, point by point."""
    curve = []
    for points in zip(*(run.curve for run in runs), strict=True):
        values = [point.metrics[metric] for point in points]
        curve.append(
            CurvePoint(
                events=points[0].events,
                asked=fmean(point.asked for point in points),
                labels=fmean(point.labels for point in points),
                mean=mean_of(values),
                sd=sd_of(values),
            )
        )
    return curve
