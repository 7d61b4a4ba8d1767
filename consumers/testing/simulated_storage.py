"""Topics and transactions of the simulated log, as Kafka keeps them."""

from __future__ import annotations

import random
from bisect import bisect_left
from dataclasses import dataclass, field
from enum import Enum

from consumers.clock import Clock
from consumers.log import Bounds, Out, Partition, Record, TopicSpec

__all__ = ["SimulatedClock", "State", "StoredPartition", "StoredTopic", "Transaction"]

_OVERHEAD = 1024
"""What ``max.message.bytes`` allows beyond key, value and headers."""


class SimulatedClock(Clock):
    """A clock that moves only when it is told to.

    Examples
    --------
    >>> clock = SimulatedClock(100.0)
    >>> clock.sleep(2.5)
    >>> clock.now()
    102.5
    """

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now

    def now(self) -> float:
        """Return the time, epoch seconds."""
        return self._now

    def monotonic(self) -> float:
        """Return the same: this clock never goes back."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self._now += max(0.0, seconds)


class State(Enum):
    """How far a transaction is; a prepared one will be committed, whatever its member does."""

    OPEN = "open"
    PREPARED = "prepared"
    COMMITTED = "committed"
    ABORTED = "aborted"


@dataclass(eq=False, slots=True)
class Transaction:
    """A transaction.

    Attributes
    ----------
    producer
        Its transactional id.
    due
        When the log ends it by itself: aborts an open one, commits a prepared one.
    first
        Its first offset in each partition that it wrote to.
    offsets
        Offsets to be committed, by group.
    """

    producer: str
    due: float
    state: State = State.OPEN
    first: dict[Partition, int] = field(default_factory=dict)
    offsets: dict[str, dict[Partition, int]] = field(default_factory=dict)

    @property
    def decided(self) -> bool:
        """Whether it has ended."""
        return self.state is State.COMMITTED or self.state is State.ABORTED


class StoredPartition:
    """A partition's records, those of open and aborted transactions included."""

    def __init__(self, name: Partition) -> None:
        self.name = name
        self.beginning = 0
        self.end = 0
        self.undecided: list[Transaction] = []
        self._offsets: list[int] = []
        self._records: list[tuple[Record, Transaction | None]] = []

    def append(self, out: Out, time: float, transaction: Transaction | None) -> None:
        """Store a record."""
        topic, number = self.name
        # Kafka's times are whole milliseconds.
        time = round(time, 3)
        record = Record(topic, number, self.end, out.key, out.value, out.headers, time)
        if transaction is not None and self.name not in transaction.first:
            transaction.first[self.name] = self.end
            self.undecided.append(transaction)
        self._offsets.append(self.end)
        self._records.append((record, transaction))
        self.end += 1

    def decide(self, transaction: Transaction) -> None:
        """Write the marker that ends a transaction: it takes an offset, and is no record."""
        self.undecided.remove(transaction)
        self.end += 1

    @property
    def bounds(self) -> Bounds:
        """The offsets as they are now."""
        return Bounds(self.beginning, self._stable(), self.end)

    def _stable(self) -> int:
        if not self.undecided:
            return self.end
        return min(each.first[self.name] for each in self.undecided)

    def read(self, start: int, limit: int) -> tuple[list[Record], int]:
        """Return committed records from an offset on, and the offset to go on from."""
        stable = self._stable()
        found: list[Record] = []
        for at in range(bisect_left(self._offsets, start), len(self._records)):
            record, transaction = self._records[at]
            if record.offset >= stable:
                break
            if transaction is None or transaction.state is State.COMMITTED:
                if len(found) == limit:
                    return found, record.offset
                found.append(record)
        return found, max(start, stable)

    def compact(self, rng: random.Random) -> None:
        """Drop some of what later records of the same key supersede, and some tombstones.

        The last record stays, as what is still being written to does.
        """
        stable = min(self._stable(), self._offsets[-1] if self._offsets else 0)
        latest: dict[bytes | None, int] = {}
        for record, transaction in self._records:
            if record.offset < stable and not _aborted(transaction):
                latest[record.key] = record.offset
        kept, present = [], set[bytes | None]()
        for record, transaction in self._records:
            if record.offset < stable and rng.random() < 0.7:
                if _aborted(transaction) or latest[record.key] > record.offset:
                    continue
                # A tombstone that goes before what it deletes would bring that back.
                if record.value is None and record.key not in present:
                    continue
            if not _aborted(transaction):
                present.add(record.key)
            kept.append((record, transaction))
        self._records = kept
        self._offsets = [record.offset for record, _ in kept]

    def truncate(self, beginning: int) -> None:
        """Delete what stands before an offset, as retention does."""
        self.beginning = max(self.beginning, min(beginning, self._stable()))
        cut = bisect_left(self._offsets, self.beginning)
        del self._offsets[:cut], self._records[:cut]


def _aborted(transaction: Transaction | None) -> bool:
    return transaction is not None and transaction.state is State.ABORTED


class StoredTopic:
    """A topic: its partitions, settings, and the bytes that a record may take."""

    def __init__(self, spec: TopicSpec, max_record_bytes: int) -> None:
        self.settings = dict(spec.settings)
        self.partitions = [StoredPartition(Partition(spec.name, n)) for n in range(spec.partitions)]
        limit = spec.settings.get("max.message.bytes")
        self.limit = max_record_bytes if limit is None else int(limit) - _OVERHEAD
        self.compacted = spec.settings.get("cleanup.policy") == "compact"
