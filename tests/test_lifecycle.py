"""The life of a label against a reference: events, requests, answers, expiry, crash, restore.

The default run is short. The long one, with the count of its steps, is
``pytest -s -m slow tests/test_lifecycle.py``.
"""

from __future__ import annotations

import json
import pickle
from collections import Counter
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from lifecycle_model import Accuracies, Json, Letter, Message, Offices, Result, bare

from consumers.ledger import LedgerMachine
from consumers.log import Out, Partition, Record
from consumers.machine import Tick, Work
from consumers.topics import Topics, dead_letters_of
from stream_al.config import Config, LearnerConfig, LedgerConfig, MessageConfig, validate
from stream_al.labels.gold import GoldCase
from stream_al.learner.accuracy import Accuracy
from stream_al.training import Ended, decode_training

PARTS = (0, 1)
LENGTH = 3
STEPS_OF_LIFE = 100
EVERYTHING = 1000
PARTS_OF_LONG_RUN, STEPS_OF_EACH = 10, 10_000

CLASSES = ("good", "fraud")
CONFIDENCE = (0.5, 0.75, 0.9, 1.0)
PREDICTION = st.sampled_from([None, *((name, m) for name in CLASSES for m in CONFIDENCE)])
EVENT = st.tuples(
    PREDICTION,
    st.booleans(),
    st.sampled_from(("", "", "", "", "", "a", "b")),
    st.sampled_from((1, 2)),
    st.sampled_from(PARTS),
)
BLOCK = st.tuples(st.integers(0, LENGTH - 1), st.tuples(*[EVENT] * LENGTH))
ANSWER = st.tuples(
    st.sampled_from(("label", "label", "label", "skip", "flag", "revise", "retract")),
    st.sampled_from(("good", "good", "fraud", "fraud", "odd", "stolen", "theft")),
    st.sampled_from(("eve", "bob", "ann", "")),
    st.sampled_from((None, None, None, 1, 2, 3, 4)),
    st.sampled_from(("", "", "slip", "mood")),
)
GARBAGE: dict[str, tuple[bytes | None, str]] = {
    "nothing": (None, "empty"),
    "no JSON": (b"not json", "not-json"),
    "no text": (b'{"request_id": 7, "label": "good"}', "wrong-type"),
    "no class": (b'{"request_id": "events:0:0", "label": null}', "missing-field"),
    "no kind": (b'{"request_id": "events:0:0", "kind": "shrug"}', "schema-version"),
    "no weight": (b'{"request_id": "events:0:0", "label": "good", "weight": 0}', "out-of-range"),
}
BACK = st.integers(0, 30)
SIZE = st.sampled_from((0, 1, 2, 5, EVERYTHING))


def configuration(ledger: LedgerConfig, classes: tuple[str, ...]) -> Config:
    """Return one in which labels that nobody asked for are matched by id."""
    message = MessageConfig(id="id", label="label", source="source", exclude=("source",))
    return validate(Config(learner=LearnerConfig(classes=classes), ledger=ledger, message=message))


TOPICS = Topics.of(Config().log)
NAMES = {"requests": TOPICS.label_requests, "labels": TOPICS.labels}


