"""Checks of label requests: each asked once, about what was decided, twice only to adjudicate."""

from __future__ import annotations

from collections import defaultdict

import msgspec

from consumers.log import Record
from consumers.testing.findings import Context, Letters, place_of
from consumers.testing.lifecycle import question_of
from stream_al.partitioner import partition_for
from stream_al.records import LabelRequest, encode

__all__ = ["Request", "hash_of", "read_requests"]

_decode = msgspec.json.Decoder(LabelRequest).decode


class Request(msgspec.Struct):
    """What is kept of a request.

    Attributes
    ----------
    place
        Partition and offset in the topic of requests.
    time
        When it was stored, epoch seconds.
    id, features
        The event's id, and a hash of its features.
    asked
        Partition and offset of the event, and the request's number.
    questions
        Hashes of what its endings repeat, without and with the event.
    whole
        Hash of all of it.
    done
        Whether the ledger has committed it.
    refused
        Whether it is a dead letter.
    adjudicated
        Whether it was asked again for the last word.
    """

    place: tuple[int, int]
    time: float
    id: str
    features: int
    asked: tuple[int, int, int]
    questions: tuple[int, int]
    whole: int
    opinions: int
    done: bool
    refused: bool
    adjudicated: bool = False


def hash_of(value: object) -> int:
    """Hash any value that JSON can hold."""
    return hash(msgspec.json.encode(value, order="sorted"))


def read_requests(context: Context) -> dict[str, Request]:
    """Read all requests, by their ids."""
    topic = context.topics.label_requests
    letters = Letters(context, topic)
    requests: dict[str, Request] = {}
    for number in range(context.partitions[topic]):
        committed = context.committed("ledger", topic, number)
        for record in context.log.read(topic, number):
            _take(context, letters, requests, record, record.offset < committed)
    letters.strays()
    _check_numbers(context, requests)
    _check_refusals(context, requests)
    return requests


def _take(
    context: Context,
    letters: Letters,
    requests: dict[str, Request],
    record: Record,
    done: bool,
) -> None:
    need, where = context.need, place_of(record)
    letters.of(record, "annotate")
    refused = letters.kind_of(record, "request")
    need(done or not context.settled, f"label request {where} was never processed")
    need(done or refused is None, f"label request {where} is refused, not committed")
    try:
        request = _decode(record.value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        told = f"{where} is no label request, and was not refused: {error}"
        need(refused == "unreadable", told)
        return
    name = request.request_id
    if request.disagreed:
        _take_again(context, requests, request, record)
        need(refused is None, f"label request {where} asks for the last word, and is refused")
        return
    need(name not in requests, f"{name} is asked twice, again at {where}")
    partitions = context.partitions[record.topic]
    keyed = record.key is not None and partition_for(record.key, partitions) == record.partition
    need(keyed, f"label request {where} is not where its key belongs")
    need(refused in (None, "not-opened"), f"label request {where} is refused as {refused}")
    requests[name] = Request(
        place=(record.partition, record.offset),
        time=record.time,
        id=request.id,
        features=hash_of(request.features),
        asked=(request.partition, request.offset, request.request_no),
        questions=(question_of(request, event=False), question_of(request, event=True)),
        whole=hash(encode(request)),
        opinions=request.opinions,
        done=done,
        refused=refused is not None,
    )


def _take_again(
    context: Context, requests: dict[str, Request], again: LabelRequest, record: Record
) -> None:
    need, name, where = context.need, again.request_id, place_of(record)
    request = requests.get(name)
    if request is None or request.place[0] != record.partition or request.opinions < 2:
        need(False, f"{name} asks for the last word, and no two were asked before, at {where}")
        return
    same = hash(encode(msgspec.structs.replace(again, disagreed=False))) == request.whole
    need(same, f"{name} asks for the last word about something else, at {where}")
    need(not request.adjudicated, f"{name} asks for the last word again, at {where}")
    request.adjudicated = True


def _check_numbers(context: Context, requests: dict[str, Request]) -> None:
    by_partition: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for request in requests.values():
        partition, offset, number = request.asked
        by_partition[partition].append((offset, number))
    for partition, found in sorted(by_partition.items()):
        numbers = [number for _, number in sorted(found)]
        dense = numbers == list(range(len(numbers)))
        context.need(dense, f"requests of partition {partition} are numbered {numbers[:20]}")


def _check_refusals(context: Context, requests: dict[str, Request]) -> None:
    """See that what was not opened has the id of one that was, before it in its partition."""
    opened: dict[tuple[int, str], int] = {}
    for request in requests.values():
        if not request.refused:
            number, offset = request.place
            before = opened.get((number, request.id), offset)
            opened[number, request.id] = min(before, offset)
    for name, request in requests.items():
        if request.refused:
            number, offset = request.place
            first = opened.get((number, request.id), offset) if request.id else offset
            told = f"request {name} is refused, and no other of id {request.id!r} was open"
            context.need(first < offset, told)
