"""The committee: what it learns from, how it weighs, and what it predicts in odd cases."""

from __future__ import annotations

import math
import random

import pytest

from stream_al.config import LearnerConfig
from stream_al.errors import ConfigError, InputError
from stream_al.learner.calibration import Calibrator, PoolCalibrator, log_odds, sigmoid
from stream_al.learner.committee import Committee
from stream_al.learner.encoder import Categories, StandardEncoder
from stream_al.learner.memories import Balanced, Nothing, Past, Recent
from stream_al.records import Features

PLAIN = LearnerConfig(committee=False)
DEFAULT = LearnerConfig()


def numbers(drawn: random.Random) -> Features:
    """Return two numbers, of which the first tells the class."""
    return {"a": drawn.gauss(0.0, 1.0), "b": drawn.gauss(5.0, 100.0)}


def taught(config: LearnerConfig, n: int, seed: int = 1) -> Committee:
    """Return a learner that knows classes ``low`` and ``high`` from n labels."""
    learner, drawn = Committee(config), random.Random(seed)
    for offset in range(n):
        x = numbers(drawn)
        learner.observe_one(x)
        learner.learn_one(x, low_or_high(x), 1.0, offset)
    return learner


def low_or_high(x: Features) -> str:
    """Return the true class."""
    assert isinstance(x["a"], float)
    return "high" if x["a"] > 0.0 else "low"


def assert_probabilities(p: dict[str, float], classes: set[str]) -> None:
    """Require probabilities of just these classes."""
    assert set(p) == classes
    assert all(0.0 <= q <= 1.0 for q in p.values())
    assert sum(p.values()) == pytest.approx(1.0)


def test_before_any_label_all_classes_are_as_probable() -> None:
    """Declared classes are uniform, undeclared ones unknown."""
    assert Committee(DEFAULT).predict_one({"a": 1.0}) == {}
    declared = Committee(LearnerConfig(classes=("x", "y", "z", "u")))
    assert declared.predict_one({"a": 1.0}) == dict.fromkeys("xyzu", 0.25)
    assert declared.prior == dict.fromkeys("xyzu", 0.25)


def test_one_known_class_is_certain() -> None:
    """After labels of a single class that class is all there is."""
    learner = Committee(DEFAULT)
    learner.learn_one({"a": 1.0}, "x", 1.0, 0)
    assert learner.predict_one({"a": 1.0}) == {"x": 1.0}
    assert learner.weigh_one({"a": 1.0}, "x") == {}


@pytest.mark.parametrize("config", [PLAIN, DEFAULT])
def test_labels_are_learnt(config: LearnerConfig) -> None:
    """Two hundred labels of a separable stream are enough to predict it."""
    learner, drawn = taught(config, 200), random.Random(2)
    right = 0
    for _ in range(300):
        x = numbers(drawn)
        p = learner.predict_one(x)
        assert_probabilities(p, {"low", "high"})
        right += p[low_or_high(x)] > 0.5
    assert right >= 270


@pytest.mark.parametrize("weights", [(0.1, 10.0), (0.5, 1.0), (1.0, 3.0)])
@pytest.mark.parametrize("config", [PLAIN, DEFAULT])
def test_a_greater_weight_moves_the_prediction_further(
    config: LearnerConfig, weights: tuple[float, float]
) -> None:
    """A label that goes against the model changes it more when it weighs more."""
    x: Features = {"a": 1.5, "b": 0.0}
    before = taught(config, 100).predict_one(x)["high"]
    after = []
    for weight in weights:
        learner = taught(config, 100)
        learner.learn_one(x, "low", weight, 100)
        after.append(learner.predict_one(x)["high"])
    assert after[1] < after[0] < before


@pytest.mark.parametrize("config", [PLAIN, DEFAULT])
def test_undeclared_classes_are_refused_where_classes_are_declared(config: LearnerConfig) -> None:
    """A label of another class is an error that names it, and changes nothing."""
    declared = LearnerConfig(classes=("low", "high"), committee=config.committee)
    learner = taught(declared, 20)
    before = learner.predict_one({"a": 1.0, "b": 0.0})
    with pytest.raises(ConfigError, match=r"learner\.classes: class 'odd' is not declared"):
        learner.learn_one({"a": 1.0, "b": 0.0}, "odd", 1.0, 20)
    assert learner.predict_one({"a": 1.0, "b": 0.0}) == before


