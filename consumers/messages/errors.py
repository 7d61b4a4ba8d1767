"""Why a message cannot be used: a bounded set of kinds, and one line for people."""

from __future__ import annotations

from stream_al.errors import StreamAlError
from stream_al.metrics.refusals import KINDS, Kind

__all__ = ["KINDS", "BadMessage", "Kind", "one_line", "quoted"]

_LONGEST = 200


def one_line(text: str, longest: int = _LONGEST) -> str:
    r"""Escape what does not print, and cut what is longer.

    Examples
    --------
    >>> one_line("a\nb")
    'a\\nb'
    >>> one_line("abcdef", 4)
    'abc…'
    """
    # What is cut off below need not be escaped, and may be megabytes.
    text = text[: longest + 1]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def quoted(path: str) -> str:
    """Quote a path for a message, cut where it is long.

    Examples
    --------
    >>> quoted("card.country")
    "'card.country'"
    """
    return f"'{one_line(path, 80)}'"


class BadMessage(StreamAlError):  # noqa: N818 - it becomes a dead letter, not a failure
    """One message cannot be used, while those around it can.

    Parameters
    ----------
    kind
        One of `KINDS`.
    what
        What is wrong and what was expected; names the path, and never shows a value, for messages
        hold what logs should not.
    """

    exit_code = 3

    def __init__(self, kind: Kind, what: str) -> None:
        self.kind: Kind = kind
        self.what = one_line(what)
        super().__init__(self.what)
