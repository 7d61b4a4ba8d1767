"""How a log stands in its file, and whether a file is such a log."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import ExitStack
from pathlib import Path

from consumers.errors import RetryError
from stream_al.errors import ConfigError

__all__ = ["OFFSET_BITS", "OFFSET_MASK", "code_of", "open_connection", "said"]

OFFSET_BITS = 44
"""A record's place in the file is its partition's id and, in these lower bits, its offset."""
OFFSET_MASK = (1 << OFFSET_BITS) - 1

_APPLICATION = 0x5354414C  # what file(1) and SQLite call the application id
_VERSION = 1

_PRAGMAS = (
    # Synced at each commit: what was committed survives a power cut.
    "PRAGMA synchronous = FULL",
    "PRAGMA cache_size = -8192",
    "PRAGMA journal_size_limit = 67108864",
    # Retention frees whole pages: zeroing them first would double its writing.
    "PRAGMA secure_delete = FAST",
)

# Records are clustered by place: each partition grows at the end of a range of its own, and is
# read in sequence. `newest` finds what a record of a compacted topic replaces; the index finds
# the tombstones that are old enough to go.
_TABLES = (
    """CREATE TABLE topics (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, settings TEXT NOT NULL)""",
    """CREATE TABLE partitions (
        id INTEGER PRIMARY KEY, topic INTEGER NOT NULL REFERENCES topics, number INTEGER NOT NULL,
        first INTEGER NOT NULL DEFAULT 0, next INTEGER NOT NULL DEFAULT 0,
        bytes INTEGER NOT NULL DEFAULT 0, UNIQUE (topic, number))""",
    """CREATE TABLE records (
        place INTEGER PRIMARY KEY, time REAL NOT NULL, key BLOB, value BLOB, headers BLOB)""",
    "CREATE INDEX tombstones ON records (place) WHERE value IS NULL",
    """CREATE TABLE newest (
        partition INTEGER NOT NULL, key BLOB NOT NULL, place INTEGER NOT NULL,
        PRIMARY KEY (partition, key)) WITHOUT ROWID""",
    """CREATE TABLE offsets (
        member_group TEXT NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL,
        PRIMARY KEY (member_group, partition)) WITHOUT ROWID""",
    """CREATE TABLE leases (
        member_group TEXT PRIMARY KEY, epoch INTEGER NOT NULL, instance TEXT NOT NULL,
        expires REAL NOT NULL) WITHOUT ROWID""",
)


def open_connection(path: str, timeout_s: float) -> sqlite3.Connection:
    """Connect to a log, made anew where there is no file or an empty one.

    Raises
    ------
    ConfigError
        If the file cannot be opened, is no log of this kind, or is one of another version.
    RetryError
        If another process has locked it for too long.
    """
    with ExitStack() as undo:
        try:
            connection = sqlite3.connect(
                path, timeout=timeout_s, isolation_level=None, check_same_thread=False
            )
            undo.callback(connection.close)
            if not _known(connection, path):
                _make(connection, path, timeout_s)
            for pragma in _PRAGMAS:
                connection.execute(pragma)
        except sqlite3.Error as error:
            if code_of(error) == sqlite3.SQLITE_BUSY:
                raise RetryError(f"{path}: {error}") from error
            raise _unusable(path, _why(path, error)) from error
        undo.pop_all()
    return connection


def _known(connection: sqlite3.Connection, path: str) -> bool:
    """Tell whether this is a log; False where nothing is there yet."""
    # First of all the tables: another process may make the file meanwhile, in one transaction.
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application == _APPLICATION:
        if version != _VERSION:
            raise _unusable(path, f"its schema has version {version}, and this is {_VERSION}")
        return True
    if application or version or tables:
        raise _unusable(path, "it is the database of another program")
    return False


def _make(connection: sqlite3.Connection, path: str, timeout_s: float) -> None:
    connection.execute("PRAGMA page_size = 8192")
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            break
        except sqlite3.OperationalError as error:
            # SQLite does not wait here for another process that is making the same file.
            if code_of(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    if mode not in ("wal", "memory"):
        raise _unusable(path, f"its file system allows no write-ahead log (mode {mode!r})")
    connection.execute("BEGIN IMMEDIATE")
    if not _known(connection, path):
        for table in _TABLES:
            connection.execute(table)
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {_VERSION}")
    connection.execute("COMMIT")


def code_of(error: sqlite3.Error) -> int:
    """Return SQLite's primary error code; the module's own errors (closed, misused) have none."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE) & 0xFF


def said(error: sqlite3.Error) -> str:
    """Return SQLite's words, and what to do where a file is damaged."""
    damaged = code_of(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return f"{error}; if this was a log, put a copy in its place" if damaged else str(error)


def _why(path: str, error: sqlite3.Error) -> str:
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        return f"there is no folder {str(folder)!r}"
    if not os.access(folder, os.W_OK):
        return f"its folder {str(folder)!r} may not be written to"
    return said(error)


def _unusable(path: str, why: str) -> ConfigError:
    return ConfigError(f"{path!r} cannot be used as a log: {why}", "log.path")
