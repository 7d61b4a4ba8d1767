"""The charts of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stream_al.replay.comparison import Cell, Comparison, CurvePoint
from stream_al.replay.report.axes import over_events, plain_counts, plot_lines
from stream_al.replay.report.charts import INK, MUTED, Series, chart
from stream_al.replay.report.elements import Markup
from stream_al.replay.report.words import METRIC_NAMES, count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["differences", "efficiency", "learning", "spend"]


def learning(
    cells: Sequence[Cell], comparison: Comparison, lines: Sequence[Series], name: str
) -> Markup:
    """Chart the learning curve of each arm at one budget: mean and spread over seeds."""

    def draw(axes: Axes) -> None:
        for cell, line in zip(cells, lines, strict=True):
            known = [
                (point.events, point.mean, point.sd)
                for point in cell.curve
                if point.mean is not None and point.sd is not None
            ]
            axes.fill_between(
                [events for events, _, _ in known],
                [mean - sd for _, mean, sd in known],
                [mean + sd for _, mean, sd in known],
                color=line.colour,
                alpha=0.16,
                linewidth=0,
            )
        curves = [[(point.events, point.mean) for point in cell.curve] for cell in cells]
        plot_lines(axes, list(zip(lines, curves, strict=True)))
        over_events(axes)
        axes.set_ylabel(METRIC_NAMES[comparison.metric])

    better = "higher is better" if comparison.higher_is_better else "lower is better"
    seeds = len(comparison.seeds)
    spread = "band: ± standard deviation" if seeds > 1 else "no band: one seed"
    return chart(
        name,
        draw,
        title=f"Learning curves at budget {cells[0].budget:.4g}",
        told=f"Of all predictions since the beginning, mean of {seeds} seeds ({spread}); {better}.",
        lines=lines,
    )


def spend(
    cells: Sequence[Cell], comparison: Comparison, lines: Sequence[Series], name: str
) -> Markup:
    """Chart by how much each arm was ahead of the budget, or behind it."""

    def draw(axes: Axes) -> None:
        axes.axhline(0.0, color=MUTED, linewidth=0.9)
        curves = [[_lead(point, cell.budget) for point in cell.curve] for cell in cells]
        plot_lines(axes, list(zip(lines, curves, strict=True)))
        over_events(axes)
        plain_counts(axes)
        axes.set_ylabel("asked - budget · t")

    most = max(run.max_overspend for cell in cells for run in cell.runs)
    events = comparison.events
    return chart(
        name,
        draw,
        title=f"Spend against budget {cells[0].budget:.4g}",
        told=f"Label requests ahead of budget · t, mean over seeds; at the end the budget is "
        f"{count(cells[0].budget * events)} requests. No run was ever more than {most:.1f} ahead "
        "in a partition.",
        lines=lines,
    )


def _lead(point: CurvePoint, budget: float) -> tuple[int, float]:
    return point.events, point.asked - budget * point.events


def efficiency(comparison: Comparison, lines: Sequence[Series]) -> Markup:
    """Chart the metric against the labels that were spent, with random asking as the measure."""
    by_arm = {
        arm: [cell for cell in comparison.cells if cell.arm == arm] for arm in comparison.arms
    }

    def draw(axes: Axes) -> None:
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

        for cells, line in zip(by_arm.values(), lines, strict=True):
            random = {
                run.labels: run.mean
                for cell in cells
                if cell.efficiency is not None
                for run in cell.efficiency.random
                if run.mean is not None and run.labels > 0
            }
            ladder = sorted(random.items())
            axes.plot(*_xy(ladder), color=MUTED, linewidth=1.1, linestyle=":")
            known = [cell for cell in cells if cell.mean is not None and cell.labels > 0]
            axes.errorbar(
                *_xy([(cell.labels, cell.mean) for cell in known]),
                yerr=[cell.sd or 0.0 for cell in known],
                color=line.colour,
                marker=line.marker,
                markersize=5,
                markeredgecolor=INK,
                markeredgewidth=0.4,
                linestyle=line.style["linestyle"],
                linewidth=1.8,
                elinewidth=1.0,
                capsize=2.5,
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: count(x)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("labels learnt from (logarithmic)")
        axes.set_ylabel(METRIC_NAMES[comparison.metric])

    return chart(
        "efficiency",
        draw,
        title="What a label buys",
        told="Marks: each arm at each budget, mean ± standard deviation over seeds. Thin grey "
        "dots: an arm's learner with labels asked at random; where they reach a mark's height is "
        "what random needs.",
        lines=lines,
    )


def _xy(
    points: Sequence[tuple[float, float | None]],
) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points if y is not None]


def differences(
    cells: Sequence[Cell], comparison: Comparison, lines: Sequence[Series], name: str
) -> Markup:
    """Chart the differences from the first arm, with their intervals."""
    told = [
        (cell.difference, line)
        for cell, line in zip(cells, lines, strict=True)
        if cell.difference is not None
    ]

    def draw(axes: Axes) -> None:
        axes.axvline(0.0, color=MUTED, linewidth=0.9)
        for row, (found, line) in enumerate(told):
            if found.low is not None and found.high is not None:
                axes.plot([found.low, found.high], [row, row], color=line.colour, linewidth=2.4)
            axes.plot([found.mean], [row], marker=line.marker, markersize=7, color=line.colour)
        axes.set_ylim(len(told) - 0.5, -0.5)
        axes.set_yticks([])
        axes.set_xlabel(f"difference of {METRIC_NAMES[comparison.metric]}")

    return chart(
        name,
        draw,
        title=f"Difference from the first arm at budget {cells[0].budget:.4g}",
        told="Mean and 95 % interval over paired seeds; one that touches 0 shows no difference."
        if any(found.low is not None for found, _ in told)
        else "Mean over paired seeds, too few for an interval: they show no difference yet.",
        lines=[line for _, line in told],
        height=0.9 + 0.35 * len(told),
    )
