"""The gate on a log: every event ends in one prediction or one dead letter, and none stops it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from consumers.errors import StopError
from consumers.gate import GateMachine
from consumers.introduction import configured
from consumers.log import Out, Partition, Record
from consumers.machine import Tick, Work
from consumers.topics import Topics, dead_letters_of
from stream_al.config import Config, GateConfig, LearnerConfig
from stream_al.errors import ConfigError
from stream_al.gate.gate import GateState
from stream_al.records import LabelRequest, Observed, Prediction, encode
from stream_al.training import Control, decode_training

CONFIG = Config(learner=LearnerConfig(committee=False), gate=GateConfig(budget=0.2))
TOPICS = Topics.of(CONFIG.log)


def event(offset: int, value: bytes | None = None, partition: int = 0, **more: Any) -> Record:
    """Return an event's message."""
    raw = json.dumps({"amount": float(offset % 7), "country": "FR"}).encode()
    return Record(
        TOPICS.events,
        partition,
        offset,
        more.get("key", b"card"),
        raw if value is None else value,
        (("traceparent", b"00-ab"),),
        50.0,
    )


def machine(config: Config = CONFIG) -> GateMachine:
    """Return a machine that knows its configuration and owns partition 0."""
    made = GateMachine(config)
    introduction = made.introduction
    assert introduction is not None
    made.follow([training(0, introduction)])
    assert made.introduction is None
    made.restore(0, ())
    return made


def training(offset: int, out: Out) -> Record:
    """Return a record as it comes back from the training log."""
    return Record(TOPICS.training, 0, offset, out.key, out.value, (), 0.0)


def predictions(work: Work) -> list[Prediction]:
    """Return what was predicted."""
    return [
        msgspec.json.decode(out.value or b"", type=Prediction)
        for out in work.outs
        if out.topic == TOPICS.predictions
    ]


def state(work: Work) -> Record:
    """Return the state that a batch left, as the changelog gives it back."""
    (out,) = (out for out in work.outs if out.topic == TOPICS.gate_state)
    assert out.partition == 0
    return Record(out.topic, 0, 0, out.key, out.value, (), 0.0)


def test_every_event_has_a_prediction_and_the_few_that_are_asked_a_request() -> None:
    """Predictions keep order, key and partition; requests and observed events go along."""
    gate = machine()
    work = gate.process([event(n) for n in range(0, 400, 2)], Tick(60.0))
    found = predictions(work)
    assert [p.offset for p in found] == list(range(0, 400, 2))
    assert {p.batch_time for p in found} == {60.0}
    asked = [p.offset for p in found if p.action == "ask"]
    requests = [out for out in work.outs if out.topic == TOPICS.label_requests]
    decoded = [msgspec.json.decode(out.value or b"", type=LabelRequest) for out in requests]
    assert asked == [request.offset for request in decoded]
    assert 0 < len(asked) <= 0.2 * 200 + 20
    assert {out.key for out in requests} == {b"card"}
    observed = [decode_training(o.value or b"") for o in work.outs if o.topic == TOPICS.training]
    assert observed
    assert all(isinstance(record, Observed) for record in observed)
    assert work.offsets == {Partition(TOPICS.events, 0): 399}
    assert work.counts["predictions_total", "ask"] == len(asked)


def test_keys_and_trace_pass_through_and_a_request_without_a_key_gets_its_id() -> None:
    """What correlates a message with its outputs survives."""
    gate = machine()
    work = gate.process([event(n, key=None) for n in range(30)], Tick(60.0))
    for out in work.outs:
        if out.topic in {TOPICS.predictions, TOPICS.label_requests}:
            headers = dict(out.headers)
            assert headers["traceparent"] == b"00-ab"
            assert headers["ce_specversion"] == b"1.0"
        if out.topic == TOPICS.label_requests:
            assert out.key == msgspec.json.decode(out.value or b"")["request_id"].encode()
        if out.topic == TOPICS.predictions:
            assert out.key is None
            assert out.partition == 0


def test_batches_of_any_size_decide_alike() -> None:
    """A state that goes through the changelog between any two events changes nothing."""
    one, other = machine(), machine()
    events = [event(n) if n % 5 else event(n, b"{") for n in range(100)]
    whole = predictions(one.process(events, Tick(60.0)))
    pieces: list[Prediction] = []
    for begin in range(0, 100, 7):
        work = other.process(events[begin : begin + 7], Tick(60.0))
        pieces += predictions(work)
        assert other.restore(0, [state(work)]) == work.offsets
    assert pieces == whole
    assert len(whole) == 80


def test_the_state_of_another_topic_is_refused() -> None:
    """Were the topic of events changed alone, its first events would be taken for decided ones."""
    work = machine().process([event(n) for n in range(10)], Tick(60.0))
    log = msgspec.structs.replace(CONFIG.log, events="other")
    other = machine(msgspec.structs.replace(CONFIG, log=log))
    with pytest.raises(StopError, match="'events:0', and the events are to come from 'other'"):
        other.restore(0, [state(work)])


