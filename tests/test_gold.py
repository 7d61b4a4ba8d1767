"""Gold cases: how they are asked, what becomes of each answer, and files that hold none."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from consumers.gold import read_gold
from consumers.ledger import LedgerMachine
from consumers.log import Out, Partition, Record
from consumers.machine import Tick, Work
from consumers.topics import Topics, dead_letters_of
from stream_al.cli.app import application
from stream_al.cli.audit_command import entry
from stream_al.config import Config, LearnerConfig, LedgerConfig, MessageConfig, problems
from stream_al.errors import InputError
from stream_al.labels.gold import GoldCase, draw_case, gold_request, is_gold
from stream_al.labels.ledger import Ledger
from stream_al.learner.fold import Fold
from stream_al.records import AnswerKind, Block, Label, LabelRequest, Tally, encode, request_id
from stream_al.training import Configured, Flagged, Gold, TrainingRecord, Voided, decode_training

CASE = GoldCase({"amount": 900.0, "country": "FR"}, "fraud", "tx-7")
NAME = "events:0:7:1"


def request(offset: int, **changed: Any) -> LabelRequest:
    """Return a request of a gate."""
    fields: dict[str, Any] = {
        "request_id": request_id("events", 0, offset),
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
        "reason": "both",
        "explored": True,
        "propensity": 0.05,
        "fold_id": "fold",
        "model_version": 4,
        "weighed": {"amount": 0.5},
        "block": Block(3, 40, 120, Tally()),
        "opinions": 2,
    }
    return LabelRequest(**(fields | changed))


def said(kind: AnswerKind, label: str | None = None, **more: Any) -> Label:
    """Return an answer to the gold request."""
    more = {"annotator": "eve", "time": 9.0, **more}
    return Label(request_id=NAME, kind=kind, label=label, **more)


def asked(since: float | None = None, **changed: Any) -> Ledger:
    """Return a ledger in which a gold request is open."""
    config = LedgerConfig(gold_share=1.0, **changed)
    ledger = Ledger(("good", "fraud"), config, (CASE,))
    assert ledger.open(request(7), since)
    assert ledger.open_gold(request(7), since) is not None
    return ledger


def test_a_gold_request_hides_what_is_known() -> None:
    """It holds the case, and else what the one before it holds, without block or prediction."""
    found = gold_request(request(7), CASE)
    assert found == request(
        7,
        request_id=NAME,
        id="tx-7",
        features=CASE.features,
        prediction=None,
        probabilities={},
        weighed={},
        explored=False,
        block=None,
        opinions=1,
    )
    assert (is_gold(found.request_id), is_gold(request(7).request_id)) == (True, False)
    assert b"fraud" not in encode(found)


def test_the_share_is_that_of_requests_and_cases_come_alike() -> None:
    """Of 4,000 requests as many are followed as the share says, each case as often as another."""
    cases = [GoldCase({"amount": float(n)}, "fraud") for n in range(4)]
    names = [request_id("events", 1, offset) for offset in range(4000)]
    drawn = [case for name in names if (case := draw_case(name, cases, 0.2, 5)) is not None]
    assert abs(len(drawn) - 800) < 5 * math.sqrt(4000 * 0.2 * 0.8)
    each = Counter(case.features["amount"] for case in drawn)
    assert all(
        abs(count - len(drawn) / 4) < 5 * math.sqrt(len(drawn) / 4) for count in each.values()
    )
    again = [draw_case(name, cases, 0.2, 5) for name in names]
    assert [case for case in again if case is not None] == drawn
    assert [draw_case(name, cases, 0.2, 6) for name in names] != again
    assert not any(draw_case(name, cases, 0.0, 5) for name in names)
    assert all(draw_case(name, cases, 1.0, 5) for name in names)
    assert not any(draw_case(name, (), 1.0, 5) for name in names)


@pytest.mark.parametrize(
    ("answers", "outcomes", "labels"),
    [
        ([said("label", "fraud")], ["gold"], ["fraud"]),
        ([said("label", "good")], ["gold"], ["good"]),
        ([said("revise", "good")], ["gold"], ["good"]),
        ([said("skip")], ["skipped"], [None]),
        ([said("retract")], ["retracted"], [None]),
        ([said("label", "frod"), said("label", "good")], ["refused", "gold"], ["good"]),
        ([said("label", "good"), said("label", "good")], ["gold", "repeated"], ["good"]),
        ([said("label", "good"), said("label", "fraud")], ["gold", "conflicting"], ["good"]),
        ([said("label", "good"), said("revise", "fraud")], ["gold", "refused"], ["good"]),
        ([said("label", "good"), said("revise", "good")], ["gold", "repeated"], ["good"]),
        ([said("label", "good"), said("retract")], ["gold", "refused"], ["good"]),
        ([said("label", "good"), said("skip")], ["gold", "repeated"], ["good"]),
        ([said("skip"), said("skip")], ["skipped", "repeated"], [None]),
        ([said("skip"), said("retract")], ["skipped", "repeated"], [None]),
        ([said("skip"), said("label", "good")], ["skipped", "gold"], [None, "good"]),
        ([said("retract"), said("revise", "fraud")], ["retracted", "gold"], [None, "fraud"]),
    ],
)
def test_each_answer_to_a_gold_case(
    answers: list[Label], outcomes: list[str], labels: list[str | None]
) -> None:
    """The first class counts and stands, and no answer trains or ends as one to a gate does."""
    ledger = asked()
    found = [ledger.answer(each) for each in answers]
    assert [outcome.kind for outcome in found] == outcomes
    records = [outcome.record for outcome in found if outcome.record is not None]
    assert [record.label for record in records if isinstance(record, Gold)] == labels
    assert len(records) == len(labels)
    assert not ledger.is_open(NAME)
    assert ledger.is_open("events:0:7")
    for outcome in found:
        assert "gold" not in outcome.why


def test_the_record_says_who_answered_what_and_what_is_known() -> None:
    """The training log has everything that the annotator said, and the trail shows it."""
    answer = said("label", "good", annotator_kind="model", reason="slip", comment="hm")
    record = asked().answer(answer).record
    assert record == Gold(
        request_id=NAME,
        topic="events",
        partition=0,
        offset=7,
        id="tx-7",
        time=3.0,
        label="good",
        known="fraud",
        annotator="eve",
        annotator_kind="model",
        answered_at=9.0,
        correction="slip",
        comment="hm",
    )
    assert decode_training(encode(record)) == record
    line = entry(record)
    assert line is not None
    told = [line[name] for name in ("event", "annotator", "at", "label", "known")]
    assert told == ["gold", "eve", 9.0, "good", "fraud"]


def test_a_flag_leaves_a_gold_request_open() -> None:
    """A remark on a gold case is recorded like any other."""
    ledger = asked()
    outcome = ledger.answer(said("flag", comment="odd"))
    assert isinstance(outcome.record, Flagged)
    assert ledger.is_open(NAME)


@pytest.mark.parametrize("on_expiry", ["missing", "class:good"])
def test_a_gold_request_expires_in_silence(on_expiry: str) -> None:
    """What nobody answers is no answer, whatever silence means elsewhere, and a late one counts."""
    ledger = asked(since=1.0, on_expiry=on_expiry)
    regular, gold = ledger.expired(1.0)
    assert regular.record is not None
    assert (gold.kind, gold.record, gold.ends) == ("expired", None, NAME)
    for outcome in (regular, gold):
        ledger.settle(outcome)
    assert len(ledger) == 0
    assert ledger.answer(said("skip")).kind == "repeated"
    late = ledger.answer(said("label", "good")).record
    assert isinstance(late, Gold)
    assert (late.label, late.known) == ("good", "fraud")


def test_the_id_of_a_gold_case_is_nobodys() -> None:
    """An event of the same id is asked about, and a chargeback of that id is not about the case."""
    ledger = asked()
    assert ledger.find("tx-7") is None
    assert ledger.open(request(8, id="tx-7"))
    assert ledger.open_gold(request(8, id="tx-7")) is not None
    assert ledger.find("tx-7") == request(8, id="tx-7")
    ledger.answer(said("label", "good"))
    assert ledger.find("tx-7") == request(8, id="tx-7")


def test_ended_gold_requests_are_remembered_within_bounds() -> None:
    """They count among those that are remembered, also where they ended in silence."""
    ledger = Ledger(("good", "fraud"), LedgerConfig(gold_share=1.0, remember=5), (CASE,))
    for offset in range(20):
        ledger.open(request(offset, opinions=1), 1.0)
        ledger.open_gold(request(offset), 1.0)
        for outcome in ledger.expired(1.0):
            ledger.settle(outcome)
    known = [name for n in range(20) for name in (f"events:0:{n}", f"events:0:{n}:1")]
    assert [ledger.knows(name) for name in known] == [False] * 35 + [True] * 5


def folded(records: list[TrainingRecord], voided: tuple[tuple[int, Voided], ...] = ()) -> Fold:
    """Fold records after a configuration."""
    fold = Fold(LearnerConfig(), voided)
    first = Configured(fold_id=fold.stamp.fold_id, config={}, fingerprint={})
    for offset, record in enumerate([first, *records]):
        fold.take(offset, encode(record), record)
    return fold


def gold(who: str, label: str | None, at: float) -> Gold:
    """Return an answer to a gold case of class fraud."""
    return Gold(
        request_id=f"events:0:{at:.0f}:1",
        topic="events",
        partition=0,
        offset=int(at),
        id="",
        time=at - 2.0,
        label=label,
        known="fraud",
        annotator=who,
        answered_at=at,
    )


def test_gold_answers_tell_of_annotators_and_of_nothing_else() -> None:
    """Agreement counts them, skips only among the answers; model and accuracy do not move."""
    answers = [gold("eve", "fraud", 10.0), gold("eve", "good", 20.0), gold("bob", None, 30.0)]
    fold, empty = folded([*answers]), folded([])
    found = fold.monitor.insight().agreement
    assert (found.gold.value, found.gold.count, found.answers) == (0.5, 2, 3)
    eve, bob = found.annotators["eve"], found.annotators["bob"]
    assert (eve.gold.value, eve.answers, eve.median_wait_s) == (0.5, 2, 2.0)
    assert (bob.gold.value, bob.answers) == (None, 1)
    assert fold.learner.labels == 0
    assert fold.learner.predict_one({"amount": 3.0}) == empty.learner.predict_one({"amount": 3.0})
    told, untold = fold.monitor.insight(), empty.monitor.insight()
    assert told.estimate == untold.estimate
    assert (told.classes, told.helping) == (untold.classes, untold.helping)


def test_voided_gold_answers_do_not_count() -> None:
    """Whose labels do not count any more, whose gold answers do not either, within the times."""
    voided = Voided(annotator="eve", since=15.0)
    answers = [gold("eve", "fraud", 10.0), gold("eve", "good", 20.0), gold("bob", "fraud", 30.0)]
    found = folded([*answers, voided], ((4, voided),)).monitor.insight().agreement
    assert (found.gold.value, found.gold.count) == (1.0, 2)
    assert (found.annotators["eve"].gold.count, found.annotators["bob"].gold.count) == (1, 1)


CONFIG = Config(
    learner=LearnerConfig(classes=("good", "fraud")),
    ledger=LedgerConfig(expire_after_s=100.0, gold_share=1.0, remember=2),
    message=MessageConfig(id="id", max_bytes=200),
)
TOPICS = Topics.of(CONFIG.log)


class Desk:
    """Feeds a ledger's machine as a loop would, and keeps its changelog as a log would."""

    def __init__(self) -> None:
        self.machine = LedgerMachine(CONFIG, (CASE,))
        self.machine.restore(0, ())
        self.changelog: list[Record] = []
        self.offset = 0

    def record(self, topic: str, value: bytes | None, key: bytes | None = b"k") -> Record:
        self.offset += 1
        return Record(topic, 0, self.offset, key, value, (), 5.0)

    def go(self, *records: Record, now: float = 0.0, drained: float | None = None) -> Work:
        found = {} if drained is None else {Partition(t, 0): drained for t in self.machine.inputs}
        work = self.machine.process(records, Tick(now, found))
        for out in of_topic(work, TOPICS.ledger_state):
            at = len(self.changelog)
            self.changelog.append(Record(out.topic, 0, at, out.key, out.value, (), now))
        return work

    def restart(self) -> None:
        self.machine = LedgerMachine(CONFIG)
        self.machine.restore(0, self.changelog)


