"""How true recall, precision, F1 and average precision of a rare class are, as the fold has them.

Each run replays a stream with the default configuration and reads the ended requests of its
training log in the order of the stream. The truth is that of all predictions, which a recorded
stream knows. The limits of recall, precision and F1 are looked at after every block of
exploration (*held*: at all of them), everything else at ten points, tenths of the blocks: error
and limits of the estimate, and the errors of four others:

- ``naive``: over all labelled events, as they are;
- ``slice``: over the explored events alone;
- ``weighted``: all answers, each for 1 / propensity events (Horvitz and Thompson);
- ``difference``: the model's probabilities of all events, corrected by the weighted answers'
  excess over them. It says nothing of average precision.

Where a figure is not defined (nothing predicted as the class, no positive known) it is left out
of the means; ``share`` is the part of runs that have one. Cells: fraud_handbook_a, its first
100,000 rows, with budgets of 2 and 5 %, and kdd99_rare with 1 and 5 %; all requests answered, or
20 % not, at random. With ``--whole`` instead: all 500,000 rows of fraud_handbook_a.

Results go to ``--out`` line by line; what it holds is not run again. ``--replays`` names a folder
that keeps replays, of which only the estimates are made anew.
"""

from __future__ import annotations

import io
import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import click
import msgspec
import numpy as np
from _common import recorded_stream, run_as_module
from _grid import grid_options, run_grid
from numpy.typing import NDArray

from stream_al import Config, GateConfig, SourceConfig
from stream_al.keyed import uniform
from stream_al.learner.blocks import Counted
from stream_al.learner.rare import ClassQualities, ClassQuality
from stream_al.learner.weighted import count_limits
from stream_al.records import Block, Prediction, Tally, encode
from stream_al.replay.runner import Replay
from stream_al.replay.sources import open_source
from stream_al.training import Closed, Labelled, decode_training

Ended: TypeAlias = Labelled | Closed
Column: TypeAlias = NDArray[Any]

RARE = "1"
ALPHA = 0.05
FIGURES = ("recall", "precision", "f1", "average_precision")
OTHERS = ("naive", "slice", "weighted", "difference")
POINTS = 10


class Cell(msgspec.Struct, frozen=True):
    """What is the same in all runs that are counted together; rows of the stream, 0 for all."""

    stream: str
    rows: int
    budget: float
    missing: float


