"""Who of a group is active: a lease in the file, with an epoch that each new holder raises."""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import NamedTuple

from consumers.errors import LogError, RebuildError, RetryError, StopError
from consumers.sqlite.database import Database, Store

__all__ = ["Lease"]

_BEATS = 3
_JOIN_S = 2.0


class _Holder(NamedTuple):
    epoch: int
    instance: str
    expires: float


class Lease:
    """One member's claim to be its group's active one; kept alive by a thread of its own.

    An instance that opens again takes over at once from what was opened under its name before;
    another one only gets what is free or has expired. Whoever held it before finds another epoch.

    Parameters
    ----------
    database
        The member's own connection.
    session_s
        The lease expires after so long without a sign of life.
    release
        Give the lease up at `close`, rather than keep the seat for the same instance.
    """

    def __init__(
        self,
        store: Store,
        database: Database,
        group: str,
        instance: str,
        session_s: float,
        release: bool,
    ) -> None:
        self._database = database
        self._group = group
        self._instance = instance
        self._session_s = session_s
        self._release = release
        self._ended = threading.Event()
        self._failure: LogError | None = None
        self.epoch: int | None = None
        self._take(anew=True)
        self._beats = threading.Thread(
            # A connection of its own: a long read of the member's delays no sign of life.
            target=self._beat,
            args=(store, store.connect()),
            name=f"lease-{group}",
            daemon=True,
        )
        self._beats.start()

    def hold(self) -> bool:
        """Tell whether this is the active member; become it where nobody is.

        Raises
        ------
        RetryError, RebuildError, StopError
            StopError if the same instance was opened again.
        """
        if self._failure is not None:
            raise self._failure
        with self._database.reading() as connection:
            holder = self._holder(connection)
        if holder is not None and holder.epoch == self.epoch:
            return True
        self.epoch = None
        if holder is not None:
            self._refuse_own_double(holder)
            if holder.expires > time.time():
                return False
        return self._take(anew=False)

    def check(self, connection: sqlite3.Connection, epoch: int | None) -> None:
        """See, within the transaction that is to be committed, that the epoch is still this one.

        Raises
        ------
        StopError
            If the same instance was opened again.
        RebuildError
            If the lease is another's now, or never was this member's.
        """
        holder = self._holder(connection)
        if holder is not None and epoch is not None:
            if holder.epoch == epoch:
                return
            self._refuse_own_double(holder)
        raise RebuildError(
            f"group {self._group!r}: this member is not, or no longer, the active one"
        )

    def close(self) -> None:
        """End the signs of life."""
        self._ended.set()
        self._beats.join(_JOIN_S)

    def _take(self, anew: bool) -> bool:
        with self._database.writing() as connection:
            holder, now = self._holder(connection), time.time()
            epoch = 1
            if holder is not None:
                own = holder.instance == self._instance
                if holder.expires > now and not (own and anew):
                    return False
                epoch = holder.epoch + 1
            connection.execute(
                "INSERT OR REPLACE INTO leases (member_group, epoch, instance, expires)"
                " VALUES (?, ?, ?, ?)",
                (self._group, epoch, self._instance, now + self._session_s),
            )
        self.epoch = epoch
        return True

    def _holder(self, connection: sqlite3.Connection) -> _Holder | None:
        row = connection.execute(
            "SELECT epoch, instance, expires FROM leases WHERE member_group = ?", (self._group,)
        ).fetchone()
        return None if row is None else _Holder(*row)

    def _refuse_own_double(self, holder: _Holder) -> None:
        if holder.instance == self._instance:
            raise StopError(
                f"group {self._group!r}: another process has taken the identity of this one,"
                f" instance {self._instance!r}; give each its own log.instance"
            )

    def _beat(self, store: Store, database: Database) -> None:
        try:
            while not self._ended.wait(self._session_s / _BEATS):
                self._extend(database, self._session_s)
            if self._release:
                self._extend(database, 0.0)
        except LogError as error:
            self._failure = error
        finally:
            store.release(database)

    def _extend(self, database: Database, session_s: float) -> None:
        try:
            with database.writing() as connection:
                connection.execute(
                    "UPDATE leases SET expires = ? WHERE member_group = ? AND epoch = ?",
                    (time.time() + session_s, self._group, self.epoch),
                )
        except RetryError:
            # The lease outlasts a sign of life or two that could not be written.
            return
