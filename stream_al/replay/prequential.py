"""Prequential metrics: every event is predicted before its label can be learnt, then scored.

All true classes are known in a replay, asked for or not, so every event counts. There is one
tally for each half of the stream; the whole is the two merged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stream_al.errors import ConfigError
from stream_al.replay.tally import (
    ClassScores,
    ConfidenceBin,
    Scores,
    Tally,
    merged,
    summed,
    weighted_f1,
)

__all__ = ["ClassScores", "ConfidenceBin", "Scores", "StreamScores"]

_CYCLES = 100


class StreamScores:
    """Scores of a stream's predictions: whole stream and second half.

    Parameters
    ----------
    length
        Number of events of the stream; None if unknown. Events beyond it belong to the second
        half and the whole, and reach no further mark of `Scores.mean_cycle_f1`.
    at_mark
        Told, each time that another 1 % of the stream has gone by, how many percent have.

    Raises
    ------
    ConfigError
        If `length` is negative.

    Examples
    --------
    >>> scores = StreamScores(length=4)
    >>> scores.update("good", None, {})
    >>> scores.update("bad", "good", {"good": 1.0})
    >>> scores.update("good", "good", {"good": 0.8, "bad": 0.2})
    >>> scores.update("bad", "bad", {"good": 0.4, "bad": 0.6})
    >>> whole, half = scores.whole(), scores.second_half()
    >>> whole.events, whole.unpredicted, whole.accuracy, half.accuracy
    (4, 1, 0.5, 1.0)
    >>> whole.ranked_class, half.roc_auc, round(half.brier, 3), round(half.ece, 3)
    ('good', 1.0, 0.1, 0.3)
    """

    __slots__ = (
        "_at_mark",
        "_current",
        "_cycles",
        "_events",
        "_first",
        "_half_at",
        "_length",
        "_stop",
    )

    def __init__(self, length: int | None, at_mark: Callable[[int], object] | None = None) -> None:
        if length is not None and length < 0:
            raise ConfigError(f"a stream has at least 0 events, not {length}", "length")
        self._length = length
        self._at_mark = at_mark
        self._half_at = -1 if length is None else length // 2
        self._events = 0
        self._first: Tally | None = None
        self._current = Tally()
        self._cycles: list[tuple[float, float]] = []
        self._stop = -1
        if length is not None:
            self._pass_stop()

    def update(
        self, truth: str, prediction: str | None, probabilities: Mapping[str, float]
    ) -> None:
        """Count the next event of the stream.

        Parameters
        ----------
        truth
            The true class.
        prediction
            The predicted class; None before any class is known.
        probabilities
            By class; empty before any class is known. Need not name the true class.
        """
        self._current.add(truth, prediction, probabilities)
        self._events += 1
        if self._events == self._stop:
            self._pass_stop()

    def whole(self) -> Scores:
        """Score all events so far."""
        return self._tally().scores(_mean([whole for whole, _ in self._cycles]))

    def reliability(self) -> tuple[ConfidenceBin, ...]:
        """Return the bins of confidence of all events so far that have any."""
        return self._tally().reliability()

    def second_half(self) -> Scores | None:
        """Score the events with index >= ``length // 2``; None if the length is unknown."""
        if self._length is None:
            return None
        if self._first is None:
            return Tally().scores(None)
        return self._current.scores(_mean([half for _, half in self._cycles[_CYCLES // 2 :]]))

    def _tally(self) -> Tally:
        return self._current if self._first is None else merged(self._first, self._current)

    def _pass_stop(self) -> None:
        """Take note of the marks and the half where these end here; find the next."""
        length = self._length or 0
        while (mark := self._next_mark(length)) == self._events:
            half = weighted_f1(self._current.confusion)
            whole = half
            if self._first is not None:
                whole = weighted_f1(summed(self._first.confusion, self._current.confusion))
            self._cycles.append((whole, half))
            if self._at_mark is not None:
                self._at_mark(len(self._cycles))
        if self._events == self._half_at:
            self._first, self._current = self._current, Tally()
        self._stop = mark if self._first is not None else min(mark, self._half_at)

    def _next_mark(self, length: int) -> int:
        """Events after which the next 1 % has gone by (rounded up); -1 after the last."""
        cycle = len(self._cycles) + 1
        return -(-length * cycle // _CYCLES) if cycle <= _CYCLES and length else -1


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
