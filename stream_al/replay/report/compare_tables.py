"""The tables of a comparison's page."""

from __future__ import annotations

from collections.abc import Sequence

from stream_al.replay.comparison import Cell, Comparison, Efficiency, TargetReached
from stream_al.replay.efficiency import Reach
from stream_al.replay.report.elements import Child, Markup, element, figure_of, foreign, table
from stream_al.replay.report.standing import means
from stream_al.replay.report.words import METRIC_NAMES, count, number, signed

__all__ = ["arms", "needs", "scores", "targets"]

_SIGNS = {"exact": "", "at_most": "≤ ", "more_than": "> "}


def arms(cells: Sequence[Cell], comparison: Comparison) -> Markup:
    """Lay out the arms at one budget, as the command's own table does."""
    first = next(iter(comparison.arms))
    header: list[Child] = ["arm", "asked", "labels", METRIC_NAMES[comparison.metric], "± sd"]
    header += [["minus ", foreign(first), " [95 %]"], "random needs", "most ahead of budget"]
    rows = [
        [
            foreign(cell.arm),
            count(cell.asked),
            figure_of(_path(comparison, cell, "labels"), cell.labels, count(cell.labels)),
            figure_of(_path(comparison, cell, "mean"), cell.mean, number(cell.mean)),
            number(cell.sd),
            _difference(cell, comparison),
            needs(cell.efficiency) if cell.efficiency is not None else "-",
            f"{max(run.max_overspend for run in cell.runs):.1f}",
        ]
        for cell in cells
    ]
    seeds = len(comparison.seeds)
    return table(header, rows, caption=f"Means of {seeds} seeds, paired by seed.")


def _path(comparison: Comparison, cell: Cell, name: str) -> str:
    return f"cells.{comparison.cells.index(cell)}.{name}"


def _difference(cell: Cell, comparison: Comparison) -> Child:
    found = cell.difference
    if found is None:
        return "-"
    mean = figure_of(_path(comparison, cell, "difference.mean"), found.mean, signed(found.mean))
    if found.low is None or found.high is None:
        return mean
    return element(
        "span",
        mean,
        " [",
        figure_of(_path(comparison, cell, "difference.low"), found.low, signed(found.low)),
        ", ",
        figure_of(_path(comparison, cell, "difference.high"), found.high, signed(found.high)),
        "]",
        class_="firm",
    )


def needs(efficiency: Efficiency) -> str:
    """Say how many labels asking at random needs, and how many times as many that is."""
    sign = _SIGNS[efficiency.random_needs.bound]
    return f"{_labels(efficiency.random_needs)} ({sign}{efficiency.ratio:.1f}x)"


def _labels(reach: Reach) -> str:
    return f"{_SIGNS[reach.bound]}{count(reach.labels)}"


def scores(cells: Sequence[Cell], comparison: Comparison) -> Markup:
    """Lay out every score of every arm at one budget."""
    found = [means(cell, comparison.second_half) for cell in cells]
    header = ["score, mean over seeds", *(foreign(cell.arm) for cell in cells)]
    rows = [
        [name, *(number(one[metric]) for one in found)] for metric, name in METRIC_NAMES.items()
    ]
    part = "the second half" if comparison.second_half else "the whole stream"
    return table(header, rows, caption=f"All scores of {part}.")


def targets(comparison: Comparison) -> Child:
    """Lay out the labels with which each arm reaches each target."""
    if not comparison.targets:
        return ""
    rows = [
        [f"{METRIC_NAMES[found.metric]} = {found.value:g}", foreign(found.arm), _reached(found)]
        for found in comparison.targets
    ]
    inside = table(["target", "arm", "labels"], rows)
    return element("div", element("h3", "Targets"), inside, class_="words")


def _reached(found: TargetReached) -> str:
    if found.needs is None:
        return "-"
    if found.needs.bound == "more_than":
        return f"not reached with {count(found.needs.labels)}"
    return _labels(found.needs)
