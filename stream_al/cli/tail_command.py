"""``stream-al tail``."""

from __future__ import annotations

import heapq
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

import click
import msgspec

from consumers.errors import RebuildError, RetryError
from consumers.log import Log, Record, Tail
from consumers.topics import Topics, dead_letters_of
from stream_al.cli.live_log import opened, present
from stream_al.cli.options import section_options
from stream_al.cli.settings import Settings
from stream_al.cli.tail_text import json_line, text_line
from stream_al.config import LogConfig
from stream_al.errors import ConfigError

__all__ = ["tail"]

_INTERRUPTED = 130
_BATCH = 500
_WAIT_S = 0.2
_AGAIN_S = 1.0


@click.command(short_help="Show the records of a topic, as they come.")
@click.argument("topic")
@click.option("--from-beginning", is_flag=True, help="All that is kept, and then what comes.")
@click.option(
    "--partition", type=click.IntRange(min=0), metavar="N", help="Only this one.  [default: all]"
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="End after N records.")
@click.option(
    "--last",
    type=click.IntRange(min=1),
    metavar="N",
    help="Only the last N that are there, in the order of time; does not follow.",
)
@click.option(
    "--follow/--no-follow",
    default=True,
    help="Wait for more; or read from the beginning to the present end, in the order of time.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@section_options("log")
@click.pass_context
def tail(
    ctx: click.Context,
    settings: Settings,
    topic: str,
    from_beginning: bool,
    partition: int | None,
    limit: int | None,
    last: int | None,
    follow: bool,
    as_json: bool,
) -> None:
    """Show the committed records of TOPIC as they come, one a line.

    TOPIC is events, predictions, label-requests, labels, training, gate-state, ledger-state,
    annotator-state, dlq.events, dlq.label-requests or dlq.labels, or a topic's full name.
    """
    if last is not None and (from_beginning or limit is not None):
        raise click.UsageError("--last chooses where to begin and end: give no other flag for that")
    config = present(settings.config).log
    topics = Topics.of(config)
    with opened(settings.config) as log:
        name, numbers = _resolve(topic, partition, config, log)
        live = (log, name, numbers, from_beginning)
        batches: Iterator[list[Record]]
        if last is not None:
            batches = iter([_last(log, name, numbers, last)])
        else:
            batches = _live(*live) if follow else _kept(log, name, numbers)
        try:
            left = limit
            for batch in batches:
                shown = batch if left is None else batch[:left]
                for record in shown:
                    line = json_line(record) if as_json else text_line(record, topics)
                    sys.stdout.write(line + "\n")
                sys.stdout.flush()
                if left is not None:
                    left -= len(shown)
                    if not left:
                        break
        except KeyboardInterrupt:
            # For what goes on for ever this is the end, and no mishap.
            ctx.exit(_INTERRUPTED)


def _resolve(
    topic: str, partition: int | None, config: LogConfig, log: Log
) -> tuple[str, list[int]]:
    """Find the topic that is meant, and its partitions."""
    ours = {
        field.replace("_", "-"): name
        for field, name in msgspec.structs.asdict(Topics.of(config)).items()
    }
    short = {
        **ours,
        **{f"dlq.{name}": dead_letters_of(config, full) for name, full in ours.items()},
    }
    known = log.topics()
    name = short.get(topic, topic)
    if name not in known:
        name = topic
    if name not in known:
        raise ConfigError(
            f"no such topic; there are {', '.join(sorted(known)) or 'none at all'}", topic
        )
    count = known[name].partitions
    if partition is None:
        return name, list(range(count))
    if partition >= count:
        raise ConfigError(f"{name} has partitions 0 to {count - 1}, not {partition}", "--partition")
    return name, [partition]


def _kept(log: Log, topic: str, numbers: Iterable[int]) -> Iterator[list[Record]]:
    """Read to the present ends."""
    records = _merged(log.read(topic, number) for number in numbers)
    while batch := list(islice(records, _BATCH)):
        yield batch


def _last(log: Log, topic: str, numbers: Iterable[int], count: int) -> list[Record]:
    """Read the last records before the present ends."""

    def near_end(number: int) -> Iterator[Record]:
        bounds = log.bounds(topic, number)
        # What ends a transaction takes up an offset too; each record may have one of its own.
        return log.read(topic, number, max(bounds.beginning, bounds.end - 2 * count))

    return list(deque(_merged(near_end(number) for number in numbers), count))


def _merged(partitions: Iterable[Iterator[Record]]) -> Iterator[Record]:
    """Merge partitions by time."""
    return heapq.merge(
        *partitions, key=lambda record: (record.time, record.partition, record.offset)
    )


def _live(
    log: Log, topic: str, numbers: Iterable[int], from_beginning: bool
) -> Iterator[list[Record]]:
    """Read on and on; what fails in passing is said once and tried again."""
    positions = {}
    for number in numbers:
        bounds = log.bounds(topic, number)
        positions[number] = bounds.beginning if from_beginning else bounds.stable
    tails: dict[int, Tail] = {}
    wait_s, well = max(0.01, _WAIT_S / len(positions)), True
    try:
        while True:
            for number, position in positions.items():
                try:
                    if number not in tails:
                        tails[number] = log.tail(topic, number, position)
                    batch = tails[number].poll(wait_s, _BATCH)
                except (RetryError, RebuildError) as error:
                    if isinstance(error, RebuildError) and number in tails:
                        tails.pop(number).close()
                    if well:
                        click.echo(f"{error}; trying again", err=True)
                    well = False
                    time.sleep(_AGAIN_S)
                    continue
                well = True
                positions[number] = tails[number].position
                if batch:
                    yield batch
    finally:
        for each in tails.values():
            each.close()
