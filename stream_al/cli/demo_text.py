"""What the demo showed, for people."""

from __future__ import annotations

import textwrap

from stream_al.cli.demo_runs import BUDGET, FRAUD, MANY, DemoRun
from stream_al.replay.prequential import Scores
from stream_al.replay.tally import ClassScores

__all__ = ["demo_text", "verdict"]

_WIDTH = 79

_HEAD = f"""\
{"":25}{"labels":>7}{"average precision":>22}{"called fraud":>22}
{"":25}{"asked":>7}{"whole":>9}{"second half":>13}{"precision":>13}{"recall":>9}"""

_NEXT = f"""\
Where to go next
  your own stream (CSV, JSON Lines, Parquet, or - for standard input):
    stream-al replay YOUR.csv --label COLUMN --budget {BUDGET}
  two ways of asking, side by side, with the same answers:
    stream-al compare cards:10000 --budget {BUDGET} \\
        --arm 'default:' --arm 'random: --policy random'
  every setting, with its meaning and its default:
    stream-al config init --output stream-al.toml"""


def demo_text(ours: DemoRun, few: DemoRun, many: DemoRun, seed: int, seconds: float) -> str:
    """Lay out the runs, what they say, and where to go next; 80 columns wide.

    Parameters
    ----------
    ours, few, many
        stream_al's run, and those of random asking with few and with many labels.
    seed
        Of all of them.
    seconds
        Wall time of all of them together.
    """
    events, frauds = ours.metrics.events, _fraud(ours).support
    spec, flag = (f":{seed}", f" --seed {seed}") if seed else ("", "")
    return "\n".join(
        [
            _wrapped(
                f"{events:,} generated card payments, {frauds:,} of them frauds "
                f"({frauds / events:.2%}) of kinds that come and go. Every payment is predicted; "
                "its label is learnt only if it was asked for."
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
            f"All three took {seconds:.1f} s. The first alone, with all its figures:",
            f"    stream-al replay cards:{events}{spec} --budget {BUDGET}{flag}",
            "",
            _NEXT,
        ]
    )


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