def test_what_cannot_be_read_is_a_dead_letter_and_moves_the_position() -> None:
    """A bad message at the end of a batch is not read again."""
    gate = machine()
    work = gate.process([event(0), event(4, b"\xff\x00")], Tick(60.0))
    letters = [out for out in work.outs if out.topic == dead_letters_of(CONFIG.log, TOPICS.events)]
    assert [out.value for out in letters] == [b"\xff\x00"]
    assert len(predictions(work)) == 1
    assert work.offsets == {Partition(TOPICS.events, 0): 5}
    only_bad = machine().process([event(4, b"")], Tick(60.0))
    assert msgspec.json.decode(state(only_bad).value or b"", type=GateState).next_offset == 5


def test_an_event_that_the_model_cannot_take_is_a_dead_letter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A model that raises for one event stops neither the events around it nor the process."""
    gate = machine()
    predict = gate.core.fold.learner.predict_one

    def strict(features: dict[str, Any]) -> dict[str, float]:
        if features["amount"] == 13.0:
            raise ZeroDivisionError("no thirteens")
        return predict(features)

    monkeypatch.setattr(gate.core.fold.learner, "predict_one", strict)
    raw = b'{"amount": 13.0, "country": "FR"}'
    work = gate.process([event(0), event(1, raw), event(2), event(3, raw)], Tick(60.0))
    assert [p.offset for p in predictions(work)] == [0, 2]
    letters = [out for out in work.outs if out.topic == dead_letters_of(CONFIG.log, TOPICS.events)]
    assert [out.value for out in letters] == [raw, raw]
    assert dict(letters[0].headers)["__dlq.errors.class"] == b"model"
    assert work.counts["dead_letters_total", "decide", "model"] == 2


def test_a_partition_waits_for_the_model_that_it_was_decided_with() -> None:
    """A new owner is behind until it has folded what the last owner had."""
    ahead = machine()
    first = ahead.process([event(n) for n in range(20)], Tick(60.0))
    folded = [out for out in first.outs if out.topic == TOPICS.training]
    ahead.follow([training(n, out) for n, out in enumerate(folded, 1)])
    work = ahead.process([event(20)], Tick(61.0))
    assert predictions(work)[0].model_version == len(folded) + 1
    late = machine()
    late.restore(0, [state(work)])
    assert late.behind
    late.follow([training(n, out) for n, out in enumerate(folded, 1)])
    assert not late.behind


def test_operators_can_pause_and_boost() -> None:
    """Under pause only exploration asks; under boost the bucket is spent at once; both end."""
    gate = machine()
    start = gate.process([event(n) for n in range(300)], Tick(60.0))
    offset = gate.next_followed

    def tell(control: Control) -> None:
        nonlocal offset
        gate.follow([training(offset, Out(TOPICS.training, encode(control)))])
        offset += 1

    tell(Control(action="pause", until=100.0))
    paused = predictions(gate.process([event(n) for n in range(300, 600)], Tick(70.0)))
    assert {p.reason for p in paused} == {"paused", "explore"}
    assert max(p.tokens for p in paused) == gate.core.gate.capacity
    tell(Control(action="boost"))
    boosted = predictions(gate.process([event(n) for n in range(600, 640)], Tick(71.0)))
    assert [p.reason in {"boost", "both"} for p in boosted[:15]] == [True] * 15
    assert {p.reason for p in boosted[30:]} & {"budget"}
    tell(Control(action="resume"))
    after = predictions(gate.process([event(n) for n in range(640, 900)], Tick(72.0)))
    assert {p.reason for p in after} <= {"policy", "confident", "budget", "explore", "both"}
    every = predictions(start) + paused + boosted + after
    spent = 0
    for count, prediction in enumerate(every, 1):
        spent += prediction.action == "ask"
        assert spent <= 0.2 * count + 20


def test_a_new_configuration_takes_over_the_partition() -> None:
    """With another budget, counts go on, the policy starts afresh, and nothing is overspent."""
    gate = machine()
    work = gate.process([event(n) for n in range(100)], Tick(60.0))
    other = msgspec.structs.replace(CONFIG, gate=GateConfig(budget=0.05))
    changed = GateMachine(other)
    changed.follow([training(0, configured(CONFIG))])
    assert changed.introduction is not None
    changed.follow([training(1, configured(other))])
    assert changed.introduction is None
    changed.restore(0, [state(work)])
    found = predictions(changed.process([event(n) for n in range(100, 1100)], Tick(61.0)))
    assert found[0].config_hash != predictions(work)[0].config_hash
    assert found[0].block == predictions(work)[-1].block + 1
    assert sum(p.action == "ask" for p in found) <= 0.05 * 1000 + 20


def test_a_foreign_training_log_stops_the_gate_and_says_why() -> None:
    """Another learner's log, and a record that cannot be read, are refused, never passed over."""
    other = msgspec.structs.replace(CONFIG, learner=LearnerConfig(draws=3))
    with pytest.raises(ConfigError, match="is folded as"):
        GateMachine(CONFIG).follow([training(0, configured(other))])
    gate = machine()
    with pytest.raises(StopError, match="offset 1: no training record"):
        gate.follow([training(1, Out(TOPICS.training, b'{"type": "strange"}'))])
