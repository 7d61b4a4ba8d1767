"""The ledger: which requests are open, and what becomes of each answer."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_al.config import LedgerConfig
from stream_al.labels.ledger import Ledger
from stream_al.labels.outcomes import OUTCOMES
from stream_al.records import Label, LabelRequest, request_id
from stream_al.training import Closed, Flagged, Labelled


def request(offset: int, **changed: Any) -> LabelRequest:
    """Return a request about one event."""
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
        "reason": "policy",
        "explored": False,
        "propensity": 0.05,
        "fold_id": "fold",
        "model_version": 4,
        "weighed": {},
    }
    return LabelRequest(**(fields | changed))


def answer(offset: int, label: str | int | bool | None = "good", **changed: Any) -> Label:
    """Return an answer to the request about one event."""
    return Label(request_id=request_id("events", 0, offset), label=label, **changed)


def test_a_label_closes_its_request() -> None:
    """The record joins request and answer, and the request is open no more."""
    ledger = Ledger()
    assert ledger.open(request(7, explored=True))
    assert (len(ledger), ledger.is_open("events:0:7")) == (1, True)
    outcome = ledger.answer(answer(7, "fraud", annotator="eve", time=9.0, weight=2.5))
    assert (outcome.kind, outcome.why) == ("labelled", "")
    assert outcome.record == Labelled(
        request_id="events:0:7",
        request_no=7,
        topic="events",
        partition=0,
        offset=7,
        id="",
        time=3.0,
        features={"amount": 12.5},
        label="fraud",
        annotator="eve",
        answered_at=9.0,
        weight=2.5,
        asked="policy",
        model_version=4,
        prediction="good",
        probabilities={"good": 0.75, "fraud": 0.25},
        explored=True,
        propensity=0.05,
    )
    assert (len(ledger), ledger.is_open("events:0:7")) == (0, False)


def test_a_skip_closes_its_request_without_a_label() -> None:
    """An annotator who cannot tell ends the request, and a label that comes later is marked so."""
    ledger = Ledger(("good", "fraud"))
    ledger.open(request(7))
    outcome = ledger.answer(answer(7, None, kind="skip", annotator="eve", time=9.0))
    assert outcome.kind == "skipped"
    assert outcome.record == Closed(
        request_id="events:0:7",
        request_no=7,
        topic="events",
        partition=0,
        offset=7,
        reason="skipped",
        annotator="eve",
        answered_at=9.0,
        asked="policy",
        model_version=4,
        prediction="good",
        probabilities={"good": 0.75, "fraud": 0.25},
        explored=False,
        propensity=0.05,
    )
    late = ledger.answer(answer(7))
    assert late.kind == "late"
    assert isinstance(late.record, Labelled)
    assert late.record.late


@pytest.mark.parametrize("seed", range(3))
def test_answers_may_come_in_any_order(seed: int) -> None:
    """Labels that come out of order are all taken, each once."""
    ledger = Ledger()
    for offset in range(50):
        ledger.open(request(offset))
    order = list(range(50))
    random.Random(seed).shuffle(order)
    records = [ledger.answer(answer(offset)).record for offset in order]
    assert [record.offset for record in records if isinstance(record, Labelled)] == order
    assert len(ledger) == 0


def test_doubles_and_strangers_are_counted_and_change_nothing() -> None:
    """A second answer and an answer to what was never asked carry no record."""
    ledger = Ledger()
    ledger.open(request(7))
    kinds = [ledger.answer(answer(offset)).kind for offset in (7, 7, 8, 7)]
    assert kinds == ["labelled", "repeated", "unknown", "repeated"]
    assert ledger.counts == {
        **dict.fromkeys(OUTCOMES, 0),
        "labelled": 1,
        "repeated": 2,
        "unknown": 1,
    }


@pytest.mark.parametrize(
    ("label", "why"),
    [
        (answer(7, "frod"), "class 'frod' is not declared; expected one of 1, fraud, good"),
        (answer(7, ""), "a class is named by text that is not empty"),
        (answer(7, None), "a class is text, an integer or a boolean, not NoneType"),
        (answer(7, 2), "class '2' is not declared"),
        (answer(7, True), "class 'true' is not declared"),
        (answer(7, weight=0.0), "weight must be in (0, 100], not 0.0"),
        (answer(7, weight=-1.0), "weight must be in (0, 100], not -1.0"),
        (answer(7, weight=math.nan), "weight must be in (0, 100], not nan"),
        (answer(7, weight=math.inf), "weight must be in (0, 100], not inf"),
    ],
)
def test_unusable_answers_are_refused_and_leave_the_request_open(label: Label, why: str) -> None:
    """A refusal says what was expected, and a good answer is still taken afterwards."""
    ledger = Ledger(("good", "fraud", "1"))
    ledger.open(request(7))
    outcome = ledger.answer(label)
    assert (outcome.kind, outcome.record) == ("refused", None)
    assert why in outcome.why
    assert ledger.is_open("events:0:7")
    assert ledger.answer(answer(7, 1)).kind == "labelled"


def test_any_class_is_taken_where_none_is_declared() -> None:
    """Without declared classes a label of a class never seen is as good as any."""
    ledger = Ledger()
    labels: list[tuple[str | int | bool, str]] = [("new", "new"), (3, "3"), (False, "false")]
    for offset, (label, name) in enumerate(labels):
        ledger.open(request(offset))
        record = ledger.answer(answer(offset, label)).record
        assert isinstance(record, Labelled)
        assert record.label == name


def test_an_id_that_is_open_is_not_opened_again() -> None:
    """A second request with the user's id of an open one stays closed until the first has ended."""
    ledger = Ledger()
    assert ledger.open(request(1, id="tx"))
    assert not ledger.open(request(2, id="tx"))
    assert ledger.answer(answer(2)).kind == "unknown"
    assert ledger.answer(answer(1)).kind == "labelled"
    assert ledger.open(request(3, id="tx"))
    assert ledger.answer(answer(3)).kind == "labelled"


