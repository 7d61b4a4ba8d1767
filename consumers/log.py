"""The log contract: what sqlite, kafka and librdkafka all are.

A log holds topics; a topic has partitions; a partition is a sequence of records whose offsets grow
and need not be dense. What was written in a transaction is seen by all readers together, once it
is committed, or never.

`tests/contract` holds every implementation to these docstrings.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import msgspec

__all__ = [
    "Batch",
    "Bounds",
    "Headers",
    "Log",
    "Member",
    "Out",
    "Partition",
    "Record",
    "Storage",
    "Tail",
    "TopicInfo",
    "TopicSpec",
    "Writer",
]

Headers: TypeAlias = tuple[tuple[str, bytes | None], ...]


class Partition(NamedTuple):
    """One partition of one topic."""

    topic: str
    number: int


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record as it stands in a log.

    Attributes
    ----------
    topic, partition, offset
        Where it stands.
    key, value, headers
        Byte for byte as they were written; None and empty are different things.
    time
        When it was written, epoch seconds.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    time: float


class Out(msgspec.Struct, frozen=True, gc=False):
    """A record to be written.

    Attributes
    ----------
    partition
        None: by the key, as Kafka's Java client does it; without a key, any.
    """

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    partition: int | None = None


class Batch(msgspec.Struct, frozen=True):
    """What one poll brought.

    Attributes
    ----------
    records
        In order within each partition; empty while the group is not stable.
    assigned
        The input partitions that are this member's now.
    gained
        Those of them that became its own, or became so anew, since the poll before: whatever is
        known of them is to be restored again, and `Member.seek` to be called for each.
    stable
        False while the group is rebalancing: only poll, with half a second or more.
    """

    records: Sequence[Record]
    assigned: frozenset[Partition]
    gained: frozenset[Partition]
    stable: bool


class Bounds(NamedTuple):
    """Offsets of a partition.

    Attributes
    ----------
    beginning
        The first offset that is still kept.
    stable
        The offset up to which read-committed readers can read: the first offset of the oldest
        open transaction, or `end`.
    end
        The offset after the last record, open transactions included.
    """

    beginning: int
    stable: int
    end: int


class Storage(NamedTuple):
    """Bytes of a log's own files, and of the disk that they lie on."""

    used: int
    free: int
    disk: int


class TopicSpec(msgspec.Struct, frozen=True):
    """A topic to be created: its partitions, and settings by Kafka's names."""

    name: str
    partitions: int
    settings: dict[str, str] = {}


class TopicInfo(msgspec.Struct, frozen=True):
    """A topic as it is; settings as far as the log has them."""

    partitions: int
    settings: dict[str, str]


