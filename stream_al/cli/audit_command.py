"""``stream-al audit``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

import click
import msgspec

from consumers.ledger_state import open_requests
from consumers.log import Log
from consumers.topics import Topics
from stream_al.cli.live_log import opened, present
from stream_al.cli.options import section_options
from stream_al.cli.settings import Settings
from stream_al.errors import ConfigError
from stream_al.labels.outcomes import Open
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
@click.option(
    "--open",
    "still_open",
    is_flag=True,
    help="Instead: the requests that wait for an answer, oldest first.",
)
@section_options("log")
def audit(
    settings: Settings, request_id: str | None, annotator: str | None, still_open: bool
) -> None:
    """Print the trail of labels, one JSON object a line, in the order of the training log.

    Each line has the offset in the training log, what happened, the request, who answered and when,
    which model asked and why, what was answered, and what it was before. Answers to gold cases,
    with the class that was known, controls and voided labels stand among them.
    """
    topics = Topics.of(settings.config.log)
    with opened(present(settings.config)) as log:
        lines = _waiting(log, topics.ledger_state) if still_open else _trail(log, topics.training)
        for line in _chosen(lines, request_id, annotator):
            sys.stdout.write(encode(line).decode() + "\n")


def _chosen(
    lines: Iterable[dict[str, Any]], request_id: str | None, annotator: str | None
) -> Iterator[dict[str, Any]]:
    """Choose what concerns a request, an annotator or both; None: any."""
    answered: set[str] = set()
    for line in lines:
        who = _who(line)
        if line["event"] == "voided":
            # It names no request, and may name nobody, which is everybody.
            voided = answered if "annotator" not in line else answered & who
            mine = request_id is None or bool(voided)
            theirs = annotator is None or "annotator" not in line or annotator in who
        else:
            mine = request_id is None or line.get("request_id") == request_id
            theirs = annotator is None or annotator in who
            answered |= who if mine else set()
        if mine and theirs:
            yield line


def _trail(log: Log, topic: str) -> Iterator[dict[str, Any]]:
    for record in log.read(topic, 0):
        try:
            training = decode_training(record.value or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            told = f"offset {record.offset} cannot be read: {error}"
            raise ConfigError(told, topic) from error
        line = entry(training)
        if line is not None:
            yield {"offset": record.offset, **line}


def _waiting(log: Log, topic: str) -> Iterator[dict[str, Any]]:
    """Read what the ledger holds open, of all partitions."""
    described = log.topics().get(topic)
    if described is None:
        raise ConfigError("no such topic: no ledger has run here", topic)
    found: list[Open] = []
    for number in range(described.partitions):
        try:
            found += open_requests(log.read(topic, number))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            told = f"partition {number} cannot be read: {error}"
            raise ConfigError(told, topic) from error
    for each in sorted(found, key=lambda each: each.since or 0.0):
        yield open_entry(each)


def open_entry(waiting: Open) -> dict[str, Any]:
    """Return an open request as a line, with the answers that it has so far."""
    request = waiting.request
    line = {
        "event": "open",
        "request_id": request.request_id,
        "id": request.id,
        "since": waiting.since,
        "asked": request.reason,
        "model_version": request.model_version,
        "prediction": request.prediction,
        "missing": waiting.missing,
        "opinions": [
            {"annotator": each.annotator, "label": each.label, "time": each.time}
            for each in waiting.given
        ],
    }
    return _without_blanks(line)


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
    return _without_blanks(line)


def _without_blanks(line: dict[str, Any]) -> dict[str, Any]:
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
