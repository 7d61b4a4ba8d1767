"""Metrics of what is decided, and by which model."""

from __future__ import annotations

import math

from stream_al.metrics.declared import GATE, Metric

__all__ = ["DECIDING"]

DECIDING: tuple[Metric, ...] = (
    Metric(
        "events_total",
        "counter",
        "events",
        "Events read, those that became dead letters included.",
        roles=GATE,
    ),
    Metric(
        "predictions_total",
        "counter",
        "predictions",
        "Predictions committed: `ask` with a label request, `auto` without.",
        roles=GATE,
        labels=("action",),
        values={"action": ("ask", "auto")},
    ),
    Metric(
        "label_requests_total",
        "counter",
        "requests",
        (
            "Label requests committed, by what asked: the policy, exploration, both, or an "
            "operator's boost."
        ),
        roles=GATE,
        labels=("reason",),
        values={"reason": ("policy", "explore", "both", "boost", "burst")},
    ),
    Metric(
        "budget_ratio",
        "gauge",
        "ratio",
        "Label requests that each event pays for: `gate.budget`.",
        aggregate="max",
        roles=GATE,
        initial=math.nan,
    ),
    Metric(
        "budget_burst_requests",
        "gauge",
        "requests",
        (
            "Label requests that may stand over budget times events at any time, over the "
            "partitions of this process."
        ),
        roles=GATE,
        initial=math.nan,
    ),
    Metric(
        "query_ratio",
        "gauge",
        "ratio",
        (
            "Share of the last 10,000 events or so that was asked about, over the partitions of "
            "this process; absent before the first. Processes weigh alike in its mean: requests "
            "divided by events is exact."
        ),
        aggregate="avg",
        roles=GATE,
        initial=math.nan,
    ),
    Metric(
        "rolling_accuracy_naive_ratio",
        "gauge",
        "ratio",
        (
            "Share of the last 1,000 labelled requests that had been predicted right; absent "
            "before the first. Naive: what is asked about is harder than traffic."
        ),
        aggregate="avg",
        roles=GATE,
        initial=math.nan,
    ),
    Metric(
        "budget_tokens",
        "gauge",
        "tokens",
        "Label requests that the policy may make at once.",
        roles=GATE,
        labels=("partition",),
    ),
    Metric(
        "threshold",
        "gauge",
        "",
        "What the policy compares scores with, in [0, 1].",
        aggregate="avg",
        roles=GATE,
        labels=("partition",),
    ),
    Metric(
        "committee_weight_ratio",
        "gauge",
        "ratio",
        "A member's share of the prediction, by its memory and learning rate.",
        aggregate="avg",
        roles=GATE,
        labels=("member",),
    ),
    Metric(
        "control",
        "gauge",
        "",
        "1 while what an operator told all gates holds, else 0.",
        aggregate="max",
        roles=GATE,
        labels=("action",),
        values={"action": ("pause", "boost")},
        initial=math.nan,
    ),
    Metric(
        "model_version",
        "gauge",
        "",
        "Offset of the last data record of the training log that was folded, + 1; 0: none.",
        aggregate="min",
        roles=GATE,
        initial=math.nan,
    ),
    Metric(
        "model_info",
        "info",
        "",
        "The fold in force, and the kind of model that it trains.",
        aggregate="count",
        roles=GATE,
        labels=("fold_id", "model"),
    ),
    Metric(
        "fold_lag_records",
        "gauge",
        "records",
        "Offsets of the training log that are still to be folded.",
        aggregate="max",
        roles=GATE,
    ),
)
