"""Scores, and the public check of their contract."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_al.config import GateConfig, ScoreName
from stream_al.gate.checks import check_score
from stream_al.gate.scores import (
    Score,
    entropy,
    least_confidence,
    make_score,
    margin,
    risk,
)

EVEN = {"a": 0.5, "b": 0.5}
RARITY = make_score(GateConfig(score="rarity"))


@pytest.mark.parametrize("name", [name for name in get_args(ScoreName) if name != "risk"])
def test_scores_keep_their_contract(name: ScoreName) -> None:
    """Every score that knows no class by name passes the whole public check."""
    check_score(make_score(GateConfig(score=name)))


@pytest.mark.parametrize("named", ["a", "h", "unknown as yet"])
def test_risk_keeps_the_contract_but_for_symmetry(named: str) -> None:
    """The score of a named class passes what does not speak of all classes alike."""
    score = make_score(GateConfig(score="risk", risk_class=named))
    check_score(score, symmetric=False, highest_when_uniform=False)
    if named == "a":
        with pytest.raises(AssertionError, match="must be the same with other names of classes"):
            check_score(score, highest_when_uniform=False)


@pytest.mark.parametrize("n", range(2, 11))
def test_scores_mean_the_same_for_any_number_of_classes(n: int) -> None:
    """Equal probabilities score 1 and certainty 0, for two classes and for ten."""
    names = [str(k) for k in range(n)]
    uniform = dict.fromkeys(names, 1.0 / n)
    certain = dict.fromkeys(names, 0.0) | {"1": 1.0}
    for score in (least_confidence, margin, entropy, RARITY):
        assert score(uniform, uniform) == pytest.approx(1.0)
        assert score(certain, uniform) == pytest.approx(0.0, abs=1e-12)


@given(st.floats(0.0, 1.0))
def test_two_classes_are_ordered_alike(q: float) -> None:
    """Of two classes the nearer to even scores no less, by each score of uncertainty."""
    p, nearer = {"a": q, "b": 1.0 - q}, {"a": (q + 0.5) / 2.0, "b": 1.0 - (q + 0.5) / 2.0}
    for score in (least_confidence, margin, entropy, RARITY):
        assert score(nearer, EVEN) >= score(p, EVEN) - 1e-12


@given(st.lists(st.floats(1e-6, 1.0), min_size=3, max_size=8))
def test_margin_is_the_distance_of_the_two_largest(weights: list[float]) -> None:
    """The margin is 1 less the distance between the largest two, wherever they stand."""
    p = {str(k): w / sum(weights) for k, w in enumerate(weights)}
    first, second = sorted(p.values(), reverse=True)[:2]
    assert margin(p, p) == pytest.approx(1.0 - first + second)


def test_entropy_is_that_of_shannon() -> None:
    """Three to one has an entropy of .8113 bits."""
    assert entropy({"a": 0.75, "b": 0.25}, EVEN) == pytest.approx(0.811278, abs=1e-6)


def test_rarity_is_the_margin_where_classes_are_as_frequent() -> None:
    """Without a rare class there is no bonus."""
    for q in (0.0, 0.2, 0.5, 0.9):
        p = {"a": q, "b": 1.0 - q}
        assert RARITY(p, EVEN) == pytest.approx(margin(p, EVEN))


def test_rarity_prefers_the_rare_class() -> None:
    """Of two events as uncertain, the one that is more probably of the rare class scores more."""
    prior = {"good": 0.99, "fraud": 0.01}
    fraud, good = {"good": 0.3, "fraud": 0.7}, {"good": 0.7, "fraud": 0.3}
    assert RARITY(fraud, prior) > RARITY(good, prior)


@pytest.mark.parametrize("prior", [{"a": 1.0, "b": 0.0}, {"a": 1.0 - 1e-300, "b": 1e-300}])
def test_rarity_stays_in_range_where_a_class_is_never_predicted(prior: dict[str, float]) -> None:
    """A class whose share is 0, or too small to count, makes no score leave [0, 1]."""
    for q in (0.0, 0.5, 1.0):
        assert 0.0 <= RARITY({"a": 1.0 - q, "b": q}, prior) <= 1.0


def test_risk_of_an_unknown_class_is_the_highest() -> None:
    """While the named class was never seen, every event could be the first of it."""
    assert risk(EVEN, EVEN, named="fraud") == 1.0
    assert risk({"a": 0.25, "fraud": 0.75}, EVEN, named="fraud") == 0.75


def mutating(p: Mapping[str, float], prior: Mapping[str, float]) -> float:  # noqa: ARG001
    """Empty what it is given."""
    assert isinstance(p, dict)
    p.clear()
    return 0.5


def first_come(p: Mapping[str, float], prior: Mapping[str, float]) -> float:  # noqa: ARG001
    """Depend on the order of classes."""
    return next(iter(p.values()))


def log_of_all(p: Mapping[str, float], prior: Mapping[str, float]) -> float:  # noqa: ARG001
    """Take the logarithm of 0."""
    return -sum(q * math.log(q) for q in p.values()) / math.log(len(p))


def unnormalised(p: Mapping[str, float], prior: Mapping[str, float]) -> float:  # noqa: ARG001
    """Entropy in bits, which for three classes exceeds 1."""
    return -sum(q * math.log2(q) for q in p.values() if q)


def certainty(p: Mapping[str, float], prior: Mapping[str, float]) -> float:  # noqa: ARG001
    """Score what is certain the highest."""
    return max(p.values())


def not_a_number(p: Mapping[str, float], prior: Mapping[str, float]) -> float:  # noqa: ARG001
    """Give no number for certainty."""
    return math.nan if max(p.values()) == 1.0 else 0.5


class Counting:
    """Give less at every call."""

    def __init__(self) -> None:
        self._calls = itertools.count(1)

    def __call__(self, p: Mapping[str, float], prior: Mapping[str, float]) -> float:  # noqa: ARG002
        """Divide by the number of calls."""
        return 1.0 / next(self._calls)


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (mutating, "must leave what it is given"),
        (first_come, "must"),
        (log_of_all, "must not raise: ValueError"),
        (unnormalised, r"must be in \[0, 1\], not 1\.58"),
        (certainty, "must not be above 0.5, which is that of equal probabilities"),
        (not_a_number, r"must be in \[0, 1\], not nan"),
        (Counting(), "must be the same each time"),
        (lambda p, prior: "0.5" if p and prior else "", "must be a plain float, not '0.5'"),
    ],
)
def test_each_broken_duty_is_named(score: Score, said: str) -> None:
    """The public check tells which duty a score breaks, with the values that broke it."""
    with pytest.raises(AssertionError, match=said):
        check_score(score)


def test_order_of_classes_is_checked_without_symmetry() -> None:
    """Even a score that knows a class by name must not depend on the order they come in."""
    with pytest.raises(AssertionError, match="must be the same with another order of classes"):
        check_score(first_come, symmetric=False, highest_when_uniform=False)


def test_every_score_can_be_configured() -> None:
    """Each name makes its own function, and risk knows its class."""
    made = {name: make_score(GateConfig(score=name)) for name in get_args(ScoreName)}
    assert len({id(score) for score in made.values()}) == len(made)
    fraud = make_score(GateConfig(score="risk", risk_class="fraud"))
    assert isinstance(fraud, functools.partial)
    assert fraud({"good": 0.9, "fraud": 0.1}, EVEN) == 0.1
