"""JSON objects in text that should be UTF-8 and may not be."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import msgspec

from stream_al.json_names import RepeatedName, check_names, distinct
from stream_al.replay.sources.base import Fault

__all__ = ["decode_object", "utf8_only"]

_decode = msgspec.json.Decoder().decode


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def decode_object(text: bytes | str, column: str | None = None) -> tuple[dict[str, Any], bool]:
    r"""Decode one JSON object.

    Parameters
    ----------
    text
        Bytes, or text that may hold surrogate escapes.
    column
        Where the text stands, for messages.

    Returns
    -------
    tuple of dict and bool
        The object, and whether all of it was UTF-8; bytes that are not are surrogate escapes.

    Raises
    ------
    Fault
        If it is not JSON, or no object, or a name stands twice in it or in an object within it.

    Examples
    --------
    >>> decode_object(b'{"a": 1}'), decode_object(b'{"a": "\xff"}')
    (({'a': 1}, True), ({'a': '\udcff'}, False))
    """
    clean = True
    try:
        try:
            raw = text.encode() if isinstance(text, str) else text
            value = _decode(raw)
            if isinstance(value, dict):
                check_names(raw, value)
        except UnicodeError:
            clean = False
            if isinstance(text, bytes):
                text = text.decode(errors="surrogateescape")
            value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=distinct)
    except RepeatedName as error:
        raise Fault("repeated name", f"{error}; expected different names", column) from None
    except (ValueError, RecursionError) as error:
        # The parser's own line would be one within this text.
        why = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise Fault("malformed JSON", f"{why}; expected one JSON object", column) from error
    if not isinstance(value, dict):
        found = type(value).__name__ if isinstance(value, list) else repr(value)
        raise Fault("malformed JSON", f"expected one JSON object, not {found:.60}", column)
    return value, clean


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def utf8_only(values: dict[str, Any]) -> dict[str, Any]:
    r"""Give text with surrogate escapes as bytes, so that no feature or label takes it.

    Raises
    ------
    Fault
        If a name is not UTF-8.

    Examples
    --------
    >>> utf8_only({"a": "b", "raw": "\udcff"})
    {'a': 'b', 'raw': b'\xff'}
    """
    for name in values:
        if not _is_utf8(name):
            raise Fault("not UTF-8", f"expected names in UTF-8, not {name!a}")
    return {
        name: value.encode(errors="surrogateescape")
        if isinstance(value, str) and not _is_utf8(value)
        else value
        for name, value in values.items()
    }
