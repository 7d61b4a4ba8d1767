"""Users' messages as events and labels: JSON objects as they are, mapped by configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from consumers.log import Record
from consumers.messages.cloudevents import Attributes, is_envelope, open_envelope, read_headers
from consumers.messages.errors import KINDS, BadMessage, Kind
from consumers.messages.features import FeatureReader
from consumers.messages.fields import Path, epoch_seconds, identifier
from consumers.messages.json_object import decode_object, type_name
from stream_al.config import MessageConfig
from stream_al.records import ANSWER_KINDS, HEAVIEST, Event, Features, Label, class_name

__all__ = [
    "KINDS",
    "BadMessage",
    "Kind",
    "LabelReader",
    "MessageReader",
    "UnsolicitedLabel",
    "read_answer",
]

_NO_ATTRIBUTES = Attributes()


class UnsolicitedLabel(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A label that nobody asked for: a chargeback, say.

    Attributes
    ----------
    id, time, key, features
        As of an event; no features where the message has none.
    label
        The class.
    source
        Who sent it; empty where that is not mapped.
    topic, partition, offset
        Where the message stands.
    """

    id: str
    label: str
    source: str
    time: float | None
    features: Features
    topic: str
    partition: int
    offset: int
    key: bytes | None


def _open(record: Record, max_bytes: int) -> tuple[dict[str, Any], Attributes]:
    """Take the message out of a record, and of its envelope if it has one."""
    value, headers = record.value, record.headers
    if not value:
        raise BadMessage("empty", "no value at all; expected a JSON object")
    if len(value) > max_bytes:
        raise BadMessage("too-large", f"{len(value)} bytes; expected at most {max_bytes}")
    around = len(record.key) if record.key else 0
    attributes = _NO_ATTRIBUTES
    if headers:
        for name, content in headers:
            around += len(name) + len(content or b"")
        attributes = read_headers(headers)
    if around > max_bytes:
        # They go into all that is produced, which has its limit.
        what = f"key and headers take {around} bytes; expected at most {max_bytes}"
        raise BadMessage("too-large", what)
    message = decode_object(value)
    if attributes.structured or ("specversion" in message and is_envelope(message)):
        return open_envelope(message)
    return message, attributes


class _Mapping:
    """Where id, time, key and features of a message stand."""

    def __init__(self, config: MessageConfig) -> None:
        self._id, self._time, self._key, self._scope = (
            Path(path) if path else None
            for path in (config.id, config.time, config.key, config.features)
        )

    def event(
        self,
        record: Record,
        message: dict[str, Any],
        attributes: Attributes,
        features: Callable[[dict[str, Any]], Features],
    ) -> Event:
        scope = message
        if self._scope is not None:
            scope = self._scope.find(message)
            if not isinstance(scope, dict):
                what = f"expected an object, not {type_name(scope)}"
                raise self._scope.bad("wrong-type", what)
        time = record.time if attributes.time is None else attributes.time
        if self._time is not None:
            time = epoch_seconds(self._time.find(message), self._time)
        return Event(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            id=attributes.id if self._id is None else identifier(message, self._id),
            key=record.key if self._key is None else identifier(message, self._key).encode(),
            time=time,
            features=features(scope),
        )


class MessageReader:
    """Reads messages as events.

    Parameters
    ----------
    config
        How; validated.

    Examples
    --------
    >>> reader = MessageReader(MessageConfig(id="id", time="at", exclude=("card.pan",)))
    >>> value = b'{"id": 7, "at": "1970-01-01T00:00:09Z", "card": {"pan": "4", "country": "FR"}}'
    >>> event = reader.read(Record("events", 0, 17, b"k", value, (), 1.7e9))
    >>> event.id, event.time, event.features
    ('7', 9.0, {'card.country': 'FR'})
    """

    def __init__(self, config: MessageConfig) -> None:
        self._max_bytes = config.max_bytes
        self._event = _Mapping(config).event
        self._features = FeatureReader(config).read

    def read(self, record: Record) -> Event:
        """Read one message.

        Raises
        ------
        BadMessage
            If it cannot be used; nothing else is raised, whatever the bytes.
        """
        message, attributes = _open(record, self._max_bytes)
        return self._event(record, message, attributes, self._features)


