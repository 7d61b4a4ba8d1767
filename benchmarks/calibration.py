"""Whether probabilities mean what they say, with online calibration and without.

Each run replays a stream with the default configuration, once as it is and once with
``calibrate = false`` (what is asked for differs too, since scores are made of probabilities). The
expected calibration error is that of the predicted class's probability, over all events, asked or
not: 15 bins of equal width, and 15 of equal mass; as the mean over five phases of the stream,
each by itself; and of the probability of each class.

Beside it, what the fold would have reported at each twentieth of the stream, from its last 1,000
explored labels alone: how often the limits held the error that the events of the same stretch had,
and the mean difference of estimate and of the plain binned error from it.

The grid: 6 streams, budgets of 2 and 5 %, calibrated or not; 3 seeds. Results go to ``--out`` line
by line; what it holds is not run again.
"""

from __future__ import annotations

import io
import itertools
import json
import statistics
from pathlib import Path
from typing import Any, TypeAlias

import click
import msgspec
import numpy as np
from _common import recorded_stream, run_as_module
from _grid import grid_options, run_grid
from numpy.typing import NDArray

from stream_al import AnnotatorConfig, Config, GateConfig, LearnerConfig, SourceConfig
from stream_al.learner.reliability import BINS, Reliability
from stream_al.records import Prediction
from stream_al.replay.runner import Replay
from stream_al.replay.sources import open_source
from stream_al.training import Labelled, decode_training

_Floats: TypeAlias = NDArray[np.float64]

STREAMS: dict[str, tuple[int | None, str | None]] = {
    "elec": (None, None),
    "sea": (None, None),
    "occupancy": (None, "ts"),
    "bank_marketing": (None, "ts"),
    "kdd99_rare": (None, None),
    "fraud_handbook_a": (100_000, "ts"),
}
"""How many events of a stream are played, and its column of times."""

BUDGETS = (0.02, 0.05)
PHASES = 5
LOOKS = 20
MOST_RISE = 0.01
LEAST_FALLS = 5


class Cell(msgspec.Struct, frozen=True):
    """What is the same in all runs that are counted together."""

    stream: str
    budget: float
    calibrated: bool


