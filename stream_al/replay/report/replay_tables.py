"""The tables of a replay's page."""

from __future__ import annotations

from stream_al.learner.rare import Figure
from stream_al.learner.warning_signs import MEANINGS
from stream_al.records import request_id
from stream_al.replay.prequential import Scores
from stream_al.replay.report.elements import Child, Markup, element, figure_of, foreign, table
from stream_al.replay.report.parts import bar
from stream_al.replay.report.words import METRIC_NAMES, count, number, per_cent
from stream_al.replay.runner import Report

__all__ = ["alarms", "classes", "metrics", "reasons", "told_by_labels", "warning_signs"]

_MOST_CLASSES = 40
_MOST_ALARMS = 12

_ASKED = {
    "policy": "the policy asked: the score reached its threshold",
    "explore": "the pick of its block of exploration, whatever the score",
    "both": "the policy asked, and it was the block's pick as well",
    "burst": "the policy asked more, since drift had been found",
}
_NOT_ASKED = {
    "confident": "the policy declined: the score stayed below its threshold",
    "draw": "a randomised policy drew no",
    "budget": "the policy would have asked, but its tokens were used up",
}


def metrics(report: Report, random: Report | None) -> Markup:
    """Lay out every score, of the whole stream and of its second half."""
    header = ["score", "whole stream", "second half"]
    if random is not None:
        header += ["at random, whole", "at random, second half"]
    rows = []
    for metric, name in METRIC_NAMES.items():
        row: list[Child] = [name]
        for run, prefix in ((report, ""), (random, "random.")):
            if run is None:
                continue
            row += [
                _score(run.metrics, f"{prefix}metrics", metric),
                _score(run.metrics_second_half, f"{prefix}metrics_second_half", metric),
            ]
        rows.append(row)
    caption: list[Child] = ["Of all predictions, asked about or not."]
    if report.metrics.ranked_class is not None:
        ranked = foreign(report.metrics.ranked_class)
        caption += [" Average precision and ROC AUC are about class ", ranked, "."]
    if missing := report.metrics.unpredicted:
        caption.append(
            f" Events before any class was known: {missing:,}; wrong in accuracy, F1 and kappa, "
            "tied in the rankings, left out of the others."
        )
    return table(header, rows, caption=caption)


def _score(scores: Scores | None, path: str, metric: str) -> Markup:
    value = getattr(scores, metric, None)
    return figure_of(f"{path}.{metric}", value, number(value))


def told_by_labels(report: Report) -> Markup:
    """Lay out what a live run would know: the estimates, their limits, the naive share."""
    estimate, rolling, found = report.estimate, report.rolling, report.calibration
    rows: list[list[Child]] = [
        [
            "accuracy since the start",
            number(estimate.value),
            f"{number(estimate.lower)} to {number(estimate.upper)}",
            f"{estimate.blocks:,} explored blocks; limits hold at all times",
        ],
        [
            "accuracy, lately",
            number(rolling.value),
            f"{number(rolling.lower)} to {number(rolling.upper)}",
            f"last {rolling.events:,} events; limits hold for one look",
        ],
        [
            "naive accuracy, lately",
            number(rolling.naive),
            "-",
            "right share of labelled events as they are: no estimate of all predictions",
        ],
        [
            "calibration error",
            number(found.ece),
            f"{number(found.lower)} to {number(found.upper)}",
            f"last {found.labels:,} explored labels, what chance alone makes taken off",
        ],
    ]
    if report.epoch.epoch > 1:
        epoch = report.epoch
        told = f"{number(epoch.lower)} to {number(epoch.upper)}"
        rows.insert(
            1,
            [
                "accuracy since drift",
                number(epoch.value),
                told,
                f"{epoch.blocks:,} explored blocks since the last alarm that calls for a response",
            ],
        )
    helping = report.helping
    if helping.difference is not None:
        rows.append(
            [
                "selected labels less random ones",
                f"{helping.difference:+.4f}",
                f"{helping.lower:+.4f} to {helping.upper:+.4f}",
                f"accuracy of two equal learners with equally many labels: {helping.verdict}",
            ]
        )
    caption = "From the labels alone, as a live run would tell"
    if estimate.unanswered:
        caption += (
            f"; {estimate.unanswered:,} blocks went unanswered: accuracy is between "
            f"{number(estimate.worst)} and {number(estimate.best)} whatever they would have been"
        )
    inside = table(["estimate", "value", "limits (95 %)", "from"], rows, caption=caption)
    return element("div", inside, class_="words")