def test_requests_without_an_id_are_told_apart() -> None:
    """An empty id is no id: any number of such requests are open at a time."""
    ledger = Ledger()
    assert all(ledger.open(request(offset)) for offset in range(5))
    assert len(ledger) == 5


def test_a_request_that_has_ended_is_not_learnt_from_again() -> None:
    """A request that is delivered twice, the second time after its answer, takes no second one."""
    ledger = Ledger()
    ledger.open(request(7))
    ledger.answer(answer(7))
    ledger.open(request(7))
    assert ledger.answer(answer(7)).kind == "repeated"


def test_ended_requests_are_remembered_within_bounds() -> None:
    """Of ended requests the last are remembered, so memory does not grow with the stream."""
    ledger = Ledger(config=LedgerConfig(remember=50))
    for offset in range(70):
        ledger.open(request(offset))
        ledger.answer(answer(offset))
    kinds = [ledger.answer(answer(offset)).kind for offset in range(70)]
    assert kinds == ["unknown"] * 20 + ["repeated"] * 50


@given(
    st.lists(
        st.tuples(
            st.booleans(),
            st.integers(0, 6),
            st.sampled_from(("good", "fraud", "odd", "", 1, True, None)),
            st.sampled_from(("label", "skip")),
            st.sampled_from((1.0, 0.5, 0.0, math.nan)),
        ),
        max_size=60,
    )
)
def test_no_request_is_ever_used_twice(steps: list[tuple[bool, int, Any, Any, float]]) -> None:
    """Whatever comes in whatever order, nothing raises, all is counted, no request ends twice."""
    ledger = Ledger(("good", "fraud"))
    opened: set[int] = set()
    ended: set[str] = set()
    answers = 0
    for opens, offset, label, kind, weight in steps:
        if opens and offset not in opened:
            opened.add(offset)
            assert ledger.open(request(offset))
        elif not opens:
            answers += 1
            outcome = ledger.answer(answer(offset, label, kind=kind, weight=weight))
            if isinstance(outcome.record, Labelled | Closed):
                again = outcome.record.request_id in ended
                ended.add(outcome.record.request_id)
                assert outcome.kind == (
                    "skipped" if kind == "skip" else "late" if again else "labelled"
                )
            elif offset not in opened:
                assert outcome.kind == "unknown"
    assert sum(ledger.counts.values()) == answers
    assert len(ended) == len(opened) - len(ledger)


