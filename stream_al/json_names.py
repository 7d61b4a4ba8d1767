"""Names that stand twice in one JSON object: decoders keep the last value and are silent."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

__all__ = ["DEEPEST", "RepeatedName", "TooDeep", "check_names", "distinct"]

DEEPEST = 64
"""Objects and lists within each other, at most."""

# Looking for one of these is several times faster than for a piece of bytes.
_BRACKET, _LINE, _RETURN, _TAB = b"[\n\r\t"


class RepeatedName(ValueError):  # noqa: N818 - whoever reads the object makes the error of it
    """A name stands twice in one object.

    Attributes
    ----------
    name
        The first that does.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"{name!r:.60} stands twice in one object")


class TooDeep(RecursionError):  # noqa: N818 - as above
    """Objects and lists lie deeper within each other than `DEEPEST`."""

    def __init__(self) -> None:
        super().__init__(f"more than {DEEPEST} levels of nesting")


def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its members: the `object_pairs_hook` of `json.loads`.

    Raises
    ------
    RepeatedName
        If a name stands twice.

    Examples
    --------
    >>> distinct([("a", 1), ("b", 2)])
    {'a': 1, 'b': 2}
    """
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        raise RepeatedName(next(name for i, name in enumerate(names) if name in names[:i]))
    return members


def check_names(raw: bytes, value: dict[str, Any]) -> None:
    """See that no name stood twice in an object or in one within it, and how deep it is.

    Parameters
    ----------
    raw
        JSON that could be decoded, in UTF-8. A line break at its end costs time.
    value
        What a decoder made of it.

    Raises
    ------
    RepeatedName, TooDeep
        Where that is so.

    Examples
    --------
    >>> check_names(b'{"a": {"b": 1}, "b": 2}', {"a": {"b": 1}, "b": 2})
    >>> check_names(b'{"a": {"b": 1, "b": 2}}', {"a": {"b": 2}})
    Traceback (most recent call last):
    stream_al.json_names.RepeatedName: 'b' stands twice in one object
    """
    # Each member has a colon, so with as many colons as members no member is lost.
    if raw.count(b":") != len(value) or _BRACKET in raw:
        _survey(raw, value)


def _survey(raw: bytes, value: dict[str, Any]) -> None:
    """Count what members leave behind in the text.

    Where names and colons touch, a quote with a colon can be no less frequent than members. Else
    members and the colons within text account for all colons, unless one was escaped. Only where
    neither holds it is worth decoding again, many times slower.
    """
    apart = _BRACKET in raw or _LINE in raw or _RETURN in raw or _TAB in raw or b" :" in raw
    if not apart and raw.count(b'":') == _members(value, 1):
        return
    if raw.count(b":") == _colons(value, 1) and b"\\u003" not in raw:
        return
    json.loads(raw.decode(), object_pairs_hook=distinct, parse_int=str, parse_float=str)


def _members(value: dict[str, Any], depth: int) -> int:
    """Count the members of an object without lists, those of objects within it included."""
    if depth > DEEPEST:
        raise TooDeep
    found = len(value)
    for item in value.values():
        if type(item) is dict:
            found += _members(item, depth + 1)
    return found


def _colons(value: dict[str, Any] | list[Any], depth: int) -> int:
    if depth > DEEPEST:
        raise TooDeep
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
            found += _colons(item, depth + 1)
    return found
