"""What a label buys: the default configuration beside random asking, on recorded streams.

Every event is predicted before its label can be learnt, and every prediction counts, asked or
not; before the first label there is none, which counts as wrong. All arms are scored alike.

The arms, each at a multiple of the row's budget:

- ``default``: the engine as it comes; only label, time and budget are given.
- ``random 1x``, ``random 2x``: the same learner, asking at random (``policy = "random"``).
- ``river 1x``, ``river 5x``, ``river 10x``: the plain river loop, which asks at random and learns
  each answer once: ``StandardScaler() | LogisticRegression()``, ``OneVsRestClassifier`` around the
  latter for more than two classes. What it asks at 1x it asks at 5x and 10x as well.

With ``--policies`` every policy runs on every row instead, to show what each scores and that none
overspends.

The streams are read from the folder ``STREAM_AL_DATA``; by default ``../shared/data``, seen from
the repository.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Any, get_args

import click
from _common import recorded_stream
from joblib import Parallel, delayed
from river import linear_model, multiclass, preprocessing

from stream_al import AnnotatorConfig, Config, GateConfig, LearnerConfig, SourceConfig
from stream_al._version import __version__
from stream_al.config import PolicyName
from stream_al.errors import StreamAlError
from stream_al.replay.prequential import Scores, StreamScores
from stream_al.replay.runner import replay
from stream_al.replay.sources import Source, open_source

BURST = GateConfig().burst
POLICIES: tuple[PolicyName, ...] = get_args(PolicyName)


@dataclass(frozen=True)
class Row:
    """A stream, what is scored on it, and what the default configuration is to reach.

    Attributes
    ----------
    metric
        A field of `Scores` that is higher for better predictions.
    half
        Score the second half only.
    target, above
        The least mean of ``default``; the arm whose mean it is to exceed.
    """

    name: str
    budget: float
    metric: str
    target: float | None = None
    above: str | None = None
    half: bool = False
    time: str | None = None
    binary: bool = True
    seeds: int = 3

    @property
    def title(self) -> str:
        """Name, budget and metric, for people."""
        half = ", second half" if self.half else ""
        return f"{self.name} {self.budget:.0%}, {self.metric.replace('_', ' ')}{half}"

    def open(self) -> Source:
        """Open the stream."""
        return open_source(str(recorded_stream(self.name)), SourceConfig(time=self.time))

    def value(self, whole: Scores, second_half: Scores | None) -> float:
        """Pick the metric."""
        found = getattr(second_half if self.half else whole, self.metric)
        if not isinstance(found, float):
            raise TypeError(f"{self.title} is not defined: {found!r}")
        return found


ROWS = (
    Row("fraud_handbook_a", 0.02, "average_precision", 0.62, "river 10x", half=True, time="ts"),
    Row("elec", 0.02, "weighted_f1", 0.755),
    Row("sea", 0.01, "weighted_f1", 0.85),
    Row("occupancy", 0.02, "weighted_f1", 0.955, time="ts"),
    Row("bank_marketing", 0.02, "average_precision", 0.25, time="ts"),
    Row("kdd99_rare", 0.01, "average_precision", 0.30, seeds=10),
    Row("keystroke", 0.10, "weighted_f1", above="random 1x", binary=False),
)


@dataclass(frozen=True)
class Arm:
    """A way of asking and learning, at a multiple of a row's budget."""

    name: str
    times: float = 1.0
    policy: PolicyName = GateConfig().policy
    plain: bool = False


ARMS = (
    Arm("default"),
    Arm("random 1x", policy="random"),
    Arm("random 2x", 2.0, policy="random"),
    Arm("river 1x", plain=True),
    Arm("river 5x", 5.0, plain=True),
    Arm("river 10x", 10.0, plain=True),
)


@dataclass(frozen=True)
class Task:
    """One run: an arm on a row with a seed."""

    row: Row
    arm: Arm
    seed: int


@dataclass(frozen=True)
class Result:
    """What one run came to; `max_overspend` is null where nothing holds a budget."""

    value: float
    labels: int
    max_overspend: float | None


def run(task: Task) -> tuple[Task, Result]:
    """Run one arm."""
    row, arm = task.row, task.arm
    budget = min(1.0, arm.times * row.budget)
    if arm.plain:
        return task, _plain_river(row, budget, task.seed)
    config = Config(
        learner=LearnerConfig(seed=task.seed),
        gate=GateConfig(budget=budget, salt=task.seed, policy=arm.policy),
        annotator=AnnotatorConfig(seed=task.seed),
        source=SourceConfig(time=row.time),
    )
    report = replay(row.open(), config)
    value = row.value(report.metrics, report.metrics_second_half)
    return task, Result(value, report.labels, report.max_overspend)


def _plain_river(row: Row, share: float, seed: int) -> Result:
    source = row.open()
    scores = StreamScores(source.count())
    draws = random.Random(seed)
    classifier = linear_model.LogisticRegression()
    if not row.binary:
        classifier = multiclass.OneVsRestClassifier(classifier)
    model = preprocessing.StandardScaler() | classifier
    labels = 0
    for recorded in source.rows():
        x, truth = recorded.event.features, recorded.truth
        if labels:
            p = model.predict_proba_one(x)
            if row.binary:
                p = {"0": p[False], "1": p[True]}
            scores.update(truth, max(p, key=p.__getitem__), p)
        else:
            scores.update(truth, None, {})
        if draws.random() < share:
            labels += 1
            model.learn_one(x, truth == "1" if row.binary else truth)
    return Result(row.value(scores.whole(), scores.second_half()), labels, None)


