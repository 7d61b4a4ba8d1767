"""The page about one replay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stream_al.config import Config
from stream_al.counted import counted
from stream_al.replay.comparison import rises
from stream_al.replay.course import Course
from stream_al.replay.report import replay_charts as charts
from stream_al.replay.report import replay_tables as tables
from stream_al.replay.report.elements import Child, Markup, element, figure_of, foreign
from stream_al.replay.report.parts import differing, page, section, tiles, versions, whole
from stream_al.replay.report.words import METRIC_NAMES, count, number, per_cent, signed
from stream_al.replay.runner import Report
from stream_al.replay.runs import Metric
from stream_al.replay.seed_means import headline

__all__ = ["Watched", "replay_page"]

_PARTS = 20
_ENOUGH = 20
"""Events of a rare class that a part of the stream should have."""


@dataclass(frozen=True)
class Watched:
    """A replay, and how it stood along its stream."""

    report: Report
    course: Course


def replay_page(
    name: str, command: str, config: Config, run: Watched, random: Watched | None, alone: str = ""
) -> bytes:
    """Make the page about one replay; the same run gives the same bytes.

    Parameters
    ----------
    name, command
        The stream, and the command line that played it.
    config
        What it was played with.
    run
        The replay.
    random
        The same stream, learner, annotator and budget with labels asked at random; None: none.
    alone
        Why there is none.
    """
    report = run.report
    metric, reason = headline(report.metrics)
    rare = report.metrics.ranked_class if metric == "average_precision" else None
    parts = _PARTS
    if rare is not None:
        parts = min(_PARTS, max(2, report.metrics.per_class[rare].support // _ENOUGH))
    learning = charts.learning(run.course.points, random.course.points if random else (), metric)
    stretches = charts.stretches(
        run.course.stretches(parts),
        random.course.stretches(parts) if random else (),
        rare,
        foreign(rare or ""),
    )
    points = run.course.points
    body = [
        section("In short", _tiles(report, metric), _verdicts(run, random, metric), name="short"),
        section(
            "What was learnt",
            element("p", f"Shown is {METRIC_NAMES[metric]}: {reason}. ", alone),
            _charts(learning, stretches),
            tables.metrics(report, random.report if random else None),
            name="learnt",
        ),
        section(
            "How right, from labels alone",
            _charts(charts.estimates(points), charts.calibration(report)),
            tables.told_by_labels(report),
            name="estimate",
        ),
        section(
            "What it asked",
            _charts(charts.spend(points, report), charts.lead(points, report)),
            element("h3", "Decisions by reason"),
            tables.reasons(report),
            name="asked",
        ),
        section("Classes", tables.classes(report), name="classes"),
        section(
            "Drift", _charts(charts.drift(points, report)), tables.alarms(report), name="drift"
        ),
        section("Warning signs", tables.warning_signs(report), name="signs"),
        section(
            "Configuration",
            element("p", "What differs from the defaults:"),
            differing({"this run": config}),
            whole(config, "All settings that a replay heeds"),
            name="configuration",
        ),
        section("Versions", versions(_stamps(report)), name="versions"),
    ]
    return page("Replay", name, command, body)


def _charts(*drawn: Markup) -> Markup:
    return element("div", *drawn, class_="charts")


def _stamps(report: Report) -> dict[str, str]:
    model = report.model
    return {
        "configuration": report.config_hash,
        "fold": model.fold_id,
        "model": f"version {model.version}, digest {model.digest}",
    }


def _tiles(report: Report, metric: Metric) -> Markup:
    estimate, rolling, scores = report.estimate, report.rolling, report.metrics
    skipped = f"{counted(report.skipped, 'row')} skipped" if report.skipped else "no row skipped"
    waiting = (
        f"{counted(report.open, 'request')} still open" if report.open else "no request is open"
    )
    told: list[tuple[str, Child, Child]] = [
        ("Events", figure_of("events", report.events, count(report.events)), skipped),
        (
            "Asked",
            figure_of("asked", report.asked, count(report.asked)),
            [
                figure_of("asked_ratio", report.asked_ratio, per_cent(report.asked_ratio)),
                f" of events; budget {per_cent(report.budget)}",
            ],
        ),
        ("Labels learnt from", figure_of("labels", report.labels, count(report.labels)), waiting),
        (
            "Accuracy of all predictions",
            figure_of("metrics.accuracy", scores.accuracy, per_cent(scores.accuracy)),
            "the truth, which a replay knows",
        ),
        (
            "Accuracy from labels alone",
            figure_of("estimate.value", estimate.value, per_cent(estimate.value)),
            [
                "unbiased; 95 % limits at all times ",
                figure_of("estimate.lower", estimate.lower, per_cent(estimate.lower)),
                " to ",
                figure_of("estimate.upper", estimate.upper, per_cent(estimate.upper)),
            ],
        ),
        (
            "Naive accuracy, lately",
            figure_of("rolling.naive", rolling.naive, per_cent(rolling.naive)),
            [
                "of labelled events as they are: mostly hard ones; the unbiased estimate lately: ",
                figure_of("rolling.value", rolling.value, per_cent(rolling.value)),
            ],
        ),
    ]
    if metric != "accuracy":
        value = getattr(scores, metric)
        told.insert(
            3,
            (
                METRIC_NAMES[metric][:1].upper() + METRIC_NAMES[metric][1:],
                figure_of(f"metrics.{metric}", value, number(value)),
                "of all predictions",
            ),
        )
    return tiles(told)


def _verdicts(run: Watched, random: Watched | None, metric: Metric) -> Markup:
    sentences = [
        *_budget(run.report),
        *(_against(run.report, random.report, metric) if random else ()),
        *_limits(run.report),
        *_drift_told(run.report),
    ]
    on = [name for name, sign in run.report.warnings.items() if sign.on]
    told = f"Warning signs that are on: {', '.join(on)}." if on else "No warning sign is on."
    return element("ul", [element("li", sentence) for sentence in (*sentences, told)])


def _budget(report: Report) -> Iterator[str]:
    kept = report.max_overspend <= report.burst
    yield (
        f"The budget was {'kept' if kept else 'NOT kept'}: at most {report.max_overspend:.1f} "
        f"requests ahead of it in any partition at any event, of {report.burst:g} allowed."
    )


def _against(report: Report, random: Report, metric: Metric) -> Iterator[str]:
    for part, ours, theirs in (
        ("the whole stream", report.metrics, random.metrics),
        ("the second half", report.metrics_second_half, random.metrics_second_half),
    ):
        mine, other = getattr(ours, metric, None), getattr(theirs, metric, None)
        if mine is None or other is None:
            continue
        better = (mine > other) == rises(metric)
        word = "level" if mine == other else "better" if better else "worse"
        yield (
            f"Over {part} {METRIC_NAMES[metric]} is {number(mine)}, asking at random "
            f"{number(other)} ({signed(mine - other)}: {word}), with {report.labels:,} and "
            f"{random.labels:,} labels."
        )
    yield (
        "This is one seed each, and cannot tell a difference from luck: stream-al compare plays "
        "several, with intervals."
    )


def _limits(report: Report) -> Iterator[str]:
    estimate, truth = report.estimate, report.metrics.accuracy
    if estimate.value is None or truth is None:
        yield "No explored label has come in, so nothing is known of accuracy from labels alone."
        return
    held = "hold" if estimate.lower <= truth <= estimate.upper else "do NOT hold"
    yield (
        f"The limits that the labels alone give, {per_cent(estimate.lower)} to "
        f"{per_cent(estimate.upper)}, {held} the true accuracy of {per_cent(truth)}."
    )


def _drift_told(report: Report) -> Iterator[str]:
    counts = report.drift.counts
    called = counts["residual"] + counts["error"]
    yield (
        f"Drift alarms that call for a response: {called:,}; of features alone: "
        f"{counts['features']:,}."
    )