@pytest.mark.parametrize("config", [PLAIN, DEFAULT])
def test_a_third_class_that_comes_late_costs_nothing_learnt(config: LearnerConfig) -> None:
    """After one label of a third class the first two are told apart as well as before."""
    learner, drawn = taught(config, 200), random.Random(3)
    events = [numbers(drawn) for _ in range(200)]
    before = [learner.predict_one(x) for x in events]
    learner.learn_one({"a": 0.0, "b": 0.0, "odd": True}, "third", 1.0, 200)
    kept = 0
    for x, old in zip(events, before, strict=True):
        p = learner.predict_one(x)
        assert_probabilities(p, {"low", "high", "third"})
        kept += (p["high"] > p["low"]) == (old["high"] > old["low"])
    assert kept >= 196


def test_weights_follow_the_log_loss() -> None:
    """Members that predict well weigh more, and the weights always add up to 1."""
    learner = taught(DEFAULT, 150)
    losses = [member.loss for member in learner._members]
    assert sum(learner.weights) == pytest.approx(1.0)
    best, worst = losses.index(min(losses)), losses.index(max(losses))
    assert learner.weights[best] == max(learner.weights)
    assert learner.weights[worst] == min(learner.weights)
    ratio = learner.weights[best] / learner.weights[worst]
    assert ratio == pytest.approx(math.exp(losses[worst] - losses[best]))


def test_members_are_judged_before_they_learn() -> None:
    """The loss of a label is that of the probability predicted just before it."""
    learner = taught(PLAIN, 50)
    x: Features = {"a": -0.4, "b": 3.0}
    (member,) = learner._members
    loss, p = member.loss, learner.predict_one(x)
    learner.learn_one(x, "high", 1.0, 50)
    assert member.loss == pytest.approx(0.97 * loss - math.log(p["high"]))


@pytest.mark.parametrize("config", [PLAIN, DEFAULT])
def test_unsupervised_steps_learn_from_observed_events_only(config: LearnerConfig) -> None:
    """Labels move no mean and no deviation, observed events no classifier."""
    learner = taught(config, 60)
    assert isinstance(learner._encoder, StandardEncoder)
    moments = dict(learner._encoder.moments)
    learner.learn_one({"a": 1e6, "b": -1e6, "new": 4.0}, "low", 1.0, 60)
    assert learner._encoder.moments == moments
    linear = [member.model.linear() for member in learner._members]
    learner.observe_one({"a": 77.0, "b": 5.0})
    assert learner._encoder.moments != moments
    assert [member.model.linear() for member in learner._members] == linear


def test_the_prior_is_the_share_of_observed_events() -> None:
    """The prior follows what the observed events are predicted to be, and adds up to 1."""
    learner, drawn = taught(DEFAULT, 300), random.Random(4)
    predicted = []
    for _ in range(2_000):
        x: Features = {"a": abs(drawn.gauss(0.0, 1.0)) - 0.2, "b": 0.0}
        predicted.append(learner.predict_one(x)["high"])
        learner.observe_one(x)
    assert sum(learner.prior.values()) == pytest.approx(1.0)
    assert learner.prior["high"] == pytest.approx(sum(predicted[1_000:]) / 1_000, abs=0.03)
    assert abs(learner.prior["high"] - 0.5) > 0.03


@pytest.mark.parametrize("config", [PLAIN, DEFAULT])
def test_features_that_come_and_go_are_no_error(config: LearnerConfig) -> None:
    """Empty events, new features and features that change their type are learnt and predicted."""
    learner, drawn = taught(config, 50), random.Random(5)
    for offset in range(50, 150):
        x: Features = {}
        if offset % 2:
            x["a"] = drawn.choice((1, 0.5, "text", True))
        if offset % 3 == 0:
            x[f"new{offset}"] = drawn.choice((7.0, "text", False))
        learner.observe_one(x)
        learner.learn_one(x, drawn.choice(("low", "high")), 1.0, offset)
        assert_probabilities(learner.predict_one(x), {"low", "high"})
        assert_probabilities(learner.predict_one({}), {"low", "high"})


@pytest.mark.parametrize("config", [PLAIN, DEFAULT])
def test_no_finite_number_makes_a_probability_that_is_none(config: LearnerConfig) -> None:
    """Numbers as large as a double holds, learnt and predicted, leave probabilities finite."""
    learner = taught(config, 50)
    for offset, value in enumerate((1e200, -1e300, 1.7e308, -1.7e308, 1e-320), 50):
        x: Features = {"a": value, "b": 1.0}
        assert_probabilities(learner.predict_one(x), {"low", "high"})
        learner.learn_one(x, "low", 1.0, offset)
        learner.observe_one(x)
        assert_probabilities(learner.predict_one(x), {"low", "high"})
        assert_probabilities(learner.predict_one({"a": 0.5, "b": 0.0}), {"low", "high"})
        assert all(math.isfinite(share) for share in learner.prior.values())


