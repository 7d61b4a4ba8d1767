"""Membership in a consumer group: who owns what, and reading it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, TopicPartition

from consumers.errors import LogError, RebuildError, RetryError, StopError
from consumers.librdkafka.admin import Admin
from consumers.librdkafka.client import CONSUMER, SLICE_S, Clients, fetch, places, record_of
from consumers.librdkafka.errors import FAILURES, Reports, error_of, is_fatal, meaning
from consumers.log import Batch, Partition, Record
from stream_al.config import LoopConfig

__all__ = ["Group"]

_logger = logging.getLogger("consumers.librdkafka")

_TAKEN_S = 1.0


class Group:
    """A static member of a group; what it owns is fetched from where `seek` says, not before.

    Partitions that the group gives are only noted, and given to librdkafka with their offsets by
    `seek`: so none is ever fetched from an offset that nobody has asked for.

    Parameters
    ----------
    identity
        The member's ``group.instance.id``.

    Attributes
    ----------
    assigned
        The partitions that are this member's now.
    generation
        The group's metadata as they were right after the last poll; None where it was not stable.
    reached
        The next offsets after the records of the last poll.
    """

    def __init__(
        self,
        clients: Clients,
        admin: Admin,
        group: str,
        identity: str,
        topics: Sequence[str],
        assignor: str,
        loop: LoopConfig,
    ) -> None:
        self.assigned: frozenset[Partition] = frozenset()
        self.generation: bytes | None = None
        self.reached: dict[Partition, int] = {}
        self._admin = admin
        self._committed_s = loop.transaction_timeout_s + 5.0
        self._cooperative = assignor == "cooperative-sticky"
        self._joined = self._moved = False
        self._fatal: LogError | None = None
        self._member_id: str | None = None
        self._gained: set[Partition] = set()
        # Where fetching was begun, and where the last end was that all was read up to.
        self._begun: dict[Partition, int] = {}
        self._ends: dict[Partition, int] = {}
        self._name, self._identity, self._topic = group, identity, topics[0]
        self._reports = Reports()
        self._consumer = clients.open(
            Consumer,
            self._reports,
            {
                **CONSUMER,
                "group.id": group,
                "group.instance.id": identity,
                "partition.assignment.strategy": assignor,
                "session.timeout.ms": int(loop.session_timeout_s * 1000),
                "heartbeat.interval.ms": int(min(3.0, loop.session_timeout_s / 5) * 1000),
                "max.poll.interval.ms": int(max(loop.session_timeout_s, 300.0) * 1000),
            },
        )
        told = {
            "on_assign": self._on_assign,
            "on_revoke": self._on_revoke,
            "on_lost": self._on_lost,
        }
        self._consumer.subscribe(list(topics), **told)

    def poll(self, timeout_s: float, max_records: int) -> Batch:
        """Wait for records, and take part in the group.

        Raises
        ------
        RetryError, RebuildError, StopError
        """
        self.generation, self.reached = None, {}
        self._moved = False
        if self._fatal is not None:
            raise self._fatal
        try:
            records = fetch(self._consume, self._records, self._has_news, timeout_s, max_records)
            # In this order: who is a member after the snapshot was one when it was taken.
            generation = self._consumer.consumer_group_metadata()
            member_id = self._consumer.memberid()
        except FAILURES as error:
            # What may have been fetched by then is to be sought again.
            self._gained |= self.assigned
            self._begun.clear()
            raise self._told(error_of(error), "polling") from error
        if self._reports.refused:
            raise StopError(f"group {self._name!r}: brokers refuse access: {self._reports.refused}")
        if self._reports.unreachable and not records:
            self._reports.reach(self._list_topics, self._topic, f"group {self._name!r}")
        if not self._joined or not member_id:
            self._unread(records)
            return Batch((), self.assigned, frozenset(), stable=False)
        self.generation, self._member_id = generation, member_id
        gained = frozenset(self._gained & self.assigned)
        self._gained.clear()
        self.reached = self._ends_of(records)
        return Batch(records, self.assigned, gained, stable=True)

    def seek(self, positions: Mapping[Partition, int]) -> None:
        """Read on from these offsets, and forget what was fetched before.

        Raises
        ------
        RetryError, StopError
        """
        mine = self.assigned - self._gained
        positions = {place: at for place, at in positions.items() if place in mine}
        try:
            fetched = {Partition(p.topic, p.partition) for p in self._consumer.assignment()}
            new = {place: at for place, at in positions.items() if place not in fetched}
            if new and not self._cooperative:
                self._consumer.assign(places({**self._where(), **positions}))
            else:
                # Giving a partition up, to take it anew elsewhere, might pass for the answer to a
                # revocation that has not been seen yet.
                for known in places({p: at for p, at in positions.items() if p in fetched}):
                    self._consumer.seek(known)
                if new:
                    self._consumer.incremental_assign(places(new))
        except FAILURES as error:
            raise self._told(error_of(error), "seeking") from error
        self._begun |= positions
        for place in positions:
            self._ends.pop(place, None)

    def committed(self, partitions: Iterable[Partition]) -> dict[Partition, int | None]:
        """Return committed offsets; waits until transactions that hold some are decided.

        Raises
        ------
        RetryError, StopError
        """
        try:
            found = self._consumer.committed(places(partitions), self._committed_s)
        except FAILURES as error:
            raise self._told(error_of(error), "asking for committed offsets") from error
        for place in found:
            if place.error is not None:
                raise meaning(place.error, f"group {self._name!r}: committed offsets")
        return {
            Partition(p.topic, p.partition): None if p.offset == OFFSET_INVALID else p.offset
            for p in found
        }

    def drained(self, partitions: Iterable[Partition]) -> frozenset[Partition]:
        """Return those partitions whose every committed record has been polled.

        Raises
        ------
        RetryError, StopError
        """
        wanted = [place for place in partitions if place in self._begun]
        ends = self._admin.stable_ends(wanted)
        where = self._where()
        return frozenset(place for place in wanted if where[place] >= ends[place])

    def taken_over(self) -> bool:
        """Ask the group whether another process has this identity now."""
        end = time.monotonic() + _TAKEN_S
        while True:
            try:
                holder = self._admin.holder(self._name, self._identity)
            except LogError as error:
                _logger.warning("whether another process has joined is not known: %s", error)
                return False
            # Not before it has had the time to: both the other to join, and this one to join anew.
            if time.monotonic() > end:
                return holder not in (None, self._member_id, self._consumer.memberid())
            time.sleep(SLICE_S)

    def close(self) -> None:
        """End the consumer without telling the group, which keeps the seat."""
        # Not by its own closing: that serves what the group has still to say, and librdkafka may
        # wait for ever for the answer to an assignment (its issue 4884), with Python's lock held.
        # Without the last reference the client says nothing more to anybody, and ends.
        del self._consumer

    # What may stand in the traceback of an error refers to this group, not to the consumer.

    def _consume(self, count: int, wait_s: float) -> list[Any]:
        found: list[Any] = self._consumer.consume(count, wait_s)
        return found

    def _list_topics(self, topic: str, timeout: float) -> None:
        self._consumer.list_topics(topic, timeout=timeout)

    def _has_news(self) -> bool:
        return self._moved or bool(self._reports.unreachable)

    def _records(self, messages: Iterable[Any]) -> list[Record]:
        records = []
        for message in messages:
            if message.error() is None:
                records.append(record_of(message))
            else:
                self._take(message)
        if self._moved or self._begun.keys() != self.assigned:
            # Fetched before the partition moved, or before it was sought.
            return [r for r in records if Partition(r.topic, r.partition) in self._begun]
        return records

    def _ends_of(self, records: Sequence[Record]) -> dict[Partition, int]:
        ends: dict[Partition, int] = {}
        for record in reversed(records):
            ends.setdefault(Partition(record.topic, record.partition), record.offset + 1)
            if len(ends) == len(self._begun):
                break
        return ends

    def _take(self, message: Any) -> None:  # noqa: ANN401
        error = message.error()
        if error.code() == KafkaError._PARTITION_EOF:
            place = Partition(message.topic(), message.partition())
            if place in self._begun:
                self._ends[place] = message.offset()
            return
        where = f" {message.topic()!r}, partition {message.partition()}" if message.topic() else ""
        told = self._told(error, f"reading{where}")
        if not isinstance(told, RetryError):
            raise told
        _logger.warning("%s", told)

    def _where(self) -> dict[Partition, int]:
        """Tell the next offset of everything that is read, ends that were passed included."""
        where = dict(self._begun)
        for found in self._consumer.position(places(self._begun)):
            place = Partition(found.topic, found.partition)
            where[place] = max(where[place], found.offset, self._ends.get(place, 0))
        return where

    def _unread(self, records: Iterable[Record]) -> None:
        """Take records for not polled: their partitions are to be sought again."""
        for record in records:
            place = Partition(record.topic, record.partition)
            self._gained.add(place)
            self._begun.pop(place, None)

    def _told(self, error: KafkaError, doing: str) -> LogError:
        doing = f"group {self._name!r}: {doing}"
        if not is_fatal(error):
            return meaning(error, doing)
        # After a session that ended unnoticed librdkafka says this too: it sends a heartbeat
        # before it joins anew, and the broker does not know the sender.
        kind = StopError if self.taken_over() else RebuildError
        # It is told once; from then on polls would bring nothing.
        self._fatal = meaning(error, doing, kind)
        return self._fatal

    def _on_assign(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        new = {Partition(place.topic, place.partition) for place in partitions}
        self.assigned |= new
        self._gained |= new
        self._joined = self._moved = True
        if self._cooperative:
            consumer.incremental_assign([])
        else:
            consumer.assign([])

    def _on_revoke(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        gone = {Partition(place.topic, place.partition) for place in partitions}
        self.assigned -= gone
        self._gained -= gone
        self._moved = True
        fetched = [place for place in gone if place in self._begun]
        for place in gone:
            self._begun.pop(place, None)
            self._ends.pop(place, None)
        if self._cooperative:
            # What stays is read on meanwhile.
            consumer.incremental_unassign(places(fetched))
        else:
            self._joined = False
            consumer.unassign()

    def _on_lost(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self._on_revoke(consumer, partitions)
        self._joined = False
