"""The embedded log itself."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from consumers.errors import RebuildError, RetryError
from consumers.log import (
    Bounds,
    Log,
    Member,
    Partition,
    Storage,
    Tail,
    TopicInfo,
    TopicSpec,
    Writer,
)
from consumers.sqlite.catalog import Catalog
from consumers.sqlite.database import Store
from consumers.sqlite.member import SqliteMember
from consumers.sqlite.reading import edges
from consumers.sqlite.tail import SqliteTail
from consumers.sqlite.writer import SqliteWriter
from consumers.topics import specs
from stream_al.config import LogConfig, LoopConfig

__all__ = ["SqliteLog"]


class SqliteLog(Log):
    """A log in one SQLite file, for several processes on one host.

    Exactly once. Of each group one member is active and owns all partitions; others wait until it
    was silent for ``loop.session_timeout_s``. Opening it creates the file and its topics.

    Parameters
    ----------
    config
        With the path ``:memory:`` the log is gone when it is closed, and only threads of this
        process share it.

    Raises
    ------
    ConfigError
        If the file cannot be opened, or is no such log.
    RetryError, StopError

    Examples
    --------
    >>> from consumers.log import Out
    >>> log = SqliteLog(LogConfig(path=":memory:"), LoopConfig())
    >>> writer = log.writer()
    >>> writer.send(Out("events", b'{"amount": 12.5}', key=b"card-1"))
    >>> writer.close()
    >>> [record.value for record in log.read("events", 0)]
    [b'{"amount": 12.5}']
    >>> log.close()
    """

    def __init__(self, config: LogConfig, loop: LoopConfig) -> None:
        self._config = config
        self._loop = loop
        self._store = Store(config.path, loop.commit_timeout_s)
        self._database = self._store.connect()
        self._catalog = Catalog(
            self._database, config.path, config.max_record_bytes, config.retain_bytes
        )
        try:
            self.create(specs(config))
        except BaseException:
            self.close()
            raise

    def member(self, role: str, topics: Sequence[str], assignor: str = "range") -> Member:  # noqa: ARG002
        """Join a group; the active member owns everything, so nothing is assigned by a rule."""
        config, session_s = self._config, self._loop.session_timeout_s
        group = f"{config.name}.{role}"
        return SqliteMember(self._store, self._catalog, group, config.instance, session_s, topics)

    def tail(self, topic: str, partition: int, start: int) -> Tail:
        """Read a partition from an offset on; StopError if there is no such partition."""
        return SqliteTail(self._store, self._catalog.slot(Partition(topic, partition)), start)

    def writer(self) -> Writer:
        """Open a writer."""
        return SqliteWriter(self._store, self._catalog)

    def bounds(self, topic: str, partition: int) -> Bounds:
        """Return a partition's offsets; all is stable, for no transaction is ever seen open."""
        slot = self._catalog.slot(Partition(topic, partition))
        with self._database.reading() as connection:
            first, end = edges(connection, slot)
        return Bounds(first, end, end)

    def topics(self) -> dict[str, TopicInfo]:
        """Return all topics."""
        return self._catalog.infos()

    def create(self, specs: Iterable[TopicSpec]) -> None:
        """Create the topics that are missing."""
        try:
            self._catalog.create(specs)
        except RebuildError as error:
            # What was created after all is found there the next time.
            raise RetryError(str(error)) from error

    def storage(self) -> Storage | None:
        """Measure the file, with what is written ahead of it; None in memory."""
        if self._config.path == ":memory:":
            return None
        used = 0
        try:
            for name in (self._config.path, f"{self._config.path}-wal", f"{self._config.path}-shm"):
                with contextlib.suppress(FileNotFoundError):
                    used += Path(name).stat().st_size
            disk = shutil.disk_usage(Path(self._config.path).absolute().parent)
        except OSError as error:
            raise RetryError(f"log.path: its disk cannot be measured: {error}") from error
        return Storage(used, disk.free, disk.total)

    def limit_pages(self, pages: int | None) -> None:
        """Let the file grow to so many pages of 8 KiB, at most; None: as far as the disk goes.

        Beyond it writing fails as on a full disk, which tests can have in this way.
        """
        self._store.limit_pages(pages)

    def close(self) -> None:
        """Close the log's own connections."""
        self._store.release(self._database)
        self._store.close()
