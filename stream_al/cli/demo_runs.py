"""The runs of the demo: one stream, three ways of asking, in parallel processes."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
from joblib import Parallel, delayed

from stream_al.config import AnnotatorConfig, Config, GateConfig, LearnerConfig
from stream_al.replay.baseline import random_asking
from stream_al.replay.prequential import Scores
from stream_al.replay.runner import replay
from stream_al.replay.sources import open_source

__all__ = ["BUDGET", "FRAUD", "MANY", "DemoRun", "demo_config", "demo_runs"]

BUDGET = 0.02
MANY = 0.2
"""Share of labels that asking at random gets besides the budget."""

FRAUD = "1"
_GENUINE = "0"

_PROCESSES = 2
_LOOK_S = 0.1


class DemoRun(msgspec.Struct, frozen=True, kw_only=True):
    """One way of asking, and what it came to.

    Attributes
    ----------
    name
        For people.
    asked
        Labels asked for.
    metrics, metrics_second_half
        Scores of all predictions, asked or not.
    """

    name: str
    asked: int
    metrics: Scores
    metrics_second_half: Scores | None


def demo_config(seed: int) -> Config:
    """Return the defaults, at the demo's budget and with a seed."""
    return Config(
        learner=LearnerConfig(seed=seed),
        gate=GateConfig(budget=BUDGET, salt=seed),
        annotator=AnnotatorConfig(seed=seed),
    )


def demo_runs(events: int, seed: int) -> tuple[DemoRun, DemoRun, DemoRun]:
    """Play generated card payments with stream_al, then with few and many labels at random.

    Parameters
    ----------
    events
        Length of the stream, at least 1000.
    seed
        Key of the stream and of everything drawn, at least 0.
    """
    spec = f"cards:{events}:{seed}"
    with _shared_progress(3 * events, f"3 runs over {events:,} events") as done:
        ours, few, many = Parallel(n_jobs=_PROCESSES)(
            [
                delayed(_play_default)(spec, seed, done),
                delayed(_play_random)(spec, seed, BUDGET, done),
                delayed(_play_random)(spec, seed, MANY, done),
            ]
        )
    return ours, few, many


class _Tally:
    """Counts events of several processes in the length of a file that all append to."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, events: int) -> None:
        with self._path.open("ab") as file:
            file.write(bytes(events))

    def total(self) -> int:
        return self._path.stat().st_size


@contextlib.contextmanager
def _shared_progress(length: int, label: str) -> Iterator[_Tally | None]:
    """Show what other processes have done; gives None where there is nobody to show it to."""
    if not sys.stderr.isatty():
        yield None
        return
    bar: Any
    # Processes take seconds to start, from which any guess of the time left would be far off.
    with (
        tempfile.TemporaryDirectory() as folder,
        click.progressbar(length=length, label=label, file=sys.stderr, show_eta=False) as bar,
    ):
        done = _Tally(Path(folder) / "events")
        done(0)
        ended = threading.Event()

        def watch() -> None:
            shown = 0
            while True:
                last = ended.wait(_LOOK_S)
                total = done.total()
                bar.update(total - shown)
                shown = total
                if last:
                    return

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield done
        finally:
            ended.set()
            watcher.join()


def _play_default(spec: str, seed: int, progress: _Tally | None) -> DemoRun:
    config = demo_config(seed)
    report = replay(open_source(spec, config.source), config, progress)
    return DemoRun(
        name=f"stream_al, budget {BUDGET:.0%}",
        asked=report.asked,
        metrics=report.metrics,
        metrics_second_half=report.metrics_second_half,
    )


def _play_random(spec: str, seed: int, ratio: float, progress: _Tally | None) -> DemoRun:
    source = open_source(spec, demo_config(seed).source)
    report = random_asking(source, (_GENUINE, FRAUD), ratio, seed, progress)
    return DemoRun(
        name=f"plain river, random {ratio:.0%}",
        asked=report.asked,
        metrics=report.metrics,
        metrics_second_half=report.metrics_second_half,
    )
