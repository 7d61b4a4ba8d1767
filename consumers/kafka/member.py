"""A static member of a consumer group, with the transactions that it writes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import structlog
from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import CommitFailedError, FencedInstanceIdError, ProducerFencedError
from kafka.structs import MemberState, OffsetAndMetadata

from consumers.errors import AbortError, LogError, RebuildError, RetryError, StopError
from consumers.kafka.admin import KafkaAdmin
from consumers.kafka.clients import FAILURES, Clients, Reach, meaning
from consumers.kafka.reading import READING, records_of
from consumers.kafka.writing import Outbox
from consumers.log import Batch, Member, Out, Partition
from consumers.testing.crash import crash_point
from consumers.watch import Call, Watch
from stream_al.config import LoopConfig

__all__ = ["KafkaMember"]

_log = structlog.get_logger()

_ASSIGNORS = {"range": RangePartitionAssignor, "cooperative-sticky": CooperativeStickyAssignor}
_POLL_INTERVAL_MS = 300_000
_SLICE_S = 0.1
_METADATA_S = 1.0
_CLOSE_S = 2.0
_REJOIN_S = 1.5


class _Gains(ConsumerRebalanceListener):  # type: ignore[misc]
    """Holds partitions that were gained back until they are sought.

    kafka-python calls it from its own thread, while the poll that takes part waits.
    """

    def __init__(self, consumer: Any) -> None:  # noqa: ANN401 - kafka-python has no types
        self._consumer = consumer
        self.gained: set[Partition] = set()

    def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        for place in assigned:
            self._consumer.pause(place)
            # Any position will do: where there is none, the committed one is looked for.
            self._consumer.seek(place, 0)
            self.gained.add(Partition(*place))

    def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
        self.gained -= {Partition(*place) for place in revoked}


class KafkaMember(Member):
    """See `Member`.

    Parameters
    ----------
    group, identity
        The group's name; what names this member, in the group and in transactions.
    outbox
        With a transactional producer of that identity; closed with the member.
    """

    def __init__(
        self,
        *,
        group: str,
        identity: str,
        topics: Sequence[str],
        assignor: str,
        clients: Clients,
        admin: KafkaAdmin,
        watch: Watch,
        loop: LoopConfig,
        outbox: Outbox,
    ) -> None:
        self._group = group
        self._identity = identity
        self._admin = admin
        self._watch = watch
        self._loop = loop
        self._outbox = outbox
        self._producer = outbox.producer
        self._consumer: Any = None
        self._seat: Any = None
        self._last_id: str | None = None
        self._assigned: frozenset[Partition] = frozenset()
        self._open = False
        self._committing: Call | None = None
        self._lost = False
        try:
            # Fences whoever else writes with this identity, and waits until what they were
            # committing is decided.
            self._producer.init_transactions()
            self._consumer = clients.open(
                KafkaConsumer,
                client_id=identity,
                group_id=group,
                group_instance_id=identity,
                session_timeout_ms=int(loop.session_timeout_s * 1000),
                heartbeat_interval_ms=int(min(3.0, loop.session_timeout_s / 10) * 1000),
                max_poll_interval_ms=_POLL_INTERVAL_MS,
                partition_assignment_strategy=[_ASSIGNORS[assignor]],
                **READING,
            )
            self._gains = _Gains(self._consumer)
            self._consumer.subscribe(list(topics), listener=self._gains)
            self._await_metadata(topics)
        except FAILURES as error:
            self.close()
            raise meaning(error, f"opening {identity!r}", RetryError) from error
        except LogError:
            self.close()
            raise
        # Private, as there is no other way to tell silence from a coordinator that is gone.
        self._coordinator = self._consumer._coordinator
        self._reach = Reach(lambda: not self._coordinator.coordinator_unknown())

    def poll(self, timeout_s: float, max_records: int) -> Batch:
        """Poll kafka-python, and remember the group's generation where it is stable."""
        end = time.monotonic() + timeout_s
        try:
            polled = self._poll_slice(end, max_records)
            while not polled and not self._gains.gained and time.monotonic() < end:
                polled = self._poll_slice(end, max_records)
        except FAILURES as error:
            raise meaning(error, f"polling in group {self._group!r}", RebuildError) from error
        self._reach.check(bool(polled))
        seat = self._consumer.group_metadata()
        self._assigned = frozenset(Partition(*place) for place in self._consumer.assignment())
        # A member that was evicted has generation -1 and no id: no broker would fence that.
        if seat.state != MemberState.STABLE or seat.generation_id < 0 or not seat.member_id:
            self._seat = None
            for place, found in polled.items():
                self._consumer.seek(place, found[0].offset)
            return Batch((), self._assigned, frozenset(), stable=False)
        if self._last_id not in (None, seat.member_id):
            # Evicted in the middle of a rejoin, kafka-python takes for kept what others have had.
            self._gains.on_partitions_assigned(self._consumer.assignment())
            polled = {}
        self._seat, self._last_id = seat, seat.member_id
        self._check_heartbeats()
        gained = self._assigned & self._gains.gained
        # No others: kafka-python's thread may have added some since it was asked what is assigned.
        self._gains.gained -= gained
        return Batch(records_of(polled), self._assigned, gained, stable=True)

    def seek(self, positions: Mapping[Partition, int]) -> None:
        """Seek, and let go what was held back since it was gained."""
        try:
            mine = {Partition(*place) for place in self._consumer.assignment()} - self._gains.gained
            for place in mine & positions.keys():
                self._consumer.seek(TopicPartition(*place), positions[place])
                self._consumer.resume(TopicPartition(*place))
        except FAILURES as error:
            raise meaning(error, f"seeking in group {self._group!r}", RebuildError) from error

    def committed(self, partitions: Iterable[Partition]) -> dict[Partition, int | None]:
        """Ask the coordinator, which waits for stable offsets."""
        timeout_ms = (self._loop.transaction_timeout_s + self._loop.commit_timeout_s) * 1000
        try:
            return {
                place: self._consumer.committed(TopicPartition(*place), timeout_ms=timeout_ms)
                for place in partitions
            }
        except FAILURES as error:
            doing = f"reading the committed offsets of {self._group!r}"
            raise meaning(error, doing, RebuildError) from error

    def drained(self, partitions: Iterable[Partition]) -> frozenset[Partition]:
        """Compare positions with the ends for read-committed readers."""
        places = {mine: TopicPartition(*mine) for mine in partitions if mine in self._assigned}
        timeout_ms = self._loop.commit_timeout_s * 1000
        try:
            ends = self._consumer.end_offsets(list(places.values()), timeout_ms)
            return frozenset(
                mine
                for mine, place in places.items()
                if (self._consumer.position(place, timeout_ms) or 0) >= ends[place]
            )
        except FAILURES as error:
            doing = f"reading the ends of the inputs of {self._group!r}"
            raise meaning(error, doing, RebuildError) from error

    def send(self, outs: Iterable[Out]) -> None:
        """Send through the transactional producer."""
        try:
            self._begin()
            self._outbox.put_all(outs)
        except (*FAILURES, RetryError) as error:
            raise self._given_up(error, "sending") from error

    def begin_commit(self, offsets: Mapping[Partition, int]) -> None:
        """Send the offsets with the generation as it was after the poll, and commit."""
        if not offsets:
            raise ValueError("a commit holds at least one offset")
        seat = self._seat
        if seat is None or not self._assigned.issuperset(offsets):
            self.abort()
            raise AbortError("the partitions are not, or not surely, this member's any more")
        places = {TopicPartition(*p): OffsetAndMetadata(n, "", -1) for p, n in offsets.items()}

        def end() -> None:
            # In this order: with records still under way, kafka-python can take the end of a
            # transaction that was fenced for a success.
            self._outbox.settle()
            self._producer.send_offsets_to_transaction(places, seat)
            crash_point("offsets")
            self._producer.commit_transaction()

        try:
            self._begin()
        except FAILURES as error:
            raise self._given_up(error, "committing") from error
        self._committing = self._watched(end, "a commit")

    def end_commit(self) -> None:
        """Wait for the brokers."""
        committing, self._committing = self._committing, None
        if committing is None:
            return
        try:
            self._await(committing)
        except FAILURES as error:
            raise self._given_up(error, "committing") from error
        self._open = False

    def abort(self) -> None:
        """Abort, as long as it may take."""
        with contextlib.suppress(AbortError):
            self.end_commit()
        self._outbox.forget()
        if not self._open:
            return
        try:
            self._await(self._watched(self._producer.abort_transaction, "an abort"))
        except FAILURES as error:
            self._lost = True
            if isinstance(error, ProducerFencedError) and self._is_replaced():
                raise self._replaced("aborting") from error
            raise RebuildError(str(meaning(error, "aborting", RebuildError))) from error
        self._open = False

    def close(self) -> None:
        """Abort where that can be done, and end both clients; they leave the seat as it is."""
        with contextlib.suppress(LogError):
            self.end_commit()
        steps = {"closing a producer": lambda: self._outbox.close(1.0)}
        if self._open and not self._lost:
            steps = {"a last abort": self._producer.abort_transaction, **steps}
        if self._consumer is not None:
            steps["closing a consumer"] = lambda: self._consumer.close(False, 1000)
        for doing, call in steps.items():
            try:
                self._watch.run(call, _CLOSE_S, doing)
            except (*FAILURES, LogError) as error:
                _log.warning("close_failed", member=self._identity, doing=doing, error=str(error))

    def _await_metadata(self, topics: Iterable[str]) -> None:
        """See that a join can assign: without metadata the group rebalances a second time."""
        cluster, end = self._consumer._client.cluster, time.monotonic() + _METADATA_S
        while not all(map(cluster.partitions_for_topic, topics)) and time.monotonic() < end:
            time.sleep(0.01)

    def _poll_slice(self, end: float, max_records: int) -> Any:  # noqa: ANN401 - kafka-python has no types
        """Poll for a little: with all partitions held back, kafka-python would wait to the end."""
        left = min(max(end - time.monotonic(), 0.0), _SLICE_S)
        polled = self._consumer.poll(int(left * 1000), max_records)
        if self._consumer.group_metadata().state == MemberState.REBALANCING:
            # Else a join that ends between two polls can be forgotten, and the member be stuck.
            self._coordinator.request_rejoin()
        return polled

    def _check_heartbeats(self) -> None:
        """See that the group still takes them: kafka-python only logs that it is fenced."""
        with self._coordinator._lock:
            ended = self._coordinator.stable() and not self._coordinator._heartbeat_enabled
        if ended and self._is_replaced():
            raise self._replaced("polling")
        if ended:
            raise RebuildError(f"{self._identity!r}: the group takes no heartbeats any more")

    def _begin(self) -> None:
        if not self._open:
            # kafka-python keeps offsets that were refused, and would commit them with the next.
            self._producer._transaction_manager._pending_txn_offset_commits.clear()
            self._producer.begin_transaction()
            self._open = True

    def _watched(self, call: Any, doing: str) -> Call:  # noqa: ANN401 - kafka-python has no types
        return self._watch.begin(call, self._loop.commit_timeout_s, doing)

    def _await(self, call: Call) -> None:
        try:
            call.end()
        except LogError:
            self._lost = True
            raise

    def _given_up(self, error: Exception, doing: str) -> LogError:
        """Tell what became of the transaction after a failure; abort it where all goes on."""
        cause = self._producer._transaction_manager.last_error or error
        if isinstance(cause, ProducerFencedError) and self._is_replaced():
            self._lost = True
            return self._replaced(doing)
        told = meaning(cause, doing, RebuildError)
        # A seat that is another's may be this member's own, which has joined anew meanwhile; if
        # not, the heartbeats tell.
        if not isinstance(cause, (CommitFailedError, FencedInstanceIdError, RetryError)):
            # After a record that could not be stored, kafka-python's count of them is wrong.
            return told
        try:
            self.abort()
        except LogError as worse:
            return worse
        return AbortError(str(told))

    def _replaced(self, doing: str) -> StopError:
        """Were both to begin anew, they would fence each other for ever."""
        return StopError(f"{doing}: another process has joined with {self._identity!r}")

    def _is_replaced(self) -> bool:
        """Tell a second process from a transaction that took too long: both are fenced alike.

        After a session that ended this member itself joins anew, by an id that it does not know at
        once: so who holds the seat counts once it has had the time to.
        """
        end = time.monotonic() + _REJOIN_S
        while True:
            try:
                owner = self._admin.seat_owner(self._group, self._identity)
            except LogError:
                return False
            if owner is None or owner == self._consumer.group_metadata().member_id:
                return False
            if time.monotonic() > end:
                return True
            time.sleep(_SLICE_S)
