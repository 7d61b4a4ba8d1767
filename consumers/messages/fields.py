"""Single fields of a message, by path: ids, keys, times."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from consumers.messages.errors import BadMessage, Kind, quoted
from consumers.messages.json_object import type_name

__all__ = ["Path", "epoch_seconds", "identifier"]

_ABSENT: Any = object()

# From year 1 to year 9999, so that every time can be written as RFC 3339 again. Milliseconds that
# are taken for seconds are beyond it.
_FIRST, _LAST = -62_135_596_800.0, 253_402_300_799.0
_TIME_EXPECTED = "expected epoch seconds, or RFC 3339 with an offset, like 2024-05-01T12:00:00Z"


class Path:
    """Finds a value by names joined by dots, some of which may stand in the names themselves.

    Parameters
    ----------
    text
        The path.

    Examples
    --------
    >>> Path("card.id").find({"card": {"id": 7}}), Path("card.id").find({"card.id": 7})
    (7, 7)
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._parts = text.split(".")
        self._shown = quoted(text)

    def find(self, message: dict[str, Any]) -> Any:  # noqa: ANN401 - it is whatever stands there
        """Return what stands at the path, which may be null.

        Raises
        ------
        BadMessage
            ``missing-field``, or ``duplicate-name`` where two values stand at the path.
        """
        if len(self._parts) == 1:
            value = message.get(self.text, _ABSENT)
            if value is _ABSENT:
                raise self.bad("missing-field", "missing")
            return value
        found = list(_walk(message, self._parts))
        if not found:
            raise self.bad("missing-field", "missing")
        if len(found) > 1:
            raise self.bad("duplicate-name", "stands twice, as a name and as a path")
        return found[0]

    def bad(self, kind: Kind, what: str) -> BadMessage:
        """Say what is wrong at the path."""
        return BadMessage(kind, f"{self._shown}: {what}")


def _walk(value: object, parts: list[str]) -> Iterator[Any]:
    if not parts:
        yield value
    elif isinstance(value, dict):
        for count in range(1, len(parts) + 1):
            name = ".".join(parts[:count])
            if name in value:
                yield from _walk(value[name], parts[count:])


def identifier(message: dict[str, Any], path: Path) -> str:
    """Read an id or a key: text, or an integer as its digits.

    Raises
    ------
    BadMessage
        ``missing-field``, ``wrong-type`` or ``duplicate-name``.

    Examples
    --------
    >>> identifier({"id": 17}, Path("id"))
    '17'
    """
    value = path.find(message)
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None or value == "":
        found = "null" if value is None else "empty"
        raise path.bad("missing-field", f"{found}; expected text or an integer")
    kind = "a number with a fraction" if isinstance(value, float) else type_name(value)
    raise path.bad("wrong-type", f"expected text or an integer, not {kind}")


def epoch_seconds(value: object, path: Path) -> float:
    """Read a time: epoch seconds, or RFC 3339 text with its offset.

    Raises
    ------
    BadMessage
        ``bad-time`` or, where it is null, ``missing-field``.

    Examples
    --------
    >>> epoch_seconds("1970-01-01T01:00:00.5+01:00", Path("at")), epoch_seconds(7, Path("at"))
    (0.5, 7.0)
    """
    if isinstance(value, str):
        try:
            time = msgspec.convert(value, datetime)
        except msgspec.ValidationError:
            raise path.bad("bad-time", f"no time; {_TIME_EXPECTED}") from None
        if time.tzinfo is None:
            raise path.bad("bad-time", f"a time without its offset; {_TIME_EXPECTED}")
        seconds = time.timestamp()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if not _FIRST <= value <= _LAST:
            raise path.bad("bad-time", f"not in years 1 to 9999 (milliseconds?); {_TIME_EXPECTED}")
        return float(value)
    elif value is None:
        raise path.bad("missing-field", f"null; {_TIME_EXPECTED}")
    else:
        raise path.bad("bad-time", f"{type_name(value)}; {_TIME_EXPECTED}")
    if not _FIRST <= seconds <= _LAST:
        raise path.bad("bad-time", f"not in years 1 to 9999; {_TIME_EXPECTED}")
    return seconds
