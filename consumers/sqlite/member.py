"""A member of a group: reads all partitions of its topics while it holds the group's lease."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence

from consumers.errors import AbortError, RetryError, StopError
from consumers.log import Batch, Member, Out, Partition, Record
from consumers.sqlite.catalog import Catalog
from consumers.sqlite.database import Store
from consumers.sqlite.lease import Lease
from consumers.sqlite.reading import fetch, has_record
from consumers.sqlite.writing import Pending, append
from consumers.testing.crash import crash_point

__all__ = ["SqliteMember"]

_LOOK_S = 0.1
_NONE: frozenset[Partition] = frozenset()


class SqliteMember(Member):
    """One member: the group's active one, or waiting to be.

    Parameters
    ----------
    instance
        None: an identity of its own, whose seat is given up at `close`.
    """

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        group: str,
        instance: str | None,
        session_s: float,
        topics: Sequence[str],
    ) -> None:
        found = [catalog.topic(name) for name in topics]
        counts = {name: len(topic.slots) for name, topic in zip(topics, found, strict=True)}
        if len(set(counts.values())) > 1:
            raise StopError(f"topics that are read together have unequal partitions: {counts}")
        self._topic_ids = [topic.id for topic in found]
        self._slots = {
            Partition(slot.topic, slot.number): slot for topic in found for slot in topic.slots
        }
        self._all = frozenset(self._slots)
        self._order = list(self._slots)
        self._positions: dict[Partition, int] = {}
        self._epoch: int | None = None
        self._store = store
        self._catalog = catalog
        self._group = group
        self._pending = Pending(catalog)
        self._database = store.connect()
        identity = instance or uuid.uuid4().hex
        try:
            self._lease = Lease(
                store, self._database, group, identity, session_s, release=instance is None
            )
        except BaseException:
            store.release(self._database)
            raise

    def poll(self, timeout_s: float, max_records: int) -> Batch:
        """Wait for records; without the lease, for the lease."""
        deadline = time.monotonic() + timeout_s
        while True:
            mark = self._database.mark()
            batch = self._look(max_records)
            now = time.monotonic()
            if batch.records or batch.gained or now >= deadline:
                return batch
            # A lease expires without anything being written.
            self._store.wait(self._database, mark, min(deadline, now + _LOOK_S))

    def seek(self, positions: Mapping[Partition, int]) -> None:
        """Read on from these offsets; ValueError for a partition of another topic."""
        if strange := positions.keys() - self._all:
            raise ValueError(f"not of this member's topics: {sorted(strange)}")
        self._positions.update(positions)

    def committed(self, partitions: Iterable[Partition]) -> dict[Partition, int | None]:
        """Return what stands in the file: no transaction is open outside of a commit."""
        slots = {partition: self._catalog.slot(partition) for partition in partitions}
        with self._database.reading() as connection:
            stored = dict(
                connection.execute(
                    "SELECT partition, next FROM offsets WHERE member_group = ?", (self._group,)
                ).fetchall()
            )
        return {partition: stored.get(slot.id) for partition, slot in slots.items()}

    def drained(self, partitions: Iterable[Partition]) -> frozenset[Partition]:
        """Look for records after the positions; offsets that were burnt are none."""
        wanted = [p for p in partitions if p in self._positions]
        with self._database.reading() as connection:
            return frozenset(
                p for p in wanted if not has_record(connection, self._slots[p], self._positions[p])
            )

    def send(self, outs: Iterable[Out]) -> None:
        """Keep records in memory until the commit."""
        try:
            for out in outs:
                self._pending.add(out)
        except RetryError as error:
            raise AbortError(str(error)) from error

    def begin_commit(self, offsets: Mapping[Partition, int]) -> None:
        """Check the lease and write everything, in one transaction of the file."""
        if not offsets:
            raise ValueError("a commit holds at least one offset")
        try:
            rows = [(self._group, self._catalog.slot(p).id, n) for p, n in offsets.items()]
            with self._database.writing() as connection:
                self._lease.check(connection, self._epoch)
                append(connection, self._pending.rows, burn=True)
                connection.executemany(
                    "INSERT OR REPLACE INTO offsets (member_group, partition, next)"
                    " VALUES (?, ?, ?)",
                    rows,
                )
                crash_point("offsets")
        except RetryError as error:
            raise AbortError(str(error)) from error
        self._pending.take()

    def abort(self) -> None:
        """Forget what was sent: nothing of it is in the file."""
        self._pending.take()

    def close(self) -> None:
        """End the signs of life, and the connection."""
        self._pending.take()
        self._lease.close()
        self._store.release(self._database)

    def _look(self, max_records: int) -> Batch:
        if not self._lease.hold():
            self._epoch = None
            self._positions.clear()
            return Batch((), _NONE, _NONE, True)
        if self._lease.epoch != self._epoch:
            self._epoch = self._lease.epoch
            self._positions.clear()
            return Batch((), self._all, self._all, True)
        return Batch(self._read(max_records), self._all, _NONE, True)

    def _read(self, max_records: int) -> list[Record]:
        records: list[Record] = []
        moved: dict[Partition, int] = {}
        with self._database.reading() as connection:
            bounds = {
                id_: (first, end)
                for topic in self._topic_ids
                for id_, first, end in connection.execute(
                    "SELECT id, first, next FROM partitions WHERE topic = ?", (topic,)
                )
            }
            for partition in self._order:
                left = max_records - len(records)
                if left > 0 and partition in self._positions:
                    slot, position = self._slots[partition], self._positions[partition]
                    if position != bounds[slot.id][1]:
                        found, moved[partition] = fetch(
                            connection, slot, position, bounds[slot.id], left
                        )
                        records += found
        # Only now, that nothing can fail any more: a record is given once, and not lost.
        self._positions.update(moved)
        # Each partition in its turn is the first to be read.
        self._order.append(self._order.pop(0))
        return records
