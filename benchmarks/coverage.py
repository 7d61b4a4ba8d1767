"""How true the accuracy is that the fold reports, and whether its limits hold at all times.

Each run replays a stream with the default configuration and then reads its training log again,
as a replica would. Whenever a block of exploration is complete up to the watermark, the limits
are compared with the truth: the share of right predictions among all events up to there, which a
recorded stream knows. A run is covered if the limits held at every such moment.

Beside it, at the end of each run: the half-width, over that of the plain mean over explored
events (the same form of limits around the mean so far); and, at every tenth block, the error of
the rolling estimate beside that of the naive one, the share of right predictions among all
labelled events of the same window.

The grid: 6 streams, budgets of 1, 5 and 10 %, answers at once and 1,000 events late, all
answered or 20 % not, at random (``missing``); 20 seeds, which key what is explored. With
``--selective`` labels are missing by whether the prediction was right (of right ones 85 % come,
of wrong ones 60 %), which no estimate can know: reported as it is, and no part of the grid.
Results go to ``--out`` line by line; what it holds is not run again.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
from _common import recorded_stream, run_as_module
from _grid import grid_options, run_grid

from stream_al import AnnotatorConfig, Config, GateConfig, SourceConfig
from stream_al import training as records
from stream_al.keyed import uniform
from stream_al.learner.accuracy import Accuracy
from stream_al.learner.interval import radius
from stream_al.records import Prediction
from stream_al.replay.runner import Replay
from stream_al.replay.sources import open_source
from stream_al.training import Closed, Labelled
from stream_al.voiding import blank

STREAMS = {
    "elec": None,
    "sea": None,
    "occupancy": None,
    "bank_marketing": None,
    "kdd99_rare": None,
    "fraud_handbook_a": 100_000,
}
BUDGETS = (0.01, 0.05, 0.1)
DELAYS = (0, 1000)
MISSING = (0.0, 0.2)
ALPHA = 0.05
LEAST_BLOCKS = 500
ANSWERED_RIGHT, ANSWERED_WRONG = 0.85, 0.6
EVERY = 10


class Cell(msgspec.Struct, frozen=True):
    """What is the same in all runs that are counted together."""

    stream: str
    budget: float
    delay: int
    missing: float
    selective: bool = False


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What one replay showed.

    Attributes
    ----------
    covered
        Whether the limits held at the end of every block.
    checked, blocks
        Moments looked at; blocks up to the watermark at the end.
    width, plain_width
        Half-widths at the end, of the estimate and of the plain mean over explored events.
    error
        Estimate less truth at the end; None without one.
    rolling, naive
        Mean error and root mean square error over windows; None without a whole window.
    windows, windows_covered
        Windows looked at; those whose pointwise limits held.
    """

    cell: Cell
    seed: int
    covered: bool
    checked: int
    blocks: int
    width: float
    plain_width: float
    error: float | None
    rolling: tuple[float, float] | None
    naive: tuple[float, float] | None
    windows: int
    windows_covered: int


class Plain:
    """The mean over explored events alone, with limits of the same form around it."""

    def __init__(self) -> None:
        self.right = self.count = 0
        self._squares = 0.0

    def add(self, ended: Labelled) -> None:
        """Take in an answered explored event."""
        # The mean of those before is known before this one is drawn.
        guess = self.right / self.count if self.count else 0.5
        right = ended.label == ended.prediction
        self._squares += (right - guess) ** 2
        self.right += right
        self.count += 1

    @property
    def width(self) -> float:
        """Half-width at this moment."""
        if not self.count:
            return 0.5
        mean = self.right / self.count
        reach = radius({1.0: self._squares}, 1.0, ALPHA / 2) / self.count
        return (min(1.0, mean + reach) - max(0.0, mean - reach)) / 2