class Stream:
    """The events of one partition, and what a gate would say of them."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.offset = self.block = self.number = self.unpredicted = 0
        self.sums: dict[str, list[float]] = {}

    def open_block(self) -> Json:
        classes = {name: list(sums) for name, sums in self.sums.items()}
        whole = {"unpredicted": self.unpredicted, "classes": classes}
        before = {name: value for name, value in whole.items() if value}
        block = {"number": self.block, "length": LENGTH, "begin": self.offset, "before": before}
        self.block += 1
        return block

    def event(self, prediction: tuple[str, float] | None) -> Json:
        """Predict one event; return what a request for it holds."""
        name, probabilities = None, {}
        if prediction is None:
            self.unpredicted += 1
        else:
            name, sure = prediction
            probabilities = {each: sure if each == name else 1.0 - sure for each in CLASSES}
            for each, mass in probabilities.items():
                count, confidence, total = self.sums.get(each, (0, 0.0, 0.0))
                if each == name:
                    count, confidence = count + 1, confidence + sure
                self.sums[each] = [count, confidence, total + mass]
        offset = self.offset
        self.offset += 2  # sparse, as a log's offsets may be
        return {
            "request_id": f"events:{self.partition}:{offset}",
            "topic": "events",
            "partition": self.partition,
            "offset": offset,
            "time": 3.0,
            "features": {"amount": offset + 0.5},
            "prediction": name,
            "probabilities": probabilities,
            "score": 0.5,
            "propensity": 0.05,
            "fold_id": "fold",
            "model_version": offset // 3,
            "weighed": {},
            "disagreed": False,
        }


class Lifecycle(RuleBasedStateMachine):
    """The ledger's machine on a log, and beside it the reference; after each batch they agree."""

    steps = 0
    seen: ClassVar[Counter[str]] = Counter()

    @initialize(
        expire_after_s=st.sampled_from((None, 10.0, 10.0, 30.0)),
        on_expiry=st.sampled_from(("missing", "class:good")),
        remember=st.sampled_from((1, 3, 10_000, 10_000, 10_000)),
        early_limit=st.sampled_from((0, 3, 10_000, 10_000)),
        reasons=st.sampled_from(((), ("slip",))),
        classes=st.sampled_from((CLASSES, CLASSES, ())),
        gold=st.sampled_from((None, {"id": ""}, {"id": "a"})),
    )
    def begin(self, classes: tuple[str, ...], gold: Json | None, **ledger: Any) -> None:
        """Start with nothing in any topic."""
        case = None if gold is None else {**gold, "features": {"amount": 0.25}, "label": "fraud"}
        self.gold = () if case is None else (GoldCase(**case),)
        ledger["gold_share"] = 1.0
        changes = {"2": {"theft": "stolen"}, "3": {"stolen": "fraud"}}
        lifecycle = LedgerConfig(early_wait_s=6.0, schema=3, schema_changes=changes, **ledger)
        self.config = configuration(lifecycle, classes)
        self.machine = LedgerMachine(self.config, self.gold)
        self.reference = Offices(self.config, len(PARTS), case)
        self.accuracy, self.accuracies = Accuracy(), Accuracies()
        self.streams = [Stream(partition) for partition in PARTS]
        self.log: dict[tuple[str, int], list[Message]] = {}
        self.read: dict[tuple[str, int], int] = {}
        for number in PARTS:
            assert self.machine.restore(number, ()) == {}
            for topic in NAMES:
                self.log[topic, number], self.read[topic, number] = [], 0
        self.changelog: dict[int, list[Record]] = {number: [] for number in PARTS}
        self.committed: dict[Partition, int] = {}
        self.drained: dict[tuple[str, int], float] = {}
        self.asked: list[tuple[Json, int]] = []
        self.now, self.answers = 0.0, 0
        self.agree, self.fresh = True, True
        self.pass_block(0, 0, ((("good", 0.75), True, "", 2, 0),) * LENGTH)

    def write(
        self, topic: str, number: int, body: Json | None, bad: tuple[Any, str] = ("", "")
    ) -> None:
        """Append to a topic."""
        value = bad[0] if body is None else json.dumps(body).encode()
        messages = self.log[topic, number]
        messages.append(Message(NAMES[topic], number, 2 * len(messages), value, body or {}, bad[1]))

    def request_before(self, back: int) -> tuple[Json, int]:
        return self.asked[-1 - back % len(self.asked)]

    @rule(partition=st.sampled_from(PARTS), blocks=st.lists(BLOCK, min_size=1, max_size=3))
    def traffic(self, partition: int, blocks: list[tuple[int, tuple[Any, ...]]]) -> None:
        """Let blocks of events pass: one event is explored, some are asked by the policy."""
        self.count("traffic")
        for explored, events in blocks:
            self.pass_block(partition, explored, events)

    def pass_block(self, partition: int, explored: int, events: tuple[Any, ...]) -> None:
        stream = self.streams[partition]
        block = stream.open_block()
        for at, (prediction, picked, event_id, opinions, office) in enumerate(events):
            event = stream.event(prediction)
            if not picked and at != explored:
                continue
            reason = "policy" if at != explored else "both" if picked else "explore"
            more = {"request_no": stream.number, "block": block, "explored": at == explored}
            request = {**event, **more, "id": event_id, "opinions": opinions, "reason": reason}
            stream.number += 1
            self.asked.append((request, office))
            self.write("requests", office, request)

    @rule(back=BACK, answers=st.lists(ANSWER, min_size=1, max_size=4))
    def answer(self, back: int, answers: list[tuple[Any, ...]]) -> None:
        """Answer a request, whatever has become of it."""
        self.count("answer")
        request, office = self.request_before(back)
        for each in answers:
            self.say(request["request_id"], office, each)

    @rule(
        labels=st.lists(st.sampled_from(("good", "fraud", "skip")), min_size=1, max_size=8),
        annotator=st.sampled_from(("eve", "bob")),
    )
    def work(self, labels: list[str], annotator: str) -> None:
        """Answer the last requests, one after another."""
        self.count("work")
        for (request, office), label in zip(reversed(self.asked), labels, strict=False):
            kind = "skip" if label == "skip" else "label"
            self.say(request["request_id"], office, (kind, label, annotator, None, ""))

    @rule(back=BACK, last=st.lists(ANSWER, max_size=2))
    def dispute(self, back: int, last: list[tuple[Any, ...]]) -> None:
        """Let two disagree about a request, and others say something to that."""
        self.count("dispute")
        several = [each for each in self.asked if each[0]["opinions"] > 1]
        request, office = several[-1 - back % len(several)]
        for answer in (
            ("label", "good", "eve", None, ""),
            ("label", "fraud", "bob", None, ""),
            *last,
        ):
            self.say(request["request_id"], office, answer)

    def say(self, name: str, office: int, answer: tuple[Any, ...]) -> None:
        kind, label, annotator, schema, reason = answer
        self.answers += 1
        odd = self.answers % 2
        body = {
            "request_id": name,
            "kind": kind,
            "label": label if kind in ("label", "revise") else None,
            "annotator": annotator,
            "annotator_kind": ("person", "model", "feed")[self.answers % 3],
            "time": None if odd else self.now,
            "weight": (1.0, 2.5)[odd],
            "schema": schema,
            "confidence": (None, 0.5)[odd],
            "reason": reason,
            "comment": f"answer {self.answers}",
        }
        self.write("labels", office, body)

    @rule(
        what=st.sampled_from(("elsewhere", "nowhere", *GARBAGE)),
        topic=st.sampled_from(tuple(NAMES)),
        back=BACK,
        answer=ANSWER,
    )
    def stray(self, what: str, topic: str, back: int, answer: tuple[Any, ...]) -> None:
        """Answer a request where it is not, or one that nobody makes; send what nobody can read."""
        self.count("stray")
        request, office = self.request_before(back)
        if what in GARBAGE:
            value, bad = GARBAGE[what]
            self.write(topic, office, None, (value, bad if topic == "labels" else "unreadable"))
        elif what == "elsewhere":
            self.say(request["request_id"], 1 - office, answer)
        else:
            self.say("events:0:1", office, answer)

    @rule(topic=st.sampled_from(tuple(NAMES)), number=st.sampled_from(PARTS), back=BACK)
    def double(self, topic: str, number: int, back: int) -> None:
        """Deliver a message once more."""
        self.count("double")
        messages = self.log[topic, number]
        if messages:
            message = messages[-1 - back % len(messages)]
            self.write(topic, number, message.body or None, (message.value, message.bad))

    @rule(
        number=st.sampled_from(PARTS),
        event_id=st.sampled_from(("a", "b", "c")),
        label=st.sampled_from(("fraud", "good", "odd")),
        amount=st.sampled_from((None, None, 9.5)),
    )
    def charge_back(self, number: int, event_id: str, label: str, amount: float | None) -> None:
        """Send a label that nobody asked for, with features of its own or without."""
        self.count("charge_back")
        body = {"id": event_id, "label": label, "source": "bank"}
        self.write("labels", number, body if amount is None else {**body, "amount": amount})

    @rule(
        requests=SIZE,
        labels=SIZE,
        numbers=st.sampled_from(((0,), (1,), PARTS, PARTS)),
        later=st.sampled_from((-5.0, -2.0, 0.0, 0.0, 1.0, 3.0, 6.0)),
    )
    def consume(self, requests: int, labels: int, numbers: tuple[int, ...], later: float) -> None:
        """Process a batch, after some time; less than none is a clock that is set back."""
        self.count("consume")
        self.process(requests, labels, numbers, later)

    @rule(later=st.sampled_from((-3.0, 0.0, 1.0, 5.0, 12.0)))
    def rest(self, later: float) -> None:
        """Process all there is, twice, so that what has run out of time is seen."""
        self.count("rest")
        self.process(EVERYTHING, EVERYTHING, PARTS, later)
        self.process(EVERYTHING, EVERYTHING, PARTS, 1.0)

    @precondition(lambda self: self.fresh)
    @rule(
        numbers=st.sampled_from(((0,), (1,), PARTS)),
        midway=st.booleans(),
        compacted=st.booleans(),
        requests=SIZE,
        labels=SIZE,
    )
    def crash(
        self, numbers: tuple[int, ...], midway: bool, compacted: bool, requests: int, labels: int
    ) -> None:
        """Lose what is in memory, before a batch or before its commit; go on from the changelog."""
        self.count("crash")
        self.agree = self.fresh = False
        if midway:
            batch = (*self.batch("labels", labels, PARTS), *self.batch("requests", requests, PARTS))
            self.machine.process([record_of(message) for message in batch], Tick(self.now))
            numbers = PARTS
        if compacted:
            self.compact()
        if numbers == PARTS:
            self.machine = LedgerMachine(self.config, self.gold)
        for number in numbers:
            self.machine.drop(number)
            found = self.machine.restore(number, self.changelog[number])
            assert found == {p: at for p, at in self.committed.items() if p.number == number}
            for topic in NAMES:
                self.drained.pop((topic, number), None)
        self.accuracy = pickle.loads(pickle.dumps(self.accuracy))  # noqa: S301
        self.compare_state()
        self.agree = True

    def compact(self) -> None:
        for number, entries in self.changelog.items():
            last = {entry.key: entry for entry in entries}
            kept = [entry for entry in entries if last[entry.key] is entry and entry.value]
            self.changelog[number] = kept

    def batch(self, topic: str, size: int, numbers: tuple[int, ...]) -> list[Message]:
        return [
            message
            for number in numbers
            for message in self.log[topic, number][self.read[topic, number] :][:size]
        ]

    def process(self, requests: int, labels: int, numbers: tuple[int, ...], later: float) -> None:
        """Let machine and reference process a batch, and compare."""
        self.agree = False
        self.now += later
        for place, messages in self.log.items():
            if self.read[place] == len(messages):
                self.drained[place] = self.now
        drained = {
            Partition(NAMES[topic], number): time for (topic, number), time in self.drained.items()
        }
        tick = Tick(self.now, drained)
        questions = self.batch("requests", requests, numbers)
        answers = self.batch("labels", labels, numbers)
        assert self.machine.due(tick) == self.reference.due(self.drained)
        expected = self.reference.process(questions, answers, self.now, self.drained)
        work = self.machine.process([record_of(each) for each in (*answers, *questions)], tick)
        self.compare(work, expected)
        self.commit(work)
        for topic, messages in (("requests", questions), ("labels", answers)):
            for message in messages:
                self.read[topic, message.partition] += 1
        for number, ask in expected.asks:
            self.write("requests", number, ask)
            if not ask["disagreed"]:
                self.asked.append((ask, number))
        self.compare_state()
        self.agree = self.fresh = True

    def commit(self, work: Work) -> None:
        for out in work.outs:
            if out.topic == TOPICS.ledger_state:
                assert out.partition is not None
                entries = self.changelog[out.partition]
                at = entries[-1].offset + 1 if entries else 0
                entries.append(
                    Record(out.topic, out.partition, at, out.key, out.value, (), self.now)
                )
            elif out.topic == TOPICS.training:
                record = decode_training(out.value or b"")
                if isinstance(record, Ended):
                    self.accuracy.take(record)
        self.committed |= work.offsets

    def compare(self, work: Work, expected: Result) -> None:
        """See that a batch put out what it had to, and nothing else."""
        found: dict[str, list[Out]] = {}
        for out in work.outs:
            found.setdefault(out.topic, []).append(out)
        found.pop(TOPICS.ledger_state, None)
        training = [json.loads(out.value or b"") for out in found.pop(TOPICS.training, [])]
        assert [bare(record) for record in training] == [bare(each) for each in expected.training]
        asks = found.pop(NAMES["requests"], [])
        assert [(out.partition, json.loads(out.value or b"")) for out in asks] == expected.asks
        assert all(out.key == f"k{out.partition}".encode() for out in asks)
        letters = [
            letter(out)
            for topic in NAMES.values()
            for out in found.pop(dead_letters_of(self.config.log, topic), [])
        ]
        assert sorted(letters) == sorted(expected.letters)
        assert not found
        assert work.counts == expected.counts
        for key, amount in expected.counts.items():
            self.seen[" ".join(key)] += amount
        for record in expected.training:
            self.accuracies.take(record)

    def compare_state(self) -> None:
        """See that as much is open and waits, and that the accuracy is that of all answers."""
        assert self.machine.open_requests == self.reference.open
        assert self.machine.early_labels == self.reference.early
        estimate, rolling = self.accuracy.estimate(), self.accuracy.rolling()
        wanted = self.accuracies.estimate()
        found = {name: getattr(estimate, name, None) for name in wanted}
        found |= {"naive": rolling.naive, "rolling": rolling.value}
        watermark = wanted.pop("watermark")
        assert found.pop("watermark") == watermark
        assert found == pytest.approx(wanted, abs=1e-7)

    def teardown(self) -> None:
        """See that in the end nothing waits, and every request has ended if it can expire."""
        if not getattr(self, "agree", False):
            return
        for _ in range(3):
            self.process(EVERYTHING, EVERYTHING, PARTS, 1000.0)
        assert self.machine.early_labels == dict.fromkeys(PARTS, 0)
        if self.config.ledger.expire_after_s is None:
            return
        assert self.machine.idle
        begun = {
            f"events:{stream.partition}": max(0, stream.offset - 2 * LENGTH)
            for stream in self.streams
            if stream.number
        }
        assert self.accuracy.estimate().watermark == begun

    def count(self, name: str) -> None:
        Lifecycle.steps += 1
        self.seen[f"rule {name}"] += 1


