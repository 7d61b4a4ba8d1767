"""Dead letters: what could not be used, byte for byte, with where it stood and why.

The reasons are headers after the record's own, ``__dlq.errors.topic`` and so on. What is too large
for the topic of dead letters is cut: its size and SHA-256 stand in for the rest.
"""

from __future__ import annotations

import hashlib

import msgspec

from consumers.log import Headers, Out, Record
from consumers.messages.errors import one_line
from consumers.sizes import size_of
from consumers.topics import dead_letters_of
from stream_al.config import LogConfig

__all__ = ["ROOM", "DeadLetter", "dead_letter", "describe"]

ROOM = 64 * 1024
"""Bytes that a dead letter may take more than the record that it is about, and the most that is
kept of a value that is cut."""

_PREFIX = "__dlq.errors."
_FIRST = f"{_PREFIX}topic"
_LONGEST = 500


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter, read back.

    Attributes
    ----------
    topic, partition, offset
        Where the record stood.
    stage, kind, message
        Where in processing it was refused, why in a word, and why in a line.
    key, value, headers
        The record's own; of a truncated one, what was kept.
    truncated
        Whether it was too large to be kept whole.
    dropped
        What was left out of a truncated one: ``key``, ``headers``.
    size, sha256
        Of the whole value of a truncated one: bytes, and hash in hexadecimal digits.
    """

    topic: str
    partition: int
    offset: int
    stage: str
    kind: str
    message: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    truncated: bool = False
    dropped: tuple[str, ...] = ()
    size: int | None = None
    sha256: str | None = None


def dead_letter(record: Record, config: LogConfig, stage: str, kind: str, message: str) -> Out:
    """Write a dead letter, within what its topic allows.

    Parameters
    ----------
    record
        What could not be used.
    config
        Names the topic, and says how large records may be.
    stage, kind
        Where it was refused, and why; one word each.
    message
        What is wrong and what was expected; made one line, and cut where it is long.

    Examples
    --------
    >>> record = Record("events", 0, 17, b"k", b"{", (), 1.7e9)
    >>> letter = dead_letter(record, LogConfig(name="fraud"), "message", "not-json", "cut off")
    >>> letter.topic, letter.value, letter.headers[2]
    ('fraud.dlq.events', b'{', ('__dlq.errors.offset', b'17'))
    """
    topic = dead_letters_of(config, record.topic)
    own = _own(record, stage, kind, message)
    limit = config.max_record_bytes + ROOM
    whole = Out(topic, record.value, record.key, (*record.headers, *own))
    return whole if size_of(whole) <= limit else _cut(record, topic, own, limit)


def describe(record: Record) -> DeadLetter | None:
    """Read a dead letter back; None where a record is none.

    Examples
    --------
    >>> record = Record("events", 0, 17, b"k", b"{", (("traceparent", b"00"),), 1.7e9)
    >>> out = dead_letter(record, LogConfig(name="fraud"), "message", "not-json", "cut off")
    >>> letter = describe(Record(out.topic, 0, 3, out.key, out.value, out.headers, 1.7e9))
    >>> letter.topic, letter.offset, letter.kind, letter.headers
    ('events', 17, 'not-json', (('traceparent', b'00'),))
    >>> describe(record)
    """
    begin = max((at for at, (name, _) in enumerate(record.headers) if name == _FIRST), default=None)
    if begin is None:
        return None
    try:
        own = {
            name.removeprefix(_PREFIX): (value or b"").decode()
            for name, value in record.headers[begin:]
        }
        return DeadLetter(
            topic=own["topic"],
            partition=int(own["partition"]),
            offset=int(own["offset"]),
            stage=own["stage"],
            kind=own["class"],
            message=own["message"],
            key=record.key,
            value=record.value,
            headers=record.headers[:begin],
            truncated=own.get("truncated") == "true",
            dropped=tuple(own["dropped"].split(",")) if "dropped" in own else (),
            size=int(own["size"]) if "size" in own else None,
            sha256=own.get("sha256"),
        )
    except (KeyError, ValueError):
        return None


def _header(name: str, text: str) -> tuple[str, bytes]:
    return _PREFIX + name, text.encode()


def _own(record: Record, stage: str, kind: str, message: str) -> Headers:
    return (
        _header("topic", record.topic),
        _header("partition", str(record.partition)),
        _header("offset", str(record.offset)),
        _header("stage", one_line(stage)),
        _header("class", one_line(kind)),
        _header("message", one_line(message, _LONGEST)),
    )


def _cut(record: Record, topic: str, own: Headers, limit: int) -> Out:
    """Keep what there is room for: first the value's begin, then the key, then the headers."""
    value = record.value or b""
    own = (
        *own,
        _header("truncated", "true"),
        _header("size", str(len(value))),
        _header("sha256", hashlib.sha256(value).hexdigest()),
    )
    room = limit - size_of(Out(topic, None, None, (*own, _header("dropped", "key,headers"))))
    begin = None if record.value is None else value[: min(ROOM, room)]
    room -= len(begin or b"")
    key, headers, dropped = record.key, record.headers, []
    if len(key or b"") > room:
        key = None
        dropped.append("key")
    if size_of(Out(topic, None, key, headers)) > room:
        headers = ()
        dropped.append("headers")
    if dropped:
        own = (*own, _header("dropped", ",".join(dropped)))
    return Out(topic, begin, key, (*headers, *own))