def play(cell: Cell, seed: int) -> Run:
    """Replay once, and compare with the truth."""
    config = Config(
        gate=GateConfig(budget=cell.budget, salt=seed),
        annotator=AnnotatorConfig(
            delay=str(cell.delay), abstain=0.0 if cell.selective else cell.missing, seed=seed
        ),
    )
    path = str(recorded_stream(cell.stream))
    source = open_source(path, SourceConfig(), limit=STREAMS[cell.stream])
    decisions, training = io.BytesIO(), io.BytesIO()
    Replay(config, decisions=decisions, training=training).run(source)
    decode = msgspec.json.Decoder(Prediction).decode
    right, known = [0], [0]
    for row, line in zip(source.rows(), decisions.getvalue().splitlines(), strict=True):
        prediction = decode(line).prediction
        right.append(right[-1] + (prediction == row.truth))
        known.append(known[-1] + (prediction is not None))
    return judge(cell, seed, training.getvalue().splitlines()[:-1], right, known)


def judge(cell: Cell, seed: int, log: list[bytes], right: list[int], known: list[int]) -> Run:
    """Fold the accuracy from a training log, and compare it at the end of each block.

    Parameters
    ----------
    right, known
        Cumulative counts of right predictions and of predictions, before each offset.
    """
    accuracy, plain = Accuracy(), Plain()
    seen, checked, covered = 0, 0, True
    errors: list[tuple[float, float, bool]] = []
    estimate = accuracy.estimate(ALPHA)
    for line in log:
        record = records.decode_training(line)
        if not isinstance(record, Labelled | Closed):
            continue
        if cell.selective and isinstance(record, Labelled):
            record = _withheld(record, seed)
        if isinstance(record, Labelled) and record.explored and record.prediction is not None:
            plain.add(record)
        accuracy.take(record)
        (offset,) = accuracy.watermark.values()
        if offset == seen or not known[offset]:
            continue
        seen, checked = offset, checked + 1
        estimate = accuracy.estimate(ALPHA)
        truth = right[offset] / known[offset]
        covered = covered and estimate.lower <= truth <= estimate.upper
        if checked % EVERY:
            continue
        rolling = accuracy.rolling()
        (begun,) = rolling.begin.values()
        if rolling.value is None or rolling.naive is None or not begun:
            continue
        window = known[offset] - known[begun]
        local = (right[offset] - right[begun]) / window
        held = rolling.lower is not None and rolling.upper is not None
        inside = held and rolling.lower <= local <= rolling.upper  # type: ignore[operator]
        errors.append((rolling.value - local, rolling.naive - local, bool(inside)))
    error = None
    if estimate.value is not None:
        error = estimate.value - right[seen] / known[seen]
    return Run(
        cell=cell,
        seed=seed,
        covered=covered,
        checked=checked,
        blocks=estimate.blocks,
        width=(estimate.upper - estimate.lower) / 2,
        plain_width=plain.width,
        error=error,
        rolling=_spread([error for error, _, _ in errors]),
        naive=_spread([error for _, error, _ in errors]),
        windows=len(errors),
        windows_covered=sum(inside for _, _, inside in errors),
    )


def _withheld(record: Labelled, seed: int) -> Labelled | Closed:
    answered = ANSWERED_RIGHT if record.label == record.prediction else ANSWERED_WRONG
    if uniform("withheld", seed, record.request_id) < answered:
        return record
    left = blank(record)
    return record if left is None else left


def _spread(errors: list[float]) -> tuple[float, float] | None:
    if not errors:
        return None
    return statistics.fmean(errors), math.sqrt(statistics.fmean(e * e for e in errors))


def cells(selective: bool) -> Iterator[Cell]:
    """Return the grid; with `selective`, what no estimate can do."""
    for stream, budget, delay in itertools.product(STREAMS, BUDGETS, DELAYS):
        if selective:
            yield Cell(stream, budget, delay, 0.0, selective)
        else:
            yield from (Cell(stream, budget, delay, missing) for missing in MISSING)


