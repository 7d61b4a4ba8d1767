"""Ways in which bytes are not the JSON object that was meant."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable
from random import Random
from typing import Any, TypeAlias

__all__ = ["Message", "Sort", "encoded", "json_sorts", "placed", "without"]

Message: TypeAlias = dict[str, Any]

Sort: TypeAlias = Callable[[Random, Message], bytes | None]
"""Makes something that cannot be used out of a message that can."""

_MARK = "<mark>"

_BAD_LITERALS = (
    *(b"NaN", b"Infinity", b"-Infinity", b"nan", b"None", b"True", b"undefined", b"'text'"),
    *(b"01", b"1.", b".5", b"+1", b"0x1F", b"1_000", b"1e", b"--1", b"1,5", b"", b"{", b"[1"),
    *(b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\xf5\x80\x80\x80"', b'"\xe2\x82"'),
    *(b'"\\ud800"', b'"\\ud800x"', b'"\\udc00\\ud800"', b'"\\x41"', b'"\\u12"'),
    *(b'"\x00"', b'"a\nb"', b'"\x1f"', b'"open', b"\x00", b"/* 1 */ 1"),
    *(b"1e999", b"-1e400", b"9" * 400 + b".5", b"9" * 5000, b"-" + b"9" * 100_000),
)
_NOT_OBJECTS = (b"null", b"true", b"12", b"-0.5", b'"text"', b"[]", b"[1, 2]", b'[{"a": 1}]')
_NOT_JSON = (
    *(b"", None, b" ", b"\n\n", b"\x00", b"\x00" * 64, b"{", b"}", b"{]", b'{"a"}', b"{1: 2}"),
    *(b"{'a': 1}", b"{a: 1}", b'{"a": 1,}', b'{,"a": 1}', b'{"a": 1 "b": 2}', b'{"a" 1}'),
    *(b"amount,age\n12.5,7\n", b"<amount>12.5</amount>", b"amount: 12.5\n", b"amount=12.5"),
)


def encoded(message: Message) -> bytes:
    """Write a message as most programs do."""
    return json.dumps(message, ensure_ascii=False).encode()


def placed(message: Message, path: str, value: object) -> Message:
    """Return a message with another value at a path."""
    changed = copy.deepcopy(message)
    *outer, last = path.split(".")
    scope = changed
    for name in outer:
        scope = scope.setdefault(name, {})
    scope[last] = value
    return changed


def without(message: Message, path: str) -> Message:
    """Return a message without what stands at a path."""
    changed = copy.deepcopy(message)
    *outer, last = path.split(".")
    scope = changed
    for name in outer:
        scope = scope[name]
    del scope[last]
    return changed


def json_sorts(max_bytes: int, path: str) -> Iterable[Sort]:
    """List the ways.

    Parameters
    ----------
    max_bytes
        The largest message that is looked at.
    path
        Where a number stands in every message.
    """
    yield from (_instead(raw) for raw in (*_NOT_JSON, *_NOT_OBJECTS))
    yield from (_literal(path, raw) for raw in _BAD_LITERALS)
    yield from (_truncated, _followed, _preceded, _recoded, _noise, _listed, _twice, _escaped_twice)
    yield from (_twice_within, _bad_name)
    yield lambda rng, message: _deep(rng, message, max_bytes)
    yield lambda rng, message: _huge(rng, message, max_bytes)


def _instead(raw: bytes | None) -> Sort:
    return lambda rng, message: raw  # noqa: ARG005 - one of many sorts


def _literal(path: str, raw: bytes) -> Sort:
    mark = json.dumps(_MARK).encode()

    def sort(rng: Random, message: Message) -> bytes:  # noqa: ARG001 - one of many sorts
        return encoded(placed(message, path, _MARK)).replace(mark, raw)

    return sort


def _truncated(rng: Random, message: Message) -> bytes:
    raw = encoded(message)
    return raw[: rng.randrange(1, len(raw))]


def _followed(rng: Random, message: Message) -> bytes:
    raw = encoded(message)
    return raw + rng.choice((b"x", b"}", b",", b"\x00", b"\n" + raw, b"//", b"\xff"))


def _preceded(rng: Random, message: Message) -> bytes:
    begin = (b"\xef\xbb\xbf", b"\x00", b",", b"\x00\x00\x00\x00\x07", b"data: ", b"\x1f\x8b")
    return rng.choice(begin) + encoded(message)


def _recoded(rng: Random, message: Message) -> bytes:
    return encoded(message).decode().encode(rng.choice(("utf-16", "utf-16-le", "utf-32")))


def _noise(rng: Random, message: Message) -> bytes:  # noqa: ARG001 - one of many sorts
    return b"\x80" + rng.randbytes(rng.randrange(1, 300))


def _listed(rng: Random, message: Message) -> bytes:
    return b"[" + b", ".join([encoded(message)] * rng.randrange(1, 4)) + b"]"


def _twice(rng: Random, message: Message) -> bytes:
    name = rng.choice(list(message))
    return encoded(message)[:-1] + b", " + encoded({name: 1})[1:]


def _escaped_twice(rng: Random, message: Message) -> bytes:
    name = rng.choice(list(message))
    escaped = f"\\u{ord(name[0]):04x}".encode() + json.dumps(name[1:]).encode()[1:]
    return b'{"' + escaped + b":1," + encoded({**message, "note": "a:b"})[1:]


def _twice_within(rng: Random, message: Message) -> bytes:
    inner = rng.choice((b'{"a": 1, "a": 1}', b'[{"a:": 1, "a:": 2}]', b'{"b":{"a":1,"a":2}}'))
    return b'{"more": ' + inner + b", " + encoded(message)[1:]


def _bad_name(rng: Random, message: Message) -> bytes:
    name = rng.choice((b'"\xff"', b'"\\udfff"', b'"a\x00"', b"7", b"null", b"a"))
    return b"{" + name + b": 1, " + encoded(message)[1:]


def _deep(rng: Random, message: Message, max_bytes: int) -> bytes:
    begin, end = rng.choice(((b"[", b"]"), (b'{"a":', b"}"), (b'{"a":[', b"]}")))
    room = (max_bytes - len(encoded(message)) - 64) // len(begin + end)
    depth = rng.choice((65, 100, 500, 900, 1100, room))
    inner = begin * depth + b"1" + end * depth * rng.choice((0, 1, 1))
    return b'{"deep": ' + inner + b", " + encoded(message)[1:]


def _huge(rng: Random, message: Message, max_bytes: int) -> bytes:
    raw = encoded(message)
    more = max_bytes + 1 - len(raw) + rng.choice((0, 0, 1, max_bytes))
    if rng.random() < 0.5:
        return raw + b" " * more
    return b'{"pad": "' + b"x" * more + b'", ' + raw[1:]
