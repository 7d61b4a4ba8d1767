"""What the training log tells about itself, as gauges."""

from __future__ import annotations

import math

from consumers.telemetry import Telemetry
from stream_al.learner.monitor import Insight
from stream_al.learner.rare import Figure

__all__ = ["tell_insight"]


def tell_insight(insight: Insight, telemetry: Telemetry) -> None:
    """Set what the training log tells about itself; what is not known shows nothing."""

    def tell(name: str, value: float | None, *labels: str) -> None:
        telemetry.set(name, math.nan if value is None else float(value), *labels)

    estimate, rolling, agreement = insight.estimate, insight.rolling, insight.agreement
    tell("accuracy_ratio", estimate.value)
    tell("accuracy_limit_ratio", estimate.lower, "lower")
    tell("accuracy_limit_ratio", estimate.upper, "upper")
    tell("accuracy_events", estimate.events)
    since, calibration = insight.epoch, insight.calibration
    # Told of a drift too that has no answers yet, or the figures of the one before would stay.
    drifted = since.epoch > 1 and since.value is not None
    tell("accuracy_since_drift_ratio", since.value if drifted else None)
    for limit, value in (("lower", since.lower), ("upper", since.upper)):
        tell("accuracy_since_drift_limit_ratio", value if drifted else None, limit)
    tell("calibration_error_ratio", calibration.ece)
    tell("calibration_error_limit_ratio", calibration.lower, "lower")
    tell("calibration_error_limit_ratio", calibration.upper, "upper")
    tell("rolling_accuracy_ratio", rolling.value)
    tell("rolling_accuracy_limit_ratio", rolling.lower, "lower")
    tell("rolling_accuracy_limit_ratio", rolling.upper, "upper")
    helping = insight.helping
    tell("helping_difference_ratio", helping.difference)
    for limit, value in (("lower", helping.lower), ("upper", helping.upper)):
        tell("helping_difference_limit_ratio", value if helping.pairs else None, limit)
    tell("annotators_kappa_ratio", agreement.random.kappa.value, "random")
    tell("annotators_kappa_ratio", agreement.picked.kappa.value, "picked")
    gold = agreement.gold
    tell("annotators_gold_ratio", gold.value)
    for limit, value in (("lower", gold.lower), ("upper", gold.upper)):
        known = None if gold.value is None else value
        tell("annotators_gold_limit_ratio", known, limit)
    for cause, count in insight.drift.counts.items():
        tell("drift_alarms", count, cause)
    for name, sign in insight.warnings.items():
        tell("warning", sign.on, name)
    for criterion, state in insight.stopping.criteria.items():
        tell("stopping_criterion", state.met, criterion)
    for of, quality in insight.classes.items():
        tell("class_recall_ratio", _value(quality.recall), of)
        tell("class_precision_ratio", _value(quality.precision), of)
        tell("class_f1_ratio", _value(quality.f1), of)
        tell("class_average_precision_ratio", _value(quality.average_precision), of)
    for annotator, found in agreement.annotators.items():
        tell("annotator_answers", found.answers, annotator)
        tell("annotator_agreement_ratio", found.agreement.value, annotator)


def _value(figure: Figure | None) -> float | None:
    return None if figure is None else figure.value
