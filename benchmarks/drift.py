"""How soon drift is found, how often it is found where there is none, and whether responding helps.

Detection: replays at a budget of 5 %, answers at once, with the default configuration but for
``learner.on_drift = "report"``. A drift counts as answered by an alarm, of residuals or
errors, within 2,000 events; alarms by features are counted apart, since nothing follows from
them. On sea (abrupt drifts at rows 12,500, 25,000 and 37,500) and on generated streams that drift
at the same rows: ``offset`` (five normal features, a linear boundary that moves by so many
standard deviations), ``turn`` (it turns by so many radians), ``centre`` (four classes, one of
whose centres moves). Alarms are false on rows in shuffled order (sea, elec) and on ``still``,
generated without drift; a rate is per 50,000 events. Where elec really drifts is not known: its
alarms are listed and not judged.

Response: the same replays, but after each alarm, by residuals or errors,

- ``burst``: for 2,000 events the policy asks while it has tokens, whatever the scores
  (``gate.on_drift``);
- ``explore``: for 2,000 events nine tenths of the budget go to exploration, instead of half
  (``gate.on_drift``);
- ``forget``: rehearsal memories are emptied (``learner.on_drift``, the default).

Compared with no response by weighted F1 over the 5,000 events after each drift (elec: over the
whole stream), mean over drifts, paired over seeds, with a bootstrap interval of 95 %. No
response raises the budget. Seeds key what is asked and how rows are shuffled or generated. Results
go to ``--out`` line by line; what it holds is not run again.
"""

from __future__ import annotations

import itertools
import json
import math
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

import click
import msgspec
import numpy as np
from _common import recorded_stream, run_as_module
from _grid import grid_options, run_grid
from numpy.typing import NDArray

from stream_al import Config, Engine, Event, GateConfig, Label, LearnerConfig, SourceConfig
from stream_al.learner.drift import Alarm
from stream_al.records import Features
from stream_al.replay.bootstrap import paired_difference
from stream_al.replay.sources import Row, open_source
from stream_al.replay.tally import Confusion, weighted_f1

