"""How fast the engine decides and learns in one process, beside river and scikit-activeml.

All arms see the same seeded events of 10 numeric features and two classes, and learn a scaler
and a logistic regression. Arms take turns (A B C ... A B C ...), so that what slows the machine
down hits all of them alike; medians of the repetitions count. Processor time decides, because
other work on the machine does not lengthen it; time on the clock is reported beside it.

The arms:

- ``engine_learn``: `Engine` with one plain model (``learner.committee = false``), a budget of 2 %,
  all other defaults, so calibration is on. Makes each `Event`, decides in batches that end with
  each event that is asked about, and answers it at once. ``engine_learn_committee``: the same with
  the default committee.
- ``river_sampler``: river's ``EntropySampler(StandardScaler() | LogisticRegression())``, as its
  documentation uses it; its discount factor is searched beforehand, so that it asks for the
  share of events that the engine asks for.
- ``engine_learn_more``, ``river_sampler_more``: the same two at 5 %; a label costs the engine more
  than river, since it is also matched, logged, calibrated with and explained.
- ``scikit_activeml``: ``VariableUncertainty`` at the same budget around ``SklearnClassifier``, by
  its documentation's loop for incremental classifiers: predict, query, update, ``partial_fit``
  what is asked. The classifier within is the same river pipeline. The window of past events
  that the documentation hands to every query is left out: this strategy only checks it.
- ``scikit_activeml_refit``: the same by its documentation's introductory loop, which fits anew on
  the last 1,000 events before each query; the classifier within is scikit-learn's scaler and
  logistic regression, on one thread.
- ``engine_decide``: `Core.decide_many` of existing events, 500 at a time as in replays, by a model
  that has learnt and stands still. ``engine_decide_committee``: the same with the default
  committee.
- ``bare_predict``: river's ``scaler.transform_one`` and ``model.predict_proba_one``, nothing else.
"""

from __future__ import annotations

import cProfile
import itertools
import json
import pstats
import statistics
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import click
import numpy as np
from _common import Timing, timed
from numpy.typing import NDArray
from river import active, compat, compose, linear_model, preprocessing

from stream_al import Config, Decision, Engine, Event, GateConfig, Label, LearnerConfig
from stream_al.engine import Core
from stream_al.records import Features

TARGETS = {"vs_river_sampler": 1.0, "vs_scikit_activeml": 100.0, "decide_vs_bare_predict": 2.0}
BUDGET = 0.02
HIGHER = 0.05
FEATURES = 10
BATCH = 500
WINDOW = 1000
START = 20
"""Labelled events that scikit-activeml's classifier is given before its first query."""


@dataclass(frozen=True)
class Stream:
    """The same events in the form that each library takes."""

    table: NDArray[np.float64]
    rows: list[Features]
    truths: list[bool]

    @property
    def labels(self) -> list[str]:
        """The classes as text."""
        return ["yes" if truth else "no" for truth in self.truths]


def make_stream(events: int, seed: int = 0) -> Stream:
    """Draw events of 10 features on different scales; about one label in ten is noise."""
    rng = np.random.default_rng(seed)
    standard = rng.normal(size=(events, FEATURES))
    log_odds = 3.0 * standard @ rng.normal(size=FEATURES) / FEATURES**0.5
    truths = rng.random(events) < 1.0 / (1.0 + np.exp(-log_odds))
    truths[:2] = False, True
    table = standard * 10.0 ** rng.uniform(-2, 3, FEATURES) + rng.normal(size=FEATURES)
    names = [f"x{i}" for i in range(FEATURES)]
    rows: list[Features] = [dict(zip(names, row, strict=True)) for row in table.tolist()]
    return Stream(table, rows, truths.tolist())


def _pipeline() -> compose.Pipeline:
    return compose.Pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression())


def _engine(*, committee: bool, budget: float = BUDGET) -> Engine:
    gate = GateConfig(budget=budget)
    return Engine(Config(learner=LearnerConfig(committee=committee), gate=gate))


def _decide_and_learn(engine: Engine, stream: Stream) -> int:
    asked = 0
    labels = stream.labels
    events = (Event(offset=offset, features=x) for offset, x in enumerate(stream.rows))
    while decided := engine.decide_many(itertools.islice(events, BATCH), until=_asks):
        request = decided[-1].request
        if request is not None:
            asked += 1
            label = labels[request.offset]
            engine.learn_one(Label(request_id=request.request_id, label=label))
    return asked


def _asks(decision: Decision) -> bool:
    return decision.request is not None


def engine_learn(stream: Stream, *, committee: bool, budget: float = BUDGET) -> Timing:
    """Time `Engine`, deciding and learning."""
    engine = _engine(committee=committee, budget=budget)
    return timed(len(stream.rows), lambda: _decide_and_learn(engine, stream))