def of_topic(work: Work, topic: str) -> list[Out]:
    """Return what a batch put out into one topic."""
    return [out for out in work.outs if out.topic == topic]


def test_the_ledger_asks_in_the_same_place_and_knows_its_own() -> None:
    """The gold request has partition and key of the one before it, and opens once, when written."""
    desk = Desk()
    work = desk.go(desk.record(TOPICS.label_requests, encode(request(7)), b"card"))
    (out,) = of_topic(work, TOPICS.label_requests)
    assert (out.partition, out.key) == (0, b"card")
    assert out.value == encode(gold_request(request(7), CASE))
    assert desk.machine.open_requests == {0: 2}
    assert b"known" not in out.value
    back = desk.record(TOPICS.label_requests, out.value, out.key)
    again = desk.go(back)
    assert {each.topic for each in again.outs} == {TOPICS.ledger_state}
    desk.go(now=200.0, drained=200.0)
    for offset in (8, 9):
        desk.go(desk.record(TOPICS.label_requests, encode(request(offset))), now=200.0)
    desk.go(now=400.0, drained=400.0)
    # By now it is forgotten, and still no request of a gate.
    late = desk.go(back)
    assert {each.topic for each in late.outs} == {TOPICS.ledger_state}
    assert desk.machine.open_requests == {0: 0}


