"""The runs of the demo: one stream, asked about live, and at random in memory."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.process import BaseProcess

import msgspec

from stream_al.cli.demo_live import Live, Look
from stream_al.config import (
    AnnotatorConfig,
    Config,
    GateConfig,
    LearnerConfig,
    LogConfig,
    LoopConfig,
    ServeConfig,
)
from stream_al.replay.baseline import random_asking
from stream_al.replay.prequential import Scores
from stream_al.replay.sources import open_source

__all__ = ["BUDGET", "FRAUD", "MANY", "DemoRun", "baselines", "demo_config", "live_run"]

BUDGET = 0.02
MANY = 0.2
"""Share of labels that asking at random gets besides the budget."""

FRAUD = "1"
_GENUINE = "0"

_BATCH = 200
"""Small batches, so that labels are learnt soon after they were asked for."""


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


def demo_config(seed: int, path: str = ":memory:") -> Config:
    """Return the defaults, at the demo's budget and with a seed.

    Parameters
    ----------
    seed
        Of learner and annotator, and key of the gate's draws.
    path
        The embedded log's file.
    """
    return Config(
        learner=LearnerConfig(seed=seed),
        gate=GateConfig(budget=BUDGET, salt=seed),
        annotator=AnnotatorConfig(seed=seed),
        log=LogConfig(path=path, name="demo", instance="demo", events="payments"),
        loop=LoopConfig(batch_size=_BATCH, poll_s=0.02),
        serve=ServeConfig(port=0),
    )


@contextlib.contextmanager
def baselines(events: int, seed: int) -> Iterator[Callable[[], tuple[DemoRun, DemoRun]]]:
    """Begin to play few and many labels at random, in a process beside this one.

    Gives what waits for both. Where the block ends before, so does the process.
    """
    spec = f"cards:{events}:{seed}"
    # Not forked: this process has threads, or is about to.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(1, mp_context=context, initializer=_end_with_parent)
    try:
        runs = [pool.submit(_play_random, spec, seed, ratio) for ratio in (BUDGET, MANY)]
        yield lambda: (runs[0].result(), runs[1].result())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def live_run(live: Live, look: Callable[[Look], object]) -> DemoRun:
    """Play the live run, and score what it predicted."""
    live.run(look)
    scores = live.scores()
    return DemoRun(
        name=f"stream_al, budget {BUDGET:.0%}",
        asked=live.asked,
        metrics=scores.whole(),
        metrics_second_half=scores.second_half(),
    )


def _end_with_parent() -> None:
    """See that this process ends when its parent does, whatever ended that.

    It would wait for work for ever, for it holds both ends of the pipe that work comes by.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait_and_end, args=(parent,), daemon=True).start()


def _wait_and_end(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _play_random(spec: str, seed: int, ratio: float) -> DemoRun:
    source = open_source(spec, demo_config(seed).source)
    report = random_asking(source, (_GENUINE, FRAUD), ratio, seed)
    return DemoRun(
        name=f"plain river, random {ratio:.0%}",
        asked=report.asked,
        metrics=report.metrics,
        metrics_second_half=report.metrics_second_half,
    )
