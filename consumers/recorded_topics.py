"""Topics to be verified: those of a log, or dumps that ``kcat -J`` made of them."""

from __future__ import annotations

import json
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import msgspec

from consumers.log import Log, Partition, Record
from stream_al.errors import InputError

__all__ = ["DumpedTopics", "LogTopics", "RecordedTopics"]


class RecordedTopics(ABC):
    """Gives records of topics, partition by partition, as often as asked for."""

    @abstractmethod
    def partitions(self, topic: str) -> int:
        """Count the partitions of a topic; 0 where there is none."""

    @abstractmethod
    def read(self, topic: str, partition: int, start: int = 0) -> Iterator[Record]:
        """Read a partition from an offset on, in order, up to its end at the first record."""


class LogTopics(RecordedTopics):
    """The committed records of a log."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._known = log.topics()

    def partitions(self, topic: str) -> int:
        """Count the partitions of a topic."""
        return self._known[topic].partitions if topic in self._known else 0

    def read(self, topic: str, partition: int, start: int = 0) -> Iterator[Record]:
        """Read a partition; from its beginning where the start is no longer kept."""
        beginning = self._log.bounds(topic, partition).beginning
        return self._log.read(topic, partition, max(start, beginning))


class _Message(msgspec.Struct):
    topic: str
    partition: int
    offset: int
    ts: int | None = None
    headers: list[str | None] = []
    key: str | None = None
    payload: str | None = None


_decode = msgspec.json.Decoder(_Message).decode


class DumpedTopics(RecordedTopics):
    """Dumps of topics, any number of them in any number of files.

    They are split into a temporary file for each partition, so memory does not grow with them.

    Parameters
    ----------
    files
        As ``kcat -C -J`` writes them, one message a line.
    folder
        Where the temporary files go; they are gone once it is removed.

    Raises
    ------
    InputError
        At a line that is no such message, or offsets that do not grow.
    """

    def __init__(self, files: Iterable[Path], folder: Path) -> None:
        self._places: dict[Partition, Path] = {}
        last: dict[Partition, int] = {}
        open_files: dict[Partition, IO[bytes]] = {}
        try:
            for file in files:
                with file.open("rb") as lines:
                    for number, line in enumerate(lines, 1):
                        message = _message(line, file, number)
                        place = Partition(message.topic, message.partition)
                        if message.offset <= last.get(place, -1):
                            told = f"offset {message.offset} after {last[place]}; expected larger"
                            raise InputError(told, str(file), number, "offset")
                        last[place] = message.offset
                        if place not in open_files:
                            descriptor, name = tempfile.mkstemp(dir=folder)
                            self._places[place] = Path(name)
                            open_files[place] = os.fdopen(descriptor, "wb")
                        open_files[place].write(line.rstrip(b"\n") + b"\n")
        finally:
            for each in open_files.values():
                each.close()

    def partitions(self, topic: str) -> int:
        """Count the partitions of a topic, up to the last that has a message."""
        return max((place.number + 1 for place in self._places if place.topic == topic), default=0)

    def read(self, topic: str, partition: int, start: int = 0) -> Iterator[Record]:
        """Read a partition."""
        path = self._places.get(Partition(topic, partition))
        if path is None:
            return
        with path.open("rb") as lines:
            for line in lines:
                message = _read(line)
                if message.offset < start:
                    continue
                names, values = message.headers[::2], message.headers[1::2]
                yield Record(
                    message.topic,
                    message.partition,
                    message.offset,
                    _bytes(message.key),
                    _bytes(message.payload),
                    tuple(
                        (name or "", _bytes(value))
                        for name, value in zip(names, values, strict=False)
                    ),
                    (message.ts or 0) / 1000,
                )


def _message(line: bytes, file: Path, number: int) -> _Message:
    try:
        return _read(line)
    except (ValueError, RecursionError) as error:  # msgspec's and Unicode's errors are ValueErrors
        raise InputError(f"no message of `kcat -J`: {error}", str(file), number) from error


def _read(line: bytes) -> _Message:
    try:
        return _decode(line)
    except UnicodeDecodeError:
        # kcat copies bytes that are no UTF-8 as they are; msgspec takes none, Python's own does.
        return msgspec.convert(json.loads(line.decode(errors="surrogateescape")), _Message)


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode(errors="surrogateescape")
