"""``stream-al refold``."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator

import click
import msgspec

from consumers.log import Log, Out, Record
from consumers.messages.errors import BadMessage
from consumers.messages.fields import Path, epoch_seconds
from consumers.topics import Topics
from stream_al.cli.live_log import opened, present, user_name
from stream_al.cli.options import section_options
from stream_al.cli.settings import Settings
from stream_al.counted import counted
from stream_al.errors import ConfigError
from stream_al.records import encode
from stream_al.training import (
    Gold,
    Labelled,
    TrainingRecord,
    Unsolicited,
    Voided,
    decode_training,
)
from stream_al.voiding import left_of, without

__all__ = ["refold"]


def _time(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return epoch_seconds(float(text) if _is_number(text) else text, Path("time"))
    except BadMessage:
        expected = f"{text!r} is no time; expected epoch seconds or RFC 3339"
        raise click.BadParameter(expected, ctx, param) from None


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()


def _annotator(ctx: click.Context, param: click.Parameter, text: str) -> str:
    key, equals, name = text.partition("=")
    if key != "annotator" or not equals:
        raise click.BadParameter(f"{text!r}: expected annotator=NAME", ctx, param)
    return name


@click.command(short_help="Fold the training log again without somebody's labels.")
@click.option(
    "--without",
    "annotator",
    required=True,
    callback=_annotator,
    metavar="annotator=NAME",
    help="Whose labels are not to count any more.",
)
@click.option("--since", callback=_time, metavar="TIME", help="Only answers from this time on.")
@click.option("--until", callback=_time, metavar="TIME", help="Only answers before this time.")
@click.option(
    "--dry-run", is_flag=True, help="Say what would not count any more, and write nothing."
)
@click.option("--why", default="", help="Why, for people.")
@click.option("--by", default=user_name, help="Who; default: the user's name.")
@section_options("log")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def refold(
    settings: Settings,
    annotator: str,
    since: float | None,
    until: float | None,
    dry_run: bool,
    why: str,
    by: str,
    as_json: bool,
) -> None:
    """Let labels not count any more, as if they had never been given.

    Appends a record to the training log; whoever meets it folds the log again from its start
    without them, and is not ready meanwhile. Nothing is deleted: decisions taken before can still
    be recomputed.
    """
    if since is not None and until is not None and since >= until:
        raise click.UsageError("--since is not before --until: no time lies between")
    config = settings.config
    voided = Voided(annotator=annotator, since=since, until=until, by=by, why=why, time=time.time())
    topic = Topics.of(config.log).training
    with opened(present(config)) as log:
        if not log.bounds(topic, 0).end:
            raise ConfigError("no gate has run yet, so there is nothing to fold", topic)
        concerned: Counter[str] = Counter()
        gold = left = changed = 0
        for record in _counting(log, topic):
            rest = without(record, voided)
            changed += rest is not record
            if isinstance(record, Gold):
                gold += rest is None
            elif isinstance(record, Labelled | Unsolicited):
                if isinstance(rest, Labelled | Unsolicited):
                    left += 1
                else:
                    concerned[record.label] += 1
        written = bool(changed) and not dry_run
        if written:
            writer = log.writer()
            writer.send(Out(topic, encode(voided), b"voided", (), 0))
            writer.close()
    told = {
        "topic": topic,
        "voided": msgspec.to_builtins(voided),
        "written": written,
        "labels": sum(concerned.values()),
        "labels_by_class": dict(sorted(concerned.items())),
        "labels_left": left,
        "gold": gold,
    }
    if as_json:
        sys.stdout.write(encode(told).decode() + "\n")
        return
    classes = ", ".join(f"{count:,} {name}" for name, count in sorted(concerned.items()))
    what = f"{counted(sum(concerned.values()), 'label')} by {annotator!r}"
    if classes:
        what += f" ({classes})"
    if gold:
        what += f" and {counted(gold, 'answer')} to gold cases"
    if not changed:
        click.echo(f"nothing that counts was answered by {annotator!r} then; nothing was written")
        return
    click.echo(
        f"{what} would not count, {left:,} would be left; nothing was written"
        if dry_run
        else f"{what} will not count any more, {left:,} will be left; written to {topic!r}"
    )


def _counting(log: Log, topic: str) -> Iterator[TrainingRecord]:
    """Yield what is left of the records by what was voided before."""
    records = [(record.offset, _decoded(record)) for record in log.read(topic, 0)]
    voided = [(at, record) for at, record in records if isinstance(record, Voided)]
    for offset, record in records:
        if (left := left_of(record, offset, voided)) is not None:
            yield left


def _decoded(record: Record) -> TrainingRecord:
    try:
        training: TrainingRecord = decode_training(record.value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        told = f"offset {record.offset} cannot be read: {error}"
        raise ConfigError(told, record.topic) from error
    return training
