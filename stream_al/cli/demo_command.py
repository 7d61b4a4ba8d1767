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
from consumers.processes import Signals
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
    "--log",
    "log_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Put the log into this new file, which stays, for `tail` and `verify`.",
)
@click.option("--keep", is_flag=True, help="Stay after the end, with the live page, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def demo(
    events: int,
    seed: int,
    rate: float | None,
    log_file: Path | None,
    keep: bool,
    as_json: bool,
) -> None:
    """See it work: no arguments, no files, no network.

    Generated card payments with rare, moving fraud are fed to a live loop on an embedded log:
    gate, ledger and an annotator who answers at once, at a budget of 2 % of labels. Beside it, a
    plain river loop learns in memory from labels asked at random, 2 % and 20 % of them. At the
    end every decision of the live loop is recomputed. A browser shows it live at the address that
    is named at the start.
    """
    if log_file is not None and log_file.exists():
        raise ConfigError("is there already; the demo begins with a new log", str(log_file))
    logs.configure("warning")
    started = time.perf_counter()
    pace = rate or max(_SLOWEST, events / _PLANNED_S)
    with _file(log_file) as file, _live(events, seed, pace, file) as live:
        _say(f"live: http://{live.address}/ shows it in a browser")
        with baselines(events, seed) as others:
            ours = live_run(live, LiveTable(sys.stderr))
            checked = live.verify()
            few, many = others()
        seconds = time.perf_counter() - started
        # Before anything is printed: whoever reads it may end the demo at once.
        signals = Signals() if keep else None
        if as_json:
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
            click.echo(msgspec.json.encode(whole))
        else:
            click.echo(demo_text(ours, few, many, seed, seconds, checked, log_file))
        if signals is not None:
            _say(f"live: http://{live.address}/ is there until Ctrl-C")
            live.stay(lambda: signals.asked)


def _live(events: int, seed: int, pace: float, file: Path) -> Live:
    config = demo_config(seed, str(file))
    return Live(config, open_source(f"cards:{events}:{seed}", config.source), pace)


def _say(line: str) -> None:
    click.echo(line, err=True)


@contextlib.contextmanager
def _file(chosen: Path | None) -> Iterator[Path]:
    """Give the log's file: the one that was chosen, or one that is gone after the block."""
    if chosen is not None:
        yield chosen
        return
    with tempfile.TemporaryDirectory(prefix="stream-al-demo-") as folder:
        yield Path(folder) / "demo.db"