@pytest.mark.parametrize("config", [PLAIN, DEFAULT])
def test_one_absurd_number_is_got_over(config: LearnerConfig) -> None:
    """After one label of an event with an absurd number, good labels make a good model again."""
    learner, drawn = taught(config, 100), random.Random(6)
    for value in (1e200, -1e200):
        learner.learn_one({"a": value, "b": value}, "low", 1.0, 100)
    right = 0
    for offset in range(101, 1_101):
        x = numbers(drawn)
        learner.observe_one(x)
        right += offset > 800 and learner.predict_one(x)[low_or_high(x)] > 0.5
        learner.learn_one(x, low_or_high(x), 1.0, offset)
    assert right >= 240


@pytest.mark.parametrize("categories", ["sparse", "dense", "nominal"])
def test_numbers_are_standardised_by_what_was_observed(categories: Categories) -> None:
    """A number becomes its distance from the mean in deviations; unobserved and constant ones 0."""
    encoder = StandardEncoder(categories)
    for value in (1.0, 2.0, 3.0, 6.0):
        encoder.learn_one({"a": value, "constant": 4})
    encoded = encoder.transform_one({"a": 6.0, "constant": 9, "new": 5.0})
    # Mean 3, sample variance (4 + 1 + 0 + 9) / 3 or population variance 14 / 4.
    assert encoded["a"] == pytest.approx(3.0 / math.sqrt(14.0 / 4.0), rel=0.2)
    assert (encoded["constant"], encoded["new"]) == (0.0, 0.0)


def test_categories_become_columns_of_their_own() -> None:
    """Text and booleans are told apart by value, and booleans are no numbers."""
    sparse, dense = StandardEncoder("sparse"), StandardEncoder("dense")
    for encoder in (sparse, dense):
        encoder.learn_one({"c": "x", "flag": True})
        encoder.learn_one({"c": "y", "flag": False})
    x: Features = {"c": "y", "flag": True}
    assert sparse.transform_one(x) == {"c=y": 1.0, "flag=True": 1.0}
    assert dense.transform_one(x) == {
        "c=x": 0.0,
        "c=y": 1.0,
        "flag=True": 1.0,
        "flag=False": 0.0,
    }
    assert dense.transform_one({"c": "never observed"}) == dict.fromkeys(
        ("c=x", "c=y", "flag=True", "flag=False"), 0.0
    )
    assert sparse.transform_one({"c": "never observed"}) == {"c=never observed": 1.0}
    assert StandardEncoder("nominal").transform_one(x) == {"c=": "y", "flag=": "True"}


def test_lessons_are_cut_off_and_predictions_are_not() -> None:
    """An absurd number is cut off where it is learnt from, so that it undoes no model."""
    encoder = StandardEncoder("sparse")
    for value in (-1.0, 1.0):
        encoder.learn_one({"a": value})
    assert encoder.transform_one({"a": -1e9}) == {"a": -1e9}
    assert encoder.lesson_one({"a": -1e9, "c": "x"}) == {"a": -1000.0, "c=x": 1.0}


@pytest.mark.parametrize("value", [None, [1.0], {"b": 1.0}, b"x"])
def test_values_of_no_use_are_refused_by_name(value: object) -> None:
    """What is no number, text or boolean is refused, named with its type."""
    with pytest.raises(InputError, match=f"'a' is of type {type(value).__name__}"):
        StandardEncoder("sparse").transform_one({"a": value})  # type: ignore[dict-item]


def past(k: int, number: int) -> Past:
    """Return a past label."""
    return Past({"a": float(number)}, k, 1.0, 1, str(number))


def test_memories_forget_the_oldest() -> None:
    """A memory of ten draws from the last ten only, and an empty one draws nothing."""
    recent = Recent(10)
    assert (list(recent.draw(5, "key")), list(Balanced(10, 0.3).draw(5, "key"))) == ([], [])
    for number in range(30):
        recent.add(past(0, number))
    drawn = {row.x["a"] for row in recent.draw(2_000, "key")}
    assert drawn == {float(number) for number in range(20, 30)}
    nothing = Nothing()
    nothing.add(past(0, 1))
    assert list(nothing.draw(5, "key")) == []


@pytest.mark.parametrize("balance", [0.0, 0.3, 0.5])
def test_balanced_memories_rehearse_the_rare_class(balance: float) -> None:
    """The rarer of two classes gets its share of the draws, beside that of plain recency."""
    memory = Balanced(1_000, balance)
    for number in range(1_000):
        memory.add(past(int(number % 50 == 0), number))
    drawn = memory.draw(20_000, "key")
    share = sum(row.k for row in drawn) / 20_000
    assert share == pytest.approx(balance + (1.0 - 2.0 * balance) * 0.02, abs=0.0177)


