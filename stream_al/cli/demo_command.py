"""``stream-al demo``."""

from __future__ import annotations

import sys
import time

import click
import msgspec

from stream_al._version import __version__
from stream_al.cli.demo_runs import BUDGET, demo_runs
from stream_al.cli.demo_text import demo_text, verdict

__all__ = ["demo"]


@click.command(short_help="See it work: no arguments, no files, no network.")
@click.option(
    "--events",
    type=click.IntRange(min=1000),
    default=100_000,
    show_default=True,
    help="Card payments to generate.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Key of the stream and of everything drawn.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def demo(events: int, seed: int, as_json: bool) -> None:
    """See it work: no arguments, no files, no network.

    Generated card payments with rare, moving fraud are played three times: with the default
    configuration at a budget of 2 % of labels, and with labels asked at random, 2 % and 20 % of
    them, learnt by a plain river loop.
    """
    started = time.perf_counter()
    ours, few, many = demo_runs(events, seed)
    seconds = time.perf_counter() - started
    if not as_json:
        click.echo(demo_text(ours, few, many, seed, seconds))
        return
    whole = {
        "events": events,
        "seed": seed,
        "budget": BUDGET,
        "runs": (ours, few, many),
        "labels_saved": many.asked - ours.asked,
        "verdict": verdict(ours, many),
        "seconds": seconds,
        "version": __version__,
    }
    sys.stdout.write(msgspec.json.encode(whole).decode() + "\n")
