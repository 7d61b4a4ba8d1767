"""The warning signs of whole replays: for each one that brings it on, and one that does not."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from stream_al import Config, Engine, Event, GateConfig, Label, LearnerConfig
from stream_al.learner.warning_signs import Sign, SignName
from stream_al.records import Features, LabelRequest

Row = tuple[Features, str]
Answer = Callable[[LabelRequest, str, str], str]
"""What an annotator of a name answers to a request whose truth is given."""

OTHER = {"a": "b", "b": "a"}
PLAIN = LearnerConfig(committee=False)


def honest(_request: LabelRequest, truth: str, _annotator: str) -> str:
    """Answer the truth."""
    return truth


def warned(config: Config, rows: Iterator[Row], answer: Answer = honest) -> dict[SignName, Sign]:
    """Play a stream with annotators that answer at once; the signs at its end."""
    engine = Engine(config)
    for i, (features, truth) in enumerate(rows):
        request = engine.decide_one(Event(offset=i, features=features)).request
        names = ["ann", "bob"][: request.opinions] if request is not None else []
        while request is not None:
            asked, request = request, None
            for name in names:
                said = Label(
                    request_id=asked.request_id, label=answer(asked, truth, name), annotator=name
                )
                request = engine.learn_one(said).ask
            names = ["cat"]
    return engine.fold.monitor.insight().warnings


def overlapping(events: int, copies: int) -> Iterator[Row]:
    """Two classes that overlap on a number which is given several times."""
    draws = random.Random(1)
    for _ in range(events):
        label = draws.choice("ab")
        x = draws.gauss(0.4 if label == "b" else -0.4, 1.0)
        yield {f"x{i}": x for i in range(copies)}, label


def one_number(events: int) -> Iterator[Row]:
    """Two classes that one number tells apart."""
    draws = random.Random(3)
    for _ in range(events):
        x = draws.gauss(0, 2)
        yield {"x0": x}, "b" if x > 0 else "a"


@pytest.mark.parametrize(("calibrate", "on"), [(False, True), (True, False)])
def test_calibration(calibrate: bool, on: bool) -> None:
    """Copies of one feature make naive Bayes too sure of itself; calibration takes that back."""
    learner = LearnerConfig(model="naive-bayes", committee=False, calibrate=calibrate)
    config = Config(gate=GateConfig(budget=0.3), learner=learner)
    sign = warned(config, overlapping(6000, 8))["calibration"]
    assert sign.on == on
    assert sign.value is not None
    assert (sign.value > 0.1) == on


@pytest.mark.parametrize("harder", [True, False])
def test_agreement(harder: bool) -> None:
    """Annotators who err where the model is unsure agree less there; who err anywhere do not."""
    draws = random.Random(2)

    def answer(request: LabelRequest, truth: str, annotator: str) -> str:
        hard = abs(float(request.features["x0"])) < 0.5
        rate = (0.4 if hard else 0.0) if harder else 0.15
        wrong = annotator != "cat" and draws.random() < rate
        return OTHER[truth] if wrong else truth

    gate = GateConfig(budget=0.3, second_opinion=1.0)
    sign = warned(Config(gate=gate, learner=PLAIN), one_number(6000), answer)["agreement"]
    assert sign.value is not None
    assert sign.on == harder