def river_sampler(stream: Stream, discount_factor: float) -> Timing:
    """Time river's sampler, deciding and learning."""
    sampler = active.EntropySampler(_pipeline(), discount_factor=discount_factor, seed=0)

    def run() -> int:
        asked = 0
        for x, truth in zip(stream.rows, stream.truths, strict=True):
            _, ask = sampler.predict_one(x)
            if ask:
                asked += 1
                sampler.learn_one(x, truth)
        return asked

    return timed(len(stream.rows), run)


def find_discount_factor(stream: Stream, share: float, steps: int = 16) -> float:
    """Bisect for the discount factor at which river's sampler asks for a share of the events."""
    low, high = -4.0, 24.0  # of log2: the share falls as the factor grows
    best, distance = 1.0, float("inf")
    for _ in range(steps):
        middle = (low + high) / 2
        found = river_sampler(stream, 2.0**middle).asked / len(stream.rows)
        if abs(found - share) < distance:
            best, distance = 2.0**middle, abs(found - share)
        low, high = (middle, high) if found > share else (low, middle)
    return best


def scikit_activeml(stream: Stream, events: int, *, refit: bool) -> Timing:
    """Time scikit-activeml's strategy around its wrapped classifier, deciding and learning."""
    from skactiveml.classifier import SklearnClassifier
    from skactiveml.stream import VariableUncertainty
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    if refit:
        inner = make_pipeline(StandardScaler(), LogisticRegression())
    else:
        inner = compat.River2SKLClassifier(_pipeline())
    classifier = SklearnClassifier(inner, classes=[0, 1], random_state=0)
    strategy = VariableUncertainty(budget=BUDGET, random_state=0)
    x, y = stream.table[: START + events], np.array(stream.truths[: START + events], dtype=float)
    past_x, past_y = deque(x[:START], WINDOW), deque(y[:START], WINDOW)
    classifier.fit(x[:START], y[:START])

    def run() -> int:
        asked = 0
        for i in range(START, len(x)):
            candidates = x[i : i + 1]
            if refit:
                classifier.fit(np.array(past_x), np.array(past_y))
            classifier.predict(candidates)
            queried, utilities = strategy.query(candidates, classifier, return_utilities=True)
            strategy.update(candidates, queried, {"utilities": utilities})
            asked += len(queried)
            if refit:
                past_x.append(x[i])
                past_y.append(y[i] if len(queried) else classifier.missing_label)
            elif len(queried):
                classifier.partial_fit(candidates, y[i : i + 1])
        return asked

    with threadpool_limits(limits=1):
        return timed(len(x) - START, run)


class EngineDecide:
    """Times the engine's deciding alone, by one model that has learnt the stream."""

    def __init__(self, stream: Stream, *, committee: bool) -> None:
        self._core = _engine(committee=committee)
        _decide_and_learn(self._core, stream)
        self._rows = stream.rows
        self._next_offset = len(stream.rows)

    def __call__(self) -> Timing:
        """Time one pass."""
        start = self._next_offset
        events = [Event(offset=start + i, features=x) for i, x in enumerate(self._rows)]
        self._next_offset += len(events)
        core = self._core

        def run() -> int:
            asked = 0
            for start in range(0, len(events), BATCH):
                # The engine's own method would fold what is observed, so the model would move.
                for decision in Core.decide_many(core, events[start : start + BATCH]):
                    asked += decision.asked
            return asked

        return timed(len(events), run)


class BarePredict:
    """Times river's scaler and model, which have learnt as many labels as the budget allows."""

    def __init__(self, stream: Stream) -> None:
        self._rows = stream.rows
        self._scaler = preprocessing.StandardScaler()
        self._model = linear_model.LogisticRegression()
        labelled = zip(stream.rows, stream.truths, strict=True)
        for x, truth in itertools.islice(labelled, 0, None, round(1 / BUDGET)):
            self._scaler.learn_one(x)
            self._model.learn_one(self._scaler.transform_one(x), truth)

    def __call__(self) -> Timing:
        """Time one pass."""
        scaler, model = self._scaler, self._model

        def run() -> int:
            for x in self._rows:
                model.predict_proba_one(scaler.transform_one(x))
            return 0

        return timed(len(self._rows), run)