def labelled_ledger(**changed: Any) -> Ledger:
    """Return a ledger with one request that Eve has labelled good."""
    ledger = Ledger(config=LedgerConfig(**changed))
    ledger.open(request(7, id="tx"))
    assert ledger.answer(answer(7, annotator="eve")).kind == "labelled"
    return ledger


def test_a_revision_names_the_class_that_it_changes() -> None:
    """A revised answer is a record of its own, and the double of a revision changes nothing."""
    ledger = labelled_ledger()
    found = ledger.answer(answer(7, "fraud", kind="revise", annotator="bob", reason="slip"))
    assert found.kind == "revised"
    assert isinstance(found.record, Labelled)
    record = found.record
    assert (record.was, record.label, record.late) == ("good", "fraud", False)
    assert (record.annotator, record.correction) == ("bob", "slip")
    assert ledger.answer(answer(7, "fraud", kind="revise")).kind == "repeated"


def test_an_answer_that_contradicts_another_is_not_taken() -> None:
    """Changing an answer has to be said, so a second class for one request is a conflict."""
    ledger = labelled_ledger()
    outcome = ledger.answer(answer(7, "fraud", annotator="bob"))
    assert (outcome.kind, outcome.record) == ("conflicting", None)
    assert outcome.why.endswith("is answered 'good' already; kind 'revise' changes that")


def test_a_label_is_retracted_and_may_be_given_anew() -> None:
    """A retraction closes the request without a label; a label after it comes late."""
    ledger = labelled_ledger()
    found = ledger.answer(answer(7, None, kind="retract"))
    assert isinstance(found.record, Closed)
    assert (found.kind, found.record.reason, found.record.was) == ("retracted", "retracted", "good")
    assert ledger.answer(answer(7, None, kind="retract")).kind == "repeated"
    again = ledger.answer(answer(7, "fraud"))
    assert isinstance(again.record, Labelled)
    assert (again.kind, again.record.late, again.record.was) == ("late", True, None)


def test_an_open_request_is_withdrawn() -> None:
    """A retraction of what nobody has answered yet ends the request."""
    ledger = Ledger()
    ledger.open(request(7))
    found = ledger.answer(answer(7, None, kind="retract"))
    assert isinstance(found.record, Closed)
    assert (found.record.reason, found.record.was, len(ledger)) == ("retracted", None, 0)


def test_a_flag_leaves_a_request_as_it_is() -> None:
    """What somebody remarks is recorded, and the request stays open or as it ended."""
    ledger = Ledger()
    ledger.open(request(7))
    flag = answer(7, None, kind="flag", annotator="eve", comment="two cards")
    for kind in ("labelled", "repeated"):
        found = ledger.answer(flag)
        assert isinstance(found.record, Flagged)
        assert (found.kind, found.record.comment) == ("flagged", "two cards")
        assert ledger.answer(answer(7)).kind == kind


def test_reasons_are_among_those_configured() -> None:
    """Where reasons are listed, another one is refused and named."""
    ledger = labelled_ledger(reasons=("guideline gap",))
    outcome = ledger.answer(answer(7, "fraud", kind="revise", reason="mood"))
    assert outcome.why == "reason 'mood' is not configured; expected one of guideline gap"
    told = answer(7, "fraud", kind="revise", reason="guideline gap")
    assert ledger.answer(told).kind == "revised"


