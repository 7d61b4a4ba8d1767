"""One replay of a comparison, and what is kept of it."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import msgspec

from stream_al.config import Config
from stream_al.replay.marks import Mark
from stream_al.replay.prequential import Scores
from stream_al.replay.runner import Replay
from stream_al.replay.sources import open_source

__all__ = ["CURVE_MARKS", "METRICS", "Metric", "Run", "RunPoint", "play"]

Metric: TypeAlias = Literal[
    "accuracy",
    "weighted_f1",
    "mean_cycle_f1",
    "kappa",
    "average_precision",
    "roc_auc",
    "log_loss",
    "brier",
    "ece",
]
METRICS: tuple[Metric, ...] = get_args(Metric)

# Scoring a point of the curve costs up to some hundred events, so not every 1 % has one; most
# is learnt early, and there the points are dense.
CURVE_MARKS = frozenset({1, 2, 3, 4, *range(5, 101, 5)})
"""Percentages of the stream at which a learning curve has its points."""


class RunPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One point of a learning curve.

    Attributes
    ----------
    events, asked, labels
        Events scored; label requests for these; labels learnt from before the last of them.
    metrics
        Scores of all predictions so far, by name; null where not defined.
    """

    events: int
    asked: int
    labels: int
    metrics: dict[Metric, float | None]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What one replay came to; see `stream_al.replay.runner.Report`."""

    events: int
    skipped: int
    skip_reasons: dict[str, int]
    asked: int
    labels: int
    max_overspend: float
    metrics: Scores
    metrics_second_half: Scores | None
    curve: tuple[RunPoint, ...]


def play(source: str, config: Config) -> Run:
    """Play a source once.

    Parameters
    ----------
    source
        As for `stream_al.replay.sources.open_source`; not standard input.
    config
        The configuration, seeds and budget included.

    Raises
    ------
    InputError, ConfigError
        As `open_source` and `Replay.run`.

    Examples
    --------
    >>> from stream_al import SourceConfig
    >>> run = play("river:Phishing", Config(source=SourceConfig(label="is_phishing")))
    >>> run.events, len(run.curve), run.curve[-1].events
    (1250, 24, 1250)
    """
    points: dict[int, RunPoint] = {}

    def at_mark(mark: Mark) -> None:
        if mark.percent in CURVE_MARKS:
            metrics = mark.scores.whole()
            # Short streams pass several marks with one event.
            points[metrics.events] = RunPoint(
                events=metrics.events,
                asked=mark.asked,
                labels=mark.labels,
                metrics={name: getattr(metrics, name) for name in METRICS},
            )

    opened = open_source(source, config.source, config.learner.classes, config.replay.limit)
    report = Replay(config).run(opened, at_mark=at_mark)
    return Run(
        events=report.events,
        skipped=report.skipped,
        skip_reasons=report.skip_reasons,
        asked=report.asked,
        labels=report.labels,
        max_overspend=report.max_overspend,
        metrics=report.metrics,
        metrics_second_half=report.metrics_second_half,
        curve=tuple(points.values()),
    )