def test_what_is_known_survives_a_restart() -> None:
    """The class of an open gold case is in the state, also for a ledger without the file."""
    desk = Desk()
    desk.go(desk.record(TOPICS.label_requests, encode(request(7))))
    desk.restart()
    assert desk.machine.open_requests == {0: 2}
    work = desk.go(desk.record(TOPICS.labels, encode(said("skip"))))
    desk.restart()
    work = desk.go(desk.record(TOPICS.labels, encode(said("label", "good"))))
    (out,) = of_topic(work, TOPICS.training)
    found = decode_training(out.value or b"")
    assert isinstance(found, Gold)
    assert (found.label, found.known) == ("good", "fraud")
    assert work.counts["labels_total", "gold"] == 1
    desk.restart()
    work = desk.go(desk.record(TOPICS.labels, encode(said("label", "fraud"))))
    (letter,) = of_topic(work, dead_letters_of(CONFIG.log, TOPICS.labels))
    assert dict(letter.headers)["__dlq.errors.class"] == b"conflicting"


def test_an_early_answer_waits_for_its_gold_request() -> None:
    """An answer that comes before the ledger has committed the request is taken with it."""
    desk = Desk()
    desk.go(desk.record(TOPICS.labels, encode(said("label", "fraud"))))
    assert desk.machine.early_labels == {0: 1}
    work = desk.go(desk.record(TOPICS.label_requests, encode(request(7))))
    (out,) = of_topic(work, TOPICS.training)
    assert isinstance(decode_training(out.value or b""), Gold)
    assert desk.machine.early_labels == {0: 0}