class LabelReader:
    """Reads messages of the labels' topic.

    Parameters
    ----------
    config
        How labels that nobody asked for are mapped; validated.

    Examples
    --------
    >>> reader = LabelReader(MessageConfig(id="id", label="class"))
    >>> value = b'{"request_id": "events:0:17", "label": "fraud"}'
    >>> reader.read(Record("labels", 0, 0, None, value, (), 1.7e9)).label
    'fraud'
    >>> value = b'{"id": "a-1", "class": "fraud"}'
    >>> reader.read(Record("labels", 0, 1, None, value, (), 1.7e9)).id
    'a-1'
    """

    def __init__(self, config: MessageConfig) -> None:
        self._max_bytes = config.max_bytes
        self._event = _Mapping(config).event
        self._features = FeatureReader(config).read_if_any
        self._label = None if config.label is None else Path(config.label)
        self._source = None if config.source is None else Path(config.source)

    def read(self, record: Record) -> Label | UnsolicitedLabel:
        """Read one label: an answer if it names a request, else one that nobody asked for.

        Raises
        ------
        BadMessage
            If it cannot be used; nothing else is raised, whatever the bytes.
        """
        message, attributes = _open(record, self._max_bytes)
        if self._label is None or "request_id" in message:
            return read_answer(message, record.time if attributes.time is None else attributes.time)
        event = self._event(record, message, attributes, self._features)
        return UnsolicitedLabel(
            topic=event.topic,
            partition=event.partition,
            offset=event.offset,
            id=event.id,
            label=_class_at(self._label, self._label.find(message)),
            source="" if self._source is None else identifier(message, self._source),
            time=event.time,
            features=event.features,
            key=event.key,
        )


_TIME, _LABEL, _KIND = Path("time"), Path("label"), Path("kind")


def read_answer(message: dict[str, Any], written: float) -> Label:
    """Read an answer; its time may be RFC 3339 text, as all times on the wire, or none.

    One without was given when it was written.

    Raises
    ------
    BadMessage
        If it cannot be used.
    """
    if "request_id" not in message:
        raise BadMessage("missing-field", "'request_id': missing; expected the request's")
    kind = message.get("kind", "label")
    if isinstance(kind, str) and kind not in ANSWER_KINDS:
        raise _KIND.bad("schema-version", f"expected one of {', '.join(ANSWER_KINDS)}")
    time = message.get("time")
    message = {**message, "time": written if time is None else epoch_seconds(time, _TIME)}
    try:
        label = msgspec.convert(message, Label)
    except msgspec.ValidationError as error:
        raise BadMessage("wrong-type", str(error)) from None
    if not 0.0 < label.weight <= HEAVIEST:
        raise BadMessage("out-of-range", f"'weight': expected in (0, {HEAVIEST:g}]")
    if label.confidence is not None and not 0.0 <= label.confidence <= 1.0:
        raise BadMessage("out-of-range", "'confidence': expected in [0, 1]")
    if label.kind in ("label", "revise") or label.label is not None:
        _class_at(_LABEL, label.label)
    return label


def _class_at(path: Path, value: object) -> str:
    if value is None or value == "":
        found = "empty" if value == "" else "null or missing"
        raise path.bad("missing-field", f"{found}; expected a class")
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise path.bad("out-of-range", "expected at most 64 bits")
    try:
        return class_name(value)
    except ValueError:
        found = "a number with a fraction" if isinstance(value, float) else type_name(value)
        what = f"expected a class: text, an integer or a boolean, not {found}"
        raise path.bad("wrong-type", what) from None
