"""Reading one partition: what is there from an offset on, and where the end is."""

from __future__ import annotations

import sqlite3

import msgspec

from consumers.errors import StopError
from consumers.log import Headers, Record
from consumers.sqlite.catalog import Slot
from consumers.sqlite.schema import OFFSET_BITS, OFFSET_MASK

__all__ = ["edges", "fetch", "has_record"]

_FETCH_BYTES = 16 * 1024 * 1024
_headers = msgspec.msgpack.Decoder(Headers).decode


def edges(connection: sqlite3.Connection, slot: Slot) -> tuple[int, int]:
    """Return the first offset that is kept, and the next to be given."""
    row = connection.execute("SELECT first, next FROM partitions WHERE id = ?", (slot.id,))
    first, end = row.fetchone()
    return first, end


def fetch(
    connection: sqlite3.Connection,
    slot: Slot,
    position: int,
    bounds: tuple[int, int],
    most: int,
) -> tuple[list[Record], int]:
    """Read up to so many records from a position on, and say where to go on from.

    Parameters
    ----------
    bounds
        As `edges` gave them in the same transaction.

    Raises
    ------
    StopError
        If the position is out of range.
    """
    first, end = bounds
    if position < first:
        raise StopError(
            f"{slot.topic}[{slot.number}]: the next offset to be read is {position}, but what is"
            f" before {first} was deleted unread: log.retain_bytes keeps too little for this reader"
        )
    if position > end:
        raise StopError(
            f"{slot.topic}[{slot.number}]: the next offset to be read is {position}, but the log"
            f" ends at {end}: it is another log than the one that was read before"
        )
    base = slot.id << OFFSET_BITS
    rows = connection.execute(
        "SELECT place, key, value, headers, time FROM records"
        " WHERE place >= ? AND place < ? ORDER BY place LIMIT ?",
        (base + position, base + end, most),
    )
    topic, number = slot.topic, slot.number
    records: list[Record] = []
    size = 0
    for place, key, value, headers, time in rows:
        offset = place & OFFSET_MASK
        found = _headers(headers) if headers else ()
        records.append(Record(topic, number, offset, key, value, found, time))
        size += len(value or b"")
        # The last of so many, or of so many bytes: there may be more.
        if len(records) == most or size >= _FETCH_BYTES:
            return records, offset + 1
    return records, end


def has_record(connection: sqlite3.Connection, slot: Slot, position: int) -> bool:
    """Tell whether there is a record at a position or after it."""
    base = slot.id << OFFSET_BITS
    row = connection.execute(
        "SELECT 1 FROM records WHERE place >= ? AND place <= ? LIMIT 1",
        (base + position, base + OFFSET_MASK),
    )
    return row.fetchone() is not None
