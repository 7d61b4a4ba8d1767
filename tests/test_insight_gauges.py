"""What the training log tells about itself stands in the metrics, figure by figure."""

from __future__ import annotations

import random

import msgspec
import pytest
from prometheus_client import parser

from consumers.insight_gauges import tell_insight
from consumers.telemetry import Telemetry
from stream_al import Config, Engine, Event, GateConfig, Label
from stream_al.learner.monitor import Insight
from stream_al.metrics import PREFIX


@pytest.fixture(scope="module")
def insight() -> Insight:
    """Play a stream whose boundary turns, asking two annotators who err now and then."""
    engine = Engine(Config(gate=GateConfig(budget=0.2, second_opinion=0.5)))
    draws = random.Random(7)
    for i in range(6_000):
        x, y = draws.gauss(0, 1), draws.gauss(0, 1)
        truth = "a" if (x if i < 3_000 else -x) + y > 0 else "b"
        request = engine.decide_one(Event(offset=i, features={"x": x, "y": y})).request
        if request is None:
            continue
        for name in ["ann", "bob", "cat"][: 3 if request.opinions == 2 else 1]:
            right = name == "cat" or draws.random() > 0.1
            label = truth if right else draws.choice("ab")
            # Where two agree the third is a double, and changes nothing.
            engine.learn_one(Label(request_id=request.request_id, label=label, annotator=name))
    return engine.fold.monitor.insight()


def shown(*insights: Insight) -> dict[tuple[str, ...], float]:
    """Return what is rendered once these were told in turn, by name and values of labels."""
    telemetry = Telemetry(["gate"])
    for insight in insights:
        tell_insight(insight, telemetry)
    return {
        (sample.name.removeprefix(PREFIX), *sample.labels.values()): sample.value
        for family in parser.text_string_to_metric_families(telemetry.render().decode())
        for sample in family.samples
    }


def test_every_figure_stands_where_it_belongs(insight: Insight) -> None:
    """Estimates, limits, classes, drift, signs and annotators read as they were estimated."""
    found = shown(insight)
    recall, precision = insight.classes["a"].recall, insight.classes["a"].precision
    ranked, f1 = insight.classes["b"].average_precision, insight.classes["b"].f1
    assert recall is not None
    assert precision is not None
    assert ranked is not None
    assert f1 is not None
    ann = insight.agreement.annotators["ann"]
    expected = {
        ("accuracy_ratio",): insight.estimate.value,
        ("accuracy_limit_ratio", "lower"): insight.estimate.lower,
        ("accuracy_limit_ratio", "upper"): insight.estimate.upper,
        ("accuracy_events",): insight.estimate.events,
        ("accuracy_since_drift_ratio",): insight.epoch.value,
        ("accuracy_since_drift_limit_ratio", "lower"): insight.epoch.lower,
        ("rolling_accuracy_ratio",): insight.rolling.value,
        ("rolling_accuracy_limit_ratio", "upper"): insight.rolling.upper,
        ("calibration_error_ratio",): insight.calibration.ece,
        ("calibration_error_limit_ratio", "upper"): insight.calibration.upper,
        ("class_recall_ratio", "a"): recall.value,
        ("class_precision_ratio", "a"): precision.value,
        ("class_f1_ratio", "b"): f1.value,
        ("class_average_precision_ratio", "b"): ranked.value,
        ("drift_alarms", "residual"): insight.drift.counts["residual"],
        ("warning", "recall"): insight.warnings["recall"].on,
        ("stopping_criterion", "stability"): insight.stopping.criteria["stability"].met,
        ("helping_difference_ratio",): insight.helping.difference,
        ("helping_difference_limit_ratio", "lower"): insight.helping.lower,
        ("helping_difference_limit_ratio", "upper"): insight.helping.upper,
        ("annotators_kappa_ratio", "picked"): insight.agreement.picked.kappa.value,
        ("annotator_answers", "ann"): ann.answers,
        ("annotator_agreement_ratio", "ann"): ann.agreement.value,
    }
    assert insight.epoch.epoch > 1
    assert None not in expected.values()
    assert {key: found[key] for key in expected} == expected


def test_what_is_not_known_shows_nothing(insight: Insight) -> None:
    """A figure that cannot be told has no series, rather than a number that it is not."""
    unknown = Engine().fold.monitor.insight()
    found = shown(unknown)
    for name in ("accuracy_ratio", "accuracy_since_drift_ratio", "calibration_error_ratio"):
        assert (name,) not in found
    assert not any(key[0].startswith("class_") for key in found)
    first = shown(msgspec.structs.replace(insight, epoch=insight.estimate))
    assert ("accuracy_since_drift_ratio",) not in first


def test_what_is_not_known_any_more_goes_away(insight: Insight) -> None:
    """After another drift nothing is shown of accuracy since the one before."""
    again = msgspec.structs.replace(insight.epoch, epoch=insight.epoch.epoch + 1, value=None)
    found = shown(insight, msgspec.structs.replace(insight, epoch=again))
    assert ("accuracy_ratio",) in found
    assert not any(key[0].startswith("accuracy_since_drift") for key in found)
