"""The ledger: which requests are open, and what becomes of each answer."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_al.labels.ledger import _REMEMBERED, Ledger
from stream_al.records import Closed, Label, Labelled, LabelRequest, request_id


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
        prediction="good",
        probabilities={"good": 0.75, "fraud": 0.25},
        explored=True,
        propensity=0.05,
    )
    assert (len(ledger), ledger.is_open("events:0:7")) == (0, False)


def test_a_skip_closes_its_request_without_a_label() -> None:
    """An annotator who cannot tell ends the request, and a later label comes too late."""
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
        explored=False,
    )
    assert ledger.answer(answer(7)).kind == "repeated"


@pytest.mark.parametrize("seed", range(3))
def test_answers_may_come_in_any_order(seed: int) -> None:
    """Labels that come out of order are all taken, each once."""
    ledger = Ledger()
    for offset in range(50):
        ledger.open(request(offset))
    order = list(range(50))
    random.Random(seed).shuffle(order)
    records = [ledger.answer(answer(offset)).record for offset in order]
    assert [record.offset for record in records if record is not None] == order
    assert len(ledger) == 0


def test_doubles_and_strangers_are_counted_and_change_nothing() -> None:
    """A second answer and an answer to what was never asked carry no record."""
    ledger = Ledger()
    ledger.open(request(7))
    kinds = [ledger.answer(answer(offset)).kind for offset in (7, 7, 8, 7)]
    assert kinds == ["labelled", "repeated", "unknown", "repeated"]
    assert ledger.counts == {
        "labelled": 1,
        "skipped": 0,
        "expired": 0,
        "repeated": 2,
        "unknown": 1,
        "refused": 0,
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
    ledger = Ledger()
    for offset in range(_REMEMBERED + 20):
        ledger.open(request(offset))
        ledger.answer(answer(offset))
    kinds = [ledger.answer(answer(offset)).kind for offset in range(_REMEMBERED + 20)]
    assert kinds == ["unknown"] * 20 + ["repeated"] * _REMEMBERED


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
    ended: list[str] = []
    answers = 0
    for opens, offset, label, kind, weight in steps:
        if opens and offset not in opened:
            opened.add(offset)
            assert ledger.open(request(offset))
        elif not opens:
            answers += 1
            outcome = ledger.answer(answer(offset, label, kind=kind, weight=weight))
            if outcome.record is not None:
                ended.append(outcome.record.request_id)
                assert outcome.kind == ("skipped" if kind == "skip" else "labelled")
            elif offset not in opened:
                assert outcome.kind == "unknown"
    assert sum(ledger.counts.values()) == answers
    assert len(set(ended)) == len(ended) == len(opened) - len(ledger)