def table(runs: list[Run]) -> list[dict[str, Any]]:
    """Sum up each cell."""
    found = []
    for cell, group in itertools.groupby(sorted(runs, key=_order), key=lambda run: run.cell):
        mine = list(group)
        rolling = [run.rolling for run in mine if run.rolling]
        naive = [run.naive for run in mine if run.naive]
        ends = [run.error for run in mine if run.error is not None]
        blocks = statistics.fmean(run.blocks for run in mine)
        found.append(
            {
                **msgspec.structs.asdict(cell),
                "runs": len(mine),
                "covered": sum(run.covered for run in mine),
                "blocks": blocks,
                "width": statistics.fmean(run.width for run in mine),
                "width_ratio": statistics.fmean(run.width / run.plain_width for run in mine),
                "rmse_at_end": _rms(ends),
                "bias_at_end": _mean(ends),
                "rolling_bias": _mean([bias for bias, _ in rolling]),
                "rolling_rmse": _rms([rmse for _, rmse in rolling]),
                "naive_bias": _mean([bias for bias, _ in naive]),
                "naive_rmse": _rms([rmse for _, rmse in naive]),
                "windows_covered": _mean(
                    [run.windows_covered / run.windows for run in mine if run.windows]
                ),
            }
        )
    return found


def _order(run: Run) -> tuple[Any, ...]:
    return (*msgspec.structs.astuple(run.cell), run.seed)


def _mean(values: list[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _rms(values: list[float]) -> float | None:
    return math.sqrt(statistics.fmean(v * v for v in values)) if values else None


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Hold the table against what it is to show."""
    streams = {}
    for name in STREAMS:
        mine = [row for row in rows if row["stream"] == name]
        if mine:
            runs = sum(row["runs"] for row in mine)
            streams[name] = sum(row["covered"] for row in mine) / runs
    wide = [row for row in rows if row["blocks"] >= LEAST_BLOCKS]
    return {
        "coverage": streams,
        "coverage_met": all(share >= 1 - ALPHA for share in streams.values()),
        "worst_width_ratio": max((row["width_ratio"] for row in wide), default=None),
        "naive_better": [
            {key: row[key] for key in ("stream", "budget", "delay", "missing")}
            for row in rows
            if row["naive_rmse"] is not None and row["naive_rmse"] < row["rolling_rmse"]
        ],
        "cells": rows,
    }


@click.command(help=__doc__)
@grid_options(20, "Two streams, two seeds, answers late and missing.")
@click.option("--selective", is_flag=True, help="Hard events go unanswered.")
@click.option("--stream", "only", multiple=True, type=click.Choice(tuple(STREAMS)))
def main(
    seeds: int,
    quick: bool,
    selective: bool,
    only: tuple[str, ...],
    out: Path | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Run the grid."""
    grid = [cell for cell in cells(selective) if not only or cell.stream in only]
    if quick:
        seeds = min(seeds, 2)
        grid = [c for c in grid if c.stream in ("elec", "occupancy") and c.delay and c.missing]
    runs = run_grid(
        play,
        [(cell, seed) for cell in grid for seed in range(seeds)],
        type=Run,
        task_of=lambda run: (run.cell, run.seed),
        out=out,
        jobs=jobs,
    )
    found = summary(table(runs))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for row in found["cells"]:
        click.echo(
            f"{row['stream']:17} {row['budget']:4.0%} delay {row['delay']:4} missing "
            f"{row['missing']:.0%}  covered {row['covered']}/{row['runs']}  blocks "
            f"{row['blocks']:6.0f}  width {row['width']:.3f} ({row['width_ratio']:.2f} of plain)  "
            f"bias {_told(row['bias_at_end'])}  rolling rmse {_told(row['rolling_rmse'])} naive "
            f"{_told(row['naive_rmse'])} (bias {_told(row['naive_bias'])})"
        )
    click.echo(json.dumps({key: value for key, value in found.items() if key != "cells"}))


def _told(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    run_as_module(__file__)