def test_an_older_label_schema_is_read_by_its_changes() -> None:
    """Classes of an older version are renamed and merged; a version unknown is refused."""
    changes = {"2": {"stolen": "fraud", "fake": "fraud"}}
    ledger = Ledger(("good", "fraud"), LedgerConfig(schema=2, schema_changes=changes))
    ledger.open(request(7))
    assert ledger.answer(answer(7, "stolen")).kind == "refused"
    assert "label schema 3 is not known" in ledger.answer(answer(7, "fraud", schema=3)).why
    record = ledger.answer(answer(7, "stolen", schema=1)).record
    assert isinstance(record, Labelled)
    assert record.label == "fraud"


def test_silence_may_mean_a_class() -> None:
    """With a class configured for silence, what expires is labelled so and marked as assumed."""
    ledger = Ledger(config=LedgerConfig(on_expiry="class:good"))
    ledger.open(request(7), since=1.0)
    (outcome,) = ledger.expired(2.0)
    ledger.settle(outcome)
    assert isinstance(outcome.record, Labelled)
    assert (outcome.kind, outcome.record.label, outcome.record.assumed) == ("assumed", "good", True)
    assert ledger.answer(answer(7, "good")).kind == "late"
    assert ledger.answer(answer(7, "good")).kind == "repeated"


def test_an_answer_counts_for_more_than_silence() -> None:
    """What silence was taken for is replaced by the first answer, late; the next has to revise."""
    ledger = Ledger(config=LedgerConfig(on_expiry="class:good"))
    ledger.open(request(7), since=1.0)
    for outcome in ledger.expired(2.0):
        ledger.settle(outcome)
    late = ledger.answer(answer(7, "fraud"))
    assert isinstance(late.record, Labelled)
    assert (late.kind, late.record.was, late.record.late) == ("late", "good", True)
    assert not late.record.assumed
    assert ledger.answer(answer(7, "good")).kind == "conflicting"
    assert ledger.answer(answer(7, "good", kind="revise")).kind == "revised"


def test_two_who_agree_label_a_request() -> None:
    """A request for two opinions is labelled once both are in, with both on record."""
    ledger = Ledger()
    ledger.open(request(7, opinions=2))
    assert ledger.answer(answer(7, annotator="eve")).kind == "noted"
    assert ledger.answer(answer(7, annotator="eve")).kind == "repeated"
    assert ledger.answer(answer(7, "fraud", annotator="eve")).kind == "conflicting"
    found = ledger.answer(answer(7, annotator="bob"))
    assert isinstance(found.record, Labelled)
    assert [(each.annotator, each.label) for each in found.record.opinions] == [
        ("eve", "good"),
        ("bob", "good"),
    ]


def test_two_who_disagree_are_adjudicated() -> None:
    """Different answers ask once more, and the third answer has the last word."""
    ledger = Ledger()
    ledger.open(request(7, opinions=2))
    ledger.answer(answer(7, annotator="eve"))
    outcome = ledger.answer(answer(7, "fraud", annotator="bob"))
    assert (outcome.kind, outcome.record) == ("disagreed", None)
    assert outcome.ask == request(7, opinions=2, disagreed=True)
    last = ledger.answer(answer(7, "fraud", annotator="ann"))
    assert isinstance(last.record, Labelled)
    assert (last.record.label, last.record.annotator) == ("fraud", "ann")
    assert len(last.record.opinions) == 3


def test_one_of_two_may_pass() -> None:
    """Who cannot tell leaves the word to the other, before or after; two who cannot end it."""
    for order in (("skip", "label"), ("label", "skip"), ("skip", "skip")):
        ledger = Ledger()
        ledger.open(request(7, opinions=2))
        for who, kind in zip(("eve", "bob"), order, strict=True):
            label = None if kind == "skip" else "good"
            outcome = ledger.answer(answer(7, label, kind=kind, annotator=who))
        assert outcome.kind == ("labelled" if "label" in order else "skipped")


