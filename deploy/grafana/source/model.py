"""What has been learned: how right, how calibrated, how it changes, what it asks for."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.source.expressions import increase, of, over, per_minute, values
from deploy.grafana.source.frame import Panels, Row, framed
from deploy.grafana.source.looks import BLUE, GREY, ORANGE, Query, limits
from deploy.grafana.source.panels import figure, graph, listing, states

__all__ = ["build"]

_PER_CLASS = (
    ("Recall", "recall", "Estimated share of a class's events that are predicted as it."),
    (
        "Precision",
        "precision",
        "Estimated share of the events predicted as a class that are of it.",
    ),
    ("F1", "f1", "Harmonic mean of recall and precision."),
    (
        "Average precision",
        "average_precision",
        "How well the class's probability ranks all events, without a threshold: 1 is perfect, the "
        "share of the class in traffic is chance.",
    ),
)


def build() -> Dashboard:
    """Build the dashboard."""
    return framed(
        "model",
        "Model",
        "What has been learned: how right, how calibrated, how it changes, what it asks for.",
        [("", [*_figures(), *_right()]), _classes(), _learning(), _replicas(), _asking()],
    )


def _figures() -> Panels:
    return [
        figure(
            "Accuracy",
            "Estimated share of right predictions among all events up to the watermark, since the "
            "start.",
            "percentunit",
            Query(over("accuracy_ratio"), "accuracy"),
            decimals=1,
        ),
        figure(
            "Events it is about",
            "Predictions up to the watermark: the accuracy beside it is about them, whether they "
            "were asked about or not.",
            "short",
            Query(over("accuracy_events"), "events"),
        ),
        figure(
            "Calibration is off by",
            "How far probabilities are from what comes true. Near 0 is healthy.",
            "percentunit",
            Query(over("calibration_error_ratio"), "error"),
            decimals=1,
        ),
        figure(
            "Alarms of drift",
            "Since the training log began, of all causes.",
            "short",
            Query(f"sum({over('drift_alarms', 'cause')})", "alarms"),
            words={"0": "none"},
        ),
        figure(
            "Asking helps by",
            "What selecting labels adds to accuracy over picking as many at random.",
            "percentunit",
            Query(over("helping_difference_ratio"), "difference"),
            decimals=1,
        ),
        figure(
            "Maintenance",
            "Whether the policy asks as little as `gate.floor` says, because criteria for stopping "
            "are met.",
            "none",
            Query(over("maintenance"), "maintenance"),
            words={"0": "no", "1": "yes"},
        ),
    ]


def _right() -> Panels:
    return [
        graph(
            "Accuracy since the start",
            "Estimated share of right predictions among all events up to the watermark. The limits "
            "hold at all times at once with 95 %, however often one looks.",
            "percentunit",
            *limits(
                over("accuracy_limit_ratio", limit="lower"),
                over("accuracy_limit_ratio", limit="upper"),
            ),
            Query(over("accuracy_ratio"), "accuracy", BLUE),
            high=1,
        ),
        graph(
            "Accuracy since the last drift",
            "The same, counted from the last drift that called for a response: nothing before the "
            "first one, nor until there are answers since the last.",
            "percentunit",
            *limits(
                over("accuracy_since_drift_limit_ratio", limit="lower"),
                over("accuracy_since_drift_limit_ratio", limit="upper"),
            ),
            Query(over("accuracy_since_drift_ratio"), "accuracy", BLUE),
            high=1,
        ),
        graph(
            "Calibration error",
            "How far probabilities are from what comes true, on the last 1,000 explored answers, "
            "less what chance alone would make; 95 % limits for one look. Near 0 is healthy: "
            "among events given 0.8, eight in ten are right.",
            "percentunit",
            *limits(
                over("calibration_error_limit_ratio", limit="lower"),
                over("calibration_error_limit_ratio", limit="upper"),
            ),
            Query(over("calibration_error_ratio"), "error", BLUE),
            low=0,
            runbook="streamalmiscalibrated",
        ),
    ]


def _classes() -> Row:
    return "By class", [
        graph(
            title,
            f"{meaning} From explored events, up to the watermark; with few events of a class it "
            "jumps.",
            "percentunit",
            Query(over(f"class_{name}_ratio", "class"), "{{class}}"),
            width=6,
            low=0,
            high=1,
        )
        for title, name, meaning in _PER_CLASS
    ]


def _learning() -> Row:
    return "Learning", [
        graph(
            "Committee",
            "Each member's share of the prediction, by its memory and learning rate. Shares move "
            "towards whoever has predicted best lately; one plain model has no shares.",
            "percentunit",
            Query(over("committee_weight_ratio", "member"), "{{member}}"),
            low=0,
            high=1,
            stacked=True,
        ),
        graph(
            "Drift alarms by cause",
            "Alarms since the training log began. residual: labelled events are surprising; error: "
            "more of them are wrong; features: traffic looks different. Each step up is an alarm.",
            "short",
            *(
                Query(over("drift_alarms", cause=cause), cause)
                for cause in values("drift_alarms", "cause")
            ),
            low=0,
            runbook="streamaldrift",
        ),
        graph(
            "Does asking help?",
            "Accuracy of a learner of the labels that were selected, less that of one of as many "
            "labels picked at random, with limits that hold at all times. Limits above 0: "
            "selecting pays; below 0: it harms.",
            "percentunit",
            *limits(
                over("helping_difference_limit_ratio", limit="lower"),
                over("helping_difference_limit_ratio", limit="upper"),
            ),
            Query(over("helping_difference_ratio"), "difference", BLUE),
            runbook="streamalsignrandomahead",
        ),
        states(
            "Criteria for stopping",
            "Which criteria for asking less are met, and whether the policy is in maintenance, "
            "where it asks as little as `gate.floor` says. Maintenance comes by `gate.stop_when` "
            "only.",
            Query(over("stopping_criterion", "criterion"), "{{criterion}}"),
            Query(over("maintenance"), "in maintenance"),
            words={"0": ("no", GREY), "1": ("yes", BLUE)},
            width=12,
        ),
        graph(
            "What taught it",
            "Labels learnt from, a minute: in time, late (after the request had been closed), and "
            "revised ones, which are learnt again.",
            "cpm",
            *(
                Query(per_minute("labels_total", outcome=outcome), outcome)
                for outcome in ("labelled", "late", "revised")
            ),
            width=12,
            low=0,
        ),
    ]


def _replicas() -> Row:
    return "Replicas", [
        graph(
            "Model version",
            "Offset of the last training record that each replica has folded. Healthy: all lines "
            "lie on one another and rise; one that lags decides by an older model.",
            "short",
            Query(over("model_version", "instance"), "{{instance}}"),
        ),
        graph(
            "Still to be folded",
            "Records of the training log that a replica has not learnt from yet. Near zero is "
            "healthy; after a start it falls from the length of the log.",
            "short",
            Query(over("fold_lag_records", "instance"), "{{instance}}"),
            low=0,
            runbook="streamalfoldlag",
        ),
        graph(
            "Age of the snapshot",
            "Time since each replica's last snapshot of the fold. Up to `loop.snapshot_s` is "
            "healthy; nothing is shown where no snapshots are taken.",
            "s",
            Query(over("snapshot_age_seconds", "instance"), "{{instance}}"),
            low=0,
            runbook="streamalsnapshotsfail",
        ),
        figure(
            "Snapshots in trouble",
            "In the time range shown: those that did not fit (a damaged file, or one of another "
            "configuration), so that the log was folded from its start, and those that could not "
            "be written.",
            "short",
            Query(increase("snapshots_refused_total"), "refused"),
            Query(increase("snapshots_failed_total"), "not written"),
            steps=[(1, ORANGE)],
            words={"0": "none"},
            whole_range=True,
            width=8,
            runbook="streamalsnapshotrefused",
        ),
        listing(
            "Folds in force",
            "How many replicas run which fold and which kind of model. More than one fold for long "
            "means that replicas have different learner configurations.",
            {
                "fold_id": ("fold", ""),
                "model": ("model", ""),
                "Value": ("replicas", "short"),
            },
            Query(over("model_info", "fold_id", "model")),
            width=16,
            height=4,
        ),
    ]


def _asking() -> Row:
    return "What it asks for", [
        graph(
            "Requests by reason",
            "Label requests a minute, by what asked: the policy (hard events), exploration (picked "
            "at random), both, an operator's boost, or the burst after a drift.",
            "cpm",
            *(
                Query(per_minute("label_requests_total", reason=reason), reason)
                for reason in values("label_requests_total", "reason")
            ),
            low=0,
            stacked=True,
            runbook="streamalasksnothing",
        ),
        graph(
            "Threshold",
            "What the policy compares scores with, by partition; it asks above it. It adapts so "
            "that the budget is spent; stuck at 0 or 1, it has lost its grip on the scores.",
            "none",
            Query(over("threshold", "partition"), "partition {{partition}}"),
            low=0,
            high=1,
            runbook="streamalthresholduseless",
        ),
        graph(
            "Requests that may be made at once",
            "What the policy has left in its buckets, by partition, and the burst that bounds what "
            "may stand over the budget. Empty for long: more events are worth asking about than "
            "the budget pays for. Full for long: fewer.",
            "short",
            Query(over("budget_tokens", "partition"), "partition {{partition}}"),
            Query(
                f"{over('budget_burst_requests')} / count({of('budget_tokens')})",
                "burst of a partition",
                GREY,
                dashed=True,
            ),
            low=0,
        ),
    ]