GRID = [
    Cell(stream, rows, budget, missing)
    for stream, rows, budgets in (
        ("fraud_handbook_a", 100_000, (0.02, 0.05)),
        ("kdd99_rare", 0, (0.01, 0.05)),
    )
    for budget in budgets
    for missing in (0.0, 0.2)
]
WHOLE = [Cell("fraud_handbook_a", 0, budget, 0.0) for budget in (0.02, 0.05)]


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """What was known at one point of a run: by figure, None where it is not defined.

    Attributes
    ----------
    number
        Tenths of the blocks that are over.
    drawn_positives
        As `stream_al.learner.rare.ClassQuality` has it.
    truth, estimates, others
        Of all events; value and limits; values by the other ways.
    slice_limits
        Limits from the explored events alone, of the same form as the estimate's.
    """

    number: int
    drawn_positives: int
    truth: dict[str, float | None]
    estimates: dict[str, tuple[float, float, float] | None]
    others: dict[str, dict[str, float | None]]
    slice_limits: dict[str, tuple[float, float]]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What one replay showed.

    Attributes
    ----------
    blocks
        Of exploration.
    held
        By figure, whether the limits held after every block.
    """

    cell: Cell
    seed: int
    blocks: int
    held: dict[str, bool]
    points: list[Point]


class Recording:
    """All predictions of a replay with the truth, and the requests that ended.

    Attributes
    ----------
    truth, predicted, probability
        Shape (events,): whether the event is of the rare class, whether it was predicted so
        (-1: no prediction), and the probability of it.
    ended
        In the order of requests.
    """

    def __init__(self, truth: Column, predicted: Column, probability: Column, log: bytes) -> None:
        self.truth, self.predicted, self.probability = truth, predicted, probability
        records = [decode_training(line) for line in log.splitlines()]
        ended = [record for record in records if isinstance(record, Labelled | Closed)]
        self.ended: list[Ended] = sorted(ended, key=lambda record: record.request_no)


def record(cell: Cell, seed: int, folder: Path | None) -> Recording:
    """Replay, or find what an earlier replay left."""
    kept = None
    if folder is not None:
        kept = folder / f"{cell.stream}-{cell.rows}-{cell.budget}-{seed}.npz"
        if kept.exists():
            with np.load(kept) as held:
                return Recording(held["y"], held["g"], held["p"], held["log"].tobytes())
    config = Config(gate=GateConfig(budget=cell.budget, salt=seed))
    source = open_source(str(recorded_stream(cell.stream)), SourceConfig(), limit=cell.rows or None)
    decisions, training = io.BytesIO(), io.BytesIO()
    Replay(config, decisions=decisions, training=training).run(source)
    decode = msgspec.json.Decoder(Prediction).decode
    truth, predicted, probability = [], [], []
    for row, line in zip(source.rows(), decisions.getvalue().splitlines(), strict=True):
        made = decode(line)
        truth.append(row.truth == RARE)
        predicted.append(-1 if made.prediction is None else made.prediction == RARE)
        probability.append(made.probabilities.get(RARE, 0.0))
    lines = []
    for line in training.getvalue().splitlines()[:-1]:
        found = decode_training(line)
        if isinstance(found, Labelled):
            lines.append(encode(msgspec.structs.replace(found, features={})))
        elif isinstance(found, Closed):
            lines.append(line)
    y, g = np.array(truth, np.int8), np.array(predicted, np.int8)
    p, log = np.array(probability), b"\n".join(lines)
    if kept is not None:
        np.savez_compressed(kept, y=y, g=g, p=p, log=np.frombuffer(log, np.uint8))
    return Recording(y, g, p, log)


def play(cell: Cell, seed: int, folder: Path | None) -> Run:
    """Estimate along one replay, and compare with the truth."""
    recording = record(cell, seed, folder)
    ended = [_withheld(one, cell.missing, seed) for one in recording.ended]
    known = recording.predicted >= 0
    hits = np.cumsum(recording.truth * (recording.predicted == 1))
    positives = np.cumsum(recording.truth * known)
    predicted = np.cumsum(recording.predicted == 1)
    qualities = ClassQualities()
    taken: list[Ended] = []
    points: list[Point] = []
    held = dict.fromkeys(FIGURES[:3], True)
    blocks = [(block, list(group)) for block, group in itertools.groupby(ended, _block)]
    for i, ((_, requests), (following, _)) in enumerate(itertools.pairwise(blocks), 1):
        taken += requests
        for one in requests:
            qualities.take(Counted.of(one))
        quality = qualities.estimate([following.before], ALPHA).get(RARE)
        last = following.begin - 1
        truth = _scores(float(hits[last]), float(positives[last]), float(predicted[last]))
        if quality is not None:
            estimates = _estimates(quality)
            for name in held:
                at, limits = truth[name], estimates[name]
                if at is not None and limits is not None:
                    held[name] &= limits[1] <= at <= limits[2]
        number = i * POINTS // (len(blocks) - 1)
        if number > len(points):
            seen = known[: following.begin]
            truth["average_precision"] = average_precision(
                recording.truth[: following.begin][seen],
                recording.probability[: following.begin][seen],
                np.ones(int(seen.sum())),
            )
            points.append(
                Point(
                    number=number,
                    drawn_positives=quality.drawn_positives if quality else 0,
                    truth=truth,
                    estimates=_estimates(quality) if quality else dict.fromkeys(FIGURES),
                    others=_others(taken, following.before),
                    slice_limits=_slice_limits(taken),
                )
            )
    return Run(cell=cell, seed=seed, blocks=len(blocks) - 1, held=held, points=points)


def _block(ended: Ended) -> Block:
    if ended.block is None:
        raise AssertionError("the default configuration explores")
    return ended.block


def _withheld(ended: Ended, missing: float, seed: int) -> Ended:
    if isinstance(ended, Closed) or uniform("withheld", seed, ended.request_id) >= missing:
        return ended
    common = set(Closed.__struct_fields__) & set(Labelled.__struct_fields__)
    fields = {name: getattr(ended, name) for name in common}
    return Closed(**{**fields, "reason": "expired", "annotator": "", "answered_at": None})


def _estimates(quality: ClassQuality) -> dict[str, tuple[float, float, float] | None]:
    found: dict[str, tuple[float, float, float] | None] = {}
    for name in FIGURES:
        figure = getattr(quality, name)
        found[name] = None if figure is None else msgspec.structs.astuple(figure)
    return found


def _scores(hits: float, positives: float, predicted: float) -> dict[str, float | None]:
    return {
        "recall": min(1.0, hits / positives) if positives > 0.0 else None,
        "precision": min(1.0, hits / predicted) if predicted > 0.0 else None,
        "f1": 2.0 * hits / (positives + predicted) if positives + predicted > 0.0 else None,
    }


def _others(ended: list[Ended], tally: Tally) -> dict[str, dict[str, float | None]]:
    answers = [one for one in ended if isinstance(one, Labelled) and one.prediction is not None]
    y = np.array([one.label == RARE for one in answers], float)
    g = np.array([one.prediction == RARE for one in answers], float)
    p = np.array([one.probabilities.get(RARE, 0.0) for one in answers])
    explored = np.array([one.explored for one in answers], float)
    weights = 1.0 / np.array([one.propensity for one in answers])
    weights *= len(ended) / max(1, len(answers))
    count, confidence, mass = tally.classes.get(RARE, (0, 0.0, 0.0))
    found = {}
    for name, w in (("naive", np.ones(len(answers))), ("slice", explored), ("weighted", weights)):
        predicted = float(count) if name == "weighted" else float(w @ g)
        found[name] = _scores(float(w @ (y * g)), float(w @ y), predicted)
        found[name]["average_precision"] = average_precision(y[w > 0], p[w > 0], w[w > 0])
    hits = max(0.0, confidence + float(weights @ ((y - p) * g)))
    missed = max(0.0, mass - confidence + float(weights @ ((y - p) * (1.0 - g))))
    found["difference"] = {**_scores(hits, hits + missed, count), "average_precision": None}
    return found


def _slice_limits(ended: list[Ended]) -> dict[str, tuple[float, float]]:
    found = dict.fromkeys(((True, True), (True, False), (False, True)), 0)
    for one in ended:
        if isinstance(one, Labelled) and one.explored and one.prediction is not None:
            kind = one.prediction == RARE, one.label == RARE
            if kind in found:
                found[kind] += 1
    # The shares of alpha are the estimate's: found, falsely found, missed.
    (tp_low, tp_high), (fp_low, fp_high), (fn_low, fn_high) = (
        count_limits(count, ALPHA * share)
        for count, share in zip(found.values(), (0.25, 0.25, 0.5), strict=True)
    )
    return {
        "recall": (tp_low / (tp_low + fn_high), tp_high / (tp_high + fn_low)),
        "precision": (tp_low / (tp_low + fp_high), tp_high / (tp_high + fp_low)),
        "f1": (
            2.0 * tp_low / (2.0 * tp_low + fp_high + fn_high),
            2.0 * tp_high / (2.0 * tp_high + fp_low + fn_low),
        ),
    }


def average_precision(truth: Column, probability: Column, weights: Column) -> float | None:
    """Average precision with weights, tied probabilities as one threshold."""
    order = np.argsort(-probability, kind="stable")
    hits = np.cumsum((weights * truth)[order])
    if not len(hits) or not hits[-1]:
        return None
    ends = np.append(np.flatnonzero(np.diff(probability[order])), len(order) - 1)
    gained = np.diff(hits[ends], prepend=0.0)
    return float(gained @ (hits[ends] / np.cumsum(weights[order])[ends]) / hits[-1])


def table(runs: list[Run]) -> list[dict[str, Any]]:
    """Sum up each cell, at each point and over all ten."""
    rows = []
    for cell, group in itertools.groupby(sorted(runs, key=_order), key=lambda run: run.cell):
        mine = list(group)
        last = [run.points[-1] for run in mine]
        rows.append(
            {
                **msgspec.structs.asdict(cell),
                "runs": len(mine),
                "blocks": _mean([run.blocks for run in mine]),
                "drawn_positives": _mean([point.drawn_positives for point in last]),
                "figures": {
                    name: {
                        "held": _mean([run.held[name] for run in mine if name in run.held]),
                        "truth": _mean([point.truth[name] for point in last]),
                        "end": _summed(last, name),
                        "all_points": _summed([p for run in mine for p in run.points], name),
                        "points": [
                            _summed([run.points[i] for run in mine], name) for i in range(POINTS)
                        ],
                    }
                    for name in FIGURES
                },
            }
        )
    return rows


def _summed(points: list[Point], name: str) -> dict[str, Any]:
    errors, widths, inside = [], [], []
    for point in points:
        at, estimate = point.truth[name], point.estimates[name]
        if at is not None and estimate is not None:
            value, lower, upper = estimate
            errors.append(value - at)
            widths.append(upper - lower)
            inside.append(lower <= at <= upper)
    found: dict[str, Any] = {
        "share": len(errors) / len(points),
        "bias": _mean(errors),
        "rmse": _rms(errors),
        "covered": _mean(inside),
        "width": _mean(widths),
        "slice_width": _mean(
            [
                high - low
                for point in points
                if (name in point.slice_limits)
                for low, high in [point.slice_limits[name]]
                if point.truth[name] is not None and point.estimates[name] is not None
            ]
        ),
    }
    for other in OTHERS:
        misses = [
            told - at
            for point in points
            if (at := point.truth[name]) is not None
            and (told := point.others[other][name]) is not None
        ]
        found[other] = {
            "share": len(misses) / len(points),
            "bias": _mean(misses),
            "rmse": _rms(misses),
        }
    return found


def _order(run: Run) -> tuple[Any, ...]:
    return (*msgspec.structs.astuple(run.cell), run.seed)


def _mean(values: list[Any]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _rms(values: list[float]) -> float | None:
    return math.sqrt(float(np.mean(np.square(values)))) if values else None


def printed(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Lay the table out: at the end, and over all ten points."""
    for row in rows:
        yield (
            f"{row['stream']} {row['rows'] or 'all'} budget {row['budget']:.0%} missing "
            f"{row['missing']:.0%}: {row['runs']} runs, {row['blocks']:.0f} blocks, "
            f"{row['drawn_positives']:.1f} positives outside the picks"
        )
        for name, figure in row["figures"].items():
            held = _told(figure["held"])
            yield f"  {name}: truth {_told(figure['truth'])}, held {held}"
            for when in ("end", "all_points"):
                cell = figure[when]
                rivals = "  ".join(
                    f"{other} {_told(cell[other]['bias'], '+')} {_told(cell[other]['rmse'])}"
                    for other in OTHERS
                )
                yield (
                    f"    {when:10} share {cell['share']:.2f} bias {_told(cell['bias'], '+')} "
                    f"rmse {_told(cell['rmse'])} covered {_told(cell['covered'])} width "
                    f"{_told(cell['width'])}, slice {_told(cell['slice_width'])}  "
                    f"(bias, rmse: {rivals})"
                )


def _told(value: float | None, sign: str = "") -> str:
    return "none" if value is None else f"{value:{sign}.3f}"


@click.command(help=__doc__)
@grid_options(20, "kdd99_rare, its first 40,000 rows, one seed.")
@click.option("--whole", is_flag=True, help="All of fraud_handbook_a, in place of the grid.")
@click.option("--replays", type=click.Path(file_okay=False, path_type=Path), help="Kept here.")
def main(
    seeds: int,
    quick: bool,
    whole: bool,
    out: Path | None,
    replays: Path | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Run the cells."""
    grid = WHOLE if whole else GRID
    if quick:
        seeds, grid = 1, [Cell("kdd99_rare", 40_000, 0.05, missing) for missing in (0, 0.2)]
    if replays is not None:
        replays.mkdir(parents=True, exist_ok=True)
    runs = run_grid(
        play,
        [(cell, seed, replays) for seed in range(seeds) for cell in grid],
        type=Run,
        task_of=lambda run: (run.cell, run.seed, replays),
        out=out,
        jobs=jobs,
    )
    rows = table(runs)
    click.echo(json.dumps(rows, indent=2) if as_json else "\n".join(printed(rows)))


if __name__ == "__main__":
    run_as_module(__file__)
