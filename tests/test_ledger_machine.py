"""The ledger on a log: matching, early labels, expiry, and a state that survives any restart."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from consumers.drivers import open_log
from consumers.introduction import configured
from consumers.ledger import LedgerMachine
from consumers.log import Out, Partition, Record
from consumers.machine import Tick, Work
from consumers.topics import Topics, dead_letters_of, specs
from stream_al.config import Config, LearnerConfig, LedgerConfig, LogConfig, MessageConfig
from stream_al.records import Label, LabelRequest, encode
from stream_al.training import Closed, Labelled, TrainingRecord, Unsolicited, decode_training

CONFIG = Config(
    learner=LearnerConfig(classes=("good", "fraud")),
    ledger=LedgerConfig(expire_after_s=100.0, early_wait_s=10.0, early_limit=5),
    message=MessageConfig(id="id", label="label"),
)
TOPICS = Topics.of(CONFIG.log)


class Desk:
    """Feeds a machine as a loop would, and keeps its changelog as a log would."""

    def __init__(self, config: Config = CONFIG) -> None:
        self.config = config
        self.machine = LedgerMachine(config)
        self.changelog: list[Record] = []
        self.offsets = {TOPICS.label_requests: 0, TOPICS.labels: 0}
        self.committed: dict[Partition, int] = {}
        assert self.machine.restore(0, ()) == {}

    def message(self, topic: str, value: bytes | None) -> Record:
        offset = self.offsets[topic]
        self.offsets[topic] += 2  # sparse, as a log's offsets may be
        return Record(topic, 0, offset, b"k", value, (("h", b"v"),), 5.0)

    def request(self, offset: int, **changed: Any) -> Record:
        fields: dict[str, Any] = {
            "request_id": f"events:0:{offset}",
            "request_no": offset,
            "topic": "events",
            "partition": 0,
            "offset": offset,
            "id": "",
            "time": 3.0,
            "features": {"amount": 12.5},
            "prediction": "good",
            "probabilities": {"good": 0.75, "fraud": 0.25},
            "score": 0.5,
            "reason": "policy",
            "explored": False,
            "propensity": 0.05,
            "fold_id": "fold",
            "model_version": 4,
            "weighed": {},
        }
        return self.message(TOPICS.label_requests, encode(LabelRequest(**(fields | changed))))

    def label(self, offset: int, label: str | None = "good", **more: Any) -> Record:
        answer = Label(request_id=f"events:0:{offset}", label=label, **more)
        return self.message(TOPICS.labels, encode(answer))

    def go(self, *records: Record, now: float = 0.0, drained: float | None = None) -> Work:
        tick = Tick(now)
        if drained is not None:
            tick = Tick(now, {Partition(topic, 0): drained for topic in self.machine.inputs})
        work = self.machine.process(records, tick)
        for out in work.outs:
            if out.topic == TOPICS.ledger_state:
                at = len(self.changelog)
                self.changelog.append(Record(out.topic, 0, at, out.key, out.value, (), now))
        self.committed |= work.offsets
        return work

    def restart(self) -> None:
        """Go on with a new machine, from what was committed."""
        self.machine = LedgerMachine(self.config)
        assert self.machine.restore(0, self.changelog) == self.committed


def training(work: Work) -> list[TrainingRecord]:
    """Return what went to the training log."""
    return [decode_training(out.value or b"") for out in work.outs if out.topic == TOPICS.training]


def refused(work: Work, topic: str = TOPICS.labels) -> list[tuple[str, str, bytes | None]]:
    """Return stage, class and original bytes of the dead letters."""
    found = []
    for out in work.outs:
        if out.topic == dead_letters_of(CONFIG.log, topic):
            headers = dict(out.headers)
            stage, kind = headers["__dlq.errors.stage"], headers["__dlq.errors.class"]
            found.append(((stage or b"").decode(), (kind or b"").decode(), out.value))
    return found


def of_kind(outs: list[Out], topic: str) -> list[Out]:
    """Return the records for one topic."""
    return [out for out in outs if out.topic == topic]


def test_a_label_and_its_request_become_one_training_record() -> None:
    """Request and answer, in one batch or two, are joined, and both inputs are committed."""
    desk = Desk()
    desk.go(desk.request(7))
    work = desk.go(desk.label(7, "fraud", annotator="eve"), desk.request(9), desk.label(9))
    found = training(work)
    assert [(r.offset, r.label) for r in found if isinstance(r, Labelled)] == [
        (7, "fraud"),
        (9, "good"),
    ]
    assert work.offsets == {
        Partition(TOPICS.label_requests, 0): 3,
        Partition(TOPICS.labels, 0): 3,
    }
    assert work.counts["labels_total", "labelled"] == 2
    assert desk.machine.open_requests == {0: 0}


def test_the_delay_of_an_answer_counts_from_the_opening_of_its_request() -> None:
    """Only the answer that labels a request tells of the delay, and an early one of none."""
    desk = Desk()
    desk.go(desk.request(0), desk.request(2), now=10.0)
    assert desk.go(desk.label(4), now=15.0).observed == {"label_delay_seconds": []}
    work = desk.go(desk.label(0), desk.label(0, "fraud", kind="revise"), now=17.0)
    assert work.observed == {"label_delay_seconds": [7.0]}
    assert desk.go(desk.request(4), now=18.0).observed == {"label_delay_seconds": [0.0]}
    assert desk.go(desk.label(2, None, kind="skip"), now=30.0).observed["label_delay_seconds"] == []


def test_a_label_may_come_before_its_request() -> None:
    """An early label waits, over a restart as well, and is taken when the request comes."""
    desk = Desk()
    early = desk.go(desk.label(7, "fraud"))
    assert training(early) == []
    assert desk.machine.early_labels == {0: 1}
    desk.restart()
    work = desk.go(desk.request(7))
    assert [r.label for r in training(work) if isinstance(r, Labelled)] == ["fraud"]
    assert desk.machine.early_labels == {0: 0}
    assert refused(desk.go(now=1000.0, drained=1000.0)) == []


def test_an_early_label_is_given_up_after_its_wait_and_not_before() -> None:
    """Only once the requests were read to an end after the wait does the label become a letter."""
    desk = Desk()
    desk.go(message := desk.label(7))
    assert refused(desk.go(now=50.0, drained=9.0)) == []
    assert not desk.machine.due(Tick(50.0))
    desk.restart()
    tick = Tick(50.0, {Partition(TOPICS.label_requests, 0): 10.0})
    assert desk.machine.due(tick)
    assert refused(desk.go(now=50.0, drained=10.0)) == [("label", "unknown", message.value)]
    assert desk.machine.early_labels == {0: 0}


def test_waiting_labels_are_bounded_and_the_oldest_go_first() -> None:
    """Labels beyond the limit push out the oldest, as dead letters with their own bytes."""
    desk = Desk()
    messages = [desk.label(n) for n in range(8)]
    work = desk.go(*messages)
    assert [value for _, _, value in refused(work)] == [m.value for m in messages[:3]]
    assert desk.machine.early_labels == {0: 5}


def test_a_request_expires_only_after_its_labels_were_read_to_the_end() -> None:
    """An outage of the ledger closes no request whose answer is already stored."""
    desk = Desk()
    desk.go(desk.request(7), now=0.0)
    assert not desk.machine.due(Tick(1000.0))
    work = desk.go(desk.label(7), now=1000.0)
    assert [type(r) for r in training(work)] == [Labelled]
    desk.go(desk.request(9), now=1000.0)
    desk.restart()
    assert training(desk.go(now=1200.0, drained=1099.0)) == []
    work = desk.go(now=1200.0, drained=1100.0)
    (closed,) = training(work)
    assert isinstance(closed, Closed)
    assert (closed.reason, closed.offset) == ("expired", 9)
    assert work.counts["labels_total", "expired"] == 1
    work = desk.go(desk.label(9), now=1201.0)
    (late,) = training(work)
    assert isinstance(late, Labelled)
    assert late.late
    assert work.counts["labels_total", "late"] == 1


def test_labels_twice_change_nothing() -> None:
    """A double is counted, in the same batch, later, and after a restart."""
    desk = Desk()
    work = desk.go(desk.request(7), desk.label(7), desk.label(7))
    assert len(training(work)) == 1
    desk.restart()
    again = desk.go(desk.label(7))
    assert training(again) == []
    assert refused(again) == []
    assert again.counts["labels_total", "repeated"] == 1


def test_a_contradiction_is_a_dead_letter_and_a_revision_a_record() -> None:
    """Another class for what is answered has to be called a revision, after a restart as well."""
    desk = Desk()
    desk.go(desk.request(7), desk.label(7))
    desk.restart()
    other = desk.go(desk.label(7, "fraud"))
    assert training(other) == []
    ((stage, kind, _),) = refused(other)
    assert (stage, kind) == ("label", "conflicting")
    revision = Label(request_id="events:0:7", label="fraud", kind="revise", annotator="eve")
    (record,) = training(desk.go(desk.message(TOPICS.labels, encode(revision))))
    assert isinstance(record, Labelled)
    assert (record.was, record.label) == ("good", "fraud")
    desk.restart()
    retraction = Label(request_id="events:0:7", kind="retract", annotator="eve")
    (closed,) = training(desk.go(desk.message(TOPICS.labels, encode(retraction))))
    assert isinstance(closed, Closed)
    assert (closed.reason, closed.was) == ("retracted", "fraud")


@pytest.mark.parametrize(
    ("value", "stage"),
    [
        (b"not json", "label"),
        (b'{"request_id": 7}', "label"),
        (None, "label"),
        (b'{"request_id": "events:0:7", "label": "frod"}', "label"),
        (b'{"request_id": "events:0:7", "label": "good", "weight": -1}', "label"),
    ],
)
def test_unusable_labels_become_dead_letters_and_leave_the_request_open(
    value: bytes | None, stage: str
) -> None:
    """What cannot be used is refused with its bytes, and the request can still be answered."""
    desk = Desk()
    desk.go(desk.request(7))
    work = desk.go(desk.message(TOPICS.labels, value))
    ((told, _, raw),) = refused(work)
    assert (told, raw) == (stage, value)
    assert training(desk.go(desk.label(7))) != []


def test_unusable_requests_become_dead_letters() -> None:
    """A request that cannot be read, or whose id is open already, is refused with its bytes."""
    desk = Desk()
    desk.go(desk.request(7, id="a"))
    strange = desk.message(TOPICS.label_requests, b"\xff")
    work = desk.go(strange, double := desk.request(8, id="a"), again := desk.request(7, id="b"))
    assert refused(work, TOPICS.label_requests) == [
        ("request", "unreadable", strange.value),
        ("request", "not-opened", double.value),
        ("request", "not-opened", again.value),
    ]


def test_labels_that_nobody_asked_for_are_learnt_from_their_own_features() -> None:
    """A chargeback is a record kind of its own, and one without features is refused."""
    desk = Desk()
    chargeback = json.dumps({"id": "a", "label": "fraud", "amount": 3.5}).encode()
    bare = json.dumps({"id": "a", "label": "fraud"}).encode()
    strange = json.dumps({"id": "a", "label": "frod", "amount": 3.5}).encode()
    work = desk.go(*(desk.message(TOPICS.labels, value) for value in (chargeback, bare, strange)))
    (record,) = training(work)
    assert isinstance(record, Unsolicited)
    assert (record.features, record.label, record.id) == ({"amount": 3.5}, "fraud", "a")
    assert [(stage, kind) for stage, kind, _ in refused(work)] == [
        ("label", "no-features"),
        ("label", "refused"),
    ]


def test_time_never_goes_back() -> None:
    """A clock that is set back neither expires nor reopens anything."""
    desk = Desk()
    desk.go(desk.request(1), now=500.0)
    desk.go(desk.request(2), now=100.0)
    work = desk.go(now=601.0, drained=601.0)
    assert [r.offset for r in training(work) if isinstance(r, Closed)] == [1, 2]


@pytest.mark.parametrize("seed", range(5))
def test_restarts_at_any_point_change_nothing(seed: int) -> None:
    """With and without restarts between batches, the training log is the same."""
    print(f"seed {seed}")

    def play(restarting: bool) -> list[TrainingRecord]:
        order = random.Random(seed)
        desk, found, now = Desk(), [], 0.0
        todo = [(kind, n) for n in range(60) for kind in ("request", "label", "label")]
        todo.sort(key=lambda item: item[1] + order.random() * 10)
        while todo:
            size = order.randrange(1, 6)
            batch, todo = todo[:size], todo[size:]
            records = [getattr(desk, kind)(n) for kind, n in batch if n % 7 or kind == "request"]
            now += order.random() * 5
            found += training(desk.go(*records, now=now, drained=now))
            if order.random() < 0.5 and restarting:
                desk.restart()
        return found

    found = play(True)
    assert {type(record) for record in found} == {Labelled, Closed}
    assert found == play(False)


def test_a_state_of_another_partition_stays_untouched() -> None:
    """A batch of one partition writes no state of another."""
    desk = Desk()
    desk.machine.restore(1, ())
    work = desk.go(desk.request(7))
    assert {out.partition for out in of_kind(work.outs, TOPICS.ledger_state)} == {0}
    desk.machine.drop(1)
    assert desk.machine.open_requests == {0: 1}


def test_a_ledger_with_another_learner_is_refused(tmp_path: Path) -> None:
    """Its classes could end every gate: it ends instead, and names what differs."""
    config = msgspec.structs.replace(CONFIG, log=LogConfig(path=str(tmp_path / "a.db")))
    log = open_log(config)
    log.create(specs(config.log))
    writer = log.writer()
    writer.send(configured(config))
    writer.close()
    log.close()
    told = '[learner]\nclasses = ["good", "fraud", "odd"]\n[serve]\nport = 0\n'
    (tmp_path / "a.toml").write_text(f'{told}[log]\npath = "{config.log.path}"\n')
    done = subprocess.run(
        [sys.executable, "-m", "stream_al", "run", "ledger", "--config", str(tmp_path / "a.toml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert 'learner.classes is ["good", "fraud"] there and ["good", "fraud", "odd"] here' in (
        done.stderr
    )
