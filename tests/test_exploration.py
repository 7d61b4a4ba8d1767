"""Exploration: one event of each block, uniformly, whatever scores and policies do."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from stream_al import keyed
from stream_al.config import GateConfig, PolicyName
from stream_al.gate.exploration import block_length, pick
from stream_al.gate.gate import Gate
from stream_al.gate.policies import Fixed, Policy
from stream_al.records import Event, ModelStamp, Prediction

POLICIES: tuple[PolicyName, ...] = get_args(PolicyName)


def play(
    gate: Gate, n: int, partition: int = 0, score_of: Callable[[int], float] | None = None
) -> list[Prediction]:
    """Decide about n events of one partition with given scores, uniform ones by default."""
    state, stamp, found = gate.fresh_state(), ModelStamp("fold", 0, ""), []
    for i in range(n):
        p = {"score": keyed.uniform("score", i) if score_of is None else score_of(i), "": 0.0}
        event = Event(offset=i, features={}, partition=partition)
        found.append(gate.decide(state, event, p, p, stamp, lambda _, __: {}, None).prediction)
    return found


def gate(config: GateConfig, policy: Policy | None = None) -> Gate:
    """Make a gate that takes the first probability for the score."""
    return Gate(config, score=lambda p, _: p["score"], policy=policy)


def explored(rows: list[Prediction]) -> list[int]:
    """Return the offsets of explored events."""
    return [row.offset for row in rows if row.explored]


@given(st.floats(1e-6, 1.0))
def test_blocks_explore_no_more_than_the_rate(rate: float) -> None:
    """A block is the shortest whose one pick does not exceed the rate."""
    length = block_length(rate)
    assert 1.0 / length <= rate * (1.0 + 1e-8)
    assert length == 1 or 1.0 / (length - 1) > rate * (1.0 - 1e-8)


@pytest.mark.parametrize("n", [1, 3, 7, 10, 49, 100, 333, 1_000, 10_000])
def test_blocks_of_whole_shares_are_exact(n: int) -> None:
    """One in n is a block of n, whatever the last bit of the share."""
    assert block_length(1.0 / n) == n
    assert block_length((2.0 / n) * 0.5) == n


@pytest.mark.parametrize("explore", [5e-324, 1e-310, 1e-200, 1e-15])
def test_a_vanishing_share_explores_next_to_nothing(explore: float) -> None:
    """The smallest of shares that the configuration allows breaks nothing and explores nothing."""
    rows = play(gate(GateConfig(explore=explore)), 200)
    assert explored(rows) == []
    assert all(row.propensity == pytest.approx(row.p_policy) for row in rows)


@pytest.mark.parametrize("name", POLICIES)
def test_one_event_is_explored_in_each_block(name: PolicyName) -> None:
    """Over a whole run every block explores exactly one event, and asks about it."""
    rows = play(gate(GateConfig(policy=name, budget=0.1)), 2_000)
    for start in range(0, 2_000, 20):
        block = rows[start : start + 20]
        assert [row.block for row in block] == [start // 20] * 20
        assert sum(row.explored for row in block) == 1
    for row in rows:
        assert (row.reason in ("explore", "both")) == row.explored
        assert row.action == "ask" or not row.explored


def test_explored_events_are_uniform_within_their_block() -> None:
    """No place in the block is explored more often than another, nor by what was before."""
    rows = play(gate(GateConfig(budget=0.2, explore=0.5)), 40_000)
    places = [offset % 10 for offset in explored(rows)]
    assert len(places) == 4_000
    counts = Counter(places)
    assert chisquare([counts[k] for k in range(10)]).pvalue > 1e-4
    pairs = Counter(itertools.pairwise(places))
    assert chisquare([pairs[i, j] for i in range(10) for j in range(10)]).pvalue > 1e-4


@pytest.mark.parametrize("score", [0.0, 0.5, 1.0, float("nan"), float("inf"), -1.0])
def test_exploration_goes_on_whatever_the_scores(score: float) -> None:
    """Constant, saturated and senseless scores change nothing in what is explored."""
    config = GateConfig(budget=0.1)
    assert explored(play(gate(config), 600, score_of=lambda _: score)) == explored(
        play(gate(config), 600)
    )


def test_a_greedy_policy_takes_nothing_from_exploration() -> None:
    """A policy that asks about everything, or nothing, leaves the same events explored."""
    config = GateConfig(budget=0.1)
    greedy = play(gate(config, Fixed(at=0.0)), 2_000)
    never = play(gate(config, Fixed(at=2.0)), 2_000)
    assert explored(greedy) == explored(never)
    assert len(explored(greedy)) == 100
    assert sum(row.action == "ask" for row in never) == 100
    assert any(row.reason == "budget" for row in greedy)


@pytest.mark.parametrize("name", POLICIES)
def test_the_policy_moves_as_if_exploration_did_not_exist(name: PolicyName) -> None:
    """Without exploration, at the same rate, threshold, probability and tokens are the same."""
    config = GateConfig(policy=name, budget=0.1)
    with_it = play(gate(config), 3_000)
    without = gate(config)
    without.block_length = 0
    assert explored(with_it)
    for one, other in zip(with_it, play(without, 3_000), strict=True):
        assert not other.explored
        assert (one.threshold, one.p_policy, one.tokens) == (
            other.threshold,
            other.p_policy,
            other.tokens,
        )
        assert (one.reason in ("policy", "both")) == (other.reason == "policy")


@pytest.mark.parametrize("name", ["fixed", "variable", "quantile"])
def test_another_salt_moves_only_exploration(name: PolicyName) -> None:
    """A policy that draws nothing decides alike under every salt, while the picks differ."""
    one, other = (
        play(gate(GateConfig(policy=name, budget=0.1, salt=salt)), 2_000) for salt in (1, 2)
    )
    assert explored(one) != explored(other)
    assert [(row.threshold, row.p_policy, row.tokens) for row in one] == [
        (row.threshold, row.p_policy, row.tokens) for row in other
    ]


def test_partitions_explore_apart() -> None:
    """Two partitions pick different events, and each the same ones again."""
    config = GateConfig(budget=0.1)
    one, other = (explored(play(gate(config), 1_000, partition)) for partition in (0, 1))
    assert one != other
    assert one == explored(play(gate(config), 1_000, 0))


def test_the_whole_budget_can_be_explored() -> None:
    """With explore at 1 every request is an explored one, and the policy has no tokens."""
    rows = play(gate(GateConfig(budget=0.05, explore=1.0)), 1_000)
    assert sum(row.action == "ask" for row in rows) == 50
    assert {row.reason for row in rows if row.action == "ask"} == {"explore"}
    assert {row.tokens for row in rows} == {0.0}


@given(st.integers(), st.integers(0, 100), st.integers(0, 2**40), st.integers(1, 10_000))
def test_picks_are_in_their_block(salt: int, partition: int, block: int, length: int) -> None:
    """A pick is one of its block's events."""
    assert 0 <= pick(salt, partition, block, length) < length