def reasons(report: Report) -> Markup:
    """Lay out all decisions by reason, in words and as bars."""
    rows: list[list[Child]] = []
    for path, found, told, what in (
        ("asked_by_reason", report.asked_by_reason, _ASKED, "asked"),
        ("not_asked_by_reason", report.not_asked_by_reason, _NOT_ASKED, "not asked"),
    ):
        total = sum(found.values())
        for reason, times in found.items():
            share = times / total if total else 0.0
            rows.append(
                [
                    [element("b", what), f", {reason}: {told[reason]}"],
                    figure_of(f"{path}.{reason}", times, count(times)),
                    [per_cent(share), f" of {what}", bar(share, 2 if what == "asked" else 6)],
                ]
            )
    inside = table(["decision and reason", "events", "share"], rows)
    return element("div", inside, class_="words")


def classes(report: Report) -> Markup:
    """Lay out how each class was found: the truth, and what the labels alone told of it."""
    found = sorted(report.metrics.per_class.items(), key=lambda item: (-item[1].support, item[0]))
    rows = []
    for name, one in found[:_MOST_CLASSES]:
        told = report.classes.get(name)
        rows.append(
            [
                foreign(name),
                count(one.support),
                count(one.predicted),
                [number(one.recall), bar(one.recall)],
                _limits(told.recall if told else None),
                [number(one.precision), bar(one.precision, 3)],
                _limits(told.precision if told else None),
                number(one.f1),
            ]
        )
    header = ["class", "events", "predicted", "recall", "from labels alone"]
    header += ["precision", "from labels alone", "F1"]
    caption = (
        "Recall: share of the class's events that were found. Precision: share of the events "
        "predicted as it that are of it. From labels alone: estimate and 95 % limits at all times."
    )
    if len(found) > _MOST_CLASSES:
        caption += f" The {_MOST_CLASSES} most frequent of {len(found):,} classes."
    return table(header, rows, caption=caption)


def _limits(figure: Figure | None) -> Child:
    if figure is None:
        return "-"
    limits = element("div", f"{figure.lower:.3f} to {figure.upper:.3f}", class_="firm")
    return [f"{figure.value:.3f}", limits]


def alarms(report: Report) -> Markup:
    """Lay out the last alarms."""
    last = report.drift.alarms[-_MOST_ALARMS:]
    if not last:
        return element("p", "No drift was found.")
    rows = [
        [
            element("code", foreign(request_id(alarm.topic, alarm.partition, alarm.offset))),
            alarm.cause,
            foreign(alarm.detail),
        ]
        for alarm in reversed(last)
    ]
    total = sum(report.drift.counts.values())
    caption = f"The last {len(last)} of {total:,} alarms, the latest first."
    inside = table(["event of the record that raised it", "cause", "what"], rows, caption=caption)
    return element("div", inside, class_="words")


def warning_signs(report: Report) -> Markup:
    """Lay out the warning signs, on or not, and why."""
    rows = [
        [
            [element("b", name), f": {MEANINGS[name]}"],
            element("span", "on" if sign.on else "off", class_="on" if sign.on else "off"),
            foreign(sign.why),
        ]
        for name, sign in report.warnings.items()
    ]
    inside = table(["sign", "state", "why"], rows)
    return element("div", inside, class_="words")
