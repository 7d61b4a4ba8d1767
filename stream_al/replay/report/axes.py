"""What several charts have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from stream_al.replay.report.charts import Series
from stream_al.replay.report.words import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Lines", "over_events", "plain_counts", "plot_lines"]

Lines: TypeAlias = Sequence[tuple[Series, Sequence[tuple[float, float | None]]]]
"""Each with its points; those without a value are left out."""


def over_events(axes: Axes) -> None:
    """Let the horizontal axis be the stream's events."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_xlabel("events")
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: count(x)))


def plain_counts(axes: Axes) -> None:
    """Write the vertical axis in whole numbers."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: count(y)))


def plot_lines(axes: Axes, lines: Lines) -> None:
    """Draw lines."""
    for one, points in lines:
        known = [(x, y) for x, y in points if y is not None]
        axes.plot([x for x, _ in known], [y for _, y in known], **one.style)  # type: ignore[arg-type]
