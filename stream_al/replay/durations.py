"""How long an annotator takes: so many events, or so much event time."""

from __future__ import annotations

import re

import msgspec

from stream_al.errors import ConfigError

__all__ = ["Delay", "parse_delay"]

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_FORM = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)([smhdw]?)")
# Above this, events cannot be counted and seconds cannot be told apart in a float.
_LARGEST = 2**53


class Delay(msgspec.Struct, frozen=True):
    """A mean time to answer; exactly one of the two is not None.

    Attributes
    ----------
    events
        Number of events, at least 0.
    seconds
        Seconds of event time, at least 0 and finite.
    """

    events: int | None = None
    seconds: float | None = None


def parse_delay(text: str) -> Delay:
    """Read a delay: a whole number of events, or a decimal number and one of s, m, h, d, w.

    Raises
    ------
    ConfigError
        If the text is anything else (a sign, an exponent, a space), or beyond 2**53.

    Examples
    --------
    >>> parse_delay("1000").events, parse_delay("36h").seconds, parse_delay("1.5d").seconds
    (1000, 129600.0, 129600.0)
    >>> parse_delay("soon")
    Traceback (most recent call last):
    stream_al.errors.ConfigError: annotator.delay: expected events (1000) or event time ...
    """
    found = _FORM.fullmatch(text)
    if found is None or ("." in text and not found[2]):
        raise ConfigError(
            "expected events (1000) or event time (30s, 15m, 36h, 2d, 1.5w), "
            f"at least 0, not {text!r}",
            "annotator.delay",
        )
    number, unit = float(found[1]), found[2]
    size = number * _SECONDS[unit] if unit else number
    if not size <= _LARGEST:
        what = "seconds" if unit else "events"
        raise ConfigError(f"expected at most 2**53 {what}, not {text!r}", "annotator.delay")
    return Delay(seconds=size) if unit else Delay(events=int(number))
