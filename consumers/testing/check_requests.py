"""Checks of label requests: each asked once, about what was decided, twice only to adjudicate."""

from __future__ import annotations

from collections import defaultdict

import msgspec

from consumers.log import Record
from consumers.testing.findings import Context, Letters, place_of
from consumers.testing.lifecycle import gold_question_of, question_of
from stream_al.labels.gold import draw_case, is_gold
from stream_al.partitioner import partition_for
from stream_al.records import LabelRequest, encode

__all__ = ["Request", "hash_of", "read_requests"]

_decode = msgspec.json.Decoder(LabelRequest).decode

_FRAME = (
    "request_no",
    "topic",
    "partition",
    "offset",
    "time",
    "score",
    "reason",
    "propensity",
    "fold_id",
    "model_version",
)
_UNSAID_OF_GOLD: dict[str, object] = {
    "prediction": None,
    "probabilities": {},
    "weighed": {},
    "explored": False,
    "block": None,
    "opinions": 1,
    "disagreed": False,
}


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
    frame
        Hash of what a gold request after it repeats.
    known
        The class of a gold case; None: it is none.
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
    frame: int = 0
    known: str | None = None
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
    _check_gold(context, requests)
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
    if is_gold(name):
        need(refused is None, f"label request {where} asks about a gold case, and is refused")
        _take_gold(context, requests, request, record)
        return
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
        frame=_frame_of(request),
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


def _frame_of(request: LabelRequest) -> int:
    """Hash what is the same in a gold request and the one before it."""
    return hash_of([getattr(request, name) for name in _FRAME])


def _take_gold(
    context: Context, requests: dict[str, Request], request: LabelRequest, record: Record
) -> None:
    """Compare a gold request with the one before it, and find its case."""
    need, name, where = context.need, request.request_id, place_of(record)
    before = requests.get(name.removesuffix(":1"))
    if before is None or before.place[0] != record.partition or before.known is not None:
        need(False, f"{name} follows no request, at {where}")
        return
    need(not before.refused, f"{name} follows a request that was not opened, at {where}")
    need(_frame_of(request) == before.frame, f"{name} is not like the request before, at {where}")
    unsaid = {each: getattr(request, each) for each in _UNSAID_OF_GOLD}
    need(unsaid == _UNSAID_OF_GOLD, f"{name} tells that it is gold, at {where}: {unsaid}")
    about = request.features, request.id
    known = [case.label for case in context.gold if (case.features, case.id) == about]
    need(bool(known), f"{name} asks about no gold case, at {where}")
    question = gold_question_of(request)
    requests[name] = Request(
        place=(record.partition, record.offset),
        time=record.time,
        id=request.id,
        features=hash_of(request.features),
        asked=(request.partition, request.offset, request.request_no),
        questions=(question, question),
        whole=hash(encode(request)),
        opinions=request.opinions,
        # The ledger had it open when it asked.
        done=True,
        refused=False,
        known=known[0] if known else "",
    )


def _check_gold(context: Context, requests: dict[str, Request]) -> None:
    """See that the cases follow which are drawn, and no others."""
    share, salt = context.config.ledger.gold_share, context.config.gate.salt
    for name, request in requests.items():
        if request.known is not None or request.refused or not request.done:
            continue
        drawn = draw_case(name, context.gold, share, salt)
        found = requests.get(f"{name}:1")
        features = None if found is None else found.features
        wanted = None if drawn is None else hash_of(drawn.features)
        told = "no gold case" if drawn is None else f"the gold case of {drawn.features}"
        context.need(features == wanted, f"{told} was to follow {name}")


def _check_numbers(context: Context, requests: dict[str, Request]) -> None:
    by_partition: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for request in requests.values():
        if request.known is not None:
            continue
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
        if not request.refused and request.known is None:
            number, offset = request.place
            before = opened.get((number, request.id), offset)
            opened[number, request.id] = min(before, offset)
    for name, request in requests.items():
        if request.refused:
            number, offset = request.place
            first = opened.get((number, request.id), offset) if request.id else offset
            told = f"request {name} is refused, and no other of id {request.id!r} was open"
            context.need(first < offset, told)
