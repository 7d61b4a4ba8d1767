"""The topics of a log, and how each is kept."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable

import msgspec

from consumers.errors import StopError
from consumers.log import Partition, TopicInfo, TopicSpec
from consumers.sizes import ENVELOPE_BYTES
from consumers.sqlite.database import Database

__all__ = ["Catalog", "Slot", "Topic"]

_DAY_MS = "86400000"


class Slot(msgspec.Struct, frozen=True, gc=False):
    """One partition: its id in the file, and the topic's terms.

    Attributes
    ----------
    limit
        Bytes that a record may take.
    retain
        Bytes that are kept; None: all.
    compacted
        Only the newest record of each key is kept.
    tombstone_s
        Seconds that a record without a value is kept in a compacted topic.
    """

    id: int
    topic: str
    number: int
    limit: int
    retain: int | None
    compacted: bool
    tombstone_s: float


class Topic(msgspec.Struct, frozen=True):
    """A topic: its id in the file, its partitions in order, its settings."""

    id: int
    slots: tuple[Slot, ...]
    settings: dict[str, str]


class Catalog:
    """Knows the topics of one log; safe to use from several threads.

    Topics neither change nor go, so what was read once holds.

    Parameters
    ----------
    limit
        Bytes of a record, where a topic does not say otherwise.
    retain
        Bytes kept of each partition, where nothing has to be kept for ever; None: all.
    """

    def __init__(self, database: Database, path: str, limit: int, retain: int | None) -> None:
        self._database = database
        self._path = path
        self._limit = limit
        self._retain = retain
        self._lock = threading.Lock()
        self._topics: dict[str, Topic] = {}

    def topic(self, name: str) -> Topic:
        """Return a topic.

        Raises
        ------
        StopError
            If it is missing.
        RetryError
        """
        found = self._topics.get(name) or self.topics().get(name)
        if found is None:
            raise StopError(
                f"topic {name!r} is missing in {self._path}: `stream-al doctor --fix` creates it"
            )
        return found

    def slot(self, partition: Partition) -> Slot:
        """Return a partition.

        Raises
        ------
        StopError
            If it is missing.
        RetryError
        """
        slots = self.topic(partition.topic).slots
        if not 0 <= partition.number < len(slots):
            raise StopError(
                f"topic {partition.topic!r} has no partition {partition.number}, only {len(slots)}:"
                " `stream-al doctor --fix` checks topics"
            )
        return slots[partition.number]

    def topics(self) -> dict[str, Topic]:
        """Return all topics as they are now.

        Raises
        ------
        RetryError, StopError
        """
        with self._lock:
            with self._database.reading() as connection:
                rows = connection.execute("SELECT id, name, settings FROM topics").fetchall()
                for number, name, text in rows:
                    if name not in self._topics:
                        self._topics[name] = self._topic(connection, number, name, text)
            return dict(self._topics)

    def infos(self) -> dict[str, TopicInfo]:
        """Return all topics as users know them.

        Raises
        ------
        RetryError, StopError
        """
        return {
            name: TopicInfo(len(topic.slots), dict(topic.settings))
            for name, topic in self.topics().items()
        }

    def create(self, specs: Iterable[TopicSpec]) -> None:
        """Create the topics that are missing.

        Raises
        ------
        RetryError, RebuildError, StopError
        """
        known = self.topics()
        missing = [spec for spec in specs if spec.name not in known]
        if not missing:
            return
        with self._database.writing() as connection:
            for spec in missing:
                _insert(connection, spec)

    def _topic(self, connection: sqlite3.Connection, number: int, name: str, text: str) -> Topic:
        settings = msgspec.json.decode(text, type=dict[str, str])
        limit = self._limit
        if "max.message.bytes" in settings:
            limit = int(settings["max.message.bytes"]) - ENVELOPE_BYTES
        compacted = "compact" in settings.get("cleanup.policy", "delete")
        for_ever = compacted or settings.get("retention.bytes") == "-1"
        ids = connection.execute(
            "SELECT id, number FROM partitions WHERE topic = ? ORDER BY number", (number,)
        )
        slots = tuple(
            Slot(
                id=id_,
                topic=name,
                number=place,
                limit=limit,
                retain=None if for_ever else self._retain,
                compacted=compacted,
                tombstone_s=int(settings.get("delete.retention.ms", _DAY_MS)) / 1000,
            )
            for id_, place in ids
        )
        return Topic(number, slots, settings)


def _insert(connection: sqlite3.Connection, spec: TopicSpec) -> None:
    done = connection.execute(
        "INSERT INTO topics (name, settings) VALUES (?, ?) ON CONFLICT DO NOTHING",
        (spec.name, msgspec.json.encode(spec.settings).decode()),
    )
    if done.rowcount:
        connection.executemany(
            "INSERT INTO partitions (topic, number) VALUES (?, ?)",
            [(done.lastrowid, number) for number in range(spec.partitions)],
        )
