"""Policies, and the public check of their contract."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from typing import get_args

import pytest

from stream_al import keyed
from stream_al.config import GateConfig, PolicyName
from stream_al.gate.checks import check_policy
from stream_al.gate.gate import Gate
from stream_al.gate.policies import (
    Fixed,
    Policy,
    Quantile,
    Random,
    RandomizedVariable,
    SelectiveSampling,
    Variable,
    make_policy,
)
from stream_al.records import Event, ModelStamp, Prediction

POLICIES: tuple[PolicyName, ...] = get_args(PolicyName)
ADAPTIVE: tuple[PolicyName, ...] = (
    "variable",
    "randomized-variable",
    "quantile",
    "selective-sampling",
)


def play(config: GateConfig, score_of: Callable[[int], float], n: int) -> list[Prediction]:
    """Decide about n events with given scores."""
    gate = Gate(config, score=lambda p, _: p["score"])
    state, stamp = gate.fresh_state(), ModelStamp("fold", 0, "")
    found = []
    for i in range(n):
        p = {"score": score_of(i), "": 0.0}
        event = Event(offset=i, features={})
        found.append(gate.decide(state, event, p, p, stamp, lambda _, __: {}, None).prediction)
    return found


def p_ask(policy: Policy, level: float, score: float) -> float:
    """Return the probability that a policy proposes."""
    return policy.propose(level, score)[1]


def threshold(policy: Policy, level: float) -> float:
    """Return the threshold that a policy proposes, the same for all scores."""
    (found,) = {policy.propose(level, score)[0] for score in (0.0, 0.3, 1.0)}
    return found


@pytest.mark.parametrize(
    ("name", "rate", "step"),
    [(name, 0.0025, None) for name in POLICIES] + [(name, 1.0, 50.0) for name in ADAPTIVE],
)
def test_policies_keep_their_contract(name: PolicyName, rate: float, step: float | None) -> None:
    """Every policy, slow to spend and quick, passes the public check, far too large steps too."""
    check_policy(lambda: make_policy(GateConfig(policy=name, step=step), rate))


class Raising(Fixed, frozen=True):
    """Raises at certainty."""

    def propose(self, level: float, score: float) -> tuple[float, float]:
        """Divide by what may be 0."""
        return level, min(1.0, self.at / score)


class NotANumber(Fixed, frozen=True):
    """Gives a probability that is none."""

    def propose(self, level: float, score: float) -> tuple[float, float]:
        """Give no number at a score of 1."""
        return level, math.nan if score == 1.0 else score


class Boundless(Variable, frozen=True):
    """Lets its level grow for ever."""

    def moved(self, level: float, score: float, asked: bool) -> float:
        """Double the level at every certain event."""
        return level * 2.0 if score == 0.0 else super().moved(level, score, asked)


class FarThreshold(Fixed, frozen=True):
    """Shows a threshold that is no score."""

    def propose(self, level: float, score: float) -> tuple[float, float]:
        """Return a threshold above 1."""
        return 3.0 + level, score


class Text(Fixed, frozen=True):
    """Gives text for a probability."""

    def propose(self, level: float, score: float) -> tuple[float, float]:  # noqa: ARG002
        """Return what compares with nothing."""
        return level, "0.5"  # type: ignore[return-value]


class Single(Fixed, frozen=True):
    """Gives a probability alone."""

    def propose(self, level: float, score: float) -> tuple[float, float]:  # noqa: ARG002
        """Leave out the threshold."""
        return score  # type: ignore[return-value]


class Drawing:
    """Draws within, so that no two calls are alike."""

    def __init__(self) -> None:
        self._random = random.Random(5)

    def initial(self) -> float:
        """Return 0."""
        return 0.0

    def propose(self, level: float, score: float) -> tuple[float, float]:
        """Draw."""
        return level, self._random.random() * score

    def moved(self, level: float, score: float, asked: bool) -> float:  # noqa: ARG002
        """Stay."""
        return level


class Remembering(Drawing):
    """Counts outside of its level what it was told, and changes by it in the end."""

    def __init__(self) -> None:
        self._told = 0

    def propose(self, level: float, score: float) -> tuple[float, float]:
        """Ask about everything once it has been told much."""
        return level, score if self._told < 100_000 else 1.0

    def moved(self, level: float, score: float, asked: bool) -> float:  # noqa: ARG002
        """Count."""
        self._told += 1
        return level


class Unpicklable(Drawing):
    """Holds a function that has no name."""

    def __init__(self) -> None:
        self._p: Callable[[float], float] = lambda score: score

    def propose(self, level: float, score: float) -> tuple[float, float]:
        """Ask by the score."""
        return level, self._p(score)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Raising(at=0.5), r"Raising\.propose\(0\.0, 0\.0\) must not raise: ZeroDivision"),
        (lambda: NotANumber(at=0.5), r"propose\(.*, 1\.0\) .* a probability in \[0, 1\], not nan"),
        (Boundless, r"Boundless\.moved\(.*\) must give a finite float, not inf"),
        (lambda: FarThreshold(at=0.5), r"propose\(.*\) .* a threshold in \[0, 1\], not 3\.0"),
        (lambda: Text(at=0.5), r"Text\.propose\(.*\) must give a probability .*, not '0\.5'"),
        (lambda: Single(at=0.5), r"must give a threshold and a probability, not 0\."),
        (Drawing, r"Drawing\.propose\(.*\) must be the same as of itself, called again"),
        (Remembering, r"Remembering\.propose\(.*\) must be the same as of a fresh one"),
        (Unpicklable, r"Unpicklable must survive pickling"),
    ],
)
def test_each_broken_duty_is_named(make: Callable[[], Policy], said: str) -> None:
    """The public check tells which duty a policy breaks, with the values that broke it."""
    with pytest.raises(AssertionError, match=said):
        check_policy(make)


def test_fixed_asks_at_its_threshold_and_above() -> None:
    """A score that ties with the fixed threshold is asked about."""
    policy = Fixed(at=0.5)
    assert [p_ask(policy, 0.0, s) for s in (math.nextafter(0.5, 0.0), 0.5, 1.0)] == [0.0, 1.0, 1.0]


def test_random_asks_whatever_the_score() -> None:
    """The baseline has one probability."""
    assert {p_ask(Random(0.2), 0.0, s / 10) for s in range(11)} == {0.2}


def test_variable_tightens_after_asking_and_relaxes_after_not() -> None:
    """Theta moves by the step either way, and the threshold shown is its complement."""
    policy = Variable(step=0.5)
    assert p_ask(policy, policy.initial(), 0.1) == 1.0
    assert policy.moved(1.0, 0.1, True) == 0.5
    assert (p_ask(policy, 0.5, 0.5), p_ask(policy, 0.5, 0.6)) == (0.0, 1.0)
    assert policy.moved(0.5, 0.5, False) == 0.75
    assert (threshold(policy, 0.25), threshold(policy, 2.0)) == (0.75, 0.0)


def test_randomized_variable_gives_the_probability_of_its_draw() -> None:
    """The probability is the share of normal draws that lift theta above the confidence."""
    policy, theta, score = RandomizedVariable(deviation=0.7), 0.4, 0.65
    drawn = random.Random(11)
    asked = sum(1.0 - score < theta * drawn.gauss(1.0, 0.7) for _ in range(40_000))
    assert asked / 40_000 == pytest.approx(p_ask(policy, theta, score), abs=0.0125)


def test_selective_sampling_asks_at_its_rate_at_first() -> None:
    """At first an event half way between certain and not is asked about at the rate."""
    policy = SelectiveSampling(rate=0.03)
    assert p_ask(policy, policy.initial(), 0.5) == pytest.approx(0.03)


def test_selective_sampling_shows_the_score_asked_half_of_the_time() -> None:
    """The threshold shown is the score whose probability is one half."""
    policy = SelectiveSampling(rate=0.03)
    for level in (-8.0, -2.0, -0.1):
        assert p_ask(policy, level, threshold(policy, level)) == pytest.approx(0.5)


@pytest.mark.parametrize("rate", [0.01, 0.3])
@pytest.mark.parametrize("shape", ["uniform", "tied", "constant", "drifting"])
def test_quantile_spends_its_rate_whatever_the_scores(rate: float, shape: str) -> None:
    """In any span the number asked stays within the level's range over the step of the rate's."""
    policy = Quantile(rate=rate)
    level = lowest = highest = policy.initial()
    asked = 0
    for i in range(1, 8_001):
        u = keyed.uniform("score", i)
        score = {"uniform": u, "tied": 0.25 + 0.5 * (u < 0.3), "constant": 0.5}.get(
            shape, u * i / 8_000
        )
        chosen = p_ask(policy, level, score) == 1.0
        level = policy.moved(level, score, chosen)
        asked += chosen
        lowest, highest = min(level, lowest), max(level, highest)
        reach = (highest - lowest) / policy.step + 1.0
        assert abs(asked - rate * i) <= reach + 1e-6
    assert asked == pytest.approx(rate * 8_000, rel=0.35)


@pytest.mark.parametrize("saturated", [0.0, 1.0])
@pytest.mark.parametrize("name", ADAPTIVE)
def test_adaptive_policies_come_back_from_saturation(name: PolicyName, saturated: float) -> None:
    """After 10,000 events of one extreme and 10,000 ordinary ones the policy spends again."""
    config = GateConfig(policy=name, budget=0.1)
    rows = play(
        config, lambda i: saturated if i < 10_000 else keyed.uniform("score", i), 20_000 + 4_000
    )
    asked = sum(row.reason in ("policy", "both") for row in rows[20_000:])
    # A policy that is stuck asks nothing; the rate less exploration would be 200.
    assert 50 <= asked <= 200 + config.burst


@pytest.mark.parametrize("name", ["quantile", "selective-sampling", "variable"])
def test_informative_events_are_asked_about(name: PolicyName) -> None:
    """The events that a policy asks about score higher than the average event."""
    rows = play(GateConfig(policy=name, budget=0.1, explore=0.2), _skewed, 5_000)
    chosen = [row.score for row in rows if row.reason in ("policy", "both")]
    assert len(chosen) > 100
    assert sum(chosen) / len(chosen) > 1.5 * sum(row.score for row in rows) / len(rows)


def _skewed(i: int) -> float:
    return keyed.uniform("score", i) ** 3


def test_steps_are_taken_from_the_configuration() -> None:
    """A configured step replaces each policy's own, which holds where there is none."""
    for name, own in itertools.product(ADAPTIVE, (None, 0.125)):
        policy = make_policy(GateConfig(policy=name, step=own), 0.05)
        defaults = {"quantile": 0.25, "selective-sampling": 0.05}
        assert getattr(policy, "step") == (own or defaults.get(name, 0.01))  # noqa: B009