def test_a_request_that_is_not_opened_is_followed_by_none() -> None:
    """Neither a double nor a second request of an open id makes a gold case be asked."""
    desk = Desk()
    desk.go(desk.record(TOPICS.label_requests, encode(request(7, id="a"))))
    for each in (request(7, id="a"), request(8, id="a")):
        work = desk.go(desk.record(TOPICS.label_requests, encode(each)))
        assert not of_topic(work, TOPICS.label_requests)


def configured(file: Path) -> Config:
    """Return a configuration with a gold file."""
    return Config(
        learner=CONFIG.learner, message=CONFIG.message, ledger=LedgerConfig(gold_file=str(file))
    )


def test_cases_are_read_from_json_lines(tmp_path: Path) -> None:
    """Features stay as they are, classes are named as in answers, and blank lines do not count."""
    file = tmp_path / "gold.jsonl"
    file.write_text(
        '{"features": {"amount": 1, "new": true, "country": "FR"}, "label": "fraud"}\n\r\n'
        '{"label": "good", "id": "tx-9", "features": {"amount": 2.5}}'
    )
    assert read_gold(configured(file)) == (
        GoldCase({"amount": 1, "new": True, "country": "FR"}, "fraud"),
        GoldCase({"amount": 2.5}, "good", "tx-9"),
    )
    assert read_gold(Config()) == ()


