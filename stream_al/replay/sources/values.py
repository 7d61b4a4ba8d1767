"""What single values of a row mean: numbers, times, labels, identifiers."""

from __future__ import annotations

import math
import re
from datetime import datetime

from stream_al.records import class_name
from stream_al.replay.sources.base import Fault

__all__ = ["Clock", "Truths", "epoch_seconds", "identifier", "is_number"]

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_TIME_EXPECTED = "expected epoch seconds or RFC 3339 with an offset, like 2024-05-01T12:00:00Z"


def is_number(text: str) -> bool:
    """Tell whether text is a number; NaN and the infinities look like numbers.

    Python's own reading of underscores between digits is no number to anyone else.

    Examples
    --------
    >>> [is_number(text) for text in ("1", "-2.5e3", "nan", "1_000", "0x1F", "")]
    [True, True, True, False, False, False]
    """
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def epoch_seconds(value: object) -> float | None:
    """Read a time; None where it is none.

    Takes epoch seconds as a number or text, RFC 3339 text with its offset, and date-times that
    know their time zone. Without one, a time would be a guess.

    Examples
    --------
    >>> epoch_seconds("1970-01-01T01:00:00.5+01:00"), epoch_seconds(7), epoch_seconds("noon")
    (0.5, 7.0, None)
    """
    if isinstance(value, bool):
        return None
    try:
        if isinstance(value, (int, float)):
            seconds = float(value)
        elif isinstance(value, datetime):
            if value.tzinfo is None:
                return None
            seconds = value.timestamp()
        elif not isinstance(value, str):
            return None
        elif is_number(value):
            seconds = float(value)
        elif _RFC_3339.fullmatch(value):
            seconds = datetime.fromisoformat(value.upper()).timestamp()
        else:
            return None
    except (ValueError, OverflowError):  # a 30th of February, or an integer of 400 digits
        return None
    return seconds if math.isfinite(seconds) else None


class Clock:
    """Reads the time column, which must not run backwards.

    Parameters
    ----------
    column
        Its name.
    """

    def __init__(self, column: str) -> None:
        self._column = column
        self._last = -math.inf

    def __call__(self, value: object) -> float:
        """Read the next row's time, epoch seconds.

        Raises
        ------
        Fault
            If the value is no time, or before that of the last row that could be used.
        """
        seconds = epoch_seconds(value)
        if seconds is None:
            missing = value is None or value == ""
            kind, found = (
                ("missing value", "empty") if missing else ("not a time", f"{value!r:.60}")
            )
            raise Fault(kind, f"{found}; {_TIME_EXPECTED}", self._column)
        if seconds < self._last:
            raise Fault(
                "time runs backwards",
                f"time runs backwards, from {self._last!r} to {seconds!r}; "
                "expected rows in order of time",
                self._column,
            )
        self._last = seconds
        return seconds


class Truths:
    """Reads the label column.

    Parameters
    ----------
    column
        Its name.
    classes
        The declared classes; none: any class.
    """

    def __init__(self, column: str, classes: tuple[str, ...]) -> None:
        self._column = column
        self._classes = classes
        self._declared = frozenset(classes)

    def __call__(self, value: object) -> str:
        """Name the class of a row.

        Raises
        ------
        Fault
            If the value names no class, or one that is not declared.
        """
        if value is None or value == "":
            raise Fault("missing value", "empty; expected the name of a class", self._column)
        try:
            name = class_name(value)
        except ValueError as error:
            raise Fault("not a class", f"{value!r:.60}: {error}", self._column) from error
        if self._declared and name not in self._declared:
            expected = ", ".join(self._classes)
            raise Fault(
                "undeclared class", f"class {name!r:.60}; expected one of {expected}", self._column
            )
        return name


def identifier(value: object, column: str) -> str:
    """Read an id or a key: text, or an integer as its digits.

    Raises
    ------
    Fault
        If it is missing, or of another type.

    Examples
    --------
    >>> identifier("a-1", "id"), identifier(17, "id")
    ('a-1', '17')
    """
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None or value == "":
        raise Fault("missing value", "empty; expected text or an integer", column)
    raise Fault("wrong type", f"expected text or an integer, not {value!r:.60}", column)
