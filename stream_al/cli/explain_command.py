"""``stream-al explain``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from stream_al.cli.explain_text import explanation_text
from stream_al.cli.options import section_options
from stream_al.cli.progress import progress_bar
from stream_al.cli.settings import Settings
from stream_al.config import Config
from stream_al.errors import ConfigError
from stream_al.gate.why import why
from stream_al.records import Prediction
from stream_al.replay import explain as explaining

if TYPE_CHECKING:
    from consumers.log import Log

__all__ = ["explain"]

_file = click.Path(path_type=Path)
_STEP = 1000


@click.command(short_help="Say in plain words why an event was asked or not.")
@click.argument("event_id")
@click.option(
    "--decisions",
    type=_file,
    metavar="D.jsonl",
    help="Decisions as `replay --decisions` wrote them; without, those of the configured log.",
)
@click.option(
    "--source",
    metavar="SOURCE",
    help="The stream that was played, to recompute what events that were not asked do not keep.",
)
@click.option(
    "--training",
    type=_file,
    metavar="T.jsonl",
    help="Its training log, as `replay --training` wrote it; needed with --source.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@section_options("log")
def explain(
    settings: Settings,
    event_id: str,
    decisions: Path | None,
    source: str | None,
    training: Path | None,
    as_json: bool,
) -> None:
    """Say in plain words why an event was asked about or not, in a recording or a live run.

    EVENT_ID is the id that the stream gives the event. Where no event has it, it may be
    topic:partition:offset (events:0:17), or the offset alone if it stands in one partition only.
    """
    recording = None
    if source is not None and training is not None:
        recording = explaining.Recording(source, training)
    elif source is not None or training is not None:
        raise ConfigError("expected both or neither", "--source, --training")
    if decisions is not None:
        found = explaining.find_decisions(decisions, event_id)
    elif recording is not None:
        raise ConfigError("--source and --training are those of a recording", "--decisions")
    else:
        found = _live(settings.config, event_id)
    versions = [decision.model_version for decision in found if decision.weighed is None]
    if recording is not None and versions:
        with progress_bar(max(versions), "folding the training log") as advance:
            explanations = explaining.explain(found, recording, advance)
    else:
        explanations = explaining.explain(found)
    if as_json:
        told = [
            {"why": why(explanation.decision), **msgspec.structs.asdict(explanation)}
            for explanation in explanations
        ]
        whole = {"event_id": event_id, "found": len(told), "explanations": told}
        sys.stdout.write(msgspec.json.encode(whole).decode() + "\n")
        return
    if len(explanations) > 1:
        click.echo(f"{len(explanations):,} events have the id {event_id!r}.\n")
    click.echo("\n\n".join(map(explanation_text, explanations)))


def _live(config: Config, event_id: str) -> list[Prediction]:
    # A recording needs neither drivers nor brokers, so they are imported here.
    from consumers.topics import Topics
    from stream_al.cli.live_log import opened, present

    topic = Topics.of(config.log).predictions
    with opened(present(config)) as log:
        topics = log.topics()
        if topic not in topics:
            told = f"no topic {topic!r}; `stream-al doctor` says what is missing"
            raise ConfigError(told, "log.name")
        with progress_bar(None, "decisions") as advance:
            rows = _told(log, topic, topics[topic].partitions, advance)
            return explaining.pick_decisions(rows, event_id, topic, "`stream-al run`")


def _told(
    log: Log, topic: str, partitions: int, advance: Callable[[int], object] | None
) -> Iterator[bytes]:
    for number in range(partitions):
        for read, record in enumerate(log.read(topic, number), 1):
            if advance is not None and not read % _STEP:
                advance(_STEP)
            yield record.value or b""
