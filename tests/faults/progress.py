"""Watching a run from outside: who makes progress, what is committed, what is still unprocessed."""

from __future__ import annotations

from collections.abc import Mapping

from consumers.errors import LogError
from consumers.log import Log, Partition, Tail
from consumers.testing.checker import Watcher, committed_offsets
from consumers.topics import Topics
from stream_al.config import Config

__all__ = ["Progress"]


class Progress:
    """Follows the states that roles commit, and samples what their groups have committed.

    A log that cannot be reached for a while is no fault of the run: what is not seen then is seen
    later.
    """

    def __init__(self, log: Log, config: Config) -> None:
        topics = Topics.of(config.log)
        self._log = log
        self._config = config
        self._states = {
            "gate": topics.gate_state,
            "ledger": topics.ledger_state,
            "annotator": topics.annotator_state,
        }
        self._inputs = {
            "gate": (topics.events,),
            "ledger": (topics.label_requests, topics.labels),
        }
        self._training = topics.training
        self._tails: dict[Partition, Tail] = {}
        self._positions: dict[Partition, int] = {}
        self.seen: dict[Partition, int] = {}
        self.watcher = Watcher()

    def places(self, role: str) -> list[Partition]:
        """Name the partitions that a role commits its state to."""
        return [Partition(self._states[role], n) for n in range(self._config.log.partitions)]

    def look(self) -> None:
        """Take note of what was committed since the last look."""
        for role in self._states:
            for place in self.places(role):
                try:
                    self._follow(place)
                except LogError:
                    self._forget(place)

    def sample(self) -> Mapping[str, Mapping[Partition, int | None]]:
        """Ask for committed offsets; empty where nobody answers."""
        try:
            found = committed_offsets(self._log, self._config)
        except LogError:
            return {}
        self.watcher.see(found)
        return found

    def unprocessed(self) -> dict[Partition, int | None] | None:
        """Return the committed offsets of inputs that hold more; None where nobody answers."""
        committed = self.sample()
        found: dict[Partition, int | None] = {}
        try:
            for role, offsets in committed.items():
                for place in (p for p in offsets if p.topic in self._inputs[role]):
                    last, offset = self._log.last(*place), offsets[place]
                    if last is not None and (offset is None or offset <= last.offset):
                        found[place] = offset
        except LogError:
            return None
        return found if committed else None

    def training_end(self) -> int | None:
        """Return where the training log ends; None where nobody answers."""
        try:
            return self._log.bounds(self._training, 0).end
        except LogError:
            return None

    def close(self) -> None:
        """Close what is open."""
        for place in list(self._tails):
            self._forget(place)

    def _follow(self, place: Partition) -> None:
        if place not in self._tails:
            start = self._positions.get(place)
            if start is None:
                start = self._log.bounds(*place).beginning
            self._tails[place] = self._log.tail(*place, start)
        tail = self._tails[place]
        while records := tail.poll(0.0, 1000):
            self.seen[place] = self.seen.get(place, 0) + len(records)
        self._positions[place] = tail.position

    def _forget(self, place: Partition) -> None:
        tail = self._tails.pop(place, None)
        if tail is not None:
            tail.close()
