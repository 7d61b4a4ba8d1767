"""A comparison for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap

from stream_al.counted import counted
from stream_al.replay.comparison import Cell, Comparison, Efficiency, TargetReached
from stream_al.replay.efficiency import Reach

__all__ = ["comparison_text"]

_WIDTH = 100
_SIGNS = {"exact": "", "at_most": "<=", "more_than": ">"}


def comparison_text(comparison: Comparison) -> str:
    """Lay out a table for each budget, the targets, and what to keep in mind."""
    seeds = len(comparison.seeds)
    part = "second half" if comparison.second_half else "whole stream"
    better = "" if comparison.higher_is_better else ", less is better"
    lines = [
        f"{comparison.source}: {counted(comparison.events, 'event')}"
        + (f" ({counted(comparison.skipped, 'row')} skipped)" if comparison.skipped else ""),
        f"metric: {comparison.metric} of the {part}{better}",
        f"  ({comparison.metric_reason})",
        f"all figures: mean of {_seeds(comparison.seeds)}, ± standard deviation",
    ]
    for budget in comparison.budgets:
        lines += ["", f"budget {budget:.4g} of events, {counted(seeds, 'seed')}"]
        cells = [cell for cell in comparison.cells if cell.budget == budget]
        lines += _table(_header(comparison), [_row(cell) for cell in cells])
    lines += _targets(comparison)
    for remark in (*_legend(comparison), *comparison.notes):
        lines += ["", *wrap(remark, _WIDTH)]
    return "\n".join(lines)


def _seeds(seeds: Sequence[int]) -> str:
    return "seed 0 alone" if len(seeds) == 1 else f"{len(seeds)} seeds (0 to {seeds[-1]})"


def _header(comparison: Comparison) -> list[str]:
    first = next(iter(comparison.arms))
    return ["arm", "labels", comparison.metric, f"minus {first} [95%]", "random needs"]


def _row(cell: Cell) -> list[str]:
    difference = cell.difference
    if difference is None:
        beside = "-"
    elif difference.low is None or difference.high is None:
        beside = f"{difference.mean:+.4f}"
    else:
        beside = f"{difference.mean:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"
    spread = "" if cell.sd is None else f" ± {cell.sd:.4f}"
    return [
        cell.arm,
        f"{cell.labels:,.0f}",
        "-" if cell.mean is None else f"{cell.mean:.4f}{spread}",
        beside,
        _needs(cell.efficiency),
    ]


def _needs(efficiency: Efficiency | None) -> str:
    if efficiency is None:
        return "-"
    sign = _SIGNS[efficiency.random_needs.bound]
    return f"{_labels(efficiency.random_needs)} ({sign}{efficiency.ratio:.1f}x)"


def _labels(reach: Reach) -> str:
    return f"{_SIGNS[reach.bound]}{reach.labels:,.0f}"


def _table(header: list[str], rows: list[list[str]]) -> Iterator[str]:
    """Align: the first column left, the others right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        first, *others = (f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
        yield "  ".join([f"{first.strip():<{widths[0]}}", *others]).rstrip()


def _targets(comparison: Comparison) -> Iterator[str]:
    by_target: dict[tuple[str, float], list[TargetReached]] = {}
    for found in comparison.targets:
        by_target.setdefault((found.metric, found.value), []).append(found)
    for (metric, value), arms in by_target.items():
        yield ""
        yield f"target {metric} = {value:g}, {counted(len(comparison.seeds), 'seed')}"
        yield from _table(["arm", "labels"], [[found.arm, _reached(found)] for found in arms])


def _reached(found: TargetReached) -> str:
    if found.needs is None:
        return "-"
    if found.needs.bound == "more_than":
        return f"not reached with {found.needs.labels:,.0f}"
    return _labels(found.needs)


def _legend(comparison: Comparison) -> Iterator[str]:
    yield (
        "random needs: labels asked at random with which the arm's learner is as good as the arm, "
        "and how many times the arm's; log-linear between its runs at 1, 2, 4, 8 and 16 times the "
        f"budget ({counted(len(comparison.seeds), 'seed')} each); <= where the first is already "
        "better, > where none is as good"
    )
