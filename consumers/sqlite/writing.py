"""Writing: records that wait for their transaction, and how they go into the file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import msgspec

from consumers.errors import TooLargeError
from consumers.log import Out, Partition
from consumers.sizes import size_of
from consumers.sqlite.catalog import Catalog, Slot
from consumers.sqlite.schema import OFFSET_BITS, OFFSET_MASK
from stream_al.partitioner import partition_for

__all__ = ["Pending", "append"]

_TRIM_BYTES = 4 * 1024 * 1024
_TRIM_RECORDS = 20_000
_headers = msgspec.msgpack.Encoder().encode


class _Row(NamedTuple):
    time: float
    key: bytes | None
    value: bytes | None
    headers: bytes | None


_Rows: TypeAlias = dict[int, tuple[Slot, list[_Row]]]
_Placed: TypeAlias = list[tuple[int, _Row]]


@dataclass(frozen=True, slots=True)
class Taken:
    """What was taken out of `Pending`."""

    rows: _Rows
    count: int
    size: int


class Pending:
    """Records that wait to be written, by partition.

    Attributes
    ----------
    count, size
        How many they are, and their bytes.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._turns: dict[str, int] = {}
        self.rows: _Rows = {}
        self.count = 0
        self.size = 0

    def add(self, out: Out) -> None:
        """Take a record.

        Raises
        ------
        TooLargeError, StopError, RetryError
        """
        slot = self._slot(out)
        size = size_of(out)
        if size > slot.limit:
            raise TooLargeError(out.topic, size, slot.limit)
        packed = _headers(out.headers) if out.headers else None
        if slot.id not in self.rows:
            self.rows[slot.id] = slot, []
        self.rows[slot.id][1].append(_Row(time.time(), out.key, out.value, packed))
        self.count += 1
        self.size += size

    def take(self) -> Taken:
        """Hand over what waits, and wait for more."""
        taken = Taken(self.rows, self.count, self.size)
        self.rows, self.count, self.size = {}, 0, 0
        return taken

    def give_back(self, taken: Taken) -> None:
        """Put what was taken before what came since."""
        for number, (slot, rows) in self.rows.items():
            taken.rows.setdefault(number, (slot, []))[1].extend(rows)
        self.rows = taken.rows
        self.count += taken.count
        self.size += taken.size

    def _slot(self, out: Out) -> Slot:
        if out.partition is not None:
            return self._catalog.slot(Partition(out.topic, out.partition))
        slots = self._catalog.topic(out.topic).slots
        if len(slots) == 1:
            return slots[0]
        if out.key is not None:
            return slots[partition_for(out.key, len(slots))]
        turn = self._turns.get(out.topic, 0)
        self._turns[out.topic] = turn + 1
        return slots[turn % len(slots)]


def append(connection: sqlite3.Connection, rows: _Rows, burn: bool) -> None:
    """Write records at the ends of their partitions.

    Parameters
    ----------
    burn
        Leave one offset empty after the records of each partition, as Kafka's transactions do:
        so nothing comes to rely on dense offsets.
    """
    for slot, its_rows in rows.values():
        _append(connection, slot, its_rows, burn)


def _append(connection: sqlite3.Connection, slot: Slot, rows: Sequence[_Row], burn: bool) -> None:
    row = connection.execute("SELECT first, next, bytes FROM partitions WHERE id = ?", (slot.id,))
    first, end, kept = row.fetchone()
    base = slot.id << OFFSET_BITS
    placed = list(enumerate(rows, base + end))
    if slot.compacted:
        _drop_old_tombstones(connection, slot, 2 * len(rows))
        placed = _replace(connection, slot, placed)
    else:
        kept += sum(_size(row) for row in rows)
        # Before anything is written, so that on a full disk retention still makes room.
        if slot.retain is not None and kept > slot.retain + min(slot.retain // 8, _TRIM_BYTES):
            first, kept = _trim(connection, base, first, kept, slot.retain)
    connection.executemany(
        "INSERT INTO records (place, time, key, value, headers) VALUES (?, ?, ?, ?, ?)",
        [(place, *row) for place, row in placed],
    )
    connection.execute(
        "UPDATE partitions SET first = ?, next = ?, bytes = ? WHERE id = ?",
        (first, end + len(rows) + burn, kept, slot.id),
    )


def _size(row: _Row) -> int:
    return len(row.key or b"") + len(row.value or b"") + len(row.headers or b"")


def _trim(
    connection: sqlite3.Connection, base: int, first: int, kept: int, retain: int
) -> tuple[int, int]:
    """Delete the oldest records, not too many in one transaction; say what is the first now."""
    rows = connection.execute(
        "SELECT place, ifnull(length(key), 0) + ifnull(length(value), 0)"
        " + ifnull(length(headers), 0) FROM records"
        " WHERE place >= ? AND place <= ? ORDER BY place LIMIT ?",
        (base + first, base + OFFSET_MASK, _TRIM_RECORDS),
    )
    for place, size in rows:
        if kept <= retain:
            break
        kept -= size
        first = (place & OFFSET_MASK) + 1
    connection.execute("DELETE FROM records WHERE place >= ? AND place < ?", (base, base + first))
    return first, kept


def _drop_old_tombstones(connection: sqlite3.Connection, slot: Slot, most: int) -> None:
    base, before = slot.id << OFFSET_BITS, time.time() - slot.tombstone_s
    oldest = connection.execute(
        "SELECT place, time, key FROM records"
        " WHERE value IS NULL AND place >= ? AND place <= ? ORDER BY place LIMIT ?",
        (base, base + OFFSET_MASK, most),
    )
    gone = [(place, key) for place, written, key in oldest.fetchall() if written < before]
    connection.executemany("DELETE FROM records WHERE place = ?", [(place,) for place, _ in gone])
    connection.executemany(
        "DELETE FROM newest WHERE partition = ? AND key = ?", [(slot.id, key) for _, key in gone]
    )


def _replace(connection: sqlite3.Connection, slot: Slot, placed: _Placed) -> _Placed:
    """Delete what stands under the same keys; leave out what another of these replaces."""
    newest: dict[bytes | None, int] = {
        row.key: place for place, row in placed if row.key is not None
    }
    connection.executemany(
        "DELETE FROM records WHERE place ="
        " (SELECT place FROM newest WHERE partition = ? AND key = ?)",
        [(slot.id, key) for key in newest],
    )
    connection.executemany(
        "INSERT INTO newest (partition, key, place) VALUES (?, ?, ?)"
        " ON CONFLICT (partition, key) DO UPDATE SET place = excluded.place",
        [(slot.id, key, place) for key, place in newest.items()],
    )
    return [(place, row) for place, row in placed if newest.get(row.key, place) == place]