DRIFTING = ("sea", "offset:0.3", "offset:0.5", "offset:1", "turn:0.5", "turn:1", "centre:3")
CALM = ("sea-shuffled", "elec-shuffled", "still")
RESPONSES = ("burst", "explore", "forget")
RESPONDING = ("sea", "offset:0.5", "turn:1", "elec")
DRIFTS = (12_500, 25_000, 37_500)
EVENTS = 50_000
BUDGET = 0.05
REACH, AFTER = 2_000, 5_000

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What one replay showed.

    Attributes
    ----------
    alarms
        Cause, offset and detail of each.
    after
        Weighted F1 over the events after each drift; over all events where none is known.
    """

    stream: str
    response: str
    seed: int
    events: int
    alarms: list[tuple[str, int, str]]
    after: list[float]


def rows_of(stream: str, seed: int) -> list[Row]:
    """Return a recorded stream, or generate one."""
    name, _, size = stream.partition(":")
    if name in ("sea", "elec", "sea-shuffled", "elec-shuffled"):
        path = str(recorded_stream(name.removesuffix("-shuffled")))
        rows = list(open_source(path, SourceConfig()).rows())
        if not name.endswith("shuffled"):
            return rows
        order = np.random.default_rng(seed).permutation(len(rows))
        return [_row(i, rows[j].event.features, rows[j].truth) for i, j in enumerate(order)]
    rng = np.random.default_rng([seed, 77])
    xs, classes = (_centres if name == "centre" else _boundary)(rng, name, float(size or 0.0))
    return [
        _row(i, {f"x{j}": value for j, value in enumerate(x)}, str(k))
        for i, (x, k) in enumerate(zip(xs.tolist(), classes.tolist(), strict=True))
    ]


def _row(offset: int, features: Features, truth: str) -> Row:
    return Row(event=Event(offset=offset, features=features), truth=truth, line=offset + 1)


def _parts() -> Iterator[tuple[int, slice]]:
    ends = (0, *DRIFTS, EVENTS)
    for number, (begin, end) in enumerate(itertools.pairwise(ends)):
        yield number, slice(begin, end)


def _boundary(rng: np.random.Generator, name: str, size: float) -> tuple[Floats, Ints]:
    xs = rng.normal(size=(EVENTS, 5))
    normal, offset = _unit(rng.normal(size=5)), 0.0
    classes = np.empty(EVENTS, int)
    for number, part in _parts():
        if number and name == "offset":
            offset += size if number % 2 else -size
        elif number and name == "turn":
            other = rng.normal(size=5)
            other = _unit(other - (other @ normal) * normal)
            normal = math.cos(size) * normal + math.sin(size) * other
        n = part.stop - part.start
        above = xs[part] @ normal - offset + 0.3 * rng.normal(size=n) > 0.0
        classes[part] = above ^ (rng.random(n) < 0.05)
    return xs, classes


def _centres(rng: np.random.Generator, name: str, size: float) -> tuple[Floats, Ints]:  # noqa: ARG001
    xs, centres = rng.normal(size=(EVENTS, 5)), 1.3 * rng.normal(size=(4, 5))
    classes = rng.integers(4, size=EVENTS)
    for number, part in _parts():
        if number:
            centres[rng.integers(4)] += size * _unit(rng.normal(size=5))
        xs[part] += centres[classes[part]]
    return xs, classes


def _unit(v: Floats) -> Floats:
    return np.asarray(v / np.linalg.norm(v))


class Watched:
    """An engine that responds to drift, and the alarms that it raised.

    Parameters
    ----------
    response
        One of `RESPONSES`, or ``none``.
    seed
        Keys what is asked.
    """

    def __init__(self, response: str, seed: int) -> None:
        gate = GateConfig(budget=BUDGET, salt=seed)
        if response == "burst" or response == "explore":
            gate = msgspec.structs.replace(gate, on_drift=response)
        on_drift: Literal["forget", "report"] = "forget" if response == "forget" else "report"
        self._engine = Engine(Config(gate=gate, learner=LearnerConfig(on_drift=on_drift)))
        self.alarms: list[Alarm] = []

    def step(self, row: Row) -> str | None:
        """Decide about an event, learn its answer if asked; returns the prediction."""
        engine = self._engine
        decision = engine.decide_one(row.event)
        if decision.request is not None:
            engine.learn_one(Label(request_id=decision.request.request_id, label=row.truth))
        if decision.request is not None or decision.observed is not None:
            found = engine.fold.monitor.drift
            fresh = sum(found.counts.values()) - len(self.alarms)
            self.alarms += found.alarms[len(found.alarms) - fresh :]
        return decision.prediction.prediction


def play(stream: str, response: str, seed: int) -> Run:
    """Replay once, responding."""
    rows, watched = rows_of(stream, seed), Watched(response, seed)
    known = stream not in CALM and stream != "elec"
    spans = [(drift, drift + AFTER) for drift in DRIFTS] if known else [(0, len(rows))]
    confusions: list[Confusion] = [defaultdict(lambda: defaultdict(int)) for _ in spans]
    # Detection looks at whole streams; a response has been judged where the last span ends.
    events = len(rows) if response == "none" else spans[-1][1]
    for i, row in enumerate(rows[:events]):
        prediction = watched.step(row)
        for (begin, end), confusion in zip(spans, confusions, strict=True):
            if begin <= i < end:
                confusion[row.truth][prediction] += 1
    return Run(
        stream=stream,
        response=response,
        seed=seed,
        events=events,
        alarms=[(alarm.cause, alarm.offset, alarm.detail) for alarm in watched.alarms],
        after=[weighted_f1(confusion) for confusion in confusions],
    )


def summary(runs: list[Run]) -> dict[str, Any]:
    """Gather detection, false alarms, and what responses gained."""
    plain = {
        stream: sorted((r for r in runs if r.stream == stream and r.response == "none"), key=_seed)
        for stream in (*DRIFTING, *CALM, "elec")
    }
    responses: dict[str, Any] = {}
    for stream in RESPONDING:
        base = {run.seed: run for run in plain[stream]}
        for response in RESPONSES:
            mine = [r for r in runs if (r.stream, r.response) == (stream, response)]
            pairs = [(run.after, base[run.seed].after) for run in mine if run.seed in base]
            if pairs:
                found = paired_difference(
                    [statistics.fmean(after) for after, _ in pairs],
                    [statistics.fmean(before) for _, before in pairs],
                )
                responses.setdefault(stream, {})[response] = msgspec.structs.asdict(found) | {
                    "f1": statistics.fmean(statistics.fmean(after) for after, _ in pairs),
                    "f1_without": statistics.fmean(statistics.fmean(b) for _, b in pairs),
                    "by_drift": [
                        statistics.fmean(after[i] - before[i] for after, before in pairs)
                        for i in range(len(pairs[0][0]))
                    ],
                }
    return {
        "detection": {s: _detected(plain[s]) for s in DRIFTING if plain[s]},
        "false_alarms": {s: _rates(plain[s]) for s in CALM if plain[s]},
        "elec": _rates(plain["elec"]) if plain["elec"] else None,
        "responses": responses,
    }


def _seed(run: Run) -> int:
    return run.seed


def _detected(runs: list[Run]) -> dict[str, Any]:
    delays: list[list[int]] = [[], [], []]
    others = 0
    for run in runs:
        calls = [offset for cause, offset, _ in run.alarms if cause != "features"]
        for drift, found in zip(DRIFTS, delays, strict=True):
            found += [offset - drift for offset in calls if 0 <= offset - drift < REACH][:1]
        others += sum(not any(0 <= o - drift < AFTER for drift in DRIFTS) for o in calls)
    return {
        "runs": len(runs),
        "answered": [len(found) / len(runs) for found in delays],
        "median_delay": [statistics.median(found) if found else None for found in delays],
        "elsewhere_per_run": others / len(runs),
        **_rates(runs),
    }


def _rates(runs: list[Run]) -> dict[str, Any]:
    events = sum(run.events for run in runs)
    causes = [cause for run in runs for cause, _, _ in run.alarms]
    rates = {
        cause: causes.count(cause) * EVENTS / events for cause in ("residual", "error", "features")
    }
    calls = [sum(cause != "features" for cause, _, _ in run.alarms) for run in runs]
    return {"runs": len(runs), "per_50000": rates, "calls_per_run": calls}


def tasks(seeds: int, quick: bool) -> list[tuple[str, str, int]]:
    """List what is to be run: stream, response, seed."""
    if quick:
        return [
            (stream, response, seed)
            for stream, response in (("offset:0.5", "none"), ("offset:0.5", "forget"))
            for seed in range(min(seeds, 2))
        ]
    named = [(stream, "none") for stream in (*DRIFTING, *CALM, "elec")]
    named += [(stream, response) for stream in RESPONDING for response in RESPONSES]
    return [(stream, response, seed) for stream, response in named for seed in range(seeds)]


@click.command(help=__doc__.replace("\n\n- ", "\n\n\b\n- "))
@grid_options(20, "One generated stream, one response, two seeds.")
@click.option("--stream", "only", multiple=True, type=click.Choice((*DRIFTING, *CALM, "elec")))
@click.option("--response", "answers", multiple=True, type=click.Choice(("none", *RESPONSES)))
def main(
    seeds: int,
    quick: bool,
    only: tuple[str, ...],
    answers: tuple[str, ...],
    out: Path | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Run and print."""
    wanted = [
        task
        for task in tasks(seeds, quick)
        if (not only or task[0] in only) and (not answers or task[1] in answers)
    ]
    runs = run_grid(
        play,
        wanted,
        type=Run,
        task_of=lambda run: (run.stream, run.response, run.seed),
        out=out,
        jobs=jobs,
    )
    found = summary(runs)
    click.echo(json.dumps(found, indent=2) if as_json else text(found))


