"""CloudEvents: read in both modes, written in binary mode, trace context carried through."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.log import Headers, Record
from consumers.messages import BadMessage, LabelReader, MessageReader
from consumers.messages.cloudevents import produced_headers
from stream_al.config import MessageConfig
from stream_al.records import Event, Label

ENVELOPE = {"specversion": "1.0", "type": "tx.made", "source": "/shop", "id": "a-1"}
STRUCTURED: Headers = (("content-type", b"application/cloudevents+json; charset=utf-8"),)
TRACE: Headers = (("traceparent", b"00-\xff-01"), ("tracestate", None), ("traceparent", b""))


def _read(value: object, headers: Headers = (), **config: Any) -> Event:
    record = Record("events", 0, 17, b"k", json.dumps(value).encode(), headers, 1.5)
    return MessageReader(MessageConfig(**config)).read(record)


def _refusal(value: object, headers: Headers = ()) -> tuple[str, str]:
    with pytest.raises(BadMessage) as caught:
        _read(value, headers)
    return caught.value.kind, caught.value.what


def _binary(**changes: bytes | None) -> Headers:
    headers = {
        "content-type": b"application/json",
        "ce_specversion": b"1.0",
        "ce_type": b"tx.made",
        "ce_source": b"/shop",
        "ce_id": "a-\u00e9".encode(),
        "ce_time": b"1970-01-01T00:00:09Z",
    } | {name.replace("content_type", "content-type"): value for name, value in changes.items()}
    return (("before", b"\x00"), *headers.items(), ("after", None))


def test_in_binary_mode_headers_give_id_and_time() -> None:
    """The value is the message; id and time are those of the headers."""
    event = _read({"amount": 1}, _binary())
    assert (event.id, event.time, event.key, event.features) == ("a-é", 9.0, b"k", {"amount": 1})


def test_configured_paths_go_before_the_envelope() -> None:
    """Where id and time have paths, the message's own count."""
    value = {"amount": 1, "tx": 7, "at": 3}
    for headers, sent in ((_binary(), value), (STRUCTURED, {**ENVELOPE, "data": value})):
        event = _read(sent, headers, id="tx", time="at")
        assert (event.id, event.time, event.features) == ("7", 3.0, {"amount": 1})


def test_single_attributes_count_without_a_version() -> None:
    """``ce_id`` alone gives the id, and any other content type is the user's business."""
    event = _read({"amount": 1}, (("ce_id", b"a"), ("content-type", b"text/plain")))
    assert (event.id, event.time) == ("a", 1.5)


@pytest.mark.parametrize("headers", [STRUCTURED, (), TRACE], ids=["announced", "bare", "trace"])
@pytest.mark.parametrize("encoded", [False, True], ids=["data", "data_base64"])
def test_in_structured_mode_the_value_is_the_envelope(headers: Headers, encoded: bool) -> None:
    """Announced by a header or by its fields, the data is the message, as JSON or as base64."""
    data = {"amount": 1, "id": "inner"}
    whole = {**ENVELOPE, "time": "1970-01-01T00:00:09Z", "extension": 7}
    if encoded:
        whole["data_base64"] = base64.b64encode(json.dumps(data).encode()).decode()
    else:
        whole |= {"data": data, "datacontenttype": "application/json"}
    event = _read(whole, headers)
    assert (event.id, event.time, event.features) == ("a-1", 9.0, data)


def test_an_object_that_lacks_a_field_of_an_envelope_is_a_message() -> None:
    """Only with all required fields and data is an unannounced object taken for an envelope."""
    for name in ENVELOPE:
        value = {**ENVELOPE, "data": 7}
        del value[name]
        assert _read(value, numeric_text="category").features == value
    assert _read(ENVELOPE, numeric_text="category").features == ENVELOPE


@pytest.mark.parametrize(
    ("headers", "kind", "told"),
    [
        (_binary(ce_specversion=b"0.3"), "schema-version", "header ce_specversion: expected '1.0'"),
        (_binary(ce_specversion=None), "schema-version", "header ce_specversion: expected '1.0'"),
        (_binary(ce_id=b""), "bad-cloudevent", "header ce_id: empty; expected text"),
        (_binary(ce_id=b"\xff"), "bad-cloudevent", "header ce_id: expected UTF-8"),
        (_binary(ce_time=b"noon"), "bad-time", "'ce_time': no time; expected epoch seconds"),
        (_binary(ce_time=b"9"), "bad-time", "'ce_time': no time; expected epoch seconds"),
        (
            _binary(content_type=b"application/avro"),
            "bad-cloudevent",
            "header content-type: expected application/json, or none",
        ),
        (
            _binary(content_type=b"application/cloudevents-batch+json"),
            "bad-cloudevent",
            "header content-type: expected application/cloudevents+json, or none",
        ),
        ((*_binary(), ("ce_id", b"b")), "bad-cloudevent", "header ce_id: stands twice"),
    ],
)
def test_wrong_headers_are_refused(headers: Headers, kind: str, told: str) -> None:
    """What speaks of CloudEvents and is not 1.0 with JSON is refused by the header's name."""
    refusal = _refusal({"amount": 1}, headers)
    assert refusal[0] == kind
    assert refusal[1].startswith(told)


