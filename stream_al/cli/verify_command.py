"""``stream-al verify``."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from stream_al.cli.progress import progress_bar
from stream_al.replay.sources import open_source
from stream_al.replay.verify import Verifier, recorded_config

__all__ = ["verify"]

_file = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(short_help="Recompute every decision of a replay and count differences.")
@click.argument("source")
@click.option("--decisions", type=_file, required=True, help="As `replay --decisions` wrote it.")
@click.option("--training", type=_file, required=True, help="As `replay --training` wrote it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def verify(ctx: click.Context, source: str, decisions: Path, training: Path, as_json: bool) -> None:
    """Recompute every decision and every training record of a recorded replay of SOURCE.

    The configuration is the one that the training log begins with. Exit code 1 where anything
    differs.
    """
    with training.open("rb") as log:
        config, configured = recorded_config(log, str(training))
    stream = open_source(source, config.source, config.learner.classes, config.replay.limit)
    with decisions.open("rb") as rows, training.open("rb") as log:
        verifier = Verifier(config, rows, log)
        verifier.note_fingerprint(configured)
        with progress_bar(stream.count(), source) as advance:
            result = verifier.run(stream, advance)
    for note in result.notes:
        click.echo(f"note: {note}", err=True)
    if as_json:
        sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
    else:
        click.echo(
            f"{result.decisions:,} decisions and {result.records:,} training records checked, "
            f"{result.differences:,} differences"
        )
        for what in result.first:
            click.echo(f"  {what}")
        if result.differences > len(result.first):
            click.echo(f"  … and {result.differences - len(result.first):,} more")
    if result.differences:
        ctx.exit(1)
