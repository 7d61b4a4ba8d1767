"""Connections to one log's file: transactions, news of other's writes, and errors by kind."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from consumers.errors import RebuildError, RetryError, StopError
from consumers.sqlite.schema import code_of, open_connection, said

__all__ = ["Database", "Mark", "Store"]

_GLANCES_S = (0.002, 0.02)
_MOST_PAGES = 1_073_741_823
# Nothing happened, and it may go better the next time.
_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL,
}


class Mark(NamedTuple):
    """What was last seen: writes of other connections, and of this process."""

    version: int
    told: int


class Store:
    """One log's file: opens connections, and wakes who waits for a write.

    Parameters
    ----------
    path
        ``:memory:`` has one connection, which is shared.
    timeout_s
        How long to wait, at most, for others to finish writing.
    """

    def __init__(self, path: str, timeout_s: float) -> None:
        self.path = path
        self.timeout_s = timeout_s
        self.page_limit = _MOST_PAGES
        # SQLite's own waiting sleeps longer and longer: threads of one process take turns first.
        self.turn = threading.Lock()
        self.told = 0
        self._news = threading.Condition()
        self._shared = Database(self) if path == ":memory:" else None

    def connect(self) -> Database:
        """Open a connection; give it back with `release`."""
        return self._shared or Database(self)

    def release(self, database: Database) -> None:
        """Close a connection, unless it is shared."""
        if database is not self._shared:
            database.close()

    def limit_pages(self, pages: int | None) -> None:
        """Let the file grow to so many pages, at most; None: as far as the disk goes."""
        self.page_limit = _MOST_PAGES if pages is None else pages

    def tell(self) -> None:
        """Wake whoever waits in this process."""
        with self._news:
            self.told += 1
            self._news.notify_all()

    def wait(self, database: Database, mark: Mark, until: float) -> None:
        """Wait until something was written after the mark, or for this monotonic time."""
        glance_s, longest_s = _GLANCES_S
        while (left := until - time.monotonic()) > 0:
            with self._news:
                if self.told == mark.told:
                    self._news.wait(min(left, glance_s))
            if database.mark() != mark:
                return
            # Other processes cannot tell: looked for less and less often while nothing comes.
            glance_s = min(2 * glance_s, longest_s)

    def close(self) -> None:
        """Close the shared connection, if there is one."""
        if self._shared:
            self._shared.close()


class Database:
    """One connection. Threads may share it; a transaction keeps the others out."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Half for the turn among threads, half for other processes.
        self._timeout_s = store.timeout_s / 2
        self._connection = open_connection(store.path, self._timeout_s)
        self._lock = threading.RLock()
        self._page_limit = _MOST_PAGES

    def mark(self) -> Mark:
        """Remember what has been written until now.

        Raises
        ------
        RetryError, StopError
        """
        told = self._store.told
        with self._lock, self._translated():
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return Mark(version, told)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read what stood in the file at one moment.

        Raises
        ------
        RetryError, StopError
        """
        with self._lock, self._translated():
            self._connection.execute("BEGIN")
            try:
                yield self._connection
            finally:
                self._roll_back()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Write all or nothing, alone; nothing is written where the body raises.

        Raises
        ------
        RetryError
            If the file is locked for too long, or the disk is full; nothing was written.
        RebuildError
            If it is unknown whether it was.
        StopError
        """
        if not self._store.turn.acquire(timeout=self._timeout_s):
            raise RetryError(f"{self._store.path}: another thread has been writing for too long")
        try:
            with self._lock, self._translated():
                self._apply_page_limit()
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                    self._commit()
                finally:
                    self._roll_back()
        finally:
            self._store.turn.release()
        self._store.tell()

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    def _commit(self) -> None:
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if code_of(error) == sqlite3.SQLITE_IOERR:
                raise RebuildError(f"{self._store.path}: commit: {error}") from error
            raise

    def _roll_back(self) -> None:
        # SQLite has already done so after some errors.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _apply_page_limit(self) -> None:
        limit = self._store.page_limit
        if self._page_limit != limit:
            self._connection.execute(f"PRAGMA max_page_count = {limit:d}")
            self._page_limit = limit

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            kind = RetryError if code_of(error) in _PASSING else StopError
            raise kind(f"{self._store.path}: {said(error)}") from error
