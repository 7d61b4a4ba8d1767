"""Rows of named values: JSON objects, rows of tables, items of datasets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from stream_al.errors import InputError
from stream_al.records import Event, Features
from stream_al.replay.sources.base import Fault, Reading, Row
from stream_al.replay.sources.columns import Columns, matches, resolve
from stream_al.replay.sources.placement import Placement
from stream_al.replay.sources.values import Clock, Truths, identifier

__all__ = ["Item", "Position", "flatten", "read_items"]


class Position(msgspec.Struct, frozen=True, gc=False):
    """Where an event stood in a Kafka topic, and its message key."""

    topic: str
    partition: int
    offset: int
    key: bytes | None


class Item(msgspec.Struct, frozen=True):
    """One row before its columns have roles.

    Attributes
    ----------
    line
        As of `Row`.
    values
        Name to value, flat; or why there are none.
    position
        Where the event stood; None where its place is still to be given.
    """

    line: int
    values: dict[str, Any] | Fault
    position: Position | None = None


def flatten(values: dict[str, Any]) -> dict[str, Any]:
    """Replace objects within objects by names with dots.

    Raises
    ------
    Fault
        If two values end up under one name.

    Examples
    --------
    >>> flatten({"amount": 3, "card": {"country": "FR", "age": {"days": 7}}})
    {'amount': 3, 'card.country': 'FR', 'card.age.days': 7}
    """
    if dict not in map(type, values.values()):
        return values
    flat: dict[str, Any] = {}
    for name, value in values.items():
        inner = flatten(value) if isinstance(value, dict) else None
        named = {name: value} if inner is None else {f"{name}.{k}": v for k, v in inner.items()}
        for full, leaf in named.items():
            if full in flat:
                raise Fault("different keys", "stands twice, as a name and as a path", full)
            flat[full] = leaf
    return flat


_KINDS = {float: "a number", int: "a number", str: "text", bool: "a boolean"}
_NUMERIC = {float, int}


def _wrong(value: object, expected: str, name: str) -> Fault:
    if value is None:
        return Fault("missing value", f"null; expected {expected}", name)
    if isinstance(value, str) and expected == "a number":
        return Fault("text in a numeric column", f"expected a number, not {value!r:.60}", name)
    return Fault("wrong type", f"expected {expected}, not {value!r:.60}", name)


def _category(value: object, name: str) -> str:
    """Write a value as the text of a category."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        raise Fault("not finite", f"expected a category, not {value!r:.60}", name)
    if isinstance(value, (str, int, float)):
        return str(value)
    raise _wrong(value, "a category", name)


def _finite(numbers: Iterable[float]) -> bool:
    """Test the sum, which is finite unless a term is not, or huge terms overflow."""
    try:
        return math.isfinite(sum(numbers))
    except OverflowError:  # an integer beyond every float
        return False


class _Layout:
    """What each feature holds, as the first row that can be used shows it.

    Parameters
    ----------
    columns
        The roles of names.
    values
        The row that decides: numbers, text or booleans.
    """

    def __init__(self, columns: Columns, values: dict[str, Any]) -> None:
        self._names = columns.features
        self._categorical = columns.categorical
        self._kinds: dict[str, str] = {}
        for name in self._names:
            value = values[name]
            kind = "text" if name in self._categorical else _KINDS.get(type(value))
            if kind is None:
                raise _wrong(value, "a number, text or a boolean", name)
            self._kinds[name] = kind
        self._numbers = [name for name, kind in self._kinds.items() if kind == "a number"]
        self._texts = [name for name, kind in self._kinds.items() if kind == "text"]
        self._booleans = [name for name, kind in self._kinds.items() if kind == "a boolean"]

    def features(self, values: dict[str, Any]) -> Features:
        """Convert the features of a row.

        Raises
        ------
        Fault
            At the first feature that is missing or not what it should be.
        """
        try:
            features: dict[str, Any] = {name: values[name] for name in self._names}
        except KeyError as error:
            raise Fault("different keys", "missing; the first row has it", error.args[0]) from None
        for name in self._categorical:
            features[name] = _category(features[name], name)
        numbers = [features[name] for name in self._numbers]
        if not (
            set(map(type, numbers)) <= _NUMERIC
            and _finite(numbers)
            and all(type(features[name]) is str for name in self._texts)
            and all(type(features[name]) is bool for name in self._booleans)
        ):
            self._check(features)
        return features

    def _check(self, features: dict[str, Any]) -> None:
        """Name the first value that is wrong, if one is."""
        for name, value in features.items():
            expected = self._kinds[name]
            if _KINDS.get(type(value)) != expected:
                raise _wrong(value, expected, name)
            if expected == "a number" and not _finite([value]):
                raise Fault("not finite", f"expected a finite number, not {value!r:.60}", name)


class _Mapper:
    """Turns items into rows, in order."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._columns: Columns | None = None
        self._layout: _Layout | None = None
        self._known: frozenset[str] = frozenset()
        self._place = Placement(reading.config.partitions)
        self._truth = Truths(reading.config.label, reading.classes)
        self._clock = Clock(reading.config.time or "")

    def row(self, item: Item) -> Row:
        """Turn one item into a row.

        Raises
        ------
        Fault
            If it cannot be used; its place is used up all the same.
        """
        values, reading = item.values, self._reading
        if isinstance(values, Fault):
            self._place(None)
            raise values
        columns = self._columns or resolve(list(values), reading.config, reading.name, item.line)
        position = item.position or self._stand(values, columns)
        if not values.keys() <= self._known:
            self._check_keys(values)
        name = "" if columns.id is None else identifier(values.get(columns.id), columns.id)
        layout = self._layout or _Layout(columns, values)
        features = layout.features(values)
        truth = self._truth(values.get(columns.label))
        # Last, for the clock moves on at rows that can be used only.
        time = None if columns.time is None else self._clock(values.get(columns.time))
        if self._layout is None:
            self._columns, self._layout, self._known = columns, layout, frozenset(values)
        event = Event(
            offset=position.offset,
            features=features,
            id=name,
            topic=position.topic,
            partition=position.partition,
            key=position.key,
            time=time,
        )
        return Row(event, truth, item.line)

    def _stand(self, values: dict[str, Any], columns: Columns) -> Position:
        key = None
        if columns.key is not None:
            try:
                key = identifier(values.get(columns.key), columns.key).encode()
            except Fault:
                self._place(None)
                raise
        partition, offset = self._place(key)
        return Position("events", partition, offset, key)

    def _check_keys(self, values: dict[str, Any]) -> None:
        """See that what the first row did not have is ignored anyway."""
        if self._layout is None:
            return
        for name in values:
            if name not in self._known and not matches(name, self._reading.config.ignore):
                raise Fault("different keys", "unexpected; the first row does not have it", name)


def read_items(items: Iterable[Item], reading: Reading) -> Iterator[Row]:
    """Read rows from items.

    Parameters
    ----------
    items
        In order; those without a position are given one.
    reading
        How rows become events; bad ones are rejected to it.

    Yields
    ------
    Row
        Those that can be used.

    Raises
    ------
    InputError
        At a bad row that is not to be skipped, and where there is none at all.
    ConfigError
        If a configured column or pattern matches no column.
    """
    mapper = _Mapper(reading)
    number = 0
    for number, item in enumerate(items, 1):
        try:
            row = mapper.row(item)
        except Fault as fault:
            reading.reject(fault, item.line)
        else:
            yield row
        if number == reading.limit:
            break
    if not number:
        raise InputError("empty; expected at least one row", reading.name)