def test_draws_depend_on_the_key_alone() -> None:
    """The same key rehearses the same labels, another key others."""
    for memory in (Recent(100), Balanced(100, 0.3)):
        for number in range(100):
            memory.add(past(number % 2, number))
        assert memory.draw(10, "key", 1) == memory.draw(10, "key", 1) != memory.draw(10, "key", 2)


@pytest.mark.parametrize("n", [2, 4])
def test_calibration_takes_overconfidence_back(n: int) -> None:
    """A model that says .98 and is right in 7 of 10 is brought to about .7."""
    calibrator, drawn = Calibrator(), random.Random(7)
    said = [0.98] + [0.02 / (n - 1)] * (n - 1)
    for _ in range(3_000):
        right = drawn.random() < 0.7
        calibrator.learn_one(said, 0 if right else drawn.randrange(1, n))
    assert calibrator.apply(said)[0] == pytest.approx(0.7, abs=0.08)
    assert sum(calibrator.apply(said)) == pytest.approx(1.0)


@pytest.mark.parametrize("p", [[0.0, 1.0], [1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
def test_calibration_bears_certainty_that_is_wrong(p: list[float]) -> None:
    """Certain predictions, always wrong, keep probabilities finite and within (0, 1)."""
    calibrator = Calibrator()
    for _ in range(500):
        calibrator.learn_one(p, 0 if p[0] == 0.0 else len(p) - 1)
        assert all(0.0 <= q <= 1.0 for q in calibrator.apply(p))
    assert max(calibrator.apply(p)) < 0.8


@pytest.mark.parametrize("n", [2, 4])
def test_a_pool_that_is_not_sure_enough_is_sharpened(n: int) -> None:
    """A mean that says .7 where 9 in 10 are right is brought to about .9, the order kept."""
    pool, drawn = PoolCalibrator(), random.Random(7)
    said = [0.7] + [0.3 / (n - 1)] * (n - 1)
    assert pool.apply(said) == said
    for _ in range(1_500):
        pool.learn_one(said, 0 if drawn.random() < 0.9 else drawn.randrange(1, n))
    assert pool.apply(said)[0] == pytest.approx(0.9, abs=0.05)
    assert sum(pool.apply(said)) == pytest.approx(1.0)
    raised = [pool.pair(p / 50.0) for p in range(51)]
    assert raised == sorted(raised)
    assert pool.pair(0.5) == 0.5


@pytest.mark.parametrize("p", [[0.0, 1.0], [1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
def test_a_pool_bears_certainty_that_is_wrong(p: list[float]) -> None:
    """A certain mean, always wrong, still tells which class it holds for likeliest."""
    pool, held = PoolCalibrator(), p.index(1.0)
    for _ in range(500):
        pool.learn_one(p, 1 - min(held, 1))
        assert all(0.0 <= q <= 1.0 for q in pool.apply(p))
        assert max(pool.apply(p)) == pool.apply(p)[held] > 1.0 / len(p)


def test_the_pool_learns_from_explored_labels_alone() -> None:
    """Labels that a policy picked leave the committee's calibration as it is."""
    picked, explored = taught(DEFAULT, 60), taught(DEFAULT, 60)
    x: Features = {"a": 0.5, "b": 5.0}
    for offset in range(60, 90):
        picked.learn_one(x, "high", 1.0, offset)
        explored.learn_one(x, "high", 1.0, offset, explored=True)
    assert explored.predict_one(x)["high"] > picked.predict_one(x)["high"] > 0.5
    assert explored.weights == picked.weights


def test_without_calibration_the_pool_is_not_either() -> None:
    """With ``calibrate = false`` explored labels are as any others."""
    plain = LearnerConfig(calibrate=False)
    picked, explored = taught(plain, 60), taught(plain, 60)
    x: Features = {"a": 2.0, "b": 5.0}
    picked.learn_one(x, "low", 1.0, 60)
    explored.learn_one(x, "low", 1.0, 60, explored=True)
    assert explored.predict_one(x) == picked.predict_one(x)


def test_log_odds_and_sigmoid_are_inverse() -> None:
    """Each undoes the other wherever a double tells probabilities from 0 and 1."""
    for z in (-30.0, -5.0, -0.1, 0.0, 2.0, 15.0):
        assert log_odds(sigmoid(z)) == pytest.approx(z, rel=1e-3)
    assert 0.0 < sigmoid(-1e9) < sigmoid(1e9) < 1.0
