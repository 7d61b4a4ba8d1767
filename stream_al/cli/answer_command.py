"""``stream-al answer``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import click
import msgspec

from consumers.log import Log, Out, Record
from consumers.messages import BadMessage, read_answer
from consumers.messages.json_object import decode_object
from consumers.topics import Topics
from stream_al.cli.live_log import opened, present, user_name
from stream_al.cli.options import section_options
from stream_al.cli.settings import Settings
from stream_al.counted import counted
from stream_al.errors import InputError
from stream_al.records import Label, LabelRequest, encode

__all__ = ["answer"]

_FIELDS = Label.__struct_fields__
_decode_request = msgspec.json.Decoder(LabelRequest).decode


@click.command(short_help="Write answers to label requests, with their requests' keys.")
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--by", default=user_name, help="Who answers what names nobody; default: the user.")
@section_options("log")
def answer(settings: Settings, file: BinaryIO, by: str) -> None:
    """Write answers to the labels' topic, where the ledger finds them.

    FILE holds JSON Lines, each with ``request_id``, ``label`` and whatever else an answer may have;
    standard input by default. Each goes to the partition of its request, with its key. Nothing is
    written if a line cannot be used.
    """
    config = settings.config
    topics = Topics.of(config.log)
    name = getattr(file, "name", "<stdin>")
    answers = list(_answers(file, name, by))
    with opened(present(config)) as log:
        requests = _requests(log, topics.label_requests)
        outs = []
        for number, label in answers:
            request = requests.get(label["request_id"])
            if request is None:
                told = f"request {label['request_id']!r} is not in {topics.label_requests!r}"
                raise InputError(told, name, number, "request_id")
            outs.append(Out(topics.labels, encode(label), request.key, (), request.partition))
        writer = log.writer()
        for out in outs:
            writer.send(out)
        writer.close()
    click.echo(f"{counted(len(outs), 'answer')} written to {topics.labels!r}", err=True)


def _answers(file: BinaryIO, name: str, by: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            found = {"annotator": by, **decode_object(line, "the line")}
            read_answer(found, 0.0)
        except BadMessage as bad:
            raise InputError(str(bad), name, number) from bad
        strange = next((field for field in found if field not in _FIELDS), None)
        if strange is not None:
            # The ledger passes over what it does not know; here it is a slip of the pen.
            raise InputError(f"is no field; expected {', '.join(_FIELDS)}", name, number, strange)
        yield number, found


def _requests(log: Log, topic: str) -> dict[str, Record]:
    found: dict[str, Record] = {}
    info = log.topics().get(topic)
    for partition in range(info.partitions if info is not None else 0):
        for record in log.read(topic, partition):
            try:
                found[_decode_request(record.value or b"").request_id] = record
            except msgspec.MsgspecError:
                # The ledger makes a dead letter of it.
                continue
    return found
