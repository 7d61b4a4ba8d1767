"""Whether the live gate grows over millions of events.

Runs the process ``stream-al run gate`` on SQLite's log, with the default configuration but
``log.retain_bytes``, so that the file does not grow without end; nobody answers what is asked,
and the model has learnt about 500 labels beforehand. This process feeds events of 175 bytes, at
most 20,000 ahead of the gate, and reads how much of the gate's memory is resident.

- ``memory_growth_mb``: the most resident memory at any 1 % of the events, less that after the
  first 100,000; in millions of bytes.
- ``events_per_second``: on the clock, after the first 100,000; feeding takes its share of both
  the machine and the file.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec
from _common import resident_bytes
from _events import learnt, make_messages
from _processes import GATE, Processes, exit_at_sigterm, running

from consumers.drivers import open_log
from consumers.log import Log, Out
from consumers.topics import Topics, specs
from stream_al import Config
from stream_al.config import LogConfig, ServeConfig
from stream_al.errors import StreamAlError

TARGETS = {"memory_growth_mb": 20.0}
WARM_UP = 100_000
PARTS = 100
POOL = 10_000
AHEAD = 20_000
RETAIN_BYTES = 64 * 1024 * 1024
_CHUNK = 1_000
_LOOK_S = 0.01


class _Decided(msgspec.Struct):
    """The part of a prediction that names its event."""

    offset: int


_decode = msgspec.json.Decoder(_Decided).decode


@dataclass(frozen=True)
class Mark:
    """Where the run stands: events decided, time on the clock, resident memory of the gate."""

    events: int
    clock_s: float
    resident_mb: float


def play(
    folder: Path, events: int, warm_up: int, progress: Callable[[int], object]
) -> tuple[list[Mark], float]:
    """Feed all events; marks after the warm-up and after each 1 % of what follows, and file MB."""
    path = folder / "log.db"
    config = Config(
        log=LogConfig(path=str(path), retain_bytes=RETAIN_BYTES), serve=ServeConfig(port=0)
    )
    topics = Topics.of(config.log)
    log = open_log(config)
    log.create(specs(config.log))
    writer = log.writer()
    for raw in learnt(config.learner):
        writer.send(Out(topics.training, raw, None, (), 0))
    pool = itertools.cycle(make_messages(POOL))
    marks: list[Mark] = []
    sent = done = 0
    with running(folder, {"gate": GATE}, {"gate": config}) as processes:
        while len(marks) <= PARTS:
            if sent < events and sent < done + AHEAD:
                for number in range(sent, sent := min(sent + _CHUNK, events)):
                    writer.send(Out(topics.events, next(pool).value, b"%08d" % number, (), 0))
                writer.flush()
            else:
                processes.check()
                time.sleep(_LOOK_S)
            before, done = done, _decided(log, topics.predictions)
            progress(done - before)
            while len(marks) <= PARTS and done >= _due(len(marks), events, warm_up):
                marks.append(_mark(processes, done))
    writer.close()
    log.close()
    return marks, path.stat().st_size / 1e6


def _due(part: int, events: int, warm_up: int) -> int:
    return warm_up + (events - warm_up) * part // PARTS


def _decided(log: Log, predictions: str) -> int:
    last = log.last(predictions, 0)
    return 0 if last is None else _decode(last.value or b"").offset + 1


def _mark(processes: Processes, done: int) -> Mark:
    resident_mb = resident_bytes(processes.pid("gate")) / 1e6
    return Mark(done, time.monotonic(), resident_mb)


def measured(marks: list[Mark], file_mb: float) -> dict[str, Any]:
    """Compare the most memory with that after the warm-up."""
    first, last = marks[0], marks[-1]
    return {
        "memory_growth_mb": max(mark.resident_mb for mark in marks) - first.resident_mb,
        "events": last.events,
        "events_per_second": (last.events - first.events) / (last.clock_s - first.clock_s),
        "targets": TARGETS,
        "warm_up": first.events,
        "resident_mb": [mark.resident_mb for mark in marks],
        "file_mb": file_mb,
        "retain_bytes": RETAIN_BYTES,
    }


def _as_text(found: dict[str, Any]) -> str:
    memory = "  ".join(f"{value:.1f}" for value in found["resident_mb"][:: PARTS // 10])
    return "\n".join(
        [
            f"events             {found['events']:,}, of which {found['warm_up']:,} warm up",
            f"events/s           {found['events_per_second']:,.0f}",
            f"resident, MB       {memory}",
            f"file, MB           {found['file_mb']:.0f}",
            f"memory_growth_mb   {found['memory_growth_mb']:.1f}   target: at most 20",
        ]
    )


@click.command(help=__doc__.replace("\n\n-", "\n\n\b\n-"))
@click.option("--events", default=2_000_000, show_default=True, type=click.IntRange(1_000))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(events: int, as_json: bool) -> None:
    """Measure and print."""
    # A run too short for it warms up on its first half.
    warm_up = min(WARM_UP, events // 2)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="stream-al-") as folder,
            click.progressbar(
                length=events, file=sys.stderr, hidden=not sys.stderr.isatty()
            ) as bar,
        ):
            found = measured(*play(Path(folder), events, warm_up, bar.update))
    except StreamAlError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    sys.stdout.write((json.dumps(found) if as_json else _as_text(found)) + "\n")


if __name__ == "__main__":
    exit_at_sigterm()
    main()
