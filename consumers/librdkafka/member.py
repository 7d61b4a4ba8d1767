"""A member: what a group gives it to read, and the transactions that it writes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from consumers.errors import AbortError, StopError
from consumers.librdkafka.errors import FAILURES
from consumers.librdkafka.group import Group
from consumers.librdkafka.transactions import FencedError, Transactions
from consumers.log import Batch, Member, Out, Partition

__all__ = ["LibrdkafkaMember"]

_logger = logging.getLogger("consumers.librdkafka")

_ABORT_S = 2.0
_CLOSE_S = 5.0


class LibrdkafkaMember(Member):
    """One member of a consumer group, on librdkafka."""

    def __init__(self, group: Group, transactions: Transactions) -> None:
        self._group = group
        self._transactions = transactions
        self._closed = False

    def poll(self, timeout_s: float, max_records: int) -> Batch:
        """Serve what the group's threads have to say, and return what they fetched."""
        return self._group.poll(timeout_s, max_records)

    def seek(self, positions: Mapping[Partition, int]) -> None:
        """Fetch from here; what the queue still holds is passed over."""
        self._group.seek(positions)

    def committed(self, partitions: Iterable[Partition]) -> dict[Partition, int | None]:
        """Ask the group's coordinator for stable offsets."""
        return self._group.committed(partitions)

    def drained(self, partitions: Iterable[Partition]) -> frozenset[Partition]:
        """Compare what was polled with the last stable offsets."""
        return self._group.drained(partitions)

    def send(self, outs: Iterable[Out]) -> None:
        """Hand over to the producer, which sends in the background."""
        with self._fencing():
            self._transactions.send(outs, self._group.reached, self._group.generation)

    def begin_commit(self, offsets: Mapping[Partition, int]) -> None:
        """Send the offsets with the generation of the last poll, then end the transaction."""
        if not offsets:
            raise ValueError("a commit needs at least one offset")
        generation = self._group.generation
        if generation is None:
            raise AbortError("the group is rebalancing: nothing can be committed")
        if gone := offsets.keys() - self._group.assigned:
            raise AbortError(f"not this member's any more: {sorted(gone)}")
        with self._fencing():
            self._transactions.begin_commit(offsets, generation)

    def end_commit(self) -> None:
        """Wait for the brokers."""
        with self._fencing():
            self._transactions.end_commit()

    def abort(self) -> None:
        """Throw away what is queued, and end the transaction."""
        with self._fencing():
            self._transactions.abort()

    def close(self) -> None:
        """Leave the group, keeping the seat, and give up what is open."""
        if self._closed:
            return
        self._closed = True
        thread = threading.Thread(target=self._leave, name="closing a member", daemon=True)
        thread.start()
        thread.join(_CLOSE_S)
        if thread.is_alive():
            _logger.warning("a member did not close within %g s and is left behind", _CLOSE_S)

    def _leave(self) -> None:
        # The group first: a consumer left behind would fence whoever has this identity next.
        self._group.close()
        try:
            self._transactions.close(_ABORT_S)
        except FAILURES as error:
            _logger.warning("giving up a transaction: %s", error)

    @contextmanager
    def _fencing(self) -> Iterator[None]:
        """Tell why the producer was fenced.

        Were both processes of one identity to begin anew, they would fence each other for ever.
        """
        try:
            yield
        except FencedError as error:
            if self._group.taken_over():
                raise StopError("another process runs with the same log.instance") from error
            raise
