"""What the gate does when drift is found: within the budget, for a while, and recomputable."""

from __future__ import annotations

import io
import itertools
import random
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_al import Config, Event, GateConfig, LearnerConfig, SourceConfig
from stream_al.engine import Core
from stream_al.errors import ConfigError
from stream_al.gate.exploration import block_length
from stream_al.records import Decision
from stream_al.replay.runner import Replay
from stream_al.replay.sources import open_source
from stream_al.replay.verify import Verifier, recorded_config


def decide(config: GateConfig, drifts: set[int], n: int, score: float = 0.5) -> list[Decision]:
    """Decide about n events, with drift found before some of them."""
    whole = Config(gate=config, learner=LearnerConfig(classes=("a", "b"), committee=False))
    core = Core(whole, score=lambda _, __: score)
    decisions: list[Decision] = []
    for i in range(n):
        if i in drifts:
            core.fold.monitor._drift.called = i + 1
        decisions += core.decide_many([Event(offset=i, features={})])
    return decisions


@settings(max_examples=100, deadline=None)
@given(
    on_drift=st.sampled_from(("burst", "explore")),
    budget=st.floats(0.02, 1.0),
    explore=st.floats(0.05, 1.0),
    drift_explore=st.floats(0.05, 1.0),
    drifts=st.sets(st.integers(0, 700), max_size=5),
    score=st.sampled_from((0.0, 0.5, 1.0)),
    salt=st.integers(0, 2**40),
)
def test_no_response_overspends(
    on_drift: Literal["burst", "explore"],
    budget: float,
    explore: float,
    drift_explore: float,
    drifts: set[int],
    score: float,
    salt: int,
) -> None:
    """Whenever drift is found, asked(t) <= budget * t + burst, and a block explores one event."""
    config = GateConfig(
        budget=budget,
        explore=explore,
        on_drift=on_drift,
        drift_events=150,
        drift_explore=drift_explore,
        salt=salt,
    )
    decisions = decide(config, drifts, 800, score)
    asked = itertools.accumulate(decision.asked for decision in decisions)
    assert max(a - budget * t for t, a in enumerate(asked, 1)) <= config.burst + 1e-9
    explored: dict[int, int] = {}
    for decision in decisions:
        block = decision.prediction.block
        explored[block] = explored.get(block, 0) + decision.prediction.explored
    explored.popitem()
    assert all(count == 1 for count in explored.values())


def test_a_burst_asks_while_there_are_tokens_and_ends() -> None:
    """After a drift the policy spends its tokens, whatever the scores, and then only its rate."""
    config = GateConfig(budget=0.05, policy="fixed", on_drift="burst", drift_events=100)
    reasons = [d.prediction.reason for d in decide(config, {300}, 600, score=0.0)]
    assert "burst" not in reasons[:300] + reasons[400:]
    spent = sum(reason in ("burst", "both") for reason in reasons[300:400])
    assert 19 <= spent <= 19 + 100 * 0.025
    assert all(reason in ("burst", "both", "explore") for reason in reasons[300:319])


def test_exploration_is_raised_from_the_next_block_on_and_falls_back() -> None:
    """Blocks that begin while a response lasts are short, and each pick says how likely it was."""
    config = GateConfig(budget=0.05, on_drift="explore", drift_events=200, drift_explore=0.8)
    usual, short = block_length(0.025), block_length(0.04)
    decisions = decide(config, {90}, 800, score=0.0)
    begun = [0] + [
        i
        for i in range(1, 800)
        if decisions[i].prediction.block != decisions[i - 1].prediction.block
    ]
    lengths = [(begin, end - begin) for begin, end in itertools.pairwise(begun)]
    assert {length for begin, length in lengths if 90 < begin < 290} == {short}
    assert {length for begin, length in lengths if not 90 < begin < 290} == {usual}
    for begin, length in lengths:
        for decision in decisions[begin : begin + length]:
            row = decision.prediction
            assert row.propensity == pytest.approx(
                1.0 - (1.0 - 1.0 / length) * (1.0 - row.p_policy)
            )
            if decision.request is not None:
                assert decision.request.block is not None
                assert decision.request.block.length == length


def test_one_drift_is_responded_to_once() -> None:
    """A response ends by itself while the drift found last stays the same, and starts anew."""
    config = GateConfig(budget=0.05, policy="fixed", on_drift="burst", drift_events=50)
    reasons = [d.prediction.reason for d in decide(config, {100, 700}, 1_000, score=0.0)]
    bursts = [i for i, reason in enumerate(reasons) if reason == "burst"]
    assert {i // 100 for i in bursts} == {1, 7}


@pytest.mark.parametrize("on_drift", ["burst", "explore"])
def test_responses_are_recomputed(tmp_path: Path, on_drift: Literal["burst", "explore"]) -> None:
    """A recording in which drift was responded to verifies without a difference."""
    path, rng = tmp_path / "turning.csv", random.Random(4)
    rows = ["x,y,label"]
    for i in range(6_000):
        x, y = rng.gauss(0, 1), rng.gauss(0, 1)
        rows.append(f"{x},{y},{int((x if i < 3_000 else -x) + y > 0)}")
    path.write_text("\n".join(rows) + "\n")
    gate = GateConfig(budget=0.1, on_drift=on_drift, drift_events=500)
    decisions, training = io.BytesIO(), io.BytesIO()
    report = Replay(Config(gate=gate), decisions=decisions, training=training).run(
        open_source(str(path), SourceConfig())
    )
    assert report.drift.counts["residual"] + report.drift.counts["error"] >= 1
    if on_drift == "burst":
        assert report.asked_by_reason["burst"] > 10
    log = training.getvalue().splitlines()
    config, _ = recorded_config(log, "training")
    verifier = Verifier(config, decisions.getvalue().splitlines(), log)
    assert verifier.run(open_source(str(path), config.source)).differences == 0


def test_exploring_more_takes_exploring_at_all() -> None:
    """A gate that explores nothing cannot explore more upon drift, and says so."""
    with pytest.raises(ConfigError, match=r"gate\.explore"):
        Core(Config(gate=GateConfig(explore=0.0, on_drift="explore")))
