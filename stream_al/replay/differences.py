"""What differs between a record and the same one recomputed, in words."""

from __future__ import annotations

import msgspec

from stream_al.records import Prediction
from stream_al.training import Closed, Labelled

__all__ = ["what_differs", "what_field_differs"]


def what_differs(raw: bytes, expected: Prediction) -> str:
    """Say what differs between a recorded prediction and the recomputed one."""
    try:
        recorded = msgspec.json.decode(raw, type=Prediction)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return f"cannot be read: {error}"
    return what_field_differs(recorded, expected)


def what_field_differs(recorded: msgspec.Struct, expected: msgspec.Struct | None) -> str:
    """Name the first field in which a record differs from the recomputed one.

    Examples
    --------
    >>> from stream_al.training import Control
    >>> what_field_differs(Control(action="resume"), Control(action="pause"))
    "action is 'resume', recomputed 'pause'"
    """
    if type(recorded) is not type(expected):
        there = "nothing" if expected is None else _kind(expected)
        return f"{_kind(recorded)} is recorded, recomputed {there}"
    for name in recorded.__struct_fields__:
        one, other = getattr(recorded, name), getattr(expected, name)
        if one != other:
            return f"{name} is {one!r}, recomputed {other!r}"
    return "the same values, written otherwise"


def _kind(record: msgspec.Struct) -> str:
    """Name a record's kind, with what tells it from others of its kind."""
    if isinstance(record, Labelled):
        return f"label {record.label!r}"
    if isinstance(record, Closed):
        return f"the end {record.reason!r} without a label"
    return type(record).__name__.lower()
