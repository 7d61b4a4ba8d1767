"""How a replay stands while it runs."""

from __future__ import annotations

from dataclasses import dataclass

from stream_al.learner.monitor import Monitor
from stream_al.replay.prequential import StreamScores

__all__ = ["Mark"]


@dataclass(frozen=True, slots=True)
class Mark:
    """How a replay stands when another 1 % of its stream has gone by.

    Attributes
    ----------
    percent
        How many percent have.
    events
        Events decided, scored and asked about where they were.
    asked, labels
        Label requests for these; labels learnt from before the last of them was decided.
    scores, monitor
        The running ones: to be looked at, not kept.
    """

    percent: int
    events: int
    asked: int
    labels: int
    scores: StreamScores
    monitor: Monitor
