"""Consumer groups of the simulated log: seats, generations, rebalances, assignment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from consumers.log import Partition

__all__ = ["Group", "Seat"]

_REBALANCE_S = 60.0
"""How long a rebalance waits for those that show signs of life and do not poll."""


@dataclass(eq=False, slots=True)
class Seat:
    """A static member's place in its group; opened again, it is another.

    Attributes
    ----------
    silent_since
        When signs of life stopped; None while there are some.
    """

    instance: str
    topics: tuple[str, ...]
    session_timeout_s: float
    silent_since: float | None = None


@dataclass(eq=False)
class Group:
    """A consumer group.

    Attributes
    ----------
    sticky
        Whether partitions move as with the cooperative-sticky assignor, else by range.
    committed
        The group's offsets.
    """

    name: str
    sticky: bool
    generation: int = 0
    seats: dict[str, Seat] = field(default_factory=dict)
    assignment: dict[str, frozenset[Partition]] = field(default_factory=dict)
    committed: dict[Partition, int] = field(default_factory=dict)
    evictions: int = 0
    _joined: set[str] | None = None
    _deadline: float = 0.0

    @property
    def stable(self) -> bool:
        """Whether everyone knows what is whose."""
        return self._joined is None

    def _open(self, seat: Seat, now: float) -> None:
        """Take a seat; one with the same identity is taken over with all that is assigned to it."""
        before = self.seats.get(seat.instance)
        self.seats[seat.instance] = seat
        if before is None or before.topics != seat.topics:
            self._rebalance(now)
        elif self._joined is not None:
            self._joined.discard(seat.instance)

    def poll(self, seat: Seat, now: float, counts: dict[str, int]) -> bool:
        """Take the seat where it is not taken, and part in a rebalance, if there is one.

        Parameters
        ----------
        counts
            Partitions of each topic.

        Returns
        -------
        bool
            Whether the group is stable.
        """
        if self.seats.get(seat.instance) is not seat:
            self._open(seat, now)
        if self._joined is None:
            return True
        self._joined.add(seat.instance)
        if self._joined >= self.seats.keys():
            self._complete(now, counts)
        return self.stable

    def tick(self, now: float, counts: dict[str, int]) -> None:
        """Evict who has been silent, or away from a rebalance, for too long."""
        for seat in list(self.seats.values()):
            silent = seat.silent_since
            if silent is not None and now >= silent + seat.session_timeout_s:
                self._evict(seat.instance)
                self._rebalance(now)
        if self._joined is not None and now >= self._deadline:
            for instance in self.seats.keys() - self._joined:
                self._evict(instance)
            self._complete(now, counts)

    def _evict(self, instance: str) -> None:
        del self.seats[instance]
        self.assignment.pop(instance, None)
        self.evictions += 1

    def _rebalance(self, now: float) -> None:
        if self._joined is None:
            self._joined = set()
        self._deadline = now + _REBALANCE_S

    def _complete(self, now: float, counts: dict[str, int]) -> None:
        self._joined = None
        self.generation += 1
        if not self.sticky:
            self.assignment = self._by_range(counts)
            return
        target = self._sticky(counts)
        owner = {p: i for i, partitions in self.assignment.items() for p in partitions}
        self.assignment = {
            instance: frozenset(p for p in partitions if owner.get(p, instance) == instance)
            for instance, partitions in target.items()
        }
        if self.assignment != target:
            # What moves is given up in this generation and taken in the next.
            self._rebalance(now)

    def _by_range(self, counts: dict[str, int]) -> dict[str, frozenset[Partition]]:
        instances = sorted(self.seats)
        found: dict[str, set[Partition]] = {instance: set() for instance in instances}
        for topic in self._topics():
            share, rest = divmod(counts[topic], max(1, len(instances)))
            start = 0
            for at, instance in enumerate(instances):
                end = start + share + (at < rest)
                found[instance].update(Partition(topic, n) for n in range(start, end))
                start = end
        return {instance: frozenset(partitions) for instance, partitions in found.items()}

    def _sticky(self, counts: dict[str, int]) -> dict[str, frozenset[Partition]]:
        everything = [Partition(topic, n) for topic in self._topics() for n in range(counts[topic])]
        share, rest = divmod(len(everything), max(1, len(self.seats)))
        kept: dict[str, set[Partition]] = {}
        for instance in sorted(self.seats):
            had = sorted(self.assignment.get(instance, ()))
            more = rest > 0 and len(had) > share
            rest -= more
            kept[instance] = set(had[: share + more])
        taken = set[Partition]().union(*kept.values())
        for partition in everything:
            if partition not in taken and kept:
                min(kept.values(), key=len).add(partition)
        return {instance: frozenset(partitions) for instance, partitions in kept.items()}

    def _topics(self) -> Sequence[str]:
        return sorted({topic for seat in self.seats.values() for topic in seat.topics})