def text(found: dict[str, Any]) -> str:
    """Lay the summary out for reading."""
    lines = []
    for stream, row in found["detection"].items():
        shares = " / ".join(f"{share:.2f}" for share in row["answered"])
        delays = " / ".join("none" if d is None else f"{d:.0f}" for d in row["median_delay"])
        lines.append(
            f"{stream:14} {row['runs']:3} runs  answered within {REACH}: {shares}  median delay "
            f"{delays}  elsewhere {row['elsewhere_per_run']:.2f} a run  {_told(row)}"
        )
    for stream, row in found["false_alarms"].items():
        lines.append(f"{stream:14} {row['runs']:3} runs  false alarms  {_told(row)}")
    if found["elec"]:
        lines.append(f"{'elec':14} {found['elec']['runs']:3} runs  alarms  {_told(found['elec'])}")
    for stream, by_response in found["responses"].items():
        for response, row in by_response.items():
            limits = (
                "no interval" if row["low"] is None else f"[{row['low']:+.4f}, {row['high']:+.4f}]"
            )
            parts = ", ".join(f"{gain:+.4f}" for gain in row["by_drift"])
            lines.append(
                f"{stream:14} {row['seeds']:3} seeds  {response:13} weighted F1 {row['f1']:.4f}, "
                f"without {row['f1_without']:.4f}: {row['mean']:+.4f} {limits}  by drift {parts}"
            )
    return "\n".join(lines)


def _told(row: dict[str, Any]) -> str:
    return "  ".join(f"{cause} {rate:.2f}" for cause, rate in row["per_50000"].items()) + (
        " per 50,000 events"
    )


if __name__ == "__main__":
    run_as_module(__file__)
