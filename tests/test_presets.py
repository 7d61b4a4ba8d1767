"""Every model that can be named learns from what streams are made of."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from stream_al.config import LearnerConfig
from stream_al.learner.committee import Committee
from stream_al.learner.models import PRESETS
from stream_al.records import Features

LABELS = 240


def by_text(drawn: random.Random) -> tuple[Features, str]:
    """Return an event whose only feature is text that names its class."""
    k = drawn.randrange(2)
    return {"kind": ("red", "blue")[k]}, ("yes", "no")[k]


def by_flag(drawn: random.Random) -> tuple[Features, str]:
    """Return an event whose class is a boolean, beside a number that tells nothing."""
    flag = drawn.random() < 0.5
    return {"flag": flag, "noise": drawn.gauss(0.0, 1.0)}, "yes" if flag else "no"


def by_kind_of_three(drawn: random.Random) -> tuple[Features, str]:
    """Return an event of one of three classes, told by text."""
    k = drawn.randrange(3)
    return {"kind": ("red", "blue", "green")[k], "same": 4.0}, ("yes", "no", "odd")[k]


def by_kind_mostly(drawn: random.Random) -> tuple[Features, str]:
    """Return an event whose text tells its class in nine of ten cases."""
    x, label = by_text(drawn)
    return x, label if drawn.random() < 0.9 else "yes"


def by_number(drawn: random.Random) -> tuple[Features, str]:
    """Return an event of one of three classes, each on its own side of the other two."""
    k = drawn.randrange(3)
    a, b = ((4.0, 0.0), (0.0, 4.0), (-4.0, -4.0))[k]
    return {"a": drawn.gauss(a, 1.0), "b": drawn.gauss(b, 1.0)}, ("yes", "no", "odd")[k]


def by_binary_number(drawn: random.Random) -> tuple[Features, str]:
    """Return an event whose class is a number that is 0 or 1."""
    k = drawn.randrange(2)
    return {"bit": k, "noise": drawn.gauss(0.0, 1.0)}, ("yes", "no")[k]


@pytest.mark.parametrize("committee", [False, True])
@pytest.mark.parametrize(
    "draw", [by_text, by_flag, by_kind_of_three, by_kind_mostly, by_number, by_binary_number]
)
@pytest.mark.parametrize("model", PRESETS)
def test_presets_learn_from_every_kind_of_feature(
    model: str, draw: Callable[[random.Random], tuple[Features, str]], committee: bool
) -> None:
    """Text, booleans and numbers, of two classes and of three, are learnt by every preset."""
    learner = Committee(LearnerConfig(model=model, committee=committee, draws=1))
    drawn = random.Random(f"{model} {draw.__name__}")
    right = tried = 0
    for offset in range(LABELS):
        x, label = draw(drawn)
        learner.observe_one(x)
        if offset >= LABELS // 2:
            p = learner.predict_one(x)
            assert sum(p.values()) == pytest.approx(1.0)
            right += max(p, key=p.__getitem__) == label
            tried += 1
        learner.learn_one(x, label, 1.0, offset)
    # A classifier that has learnt nothing is right in a half or a third of the cases.
    assert right / tried > 0.8


@pytest.mark.parametrize("model", PRESETS)
def test_presets_bear_events_that_tell_nothing(model: str) -> None:
    """Constant features, empty events and features that come and go are learnt and predicted."""
    learner = Committee(LearnerConfig(model=model, draws=2))
    drawn = random.Random(3)
    events: list[Features] = [
        {},
        {"same": 1.0},
        {"same": 1.0, "new": "text"},
        {"other": True},
        {"same": "text"},
        {"number": 5.0},
    ]
    for offset in range(60):
        x = drawn.choice(events)
        learner.observe_one(x)
        learner.learn_one(x, drawn.choice(("a", "b", "c")), 1.0, offset)
        for event in events:
            p = learner.predict_one(event)
            assert all(0.0 <= q <= 1.0 for q in p.values())
            assert sum(p.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("model", PRESETS)
def test_weights_reach_every_preset(model: str) -> None:
    """Labels that weigh more than those that contradict them win."""
    shares = []
    for heavy in ("a", "b"):
        learner = Committee(LearnerConfig(model=model, committee=False, calibrate=False))
        drawn = random.Random(2)
        for offset in range(120):
            x: Features = {"n": drawn.gauss(0.0, 1.0)}
            label = "ab"[offset % 2]
            learner.observe_one(x)
            learner.learn_one(x, label, 10.0 if label == heavy else 0.1, offset)
        shares.append(learner.predict_one({"n": 0.0})["a"])
    assert shares[0] > 0.55
    assert shares[1] < 0.45


@pytest.mark.parametrize("model", PRESETS)
def test_presets_learn_alike_from_one_seed(model: str) -> None:
    """The same labels and seed make the same model, bit for bit."""
    found = []
    for _ in range(2):
        learner = Committee(LearnerConfig(model=model, draws=1, seed=5))
        drawn = random.Random(6)
        for offset in range(40):
            x, label = by_number(drawn)
            learner.observe_one(x)
            learner.learn_one(x, label, 1.0, offset)
        found.append([learner.predict_one(by_number(drawn)[0]) for _ in range(20)])
    assert found[0] == found[1]


@pytest.mark.parametrize("model", PRESETS)
def test_asked_features_can_be_weighed_with_every_preset(model: str) -> None:
    """The feature that decides counts most towards the class that it decides for."""
    learner = Committee(LearnerConfig(model=model, committee=False))
    drawn = random.Random(4)
    for offset in range(300):
        a = drawn.gauss(0.0, 1.0)
        x: Features = {"a": a, "noise": drawn.gauss(0.0, 1.0)}
        learner.observe_one(x)
        learner.learn_one(x, "high" if a > 0.0 else "low", 1.0, offset)
    event: Features = {"a": -2.0, "noise": 0.1}
    learner.predict_one(event)
    towards, away = learner.weigh_one(event, "low"), learner.weigh_one(event, "high")
    assert next(iter(towards)) == "a"
    assert towards["a"] > 0.0 > away["a"]
