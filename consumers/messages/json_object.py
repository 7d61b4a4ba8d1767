"""JSON objects in bytes that anyone may have written."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

import msgspec

from consumers.messages.errors import BadMessage, quoted

__all__ = ["DEEPEST", "decode_object", "type_name"]

DEEPEST = 64
"""Objects and lists within each other, at most."""

_decode = msgspec.json.Decoder().decode
_decode_infinite = msgspec.json.Decoder(float_hook=float).decode

_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

# Looking for one of these is several times faster than for a piece of bytes.
_BRACKET, _LINE, _RETURN, _TAB = b"[\n\r\t"

_TYPES = {
    dict: "an object",
    list: "a list",
    str: "text",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}


def type_name(value: object) -> str:
    """Name the JSON type of a decoded value."""
    return _TYPES[type(value)]


def decode_object(raw: bytes, where: str = "the message") -> dict[str, Any]:
    """Decode one JSON object, of which every number is finite and no name stands twice.

    Parameters
    ----------
    raw
        Any bytes.
    where
        What they are, for messages.

    Raises
    ------
    BadMessage
        ``not-json``, ``not-utf8``, ``too-deep``, ``duplicate-name``, ``not-an-object``,
        ``not-finite`` or ``out-of-range``; nothing else is raised.

    Examples
    --------
    >>> decode_object(b'{"amount": 12.5}')
    {'amount': 12.5}
    >>> decode_object(b'{"amount": 12.5, "amount": 13}')
    Traceback (most recent call last):
    consumers.messages.errors.BadMessage: the message: 'amount' stands twice in one object
    """
    try:
        value = _decode(raw)
    except _UNDECODABLE as error:
        raise _refusal(error, raw, where) from None
    if not isinstance(value, dict):
        raise BadMessage("not-an-object", f"{where}: expected an object, not {type_name(value)}")
    # Each member has a colon, so with as many colons as members no member is lost.
    if raw.count(b":") != len(value) or _BRACKET in raw:
        _survey(raw, value, where)
    return value


def _refusal(error: Exception, raw: bytes, where: str) -> BadMessage:
    """Tell why bytes cannot be decoded."""
    if isinstance(error, msgspec.ValidationError):
        # Some number is too large, and the decoder does not say which.
        try:
            path = _infinite(_decode_infinite(raw))
        except _UNDECODABLE as second:
            error = second
        else:
            name = where if path is None else quoted(path)
            return BadMessage("not-finite", f"{name}: beyond 1.8e308; expected a finite number")
    if isinstance(error, msgspec.ValidationError):
        what = f"{where}: an integer of thousands of digits; expected at most 64 bits"
        return BadMessage("out-of-range", what)
    if isinstance(error, RecursionError):
        return _too_deep(where)
    if isinstance(error, UnicodeDecodeError):
        # Its position is one within some text of the message, which helps nobody.
        return BadMessage("not-utf8", f"{where}: {error.reason}; expected UTF-8")
    return BadMessage("not-json", f"{where}: {error}; expected a JSON object")


def _infinite(value: object) -> str | None:
    """Find the path of a number that no float can hold."""
    if isinstance(value, float):
        return "" if math.isinf(value) else None
    members: Iterable[tuple[object, object]] = ()
    if isinstance(value, dict):
        members = value.items()
    elif isinstance(value, list):
        members = enumerate(value)
    for name, item in members:
        rest = _infinite(item)
        if rest is not None:
            return f"{name}.{rest}" if rest else str(name)
    return None


def _too_deep(where: str) -> BadMessage:
    return BadMessage("too-deep", f"{where}: expected at most {DEEPEST} levels of nesting")


def _survey(raw: bytes, value: dict[str, Any], where: str) -> None:
    """See how deep it is, and that no name stood twice: the decoder keeps the last and is silent.

    Where names and colons touch, a quote with a colon can be no less frequent than members. Else
    members and the colons within text account for all colons, unless one was escaped. Only where
    neither holds it is worth decoding again, many times slower.
    """
    apart = _BRACKET in raw or _LINE in raw or _RETURN in raw or _TAB in raw or b" :" in raw
    if not apart and raw.count(b'":') == _members(value, 1, where):
        return
    if raw.count(b":") == _colons(value, 1, where) and b"\\u003" not in raw:
        return

    def check(pairs: list[tuple[str, Any]]) -> None:
        names = set()
        for name, _ in pairs:
            if name in names:
                what = f"{where}: {quoted(name)} stands twice in one object"
                raise BadMessage("duplicate-name", what)
            names.add(name)

    try:
        json.loads(raw.decode(), object_pairs_hook=check, parse_int=str, parse_float=str)
    except RecursionError:
        raise _too_deep(where) from None


def _members(value: dict[str, Any], depth: int, where: str) -> int:
    """Count the members of an object without lists, those of objects within it included."""
    if depth > DEEPEST:
        raise _too_deep(where)
    found = len(value)
    for item in value.values():
        if type(item) is dict:
            found += _members(item, depth + 1, where)
    return found


def _colons(value: dict[str, Any] | list[Any], depth: int, where: str) -> int:
    if depth > DEEPEST:
        raise _too_deep(where)
    found = 0
    items: Iterable[Any] = value
    if isinstance(value, dict):
        found = len(value) + "".join(value).count(":")
        items = value.values()
    for item in items:
        kind = type(item)
        if kind is str:
            found += item.count(":")
        elif kind is dict or kind is list:
            found += _colons(item, depth + 1, where)
    return found
