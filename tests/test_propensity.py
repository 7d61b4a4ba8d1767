"""The recorded propensity is the probability with which the gate asks."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest
from scipy.stats import binomtest

from stream_al import keyed
from stream_al.config import GateConfig, PolicyName
from stream_al.gate.exploration import pick
from stream_al.gate.gate import Gate, GateState
from stream_al.records import Event, ModelStamp, Prediction

POLICIES: tuple[PolicyName, ...] = get_args(PolicyName)
SALTS = range(2_000)
WARM_UP = 437


def gate(config: GateConfig) -> Gate:
    """Make a gate that takes the first probability for the score."""
    return Gate(config, score=lambda p, _: p["score"])


def decide(which: Gate, state: GateState, offset: int, score: float) -> Prediction:
    """Decide about one event with a given score."""
    p, event = {"score": score, "": 0.0}, Event(offset=offset, features={})
    stamp = ModelStamp("fold", 0, "")
    return which.decide(state, event, p, p, stamp, lambda _, __: {}, None).prediction


def lived(config: GateConfig) -> GateState:
    """Return the state after some events."""
    warm = gate(config)
    state = warm.fresh_state()
    for i in range(WARM_UP):
        decide(warm, state, i, keyed.uniform("score", i))
    return state


@pytest.mark.parametrize(("score", "tokens"), [(0.6, 3.0), (0.97, 3.0), (0.97, 0.0)])
@pytest.mark.parametrize("name", POLICIES)
def test_the_share_of_salts_that_asks_is_the_propensity(
    name: PolicyName, score: float, tokens: float
) -> None:
    """At one and the same history, 2,000 salts ask as often as the recorded propensity says."""
    config = GateConfig(policy=name, budget=0.25, explore=0.4, threshold=0.9)
    frozen = lived(config)
    frozen.tokens = tokens
    asked, propensities = 0, set()
    for salt in SALTS:
        salted = gate(msgspec.structs.replace(config, salt=salt))
        state = msgspec.structs.replace(frozen)
        # The block that is open was opened before, by the same salt.
        start = state.block_end - salted.block_length
        block = state.block
        assert block is not None
        state.picked = start + pick(salt, 0, block.number, salted.block_length)
        row = decide(salted, state, WARM_UP, score)
        propensities.add(row.propensity)
        asked += row.action == "ask"
    assert frozen.block_end - salted.block_length < WARM_UP < frozen.block_end
    (propensity,) = propensities
    assert 0.0 < propensity <= 1.0
    assert binomtest(asked, len(SALTS), propensity).pvalue > 1e-4
    if tokens < 1.0:
        assert propensity == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["random", "selective-sampling", "randomized-variable"])
def test_policies_that_draw_do_so_with_their_probability(name: PolicyName) -> None:
    """At the same history the share of salts whose policy asks is the recorded p_policy."""
    config = GateConfig(policy=name, budget=0.3, explore=0.0)
    frozen = lived(config)
    frozen.tokens = 3.0
    rows = [
        decide(
            gate(msgspec.structs.replace(config, salt=salt)),
            msgspec.structs.replace(frozen),
            WARM_UP,
            0.7,
        )
        for salt in SALTS
    ]
    (p,) = {row.p_policy for row in rows}
    assert 0.0 < p < 1.0
    asked = sum(row.action == "ask" for row in rows)
    assert binomtest(asked, len(SALTS), p).pvalue > 1e-4
    assert {row.reason for row in rows} == {"policy", "draw"}


@pytest.mark.parametrize("explore", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("name", POLICIES)
def test_propensity_joins_exploration_and_policy(name: PolicyName, explore: float) -> None:
    """Each propensity is 1 - (1 - 1/L)(1 - p_policy), and what is asked has one above 0."""
    which = gate(GateConfig(policy=name, budget=0.25, explore=explore))
    share = 1.0 / which.block_length if which.block_length else 0.0
    state = which.fresh_state()
    for i in range(1_000):
        row = decide(which, state, i, keyed.uniform("score", i))
        assert row.propensity == 1.0 - (1.0 - share) * (1.0 - row.p_policy)
        assert row.action == "auto" or row.propensity > 0.0
        assert row.action == "ask" or row.propensity < 1.0


@pytest.mark.parametrize("name", POLICIES)
def test_labels_weighed_by_propensity_count_all_traffic(name: PolicyName) -> None:
    """The asked events, each counted 1 / propensity times, add up to all events."""
    which = gate(GateConfig(policy=name, budget=0.25, explore=0.4))
    state, total, variance = which.fresh_state(), 0.0, 0.0
    for i in range(20_000):
        row = decide(which, state, i, keyed.uniform("score", i))
        if row.action == "ask":
            total += 1.0 / row.propensity
        variance += 1.0 / row.propensity - 1.0
    # Picks within a block exclude each other, so their variance is below that of single draws.
    assert abs(total - 20_000) < 5.0 * variance**0.5
