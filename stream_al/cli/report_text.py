"""A replay's report for people."""

from __future__ import annotations

from stream_al.cli.insight_text import insight_lines
from stream_al.counted import counted
from stream_al.replay.report.words import METRIC_NAMES
from stream_al.replay.runner import Report

__all__ = ["report_text"]


def report_text(report: Report) -> str:
    """Lay out what was asked and how right the predictions were."""
    by_reason = ", ".join(f"{reason} {n:,}" for reason, n in report.asked_by_reason.items() if n)
    ratio = 0.0 if report.asked_ratio is None else report.asked_ratio
    lines = [
        f"events            {report.events:>12,}"
        + (f"   ({counted(report.skipped, 'row')} skipped)" if report.skipped else ""),
        f"asked             {report.asked:>12,}   {ratio:.2%} of events, budget "
        f"{report.budget:.2%}" + (f": {by_reason}" if by_reason else ""),
        f"labels            {report.labels:>12,}"
        + (f"   {counted(report.open, 'request')} still open" if report.open else ""),
        f"ahead of budget   {report.max_overspend:>12.1f}   at most, of {report.burst:g} "
        "allowed in a partition",
        *_maintenance(report),
        *_unpredicted(report),
        "",
        f"{'':18}{'whole':>12}{'second half':>14}",
    ]
    half = report.metrics_second_half
    for attribute, name in METRIC_NAMES.items():
        whole = getattr(report.metrics, attribute)
        later = getattr(half, attribute) if half is not None else None
        if whole is not None or later is not None:
            lines.append(f"{name:18}{_number(whole):>12}{_number(later):>14}")
    if report.metrics.ranked_class is not None:
        lines.append(f"(average precision and ROC AUC of class {report.metrics.ranked_class!r})")
    lines += ["", *insight_lines(report)]
    lines += ["", f"{report.events_per_second:,.0f} events/s, {report.seconds:.1f} s"]
    return "\n".join(lines)


def _maintenance(report: Report) -> list[str]:
    if not report.maintenance:
        return []
    return [f"{'maintenance':18}{'on':>12}   criteria of gate.stop_when were met: asks gate.floor"]


def _unpredicted(report: Report) -> list[str]:
    missing = report.metrics.unpredicted
    if not missing:
        return []
    return [
        f"not predicted     {missing:>12,}   events before any class was known: wrong in "
        "accuracy, F1 and kappa,",
        f"{'':33}tied in the rankings, left out of the other scores",
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