class Member(ABC):
    """One member of a consumer group, with the transactions that it writes.

    The group is ``<name>.<role>``, the transactional id ``<name>.<role>.<instance>``. Opening a
    member with the identity of one that is still there fences that one: its next commit fails.

    One thread uses a member. What a transaction holds (records, offsets) is seen together or
    never. Signs of life are sent in the background; only `poll` takes part in a rebalance.
    """

    @abstractmethod
    def poll(self, timeout_s: float, max_records: int) -> Batch:
        """Wait for records, and take part in the group.

        Remembers the group's generation as it was right after the poll; `commit` is bound to it.
        A partition in `Batch.gained` gives no records before `seek` was called for it. Blocks for
        `timeout_s` and a little more.

        Raises
        ------
        RetryError, RebuildError, StopError
            StopError where a position is out of range or access is denied.
        """

    @abstractmethod
    def seek(self, positions: Mapping[Partition, int]) -> None:
        """Read on from these offsets, and forget what was fetched before.

        A partition that went to another meanwhile, and one that came back since the poll before,
        are passed over: the next poll tells.

        Raises
        ------
        RetryError, RebuildError, StopError
        """

    @abstractmethod
    def committed(self, partitions: Iterable[Partition]) -> dict[Partition, int | None]:
        """Return the group's committed offsets, None where there is none.

        Waits until transactions that hold some are decided. Blocks up to the transaction timeout.

        Raises
        ------
        RetryError, RebuildError, StopError
        """

    @abstractmethod
    def drained(self, partitions: Iterable[Partition]) -> frozenset[Partition]:
        """Return those partitions whose every record committed by now has been polled.

        Control and aborted records, and what a transaction still open holds, do not count. Blocks
        for a request to the log.

        Raises
        ------
        RetryError, RebuildError, StopError
        """

    @abstractmethod
    def send(self, outs: Iterable[Out]) -> None:
        """Write into the transaction, beginning one where none is open.

        Blocks while more is under way than the log's bound; keeps no more than that in memory,
        except that an embedded log keeps a transaction in memory until it is committed.

        Raises
        ------
        TooLargeError
            At the first record over the limit; those before are in the transaction.
        AbortError, RebuildError, StopError
            StopError where a topic is missing or has no such partition.
        """

    @abstractmethod
    def begin_commit(self, offsets: Mapping[Partition, int]) -> None:
        """Begin to commit what was sent, and these offsets: the next of each partition read.

        Until `end_commit` only `poll` and `drained` are of use: a rebalance in between does no
        harm, since what is committed is bound to the generation of the poll before.

        Parameters
        ----------
        offsets
            At least one: only an offset makes the group check who commits.

        Raises
        ------
        ValueError
            Without an offset.
        AbortError, RebuildError, StopError
            As `end_commit`, where it is known already.
        """

    def end_commit(self) -> None:  # noqa: B027 - an embedded log has committed by then
        """Wait until it is decided.

        Blocks up to ``loop.commit_timeout_s`` from when it was begun.

        Raises
        ------
        AbortError
            Nothing was committed; the member goes on, once it has aborted.
        RebuildError
            The outcome is unknown, or this member is no longer the one.
        StopError
            Another process has taken this member's identity.
        """

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Begin to commit, and wait until it is decided."""
        self.begin_commit(offsets)
        self.end_commit()

    @abstractmethod
    def abort(self) -> None:
        """Give up the open transaction, if any; positions stay where they are.

        Waits for a commit that was begun, and gives up what that has left open.

        Raises
        ------
        RebuildError
        """

    @abstractmethod
    def close(self) -> None:
        """Give up what is open and leave; the seat is kept for ``loop.session_timeout_s``.

        Never raises, and blocks for a few seconds at most.
        """


class Tail(ABC):
    """Reads one partition from an offset on, committed records only, outside of any group."""

    @abstractmethod
    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        """Wait for records; empty where none came in time.

        Raises
        ------
        RetryError, RebuildError, StopError
            StopError where the position is out of range. After RebuildError, open another.
        """

    @property
    @abstractmethod
    def position(self) -> int:
        """The next offset to be read; passes aborted records and whatever else is no record."""

    @abstractmethod
    def close(self) -> None:
        """Never raises."""


class Writer(ABC):
    """Writes records one by one, each seen as soon as it is stored; no transaction.

    After a `RetryError` what was sent before and is not stored still waits for the next call, and
    what the failed `send` was given does not. After an outage a record may be stored twice.
    """

    @abstractmethod
    def send(self, out: Out) -> None:
        """Write a record, in order within its partition; blocks while too much is under way.

        Raises
        ------
        TooLargeError, RetryError, StopError
        """

    @abstractmethod
    def flush(self) -> None:
        """Wait until all is stored.

        Raises
        ------
        RetryError, StopError
            Where something could not be stored.
        """

    @abstractmethod
    def close(self) -> None:
        """Flush and end.

        Raises
        ------
        RetryError, StopError
            As `flush`.
        """


class Log(ABC):
    """Opens members, tails and writers; knows topics.

    Safe to use from several threads; what it opens is not.
    """

    @abstractmethod
    def member(self, role: str, topics: Sequence[str], assignor: str = "range") -> Member:
        """Join the group of a role; topics that are read together have equal partition counts.

        Raises
        ------
        StopError
            If a topic is missing.
        RetryError
            If the log cannot be reached.
        """

    @abstractmethod
    def tail(self, topic: str, partition: int, start: int) -> Tail:
        """Read a partition from an offset on."""

    @abstractmethod
    def writer(self) -> Writer:
        """Open a writer."""

    @abstractmethod
    def bounds(self, topic: str, partition: int) -> Bounds:
        """Return a partition's offsets as they are now.

        Raises
        ------
        StopError
            If there is no such partition.
        RetryError
            If the log cannot be reached.
        """

    @abstractmethod
    def topics(self) -> dict[str, TopicInfo]:
        """Return all topics, internal ones left out.

        Raises
        ------
        RetryError
            If the log cannot be reached.
        """

    @abstractmethod
    def create(self, specs: Iterable[TopicSpec]) -> None:
        """Create topics; those that are there already stay as they are.

        Raises
        ------
        RetryError, StopError
        """

    @abstractmethod
    def close(self) -> None:
        """Close what the log itself holds; never raises."""

    def storage(self) -> Storage | None:
        """Measure the log's files; None where they are a server's.

        Raises
        ------
        RetryError
            If they cannot be looked at now.
        """
        return None

    def read(self, topic: str, partition: int, start: int | None = None) -> Iterator[Record]:
        """Read the committed records from an offset, or the beginning, to the present end.

        The end is that of all records, so transactions open now are waited for until they are
        decided: nothing that may yet be committed is missed.

        Raises
        ------
        RetryError, RebuildError, StopError
        """
        bounds = self.bounds(topic, partition)
        position = bounds.beginning if start is None else start
        if position >= bounds.end:
            return
        tail = self.tail(topic, partition, position)
        try:
            while tail.position < bounds.end:
                for record in tail.poll(0.1, 2000):
                    if record.offset >= bounds.end:
                        return
                    yield record
        finally:
            tail.close()

    def last(self, topic: str, partition: int) -> Record | None:
        """Return the last committed record of a partition, those of open transactions waited for.

        Raises
        ------
        RetryError, RebuildError, StopError
        """
        bounds = self.bounds(topic, partition)
        back = 16
        while True:
            start = max(bounds.beginning, bounds.end - back)
            found = deque(self.read(topic, partition, start), maxlen=1)
            if found or start == bounds.beginning:
                return found[0] if found else None
            back *= 8
