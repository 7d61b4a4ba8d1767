"""The broker of the simulated log: what outlives every process that talks to it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

from consumers.errors import AbortError, RebuildError, StopError, TooLargeError
from consumers.log import Bounds, Out, Partition, TopicInfo, TopicSpec
from consumers.sizes import size_of
from consumers.testing.simulated_groups import Group, Seat
from consumers.testing.simulated_storage import (
    SimulatedClock,
    State,
    StoredPartition,
    StoredTopic,
    Transaction,
)
from stream_al.counted import counted
from stream_al.partitioner import partition_for

__all__ = ["SimulatedBroker"]


class SimulatedBroker:
    """Topics, transactions and groups, in memory; moved by an injected clock.

    Parameters
    ----------
    clock
        Sessions and transactions run out by it.
    seed
        Of what the broker is free to choose: partitions of records without a key, compaction,
        which of two errors a stale commit gets, how long a commit stays in doubt.
    """

    def __init__(self, clock: SimulatedClock, seed: int = 0) -> None:
        self.clock = clock
        self.rng = random.Random(seed)  # noqa: S311 - a simulation, not a secret
        self.groups: dict[str, Group] = {}
        self._topics: dict[str, StoredTopic] = {}
        self._counts: dict[str, int] = {}
        self._undecided: list[Transaction] = []
        self._producers: dict[str, object] = {}

    def create(self, specs: Iterable[TopicSpec], max_record_bytes: int) -> None:
        """Create the topics that are not there."""
        for spec in specs:
            if spec.name not in self._topics:
                self._topics[spec.name] = StoredTopic(spec, max_record_bytes)
                self._counts[spec.name] = spec.partitions

    def topics(self) -> dict[str, TopicInfo]:
        """Describe all topics."""
        return {
            name: TopicInfo(len(topic.partitions), dict(topic.settings))
            for name, topic in self._topics.items()
        }

    def topic(self, name: str) -> StoredTopic:
        """Return a topic.

        Raises
        ------
        StopError
        """
        topic = self._topics.get(name)
        if topic is None:
            raise StopError(f"there is no topic {name!r}")
        return topic

    def partition(self, topic: str, number: int) -> StoredPartition:
        """Return a partition.

        Raises
        ------
        StopError
        """
        partitions = self.topic(topic).partitions
        if not 0 <= number < len(partitions):
            raise StopError(
                f"{topic!r} has {counted(len(partitions), 'partition')}, and no {number}"
            )
        return partitions[number]

    def append(self, out: Out, transaction: Transaction | None = None) -> None:
        """Store a record.

        Raises
        ------
        TooLargeError, StopError
        """
        topic = self.topic(out.topic)
        number = out.partition
        if number is None:
            count = len(topic.partitions)
            by_key = out.key is not None
            number = partition_for(out.key or b"", count) if by_key else self.rng.randrange(count)
        partition = self.partition(out.topic, number)
        if (size := size_of(out)) > topic.limit:
            raise TooLargeError(out.topic, size, topic.limit)
        partition.append(out, self.clock.now(), transaction)

    def bounds(self, topic: str, number: int) -> Bounds:
        """Return a partition's offsets."""
        return self.partition(topic, number).bounds

    def compact(self) -> None:
        """Compact what is to be compacted, as far as chance will have it."""
        for topic in self._topics.values():
            if topic.compacted:
                for partition in topic.partitions:
                    partition.compact(self.rng)

    def tick(self) -> None:
        """End what has run out of time: transactions, sessions, rebalances."""
        now = self.clock.now()
        for transaction in self._undecided[:]:
            if now >= transaction.due:
                self._end_by_itself(transaction)
        for group in self.groups.values():
            group.tick(now, self._counts)

    def open_producer(self, name: str, owner: object) -> None:
        """Give a transactional id to its next owner; what it left undecided is decided now."""
        for transaction in self._undecided[:]:
            if transaction.producer == name:
                self._end_by_itself(transaction)
        self._producers[name] = owner

    def owner_of(self, producer: str) -> object:
        """Return who has a transactional id; None after a transaction ran out of time."""
        return self._producers.get(producer)

    def begin(self, producer: str, timeout_s: float) -> Transaction:
        """Begin a transaction."""
        transaction = Transaction(producer, self.clock.now() + timeout_s)
        self._undecided.append(transaction)
        return transaction

    def add_offsets(
        self,
        transaction: Transaction,
        group: Group,
        seat: Seat,
        generation: int | None,
        offsets: Mapping[Partition, int],
    ) -> None:
        """Put offsets into a transaction, if the group still knows the member as it is.

        Raises
        ------
        AbortError, RebuildError, StopError
        """
        now = group.seats.get(seat.instance)
        if now is not None and now is not seat:
            raise StopError(f"another process has taken the identity {seat.instance!r}")
        if now is None or generation != group.generation:
            told = f"the group is at generation {group.generation}, this commit at {generation}"
            raise (AbortError if self.rng.random() < 0.5 else RebuildError)(told)
        transaction.offsets[group.name] = dict(offsets)

    def decide(self, transaction: Transaction, state: State) -> None:
        """End a transaction: its records are seen, and its offsets count, or never."""
        self._undecided.remove(transaction)
        transaction.state = state
        for place in transaction.first:
            self.partition(*place).decide(transaction)
        if state is State.COMMITTED:
            for name, offsets in transaction.offsets.items():
                self.groups[name].committed.update(offsets)

    def prepare(self, transaction: Transaction) -> None:
        """Take a commit; it is carried out within a few seconds unless `decide` does it first."""
        transaction.state = State.PREPARED
        transaction.due = self.clock.now() + 3.0 * self.rng.random()

    def wait_for_offsets(self, group: Group, partitions: Iterable[Partition]) -> None:
        """Let time pass until no undecided transaction holds any of these offsets."""
        wanted = set(partitions)
        while True:
            holding = [t for t in self._undecided if wanted & t.offsets.get(group.name, {}).keys()]
            if not holding:
                return
            self.clock.sleep(min(t.due for t in holding) - self.clock.now())
            self.tick()

    def _end_by_itself(self, transaction: Transaction) -> None:
        if transaction.state is State.PREPARED:
            self.decide(transaction, State.COMMITTED)
        else:
            self.decide(transaction, State.ABORTED)
            self._producers[transaction.producer] = None
