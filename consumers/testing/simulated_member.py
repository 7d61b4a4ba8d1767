"""A member of a simulated group: polls, transactions, and how both fail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NoReturn, Protocol

from consumers.errors import AbortError, LogError, RebuildError, StopError
from consumers.log import Batch, Member, Out, Partition, Record
from consumers.testing.simulated_broker import SimulatedBroker
from consumers.testing.simulated_groups import Group, Seat
from consumers.testing.simulated_storage import State, Transaction
from stream_al.config import Config

__all__ = ["Access", "SimulatedMember"]


class Access(Protocol):
    """What a member needs of the log that opened it."""

    config: Config
    broker: SimulatedBroker

    def step(self, name: str) -> None:
        """Come to a step at which faults may come."""


class SimulatedMember(Member):
    """A static member of a simulated group, with the transactions of its identity.

    Attributes
    ----------
    seat
        Its place in the group, taken at the first poll.
    """

    def __init__(self, log: Access, role: str, topics: tuple[str, ...], *, sticky: bool) -> None:
        self._log = log
        self._broker = log.broker
        group = f"{log.config.log.name}.{role}"
        instance = log.config.log.instance or "0"
        self._producer = f"{group}.{instance}"
        self._group = self._broker.groups.setdefault(group, Group(group, sticky))
        self.seat = Seat(instance, topics, log.config.loop.session_timeout_s)
        self._broker.open_producer(self._producer, self)
        self._joined = False
        self._seen = -1
        self._snapshot: int | None = None
        self._assigned: frozenset[Partition] = frozenset()
        self._gained: set[Partition] = set()
        self._positions: dict[Partition, int] = {}
        self._transaction: Transaction | None = None
        self._doomed = False
        self._refused: LogError | None = None
        self._broken: LogError | None = None

    def poll(self, timeout_s: float, max_records: int) -> Batch:
        """Take part in the group, and read; time moves on where nothing is there."""
        self._step("poll")
        clock, group = self._broker.clock, self._group
        self._snapshot = None
        holder = group.seats.get(self.seat.instance)
        if self._joined and holder is not None and holder is not self.seat:
            return self._poll_fenced(timeout_s, max_records)
        if holder is None:
            # Evicted: whatever was its own may have been another's since.
            self._seen, self._assigned = -1, frozenset()
        self._catch_up()
        self._joined = True
        stable = group.poll(self.seat, clock.now(), self._counts())
        self._catch_up()
        if not stable:
            if not group.sticky:
                # Whoever rejoins by range has given up everything first.
                self._assigned, self._gained = frozenset(), set()
            clock.sleep(timeout_s)
            return Batch((), self._assigned, frozenset(), stable=False)
        self._snapshot = group.generation
        gained, self._gained = frozenset(self._gained), set()
        return Batch(self._fetch(timeout_s, max_records), self._assigned, gained, stable=True)

    def _catch_up(self) -> None:
        """Take note of an assignment, so that what was lost and regained since is gained anew."""
        group = self._group
        if self.seat.instance not in group.seats or group.generation == self._seen:
            return
        assigned = group.assignment.get(self.seat.instance, frozenset())
        self._gained = (self._gained & assigned) | (
            assigned - self._assigned if group.sticky else assigned
        )
        self._seen, self._assigned = group.generation, assigned
        self._positions = {
            place: offset
            for place, offset in self._positions.items()
            if place in assigned - self._gained
        }

    def _poll_fenced(self, timeout_s: float, max_records: int) -> Batch:
        """Go on receiving records, as a fenced static member does until it commits."""
        self._snapshot = self._seen
        return Batch(self._fetch(timeout_s, max_records), self._assigned, frozenset(), stable=True)

    def _fetch(self, timeout_s: float, max_records: int) -> list[Record]:
        places = sorted(self._positions)
        self._broker.rng.shuffle(places)
        found: list[Record] = []
        for place in places:
            room = max_records - len(found)
            partition = self._broker.partition(*place)
            self._check_position(place)
            records, at = partition.read(self._positions[place], room)
            self._positions[place] = at
            found += records
        if not found:
            self._broker.clock.sleep(timeout_s)
        return found

    def _check_position(self, place: Partition) -> None:
        at, bounds = self._positions[place], self._broker.bounds(*place)
        if not bounds.beginning <= at <= bounds.end:
            raise StopError(
                f"offset {at} of {place.topic!r}, partition {place.number}, is out of range: "
                f"there are {bounds.beginning} to {bounds.end}"
            )

    def seek(self, positions: Mapping[Partition, int]) -> None:
        """Read on from these offsets."""
        self._step("seek")
        for place, offset in positions.items():
            # What went to another meanwhile is no longer this member's to read; what came back
            # from another is to be restored first.
            if place in self._assigned - self._gained:
                self._positions[place] = offset

    def committed(self, partitions: Iterable[Partition]) -> dict[Partition, int | None]:
        """Return the group's offsets; time moves on until none is in doubt."""
        self._step("committed")
        wanted = list(partitions)
        self._broker.wait_for_offsets(self._group, wanted)
        return {place: self._group.committed.get(place) for place in wanted}

    def drained(self, partitions: Iterable[Partition]) -> frozenset[Partition]:
        """Return those that have no committed record after the position."""
        self._step("drained")
        return frozenset(
            place
            for place in partitions
            if place in self._positions
            and not self._broker.partition(*place).read(self._positions[place], 1)[0]
        )

    def send(self, outs: Iterable[Out]) -> None:
        """Store records in the transaction, where nobody sees them yet."""
        self._step("send")
        transaction = self._begun()
        for out in outs:
            self._broker.append(out, transaction)

    def begin_commit(self, offsets: Mapping[Partition, int]) -> None:
        """Commit, if the group still knows this member as of its last poll; tell it later."""
        if not offsets:
            raise ValueError("a commit needs at least one offset")
        try:
            self._commit(offsets)
        except LogError as error:
            self._refused = error

    def end_commit(self) -> None:
        """Tell what came of it."""
        refused, self._refused = self._refused, None
        if refused is not None:
            raise refused

    def _commit(self, offsets: Mapping[Partition, int]) -> None:
        self._step("commit:before")
        transaction = self._begun()
        try:
            self._broker.add_offsets(transaction, self._group, self.seat, self._snapshot, offsets)
        except AbortError:
            self._doomed = True
            raise
        except LogError as error:
            self._break(error)
        self._broker.prepare(transaction)
        self._step("commit:prepared")
        if not transaction.decided:
            self._broker.decide(transaction, State.COMMITTED)
        self._transaction = None
        self._step("commit:after")

    def abort(self) -> None:
        """Give up the open transaction."""
        self._step("abort")
        self._doomed, self._refused = False, None
        if self._transaction is None:
            return
        self._check_producer()
        self._broker.decide(self._transaction, State.ABORTED)
        self._transaction = None

    def close(self) -> None:
        """Give up what is open; the seat stays until its session runs out."""
        self._log.step("close")
        if self._broker.owner_of(self._producer) is self and self._broken is None:
            transaction, self._transaction = self._transaction, None
            if transaction is not None and not transaction.decided:
                self._broker.decide(transaction, State.ABORTED)
        if self.seat.silent_since is None:
            self.seat.silent_since = self._broker.clock.now()
        self._broken = RebuildError("this member is closed")

    def _step(self, name: str) -> None:
        if self._broken is not None:
            raise self._broken
        try:
            self._log.step(name)
        except AbortError:
            self._doomed = True
            raise
        except (RebuildError, StopError) as error:
            self._break(error)

    def _break(self, error: LogError) -> NoReturn:
        self._broken = error
        raise error

    def _begun(self) -> Transaction:
        self._check_producer()
        if self._doomed:
            raise AbortError("this transaction has failed already: abort it")
        if self._transaction is None:
            timeout_s = self._log.config.loop.transaction_timeout_s
            self._transaction = self._broker.begin(self._producer, timeout_s)
        return self._transaction

    def _check_producer(self) -> None:
        owner = self._broker.owner_of(self._producer)
        if owner is self:
            return
        if owner is None:
            self._break(RebuildError("the transaction has run out of time"))
        self._break(StopError(f"another process has taken the identity {self.seat.instance!r}"))

    def _counts(self) -> dict[str, int]:
        return {name: len(self._broker.topic(name).partitions) for name in self.seat.topics}
