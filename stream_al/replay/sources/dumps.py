"""Messages of a Kafka topic as ``kcat -J`` writes them."""

from __future__ import annotations

from typing import Any

from stream_al.errors import ConfigError
from stream_al.replay.sources.base import Fault, Reading
from stream_al.replay.sources.json_text import decode_object, utf8_only
from stream_al.replay.sources.objects import Item, Position, flatten

__all__ = ["Dump", "is_dump"]

_MARKS = frozenset({"topic", "partition", "offset", "key", "payload"})


def is_dump(values: dict[str, Any]) -> bool:
    """Tell a message of a dump from a row.

    Examples
    --------
    >>> is_dump({"topic": "t", "partition": 0, "offset": 5, "key": None, "payload": "{}"})
    True
    >>> is_dump({"offset": 5, "label": 1})
    False
    """
    return values.keys() >= _MARKS


class Dump:
    """Turns messages into items, in order.

    The payload, an object or its JSON text, holds the columns. Events keep the topic, partition,
    offset and key of their messages. The message's own time, ``ts`` in milliseconds, is the
    column ``ts`` of a payload that has none, so it is used where ``source.time = "ts"`` and
    otherwise not: kcat writes the partitions of a topic as they arrive, not in order of time.

    kcat copies keys and payloads byte by byte, so that a dump need not be UTF-8. A key may hold
    any bytes; a feature, an id or a label may not.

    Parameters
    ----------
    reading
        How rows become events.

    Raises
    ------
    ConfigError
        If the configuration asks for another key or other partitions.
    """

    def __init__(self, reading: Reading) -> None:
        config = reading.config
        if config.key is not None or config.partitions != 1:
            raise ConfigError(
                f"{reading.name} is a dump that keeps its own keys and partitions; "
                "expected no key column and 1 partition",
                "source.key" if config.key is not None else "source.partitions",
            )
        self._time = config.time
        self._last: dict[tuple[str, int], int] = {}
        self._stamped: bool | None = None

    def item(self, line: int, message: dict[str, Any]) -> Item:
        """Take a message apart.

        Raises
        ------
        Fault
            If it has no place of its own after the one before, or no payload that is an object.
        """
        position = self._position(message)
        payload = message.get("payload")
        if payload is None:
            raise Fault("missing value", "null; expected a JSON object", "payload")
        if isinstance(payload, str):
            payload, clean = decode_object(payload, "payload")
        elif isinstance(payload, dict):
            clean = False
        else:
            raise Fault("wrong type", f"expected a JSON object, not {payload!r:.60}", "payload")
        values = flatten(payload)
        if not clean:
            values = utf8_only(values)
        if self._stamped is None:
            self._stamped = self._time == "ts" and "ts" in message and "ts" not in values
        if self._stamped:
            if "ts" in values:
                raise Fault("different keys", "unexpected; the first row does not have it", "ts")
            values = {**values, "ts": _seconds(message.get("ts"))}
        return Item(line, values, position)

    def _position(self, message: dict[str, Any]) -> Position:
        topic = message.get("topic")
        if not isinstance(topic, str) or not topic:
            raise Fault("not a place", f"expected the name of a topic, not {topic!r:.60}", "topic")
        partition = _natural(message, "partition")
        offset = _natural(message, "offset")
        last = self._last.get((topic, partition), -1)
        if offset <= last:
            what = f"offset {offset} after {last} in partition {partition}; expected a larger one"
            raise Fault("offsets run backwards", what, "offset")
        self._last[topic, partition] = offset
        return Position(topic, partition, offset, _key(message.get("key")))


def _natural(message: dict[str, Any], name: str) -> int:
    value = message.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise Fault("not a place", f"expected an integer from 0, not {value!r:.60}", name)


def _key(value: object) -> bytes | None:
    if value is None:
        return None
    wrong = Fault("wrong type", f"expected text or null, not {value!a:.60}", "key")
    if not isinstance(value, str):
        raise wrong
    try:
        return value.encode(errors="surrogateescape")
    except UnicodeEncodeError as error:  # a lone escape such as \ud800 stands for no bytes
        raise wrong from error


def _seconds(milliseconds: object) -> object:
    if isinstance(milliseconds, int) and not isinstance(milliseconds, bool):
        return milliseconds / 1000
    return milliseconds
