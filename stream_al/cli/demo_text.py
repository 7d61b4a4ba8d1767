"""What the demo showed, for people."""

from __future__ import annotations

import math
import shlex
import textwrap
from pathlib import Path
from typing import TextIO

from stream_al.cli.demo_live import Look
from stream_al.cli.demo_runs import BUDGET, FRAUD, MANY, DemoRun
from stream_al.counted import counted
from stream_al.replay.prequential import Scores
from stream_al.replay.tally import ClassScores
from stream_al.replay.verify import Verification

__all__ = ["LiveTable", "demo_text", "verdict"]

_WIDTH = 79

_HEAD = f"""\
{"":25}{"labels":>7}{"average precision":>22}{"called fraud":>22}
{"":25}{"asked":>7}{"whole":>9}{"second half":>13}{"precision":>13}{"recall":>9}"""

_EVERY_S = 2.0
_LIVE_HEAD = (
    f"{'time':>7}{'fed':>10}{'predicted':>11}{'asked':>8}{'':>8}{'learnt':>9}{'right of asked':>17}"
)

_NEXT = f"""\
Where to go next
  your own stream (CSV, JSON Lines, Parquet, or - for standard input):
    stream-al replay YOUR.csv --label COLUMN --budget {BUDGET}
  two ways of asking, side by side, with the same answers:
    stream-al compare cards:10000 --budget {BUDGET} \\
        --arm 'default:' --arm 'random: --policy random'
  every setting, with its meaning and its default:
    stream-al config init --output stream-al.toml"""


class LiveTable:
    """Shows how the live run stands, a line about every two seconds.

    Parameters
    ----------
    stream
        Standard error.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown = float("-inf")

    def __call__(self, look: Look) -> None:
        """Show it, if it is time."""
        if not look.ended and look.seconds - self._shown < _EVERY_S:
            return
        if self._shown < 0:
            self._say(_LIVE_HEAD)
        self._shown = look.seconds
        asked = look.asked / look.predicted if look.predicted else 0.0
        accuracy = "-" if math.isnan(look.accuracy) else f"{look.accuracy:.3f}"
        self._say(
            f"{look.seconds:>5.0f} s{look.fed:>10,}{look.predicted:>11,}{look.asked:>8,}"
            f"{asked:>8.2%}{look.learnt:>9,}{accuracy:>17}"
        )

    def _say(self, line: str) -> None:
        self._stream.write(f"{line}\n")
        self._stream.flush()


def demo_text(
    ours: DemoRun,
    few: DemoRun,
    many: DemoRun,
    seed: int,
    seconds: float,
    checked: Verification,
    kept: Path | None,
) -> str:
    """Lay out the runs, what they say, and where to go next; 80 columns wide.

    Parameters
    ----------
    ours, few, many
        stream_al's run, and those of random asking with few and with many labels.
    seed
        Of all of them.
    seconds
        Wall time of all of them together, verification included.
    checked
        What verification found in the live run.
    kept
        Where its log stays, if it does.
    """
    events, frauds = ours.metrics.events, _fraud(ours).support
    spec, flag = (f":{seed}", f" --seed {seed}") if seed else ("", "")
    return "\n".join(
        [
            _wrapped(
                f"{events:,} generated card payments, {frauds:,} of them frauds "
                f"({frauds / events:.2%}) of kinds that come and go. Every payment is predicted; "
                "its label is learnt only if it was asked for. stream_al ran live: gate, ledger "
                "and annotator, joined by a log."
            ),
            "",
            _HEAD,
            *map(_row, (ours, few, many)),
            "",
            _wrapped(verdict(ours, many)),
            _wrapped(
                "Accuracy says little where frauds are this rare: who calls no payment a fraud is "
                f"right {1.0 - frauds / events:.1%} of the time."
            ),
            "",
            _wrapped(
                f"From the log alone, {checked.decisions:,} decisions and {checked.records:,} "
                "training records were recomputed: "
                f"{counted(checked.differences, 'difference')}. All took {seconds:.1f} s."
            ),
            *([] if kept is None else _kept(kept)),
            "",
            "The same stream without a log, with all its figures:",
            f"    stream-al replay cards:{events}{spec} --budget {BUDGET}{flag}",
            "",
            _NEXT,
        ]
    )


def _kept(kept: Path) -> list[str]:
    flags = f"--path {shlex.quote(str(kept))} --name demo"
    return [
        "",
        "Its log stays:",
        f"    stream-al tail predictions --from-beginning --no-follow --limit 5 {flags}",
        f"    stream-al verify {flags}",
    ]


def verdict(ours: DemoRun, many: DemoRun) -> str:
    """Say what the figures say of stream_al against many labels at random, good or bad."""
    fewer = many.asked - ours.asked
    labels = f"{fewer:,} ({fewer / many.asked:.0%}) fewer than" if fewer > 0 else "no fewer than"
    asked = f"stream_al asked for {ours.asked:,} labels, {labels} random asking at {MANY:.0%}."
    stretches = {
        "the whole stream": (ours.metrics, many.metrics),
        "the second half": (ours.metrics_second_half, many.metrics_second_half),
    }
    found = []
    for stretch, (our, their) in stretches.items():
        # Compared as they are shown, so that no digit that is not shown makes a difference.
        mine, theirs = _average_precision(our), _average_precision(their)
        if mine is None or theirs is None:
            continue
        word = "higher" if mine > theirs else "lower" if mine < theirs else "the same"
        found.append(f"{word} on {stretch} ({mine:.3f} to {theirs:.3f})")
    if not found:
        return f"{asked} Without frauds to rank, there is no average precision to compare."
    return f"{asked} Its average precision was {' and '.join(found)}."


def _row(run: DemoRun) -> str:
    whole, half = _average_precision(run.metrics), _average_precision(run.metrics_second_half)
    fraud = _fraud(run)
    precision = fraud.precision if fraud.predicted else None
    recall = fraud.recall if fraud.support else None
    return (
        f"{run.name:25}{run.asked:>7,}{_number(whole):>9}{_number(half):>13}"
        f"{_number(precision):>13}{_number(recall):>9}"
    )


def _average_precision(scores: Scores | None) -> float | None:
    """Round the frauds' average precision as it is shown; None where it is not defined."""
    if scores is None or scores.average_precision is None or scores.ranked_class != FRAUD:
        return None
    return round(scores.average_precision, 3)


def _fraud(run: DemoRun) -> ClassScores:
    nothing = ClassScores(precision=0.0, recall=0.0, f1=0.0, support=0, predicted=0)
    return run.metrics.per_class.get(FRAUD, nothing)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _WIDTH, break_on_hyphens=False)