class Look(msgspec.Struct, frozen=True):
    """At one moment: what was reported, and the error of all events of the same stretch."""

    ece: float
    lower: float
    upper: float
    binned: float
    truth: float


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What one replay showed.

    Attributes
    ----------
    ece, by_mass
        Over all events, in bins of equal width and of equal mass.
    phases
        Of each fifth of the stream.
    classwise
        Of each class's probability, in bins of equal width, mean over classes.
    gap
        Mean confidence less accuracy.
    weighted_f1, average_precision
        What the predictions are worth.
    """

    cell: Cell
    seed: int
    ece: float
    by_mass: float
    phases: tuple[float, ...]
    classwise: float
    gap: float
    weighted_f1: float
    average_precision: float | None
    looks: tuple[Look, ...]


def by_width(said: _Floats, came: _Floats) -> float:
    """Return the expected calibration error, in bins of equal width."""
    bins = np.minimum((said * BINS).astype(int), BINS - 1)
    return float(np.abs(np.bincount(bins, said - came, BINS)).sum() / max(len(said), 1))


def by_mass(said: _Floats, came: _Floats) -> float:
    """Return the expected calibration error, in bins that hold about as many events each."""
    excess = (said - came)[np.argsort(said, kind="stable")]
    return float(sum(abs(part.sum()) for part in np.array_split(excess, BINS)) / len(said))


def play(cell: Cell, seed: int, limit: int | None = None) -> Run:
    """Replay once; `limit` plays fewer events."""
    most, time = STREAMS[cell.stream]
    config = Config(
        learner=LearnerConfig(calibrate=cell.calibrated, seed=seed),
        gate=GateConfig(budget=cell.budget, salt=seed),
        annotator=AnnotatorConfig(seed=seed),
        source=SourceConfig(time=time),
    )
    path = str(recorded_stream(cell.stream))
    source = open_source(path, config.source, limit=limit or most)
    decisions, training = io.BytesIO(), io.BytesIO()
    report = Replay(config, decisions=decisions, training=training).run(source)
    decode = msgspec.json.Decoder(Prediction).decode
    offsets: list[int] = []
    confidence: list[float] = []
    right: list[bool] = []
    of_classes: dict[str, tuple[list[float], list[bool]]] = {}
    for row, line in zip(source.rows(), decisions.getvalue().splitlines(), strict=True):
        decided = decode(line)
        # One class alone is certain by definition.
        if decided.prediction is None or len(decided.probabilities) < 2:
            continue
        offsets.append(decided.offset)
        confidence.append(decided.probabilities[decided.prediction])
        right.append(decided.prediction == row.truth)
        for name, p in decided.probabilities.items():
            said, came = of_classes.setdefault(name, ([], []))
            said.append(p)
            came.append(name == row.truth)
    m, c = np.array(confidence), np.array(right, np.float64)
    parts = zip(np.array_split(m, PHASES), np.array_split(c, PHASES), strict=True)
    return Run(
        cell=cell,
        seed=seed,
        ece=by_width(m, c),
        by_mass=by_mass(m, c),
        phases=tuple(by_width(said, came) for said, came in parts),
        classwise=statistics.fmean(
            by_width(np.array(said), np.array(came, np.float64))
            for said, came in of_classes.values()
        ),
        gap=float((m - c).mean()),
        weighted_f1=report.metrics.weighted_f1 or 0.0,
        average_precision=report.metrics.average_precision,
        looks=look(training.getvalue().splitlines()[:-1], np.array(offsets), m, c),
    )


def look(log: list[bytes], offsets: NDArray[np.int_], m: _Floats, c: _Floats) -> tuple[Look, ...]:
    """Fold a training log's reliability, and compare it with all events now and then.

    Parameters
    ----------
    offsets, m, c
        Of each event: offset, confidence, whether it was predicted right.
    """
    reliability = Reliability()
    explored: list[int] = []
    looks: list[Look] = []
    every = (int(offsets[-1]) + 1) // LOOKS
    for line in log:
        record = decode_training(line)
        if not isinstance(record, Labelled):
            continue
        reliability.take(record)
        if not record.explored or record.prediction is None:
            continue
        explored.append(record.offset)
        if record.offset < (len(looks) + 1) * every:
            continue
        found = reliability.calibration()
        begin = 0 if found.labels == len(explored) else explored[-found.labels]
        stretch = (offsets >= begin) & (offsets <= record.offset)
        truth = by_width(m[stretch], c[stretch])
        looks.append(Look(found.ece or 0.0, found.lower, found.upper, found.binned or 0.0, truth))
    return tuple(looks)


def table(runs: list[Run]) -> list[dict[str, Any]]:
    """Sum up each cell."""
    found = []
    for cell, group in itertools.groupby(sorted(runs, key=_order), key=lambda run: run.cell):
        mine = list(group)
        looks = [one for run in mine for one in run.looks]
        precisions = [r.average_precision for r in mine if r.average_precision is not None]
        found.append(
            {
                **msgspec.structs.asdict(cell),
                "runs": len(mine),
                "ece": statistics.fmean(run.ece for run in mine),
                "by_mass": statistics.fmean(run.by_mass for run in mine),
                "phases": statistics.fmean(statistics.fmean(run.phases) for run in mine),
                "classwise": statistics.fmean(run.classwise for run in mine),
                "gap": statistics.fmean(run.gap for run in mine),
                "weighted_f1": statistics.fmean(run.weighted_f1 for run in mine),
                "average_precision": _mean(precisions),
                "looks": len(looks),
                "held": _mean([float(o.lower <= o.truth <= o.upper) for o in looks]),
                "too_high": _mean([float(o.lower > o.truth) for o in looks]),
                "estimate_bias": _mean([o.ece - o.truth for o in looks]),
                "binned_bias": _mean([o.binned - o.truth for o in looks]),
            }
        )
    return found


def _order(run: Run) -> tuple[Any, ...]:
    return (*msgspec.structs.astuple(run.cell), run.seed)


def _mean(values: list[float]) -> float | None:
    return statistics.fmean(values) if values else None


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Hold the table against what it is to show, for each budget."""
    by_cell = {(row["stream"], row["budget"], row["calibrated"]): row for row in rows}
    budgets = {}
    for budget in sorted({row["budget"] for row in rows}):
        rises = {
            name: by_cell[name, budget, True]["ece"] - by_cell[name, budget, False]["ece"]
            for name in STREAMS
            if {(name, budget, True), (name, budget, False)} <= by_cell.keys()
        }
        falls = sum(rise <= 0.0 for rise in rises.values())
        fine = all(rise <= MOST_RISE for rise in rises.values())
        missing = len(STREAMS) - len(rises)
        budgets[f"{budget:g}"] = {
            "rises": rises,
            "falls": falls,
            "met": fine and falls + missing >= LEAST_FALLS,
        }
    return {"budgets": budgets, "cells": rows}


@click.command(help=__doc__)
@grid_options(3, "Two streams of 10,000 events, one seed, 5 %.")
@click.option("--stream", "only", multiple=True, type=click.Choice(tuple(STREAMS)))
def main(
    seeds: int, quick: bool, only: tuple[str, ...], out: Path | None, jobs: int, as_json: bool
) -> None:
    """Run the grid."""
    budgets: tuple[float, ...] = BUDGETS
    names, limit = only or tuple(STREAMS), None
    if quick:
        if out is not None:
            raise click.UsageError("--quick plays parts of streams; they are not kept in --out")
        seeds, budgets, limit = 1, (0.05,), 10_000
        names = only or ("elec", "occupancy")
    grid = [Cell(*cell) for cell in itertools.product(names, budgets, (True, False))]
    runs = run_grid(
        play,
        [(cell, seed, limit) for seed in range(seeds) for cell in grid],
        type=Run,
        task_of=lambda run: (run.cell, run.seed, limit),
        out=out,
        jobs=jobs,
    )
    found = summary(table(runs))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for row in found["cells"]:
        click.echo(
            f"{row['stream']:17} {row['budget']:4.0%} "
            f"{'calibrated' if row['calibrated'] else 'as it is':10}  ece {row['ece']:.4f} "
            f"by mass {row['by_mass']:.4f} phases {row['phases']:.4f} classwise "
            f"{row['classwise']:.4f} gap {row['gap']:+.4f}  F1 {row['weighted_f1']:.4f} AP "
            f"{_told(row['average_precision'])}  reported: held {_told(row['held'])} of "
            f"{row['looks']}, bias {_told(row['estimate_bias'])} (binned "
            f"{_told(row['binned_bias'])})"
        )
    click.echo(json.dumps(found["budgets"]))


def _told(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


if __name__ == "__main__":
    run_as_module(__file__)
