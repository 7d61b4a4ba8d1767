"""Whether it is healthy, what it asks, how right it is."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.source.expressions import (
    any_of,
    increase,
    of,
    over,
    process,
    quantile,
    rate,
    values,
)
from deploy.grafana.source.frame import Panels, Row, framed
from deploy.grafana.source.looks import BLUE, GREEN, GREY, ORANGE, RED, Query, limits
from deploy.grafana.source.panels import figure, graph, states

__all__ = ["build"]


def build() -> Dashboard:
    """Build the dashboard."""
    return framed(
        "overview",
        "Overview",
        "Query rate against budget, accuracy with its limits, and whether everything runs.",
        [("", [*_figures(), *_asked_and_right()]), _labels(), _signs(), _running()],
    )


def _figures() -> Panels:
    return [
        figure(
            "Query rate",
            "Share of events that somebody was asked about, in the time range shown. It stays at "
            "the budget or below, but for a burst of some requests.",
            "percentunit",
            Query(f"{increase('label_requests_total')} / {increase('events_total')}", "query rate"),
            decimals=2,
            whole_range=True,
        ),
        figure(
            "Rolling accuracy",
            "Estimated share of right predictions among all recent events, asked about or not. "
            "Unbiased: it comes from events picked at random.",
            "percentunit",
            Query(over("rolling_accuracy_ratio"), "accuracy"),
            decimals=1,
        ),
        figure(
            "Labels saved",
            "Events in the time range shown that were predicted without asking anybody.",
            "short",
            Query(increase("predictions_total", action="auto"), "labels saved"),
            whole_range=True,
        ),
        figure(
            "Open requests",
            "Label requests that wait for an answer.",
            "short",
            Query(over("open_requests"), "open"),
        ),
        figure(
            "Warning signs on",
            "How many warning signs are on; none is healthy. Which they are is shown below.",
            "short",
            Query(f"sum({over('warning', 'sign')})", "signs"),
            steps=[(1, ORANGE)],
            words={"0": "none"},
        ),
        figure(
            "Down or not ready",
            "Processes that Prometheus cannot reach, and roles that are not ready. 0 is healthy; "
            "a role is not ready for a while after it starts.",
            "short",
            Query(f"{any_of(process('up') + ' == 0')} + {any_of(of('ready') + ' == 0')}", "down"),
            steps=[(1, RED)],
            words={"0": "none"},
            runbook="streamalnotready",
        ),
    ]


def _asked_and_right() -> Panels:
    return [
        graph(
            "Query rate against budget",
            "Share of events that somebody is asked about. Healthy: around the budget or below it. "
            "For a short time it may be above it, by the burst; for long it cannot. Stuck at zero, "
            "nothing is learned any more.",
            "percentunit",
            Query(f"{rate('label_requests_total')} / {rate('events_total')}", "asked", BLUE),
            Query(over("query_ratio"), "asked, last 10,000 events", ORANGE),
            Query(over("budget_ratio"), "budget", GREY, dashed=True),
            width=12,
            height=9,
            low=0,
            runbook="streamalbudgetoverspent",
        ),
        graph(
            "Rolling accuracy with its interval",
            "Blue: estimated share of right predictions among all events of the last 200 blocks of "
            "each partition up to the watermark, with limits that hold for one look with 95 %. "
            "Broken line: the same among labelled requests only, which are harder than traffic; it "
            "is shown because it is what one would see without exploration.",
            "percentunit",
            *limits(
                over("rolling_accuracy_limit_ratio", limit="lower"),
                over("rolling_accuracy_limit_ratio", limit="upper"),
            ),
            Query(over("rolling_accuracy_ratio"), "accuracy", BLUE),
            Query(over("rolling_accuracy_naive_ratio"), "naive", ORANGE, dashed=True),
            width=12,
            height=9,
            high=1,
            runbook="streamalaccuracybelowtarget",
        ),
    ]


def _labels() -> Row:
    return "Labels", [
        graph(
            "Accuracy is behind by",
            "Events that were decided after the watermark, by partition: accuracy does not know of "
            "them yet, because an earlier explored request waits for its answer. As many as come "
            "in the time that answers take is normal; a rise without end means that a request "
            "is neither answered nor expires.",
            "short",
            Query(over("accuracy_watermark_lag_events", "partition"), "partition {{partition}}"),
            low=0,
            runbook="streamalwatermarkbehind",
        ),
        graph(
            "Label delay",
            "Time from a request to the answer that labelled it: half of the answers, and nine in "
            "ten, come sooner.",
            "s",
            Query(quantile(0.5, "label_delay_seconds"), "half"),
            Query(quantile(0.9, "label_delay_seconds"), "nine in ten"),
            low=0,
            gaps=False,
            runbook="streamallabelslate",
        ),
        graph(
            "Requests that wait",
            "Label requests without an answer. A level is healthy; a rise without end means that "
            "more is asked than people can answer.",
            "short",
            Query(over("open_requests"), "open"),
            low=0,
            runbook="streamalqueueovercapacity",
        ),
    ]


def _signs() -> Row:
    return "Signs of trouble", [
        states(
            "Warning signs",
            "Reasons to distrust the asking or the figures. recall: a class is seldom found; "
            "agreement: annotators disagree on what is picked more than on what is explored; "
            "calibration: probabilities are off; random-ahead: asking at random would teach more; "
            "concentrated: requests pile up in one region. All off is healthy.",
            Query(over("warning", "sign"), "{{sign}}"),
            words={"0": ("off", GREY), "1": ("on", RED)},
            runbook="streamalsignrecall",
        ),
        graph(
            "Drift alarms",
            "Alarms since the training log began, by what gave them: residuals and errors of "
            "labelled events, or features of all traffic. Each step up is an alarm; seldom is "
            "healthy.",
            "short",
            *(
                Query(over("drift_alarms", cause=cause), cause)
                for cause in values("drift_alarms", "cause")
            ),
            low=0,
            runbook="streamaldrift",
        ),
        graph(
            "Records that wait",
            "What is written to an input and not yet read, by role and topic. Near zero is "
            "healthy; a rise without end means that more comes than is processed.",
            "short",
            Query(over("consumer_lag_records", "role", "topic"), "{{role}}: {{topic}}"),
            low=0,
            runbook="streamaleventslag",
        ),
    ]


def _running() -> Row:
    return "What runs", [
        states(
            "Up and ready",
            "For each process whether Prometheus reaches it, and for each of its roles whether it "
            "is ready. A gap: nothing was scraped.",
            Query(f"min by (instance) ({process('up')})", "{{instance}} up"),
            Query(over("ready", "instance", "role"), "{{instance}} {{role}}"),
            words={"0": ("no", RED), "1": ("yes", GREEN)},
            width=12,
            runbook="streamalreplicadown",
        ),
        graph(
            "Events",
            "Events read in a second, and what became of them: predicted without asking, asked "
            "about, or not usable.",
            "eps",
            Query(rate("events_total"), "read"),
            Query(rate("predictions_total", action="auto"), "predicted alone", GREEN),
            Query(rate("predictions_total", action="ask"), "asked about", ORANGE),
            Query(rate("dead_letters_total", role="gate"), "dead letters", RED),
            width=12,
            low=0,
        ),
        states(
            "Told by an operator",
            "`stream-al pause`: only exploration asks. `stream-al boost`: the policy asks while "
            "there are tokens. Either holds until it ends or `stream-al resume`.",
            Query(over("control", "action"), "{{action}}"),
            words={"0": ("no", GREY), "1": ("holds", ORANGE)},
            width=24,
            height=4,
        ),
    ]
