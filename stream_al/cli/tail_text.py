"""Records of a log in words, and as JSON: nothing in either can take over a terminal."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from consumers.log import Record
from consumers.messages.errors import one_line
from consumers.topics import Topics
from stream_al.counted import counted
from stream_al.gate.gate import GateState
from stream_al.records import Label, LabelRequest, Observed, Prediction
from stream_al.training import (
    Closed,
    Configured,
    Flagged,
    Gold,
    Labelled,
    TrainingRecord,
    Unsolicited,
    Voided,
    decode_training,
)

__all__ = ["json_line", "text_line"]

_SHOWN = 500
"""Characters of a value, of which words are made of none."""

_LONGEST = 2000
_ERRORS = "__dlq.errors."
_UNPRINTABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError)

_encode = msgspec.json.Encoder().encode
_prediction = msgspec.json.Decoder(Prediction).decode
_request = msgspec.json.Decoder(LabelRequest).decode
_label = msgspec.json.Decoder(Label).decode
_state = msgspec.json.Decoder(GateState).decode


def text_line(record: Record, topics: Topics) -> str:
    r"""Say what a record is, on one line that prints.

    Examples
    --------
    >>> from stream_al.config import LogConfig
    >>> topics = Topics.of(LogConfig())
    >>> value = b'{"request_id": "events:0:7", "label": "fraud", "annotator": "eve\\u001b[2J"}'
    >>> text_line(Record("stream-al.labels", 0, 4, None, value, (), 0.5), topics)
    '1970-01-01T00:00:00.500Z 0@4  events:0:7 is fraud, by eve\\x1b[2J'
    """
    where = f"{_moment(record.time)} {record.partition}@{record.offset}"
    return one_line(f"{where}  {_words(record, topics)}", _LONGEST)


def json_line(record: Record) -> str:
    """Write a record as one JSON object of characters that print.

    A key that is no UTF-8 stands in `key_base64`, a value that is no JSON in `value_base64`; the
    same holds for the headers, which are text. No value at all is null.

    Examples
    --------
    >>> json_line(Record("events", 0, 4, b"k", b'{"a": 1}', (("h", b"x"),), 0.5))
    '{"topic":"events","partition":0,"offset":4,"time":0.5,"key":"k","headers":[{"name":"h","value":"x"}],"value":{"a":1}}'
    """
    found: dict[str, Any] = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "time": record.time,
        **_text("key", record.key),
        "headers": [{"name": name, **_text("value", value)} for name, value in record.headers],
        **_json("value", record.value),
    }
    line = _encode(found).decode()
    # Beyond ASCII only texts hold characters, and these may be escaped; DEL is no exception.
    return line if line.isprintable() else re.sub(r"[^ -~]", _escaped, line)


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    if character.isprintable():
        return character
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def _text(name: str, raw: bytes | None) -> dict[str, Any]:
    if raw is None:
        return {name: None}
    try:
        return {name: raw.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(raw).decode()}


def _json(name: str, raw: bytes | None) -> dict[str, Any]:
    if raw is None:
        return {name: None}
    try:
        # Not decoded and encoded again: numbers stay as they are written.
        compact = msgspec.json.format(raw, indent=-1)
        compact.decode()
    except _UNPRINTABLE:
        compact = b"null"
    if compact == b"null":
        return {f"{name}_base64": base64.b64encode(raw).decode()}
    return {name: msgspec.Raw(compact)}


def _moment(time: float) -> str:
    try:
        moment = datetime.fromtimestamp(time, UTC)
    except (ValueError, OverflowError, OSError):
        # Producers may write any number as a time.
        return f"{time}"
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _words(record: Record, topics: Topics) -> str:
    describe = _describers(topics).get(record.topic)
    letter = dict(record.headers) if record.headers else {}
    if f"{_ERRORS}topic" in letter:
        return _dead_letter(letter, record.value)
    if describe is not None and record.value is not None:
        try:
            return describe(record.value)
        except _UNPRINTABLE:
            return _anything(record)
    return _anything(record)


def _describers(topics: Topics) -> Mapping[str, Callable[[bytes], str]]:
    return {
        topics.predictions: lambda raw: _of_prediction(_prediction(raw)),
        topics.label_requests: lambda raw: _of_request(_request(raw)),
        topics.labels: lambda raw: _of_label(_label(raw)),
        topics.training: lambda raw: _of_training(decode_training(raw)),
        topics.gate_state: lambda raw: _of_state(_state(raw)),
    }


def _place(
    event: Prediction | LabelRequest | Observed | Labelled | Closed | Gold | Unsolicited,
) -> str:
    name = getattr(event, "id", "")
    return f"{event.topic}:{event.partition}:{event.offset}" + (f" id={name}" if name else "")


def _guess(name: str | None, probabilities: Mapping[str, float]) -> str:
    if name is None:
        return "no class known"
    return f"{name} {probabilities[name]:.3f}" if name in probabilities else name


def _of_prediction(row: Prediction) -> str:
    return (
        f"{_place(row)}  {_guess(row.prediction, row.probabilities)}  {row.action} ({row.reason})  "
        f"score {row.score:.3f}, threshold {row.threshold:.3f}  model {row.model_version}"
    )


def _of_request(row: LabelRequest) -> str:
    weighed = ", ".join(f"{name} {share:+.2f}" for name, share in row.weighed.items())
    return (
        f"{_place(row)}  no. {row.request_no}  {_guess(row.prediction, row.probabilities)}  "
        f"{row.reason}, score {row.score:.3f}, propensity {row.propensity:.3f}"
        + (f"  weighed {weighed}" if weighed else "")
    )


def _of_label(row: Label) -> str:
    weight = f", weight {row.weight:g}" if row.weight != 1 else ""
    told = {
        "skip": "cannot be told",
        "flag": "is flagged",
        "retract": "is withdrawn",
        "revise": f"is {row.label} after all",
    }.get(row.kind, f"is {row.label}")
    return f"{row.request_id} {told}{_by(row.annotator)}{weight}" + (
        f": {row.comment}" if row.comment else ""
    )


def _by(name: str) -> str:
    return f", by {name}" if name else ""


def _of_training(row: TrainingRecord) -> str:
    if isinstance(row, Configured):
        versions = ", ".join(f"{name} {value}" for name, value in row.fingerprint.items())
        return f"configured  fold {row.fold_id}  {versions}"
    if isinstance(row, Observed):
        return f"observed  {_place(row)}  {counted(len(row.features), 'feature')}"
    if isinstance(row, Labelled):
        guessed = _guess(row.prediction, row.probabilities)
        return f"labelled  {_place(row)} is {row.label}{_by(row.annotator)}  predicted {guessed}"
    if isinstance(row, Closed):
        return f"closed  {_place(row)}  {row.reason}"
    if isinstance(row, Gold):
        answered = "none" if row.label is None else row.label
        return f"gold  {row.request_id} is {row.known}, answered {answered}{_by(row.annotator)}"
    if isinstance(row, Unsolicited):
        return f"unsolicited  {_place(row)} is {row.label}  {counted(len(row.features), 'feature')}"
    if isinstance(row, Flagged):
        comment = f": {row.comment}" if row.comment else ""
        return f"flagged  {row.request_id}{_by(row.annotator)}{comment}"
    by = _by(row.by)
    why = f": {row.why}" if row.why else ""
    until = "" if row.until is None else f" until {_moment(row.until)}"
    if isinstance(row, Voided):
        whose = "everybody" if row.annotator is None else row.annotator
        since = "" if row.since is None else f" since {_moment(row.since)}"
        return f"voided  answers of {whose}{since}{until}{by}{why}"
    return f"control  {row.action}{until}{by}{why}"


def _of_state(row: GateState) -> str:
    return (
        f"next offset {row.next_offset}  {counted(row.events, 'event')}, {row.requests:,} asked, "
        f"{row.observed:,} observed  tokens {row.tokens:.2f}  model {row.version}"
    )


def _dead_letter(letter: Mapping[str, bytes | None], value: bytes | None) -> str:
    def told(name: str) -> str:
        return _plain(letter.get(f"{_ERRORS}{name}"))

    place = f"{told('topic')}:{told('partition')}:{told('offset')}"
    return f"{place}  {told('stage')}/{told('class')}: {told('message')}  {_plain(value)}"


def _anything(record: Record) -> str:
    key = "" if record.key is None else f"{_plain(record.key)}  "
    return key + ("deleted" if record.value is None else _plain(record.value))


def _plain(raw: bytes | None) -> str:
    """Escape bytes, and cut what is longer than anyone reads."""
    if raw is None:
        return "none"
    # Four bytes make a character, at most; those beyond are not shown.
    text = one_line(raw[: 4 * _SHOWN].decode(errors="backslashreplace"), _SHOWN)
    return f"{text} ({len(raw)} bytes)" if text.endswith("…") else text
