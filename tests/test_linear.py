"""The short cut for linear members predicts what the long way does, or steps aside."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_al.config import LearnerConfig
from stream_al.learner.committee import Committee
from stream_al.records import Features

NAMES = ("a", "b", "c", "d")


def numbers(drawn: random.Random) -> Features:
    """Return numbers of very different sizes."""
    return {name: drawn.gauss(0.0, 1.0) * 100.0**k + k for k, name in enumerate(NAMES)}


def truth(x: Features) -> str:
    """Return the true class: one side of a plane."""
    return "one" if float(x["a"]) + float(x["c"]) / 1e4 > 0.0 else "other"


def taught(config: LearnerConfig, seed: int = 1, n: int = 120) -> Committee:
    """Return a learner of two classes."""
    learner, drawn = Committee(config), random.Random(seed)
    for offset in range(n):
        x = numbers(drawn)
        learner.observe_one(x)
        learner.learn_one(x, truth(x), 1.0, offset, explored=offset % 2 == 0)
    return learner


def long_way(learner: Committee, x: Features) -> list[float]:
    """Predict by encoding the event and asking each member."""
    return learner._mix(learner._encoder.transform_one(x), 2)


CONFIGS = [
    LearnerConfig(committee=committee, calibrate=calibrate, draws=3)
    for committee in (False, True)
    for calibrate in (False, True)
]
LEARNT = {config: taught(config) for config in CONFIGS}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(CONFIGS), st.sampled_from((0.0, 1.0, 3.0)))
def test_the_short_cut_is_the_long_way(seed: int, config: LearnerConfig, scale: float) -> None:
    """For events of the observed numbers the probabilities are equal to within 1e-9."""
    learner, drawn = LEARNT[config], random.Random(seed)
    x: Features = {name: scale * float(value) for name, value in numbers(drawn).items()}
    p = learner.predict_one(x)
    assert learner._plan is not None
    assert learner._plan.predict_one(x) is not None
    assert list(p.values()) == pytest.approx(long_way(learner, x), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32),
    st.booleans(),
    st.integers(1, 70),
    st.sampled_from((0.0, 1.0, 1e3, 1e12, 1e200, 1e308, math.nan)),
)
def test_many_are_predicted_as_one_by_one(
    seed: int, committee: bool, size: int, scale: float
) -> None:
    """Events of the same numbers in the same order, any order, give the same to the last bit."""
    learner, drawn = LEARNT[LearnerConfig(committee=committee, draws=3)], random.Random(seed)
    names = drawn.sample(NAMES, len(NAMES))
    xs: list[Features] = []
    for _ in range(size):
        x = numbers(drawn)
        xs.append({name: scale * float(x[name]) for name in names})
    xs[drawn.randrange(size)][names[0]] = drawn.choice((7, -(2**62)))
    one_by_one = [learner.predict_one(x) for x in xs]
    assert learner.predict_many(xs) == one_by_one


@pytest.mark.parametrize(
    "other",
    [
        {"a": 1.0, "b": 2.0, "d": 3.0, "c": 4.0},
        {"a": 1.0, "b": 2.0, "c": 3.0},
        {"a": 1.0, "b": 2.0, "c": 3.0, "d": "4"},
        {"a": 1.0, "b": 2.0, "c": 3.0, "d": 1 << 1100},
        {"a": 1.0, "b": 2.0, "c": 3.0, "e": 4.0},
        {},
    ],
)
def test_what_differs_is_left_to_be_predicted_one_by_one(other: Features) -> None:
    """Other names, another order, text and what fits no double are not for the short cut."""
    learner = LEARNT[LearnerConfig(draws=3)]
    x = numbers(random.Random(0))
    assert learner.predict_many([x, x]) is not None
    assert learner.predict_many([x, other]) is None
    assert learner.predict_many([other]) is None or tuple(other) != NAMES


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("far", [30.0, 1e3, 1e5, 1e12])
def test_the_short_cut_is_the_long_way_for_outliers(config: LearnerConfig, far: float) -> None:
    """However far an event lies from the others, either way predicts the same.

    To within 1e-4: the long way takes log odds of probabilities that are rounded to 1, and what
    calibrates the members' mean takes those of that, too.
    """
    learner, drawn = LEARNT[config], random.Random(8)
    for _ in range(50):
        x: Features = {name: far * float(value) for name, value in numbers(drawn).items()}
        assert list(learner.predict_one(x).values()) == pytest.approx(
            long_way(learner, x), abs=1e-4
        )


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize(
    "change",
    [
        {"c": "text"},
        {"more": 1.0},
        {"more": "text"},
        {"c": None},
    ],
)
def test_other_events_take_the_long_way(config: LearnerConfig, change: Features) -> None:
    """An event with a category, or a feature more or less, is predicted by its encoding."""
    learner = LEARNT[config]
    x = numbers(random.Random(3)) | change
    x = {name: value for name, value in x.items() if value is not None}
    assert list(learner.predict_one(x).values()) == long_way(learner, x)


def test_the_short_cut_keeps_up_with_the_model() -> None:
    """After each label and each observed event predictions are those of the moved model."""
    learner, drawn = taught(CONFIGS[-1]), random.Random(4)
    x = numbers(drawn)
    for offset in range(200, 240):
        other = numbers(drawn)
        if offset % 2:
            learner.observe_one(other)
        else:
            learner.learn_one(other, truth(other), 1.0, offset, explored=offset % 4 == 0)
        assert list(learner.predict_one(x).values()) == pytest.approx(
            long_way(learner, x), abs=1e-9
        )


def test_three_classes_take_the_long_way() -> None:
    """A third class ends the short cut, and predictions are of three classes."""
    learner = taught(CONFIGS[-1])
    x = numbers(random.Random(5))
    learner.predict_one(x)
    learner.learn_one(x, "third", 1.0, 500)
    assert set(learner.predict_one(x)) == {"one", "other", "third"}
    assert learner._plan is None


@pytest.mark.parametrize("config", CONFIGS)
def test_features_are_weighed_with_their_sign(config: LearnerConfig) -> None:
    """What moves an event towards its class counts above 0, and below for the other class."""
    learner = LEARNT[config]
    x: Features = {"a": 2.5, "b": 1.0, "c": 2.0, "d": 3.0}
    learner.predict_one(x)
    towards, away = learner.weigh_one(x, "one"), learner.weigh_one(x, "other")
    assert next(iter(towards)) == "a"
    assert towards["a"] > 0.0
    assert away == {name: -part for name, part in towards.items()}
    x["a"] = -2.5
    assert learner.weigh_one(x, "one")["a"] < 0.0


def test_features_are_weighed_in_log_odds() -> None:
    """Without calibration the parts and the intercept add up to the log odds."""
    learner = LEARNT[CONFIGS[0]]
    x = numbers(random.Random(6))
    p = learner.predict_one(x)
    linear = learner._members[0].model.linear()
    assert linear is not None
    parts = learner.weigh_one(x, learner.classes[1])
    odds = math.log(p[learner.classes[1]] / p[learner.classes[0]])
    assert sum(parts.values()) + linear[1] == pytest.approx(odds)


def test_the_long_way_weighs_with_the_same_signs() -> None:
    """Setting a feature to its mean tells the same story as the slopes do."""
    learner = LEARNT[CONFIGS[-1]]
    x: Features = {"a": 2.5, "b": 1.0, "c": 2.0, "d": 3.0}
    assert learner.weigh_one(x | {"more": "text"}, "one")["a"] > 0.0
    assert learner.weigh_one(x | {"more": "text"}, "other")["a"] < 0.0


def test_features_weighed_are_those_of_the_model_as_it_is() -> None:
    """Weighing does not need a prediction before it: the last label counts."""
    x = numbers(random.Random(7))
    asked, unasked = taught(CONFIGS[-1]), taught(CONFIGS[-1])
    for learner in (asked, unasked):
        learner.predict_one(x)
        learner.learn_one(x, "one", 5.0, 500)
    asked.predict_one(x)
    assert unasked.weigh_one(x, "one") == asked.weigh_one(x, "one")


def test_only_the_strongest_features_are_named() -> None:
    """Of many features the five that count most are named, the strongest first."""
    learner, drawn = Committee(LearnerConfig(committee=False)), random.Random(9)
    for offset in range(60):
        x: Features = {f"f{k}": drawn.gauss(0.0, 1.0) for k in range(12)}
        learner.observe_one(x)
        learner.learn_one(x, "one" if float(x["f3"]) > 0 else "other", 1.0, offset)
    learner.predict_one(x)
    parts = [abs(part) for part in learner.weigh_one(x, "one").values()]
    assert len(parts) == 5
    assert parts == sorted(parts, reverse=True)
