"""Reading gold cases: requests whose right answer is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from consumers.messages.errors import BadMessage
from consumers.messages.json_object import decode_object, type_name
from stream_al.config import Config
from stream_al.errors import ConfigError, InputError
from stream_al.labels.gold import GoldCase
from stream_al.records import check_features, class_name

__all__ = ["read_gold"]

_FIELDS = ("features", "label", "id")


def read_gold(config: Config) -> tuple[GoldCase, ...]:
    """Read the cases of ``ledger.gold_file``; none without one.

    Each line holds one JSON object of ``features``, ``label`` and, optionally, ``id``; blank lines
    do not count.

    Raises
    ------
    ConfigError
        If the file cannot be read.
    InputError
        If a line holds no case, or no line does: with file, line and field.
    """
    name = config.ledger.gold_file
    if name is None:
        return ()
    try:
        raw = Path(name).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {name!r}: {error.strerror}", "ledger.gold_file") from error
    cases = []
    for number, line in enumerate(raw.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            cases.append(_case(line, config))
        except _Fault as fault:
            raise InputError(fault.what, name, number, fault.field) from fault
    if not cases:
        raise InputError("holds no case; expected at least one line", name)
    return tuple(cases)


class _Fault(Exception):  # noqa: N818 - it becomes an InputError where the line is known
    def __init__(self, what: str, field: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.field = field


def _case(line: bytes, config: Config) -> GoldCase:
    longest = config.message.max_bytes
    if len(line) > longest:
        # The request is to fit into a record, as those about events do.
        raise _Fault(f"{len(line)} bytes; expected at most message.max_bytes, {longest}")
    try:
        found = decode_object(line, "the line")
    except BadMessage as bad:
        raise _Fault(f"{bad}; expected one JSON object") from bad
    for name in found:
        if name not in _FIELDS:
            raise _Fault(f"is no field; expected {', '.join(_FIELDS)}", name)
    features, event_id = found.get("features"), found.get("id", "")
    if not isinstance(features, dict) or not features:
        told = "nothing" if "features" not in found else _told(features)
        raise _Fault(f"{told}; expected an object of at least one feature", "features")
    try:
        check_features(features)
    except TypeError as error:
        raise _Fault(f"{error}; expected finite numbers, text or booleans", "features") from error
    if not isinstance(event_id, str):
        raise _Fault(f"{_told(event_id)}; expected text", "id")
    return GoldCase(features, _class(found, config.learner.classes), event_id)


def _class(found: dict[str, Any], declared: tuple[str, ...]) -> str:
    among = f"one of the declared classes {', '.join(declared)}" if declared else "a class"
    if "label" not in found:
        raise _Fault(f"nothing; expected {among}", "label")
    try:
        name = class_name(found["label"])
    except ValueError as error:
        raise _Fault(f"{error}; expected {among}", "label") from error
    if declared and name not in declared:
        raise _Fault(f"{name!r}; expected {among}", "label")
    return name


def _told(value: object) -> str:
    return "an empty object" if value == {} else type_name(value)
