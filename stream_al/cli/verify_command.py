"""``stream-al verify``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click
import msgspec

from stream_al.cli.options import section_options
from stream_al.cli.progress import progress_bar
from stream_al.cli.settings import Settings
from stream_al.config import Config
from stream_al.counted import counted
from stream_al.replay.sources import open_source
from stream_al.replay.verify import Verification, Verifier, recorded_config

__all__ = ["verify"]

_file = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(short_help="Recompute every decision of a replay or a live run.")
@click.argument("source", required=False)
@click.option("--decisions", type=_file, help="As `replay --decisions` wrote it.")
@click.option("--training", type=_file, help="As `replay --training` wrote it.")
@click.option(
    "--dump",
    "dumps",
    type=_file,
    multiple=True,
    help="As `kcat -C -J` wrote it, of any of the topics. Repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@section_options("log")
@click.pass_context
def verify(
    ctx: click.Context,
    settings: Settings,
    source: str | None,
    decisions: Path | None,
    training: Path | None,
    dumps: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Recompute every decision and every training record, and count what differs.

    With SOURCE, --decisions and --training: of a recorded replay of SOURCE. With --dump: of a
    live run whose topics (events, predictions, label-requests, labels, training) were dumped.
    With neither: of the live run in the configured log.

    The configuration is the one that the training log holds. Exit code 1 where anything differs.
    """
    recorded = (source, decisions, training)
    if any(recorded):
        if source is None or decisions is None or training is None or dumps:
            raise click.UsageError(
                "a recorded replay takes SOURCE, --decisions and --training, and no --dump"
            )
        result = _recorded(source, decisions, training)
    else:
        result = _live(settings.config, dumps)
    for note in result.notes:
        click.echo(f"note: {note}", err=True)
    if as_json:
        sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
    else:
        _show(result)
    if result.differences:
        ctx.exit(1)


def _recorded(source: str, decisions: Path, training: Path) -> Verification:
    with training.open("rb") as log:
        config, configured = recorded_config(log, str(training))
    stream = open_source(source, config.source, config.learner.classes, config.replay.limit)
    with decisions.open("rb") as rows, training.open("rb") as log:
        verifier = Verifier(config, rows, log)
        verifier.note_fingerprint(configured)
        with progress_bar(stream.count(), source) as advance:
            return verifier.run(stream, advance)


def _live(config: Config, dumps: tuple[Path, ...]) -> Verification:
    # A replay needs neither drivers nor brokers, so they are imported here.
    from consumers.recorded_topics import DumpedTopics, LogTopics
    from consumers.verification import LiveVerifier
    from stream_al.cli.live_log import opened, present

    if dumps:
        with tempfile.TemporaryDirectory(prefix="stream-al-verify-") as folder:
            verifier = LiveVerifier(DumpedTopics(dumps, Path(folder)), config.log)
            with progress_bar(None, "decisions") as advance:
                return verifier.run(advance)
    with opened(present(config)) as log:
        verifier = LiveVerifier(LogTopics(log), config.log)
        with progress_bar(None, "decisions") as advance:
            return verifier.run(advance)


def _show(result: Verification) -> None:
    click.echo(
        f"{counted(result.decisions, 'decision')} and "
        f"{counted(result.records, 'training record')} checked, "
        f"{counted(result.differences, 'difference')}"
    )
    for what in result.first:
        click.echo(f"  {what}")
    if result.differences > len(result.first):
        click.echo(f"  … and {result.differences - len(result.first):,} more")
