"""The budget, which no score and no policy can overspend."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_al.config import Config, GateConfig, LearnerConfig, PolicyName
from stream_al.engine import Core
from stream_al.gate.exploration import block_length
from stream_al.gate.policies import Fixed, Policy
from stream_al.records import Decision, Event

POLICIES: tuple[PolicyName, ...] = get_args(PolicyName)

ADVERSARIAL: dict[str, Callable[[int, random.Random], float]] = {
    "constant": lambda _, __: 0.5,
    "constant 0": lambda _, __: 0.0,
    "constant 1": lambda _, __: 1.0,
    "tied": lambda _, drawn: drawn.choice((0.25, 0.5)),
    "saturated": lambda _, drawn: drawn.choice((0.0, 1.0)),
    "alternating": lambda i, _: float(i % 2),
    "uniform": lambda _, drawn: drawn.random(),
    "not a number": lambda _, __: math.nan,
    "infinite": lambda _, drawn: drawn.choice((math.inf, -math.inf, math.nan, 0.5)),
    "negative": lambda _, drawn: -drawn.random(),
    "above 1": lambda _, drawn: 1.0 + drawn.random(),
    "rare spikes": lambda _, drawn: float(drawn.random() < 0.002),
    "rising": lambda i, _: 1.0 - 1.0 / (i + 2),
    "quiet, then sure": lambda i, _: float(i > 700),
}


def decide(
    config: GateConfig,
    scores: Iterator[float],
    n: int,
    sizes: Iterator[int],
    policy: Policy | None = None,
) -> list[Decision]:
    """Decide about n events in batches, with scores that come from outside."""
    # With declared classes and no label yet the probabilities are there, and nothing else matters.
    whole = Config(gate=config, learner=LearnerConfig(classes=("a", "b"), committee=False))
    core = Core(whole, score=lambda _, __: next(scores), policy=policy)
    events = (Event(offset=i, features={}) for i in range(n))
    decisions: list[Decision] = []
    while len(decisions) < n:
        decisions += core.decide_many(list(itertools.islice(events, next(sizes))))
    return decisions


@st.composite
def gates(drawn: st.DrawFn) -> GateConfig:
    """Draw any gate."""
    return GateConfig(
        policy=drawn(st.sampled_from(POLICIES)),
        budget=drawn(
            st.one_of(st.sampled_from((0.005, 0.02, 0.1, 0.5, 1.0)), st.floats(0.005, 1.0))
        ),
        explore=drawn(st.one_of(st.sampled_from((0.0, 0.3, 0.5, 1.0)), st.floats(1e-9, 1.0))),
        burst=drawn(st.sampled_from((2.0, 2.5, 20.0, 150.0))),
        threshold=drawn(st.sampled_from((0.0, 0.5, 1.0))),
        step=drawn(st.sampled_from((None, 1e-3, 3.0))),
        salt=drawn(st.integers(0, 2**40)),
    )


def overspent(decisions: list[Decision], config: GateConfig) -> float:
    """Return the largest asked(t) - budget * t over all t."""
    asked = itertools.accumulate(decision.asked for decision in decisions)
    return max(a - config.budget * t for t, a in enumerate(asked, 1))


def overspent_since_any(decisions: list[Decision], config: GateConfig) -> float:
    """Return the largest asked - budget * length over all windows."""
    largest = lowest = excess = 0.0
    for decision in decisions:
        excess += decision.asked - config.budget
        largest = max(largest, excess - lowest)
        lowest = min(lowest, excess)
    return largest


@settings(max_examples=150, deadline=None)
@given(gates(), st.sampled_from(sorted(ADVERSARIAL)), st.integers(0, 2**32), st.integers(1, 600))
def test_no_score_overspends(config: GateConfig, name: str, seed: int, largest: int) -> None:
    """At every t asked(t) <= budget * t + burst, and each block explores exactly one event.

    Nor does any window, wherever it starts, hold more than what was unspent can grow to.
    """
    scores = (ADVERSARIAL[name](i, random.Random(f"{seed} {i}")) for i in itertools.count())
    sizes = random.Random(seed)
    decisions = decide(config, scores, 1_000, iter(lambda: sizes.randint(1, largest), 0))
    assert overspent(decisions, config) <= config.burst + 1e-9
    # The picks of two blocks can be neighbours, hence one more in a window that starts anywhere.
    assert overspent_since_any(decisions, config) <= config.burst + 1.0 + 1e-9
    explored: dict[int, int] = {}
    for decision in decisions:
        block = decision.prediction.block
        explored[block] = explored.get(block, 0) + decision.prediction.explored
    if config.explore * config.budget == 0.0:
        assert explored == {-1: 0}
    else:
        explored.popitem()
        assert all(count == 1 for count in explored.values())


class Greedy(Fixed, frozen=True):
    """Asks about everything."""


class Tireless(Greedy, frozen=True):
    """Asks with a probability that is none."""

    def propose(self, level: float, score: float) -> tuple[float, float]:
        """Ask with a probability of far more than 1."""
        return level, 1e300 + score


@pytest.mark.parametrize("explore", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("budget", [0.005, 0.05, 1.0 / 3.0, 1.0])
@pytest.mark.parametrize("policy", [Greedy(at=0.0), Tireless(at=0.0)])
def test_no_policy_overspends(policy: Policy, budget: float, explore: float) -> None:
    """A policy that always wants to ask is held to the budget, and the budget is spent in full."""
    config = GateConfig(budget=budget, explore=explore)
    decisions = decide(config, itertools.repeat(0.5), 4_000, itertools.repeat(500), policy)
    assert overspent(decisions, config) <= config.burst + 1e-9
    share = 1.0 / block_length(budget * explore) if explore else 0.0
    # An explored event that the policy wants as well is one request, paid for from either side.
    expected = 4_000 * (1.0 - (1.0 - share) * (1.0 - budget + share))
    assert sum(decision.asked for decision in decisions) >= 0.97 * expected


@pytest.mark.parametrize("name", ["fixed", "quantile"])
def test_unspent_budget_is_bounded(name: PolicyName) -> None:
    """After 10,000 quiet events the next ones ask for no more than the burst and their budget."""
    config = GateConfig(policy=name, budget=0.1)
    scores = (0.0 if i < 10_000 else 1.0 for i in itertools.count())
    decisions = decide(config, scores, 11_000, itertools.repeat(1_000))
    assert {row.prediction.reason for row in decisions[5_000:10_000]} == {"confident", "explore"}
    assert overspent(decisions[10_000:], config) <= config.burst
    assert sum(decision.asked for decision in decisions[10_000:10_100]) > config.burst


@pytest.mark.parametrize("explore", [0.0, 0.5])
@pytest.mark.parametrize("name", POLICIES)
def test_start_up_asks_no_more_than_the_burst(name: PolicyName, explore: float) -> None:
    """The first events, with nothing known, take no more than the stated burst."""
    config = GateConfig(policy=name, budget=0.01, explore=explore, burst=7.0)
    decisions = decide(config, itertools.repeat(1.0), 300, itertools.repeat(300))
    assert sum(decision.asked for decision in decisions) <= 7.0 + 3.0
    assert overspent(decisions, config) <= 7.0


@settings(max_examples=30, deadline=None)
@given(gates(), st.integers(0, 2**32))
def test_tokens_stay_in_their_bucket(config: GateConfig, seed: int) -> None:
    """The tokens shown are never negative and never above the burst."""
    scores = random.Random(seed)
    decisions = decide(config, iter(scores.random, None), 500, itertools.repeat(100))
    assert all(0.0 <= decision.prediction.tokens <= config.burst for decision in decisions)


@pytest.mark.parametrize("name", POLICIES)
def test_refused_events_teach_the_policy_nothing(name: PolicyName) -> None:
    """While its tokens are used up a policy's probability is 0 and its threshold stands still."""
    config = GateConfig(policy=name, budget=0.02, explore=0.0, burst=2.0, threshold=0.0)
    decisions = decide(config, itertools.repeat(0.75), 2_000, itertools.repeat(2_000))
    rows = [decision.prediction for decision in decisions]
    refused = [i for i, row in enumerate(rows[:-1]) if row.reason == "budget"]
    assert refused
    for i in refused:
        assert rows[i].p_policy == 0.0
        assert rows[i].propensity == 0.0
        assert rows[i + 1].threshold == rows[i].threshold
