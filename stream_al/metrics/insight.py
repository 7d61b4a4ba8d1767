"""Metrics of what the training log tells about itself: every replica has the same."""

from __future__ import annotations

import math
from typing import get_args

from stream_al.learner.stopping import Criterion
from stream_al.learner.warning_signs import SignName
from stream_al.metrics.declared import GATE, Aggregate, Metric

__all__ = ["INSIGHT"]

_LIMITS: dict[str, tuple[str, ...]] = {"limit": ("lower", "upper")}


def _gauge(
    name: str,
    meaning: str,
    values: dict[str, tuple[str, ...]] | None = None,
    *,
    labels: tuple[str, ...] = (),
    unit: str = "",
    aggregate: Aggregate = "max",
) -> Metric:
    """Declare a gauge that is absent until it is known, with labels whose values are, or not."""
    values = values or {}
    unit = unit or ("ratio" if name.endswith("_ratio") else "")
    labels = labels or tuple(values)
    return Metric(name, "gauge", unit, meaning, aggregate, GATE, labels, values, initial=math.nan)


INSIGHT: tuple[Metric, ...] = (
    _gauge(
        "accuracy_ratio",
        "Estimated share of right predictions among all events up to the watermark, from explored "
        "events; unbiased, unlike the naive one.",
    ),
    _gauge(
        "accuracy_limit_ratio",
        "Limits of `accuracy_ratio` that hold at all times at once with 95 %.",
        _LIMITS,
    ),
    _gauge(
        "rolling_accuracy_ratio",
        "As `accuracy_ratio`, over the last 200 blocks of each partition before the watermark.",
    ),
    _gauge(
        "rolling_accuracy_limit_ratio",
        "Pointwise limits of `rolling_accuracy_ratio`: 95 % for one look, not for all.",
        _LIMITS,
    ),
    _gauge(
        "accuracy_events",
        "Predictions up to the watermark, which the accuracy is about.",
        unit="events",
    ),
    _gauge(
        "accuracy_watermark_lag_events",
        "Events of a partition, by offset, that were decided after the watermark: accuracy does "
        "not know of them yet.",
        labels=("partition",),
        unit="events",
        aggregate="sum",
    ),
    _gauge(
        "accuracy_since_drift_ratio",
        "As `accuracy_ratio`, since the last drift that called for a response; absent before its "
        "first answers.",
    ),
    _gauge(
        "accuracy_since_drift_limit_ratio",
        "Limits of `accuracy_since_drift_ratio` that hold at all times, of all such stretches.",
        _LIMITS,
    ),
    _gauge(
        "calibration_error_ratio",
        "Expected calibration error on the last 1,000 explored answers, without what chance alone "
        "would make.",
    ),
    _gauge(
        "calibration_error_limit_ratio",
        "Pointwise 95 % limits of `calibration_error_ratio`.",
        _LIMITS,
    ),
    _gauge(
        "class_recall_ratio",
        "Estimated share of a class's events that are predicted as it, up to the watermark.",
        labels=("class",),
    ),
    _gauge(
        "class_precision_ratio",
        "Estimated share of the events predicted as a class that are of it.",
        labels=("class",),
    ),
    _gauge(
        "class_f1_ratio",
        "Harmonic mean of `class_recall_ratio` and `class_precision_ratio`.",
        labels=("class",),
    ),
    _gauge(
        "class_average_precision_ratio",
        "Estimated average precision of all events ranked by the probability of a class.",
        labels=("class",),
    ),
    _gauge(
        "drift_alarms",
        "Alarms of drift in the training log, by cause; every replica counts the same.",
        {"cause": ("residual", "error", "features")},
        unit="alarms",
    ),
    _gauge(
        "warning",
        "1 while a warning sign is on, else 0.",
        {"sign": get_args(SignName)},
    ),
    _gauge(
        "stopping_criterion",
        "1 while a criterion for stopping is met, else 0.",
        {"criterion": get_args(Criterion)},
        aggregate="min",
    ),
    _gauge(
        "maintenance",
        "1 while the policy asks as little as `gate.floor` says, by `gate.stop_when`; else 0.",
    ),
    _gauge(
        "helping_difference_ratio",
        "Accuracy of a learner of selected labels less that of one of as many random labels.",
    ),
    _gauge(
        "helping_difference_limit_ratio",
        "Limits of `helping_difference_ratio` that hold at all times at once with 95 %.",
        _LIMITS,
    ),
    _gauge(
        "annotators_kappa_ratio",
        "Agreement of annotators beyond chance, on explored and on picked requests.",
        {"requests": ("random", "picked")},
    ),
    _gauge(
        "annotators_gold_ratio",
        "Share of gold cases that annotators answer right; absent before the first answer.",
    ),
    _gauge(
        "annotators_gold_limit_ratio",
        "Pointwise 95 % limits of `annotators_gold_ratio`.",
        _LIMITS,
    ),
    _gauge(
        "annotator_answers",
        "Answers in the training log by annotator, the first hundred by name.",
        labels=("annotator",),
        unit="answers",
    ),
    _gauge(
        "annotator_agreement_ratio",
        "Share of others' answers to the same requests that agree with an annotator's.",
        labels=("annotator",),
    ),
)