def record_of(message: Message) -> Record:
    """Return a message as the log delivers it."""
    key = b"k%d" % message.partition
    return Record(message.topic, message.partition, message.offset, key, message.value, (), 5.0)


def letter(out: Out) -> Letter:
    """Return what a dead letter is about, and why it is one."""
    topic, partition, offset, stage, kind = (
        (dict(out.headers)[f"__dlq.errors.{name}"] or b"").decode()
        for name in ("topic", "partition", "offset", "stage", "class")
    )
    return topic, int(partition), int(offset), stage, kind, out.value


def live(number: int, runs: int) -> None:
    """Let so many lives pass, each of some steps, as the seed says."""
    run_state_machine_as_test(
        seed(number)(Lifecycle),
        settings=settings(
            max_examples=runs,
            stateful_step_count=STEPS_OF_LIFE,
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_ledger_lives_as_the_reference_does() -> None:
    """Whatever comes, and whatever is lost, what is put out is what the reference says."""
    print("seed 0")
    live(0, 30)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1, PARTS_OF_LONG_RUN + 1))
def test_the_ledger_lives_as_the_reference_does_for_long(number: int) -> None:
    """As the short run, in 100,000 steps over all seeds."""
    print(f"seed {number}")
    Lifecycle.seen.clear()
    begin, turn = Lifecycle.steps, 0
    while Lifecycle.steps - begin < STEPS_OF_EACH:
        live(1000 * number + turn, 25)
        turn += 1
    print(f"{Lifecycle.steps - begin} steps, 0 divergences")
    print(", ".join(f"{name} {count}" for name, count in sorted(Lifecycle.seen.items())))
