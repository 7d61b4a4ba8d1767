"""``stream-al replay``."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from stream_al.cli.command_line import command_line
from stream_al.cli.options import config_options
from stream_al.cli.progress import progress_bar
from stream_al.cli.report_option import report_file, report_option
from stream_al.cli.report_text import report_text
from stream_al.cli.settings import Settings
from stream_al.cli.whole_file import refuse_clashes, whole_file
from stream_al.config import Config
from stream_al.counted import counted
from stream_al.errors import ConfigError
from stream_al.replay.compare import random_reference
from stream_al.replay.course import Course
from stream_al.replay.report.replay_page import Watched, replay_page
from stream_al.replay.runner import Replay
from stream_al.replay.sources import Source, open_source

__all__ = ["replay"]


@click.command(short_help="Play a recorded stream: who is asked, and what is learned.")
@click.argument("source")
@config_options
@click.option(
    "--decisions",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="OUT.jsonl",
    help="Record every decision, one JSON object a line.",
)
@click.option(
    "--training",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="OUT.jsonl",
    help="Record the training log, one JSON object a line.",
)
@click.option(
    "--events",
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of events of a stream that cannot be counted in advance (standard input).",
)
@report_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def replay(
    source: str,
    settings: Settings,
    decisions: Path | None,
    training: Path | None,
    events: int | None,
    page: Path | None,
    as_json: bool,
) -> None:
    """Play a recorded stream: who is asked, what is learned, how right the predictions are.

    SOURCE is a file (.csv, .tsv, .jsonl, plain, .gz or .zst; .parquet), - for standard input,
    river:NAME, or cards[:N[:SEED]] for generated card payments.

    With --report the stream is played once more, with labels asked at random, to be compared
    with.
    """
    outputs = {"--decisions": decisions, "--training": training, "--report": page}
    refuse_clashes(source, outputs)
    config = settings.config
    stream = open_source(source, config.source, config.learner.classes, config.replay.limit)
    with (
        whole_file(decisions, "--decisions") as out,
        whole_file(training, "--training") as log,
        report_file(page) as html,
    ):
        run = Replay(config, decisions=out, training=log)
        length = _length(stream, events)
        if html is not None and length is None:
            raise ConfigError("needs the number of events: give it with --events", "--report")
        course = None if html is None else Course()
        with progress_bar(length, source) as advance:
            report = run.run(stream, advance, course, length)
        if html is not None and course is not None:
            html.write(_page(source, stream.name, config, Watched(report, course)))
    for reason, count in report.skip_reasons.items():
        click.echo(f"skipped {counted(count, 'row')}: {reason}", err=True)
    if as_json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        click.echo(report_text(report))


def _length(stream: Source, told: int | None) -> int | None:
    found = stream.count()
    if told is not None and found is not None and told != found:
        raise ConfigError(f"{stream.name} has {counted(found, 'event')}, not {told:,}", "--events")
    return told if found is None else found


def _page(source: str, name: str, config: Config, run: Watched) -> bytes:
    """Play the stream again with labels asked at random, and lay out both."""
    random, alone = None, ""
    gate, replace = config.gate, msgspec.structs.replace
    plain = replace(random_reference(config).gate, budget=gate.budget, salt=gate.salt)
    reference = replace(config, gate=plain)
    if source == "-":
        alone = "Standard input can be read only once, so asking at random was not played."
    elif reference == config:
        alone = "This run asks at random itself, so there is nothing else to compare it with."
    else:
        click.echo("playing the stream again, asking at random, for the report", err=True)
        again = open_source(source, config.source, config.learner.classes, config.replay.limit)
        course, length = Course(), again.count()
        with progress_bar(length, f"{source}, at random") as advance:
            random = Watched(Replay(reference).run(again, advance, course, length), course)
    return replay_page(name, command_line(), config, run, random, alone)
