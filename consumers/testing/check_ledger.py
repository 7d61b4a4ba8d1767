"""Checks of what the ledger makes of label requests and labels."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress

import msgspec

from consumers.log import Record
from consumers.testing.check_training import (
    ENDING_FIELDS,
    LABELLED_FIELDS,
    TrainingLog,
    fingerprint_of,
)
from consumers.testing.findings import Context, Letters, place_of
from stream_al.labels.schema import current_class
from stream_al.partitioner import partition_for
from stream_al.records import LabelRequest, class_name

__all__ = ["check_answers"]

_decode_request = msgspec.json.Decoder(LabelRequest).decode


class _Request(msgspec.Struct, frozen=True):
    place: tuple[int, int]
    number: int
    offset: int
    partition: int
    ended: int
    labelled: int
    refused: bool
    opinions: int


class _Answer(msgspec.Struct):
    """As much of a label as tells whose it is; what does not fit must have been refused."""

    request_id: str
    label: str | int | bool | None = None
    kind: str = "label"
    annotator: str = ""
    schema: int | None = None


_decode_answer = msgspec.json.Decoder(_Answer).decode


def check_answers(context: Context, training: TrainingLog, asked: set[str]) -> None:
    """Check requests against decisions, endings against requests, and labels against endings."""
    requests = _read_requests(context)
    for name in sorted(asked ^ requests.keys()):
        told = (
            "is asked, and has no request" if name in asked else "has a request, and is not asked"
        )
        context.need(False, f"event {name} {told}")
    _check_numbers(context, requests)
    for name, endings in training.endings.items():
        request = requests.get(name)
        if request is None:
            context.need(False, f"{name} has ended as {endings[0].kind}, and was never asked")
            continue
        for ending in endings:
            about = request.labelled if ending.label is not None else request.ended
            context.need(about == ending.about, f"{name}: its ending is not about what was asked")
        refused = endings[0].kind == "refused"
        context.need(request.refused == refused, f"{name} has ended as {endings[0].kind}")
    if context.settled and context.config.ledger.expire_after_s is not None:
        for name in sorted(requests.keys() - training.endings.keys()):
            context.need(requests[name].refused, f"{name} is still open")
    _check_labels(context, training, requests)


def _read_requests(context: Context) -> dict[str, _Request]:
    topic, need = context.topics.label_requests, context.need
    letters = Letters(context, topic)
    requests: dict[str, _Request] = {}
    disagreed: set[str] = set()
    partitions = context.partitions[topic]
    for number in range(partitions):
        committed = context.committed("ledger", topic, number)
        for record in context.log.read(topic, number):
            where = place_of(record)
            letters.of(record, "annotate")
            refused = letters.of(record)
            done = record.offset < committed
            need(done or not context.settled, f"label request {where} was never processed")
            need(done or not refused, f"label request {where} is refused, not committed")
            try:
                request = _decode_request(record.value or b"")
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                need(refused, f"{where} is no label request, and was not refused: {error}")
                continue
            name = request.request_id
            if request.disagreed and name in requests and request.opinions > 1:
                again = msgspec.structs.replace(request, disagreed=False)
                same = fingerprint_of(again, LABELLED_FIELDS) == requests[name].labelled
                need(same, f"{name} asks for the last word about something else, at {where}")
                need(name not in disagreed, f"{name} asks for the last word again, at {where}")
                disagreed.add(name)
                continue
            need(name not in requests, f"{name} is asked twice, again at {where}")
            keyed = record.key is not None and partition_for(record.key, partitions) == number
            need(keyed, f"label request {where} is not where its key belongs")
            requests[name] = _Request(
                (number, record.offset),
                request.request_no,
                request.offset,
                request.partition,
                fingerprint_of(request, ENDING_FIELDS),
                fingerprint_of(request, LABELLED_FIELDS),
                refused,
                request.opinions,
            )
    letters.strays()
    return requests


def _check_numbers(context: Context, requests: dict[str, _Request]) -> None:
    by_partition: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for request in requests.values():
        by_partition[request.partition].append((request.offset, request.number))
    for partition, found in sorted(by_partition.items()):
        numbers = [number for _, number in sorted(found)]
        dense = numbers == list(range(len(numbers)))
        context.need(dense, f"requests of partition {partition} are numbered {numbers[:20]}")


def _check_labels(context: Context, training: TrainingLog, requests: dict[str, _Request]) -> None:
    topic, need = context.topics.labels, context.need
    letters = Letters(context, topic)
    told: dict[str, set[tuple[str, str, str]]] = defaultdict(set)
    for number in range(context.partitions[topic]):
        committed = context.committed("ledger", topic, number)
        for record in context.log.read(topic, number):
            where = place_of(record)
            refused = letters.of(record)
            taken = training.unsolicited.pop((topic, number, record.offset), None) is not None
            need(not (refused and taken), f"label {where} is learnt from and refused")
            if record.offset >= committed:
                need(not context.settled, f"label {where} was never processed")
                need(not refused and not taken, f"label {where} is settled, not committed")
            elif not refused and not taken:
                _check_answer(context, training, requests, record, told)
    letters.strays()
    for place, offset in training.unsolicited.items():
        need(False, f"training record {offset} takes a label that is not there: {place}")
    for name, endings in training.endings.items():
        for ending in endings:
            kinds = ("revise",) if ending.kind == "revised" else ("label", "revise")
            for annotator, label in ending.said:
                found = any((kind, label, annotator) in told[name] for kind in kinds)
                need(found, f"{name} is {label!r}, which {annotator!r} never said")
            if ending.kind in ("skipped", "retracted"):
                kind = "skip" if ending.kind == "skipped" else "retract"
                found = (kind, "", ending.annotator) in told[name]
                need(found, f"{name} is {ending.kind}, which {ending.annotator!r} never said")


def _check_answer(
    context: Context,
    training: TrainingLog,
    requests: dict[str, _Request],
    record: Record,
    told: dict[str, set[tuple[str, str, str]]],
) -> None:
    """Check a label that was neither refused nor unsolicited: an answer, or a repeated one."""
    where = place_of(record)
    try:
        answer = _decode_answer(record.value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        context.need(False, f"label {where} was neither used nor refused: {error}")
        return
    name = answer.request_id
    if name in training.endings:
        if answer.kind in ("skip", "retract"):
            told[name].add((answer.kind, "", answer.annotator))
        else:
            # One that names no class cannot have been used: what it answers ended before.
            with suppress(ValueError):
                label = current_class(
                    context.config.ledger, class_name(answer.label), answer.schema
                )
                told[name].add((answer.kind, label, answer.annotator))
        return
    if answer.kind == "flag" or (requests.get(name) and requests[name].opinions > 1):
        return
    request = requests.get(name)
    if request is not None:
        # Processed, and so was its request, or will be, which then finds the label waiting.
        open_to_it = request.place[1] < context.committed(
            "ledger", context.topics.label_requests, request.place[0]
        )
        context.need(
            not open_to_it or request.refused, f"label {where} answers {name}, which is still open"
        )
    context.need(not context.settled, f"label {where} waits for {name}, and was not given up")
