"""Whether the engine slows down or grows over millions of events.

Plays synthetic events of 10 numeric features and two classes through `Engine` with the default
configuration, and answers what is asked: at once, or so many events later. Values and labels are
drawn once, for a pool of events that is gone through again and again, since drawing millions
would take longer than deciding about them; but every event gets a dict, an id and a time of its
own, so what the engine keeps of an event shows in memory.

Two figures, both without the first 100,000 events, during which memories and caches fill up:

- ``time_ratio``: processor time per event of the last tenth, divided by that of the first tenth.
- ``memory_growth_mb``: the most resident memory at any 1 % of the events, less that after the
  first 100,000; in millions of bytes.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import click
import numpy as np
from _common import resident_bytes

from stream_al import Engine, Event, Label
from stream_al.errors import StreamAlError
from stream_al.records import Features

TARGETS = {"time_ratio": 1.1, "memory_growth_mb": 20.0}
FEATURES = 10
POOL = 10_000
WARM_UP = 100_000
PARTS = 100


@dataclass(frozen=True)
class Mark:
    """Where the run stands: events decided, processor time so far, resident memory."""

    events: int
    cpu_s: float
    resident_mb: float


def _pool(seed: int = 0) -> list[tuple[Features, str]]:
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(POOL, FEATURES))
    odds = np.exp(2.0 * table @ rng.normal(size=FEATURES) / FEATURES**0.5)
    classes = np.where(rng.random(POOL) < odds / (1.0 + odds), "yes", "no").tolist()
    names = [f"x{i}" for i in range(FEATURES)]
    rows: list[Features] = [dict(zip(names, row, strict=True)) for row in table.tolist()]
    return list(zip(rows, classes, strict=True))


def _stream(pool: list[tuple[Features, str]]) -> Iterator[tuple[Event, str]]:
    for offset, (x, label) in enumerate(itertools.cycle(pool)):
        yield Event(offset=offset, features=x.copy(), id=f"e{offset}", time=float(offset)), label


def play(events: int, warm_up: int, delay: int, progress: Callable[[int], object]) -> list[Mark]:
    """Decide about all events; marks after the warm-up and after each 1 % of what follows."""
    engine = Engine()
    due: deque[tuple[int, Label]] = deque()
    stream = _stream(_pool())
    marks = []
    done = 0
    for part in range(PARTS + 1):
        until = warm_up + (events - warm_up) * part // PARTS
        for event, label in itertools.islice(stream, until - done):
            request = engine.decide_one(event).request
            if request is not None:
                due.append(
                    (event.offset + delay, Label(request_id=request.request_id, label=label))
                )
            while due and due[0][0] <= event.offset:
                engine.learn_one(due.popleft()[1])
        progress(until - done)
        done = until
        marks.append(Mark(done, time.process_time(), resident_bytes() / 1e6))
    return marks


def measured(marks: list[Mark]) -> dict[str, Any]:
    """Compare the last tenth with the first, and the most memory with that after the warm-up."""
    tenth = PARTS // 10

    def us_per_event(start: Mark, end: Mark) -> float:
        return 1e6 * (end.cpu_s - start.cpu_s) / (end.events - start.events)

    first = us_per_event(marks[0], marks[tenth])
    last = us_per_event(marks[-1 - tenth], marks[-1])
    return {
        "time_ratio": last / first,
        "memory_growth_mb": max(mark.resident_mb for mark in marks) - marks[0].resident_mb,
        "targets": TARGETS,
        "events": marks[-1].events,
        "warm_up": marks[0].events,
        "us_per_event_by_tenth": [
            us_per_event(a, b) for a, b in itertools.pairwise(marks[::tenth])
        ],
        "resident_mb": [mark.resident_mb for mark in marks],
    }


def _as_text(found: dict[str, Any]) -> str:
    us = "  ".join(f"{value:.2f}" for value in found["us_per_event_by_tenth"])
    memory = "  ".join(f"{value:.1f}" for value in found["resident_mb"][:: PARTS // 10])
    return "\n".join(
        [
            f"events             {found['events']:,}, of which {found['warm_up']:,} warm up",
            f"us/event, tenths   {us}",
            f"resident, MB       {memory}",
            f"time_ratio         {found['time_ratio']:.3f}   target: 0.9 to 1.1",
            f"memory_growth_mb   {found['memory_growth_mb']:.1f}   target: at most 20",
        ]
    )


@click.command(help=__doc__.replace("\n\n-", "\n\n\b\n-"))
@click.option("--events", default=3_000_000, show_default=True, type=click.IntRange(1_000))
@click.option("--delay", default=0, show_default=True, help="Events from a request to its answer.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(events: int, delay: int, as_json: bool) -> None:
    """Measure and print."""
    # A run too short for it warms up on its first half.
    warm_up = min(WARM_UP, events // 2)
    try:
        with click.progressbar(
            length=events, file=sys.stderr, hidden=not sys.stderr.isatty()
        ) as bar:
            found = measured(play(events, warm_up, delay, bar.update)) | {"delay": delay}
    except StreamAlError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    sys.stdout.write((json.dumps(found) if as_json else _as_text(found)) + "\n")


if __name__ == "__main__":
    main()
