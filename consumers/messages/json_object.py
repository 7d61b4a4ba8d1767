"""JSON objects in bytes that anyone may have written."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import msgspec

from consumers.messages.errors import BadMessage, quoted
from stream_al.json_names import DEEPEST, RepeatedName, check_names

__all__ = ["decode_object", "type_name"]

_decode = msgspec.json.Decoder().decode
_decode_infinite = msgspec.json.Decoder(float_hook=float).decode

_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

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
    try:
        check_names(raw, value)
    except RepeatedName as error:
        what = f"{where}: {quoted(error.name)} stands twice in one object"
        raise BadMessage("duplicate-name", what) from None
    except RecursionError:
        raise _too_deep(where) from None
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
