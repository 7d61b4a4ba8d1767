"""CloudEvents 1.0: read in binary and structured mode, written in binary mode.

In binary mode the attributes are headers (``ce_id``), and the value is the message. In structured
mode the value is one JSON object that holds the attributes, with the message under ``data``.
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from consumers.log import Headers
from consumers.messages.errors import BadMessage
from consumers.messages.fields import Path, epoch_seconds
from consumers.messages.json_object import decode_object, type_name

__all__ = ["Attributes", "is_envelope", "open_envelope", "produced_headers", "read_headers"]

_VERSION = "1.0"
_READ = ("ce_specversion", "ce_id", "ce_time")
_ENVELOPE = "application/cloudevents+json"
_REQUIRED = ("specversion", "type", "source", "id")
_CE_TIME, _TIME = Path("ce_time"), Path("time")


class Attributes(NamedTuple):
    """What a message's envelope says.

    Attributes
    ----------
    id
        The event's id; empty where there is none.
    time
        Epoch seconds; None where there is none.
    structured
        Whether the value is the envelope too.
    """

    id: str = ""
    time: float | None = None
    structured: bool = False


_NONE = Attributes()


def read_headers(headers: Headers) -> Attributes:
    """Read the attributes that stand in headers.

    Raises
    ------
    BadMessage
        ``schema-version``, ``bad-cloudevent`` or ``bad-time``.

    Examples
    --------
    >>> read_headers((("ce_specversion", b"1.0"), ("ce_id", b"a-1"), ("traceparent", b"00-ab")))
    Attributes(id='a-1', time=None, structured=False)
    """
    found: dict[str, str] = {}
    media = ""
    for name, value in headers:
        if name == "content-type":
            media = (value or b"").decode(errors="replace").partition(";")[0].strip().lower()
        elif name in _READ:
            if name in found:
                raise BadMessage("bad-cloudevent", f"header {name}: stands twice")
            found[name] = _text(name, value)
    if not found and not media:
        return _NONE
    version = found.get("ce_specversion")
    if version is not None:
        _see_version(version, "header ce_specversion")
    structured = media.startswith("application/cloudevents")
    if structured and media != _ENVELOPE:
        raise BadMessage("bad-cloudevent", f"header content-type: expected {_ENVELOPE}, or none")
    if version is not None and media and not structured:
        _see_media(media, "header content-type")
    event_id = found.get("ce_id", "")
    if "ce_id" in found and not event_id:
        raise BadMessage("bad-cloudevent", "header ce_id: empty; expected text")
    time = found.get("ce_time")
    seconds = None if time is None else epoch_seconds(time, _CE_TIME)
    return Attributes(event_id, seconds, structured)


def is_envelope(message: dict[str, Any]) -> bool:
    """Tell whether an object that no header announces is an event in structured mode.

    Examples
    --------
    >>> is_envelope({"specversion": "1.0", "type": "t", "source": "/s", "id": "1", "data": {}})
    True
    """
    return all(name in message for name in _REQUIRED) and (
        "data" in message or "data_base64" in message
    )


def open_envelope(envelope: dict[str, Any]) -> tuple[dict[str, Any], Attributes]:
    """Take the message and its attributes out of an event in structured mode.

    Raises
    ------
    BadMessage
        ``schema-version``, ``bad-cloudevent``, ``bad-time``, or what `decode_object` raises.

    Examples
    --------
    >>> open_envelope({"specversion": "1.0", "id": "a-1", "data": {"amount": 3}})
    ({'amount': 3}, Attributes(id='a-1', time=None, structured=True))
    """
    _see_version(envelope.get("specversion"), "'specversion'")
    media = envelope.get("datacontenttype")
    if media is not None:
        if not isinstance(media, str):
            expected = f"expected text, not {type_name(media)}"
            raise BadMessage("bad-cloudevent", f"'datacontenttype': {expected}")
        _see_media(media.partition(";")[0].strip().lower(), "'datacontenttype'")
    name = envelope.get("id")
    if not isinstance(name, str) or not name:
        raise BadMessage("bad-cloudevent", "'id': expected text that is not empty")
    time = envelope.get("time")
    if not isinstance(time, str | None):
        raise BadMessage("bad-time", f"'time': expected RFC 3339, not {type_name(time)}")
    seconds = None if time is None else epoch_seconds(time, _TIME)
    return _data(envelope), Attributes(name, seconds, structured=True)


def _data(envelope: dict[str, Any]) -> dict[str, Any]:
    encoded = envelope.get("data_base64")
    if ("data" in envelope) == (encoded is not None):
        raise BadMessage("bad-cloudevent", "'data': expected it, or else data_base64, and not both")
    if encoded is None:
        data = envelope["data"]
        if not isinstance(data, dict):
            raise BadMessage("not-an-object", f"'data': expected an object, not {type_name(data)}")
        return data
    if not isinstance(encoded, str):
        expected = f"expected base64, not {type_name(encoded)}"
        raise BadMessage("bad-cloudevent", f"'data_base64': {expected}")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise BadMessage("bad-cloudevent", "'data_base64': expected base64") from None
    return decode_object(raw, "'data_base64'")


def _text(name: str, value: bytes | None) -> str:
    try:
        return (value or b"").decode()
    except UnicodeDecodeError:
        raise BadMessage("bad-cloudevent", f"header {name}: expected UTF-8") from None


def _see_version(version: object, where: str) -> None:
    if version != _VERSION:
        raise BadMessage("schema-version", f"{where}: expected {_VERSION!r}")


def _see_media(media: str, where: str) -> None:
    if media not in ("application/json", "text/json") and not media.endswith("+json"):
        raise BadMessage("bad-cloudevent", f"{where}: expected application/json, or none")


def produced_headers(
    kind: str, id: str, time: float | None, incoming: Headers, name: str = "stream-al"
) -> Headers:
    """Write the headers of a record that comes of a message: CloudEvents, binary mode.

    Parameters
    ----------
    kind
        What the record is: ``prediction``, ``label-request``; part of ``ce_type`` and
        ``ce_source``.
    id
        Unique among records of that kind.
    time
        Epoch seconds, in years 1 to 9999; None: no ``ce_time``.
    incoming
        The message's headers. They follow byte for byte (``traceparent``, say), except those that
        speak of the message itself: ``ce_*`` and ``content-type``.
    name
        ``log.name``, part of ``ce_source``.

    Examples
    --------
    >>> for header in produced_headers("prediction", "events:0:17", 0.5, (("traceparent", b"00"),)):
    ...     print(*header)
    content-type b'application/json'
    ce_specversion b'1.0'
    ce_type b'io.stream-al.prediction'
    ce_source b'/stream-al/prediction'
    ce_time b'1970-01-01T00:00:00.500000Z'
    ce_id b'events:0:17'
    traceparent b'00'
    """
    own = (*_fixed(kind, name, time), ("ce_id", id.encode()))
    if not incoming:
        return own
    return (
        *own,
        *[
            header
            for header in incoming
            if not header[0].startswith("ce_") and header[0] != "content-type"
        ],
    )


# All records of a batch have one time.
@lru_cache(maxsize=64)
def _fixed(kind: str, name: str, time: float | None) -> Headers:
    # An id has to be unique within its source; a prediction and a request may share one.
    fixed = (
        ("content-type", b"application/json"),
        ("ce_specversion", _VERSION.encode()),
        ("ce_type", f"io.stream-al.{kind}".encode()),
        ("ce_source", f"/{name}/{kind}".encode()),
    )
    if time is None:
        return fixed
    text = datetime.fromtimestamp(time, UTC).isoformat().removesuffix("+00:00")
    return (*fixed, ("ce_time", f"{text}Z".encode()))
