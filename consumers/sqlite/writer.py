"""A writer: records one by one, stored some milliseconds later together with their neighbours."""

from __future__ import annotations

import threading

from consumers.errors import LogError, RebuildError, RetryError, StopError
from consumers.log import Out, Writer
from consumers.sqlite.catalog import Catalog
from consumers.sqlite.database import Store
from consumers.sqlite.writing import Pending, append

__all__ = ["SqliteWriter"]

_LINGER_S = 0.005
_AGAIN_S = 0.1
_MOST_RECORDS = 2000
_MOST_BYTES = 4 * 1024 * 1024


class SqliteWriter(Writer):
    """Writes without a transaction of the caller's; no offset is burnt.

    A sync to disk takes as long for a thousand records as for one, so a thread stores what has
    come in the meantime.
    """

    def __init__(self, store: Store, catalog: Catalog) -> None:
        self._store = store
        self._database = store.connect()
        self._pending = Pending(catalog)
        self._adding = threading.Lock()
        self._storing = threading.Lock()
        self._work = threading.Event()
        self._ended = threading.Event()
        self._failure: StopError | None = None
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def send(self, out: Out) -> None:
        """Keep a record for the thread; where many wait, store them first."""
        if self._pending.count >= _MOST_RECORDS or self._pending.size >= _MOST_BYTES:
            self._store_all()
        if self._failure is not None:
            raise self._failure
        with self._adding:
            self._pending.add(out)
        self._work.set()

    def flush(self) -> None:
        """Store what waits; after RetryError it waits still."""
        self._store_all()

    def close(self) -> None:
        """Store what waits, and end."""
        try:
            self._store_all()
        finally:
            self._ended.set()
            self._work.set()
            self._thread.join()
            self._store.release(self._database)

    def _run(self) -> None:
        while True:
            self._work.wait()
            self._ended.wait(_LINGER_S)
            # Cleared before it is seen whether this is the end: `close` sets them in that order.
            self._work.clear()
            if self._ended.is_set():
                return
            try:
                self._store_all()
            except RetryError:
                self._work.set()
                self._ended.wait(_AGAIN_S)
            except LogError:
                # Kept: the next call raises it.
                return

    def _store_all(self) -> None:
        with self._storing:
            if self._failure is not None:
                raise self._failure
            with self._adding:
                taken = self._pending.take()
            if not taken.count:
                return
            try:
                with self._database.writing() as connection:
                    append(connection, taken.rows, burn=False)
            except RetryError:
                with self._adding:
                    self._pending.give_back(taken)
                raise
            except RebuildError as error:
                self._failure = StopError(f"{error}; it is unknown whether records were stored")
                raise self._failure from error
            except StopError as error:
                self._failure = error
                raise
