"""Counts in words: one thing, or several."""

from __future__ import annotations

__all__ = ["counted"]


def counted(count: int, thing: str, things: str = "") -> str:
    """Write a count and what was counted.

    Parameters
    ----------
    count
        At least 0.
    thing, things
        One of them, and several; without the latter an s makes several of one.

    Examples
    --------
    >>> counted(1, "row"), counted(1200, "row"), counted(0, "class", "classes")
    ('1 row', '1,200 rows', '0 classes')
    """
    return f"{count:,} {thing if count == 1 else things or thing + 's'}"