def run_all(tasks: list[Task], jobs: int) -> dict[Task, Result]:
    """Run in parallel, longest first, so that no core waits for a late long one."""
    # That data are missing is to be known before anything runs.
    size = {row: recorded_stream(row.name).stat().st_size for row in {t.row for t in tasks}}
    tasks = sorted(tasks, key=lambda task: -size[task.row])
    results = Parallel(n_jobs=jobs, return_as="generator_unordered")(
        delayed(run)(task) for task in tasks
    )
    hidden = not sys.stderr.isatty()
    with click.progressbar(results, len(tasks), file=sys.stderr, hidden=hidden) as bar:
        return dict(bar)


def summary(rows: list[Row], arms: list[Arm], results: dict[Task, Result]) -> dict[str, Any]:
    """Gather the runs of each row and arm: mean over seeds, deviation, labels, overspending."""
    found: dict[str, Any] = {}
    for row in rows:
        by_arm = {}
        for arm in arms:
            runs = [r for task, r in results.items() if (task.row, task.arm) == (row, arm)]
            values = [r.value for r in runs]
            overspent = [r.max_overspend for r in runs if r.max_overspend is not None]
            by_arm[arm.name] = {
                "mean": statistics.mean(values),
                "sd": statistics.stdev(values) if len(values) > 1 else None,
                "values": values,
                "labels": statistics.mean(r.labels for r in runs),
                "max_overspend": max(overspent, default=None),
            }
        found[row.name] = {
            "title": row.title,
            "budget": row.budget,
            "metric": row.metric,
            "target": row.target,
            "above": row.above,
            "arms": by_arm,
        } | _judged(row, by_arm)
    overspent = [r.max_overspend for r in results.values() if r.max_overspend is not None]
    return {"rows": found, "burst": BURST, "max_overspend": max(overspent), "version": __version__}


def _judged(row: Row, by_arm: dict[str, Any]) -> dict[str, Any]:
    if "default" not in by_arm:
        return {}
    own = by_arm["default"]["mean"]
    met = row.target is None or own >= row.target
    if row.above is not None:
        met = met and own > by_arm[row.above]["mean"]
    better = [name for name, arm in by_arm.items() if arm["mean"] > own]
    return {"met": met, "better_than_default": better}


def markdown(found: dict[str, Any]) -> str:
    """Lay the summary out as a table."""
    rows = list(found["rows"].values())
    names = list(rows[0]["arms"])
    judged = "met" in rows[0]
    ends = ["better than default", "max_overspend"] if judged else ["max_overspend"]
    starts = ["stream, budget, metric", "target"] if judged else ["stream, budget, metric"]
    lines = [_line([*starts, *names, *ends]), _line(["---"] * (len(starts + names + ends)))]
    for row in rows:
        overspent = [arm["max_overspend"] for arm in row["arms"].values()]
        cells = [row["title"], _target(row)] if judged else [row["title"]]
        cells += [_mean(row["arms"][name]) for name in names]
        if judged:
            cells.append(", ".join(row["better_than_default"]) or "none")
        cells.append(f"{max(o for o in overspent if o is not None):.1f}")
        lines.append(_line(cells))
    lines.append(f"\nmax_overspend {found['max_overspend']:.1f}, target: at most {BURST:g}")
    return "\n".join(lines)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _mean(arm: dict[str, Any]) -> str:
    return f"{arm['mean']:.4f}" + (f" ± {arm['sd']:.3f}" if arm["sd"] is not None else "")


def _target(row: dict[str, Any]) -> str:
    parts = [] if row["target"] is None else [f"≥ {row['target']:g}"]
    parts += [] if row["above"] is None else [f"> {row['above']}"]
    return f"{' and '.join(parts)}: {'met' if row['met'] else 'missed'}"


@click.command(help=__doc__.replace("\n\n-", "\n\n\b\n-"))
@click.option("--rows", "names", default=",".join(row.name for row in ROWS), show_default=True)
@click.option(
    "--seeds",
    type=click.IntRange(1),
    help="Seeds of each row, from 0.  [default: 3, kdd99_rare 10, with --policies 1]",
)
@click.option("--policies", is_flag=True, help="Compare the policies instead.")
@click.option("--jobs", default=-1, show_default=True, help="Processes; -1: one for each core.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(names: str, seeds: int | None, policies: bool, jobs: int, as_json: bool) -> None:
    """Run and print."""
    known = {row.name: row for row in ROWS}
    for name in names.split(","):
        if name not in known:
            raise click.BadParameter(f"{name!r}; expected any of {', '.join(known)}")
    rows = [known[name] for name in names.split(",")]
    arms = list(ARMS)
    if policies:
        arms = [Arm(policy, policy=policy) for policy in POLICIES]
        seeds = seeds or 1
    tasks = [Task(r, arm, seed) for r in rows for arm in arms for seed in range(seeds or r.seeds)]
    started = time.perf_counter()
    try:
        results = run_all(tasks, jobs)
    except StreamAlError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    found = summary(rows, arms, results) | {"seconds": time.perf_counter() - started}
    sys.stdout.write((json.dumps(found) if as_json else markdown(found)) + "\n")


if __name__ == "__main__":
    main()