def measure(events: int, slow_events: int, repetitions: int) -> dict[str, Any]:
    """Run all arms in turn, as often as asked, and compare their medians."""
    stream = make_stream(max(events, START + slow_events))
    engine_share = engine_learn(stream, committee=False).asked / len(stream.rows)
    factor = find_discount_factor(stream, engine_share)
    higher_share = engine_learn(stream, committee=False, budget=HIGHER).asked / len(stream.rows)
    higher = find_discount_factor(stream, higher_share)
    arms: dict[str, Callable[[], Timing]] = {
        "engine_learn": lambda: engine_learn(stream, committee=False),
        "river_sampler": lambda: river_sampler(stream, factor),
        "engine_learn_more": lambda: engine_learn(stream, committee=False, budget=HIGHER),
        "river_sampler_more": lambda: river_sampler(stream, higher),
        "engine_decide": EngineDecide(stream, committee=False),
        "bare_predict": BarePredict(stream),
        "engine_learn_committee": lambda: engine_learn(stream, committee=True),
        "engine_decide_committee": EngineDecide(stream, committee=True),
    }
    if find_spec("skactiveml") is not None:
        arms["scikit_activeml"] = lambda: scikit_activeml(stream, slow_events, refit=False)
        arms["scikit_activeml_refit"] = lambda: scikit_activeml(stream, slow_events, refit=True)
    timings: dict[str, list[Timing]] = {name: [] for name in arms}
    for _ in range(repetitions):
        for name, arm in arms.items():
            timings[name].append(arm())
    cpu = {name: [t.cpu_us_per_event for t in found] for name, found in timings.items()}
    wall = {name: [t.wall_us_per_event for t in found] for name, found in timings.items()}
    return _compared(cpu, wall) | {
        "asked_share": {name: found[0].asked / found[0].events for name, found in timings.items()},
        "discount_factor": factor,
        "events": {name: found[0].events for name, found in timings.items()},
        "versions": {
            name: version(name) if find_spec(module) else None
            for name, module in (("river", "river"), ("scikit-activeml", "skactiveml"))
        },
    }


def _compared(cpu: dict[str, list[float]], wall: dict[str, list[float]]) -> dict[str, Any]:
    median = {name: statistics.median(found) for name, found in cpu.items()}

    def times(slow: str, fast: str) -> float | None:
        return median[slow] / median[fast] if slow in median else None

    return {
        "vs_river_sampler": times("river_sampler", "engine_learn"),
        "vs_scikit_activeml": times("scikit_activeml", "engine_learn"),
        "decide_vs_bare_predict": times("engine_decide", "bare_predict"),
        "vs_river_sampler_at_5_percent": times("river_sampler_more", "engine_learn_more"),
        "vs_scikit_activeml_refit": times("scikit_activeml_refit", "engine_learn"),
        "committee_vs_river_sampler": times("river_sampler", "engine_learn_committee"),
        "committee_decide_vs_bare_predict": times("engine_decide_committee", "bare_predict"),
        "targets": TARGETS,
        "clock": "process_time",
        "us_per_event": median,
        "us_per_event_on_the_clock": {n: statistics.median(found) for n, found in wall.items()},
        "us_per_event_of_all_repetitions": cpu,
    }


def _as_text(found: dict[str, Any]) -> str:
    lines = [f"{'arm':26}{'us/event':>10}{'on the clock':>14}{'asked':>8}{'events':>9}"]
    for name, us in found["us_per_event"].items():
        clock, asked = found["us_per_event_on_the_clock"][name], found["asked_share"][name]
        lines.append(f"{name:26}{us:10.2f}{clock:14.2f}{asked:8.4f}{found['events'][name]:9,}")
    lines.append("")
    for name, target in TARGETS.items():
        ratio = found[name]
        least = "at most" if name == "decide_vs_bare_predict" else "at least"
        shown = "not installed" if ratio is None else f"{ratio:.2f}"
        lines.append(f"{name:26}{shown:>10}   target: {least} {target:g}")
    return "\n".join(lines)


@click.command(help=__doc__.replace("\n\n-", "\n\n\b\n-"))
@click.option("--events", default=50_000, show_default=True, help="Events of each pass.")
@click.option(
    "--slow-events", default=500, show_default=True, help="Events of a scikit-activeml pass."
)
@click.option("--repetitions", default=5, show_default=True, help="Passes of each arm.")
@click.option(
    "--profile", is_flag=True, help="Show instead where ``engine_learn`` spends its time."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(events: int, slow_events: int, repetitions: int, profile: bool, as_json: bool) -> None:
    """Measure and print."""
    if profile:
        stream, engine = make_stream(events), _engine(committee=False)
        profiler = cProfile.Profile()
        profiler.runcall(_decide_and_learn, engine, stream)
        pstats.Stats(profiler, stream=sys.stdout).sort_stats("tottime").print_stats(15)
        return
    found = measure(events, slow_events, repetitions)
    if found["vs_scikit_activeml"] is None:
        click.echo("scikit-activeml is left out: it comes with pip install -e '.[bench]'", err=True)
    sys.stdout.write((json.dumps(found) if as_json else _as_text(found)) + "\n")


if __name__ == "__main__":
    main()
