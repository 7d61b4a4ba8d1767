"""``stream-al replay``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from stream_al.cli.options import config_options
from stream_al.cli.progress import progress_bar
from stream_al.cli.report_text import report_text
from stream_al.cli.settings import Settings
from stream_al.errors import ConfigError
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
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def replay(
    source: str,
    settings: Settings,
    decisions: Path | None,
    training: Path | None,
    events: int | None,
    as_json: bool,
) -> None:
    """Play a recorded stream: who is asked, what is learned, how right the predictions are.

    SOURCE is a file (.csv, .tsv, .jsonl, plain, .gz or .zst; .parquet), - for standard input,
    river:NAME, or cards[:N[:SEED]] for generated card payments.
    """
    _refuse_clashes(source, decisions, training)
    config = settings.config
    stream = open_source(source, config.source, config.learner.classes, config.replay.limit)
    with _output(decisions) as out, _output(training) as log:
        run = Replay(config, decisions=out, training=log)
        length = _length(stream, events)
        with progress_bar(length, source) as advance:
            report = run.run(stream, advance, length=length)
    for reason, count in report.skip_reasons.items():
        click.echo(f"skipped {count} rows: {reason}", err=True)
    if as_json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        click.echo(report_text(report))


def _length(stream: Source, told: int | None) -> int | None:
    counted = stream.count()
    if told is not None and counted is not None and told != counted:
        raise ConfigError(f"{stream.name} has {counted} events, not {told}", "--events")
    return told if counted is None else counted


def _refuse_clashes(source: str, decisions: Path | None, training: Path | None) -> None:
    """See that no file is both read and written, or written twice."""
    taken = {Path(source).resolve(): "SOURCE"} if Path(source).is_file() else {}
    for flag, path in (("--decisions", decisions), ("--training", training)):
        if path is None:
            continue
        place = path.resolve()
        if place in taken and (path.is_file() or not path.exists()):
            raise ConfigError(f"{path} is {taken[place]} already; expected a file of its own", flag)
        taken[place] = flag


@contextlib.contextmanager
def _output(path: Path | None) -> Iterator[BinaryIO | None]:
    """Open a file that appears whole when the block ends well, and not at all otherwise."""
    if path is None:
        yield None
    elif path.exists() and not path.is_file():
        # A device or a pipe cannot be put in place afterwards.
        with path.open("wb") as file:
            yield file
    else:
        part = path.with_name(f".{path.name}.part")
        try:
            with part.open("wb") as file:
                yield file
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
