"""Answers that a simulated annotator has given, and that have not come in yet."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable

from stream_al.records import Label

__all__ = ["Answers"]


class Answers:
    """Answers on their way: given back once they are due, in the order of becoming so."""

    def __init__(self) -> None:
        self._by_index: list[tuple[int, int, Label]] = []
        self._by_time: list[tuple[float, int, Label]] = []
        self._sent = itertools.count()

    def __len__(self) -> int:
        """Count the answers on their way."""
        return len(self._by_index) + len(self._by_time)

    def send(self, label: Label, due_index: int | None, due_time: float | None) -> None:
        """Take an answer; exactly one of the two dues is not None."""
        if due_index is not None:
            heapq.heappush(self._by_index, (due_index, next(self._sent), label))
        elif due_time is not None:
            heapq.heappush(self._by_time, (due_time, next(self._sent), label))

    def due_before(self, index: int, event_time: float | None) -> bool:
        """Tell whether an answer is due before the event of that index and time."""
        if self._by_index and self._by_index[0][0] < index:
            return True
        if event_time is None or not self._by_time:
            return False
        return self._by_time[0][0] <= event_time

    def take_due(self, index: int, event_time: float | None) -> Iterable[Label]:
        """Give back what is due before the event of that index and time."""
        while self._by_index and self._by_index[0][0] < index:
            yield heapq.heappop(self._by_index)[2]
        while event_time is not None and self._by_time and self._by_time[0][0] <= event_time:
            yield heapq.heappop(self._by_time)[2]
