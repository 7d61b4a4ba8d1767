"""The log contract in memory, deterministic and single-threaded, with faults where wanted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from consumers.errors import StopError
from consumers.log import (
    Bounds,
    Log,
    Member,
    Out,
    Partition,
    Record,
    Tail,
    TopicInfo,
    TopicSpec,
    Writer,
)
from consumers.testing.faults import Faults, NoFaults
from consumers.testing.simulated_broker import SimulatedBroker
from consumers.testing.simulated_groups import Seat
from consumers.testing.simulated_member import SimulatedMember
from consumers.testing.simulated_storage import SimulatedClock
from stream_al.config import Config

__all__ = ["SimulatedLog"]


class SimulatedLog(Log):
    """One process's access to a simulated broker.

    It behaves as Kafka does: several members share a group's partitions, markers and aborted
    records burn offsets, open transactions hold readers back. No call sleeps; those that would
    block move the broker's clock on.

    Parameters
    ----------
    config
        Names, limits and timeouts; ``log.instance`` is this process's identity.
    broker
        Shared with the other processes; one of its own where None.
    faults
        Asked at every step.

    Examples
    --------
    >>> log = SimulatedLog(Config())
    >>> log.create([TopicSpec("events", 1)])
    >>> writer = log.writer()
    >>> writer.send(Out("events", b"one"))
    >>> [record.value for record in log.read("events", 0)]
    [b'one']
    """

    def __init__(
        self, config: Config, broker: SimulatedBroker | None = None, faults: Faults | None = None
    ) -> None:
        self.config = config
        self.broker = broker or SimulatedBroker(SimulatedClock())
        self.faults = faults or NoFaults()
        self._seats: list[Seat] = []

    def member(self, role: str, topics: Sequence[str], assignor: str = "range") -> Member:
        """Join a group; see `Log.member`."""
        self.step("init")
        counts = {name: len(self.broker.topic(name).partitions) for name in topics}
        if len(set(counts.values())) > 1:
            raise StopError(f"topics read together need equal partitions: {counts}")
        member = SimulatedMember(self, role, tuple(topics), sticky=assignor != "range")
        self._seats.append(member.seat)
        return member

    def tail(self, topic: str, partition: int, start: int) -> Tail:
        """Read a partition; see `Log.tail`."""
        self.step("tail")
        return _Tail(self, Partition(topic, partition), start)

    def writer(self) -> Writer:
        """Open a writer."""
        self.step("writer")
        return _Writer(self)

    def bounds(self, topic: str, partition: int) -> Bounds:
        """Return a partition's offsets; see `Log.bounds`."""
        self.step("bounds")
        return self.broker.bounds(topic, partition)

    def topics(self) -> dict[str, TopicInfo]:
        """Return all topics."""
        self.step("topics")
        return self.broker.topics()

    def create(self, specs: Iterable[TopicSpec]) -> None:
        """Create topics; those that are there stay as they are."""
        self.step("create")
        self.broker.create(specs, self.config.log.max_record_bytes)

    def close(self) -> None:
        """Close; nothing is held."""

    def step(self, name: str) -> None:
        """Come to a step: time does its work, then faults may."""
        self.faults.at(name)
        self.broker.tick()

    def fall_silent(self) -> None:
        """Send no more signs of life, as a process that was stopped, cut off or killed does."""
        for seat in self._seats:
            if seat.silent_since is None:
                seat.silent_since = self.broker.clock.now()

    def speak_again(self) -> None:
        """Send signs of life again."""
        for seat in self._seats:
            seat.silent_since = None


class _Tail(Tail):
    def __init__(self, log: SimulatedLog, place: Partition, start: int) -> None:
        self._log = log
        self._place = place
        self._position = start

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        self._log.step("tail.poll")
        partition, at = self._log.broker.partition(*self._place), self._position
        bounds = partition.bounds
        if not bounds.beginning <= at <= bounds.end:
            raise StopError(
                f"offset {at} of {self._place.topic!r}, partition {self._place.number}, is out of "
                f"range: there are {bounds.beginning} to {bounds.end}"
            )
        records, self._position = partition.read(at, max_records)
        if not records and self._position == at:
            self._log.broker.clock.sleep(timeout_s)
        return records

    @property
    def position(self) -> int:
        return self._position

    def close(self) -> None:
        """Close; nothing is held."""


class _Writer(Writer):
    def __init__(self, log: SimulatedLog) -> None:
        self._log = log

    def send(self, out: Out) -> None:
        self._log.step("writer.send")
        self._log.broker.append(out)

    def flush(self) -> None:
        self._log.step("writer.flush")

    def close(self) -> None:
        self.flush()
