"""What to keep in mind with the figures of a comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from stream_al.replay.bootstrap import FEWEST_PAIRS, LEVEL, RESAMPLES
from stream_al.replay.comparison import Cell, Plan

__all__ = ["MANY_SEEDS", "notes"]

MANY_SEEDS = 20
"""Seeds from which on intervals are about as wide as they should be."""

_UNEQUAL = 1.1


def notes(plan: Plan, cells: Sequence[Cell], events: Mapping[str, int]) -> Iterator[str]:
    """Say what the seeds allow to conclude, and what else but the arms differed.

    Parameters
    ----------
    plan
        What was compared.
    cells
        The arms at the budgets.
    events
        Events played, by arm.
    """
    seeds = plan.seeds
    if seeds == 1:
        yield "one seed: no standard deviation, and no telling a difference from luck"
    if len(plan.arms) > 1 and seeds < FEWEST_PAIRS:
        yield f"no intervals: they need at least {FEWEST_PAIRS} seeds, not {seeds}"
    elif len(plan.arms) > 1:
        yield (
            f"intervals: the middle {LEVEL:.0%} of {RESAMPLES:,} paired bootstrap resamples of "
            f"the {seeds} seeds; they tell what seeds do on this stream, not other streams"
        )
        if seeds < MANY_SEEDS:
            yield (
                f"{seeds} seeds are few, so the intervals are too narrow: of normal differences "
                "they cover the mean 73% of the time with 3 seeds, 84% with 5, 90% with 10, "
                "93% with 20"
            )
    if len(set(events.values())) > 1:
        told = ", ".join(f"{name} {count:,}" for name, count in events.items())
        yield f"not the same events were played, as the arms skip different rows: {told}"
    for budget in plan.budgets:
        labels = {cell.arm: cell.labels for cell in cells if cell.budget == budget}
        if max(labels.values()) > _UNEQUAL * min(labels.values()):
            least, most = min(labels, key=labels.__getitem__), max(labels, key=labels.__getitem__)
            yield (
                f"at budget {budget:.4g} {most} learnt from {labels[most]:,.0f} labels and {least} "
                f"from {labels[least]:,.0f}: that is part of their difference"
            )
