"""The gate: what a decision records, and what it does with odd input."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, get_args

import msgspec
import pytest

from stream_al import keyed
from stream_al.config import GateConfig, PolicyName, ScoreName
from stream_al.gate.gate import Gate, GateState
from stream_al.records import Decision, Event, Features, ModelStamp, encode

POLICIES: tuple[PolicyName, ...] = get_args(PolicyName)
STAMP = ModelStamp("fold", 12, "digest")


def weigh(features: Features, towards: str) -> dict[str, float]:
    """Say that every feature counts."""
    return dict.fromkeys(features, float(len(towards)))


def decide(gate: Gate, state: GateState, p: dict[str, float], **changed: Any) -> Decision:
    """Decide about the next event."""
    fields: dict[str, Any] = {"offset": state.next_offset, "features": {"a": 1.0}}
    event = Event(**(fields | changed))
    prior = dict.fromkeys(p, 1.0 / max(len(p), 1))
    return gate.decide(state, event, p, prior, STAMP, weigh, 5.0)


def play(
    gate: Gate, n: int, p_of: Callable[[int], dict[str, float]], **changed: Any
) -> tuple[list[Decision], GateState]:
    """Decide about n events; return the state as well."""
    state = gate.fresh_state()
    return [decide(gate, state, p_of(i), **changed) for i in range(n)], state


def pair(i: int) -> dict[str, float]:
    """Return the probabilities of two classes, drawn."""
    q = keyed.uniform("p", i)
    return {"a": q, "b": 1.0 - q}


@pytest.mark.parametrize(
    ("score", "recorded"),
    [(math.nan, 1.0), (math.inf, 1.0), (2.0, 1.0), (-0.5, 0.0), (-math.inf, 0.0), (0.3, 0.3)],
)
def test_scores_out_of_range_are_brought_into_it(score: float, recorded: float) -> None:
    """What cannot be scored is recorded as the highest score, what is too low as the lowest."""
    rows, _ = play(Gate(GateConfig(), score=lambda _, __: score), 50, pair)
    assert {row.prediction.score for row in rows} == {recorded}


@pytest.mark.parametrize("known", [{}, {"a": 1.0}])
@pytest.mark.parametrize("name", POLICIES)
def test_too_few_classes_are_asked_about_for_ever(
    name: PolicyName, known: dict[str, float]
) -> None:
    """With no class known, or one, every policy goes on asking though no label ever comes."""
    config = GateConfig(policy=name, threshold=1.0)
    rows, _ = play(Gate(config), 4_000, lambda _: dict(known))
    assert {row.prediction.score for row in rows} == {1.0}
    assert rows[0].asked or name == "random"
    for start in range(0, 4_000, 1_000):
        asked = sum(row.prediction.reason in ("policy", "both") for row in rows[start:][:1_000])
        assert asked >= 8
    assert {row.prediction.prediction for row in rows} == {next(iter(known), None)}


@pytest.mark.parametrize("name", [name for name in get_args(ScoreName) if name != "risk"])
def test_nothing_learnt_yet_is_the_most_informative(name: ScoreName) -> None:
    """Declared classes before any label, all as probable, score as high as can be."""
    rows, _ = play(Gate(GateConfig(score=name)), 5, lambda _: {"a": 0.25} | _rest(0.75))
    assert all(row.prediction.score == pytest.approx(1.0) for row in rows)


def _rest(p: float) -> dict[str, float]:
    return {"b": p / 3, "c": p / 3, "d": p / 3}


def test_reasons_say_what_happened() -> None:
    """Every reason comes with the action, probability and exploration that it speaks of."""
    config = GateConfig(policy="selective-sampling", budget=0.2, burst=3.0)
    rows, _ = play(Gate(config), 3_000, pair)
    found = set()
    for row in (decision.prediction for decision in rows):
        found.add(row.reason)
        asked, explored, p = {
            "explore": (True, True, None),
            "both": (True, True, "above 0"),
            "policy": (True, False, "above 0"),
            "draw": (False, False, "above 0"),
            "confident": (False, False, "0"),
            "budget": (False, False, "0"),
        }[row.reason]
        assert (row.action == "ask", row.explored) == (asked, explored)
        assert p is None or (row.p_policy > 0.0) == (p == "above 0")
    assert found == {"explore", "both", "policy", "draw", "budget"}


def test_confident_is_the_reason_where_the_policy_declines() -> None:
    """An event under the threshold is declined by the policy, not by the budget."""
    config = GateConfig(policy="fixed", threshold=0.9, explore=0.0)
    rows, _ = play(Gate(config, score=lambda p, _: p["a"]), 100, lambda _: {"a": 0.5, "b": 0.5})
    assert {row.prediction.reason for row in rows} == {"confident"}


def test_the_threshold_recorded_is_that_of_the_comparison() -> None:
    """A quantile decision with tokens asks exactly where the score reaches the threshold."""
    config = GateConfig(budget=0.3, explore=0.0)
    rows, _ = play(Gate(config, score=lambda p, _: p["a"]), 2_000, pair)
    asked = [row.prediction for row in rows if row.prediction.reason != "budget"]
    assert len(asked) > 1_000
    assert all((row.action == "ask") == (row.score >= row.threshold) for row in asked)


def test_a_decision_records_what_it_was_made_with() -> None:
    """Model, configuration, time and the most probable class stand in the prediction."""
    config = GateConfig()
    gate = Gate(config)
    state = gate.fresh_state()
    row = decide(gate, state, {"a": 0.2, "b": 0.8}, id="tx-1", topic="t", partition=3, time=9.0)
    found = row.prediction
    assert (found.topic, found.partition, found.offset, found.id) == ("t", 3, 0, "tx-1")
    assert (found.prediction, found.probabilities) == ("b", {"a": 0.2, "b": 0.8})
    assert (found.fold_id, found.model_version, found.digest) == ("fold", 12, "digest")
    assert found.config_hash == gate.config_hash
    assert found.config_hash != Gate(GateConfig(salt=1)).config_hash
    assert (found.time, found.batch_time) == (9.0, 5.0)


def test_a_request_is_self_contained() -> None:
    """A request repeats its event and prediction, and requests are counted without a gap."""
    rows, state = play(Gate(GateConfig(budget=0.2)), 400, pair, topic="t", partition=2, id="x")
    requests = [row.request for row in rows if row.request is not None]
    assert [request.request_no for request in requests] == list(range(len(requests)))
    assert state.requests == len(requests) > 40
    for row in rows:
        assert row.asked == (row.prediction.action == "ask") == (row.request is not None)
        if row.request is None:
            continue
        assert row.request.request_id == f"t:2:{row.prediction.offset}"
        assert row.request.features == {"a": 1.0}
        for name in (
            "topic",
            "partition",
            "offset",
            "id",
            "time",
            "prediction",
            "probabilities",
            "score",
            "reason",
            "explored",
            "propensity",
            "fold_id",
            "model_version",
            "weighed",
        ):
            assert getattr(row.request, name) == getattr(row.prediction, name)


def test_features_are_weighed_for_asked_events_only() -> None:
    """Only what is asked about says which features weighed most, towards the predicted class."""
    rows, _ = play(Gate(GateConfig(budget=0.2)), 300, pair)
    for row in rows:
        assert row.prediction.weighed == ({"a": 1.0} if row.asked else None)


@pytest.mark.parametrize(
    "changed",
    [{"id": "x"}, {"time": 1.0}, {"features": {"a": 1.5}}, {"features": {"b": 1.0}}, {"offset": 9}],
)
def test_the_state_digest_tells_events_apart(changed: dict[str, Any]) -> None:
    """Another id, time, feature or offset of one event changes the digest of all that follow."""
    gate = Gate(GateConfig())
    digests = []
    for odd in ({}, changed):
        state = gate.fresh_state()
        decide(gate, state, pair(0), **odd)
        digests.append(decide(gate, state, pair(1), offset=20).prediction.state_digest)
    assert digests[0] != digests[1]


@pytest.mark.parametrize("name", POLICIES)
def test_decisions_are_the_same_again(name: PolicyName) -> None:
    """The same events give the same bytes, and a state that was stored goes on as the one kept."""
    gate = Gate(GateConfig(policy=name, budget=0.2))
    once, _ = play(gate, 600, pair)
    state = gate.fresh_state()
    for i, row in enumerate(once):
        if i % 50 == 0:
            state = msgspec.json.decode(msgspec.json.encode(state), type=GateState)
        again = decide(gate, state, pair(i))
        assert encode(again.prediction) == encode(row.prediction)
        assert again == row


def test_gaps_in_offsets_change_no_block() -> None:
    """Blocks count events, not offsets: a partition with gaps is explored as a dense one."""
    gate = Gate(GateConfig(budget=0.2))
    dense, _ = play(gate, 500, pair)
    state = gate.fresh_state()
    sparse = [decide(gate, state, pair(i), offset=7 * i) for i in range(500)]
    assert [row.prediction.explored for row in dense] == [row.prediction.explored for row in sparse]
    assert state.next_offset == 7 * 499 + 1


def test_the_observed_sample_is_dense_at_first_and_then_one_in_so_many() -> None:
    """Events are published at once, and in the long run one in each block of `observe_every`."""
    rows, state = play(Gate(GateConfig(observe_every=50)), 60_000, pair)
    at = [i for i, row in enumerate(rows) if row.observed is not None]
    assert at[:8] == list(range(8))
    assert len(at) == state.observed
    late = [i for i in at if i >= 30_000]
    assert len(late) == pytest.approx(30_000 / 50, abs=2)
    assert max(b - a for a, b in itertools.pairwise(late)) < 100


def test_the_observed_sample_does_not_depend_on_scores() -> None:
    """What is published for unsupervised learning is drawn by key alone."""
    one, _ = play(Gate(GateConfig()), 3_000, pair)
    other, _ = play(Gate(GateConfig(budget=0.9, score="entropy")), 3_000, lambda i: pair(2 * i))
    assert [row.observed is None for row in one] == [row.observed is None for row in other]


def test_an_observed_record_is_the_event() -> None:
    """A record of the sample holds the event's place, time and features."""
    rows, _ = play(Gate(GateConfig()), 1, pair, topic="t", partition=4, time=3.0)
    observed = rows[0].observed
    assert observed is not None
    assert (observed.topic, observed.partition, observed.offset) == ("t", 4, 0)
    assert (observed.time, observed.features) == (3.0, {"a": 1.0})
