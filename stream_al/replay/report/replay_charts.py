"""The charts of a replay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stream_al.learner.drift import Cause
from stream_al.replay.comparison import rises
from stream_al.replay.course import Point, Stretch
from stream_al.replay.report.axes import Lines, over_events, plain_counts, plot_lines
from stream_al.replay.report.charts import INK, MUTED, SERIES, chart, series
from stream_al.replay.report.elements import Child, Markup
from stream_al.replay.report.words import METRIC_NAMES, count, number, per_cent
from stream_al.replay.runner import Report
from stream_al.replay.runs import Metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["calibration", "drift", "estimates", "lead", "learning", "spend", "stretches"]

_EARLY = 0.1
_CAUSES: tuple[Cause, ...] = ("residual", "error", "features")


def learning(points: Sequence[Point], others: Sequence[Point], metric: Metric) -> Markup:
    """Chart the metric of all predictions since the beginning, against asking at random."""
    names = series("this run", *(["asking at random"] if others else []))
    runs = [points, *([others] if others else [])]
    lines = [
        (one, [(point.events, getattr(point.scores, metric)) for point in run])
        for one, run in zip(names, runs, strict=True)
    ]

    def draw(axes: Axes) -> None:
        plot_lines(axes, lines)
        over_events(axes)
        axes.set_ylabel(METRIC_NAMES[metric])

    better = "higher is better" if rises(metric) else "lower is better"
    ends = [f"{one.name} ends at {number(curve[-1][1])}" for one, curve in lines if curve]
    told = f"Of all predictions since the beginning, asked about or not; {better}. "
    return chart(
        "learning",
        draw,
        title=f"Learning curve: {METRIC_NAMES[metric]}",
        told=f"{told}{'; '.join(ends).capitalize()}.",
        lines=names,
    )


def stretches(
    found: Sequence[Stretch], others: Sequence[Stretch], rare: str | None, shown: Child
) -> Markup:
    """Chart each stretch of the stream by itself: there a drift is seen that a mean hides.

    Parameters
    ----------
    found, others
        Of this run, and of asking at random.
    rare
        The class whose F1 tells more than accuracy; None: accuracy.
    shown
        The same as the legend has it.
    """
    names = series("this run", *(["asking at random"] if others else []))

    def value(one: Stretch) -> float:
        return one.accuracy if rare is None else one.f1.get(rare, 0.0)

    def draw(axes: Axes) -> None:
        for line, run in zip(names, [found, others], strict=False):
            edges = [0, *(one.end for one in run)]
            axes.stairs([value(one) for one in run], edges, baseline=None, **line.style)  # type: ignore[arg-type]
        over_events(axes)
        axes.set_ylabel("accuracy" if rare is None else "F1 of the class")

    what: Child = "Share of right predictions" if rare is None else ["F1 of class ", shown]
    told = [what, " in each part of the stream by itself."]
    return chart("stretches", draw, title="Part by part", told=told, lines=names)


def estimates(points: Sequence[Point]) -> Markup:
    """Chart what the labels alone told of accuracy, beside the truth that a replay knows."""
    truth, told, naive = series(
        "true accuracy of all predictions so far",
        "estimated from labels alone, with its limits at all times (95 %)",
        "naive, lately: right share of what was labelled",
    )
    known = [point for point in points if point.estimate.value is not None]
    lines: Lines = [
        (truth, [(point.events, point.scores.accuracy) for point in points]),
        (told, [(point.events, point.estimate.value) for point in known]),
        (naive, [(point.events, point.naive) for point in points]),
    ]

    def draw(axes: Axes) -> None:
        axes.fill_between(
            [point.events for point in known],
            [point.estimate.lower for point in known],
            [point.estimate.upper for point in known],
            color=told.colour,
            alpha=0.18,
            linewidth=0,
        )
        plot_lines(axes, lines)
        over_events(axes)
        axes.set_ylabel("accuracy")
        # The first limits are of few labels and so wide that they would hide all the others.
        late = [point for point in points if point.events > points[-1].events * _EARLY]
        values = [value for point in late for value in _accuracies(point) if value is not None]
        lowest = min(values, default=0.0)
        axes.set_ylim(max(0.0, lowest - 0.1 * (1.0 - lowest)), 1.0)

    return chart(
        "estimates",
        draw,
        title="Accuracy, as a live run would know it",
        told="A live run has the labels only. The band should hold the true line; the naive share "
        "counts mostly hard events and so reads low.",
        lines=[truth, told, naive],
    )


def _accuracies(point: Point) -> tuple[float | None, ...]:
    return point.scores.accuracy, point.estimate.value, point.estimate.lower, point.naive


def spend(points: Sequence[Point], report: Report) -> Markup:
    """Chart label requests against the budget."""
    asked, most = series(
        "asked", f"the most allowed: budget · t + burst of {report.burst:g} a partition"
    )
    room = report.burst * report.partitions

    def draw(axes: Axes) -> None:
        ends = [0, report.events]
        axes.plot(ends, [report.budget * t for t in ends], color=MUTED, linewidth=0.9)
        plot_lines(
            axes,
            [
                (asked, [(0, 0.0), *((point.events, point.asked) for point in points)]),
                (most, [(t, report.budget * t + room) for t in ends]),
            ],
        )
        over_events(axes)
        plain_counts(axes)
        axes.set_ylabel("label requests")

    return chart(
        "spend",
        draw,
        title="Spend against budget",
        told=f"Asked {count(report.asked)} of {count(report.events)} events, "
        f"{per_cent(report.asked_ratio)}; budget {per_cent(report.budget)} (thin line).",
        lines=[asked, most],
    )


def lead(points: Sequence[Point], report: Report) -> Markup:
    """Chart by how much asking was ahead of the budget, where a line of totals hides it."""
    ahead, most = series("asked - budget · t", "the most allowed")
    room = report.burst * report.partitions

    def draw(axes: Axes) -> None:
        axes.axhline(0.0, color=MUTED, linewidth=0.9)
        behind = [(point.events, point.asked - report.budget * point.events) for point in points]
        plot_lines(axes, [(ahead, behind), (most, [(0, room), (report.events, room)])])
        over_events(axes)
        axes.set_ylabel("label requests")

    return chart(
        "lead",
        draw,
        title="Ahead of the budget, or behind it",
        told=f"At most {report.max_overspend:.1f} ahead in a partition at any event, of "
        f"{report.burst:g} allowed. Below 0, less was asked than the budget had room for.",
        lines=[ahead, most],
    )


def calibration(report: Report) -> Markup:
    """Chart the share that was right against the confidence in it."""
    truth, told = series("all predictions", "explored labels, as a live run knows")
    live = report.calibration.bins
    events = max((one.events for one in report.reliability), default=1)

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9)
        for one, bins in (
            (truth, [(each.confidence, each.right) for each in report.reliability]),
            (told, [(each.confidence, each.right) for each in live]),
        ):
            axes.plot(
                [x for x, _ in bins],
                [y for _, y in bins],
                marker=one.marker,
                markersize=4,
                **one.style,  # type: ignore[arg-type]
            )
        axes.bar(
            [(one.lower + one.upper) / 2 for one in report.reliability],
            [0.25 * one.events / events for one in report.reliability],
            width=0.9 / 15,
            color=SERIES[0],
            alpha=0.25,
        )
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("probability of the predicted class")
        axes.set_ylabel("share that was right")

    told_ = (
        f"Expected calibration error {number(report.metrics.ece)}. On the thin line, probabilities "
        "mean what they say; below it they promise too much. Bars: where the events are."
    )
    return chart("calibration", draw, title="Calibration", told=told_, lines=[truth, told])


def drift(points: Sequence[Point], report: Report) -> Markup:
    """Chart when drift was found, by cause."""
    found = {cause: list(_new_alarms(points, cause)) for cause in _CAUSES}

    def draw(axes: Axes) -> None:
        for row, (cause, alarms) in enumerate(found.items()):
            axes.scatter(
                [events for events, _ in alarms],
                [row] * len(alarms),
                s=[30.0 + 10.0 * (times - 1) for _, times in alarms],
                c=INK if cause == "features" else SERIES[1],
                marker="|" if cause == "features" else "D",
                linewidths=1.5,
            )
        axes.set_yticks(range(len(found)), labels=list(found))
        axes.set_ylim(len(found) - 0.5, -0.5)
        axes.grid(visible=False, axis="x")
        over_events(axes)
        axes.set_xlim(0, report.events)

    counts = report.drift.counts
    told = "; ".join(f"{cause}: {counts[cause]:,}" for cause in _CAUSES)
    return chart(
        "drift",
        draw,
        title="Drift alarms over the stream",
        told=f"{told}. Labels that differ from the probabilities (residual) or more errors than "
        "before (error) call for a response; features that move (features) need not.",
        height=1.9,
    )


def _new_alarms(points: Sequence[Point], cause: Cause) -> list[tuple[int, int]]:
    before, found = 0, []
    for point in points:
        if point.alarms[cause] > before:
            found.append((point.events, point.alarms[cause] - before))
            before = point.alarms[cause]
    return found