def test_one_opinion_is_better_than_none_when_time_is_up() -> None:
    """A request for two opinions that got one is labelled by it when it expires."""
    ledger = Ledger()
    ledger.open(request(7, opinions=2), since=1.0)
    ledger.answer(answer(7, "fraud", annotator="eve"))
    (outcome,) = ledger.expired(2.0)
    assert isinstance(outcome.record, Labelled)
    assert (outcome.kind, outcome.record.label) == ("labelled", "fraud")


def test_a_request_is_found_by_its_events_id() -> None:
    """Open or ended, a request is found by the user's id until it is forgotten."""
    ledger = labelled_ledger(remember=1)
    assert ledger.find("tx") == request(7, id="tx")
    assert ledger.find("") is ledger.find("other") is None
    ledger.open(request(8, id="other"))
    assert ledger.find("other") == request(8, id="other")
    ledger.answer(answer(8))
    assert ledger.find("tx") is None


def test_the_last_word_may_be_one_of_the_twos() -> None:
    """An annotator who disagreed and revises ends the request; what both said first stays."""
    ledger = Ledger()
    ledger.open(request(7, opinions=2))
    ledger.answer(answer(7, annotator="eve"))
    ledger.answer(answer(7, "fraud", annotator="bob"))
    last = ledger.answer(answer(7, "fraud", kind="revise", annotator="eve"))
    assert isinstance(last.record, Labelled)
    assert [each.label for each in last.record.opinions] == ["good", "fraud", "fraud"]


def asked_twice() -> Ledger:
    """Return a ledger with one open request for two opinions."""
    ledger = Ledger()
    ledger.open(request(7, opinions=2))
    return ledger


def test_a_skip_said_twice_is_one_of_two() -> None:
    """Who cannot tell and says so again does not speak for the other annotator."""
    ledger = asked_twice()
    skip = answer(7, None, kind="skip", annotator="eve")
    assert [ledger.answer(skip).kind for _ in range(3)] == ["noted", "repeated", "repeated"]
    assert ledger.is_open("events:0:7")
    assert ledger.answer(answer(7, "fraud", annotator="bob")).kind == "labelled"


def test_a_retraction_said_twice_takes_back_one_answer() -> None:
    """The double of a retraction neither withdraws the request nor another's answer."""
    ledger = asked_twice()
    ledger.answer(answer(7, annotator="eve"))
    ledger.answer(answer(7, annotator="bob", kind="flag"))
    retract = answer(7, None, kind="retract", annotator="eve")
    assert [ledger.answer(retract).kind for _ in range(3)] == ["retracted", "repeated", "repeated"]
    assert ledger.is_open("events:0:7")
    kinds = [ledger.answer(answer(7, annotator=who)).kind for who in ("bob", "ann")]
    assert kinds == ["noted", "labelled"]


def test_who_takes_an_answer_back_may_answer_again() -> None:
    """A label after one's own retraction counts once, as the only one of that annotator."""
    ledger = asked_twice()
    kinds = [
        ledger.answer(answer(7, label, kind=kind, annotator="eve")).kind
        for kind, label in (("label", "good"), ("retract", None), ("label", "fraud"))
    ]
    assert kinds == ["noted", "retracted", "noted"]
    assert ledger.answer(answer(7, None, kind="retract", annotator="eve")).kind == "retracted"
    assert ledger.answer(answer(7, "fraud", annotator="eve")).kind == "noted"
    last = ledger.answer(answer(7, "fraud", annotator="bob"))
    assert isinstance(last.record, Labelled)
    assert [(each.annotator, each.label) for each in last.record.opinions] == [
        ("eve", "fraud"),
        ("bob", "fraud"),
    ]