@pytest.mark.parametrize(
    ("changes", "kind", "told"),
    [
        ({"specversion": "1.1"}, "schema-version", "'specversion': expected '1.0'"),
        ({"id": 7}, "bad-cloudevent", "'id': expected text that is not empty"),
        ({"time": 9}, "bad-time", "'time': expected RFC 3339, not a number"),
        ({"datacontenttype": "text/xml"}, "bad-cloudevent", "'datacontenttype': expected"),
        ({"data": [1]}, "not-an-object", "'data': expected an object, not a list"),
        ({"data_base64": "e30="}, "bad-cloudevent", "'data': expected it, or else data_base64"),
    ],
)
def test_wrong_envelopes_are_refused(changes: dict[str, Any], kind: str, told: str) -> None:
    """An envelope with a wrong attribute is refused by its name, announced or not."""
    value = {**ENVELOPE, "data": {"amount": 1}, **changes}
    for headers in ((), STRUCTURED):
        refusal = _refusal(value, headers)
        assert refusal[0] == kind
        assert refusal[1].startswith(told)


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b'{"a": 1, "a": 2}', "duplicate-name"),
        (b'{"a": 1', "not-json"),
        (b"[1]", "not-an-object"),
        (b'{"a": 1e999}', "not-finite"),
        (b'{"a": "\xff"}', "not-utf8"),
        (b"", "not-json"),
    ],
)
def test_data_in_base64_is_held_to_the_same_rules(raw: bytes, kind: str) -> None:
    """Base64 hides nothing: what is in it is refused for the same reasons."""
    value = {**ENVELOPE, "data_base64": base64.b64encode(raw).decode()}
    assert _refusal(value)[0] == kind


def test_an_announced_envelope_needs_its_fields() -> None:
    """What a header announces as an envelope and is none is refused."""
    assert _refusal({"amount": 1}, STRUCTURED)[0] == "schema-version"
    assert _refusal(ENVELOPE, STRUCTURED)[0] == "bad-cloudevent"


def test_labels_come_as_cloudevents_too() -> None:
    """An answer in an envelope is read like a bare one; the envelope may say when it was given."""
    value = {**ENVELOPE, "data": {"request_id": "events:0:17", "label": "fraud"}}
    for times, expected in (({}, 1.5), ({"time": "1970-01-01T00:00:07Z"}, 7.0)):
        record = Record("labels", 0, 0, None, json.dumps(value | times).encode(), (), 1.5)
        label = Label(request_id="events:0:17", label="fraud", time=expected)
        assert LabelReader(MessageConfig()).read(record) == label


def test_what_is_produced_is_a_cloudevent_that_is_read_again() -> None:
    """A produced record has all required attributes, and reads back with its id and time."""
    headers = produced_headers("label-request", "events:0:17", 1714564800.25, TRACE, "fraud")
    assert dict(headers) | dict(TRACE) == {
        "content-type": b"application/json",
        "ce_specversion": b"1.0",
        "ce_type": b"io.stream-al.label-request",
        "ce_source": b"/fraud/label-request",
        "ce_id": b"events:0:17",
        "ce_time": b"2024-05-01T12:00:00.250000Z",
        **dict(TRACE),
    }
    event = _read({"amount": 1}, headers)
    assert (event.id, event.time) == ("events:0:17", 1714564800.25)


def test_records_about_one_event_differ_in_source_or_id() -> None:
    """A prediction and a request about one event are two events to whoever keeps track of them."""
    made = [dict(produced_headers(kind, "e:0:1", 1.0, ())) for kind in ("prediction", "request")]
    assert len({(each["ce_source"], each["ce_id"]) for each in made}) == 2


@given(
    incoming=st.lists(
        st.tuples(
            st.sampled_from(
                ["traceparent", "tracestate", "content-type", "ce_id", "ce_x", "", "c"]
            ),
            st.one_of(st.none(), st.binary(max_size=9)),
        ),
        max_size=6,
    ).map(tuple),
    time=st.one_of(st.none(), st.floats(-62135596800, 253402300799)),
)
def test_the_users_headers_follow_byte_for_byte(incoming: Headers, time: float | None) -> None:
    """All headers but those of the envelope follow in order; those of the envelope are replaced."""
    headers = produced_headers("prediction", "é", time, incoming)
    own = 5 + (time is not None)
    assert headers[own:] == tuple(
        each for each in incoming if not each[0].startswith("ce_") and each[0] != "content-type"
    )
    written = dict(headers[:own])
    assert len(written) == own
    assert written["ce_id"] == "é".encode()
    if time is not None:
        text = (written["ce_time"] or b"").decode()
        assert abs(msgspec.convert(text, datetime).timestamp() - time) < 1e-4
