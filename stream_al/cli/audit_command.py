"""``stream-al audit``."""

from __future__ import annotations

import sys
from typing import Any

import click
import msgspec

from consumers.topics import Topics
from stream_al.cli.live_log import opened, present
from stream_al.cli.options import section_options
from stream_al.cli.settings import Settings
from stream_al.errors import ConfigError
from stream_al.records import encode
from stream_al.training import (
    Closed,
    Control,
    Ended,
    Flagged,
    Gold,
    Labelled,
    Unsolicited,
    Voided,
    decode_training,
)

__all__ = ["audit"]


@click.command(short_help="Show who answered what, when and why it was asked.")
@click.option("--request", "request_id", metavar="ID", help="Only of this request.")
@click.option("--annotator", metavar="NAME", help="Only what this annotator said.")
@section_options("log")
def audit(settings: Settings, request_id: str | None, annotator: str | None) -> None:
    """Print the trail of labels, one JSON object a line, in the order of the training log.

    Each line has the offset in the training log, what happened, the request, who answered and when,
    which model asked and why, what was answered, and what it was before. Answers to gold cases,
    with the class that was known, controls and voided labels stand among them.
    """
    config = settings.config
    topic = Topics.of(config.log).training
    with opened(present(config)) as log:
        for record in log.read(topic, 0):
            try:
                training = decode_training(record.value or b"")
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                told = f"offset {record.offset} cannot be read: {error}"
                raise ConfigError(told, topic) from error
            line = entry(training)
            if line is None:
                continue
            if request_id is not None and line.get("request_id") != request_id:
                continue
            if annotator is not None and annotator not in _who(line):
                continue
            sys.stdout.write(encode({"offset": record.offset, **line}).decode() + "\n")


def entry(record: object) -> dict[str, Any] | None:
    """Return a training record as a line of the trail; None where it says nothing of labels.

    Examples
    --------
    >>> entry(Control(action="pause", by="eve", time=9.0))
    {'event': 'pause', 'by': 'eve', 'at': 9.0}
    """
    line: dict[str, Any]
    if isinstance(record, Ended):
        line = {
            "event": _what(record),
            "request_id": record.request_id,
            "annotator": record.annotator,
            "annotator_kind": record.annotator_kind if record.annotator else None,
            "at": record.answered_at,
            "asked": record.asked,
            "model_version": record.model_version,
            "prediction": record.prediction,
            "label": record.label if isinstance(record, Labelled) else None,
            "was": record.was,
            "confidence": record.confidence if isinstance(record, Labelled) else None,
            "reason": record.correction,
            "comment": record.comment,
            "opinions": [msgspec.to_builtins(each) for each in record.opinions],
        }
    elif isinstance(record, Gold):
        line = {
            "event": "gold",
            "request_id": record.request_id,
            "id": record.id,
            "annotator": record.annotator,
            "annotator_kind": record.annotator_kind,
            "at": record.answered_at,
            "label": record.label,
            "known": record.known,
            "reason": record.correction,
            "comment": record.comment,
        }
    elif isinstance(record, Flagged):
        line = {
            "event": "flagged",
            "request_id": record.request_id,
            "annotator": record.annotator,
            "annotator_kind": record.annotator_kind,
            "at": record.answered_at,
            "reason": record.correction,
            "comment": record.comment,
        }
    elif isinstance(record, Unsolicited):
        line = {
            "event": "unsolicited",
            "request_id": record.request_id,
            "id": record.id,
            "annotator": record.source,
            "at": record.time,
            "label": record.label,
        }
    elif isinstance(record, Voided):
        line = {
            "event": "voided",
            "annotator": record.annotator,
            "since": record.since,
            "until": record.until,
            "by": record.by,
            "why": record.why,
            "at": record.time,
        }
    elif isinstance(record, Control):
        line = {"event": record.action, "by": record.by, "why": record.why, "at": record.time}
    else:
        return None
    return {name: value for name, value in line.items() if value not in (None, "", [])}


def _what(record: Ended) -> str:
    if isinstance(record, Closed):
        return record.reason
    if isinstance(record, Labelled) and record.late:
        return "late"
    if record.was is not None:
        return "revised"
    return "assumed" if isinstance(record, Labelled) and record.assumed else "labelled"


def _who(line: dict[str, Any]) -> set[str]:
    return {line.get("annotator", ""), *[each["annotator"] for each in line.get("opinions", ())]}