GOOD = '{"features": {"a": 1.5}, "label": "good"}\n'


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("no json", "line 2: "),
        ("[1]", "line 2: "),
        ("\xff", "line 2: "),
        ('{"label": "good"}', "column 'features': nothing; expected an object"),
        ('{"features": {}, "label": "good"}', "'features': an empty object; expected an object"),
        ('{"features": [1], "label": "good"}', "'features': a list; expected an object"),
        ('{"features": {"a": null}, "label": "good"}', "feature 'a' is of type NoneType; expected"),
        ('{"features": {"a": 1e999}, "label": "good"}', "line 2: "),
        ('{"features": {"a": 18446744073709551616}, "label": "good"}', "line 2"),
        ('{"features": {"a": 1}}', "'label': nothing; expected one of the declared classes"),
        ('{"features": {"a": 1}, "label": "frod"}', "'frod'; expected one of the declared classes"),
        ('{"features": {"a": 1}, "label": 1.5}', "column 'label': a class is text"),
        (
            '{"features": {"a": 1}, "label": "good", "id": 7}',
            "column 'id': a number; expected text",
        ),
        ('{"features": {"a": 1}, "lable": "good"}', "column 'lable': is no field; expected"),
        ('{"features": {"a": "%s"}, "label": "good"}' % ("x" * 200), "at most message.max_bytes"),
    ],
)
def test_what_is_no_case_is_named_by_file_line_and_field(
    tmp_path: Path, line: str, told: str
) -> None:
    """The error says where it is and what was expected, and has the exit code of bad input."""
    file = tmp_path / "gold.jsonl"
    file.write_bytes(GOOD.encode() + line.encode("latin-1") + b"\n" + GOOD.encode())
    with pytest.raises(InputError) as caught:
        read_gold(configured(file))
    error = str(caught.value)
    assert error.startswith(f"{file}, line 2")
    assert told in error
    assert "expected" in error
    assert caught.value.exit_code == 3


def test_a_file_without_a_case_is_refused(tmp_path: Path) -> None:
    """An empty file is bad input, a missing one a mistake in the configuration, by the command."""
    file = tmp_path / "gold.jsonl"
    file.write_text("\n")
    arguments = ["run", "ledger", "--path", str(tmp_path / "a.db")]
    variables = {"STREAM_AL__LEDGER__GOLD_FILE": str(file)}
    empty = CliRunner().invoke(application, arguments, env=variables)
    assert (empty.exit_code, empty.stderr) == (
        3,
        f"error: {file}: holds no case; expected at least one line\n",
    )
    file.unlink()
    missing = CliRunner().invoke(application, arguments, env=variables)
    assert missing.exit_code == 2
    assert missing.stderr.startswith("error: STREAM_AL__LEDGER__GOLD_FILE: cannot read")


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    """The share is checked with the rest of the configuration."""
    found = problems(Config(ledger=LedgerConfig(gold_share=share)))
    assert [key for key, _ in found] == ["ledger.gold_share"]
