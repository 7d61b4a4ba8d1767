"""``stream-al demo``."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from consumers import logs
from stream_al._version import __version__
from stream_al.cli.demo_live import Live
from stream_al.cli.demo_runs import BUDGET, baselines, demo_config, live_run
from stream_al.cli.demo_text import LiveTable, demo_text, verdict
from stream_al.errors import ConfigError
from stream_al.replay.sources import open_source

__all__ = ["demo"]

_PLANNED_S = 20.0
_SLOWEST = 1000.0


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
@click.option(
    "--rate",
    type=click.FloatRange(min=1.0),
    help=f"Payments a second; so that all take {_PLANNED_S:.0f} s, where it is not given.",
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Keep the log in this new file, for `tail` and `verify`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def demo(events: int, seed: int, rate: float | None, keep: Path | None, as_json: bool) -> None:
    """See it work: no arguments, no files, no network.

    Generated card payments with rare, moving fraud are fed to a live loop on an embedded log:
    gate, ledger and an annotator who answers at once, at a budget of 2 % of labels. Beside it, a
    plain river loop learns in memory from labels asked at random, 2 % and 20 % of them. At the
    end every decision of the live loop is recomputed.
    """
    if keep is not None and keep.exists():
        raise ConfigError("is there already; the demo begins with a new log", str(keep))
    logs.configure("warning")
    started = time.perf_counter()
    pace = rate or max(_SLOWEST, events / _PLANNED_S)
    with _log_file(keep) as file, baselines(events, seed) as others:
        config = demo_config(seed, str(file))
        live = Live(config, open_source(f"cards:{events}:{seed}", config.source), pace)
        ours = live_run(live, LiveTable(sys.stderr))
        checked = live.verify()
        few, many = others()
    seconds = time.perf_counter() - started
    if not as_json:
        click.echo(demo_text(ours, few, many, seed, seconds, checked, keep))
        return
    whole = {
        "events": events,
        "seed": seed,
        "budget": BUDGET,
        "runs": (ours, few, many),
        "labels_saved": many.asked - ours.asked,
        "verdict": verdict(ours, many),
        "verification": checked,
        "seconds": seconds,
        "version": __version__,
    }
    sys.stdout.write(msgspec.json.encode(whole).decode() + "\n")


@contextlib.contextmanager
def _log_file(keep: Path | None) -> Iterator[Path]:
    """Give the log's file: one that is kept, or one that is gone after the block."""
    if keep is not None:
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="stream-al-demo-") as folder:
        yield Path(folder) / "demo.db"
