"""A tail: reads one partition outside of any group."""

from __future__ import annotations

import time

from consumers.log import Record, Tail
from consumers.sqlite.catalog import Slot
from consumers.sqlite.database import Store
from consumers.sqlite.reading import edges, fetch

__all__ = ["SqliteTail"]


class SqliteTail(Tail):
    """Reads one partition from an offset on."""

    def __init__(self, store: Store, slot: Slot, start: int) -> None:
        self._store = store
        self._slot = slot
        self._position = start
        self._database = store.connect()

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        """Wait for records, those that were written already first."""
        deadline = time.monotonic() + timeout_s
        while True:
            mark = self._database.mark()
            with self._database.reading() as connection:
                bounds = edges(connection, self._slot)
                records, self._position = fetch(
                    connection, self._slot, self._position, bounds, max_records
                )
            if records or time.monotonic() >= deadline:
                return records
            self._store.wait(self._database, mark, deadline)

    @property
    def position(self) -> int:
        """The next offset to be read; passes offsets that were burnt."""
        return self._position

    def close(self) -> None:
        """Close the connection."""
        self._store.release(self._database)
