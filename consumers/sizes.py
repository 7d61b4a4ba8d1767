"""How large records are, which logs have limits on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from operator import attrgetter

import msgspec

from consumers.errors import TooLargeError
from consumers.log import Out

__all__ = ["ENVELOPE_BYTES", "check_size", "pieces", "size_of"]

ENVELOPE_BYTES = 1024
"""What ``max.message.bytes`` allows beyond key, value and headers."""

_RECORD_BYTES, _HEADER_BYTES = 100, 10
"""What a record takes beyond key, value and headers, and each header beyond its own, at most."""

_PIECE_RECORDS = 64
_PIECE_BYTES = 1024 * 1024

_headers = attrgetter("headers")
_encode = msgspec.msgpack.Encoder().encode


def size_of(out: Out) -> int:
    """Count the bytes of key, value and headers, which a log's limit is about."""
    size = len(out.value or b"") + len(out.key or b"")
    for name, value in out.headers:
        size += len(name.encode()) + len(value or b"")
    return size


def check_size(out: Out, limit: int) -> None:
    """See that a record is within a topic's limit.

    Raises
    ------
    TooLargeError
    """
    size = size_of(out)
    overhead = _RECORD_BYTES + _HEADER_BYTES * len(out.headers)
    if size > limit or size + overhead > limit + ENVELOPE_BYTES:
        raise TooLargeError(out.topic, size, limit)


def pieces(outs: Iterable[Out]) -> Iterator[tuple[list[Out], int]]:
    """Cut into pieces, with the bytes that all records of a piece take at most.

    Where that is within a limit, none of its records needs a look of its own. Only a piece of one
    record takes more than 1 MiB.

    Examples
    --------
    >>> outs = [Out("t", b"abc", b"k"), Out("t", None, None, (("name", b"value"),))]
    >>> [(len(piece), most) for piece, most in pieces(outs)]
    [(2, 312)]
    """
    rest = iter(outs)
    while piece := list(islice(rest, _PIECE_RECORDS)):
        most = _at_most(piece)
        if most <= _PIECE_BYTES or len(piece) == 1:
            yield piece, most
        else:
            for out in piece:
                yield [out], _at_most([out])


def _at_most(outs: list[Out]) -> int:
    # Encoding counts all contents at once: a look at each costs several times as much.
    headers = sum(map(len, map(_headers, outs)))
    return len(_encode(outs)) + _HEADER_BYTES * headers + _RECORD_BYTES * len(outs)
