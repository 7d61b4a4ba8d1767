"""The course of a replay: how it stood at a hundred marks of its stream."""

from __future__ import annotations

from itertools import pairwise

import msgspec

from stream_al.learner.accuracy import Estimate
from stream_al.learner.drift import Cause
from stream_al.replay.marks import Mark
from stream_al.replay.prequential import Scores

__all__ = ["Course", "Point", "Stretch"]


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """How a replay stood.

    Attributes
    ----------
    events, asked, labels
        As of `stream_al.replay.marks.Mark`.
    scores
        Of all predictions so far.
    estimate, naive
        What the labels alone told: accuracy since the start, and the share of right predictions
        among the labelled events of the last blocks.
    alarms
        Drift alarms so far, by cause.
    """

    events: int
    asked: int
    labels: int
    scores: Scores
    estimate: Estimate
    naive: float | None
    alarms: dict[Cause, int]


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """What happened between two points.

    Attributes
    ----------
    begin, end
        Events before it, and up to its end.
    accuracy
        Share of right predictions in it.
    f1
        By class, F1 in it; 0 where the class neither occurred nor was predicted.
    """

    begin: int
    end: int
    accuracy: float
    f1: dict[str, float]


class Course:
    """Collects points, of which there are at most a hundred however long the stream.

    Examples
    --------
    >>> from stream_al import Config, SourceConfig
    >>> from stream_al.replay.runner import Replay
    >>> from stream_al.replay.sources import open_source
    >>> course, config = Course(), Config(source=SourceConfig(label="is_phishing"))
    >>> report = Replay(config).run(open_source("river:Phishing", config.source), at_mark=course)
    >>> len(course.points), course.points[-1].scores == report.metrics
    (100, True)
    >>> [stretch.end for stretch in course.stretches(3)]
    [413, 825, 1250]
    """

    def __init__(self) -> None:
        self._points: dict[int, Point] = {}

    def __call__(self, mark: Mark) -> None:
        """Take note of how a replay stands."""
        # Short streams pass several marks with one event.
        self._points[mark.events] = Point(
            events=mark.events,
            asked=mark.asked,
            labels=mark.labels,
            scores=mark.scores.whole(),
            estimate=mark.monitor.accuracy.estimate(),
            naive=mark.monitor.accuracy.rolling().naive,
            alarms=mark.monitor.drift.counts,
        )

    @property
    def points(self) -> list[Point]:
        """All points, in order."""
        return list(self._points.values())

    def stretches(self, number: int) -> list[Stretch]:
        """Cut the stream up to the last point into stretches of about the same length.

        Parameters
        ----------
        number
            How many, at least 1; fewer where there are fewer points.
        """
        points = self.points
        parts = min(number, len(points))
        last = [len(points) * part // parts - 1 for part in range(1, parts + 1)]
        ends: list[Point | None] = [None, *(points[place] for place in last)]
        return [_between(begin, end) for begin, end in pairwise(ends) if end is not None]


def _between(begin: Point | None, end: Point) -> Stretch:
    before = begin.scores if begin is not None else None
    counts = {name: _counts(end.scores, name, before) for name in end.scores.per_class}
    start = 0 if begin is None else begin.events
    right = sum(hits for hits, _ in counts.values())
    return Stretch(
        begin=start,
        end=end.events,
        accuracy=right / (end.events - start),
        f1={name: 2 * hits / either if either else 0.0 for name, (hits, either) in counts.items()},
    )


def _counts(scores: Scores, name: str, before: Scores | None) -> tuple[int, int]:
    """Count the right predictions of a class, and its events plus its predictions."""
    found = scores.per_class.get(name)
    if found is None:
        return 0, 0
    hits, either = round(found.recall * found.support), found.support + found.predicted
    if before is None:
        return hits, either
    hits_before, either_before = _counts(before, name, None)
    return hits - hits_before, either - either_before
